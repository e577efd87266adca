//! What must hold for any octets: shared by the fuzz targets here and by the short deterministic run in the ordinary
//! tests (`tests/invariants.rs`). A broken invariant panics, and says which.
//!
//! Nothing panics, what is written is whole calendars within bounds, and it reads back as the same event. There and back
//! twice is the same as once for an object that the reader has nothing to say against. One that it refuses or reports a
//! problem of (a line that is no property, a missing END or UID, a zone that nobody knows) is put in order by its first
//! translation, which may take the way back too: of such a one, there and back a third time must be the same as twice,
//! and the second must name the same UID, people and number of events as the first. What cannot be read has no meaning
//! that a translation could keep; who is in an event, and which event it is, always counts.

#![allow(dead_code)]

use std::collections::BTreeSet;

use cip_relay::calendar::convert::{Options, Target, Translation, translate as convert};
use cip_relay::calendar::event::{Event, Format};
use cip_relay::calendar::{Object, ObjectError, crlf, stream};
use cip_relay::clock::Timestamp;

/// Any time does, as long as it is always the same.
fn options() -> Options {
    Options { now: Timestamp::from_millis(946_684_800_000), notes: true }
}

/// The line reader: one property (or many) in an object of each format.
pub fn property(octets: &[u8]) {
    for (head, tail) in [
        ("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:one\r\n", "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"),
        ("BEGIN:VCALENDAR\r\nVERSION:1.0\r\nBEGIN:VEVENT\r\nUID:one\r\n", "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"),
        ("UID:one\r\n", "\r\n"),
    ] {
        reads(&[head.as_bytes(), octets, tail.as_bytes()].concat());
    }
    reads(octets);
}

/// An event in vCalendar 1.0, and its translation.
pub fn vcalendar(octets: &[u8]) {
    let (head, tail) = ("BEGIN:VCALENDAR\r\nVERSION:1.0\r\n", "\r\nEND:VCALENDAR\r\n");
    translate(&[head.as_bytes(), octets, tail.as_bytes()].concat());
    let (head, tail) = ("BEGIN:VCALENDAR\r\nVERSION:1.0\r\nBEGIN:VEVENT\r\nUID:one\r\n", "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n");
    translate(&[head.as_bytes(), octets, tail.as_bytes()].concat());
}

/// The draft's dialect, and its translation.
pub fn bare(octets: &[u8]) {
    translate(&[b"UID:one\r\n", octets].concat());
    translate(octets);
}

/// Reading changes nothing and always says the same.
fn reads(octets: &[u8]) {
    let Ok(object) = Object::parse(octets.to_vec()) else { return };
    assert_eq!(object.octets(), octets, "reading changed the octets");
    let event = object.event();
    assert!(event.version.is_none_or(|v| (1..=2_147_483_647).contains(&v)), "a version out of its bounds");
    assert!(object.problems().len() <= 50, "an unbounded list of problems");
    let lines = crlf(octets.to_vec());
    assert_eq!(crlf(lines.clone()), lines, "line ends are not settled after once");
    // A CR that ends no line becomes a blank, which is another content.
    let stray = octets.iter().enumerate().any(|(i, b)| *b == b'\r' && octets.get(i + 1) != Some(&b'\n'));
    if let (Ok(same), false) = (Object::parse(lines), stray) {
        assert_eq!(same.digest(), object.digest(), "line ends count in the digest");
    }
}

/// Whatever it is, translating it there and back ends, within bounds.
pub fn survives(octets: &[u8]) {
    for (target, other) in [(Target::ICalendar, Target::VCalendar), (Target::VCalendar, Target::ICalendar)] {
        let Ok(there) = convert(octets.to_vec(), target, &options()) else { continue };
        bounded(octets, &there);
        if let Ok(back) = convert(there.octets.clone(), other, &options()) {
            bounded(&there.octets, &back);
        }
    }
}

/// Any object, to both formats and back; of several calendars, each by itself.
pub fn translate(octets: &[u8]) {
    reads(octets);
    survives(octets);
    for piece in stream::objects(octets) {
        let Ok(piece) = stream::framed(&octets[piece]) else { continue };
        for (target, other) in [(Target::ICalendar, Target::VCalendar), (Target::VCalendar, Target::ICalendar)] {
            there_and_back(&piece, target, other);
        }
    }
}

fn there_and_back(octets: &[u8], target: Target, other: Target) {
    let Ok(there) = convert(octets.to_vec(), target, &options()) else { return };
    // What is in that format already stays as it is, broken or not.
    if there.octets == crlf(octets.to_vec()) {
        return;
    }
    well_formed(&there, target);
    if let Ok(source) = Object::parse(octets.to_vec()) {
        same_event(&source, &there, target);
    }
    let back = match convert(there.octets.clone(), other, &options()) {
        Ok(back) => back,
        // A journal or free/busy times in vCalendar's clothes, or no event at all.
        Err(ObjectError::NotInVCalendar { .. }) => return,
        Err(error) => panic!("a translation cannot be translated back: {error}\n{}", String::from_utf8_lossy(&there.octets)),
    };
    bounded(&there.octets, &back);
    well_formed(&back, other);
    let third = convert(back.octets.clone(), target, &options()).expect("a translation can be translated twice");
    let again = convert(third.octets, other, &options()).expect("a translation can be translated back twice");
    if Object::parse(octets.to_vec()).is_ok_and(|object| object.problems().is_empty()) {
        return assert_same(&back.octets, &again.octets);
    }
    if let (Ok(once), Ok(twice)) = (Object::parse(back.octets), Object::parse(again.octets.clone())) {
        assert_eq!(once.event().uid, twice.event().uid, "another UID at the second time");
        assert_eq!(once.events().len(), twice.events().len(), "other instances at the second time");
        assert_eq!(people(once.event()), people(twice.event()), "other people at the second time");
    }
    let third = convert(again.octets.clone(), target, &options()).expect("a translation can be translated a third time");
    let last = convert(third.octets, other, &options()).expect("a translation can be translated back a third time");
    assert_same(&again.octets, &last.octets);
}

/// Rules become up to a hundred dates each, and a zone a few lines; nothing else may grow much.
fn bounded(octets: &[u8], translation: &Translation) {
    let most = octets.len().saturating_mul(256).saturating_add(64 * 1024);
    assert!(translation.octets.len() <= most, "{} octets became {}", octets.len(), translation.octets.len());
    assert!(translation.losses.len() <= octets.len() + 100, "{} losses of {} octets", translation.losses.len(), octets.len());
}

fn format_of(target: Target) -> Format {
    match target {
        Target::ICalendar => Format::ICalendar,
        Target::VCalendar => Format::VCalendar,
    }
}

/// What is written is calendars alone: each line is a property, what begins is ended, and no line holds another one.
fn well_formed(translation: &Translation, target: Target) {
    let text = std::str::from_utf8(&translation.octets).expect("the translation is not in UTF-8");
    let fault = |what: &str, line: &str| panic!("the translation is not well formed: {what} at {line:?}\n{text}");
    let mut open: Vec<String> = Vec::new();
    let mut lines = text.split_terminator("\r\n").peekable();
    while let Some(line) = lines.next() {
        if line.contains(['\r', '\n']) {
            fault("a line end inside a line", line);
        }
        // What continues a line: folding, soft line breaks, the folded lines of base64 with an empty one at the end.
        let (mut last, mut whole) = (line, line.to_owned());
        let quoted = target == Target::VCalendar && line.split(':').next().unwrap_or_default().contains(";ENCODING=QUOTED-PRINTABLE");
        while lines.peek().is_some_and(|next| next.starts_with(' ') || quoted && last.ends_with('=')) {
            last = lines.next().unwrap_or_default();
            whole.push_str(last.strip_prefix(' ').unwrap_or(last));
        }
        // A long name may be folded too.
        let line = whole.as_str();
        if line.is_empty() {
            continue;
        }
        let name = line.split([':', ';']).next().unwrap_or_default();
        let token = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if name.is_empty() || !token || name.len() == line.len() {
            fault("no property", line);
        }
        match (name, line.get(name.len() + 1..).unwrap_or_default()) {
            ("BEGIN", component) => open.push(component.to_owned()),
            ("END", component) if open.pop().as_deref() != Some(component) => fault("END without its BEGIN", line),
            ("END", _) => {}
            _ if open.is_empty() => fault("a line outside of the calendar", line),
            _ => {}
        }
    }
    if !open.is_empty() || !text.starts_with("BEGIN:VCALENDAR\r\n") || !text.ends_with("\r\n") {
        fault("no whole calendars", "");
    }
}

/// What is written reads back as the same event.
fn same_event(source: &Object, there: &Translation, target: Target) {
    let read = match Object::parse(there.octets.clone()) {
        Ok(read) => read,
        // An instance of a series is an event of its own in vCalendar.
        Err(ObjectError::SeveralEvents { .. }) if source.events().len() > 1 => return,
        Err(error) => panic!("the translation cannot be read: {error}\n{}", String::from_utf8_lossy(&there.octets)),
    };
    assert_eq!(read.format(), format_of(target), "the translation is in the wrong format");
    let (a, b) = (source.event(), read.event());
    // An instance of a series has an event-id of its own in vCalendar (bridge 2).
    let instance = target == Target::VCalendar && a.recurrence_id.is_some();
    assert!(instance || a.uid == b.uid, "another UID: {} became {}", a.uid, b.uid);
    assert_eq!(a.component, b.component, "another kind of component");
    // A delegate is a further attendee (bridge 2).
    // Wherever its name is folded.
    let plain: Vec<u8> = source.octets().iter().copied().filter(|b| !b.is_ascii_whitespace() && *b != b'=').collect();
    let delegates = plain.windows(12).filter(|w| w.eq_ignore_ascii_case(b"DELEGATED-TO")).count();
    let (before, after) = (people(a), people(b));
    assert!(after.is_superset(&before) && after.len() <= before.len() + delegates, "other people: {before:?} became {after:?}");
    let lost = |names: &[&str]| there.losses.iter().any(|l| names.contains(&l.property.as_str()));
    if !lost(&["SEQUENCE"]) {
        assert_eq!(a.version.unwrap_or(1), b.version.unwrap_or(1), "another version");
    }
    if !lost(&["DTSTART", "TZID", "VTIMEZONE", "TZ", "DAYLIGHT"]) {
        let start = |e: &Event| e.start.as_ref().and_then(cip_relay::calendar::event::Moment::instant);
        assert_eq!(start(a), start(b), "another start");
    }
}

fn people(event: &Event) -> BTreeSet<String> {
    event.owner.iter().chain(&event.attendees).map(|p| p.address.to_string().to_ascii_lowercase()).collect()
}

fn assert_same(first: &[u8], second: &[u8]) {
    if first != second {
        let (a, b) = (String::from_utf8_lossy(first), String::from_utf8_lossy(second));
        let differs = a.lines().zip(b.lines()).find(|(x, y)| x != y);
        panic!("there and back twice is not the same as once: first at {differs:?}\n--- once\n{a}\n--- twice\n{b}");
    }
}
