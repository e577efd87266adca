//! What was held by policy and is released: it is placed as it would have been if there had been no doubt.
//!
//! Invariants: the ledger learns of it in the commit that releases it, under the event's lock; what cannot be read any
//! more is released all the same, since the administrator wants it delivered; an event of ours that went back gets the
//! next version, as whoever has it has a higher one.

use super::events::{Arrival, content_digest};
use super::keeper::Keeper;
use super::members::rest_after;
use crate::calendar::Object;
use crate::calendar::event::{Event, Method, PartStat};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::ident::EventId;
use crate::imip::read;
use crate::ledger::chronicle::Chronicle;
use crate::ledger::judge::{MAX_VERSION, counts};
use crate::ledger::records::{AnswerOrder, AnswerRecord, EventRecord, PersonRecord, clipped};
use crate::ledger::{Ledger, LedgerError};
use crate::policy::directory::Directory;
use crate::queue::entry::{Answering, BodyKind, Entry, Verb};
use crate::queue::{Change, Queue, QueueError};

#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// What a release needs to know.
pub struct Release<'a> {
    pub queue: &'a Queue,
    pub ledger: &'a Ledger,
    pub config: &'a Config,
    pub directory: &'a Directory,
    pub now: Timestamp,
}

impl Release<'_> {
    /// Writes into the ledger what a held entry carries; the entry may get another version. `line` goes into the event's
    /// history. The caller holds the event's lock.
    pub fn place(&self, entry: &mut Entry, change: &mut Change, line: String) -> Result<(), ReleaseError> {
        let Some(event_id) = entry.event_id.clone() else { return Ok(()) };
        let octets = self.queue.body(&entry.body)?;
        let object = if entry.doubted { object_of(entry.body.kind, octets.clone()) } else { None };
        match (entry.verb, object) {
            (Verb::SendEvent, Some((object, method))) if !matches!(method, Some(Method::Add | Method::DeclineCounter)) => {
                return Ok(self.event(event_id, entry, &object, &octets, change, line)?);
            }
            (Verb::Rsvp, Some((object, _))) => self.answer(&event_id, entry, &object, change)?,
            _ => {}
        }
        Ok(self.ledger.tell(change.batch_mut(), &event_id, self.now, vec![line])?)
    }

    fn keeper(&self) -> Keeper<'_> {
        Keeper { config: self.config, ledger: self.ledger, directory: self.directory, now: self.now }
    }

    fn event(
        &self,
        event_id: EventId,
        entry: &mut Entry,
        object: &Object,
        octets: &[u8],
        change: &mut Change,
        line: String,
    ) -> Result<(), LedgerError> {
        let event = object.event();
        let (Some(owner), Some(version)) = (entry.owner.clone(), entry.version) else { return Ok(()) };
        let record = self.ledger.event(&event_id)?;
        let rest = if entry.cancel { rest_after(self.ledger, object, record.as_ref())? } else { None };
        let mut arrival = Arrival {
            ical_uid: record.as_ref().map_or_else(|| event.uid.to_string(), |r| r.ical_uid.clone()),
            event_id,
            own: entry.body.kind == BodyKind::Message,
            owner,
            owner_name: event.owner.as_ref().and_then(|o| o.name.clone()),
            version,
            sequence: event.sequence.unwrap_or_else(|| version.saturating_sub(1)),
            event,
            object,
            digest: content_digest(object, entry.cancel),
            stamp: event.dtstamp.or(event.last_modified),
            cancel: entry.cancel,
            rest: rest.as_ref().map(|rest| &rest.object),
            standing: entry.origin.standing,
            origin: entry.origin.clone(),
            kind: entry.body.kind,
            body: octets,
        };
        let newest = record.as_ref().map_or(0, EventRecord::version);
        if arrival.own && version <= newest && newest < MAX_VERSION {
            // Another entry of the same message may have been released before.
            let known = record
                .as_ref()
                .and_then(|r| r.part(arrival.rid()))
                .is_some_and(|part| part.seen.iter().any(|s| (s.version, s.digest, s.dtstamp) == (newest, arrival.digest, arrival.stamp)));
            arrival.version = if known { newest } else { newest + 1 };
            entry.version = Some(arrival.version);
            entry.note(self.now, format!("it is version {} now", arrival.version));
        }
        for recipient in entry.pending() {
            let user = recipient.visited.first().unwrap_or(&recipient.user);
            let known = self.ledger.person(&arrival.event_id, user)?;
            let mut person = known.unwrap_or_else(|| PersonRecord::new(arrival.event_id.clone(), user.clone()));
            person.accept(arrival.rid(), arrival.version);
            if arrival.rid().is_none() {
                person.removed = arrival.rest.map(|_| arrival.version);
            }
            person.add_address(&recipient.original);
            person.add_address(&recipient.user);
            if let Some(attendee) = event.attendees.iter().find(|p| p.address == recipient.original) {
                person.name = attendee.name.as_deref().map(clipped);
            }
            self.ledger.put_person(change.batch_mut(), &person)?;
        }
        let known = self.ledger.chronicle(&arrival.event_id)?;
        let mut chronicle = known.unwrap_or_else(|| Chronicle::new(arrival.event_id.clone(), self.now));
        if event.start.is_some() {
            chronicle.extend(arrival.rid().is_some(), object.ends());
        }
        chronicle.tell(self.now, line);
        self.ledger.put_chronicle(change.batch_mut(), &chronicle)?;
        self.keeper().remember_event(&arrival, record, change, true)
    }

    fn answer(&self, event_id: &EventId, entry: &mut Entry, object: &Object, change: &mut Change) -> Result<(), LedgerError> {
        let (Some(record), Some(answering)) = (self.ledger.event(event_id)?, entry.answer.clone()) else { return Ok(()) };
        let keeper = self.keeper();
        let known = keeper.person_of(event_id, &answering.attendee)?.filter(|person| person.removed.is_none());
        // Who is not in the event has no answer there: it goes on to the owner as what it is.
        let Some(mut person) = known else { return Ok(()) };
        let rid = entry.recurrence_id.as_deref();
        let event: &Event = object.events().iter().find(|e| e.recurrence_id.as_deref() == rid).unwrap_or_else(|| object.event());
        let Some(said) = event.attendees.iter().find(|p| p.address == answering.attendee) else { return Ok(()) };
        let known = person.answer(rid);
        let order = AnswerOrder {
            version: entry.version.unwrap_or_else(|| record.version()),
            response_sequence: known.map_or(0, |a| a.order.response_sequence),
            dtstamp: event.dtstamp.unwrap_or(entry.received).min(self.now),
        };
        let proposal = self.ledger.proposed(Some(&record), rid, order.version, object, self.now)?.map(|p| p.proposal.mark());
        let answer = AnswerRecord {
            rid: entry.recurrence_id.clone(),
            status: said.status.or_else(|| known.map(|a| a.status)).unwrap_or(PartStat::NeedsAction),
            comment: event.comment.as_deref().map(clipped),
            order,
            standing: known.map_or(0, |a| a.standing).max(entry.origin.standing),
            at: self.now,
            proposal,
            lost: false,
        };
        if counts(&record, &answer) || !known.is_some_and(|known| counts(&record, known)) {
            person.set_answer(answer);
        }
        person.response_sequence = person.response_sequence.saturating_add(1);
        entry.answer = Some(Answering { attendee: person.written().clone(), response_sequence: person.response_sequence });
        keeper.engage(change.batch_mut(), event_id, &answering.attendee, Some(&person.user))?;
        self.ledger.put_person(change.batch_mut(), &person)
    }
}

/// The calendar object of a body, and its method. `None`: it cannot be read any more.
fn object_of(kind: BodyKind, octets: Vec<u8>) -> Option<(Object, Option<Method>)> {
    let (octets, method) = match kind {
        BodyKind::Object => (octets, None),
        BodyKind::Message => {
            let part = read::read(&octets).ok()?.calendar?;
            (part.octets, part.method)
        }
    };
    let object = Object::parse(octets).ok()?;
    let method = method.or(object.event().method);
    Some((object, method))
}
