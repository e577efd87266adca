//! What a mail program keeps of the calendar mail that it reads: by RFC 5546, and by nothing of the relay's own code.

use std::collections::BTreeMap;

use mail_parser::{MessageParser, MimeHeaders, PartType};

use crate::support::object;

/// An event as one person's program shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where answers go: the address in ORGANIZER.
    pub organizer: String,
    pub sequence: u32,
    pub dtstamp: String,
    /// In UTC, `20270104T150000Z`.
    pub start: String,
    pub end: String,
    pub summary: String,
    pub cancelled: bool,
    /// PARTSTAT by address in lower case.
    pub attendees: BTreeMap<String, String>,
}

/// A time that an attendee would like better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub by: String,
    pub start: String,
    pub end: String,
    pub comment: String,
}

/// What one mail was to the program that read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The event as it stands now.
    Event {
        uid: String,
    },
    Answer {
        by: String,
        status: String,
    },
    Proposal(Proposal),
    /// Words for a person.
    Words(String),
}

/// One calendar.
#[derive(Debug, Default)]
pub struct Calendar(BTreeMap<String, Event>);

impl Calendar {
    pub fn event(&self, uid: &str) -> &Event {
        self.0.get(uid).unwrap_or_else(|| panic!("no event {uid} in {:?}", self.0.keys()))
    }

    pub fn put(&mut self, uid: &str, event: Event) {
        self.0.insert(uid.to_owned(), event);
    }

    /// Reads one mail as `me`.
    pub fn read(&mut self, me: &str, mail: &[u8]) -> Read {
        let Some((method, text)) = calendar_part(mail) else { return Read::Words(String::from_utf8_lossy(mail).into_owned()) };
        let lines = Lines::of(&text);
        // Outlook takes no mail whose two methods differ.
        assert_eq!(lines.value("METHOD"), method.as_deref(), "{text}");
        let uid = lines.value("UID").unwrap_or_else(|| panic!("no UID: {text}")).to_owned();
        match method.as_deref() {
            Some("REQUEST" | "CANCEL") => self.told(me, &uid, &lines, method.as_deref() == Some("CANCEL")),
            Some("REPLY") => self.answered(&uid, &lines),
            Some("COUNTER") => {
                let (by, _) = lines.attendees().remove(0);
                assert!(self.event(&uid).attendees.contains_key(&by), "{by} proposes and was never invited: {text}");
                let comment = lines.value("COMMENT").unwrap_or_default().to_owned();
                Read::Proposal(Proposal { by, start: lines.time("DTSTART"), end: lines.time("DTEND"), comment })
            }
            other => panic!("{other:?} is nothing that this program knows: {text}"),
        }
    }

    /// A state of an event from its organizer: the newest by SEQUENCE, then DTSTAMP, counts (RFC 5546 2.1.5).
    fn told(&mut self, me: &str, uid: &str, lines: &Lines, cancelled: bool) -> Read {
        let attendees: BTreeMap<String, String> = lines.attendees().into_iter().collect();
        assert!(attendees.contains_key(me), "{me} is not among the attendees {attendees:?}");
        let (sequence, dtstamp) = (lines.sequence(), lines.value("DTSTAMP").unwrap_or_default().to_owned());
        if let Some(known) = self.0.get(uid) {
            assert!((sequence, &dtstamp) >= (known.sequence, &known.dtstamp), "an older state came after a newer one");
            assert_eq!(lines.address("ORGANIZER"), known.organizer, "the same event keeps its reply address");
        }
        let event = Event {
            organizer: lines.address("ORGANIZER"),
            sequence,
            dtstamp,
            start: lines.time("DTSTART"),
            end: lines.time("DTEND"),
            summary: lines.value("SUMMARY").unwrap_or_default().to_owned(),
            cancelled,
            attendees,
        };
        self.0.insert(uid.to_owned(), event);
        Read::Event { uid: uid.to_owned() }
    }

    /// An answer at the organizer's: one of an older SEQUENCE than the event's does not count.
    fn answered(&mut self, uid: &str, lines: &Lines) -> Read {
        let event = self.0.get_mut(uid).unwrap_or_else(|| panic!("an answer to {uid}, which is no event of mine"));
        let (by, status) = lines.attendees().remove(0);
        assert_eq!(lines.sequence(), event.sequence, "an answer of {by} to another version");
        *event.attendees.get_mut(&by).unwrap_or_else(|| panic!("{by} answers and was never invited")) = status.clone();
        Read::Answer { by, status }
    }
}

/// The method parameter and the text of the first text/calendar part.
pub fn calendar_part(mail: &[u8]) -> Option<(Option<String>, String)> {
    let message = MessageParser::default().parse(mail).expect("a mail");
    let part = message.parts.iter().find(|p| p.content_type().is_some_and(|t| t.c_subtype.as_deref() == Some("calendar")))?;
    let method = part.content_type().and_then(|t| t.attribute("method")).map(str::to_owned);
    let text = match &part.body {
        PartType::Text(text) | PartType::Html(text) => text.to_string(),
        PartType::Binary(octets) | PartType::InlineBinary(octets) => String::from_utf8(octets.to_vec()).unwrap(),
        _ => panic!("a calendar part of several parts"),
    };
    Some((method, text))
}

/// A property line of an object or of its event.
struct Line {
    name: String,
    parameters: String,
    value: String,
}

/// The lines of an object and of its event, those of a VTIMEZONE left out.
pub struct Lines(Vec<Line>);

impl Lines {
    pub fn of(text: &str) -> Self {
        let mut inside = Vec::new();
        let mut lines = Vec::new();
        for line in object::lines(text.replace("\r\n", "\n").replace('\n', "\r\n").as_bytes()) {
            let (name, parameters, value) = object::split(&line).unwrap_or_else(|| panic!("no property: {line}"));
            match name.as_str() {
                "BEGIN" => inside.push(value),
                "END" => drop(inside.pop()),
                _ if inside.iter().all(|name| name == "VCALENDAR" || name == "VEVENT") => lines.push(Line { name, parameters, value }),
                _ => {}
            }
        }
        Self(lines)
    }

    fn first(&self, name: &str) -> Option<&Line> {
        self.0.iter().find(|l| l.name == name)
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.first(name).map(|l| l.value.as_str())
    }

    pub fn sequence(&self) -> u32 {
        self.value("SEQUENCE").map_or(0, |s| s.parse().unwrap())
    }

    pub fn address(&self, name: &str) -> String {
        object::address(self.value(name).unwrap_or_else(|| panic!("no {name}")))
    }

    pub fn attendees(&self) -> Vec<(String, String)> {
        let people = self.0.iter().filter(|l| l.name == "ATTENDEE").map(|l| {
            // STATUS where the object is a vCalendar.
            let status = l.parameters.split(';').find_map(|p| p.strip_prefix("PARTSTAT=").or_else(|| p.strip_prefix("STATUS=")));
            let status = status.unwrap_or("NEEDS-ACTION");
            (object::address(&l.value), status.to_owned())
        });
        people.collect()
    }

    /// In UTC. The only zone of the scenarios is Central Europe's, and in winter.
    pub fn time(&self, name: &str) -> String {
        let Line { parameters, value, .. } = self.first(name).unwrap_or_else(|| panic!("no {name}"));
        if value.ends_with('Z') {
            return value.clone();
        }
        assert!(parameters.contains("Berlin") || parameters.contains("W. Europe"), "{name};{parameters}:{value}");
        let local = chrono::NaiveDateTime::parse_from_str(value, "%Y%m%dT%H%M%S").unwrap();
        (local - chrono::TimeDelta::hours(1)).format("%Y%m%dT%H%M%SZ").to_string()
    }
}
