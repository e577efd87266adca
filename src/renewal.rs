//! An event of ours that goes on under another event-id (profile 8): its versions are used up, or the relay's server-id
//! has changed. Under the old id it is cancelled, and whoever still asks for that is told the new one.
//!
//! Whoever has the event by the relay, over CIP or by composed mail, gets the cancellation; whose mail program deals with
//! the organizer's directly knows the iCalendar UID alone, which stays, and gets nothing. Invariants: the last version
//! number is kept for the cancellation; the old id leads to the new one from the commit on that cancels it, so that after a
//! crash the same change goes on where it was; nobody but an owner whom the relay numbers the versions for is spoken for.

use crate::calendar::event::Method;
use crate::calendar::{Object, Patch};
use crate::clock::Timestamp;
use crate::config::{Config, Deliver};
use crate::ident::{EventId, ServerId, UserId};
use crate::imip::address::Gateway;
use crate::intake::{Target, first_deadline, group};
use crate::ledger::chronicle::Chronicle;
use crate::ledger::forget::Tombstone;
use crate::ledger::judge::{MAX_VERSION, renewed_id};
use crate::ledger::objects::ObjectRecord;
use crate::ledger::records::{EventRecord, Part, PersonRecord, RedirectRecord, Route, Seen, State};
use crate::ledger::{Ledger, LedgerError, RedirectKind};
use crate::policy::directory::{Directory, Whereabouts};
use crate::queue::entry::{BodyKind, Destination, Entry, Origin, Recipient, Verb, Via};
use crate::queue::{Change, Queue};

/// What a renewal needs to know.
pub struct Renewal<'a> {
    pub queue: &'a Queue,
    pub ledger: &'a Ledger,
    pub config: &'a Config,
    pub directory: &'a Directory,
    pub now: Timestamp,
}

/// One state of an event on its way to everybody.
struct Sending<'a> {
    event_id: &'a EventId,
    owner: &'a UserId,
    rid: Option<&'a str>,
    version: u32,
    object: &'a Object,
    cancel: bool,
    note: String,
}

impl Renewal<'_> {
    /// The id under which an event goes on: the same name under this server-id, when nobody else ever had it.
    pub fn next_id(&self, old: &EventRecord, server_id: &ServerId) -> Result<EventId, LedgerError> {
        let name = old.event_id.as_str().rsplit_once('@').map(|(name, _)| EventId::parse(&format!("{name}@{server_id}")));
        if let Some(Ok(id)) = name
            && id != old.event_id
            && self.ledger.event(&id)?.is_none()
            && self.ledger.tombstone(&id)?.is_none()
        {
            return Ok(id);
        }
        Ok(renewed_id(&old.event_id, server_id))
    }

    /// Cancels an event under its old id, for those who have it by the relay, and leads from there to `next`. The caller holds
    /// the old id's lock.
    pub fn retire(&self, change: &mut Change, mut old: EventRecord, next: &EventId, why: &str) -> Result<(), LedgerError> {
        let version = old.version().saturating_add(1).min(MAX_VERSION);
        let people: Vec<PersonRecord> = self.ledger.people(&old.event_id)?.into_iter().filter(|p| p.removed.is_none()).collect();
        let newest = self.ledger.objects_of(&old.event_id)?.into_iter().find_map(|record| record.object());
        let object = newest.unwrap_or_else(|| nothing_but_the_id(&old));
        let note = format!("the event goes on as {next}: {why}");
        let sending =
            Sending { event_id: &old.event_id, owner: &old.owner, rid: None, version, object: &object, cancel: true, note: note.clone() };
        self.send(change, &sending, people.iter().filter(|p| self.has_it_from_us(p)));
        for mut person in people {
            person.accepted.iter_mut().for_each(|(_, accepted)| *accepted = version);
            person.accept(None, version);
            self.ledger.put_person(change.batch_mut(), &person)?;
        }
        for mut times in self.ledger.times_of(&old.event_id)? {
            times.cancelled = true;
            self.ledger.put_times(change.batch_mut(), &old.event_id, &times)?;
        }
        let whole = old.part_mut(None);
        let sequence = whole.newest().map_or(0, |s| s.sequence);
        let dtstamp = whole.newest().and_then(|s| s.dtstamp);
        whole.remember(Seen { version, sequence, dtstamp, digest: [0; 32], start: None, end: None });
        whole.cancelled = true;
        old.updated = self.now;
        self.ledger.put_event(change.batch_mut(), &old)?;
        let (id, owner) = (old.event_id.clone(), old.owner.clone());
        self.ledger.put_tombstone(
            change.batch_mut(),
            &Tombstone { event_id: id.clone(), owner, version, next: Some(next.clone()), at: self.now },
        )?;
        let redirect = RedirectRecord {
            old: id.to_string(),
            new: next.to_string(),
            source: RedirectRecord::OWN.to_owned(),
            learned: self.now,
            expires: Some(self.now.after(self.config.ledger.keep_endless.0)),
        };
        self.ledger.put_redirect(change.batch_mut(), RedirectKind::Event, &redirect)?;
        self.ledger.tell(change.batch_mut(), &id, self.now, vec![format!("cancelled as version {version}; {note}")])
    }

    /// Sends an event out under its new id, as it is now. The caller holds the old id's lock, and puts this into the change that
    /// retires it, behind that.
    pub fn resend(&self, change: &mut Change, old: &EventRecord, next: &EventId) -> Result<(), LedgerError> {
        let mut record = EventRecord { event_id: next.clone(), created: self.now, updated: self.now, parts: Vec::new(), ..old.clone() };
        let mut people = Vec::new();
        for known in self.ledger.people(&old.event_id)?.into_iter().filter(|p| p.removed.is_none()) {
            people.push((known.clone(), renewed_person(known, next)));
        }
        let mut live: Vec<&Part> = old.parts.iter().filter(|p| !p.cancelled).collect();
        live.sort_by_key(|part| part.rid.is_some());
        let mut version = 0;
        for part in live {
            let rid = part.rid.as_deref();
            let (Some(newest), Some(kept)) = (part.newest(), self.ledger.object(&old.event_id, rid)?) else { continue };
            let Some(object) = kept.object() else { continue };
            version += 1;
            record.parts.push(Part {
                seen: vec![Seen { version, ..newest.clone() }],
                states: part.states.last().map(|s| State { first: version, last: version, said: s.said.clone() }).into_iter().collect(),
                ..part.clone()
            });
            self.ledger.put_object(change.batch_mut(), next, &ObjectRecord::new(part.rid.clone(), version, old.standing, &object))?;
            let note = format!("goes on from {}", old.event_id);
            let sending = Sending { event_id: next, owner: &old.owner, rid, version, object: &object, cancel: false, note };
            let invited = people.iter().filter(|(known, _)| known.accepted_version(rid).is_some() && self.has_it_from_us(known));
            self.send(change, &sending, invited.map(|(known, _)| known));
            for (known, person) in &mut people {
                if known.accepted_version(rid).is_some() {
                    person.accept(rid, version);
                }
            }
        }
        for (_, person) in &people {
            self.ledger.put_person(change.batch_mut(), person)?;
        }
        self.keep_times(change, old, next, people.iter().map(|(_, person)| person))?;
        self.ledger.put_event(change.batch_mut(), &record)?;
        let mut chronicle = Chronicle::new(next.clone(), self.now);
        chronicle.extend(false, self.ledger.chronicle(&old.event_id)?.and_then(|c| c.ends));
        chronicle.former = Some(old.event_id.clone());
        chronicle.tell(self.now, format!("goes on from {}, with version {version} as the newest", old.event_id));
        self.ledger.put_chronicle(change.batch_mut(), &chronicle)
    }

    /// The times of the event, and who is in it, for FREEBUSY.
    fn keep_times<'p>(
        &self,
        change: &mut Change,
        old: &EventRecord,
        next: &EventId,
        people: impl Iterator<Item = &'p PersonRecord>,
    ) -> Result<(), LedgerError> {
        for times in self.ledger.times_of(&old.event_id)? {
            self.ledger.put_times(change.batch_mut(), next, &times)?;
        }
        for user in people.flat_map(|p| &p.addresses).chain([&old.owner]) {
            if let Some(mut engagement) = self.ledger.engagement(user, &old.event_id)? {
                engagement.event_id = next.clone();
                self.ledger.put_engagement(change.batch_mut(), user, &engagement)?;
            }
        }
        Ok(())
    }

    /// Not by his own mail program alone, which deals with the organizer's.
    fn has_it_from_us(&self, person: &PersonRecord) -> bool {
        person.route != Some(Route::Mail) || Gateway::unwrap(person.written(), self.config.mail_domain()).is_some()
    }

    /// One entry for each destination.
    fn send<'p>(&self, change: &mut Change, sending: &Sending<'_>, people: impl Iterator<Item = &'p PersonRecord>) {
        let target = |person: &PersonRecord| Target {
            user: person.user.clone(),
            original: person.written().clone(),
            destination: self.destination_of(&person.user),
            gateway: true,
        };
        let groups = group(people.map(target).collect());
        if groups.is_empty() {
            return;
        }
        let message = as_mail(sending);
        let body = change.add_body(BodyKind::Message, &message, u32::try_from(groups.len()).unwrap_or(u32::MAX));
        for (destination, people) in groups {
            let origin = Origin {
                via: Via::Relay,
                peer: None,
                helo: None,
                identity: None,
                standing: 3,
                sender: Some(sending.owner.to_string()),
                automatic: false,
            };
            let recipients = people.into_iter().map(|t| Recipient::new(t.user, t.original, t.gateway)).collect();
            let expires = self.now.after(self.config.delivery.expire_after.0);
            let mut entry = Entry::new(self.queue.next_id(), Verb::SendEvent, destination, recipients, origin, body, self.now, expires);
            entry.event_id = Some(sending.event_id.clone());
            entry.recurrence_id = sending.rid.map(str::to_owned);
            entry.version = Some(sending.version);
            entry.owner = Some(sending.owner.clone());
            entry.cancel = sending.cancel;
            entry.event_start = sending.object.event().start.as_ref().and_then(crate::calendar::event::Moment::instant);
            entry.event_end = sending.object.ends();
            entry.note(self.now, sending.note.clone());
            entry.deadline = first_deadline(&entry, self.config);
            crate::logbook::accepted(&entry);
            change.put(entry);
        }
    }

    fn destination_of(&self, user: &UserId) -> Destination {
        match self.directory.find(user) {
            Whereabouts::Here { deliver: Deliver::Mail, user } => Destination::Mail(user.server().clone()),
            _ => Destination::Cip(user.server().clone()),
        }
    }
}

/// Somebody in the event under its new id: he has nothing of it yet, and has answered what he has answered.
fn renewed_person(known: PersonRecord, next: &EventId) -> PersonRecord {
    let mut person = PersonRecord::new(next.clone(), known.user);
    (person.addresses, person.name, person.route) = (known.addresses, known.name, known.route);
    person.response_sequence = known.response_sequence;
    person.answers = known.answers;
    for answer in &mut person.answers {
        answer.order.version = 1;
    }
    person
}

/// The event as its owner's mail program would have sent it: what delivery takes it from.
fn as_mail(sending: &Sending<'_>) -> Vec<u8> {
    let object = sending.object.patched(&Patch { method: Some(Method::Request), drop_traces: true, ..Patch::default() });
    let head = format!(
        "From: <{}>\r\nMIME-Version: 1.0\r\nContent-Type: text/calendar; charset=UTF-8; method=REQUEST\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        sending.owner
    );
    [head.into_bytes(), object].concat()
}

/// What is said of an event whose objects were too large to be kept.
fn nothing_but_the_id(old: &EventRecord) -> Object {
    let text = format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//cip-relay//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:{}\r\nSEQUENCE:0\r\nORGANIZER:mailto:{}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        old.event_id, old.owner
    );
    Object::parse(text.into_bytes()).expect("a UID and an organizer make an object")
}
