//! The passes of a vCalendar rule, straight from its grammar.
//!
//! A pass is one period of the interval, counted from DTSTART's: a day for D, a week for W, a month for MP and MD, a
//! year for YM and YD. Weeks start on Monday, as in libical, KDE and whatever else hands `W2 SU TU` on as
//! `FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,TU`; the specification says nothing. A day that a month does not have is left out.

use std::collections::VecDeque;

use chrono::{Datelike, Duration, Months, NaiveDate, NaiveDateTime, NaiveTime};

use super::super::vcal::{Day, Kind, Rule};
use super::{Budget, Passes};

pub(super) fn passes(rule: &Rule, start: NaiveDateTime) -> Box<dyn Passes + '_> {
    match &rule.inner {
        None => Box::new(Flat::new(rule, start)),
        Some(inner) => Box::new(Nested::new(rule, inner, start)),
    }
}

/// A candidate with the entries of the list that it comes from.
type Candidate = (NaiveDateTime, [usize; 3]);
const NO_ENTRY: usize = usize::MAX;

/// One level of a rule, without what stands inside it.
struct Flat<'a> {
    rule: &'a Rule,
    /// The first period is this one's.
    start: NaiveDateTime,
    /// What an empty list takes its day or weekday from.
    implied: NaiveDate,
    /// Of the next pass.
    index: u32,
    /// Passes with candidates from DTSTART on, where they are counted.
    counted: u32,
    /// Passes without candidates count as well.
    empty_too: bool,
    limit: Option<u32>,
}

impl<'a> Flat<'a> {
    fn new(rule: &'a Rule, start: NaiveDateTime) -> Self {
        Self {
            rule,
            start,
            implied: start.date(),
            index: 0,
            counted: 0,
            empty_too: false,
            limit: rule.count.filter(|_| rule.mark.is_some()),
        }
    }

    /// Candidates of the pass, ascending, up to the end mark; and whether it counts, which the mark does not change.
    fn candidates(&self, first: NaiveDate) -> (Vec<NaiveDateTime>, bool) {
        let mut found = self.unsorted(first);
        let counts = self.empty_too || found.iter().any(|(at, _)| *at >= self.start);
        if self.limit == Some(self.counted + 1)
            && let Some(mark) = self.rule.mark
            && let Some(cut) = found.iter().filter(|(_, entries)| entries.contains(&mark)).map(|(at, _)| *at).max()
        {
            found.retain(|(at, _)| *at <= cut);
        }
        let mut found: Vec<NaiveDateTime> = found.into_iter().map(|(at, _)| at).collect();
        found.sort_unstable();
        found.dedup();
        (found, counts)
    }

    /// The first day of the next pass's period; the day itself for minutes.
    fn period(&self) -> Option<NaiveDate> {
        let steps = self.index.checked_mul(self.rule.interval)?;
        let day = self.start.date();
        match &self.rule.kind {
            Kind::Minutes => self.minute().map(|at| at.date()),
            Kind::Daily(_) => day.checked_add_signed(Duration::days(steps.into())),
            Kind::Weekly(_) => {
                let monday = day.checked_sub_signed(Duration::days(day.weekday().num_days_from_monday().into()))?;
                monday.checked_add_signed(Duration::days(i64::from(steps).checked_mul(7)?))
            }
            Kind::Positions(_) | Kind::MonthDays(_) => day.with_day(1)?.checked_add_months(Months::new(steps)),
            Kind::Months(_) | Kind::YearDays(_) => NaiveDate::from_ymd_opt(day.year().checked_add(i32::try_from(steps).ok()?)?, 1, 1),
        }
    }

    fn minute(&self) -> Option<NaiveDateTime> {
        let minutes = i64::from(self.index).checked_mul(self.rule.interval.into())?;
        self.start.checked_add_signed(Duration::try_minutes(minutes)?)
    }

    fn unsorted(&self, first: NaiveDate) -> Vec<Candidate> {
        let (start, implied) = (self.start, self.implied);
        let plain = |date: Option<NaiveDate>, entry: usize| date.map(|d| (d.and_time(start.time()), [entry, NO_ENTRY, NO_ENTRY]));
        match &self.rule.kind {
            Kind::Minutes => self.minute().map(|at| (at, [NO_ENTRY; 3])).into_iter().collect(),
            Kind::Daily(times) if times.is_empty() => plain(Some(first), NO_ENTRY).into_iter().collect(),
            Kind::Daily(times) => times.iter().enumerate().map(|(i, t)| (first.and_time(*t), [i, NO_ENTRY, NO_ENTRY])).collect(),
            Kind::Weekly(days) if days.is_empty() => {
                plain(first.checked_add_signed(Duration::days(implied.weekday().num_days_from_monday().into())), NO_ENTRY)
                    .into_iter()
                    .collect()
            }
            Kind::Weekly(days) => {
                let mut found = Vec::new();
                let mut entry = 0;
                for day in days {
                    let date = first.checked_add_signed(Duration::days(day.weekday.num_days_from_monday().into()));
                    push_day(&mut found, date, day, start.time(), [NO_ENTRY, entry], entry + 1);
                    entry += 1 + day.times.len();
                }
                found
            }
            Kind::Positions(_) => self.positions(first),
            Kind::MonthDays(days) if days.is_empty() => plain(first.with_day(implied.day()), NO_ENTRY).into_iter().collect(),
            Kind::MonthDays(days) => {
                let length = i32::from(first.num_days_in_month());
                let date = |n: i8| {
                    let n = i32::from(n);
                    u32::try_from(if n < 0 { length + 1 + n } else { n }).ok().and_then(|d| first.with_day(d))
                };
                days.iter().enumerate().filter_map(|(i, n)| plain(date(*n), i)).collect()
            }
            Kind::Months(months) => {
                let date = |month: u32| NaiveDate::from_ymd_opt(first.year(), month, implied.day());
                match months.is_empty() {
                    true => plain(date(implied.month()), NO_ENTRY).into_iter().collect(),
                    false => months.iter().enumerate().filter_map(|(i, m)| plain(date(u32::from(*m)), i)).collect(),
                }
            }
            Kind::YearDays(days) => match days.is_empty() {
                true => plain(first.with_ordinal(implied.ordinal()), NO_ENTRY).into_iter().collect(),
                false => days.iter().enumerate().filter_map(|(i, n)| plain(first.with_ordinal(u32::from(*n)), i)).collect(),
            },
        }
    }

    fn positions(&self, first: NaiveDate) -> Vec<Candidate> {
        let Kind::Positions(groups) = &self.rule.kind else { return Vec::new() };
        let (start, implied) = (self.start, self.implied);
        let own = Day { weekday: implied.weekday(), times: Vec::new() };
        if groups.is_empty() {
            let nth = i8::try_from(implied.day0() / 7 + 1).unwrap_or(5);
            return nth_weekday(first, nth, implied.weekday()).map(|d| (d.and_time(start.time()), [NO_ENTRY; 3])).into_iter().collect();
        }
        let mut found = Vec::new();
        let mut entry = 0;
        for group in groups {
            let days_at = entry + group.positions.len();
            let days = if group.days.is_empty() { std::slice::from_ref(&own) } else { &group.days[..] };
            for (i, position) in group.positions.iter().enumerate() {
                let mut at = days_at;
                for day in days {
                    let named = if group.days.is_empty() { NO_ENTRY } else { at };
                    push_day(&mut found, nth_weekday(first, *position, day.weekday), day, start.time(), [entry + i, named], at + 1);
                    at += 1 + day.times.len();
                }
            }
            entry = days_at + group.days.iter().map(|d| 1 + d.times.len()).sum::<usize>();
        }
        found
    }

    fn size(&self) -> usize {
        match &self.rule.kind {
            Kind::Minutes => 1,
            Kind::Daily(times) => times.len(),
            Kind::Weekly(days) => days.iter().map(|d| 1 + d.times.len()).sum(),
            Kind::Positions(groups) => {
                groups.iter().map(|g| g.positions.len() * (1 + g.days.iter().map(|d| 1 + d.times.len()).sum::<usize>())).sum()
            }
            Kind::MonthDays(days) => days.len(),
            Kind::Months(months) => months.len(),
            Kind::YearDays(days) => days.len(),
        }
    }
}

/// The day with each of its times; `times_at` is the entry of the first.
fn push_day(found: &mut Vec<Candidate>, date: Option<NaiveDate>, day: &Day, own: NaiveTime, [a, b]: [usize; 2], times_at: usize) {
    let Some(date) = date else { return };
    if day.times.is_empty() {
        found.push((date.and_time(own), [a, b, NO_ENTRY]));
    }
    found.extend(day.times.iter().enumerate().map(|(i, t)| (date.and_time(*t), [a, b, times_at + i])));
}

/// In the month that starts with `first`.
fn nth_weekday(first: NaiveDate, nth: i8, weekday: chrono::Weekday) -> Option<NaiveDate> {
    let ahead = |from: chrono::Weekday, to: chrono::Weekday| (7 + to.num_days_from_monday() - from.num_days_from_monday()) % 7;
    let weeks = u32::from(nth.unsigned_abs()).checked_sub(1)? * 7;
    if nth > 0 {
        return first.with_day(1 + ahead(first.weekday(), weekday) + weeks);
    }
    let last = first.with_day(u32::from(first.num_days_in_month()))?;
    first.with_day(last.day().checked_sub(ahead(weekday, last.weekday()) + weeks)?)
}

impl Passes for Flat<'_> {
    fn begins(&mut self) -> Option<NaiveDateTime> {
        if self.limit.is_some_and(|n| self.counted >= n) {
            return None;
        }
        match self.rule.kind {
            Kind::Minutes => self.minute(),
            _ => self.period().map(|d| d.and_time(NaiveTime::MIN)),
        }
    }

    fn pass(&mut self, budget: &Budget) -> Option<Vec<NaiveDateTime>> {
        budget.spend(self.size())?;
        let Some(first) = self.period() else { return Some(Vec::new()) };
        let (pass, counts) = self.candidates(first);
        self.counted += u32::from(counts);
        self.index = self.index.saturating_add(1);
        Some(pass)
    }
}

/// A rule with another one inside it, which starts anew at each occurrence of the outer one.
struct Nested<'a> {
    outer: Flat<'a>,
    inner: &'a Rule,
    start: NaiveDateTime,
    /// The inner rule selects days of the whole month: the occurrence is the month.
    by_month: bool,
    /// Occurrences of the outer rule; one more than is in work, so that it is known where that ends.
    ahead: VecDeque<NaiveDateTime>,
    given: u32,
    count: Option<u32>,
}

impl<'a> Nested<'a> {
    fn new(rule: &'a Rule, inner: &'a Rule, start: NaiveDateTime) -> Self {
        let by_month = matches!((&rule.kind, &inner.kind), (Kind::Months(_), Kind::Positions(_) | Kind::MonthDays(_)));
        let anchor = if by_month { start.with_day(1).unwrap_or(start) } else { start };
        let count = rule.count.filter(|_| rule.mark.is_none());
        Self { outer: Flat::new(rule, anchor), inner, start, by_month, ahead: VecDeque::new(), given: 0, count }
    }

    fn collect(&self, at: NaiveDateTime, end: NaiveDateTime, budget: &Budget) -> Option<Vec<NaiveDateTime>> {
        let mut passes: Box<dyn Passes> = match &self.inner.inner {
            None => {
                let implied = if self.by_month { self.start } else { at }.date();
                // So many months, whether or not they have such days: February has no fifth Tuesday, and March is not meant.
                Box::new(Flat { limit: self.inner.count, implied, empty_too: self.by_month, ..Flat::new(self.inner, at) })
            }
            Some(_) => passes(self.inner, at),
        };
        let floor = self.start.max(if self.by_month { at.date().and_time(NaiveTime::MIN) } else { at });
        let mut found = Vec::new();
        while passes.begins().is_some_and(|b| b < end) {
            let pass = passes.pass(budget)?;
            found.extend(pass.into_iter().filter(|c| *c >= floor && *c < end));
        }
        Some(found)
    }
}

impl Passes for Nested<'_> {
    fn begins(&mut self) -> Option<NaiveDateTime> {
        if self.count.is_some_and(|n| self.given >= n) {
            return None;
        }
        match self.ahead.front() {
            Some(at) => Some(at.date().and_time(NaiveTime::MIN)),
            None => self.outer.begins(),
        }
    }

    fn pass(&mut self, budget: &Budget) -> Option<Vec<NaiveDateTime>> {
        if self.ahead.len() < 2 && self.outer.begins().is_some() {
            let anchor = self.outer.start;
            let pass = self.outer.pass(budget)?;
            self.ahead.extend(pass.into_iter().filter(|at| *at >= anchor));
            return Some(Vec::new());
        }
        let Some(at) = self.ahead.pop_front() else { return Some(Vec::new()) };
        self.given += 1;
        // What the inner rule still has to say where the outer one starts anew is cut off.
        let next = self.ahead.front().copied().unwrap_or(NaiveDateTime::MAX);
        let end = match (self.inner.count, &self.outer.rule.kind) {
            (Some(_), _) => next,
            (None, Kind::Months(_)) => next.min(month_after(at)),
            (None, _) => next.min(day_after(at)),
        };
        self.collect(at, end, budget)
    }
}

fn day_after(at: NaiveDateTime) -> NaiveDateTime {
    at.date().succ_opt().map_or(NaiveDateTime::MAX, |d| d.and_time(NaiveTime::MIN))
}

fn month_after(at: NaiveDateTime) -> NaiveDateTime {
    let next = at.date().with_day(1).and_then(|d| d.checked_add_months(Months::new(1)));
    next.map_or(NaiveDateTime::MAX, |d| d.and_time(NaiveTime::MIN))
}
