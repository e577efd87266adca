#![allow(dead_code)]
//! Recurrence: the rules of both formats as values, what they produce, and how each is said in the other's grammar.
//!
//! [`ical::Rule`] is RFC 5545's RRULE, [`vcal::Rule`] vCalendar 1.0's (the basic grammar of XAPIA's CSA, with the extended
//! forms that software wrote). [`expand`] turns a [`Series`] into instances, all in the wall time of its zone; who knows
//! the zone maps them to instants. [`translate`] says a rule in the other grammar.
//!
//! Invariants: reading never fails loudly on what real software wrote, and never reads a rule as something it does not
//! say; expansion is bounded in instances and in work; two rules that `translate` calls the same produce the same
//! instances.

pub(crate) mod expand;
pub(crate) mod ical;
pub(crate) mod translate;
pub(crate) mod vcal;

use chrono::{NaiveDate, NaiveDateTime};

/// Where a rule ends, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Date(NaiveDate),
    Local(NaiveDateTime),
    Utc(NaiveDateTime),
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
