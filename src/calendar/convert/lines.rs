//! What both directions share about content lines: which names have a place in the table, and the carriers that take
//! the others across.
//!
//! A carrier is a TEXT property whose value is a content line of the other format, or a whole VALARM with its lines
//! separated by line breaks. Invariant: a carrier restores nothing that the object itself says in a way that everybody
//! reads, so that two readers never see different people or times.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use crate::calendar::property::{Content, name_of};
use crate::calendar::{text, time};

/// In a vCalendar object: a line that only iCalendar has.
pub(super) const OF_ICALENDAR: &str = "X-CIP-ICAL";
/// In an iCalendar object: a line that only vCalendar has.
pub(super) const OF_VCALENDAR: &str = "X-CIP-VCAL";
/// In a vCalendar event: the name of the zone that its times had.
pub(super) const ZONE: &str = "X-CIP-TZID";
/// In a vCalendar event that was an exception: `uid;recurrence-id`.
pub(super) const SERIES: &str = "X-CIP-SERIES";
/// In a vCalendar event that is a series: an instance that an exception cancelled, `recurrence-id;SEQUENCE;DTSTAMP` as
/// the exception had them.
pub(super) const CANCELLED: &str = "X-CIP-CANCELLED";
/// In a VALARM: the sound or program of the alarm where it is a name that only its writer's system knows.
pub(super) const CONTENT: &str = "X-CIP-CONTENT";
/// In front of the name of a parameter that only the other format has.
pub(super) const PARAMETER: &str = "X-CIP-";

/// Longest line that a carrier holds; more is left out and listed.
pub(super) const MAX_CARRIED: usize = 16 * 1024;

/// Names with a place in the table, in either format. Sorted.
const PLACED: [&str; 49] = [
    "AALARM",
    "ATTACH",
    "ATTENDEE",
    "BEGIN",
    "CATEGORIES",
    "CLASS",
    "COMMENT",
    "COMPLETED",
    "CREATED",
    "DALARM",
    "DAYLIGHT",
    "DCREATED",
    "DESCRIPTION",
    "DTEND",
    "DTSTAMP",
    "DTSTART",
    "DUE",
    "DURATION",
    "END",
    "EXDATE",
    "EXRULE",
    "GEO",
    "LAST-MODIFIED",
    "LOCATION",
    "MALARM",
    "ORGANIZER",
    "PALARM",
    "PRIORITY",
    "PRODID",
    "RDATE",
    "RECURRENCE-ID",
    "RELATED-TO",
    "RESOURCES",
    "RESPONSE-SEQUENCE",
    "RNUM",
    "RRULE",
    "SEQUENCE",
    "STATUS",
    "SUBJECT",
    "SUMMARY",
    "TRANSP",
    "TZ",
    "TZID",
    "TZOFFSETFROM",
    "TZOFFSETTO",
    "UID",
    "URL",
    "VALARM",
    "VERSION",
];

/// Names that have a place and whose value may still say more than the other format can: what was carried of them is
/// restored when the line beside it says the same as far as it can.
const REFINED: [&str; 7] = ["CLASS", "EXRULE", "GEO", "PRIORITY", "RRULE", "STATUS", "TRANSP"];

pub(super) fn has_place(name: &str) -> bool {
    PLACED.binary_search(&name).is_ok()
}

/// The name of a zone without summer time: `UTC-0500`.
pub(super) fn offset_name(offset: i32) -> String {
    let (sign, size) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
    let mut name = format!("UTC{sign}{:02}{:02}", size / 3600, size / 60 % 60);
    if size % 60 != 0 {
        name.push_str(&format!("{:02}", size % 60));
    }
    name
}

/// The name of a zone that only TZ and DAYLIGHT describe, by its offsets on the first days of January and July 2000, which
/// is what a person knows such a zone by: `UTC+0100/+0200`.
pub(super) fn rules_name(offset: impl Fn(NaiveDateTime) -> i32) -> String {
    let on = |month| NaiveDate::from_ymd_opt(2000, month, 1).map_or(0, |day| offset(day.and_time(NaiveTime::MIN)));
    let (winter, summer) = (on(1), on(7));
    if winter == summer { offset_name(winter) } else { format!("{}/{}", offset_name(winter), &offset_name(summer)[3..]) }
}

/// The offset in a name that [`offset_name`] made, in seconds east of UTC.
pub(super) fn offset_of(name: &str) -> Option<i32> {
    let offset = time::offset_seconds(name.strip_prefix("UTC").filter(|n| n.starts_with(['+', '-']))?)?;
    (offset_name(offset) == name).then_some(offset)
}

/// What a carrier's value restores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Restored {
    /// A line that the other format has no place for: it goes in as it is.
    Line(String),
    /// A line that says exactly what stands beside it in fewer words. The direction compares the two: what contradicts
    /// is not restored.
    Refining { name: String, line: String },
    /// The lines of a VALARM, BEGIN and END with them.
    Alarm(Vec<String>),
}

/// Where a carrier stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Calendar,
    /// An event or to-do.
    Event,
}

impl Place {
    /// Whether a line that only one format has may stand here. A name that neither knows may stand anywhere.
    fn holds(self, name: &str) -> bool {
        match name {
            "CALSCALE" | "METHOD" | "NAME" | "REFRESH-INTERVAL" | "SOURCE" => self == Self::Calendar,
            "CONFERENCE" | "CONTACT" | "FREEBUSY" | "PERCENT-COMPLETE" | "REQUEST-STATUS" => self == Self::Event,
            // Of an alarm or a zone.
            "ACKNOWLEDGED" | "ACTION" | "PROXIMITY" | "REPEAT" | "TRIGGER" | "TZNAME" | "TZUNTIL" | "TZURL" => false,
            _ => true,
        }
    }
}

/// Reads a carrier's value, unescaped. `None`: not a content line, or one that a carrier in that place may not bring.
pub(super) fn restored(text: &str, place: Place) -> Option<Restored> {
    #[cfg(test)]
    tests::READ.with(|read| read.set(read.get() + 1));
    let text = text.trim_matches(['\r', '\n']);
    if text.len() > MAX_CARRIED || text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return None;
    }
    if text.contains('\n') {
        return alarm(text).filter(|_| place == Place::Event).map(Restored::Alarm);
    }
    let name = name(text)?;
    if REFINED.contains(&name.as_str()) {
        return Some(Restored::Refining { name, line: text.to_owned() });
    }
    let free = !has_place(&name) && place.holds(&name) && !name.starts_with(PARAMETER) && !text.contains('\r');
    free.then(|| Restored::Line(text.to_owned()))
}

/// The UID that a line gives: neither format has controls in one, and blanks around it say nothing (as in
/// [`crate::ident::EventId::parse`]).
pub(super) fn uid(content: &Content) -> Option<String> {
    let uid: String = text::unescape(&text::raw(content), false).chars().filter(|c| !c.is_control()).collect();
    Some(uid.trim_matches([' ', '\t']).to_owned()).filter(|u| !u.is_empty())
}

/// STATUS of vCalendar in the words that iCalendar has for its component, and whether it says the same (bridge 2); empty
/// for a word that it does not have.
pub(super) fn status(word: &str, todo: bool) -> (&'static str, bool) {
    let word: String = word.chars().filter(|c| !matches!(c, ' ' | '-' | '_')).map(|c| c.to_ascii_uppercase()).collect();
    match (word.as_str(), todo) {
        ("CANCELLED" | "CANCELED", _) => ("CANCELLED", true),
        ("TENTATIVE", false) => ("TENTATIVE", true),
        ("CONFIRMED", false) => ("CONFIRMED", true),
        ("ACCEPTED", false) => ("CONFIRMED", false),
        ("NEEDSACTION", true) => ("NEEDS-ACTION", true),
        ("SENT", true) => ("NEEDS-ACTION", false),
        ("COMPLETED", true) => ("COMPLETED", true),
        ("INPROCESS", true) => ("IN-PROCESS", true),
        ("ACCEPTED" | "CONFIRMED", true) => ("IN-PROCESS", false),
        _ => ("", false),
    }
}

/// vCalendar writes longitude first, iCalendar latitude.
pub(super) fn geo_in_icalendar(value: &str) -> Option<String> {
    let (longitude, latitude) = value.split_once([',', ';'])?;
    let (longitude, latitude) = (longitude.trim(), latitude.trim());
    let within = |text: &str, most: f64| text.len() < 40 && text.parse::<f64>().is_ok_and(|n| n.abs() <= most);
    (within(longitude, 180.0) && within(latitude, 90.0)).then(|| format!("{latitude};{longitude}"))
}

/// The addresses in a parameter that lists some, each in quotes or not.
pub(super) fn addresses(value: &str) -> impl Iterator<Item = &str> {
    value.split(['"', ',']).map(str::trim).filter(|part| !part.is_empty())
}

/// Several values of a parameter, each in quotes of its own, as they may stand in a line.
pub(super) fn is_quoted_list(value: &str) -> bool {
    let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    !value.contains(|c: char| c.is_control()) && inner.is_some_and(|inner| inner.split("\",\"").all(|part| !part.contains('"')))
}

/// The name of a content line, in upper case.
pub(super) fn name(line: &str) -> Option<String> {
    let (name, _) = name_of(line.as_bytes())?;
    Some(String::from_utf8_lossy(name).to_ascii_uppercase())
}

/// A whole VALARM without components inside it.
fn alarm(text: &str) -> Option<Vec<String>> {
    let lines: Vec<String> = text.lines().map(|l| l.trim_end_matches('\r').to_owned()).collect();
    let [first, inner @ .., last] = &lines[..] else { return None };
    let ends = first.eq_ignore_ascii_case("BEGIN:VALARM") && last.eq_ignore_ascii_case("END:VALARM");
    let plain = |l: &String| !l.contains('\r') && name(l).is_some_and(|n| n != "BEGIN" && n != "END");
    (ends && inner.iter().all(plain)).then_some(lines)
}

/// Parameters of the other format travel under [`PARAMETER`]; these may not, since everybody reads them otherwise.
pub(super) fn param_restores(name: &str) -> bool {
    const READ: [&str; 10] = ["CHARSET", "CN", "EMAIL", "ENCODING", "PARTSTAT", "RSVP", "STATUS", "TYPE", "TZID", "VALUE"];
    !name.is_empty() && !READ.contains(&name) && !name.starts_with(PARAMETER)
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// Carriers read by this thread.
        pub static READ: Cell<usize> = const { Cell::new(0) };
    }

    /// In either place.
    fn anywhere(text: &str) -> Option<Restored> {
        restored(text, Place::Event).or_else(|| restored(text, Place::Calendar))
    }

    #[test]
    fn the_names_are_sorted() {
        assert!(PLACED.is_sorted());
        assert!(REFINED.iter().all(|n| has_place(n)));
    }

    #[test]
    fn a_carrier_restores_what_has_no_place_alone() {
        for line in ["METHOD:REQUEST", "COLOR:red", "request-status;LANGUAGE=en:2.0;ok", "X-WR-CALNAME:a"] {
            assert_eq!(anywhere(line), Some(Restored::Line(line.to_owned())));
        }
        for line in [
            "ATTENDEE:mailto:a@b.com",
            "dtstart:20260101",
            "BEGIN:VEVENT",
            "END:VEVENT",
            "X-CIP-RCPT:a@b.com",
            "no line",
            "COLOR:a\rDTSTART:20260101",
            "COLOR:red\nATTENDEE:mailto:a@b.com",
            "BEGIN:VALARM\nEND:VEVENT\nEND:VALARM",
            "",
            "TRIGGER:-PT5M",
            "action:EMAIL",
        ] {
            assert_eq!(anywhere(line), None, "{line}");
        }
        let rule = "RRULE:FREQ=DAILY";
        assert_eq!(anywhere(rule), Some(Restored::Refining { name: "RRULE".into(), line: rule.into() }));
        let alarm = ["BEGIN:VALARM", "ACTION:AUDIO", "TRIGGER:-PT5M", "END:VALARM"];
        assert_eq!(anywhere(&alarm.join("\r\n")), Some(Restored::Alarm(alarm.map(str::to_owned).to_vec())));
        assert_eq!(restored(&alarm.join("\n"), Place::Calendar), None);
        assert_eq!(restored("METHOD:REQUEST", Place::Event), None);
        assert_eq!(restored("PERCENT-COMPLETE:5", Place::Calendar), None);
    }
}
