//! Where clocks change, and whose zone a time has: the instants stay what they were.

use super::translated;
use crate::calendar::Object;
use crate::calendar::convert::Target;
use crate::calendar::event::Moment;
use crate::clock::Timestamp;

const CUSTOM: &str = "BEGIN:VTIMEZONE\nTZID:Customized Time Zone\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:-0500\n\
    TZOFFSETTO:-0500\nEND:STANDARD\nEND:VTIMEZONE\n";

fn icalendar(inner: &str) -> String {
    format!("BEGIN:VCALENDAR\nPRODID:-//x//EN\nVERSION:2.0\n{inner}END:VCALENDAR\n")
}

fn vcalendar(inner: &str) -> String {
    format!("BEGIN:VCALENDAR\nVERSION:1.0\n{inner}END:VCALENDAR\n")
}

fn event(uid: &str, lines: &str) -> String {
    format!("BEGIN:VEVENT\nUID:{uid}\nDTSTAMP:20260101T000000Z\n{lines}END:VEVENT\n")
}

/// One event of a calendar as a calendar of its own, with what stands before the first event.
fn alone(text: &str, uid: &str) -> Object {
    let head = text.split("BEGIN:VEVENT").next().unwrap();
    let (_, rest) = text.split_once(&format!("BEGIN:VEVENT\nUID:{uid}\n")).unwrap();
    let (body, _) = rest.split_once("END:VEVENT\n").unwrap();
    let text = format!("{head}BEGIN:VEVENT\nUID:{uid}\n{body}END:VEVENT\nEND:VCALENDAR\n");
    Object::parse(text.replace('\n', "\r\n").into_bytes()).unwrap()
}

fn starts(text: &str, uid: &str) -> Vec<String> {
    let found = alone(text, uid).instances(Timestamp::NEVER, 12);
    found.starts.iter().map(|m| m.instant().unwrap().rfc3339().replace(":00.000Z", "")).collect()
}

/// Start and end.
fn ends(text: &str, uid: &str) -> [Option<String>; 2] {
    let object = alone(text, uid);
    [&object.event().start, &object.event().end].map(|m| Some(m.as_ref()?.instant()?.rfc3339().replace(":00.000Z", "")))
}

#[test]
fn a_zone_that_the_peer_cannot_name_does_not_get_the_rules_of_another() {
    let at = |zone: &str, day: &str| format!("DTSTART;TZID={zone}:{day}T190000\nDTEND;TZID={zone}:{day}T200000\n");
    let source = icalendar(&format!(
        "{CUSTOM}{}{}{}{}",
        event("a", &(at("Europe/Berlin", "20260105") + "RRULE:FREQ=WEEKLY;COUNT=10\n")),
        event("b", &(at("Customized Time Zone", "20260301") + "RRULE:FREQ=WEEKLY;COUNT=8\n")),
        event("c", &at("Customized Time Zone", "20260401")),
        event("d", &at("Unknown Zone", "20260401")),
    ));
    let (there, losses) = translated(&source, Target::VCalendar);
    assert_eq!(there.matches("X-CIP-TZID:").count(), 2, "{there}");
    assert!(there.contains("X-CIP-TZID:Europe/Berlin\n") && there.contains("X-CIP-TZID:floating\n"), "{there}");
    for (zone, uid) in [("Customized Time Zone", "c"), ("Unknown Zone", "d")] {
        assert!(losses.iter().any(|l| l.starts_with(&format!("TZID \"{zone}\""))), "{uid}: {losses:?}");
    }
    let (back, _) = translated(&there, Target::ICalendar);
    for uid in ["a", "b", "c"] {
        assert_eq!((starts(&there, uid), starts(&back, uid)), (starts(&source, uid), starts(&source, uid)), "{uid}: {back}");
    }
    assert!(back.contains("DTSTART:20260401T190000\n"), "{back}");
    // In a calendar of its own it has TZ to itself, and its name.
    let own = icalendar(&format!(
        "{CUSTOM}{}{}",
        event("b", &(at("Customized Time Zone", "20260301") + "RRULE:FREQ=WEEKLY;COUNT=8\n")),
        event("c", &at("Customized Time Zone", "20260401"))
    ));
    let (there, losses) = translated(&own, Target::VCalendar);
    let (back, more) = translated(&there, Target::ICalendar);
    assert_eq!((losses, more), (vec![], vec![]), "{there}");
    assert_eq!(back.matches(";TZID=Customized Time Zone:").count(), 4, "{back}");
}

#[test]
fn a_rule_in_utc_stays_in_utc_whatever_zone_is_named_beside_it() {
    let source = vcalendar(&format!(
        "TZ:+01\nDAYLIGHT:TRUE;+02;20260329T020000;20261025T030000;;\n{}",
        event("a", "DTSTART:20260301T233000Z\nRRULE:W1 #8\nX-CIP-TZID:Nowhere\n")
    ));
    let (there, losses) = translated(&source, Target::ICalendar);
    assert_eq!(starts(&there, "a"), starts(&source, "a"), "{there}");
    assert_eq!(losses, ["X-CIP-TZID \"Nowhere\": the zone cannot be said; written as UTC"]);
}

#[test]
fn an_end_in_utc_of_whole_days_is_read_in_the_calendars_zone() {
    let series =
        |rule: &str| vcalendar(&format!("TZ:+09\n{}", event("a", &format!("DTSTART:20260105T000000\nDTEND:20260106T000000\n{rule}\n"))));
    for (rule, expected, last) in [
        ("RRULE:W1 MO 20260118T150000Z", "RRULE:FREQ=WEEKLY;UNTIL=20260119;BYDAY=MO\n", Some("20260119")),
        ("RRULE:D1 #20 20260107T150000Z", "RRULE:FREQ=DAILY;UNTIL=20260108\n", Some("20260108")),
        ("RRULE:D1 #9\nEXRULE:D1 #9 20260107T150000Z", "EXDATE;VALUE=DATE:20260105,20260106,20260107,20260108\n", None),
    ] {
        let (there, _) = translated(&series(rule), Target::ICalendar);
        assert!(there.contains(expected), "{rule}: {there}");
        let found = alone(&there, "a").instances(Timestamp::NEVER, 20);
        if let Some(last) = last {
            assert!(matches!(found.starts.last(), Some(Moment::Date(d)) if d.format("%Y%m%d").to_string() == last), "{rule}: {found:?}");
        }
    }
}

#[test]
fn the_second_of_two_repeated_hours_stays_the_second() {
    // As a start, of which the zone's name is lost.
    let source =
        vcalendar(&format!("TZ:-05\n{}", event("a", "DTSTART:20261101T063000Z\nDTEND:20261101T073000Z\nX-CIP-TZID:America/New_York\n")));
    let (there, losses) = translated(&source, Target::ICalendar);
    assert_eq!(ends(&there, "a"), ends(&source, "a"), "{there}");
    assert_eq!(losses, ["X-CIP-TZID \"America/New_York\": the zone cannot be said; written as UTC"]);
    // As an end, an instance, and a further date.
    let zone = "TZ:-05\nDAYLIGHT:TRUE;-04;20260308T020000;20261101T020000;EST;EDT\n";
    let lines = "DTSTART:20261101T013000\nDTEND:20261101T063000Z\nRDATE:20271107T063000Z;20271108T063000Z\n";
    let source = vcalendar(&format!("{zone}{}", event("a", lines)));
    let (there, _) = translated(&source, Target::ICalendar);
    assert_eq!(ends(&there, "a"), ends(&source, "a"), "{there}");
    assert!(there.contains("RDATE:20271107T063000Z\n"), "{there}");
    // The same from iCalendar, where the start is local in a zone that is written as TZ.
    let lines = "DTSTART;TZID=Europe/Berlin:20261025T013000\nDTEND:20261025T013000Z\nRRULE:FREQ=DAILY;COUNT=3\n";
    let source = icalendar(&event("a", lines));
    for rule in [lines, "DTSTART;TZID=Europe/Berlin:20261025T013000\nDTEND:20261025T013000Z\n"] {
        let source = source.replace(lines, rule);
        let (there, _) = translated(&source, Target::VCalendar);
        let (back, _) = translated(&there, Target::ICalendar);
        let expected = [Some("2026-10-24T23:30".to_owned()), Some("2026-10-25T01:30".to_owned())];
        assert_eq!(
            [ends(&source, "a"), ends(&there, "a"), ends(&back, "a")],
            [expected.clone(), expected.clone(), expected],
            "{there}{back}"
        );
    }
}

#[test]
fn days_are_those_of_the_calendar_and_hours_pass() {
    // The night of 28 to 29 March 2026 has an hour less in Berlin.
    for (length, end) in
        [("PT8H", "2026-03-29T05:00"), ("P1D", "2026-03-29T20:00"), ("P1DT1H", "2026-03-29T21:00"), ("PT24H", "2026-03-29T21:00")]
    {
        let source = icalendar(&event("a", &format!("DTSTART;TZID=Europe/Berlin:20260328T220000\nDURATION:{length}\n")));
        let (there, _) = translated(&source, Target::VCalendar);
        let expected = [Some("2026-03-28T21:00".to_owned()), Some(end.to_owned())];
        assert_eq!([ends(&source, "a"), ends(&there, "a")], [expected.clone(), expected], "{length}: {there}");
    }
    // An end in the second of two hours.
    let source = icalendar(&event("a", "DTSTART;TZID=Europe/Berlin:20261025T013000\nDURATION:PT2H\n"));
    assert_eq!(ends(&source, "a")[1].as_deref(), Some("2026-10-25T01:30"));
    // TZ and DAYLIGHT have days too.
    let zone = "TZ:+01\nDAYLIGHT:TRUE;+02;20260329T020000;20261025T030000;;\n";
    let source = vcalendar(&format!("{zone}{}", event("a", "DTSTART:20260328T220000\nDURATION:P1DT1H\n")));
    assert_eq!(ends(&source, "a")[1].as_deref(), Some("2026-03-29T21:00"));
}

#[test]
fn the_hours_before_an_alarm_pass() {
    let alarm = |trigger: &str| format!("BEGIN:VALARM\nACTION:DISPLAY\nDESCRIPTION:x\nTRIGGER:{trigger}\nEND:VALARM\n");
    for (trigger, single, series) in [
        ("-PT12H", "20260328T190000Z", "20260328T200000"),
        ("-P1D", "20260328T080000Z", "20260328T090000"),
        ("-P1DT12H", "20260327T200000Z", "20260327T210000"),
    ] {
        let lines = |rule: &str| {
            let time = "DTSTART;TZID=Europe/Berlin:20260329T090000\nDTEND;TZID=Europe/Berlin:20260329T100000\n";
            icalendar(&event("a", &format!("{time}{rule}{}", alarm(trigger))))
        };
        let (there, _) = translated(&lines(""), Target::VCalendar);
        assert!(there.contains(&format!("{single};;;x\n")), "{trigger}: {there}");
        let (there, _) = translated(&lines("RRULE:FREQ=DAILY;COUNT=3\n"), Target::VCalendar);
        assert!(there.contains(&format!("DALARM:{series};;;x\n")), "{trigger}: {there}");
        let (back, _) = translated(&there, Target::ICalendar);
        assert!(back.contains(&format!("TRIGGER:{trigger}\n")), "{trigger}: {back}");
    }
    // A day of 24 hours is no day of the calendar where clocks change: it is carried.
    let source =
        icalendar(&event("a", &format!("DTSTART;TZID=Europe/Berlin:20260328T090000\nRRULE:FREQ=DAILY;COUNT=3\n{}", alarm("-PT24H"))));
    let (back, _) = translated(&translated(&source, Target::VCalendar).0, Target::ICalendar);
    assert!(back.contains("TRIGGER:-PT24H\n") && back.matches("VALARM").count() == 2, "{back}");
}

#[test]
fn minutes_of_a_whole_day_are_that_day_once() {
    let source = vcalendar(&event("a", "DTSTART:20260105T000000\nDTEND:20260106T000000\nRRULE:M720 #5\n"));
    let (there, _) = translated(&source, Target::ICalendar);
    assert!(there.contains("RDATE;VALUE=DATE:20260106,20260107\n"), "{there}");
}
