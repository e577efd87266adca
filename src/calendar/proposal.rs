//! What an attendee would have otherwise: the proposal of a COUNTER (RFC 5546 3.2.7), or of an RSVP that carries "the
//! information to be updated" (draft 2.3).
//!
//! Invariants: a proposal holds only what differs from what is in force, times by their instants; a new start without an
//! end keeps the length.

use sha2::{Digest, Sha256};

use super::convert::{Options, Target};
use super::event::{Event, Format, Moment};
use super::object::Object;
use super::snapshot::{Mark, Snapshot};
use super::{time, zone};
use crate::clock::Timestamp;

/// The proposed properties; `start` and `end` come together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    pub start: Option<Moment>,
    pub end: Option<Moment>,
    pub summary: Option<String>,
    pub location: Option<String>,
    pub description: Option<String>,
}

impl Proposal {
    /// What an object proposes. `in_force`: what it answers; `None`: that is not known, and everything is proposed.
    /// `texts`: how DESCRIPTION was written to the attendee, in any of its forms; empty: not known.
    pub fn of(object: &Object, in_force: Option<&Snapshot>, texts: &[&str], now: Timestamp) -> Option<Self> {
        let said = as_icalendar(object, now);
        let event = said.as_ref().unwrap_or(object).event();
        let had = in_force.cloned().unwrap_or_default();
        let mut proposal = Self::times(event, &had);
        let differs = |new: &Option<String>, old: &Option<String>| {
            let new = new.as_deref().map(super::snapshot::kept).filter(|n| !n.is_empty());
            new.is_some_and(|new| Some(new) != *old)
        };
        proposal.summary = event.summary.clone().filter(|_| differs(&event.summary, &had.summary));
        proposal.location = event.location.clone().filter(|_| differs(&event.location, &had.location));
        let same = |text: &&str, said: &str| text.split_whitespace().eq(said.split_whitespace());
        proposal.description = event.description.clone().filter(|d| {
            in_force.is_none_or(|h| h.description != super::snapshot::mark(d)) && !texts.iter().any(|t| same(t, d)) && !d.trim().is_empty()
        });
        (proposal != Self::default()).then_some(proposal)
    }

    fn times(event: &Event, had: &Snapshot) -> Self {
        let instant = |m: &Option<Moment>| m.as_ref().and_then(Moment::instant);
        let differs =
            |new: &Option<Moment>, old: &Option<Moment>| new.is_some() && (instant(new) != instant(old) || instant(new).is_none());
        if !differs(&event.start, &had.start) && !differs(&event.end, &had.end) {
            return Self::default();
        }
        let start = event.start.clone().or_else(|| had.start.clone());
        let length = instant(&had.start).zip(instant(&had.end)).and_then(|(start, end)| end.millis().checked_sub(start.millis()));
        let kept = || {
            let seconds = i64::try_from(length? / 1000).ok()?;
            time::later(start.as_ref()?, time::Span::exact(seconds), &zone::Zones::default())
        };
        let end = event.end.clone().or_else(kept);
        Self { start, end, ..Self::default() }
    }

    /// By which the same proposal is known again.
    pub fn mark(&self) -> Mark {
        let mut mark = Mark::default();
        let instant = |m: &Option<Moment>| m.as_ref().and_then(Moment::instant);
        let told = (instant(&self.start), instant(&self.end), &self.summary, &self.location, &self.description);
        mark.copy_from_slice(&Sha256::digest(format!("{told:?}"))[..8]);
        mark
    }

    /// What would be in force.
    #[must_use]
    pub fn applied(&self, in_force: &Snapshot) -> Snapshot {
        let mut has = in_force.clone();
        if self.start.is_some() {
            (has.start, has.end) =
                (on_clock_of(self.start.as_ref(), in_force.start.as_ref()), on_clock_of(self.end.as_ref(), in_force.end.as_ref()));
        }
        if let Some(summary) = &self.summary {
            has.summary = Some(super::snapshot::kept(summary));
        }
        if let Some(location) = &self.location {
            has.location = Some(super::snapshot::kept(location));
        }
        if let Some(description) = &self.description {
            has.description = super::snapshot::mark(description);
        }
        has
    }

    /// The same event with what is proposed.
    #[must_use]
    pub fn applied_to(&self, event: &Event) -> Event {
        let mut event = event.clone();
        if self.start.is_some() {
            (event.start, event.end) =
                (on_clock_of(self.start.as_ref(), event.start.as_ref()), on_clock_of(self.end.as_ref(), event.end.as_ref()));
        }
        event.summary = self.summary.clone().or(event.summary);
        event.location = self.location.clone().or(event.location);
        event.description = self.description.clone().or(event.description);
        event
    }
}

/// A new moment on the clock of what it replaces.
fn on_clock_of(new: Option<&Moment>, old: Option<&Moment>) -> Option<Moment> {
    let new = new?;
    Some(old.map_or_else(|| new.clone(), |old| super::in_zone_of(new, old)))
}

/// What came as vCalendar is compared by what it means: midnight to midnight is a day.
fn as_icalendar(object: &Object, now: Timestamp) -> Option<Object> {
    if object.format() == Format::ICalendar {
        return None;
    }
    let said = object.translated(Target::ICalendar, &Options { now, notes: false }).ok()?;
    Object::parse(said.octets).ok()
}
