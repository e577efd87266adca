//! REFRESH: the newest versions again, for somebody who is in the event (bridge 2), from what the ledger keeps.
//!
//! Invariants: nobody hears of an event that he is not in; he who asks again while the answer is on its way gets one; what
//! goes out is the newest state as it was accepted, with the standing that it came with.

use super::{Intake, IntakeError, first_deadline, via_words};
use crate::calendar::event::Moment;
use crate::ident::{EventId, UserId};
use crate::ledger::LedgerError;
use crate::ledger::objects::ObjectRecord;
use crate::ledger::records::{EventRecord, PersonRecord};
use crate::logbook;
use crate::queue::entry::{BodyKind, Destination, Origin, Recipient, Verb, Via};

/// Instances sent beside the series: the newest ones.
const INSTANCES: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refreshed {
    Sent,
    /// Nothing of the event is known here, or its object was too large to be kept.
    NoEvent,
    NotOnEvent,
}

impl Intake {
    /// Puts the newest versions of an event, or of one instance of it, on their way to someone who asks by mail.
    pub(super) async fn refresh(
        &self,
        event: &EventId,
        rid: Option<&str>,
        asker: &UserId,
        origin: &Origin,
    ) -> Result<Refreshed, IntakeError> {
        let _lock = self.0.ledger.lock(event).await;
        let Some(record) = self.0.ledger.event(event)? else { return Ok(Refreshed::NoEvent) };
        let Some(person) = self.person_of(event, asker)?.filter(|p| p.removed.is_none()) else { return Ok(Refreshed::NotOnEvent) };
        let kept = self.newest(&record, rid)?;
        if kept.is_empty() {
            return Ok(Refreshed::NoEvent);
        }
        let mut change = self.0.queue.change();
        let mut placed = Vec::new();
        for kept in kept {
            let waiting = self.0.queue.waiting(event, kept.rid.as_deref(), Verb::SendEvent, person.written())?;
            let Some(object) = kept.object().filter(|_| !waiting.iter().any(|(_, version)| *version >= kept.version)) else { continue };
            let body = change.add_body(BodyKind::Object, object.octets(), 1);
            // Nobody else is to hear of it when this fails.
            let answer = Origin {
                via: Via::Relay,
                peer: None,
                helo: None,
                identity: None,
                standing: kept.standing,
                sender: Some(String::new()),
                automatic: true,
            };
            let recipient = self.asker(&person, asker);
            let destination = Destination::Mail(recipient.user.server().clone());
            let mut entry = self.entry(Verb::SendEvent, destination, vec![recipient], answer, body);
            let part = record.part(kept.rid.as_deref());
            entry.event_id = Some(event.clone());
            entry.recurrence_id.clone_from(&kept.rid);
            entry.version = Some(kept.version);
            entry.owner = Some(record.owner.clone());
            entry.cancel = part.is_some_and(|p| p.cancelled);
            entry.event_start = part.and_then(|p| p.start.as_ref()).and_then(Moment::instant);
            entry.event_end = object.ends();
            entry.note(self.now(), format!("{asker} asks for the current version by {}", via_words(origin)));
            entry.deadline = first_deadline(&entry, &self.0.config);
            change.put(entry.clone());
            placed.push(entry);
        }
        self.0.queue.commit(change).await?;
        placed.iter().for_each(logbook::accepted);
        Ok(Refreshed::Sent)
    }

    /// The object that is asked for; of a series also the instances that were changed after it.
    fn newest(&self, record: &EventRecord, rid: Option<&str>) -> Result<Vec<ObjectRecord>, LedgerError> {
        let ledger = &self.0.ledger;
        if rid.is_some()
            && let Some(instance) = ledger.object(&record.event_id, rid)?
        {
            return Ok(vec![instance]);
        }
        let mut all = ledger.objects_of(&record.event_id)?;
        let whole = all.iter().position(|o| o.rid.is_none()).map(|at| all.remove(at));
        let since = whole.as_ref().map_or(0, |w| w.version);
        all.retain(|o| o.version > since);
        all.sort_by_key(|o| std::cmp::Reverse(o.version));
        all.truncate(INSTANCES);
        Ok(whole.into_iter().chain(all).filter(|o| o.object().is_some()).collect())
    }

    /// He who asks, under the address that he asks from, and as the ledger has him.
    fn asker(&self, person: &PersonRecord, asker: &UserId) -> Recipient {
        if self.0.directory.same_person(&person.user, asker) {
            return Recipient::new(person.user.clone(), person.written().clone(), true);
        }
        let visited = vec![person.user.clone()];
        Recipient { visited, ..Recipient::new(asker.clone(), person.written().clone(), true) }
    }
}
