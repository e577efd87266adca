//! What must hold for any octets: shared by the fuzz targets here and by the short deterministic run in the ordinary
//! tests (`tests/invariants.rs`). A broken invariant panics, and says which.

#![allow(dead_code)]

use std::collections::BTreeSet;

use cip_relay::calendar::convert::{Options, Target, Translation, translate as convert};
use cip_relay::calendar::event::{Event, Format};
use cip_relay::calendar::{Object, ObjectError, crlf};
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

/// Any object, to both formats and back.
pub fn translate(octets: &[u8]) {
    reads(octets);
    for (target, other) in [(Target::ICalendar, Target::VCalendar), (Target::VCalendar, Target::ICalendar)] {
        let Ok(there) = convert(octets.to_vec(), target, &options()) else { continue };
        bounded(octets, &there);
        if let Ok(source) = Object::parse(octets.to_vec()) {
            same_event(&source, &there, target);
        }
        // It was in that format already.
        if crlf(there.octets.clone()) == crlf(octets.to_vec()) {
            continue;
        }
        let back = match convert(there.octets.clone(), other, &options()) {
            Ok(back) => back,
            // A journal or free/busy times in vCalendar's clothes, or no event at all.
            Err(ObjectError::NotInVCalendar { .. }) => continue,
            Err(error) => panic!("a translation cannot be translated back: {error}"),
        };
        bounded(&there.octets, &back);
        let third = convert(back.octets.clone(), target, &options()).expect("a translation can be translated twice");
        let again = convert(third.octets, other, &options()).expect("a translation can be translated back twice");
        assert_same(&back.octets, &again.octets);
    }
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
    assert_eq!(a.uid, b.uid, "another UID");
    assert_eq!(a.component, b.component, "another kind of component");
    assert_eq!(people(a), people(b), "other people");
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
