//! RRULE and EXRULE of vCalendar 1.0 as a value, and as software of 1996 to 2010 wrote them.
//!
//! The grammar is that of XAPIA's CSA: a kind with an interval (`D1`, `W2`, `MP1`, `MD3`, `YM1`, `YD1`, `M15`), a list
//! whose entries may carry times of day, `#n` occurrences, and an end. Inside a rule another one may stand, which starts
//! anew at each occurrence of the outer one.
//!
//! What is counted: `#n` counts instances, DTSTART the first, as all software that translates `#n` into COUNT does. Two
//! forms of the extended grammar count passes through the list instead, since they would mean nothing otherwise: a rule
//! with an end mark (`W1 TU$ TH #3`: three weeks, of which the last ends with Tuesday), and a rule inside another
//! (`YM1 6 #10 MP1 1+ 2+ SA SU #1`: each time one month of such days).

mod parse;

use std::fmt;

use chrono::{NaiveTime, Timelike, Weekday};

use super::{RuleError, Until, short};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub kind: Kind,
    pub interval: u32,
    /// `#n`; `None`: no limit (`#0`, or an end alone).
    pub count: Option<u32>,
    /// Of the outermost rule only.
    pub until: Option<Until>,
    /// The entry that carries `$`, counted from 0 through all entries of the list, times included, as they are written.
    pub mark: Option<usize>,
    /// A rule that starts anew at each occurrence of this one.
    pub inner: Option<Box<Rule>>,
}

/// Empty lists: DTSTART says which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// M: every so many minutes.
    Minutes,
    /// D, with times of day.
    Daily(Vec<NaiveTime>),
    Weekly(Vec<Day>),
    /// MP: groups of positions in the month with the weekdays they hold for.
    Positions(Vec<Group>),
    /// MD: 3 third, -3 third from the end (`3-`, `LD`).
    MonthDays(Vec<i8>),
    /// YM
    Months(Vec<u8>),
    /// YD, 1 to 366.
    YearDays(Vec<u16>),
}

/// A weekday with its own times of day; none: DTSTART's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Day {
    pub weekday: Weekday,
    pub times: Vec<NaiveTime>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// 1 first, -1 last; up to 5. Never empty.
    pub positions: Vec<i8>,
    /// Empty: DTSTART's weekday.
    pub days: Vec<Day>,
}

impl Rule {
    /// For ever, without `$` and inner rule.
    pub fn new(kind: Kind, interval: u32) -> Self {
        Self { kind, interval, count: None, until: None, mark: None, inner: None }
    }

    /// The value of an RRULE or EXRULE. The error names what is not understood.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        parse::rule(text)
    }

    /// Whether what is written reads as the same rule. `M1` without `#n` does not: Nokia's 9110 wrote it for monthly.
    pub fn is_sayable(&self) -> bool {
        self.kind != Kind::Minutes || self.interval != 1 || self.count.is_some() || self.inner.is_some()
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.kind {
            Kind::Minutes => "M",
            Kind::Daily(_) => "D",
            Kind::Weekly(_) => "W",
            Kind::Positions(_) => "MP",
            Kind::MonthDays(_) => "MD",
            Kind::Months(_) => "YM",
            Kind::YearDays(_) => "YD",
        };
        write!(f, "{name}{}", self.interval)?;
        for (i, entry) in self.entries().iter().enumerate() {
            write!(f, " {entry}{}", if self.mark == Some(i) { "$" } else { "" })?;
        }
        Ok(())
    }

    fn entries(&self) -> Vec<String> {
        let clock = |t: &NaiveTime| if t.second() == 0 { t.format("%H%M") } else { t.format("%H%M%S") }.to_string();
        let signed = |n: &i8| format!("{}{}", n.unsigned_abs(), if *n < 0 { '-' } else { '+' });
        let day = |d: &Day| std::iter::once(short(d.weekday).to_owned()).chain(d.times.iter().map(clock)).collect::<Vec<_>>();
        match &self.kind {
            Kind::Minutes => Vec::new(),
            Kind::Daily(times) => times.iter().map(clock).collect(),
            Kind::Weekly(days) => days.iter().flat_map(day).collect(),
            Kind::Positions(groups) => {
                groups.iter().flat_map(|g| g.positions.iter().map(signed).chain(g.days.iter().flat_map(day)).collect::<Vec<_>>()).collect()
            }
            Kind::MonthDays(days) => days
                .iter()
                .map(|n| match n {
                    -1 => "LD".to_owned(),
                    ..0 => signed(n),
                    _ => n.to_string(),
                })
                .collect(),
            Kind::Months(months) => months.iter().map(u8::to_string).collect(),
            Kind::YearDays(days) => days.iter().map(u16::to_string).collect(),
        }
    }
}

/// Canonical: kind, list, `#n`, inner rule, end. `#n` is left out only where an end stands and there is no limit.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rule = self;
        loop {
            rule.write(f)?;
            match rule.count {
                None if self.until.is_some() && std::ptr::eq(rule, self) => {}
                count => write!(f, " #{}", count.unwrap_or(0))?,
            }
            match &rule.inner {
                Some(inner) => {
                    f.write_str(" ")?;
                    rule = inner;
                }
                None => break,
            }
        }
        self.until.map_or(Ok(()), |until| write!(f, " {until}"))
    }
}
