//! A zone by rules: when its offset changes, and to what. What VTIMEZONE, TZ with DAYLIGHT, and the data of named zones
//! all become.
//!
//! Invariants: onsets are kept and compared as instants; one question costs at most [`YEARS_BACK`] years of each rule;
//! nothing here fails, whatever years it is asked for.

use std::sync::Arc;

use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, Weekday};

/// How many of its years a rule is asked for an onset: days that come once in twelve years (1 November as a Friday).
const YEARS_BACK: i32 = 13;
/// Changes within a day of a local time that are looked at to place it.
const CHANGES_NEAR: usize = 8;
/// Changes listed at once, far more than any zone's in two centuries.
const MAX_CHANGES: usize = 2_000;

/// A yearly rule: one day of each year, or of every `interval`th.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Yearly {
    pub month: u32,
    /// 1 first, -1 last; 0: the first that fits.
    pub nth: i32,
    pub weekday: Option<Weekday>,
    /// Days of the month, negative from its end; empty: any.
    pub days: Vec<i32>,
    /// Days of the year, negative from its end; `month` and `days` do not count then.
    pub year_days: Vec<i32>,
    pub interval: i32,
    /// The last instant an onset may have, in seconds since 1970.
    pub until: Option<i64>,
}

/// STANDARD or DAYLIGHT: the onsets of one offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Observance {
    /// In wall time before the onset; gives the rule its first year and its time of day.
    pub start: NaiveDateTime,
    /// Seconds east of UTC before and from the onset on.
    pub from: i32,
    pub to: i32,
    pub rule: Option<Yearly>,
    /// Single onsets in seconds since 1970, ascending.
    pub onsets: Vec<i64>,
    pub name: String,
    pub daylight: bool,
}

/// A change of the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Seconds since 1970.
    pub at: i64,
    pub from: i32,
    pub to: i32,
}

/// One zone by its own rules. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(super) parts: Arc<[Observance]>,
    /// Seconds east of UTC before the first onset.
    before: i32,
    /// The name of the world's zone these rules were made of.
    pub(super) id: Option<Arc<str>>,
}

impl Rules {
    pub(super) fn new(parts: Vec<Observance>) -> Self {
        let first = parts.iter().min_by_key(|p| p.first_onset().unwrap_or(i64::MAX));
        Self { before: first.map_or(0, |f| f.from), parts: parts.into(), id: None }
    }

    pub(super) fn called(self, id: &str) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// The last onset up to an instant, and what it brings.
    fn last_onset(&self, at: i64) -> Option<(i64, &Observance)> {
        let mut last: Option<(i64, &Observance)> = None;
        for part in &*self.parts {
            if let Some(onset) = part.last_onset(at).filter(|o| last.is_none_or(|(l, _)| *o >= l)) {
                last = Some((onset, part));
            }
        }
        last
    }

    /// Seconds east of UTC at an instant (seconds since 1970).
    pub fn offset_at(&self, seconds: i64) -> i32 {
        self.last_onset(seconds).map_or(self.before, |(_, part)| part.to)
    }

    /// The name in use at an instant, such as `CEST`; empty where the rules give none.
    pub(super) fn name_at(&self, seconds: i64) -> &str {
        self.last_onset(seconds).map_or("", |(_, part)| part.name.as_str())
    }

    /// Seconds east of UTC at a local time: in a gap as before it, of two the first.
    pub fn offset(&self, local: NaiveDateTime) -> i32 {
        let local = local.and_utc().timestamp();
        let mut at = local.saturating_add(86_400);
        for _ in 0..CHANGES_NEAR {
            let Some((onset, part)) = self.last_onset(at) else { return self.before };
            let before = self.offset_at(onset.saturating_sub(1));
            if onset.saturating_add(i64::from(before)) <= local {
                // Within a gap the offset is still the one before it.
                return if local < onset.saturating_add(i64::from(part.to)) { before } else { part.to };
            }
            at = onset.saturating_sub(1);
        }
        self.offset_at(at)
    }

    /// The wall time of an instant (seconds since 1970); `None` outside the calendar.
    pub fn local(&self, seconds: i64) -> Option<NaiveDateTime> {
        wall(seconds, self.offset_at(seconds))
    }

    /// The changes of the offset from one instant up to another, ascending.
    pub(super) fn changes(&self, start: i64, end: i64) -> Vec<Change> {
        let mut onsets: Vec<(i64, i32)> = Vec::new();
        for part in &*self.parts {
            onsets.extend(part.onsets_within(start, end).map(|at| (at, part.to)).take(MAX_CHANGES));
        }
        // Of several at one instant the last part's holds, as in `last_onset`.
        onsets.sort_by_key(|(at, _)| *at);
        let mut from = self.offset_at(start.saturating_sub(1));
        let mut changes = Vec::with_capacity(onsets.len());
        let ends = onsets.iter().skip(1).map(|(at, _)| Some(*at)).chain([None]);
        for ((at, to), next) in onsets.iter().zip(ends) {
            if next != Some(*at) && from != *to {
                changes.push(Change { at: *at, from, to: *to });
                from = *to;
            }
        }
        changes.truncate(MAX_CHANGES);
        changes
    }
}

impl Observance {
    /// One that comes by a rule, from `start` on.
    pub fn ruled(start: NaiveDateTime, from: i32, to: i32, rule: Yearly) -> Self {
        Self { start, from, to, rule: Some(rule), onsets: Vec::new(), name: String::new(), daylight: to > from }
    }

    /// One that comes once.
    pub fn single(start: NaiveDateTime, from: i32, to: i32) -> Self {
        let onsets = vec![start.and_utc().timestamp() - i64::from(from)];
        Self { start, from, to, rule: None, onsets, name: String::new(), daylight: to > from }
    }

    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// The wall time, before the change, of an onset.
    pub fn wall(&self, onset: i64) -> NaiveDateTime {
        wall(onset, self.from).unwrap_or(self.start)
    }

    fn instant(&self, date: NaiveDate) -> i64 {
        date.and_time(self.start.time()).and_utc().timestamp() - i64::from(self.from)
    }

    fn last_onset(&self, at: i64) -> Option<i64> {
        let listed = self.onsets.partition_point(|o| *o <= at).checked_sub(1).and_then(|i| self.onsets.get(i)).copied();
        listed.max(self.rule.as_ref().and_then(|rule| self.last_of_rule(rule, at)))
    }

    fn last_of_rule(&self, rule: &Yearly, at: i64) -> Option<i64> {
        let at = rule.until.map_or(at, |u| u.min(at));
        let (first, interval) = (self.start.year(), rule.interval.max(1));
        let mut year = wall(at, self.from)?.year();
        if year < first {
            return None;
        }
        year -= (year - first) % interval;
        for _ in 0..YEARS_BACK {
            if year < first {
                break;
            }
            if let Some(onset) = rule.day(year).map(|d| self.instant(d)).filter(|o| *o <= at) {
                let start = self.start.and_utc().timestamp() - i64::from(self.from);
                return Some(onset).filter(|o| *o >= start);
            }
            year -= interval;
        }
        None
    }

    /// Its onsets from one instant up to another.
    fn onsets_within(&self, start: i64, end: i64) -> impl Iterator<Item = i64> {
        let listed = self.onsets.iter().copied();
        let ruled = self.rule.iter().flat_map(move |rule| {
            let (first, interval) = (self.start.year(), rule.interval.max(1));
            let year = |at| wall(at, self.from).map_or(first, |w| w.year());
            let begin = year(start).max(first);
            let begin = begin.saturating_add((interval - (begin - first) % interval) % interval);
            let since = self.start.and_utc().timestamp() - i64::from(self.from);
            let years = (begin..=year(end)).step_by(usize::try_from(interval).unwrap_or(1));
            let onsets = years.filter_map(|y| rule.day(y)).map(|d| self.instant(d));
            onsets.filter(move |o| *o >= since && rule.until.is_none_or(|u| *o <= u))
        });
        listed.chain(ruled).filter(move |o| (start..=end).contains(o))
    }

    /// Its first onset ever.
    pub fn first_onset(&self) -> Option<i64> {
        let listed = self.onsets.first().copied();
        let ruled = self.rule.as_ref().and_then(|rule| self.onsets_of_rule(rule, YEARS_BACK).next());
        match (listed, ruled) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The onsets of a rule in so many of its years from the start on.
    pub fn onsets_of_rule<'a>(&'a self, rule: &'a Yearly, years: i32) -> impl Iterator<Item = i64> + 'a {
        let start = self.start.and_utc().timestamp() - i64::from(self.from);
        let years = (0..years).map(|i| self.start.year().saturating_add(rule.interval.max(1).saturating_mul(i)));
        let onsets = years.filter_map(|y| rule.day(y)).map(|d| self.instant(d)).filter(move |o| *o >= start);
        onsets.take_while(|o| rule.until.is_none_or(|u| *o <= u))
    }
}

impl Yearly {
    /// The rule's day in a year.
    pub fn day(&self, year: i32) -> Option<NaiveDate> {
        if !self.year_days.is_empty() {
            return self.day_of_year(year);
        }
        let first = NaiveDate::from_ymd_opt(year, self.month, 1)?;
        let length = i32::from(first.num_days_in_month());
        let date = |day: i32| u32::try_from(day).ok().and_then(|d| first.with_day(d));
        if let (Some(weekday), true) = (self.weekday, self.days.is_empty()) {
            let early = 1 + i32::try_from(weekday.days_since(first.weekday())).ok()?;
            let day = match self.nth {
                0 => early,
                n if n > 0 => early + 7 * (n - 1),
                n => early + 7 * ((length - early) / 7 + 1 + n),
            };
            return date(day).filter(|_| day >= 1 && day <= length);
        }
        let fits = |day: i32| self.days.is_empty() || self.days.iter().any(|d| *d == day || *d + length + 1 == day);
        let mut days = (1..=length).filter(|d| fits(*d)).filter_map(date).filter(|d| self.weekday.is_none_or(|w| d.weekday() == w));
        match self.nth {
            0 => days.next(),
            n if n > 0 => days.nth(usize::try_from(n - 1).ok()?),
            n => days.rev().nth(usize::try_from(-n - 1).ok()?),
        }
    }

    fn day_of_year(&self, year: i32) -> Option<NaiveDate> {
        let length = NaiveDate::from_yo_opt(year, 366).map_or(365, |_| 366);
        let days = self.year_days.iter().map(|d| if *d < 0 { d + length + 1 } else { *d });
        let dates = days.filter_map(|d| u32::try_from(d).ok().and_then(|d| NaiveDate::from_yo_opt(year, d)));
        dates.filter(|d| self.weekday.is_none_or(|w| d.weekday() == w)).min()
    }

    /// The same weekday of the same week of the month, every year: the last one when `at` lies in the last seven days.
    pub fn like(at: NaiveDate) -> Self {
        let day = i32::try_from(at.day()).unwrap_or(1);
        let nth = if day > i32::from(at.num_days_in_month()) - 7 { -1 } else { (day - 1) / 7 + 1 };
        Self { month: at.month(), nth, weekday: Some(at.weekday()), interval: 1, ..Self::default() }
    }
}

/// An instant (seconds since 1970) in wall time `offset` seconds east of UTC.
pub(super) fn wall(seconds: i64, offset: i32) -> Option<NaiveDateTime> {
    DateTime::from_timestamp(seconds, 0)?.naive_utc().checked_add_signed(Duration::seconds(i64::from(offset)))
}
