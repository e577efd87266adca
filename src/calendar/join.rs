//! A series and what belongs to it, in one iCalendar object: exceptions that came by themselves, and the instances of an
//! ADD (RFC 5546 3.2.4).
//!
//! Invariants: lines are taken over octet for octet; an exception takes the place of an earlier one of the same instance;
//! every time zone that is named stands in the object once, the series' own rules first.

use std::collections::HashSet;

use super::event::{Event, Format, Moment};
use super::object::Object;
use super::patch::Edits;
use super::property::Document;
use super::{ObjectError, compose, text};
use crate::clock::Timestamp;

/// Instances that one ADD may bring.
const ADDED: usize = 200;

impl Object {
    /// This series with exceptions of it from other objects. Objects that are no iCalendar stay out.
    pub fn joined(&self, exceptions: &[&Self]) -> Result<Self, ObjectError> {
        let calendar = self.document.components.iter().find(|c| c.name == "VCALENDAR" && c.closed);
        let Some(calendar) = calendar.filter(|_| self.format() == Format::ICalendar) else { return Self::parse(self.octets().to_vec()) };
        let mut edits = Edits::new(&self.document);
        let others = || exceptions.iter().filter(|o| o.format() == Format::ICalendar);
        let renewed: HashSet<&str> = others().flat_map(|o| o.events()).filter_map(|e| e.recurrence_id.as_deref()).collect();
        for (&place, event) in self.places.iter().zip(self.events()) {
            if event.recurrence_id.as_deref().is_some_and(|rid| renewed.contains(rid)) {
                self.document.components[place].lines.clone().for_each(|line| edits.drop_line(line));
            }
        }
        let mut zones: HashSet<String> = zones_of(&self.document).into_iter().map(|(id, _)| id).collect();
        let end = calendar.lines.end - 1;
        for other in others() {
            for (id, place) in zones_of(&other.document) {
                if zones.insert(id) {
                    edits.insert_octets(end, octets_of(&other.document, place));
                }
            }
            for (&place, _) in other.places.iter().zip(other.events()).filter(|(_, e)| e.recurrence_id.is_some()) {
                edits.insert_octets(end, octets_of(&other.document, place));
            }
        }
        Self::parse(edits.apply())
    }

    /// This series with the instances of an ADD, each of which says itself what it is. `None`: it adds nothing that can be
    /// read, or too much.
    pub fn with_added(&self, add: &Self) -> Option<Self> {
        if self.format() != Format::ICalendar || add.format() != Format::ICalendar || self.event().recurrence_id.is_some() {
            return None;
        }
        let found = add.instances(Timestamp::NEVER, ADDED);
        if !found.complete || found.starts.is_empty() {
            return None;
        }
        let mut edits = Edits::new(&self.document);
        let start = self.event().start.as_ref();
        let mut exceptions = Vec::new();
        for moment in &found.starts {
            let line = compose::moment_line_like("RDATE", moment, start, &self.zones).ok()?;
            edits.insert(self.places[0], &line);
            if differs(self.event(), add.event()) {
                exceptions.push(exception(add, moment, &line)?);
            }
        }
        let series = Self::parse(edits.apply()).ok()?;
        series.joined(&exceptions.iter().collect::<Vec<_>>()).ok()
    }
}

/// Whether an added instance is anything but another date of the series.
fn differs(series: &Event, added: &Event) -> bool {
    let length = |e: &Event| {
        let instant = |m: &Option<Moment>| m.as_ref().and_then(Moment::instant);
        instant(&e.end)?.millis().checked_sub(instant(&e.start)?.millis())
    };
    let texts = |e: &Event| [e.summary.clone(), e.location.clone(), e.description.clone()];
    length(series) != length(added) || texts(series) != texts(added)
}

/// The added event as the exception at one of its dates. `rdate` gives the date in the series' form.
fn exception(add: &Object, at: &Moment, rdate: &str) -> Option<Object> {
    let mut edits = Edits::new(&add.document);
    let place = add.places[0];
    let alone = add.event().start.as_ref().and_then(Moment::instant) == at.instant();
    for (index, line) in add.document.lines_of(place) {
        let times = !alone && matches!(&*line.name, "DTSTART" | "DTEND" | "DUE" | "DURATION");
        if times || matches!(&*line.name, "RRULE" | "RDATE" | "EXDATE" | "EXRULE") {
            edits.drop_line(index);
        }
    }
    if !alone {
        let start = add.event().start.as_ref();
        edits.insert(place, &compose::moment_line_like("DTSTART", at, start, &add.zones).ok()?);
        let (from, to) = (start?.instant()?, add.event().end.as_ref().and_then(Moment::instant));
        if let Some(seconds) = to.and_then(|to| to.millis().checked_sub(from.millis())).map(|ms| ms / 1000) {
            edits.insert(place, &format!("DURATION:PT{seconds}S"));
        }
    }
    edits.insert(place, &rdate.replacen("RDATE", "RECURRENCE-ID", 1));
    Object::parse(edits.apply()).ok()
}

/// The VTIMEZONEs of an object by their TZID.
fn zones_of(document: &Document) -> Vec<(String, usize)> {
    let zones = document.components.iter().enumerate().filter(|(_, c)| c.name == "VTIMEZONE" && c.closed);
    zones
        .filter_map(|(place, _)| {
            let (_, line) = document.lines_of(place).find(|(_, l)| &*l.name == "TZID")?;
            Some((text::raw(&document.content(line)).trim().to_owned(), place))
        })
        .collect()
}

/// A component as it stands, with a line end.
fn octets_of(document: &Document, place: usize) -> Vec<u8> {
    let lines = document.components[place].lines.clone();
    let (first, last) = (&document.lines[lines.start], &document.lines[lines.end - 1]);
    let mut octets = document.octets[first.span.start..last.span.end].to_vec();
    if !octets.ends_with(b"\n") {
        octets.extend_from_slice(b"\r\n");
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(events: &str) -> Object {
        let text = format!("BEGIN:VCALENDAR\nVERSION:2.0\n{events}END:VCALENDAR\n").replace('\n', "\r\n");
        Object::parse(text.into_bytes()).unwrap()
    }

    const ZONE: &str = "BEGIN:VTIMEZONE\nTZID:Here\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0100\nEND:STANDARD\nEND:VTIMEZONE\n";

    fn series() -> Object {
        object(&format!(
            "{ZONE}BEGIN:VEVENT\nUID:1\nDTSTART;TZID=Here:20270104T090000\nDTEND;TZID=Here:20270104T100000\n\
             RRULE:FREQ=WEEKLY;COUNT=3\nSUMMARY:S\nEND:VEVENT\n"
        ))
    }

    fn starts(object: &Object) -> Vec<String> {
        let found = object.instances(Timestamp::NEVER, 50);
        assert!(found.complete, "{:?}", found.problems);
        found.starts.iter().map(|m| crate::calendar::time::basic_utc(m.instant().unwrap())).collect()
    }

    #[test]
    fn an_exception_takes_the_place_of_an_earlier_one() {
        let moved = |hour: u32| {
            object(&format!(
                "{ZONE}{}BEGIN:VEVENT\nUID:1\nRECURRENCE-ID;TZID=Here:20270111T090000\nDTSTART;TZID=There:20270111T{hour}0000\nEND:VEVENT\n",
                ZONE.replace("Here", "There")
            ))
        };
        let once = series().joined(&[&moved(12)]).unwrap();
        let twice = once.joined(&[&moved(15)]).unwrap();
        assert_eq!(starts(&twice), ["20270104T080000Z", "20270111T140000Z", "20270118T080000Z"]);
        let text = String::from_utf8_lossy(twice.octets()).into_owned();
        assert_eq!((text.matches("BEGIN:VTIMEZONE").count(), text.matches("BEGIN:VEVENT").count()), (2, 2), "{text}");
        assert!(text.ends_with("END:VCALENDAR\r\n"), "{text}");
    }

    #[test]
    fn added_instances_are_dates_of_the_series_and_exceptions_where_they_differ() {
        let same = object("BEGIN:VEVENT\nUID:1\nDTSTART:20270120T080000Z\nDTEND:20270120T090000Z\nSUMMARY:S\nEND:VEVENT\n");
        let joined = series().with_added(&same).unwrap();
        assert_eq!(starts(&joined), ["20270104T080000Z", "20270111T080000Z", "20270118T080000Z", "20270120T080000Z"]);
        assert_eq!(joined.events().len(), 1);
        assert!(String::from_utf8_lossy(joined.octets()).contains("\r\nRDATE;TZID=Here:20270120T090000\r\n"));
        let longer = object(
            "BEGIN:VEVENT\nUID:1\nDTSTART:20270120T080000Z\nDTEND:20270120T110000Z\nRRULE:FREQ=DAILY;COUNT=2\nSUMMARY:Long\nEND:VEVENT\n",
        );
        let joined = series().with_added(&longer).unwrap();
        assert_eq!(starts(&joined)[3..], ["20270120T080000Z", "20270121T080000Z"]);
        let added: Vec<_> =
            joined.events()[1..].iter().map(|e| (e.recurrence_id.as_deref(), e.summary.as_deref(), e.rules.len())).collect();
        assert_eq!(added, [(Some("20270120T080000Z"), Some("Long"), 0), (Some("20270121T080000Z"), Some("Long"), 0)]);
        let end = joined.events()[2].end.as_ref().and_then(Moment::instant).unwrap();
        assert_eq!(crate::calendar::time::basic_utc(end), "20270121T110000Z");
        let endless = object("BEGIN:VEVENT\nUID:1\nDTSTART:20270120T080000Z\nRRULE:FREQ=DAILY\nEND:VEVENT\n");
        assert!(series().with_added(&endless).is_none());
    }
}
