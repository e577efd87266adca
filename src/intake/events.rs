//! Placing one version of an event for its recipients: judged against the ledger, stored in one commit.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::{HeldFor, Intake, IntakeError, Target, first_deadline, group, via_words};
use crate::calendar::Object;
use crate::calendar::event::{Event, EventStatus, Method, Person};
use crate::clock::Timestamp;
use crate::ident::{EntryId, EventId, UserId};
use crate::ledger::LedgerError;
use crate::ledger::chronicle::{Chronicle, names};
use crate::ledger::judge::{Judgement, judge};
use crate::ledger::records::{EventRecord, PersonRecord, Route, Seen, clipped};
use crate::logbook;
use crate::queue::QueueError;
use crate::queue::entry::{BodyKind, Entry, Origin, State, Verb};

/// Below standing 2, a version may be higher than the last by this much (profile 4).
const JUMP: u32 = 1000;
/// Superseded entries rewritten at a time.
const AT_A_TIME: usize = 64;

/// One version of an event as it arrived.
pub(super) struct Arrival<'a> {
    pub event_id: EventId,
    pub ical_uid: String,
    /// The relay gives this event's versions.
    pub own: bool,
    pub owner: UserId,
    pub owner_name: Option<String>,
    pub version: u32,
    /// SEQUENCE in iCalendar.
    pub sequence: u32,
    /// The first event of the object.
    pub event: &'a Event,
    pub object: &'a Object,
    pub digest: [u8; 32],
    /// DTSTAMP, else LAST-MODIFIED, of what brought it.
    pub stamp: Option<Timestamp>,
    pub cancel: bool,
    /// It cancels the event for some: the event as it goes on without them.
    pub rest: Option<&'a Object>,
    pub standing: u8,
    pub origin: Origin,
    pub kind: BodyKind,
    pub body: &'a [u8],
}

/// What became of one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    Stored,
    /// Stored, for the administrator to look at.
    Held,
    /// It was stored before: nothing new to do.
    Known,
    /// It was here before, and comes back with our own trace line.
    Looping,
    /// It would be held, and there is too much of that.
    Refused,
}

impl Arrival<'_> {
    pub(super) fn rid(&self) -> Option<&str> {
        self.event.recurrence_id.as_deref()
    }

    /// `version 3 (SEQUENCE 2) of instance 20260708T070000Z, a cancellation`, for a history.
    pub(super) fn words(&self) -> String {
        let mut text = format!("version {} (SEQUENCE {})", self.version, self.sequence);
        if let Some(rid) = self.rid() {
            text.push_str(&format!(" of instance {rid}"));
        }
        if self.cancel {
            text.push_str(", a cancellation,");
        }
        text
    }

    /// The same, to be changed.
    pub(super) fn again(&self) -> Self {
        Self {
            event_id: self.event_id.clone(),
            ical_uid: self.ical_uid.clone(),
            owner: self.owner.clone(),
            owner_name: self.owner_name.clone(),
            origin: self.origin.clone(),
            ..*self
        }
    }

    pub(super) fn seen(&self) -> Seen {
        let event = self.rest.map_or(self.event, Object::event);
        Seen {
            version: self.version,
            sequence: self.sequence,
            dtstamp: self.stamp,
            digest: self.digest,
            start: event.start.as_ref().and_then(crate::calendar::event::Moment::instant),
            end: event.end.as_ref().and_then(crate::calendar::event::Moment::instant),
        }
    }

    /// Why the whole version is held, if it is (profile 4).
    fn doubt(&self, record: Option<&EventRecord>) -> Option<String> {
        let known = record.map_or(0, |r| r.standing);
        if self.standing < known {
            return Some(format!("its sender has standing {}, the event is known with standing {known}", self.standing));
        }
        let newest = record.map_or(0, EventRecord::version);
        if self.standing < 2 && self.version > newest.saturating_add(JUMP) {
            return Some(format!(
                "version {} jumps by more than {JUMP} from {newest}, and its sender has standing {}",
                self.version, self.standing
            ));
        }
        None
    }
}

/// The digest that versions are compared by: a cancellation with otherwise the same content is another state.
pub(super) fn content_digest(object: &Object, cancel: bool) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(object.digest());
    hash.update([u8::from(cancel)]);
    hash.finalize().into()
}

fn held_why(arrival: &Arrival<'_>, doubt: Option<&str>) -> String {
    let back = || format!("version went back: {} has new content, and a newer version was accepted before", arrival.version);
    doubt.map_or_else(back, str::to_owned)
}

/// STATUS:CANCELLED, or METHOD:CANCEL.
pub(super) fn is_cancel(event: &Event, method: Option<Method>) -> bool {
    event.status == Some(EventStatus::Cancelled) || method.or(event.method) == Some(Method::Cancel)
}

/// How one recipient is dealt with in this acceptance.
struct Verdict {
    target: Target,
    person: PersonRecord,
    judgement: Judgement,
}

impl Intake {
    /// Places one version for its recipients; the answers are in their order. The caller holds the event's lock.
    pub(super) async fn place_event(
        &self,
        arrival: &Arrival<'_>,
        record: Option<EventRecord>,
        people: Vec<Target>,
        our_trace: bool,
    ) -> Result<Vec<Placed>, IntakeError> {
        let part = record.as_ref().and_then(|r| r.part(arrival.rid()));
        let seen = arrival.seen();
        let mut verdicts = Vec::with_capacity(people.len());
        for target in people {
            let known = self.0.ledger.person(&arrival.event_id, &target.user)?;
            let person = known.unwrap_or_else(|| PersonRecord::new(arrival.event_id.clone(), target.user.clone()));
            let last = person.accepted_version(arrival.rid());
            let judgement = judge(part, last, arrival.version, &arrival.digest, seen.dtstamp);
            verdicts.push(Verdict { target, person, judgement });
        }
        let repeats = |j: Judgement| matches!(j, Judgement::Duplicate | Judgement::Late);
        if our_trace && verdicts.iter().any(|v| repeats(v.judgement)) {
            return Ok(vec![Placed::Looping; verdicts.len()]);
        }
        let doubt = arrival.doubt(record.as_ref());
        let held = |j: Judgement| !repeats(j) && (doubt.is_some() || j == Judgement::WentBack);
        let may_hold = verdicts.iter().any(|v| held(v.judgement)) && self.may_hold(&arrival.event_id, arrival.standing)?;
        let mut placed = Vec::with_capacity(verdicts.len());
        for v in &verdicts {
            placed.push(match v.judgement {
                j if repeats(j) => Placed::Known,
                j if held(j) => self.place_held(arrival, &v.target, may_hold)?,
                _ => Placed::Stored,
            });
        }
        let verdicts = verdicts.into_iter().zip(placed.iter().copied()).collect();
        let entries = self.store_event(arrival, record, verdicts, doubt.as_deref()).await?;
        self.drop_older(arrival, &entries).await;
        Ok(placed)
    }

    /// What is to be held is held once, however often it comes.
    fn place_held(&self, arrival: &Arrival<'_>, target: &Target, may_hold: bool) -> Result<Placed, QueueError> {
        let person = HeldFor {
            event: &arrival.event_id,
            rid: arrival.rid(),
            verb: Verb::SendEvent,
            who: &target.original,
            version: arrival.version,
            standing: arrival.origin.standing,
        };
        if self.held_before(&person, arrival.kind, arrival.body)? {
            return Ok(Placed::Known);
        }
        Ok(if may_hold { Placed::Held } else { Placed::Refused })
    }

    /// One commit: body, entries, ledger. Gives (entry id, recipients) of what is to be delivered.
    async fn store_event(
        &self,
        arrival: &Arrival<'_>,
        record: Option<EventRecord>,
        verdicts: Vec<(Verdict, Placed)>,
        doubt: Option<&str>,
    ) -> Result<Vec<(EntryId, Vec<UserId>)>, IntakeError> {
        let rid = arrival.rid();
        let mut change = self.0.queue.change();
        let mut fresh = Vec::new();
        let mut back = Vec::new();
        // A list would be gone through once for each of up to a thousand recipients, and may have a hundred thousand.
        let attendees: HashMap<&UserId, &Person> = arrival.event.attendees.iter().map(|p| (&p.address, p)).collect();
        for (mut v, placed) in verdicts {
            match placed {
                Placed::Known | Placed::Looping | Placed::Refused => {}
                Placed::Held => back.push(v.target),
                Placed::Stored => {
                    v.person.accept(rid, arrival.version);
                    if rid.is_none() {
                        v.person.removed = arrival.rest.map(|_| arrival.version);
                    }
                    v.person.add_address(&v.target.original);
                    v.person.add_address(&v.target.user);
                    if let Some(attendee) = attendees.get(&v.target.original) {
                        v.person.name = attendee.name.as_deref().map(clipped);
                    }
                    self.0.ledger.put_person(change.batch_mut(), &v.person)?;
                    fresh.push((v.target, v.judgement == Judgement::Changed));
                }
            }
        }
        if fresh.is_empty() && back.is_empty() {
            // What was stored before may still be on its way to the disk, when its client did not wait for the answer.
            self.0.queue.commit(change).await?;
            return Ok(Vec::new());
        }
        let remember = !fresh.is_empty();
        let changed = fresh.iter().any(|(_, changed)| *changed);
        let told = self.told(arrival, record.as_ref(), &fresh, &back, doubt)?;
        let due = group(fresh.into_iter().map(|(t, _)| t).collect());
        let held = group(back);
        let refs = u32::try_from(due.len() + held.len()).unwrap_or(u32::MAX);
        let body = change.add_body(arrival.kind, arrival.body, refs);
        let now = self.now();
        let mut entries = Vec::new();
        let over = arrival.object.ends();
        for (held, (destination, people)) in due.into_iter().map(|g| (false, g)).chain(held.into_iter().map(|g| (true, g))) {
            let recipients = people.iter().map(Target::recipient).collect();
            let mut entry = self.entry(Verb::SendEvent, destination, recipients, arrival.origin.clone(), body);
            entry.event_id = Some(arrival.event_id.clone());
            entry.recurrence_id = rid.map(str::to_owned);
            entry.version = Some(arrival.version);
            entry.owner = Some(arrival.owner.clone());
            entry.cancel = arrival.cancel;
            entry.event_start = arrival.seen().start;
            entry.event_end = over;
            entry.hops = u32::try_from(arrival.event.traces.len()).unwrap_or(u32::MAX);
            entry.note(now, format!("accepted by {}", via_words(&arrival.origin)));
            if changed && !held {
                entry.note(now, format!("version {} was accepted before with other content", arrival.version));
            }
            if held {
                entry.state = State::Held;
                entry.doubted = true;
                entry.reason = held_why(arrival, doubt);
                let reason = entry.reason.clone();
                entry.note(now, format!("held: {reason}"));
            }
            entry.deadline = first_deadline(&entry, &self.0.config);
            change.put(entry.clone());
            entries.push(entry);
        }
        // What is only held has not happened yet.
        if remember {
            self.keeper().remember_event(arrival, record, &mut change, false)?;
        }
        if let Some(chronicle) = told {
            self.0.ledger.put_chronicle(change.batch_mut(), &chronicle)?;
        }
        self.0.queue.commit(change).await?;
        for entry in &entries {
            logbook::accepted(entry);
            if entry.state == State::Held {
                logbook::held(entry);
            }
        }
        let delivered = entries.into_iter().filter(|e| e.state != State::Held);
        Ok(delivered.map(|e| (e.id, e.recipients.into_iter().map(|r| r.original).collect())).collect())
    }

    /// The event's history with what this acceptance adds to it. `None`: of an event that is only held nothing is known.
    fn told(
        &self,
        arrival: &Arrival<'_>,
        record: Option<&EventRecord>,
        fresh: &[(Target, bool)],
        held: &[Target],
        doubt: Option<&str>,
    ) -> Result<Option<Chronicle>, LedgerError> {
        let now = self.now();
        let mut chronicle = match self.0.ledger.chronicle(&arrival.event_id)? {
            Some(known) => known,
            None if record.is_some() || !fresh.is_empty() => Chronicle::new(arrival.event_id.clone(), now),
            None => return Ok(None),
        };
        let what = arrival.words();
        let via = via_words(&arrival.origin);
        if !fresh.is_empty() {
            let new =
                record.is_none_or(|r| r.part(arrival.rid()).is_none_or(|p| p.newest().is_none_or(|s| !s.newer_than(&arrival.seen()))));
            // A CANCEL may come without a time, and changes none.
            if new && arrival.event.start.is_some() {
                chronicle.extend(arrival.rid().is_some(), arrival.object.ends());
            }
            if let Some(before) = record.map(|r| &r.owner).filter(|o| **o != arrival.owner) {
                chronicle.tell(now, format!("the owner changes from {before} to {}", arrival.owner));
            }
            let again = if fresh.iter().any(|(_, changed)| *changed) { ", with other content than before" } else { "" };
            let whom = names(fresh.iter().map(|(target, _)| &target.original));
            chronicle.tell(now, format!("{what} accepted by {via}, for {whom}{again}"));
        }
        if !held.is_empty() {
            let whom = names(held.iter().map(|target| &target.original));
            chronicle.tell(now, format!("{what} by {via}, for {whom}, held: {}", held_why(arrival, doubt)));
        }
        Ok(Some(chronicle))
    }

    /// A newer version makes an older, still waiting one pointless (bridge 3, Superseding), and so does the same version with
    /// other content the one before it. After the commit, and without waiting for what is in flight: a crash in between
    /// leaves an older version that `delivery` drops.
    async fn drop_older(&self, arrival: &Arrival<'_>, placed: &[(EntryId, Vec<UserId>)]) {
        let mut older: HashMap<EntryId, Vec<UserId>> = HashMap::new();
        for (newer, user) in placed.iter().flat_map(|(id, users)| users.iter().map(move |user| (id, user))) {
            let waiting = match self.0.queue.waiting(&arrival.event_id, arrival.rid(), Verb::SendEvent, user) {
                Ok(waiting) => waiting,
                Err(error) => {
                    tracing::error!(%error, "superseded entries cannot be looked up");
                    break;
                }
            };
            for (id, version) in waiting {
                if version < arrival.version || version == arrival.version && id.raw() < newer.raw() {
                    older.entry(id).or_default().push(user.clone());
                }
            }
        }
        // One rewrite for each older entry, and several at a time, since each waits for the disk.
        let mut tasks = JoinSet::new();
        let mut told = Vec::new();
        for (id, users) in older {
            if tasks.len() >= AT_A_TIME {
                told.extend(tasks.join_next().await.and_then(Result::ok).flatten());
            }
            tasks.spawn(self.clone().take_out(id, users, arrival.version));
        }
        while let Some(done) = tasks.join_next().await {
            told.extend(done.ok().flatten());
        }
        if told.is_empty() {
            return;
        }
        // The caller holds the lock for all of them.
        let mut change = self.0.queue.change();
        let written = match self.0.ledger.tell(change.batch_mut(), &arrival.event_id, self.now(), told) {
            Ok(()) => self.0.queue.commit(change).await.map_err(IntakeError::from),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            tracing::error!(%error, event = %arrival.event_id, "the history of an event cannot be written");
        }
    }

    /// Takes these people out of an entry that waits; `version` takes its place for them. Gives the line for the event's history.
    async fn take_out(self, id: EntryId, users: Vec<UserId>, version: u32) -> Option<String> {
        let mut lease = self.0.queue.take(id, Duration::ZERO).await?;
        if lease.before() == State::Held {
            return None;
        }
        let mut change = self.0.queue.change();
        let mut entry = lease.entry.clone();
        let instance = entry.recurrence_id.clone();
        let keys: HashSet<String> = users.iter().map(UserId::key).collect();
        entry.recipients.retain(|r| !keys.contains(&r.original.key()));
        let whom = match users.as_slice() {
            [user] => user.to_string(),
            several => format!("{} recipients", several.len()),
        };
        let older = entry.version.unwrap_or(0);
        entry.note(self.now(), format!("version {version} for {whom} takes the place of version {older}"));
        for user in &users {
            logbook::superseded(id, user, version);
        }
        if let Err(error) = self.may_have_it(&lease.entry, &keys, &mut change) {
            tracing::error!(%id, %error, "an entry cannot be superseded; delivery will drop it");
            return None;
        }
        if entry.pending().next().is_none() {
            change.remove(&lease.entry);
            logbook::removed(&entry, self.now());
        } else {
            lease.entry = entry.clone();
            change.put(entry);
        }
        if let Err(error) = self.0.queue.settle(lease, change).await {
            tracing::error!(%id, %error, "a superseded entry could not be settled; delivery will drop it");
            return None;
        }
        let instance = instance.map_or_else(String::new, |rid| format!(" of instance {rid}"));
        Some(format!("version {older}{instance} for {}: not sent, version {version} takes its place (entry {id})", names(&users)))
    }

    /// An entry that was there before the program started may have been in hand when it died: those people may have what it
    /// carried, and a CANCEL is for them too. The caller holds the event's lock.
    fn may_have_it(&self, entry: &Entry, keys: &HashSet<String>, change: &mut crate::queue::Change) -> Result<(), LedgerError> {
        let (Some(event), false, true) = (&entry.event_id, entry.cancel, self.0.queue.restored(entry)) else { return Ok(()) };
        for recipient in entry.pending().filter(|r| keys.contains(&r.original.key())) {
            let user = recipient.visited.first().unwrap_or(&recipient.user);
            let Some(mut person) = self.0.ledger.person(event, user)?.filter(|person| person.route.is_none()) else { continue };
            person.route = Some(Route::Uncertain);
            self.0.ledger.put_person(change.batch_mut(), &person)?;
        }
        Ok(())
    }
}
