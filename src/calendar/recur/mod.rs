//! Recurrence: the rules of both formats as values, what they produce, and how each is said in the other's grammar.
//!
//! [`ical::Rule`] is RFC 5545's RRULE, [`vcal::Rule`] vCalendar 1.0's (the basic grammar of XAPIA's CSA, with the extended
//! forms that software wrote). [`expand`] turns a [`Series`](expand::Series) into instances, all in the wall time of its
//! zone; who knows the zone maps them to instants. [`translate`] says a rule in the other grammar.
//!
//! Invariants: reading never fails loudly on what real software wrote, and never reads a rule as something it does not
//! say; expansion is bounded in instances and in work; two rules that `translate` calls the same produce the same
//! instances.

pub(crate) mod expand;
pub(crate) mod ical;
#[cfg(test)]
mod tests;
pub(crate) mod translate;
pub(crate) mod vcal;

use chrono::{NaiveDate, NaiveDateTime, Weekday};

/// Where a rule ends, as it is written. A date includes its whole day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Date(NaiveDate),
    Local(NaiveDateTime),
    Utc(NaiveDateTime),
}

impl Until {
    /// Every shape that `time::parse` reads; an offset is turned into UTC.
    fn parse(text: &str) -> Option<Self> {
        let stamp = super::time::parse(text)?;
        Some(match stamp.offset {
            _ if !stamp.has_time => Self::Date(stamp.date),
            None => Self::Local(stamp.local()),
            Some(east) => Self::Utc(stamp.local().checked_sub_signed(chrono::Duration::seconds(i64::from(east)))?),
        })
    }
}

/// Basic form: `20061231`, `20061231T235959`, `20061231T235959Z`.
impl std::fmt::Display for Until {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Date(date) => write!(f, "{}", date.format("%Y%m%d")),
            Self::Local(at) => write!(f, "{}", at.format("%Y%m%dT%H%M%S")),
            Self::Utc(at) => write!(f, "{}", at.format("%Y%m%dT%H%M%SZ")),
        }
    }
}

/// Why a rule cannot be read: a fault of its writer; the text says what and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct RuleError(pub String);

/// What the rules of one event start from.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// DTSTART in the wall time of its zone; midnight for a date.
    pub start: NaiveDateTime,
    /// DTSTART is a date.
    pub all_day: bool,
    /// DTSTART floats, so that an end in UTC cannot be compared exactly.
    pub floating: bool,
    /// From UTC to the wall time of DTSTART's zone, and back.
    pub to_local: &'a dyn Fn(NaiveDateTime) -> NaiveDateTime,
    pub to_utc: &'a dyn Fn(NaiveDateTime) -> NaiveDateTime,
}

/// Most dates that a rule without counterpart is expanded into.
pub(crate) const MAX_DATES: usize = 100;

/// A rule in the other grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said<R> {
    /// These rules together produce the same instances.
    Rules(Vec<R>),
    /// No rule says it; these are all its instances, DTSTART left out, at most [`MAX_DATES`].
    Dates(Vec<NaiveDateTime>),
    /// Neither; the words say which part of the rule has no counterpart.
    Neither(String),
}

/// `MO`; English names in full or in three letters are read too (`W1 SUN`, of a Symbian phone).
fn weekday(word: &str) -> Option<Weekday> {
    const NAMES: [&str; 7] = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];
    let day = NAMES.iter().position(|name| word.len() >= 2 && name.starts_with(word))?;
    Weekday::try_from(u8::try_from(day).ok()?).ok()
}

fn short(day: Weekday) -> &'static str {
    ["MO", "TU", "WE", "TH", "FR", "SA", "SU"][day.num_days_from_monday() as usize]
}
