//! An event cut down to what its times need: no titles, no people, nothing that would be private.
//!
//! The ledger keeps this of the newest state of an event, so that a question about free/busy times needs neither the
//! object nor the mail that it came in. Invariant: [`read::busy_times`](super::read::busy_times) reads the same times out
//! of it as out of the whole object.

use super::BusyError;
use super::series::Reading;
use crate::calendar::Object;
use crate::calendar::event::Format;
use crate::clock::Timestamp;

const OF_EVENT: [&str; 13] = [
    "UID",
    "SEQUENCE",
    "DTSTART",
    "DTEND",
    "DURATION",
    "RRULE",
    "EXRULE",
    "RDATE",
    "EXDATE",
    "RECURRENCE-ID",
    "STATUS",
    "TRANSP",
    "X-MICROSOFT-CDO-BUSYSTATUS",
];
const OF_ZONE: [&str; 6] = ["TZID", "TZOFFSETFROM", "TZOFFSETTO", "DTSTART", "RRULE", "RDATE"];
/// Of the calendar; in a bare object they stand beside the event's own.
const OF_CALENDAR: [&str; 2] = ["TZ", "DAYLIGHT"];

/// An event without anything but its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skeleton {
    /// A calendar of its own.
    pub octets: Vec<u8>,
    /// No time is taken before this.
    pub first: Timestamp,
    /// Nor after this; `None`: it repeats.
    pub last: Option<Timestamp>,
}

/// What a user has made of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attendance {
    /// It takes his time as it says.
    Takes,
    /// He may not come.
    Perhaps,
    /// It takes none of his time.
    No,
}

/// The times of an object. `None`: a to-do, or an event without DTSTART, which take no time.
pub fn skeleton(object: &Object) -> Result<Option<Skeleton>, BusyError> {
    let document = &object.document;
    let reading = Reading { document, zones: &object.zones, zone: "UTC" };
    let (mut first, mut last, mut any) = (Timestamp::NEVER, Some(Timestamp::default()), false);
    let events: Vec<usize> = object.places.iter().copied().filter(|&p| matches!(&*document.components[p].name, "VEVENT" | "")).collect();
    for &place in &events {
        let Some(times) = reading.times(place)? else { continue };
        any = true;
        let (start, end) = reading.reach(&times);
        first = first.min(start);
        last = last.zip(end).map(|(a, b)| a.max(b));
    }
    if !any || object.event().component != crate::calendar::event::Component::Event {
        return Ok(None);
    }
    Ok(Some(Skeleton { octets: cut(object, &events), first, last }))
}

fn cut(object: &Object, events: &[usize]) -> Vec<u8> {
    let document = &object.document;
    let bare = document.format == Format::Bare;
    let version = if document.format == Format::ICalendar { "2.0" } else { "1.0" };
    let mut out = format!("BEGIN:VCALENDAR\r\nVERSION:{version}\r\n").into_bytes();
    if bare {
        copy(object, 0, &OF_CALENDAR, &mut out);
    }
    for (at, component) in document.components.iter().enumerate().skip(usize::from(!bare)) {
        let parent = document.components[component.parent].name.as_str();
        let name = component.name.as_str();
        match name {
            "VCALENDAR" => copy(object, at, &OF_CALENDAR, &mut out),
            "VTIMEZONE" => {
                out.extend_from_slice(b"BEGIN:VTIMEZONE\r\n");
                copy(object, at, &OF_ZONE, &mut out);
                for (inner, part) in document.components.iter().enumerate().skip(at + 1) {
                    if part.parent == at && matches!(part.name.as_str(), "STANDARD" | "DAYLIGHT") {
                        out.extend_from_slice(format!("BEGIN:{}\r\n", part.name).as_bytes());
                        copy(object, inner, &OF_ZONE, &mut out);
                        out.extend_from_slice(format!("END:{}\r\n", part.name).as_bytes());
                    }
                }
                out.extend_from_slice(b"END:VTIMEZONE\r\n");
            }
            _ if events.contains(&at) && (bare || parent == "VCALENDAR" || parent.is_empty()) => {
                out.extend_from_slice(b"BEGIN:VEVENT\r\n");
                copy(object, at, &OF_EVENT, &mut out);
                out.extend_from_slice(b"END:VEVENT\r\n");
            }
            _ => {}
        }
    }
    out.extend_from_slice(b"END:VCALENDAR\r\n");
    out
}

fn copy(object: &Object, component: usize, names: &[&str], out: &mut Vec<u8>) {
    let document = &object.document;
    for (_, line) in document.lines_of(component).filter(|(_, l)| names.contains(&&*l.name)) {
        let text = document.joined(line);
        out.extend(text.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b }));
        out.extend_from_slice(b"\r\n");
    }
}

/// The skeleton with what the user has made of it.
pub fn attended(skeleton: &[u8], attendance: Attendance) -> Vec<u8> {
    const END: &str = "END:VEVENT\r\n";
    let text = String::from_utf8_lossy(skeleton);
    match attendance {
        Attendance::Takes => skeleton.to_vec(),
        Attendance::Perhaps => text.replace(END, &format!("STATUS:TENTATIVE\r\n{END}")).into_bytes(),
        Attendance::No => text.replace(END, &format!("TRANSP:TRANSPARENT\r\n{END}")).into_bytes(),
    }
}

/// One instance by its normalized RECURRENCE-ID ([`Event::recurrence_id`](crate::calendar::event::Event)), of which the
/// organizer never spoke by itself, for as many seconds.
pub fn instance(uid: &str, recurrence_id: &str, seconds: u64) -> Vec<u8> {
    let uid: String = uid.chars().filter(|c| !c.is_control()).collect();
    let date = if recurrence_id.len() == 8 { ";VALUE=DATE" } else { "" };
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:{uid}\r\nRECURRENCE-ID{date}:{recurrence_id}\r\nDTSTART{date}:{recurrence_id}\r\nDURATION:PT{seconds}S\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    .into_bytes()
}
