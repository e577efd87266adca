//! The queue: what has been accepted and is not yet settled. It knows durability and time, and no protocol.
//!
//! # States of an entry
//!
//! | | state | where | how it is reached |
//! |---|---|---|---|
//! | S1 | absent | nowhere | before acceptance, and after settling |
//! | S2 | due | disk, and the due order | acceptance, release, a worker that gave its lease back |
//! | S3 | in flight | S2, S4 or S5 on disk; a [`Lease`] in memory | [`Queue::next`], [`Queue::take`] |
//! | S4 | deferred until a time | disk, and the due order | an attempt that is to be repeated |
//! | S5 | held | disk; in no order | policy or the administrator |
//! | S6 | quarantined | disk, octets as found; in no order | its record does not decode |
//!
//! S1 → S2: [`Queue::commit`] of a [`Change`] that holds the entries of one acceptance, their body and what the ledger
//! learns. **The commit instant is the return of the journal's sync in `store`; `OK` and `250` are said after it and for nothing
//! else.** S3 → S1, S2, S4, S5: [`Queue::settle`], again one commit: the outcome of an attempt is on disk before the entry
//! is scheduled again, and a report goes in with the same commit with which the entry it tells of goes out.
//!
//! # Invariants
//!
//! 1. A crash leaves every entry in S1, S2, S4, S5 or S6: being in flight is never written.
//! 2. An entry, its due record and its index records are written and removed together; its body lives until the last
//!    entry that refers to it is removed.
//! 3. An entry has at most one lease. A lease that is dropped, for whatever reason, puts the entry back as it was.
//! 4. Memory follows the disk: the due order changes in the committer's thread after the sync, also when the caller has
//!    gone away meanwhile.
//! 5. While the store cannot write, nothing is handed out: an attempt whose outcome cannot be recorded would be repeated.
//! 6. An id is never given to two entries, also when the clock went back: what is committed raises a high-water mark in
//!    the same batch. (An id that was handed out and never committed names nothing.)
//! 7. Nothing is thrown away because it does not decode: it goes to quarantine as it is and is listed.
//!
//! # Why duplicates remain
//!
//! Between the peer's last word and the commit of the outcome a crash makes the relay forget the attempt; it will be made
//! again. The peer sees the same object with the same UID and version, or the same Message-ID, and can tell. The other
//! order, recording before sending, would lose instead of repeat.

mod admin;
mod change;
pub mod due;
pub mod entry;
mod gate;
mod lease;
mod record;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::clock::{Clock, Timestamp};
use crate::ident::{EntryId, EventId, UserId};
use crate::store::{CommitError, ReadError, Store, keys};

pub(crate) use admin::glob;
pub use admin::{Check, Entries, Filter, ImportError, Quarantined};
pub use change::Change;
pub use due::{AGES, Counts, Health, Summary, Why};
pub use lease::Lease;

use due::Due;
use entry::{BodyRef, Destination, Entry, State, Verb};
use gate::{Gate, Waited};
use record::DueRecord;

/// What goes wrong with the queue itself.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the body of the entry ({0}) is not in the store: it was removed, or the store has lost it")]
    NoBody(EntryId),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// The queue. Clones are the same queue.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    due: Mutex<Due>,
    /// The last id handed out.
    last_id: AtomicU64,
    /// Ids up to here need no new high-water mark.
    reserved: AtomicU64,
    /// Ids up to here were given before this start.
    restored: u64,
    gate: Gate,
    /// Something may have become due, or come off its flight.
    changed: Notify,
}

/// How far ahead of the ids in use the high-water mark is set: a minute's worth, so that it is written once a minute.
const RESERVE: u64 = 60_000 << EntryId::COUNTER_BITS;
/// How long an entry waits whose outcome could not be recorded.
const UNRECORDED: Duration = Duration::from_mins(1);
/// How often a store that cannot write is asked again.
const NOT_WRITABLE: Duration = Duration::from_secs(2);

impl Queue {
    /// Opens the queue in a store. Reads the due records, no entries and no bodies. `per_destination`: entries in flight for one
    /// destination.
    pub fn open(store: Store, clock: Arc<dyn Clock>, per_destination: usize) -> Result<Self, QueueError> {
        let mut due = Due::new(per_destination);
        let mut last_id = store.number(keys::HIGH_WATER)?;
        let mut damaged = Vec::new();
        for row in store.iter(keys::DUE) {
            let (key, record) = row?;
            let Some(id) = keys::id_of(&key) else { continue };
            last_id = last_id.max(id.raw());
            match DueRecord::decode(&record) {
                Ok(record) => due.put(id, record.facts()),
                Err(error) => damaged.push((id, error)),
            }
        }
        let inner = Inner {
            store,
            clock,
            due: Mutex::new(due),
            last_id: AtomicU64::new(last_id),
            reserved: AtomicU64::new(last_id),
            restored: last_id,
            gate: Gate::default(),
            changed: Notify::new(),
        };
        let queue = Self(Arc::new(inner));
        for (id, error) in damaged {
            tracing::error!(entry = %id, %error, "the due record does not decode; it is made again from the entry");
            queue.mend(id)?;
        }
        Ok(queue)
    }

    pub fn store(&self) -> &Store {
        &self.0.store
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// An id that has never been given out and never will be: the time, or one more than the last.
    pub fn next_id(&self) -> EntryId {
        let ms = self.0.clock.now().millis().saturating_sub(EntryId::EPOCH_MS);
        let time = EntryId::from_raw(ms << EntryId::COUNTER_BITS).raw();
        let last = self.0.last_id.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(time.max(last + 1)));
        // The update never declines, so both arms hold the value before it.
        let last = last.unwrap_or_else(|last| last);
        EntryId::from_raw(time.max(last + 1))
    }

    /// Whether the entry, or the one that it was split off from, is of before this start. An attempt in hand when the program
    /// died leaves no mark: its peer may have what such an entry carries.
    pub fn restored(&self, entry: &Entry) -> bool {
        entry.id.raw() <= self.0.restored || entry.parent.is_some_and(|parent| parent.raw() <= self.0.restored)
    }

    /// Hands out nothing up to this id any more: it has come from elsewhere.
    fn skip_to(&self, id: EntryId) {
        self.0.last_id.fetch_max(id.raw(), Ordering::SeqCst);
    }

    /// A transaction to fill.
    pub fn change(&self) -> Change {
        Change::new(self.clone())
    }

    /// One durable commit; then the due order follows. When this returns `Ok`, everything in it survives a power cut.
    pub async fn commit(&self, change: Change) -> Result<(), CommitError> {
        let _passage = self.0.gate.pass(Waited::For).await;
        let (batch, then) = change.finish(None);
        self.0.store.commit_then(batch, Some(then)).await
    }

    /// Ends a lease with what has become of the entry: put again in its new state, removed, or neither (it is then back as
    /// it was). When the commit fails, the entry is back as well, but due only after a minute; when it was refused
    /// ([`CommitError::Refused`]: too large), it is held until the next start, since the same attempt would be made for ever.
    pub async fn settle(&self, lease: Lease, change: Change) -> Result<(), CommitError> {
        let _passage = self.0.gate.pass(Waited::Not).await;
        let (batch, then) = change.finish(Some(lease));
        self.0.store.commit_then(batch, Some(then)).await
    }

    /// The octets of a body.
    pub fn body(&self, body: &BodyRef) -> Result<Vec<u8>, QueueError> {
        self.0.store.body(body.id)?.ok_or(QueueError::NoBody(body.id))
    }

    /// An entry with its state of this moment. What does not decode goes to quarantine and is then "not there".
    pub fn load(&self, id: EntryId) -> Result<Option<Entry>, QueueError> {
        let Some(record) = self.0.store.get(&keys::by_id(keys::ENTRY, id))? else { return Ok(None) };
        Ok(self.decode(id, &record))
    }

    /// The next entry to work on. `None`: nothing is due, or the store cannot write just now.
    pub fn next(&self, now: Timestamp) -> Option<Lease> {
        self.0.store.writable().ok()?;
        loop {
            let (id, why) = self.due().next(now)?;
            if let Some(lease) = self.lease(id, why) {
                return Some(lease);
            }
        }
    }

    /// When [`Queue::next`] will have something, if nothing changes before.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let at = self.due().next_wake()?;
        if self.0.store.writable().is_ok() { Some(at) } else { Some(at.max(self.0.clock.now().after(NOT_WRITABLE))) }
    }

    /// Completes when something may have become due. Made before a call to [`Queue::next`], it misses nothing that
    /// happens after that call.
    pub fn changed(&self) -> Notified<'_> {
        self.0.changed.notified()
    }

    /// Takes this entry, whatever its state; waits up to `patience` (of the machine's time) while it is in flight. `None`:
    /// no such entry, or still in flight.
    pub async fn take(&self, id: EntryId, patience: Duration) -> Option<Lease> {
        let attempt = async {
            loop {
                let changed = self.changed();
                {
                    let mut due = self.due();
                    due.state(id)?;
                    if due.take(id).is_some() {
                        break;
                    }
                }
                changed.await;
            }
            self.lease(id, Why::Taken)
        };
        tokio::time::timeout(patience, attempt).await.ok().flatten()
    }

    /// This hop does not answer: nothing is handed out for it, and its entries stay as they are, until [`Queue::hop_up`];
    /// with `probe`, one entry at a time is handed out from `until` on, to try it. Deadlines are not affected.
    pub fn hop_down(&self, hop: &Destination, until: Timestamp, probe: bool) {
        self.due().hop_down(hop, self.0.clock.now(), until, probe);
        self.0.changed.notify_waiters();
    }

    /// This hop answers: whatever was deferred only for it (`waits_for_hop`) is due at once.
    pub fn hop_up(&self, hop: &Destination) {
        self.due().hop_up(hop);
        self.0.changed.notify_waiters();
    }

    /// How many entries may be attempted at a time for destinations that have not answered yet, or not since they failed.
    pub fn set_trials(&self, trials: usize) {
        self.due().set_trials(trials);
        self.0.changed.notify_waiters();
    }

    /// The attempt at an entry in flight waits for a silent peer and occupies no worker.
    pub fn aside(&self, id: EntryId) {
        self.due().aside(id);
        self.0.changed.notify_waiters();
    }

    /// The attempt at an entry in flight is over and its outcome is about to be settled: its destination has room again.
    pub fn attempted(&self, id: EntryId) {
        self.due().attempted(id);
        self.0.changed.notify_waiters();
    }

    pub fn health(&self, hop: &Destination) -> Health {
        self.due().health(hop)
    }

    /// A new limit of entries in flight for one destination.
    pub fn set_per_destination(&self, limit: usize) {
        self.due().set_limit(limit);
        self.0.changed.notify_waiters();
    }

    /// Which entries wait for this event, instance, verb and original recipient (for an RSVP: attendee), with their
    /// versions (0: none); also those in flight or held (bridge 3).
    pub fn waiting(
        &self,
        event: &EventId,
        recurrence_id: Option<&str>,
        verb: Verb,
        original: &UserId,
    ) -> Result<Vec<(EntryId, u32)>, QueueError> {
        let prefix = record::index_prefix(event, recurrence_id, verb, original);
        let rows: Result<Vec<_>, ReadError> = self.0.store.iter(&prefix).collect();
        Ok(rows?.iter().filter_map(|(key, record)| record::read_index(key, record)).collect())
    }

    /// How many entries of this event are held.
    pub fn held_of(&self, event: &EventId) -> Result<usize, QueueError> {
        let prefix = record::held_prefix(event);
        let rows: Result<Vec<_>, ReadError> = self.0.store.iter(&prefix).collect();
        let rows = rows?;
        let due = self.due();
        let ids = rows.iter().filter_map(|(key, record)| record::read_index(key, record));
        Ok(ids.filter(|(id, _)| due.durable_state(*id) == Some(State::Held)).count())
    }

    /// How many entries are in which state.
    pub fn counts(&self) -> Counts {
        self.due().counts()
    }

    /// Destinations against the age of what waits for them, without reading entries.
    pub fn summary(&self) -> Vec<Summary> {
        let now = self.0.clock.now();
        self.due().summary(now)
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.0.due()
    }

    /// The lease of an entry that was just marked as in flight.
    fn lease(&self, id: EntryId, why: Why) -> Option<Lease> {
        match self.load(id) {
            Ok(Some(entry)) => Some(Lease::new(self.clone(), entry, why)),
            // Quarantined by `load`, or removed behind the order's back.
            Ok(None) => {
                self.due().remove(id);
                None
            }
            Err(error) => {
                tracing::error!(entry = %id, %error, "the entry cannot be read; tried again in a minute");
                self.0.land_later(id);
                None
            }
        }
    }

    fn decode(&self, id: EntryId, octets: &[u8]) -> Option<Entry> {
        match record::decode_entry(octets) {
            Ok(mut entry) if entry.id == id => {
                if self.due().state(id) == Some(State::InFlight) {
                    entry.state = State::InFlight;
                }
                Some(entry)
            }
            Ok(entry) => {
                self.quarantine_entry(id, octets, &format!("the record under this id is that of entry {}", entry.id));
                None
            }
            Err(error) => {
                self.quarantine_entry(id, octets, &error.to_string());
                None
            }
        }
    }
}

impl Inner {
    fn due(&self) -> MutexGuard<'_, Due> {
        // A panic inside the order would be a defect; what it holds is rebuilt from disk at the next start, and until then
        // going on serves better than refusing everything.
        self.due.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn land_later(&self, id: EntryId) {
        let mut due = self.due();
        due.land(id);
        due.postpone(id, self.clock.now().after(UNRECORDED));
    }
}

#[cfg(test)]
mod tests;
