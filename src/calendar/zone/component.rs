//! VTIMEZONE read: its STANDARD and DAYLIGHT parts as rules.
//!
//! Invariants: what a rule says beyond one day a year is refused, not guessed; parts and onsets of one object are bounded.

use chrono::{Datelike, Duration, NaiveDateTime, Weekday};

use super::rules::{Observance, Rules, Yearly};
use crate::calendar::property::Document;
use crate::calendar::time;

/// STANDARD and DAYLIGHT parts read of one object, and single onsets; the rest is left to names.
const MAX_OBSERVANCES: usize = 200;
const MAX_ONSETS: usize = 2_000;
/// Rules of one part.
const MAX_RULES: usize = 8;
/// Years in which the end that COUNT means is looked for.
const MAX_YEARS: i32 = 400;

/// How much of an object's zones has been read.
#[derive(Default)]
pub(super) struct Read {
    observances: usize,
    onsets: usize,
}

impl Read {
    /// The rules of the VTIMEZONE at `index`; `None` when they cannot be evaluated.
    pub fn zone(&mut self, document: &Document, index: usize) -> Option<Rules> {
        let inner = document.components.get(index)?.lines.clone();
        let parts = document.components.iter().enumerate().skip(index + 1).take_while(|(_, c)| c.lines.start < inner.end);
        // One that stands inside another, whose END is missing, is one of its own.
        let parts = parts.filter(|(_, c)| matches!(c.name.as_str(), "STANDARD" | "DAYLIGHT") && holder(document, c.parent) == index);
        let mut read = Vec::new();
        for (part, component) in parts {
            let raw = Raw::read(document, part, component.name == "DAYLIGHT");
            self.observances += raw.rules.len().max(1);
            self.onsets += raw.dates.len();
            if self.observances > MAX_OBSERVANCES || self.onsets > MAX_ONSETS {
                return None;
            }
            read.push(raw);
        }
        let mut observances = Vec::new();
        for raw in &read {
            observances.extend(raw.observances(raw.from.or_else(|| other_offset(&read, raw)))?);
        }
        (!observances.is_empty()).then(|| Rules::new(observances))
    }
}

/// The zone or event that a component stands in; 0: in none.
fn holder(document: &Document, mut place: usize) -> usize {
    while place != 0 && !matches!(document.components[place].name.as_str(), "VTIMEZONE" | "VEVENT" | "VTODO" | "VJOURNAL" | "VFREEBUSY") {
        place = document.components[place].parent;
    }
    place
}

/// Where TZOFFSETFROM is missing: the one offset of the other kind.
fn other_offset(all: &[Raw], one: &Raw) -> Option<i32> {
    let mut others = all.iter().filter(|o| o.daylight != one.daylight).filter_map(|o| o.to);
    let first = others.next()?;
    others.all(|o| o == first).then_some(first)
}

/// The properties of a part, as they stand.
#[derive(Default)]
struct Raw {
    start: Option<NaiveDateTime>,
    from: Option<i32>,
    to: Option<i32>,
    rules: Vec<String>,
    dates: Vec<NaiveDateTime>,
    name: String,
    daylight: bool,
}

impl Raw {
    fn read(document: &Document, component: usize, daylight: bool) -> Self {
        let mut raw = Self { daylight, ..Self::default() };
        for (_, line) in document.lines_of(component) {
            let value = || document.raw(line);
            match &*line.name {
                "DTSTART" => raw.start = time::parse(&value()).map(|t| t.local()),
                "TZOFFSETFROM" => raw.from = time::offset_seconds(&value()),
                "TZOFFSETTO" => raw.to = time::offset_seconds(&value()),
                "TZNAME" if raw.name.is_empty() => raw.name = value().trim().chars().take(64).collect(),
                "RRULE" if raw.rules.len() <= MAX_RULES => raw.rules.push(value().trim().to_owned()),
                "RDATE" => {
                    // A period begins with its date.
                    let dates = value();
                    let dates = dates.split(',').take(MAX_ONSETS + 1).map(|v| v.split('/').next().unwrap_or(v));
                    raw.dates.extend(dates.filter_map(|v| time::parse(v).map(|t| t.local())));
                }
                _ => {}
            }
        }
        raw
    }

    /// One observance for each rule; the first has the single onsets too.
    fn observances(&self, from: Option<i32>) -> Option<Vec<Observance>> {
        let (start, to) = (self.start.or_else(|| self.dates.iter().min().copied())?, self.to?);
        let from = from.unwrap_or(to);
        if self.rules.len() > MAX_RULES {
            return None;
        }
        let rules = self.rules.iter().filter(|r| !r.is_empty()).map(|r| yearly(r, start, from)).collect::<Option<Vec<_>>>()?;
        // A start that the rule does not give says from when on and at which hour, and is no onset (Exchange: 1601-01-01).
        let given = rules.is_empty() || rules.iter().any(|r| r.day(start.year()) == Some(start.date()));
        let mut onsets: Vec<i64> = self.dates.iter().chain(given.then_some(&start)).map(|d| instant(*d, from)).collect();
        onsets.sort_unstable();
        onsets.dedup();
        let first = Observance { start, from, to, rule: None, onsets, name: self.name.clone(), daylight: self.daylight };
        let later = rules.iter().skip(1).map(|r| Observance { rule: Some(r.clone()), onsets: Vec::new(), ..first.clone() });
        let mut all: Vec<_> = later.collect();
        all.push(Observance { rule: rules.first().cloned(), ..first });
        Some(all)
    }
}

fn instant(local: NaiveDateTime, offset: i32) -> i64 {
    local.and_utc().timestamp() - i64::from(offset)
}

/// A yearly rule; `None` when it says more than [`Yearly`] can.
fn yearly(text: &str, start: NaiveDateTime, from: i32) -> Option<Yearly> {
    let mut rule = Yearly { month: start.month(), interval: 1, ..Yearly::default() };
    let (mut count, mut monthly, mut by_month, mut frequency) = (None, false, false, false);
    for part in text.split(';').map(str::trim).filter(|p| !p.is_empty()) {
        let (name, value) = part.split_once('=')?;
        let value = value.trim();
        match name.trim().to_ascii_uppercase().as_str() {
            "FREQ" => {
                frequency = true;
                monthly = value.eq_ignore_ascii_case("MONTHLY");
                if !monthly && !value.eq_ignore_ascii_case("YEARLY") {
                    return None;
                }
            }
            "BYMONTH" => {
                by_month = true;
                rule.month = value.parse().ok().filter(|m| (1..=12).contains(m))?;
            }
            "BYDAY" => (rule.nth, rule.weekday) = by_day(value)?,
            "BYMONTHDAY" => rule.days = numbers(value, 31)?,
            "BYYEARDAY" => rule.year_days = numbers(value, 366)?,
            "BYSETPOS" if rule.nth == 0 => rule.nth = value.parse().ok().filter(|n: &i32| (-5..=5).contains(n) && *n != 0)?,
            "INTERVAL" => rule.interval = value.parse().ok().filter(|i| (1..=600).contains(i))?,
            "COUNT" => count = Some(value.parse::<usize>().ok()?),
            "UNTIL" => {
                let until = time::parse(value)?;
                let end = if until.has_time { until.local() } else { until.local() + Duration::seconds(86_399) };
                rule.until = Some(instant(end, until.offset.unwrap_or(from)));
            }
            // Lotus writes the time of DTSTART once more.
            "WKST" | "BYHOUR" | "BYMINUTE" | "BYSECOND" => {}
            _ => return None,
        }
    }
    if monthly {
        // Every twelfth month, or every month that is March, is once a year.
        match rule.interval {
            1 if by_month => {}
            months if months % 12 == 0 && !by_month => rule.interval = months / 12,
            _ => return None,
        }
    }
    if !frequency || rule.interval > 50 {
        return None;
    }
    if rule.weekday.is_none() && rule.days.is_empty() && rule.year_days.is_empty() {
        rule.days = vec![i32::try_from(start.day()).ok()?];
    }
    if let Some(count) = count {
        let whole = Observance::ruled(start, from, from, rule.clone());
        let last = whole.onsets_of_rule(&rule, MAX_YEARS).take(count.max(1)).last();
        rule.until = last.map(|l| rule.until.map_or(l, |u| u.min(l))).or(rule.until);
    }
    Some(rule)
}

/// A list of days, negative from the end.
fn numbers(value: &str, max: i32) -> Option<Vec<i32>> {
    let numbers = value.split(',').map(|d| d.trim().parse().ok().filter(|n: &i32| *n != 0 && n.abs() <= max));
    numbers.take(usize::try_from(max).ok()? + 1).collect::<Option<Vec<i32>>>().filter(|n| n.len() <= usize::try_from(max).unwrap_or(0))
}

/// `-1SU`, `2SU`, `SU`.
fn by_day(value: &str) -> Option<(i32, Option<Weekday>)> {
    let (nth, day) = value.split_at_checked(value.len().checked_sub(2)?)?;
    let weekday = match day.to_ascii_uppercase().as_str() {
        "SU" => Weekday::Sun,
        "MO" => Weekday::Mon,
        "TU" => Weekday::Tue,
        "WE" => Weekday::Wed,
        "TH" => Weekday::Thu,
        "FR" => Weekday::Fri,
        "SA" => Weekday::Sat,
        _ => return None,
    };
    let nth = if nth.is_empty() { 0 } else { nth.parse().ok().filter(|n: &i32| (-5..=5).contains(n))? };
    Some((nth, Some(weekday)))
}
