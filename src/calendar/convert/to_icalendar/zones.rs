//! The zones of a calendar: by which name and rules each is written, and its VTIMEZONE.
//!
//! Invariants: a name stands for one set of rules in a calendar; the object's own rules come before the world's of that
//! name (bridge 8).

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::rc::Rc;

use chrono::{Datelike, NaiveDateTime};

use super::times::{By, Form, When};
use crate::calendar::convert::lines;
use crate::calendar::event::Format;
use crate::calendar::property::{Content, Document};
use crate::calendar::recur::{Until, ical, vcal};
use crate::calendar::text;
use crate::calendar::time;
use crate::calendar::zone::{Rules, Zones};

/// Years that TZ and DAYLIGHT are written for where a rule has no end, counted from when it was written.
const YEARS_ON: i32 = 5;

/// The zones, in lower case, that X-CIP-TZID names and that TZ and DAYLIGHT give other rules than the world does, in the
/// years of the events that are written in their local time: an old VTIMEZONE that came with its object.
pub(super) fn redefined(document: &Document, zones: &Zones) -> HashSet<String> {
    let mut years: HashMap<String, (usize, RangeInclusive<i32>)> = HashMap::new();
    // The first of an event counts.
    let mut places = HashSet::new();
    for line in document.lines.iter().filter(|l| &*l.name == lines::ZONE && places.insert(l.component)) {
        let id = text::readable(&document.content(line), Format::VCalendar).to_lowercase();
        let Some(some) = years_of(document, line.component) else { continue };
        let (_, all) = years.entry(id).or_insert_with(|| (line.component, some.clone()));
        *all = *all.start().min(some.start())..=*all.end().max(some.end());
    }
    let differs = |(id, (place, years)): &(String, (usize, RangeInclusive<i32>))| {
        let zones = zones.of(*place);
        zones.local.is_some() && zones.instant(NaiveDateTime::default(), id).is_some() && !zones.local_is(id, years)
    };
    years.into_iter().filter(differs).map(|(id, _)| id).collect()
}

/// The years of an event that is written in local time: from its start to the last instance that is known, or some
/// years on.
fn years_of(document: &Document, place: usize) -> Option<RangeInclusive<i32>> {
    let contents: Vec<Content> = document.lines_of(place).map(|(_, l)| document.content(l)).collect();
    let find = |name: &str| contents.iter().filter(|c| c.name == name).find_map(When::read);
    let start = find("DTSTART").or_else(|| find("DUE")).filter(|w| w.stamp.has_time && w.stamp.offset.is_none() && w.zone.is_none())?;
    let first = start.stamp.date.year();
    let mut last = first;
    for content in contents.iter().filter(|c| c.name == "RRULE" && !c.value.is_empty()) {
        let raw = text::raw(content);
        let until = vcal::Rule::parse(raw.trim()).map(|r| r.until).or_else(|_| ical::Rule::parse(raw.trim()).map(|r| r.until));
        last = last.max(match until.ok().flatten() {
            Some(Until::Date(date)) => date.year(),
            Some(Until::Local(end) | Until::Utc(end)) => end.year(),
            None => {
                let written = ["DTSTAMP", "LAST-MODIFIED", "DCREATED"].into_iter().filter_map(find);
                written.map(|w| w.stamp.date.year()).max().unwrap_or(first).max(first) + YEARS_ON
            }
        });
    }
    for content in contents.iter().filter(|c| c.name == "RDATE") {
        let raw = text::raw(content);
        last = raw.split([';', ',']).filter_map(|d| Some(time::parse(d)?.date.year())).fold(last, i32::max);
    }
    Some(first..=last)
}

/// The form of times that only TZ and DAYLIGHT describe.
pub(super) fn by_rules(rules: &Rules) -> Form {
    Form::Zone { id: lines::rules_name(|local| rules.offset(local)), by: By::Rules }
}

/// A zone that a calendar needs a VTIMEZONE of, with the years of its times.
pub(super) struct ZoneUse {
    by: By,
    first: i32,
    last: i32,
    /// Whose TZ and DAYLIGHT describe it.
    zones: Rc<Zones>,
}

impl ZoneUse {
    pub fn new(by: By, at: NaiveDateTime, zones: Rc<Zones>) -> Self {
        Self { by, first: at.year(), last: at.year(), zones }
    }

    /// Whether it has the same rules.
    pub fn is(&self, by: By, zones: &Rc<Zones>) -> bool {
        self.by == by && (by != By::Rules || Rc::ptr_eq(&self.zones, zones) || self.zones.local == zones.local)
    }

    pub fn widen(&mut self, at: NaiveDateTime) {
        self.first = self.first.min(at.year());
        self.last = self.last.max(at.year());
    }

    /// Whether a VTIMEZONE can say it.
    pub fn has_rules(&self, id: &str) -> bool {
        matches!(self.by, By::Offset(_)) || self.rules(id).is_some()
    }

    /// The content lines of its VTIMEZONE; none for a zone that nobody knows.
    pub fn lines(&self, id: &str) -> Vec<String> {
        match self.by {
            By::Offset(offset) => fixed(id, offset),
            _ => self.rules(id).map(|rules| rules.vtimezone(id)).unwrap_or_default(),
        }
    }

    fn rules(&self, id: &str) -> Option<Rules> {
        match self.by {
            By::Rules => self.zones.local.clone(),
            By::Name => Zones::world(id, self.first..=self.last),
            By::Offset(_) | By::Nobody => None,
        }
    }
}

fn fixed(id: &str, offset: i32) -> Vec<String> {
    let name = lines::offset_name(offset);
    let offset = &name[3..];
    [
        "BEGIN:VTIMEZONE",
        &format!("TZID:{}", text::escape(id)),
        "BEGIN:STANDARD",
        "DTSTART:19700101T000000",
        &format!("TZOFFSETFROM:{offset}"),
        &format!("TZOFFSETTO:{offset}"),
        "END:STANDARD",
        "END:VTIMEZONE",
    ]
    .map(str::to_owned)
    .to_vec()
}
