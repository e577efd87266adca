//! What a recurrence rule says, in the terms in which a person says it (RFC 5545 3.3.10), without a language.
//!
//! Invariants: a [`Phrase`] says all that the rule says, or there is none; what a rule leaves to DTSTART (the weekday, the
//! day of the month) is filled in; BYHOUR, BYMINUTE and BYSECOND that say DTSTART once more are left out.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Weekday};

use crate::calendar::recur::Until;
use crate::calendar::recur::ical::{Frequency, Rule};

/// Entries of a list that a person would still read.
const MAX_LISTED: usize = 12;
const WORKING: [Weekday; 5] = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri];
const WEEK: [Weekday; 7] = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

/// A rule: its days, the times of day when they differ from DTSTART's, and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phrase {
    pub pattern: Pattern,
    /// Empty: at DTSTART's time.
    pub times: Vec<NaiveTime>,
    pub count: Option<u32>,
    /// The last day that may count.
    pub until: Option<NaiveDate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

/// Which months a day counts in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Months {
    /// Every n-th month.
    Every(u32),
    /// These months (1 to 12) of every n-th year.
    Of(Vec<u8>, u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Days {
    Any,
    /// Monday to Friday.
    Working,
    Weekend,
    /// From Monday on.
    These(Vec<Weekday>),
}

/// Numbers count from 1; negative ones from the end, -1 the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Every n hours, every n days.
    Every(u32, Unit),
    /// On these days of every n-th week.
    Weekly(u32, Days),
    /// Every one of these weekdays in some months.
    DaysIn(Days, Months),
    /// The first and the last Friday.
    Nth(Vec<i16>, Days, Months),
    /// The 1st and the 15th.
    MonthDays(Vec<i8>, Months),
    /// The 13th when it is a Friday.
    MonthDaysWhen(Vec<i8>, Days, Months),
    /// The 20th Monday of every n-th year.
    NthOfYear(Vec<i16>, Days, u32),
    /// The 100th day of every n-th year.
    YearDays(Vec<i16>, u32),
    /// These days of weeks by number, of every n-th year.
    Weeks(Vec<i8>, Days, u32),
}

impl Phrase {
    /// `start`: DTSTART in the wall time of its zone. `local`: from UTC to that wall time, for an UNTIL in UTC. `None`: the
    /// rule says more than a phrase can.
    pub fn of(rule: &Rule, start: NaiveDateTime, local: &dyn Fn(NaiveDateTime) -> NaiveDateTime) -> Option<Self> {
        let until = rule.until.map(|until| match until {
            Until::Date(date) => date,
            Until::Local(at) => at.date(),
            Until::Utc(at) => local(at).date(),
        });
        let pattern = pattern(rule, start)?;
        Some(Self { pattern, times: times(rule, start.time())?, count: rule.count, until })
    }
}

/// The times of day; `None` when hours, minutes and seconds multiply.
fn times(rule: &Rule, start: NaiveTime) -> Option<Vec<NaiveTime>> {
    let one = |list: &[u8], default: u32| match list {
        [] => Some(default),
        [one] => Some(u32::from(*one)),
        _ => None,
    };
    let second = one(&rule.by_second, start.second())?;
    let times: Vec<NaiveTime> = if rule.by_hour.len() > 1 {
        let minute = one(&rule.by_minute, start.minute())?;
        rule.by_hour.iter().map(|h| NaiveTime::from_hms_opt(u32::from(*h), minute, second)).collect::<Option<_>>()?
    } else {
        let hour = one(&rule.by_hour, start.hour())?;
        let minutes = if rule.by_minute.is_empty() { vec![start.minute()] } else { rule.by_minute.iter().map(|m| u32::from(*m)).collect() };
        minutes.into_iter().map(|m| NaiveTime::from_hms_opt(hour, m, second)).collect::<Option<_>>()?
    };
    if times.len() > MAX_LISTED {
        return None;
    }
    Some(if times == [start] { Vec::new() } else { times })
}

fn pattern(rule: &Rule, start: NaiveDateTime) -> Option<Pattern> {
    let n = rule.interval.max(1);
    let plain = rule.by_day.is_empty()
        && rule.by_month_day.is_empty()
        && rule.by_year_day.is_empty()
        && rule.by_week_no.is_empty()
        && rule.by_month.is_empty()
        && rule.by_set_pos.is_empty();
    let lists = [rule.by_day.len(), rule.by_month_day.len(), rule.by_year_day.len(), rule.by_week_no.len(), rule.by_set_pos.len()];
    if lists.iter().any(|len| *len > MAX_LISTED) {
        return None;
    }
    let timed = !(rule.by_hour.is_empty() && rule.by_minute.is_empty() && rule.by_second.is_empty());
    match rule.frequency {
        Frequency::Secondly | Frequency::Minutely | Frequency::Hourly => {
            let unit = match rule.frequency {
                Frequency::Secondly => Unit::Second,
                Frequency::Minutely => Unit::Minute,
                _ => Unit::Hour,
            };
            (plain && !timed).then_some(Pattern::Every(n, unit))
        }
        Frequency::Daily => daily(rule, n, plain, start),
        Frequency::Weekly => weekly(rule, n, start),
        Frequency::Monthly => in_months(rule, months(rule, n)?, start),
        Frequency::Yearly => yearly(rule, n, start),
    }
}

fn daily(rule: &Rule, n: u32, plain: bool, start: NaiveDateTime) -> Option<Pattern> {
    if plain {
        return Some(Pattern::Every(n, Unit::Day));
    }
    if n > 1 || !rule.by_set_pos.is_empty() || rule.by_day.iter().any(|(nth, _)| *nth != 0) {
        return None;
    }
    if !rule.by_month_day.is_empty() {
        return in_months(rule, months(rule, 1)?, start);
    }
    if !rule.by_year_day.is_empty() || !rule.by_week_no.is_empty() {
        return None;
    }
    // Days of the week on their own, or every day of some months.
    let days = if rule.by_day.is_empty() { Days::Any } else { days(rule) };
    Some(if rule.by_month.is_empty() { Pattern::Weekly(1, days) } else { Pattern::DaysIn(days, months(rule, 1)?) })
}

fn weekly(rule: &Rule, n: u32, start: NaiveDateTime) -> Option<Pattern> {
    let odd = !rule.by_month_day.is_empty()
        || !rule.by_year_day.is_empty()
        || !rule.by_week_no.is_empty()
        || !rule.by_set_pos.is_empty()
        || rule.by_day.iter().any(|(nth, _)| *nth != 0);
    let days = if rule.by_day.is_empty() { Days::These(vec![start.weekday()]) } else { days(rule) };
    if odd || !rule.by_month.is_empty() && n > 1 {
        return None;
    }
    Some(if rule.by_month.is_empty() { Pattern::Weekly(n, days) } else { Pattern::DaysIn(days, months(rule, 1)?) })
}

fn yearly(rule: &Rule, n: u32, start: NaiveDateTime) -> Option<Pattern> {
    let only_days = rule.by_month.is_empty() && rule.by_month_day.is_empty();
    if !rule.by_year_day.is_empty() {
        let alone = only_days && rule.by_day.is_empty() && rule.by_week_no.is_empty() && rule.by_set_pos.is_empty();
        return alone.then(|| Pattern::YearDays(rule.by_year_day.clone(), n));
    }
    if !rule.by_week_no.is_empty() {
        let odd = !only_days || !rule.by_set_pos.is_empty() || rule.by_day.iter().any(|(nth, _)| *nth != 0);
        let days = if rule.by_day.is_empty() { Days::These(vec![start.weekday()]) } else { days(rule) };
        return (!odd).then(|| Pattern::Weeks(rule.by_week_no.clone(), days, n));
    }
    if only_days && !rule.by_day.is_empty() {
        // Without a month the numbers count within the year.
        return match nth_of(rule)? {
            (None, days) => (n == 1).then_some(Pattern::Weekly(1, days)),
            (Some(nth), days) => Some(Pattern::NthOfYear(nth, days, n)),
        };
    }
    let month = |list: &[u8]| if list.is_empty() { vec![u8::try_from(start.month()).unwrap_or(1)] } else { sorted(list) };
    let months = match (&rule.by_month[..], rule.by_month_day.is_empty()) {
        ([], false) => {
            // A day of every month of the year.
            if n > 1 {
                return None;
            }
            Months::Every(1)
        }
        (list, _) => Months::Of(month(list), n),
    };
    if rule.by_set_pos.is_empty() || matches!(&months, Months::Of(list, _) if list.len() == 1) {
        return in_months(rule, months, start);
    }
    None
}

fn months(rule: &Rule, n: u32) -> Option<Months> {
    match (rule.by_month.is_empty(), n) {
        (true, n) => Some(Months::Every(n)),
        (false, 1) => Some(Months::Of(sorted(&rule.by_month), 1)),
        // Every second month, but only in some: which ones depends on the year.
        (false, _) => None,
    }
}

/// A rule by days within months.
fn in_months(rule: &Rule, months: Months, start: NaiveDateTime) -> Option<Pattern> {
    if !rule.by_year_day.is_empty() || !rule.by_week_no.is_empty() {
        return None;
    }
    let month_days = sorted_days(&rule.by_month_day);
    match (rule.by_day.is_empty(), month_days.is_empty(), rule.by_set_pos.is_empty()) {
        (true, true, true) => Some(Pattern::MonthDays(vec![i8::try_from(start.day()).ok()?], months)),
        (true, false, true) => Some(Pattern::MonthDays(month_days, months)),
        (false, true, _) => match nth_of(rule)? {
            (None, days) => Some(Pattern::DaysIn(days, months)),
            (Some(nth), days) => Some(Pattern::Nth(nth, days, months)),
        },
        (false, false, true) if rule.by_day.iter().all(|(nth, _)| *nth == 0) => {
            let days = days(rule);
            // Seven days from the 1st, 8th, 15th or 22nd: the first, second, … one of its kind.
            let first = month_days[0];
            let week = month_days.len() == 7 && month_days[6] == first + 6 && [1, 8, 15, 22].contains(&first);
            Some(match (&days, week) {
                (Days::These(one), true) if one.len() == 1 => Pattern::Nth(vec![i16::from((first - 1) / 7 + 1)], days, months),
                _ => Pattern::MonthDaysWhen(month_days, days, months),
            })
        }
        // A position among the days of the month that are named by number.
        _ => None,
    }
}

/// Positions and days of BYDAY with BYSETPOS; `None` in the first place: every one of these days.
fn nth_of(rule: &Rule) -> Option<(Option<Vec<i16>>, Days)> {
    let all: Vec<i16> = rule.by_day.iter().map(|(nth, _)| *nth).collect();
    if !rule.by_set_pos.is_empty() {
        return all.iter().all(|n| *n == 0).then(|| (Some(rule.by_set_pos.clone()), days(rule)));
    }
    if all.iter().all(|n| *n == 0) {
        return Some((None, days(rule)));
    }
    // `1MO,3MO`, or `1MO,1WE`: one list of positions for one list of days.
    let mut weekdays: Vec<Weekday> = Vec::new();
    let mut positions: Vec<i16> = Vec::new();
    for (nth, day) in &rule.by_day {
        if !weekdays.contains(day) {
            weekdays.push(*day);
        }
        if !positions.contains(nth) {
            positions.push(*nth);
        }
    }
    // A position for several days means each of them; that is said right only when there is one day.
    let one = weekdays.len() == 1 && !positions.contains(&0);
    one.then_some((Some(positions), Days::These(weekdays)))
}

fn days(rule: &Rule) -> Days {
    let has = |day: &Weekday| rule.by_day.iter().any(|(_, d)| d == day);
    let these: Vec<Weekday> = WEEK.into_iter().filter(has).collect();
    match these.len() {
        7 => Days::Any,
        5 if these == WORKING => Days::Working,
        2 if these == [Weekday::Sat, Weekday::Sun] => Days::Weekend,
        _ => Days::These(these),
    }
}

fn sorted(list: &[u8]) -> Vec<u8> {
    let mut list = list.to_vec();
    list.sort_unstable();
    list.dedup();
    list
}

/// From the first of the month; those counted from the end behind them.
fn sorted_days(list: &[i8]) -> Vec<i8> {
    let mut list = list.to_vec();
    list.sort_unstable_by_key(|d| (*d < 0, *d));
    list.dedup();
    list
}
