//! Who is in an event, and who is no longer (bridge 2, Methods and membership).
//!
//! A version that leaves out somebody who was in the one before it cancels the event for him: he hears of it by the way
//! that his invitation took. Where others of his server are still in it, that server has the version without him, and he
//! himself hears by mail. Invariants: only a sender of standing 2 or more takes anybody out; whoever was never listed (by
//! way of a mailing list, or where every guest gets a copy of his own) is not taken out by not being listed; nobody is
//! taken out twice.

use std::collections::HashSet;

use super::events::{Arrival, content_digest};
use super::{Intake, IntakeError, Target};
use crate::calendar::event::Event;
use crate::calendar::{Object, Patch};
use crate::ident::UserId;
use crate::ledger::records::{EventRecord, PersonRecord};
use crate::ledger::{Ledger, LedgerError};
use crate::policy::directory::Whereabouts;
use crate::queue::entry::{BodyKind, Destination};

/// The event as it goes on without some of its people.
pub(super) struct Rest {
    pub object: Object,
    /// Who is taken out, as the organizer wrote them.
    pub without: Vec<UserId>,
}

/// The version that another is the successor of.
pub(super) struct Before {
    object: Object,
    /// Somebody had it without being named in it: each guest gets a copy of his own, or it came by way of a mailing list.
    copies: bool,
}

impl Intake {
    /// Who is taken out hears by mail where others of his server are still in the event.
    pub(super) fn by_mail_beside_others(&self, target: &mut Target, rest: &Object) {
        let others = listed(rest.event()).any(|user| *user != target.user && *user != target.original && self.same_server(user, target));
        if others && matches!(target.destination, Destination::Cip(_)) {
            target.destination = Destination::Mail(target.user.server().clone());
        }
    }

    fn same_server(&self, listed: &UserId, target: &Target) -> bool {
        self.unwrapped(listed).server() == target.user.server()
    }

    /// Out of a gateway address, where it is one.
    fn unwrapped(&self, address: &UserId) -> UserId {
        let inside = crate::imip::address::Gateway::unwrap(address, self.0.config.mail_domain());
        inside.and_then(Result::ok).unwrap_or_else(|| address.clone())
    }

    /// The version without some goes to the servers where others of them are.
    pub(super) async fn place_rest(&self, arrival: &Arrival<'_>, rest: &Rest) -> Result<(), IntakeError> {
        let servers: HashSet<String> = rest.without.iter().map(|user| self.unwrapped(user).server().key()).collect();
        let mut targets = Vec::new();
        for user in listed(rest.object.event()) {
            let Some(person) = self.person_of(&arrival.event_id, user)?.filter(|p| p.removed.is_none()) else { continue };
            let target = self.known_target(&person);
            if matches!(target.destination, Destination::Cip(_)) && servers.contains(&target.user.server().key()) {
                targets.push(target);
            }
        }
        if targets.is_empty() {
            return Ok(());
        }
        let arrival = Arrival {
            object: &rest.object,
            event: rest.object.event(),
            cancel: false,
            rest: None,
            kind: BodyKind::Object,
            body: rest.object.octets(),
            ..arrival.again()
        };
        let record = self.0.ledger.event(&arrival.event_id)?;
        self.place_event(&arrival, record, targets, false).await?;
        Ok(())
    }

    /// Of which version this is the successor; `None`: it is none. Asked before it is placed.
    pub(super) fn newest_until_now(&self, arrival: &Arrival<'_>, record: Option<&EventRecord>) -> Result<Option<Before>, LedgerError> {
        let rid = arrival.event.recurrence_id.as_deref();
        let Some(newest) = record.and_then(|r| r.part(rid)).and_then(|p| p.newest()) else { return Ok(None) };
        // A late copy of an earlier state gets a version of its own, and leaves nobody out.
        let stamped_before = matches!((arrival.stamp, newest.dtstamp), (Some(a), Some(b)) if a < b);
        let earlier = arrival.sequence < newest.sequence || arrival.sequence == newest.sequence && stamped_before;
        if newest.version >= arrival.version || earlier || arrival.cancel || arrival.standing < 2 {
            return Ok(None);
        }
        let kept = self.0.ledger.object(&arrival.event_id, rid)?;
        let Some(object) = kept.and_then(|kept| kept.object()) else { return Ok(None) };
        let seats: HashSet<UserId> = self.seats(object.event()).into_iter().collect();
        let unnamed = |p: &PersonRecord| p.removed.is_none() && p.accepted_version(rid).is_some() && !named(p, &seats);
        let copies = self.0.ledger.people(&arrival.event_id)?.iter().any(unnamed);
        Ok(Some(Before { object, copies }))
    }

    /// Who is named in an event beside the owner, and the people of the groups that are.
    fn seats(&self, event: &Event) -> Vec<UserId> {
        let mut seats = Vec::new();
        for user in listed(event) {
            seats.push(user.clone());
            if let Whereabouts::Group(members) = self.0.directory.find(user) {
                seats.extend(members);
            }
        }
        seats
    }

    /// Cancels the event for those whom a new version leaves out. `before`: what was the newest until now.
    pub(super) async fn cancel_left_out(&self, arrival: &Arrival<'_>, before: Option<&Before>) -> Result<(), IntakeError> {
        let Some(Before { object: before, copies }) = before.filter(|_| arrival.standing >= 2 && !arrival.cancel) else { return Ok(()) };
        let now: HashSet<UserId> = self.seats(arrival.event).into_iter().collect();
        let had = self.seats(before.event());
        // Copies for one guest each, who are not told of one another.
        if *copies && !had.iter().any(|user| now.contains(user)) {
            return Ok(());
        }
        let mut targets: Vec<Target> = Vec::new();
        for user in had.iter().filter(|user| !now.contains(*user)) {
            let Some(person) = self.person_of(&arrival.event_id, user)? else { continue };
            let rid = arrival.event.recurrence_id.as_deref();
            let has = person.accepted_version(rid).is_some_and(|version| version < arrival.version);
            let again = targets.iter().any(|target| target.user == person.user);
            if !has || again || person.removed.is_some() || named(&person, &now) {
                continue;
            }
            let mut target = self.known_target(&person);
            self.by_mail_beside_others(&mut target, arrival.object);
            targets.push(target);
        }
        if targets.is_empty() {
            return Ok(());
        }
        let cancel = Arrival {
            object: before,
            event: before.event(),
            digest: content_digest(before, true),
            cancel: true,
            rest: Some(arrival.object),
            kind: BodyKind::Object,
            body: before.octets(),
            ..arrival.again()
        };
        let record = self.0.ledger.event(&arrival.event_id)?;
        self.place_event(&cancel, record, targets, false).await?;
        Ok(())
    }

    /// Someone who is in the event already, by the way that he is reached.
    fn known_target(&self, person: &PersonRecord) -> Target {
        Target {
            destination: self.destination_of(&person.user),
            user: person.user.clone(),
            original: person.written().clone(),
            gateway: true,
        }
    }
}

/// What remains of an event after a CANCEL that lists some of its people (RFC 5546 3.2.5); `None`: nobody does, or it
/// is not known who is in it.
pub(super) fn rest_after(ledger: &Ledger, cancel: &Object, record: Option<&EventRecord>) -> Result<Option<Rest>, LedgerError> {
    let event = cancel.event();
    let (Some(record), false) = (record, event.attendees.is_empty()) else { return Ok(None) };
    let kept = ledger.object(&record.event_id, event.recurrence_id.as_deref())?;
    let Some(kept) = kept.and_then(|kept| kept.object()) else { return Ok(None) };
    let without: Vec<UserId> = event.attendees.iter().map(|p| p.address.clone()).collect();
    if listed(kept.event()).all(|user| without.contains(user)) {
        return Ok(None);
    }
    let octets = kept.patched(&Patch { drop_attendees: without.clone(), ..Patch::default() });
    Ok(Object::parse(octets).ok().map(|object| Rest { object, without }))
}

/// Whether one of a person's addresses is among these.
fn named(person: &PersonRecord, seats: &HashSet<UserId>) -> bool {
    seats.contains(&person.user) || person.addresses.iter().any(|address| seats.contains(address))
}

/// The attendees beside the owner.
fn listed(event: &Event) -> impl Iterator<Item = &UserId> {
    event.attendees.iter().map(|p| &p.address).filter(|user| event.owner.as_ref().is_none_or(|o| o.address != **user))
}
