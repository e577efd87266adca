//! What could not be brought to whom it was for: the ledger forgets that it was accepted, so that the same thing sent again is
//! carried again and not taken for a duplicate.

use super::records::{PersonRecord, Route};
use super::{Batch, Ledger, LedgerError};
use crate::queue::entry::{Entry, Recipient, Verb};

impl Ledger {
    /// A recipient of an entry is given up on. `may_have_it`: though nobody said so. The caller holds the event's lock.
    pub fn give_up(&self, batch: &mut Batch, entry: &Entry, recipient: &Recipient, may_have_it: bool) -> Result<(), LedgerError> {
        let Some(event) = entry.moved_from.first().or(entry.event_id.as_ref()) else { return Ok(()) };
        let rid = entry.recurrence_id.as_deref();
        let changed = |person: &mut PersonRecord| match (entry.verb, entry.version, &entry.answer) {
            (Verb::SendEvent, Some(version), _) => {
                let perhaps = may_have_it && person.route.is_none();
                if perhaps {
                    person.route = Some(Route::Uncertain);
                }
                person.take_back(rid, version) || perhaps
            }
            (Verb::Rsvp, _, Some(given)) if given.response_sequence == person.response_sequence => match person.answer_mut(rid) {
                Some(answer) => !std::mem::replace(&mut answer.lost, true),
                None => false,
            },
            _ => false,
        };
        let who = match &entry.answer {
            Some(answer) => &answer.attendee,
            None => recipient.visited.first().unwrap_or(&recipient.user),
        };
        if let Some(mut person) = self.person_at(event, who)?
            && changed(&mut person)
        {
            self.put_person(batch, &person)?;
        }
        Ok(())
    }

    /// A delivery report says that the last mail did not reach a person.
    pub fn bounced(&self, batch: &mut Batch, mut person: PersonRecord, answer: bool) -> Result<(), LedgerError> {
        let changed = if answer {
            let last = person.answers.iter_mut().max_by_key(|a| a.at);
            last.is_some_and(|answer| !std::mem::replace(&mut answer.lost, true))
        } else {
            let last = person.accepted.iter().max_by_key(|(_, version)| *version).cloned();
            last.is_some_and(|(rid, version)| person.take_back(rid.as_deref(), version))
        };
        if changed {
            self.put_person(batch, &person)?;
        }
        Ok(())
    }
}
