//! What the ledger keeps of what was accepted, as a session and the administrator have it written.
//!
//! Invariant: the caller holds the event's lock from reading the event's records until the commit is done.

use super::Intake;
use super::events::Arrival;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::ident::{EventId, UserId};
use crate::ledger::objects::ObjectRecord;
use crate::ledger::records::{EventRecord, PersonRecord, clipped};
use crate::ledger::{Ledger, LedgerError};
use crate::policy::directory::Directory;
use crate::queue::Change;

/// What it needs to know.
pub(super) struct Keeper<'a> {
    pub config: &'a Config,
    pub ledger: &'a Ledger,
    pub directory: &'a Directory,
    pub now: Timestamp,
}

impl Intake {
    pub(super) fn keeper(&self) -> Keeper<'_> {
        Keeper { config: &self.0.config, ledger: &self.0.ledger, directory: &self.0.directory, now: self.now() }
    }
}

impl Keeper<'_> {
    /// `chosen`: the administrator wants it, whatever was known to be newer.
    pub(super) fn remember_event(
        &self,
        arrival: &Arrival<'_>,
        record: Option<EventRecord>,
        change: &mut Change,
        chosen: bool,
    ) -> Result<(), LedgerError> {
        let now = self.now;
        let mut record = record.unwrap_or_else(|| EventRecord {
            event_id: arrival.event_id.clone(),
            ical_uid: arrival.ical_uid.clone(),
            owner: arrival.owner.clone(),
            owner_name: None,
            own: arrival.own,
            standing: 0,
            created: now,
            updated: now,
            parts: Vec::new(),
        });
        record.updated = now;
        record.standing = record.standing.max(arrival.standing);
        record.owner = arrival.owner.clone();
        if arrival.owner_name.is_some() {
            record.owner_name = arrival.owner_name.as_deref().map(clipped);
        }
        let part = record.part_mut(arrival.rid());
        let seen = arrival.seen();
        let newest = chosen || !part.newest().is_some_and(|s| s.newer_than(&seen));
        if newest && arrival.rest.is_none() {
            part.cancelled = arrival.cancel;
            // A CANCEL may come without times and texts; those of the invitation stay.
            if arrival.event.start.is_some() || part.start.is_none() {
                part.start.clone_from(&arrival.event.start);
                part.end.clone_from(&arrival.event.end);
            }
            if arrival.event.summary.is_some() {
                part.summary = arrival.event.summary.as_deref().map(clipped);
            }
            self.remember_times(change.batch_mut(), arrival)?;
        }
        let state = arrival.rest.or((!arrival.cancel).then_some(arrival.object));
        if let Some(object) = state.filter(|_| newest) {
            let kept = ObjectRecord::new(arrival.rid().map(str::to_owned), arrival.version, arrival.standing, object);
            self.ledger.put_object(change.batch_mut(), &arrival.event_id, &kept)?;
        }
        part.remember(seen);
        if let Some(object) = state {
            record.remember_state(arrival.rid(), arrival.version, object.snapshot());
        }
        self.ledger.put_event(change.batch_mut(), &record)
    }

    /// The person with this address in an event, under any of the addresses that are known for him (bridge 3).
    pub(super) fn person_of(&self, event: &EventId, address: &UserId) -> Result<Option<PersonRecord>, LedgerError> {
        if let Some(person) = self.ledger.person_at(event, address)? {
            return Ok(Some(person));
        }
        let people = self.ledger.people(event)?;
        if let Some(person) = people.iter().find(|p| self.directory.same_person(&p.user, address)) {
            return Ok(Some(person.clone()));
        }
        for person in people {
            if self.ledger.redirect_of_user(&person.user, self.now)?.as_ref() == Some(address) {
                return Ok(Some(person));
            }
        }
        Ok(None)
    }
}
