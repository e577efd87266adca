//! The one door in: policy, loops, versions, who gets what, and one durable commit.
//!
//! Every listener ends here, by [`CipDoor`](crate::listen::CipDoor) or [`MailDoor`](crate::listen::MailDoor). Whatever
//! came in by either is reduced to one of three things: an event for some people (`place_event`), an
//! answer of one person (`answers`), or a message to be passed on (`pass_on`). Each is placed by one commit that holds
//! the entries, their body and the ledger's records together.
//!
//! Invariants: a positive answer is given only after that commit; an entry of lower standing than the ledger's record of
//! the event is held and changes nothing; each recipient is placed at most once per version; an event's records are
//! read and written under its lock.

mod answers;
mod bounces;
mod cip;
mod events;
mod keeper;
mod loops;
mod mail;
mod members;
mod refresh;
mod refusals;
pub(crate) mod release;
mod times;
mod watch;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::clock::{Clock, Timestamp};
use crate::config::{Config, Deliver};
use crate::freebusy::FreeBusy;
use crate::ident::{EntryId, EventId, ServerId, UserId};
use crate::ledger::{Ledger, LedgerError};
use crate::logbook;
use crate::policy::authenticity::Authenticator;
use crate::policy::credentials::Credentials;
use crate::policy::directory::{Directory, Whereabouts};
use crate::policy::standing::Standings;
use crate::queue::entry::{BodyKind, BodyRef, Destination, Entry, Origin, Recipient, State, Verb};
use crate::queue::{Queue, QueueError};
use crate::store::CommitError;

/// Held entries of one event, and of strangers' events in all: beyond that nothing more is held but refused, since nobody could
/// look through it.
const HELD: usize = 20;
const HELD_IN_ALL: usize = 10_000;
/// Passwords verified at a time.
const LOGINS: usize = 4;

/// Why something could not be placed. All but [`IntakeError::is_permanent`] are temporary: the sender keeps it and tries again.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl IntakeError {
    /// The store would refuse the same again: the sender must change it.
    fn is_permanent(&self) -> bool {
        matches!(self, Self::Commit(CommitError::Refused(_)) | Self::Queue(QueueError::Commit(CommitError::Refused(_))))
    }
}

/// The parts of the relay that the door stands between. Clones share one state.
#[derive(Clone)]
pub struct Intake(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    queue: Queue,
    ledger: Ledger,
    directory: Directory,
    credentials: RwLock<Arc<Credentials>>,
    standings: Standings,
    authenticator: Authenticator,
    free_busy: FreeBusy,
    clock: Arc<dyn Clock>,
    closing: AtomicBool,
    logins: Semaphore,
    strangers: watch::Strangers,
    passed: watch::Passed,
}

/// What an entry is held for.
struct HeldFor<'a> {
    event: &'a EventId,
    rid: Option<&'a str>,
    verb: Verb,
    /// The original recipient, or the attendee who answers.
    who: &'a UserId,
    version: u32,
    /// Of the sender: the same from someone who is better known is worth another look.
    standing: u8,
}

/// One person who is to receive an event.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// After unwrapping a gateway address and local aliases.
    pub user: UserId,
    /// As the sender wrote it.
    pub original: UserId,
    pub destination: Destination,
    pub gateway: bool,
}

impl Target {
    fn recipient(&self) -> Recipient {
        Recipient::new(self.user.clone(), self.original.clone(), self.gateway)
    }
}

impl Intake {
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        config: Arc<Config>,
        queue: Queue,
        ledger: Ledger,
        directory: Directory,
        credentials: Credentials,
        standings: Standings,
        authenticator: Authenticator,
        free_busy: FreeBusy,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self(Arc::new(Inner {
            config,
            queue,
            ledger,
            directory,
            credentials: RwLock::new(Arc::new(credentials)),
            standings,
            authenticator,
            free_busy,
            clock,
            closing: AtomicBool::new(false),
            logins: Semaphore::new(LOGINS),
            strangers: watch::Strangers::default(),
            passed: watch::Passed::default(),
        }))
    }

    /// From now on nothing new is accepted.
    pub fn close(&self) {
        self.0.closing.store(true, Ordering::SeqCst);
    }

    /// The credentials file was read anew.
    pub fn set_credentials(&self, credentials: Credentials) {
        *self.0.credentials.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(credentials);
    }

    fn credentials(&self) -> Arc<Credentials> {
        self.0.credentials.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn open(&self) -> Result<(), String> {
        if self.0.closing.load(Ordering::SeqCst) {
            return Err("the relay is shutting down".to_owned());
        }
        self.0.queue.store().ready()
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Server-ids that this relay answers for.
    fn ours(&self, server: &ServerId) -> bool {
        self.0.config.is_own_name(server.as_str()) || self.0.directory.is_local(server)
    }

    /// Where a known local or remote user is reached.
    fn destination_of(&self, user: &UserId) -> Destination {
        match self.0.directory.find(user) {
            Whereabouts::Here { deliver: Deliver::Mail, user } => Destination::Mail(user.server().clone()),
            _ => Destination::Cip(user.server().clone()),
        }
    }

    /// The entry in which the same octets are held already, for the same person in the same version (0: none).
    fn held_before(&self, person: &HeldFor<'_>, kind: BodyKind, octets: &[u8]) -> Result<bool, QueueError> {
        for (id, version) in self.0.queue.waiting(person.event, person.rid, person.verb, person.who)? {
            if version != person.version {
                continue;
            }
            let Some(entry) = self.0.queue.load(id)? else { continue };
            let same = entry.state == State::Held
                && entry.origin.standing == person.standing
                && entry.body.kind == kind
                && entry.body.size == octets.len() as u64;
            if same && self.0.queue.body(&entry.body)? == octets {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether one more of this event may be held.
    fn may_hold(&self, event: &EventId, standing: u8) -> Result<bool, QueueError> {
        if standing < 2 && self.0.queue.counts().held >= HELD_IN_ALL {
            return Ok(false);
        }
        Ok(self.0.queue.held_of(event)? < HELD)
    }

    /// An entry with everything that does not depend on what it carries.
    fn entry(&self, verb: Verb, destination: Destination, recipients: Vec<Recipient>, origin: Origin, body: BodyRef) -> Entry {
        let now = self.now();
        let expires = now.after(self.0.config.delivery.expire_after.0);
        Entry::new(self.0.queue.next_id(), verb, destination, recipients, origin, body, now, expires)
    }

    /// Puts a message in the queue that is passed on octet for octet, one entry per destination.
    pub(crate) async fn pass_on(
        &self,
        people: Vec<Target>,
        origin: &Origin,
        message: &[u8],
        why: &str,
    ) -> Result<Vec<EntryId>, IntakeError> {
        let groups = group(people);
        let mut change = self.0.queue.change();
        let refs = u32::try_from(groups.len()).unwrap_or(u32::MAX);
        if refs == 0 {
            return Ok(Vec::new());
        }
        let body = change.add_body(BodyKind::Message, message, refs);
        let now = self.now();
        let mut placed = Vec::new();
        for (destination, people) in groups {
            let recipients = people.iter().map(Target::recipient).collect();
            let mut entry = self.entry(Verb::Mail, destination, recipients, origin.clone(), body);
            entry.deadline = first_deadline(&entry, &self.0.config);
            entry.note(now, format!("accepted by {}: {why}", via_words(origin)));
            change.put(entry.clone());
            placed.push(entry);
        }
        self.0.queue.commit(change).await?;
        placed.iter().for_each(logbook::accepted);
        Ok(placed.iter().map(|e| e.id).collect())
    }
}

/// By destination, in the order of first appearance.
pub(crate) fn group(people: Vec<Target>) -> Vec<(Destination, Vec<Target>)> {
    let mut groups: Vec<(Destination, Vec<Target>)> = Vec::new();
    let mut index = std::collections::HashMap::new();
    for target in people {
        let at = *index.entry(target.destination.key()).or_insert_with(|| {
            groups.push((target.destination.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(target);
    }
    groups
}

/// How long CIP is tried before e-mail (profile 7): `cip-patience`, and for an event that lies ahead at most a quarter
/// of the time until it starts.
pub(crate) fn patience(entry: &Entry, config: &Config) -> Duration {
    let configured = config.delivery.cip_patience.0;
    match entry.event_start {
        Some(start) if start > entry.received => configured.min(start.since(entry.received) / 4),
        _ => configured,
    }
}

/// When an entry wants attention besides its next attempt: the end of patience, the delay warning, its expiry.
pub(crate) fn first_deadline(entry: &Entry, config: &Config) -> Timestamp {
    let mut deadline = entry.expires;
    if !entry.warned && entry.verb != Verb::Report {
        deadline = deadline.min(entry.received.after(config.delivery.warn_after.0));
    }
    if matches!(entry.destination, Destination::Cip(_)) {
        deadline = deadline.min(entry.received.after(patience(entry, config)));
    }
    deadline
}

/// `CIP from 192.0.2.1 (jumbo.com), standing 3`, for a history.
pub(crate) fn via_words(origin: &Origin) -> String {
    let mut text = format!("{:?}", origin.via).to_lowercase();
    if let Some(peer) = &origin.peer {
        text.push_str(" from ");
        text.push_str(peer);
    }
    if let Some(identity) = &origin.identity {
        text.push_str(&format!(" ({identity})"));
    }
    text.push_str(&format!(", standing {}", origin.standing));
    text
}
