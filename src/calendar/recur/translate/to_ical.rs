//! From vCalendar to iCalendar.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, Duration, NaiveDateTime, NaiveTime, Timelike, Weekday};

use super::super::expand::{Either, Role, alone};
use super::super::ical::{Frequency, Rule};
use super::super::vcal::{self, Day, Kind};
use super::super::{Frame, Said, Until};
use super::dates;

/// Most instances that are counted where vCalendar counts otherwise.
const MAX_COUNTED: usize = 10_000;

pub(super) fn say(rule: &vcal::Rule, frame: &Frame<'_>, role: Role) -> Said<Rule> {
    let whole = Either::VCal(rule.clone());
    let said = draft(rule, frame).and_then(|drafts| end(rule, &whole, drafts, frame, role));
    match said {
        Ok(rules) => Said::Rules(rules),
        Err(why) => dates(&whole, frame, role, why),
    }
}

/// The end, on each of the drafts.
fn end(rule: &vcal::Rule, whole: &Either, mut drafts: Vec<Rule>, frame: &Frame<'_>, role: Role) -> Result<Vec<Rule>, &'static str> {
    let counts_passes = rule.mark.is_some() || rule.inner.is_some();
    let (mut count, mut until) = (rule.count, rule.until);
    // Whichever of two ends comes first is the end.
    if let Some(n) = count
        && (counts_passes || until.is_some())
    {
        let limit = if counts_passes { MAX_COUNTED } else { (n as usize).min(MAX_COUNTED) };
        let all = alone(whole, frame, role, limit);
        let found = u32::try_from(all.starts.len()).ok().filter(|_| all.complete).ok_or("an end that cannot be computed")?;
        match until {
            Some(_) if !counts_passes && found < n => count = None,
            _ => (count, until) = (Some(found), None),
        }
        if found == 0 {
            return Err("a rule without instances");
        }
    }
    if count.is_some() && drafts.len() > 1 {
        return Err("a number of occurrences at times of day that take several rules");
    }
    for draft in &mut drafts {
        draft.count = count;
        draft.until = until.map(|until| said_until(until, frame));
    }
    Ok(drafts)
}

/// RFC 5545 3.3.10: a date when DTSTART is one, local when it floats, else UTC.
pub(super) fn said_until(until: Until, frame: &Frame<'_>) -> Until {
    let local = match until {
        Until::Date(date) => date.and_time(NaiveTime::MIN) + Duration::seconds(86_399),
        Until::Local(at) => at,
        Until::Utc(at) if frame.all_day || frame.floating => (frame.to_local)(at),
        Until::Utc(_) => return until,
    };
    match () {
        () if frame.all_day => Until::Date(local.date()),
        () if frame.floating => Until::Local(local),
        () => Until::Utc((frame.to_utc)(local)),
    }
}

/// The rules without their end.
fn draft(rule: &vcal::Rule, frame: &Frame<'_>) -> Result<Vec<Rule>, &'static str> {
    const NO_COUNTERPART: &str = "a rule within a rule";
    let Some(inner) = &rule.inner else { return plain(&rule.kind, rule.interval, None, frame) };
    if inner.inner.is_some() || inner.mark.is_some() || rule.mark.is_some() || frame.all_day && inner.kind == Kind::Minutes {
        return Err(NO_COUNTERPART);
    }
    match (&rule.kind, &inner.kind) {
        (Kind::Minutes, _) => Err(NO_COUNTERPART),
        (_, Kind::Minutes) => {
            let times = times_of_minutes(inner, frame.start).ok_or(NO_COUNTERPART)?;
            plain(&rule.kind, rule.interval, Some(&times), frame)
        }
        (Kind::Months(months), Kind::Daily(times)) if times.is_empty() => {
            let days = (0..).map(|k| frame.start.day() + k * inner.interval.min(31)).take_while(|d| *d <= 31);
            let days: Vec<u32> = days.take(inner.count.map_or(31, |n| n as usize)).collect();
            // Days that follow each other across the end of a month are no days of the month.
            let runs_over = inner.count.is_some_and(|n| days.len() < n as usize || days.last().is_some_and(|d| *d > 28));
            if runs_over || frame.start.day() > 28 {
                return Err(NO_COUNTERPART);
            }
            let own = [u8::try_from(frame.start.month()).unwrap_or(1)];
            Ok(vec![Rule {
                interval: rule.interval,
                by_month: if months.is_empty() { own.to_vec() } else { months.clone() },
                by_month_day: days.into_iter().filter_map(|d| i8::try_from(d).ok()).collect(),
                ..Rule::new(Frequency::Yearly)
            }])
        }
        (Kind::Months(months), Kind::Positions(_) | Kind::MonthDays(_)) if inner.count.is_none_or(|n| n == 1) => {
            let own = [u8::try_from(frame.start.month()).unwrap_or(1)];
            let mut rules = plain(&inner.kind, rule.interval, None, frame)?;
            for inner in &mut rules {
                inner.frequency = Frequency::Yearly;
                inner.by_month = if months.is_empty() { own.to_vec() } else { months.clone() };
            }
            Ok(rules)
        }
        _ => Err(NO_COUNTERPART),
    }
}

/// The times of day that `M30 #4` makes of DTSTART's; `None` when they leave the day.
fn times_of_minutes(inner: &vcal::Rule, start: NaiveDateTime) -> Option<Vec<NaiveTime>> {
    let step = Duration::minutes(inner.interval.into());
    let mut times = Vec::new();
    let mut at = start;
    while inner.count.is_none_or(|n| times.len() < n as usize) {
        if at.date() != start.date() {
            return inner.count.is_none().then_some(times);
        }
        times.push(at.time());
        at = at.checked_add_signed(step)?;
    }
    Some(times)
}

/// One level. `times`: for every day, instead of DTSTART's.
fn plain(kind: &Kind, interval: u32, times: Option<&[NaiveTime]>, frame: &Frame<'_>) -> Result<Vec<Rule>, &'static str> {
    let start = frame.start;
    let base = |frequency| Rule { interval, ..Rule::new(frequency) };
    let own = |day: &Day| times.map_or_else(|| day.times.clone(), <[NaiveTime]>::to_vec);
    let timed_days = match kind {
        Kind::Daily(list) => !list.is_empty(),
        Kind::Weekly(days) => days.iter().any(|d| !d.times.is_empty()),
        Kind::Positions(groups) => groups.iter().flat_map(|g| &g.days).any(|d| !d.times.is_empty()),
        _ => false,
    };
    if times.is_some() && timed_days {
        // Each of the times would start the minutes anew.
        return Err("a rule within a rule");
    }
    let mut rules: Vec<(Rule, Vec<NaiveTime>)> = Vec::new();
    let all = times.map(<[NaiveTime]>::to_vec).unwrap_or_default();
    match kind {
        Kind::Minutes if frame.all_day => return Err("minutes for an event that lasts days"),
        Kind::Minutes => rules.push((base(Frequency::Minutely), Vec::new())),
        Kind::Daily(list) if list.is_empty() => rules.push((base(Frequency::Daily), all)),
        Kind::Daily(list) => rules.push((base(Frequency::Daily), list.clone())),
        Kind::Weekly(days) if days.is_empty() => rules.push((base(Frequency::Weekly), all)),
        Kind::Weekly(days) => {
            for (times, days) in by_times(days.iter().map(|d| ((0, d.weekday), own(d)))) {
                let matters = interval > 1 && days.iter().any(|(_, d)| *d != start.weekday());
                rules.push((Rule { by_day: days, week_start: matters.then_some(Weekday::Mon), ..base(Frequency::Weekly) }, times));
            }
        }
        Kind::Positions(groups) if groups.is_empty() => {
            let nth = i16::try_from(start.day0() / 7 + 1).unwrap_or(5);
            rules.push((Rule { by_day: vec![(nth, start.weekday())], ..base(Frequency::Monthly) }, all));
        }
        Kind::Positions(groups) => {
            let implied = [Day { weekday: start.weekday(), times: Vec::new() }];
            let each = groups.iter().flat_map(|g| {
                let days = if g.days.is_empty() { &implied[..] } else { &g.days[..] };
                g.positions.iter().flat_map(move |p| days.iter().map(move |d| (i16::from(*p), d)))
            });
            for (times, days) in by_times(each.map(|(p, d)| ((p, d.weekday), own(d)))) {
                rules.push((Rule { by_day: days, ..base(Frequency::Monthly) }, times));
            }
        }
        Kind::MonthDays(days) => rules.push((Rule { by_month_day: days.clone(), ..base(Frequency::Monthly) }, all)),
        Kind::Months(months) => rules.push((Rule { by_month: months.clone(), ..base(Frequency::Yearly) }, all)),
        Kind::YearDays(days) => {
            let own = [i16::try_from(start.ordinal()).unwrap_or(1)];
            let days = if days.is_empty() { own.to_vec() } else { days.iter().filter_map(|d| i16::try_from(*d).ok()).collect() };
            rules.push((Rule { by_year_day: days, ..base(Frequency::Yearly) }, all));
        }
    }
    if frame.all_day && rules.iter().any(|(_, times)| !times.is_empty()) {
        return Err("times of day for an event that lasts days");
    }
    Ok(rules.into_iter().flat_map(|(rule, times)| timed(&rule, times, start)).collect())
}

type Nth = (i16, Weekday);

/// Days of the same times together, in the order in which they stand.
fn by_times(days: impl Iterator<Item = (Nth, Vec<NaiveTime>)>) -> Vec<(Vec<NaiveTime>, Vec<Nth>)> {
    let mut groups: Vec<(Vec<NaiveTime>, Vec<Nth>)> = Vec::new();
    for (day, times) in days {
        let index = groups.iter().position(|(t, _)| *t == times).unwrap_or_else(|| {
            groups.push((times, Vec::new()));
            groups.len() - 1
        });
        let days = &mut groups[index].1;
        if !days.contains(&day) {
            days.push(day);
        }
    }
    groups
}

/// The rule at these times of day: BYHOUR and BYMINUTE multiply, so that it may take several.
fn timed(rule: &Rule, times: Vec<NaiveTime>, start: NaiveDateTime) -> Vec<Rule> {
    let times: BTreeSet<NaiveTime> = times.into_iter().collect();
    if times.is_empty() || times.len() == 1 && times.contains(&start.time()) {
        return vec![rule.clone()];
    }
    let mut hours: BTreeMap<(u32, u32), Vec<u8>> = BTreeMap::new();
    for time in &times {
        hours.entry((time.minute(), time.second())).or_default().push(octet(time.hour()));
    }
    // Minutes that share the same hours go into one rule.
    let mut groups: BTreeMap<(Vec<u8>, u32), Vec<u8>> = BTreeMap::new();
    for ((minute, second), hours) in hours {
        groups.entry((hours, second)).or_default().push(octet(minute));
    }
    let rules = groups.into_iter().map(|((by_hour, second), by_minute)| Rule {
        by_hour,
        by_minute,
        by_second: if second == start.second() { Vec::new() } else { vec![octet(second)] },
        ..rule.clone()
    });
    rules.collect()
}

fn octet(n: u32) -> u8 {
    u8::try_from(n).unwrap_or(0)
}
