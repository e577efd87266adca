//! Times as points that can be compared across formats, and the instances of an event. The calendar's own zones decide;
//! the library reads them, since it is the mapping of zones that is compared here, not the reading of digits.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{NaiveDateTime, NaiveTime, TimeDelta};
use cip_relay::calendar::Object;
use cip_relay::calendar::event::Moment;
use cip_relay::clock::Timestamp;

use super::reader::{Line, Node};

/// A point in time, or on the wall clock where no zone is known. Ordered so that sets of it can be kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// Milliseconds since 1970.
    Instant(u64),
    Local(NaiveDateTime),
    /// What is no time.
    Words(String),
}

/// Ten years, over which instances are compared.
const SPAN: Duration = Duration::from_secs(3653 * 86_400);
/// Instances compared; beyond that both sides are cut at the same place.
const MOST: usize = 4_000;

impl Point {
    fn of(moment: &Moment) -> Self {
        match moment {
            Moment::Utc { at, .. } | Moment::Zoned { at: Some(at), .. } => Self::Instant(at.millis()),
            Moment::Zoned { local, .. } | Moment::Floating(local) => Self::Local(*local),
            Moment::Date(date) => Self::Local(date.and_time(NaiveTime::MIN)),
        }
    }

    pub fn later(&self, seconds: i64) -> Self {
        match self {
            Self::Instant(at) => Self::Instant(at.saturating_add_signed(seconds.saturating_mul(1000))),
            Self::Local(at) => {
                TimeDelta::try_seconds(seconds).and_then(|d| at.checked_add_signed(d)).map_or_else(|| self.clone(), Self::Local)
            }
            Self::Words(_) => self.clone(),
        }
    }

    /// A wall clock time read as UTC.
    pub fn in_utc(self) -> Self {
        match self {
            Self::Local(at) => Self::Instant(u64::try_from(at.and_utc().timestamp_millis()).unwrap_or(0)),
            other => other,
        }
    }

    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    fn is_midnight(&self) -> bool {
        matches!(self, Self::Local(at) if at.time() == NaiveTime::MIN)
    }

    /// The last second or minute of a day is the end of the day where all-day events have no type of their own.
    fn rounded(self) -> Self {
        match self {
            Self::Local(at) => match at.format("%H%M%S").to_string().as_str() {
                "235959" => Self::Local(at).later(1),
                "235900" => Self::Local(at).later(60),
                _ => Self::Local(at),
            },
            other => other,
        }
    }
}

/// One object with the octets that its nodes point into.
pub struct Side<'a> {
    pub root: &'a Node,
    pub octets: &'a [u8],
    /// BEGIN, the calendar's own lines and its zones.
    header: Vec<u8>,
}

impl<'a> Side<'a> {
    pub fn new(root: &'a Node, octets: &'a [u8]) -> Self {
        let mut header = b"BEGIN:VCALENDAR\r\n".to_vec();
        // METHOD asks for more of an event than a probe has.
        for line in root.lines.iter().filter(|l| l.name != "METHOD") {
            header.extend_from_slice(&octets[line.span.clone()]);
        }
        for zone in root.children.iter().filter(|c| c.name == "VTIMEZONE") {
            header.extend_from_slice(&octets[zone.span.clone()]);
        }
        if !header.ends_with(b"\n") {
            header.extend_from_slice(b"\r\n");
        }
        Self { root, octets, header }
    }

    /// The same where TZ and DAYLIGHT do not count: what is all-day or floats stands in local time beside them.
    pub fn floating(root: &'a Node, octets: &'a [u8]) -> Self {
        let mut side = Self::new(root, octets);
        side.header = b"BEGIN:VCALENDAR\r\n".to_vec();
        for line in root.lines.iter().filter(|l| !matches!(l.name.as_str(), "METHOD" | "TZ" | "DAYLIGHT")) {
            side.header.extend_from_slice(&octets[line.span.clone()]);
        }
        side
    }

    /// The same as an event with TZ and DAYLIGHT of its own sees it.
    pub fn of(&self, event: &Node) -> Self {
        let mut side = Self { root: self.root, octets: self.octets, header: self.header.clone() };
        if event.first("TZ").is_some() {
            side.header = Self::floating(self.root, self.octets).header;
            for line in event.lines.iter().filter(|l| matches!(l.name.as_str(), "TZ" | "DAYLIGHT")) {
                side.header.extend_from_slice(&self.octets[line.span.clone()]);
            }
        }
        side
    }

    pub fn modern(&self) -> bool {
        self.root.is_icalendar()
    }

    /// An object of these components alone, under one UID.
    pub fn object(&self, events: &[&Node]) -> Option<Object> {
        let mut octets = self.header.clone();
        for event in events {
            // What the UID is does not matter here; an odd one must not keep the times from being read.
            let text = &self.octets[event.span.clone()];
            let after = text.iter().position(|b| *b == b'\n').map_or(text.len(), |i| i + 1);
            octets.extend_from_slice(&text[..after]);
            octets.extend_from_slice(b"UID:probe\r\n");
            let mut at = event.span.start + after;
            for uid in event.all("UID") {
                octets.extend_from_slice(&self.octets[at..uid.span.start.max(at)]);
                at = uid.span.end.max(at);
            }
            octets.extend_from_slice(&self.octets[at..event.span.end]);
            if !octets.ends_with(b"\n") {
                octets.extend_from_slice(b"\r\n");
            }
        }
        octets.extend_from_slice(b"END:VCALENDAR\r\n");
        Object::parse(octets).ok()
    }

    /// A value as a point, read as a DTSTART of this calendar would be.
    pub fn point(&self, text: &str, params: &[(String, String)]) -> Point {
        let mut octets = self.header.clone();
        let param = |(name, value): &(String, String)| format!(";{name}=\"{value}\"");
        let params: String = params.iter().filter(|(n, _)| n == "TZID" || n == "VALUE").map(param).collect();
        octets.extend_from_slice(
            format!("BEGIN:VEVENT\r\nUID:probe\r\nDTSTART{params}:{text}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n").as_bytes(),
        );
        let object = Object::parse(octets).ok();
        let start = object.as_ref().and_then(|o| o.event().start.as_ref()).map(Point::of);
        start.unwrap_or_else(|| Point::Words(text.trim().to_ascii_uppercase()))
    }

    /// All times of a line that may list several.
    pub fn points(&self, line: &Line) -> BTreeSet<Point> {
        let text = line.raw();
        text.split([',', ';']).map(str::trim).filter(|t| !t.is_empty()).map(|t| self.point(t, &line.params)).collect()
    }

    /// Start and end of one component.
    pub fn bounds(&self, event: &Node) -> (Option<Point>, Option<Point>) {
        let object = self.object(&[event]);
        let read = object.as_ref().map(Object::event);
        let start = read.and_then(|e| e.start.as_ref()).map(Point::of);
        let end = read.and_then(|e| e.end.as_ref()).map(|m| Point::of(m).rounded());
        // A day that ends where it begins is that day.
        let day = start.is_some() && start == end && start.as_ref().is_some_and(Point::is_midnight);
        let end = if day { start.as_ref().map(|s| s.later(86_400)) } else { end };
        (start, end)
    }

    /// When the event takes place over ten years: all components of one UID together.
    pub fn instances(&self, events: &[&Node]) -> BTreeSet<Point> {
        let mut all = BTreeSet::new();
        let mut uids: Vec<Option<String>> = events.iter().map(|e| e.first("UID").map(Line::text)).collect();
        uids.sort();
        uids.dedup();
        let group = |uid| events.iter().copied().filter(|e| e.first("UID").map(Line::text) == uid).collect::<Vec<&Node>>();
        let objects: Vec<Object> = uids.into_iter().filter_map(|uid| self.object(&group(uid))).collect();
        // Instances that are events of their own do not last longer than their series.
        let first = objects.iter().filter_map(|o| o.event().start.as_ref()?.instant()).min();
        for object in &objects {
            all.extend(instances_until(object, first.unwrap_or_default().after(SPAN)));
        }
        all
    }
}

/// Starts of an object's instances before a time.
fn instances_until(object: &Object, until: Timestamp) -> Vec<Point> {
    object.instances(until, MOST).starts.iter().map(Point::of).collect()
}

/// `P1DT2H`, `-PT15M`, `P6W` in seconds.
pub fn seconds(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_uppercase();
    let (sign, body) = text.strip_prefix('-').map_or((1, text.strip_prefix('+').unwrap_or(&text)), |rest| (-1, rest));
    let (mut total, mut digits, mut clock) = (0i64, String::new(), false);
    for c in body.strip_prefix('P')?.chars() {
        let unit = match c {
            'T' => {
                clock = true;
                continue;
            }
            '0'..='9' => {
                digits.push(c);
                continue;
            }
            'W' => 604_800,
            'D' => 86_400,
            'H' => 3_600,
            'M' if clock => 60,
            'S' => 1,
            _ => return None,
        };
        total = total.checked_add(digits.parse::<i64>().ok()?.checked_mul(unit)?)?;
        digits.clear();
    }
    digits.is_empty().then_some(sign * total)
}
