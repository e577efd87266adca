//! What the ledger keeps for FREEBUSY: the times of an event, and whose time it takes.
//!
//! Kept only for users of domains that name the ledger as a source, so that nobody else's acceptance writes more.
//! Invariant: an invitation alone engages nobody; whoever answers one is engaged, and so is who owns an event.

use super::events::Arrival;
use super::keeper::Keeper;
use crate::calendar::busy::skeleton::skeleton;
use crate::config::{Deliver, SourceKind};
use crate::ident::{EventId, UserId};
use crate::ledger::LedgerError;
use crate::ledger::times::{EngagementRecord, TimesRecord};
use crate::policy::directory::Whereabouts;
use crate::store::Batch;

impl Keeper<'_> {
    /// The user as the directory has him, when the ledger is a source for his domain.
    fn has_times(&self, user: &UserId) -> Option<UserId> {
        let Keeper { config, directory, .. } = self;
        let domain = config.local_domain(user.server())?;
        if !domain.free_busy.iter().any(|s| s.source == SourceKind::Ledger) {
            return None;
        }
        match directory.find(user) {
            Whereabouts::Here { user, deliver: Deliver::Mail } => Some(user),
            _ => None,
        }
    }

    /// Notes that a user is in an event. `person`: the key of his record there; `None`: he owns it.
    pub(super) fn engage(&self, batch: &mut Batch, event: &EventId, user: &UserId, person: Option<&UserId>) -> Result<(), LedgerError> {
        let Some(user) = self.has_times(user) else { return Ok(()) };
        self.ledger.put_engagement(batch, &user, &EngagementRecord { event_id: event.clone(), person: person.cloned() })
    }

    /// Keeps the times of what has become the newest state of an event, where they may be asked for.
    pub(super) fn remember_times(&self, batch: &mut Batch, arrival: &Arrival<'_>) -> Result<(), LedgerError> {
        let ledger = self.ledger;
        let (event, rid) = (arrival.event, arrival.event.recurrence_id.as_deref());
        let owned = self.has_times(&arrival.owner).is_some();
        if !owned && !event.attendees.iter().map(|p| &p.address).chain(&event.recipients).any(|a| self.has_times(a).is_some()) {
            return Ok(());
        }
        if arrival.cancel {
            let mut record = match ledger.times(&arrival.event_id, rid)? {
                Some(known) => known,
                None => TimesRecord::new(rid.map(str::to_owned), 0, None, skeleton(arrival.object).ok().flatten().as_ref()),
            };
            (record.version, record.cancelled) = (arrival.version, true);
            return ledger.put_times(batch, &arrival.event_id, &record);
        }
        let times = match skeleton(arrival.object) {
            Ok(None) => return Ok(()),
            Ok(Some(times)) => Some(times),
            Err(error) => {
                tracing::warn!(event = %arrival.event_id, %error, "the times of an event cannot be read: free/busy of who accepts it will not be told");
                None
            }
        };
        let owner = event.attendees.iter().find(|p| p.address == arrival.owner).and_then(|p| p.status);
        let record = TimesRecord::new(rid.map(str::to_owned), arrival.version, owner, times.as_ref());
        ledger.put_times(batch, &arrival.event_id, &record)?;
        if owned {
            self.engage(batch, &arrival.event_id, &arrival.owner, None)?;
        }
        Ok(())
    }
}
