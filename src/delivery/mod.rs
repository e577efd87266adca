//! The worker pool: claims what is due, hands it to a courier, and settles what became of it.
//!
//! Only this module settles entries. One attempt is: look whether the entry is still wanted (`wanted`), whether a deadline has
//! passed (`deadlines`), build what goes out (`prepare`), let the courier carry it (`attempt`), and commit the outcome
//! (`settle`), which also files the reports. The couriers know transports, the queue knows durability; what an outcome
//! means for a recipient is decided here and nowhere else.
//!
//! Invariants: the outcome of an attempt is on disk before the entry is scheduled again; an entry that is dropped
//! half-way (panic, shutdown) goes back to the queue unchanged; a down destination costs one probe at a time; e-mail
//! replaces CIP only by the rules of profile 7, and never for a DNS failure.

mod answers;
mod attempt;
pub mod health;
pub(crate) mod known;
mod moves;
mod objects;
mod prepare;
mod report;
mod seat;
mod settle;
mod told;
pub mod verdict;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Deliver, RouteRule};
use crate::courier::cip::CipCourier;
use crate::courier::mail::MailCourier;
use crate::ident::{EntryId, EventId, ServerId, UserId};
use crate::imip::address::{Kind, Token};
use crate::ledger::records::Route;
use crate::ledger::{Ledger, LedgerError};
use crate::logbook;
use crate::policy::directory::{Directory, Whereabouts};
use crate::queue::entry::{Destination, Entry, Recipient, State, Status, Verb};
use crate::queue::{Lease, Queue, QueueError, Why};
use crate::retry;
use crate::store::CommitError;
use health::{Failing, Health, Trouble};
use seat::{Seat, Seats};

/// How long a shutdown waits for attempts in hand.
pub const SHUTDOWN: Duration = Duration::from_secs(10);
/// An attempt that takes longer waits for its peer, and needs no worker for that. Short, since until then a black hole has
/// one of the workers that others wait for.
const SILENT: Duration = Duration::from_millis(50);
/// How long a newer version waits for an older one that is in flight.
const OVERTAKE: Duration = Duration::from_secs(300);
/// Recipients to whom composed mail goes in one attempt; the rest follow at once, so that a crash repeats few.
const MAILS_A_TURN: usize = 50;

#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// The delivery side of the relay. Clones share one state.
#[derive(Clone)]
pub struct Delivery(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    queue: Queue,
    ledger: Ledger,
    directory: Directory,
    cip: CipCourier,
    mail: MailCourier,
    clock: Arc<dyn Clock>,
    health: Health,
    secret: [u8; 32],
    random: Mutex<StdRng>,
}

/// What is to become of one recipient after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Delivered {
        status: Status,
        said: String,
    },
    Later {
        said: String,
    },
    /// On by e-mail to the same address.
    ByMail {
        why: String,
    },
    /// An RSVP: on to the server of the event-id.
    ToServer {
        server: ServerId,
        why: String,
    },
    /// `known`: by the ledger or the configuration, not by a server just now.
    Moved {
        new: UserId,
        known: bool,
    },
    EventMoved {
        new: EventId,
        known: bool,
    },
    Failed {
        status: Status,
        why: String,
    },
    /// A newer version takes its place, or nothing needs to be said any more.
    Pointless {
        why: String,
    },
}

/// What an attempt said of its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hop {
    Up,
    /// There is no CIP server to wait for.
    NoCip,
    Down {
        trouble: Trouble,
        detail: String,
    },
    Unknown,
}

/// The outcome of one attempt.
#[expect(clippy::struct_excessive_bools, reason = "facts about one attempt, independent of each other")]
struct Outcome {
    /// For each recipient by his place in the entry.
    fates: Vec<(usize, Fate)>,
    hop: Hop,
    notes: Vec<String>,
    uncertain: bool,
    /// A peer was reached out to.
    attempted: bool,
    /// Cannot be prepared: to be looked at by the administrator.
    hold: Option<String>,
    /// The originator is to hear that it takes long.
    warn: bool,
    /// There are recipients who were not tried in this turn.
    again: bool,
}

impl Outcome {
    fn new() -> Self {
        Self {
            fates: Vec::new(),
            hop: Hop::Unknown,
            notes: Vec::new(),
            uncertain: false,
            attempted: false,
            hold: None,
            warn: false,
            again: false,
        }
    }

    /// The same fate for everybody who is pending.
    fn all(entry: &Entry, fate: &Fate) -> Self {
        let mut outcome = Self::new();
        outcome.fates = pending(entry).map(|n| (n, fate.clone())).collect();
        outcome
    }
}

/// Whom an entry is about: the attendee who answers, or those who are still to get it.
fn concerned(entry: &Entry) -> Vec<&UserId> {
    match &entry.answer {
        Some(answering) => vec![&answering.attendee],
        None => entry.pending().map(|r| &r.original).collect(),
    }
}

/// The places of the recipients for whom something is still to be done.
fn pending(entry: &Entry) -> impl Iterator<Item = usize> + '_ {
    entry.recipients.iter().enumerate().filter(|(_, r)| !r.status.settled()).map(|(n, _)| n)
}

/// Under which address the ledger keeps a recipient: the one before any redirect.
fn ledger_user(recipient: &Recipient) -> &UserId {
    recipient.visited.first().unwrap_or(&recipient.user)
}

/// Under which id the ledger keeps an entry's event: the one before any redirect.
fn ledger_event(entry: &Entry) -> Option<&EventId> {
    entry.moved_from.first().or(entry.event_id.as_ref())
}

impl Delivery {
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        config: Arc<Config>,
        queue: Queue,
        ledger: Ledger,
        directory: Directory,
        cip: CipCourier,
        mail: MailCourier,
        clock: Arc<dyn Clock>,
        secret: [u8; 32],
    ) -> Self {
        let random = Mutex::new(StdRng::from_os_rng());
        Self(Arc::new(Inner { config, queue, ledger, directory, cip, mail, clock, health: Health::default(), secret, random }))
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Every failing destination by its key, for the administrator.
    pub fn failing(&self) -> Vec<(String, Failing)> {
        self.0.health.all()
    }

    /// Works until `shutdown` turns true, then lets what is in hand finish within [`SHUTDOWN`].
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let workers = self.0.config.delivery.workers;
        let seats = Seats::new(workers);
        // The other half is for those that answer.
        self.0.queue.set_trials(workers / 2);
        let mut tasks = JoinSet::new();
        while !*shutdown.borrow() {
            while let Some(done) = tasks.try_join_next() {
                if let Err(error) = done {
                    tracing::error!(%error, "a delivery worker failed; its entry goes back to the queue");
                }
            }
            let changed = self.0.queue.changed();
            // All of them may be busy with a peer that keeps them waiting: no reason to miss the shutdown.
            let seat = tokio::select! {
                seat = seats.take() => seat,
                _ = shutdown.changed() => break,
            };
            let Some(seat) = seat else { break };
            if let Some(lease) = self.0.queue.next(self.now()) {
                tasks.spawn(self.clone().work(lease, seat));
                continue;
            }
            drop(seat);
            let wake = self.0.queue.next_wake();
            tokio::select! {
                () = changed => {}
                () = async { match wake { Some(at) => self.0.clock.sleep_until(at).await, None => std::future::pending().await } } => {}
                _ = shutdown.changed() => {}
            }
        }
        let finish = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN, finish).await.is_err() {
            tracing::warn!("attempts in hand did not end in time; their entries stay in the queue");
        }
    }

    async fn work(self, lease: Lease, seat: Seat) {
        let (id, size) = (lease.entry.id, lease.entry.body.size);
        let seat = Arc::new(seat);
        // A task of its own, so that a panic is seen here; a set, so that it ends with this one.
        let mut task = JoinSet::new();
        let (this, own) = (self.clone(), seat.clone());
        task.spawn(async move { this.process(lease, &own).await });
        let mut done = tokio::select! {
            done = task.join_next() => Some(done),
            () = tokio::time::sleep(SILENT) => None,
        };
        if done.is_none() && seat.stand_aside(size) {
            self.0.queue.aside(id);
        }
        let done = match done.take() {
            Some(done) => done,
            None => task.join_next().await,
        };
        match done {
            Some(Ok(Ok(()))) | None => {}
            Some(Ok(Err(DeliveryError::Commit(error)))) => {
                tracing::error!(%id, %error, "an outcome could not be stored; the entry stays in the queue");
                // A store that fails now would fail again at once.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            // A record that cannot be read today cannot be read at the next attempt either.
            Some(Ok(Err(error))) => self.hold(id, &format!("cannot be worked on: {error}")).await,
            Some(Err(error)) => {
                tracing::error!(%id, %error, "a defect in delivery; the entry is held");
                self.hold(id, "a defect in delivery, see the log; release it after an update").await;
            }
        }
    }

    /// Takes an entry out of delivery until the administrator has looked at it.
    async fn hold(&self, id: EntryId, reason: &str) {
        let Some(lease) = self.0.queue.take(id, SHUTDOWN).await else { return };
        let mut entry = lease.entry.clone();
        entry.state = State::Held;
        reason.clone_into(&mut entry.reason);
        entry.note(self.now(), format!("held: {reason}"));
        logbook::held(&entry);
        let mut change = self.0.queue.change();
        change.put(entry);
        if let Err(error) = self.0.queue.settle(lease, change).await {
            tracing::error!(%id, %error, "the entry could not be held");
        }
    }

    async fn process(&self, lease: Lease, seat: &Seat) -> Result<(), DeliveryError> {
        let now = self.now();
        self.wait_for_older(&lease.entry).await?;
        let beforehand = self.beforehand(&lease.entry)?;
        if !beforehand.fates.is_empty() {
            // Those who are left are handed out again at once, in an entry of their own kind.
            return self.settle(lease, beforehand, seat).await;
        }
        let warn = !lease.entry.warned
            && lease.entry.verb != Verb::Report
            && now >= lease.entry.received.after(self.0.config.delivery.warn_after.0);
        if let Some(outcome) = self.deadlines(&lease) {
            return self.settle(lease, Outcome { warn, ..outcome }, seat).await;
        }
        let moved = self.known_moves(&lease.entry)?;
        if !moved.fates.is_empty() {
            // Those who stay are tried in the next turn, which is at once.
            return self.settle(lease, Outcome { warn, ..moved }, seat).await;
        }
        if let Some(outcome) = self.after_the_series(&lease.entry)? {
            return self.settle(lease, Outcome { warn, ..outcome }, seat).await;
        }
        let outcome = match lease.entry.destination {
            Destination::Cip(_) => self.attempt_cip(&lease.entry).await?,
            Destination::Mail(_) => self.attempt_mail(&lease.entry).await?,
        };
        self.settle(lease, Outcome { warn, ..outcome }, seat).await
    }

    /// What is decided without an attempt (bridge 3): a newer version takes its place, it cancels what never went out, or
    /// the event went to this person by e-mail before and goes on that way.
    fn beforehand(&self, entry: &Entry) -> Result<Outcome, DeliveryError> {
        let mut outcome = Outcome::new();
        let (Some(event), false) = (ledger_event(entry), entry.doubted) else { return Ok(outcome) };
        let rid = entry.recurrence_id.as_deref();
        for n in pending(entry) {
            let recipient = &entry.recipients[n];
            let why = match (entry.verb, entry.version, &entry.answer) {
                (Verb::SendEvent, Some(version), _) => {
                    let Some(person) = self.0.ledger.person(event, ledger_user(recipient))? else { continue };
                    match person.accepted_version(rid) {
                        Some(newer) if newer > version => format!("superseded by version {newer}"),
                        _ if self.replaced(entry, recipient)? => "superseded by the same version with other content".to_owned(),
                        _ if entry.cancel
                            && person.versions > 1
                            && person.route.is_none()
                            && self.older(entry, recipient)?.is_empty()
                            && self.of_the_series(entry, &recipient.original)?.is_empty() =>
                        {
                            "cancels what was never delivered: nothing needs to be said".to_owned()
                        }
                        _ if person.route == Some(Route::Mail)
                            && matches!(entry.destination, Destination::Cip(_))
                            && self.may_fall_back(entry) =>
                        {
                            let why = "the event went to this person by e-mail before".to_owned();
                            outcome.fates.push((n, Fate::ByMail { why }));
                            continue;
                        }
                        _ => continue,
                    }
                }
                (Verb::Rsvp, _, Some(answering)) if self.answered_since(event, entry, &answering.attendee)? => {
                    "superseded by a newer answer".to_owned()
                }
                _ => continue,
            };
            outcome.fates.push((n, Fate::Pointless { why }));
        }
        Ok(outcome)
    }

    /// Whether the attendee has given the same owner a newer answer to the same: the whole event, or that instance.
    fn answered_since(&self, event: &EventId, entry: &Entry, attendee: &UserId) -> Result<bool, DeliveryError> {
        let rid = entry.recurrence_id.as_deref();
        for (id, _) in self.0.queue.waiting(event, rid, Verb::Rsvp, attendee)? {
            let counts = |newer: &Entry| newer.state != State::Held && !newer.doubted && newer.owner == entry.owner;
            if id > entry.id && self.0.queue.load(id)?.as_ref().is_some_and(counts) {
                return Ok(true);
            }
        }
        // The newer one may be gone: this one was in flight when it came.
        let Some(record) = self.0.ledger.event(event)?.filter(|record| entry.owner.as_ref() == Some(&record.owner)) else {
            return Ok(false);
        };
        let person = self.0.ledger.person_at(&record.event_id, attendee)?;
        Ok(person.is_some_and(|p| p.answer(rid).is_some_and(|answer| answer.at > entry.received)))
    }

    /// For an entry about one instance: the earlier ones about the whole series that one person is still to get.
    fn of_the_series(&self, entry: &Entry, person: &UserId) -> Result<Vec<Entry>, DeliveryError> {
        let (Some(event), Some(_)) = (&entry.event_id, &entry.recurrence_id) else { return Ok(Vec::new()) };
        let mut series = Vec::new();
        for (id, _) in self.0.queue.waiting(event, None, entry.verb, person)? {
            if id < entry.id {
                series.extend(self.0.queue.load(id)?);
            }
        }
        let awaited = |r: &Recipient| entry.verb == Verb::Rsvp || r.original == *person;
        series.retain(|series| series.pending().any(awaited));
        Ok(series)
    }

    /// What is said of an instance goes out after what was said of its series before, or the series would undo it. `Some`:
    /// that settles this turn.
    fn after_the_series(&self, entry: &Entry) -> Result<Option<Outcome>, DeliveryError> {
        for person in concerned(entry) {
            if self.of_the_series(entry, person)?.iter().any(|series| series.state != State::Held) {
                let fate = Fate::Later { said: "waits for what was said of the whole series before".to_owned() };
                return Ok(Some(Outcome { attempted: true, ..Outcome::all(entry, &fate) }));
            }
        }
        Ok(None)
    }

    /// Whether the same version was accepted for this recipient once more since, with other content.
    fn replaced(&self, entry: &Entry, recipient: &Recipient) -> Result<bool, DeliveryError> {
        let (Some(event), Some(version), Verb::SendEvent, false) = (&entry.event_id, entry.version, entry.verb, entry.doubted) else {
            return Ok(false);
        };
        for (id, v) in self.0.queue.waiting(event, entry.recurrence_id.as_deref(), Verb::SendEvent, &recipient.original)? {
            // One that was split off from this one is no other.
            let newer = |newer: &Entry| {
                newer.state != State::Held && !newer.doubted && !settle::answers_question(newer) && newer.body.id != entry.body.id
            };
            if v == version && id > entry.id && self.0.queue.load(id)?.as_ref().is_some_and(newer) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Entries of older versions of the same event for the same recipient, and of the same one that came before.
    fn older(&self, entry: &Entry, recipient: &Recipient) -> Result<Vec<EntryId>, DeliveryError> {
        let (Some(event), Some(version), Verb::SendEvent) = (&entry.event_id, entry.version, entry.verb) else { return Ok(Vec::new()) };
        let waiting = self.0.queue.waiting(event, entry.recurrence_id.as_deref(), Verb::SendEvent, &recipient.original)?;
        Ok(waiting
            .into_iter()
            .filter(|(id, v)| *v < version && *id != entry.id || *v == version && *id < entry.id)
            .map(|(id, _)| id)
            .collect())
    }

    /// An older version that is in flight goes first, so that a CANCEL never overtakes its invitation, nor an answer the one
    /// that it takes back. Only what is newer waits for what is older, so that no two entries wait for each other.
    async fn wait_for_older(&self, entry: &Entry) -> Result<(), DeliveryError> {
        let mut older = Vec::new();
        for n in pending(entry) {
            older.extend(self.older(entry, &entry.recipients[n])?);
        }
        if let (Verb::Rsvp, Some(event), Some(answering)) = (entry.verb, &entry.event_id, &entry.answer) {
            let waiting = self.0.queue.waiting(event, entry.recurrence_id.as_deref(), Verb::Rsvp, &answering.attendee)?;
            // The answers of one attendee are accepted one after the other: their ids are in their order.
            older.extend(waiting.into_iter().map(|(id, _)| id).filter(|id| *id < entry.id));
        }
        for person in concerned(entry) {
            older.extend(self.of_the_series(entry, person)?.iter().map(|series| series.id));
        }
        for id in older {
            if self.0.queue.load(id)?.is_some_and(|older| older.state == State::InFlight) {
                drop(self.0.queue.take(id, OVERTAKE).await);
            }
        }
        Ok(())
    }

    /// Expiry and the end of patience. `Some`: that settles this turn.
    fn deadlines(&self, lease: &Lease) -> Option<Outcome> {
        let now = self.now();
        let entry = &lease.entry;
        if now >= entry.expires || entry.attempts > 0 && entry.event_end.is_some_and(|end| end > entry.received && now >= end) {
            let last = if entry.reason.is_empty() { "it was never tried" } else { &entry.reason };
            let why = if now >= entry.expires { "not delivered in time" } else { "the event is over" };
            let fate = Fate::Failed { status: Status::Failed, why: format!("{why}: {last}") };
            return Some(Outcome::all(entry, &fate));
        }
        if lease.why == Why::Due {
            return None;
        }
        let down = self.0.health.failing(&entry.destination.key());
        if self.patience_is_over(entry, now) && (down.is_some() || entry.attempts > 0) {
            let dns = down.as_ref().is_some_and(|f| f.trouble == Trouble::Dns);
            if !dns {
                let why = down.map_or_else(|| entry.reason.clone(), |f| f.detail);
                return Some(Outcome::all(entry, &Fate::ByMail { why: format!("no CIP server reachable for too long: {why}") }));
            }
        }
        // Only the deadline moves; the attempt keeps its time.
        let said = entry.reason.clone();
        Some(Outcome::all(entry, &Fate::Later { said }))
    }

    /// CIP has had its time, and e-mail may take over (profile 7).
    fn patience_is_over(&self, entry: &Entry, now: Timestamp) -> bool {
        matches!(entry.destination, Destination::Cip(_))
            && self.may_fall_back(entry)
            && now >= entry.received.after(crate::intake::patience(entry, &self.0.config))
    }

    /// Whether e-mail may take the place of CIP at all.
    fn may_fall_back(&self, entry: &Entry) -> bool {
        let server = entry.destination.server();
        let forced = self.0.config.peer(server).is_some_and(|p| p.route == RouteRule::Cip);
        let own = self.0.config.local_domain(server).is_some_and(|d| d.deliver == Deliver::Cip);
        !forced && !own
    }

    fn wait(&self, failed: u32) -> Duration {
        let draw = self.0.random.lock().unwrap_or_else(PoisonError::into_inner).random();
        retry::wait(&self.0.config.delivery.retry, failed, draw)
    }

    /// Where a user is reached now.
    fn destination_of(&self, user: &UserId) -> Destination {
        match self.0.directory.find(user) {
            Whereabouts::Here { deliver: Deliver::Mail, user } => Destination::Mail(user.server().clone()),
            _ => Destination::Cip(user.server().clone()),
        }
    }

    fn token(&self, event: &EventId, counterpart: &UserId, holder: &UserId, kind: Kind) -> Token {
        Token::derive(&self.0.secret, event, counterpart, holder, kind)
    }
}

/// The state in which an entry waits for its time.
fn waiting_state(attempts: u32) -> State {
    if attempts == 0 { State::Due } else { State::Deferred }
}

fn log_delivered(entry: &Entry, recipient: &Recipient, status: Status, said: &str) {
    logbook::delivered(entry.id, &recipient.user, status.code(), said);
}
