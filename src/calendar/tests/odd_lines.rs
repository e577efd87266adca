//! Lines that say what few do: quotes left open, encoded parameters, blanks in front, people who are none, old times.

use super::super::convert::{Options, Target, translate};
use super::super::event::{Format, Moment};
use super::super::property::Document;
use super::super::{Object, text};
use crate::clock::Timestamp;

fn calendar(version: &str, lines: &str) -> String {
    let head = format!("BEGIN:VCALENDAR\nVERSION:{version}\nPRODID:x\nBEGIN:VEVENT\nUID:1\nDTSTAMP:20260101T000000Z\n");
    format!("{head}{lines}END:VEVENT\nEND:VCALENDAR\n").replace('\n', "\r\n")
}

fn object(version: &str, lines: &str) -> Object {
    Object::parse(calendar(version, lines).into_bytes()).unwrap()
}

fn translated(version: &str, lines: &str) -> (String, Vec<String>) {
    let target = if version == "1.0" { Target::ICalendar } else { Target::VCalendar };
    let options = Options { now: Timestamp::from_millis(0), notes: true };
    let there = translate(calendar(version, lines).into_bytes(), target, &options).unwrap();
    let losses = there.losses.iter().map(ToString::to_string).collect();
    (String::from_utf8(there.octets).unwrap().replace("\r\n", "\n"), losses)
}

#[test]
fn a_quote_left_open_swallows_no_parameter() {
    for (line, cn) in [
        ("ATTENDEE;CN=\"Bill;ROLE=OWNER:bill@abc.com", "\"Bill"),
        ("ATTENDEE;CN=\"Bill;ROLE=OWNER:\"Bill\" <bill@abc.com>", "\"Bill"),
        ("ATTENDEE;CN=\"Bill: x; y\";ROLE=OWNER:bill@abc.com", "Bill: x; y"),
        ("ATTENDEE;CN=5\" Bill;ROLE=OWNER:bill@abc.com", "5\" Bill"),
    ] {
        let document = Document::parse(calendar("1.0", &format!("{line}\n")).into_bytes()).unwrap();
        let content = document.content(document.lines.iter().find(|l| &*l.name == "ATTENDEE").unwrap());
        assert_eq!((content.param("CN"), content.param("ROLE")), (Some(cn), Some("OWNER")), "{line}");
        assert_eq!(object("1.0", &format!("{line}\n")).event().owner.as_ref().unwrap().address.to_string(), "bill@abc.com", "{line}");
    }
}

#[test]
fn parameters_of_icalendar_are_encoded() {
    let line = "ATTENDEE;CN=George ^'Babe^' Ruth^^^nHome:mailto:babe@a.com\n";
    let name = |object: &Object| object.event().attendees[0].name.clone().unwrap();
    // A display name has no line breaks.
    assert_eq!(name(&object("2.0", line)), "George \"Babe\" Ruth^Home");
    // vCalendar has no such encoding.
    assert_eq!(name(&object("1.0", line)), "George ^'Babe^' Ruth^^^nHome");
    let source =
        "BEGIN:VCALENDAR\r\nVERSION:1.0\r\nBEGIN:VEVENT\r\nUID:1\r\nATTENDEE;CN=a^b:mary@tiny.com\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    let there = Object::parse(source.as_bytes().to_vec()).unwrap();
    let options = Options { now: Timestamp::from_millis(0), notes: true };
    let back = Object::parse(there.translated(Target::ICalendar, &options).unwrap().octets).unwrap();
    assert_eq!((name(&there), name(&back)), ("a^b".to_owned(), "a^b".to_owned()));
    for text in ["a", "a\"b", "^n", "^^'\n", "\n\"^"] {
        assert_eq!(text::uncircumflexed(text::ical_param_value(text).trim_matches('"')), text);
    }
}

#[test]
fn who_is_a_part_of_the_mail_is_nobody() {
    let line = "ATTENDEE;VALUE=CONTENT-ID:<part1@a.com>\n";
    assert_eq!(object("1.0", line).event().attendees, []);
    let (there, losses) = translated("1.0", line);
    assert!(!there.contains("part1"), "{there}");
    assert_eq!(losses, ["ATTENDEE \"<part1@a.com>\": the other format has no word for it; left out"]);
}

#[test]
fn blanks_in_front_belong_to_the_text_of_icalendar() {
    assert_eq!(object("2.0", "SUMMARY:  x\n").event().summary.as_deref(), Some("  x"));
    assert_eq!(object("1.0", "SUMMARY:  x\n").event().summary.as_deref(), Some("x"));
    let (there, _) = translated("2.0", "SUMMARY:  x\n");
    let there = Object::parse(there.replace('\n', "\r\n").into_bytes()).unwrap();
    assert_eq!((there.format(), there.event().summary.as_deref()), (Format::VCalendar, Some("  x")));
    let options = Options { now: Timestamp::from_millis(0), notes: true };
    let back = Object::parse(there.translated(Target::ICalendar, &options).unwrap().octets).unwrap();
    assert_eq!(back.event().summary.as_deref(), Some("  x"));
}

#[test]
fn times_before_1970_are_told_apart() {
    let object = object("2.0", "DTSTART;TZID=Europe/Berlin:19600101T090000\nRECURRENCE-ID;TZID=Europe/Berlin:19600101T090000\n");
    let utc = |m: &Option<Moment>| m.as_ref().and_then(Moment::utc).unwrap().to_string();
    assert_eq!(utc(&object.event().start), "1960-01-01 08:00:00");
    assert_eq!(object.event().recurrence_id.as_deref(), Some("19600101T080000Z"));
}
