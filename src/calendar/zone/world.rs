//! The rules of a named zone, found from the offsets it has: what a VTIMEZONE of it says.
//!
//! Changes are looked for in steps of days, told apart into series that come every year on the same kind of day,
//! and the rest is listed one by one. Newest first, so that the rule in force takes all the years it fits.
//!
//! Invariants: the rules give the zone's offsets for the years asked and for a dozen after them; a series that still
//! holds then goes on for ever; years before 1900 and after 2099 (the end of the data) are not looked at.

use std::ops::RangeInclusive;

use calcard::common::timezone::Tz;
use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Weekday};

use super::names;
use super::rules::{Change, Observance, Rules, Yearly, wall};

const FIRST_YEAR: i32 = 1900;
/// The end of the data.
pub(super) const LAST_YEAR: i32 = 2099;
/// Years after those asked for: each date of a "Sunday on or after" comes up within them.
const AHEAD: i32 = 13;
/// No offset lasts less than this since 1970 (Recife had a summer of a week less an hour in 2000).
const STEP: i64 = 6 * 86_400;
/// A shorter series that has ended is listed.
const SERIES: usize = 3;
/// Summer is over within this time.
const SUMMER: i64 = 340 * 86_400;

/// The changes of a named zone from one instant up to another, ascending.
pub(super) fn changes(zone: Tz, start: i64, end: i64) -> Vec<Change> {
    let offset = |at| names::offset_at(zone, at).unwrap_or(0);
    let mut changes = Vec::new();
    let (mut at, mut from) = (start - 1, offset(start - 1));
    while at < end {
        let next = (at + STEP).min(end);
        let to = offset(next);
        if to == from {
            at = next;
        } else {
            let (mut low, mut high) = (at, next);
            while high - low > 1 {
                let middle = i64::midpoint(low, high);
                if offset(middle) == from { low = middle } else { high = middle }
            }
            let to = offset(high);
            changes.push(Change { at: high, from, to });
            (at, from) = (high, to);
        }
    }
    changes
}

/// 1 January of a year, in seconds since 1970.
pub(super) fn year_start(year: i32) -> i64 {
    NaiveDate::from_ymd_opt(year, 1, 1).map_or(0, |d| d.and_time(NaiveTime::MIN).and_utc().timestamp())
}

/// The rules of a named zone that hold in these years and go on after them.
pub(super) fn rules(zone: Tz, years: &RangeInclusive<i32>) -> Option<Rules> {
    let first = (*years.start()).clamp(FIRST_YEAR, LAST_YEAR);
    let last = (*years.end()).clamp(first, LAST_YEAR);
    let horizon = (last + AHEAD).min(LAST_YEAR);
    let begin = (first - 1).min(horizon - AHEAD).max(FIRST_YEAR);
    let all = changes(zone, year_start(begin), year_start(horizon + 1));
    let mut series = series(&all);
    // What ended before the years begin is told by the offset that the next change begins with; the rest begins then too.
    let start = year_start(first);
    let kept = series.len();
    series.retain(|s| s.dates.first().is_some_and(|(_, at)| *at >= start));
    let oldest = if series.len() < kept { start } else { i64::MIN };
    let mut listed = Listed::default();
    let mut parts = Vec::new();
    for series in &series {
        let Some(((newest, newest_at), oldest_at)) =
            series.dates.first().zip(series.dates.iter().map(|(_, at)| *at).rfind(|at| *at >= oldest))
        else {
            continue;
        };
        let (name, daylight) = (names::abbreviation(zone, *newest_at), is_summer(&all, *newest_at));
        let goes_on = newest.year() == horizon;
        match series.pattern().filter(|_| goes_on && series.dates.len() > 1 || series.dates.len() >= SERIES) {
            Some(pattern) => {
                let until = (!goes_on).then_some(*newest_at);
                for rule in pattern.rules(until) {
                    let part = Observance::ruled(wall(oldest_at, series.from)?, series.from, series.to, rule);
                    parts.push(Observance { daylight, ..part.named(&name) });
                }
            }
            None => {
                for (_, at) in series.dates.iter().filter(|(_, at)| *at >= oldest) {
                    listed.add(series, *at, &names::abbreviation(zone, *at), is_summer(&all, *at));
                }
            }
        }
    }
    parts.extend(listed.0);
    // A month of a pattern that spills over may never be reached before the end.
    parts.retain_mut(|part| part.first_onset().and_then(|o| wall(o, part.from)).map(|start| part.start = start).is_some());
    if parts.is_empty() {
        let at = year_start(first);
        let offset = names::offset_at(zone, at)?;
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?.and_time(NaiveTime::MIN);
        parts.push(Observance::single(epoch, offset, offset).named(&names::abbreviation(zone, at)));
    }
    parts.sort_by_key(|p| (p.start, p.daylight));
    Some(Rules::new(parts))
}

/// The offset grows, and falls again within a year.
fn is_summer(changes: &[Change], at: i64) -> bool {
    let Ok(place) = changes.binary_search_by_key(&at, |c| c.at) else { return false };
    let (change, next) = (&changes[place], changes.get(place + 1));
    // The last one of all has its like before it.
    let ends = next.map_or_else(|| place > 0 && changes[place - 1].to < changes[place - 1].from, |n| n.to < n.from && n.at - at < SUMMER);
    change.to > change.from && ends
}

/// Changes that come once only, by what they change to.
#[derive(Default)]
struct Listed(Vec<Observance>);

impl Listed {
    fn add(&mut self, series: &Series, at: i64, name: &str, daylight: bool) {
        let Some(start) = wall(at, series.from) else { return };
        let same = |p: &&mut Observance| (p.from, p.to, p.daylight, p.name.as_str()) == (series.from, series.to, daylight, name);
        match self.0.iter_mut().find(same) {
            Some(part) => {
                let place = part.onsets.partition_point(|o| *o < at);
                part.onsets.insert(place, at);
            }
            None => self.0.push(Observance { daylight, ..Observance::single(start, series.from, series.to).named(name) }),
        }
    }
}

/// Changes of consecutive years, newest first.
struct Series {
    from: i32,
    to: i32,
    time: NaiveTime,
    /// In wall time before the change, and the instant.
    dates: Vec<(NaiveDate, i64)>,
}

/// The kind of day that a series comes on.
#[derive(Clone, Copy, Debug)]
enum Pattern {
    Nth(u32, i32, Weekday),
    Day(u32, u32),
    /// A weekday within days counted from the first of a month, which may lie outside of it.
    Window(NaiveDate, i32, i32, Weekday),
}

fn series(changes: &[Change]) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for change in changes.iter().rev() {
        let Some(local) = wall(change.at, change.from) else { continue };
        if !all.iter_mut().any(|s| s.takes(change, local)) {
            all.push(Series { from: change.from, to: change.to, time: local.time(), dates: vec![(local.date(), change.at)] });
        }
    }
    all
}

impl Series {
    /// Adds a change of the year before, when the series is still one of a kind with it.
    fn takes(&mut self, change: &Change, local: NaiveDateTime) -> bool {
        let next = self.dates.last().is_some_and(|(d, _)| d.year() == local.year() + 1);
        if !next || (self.from, self.to, self.time) != (change.from, change.to, local.time()) {
            return false;
        }
        self.dates.push((local.date(), change.at));
        let fits = self.pattern().is_some();
        if !fits {
            self.dates.pop();
        }
        fits
    }

    fn pattern(&self) -> Option<Pattern> {
        let newest = self.dates.first()?.0;
        let dates = || self.dates.iter().map(|(d, _)| *d);
        let (month, weekday) = (newest.month(), newest.weekday());
        let same_weekday = dates().all(|d| d.weekday() == weekday);
        if dates().all(|d| d.month() == month) {
            if same_weekday && dates().all(|d| d.day() + 7 > u32::from(d.num_days_in_month())) {
                return Some(Pattern::Nth(month, -1, weekday));
            }
            let week = (newest.day() - 1) / 7;
            if same_weekday && week < 4 && dates().all(|d| (d.day() - 1) / 7 == week) {
                return Some(Pattern::Nth(month, i32::try_from(week).ok()? + 1, weekday));
            }
            if dates().all(|d| d.day() == newest.day()) {
                return Some(Pattern::Day(month, newest.day()));
            }
        }
        let anchor = newest.with_day(1)?;
        let days = dates().map(|d| Some(i32::try_from((d - anchor.with_year(d.year())?).num_days()).ok()? + 1));
        let days = days.collect::<Option<Vec<i32>>>()?;
        let (low, high) = (*days.iter().min()?, *days.iter().max()?);
        (same_weekday && high - low < 7).then_some(Pattern::Window(anchor, low, high, weekday)).filter(|p| !p.rules(None).is_empty())
    }
}

impl Pattern {
    /// One rule, or two where the window lies in two months; none where it cannot be said.
    fn rules(self, until: Option<i64>) -> Vec<Yearly> {
        let rule = |month, days: RangeInclusive<i32>, weekday| Yearly {
            month,
            weekday,
            days: days.collect(),
            interval: 1,
            until,
            ..Yearly::default()
        };
        match self {
            Self::Nth(month, nth, weekday) => vec![Yearly { month, nth, weekday: Some(weekday), interval: 1, until, ..Yearly::default() }],
            Self::Day(month, day) => i32::try_from(day).map_or_else(|_| Vec::new(), |d| vec![rule(month, d..=d, None)]),
            Self::Window(anchor, low, high, weekday) if low < 1 => {
                // Counted from the month before. January's and March's have no such month in the same year or of one length.
                let Some(before) = anchor.pred_opt().and_then(|d| d.with_day(1)).filter(|d| d.year() == anchor.year()) else {
                    return Vec::new();
                };
                let length = i32::from(before.num_days_in_month());
                if before.month() == 2 { Vec::new() } else { Self::Window(before, low + length, high + length, weekday).rules(until) }
            }
            Self::Window(anchor, low, high, weekday) => {
                let (month, length) = (anchor.month(), i32::from(anchor.num_days_in_month()));
                if high <= length.min(28) || month != 2 && high <= length {
                    return vec![rule(month, low..=high, Some(weekday))];
                }
                if month == 2 || month == 12 || low > length {
                    return Vec::new();
                }
                vec![rule(month, low..=length, Some(weekday)), rule(month + 1, 1..=high - length, Some(weekday))]
            }
        }
    }
}
