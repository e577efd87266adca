//! An organizer's own invitation or cancellation, as an event for people who have it by CIP (bridge 6).
//!
//! An event of ours is known by its UID and its organizer: a UID that somebody else's event has already takes over
//! nothing. Each person's copy is judged by what he was sent before, under the event's lock: what is older for him is
//! accepted and placed nowhere, and what went back is placed by the version that its SEQUENCE stands for.

use tokio::sync::OwnedMutexGuard;

use super::groups::Group;
use super::post::Post;
use super::{Judged, Kind, held_enough};
use crate::calendar::Object;
use crate::calendar::event::{Event, Method};
use crate::clock::Timestamp;
use crate::ident::{EventId, ServerId, UserId};
use crate::intake::events::{Arrival, Placed};
use crate::intake::loops::Traces;
use crate::intake::{Inner, IntakeError, Target};
use crate::ledger::LedgerError;
use crate::ledger::chronicle::Chronicle;
use crate::ledger::forget::Tombstone;
use crate::ledger::judge::{Judgement, MAX_VERSION, event_id_of, first_version, give_version, older_than_had, renewed_id};
use crate::ledger::records::EventRecord;
use crate::listen::MailReply;
use crate::policy::directory::Whereabouts;
use crate::queue::entry::{BodyKind, Destination};
use crate::renewal::Renewal;

/// One person under his addresses, and by which way he is reached.
type Placing = (Group, Target);

impl Post<'_> {
    pub(super) async fn place_invitation(
        &self,
        object: &Object,
        method: Method,
        people: Vec<Group>,
        replies: &mut [MailReply],
    ) -> Result<Vec<Group>, IntakeError> {
        let Some(owner) = object.event().owner.clone() else { return Ok(people) };
        let message = object.event();
        let Some((event_id, lock)) = self.event_of(message, &owner.address).await? else {
            let reply = MailReply::new(250, "2.0.0", "Accepted: the event has another organizer since, nothing more to do");
            for group in &people {
                group.answer(&reply, replies);
            }
            return Ok(Vec::new());
        };
        let record = self.intake.0.ledger.event(&event_id)?;
        let state = match self.state(object, method, record.as_ref())? {
            Ok(state) => state,
            Err(why) => return Ok(refused(people, why, replies)),
        };
        let (digest, cancel) = (state.digest, state.cancel);
        let sent = object;
        let (object, event) = (&*state.object, state.object.event());
        let sequence = message.sequence.unwrap_or(0).min(MAX_VERSION - 1);
        let stamp = message.dtstamp.or(message.last_modified);
        let rid = event.recurrence_id.as_deref();
        let given = self.version_of(&event_id, record.as_ref(), rid, sequence, stamp, &digest)?;
        if given >= MAX_VERSION && !cancel {
            self.use_up(&event_id, record).await?;
            drop(lock);
            // Once more, under the id that the event has now.
            return Box::pin(self.place_invitation(sent, method, people, replies)).await;
        }
        let given = given.min(MAX_VERSION);
        let mut arrival = Arrival {
            event_id,
            ical_uid: message.uid.to_string(),
            own: true,
            owner: owner.address.clone(),
            owner_name: owner.name.clone(),
            version: first_version(sequence),
            sequence,
            object,
            event,
            digest,
            stamp,
            cancel,
            rest: state.rest.as_ref().map(|rest| &rest.object),
            standing: 3,
            origin: self.origin(),
            kind: BodyKind::Message,
            body: self.message,
        };
        let (fresh, back) = self.parted(&arrival, record.as_ref(), people, replies)?;
        arrival.version = given;
        let until_now = self.intake.newest_until_now(&arrival, record.as_ref())?;
        if !back.is_empty() {
            // Held by the version that its SEQUENCE stands for, and judged so before its content is known.
            arrival.version = first_version(sequence);
            self.place_for(&arrival, back, replies).await?;
            arrival.version = given;
        }
        if self.place_for(&arrival, fresh, replies).await? {
            if let Some(rest) = &state.rest {
                self.intake.place_rest(&arrival, rest).await?;
            }
            self.intake.cancel_left_out(&arrival, until_now.as_ref()).await?;
        }
        Ok(Vec::new())
    }

    /// The people for whom it is not too old, and those for whom it went back; the others are answered.
    fn parted(
        &self,
        arrival: &Arrival<'_>,
        record: Option<&EventRecord>,
        people: Vec<Group>,
        replies: &mut [MailReply],
    ) -> Result<(Vec<Placing>, Vec<Placing>), IntakeError> {
        let rid = arrival.event.recurrence_id.as_deref();
        let part = record.and_then(|r| r.part(rid));
        let (mut fresh, mut back) = (Vec::new(), Vec::new());
        for mut group in people {
            group.lead(|address| arrival.event.attendees.iter().any(|p| p.address == *address));
            let mut target = self.target(group.first());
            if let Some(rest) = arrival.rest {
                self.intake.by_mail_beside_others(&mut target, rest);
            }
            let last = self.intake.0.ledger.person(&arrival.event_id, &target.user)?.and_then(|p| p.accepted_version(rid));
            match older_than_had(part, last, arrival.sequence, arrival.stamp) {
                Some(Judgement::WentBack) => back.push((group, target)),
                Some(_) => {
                    let reply = MailReply::new(250, "2.0.0", "Accepted: older than what was already sent, nothing more to do");
                    group.answer(&reply, replies);
                }
                None => fresh.push((group, target)),
            }
        }
        Ok((fresh, back))
    }

    /// Places one version for these people; whether it is new to anybody.
    async fn place_for(&self, arrival: &Arrival<'_>, people: Vec<Placing>, replies: &mut [MailReply]) -> Result<bool, IntakeError> {
        let (groups, targets): (Vec<Group>, Vec<Target>) = people.into_iter().unzip();
        let record = self.intake.0.ledger.event(&arrival.event_id)?;
        let placed = self.intake.place_event(arrival, record, targets, self.traces.ours()).await?;
        let stored = placed.contains(&Placed::Stored);
        for (group, placed) in groups.into_iter().zip(placed) {
            match placed {
                Placed::Looping => group.answer(&Traces::refusal(&group.first().address), replies),
                Placed::Refused => group.answer(&held_enough(), replies),
                Placed::Stored | Placed::Held | Placed::Known => self.know_addresses(&arrival.event_id, &group).await?,
            }
        }
        Ok(stored)
    }

    /// One who was named under several addresses in one envelope may answer from each of them.
    async fn know_addresses(&self, event: &EventId, group: &Group) -> Result<(), IntakeError> {
        let Some(mut person) = self.intake.0.ledger.person(event, group.first().user())? else { return Ok(()) };
        let known = person.addresses.len();
        group.0.iter().for_each(|(_, judged)| person.add_address(&judged.address));
        if person.addresses.len() > known {
            let mut change = self.intake.0.queue.change();
            self.intake.0.ledger.put_person(change.batch_mut(), &person)?;
            self.intake.0.queue.commit(change).await?;
        }
        Ok(())
    }

    /// The version of a state of an event of ours.
    fn version_of(
        &self,
        event: &EventId,
        record: Option<&EventRecord>,
        rid: Option<&str>,
        sequence: u32,
        stamp: Option<Timestamp>,
        digest: &[u8; 32],
    ) -> Result<u32, LedgerError> {
        let ledger = &self.intake.0.ledger;
        // Under another id than it began with, the event's versions are counted apart from the organizer's SEQUENCE.
        let renewed = ledger.chronicle(event)?.is_some_and(|c| c.former.is_some());
        let sequence = if renewed { 0 } else { sequence };
        if record.is_some() {
            return Ok(give_version(record, rid, sequence, stamp, digest));
        }
        // Perhaps forgotten, and here again: its versions go on where they ended (profile 8).
        let before = ledger.tombstone(event)?.map_or(0, |former| former.version);
        Ok(first_version(sequence).max(before.saturating_add(1)))
    }

    /// Its versions are used up: the event is cancelled, and goes on under another id (profile 8). The caller holds the lock.
    async fn use_up(&self, event: &EventId, record: Option<EventRecord>) -> Result<(), IntakeError> {
        const WHY: &str = "its versions are used up";
        let Inner { ledger, queue, config, directory, .. } = &*self.intake.0;
        let now = self.intake.now();
        let next = renewed_id(event, &config.server_id);
        let mut change = queue.change();
        match record {
            Some(record) => Renewal { queue, ledger, config, directory, now }.retire(&mut change, record, &next, WHY)?,
            None => {
                if let Some(former) = ledger.tombstone(event)? {
                    ledger.put_tombstone(change.batch_mut(), &Tombstone { next: Some(next.clone()), ..former })?;
                }
            }
        }
        let mut chronicle = Chronicle::new(next, now);
        chronicle.former = Some(event.clone());
        chronicle.tell(now, format!("goes on from {event}: {WHY}"));
        ledger.put_chronicle(change.batch_mut(), &chronicle)?;
        tracing::warn!(event = %event, next = %chronicle.event_id, "the versions of an event are used up; it goes on under another id");
        Ok(queue.commit(change).await?)
    }

    /// The id of the organizer's event with this UID, and its lock. A UID that already is the event-id of somebody else's
    /// event gets an id of its own: nobody takes over a colleague's event by writing its UID. Its owner may hand it over; `None`:
    /// what he wrote before that comes late.
    async fn event_of(&self, event: &Event, owner: &UserId) -> Result<Option<(EventId, OwnedMutexGuard<()>)>, IntakeError> {
        let Inner { ledger, directory, config, .. } = &*self.intake.0;
        // A former name of the relay's is not for new events.
        let ours = |server: &ServerId| self.intake.ours(server) && !config.server_id_aliases.contains(server);
        let known = self.known_by(event, owner)?;
        let handed = if known.is_none() { self.handed_over(event, owner)? } else { None };
        let was_his = known.is_some();
        let given =
            known.or_else(|| handed.clone()).unwrap_or_else(|| event_id_of(&event.uid, &self.at_home(owner), &config.server_id, ours));
        let (id, lock) = self.locked(given).await?;
        let record = ledger.event(&id)?;
        let late = was_his && record.as_ref().is_some_and(|record| written_before(event, record));
        let known = record.map(|record| record.owner);
        // An id is never given to another event, also when the ledger no longer knows the first (profile 8).
        let known = if known.is_some() { known } else { ledger.tombstone(&id)?.map(|former| former.owner) };
        if handed.is_some() || known.is_none_or(|known| directory.same_person(&known, owner)) {
            return Ok(Some((id, lock)));
        }
        if late {
            return Ok(None);
        }
        // Two events may share a lock: this one goes before the other is taken.
        drop(lock);
        self.locked(event_id_of(&event.uid, &self.at_home(owner), &config.server_id, |_| false)).await.map(Some)
    }

    /// The name that the directory has an organizer by: under each of his others his events are the same.
    fn at_home(&self, organizer: &UserId) -> UserId {
        match self.intake.0.directory.find(organizer) {
            Whereabouts::Here { user, .. } => user,
            _ => organizer.clone(),
        }
    }

    /// The event with this UID from this organizer, under whichever of his names it came.
    fn known_by(&self, event: &Event, organizer: &UserId) -> Result<Option<EventId>, LedgerError> {
        let Inner { ledger, directory, .. } = &*self.intake.0;
        let home = self.at_home(organizer);
        for name in [organizer, &home].into_iter().chain(&directory.aliases_of(&home)) {
            if let Some(id) = ledger.event_of_uid(event.uid.as_str(), name)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// The lock of an event, under the id that it has now.
    async fn locked(&self, event: EventId) -> Result<(EventId, OwnedMutexGuard<()>), IntakeError> {
        let ledger = &self.intake.0.ledger;
        let mut id = ledger.followed(&event)?;
        loop {
            let lock = ledger.lock(&id).await;
            let now = ledger.followed(&id)?;
            if now == id {
                return Ok((id, lock));
            }
            // It has changed its id while it was waited for.
            drop(lock);
            id = now;
        }
    }

    /// The event with this UID whose owner writes, in this very message, that it is somebody else's from now on: ORGANIZER is
    /// the new owner, SENT-BY and From are the present one (profile 8: the event-id stays when the owner changes).
    fn handed_over(&self, event: &Event, owner: &UserId) -> Result<Option<EventId>, LedgerError> {
        let Inner { ledger, directory, .. } = &*self.intake.0;
        let Ok(incoming) = &self.read else { return Ok(None) };
        for writer in incoming.from.iter().chain(&incoming.sender).filter(|w| *w != owner) {
            let Some(id) = self.known_by(event, writer)? else { continue };
            let id = ledger.followed(&id)?;
            if ledger.event(&id)?.is_some_and(|record| record.own && directory.same_person(&record.owner, writer)) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    fn target(&self, person: &Judged) -> Target {
        match &person.kind {
            Kind::Gateway(user) => Target {
                user: user.clone(),
                original: person.address.clone(),
                destination: self.intake.destination_of(user),
                gateway: true,
            },
            _ => Target {
                user: person.address.clone(),
                original: person.address.clone(),
                destination: Destination::Cip(person.address.server().clone()),
                gateway: false,
            },
        }
    }
}

/// Whether a message is older than what is known of its event.
fn written_before(message: &Event, record: &EventRecord) -> bool {
    let newest = record.part(message.recurrence_id.as_deref()).and_then(|part| part.newest());
    newest.is_some_and(|newest| {
        let stamp = message.dtstamp.or(message.last_modified);
        (message.sequence.unwrap_or(0), stamp) < (newest.sequence, newest.dtstamp)
    })
}

/// What cannot be carried to CIP: gateway addresses are told, the others get the message as it is.
fn refused(people: Vec<Group>, why: &str, replies: &mut [MailReply]) -> Vec<Group> {
    let (gateway, plain): (Vec<Group>, Vec<Group>) = people.into_iter().partition(|g| matches!(g.first().kind, Kind::Gateway(_)));
    for group in gateway {
        group.answer(&MailReply::new(550, "5.6.0", format!("Not for a gateway address: {why}")), replies);
    }
    plain
}
