//! An object as it came, and what the relay reads in it.
//!
//! Invariants: the octets never change; `events` is never empty and all its events have one UID, the series before its
//! exceptions; recipients and traces, wherever they stand, are listed with the first event; reading costs time and
//! memory in proportion to the octets.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

use super::error::{ObjectError, clip};
use super::event::{Component, Event, EventStatus, Format, Method, Moment, PartStat, Person, Trace};
use super::people::{self, Seat};
use super::property::{Content, Document, Line, is_blank, trim};
use super::time::Span;
use super::zone::Zones;
use super::{text, time};
use crate::ident::{EventId, UserId};

/// People read of one event, and recipients of one object: one more than any policy allows.
pub const MAX_PEOPLE: usize = 100_001;
/// Events (a series and its exceptions) in one object.
const MAX_EVENTS: usize = 2_000;
/// Trace lines read; 25 are a loop already (profile 9).
const MAX_TRACES: usize = 100;

/// The extension lines that the relay itself adds and takes out (profile 5 and 9).
pub(crate) const RECIPIENT: &str = "X-CIP-RCPT";
pub(crate) const TRACE: &str = "X-CIP-TRACE";

/// A calendar object in one of the three formats.
#[derive(Clone, Debug)]
pub struct Object {
    pub(crate) document: Document,
    events: Vec<Event>,
    /// The component of each event, in the order of `events`.
    pub(crate) places: Vec<usize>,
    pub(crate) zones: Zones,
    /// The STATUS line of the first event, read as an attendee's answer.
    answer: Option<PartStat>,
}

impl Object {
    /// Reads an object of any of the three formats, deciding which it is. Line ends may be CRLF or LF.
    pub fn parse(octets: Vec<u8>) -> Result<Self, ObjectError> {
        let mut document = Document::parse(octets)?;
        let (zones, problems) = Zones::read(&document);
        for problem in problems {
            document.problem(problem);
        }
        let places = event_components(&document)?;
        let method = method_of(&document);
        let mut problems = Vec::new();
        let mut read = Vec::with_capacity(places.len());
        for place in places {
            let zones = zones.of(place);
            let mut reader = EventReader::new(&document, &zones, place, &mut problems);
            read.push((reader.read(method)?, place, reader.answer, reader.first_line));
        }
        for problem in problems {
            document.problem(problem);
        }
        let first = read[0].0.uid.clone();
        if let Some((event, _, _, line)) = read.iter().find(|(e, ..)| e.uid != first) {
            let (first, second) = (clip(first.as_str()), clip(event.uid.as_str()));
            return Err(ObjectError::SeveralEvents { line: *line, first, second });
        }
        read.sort_by_key(|(event, ..)| event.recurrence_id.is_some());
        let answer = read[0].2;
        let (mut events, places): (Vec<Event>, Vec<usize>) = read.into_iter().map(|(e, p, ..)| (e, p)).unzip();
        let (recipients, traces) = extensions(&document);
        events[0].recipients = recipients;
        events[0].traces = traces;
        Ok(Self { document, events, places, zones, answer })
    }

    /// As it came.
    pub fn octets(&self) -> &[u8] {
        &self.document.octets
    }

    pub fn format(&self) -> Format {
        self.document.format
    }

    /// The event; of a series, the series itself when it is there.
    pub fn event(&self) -> &Event {
        &self.events[0]
    }

    /// The series first, then its exceptions in the object's order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What was odd and read all the same, or passed on unread; at most 50 lines.
    pub fn problems(&self) -> &[String] {
        &self.document.problems
    }

    /// Its events one by one, each with every line that belongs to none of them: an answer to several instances at once is
    /// several answers.
    pub fn one_by_one(&self) -> Vec<Self> {
        if self.places.len() == 1 {
            return vec![self.clone()];
        }
        let start = |line: usize| self.document.lines.get(line).map_or(self.document.octets.len(), |l| l.span.start);
        let spans: Vec<_> = self.places.iter().map(|p| &self.document.components[*p].lines).map(|l| start(l.start)..start(l.end)).collect();
        let one = |n: usize| {
            let mut octets = Vec::with_capacity(self.document.octets.len());
            let mut others: Vec<_> = spans.iter().enumerate().filter(|(at, _)| *at != n).map(|(_, span)| span).collect();
            others.sort_by_key(|span| span.start);
            let mut from = 0;
            for span in others {
                octets.extend_from_slice(self.document.octets.get(from..span.start).unwrap_or_default());
                from = span.end;
            }
            octets.extend_from_slice(&self.document.octets[from..]);
            Self::parse(octets).ok()
        };
        (0..self.places.len()).filter_map(one).collect()
    }

    /// The people whose answer an RSVP or REPLY carries (profile 5): each attendee with a status of his own, or the
    /// single attendee with the status of the STATUS line. The owner counts when he is the only one.
    pub fn answers(&self) -> Vec<Person> {
        let event = self.event();
        let people: Vec<&Person> = if event.attendees.is_empty() { event.owner.iter().collect() } else { event.attendees.iter().collect() };
        let line = self.answer.filter(|_| people.len() == 1 && self.format() != Format::ICalendar);
        let with_status = |p: &Person| Some(Person { status: Some(p.status.or(line)?), ..p.clone() });
        people.into_iter().filter_map(with_status).collect()
    }

    /// SHA-256 of the content that makes a version (profile 6): joined lines in their order, names in upper case,
    /// without METHOD, DTSTAMP, X-CIP-TRACE, X-CIP-RCPT and without the addresses of ATTENDEE and ORGANIZER lines
    /// (which redirects rewrite); what else these lines say counts in any order, once.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut people: Vec<[u8; 32]> = Vec::new();
        for line in &self.document.lines {
            match &*line.name {
                "METHOD" | "DTSTAMP" | RECIPIENT | TRACE => {}
                "ATTENDEE" | "ORGANIZER" => people.extend(person_digest(&self.document.content(line))),
                name => {
                    let text = self.document.joined(line);
                    let value = Document::value_range(&text);
                    let head = String::from_utf8_lossy(&text[..value.start]).to_ascii_uppercase();
                    hash.update(name.as_bytes());
                    hash.update(b"\0");
                    hash.update(head.bytes().filter(|b| !is_blank(*b)).collect::<Vec<u8>>());
                    hash.update(b"\0");
                    hash.update(trim(&text[value]));
                    hash.update(b"\n");
                }
            }
        }
        people.sort_unstable();
        people.dedup();
        for person in people {
            hash.update(person);
        }
        hash.finalize().into()
    }

    /// What a SENDEVENT must have: SEQUENCE, an owner, a further ATTENDEE (UID is there in every object that was read).
    pub fn require_sendevent(&self) -> Result<(), ObjectError> {
        let event = self.event();
        let missing = |property, remedy| Err(ObjectError::Missing { property, remedy });
        self.check_sequence()?;
        if event.sequence.is_none() {
            return missing("SEQUENCE", "it gives the version of the event and starts at 1");
        }
        let Some(owner) = &event.owner else {
            return missing("ATTENDEE;ROLE=OWNER", "name the owner, to whom attendees can RSVP");
        };
        if !event.attendees.iter().any(|a| a.address != owner.address) {
            return missing("ATTENDEE", "name at least one attendee beside the owner");
        }
        Ok(())
    }

    /// A SEQUENCE, when there is one, is a number within its bounds. Mail may leave it out (RFC 5546 3.2).
    pub fn check_sequence(&self) -> Result<(), ObjectError> {
        let event = self.event();
        let line = self.document.lines.iter().find(|l| &*l.name == "SEQUENCE");
        match line.filter(|_| event.sequence.is_none() || event.version.is_none()) {
            None => Ok(()),
            Some(line) => Err(ObjectError::Bad {
                property: "SEQUENCE",
                line: line.number,
                value: clip(&text::raw(&self.document.content(line))),
                remedy: match self.format() {
                    Format::ICalendar => "it must be a number from 0 to 2147483646",
                    _ => "it must be a number from 1 to 2147483647",
                },
            }),
        }
    }

    /// What an RSVP must have: an attendee with a status.
    pub fn require_rsvp(&self) -> Result<(), ObjectError> {
        if self.event().attendees.is_empty() && self.event().owner.is_none() {
            return Err(ObjectError::Missing { property: "ATTENDEE", remedy: "name the attendee who answers" });
        }
        if self.answers().is_empty() {
            let remedy = "say CONFIRMED, DECLINED, TENTATIVE, DELEGATED, COMPLETED or NEEDS ACTION for the attendee who answers";
            return Err(ObjectError::Missing { property: "STATUS", remedy });
        }
        Ok(())
    }
}

/// What an ATTENDEE or ORGANIZER line says beside its address; `None` when that is nothing.
fn person_digest(content: &Content) -> Option<[u8; 32]> {
    let mut params: Vec<String> =
        content.params.iter().filter(|p| p.name != "EMAIL").map(|p| format!("{}={}", p.name, p.value.to_ascii_uppercase())).collect();
    params.sort_unstable();
    let name = people::read_user(&text::raw(content)).and_then(|(_, name)| name).unwrap_or_default();
    if params.is_empty() && name.is_empty() && content.name == "ATTENDEE" {
        return None;
    }
    Some(Sha256::digest(format!("{}\0{}\0{name}", content.name, params.join(";"))).into())
}

/// The components that are events: VEVENT and VTODO, else VFREEBUSY, else the bare object itself. One that stands inside
/// another, whose END is missing, is one of its own.
pub(super) fn event_components(document: &Document) -> Result<Vec<usize>, ObjectError> {
    let find = |names: &[&str]| -> Vec<usize> {
        let all = document.components.iter().enumerate().skip(1);
        all.filter(|(_, c)| names.contains(&c.name.as_str())).map(|(i, _)| i).take(MAX_EVENTS + 1).collect()
    };
    let mut found = find(&["VEVENT", "VTODO"]);
    if found.is_empty() {
        found = find(&["VFREEBUSY"]);
    }
    match found.len() {
        0 if document.format == Format::Bare => Ok(vec![0]),
        0 => Err(ObjectError::NoEvent),
        n if n > MAX_EVENTS => Err(ObjectError::TooManyEvents { limit: MAX_EVENTS }),
        _ => Ok(found),
    }
}

fn extensions(document: &Document) -> (Vec<UserId>, Vec<Trace>) {
    let (mut recipients, mut seen, mut traces) = (Vec::new(), HashSet::new(), Vec::new());
    for line in &document.lines {
        if &*line.name == RECIPIENT && recipients.len() < MAX_PEOPLE {
            if let Some((user, _)) = people::read_user(&text::raw(&document.content(line)))
                && seen.insert(user.clone())
            {
                recipients.push(user);
            }
        } else if &*line.name == TRACE && traces.len() < MAX_TRACES {
            traces.push(Trace::read(&text::raw(&document.content(line))));
        }
    }
    (recipients, traces)
}

/// METHOD of the calendar; some write it inside the event.
pub(crate) fn method_of(document: &Document) -> Option<Method> {
    let within = |names: &[&str]| {
        let line = document.lines.iter().find(|l| &*l.name == "METHOD" && names.contains(&document.components[l.component].name.as_str()));
        line.map(|l| method(&text::raw(&document.content(l))))
    };
    within(&["", "VCALENDAR"]).or_else(|| within(&["VEVENT", "VTODO", "VFREEBUSY", "VJOURNAL"])).flatten()
}

pub(crate) fn method(word: &str) -> Option<Method> {
    Some(match word.trim().to_ascii_uppercase().as_str() {
        "PUBLISH" => Method::Publish,
        "REQUEST" => Method::Request,
        "REPLY" => Method::Reply,
        "ADD" => Method::Add,
        "CANCEL" => Method::Cancel,
        "REFRESH" => Method::Refresh,
        "COUNTER" => Method::Counter,
        "DECLINECOUNTER" => Method::DeclineCounter,
        _ => return None,
    })
}

fn event_status(word: &str) -> Option<EventStatus> {
    Some(match word.trim().to_ascii_uppercase().replace(' ', "-").as_str() {
        "TENTATIVE" => EventStatus::Tentative,
        "CONFIRMED" | "ACCEPTED" => EventStatus::Confirmed,
        "CANCELLED" | "CANCELED" => EventStatus::Cancelled,
        "NEEDS-ACTION" | "SENT" => EventStatus::NeedsAction,
        "COMPLETED" => EventStatus::Completed,
        "IN-PROCESS" => EventStatus::InProcess,
        _ => return None,
    })
}

/// Reads one event.
struct EventReader<'a> {
    document: &'a Document,
    zones: &'a Zones,
    place: usize,
    problems: &'a mut Vec<String>,
    answer: Option<PartStat>,
    first_line: usize,
    sequence: Option<(u32, usize)>,
    uid: Option<EventId>,
    seats: Vec<Seat>,
    seen: HashMap<UserId, usize>,
    duration: Option<Span>,
}

impl<'a> EventReader<'a> {
    fn new(document: &'a Document, zones: &'a Zones, place: usize, problems: &'a mut Vec<String>) -> Self {
        let first_line = document.components[place].lines.start;
        let first_line = document.lines.get(first_line).map_or(1, |l| l.number);
        Self {
            document,
            zones,
            place,
            problems,
            answer: None,
            first_line,
            sequence: None,
            uid: None,
            seats: Vec::new(),
            seen: HashMap::new(),
            duration: None,
        }
    }

    fn problem(&mut self, line: &Line, text: &str) {
        // The document keeps the first 50 of all; this keeps the list short while it is read.
        if self.problems.len() < 50 {
            self.problems.push(format!("line {}: {} {text}", line.number, line.name));
        }
    }

    fn read(&mut self, method: Option<Method>) -> Result<Event, ObjectError> {
        let format = self.document.format;
        let component = match self.document.components[self.place].name.as_str() {
            "VTODO" => Component::Todo,
            "VFREEBUSY" => Component::FreeBusy,
            _ if self.place == 0 && self.document.lines.iter().any(|l| &*l.name == "DUE") => Component::Todo,
            _ => Component::Event,
        };
        // The UID is put in its place once all lines have been read.
        let mut event = blank(format, component, method);
        let document = self.document;
        for (_, line) in document.lines_of(self.place) {
            self.line(line, &mut event)?;
        }
        let remedy = "the event-id of the form local-event-id@server-id must come with every object";
        event.uid = self.uid.take().ok_or(ObjectError::Missing { property: "UID", remedy })?;
        if event.end.is_none()
            && let (Some(start), Some(length)) = (&event.start, self.duration)
        {
            event.end = time::later(start, length, self.zones);
        }
        self.settle_version(&mut event);
        self.settle_people(&mut event);
        Ok(event)
    }

    fn line(&mut self, line: &Line, event: &mut Event) -> Result<(), ObjectError> {
        let name = &*line.name;
        if !is_read(name) {
            return Ok(());
        }
        let content = self.document.content(line);
        let readable = || Some(text::readable(&content, event.format)).filter(|t| !t.is_empty());
        match name {
            "UID" if self.uid.is_none() => {
                let value = text::unescape(&text::raw(&content), false);
                let remedy = "an event-id is 1 to 1024 octets without control characters";
                let bad = |_| ObjectError::Bad { property: "UID", line: line.number, value: clip(&value), remedy };
                self.uid = Some(EventId::parse(&value).map_err(bad)?);
            }
            "SEQUENCE" if self.sequence.is_none() => match number(&content) {
                Some(n) => self.sequence = Some((n, line.number)),
                None => self.problem(line, "is not a number"),
            },
            "RESPONSE-SEQUENCE" => event.response_sequence = number(&content),
            "ATTENDEE" | "ORGANIZER" => match people::seat(&content) {
                Some(seat) => self.sit(seat),
                None => self.problem(line, "without a user-id: passed on, not served"),
            },
            "DTSTART" | "DTEND" | "DUE" => {
                let Some(moment) = time::moment(&content, self.zones) else {
                    self.problem(line, "is not a time that can be read");
                    return Ok(());
                };
                if matches!(moment, Moment::Zoned { at: None, .. }) {
                    self.problem(line, "names a time zone that is not known");
                }
                let slot = if name == "DTSTART" { &mut event.start } else { &mut event.end };
                slot.get_or_insert(moment);
            }
            "DURATION" => self.duration = time::span(&text::raw(&content)),
            "RECURRENCE-ID" => event.recurrence_id = time::recurrence_id(&content, self.zones),
            "DTSTAMP" => event.dtstamp = time::instant(&content, self.zones),
            "LAST-MODIFIED" => event.last_modified = time::instant(&content, self.zones),
            "SUMMARY" => event.summary = readable().or(event.summary.take()),
            // The draft's own dialect says SUBJECT.
            "SUBJECT" => event.summary = event.summary.take().or_else(readable),
            "DESCRIPTION" => event.description = event.description.take().or_else(readable),
            "LOCATION" => event.location = event.location.take().or_else(readable),
            "COMMENT" => event.comment = event.comment.take().or_else(readable),
            "STATUS" => {
                let word = text::raw(&content);
                event.status = event_status(&word);
                self.answer = people::part_stat(&word);
            }
            "RRULE" | "EXRULE" if event.rules.len() < 100 => {
                let prefix = if name == "EXRULE" { "EXRULE:" } else { "" };
                event.rules.push(format!("{prefix}{}", text::raw(&content).trim()));
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds a person; the same address and place again fills in what was not said before.
    fn sit(&mut self, seat: Seat) {
        if seat.owner || seat.organizer {
            if self.seats.len() < MAX_PEOPLE {
                self.seats.push(seat);
            }
            return;
        }
        if let Some(&i) = self.seen.get(&seat.person.address) {
            let known = &mut self.seats[i].person;
            known.name = known.name.take().or(seat.person.name);
            known.status = known.status.or(seat.person.status);
            known.role = known.role.or(seat.person.role);
        } else if self.seats.len() < MAX_PEOPLE {
            self.seen.insert(seat.person.address.clone(), self.seats.len());
            self.seats.push(seat);
        }
    }

    fn settle_version(&mut self, event: &mut Event) {
        let sequence = self.sequence.map(|(n, _)| n);
        event.sequence = sequence;
        event.version = match event.format {
            // RFC 5546 3.2: SEQUENCE may be left out when it is 0. Whoever answers without one names no version.
            Format::ICalendar => {
                let organizer = [Method::Request, Method::Publish, Method::Add, Method::Cancel].map(Some).contains(&event.method);
                sequence.or(organizer.then_some(0)).map(|n| n + 1)
            }
            _ => sequence,
        };
        event.version = event.version.filter(|v| (1..=i32::MAX.unsigned_abs()).contains(v));
    }

    fn settle_people(&mut self, event: &mut Event) {
        let seats = std::mem::take(&mut self.seats);
        let owner = seats.iter().position(|s| s.owner).or_else(|| seats.iter().position(|s| s.organizer));
        event.owner = owner.map(|i| seats[i].person.clone());
        let special = |s: &Seat| s.owner || s.organizer;
        let owns = |s: &Seat| special(s) && event.owner.as_ref().is_some_and(|o| o.address == s.person.address);
        // Several lines may name one owner; a second ORGANIZER who is somebody else is an attendee, and may be one already.
        let twice = seats.iter().any(|s| special(s) && !owns(s));
        let mut seen = HashSet::new();
        let others = seats.into_iter().filter(|s| !owns(s)).filter(|s| !twice || seen.insert(s.person.address.clone()));
        let attendees = others.map(|s| s.person).collect();
        event.attendees = attendees;
    }
}

/// The properties that an [`Event`] is made of.
pub(super) fn is_read(name: &str) -> bool {
    const READ: [&str; 20] = [
        "UID",
        "SEQUENCE",
        "RESPONSE-SEQUENCE",
        "ATTENDEE",
        "ORGANIZER",
        "DTSTART",
        "DTEND",
        "DUE",
        "DURATION",
        "RECURRENCE-ID",
        "DTSTAMP",
        "LAST-MODIFIED",
        "SUMMARY",
        "SUBJECT",
        "DESCRIPTION",
        "LOCATION",
        "COMMENT",
        "STATUS",
        "RRULE",
        "EXRULE",
    ];
    READ.contains(&name)
}

/// Digits alone, below 2^31.
fn number(content: &Content) -> Option<u32> {
    let text = text::raw(content);
    let text = text.trim();
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten().filter(|n| *n <= i32::MAX.unsigned_abs())
}

/// An event of which nothing is known; the placeholder UID is replaced before anybody sees it.
fn blank(format: Format, component: Component, method: Option<Method>) -> Event {
    Event {
        format,
        component,
        method,
        uid: EventId::parse("unread").expect("a plain word is an event-id"),
        sequence: None,
        version: None,
        response_sequence: None,
        recurrence_id: None,
        dtstamp: None,
        last_modified: None,
        owner: None,
        attendees: Vec::new(),
        start: None,
        end: None,
        summary: None,
        description: None,
        location: None,
        comment: None,
        status: None,
        rules: Vec::new(),
        recipients: Vec::new(),
        traces: Vec::new(),
    }
}
