//! From iCalendar to vCalendar.
//!
//! The passes of a vCalendar rule start in DTSTART's period, and MD and MP know no months: a yearly rule for certain
//! months becomes a monthly one with an interval, where DTSTART's month is among them.

use chrono::{Datelike, NaiveTime, Timelike, Weekday};

use super::super::expand::{Either, Role};
use super::super::ical::{Frequency, Rule};
use super::super::vcal::{self, Day, Group, Kind};
use super::super::{Frame, Said, Until};
use super::dates;

/// Most times of day in one list.
const MAX_TIMES: usize = 48;
const MAX_INTERVAL: u32 = 1_000_000;

pub(super) fn say(rule: &Rule, frame: &Frame<'_>, role: Role) -> Said<vcal::Rule> {
    match draft(rule, frame) {
        Ok(mut said) => {
            said.count = rule.count;
            said.until = rule.until.map(|until| said_until(until, frame));
            if said.is_sayable() && said.interval <= MAX_INTERVAL {
                return Said::Rules(vec![said]);
            }
            dates(&Either::ICal(rule.clone()), frame, role, "an interval that vCalendar does not have")
        }
        Err(why) => dates(&Either::ICal(rule.clone()), frame, role, why),
    }
}

/// vCalendar ends with a date and time.
fn said_until(until: Until, frame: &Frame<'_>) -> Until {
    match until {
        Until::Date(date) if frame.all_day => Until::Local(date.and_time(NaiveTime::MIN)),
        Until::Date(date) => Until::Local(date.and_hms_opt(23, 59, 59).unwrap_or(date.and_time(NaiveTime::MIN))),
        Until::Utc(at) if frame.all_day || frame.floating => Until::Local((frame.to_local)(at)),
        until => until,
    }
}

/// The rule without its end.
fn draft(rule: &Rule, frame: &Frame<'_>) -> Result<vcal::Rule, &'static str> {
    let mut rule = rule.clone();
    let hours = rule.frequency == Frequency::Hourly && rule.interval == 1 && !rule.by_hour.is_empty();
    if hours && !frame.all_day && rule.by_set_pos.is_empty() {
        rule.frequency = Frequency::Daily;
    }
    if rule.frequency < Frequency::Daily {
        return minutes(&rule, frame);
    }
    let times = times(&rule, frame)?;
    (rule.by_hour, rule.by_minute, rule.by_second) = (Vec::new(), Vec::new(), Vec::new());
    set_positions(&mut rule, !times.is_empty())?;
    widen(&mut rule);
    let (kind, interval) = match rule.frequency {
        Frequency::Weekly => weekly(&rule, frame)?,
        Frequency::Monthly if rule.by_month.is_empty() => monthly(&rule, rule.interval, frame)?,
        Frequency::Monthly => return Err("BYMONTH with an interval of months"),
        Frequency::Yearly => yearly(&rule, frame)?,
        _ if has_days(&rule) => return Err("days or months with an interval of days"),
        _ => (Kind::Daily(Vec::new()), rule.interval),
    };
    Ok(vcal::Rule::new(at_times(kind, &times, frame)?, interval))
}

fn has_days(rule: &Rule) -> bool {
    let lists = [rule.by_day.len(), rule.by_month_day.len(), rule.by_year_day.len(), rule.by_week_no.len(), rule.by_month.len()];
    lists.iter().any(|n| *n > 0)
}

fn minutes(rule: &Rule, frame: &Frame<'_>) -> Result<vcal::Rule, &'static str> {
    if has_days(rule) || !rule.by_hour.is_empty() || !rule.by_minute.is_empty() || !rule.by_second.is_empty() || !rule.by_set_pos.is_empty()
    {
        return Err("hours, minutes or seconds with BY parts");
    }
    if frame.all_day {
        return Err("hours or minutes for an event that lasts days");
    }
    let interval = match rule.frequency {
        Frequency::Hourly => rule.interval.checked_mul(60),
        Frequency::Minutely => Some(rule.interval),
        _ => Some(rule.interval / 60).filter(|n| n * 60 == rule.interval),
    };
    interval.map(|n| vcal::Rule::new(Kind::Minutes, n)).ok_or("seconds")
}

/// The times of day where they are not DTSTART's.
fn times(rule: &Rule, frame: &Frame<'_>) -> Result<Vec<NaiveTime>, &'static str> {
    let own = frame.start.time();
    if frame.all_day {
        return Ok(Vec::new());
    }
    let list = |list: &[u8], own: u32| if list.is_empty() { vec![own] } else { list.iter().map(|n| u32::from(*n)).collect() };
    let (hours, minutes, seconds) =
        (list(&rule.by_hour, own.hour()), list(&rule.by_minute, own.minute()), list(&rule.by_second, own.second()));
    if hours.len() * minutes.len() * seconds.len() > MAX_TIMES {
        return Err("too many times of day");
    }
    let mut times = Vec::new();
    for (h, m) in hours.iter().flat_map(|h| minutes.iter().map(move |m| (*h, *m))) {
        times.extend(seconds.iter().filter_map(|s| NaiveTime::from_hms_opt(h, m, *s)));
    }
    times.sort_unstable();
    match times.as_slice() {
        [time] if *time == own => Ok(Vec::new()),
        times if times.iter().any(|t| t.second() != 0) => Err("times of day with seconds"),
        _ => Ok(times),
    }
}

/// Says BYSETPOS by other parts, where it only counts equal weekdays or all days.
fn set_positions(rule: &mut Rule, timed: bool) -> Result<(), &'static str> {
    const WHY: &str = "BYSETPOS";
    let positions = std::mem::take(&mut rule.by_set_pos);
    if positions.is_empty() {
        return Ok(());
    }
    let in_month = rule.frequency == Frequency::Monthly || rule.frequency == Frequency::Yearly && rule.by_month.len() == 1;
    let other = !rule.by_month_day.is_empty() || !rule.by_year_day.is_empty() || !rule.by_week_no.is_empty();
    if timed || !in_month || other || rule.by_day.iter().any(|(nth, _)| *nth != 0) {
        return Err(WHY);
    }
    match rule.by_day.as_slice() {
        [(_, day)] => {
            let day = *day;
            rule.by_day = positions.into_iter().filter(|n| n.unsigned_abs() <= 5).map(|n| (n, day)).collect();
        }
        days if (0..7).all(|n| Weekday::try_from(n).is_ok_and(|w| days.iter().any(|(_, d)| *d == w))) => {
            rule.by_day = Vec::new();
            rule.by_month_day = positions.into_iter().filter(|n| n.unsigned_abs() <= 31).filter_map(|n| i8::try_from(n).ok()).collect();
        }
        _ => return Err(WHY),
    }
    // Positions that no month has leave nothing.
    if rule.by_day.is_empty() && rule.by_month_day.is_empty() { Err(WHY) } else { Ok(()) }
}

/// A rule of every day, week or month that is limited to some is one of a longer frequency.
fn widen(rule: &mut Rule) {
    if rule.interval != 1 || matches!(rule.frequency, Frequency::Yearly) {
        return;
    }
    let limited = |rule: &Rule| !rule.by_month_day.is_empty() || !rule.by_month.is_empty() || !rule.by_year_day.is_empty();
    if !rule.by_week_no.is_empty() {
        return;
    }
    if rule.frequency == Frequency::Daily && !rule.by_day.is_empty() && !limited(rule) {
        rule.frequency = Frequency::Weekly;
    }
    let plain_days = matches!(rule.frequency, Frequency::Daily) || rule.frequency == Frequency::Weekly && !rule.by_day.is_empty();
    if plain_days && limited(rule) {
        rule.by_day.iter_mut().for_each(|(nth, _)| *nth = 0);
        if !has_days(&Rule { by_month: Vec::new(), ..rule.clone() }) {
            rule.by_day = (0..7).filter_map(|n| Weekday::try_from(n).ok()).map(|d| (0, d)).collect();
        }
        rule.frequency = if rule.by_month.is_empty() && rule.by_year_day.is_empty() { Frequency::Monthly } else { Frequency::Yearly };
    }
    if rule.frequency == Frequency::Monthly && !rule.by_month.is_empty() {
        rule.frequency = Frequency::Yearly;
    }
}

type Drafted = Result<(Kind, u32), &'static str>;

fn weekly(rule: &Rule, frame: &Frame<'_>) -> Drafted {
    if has_days(&Rule { by_day: Vec::new(), ..rule.clone() }) {
        return Err("days or months with an interval of weeks");
    }
    let own = frame.start.weekday();
    let first = rule.week_start.unwrap_or(Weekday::Mon);
    // From the start of DTSTART's week: where the week starts decides which of the weeks a day is in.
    let from = |start: Weekday, day: Weekday| i64::from(day.days_since(start)) - i64::from(own.days_since(start));
    if rule.interval > 1 && rule.by_day.iter().any(|(_, d)| from(first, *d) != from(Weekday::Mon, *d)) {
        return Err("WKST, since weeks start on Monday");
    }
    let days = rule.by_day.iter().map(|(_, weekday)| Day { weekday: *weekday, times: Vec::new() });
    Ok((Kind::Weekly(days.collect()), rule.interval))
}

/// The days of each month, every `interval` months.
fn monthly(rule: &Rule, interval: u32, frame: &Frame<'_>) -> Drafted {
    if !rule.by_week_no.is_empty() || !rule.by_year_day.is_empty() {
        return Err("BYWEEKNO or BYYEARDAY in months");
    }
    let mut days: Vec<(i16, Weekday)> = rule.by_day.iter().copied().filter(|(n, _)| n.unsigned_abs() <= 5).collect();
    let each = days.iter().all(|(nth, _)| *nth == 0);
    if rule.by_day.is_empty() {
        let own = rule.by_month_day == [i8::try_from(frame.start.day()).unwrap_or(0)];
        return Ok((Kind::MonthDays(if own { Vec::new() } else { rule.by_month_day.clone() }), interval));
    }
    if days.is_empty() {
        return Err("a weekday that no month has so often");
    }
    if !rule.by_month_day.is_empty() {
        let nth = each.then(|| week_of_days(&rule.by_month_day)).flatten().ok_or("BYDAY together with BYMONTHDAY")?;
        for (n, _) in &mut days {
            *n = nth;
        }
    } else if each && interval == 1 {
        return Ok((Kind::Weekly(days.into_iter().map(|(_, weekday)| Day { weekday, times: Vec::new() }).collect()), 1));
    }
    let mut groups: Vec<Group> = Vec::new();
    for (nth, weekday) in days {
        let positions = match i8::try_from(nth).unwrap_or(0) {
            0 => vec![1, 2, 3, 4, 5],
            n => vec![n],
        };
        let day = Day { weekday, times: Vec::new() };
        match groups.last_mut().filter(|g| g.positions == positions) {
            Some(group) => group.days.push(day),
            None => groups.push(Group { positions, days: vec![day] }),
        }
    }
    // The same days in several weeks are said once.
    groups.dedup_by(|next, group| {
        let same = next.days == group.days;
        if same {
            group.positions.append(&mut next.positions);
        }
        same
    });
    Ok((Kind::Positions(groups), interval))
}

/// Seven days in a row hold each weekday once: 8 to 14 its second, -7 to -1 its last.
fn week_of_days(days: &[i8]) -> Option<i16> {
    let mut days = days.to_vec();
    days.sort_unstable();
    let week = |first: i8| (first..first + 7).eq(days.iter().copied());
    (1..=4).find(|n| week(7 * (n - 1) + 1)).or_else(|| (1..=4).map(|n| -n).find(|n| week(7 * n))).map(i16::from)
}

fn yearly(rule: &Rule, frame: &Frame<'_>) -> Drafted {
    let month = u8::try_from(frame.start.month()).unwrap_or(1);
    if !rule.by_week_no.is_empty() {
        return Err("BYWEEKNO");
    }
    if !rule.by_year_day.is_empty() {
        let days: Option<Vec<u16>> = rule.by_year_day.iter().map(|d| u16::try_from(*d).ok()).collect();
        let alone = !has_days(&Rule { by_year_day: Vec::new(), ..rule.clone() });
        let days = days.filter(|_| alone).ok_or("BYYEARDAY from the end of the year or with other parts")?;
        return Ok((Kind::YearDays(days), rule.interval));
    }
    let own_day = rule.by_month_day == [i8::try_from(frame.start.day()).unwrap_or(0)];
    if rule.by_day.is_empty() && (rule.by_month_day.is_empty() || own_day && !rule.by_month.is_empty()) {
        return Ok((Kind::Months(if rule.by_month == [month] { Vec::new() } else { rule.by_month.clone() }), rule.interval));
    }
    let step = match rule.by_month.as_slice() {
        [] if rule.by_day.iter().any(|(nth, _)| *nth != 0) => return Err("the n-th weekday of a year"),
        [] => Some(1).filter(|_| rule.interval == 1),
        [only] if *only == month => rule.interval.checked_mul(12),
        months if rule.interval == 1 => [1u8, 2, 3, 4, 6].into_iter().find(|s| every(*s, month, months)).map(u32::from),
        _ => None,
    };
    monthly(rule, step.ok_or("days in months that are not an even number of months from DTSTART's")?, frame)
}

/// Whether the months are those that `step` months from `own` reach.
fn every(step: u8, own: u8, months: &[u8]) -> bool {
    (1..=12).all(|m| months.contains(&m) == ((m + 12 - own).is_multiple_of(step)))
}

/// The list with its times of day.
fn at_times(kind: Kind, times: &[NaiveTime], frame: &Frame<'_>) -> Result<Kind, &'static str> {
    if times.is_empty() {
        return Ok(kind);
    }
    let timed = |mut days: Vec<Day>| {
        if days.is_empty() {
            days.push(Day { weekday: frame.start.weekday(), times: Vec::new() });
        }
        for day in &mut days {
            day.times = times.to_vec();
        }
        days
    };
    match kind {
        Kind::Daily(_) => Ok(Kind::Daily(times.to_vec())),
        Kind::Weekly(days) => Ok(Kind::Weekly(timed(days))),
        Kind::Positions(groups) => Ok(Kind::Positions(groups.into_iter().map(|g| Group { days: timed(g.days), ..g }).collect())),
        _ => Err("times of day on days of the month or of the year"),
    }
}
