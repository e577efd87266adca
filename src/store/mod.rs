//! What is on disk and how it stays there: one embedded database, one writer, one commit instant.
//!
//! Everything durable goes through [`Store::commit`]: a [`Batch`] of puts, deletes and reference changes that is on
//! disk, flushed, and proof against a power cut when the call returns `Ok`. One committer takes all batches that wait,
//! writes them to the [`journal`] as one and syncs once, so that many sessions share the cost of a sync. What has gathered
//! there is worked into the database later, many at a time; what came and went in between never gets there. Until then
//! it is read from memory ([`pending`]).
//!
//! Invariants
//! - Commit instant: [`journal::Journal::append`], and no other place, makes records durable.
//! - A batch is applied whole or not at all; batches are applied in the order in which they were handed over, and are read
//!   only when they are durable. An empty batch waits for all that was handed over earlier.
//! - At every moment the database with the journal worked in is the state that was last committed; opening a store
//!   works in what the journal holds, and does it again when that was cut off.
//! - What waits to be written is bounded ([`QUEUED`] batches, [`QUEUED_OCTETS`] octets); further callers wait.
//! - After a failed write or flush nothing is written any more until the process is started again, since neither the
//!   database nor the kernel can then say what is on disk ([`engine`]). Shortage of space is noticed before that happens:
//!   below `free_space_minimum`, with the room inside the file ([`room`]), new work is refused ([`Store::ready`]), below [`RESERVE`] nothing is written at all, and
//!   both recover by themselves when space returns.
//! - A store that was there and is now empty is never taken for a new one.
//!
//! Layout of the data directory: `queue/` (the database and the journal; `queue.begun/` while it is made; `compact.new/` and
//! `compact.old/` while it is compacted), `store-id`, `lock`, and `snap.*.bad` when a snapshot of the database's had to
//! be set aside.

mod batch;
mod body;
pub mod codec;
mod committer;
pub mod compact;
pub mod durable;
mod engine;
mod journal;
pub mod keys;
mod open;
mod pending;
mod room;
mod state;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::ident::EntryId;

pub use batch::{BATCH_MAX, Batch, KEY_MAX, VALUE_MAX};
pub use committer::Then;

/// A key and its value, as they are stored.
pub type Record = (Vec<u8>, Vec<u8>);

/// Batches that may wait for the committer.
pub const QUEUED: usize = 4096;
/// Octets that may wait for the committer.
pub const QUEUED_OCTETS: usize = 64 << 20;
/// Free space that is left alone whatever waits, or half of a smaller minimum: the database must never meet a full disk,
/// which would end it.
pub const RESERVE: u64 = 64 << 20;
/// A write that takes longer than this makes the store not ready.
const STALL_MS: u64 = 30_000;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Octets of the database's page cache.
    pub cache: u64,
    /// Open even where durable writes cannot be assured.
    pub unsafe_without_sync: bool,
    /// Octets of free space below which new work is refused; 0: no limit, and no reserve.
    pub free_space_minimum: u64,
    /// Octets from which on a database is compacted while it is opened, when little of it lives ([`compact`]); `None`:
    /// never.
    pub compact_from: Option<u64>,
    /// Octets of commits that the journal gathers before they are worked into the database, at least.
    pub gather: usize,
}

/// [`StoreOptions::gather`], unless a test wants another.
const GATHER: usize = 32 << 20;

impl Default for StoreOptions {
    fn default() -> Self {
        Self { cache: 64 << 20, unsafe_without_sync: false, free_space_minimum: 256 << 20, compact_from: None, gather: GATHER }
    }
}

impl From<&crate::config::Storage> for StoreOptions {
    fn from(storage: &crate::config::Storage) -> Self {
        Self {
            cache: storage.cache.0,
            unsafe_without_sync: storage.unsafe_without_sync,
            free_space_minimum: storage.free_space_minimum.0,
            ..Self::default()
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: the store is already open by another process; a running relay is asked through its control socket", .0.display())]
    Locked(PathBuf),
    #[error(transparent)]
    NotDurable(#[from] durable::NotDurable),
    #[error(
        "{}: the store is empty, but the file store-id beside it says that store {id} was here. A queue that has vanished is not taken \
         for a new one: put the directory queue/ back from where it went, or from a backup; to start empty on purpose, \
         remove the file store-id", .dir.display()
    )]
    Emptied { dir: PathBuf, id: String },
    #[error(
        "{}: the database holds {found}, but the file store-id beside it says {expected}: one of the two was brought from elsewhere. \
         Put the matching one back", .dir.display()
    )]
    Foreign { dir: PathBuf, expected: String, found: String },
    #[error(
        "{}: the database does not open: {why}. Keep a copy of the directory before anything else is tried; a backup of it, or an \
         export, can be brought back", .dir.display()
    )]
    Damaged { dir: PathBuf, why: String },
    #[error("{}: {what}: {why}", .path.display())]
    Io { path: PathBuf, what: &'static str, why: String },
}

/// Why a batch was not committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Nothing of it was written.
    #[error("the store takes no writes: {0}")]
    NotReady(String),
    /// Nothing of it was written, and never will be as it is.
    #[error("the batch cannot be stored: {0}")]
    Refused(String),
    /// It may be on disk or not; the next start decides. The store is broken until then.
    #[error("writing to the store failed: {0}")]
    Failed(String),
}

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading from the store failed: {0}")]
pub struct ReadError(pub String);

impl From<codec::CodecError> for ReadError {
    fn from(error: codec::CodecError) -> Self {
        Self(error.to_string())
    }
}

/// The store. Clones are the same store; the last one to go closes it, after all that was handed over is written.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    /// `None` only while closing.
    requests: Option<mpsc::Sender<Request>>,
    room: Arc<Semaphore>,
    committer: Option<JoinHandle<()>>,
}

use committer::{Committer, Request};
use journal::Journal;

/// What the committer and the callers share.
struct Shared {
    state: state::State,
    /// How often the journal was synced.
    flushes: AtomicU64,
    directory: PathBuf,
    id: String,
    free_space_minimum: u64,
    room: room::Room,
    broken: watch::Sender<Option<String>>,
    started: Instant,
    /// Milliseconds since `started`; 0: not writing.
    writing_since: AtomicU64,
}

impl Store {
    /// Opens the store in the data directory `dir`, or makes one where none has been.
    pub fn open(dir: &Path, options: &StoreOptions) -> Result<Self, OpenError> {
        let (engine, id) = open::open(dir, options)?;
        let journal = Journal::begin(&dir.join("queue"), 2 * options.gather as u64).map_err(|e| OpenError::Io {
            path: dir.join("queue"),
            what: "making the journal",
            why: e.to_string(),
        })?;
        let shared = Arc::new(Shared {
            state: state::State::new(engine),
            flushes: AtomicU64::new(0),
            directory: dir.to_owned(),
            id,
            free_space_minimum: options.free_space_minimum,
            room: room::Room::default(),
            broken: watch::Sender::new(None),
            started: Instant::now(),
            writing_since: AtomicU64::new(0),
        });
        shared.blob_alarm();
        let (requests, waiting) = mpsc::channel(QUEUED);
        let committer = Committer { shared: shared.clone(), journal, gather: options.gather, worker: None };
        let committer = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || committer.run(waiting))
            .map_err(|e| OpenError::Io { path: dir.to_owned(), what: "starting the committer", why: e.to_string() })?;
        let room = Arc::new(Semaphore::new(QUEUED_OCTETS));
        Ok(Self(Arc::new(Inner { shared, requests: Some(requests), room, committer: Some(committer) })))
    }

    /// Writes the batch. `Ok` means: on disk, flushed, survives a power cut. Dropping the future does not undo what was
    /// handed over.
    pub async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.commit_then(batch, None).await
    }

    /// The same; `then` runs when the outcome is known, before this returns and even if the caller has gone meanwhile. It
    /// is dropped, not run, when the caller goes before the batch is handed over.
    pub async fn commit_then(&self, batch: Batch, then: Option<Then>) -> Result<(), CommitError> {
        let refuse = |error: CommitError, then: Option<Then>| {
            let result = Err(error);
            if let Some(then) = then {
                then(&result);
            }
            result
        };
        if let Err(why) = batch.check() {
            return refuse(CommitError::Refused(why), then);
        }
        let octets = batch.octets();
        // A batch larger than all the room takes all of it.
        let share = u32::try_from(octets.min(QUEUED_OCTETS)).unwrap_or(u32::MAX);
        let (Ok(share), Some(sender)) = (self.0.room.clone().acquire_many_owned(share).await, &self.0.requests) else {
            return refuse(CommitError::NotReady("it is closing".to_owned()), then);
        };
        let Ok(slot) = sender.reserve().await else {
            return refuse(CommitError::NotReady("it is closing".to_owned()), then);
        };
        let (reply, outcome) = oneshot::channel();
        slot.send(Request { ops: batch.ops, octets, then, reply: Some(reply), _share: Some(share) });
        outcome.await.unwrap_or_else(|_| Err(CommitError::Failed("the committer has ended".to_owned())))
    }

    /// Hands the batch over without waiting for it: for what may as well be lost, or will be found again.
    pub fn submit(&self, batch: Batch) {
        if batch.check().is_err() {
            return;
        }
        if let Some(sender) = &self.0.requests {
            let octets = batch.octets();
            // Full: whoever needs it finds it again.
            let _ = sender.try_send(Request { ops: batch.ops, octets, then: None, reply: None, _share: None });
        }
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.shared.state.get(key)
    }

    /// Up to `limit` records whose keys begin with `prefix`, in key order, from the key `from` on (empty: from the first).
    /// To go on, give [`keys::after`] of the last key.
    pub fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Record>, ReadError> {
        self.0.shared.state.scan(prefix, from, limit)
    }

    /// All records of a kind, read in small portions.
    pub fn iter(&self, prefix: &[u8]) -> Records {
        Records { store: self.clone(), prefix: prefix.to_vec(), next: Some(Vec::new()), rows: Vec::new().into_iter() }
    }

    /// The same under the name that `queue export` uses: keys and values as they are stored.
    pub fn export_raw(&self, prefix: &[u8]) -> Records {
        self.iter(prefix)
    }

    /// A number written by [`Batch::raise`]; 0 when there is none.
    pub fn number(&self, key: &[u8]) -> Result<u64, ReadError> {
        self.0.shared.state.number(key)
    }

    /// A body; `None` when there is none of that id.
    pub fn body(&self, id: EntryId) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(record) = self.get(&keys::by_id(keys::BODY, id))? else { return Ok(None) };
        let (header, inline) = body::decode_header(&record)?;
        // Reserved as it is needed: the size in a damaged header proves nothing.
        let mut octets = Vec::new();
        body::unpack(inline, &mut octets)?;
        for n in 0..header.pieces {
            let piece = self.get(&keys::piece(id, n))?.ok_or_else(|| ReadError(format!("piece {n} of body {id} is missing")))?;
            body::decode_piece(&piece, &mut octets)?;
        }
        if octets.len() as u64 != header.size {
            return Err(ReadError(format!("body {id} has {} octets instead of {}", octets.len(), header.size)));
        }
        Ok(Some(octets))
    }

    /// References to a body; `None` when there is none of that id.
    pub fn body_refs(&self, id: EntryId) -> Result<Option<u32>, ReadError> {
        let Some(record) = self.get(&keys::by_id(keys::BODY, id))? else { return Ok(None) };
        Ok(Some(body::decode_header(&record)?.0.refs))
    }

    /// Whether new work may be taken; `Err` says why not, for the administrator and, shortened, for peers.
    pub fn ready(&self) -> Result<(), String> {
        self.0.shared.ready()
    }

    /// Whether what is in hand can be recorded: holds longer than [`Store::ready`] when space runs out.
    pub fn writable(&self) -> Result<(), String> {
        self.0.shared.writable()
    }

    /// Completes when a write has failed, with its words: nothing will be written until the process is started again.
    pub async fn broken(&self) -> String {
        let mut broken = self.0.shared.broken.subscribe();
        let why = broken.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => why,
            // The sender lives in `self`.
            None => std::future::pending().await,
        }
    }

    /// How often the disk was flushed since the store was opened.
    pub fn flushes(&self) -> u64 {
        self.0.shared.flushes.load(Ordering::Relaxed)
    }

    /// Octets of the database on disk.
    pub fn size(&self) -> u64 {
        self.0.shared.state.engine.size()
    }

    /// The id that this store was given when it was made.
    pub fn id(&self) -> &str {
        &self.0.shared.id
    }

    pub fn directory(&self) -> &Path {
        &self.0.shared.directory
    }
}

impl Shared {
    fn ready(self: &Arc<Self>) -> Result<(), String> {
        self.not_broken()?;
        let since = self.writing_since.load(Ordering::Relaxed);
        if since != 0 && self.elapsed_ms().saturating_sub(since) > STALL_MS {
            return Err(format!("a write to {} has taken more than {} s", self.directory.display(), STALL_MS / 1000));
        }
        let minimum = self.free_space_minimum;
        self.space(minimum, |free| room::enough(free, minimum, || room::inside(self)))
    }

    fn writable(&self) -> Result<(), String> {
        self.not_broken()?;
        let least = reserve(self.free_space_minimum);
        self.space(least, |free| free >= least)
    }

    fn not_broken(&self) -> Result<(), String> {
        match &*self.broken.borrow() {
            None => Ok(()),
            Some(why) => Err(format!("a write failed ({why}); what is on disk is known only after the relay is started again")),
        }
    }

    /// Runs what may take long; while it does, [`Shared::ready`] counts the time.
    fn writing<T>(&self, work: impl FnOnce() -> T) -> T {
        self.writing_since.store(self.elapsed_ms(), Ordering::Relaxed);
        let done = work();
        self.writing_since.store(0, Ordering::Relaxed);
        done
    }

    fn space(&self, least: u64, enough: impl FnOnce(u64) -> bool) -> Result<(), String> {
        if least == 0 {
            return Ok(());
        }
        // What is in the journal will be in the database as well.
        let claimed = room::AMPLIFICATION * self.state.pending().all_octets() as u64;
        match free_space(&self.directory).map(|free| free.saturating_sub(claimed)) {
            Some(free) if !enough(free) => Err(format!(
                "{} MiB are free in {}, {} MiB are needed (storage.free-space-minimum)",
                free >> 20,
                self.directory.display(),
                least >> 20
            )),
            // Where the free space cannot be learned, the disk itself will say.
            _ => Ok(()),
        }
    }

    fn set_broken(&self, why: &str) {
        self.broken.send_if_modified(|broken| {
            let first = broken.is_none();
            if first {
                tracing::error!(error = why, "writing to the store failed; nothing is taken in until the relay is started again");
                *broken = Some(why.to_owned());
            }
            first
        });
    }

    fn blob_alarm(&self) {
        let blobs = self.state.engine.blobs();
        if blobs > 0 {
            tracing::error!(blobs, "the database has put values into files of their own, which do not survive a power cut: a defect");
        }
    }

    fn elapsed_ms(&self) -> u64 {
        // Never 0, which stands for "not writing".
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

/// What is left alone whatever waits, for this minimum. Always below it: between the two nothing new comes in, and what is
/// there can still be delivered and removed, so that a queue that filled its own disk empties itself.
fn reserve(minimum: u64) -> u64 {
    RESERVE.min(minimum / 2)
}

#[cfg(unix)]
fn free_space(directory: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(directory).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
fn free_space(_: &Path) -> Option<u64> {
    None
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.room.close();
        // Closes the channel: the committer writes what it holds and ends.
        self.requests = None;
        if let Some(committer) = self.committer.take() {
            // A follow-up may hold the last clone; the committer cannot wait for itself.
            if committer.thread().id() != std::thread::current().id() {
                let _ = committer.join();
            }
        }
    }
}

/// An iterator over records, see [`Store::iter`]. It sees writes that happen ahead of it.
pub struct Records {
    store: Store,
    prefix: Vec<u8>,
    /// Where the next portion begins; `None`: there is none.
    next: Option<Vec<u8>>,
    rows: std::vec::IntoIter<Record>,
}

impl Records {
    /// Records read at once.
    const PORTION: usize = 64;

    /// Begins at this key.
    #[must_use]
    pub fn from(mut self, key: Vec<u8>) -> Self {
        self.next = Some(key);
        self
    }
}

impl Iterator for Records {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Ok(row));
            }
            let from = self.next.take()?;
            match self.store.scan(&self.prefix, &from, Self::PORTION) {
                Ok(rows) => {
                    self.next = rows.last().filter(|_| rows.len() == Self::PORTION).map(|(key, _)| keys::after(key));
                    self.rows = rows.into_iter();
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
