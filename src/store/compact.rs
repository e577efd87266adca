//! Space given back: what lives is copied into a fresh database when the file is large and mostly free.
//!
//! sled reuses the space that removed records leave, but its file hardly shrinks. So at the start of the relay, before
//! anything listens, a file of [`FROM`] octets or more of which less than a [`SHARE`]th lives is replaced by a copy.
//!
//! Bound: after a start the database has at most the greater of `FROM` and `SHARE` times the octets that live, unless
//! the disk had no room for the copy, which the log says, or so much lives that counting it took [`PATIENCE`]. Without a start it stays below twice the most octets that ever lived
//! at once and a few segments, since freed space is used again.
//!
//! Invariants
//! - Names in the data directory: `queue/` is the store, always; `compact.new/` is a copy that is not yet proven;
//!   `compact.old/` is the store that a copy replaces. Both names belong to this module alone.
//! - The copy takes the name `queue/` only after it was written, synced with the directories above it, closed, opened again and read to
//!   its end with the same count of records and the same checksum as what was read from the store.
//! - Two renames, each synced: `queue/` to `compact.old/`, `compact.new/` to `queue/`. Whoever finds no `queue/` but a
//!   `compact.old/` puts that back. So a crash at any moment leaves the old store or the new one, whole, and the same
//!   `store-id` is right for both, since the id is copied with the rest.
//! - What a compaction has left is removed only after the store under `queue/` was opened and has shown its id.
//! - A failure before the renames leaves the store as it was and is no reason not to start.
//! - Records go over as they stand, also those that do not decode: they are not judged here.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine::{Engine, Refused, SEGMENT};
use super::room::AMPLIFICATION;
use super::{ReadError, Record, StoreOptions, durable, free_space, keys, reserve};

/// Octets of a file that is never compacted.
pub const FROM: u64 = 256 << 20;
/// A file is compacted when less than one part in this many lives.
pub const SHARE: u64 = 4;
/// How long what lives is counted before a start; more than that leaves the store as it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// Records and octets that are read and written at once.
const PORTION: (usize, usize) = (4096, 4 << 20);
/// After so many octets the copy is flushed.
const FLUSH: u64 = 16 << 20;

const NEW: &str = "compact.new";
const OLD: &str = "compact.old";

/// A compaction that is worth its while and has room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    size: u64,
    live: u64,
    cache: u64,
}

/// How far a compaction is; what is told of is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A part of the copy is flushed.
    Part,
    /// The copy is complete, synced and closed.
    Copied,
    /// The copy was read again and is the same.
    Verified,
    /// The store has the name of an old one, and none has its own.
    Aside,
    /// The copy is the store.
    Switched,
}

/// Before the store is opened: ends a compaction that was cut off between its two renames, in favour of the old store.
pub(super) fn put_back(dir: &Path) -> io::Result<()> {
    let (queue, old) = (dir.join("queue"), dir.join(OLD));
    if queue.exists() || !old.exists() {
        return Ok(());
    }
    tracing::warn!(store = %dir.display(), "a compaction was cut off; the store from before it is taken");
    fs::rename(&old, &queue)?;
    durable::sync(dir)
}

/// After the store under `queue/` was opened and has shown its id: removes the other one, if any.
pub(super) fn clear(dir: &Path) {
    for path in [NEW, OLD].map(|name| dir.join(name)).iter().filter(|path| path.exists()) {
        if let Err(error) = fs::remove_dir_all(path).and_then(|()| durable::sync(dir)) {
            tracing::error!(%error, path = %path.display(), "what a compaction has left cannot be removed; tried again at the next start");
        }
    }
}

/// Octets of all keys and values; `None` when they are more than `most`, or not counted after [`PATIENCE`].
fn live(engine: &Engine, most: u64) -> Result<Option<u64>, ReadError> {
    let (begun, mut sum, mut from) = (Instant::now(), 0, Vec::new());
    while let Some(portion) = portion(engine, &mut from)? {
        sum += octets(&portion);
        if sum > most || begun.elapsed() > PATIENCE {
            return Ok(None);
        }
    }
    Ok(Some(sum))
}

/// Whether there is something to give back, and room to do it.
pub(super) fn plan(engine: &Engine, dir: &Path, options: &StoreOptions) -> Option<Plan> {
    let size = engine.size();
    if size < options.compact_from? || !renamable(dir) {
        return None;
    }
    let live = match live(engine, size / SHARE) {
        Ok(Some(live)) => live,
        Ok(None) => return None,
        Err(error) => {
            tracing::error!(%error, "the store cannot be read to its end, and is not compacted; see `queue check`");
            return None;
        }
    };
    let needed = AMPLIFICATION * live + 4 * SEGMENT as u64 + reserve(options.free_space_minimum);
    match free_space(dir) {
        Some(free) if free < needed => {
            let (free, needed) = (free >> 20, needed >> 20);
            tracing::warn!(size_mib = size >> 20, live_mib = live >> 20, "not compacted: {free} MiB are free, {needed} MiB are needed");
            None
        }
        _ => Some(Plan { size, live, cache: options.cache }),
    }
}

/// A `queue/` that is a link or a mount point keeps its place.
fn renamable(dir: &Path) -> bool {
    let (Ok(queue), Ok(parent)) = (fs::symlink_metadata(dir.join("queue")), fs::metadata(dir)) else { return false };
    #[cfg(unix)]
    let same = std::os::unix::fs::MetadataExt::dev(&queue) == std::os::unix::fs::MetadataExt::dev(&parent);
    #[cfg(not(unix))]
    let same = parent.is_dir();
    queue.is_dir() && same
}

/// Compacts; closes the store whatever comes of it, and gives the lock of the data directory. `Err`: even that failed.
pub(super) fn run(engine: Engine, dir: &Path, plan: Plan, told: &mut dyn FnMut(Step)) -> Result<Arc<File>, String> {
    tracing::info!(size_mib = plan.size >> 20, live_mib = plan.live >> 20, "compacting the store");
    let lock = engine.lock();
    let copied = copy(&engine, dir, plan, &lock, told);
    engine.close()?;
    match copied.and_then(|()| switch(dir, told).map_err(|e| e.to_string())) {
        Ok(()) => tracing::info!("the store was compacted"),
        Err(why) => {
            tracing::error!(why, "the store was not compacted and is as it was");
            put_back(dir).map_err(|e| e.to_string())?;
        }
    }
    Ok(lock)
}

fn copy(engine: &Engine, dir: &Path, plan: Plan, lock: &Arc<File>, told: &mut dyn FnMut(Step)) -> Result<(), String> {
    let path = dir.join(NEW);
    let open = || Engine::open(&path, dir, plan.cache, lock.clone()).map_err(words);
    let new = open()?;
    let (mut source, mut from, mut unflushed) = (Digest::default(), Vec::new(), 0);
    while let Some(rows) = portion(engine, &mut from).map_err(|e| e.to_string())? {
        source.add(&rows);
        unflushed += octets(&rows);
        new.write(rows.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice()))))?;
        if unflushed > FLUSH {
            new.flush()?;
            unflushed = 0;
            told(Step::Part);
        }
    }
    new.flush()?;
    let settle = || durable::settle(&path).map_err(|e| e.to_string());
    new.close()?;
    settle()?;
    told(Step::Copied);
    let new = open()?;
    let copy = Digest::of(&new).map_err(|e| e.to_string())?;
    new.close()?;
    // Opening may have written a snapshot.
    settle()?;
    if copy != source {
        return Err(format!("the copy differs: {copy:?} instead of {source:?}"));
    }
    told(Step::Verified);
    Ok(())
}

fn switch(dir: &Path, told: &mut dyn FnMut(Step)) -> io::Result<()> {
    let queue = dir.join("queue");
    fs::rename(&queue, dir.join(OLD))?;
    durable::sync(dir)?;
    told(Step::Aside);
    fs::rename(dir.join(NEW), &queue)?;
    durable::sync(dir)?;
    told(Step::Switched);
    Ok(())
}

/// The next records from the key `from` on, which is moved behind them; `None` at the end.
pub(super) fn portion(engine: &Engine, from: &mut Vec<u8>) -> Result<Option<Vec<Record>>, ReadError> {
    let rows = engine.rows(from, PORTION.0, PORTION.1)?;
    let Some((last, _)) = rows.last() else { return Ok(None) };
    *from = keys::after(last);
    Ok(Some(rows))
}

pub(super) fn octets(rows: &[Record]) -> u64 {
    rows.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
}

fn words(refused: Refused) -> String {
    match refused {
        Refused::Busy => "the copy is in use by another process".to_owned(),
        Refused::Damaged(why) | Refused::Io(why) => why,
    }
}

/// What tells the content of two stores apart.
#[derive(Clone, Debug, Default)]
struct Digest {
    records: u64,
    octets: u64,
    sum: crc32fast::Hasher,
}

impl Digest {
    fn of(engine: &Engine) -> Result<Self, ReadError> {
        let (mut digest, mut from) = (Self::default(), Vec::new());
        while let Some(rows) = portion(engine, &mut from)? {
            digest.add(&rows);
        }
        Ok(digest)
    }

    fn add(&mut self, rows: &[Record]) {
        self.records += rows.len() as u64;
        self.octets += octets(rows);
        for octets in rows.iter().flat_map(|(key, value)| [key, value]) {
            self.sum.update(&(octets.len() as u64).to_be_bytes());
            self.sum.update(octets);
        }
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        (self.records, self.octets, self.sum.clone().finalize()) == (other.records, other.octets, other.sum.clone().finalize())
    }
}

#[cfg(test)]
#[path = "compact_tests.rs"]
mod tests;
