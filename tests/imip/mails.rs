//! Whole mails as a person gets them: objects of `tests/fixtures/mail` composed as the relay does, the words compared with
//! files that a reviewer can read, the HTML read by Python.

use std::io::Write;
use std::process::{Command, Stdio};

use cip_relay::calendar::compose::{MailJob, Organizer, icalendar};
use cip_relay::calendar::event::{Event, Format, Method, PartStat, Person};
use cip_relay::calendar::{Object, Snapshot};
use cip_relay::clock::Timestamp;
use cip_relay::ident::{ServerId, UserId};
use cip_relay::imip::compose::{self, Before, Envelope, Language};
use cip_relay::imip::{read, sendable};
use serde_json::Value;

use super::{assert_no_defects, by_python, field, golden, user};

fn fixture(name: &str) -> Object {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mail").join(name);
    Object::parse(std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

/// The object as it came, as it goes out, and what surrounds the mail.
struct Sent {
    came: Object,
    goes: Object,
    from: UserId,
    recipient: UserId,
    standing: u8,
    now: Timestamp,
}

impl Sent {
    fn new(came: Object, method: Method, sequence: u32) -> Self {
        let from = user("rabcdefghijklmnopqrstuvwxyz2@cip.tiny.com");
        let recipient = user("mary@tiny.com");
        let now = Timestamp::parse_rfc3339("2026-06-01T12:00:05Z").unwrap();
        let job = MailJob {
            method,
            uid: came.event().uid.to_string(),
            sequence,
            organizer: Some(Organizer { address: from.clone(), name: None }),
            addresses: Vec::new(),
            recipient: Some(recipient.clone()),
            only: None,
            drop_attach: false,
            now,
            stand_in: None,
            cancelled: method == Method::Cancel,
        };
        let goes = Object::parse(icalendar(&came, &job).unwrap().octets).unwrap();
        assert_eq!(goes.format(), Format::ICalendar);
        Self { came, goes, from, recipient, standing: 2, now }
    }

    fn of(name: &str, method: Method) -> Self {
        Self::new(fixture(name), method, 0)
    }

    fn with<T>(&self, event: &Event, before: Before<'_>, make: impl FnOnce(&Envelope<'_>) -> T) -> T {
        let (site, mail_domain) = (ServerId::parse("tiny.com").unwrap(), ServerId::parse("cip.tiny.com").unwrap());
        make(&Envelope {
            calendar: &self.goes,
            event,
            attendee: &self.recipient,
            before,
            language: Language::English,
            from: &self.from,
            reply_to: &self.from,
            recipient: &self.recipient,
            recipient_name: Some("Mary Weaver"),
            site: &site,
            mail_domain: &mail_domain,
            event_id: event.uid.as_str(),
            standing: self.standing,
            traces: &[],
            now: self.now,
        })
    }

    /// Composed twice alike, and read by Python.
    fn invitation(&self, before: Before<'_>) -> Read {
        let make = || self.with(self.came.event(), before, compose::invitation).unwrap();
        assert_eq!(make(), make());
        Read::new(&make())
    }

    fn reply(&self, attendee: &Person, before: Before<'_>) -> Read {
        Read::new(&self.with(self.came.event(), before, |e| compose::reply(e, attendee)).unwrap())
    }

    /// An update for one who had `earlier`.
    fn update(&self, earlier: &Snapshot) -> Read {
        self.invitation(Before::Known { had: earlier, has: &self.came.snapshot() })
    }
}

/// A composed mail, as Python reads it.
struct Read {
    mail: Vec<u8>,
    subject: String,
    text: String,
    html: String,
}

impl Read {
    fn new(mail: &[u8]) -> Self {
        sendable::check(mail, sendable::MAX_LINE).unwrap();
        assert!(mail.is_ascii());
        let seen = by_python(mail);
        assert_no_defects(&seen);
        assert!(read::read(mail).unwrap().calendar.is_some());
        let body = &seen["body"];
        let parts = if body["type"] == "multipart/mixed" { &body["parts"][0]["parts"] } else { &body["parts"] };
        let part = |n: usize, kind: &str| -> String {
            assert_eq!(parts[n]["type"], kind);
            parts[n]["text"].as_str().unwrap().replace("\r\n", "\n")
        };
        let (text, html) = (part(0, "text/plain"), part(1, "text/html"));
        for line in text.lines() {
            assert!(line.chars().count() <= 72 || !line.trim().contains(' '), "{line}");
            assert_eq!(line.trim_end(), line);
        }
        assert_accessible(&html);
        Self { mail: mail.to_vec(), subject: field(&seen, "Subject")[0].to_owned(), text, html }
    }

    /// Both forms against the files of that name.
    fn golden(&self, name: &str) {
        golden(&format!("mail/{name}.txt"), &self.text);
        golden(&format!("mail/{name}.html"), &self.html);
    }

    fn says(&self, words: &str) {
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat(&self.text).contains(words), "{words}\n{}", self.text);
    }

    fn is_silent_of(&self, words: &str) {
        assert!(!self.text.contains(words) && !self.html.contains(words), "{words}\n{}\n{}", self.text, self.html);
    }
}

/// What Python's `html.parser` finds: every tag closed in order, a language, a title, headings without a gap, labels of
/// rows, and nothing that is fetched, run or followed.
fn assert_accessible(html: &str) {
    const PROGRAM: &str = r#"
import html.parser, json, sys
class Reader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.faults, self.tags, self.levels = [], [], [], []
    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag in ("script", "style", "link", "img", "a", "iframe", "form", "object", "base"):
            self.faults.append("tag " + tag)
        for name, value in attrs.items():
            if name not in ("lang", "dir", "style", "scope", "charset", "name", "content"):
                self.faults.append("attribute " + name)
            if "url(" in (value or "") or "http" in (value or ""):
                self.faults.append("fetched: " + value)
        if tag == "html" and not attrs.get("lang"):
            self.faults.append("no language")
        if tag == "th" and attrs.get("scope") != "row":
            self.faults.append("th without scope")
        if tag in ("h1", "h2", "h3"):
            self.levels.append(int(tag[1]))
    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append("unbalanced " + tag)
reader = Reader()
text = sys.stdin.read()
reader.feed(text)
reader.close()
if reader.open: reader.faults.append("open " + repr(reader.open))
if reader.tags.count("title") != 1 or reader.tags.count("h1") != 1: reader.faults.append("title")
if any(b > a + 1 for a, b in zip([0] + reader.levels, reader.levels)): reader.faults.append("headings " + repr(reader.levels))
if not text.startswith("<!DOCTYPE html>"): reader.faults.append("doctype")
json.dump(reader.faults, sys.stdout)
"#;
    let mut child =
        Command::new("python3").args(["-X", "utf8", "-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(html.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let faults: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(faults, serde_json::json!([]), "{html}");
}

fn answering(address: &str, name: &str, status: PartStat) -> Person {
    let mut person = Person::new(user(address));
    person.name = Some(name.into());
    person.status = Some(status);
    person
}

#[test]
fn a_series_with_exceptions() {
    let mail = Sent::of("series.ics", Method::Request).invitation(Before::Nothing);
    assert_eq!(mail.subject, "Invitation: Project X review");
    mail.golden("series");
    mail.is_silent_of("changed;");
}

#[test]
fn an_update_marks_what_changed() {
    let earlier = fixture("series.ics").snapshot();
    let mail = Sent::of("series-update.ics", Method::Request).update(&earlier);
    assert_eq!(mail.subject, "Updated invitation: Project X review");
    mail.golden("series-update");
    golden("mail/series-update.eml", std::str::from_utf8(&mail.mail).unwrap());
}

#[test]
fn what_did_not_change_is_not_marked() {
    let sent = Sent::of("series.ics", Method::Request);
    let same = sent.update(&sent.came.snapshot());
    same.says("Title, time, place and description are as before");
    same.is_silent_of("(changed");
    same.is_silent_of("<del>");

    // The same instants told in UTC.
    let came = String::from_utf8(sent.came.octets().to_vec()).unwrap();
    let utc = came
        .replace("DTSTART;TZID=Europe/Berlin:20260707T093000", "DTSTART:20260707T073000Z")
        .replace("DTEND;TZID=Europe/Berlin:20260707T103000", "DTEND:20260707T083000Z");
    assert_ne!(came, utc);
    let mail = sent.update(&Object::parse(utc.into_bytes()).unwrap().snapshot());
    mail.says("as before");

    let unknown = sent.invitation(Before::Unknown);
    assert_eq!(unknown.subject, "Updated invitation: Project X review");
    unknown.is_silent_of("(changed");
    unknown.is_silent_of("as before");
}

#[test]
fn fields_that_come_and_go() {
    let sent = Sent::of("series.ics", Method::Request);
    let mut earlier = sent.came.snapshot();
    earlier.location = None;
    let mail = sent.update(&earlier);
    mail.says("Changed: place.");
    mail.says("Where: Room Elbe (new)");

    let bare = String::from_utf8(sent.came.octets().to_vec()).unwrap().replace("LOCATION:Room Elbe\n", "");
    let mail = Sent::new(Object::parse(bare.into_bytes()).unwrap(), Method::Request, 1).update(&sent.came.snapshot());
    mail.says("Where: (removed; was: Room Elbe)");
    assert!(mail.html.contains("(removed)<br>\nwas: <del>Room Elbe</del>"), "{}", mail.html);
}

#[test]
fn one_date_of_a_series() {
    let cancelled = Sent::of("instance-cancel.ics", Method::Cancel).invitation(Before::Unknown);
    assert_eq!(cancelled.subject, "Cancelled: Project X review (1 September 2026)");
    cancelled.golden("instance-cancel");

    // He has the series: that date was at 9:30.
    let moved = Sent::of("instance-moved.ics", Method::Request);
    let earlier = fixture("series.ics").snapshot().at_instance(&moved.came.instance().unwrap());
    let mail = moved.update(&earlier);
    assert_eq!(mail.subject, "Updated invitation: Project X review (1 September 2026)");
    mail.says("Changed: time.");
    mail.golden("instance-moved");
}

#[test]
fn a_to_do() {
    let sent = Sent::of("todo.ics", Method::Request);
    let mail = sent.invitation(Before::Nothing);
    assert_eq!(mail.subject, "To-do: Write the quarterly report");
    mail.golden("todo");
    assert!(String::from_utf8_lossy(&mail.mail).contains("component=VTODO"));

    let mut earlier = sent.came.snapshot();
    earlier.end = earlier.start.clone();
    let mail = sent.update(&earlier);
    assert_eq!(mail.subject, "Updated to-do: Write the quarterly report");
    mail.says("Changed: due date.");
    mail.says("(changed; was: Wednesday, 1 July 2026, 09:00)");

    let mail = Sent::of("todo.ics", Method::Cancel).invitation(Before::Nothing);
    assert_eq!(mail.subject, "Cancelled to-do: Write the quarterly report");
    mail.says("It need not be done, or not by you.");

    let mail = Sent::of("todo.ics", Method::Reply).reply(&answering("mary@tiny.com", "Mary Weaver", PartStat::Completed), Before::Nothing);
    assert_eq!(mail.subject, "Completed: Write the quarterly report");
    mail.says("Mary Weaver <mary@tiny.com> has completed “Write the quarterly report”.");
}

#[test]
fn an_old_calendar_with_tz_and_daylight() {
    let mail = Sent::of("palm.vcs", Method::Request).invitation(Before::Nothing);
    assert_eq!(mail.subject, "Invitation: Chör practice");
    mail.golden("palm");

    // An update in the old grammar tells the old rule.
    let sent = Sent::of("palm.vcs", Method::Request);
    let mut earlier = sent.came.snapshot();
    earlier.rules = vec!["W1 MO #12".into()];
    earlier.recurrence = [1; 8];
    let mail = sent.update(&earlier);
    mail.says("(changed; was: Every Monday, 12 times)");
}

#[test]
fn published_whole_days() {
    let mail = Sent::of("holiday.ics", Method::Publish).invitation(Before::Nothing);
    assert_eq!(mail.subject, "Event: Company holidays");
    mail.golden("holiday");
    mail.is_silent_of("To answer");
}

#[test]
fn the_methods_that_answer_and_propose() {
    let mary = answering("mary@tiny.com", "Mary Weaver", PartStat::Delegated);
    let mut delegating = mary.clone();
    delegating.delegated_to = Some(user("ann@tiny.com"));
    let mail = Sent::of("series.ics", Method::Reply).reply(&delegating, Before::Nothing);
    assert_eq!(mail.subject, "Delegated: Project X review");
    mail.says("has delegated “Project X review” to ann@tiny.com.");

    let proposal = Sent::of("instance-moved.ics", Method::Counter);
    let in_force = fixture("series.ics").snapshot().at_instance(&proposal.came.instance().unwrap());
    let mail = proposal.reply(&mary, Before::Known { had: &in_force, has: &proposal.came.snapshot() });
    assert_eq!(mail.subject, "New time or details proposed: Project X review (1 September 2026)");
    mail.golden("counter");

    let mail = Sent::of("series.ics", Method::Refresh).reply(&mary, Before::Nothing);
    assert_eq!(mail.subject, "Request for the current version: Project X review");
    mail.says("Please send the invitation again");

    let mail = Sent::of("series.ics", Method::DeclineCounter).invitation(Before::Unknown);
    assert_eq!(mail.subject, "Proposal declined: Project X review");
    mail.is_silent_of("To answer");

    let mail = Sent::of("instance-moved.ics", Method::Add).invitation(Before::Unknown);
    assert_eq!(mail.subject, "Further date: Project X review (1 September 2026)");
    mail.says("has added a date to this event");
}

#[test]
fn several_dates_without_their_series() {
    let whole = String::from_utf8(fixture("series.ics").octets().to_vec()).unwrap();
    let events: Vec<&str> = whole.split_inclusive("END:VEVENT\n").collect();
    let (head, series) = events[0].split_at(events[0].find("BEGIN:VEVENT").unwrap());
    assert!(series.contains("RRULE"));
    let scattered = format!("{head}{}{}END:VCALENDAR\n", events[1], events[2]);
    let mail = Sent::new(Object::parse(scattered.into_bytes()).unwrap(), Method::Request, 1).invitation(Before::Unknown);
    assert_eq!(mail.subject, "Updated invitation: Project X review");
    mail.says("* Tuesday, 21 July 2026: When: Wednesday, 22 July 2026, 14:00 to 15:00 (Europe/Berlin)");
    mail.says("* Tuesday, 28 July 2026: cancelled");
}

#[test]
fn an_unverified_sender_gets_no_name_and_no_link() {
    let mut sent = Sent::of("series-update.ics", Method::Request);
    sent.standing = 1;
    let mut earlier = fixture("series.ics").snapshot();
    earlier.location = Some("http://evil.example/room".into());
    let mail = sent.update(&earlier);
    mail.golden("unverified");
    for name in ["Tom Jones", "Mary Weaver", "Bob Miller", "://"] {
        mail.is_silent_of(name);
    }
    assert!(mail.text.find("Unverified:").unwrap() < mail.text.find("tom@jumbo.com has changed").unwrap());
}

#[test]
fn a_rule_beyond_words_tells_its_first_dates() {
    let came = String::from_utf8(fixture("series.ics").octets().to_vec()).unwrap();
    let odd = came.replace("RRULE:FREQ=WEEKLY;BYDAY=TU,TH;UNTIL=20261231T083000Z", "RRULE:FREQ=MONTHLY;BYDAY=1TU,3TH");
    assert_ne!(came, odd);
    let mail = Sent::new(Object::parse(odd.into_bytes()).unwrap(), Method::Request, 0).invitation(Before::Nothing);
    mail.says(
        "Repeats: By a rule that your calendar program will show; it begins with 7 July 2026, 10 July 2026, 4 August 2026 and 20 August 2026",
    );
}

#[test]
fn long_lists_are_cut() {
    let came = String::from_utf8(fixture("series.ics").octets().to_vec()).unwrap();
    let dates: Vec<String> = (1..29).map(|d| format!("202611{d:02}T093000")).collect();
    let cut = came.replace("EXDATE;TZID=Europe/Berlin:20260716T093000", &format!("EXDATE;TZID=Europe/Berlin:{}", dates.join(",\n ")));
    let end = came.find("END:VCALENDAR").unwrap();
    let exceptions: String = (1..20)
        .map(|d| {
            format!("BEGIN:VEVENT\nUID:weekly@jumbo.com\nRECURRENCE-ID:202612{d:02}T083000Z\nDTSTART:202612{d:02}T100000Z\nEND:VEVENT\n")
        })
        .collect();
    let cut = cut.replace(&came[end..], &format!("{exceptions}END:VCALENDAR\n"));
    let mail = Sent::new(Object::parse(cut.into_bytes()).unwrap(), Method::Request, 0).invitation(Before::Nothing);
    mail.says("5 November 2026, 6 November 2026 and 22 more dates");
    mail.says("* and 9 more dates");
}
