//! TZ and DAYLIGHT of vCalendar 1.0, read and written (`TRUE;-04;19960407T020000;19961027T020000;EST;EDT`).
//!
//! A summer starts at a standard wall time and ends at a summer wall time. The years before the first DAYLIGHT and after
//! the last follow the nearest one: the same weekday of the same week of the month.
//!
//! Invariants: what is written reads back to the same offsets in the years asked, or nothing is written.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

use calcard::common::timezone::Tz;
use chrono::{Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime};

use super::rules::{Change, Observance, Rules, Yearly, wall};
use super::world::{changes, year_start};
use super::{names, world, write};
use crate::calendar::error::clip;
use crate::calendar::event::Format;
use crate::calendar::property::Document;
use crate::calendar::{text, time};

/// DAYLIGHT lines read of one object.
const MAX_READ: usize = 100;
/// Years that get a DAYLIGHT of their own, and years that must come out right.
const MAX_WRITTEN: i32 = 12;
const MAX_YEARS: i32 = 60;
/// The pattern of the first DAYLIGHT holds for so many years before it.
const YEARS_BEFORE: i32 = 60;
/// A period of more than a year, and one that can only mean the first and the last year of a yearly one.
const LONG: i64 = 366;
const YEARS_LONG: i64 = 731;
/// How often what was written is read and written again until it stays the same.
const MAX_PASSES: usize = 4;
/// Answers that are kept, and the largest rules among them.
const MAX_KEPT: usize = 32;
const KEPT_PARTS: usize = 8;
const KEPT_ONSETS: usize = 64;
/// Years of a zone that TZ names.
const NAMED_YEARS: RangeInclusive<i32> = 1980..=2037;

/// TZ and DAYLIGHT of a vCalendar or bare object.
#[derive(Default)]
pub(super) struct Found {
    /// Of the calendar; `None` without TZ.
    pub local: Option<Rules>,
    /// Of events that have their own, by component.
    pub inside: HashMap<usize, Rules>,
    /// What was not understood.
    pub problems: Vec<String>,
}

/// The values in one place.
#[derive(Default)]
struct Values {
    zones: Vec<String>,
    summers: Vec<String>,
}

/// Reads TZ and DAYLIGHT of the calendar, and of each event that has them inside, as phones write them.
pub(super) fn read(document: &Document) -> Found {
    let mut found = Found::default();
    let mut places: BTreeMap<usize, Values> = BTreeMap::new();
    if document.format == Format::ICalendar {
        return found;
    }
    for line in document.lines.iter().filter(|l| matches!(&*l.name, "TZ" | "DAYLIGHT")) {
        let place = match &*document.components[line.component].name {
            "" | "VCALENDAR" => 0,
            "VEVENT" | "VTODO" | "VJOURNAL" | "VFREEBUSY" => line.component,
            _ => continue,
        };
        let values = places.entry(place).or_default();
        let list = if &*line.name == "TZ" { &mut values.zones } else { &mut values.summers };
        let value = text::raw(&document.content(line)).trim().to_owned();
        if !value.is_empty() && list.len() < MAX_READ {
            list.push(value);
        }
    }
    let mut reader = Reader::default();
    let outer = places.remove(&0).unwrap_or_default();
    let calendar = reader.given(&outer.zones);
    found.local = reader.rules(calendar.as_ref(), &outer.summers);
    for (place, values) in places {
        let given = reader.given(&values.zones);
        // A TZ that nobody understands leaves the calendar's in force.
        let rules = reader.rules(given.as_ref().or(calendar.as_ref()), &values.summers);
        if let Some(rules) = rules.filter(|_| given.is_some() || !values.summers.is_empty()) {
            found.inside.insert(place, rules);
        }
    }
    found.problems = reader.problems;
    found
}

#[derive(Clone)]
enum Given {
    Offset(i32),
    Zone(Rules),
}

/// What reading one object has found.
#[derive(Default)]
struct Reader {
    problems: Vec<String>,
    /// Rules of named zones, which cost more than their names.
    named: HashMap<Tz, Option<Rules>>,
}

impl Reader {
    /// The first TZ that can be read.
    fn given(&mut self, values: &[String]) -> Option<Given> {
        for value in values {
            // Some write the rest of DAYLIGHT behind it.
            let found = self.zone(value.split(';').next().unwrap_or_default());
            if found.is_some() {
                return found;
            }
            self.problems.push(format!("TZ {}: neither an offset nor the name of a zone", clip(value)));
        }
        None
    }

    fn zone(&mut self, value: &str) -> Option<Given> {
        if let Some(offset) = time::offset_seconds(value) {
            return Some(Given::Offset(offset));
        }
        let zone = names::named(value)?;
        if let Tz::Fixed(offset) = zone {
            return Some(Given::Offset(offset.local_minus_utc()));
        }
        let rules = self.named.entry(zone).or_insert_with(|| world::rules(zone, &NAMED_YEARS));
        rules.clone().map(|rules| Given::Zone(rules.called(value.trim())))
    }

    /// The rules of a TZ with the DAYLIGHTs beside it.
    fn rules(&mut self, given: Option<&Given>, values: &[String]) -> Option<Rules> {
        let standard = match given {
            Some(Given::Zone(rules)) => return Some(rules.clone()),
            Some(Given::Offset(offset)) => Some(*offset),
            None => None,
        };
        let mut summers = Vec::new();
        for value in values.iter().filter(|v| !says_none(v)) {
            match standard.map(|s| Summer::read(value, s)) {
                // A summer without another offset is none.
                Some(Some(summer)) => summers.extend(Some(summer).filter(|s| Some(s.offset) != standard)),
                Some(None) => self.problems.push(format!("DAYLIGHT {}: not understood, left out", clip(value))),
                None => self.problems.push(format!("DAYLIGHT {}: left out, since no TZ says the offset in winter", clip(value))),
            }
        }
        summers.sort_by_key(|s| s.start);
        summers.dedup();
        let named = summers.len();
        summers.dedup_by(|later, earlier| later.start < earlier.end);
        if summers.len() < named {
            let fewer = named - summers.len();
            self.problems.push(format!("DAYLIGHT: {fewer} of {named} periods left out, since they begin before another ends"));
        }
        standard.map(|s| rules(s, &summers).called(&name(s, &summers)))
    }
}

/// `FALSE`, with or without more behind it; or nothing at all.
fn says_none(value: &str) -> bool {
    let flag = value.split(';').next().unwrap_or_default().trim();
    flag.is_empty() || flag.eq_ignore_ascii_case("FALSE")
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Summer {
    offset: i32,
    /// In standard time.
    start: NaiveDateTime,
    /// In summer time.
    end: NaiveDateTime,
    /// Of winter and summer.
    names: [String; 2],
}

impl Summer {
    fn read(value: &str, standard: i32) -> Option<Self> {
        let parts: Vec<&str> = value.splitn(7, ';').map(str::trim).collect();
        let [flag, offset, start, end, ref rest @ ..] = parts[..] else { return None };
        let offset = time::offset_seconds(offset)?;
        let local = |text: &str, offset: i32| {
            let stamp = time::parse(text)?;
            let by = stamp.offset.map_or(0, |o| i64::from(offset) - i64::from(o));
            stamp.local().checked_add_signed(Duration::seconds(by))
        };
        let (start, mut end) = (local(start, standard)?, local(end, offset)?);
        // From 1899 to 2101: the days stand for every year.
        if (end - start).num_days() >= YEARS_LONG {
            let same = end.with_year(start.year())?;
            end = if same > start { same } else { same.with_year(start.year() + 1)? };
        }
        let name = |i: usize| rest.get(i).map(|n| n.chars().take(32).collect::<String>()).unwrap_or_default();
        let summer = Self { offset, start, end, names: [name(0), name(1)] };
        (flag.eq_ignore_ascii_case("TRUE") && end > start && (end - start).num_days() < LONG).then_some(summer)
    }

    /// Onsets of summer and of winter.
    fn onsets(&self, standard: i32) -> [Observance; 2] {
        [
            Observance::single(self.start, standard, self.offset).named(&self.names[1]),
            Observance::single(self.end, self.offset, standard).named(&self.names[0]),
        ]
    }

    /// The same summer in another year, by weekday and week of the month.
    fn in_year(&self, year: i32) -> Option<(NaiveDateTime, NaiveDateTime)> {
        let end_year = year.checked_add(self.end.year() - self.start.year())?;
        let (start, end) = (Yearly::like(self.start.date()).day(year)?, Yearly::like(self.end.date()).day(end_year)?);
        Some((start.and_time(self.start.time()), end.and_time(self.end.time())))
    }

    fn is_like(&self, other: &Self) -> bool {
        self.offset == other.offset && other.in_year(self.start.year()) == Some((self.start, self.end))
    }
}

/// See [`Rules::name`].
fn name(standard: i32, summers: &[Summer]) -> String {
    let winter = write::offset(standard);
    let (Some(first), Some(last)) = (summers.first(), summers.last()) else { return format!("UTC{winter}") };
    let day = |at| time::basic_local(at).split('T').next().map(str::to_owned).unwrap_or_default();
    format!("UTC{winter}/{} {}-{}", write::offset(last.offset), day(first.start), day(last.end))
}

/// The rules of summers that follow each other.
fn rules(standard: i32, summers: &[Summer]) -> Rules {
    let (Some(first), Some(last)) = (summers.first(), summers.last()) else {
        let epoch = NaiveDate::default().and_time(NaiveTime::MIN);
        return Rules::new(vec![Observance::single(epoch, standard, standard)]);
    };
    let consecutive = summers.windows(2).all(|pair| pair[1].start.year() == pair[0].start.year() + 1);
    let pattern = summers.iter().find(|one| consecutive && summers.iter().all(|s| s.is_like(one)));
    let mut parts = Vec::new();
    match pattern {
        Some(one) => parts.extend(one.onsets(standard).map(|o| yearly(&o, YEARS_BEFORE, None))),
        None => {
            parts.extend(first.onsets(standard).map(|o| {
                let until = o.onsets.first().copied();
                yearly(&o, YEARS_BEFORE, until)
            }));
            let between = summers.get(1..summers.len() - 1).unwrap_or_default();
            parts.extend(between.iter().flat_map(|s| s.onsets(standard)));
            parts.extend(last.onsets(standard).map(|o| yearly(&o, 0, None)));
        }
    }
    Rules::new(parts)
}

/// A single onset made one of every year, from so many years before it.
fn yearly(one: &Observance, years_before: i32, until: Option<i64>) -> Observance {
    let rule = Yearly { until, ..Yearly::like(one.start.date()) };
    // No year that a date cannot be written of.
    let year = one.start.year();
    let start = rule.day((year - years_before).max(year.min(1))).map_or(one.start, |d| d.and_time(one.start.time()));
    Observance { daylight: one.daylight, ..Observance::ruled(start, one.from, one.to, rule).named(&one.name) }
}

/// Where the offsets of a zone come from.
pub(super) enum Source<'a> {
    Own(&'a Rules),
    Named(Tz),
}

impl Source<'_> {
    fn offset_at(&self, at: i64) -> Option<i32> {
        match self {
            Self::Own(rules) => Some(rules.offset_at(at)),
            Self::Named(zone) => names::offset_at(*zone, at),
        }
    }

    fn changes(&self, start: i64, end: i64) -> Vec<Change> {
        match self {
            Self::Own(rules) => rules.changes(start, end),
            Self::Named(zone) => changes(*zone, start, end),
        }
    }

    /// A name that can stand in a part of DAYLIGHT.
    fn name_at(&self, at: i64) -> String {
        let name = match self {
            Self::Own(rules) => rules.name_at(at).to_owned(),
            Self::Named(zone) => names::abbreviation(*zone, at),
        };
        if name.len() <= 32 && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'/' | b'_' | b' ')) {
            name
        } else {
            String::new()
        }
    }
}

/// Whether two zones have the same offsets in these years.
pub(super) fn same(one: &Source, other: &Source, years: &RangeInclusive<i32>) -> bool {
    let first = (*years.start()).clamp(1, 9_000);
    let last = (*years.end()).clamp(first, first + MAX_YEARS);
    let (begin, end) = (year_start(first), year_start(last + 1));
    one.offset_at(begin) == other.offset_at(begin) && one.changes(begin + 1, end - 1) == other.changes(begin + 1, end - 1)
}

/// TZ and the DAYLIGHTs of a zone in some years; `None` where they cannot say it.
type Said = Option<(String, Vec<String>)>;

/// What [`write`] said last: the objects of a day are about few zones and years.
struct Kept {
    zone: Zone,
    world: Option<Tz>,
    years: RangeInclusive<i32>,
    said: Said,
}

#[derive(PartialEq)]
enum Zone {
    Own(Rules),
    Named(Tz),
}

/// What [`write`] says of a zone, or of the world's zone of its name where that is the same, since read back such a zone
/// has the world's abbreviations; from memory where it was asked before. Rules come from outside: what is kept stays small.
pub(super) fn kept(source: &Source, world: Option<Tz>, years: &RangeInclusive<i32>) -> Said {
    static KEPT: Mutex<VecDeque<Kept>> = Mutex::new(VecDeque::new());
    let write = || {
        let world = world.map(Source::Named).filter(|world| same(source, world, years));
        write(world.as_ref().unwrap_or(source), years)
    };
    let zone = match source {
        Source::Named(zone) => Zone::Named(*zone),
        Source::Own(rules) if rules.parts.len() <= KEPT_PARTS && rules.parts.iter().all(|p| p.onsets.len() <= KEPT_ONSETS) => {
            Zone::Own((*rules).clone())
        }
        Source::Own(_) => return write(),
    };
    let lock = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = lock().iter().find(|k| k.years == *years && k.world == world && k.zone == zone) {
        return found.said.clone();
    }
    let said = write();
    let mut kept = lock();
    if kept.len() >= MAX_KEPT {
        kept.pop_front();
    }
    kept.push_back(Kept { zone, world, years: years.clone(), said: said.clone() });
    said
}

/// The values of TZ and DAYLIGHT for these years; `None` where they cannot say it.
pub(super) fn write(source: &Source, years: &RangeInclusive<i32>) -> Said {
    let first = (*years.start()).clamp(1, 9_000);
    let last = (*years.end()).clamp(first, first + MAX_YEARS);
    let (begin, end) = (year_start(first), year_start(last + 1));
    let around = source.changes(year_start(first - 1), year_start(last + 2));
    let within: Vec<Change> = around.iter().filter(|c| c.at > begin && c.at < end).copied().collect();
    let mut offsets: Vec<i32> = source.offset_at(begin).into_iter().chain(within.iter().map(|c| c.to)).collect();
    offsets.sort_unstable();
    offsets.dedup();
    let (standard, summer) = match offsets[..] {
        [one] => (one, None),
        [standard, summer] => (standard, Some(summer)),
        _ => return None,
    };
    if offsets.iter().any(|o| o % 60 != 0) {
        return None;
    }
    let Some(offset) = summer else { return Some((short(standard), Vec::new())) };
    let mut summers = summers(&around, source, [standard, offset], first..=last)?;
    for _ in 0..MAX_PASSES {
        let read = rules(standard, &summers);
        let back = Source::Own(&read);
        if back.offset_at(begin) != source.offset_at(begin) || back.changes(begin + 1, end - 1) != within {
            return None;
        }
        // What is read out of it may go on into a summer that the zone itself did not have: written once more, it stays.
        let around = back.changes(year_start(first - 1), year_start(last + 2));
        let again = self::summers(&around, &back, [standard, offset], first..=last)?;
        if again == summers {
            return Some((short(standard), summers.iter().map(Summer::text).collect()));
        }
        summers = again;
    }
    None
}

/// The summers among these changes that take part in the years asked; the pattern of the last goes on after a dozen.
fn summers(around: &[Change], source: &Source, [standard, offset]: [i32; 2], years: RangeInclusive<i32>) -> Option<Vec<Summer>> {
    let (first, begin, end) = (*years.start(), year_start(*years.start()), year_start(years.end() + 1));
    let mut summers = Vec::new();
    for pair in around.windows(2) {
        let [start, finish] = pair else { continue };
        if finish.at - start.at >= LONG * 86_400 {
            continue;
        }
        let takes_part = finish.at > begin && start.at < end && start.at < year_start(first + MAX_WRITTEN);
        if (start.from, start.to, finish.to) == (standard, offset, standard) && takes_part {
            summers.push(Summer {
                offset,
                start: wall(start.at, standard)?,
                end: wall(finish.at, offset)?,
                names: [source.name_at(finish.at), source.name_at(start.at)],
            });
        }
    }
    Some(summers)
}

impl Summer {
    fn text(&self) -> String {
        let [winter, summer] = &self.names;
        let (start, end) = (time::basic_local(self.start), time::basic_local(self.end));
        format!("TRUE;{};{start};{end};{winter};{summer}", short(self.offset))
    }
}

/// `-05`, `+05:30`.
fn short(seconds: i32) -> String {
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs() / 60);
    match minutes % 60 {
        0 => format!("{sign}{:02}", minutes / 60),
        rest => format!("{sign}{:02}:{rest:02}", minutes / 60),
    }
}
