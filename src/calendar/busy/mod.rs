//! Busy times: read out of calendars and published free/busy files, kept apart by type, written as VFREEBUSY
//! (RFC 5545 3.6.4, 3.8.2.6; bridge 2). No I/O.
//!
//! [`read`] takes a whole calendar of many events, [`skeleton`] cuts an event down to what its times need, [`reply`]
//! writes the answer, [`series`] expands one event.
//!
//! Invariants: what is not known is never free: a calendar that cannot be read to its end, or that needs more work than
//! the bounds allow, is an error; nothing but times and types leaves a [`BusyTimes`]; the periods of one type neither
//! overlap nor touch, and ascend; all lie within their window.

pub mod read;
pub mod reply;
mod series;
pub mod skeleton;
#[cfg(test)]
mod tests;

use crate::clock::Timestamp;

/// How somebody is busy (FBTYPE, RFC 5545 3.2.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BusyType {
    Busy,
    Tentative,
    Unavailable,
}

impl BusyType {
    pub const ALL: [Self; 3] = [Self::Busy, Self::Tentative, Self::Unavailable];

    /// As FBTYPE writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "BUSY",
            Self::Tentative => "BUSY-TENTATIVE",
            Self::Unavailable => "BUSY-UNAVAILABLE",
        }
    }

    /// FBTYPE as it is written. `None`: FREE. A type that is not known is BUSY, as the RFC asks.
    pub fn read(word: &str) -> Option<Self> {
        match word.trim().to_ascii_uppercase().as_str() {
            "FREE" => None,
            "BUSY-TENTATIVE" => Some(Self::Tentative),
            "BUSY-UNAVAILABLE" => Some(Self::Unavailable),
            _ => Some(Self::Busy),
        }
    }
}

/// From `start` up to and without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Window {
    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// What both hold; empty where that is nothing.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        let start = self.start.max(other.start);
        Self { start, end: self.end.min(other.end).max(start) }
    }
}

/// Somebody's busy periods within a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusyTimes {
    /// What is known of: outside of it nothing is said.
    pub window: Window,
    periods: Vec<(BusyType, Window)>,
}

impl BusyTimes {
    /// Free all the time.
    pub const fn free(window: Window) -> Self {
        Self { window, periods: Vec::new() }
    }

    /// Adds a period, as far as it lies within the window. Out of order until [`BusyTimes::settle`].
    pub fn add(&mut self, kind: BusyType, period: Window) {
        let period = period.within(self.window);
        if !period.is_empty() {
            self.periods.push((kind, period));
        }
    }

    /// By type and time, overlapping and touching periods joined.
    pub fn settle(&mut self) {
        self.periods.sort_unstable();
        self.periods.dedup_by(|(kind, next), (last_kind, last)| {
            let joins = kind == last_kind && next.start <= last.end;
            if joins {
                last.end = last.end.max(next.end);
            }
            joins
        });
    }

    /// What both say, where both know.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut both = Self::free(self.window.within(other.window));
        self.periods.into_iter().chain(other.periods).for_each(|(kind, period)| both.add(kind, period));
        both.settle();
        both
    }

    /// Settled periods, by type and time.
    pub fn periods(&self) -> &[(BusyType, Window)] {
        &self.periods
    }
}

/// Why a calendar does not say when somebody is busy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusyError {
    #[error("is not a calendar: {0}")]
    NotCalendar(String),
    #[error("ends before END:VCALENDAR: it was cut short")]
    CutShort,
    #[error("holds free/busy times without DTSTART and DTEND, so that it does not say what time it covers")]
    NoRange,
    #[error("line {line}: {what}")]
    Event { line: usize, what: String },
    #[error("its events repeat too often to be looked through")]
    TooMuch,
}

/// Whether this is the name of a time zone.
pub fn is_zone(name: &str) -> bool {
    super::zone::Zones::default().instant(chrono::NaiveDateTime::default(), name).is_some()
}
