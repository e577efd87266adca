//! RRULE and EXRULE of iCalendar (RFC 5545 3.3.10) as a value.
//!
//! Read in any case and order, with blanks and a `;` too many. What is written is canonical: FREQ, UNTIL, COUNT,
//! INTERVAL (unless 1), the BY parts from BYSECOND to BYSETPOS, WKST.

use std::fmt;
use std::str::FromStr;

use chrono::Weekday;

use super::super::error::clip;
use super::{RuleError, Until, short, weekday};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Frequency {
    Secondly,
    Minutely,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

const FREQUENCIES: [(&str, Frequency); 7] = [
    ("SECONDLY", Frequency::Secondly),
    ("MINUTELY", Frequency::Minutely),
    ("HOURLY", Frequency::Hourly),
    ("DAILY", Frequency::Daily),
    ("WEEKLY", Frequency::Weekly),
    ("MONTHLY", Frequency::Monthly),
    ("YEARLY", Frequency::Yearly),
];

/// Entries of one BY list; a year has no more days.
const MAX_LIST: usize = 732;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub frequency: Frequency,
    pub interval: u32,
    pub count: Option<u32>,
    pub until: Option<Until>,
    pub by_second: Vec<u8>,
    pub by_minute: Vec<u8>,
    pub by_hour: Vec<u8>,
    /// (0 for every one, 1 first, -1 last; weekday).
    pub by_day: Vec<(i16, Weekday)>,
    pub by_month_day: Vec<i8>,
    pub by_year_day: Vec<i16>,
    pub by_week_no: Vec<i8>,
    pub by_month: Vec<u8>,
    pub by_set_pos: Vec<i16>,
    pub week_start: Option<Weekday>,
}

impl Rule {
    /// For ever, every one.
    pub fn new(frequency: Frequency) -> Self {
        Self {
            frequency,
            interval: 1,
            count: None,
            until: None,
            by_second: Vec::new(),
            by_minute: Vec::new(),
            by_hour: Vec::new(),
            by_day: Vec::new(),
            by_month_day: Vec::new(),
            by_year_day: Vec::new(),
            by_week_no: Vec::new(),
            by_month: Vec::new(),
            by_set_pos: Vec::new(),
            week_start: None,
        }
    }

    /// The value of an RRULE or EXRULE. A part that would change what the rule says and is not understood is an error.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let upper = text.trim().to_ascii_uppercase();
        let upper = upper.trim_start_matches("RRULE:");
        let mut rule = Self::new(Frequency::Yearly);
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for part in upper.split(';').map(str::trim).filter(|p| !p.is_empty()) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(RuleError(format!("{} is no part of a rule: NAME=value is", clip(part))));
            };
            let (name, value) = (name.trim(), value.trim());
            match seen.iter().find(|(n, _)| *n == name) {
                Some((_, v)) if *v == value => continue,
                // Lists that come in pieces belong together; anything else contradicts itself.
                Some(_) if name.starts_with("BY") => {}
                Some(_) => return Err(RuleError(format!("{} stands twice with different values", clip(name)))),
                None => {}
            }
            if seen.len() >= 50 {
                return Err(RuleError("more than 50 parts".to_owned()));
            }
            seen.push((name, value));
            rule.part(name, value).ok_or_else(|| RuleError(format!("{}={} is not understood", clip(name), clip(value))))?;
        }
        if !seen.iter().any(|(n, _)| *n == "FREQ") {
            return Err(RuleError(format!("FREQ is missing in {:?}", clip(text))));
        }
        Ok(rule)
    }

    fn part(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "FREQ" => self.frequency = FREQUENCIES.iter().find(|(n, _)| *n == value)?.1,
            // 0 can mean nothing else than every one; libical reads it so too.
            "INTERVAL" => self.interval = value.parse::<u32>().ok()?.max(1),
            "COUNT" => self.count = Some(value.parse().ok().filter(|n| *n > 0)?),
            "UNTIL" => self.until = Some(Until::parse(value)?),
            // 60, a leap second, is the last second of its minute (3.3.10: as 59 where there are none).
            "BYSECOND" => list(&mut self.by_second, value, |t| number(t, 0, 60).map(|n: u8| n.min(59)))?,
            "BYMINUTE" => list(&mut self.by_minute, value, |t| number(t, 0, 59))?,
            "BYHOUR" => list(&mut self.by_hour, value, |t| number(t, 0, 23))?,
            "BYDAY" => list(&mut self.by_day, value, by_day)?,
            "BYMONTHDAY" => list(&mut self.by_month_day, value, |t| number(t, -31, 31).filter(|n| *n != 0))?,
            "BYYEARDAY" => list(&mut self.by_year_day, value, |t| number(t, -366, 366).filter(|n| *n != 0))?,
            "BYWEEKNO" => list(&mut self.by_week_no, value, |t| number(t, -53, 53).filter(|n| *n != 0))?,
            "BYMONTH" => list(&mut self.by_month, value, |t| number(t, 1, 12))?,
            "BYSETPOS" => list(&mut self.by_set_pos, value, |t| number(t, -366, 366).filter(|n| *n != 0))?,
            "WKST" => self.week_start = Some(weekday(value)?),
            // RFC 7529: what every rule without it says.
            "RSCALE" if value == "GREGORIAN" => {}
            "SKIP" if value == "OMIT" => {}
            _ => return None,
        }
        Some(())
    }
}

fn number<N: FromStr + PartialOrd + Copy>(text: &str, least: N, most: N) -> Option<N> {
    text.strip_prefix('+').unwrap_or(text).parse().ok().filter(|n| *n >= least && *n <= most)
}

/// `MO`, `1MO`, `-1SU`, `+2 TU`.
fn by_day(text: &str) -> Option<(i16, Weekday)> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (nth, day) = text.split_at(at);
    let nth = nth.trim();
    Some((if nth.is_empty() { 0 } else { number(nth, -53, 53)? }, weekday(day)?))
}

fn list<T: PartialEq>(into: &mut Vec<T>, value: &str, read: impl Fn(&str) -> Option<T>) -> Option<()> {
    for text in value.split(',').map(str::trim).filter(|t| !t.is_empty()) {
        let entry = read(text)?;
        if !into.contains(&entry) {
            into.push(entry);
        }
        if into.len() > MAX_LIST {
            return None;
        }
    }
    Some(())
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FREQUENCIES.iter().find(|(_, q)| *q == self.frequency).map_or("YEARLY", |(n, _)| *n);
        write!(f, "FREQ={name}")?;
        if let Some(until) = self.until {
            write!(f, ";UNTIL={until}")?;
        }
        if let Some(count) = self.count {
            write!(f, ";COUNT={count}")?;
        }
        if self.interval != 1 {
            write!(f, ";INTERVAL={}", self.interval)?;
        }
        part(f, "BYSECOND", &self.by_second, u8::to_string)?;
        part(f, "BYMINUTE", &self.by_minute, u8::to_string)?;
        part(f, "BYHOUR", &self.by_hour, u8::to_string)?;
        part(f, "BYDAY", &self.by_day, |(nth, day)| match nth {
            0 => short(*day).to_owned(),
            n => format!("{n}{}", short(*day)),
        })?;
        part(f, "BYMONTHDAY", &self.by_month_day, i8::to_string)?;
        part(f, "BYYEARDAY", &self.by_year_day, i16::to_string)?;
        part(f, "BYWEEKNO", &self.by_week_no, i8::to_string)?;
        part(f, "BYMONTH", &self.by_month, u8::to_string)?;
        part(f, "BYSETPOS", &self.by_set_pos, i16::to_string)?;
        self.week_start.map_or(Ok(()), |day| write!(f, ";WKST={}", short(day)))
    }
}

fn part<T>(f: &mut fmt::Formatter<'_>, name: &str, list: &[T], show: impl Fn(&T) -> String) -> fmt::Result {
    if list.is_empty() {
        return Ok(());
    }
    write!(f, ";{name}={}", list.iter().map(show).collect::<Vec<_>>().join(","))
}
