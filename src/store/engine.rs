//! The only module that knows sled: opening it, reading, and writing one batch durably.
//!
//! Invariants: one tree; one writer (the committer); every error or panic of a write is final: sled keeps the first
//! write error for as long as it lives, and after a failed fsync the kernel may have dropped the very pages that were
//! to be written, so that a second, successful one would prove nothing. Reads catch panics, since sled answers damage
//! that it meets while reading with one.

use std::collections::HashMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::ident::EntryId;

use super::batch::Op;
use super::body::{self, Header};
use super::{ReadError, Record, codec, keys};

/// The largest that sled takes, and fixed for the life of a store: with it no leaf becomes a blob file.
pub(super) const SEGMENT: usize = 16 << 20;
const NUMBER: u8 = 1;

pub(super) struct Engine {
    // Dropped in this order: the lock goes last, so that whoever gets it finds the database closed.
    tree: sled::Tree,
    db: sled::Db,
    directory: PathBuf,
    flushes: AtomicU64,
    lock: Arc<File>,
}

/// What stopped sled from opening.
pub(super) enum Refused {
    Busy,
    Damaged(String),
    Io(String),
}

impl Engine {
    /// Opens the database in `directory`; `set_aside` is where a bad snapshot goes.
    pub fn open(directory: &Path, set_aside: &Path, cache: u64, lock: Arc<File>) -> Result<Self, Refused> {
        let db = match open_patiently(directory, cache) {
            Err(Refused::Damaged(first)) => {
                // A snapshot only spares the reading of the log: without it, sled reads all of the log again.
                if set_aside_snapshots(directory, set_aside).map_err(|e| Refused::Io(e.to_string()))? == 0 {
                    return Err(Refused::Damaged(first));
                }
                tracing::warn!(store = %directory.display(), error = first, "bad snapshot set aside, reading the whole log");
                open_patiently(directory, cache)?
            }
            other => other?,
        };
        Ok(Self { tree: (*db).clone(), db, directory: directory.to_owned(), flushes: AtomicU64::new(0), lock })
    }

    /// Makes a database that holds the id of its store and nothing else, and closes it.
    pub fn create(directory: &Path, id: &str, cache: u64) -> Result<(), Refused> {
        let db = open_patiently(directory, cache)?;
        guarded(|| {
            db.insert(keys::STORE_ID, id)?;
            db.flush()
        })
        .map(|_| ())
        .map_err(Refused::Io)
    }

    pub fn lock(&self) -> Arc<File> {
        self.lock.clone()
    }

    /// Closes the database and waits until sled's own threads have let go of its files, so that none of them writes
    /// under a name that means something else by then.
    pub fn close(self) -> Result<(), String> {
        let Self { tree, db, directory, .. } = self;
        guarded(|| {
            drop(tree);
            drop(db);
            Ok(())
        })?;
        let file = File::open(directory.join("db")).map_err(|e| e.to_string())?;
        for _ in 0..500 {
            if file.try_lock().is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("the database is closed, but still in use after 10 s".to_owned())
    }

    /// Records of all kinds from the key `from` on, until `octets` are passed, at most `limit`.
    pub fn rows(&self, from: &[u8], limit: usize, octets: usize) -> Result<Vec<Record>, ReadError> {
        let mut room = octets;
        let rows = || {
            let mut rows = Vec::new();
            for row in self.tree.range(from..).take(limit) {
                let (key, value) = row?;
                let more = room.checked_sub(key.len() + value.len());
                rows.push((key.to_vec(), value.to_vec()));
                match more {
                    Some(more) => room = more,
                    None => break,
                }
            }
            Ok(rows)
        };
        guarded(rows).map_err(ReadError)
    }

    /// Writes records as they are; they are on disk after [`Engine::flush`].
    pub fn write(&self, rows: Vec<Record>) -> Result<(), String> {
        let mut batch = sled::Batch::default();
        for (key, value) in rows {
            batch.insert(key, value);
        }
        guarded(|| self.tree.apply_batch(batch))
    }

    pub fn flush(&self) -> Result<(), String> {
        guarded(|| self.tree.flush()).map(|_| ())
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        guarded(|| self.tree.get(key).map(|value| value.map(|v| v.to_vec()))).map_err(ReadError)
    }

    pub fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Record>, ReadError> {
        let start = from.max(prefix);
        let rows = || {
            self.tree
                .range(start..)
                .take_while(|row| row.as_ref().map_or(true, |(key, _)| key.starts_with(prefix)))
                .take(limit)
                .map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())))
                .collect()
        };
        guarded(rows).map_err(ReadError)
    }

    pub fn is_empty(&self) -> Result<bool, ReadError> {
        guarded(|| self.tree.iter().next().transpose().map(|row| row.is_none())).map_err(ReadError)
    }

    pub fn number(&self, key: &[u8]) -> Result<u64, ReadError> {
        match self.get(key)? {
            None => Ok(0),
            Some(record) => codec::decode(NUMBER, &record).map_err(|e| ReadError(format!("{}: {e}", key.escape_ascii()))),
        }
    }

    /// How often the log was flushed.
    pub fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    /// Octets that the database takes on disk.
    pub fn size(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }

    /// Files that should not be there: values that sled has put into files of their own, which it never syncs.
    pub fn blobs(&self) -> usize {
        std::fs::read_dir(self.directory.join("blobs")).map_or(0, Iterator::count)
    }

    /// Applies the operations as one batch and flushes. This is the commit instant: sled's log holds the batch between
    /// two marks, so that recovery takes all of it or nothing; `flush` returns after the log up to the end mark was
    /// written and, with the filter of `durable` in force, after fsync of the file has returned.
    pub fn apply<'a>(&self, ops: impl Iterator<Item = &'a Op>) -> Result<(), String> {
        let batch = self.resolve(ops)?;
        guarded(|| {
            self.tree.apply_batch(batch)?;
            self.tree.flush()
        })?;
        self.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Turns operations into plain writes. Later ones on the same key win, as they would one after the other.
    fn resolve<'a>(&self, ops: impl Iterator<Item = &'a Op>) -> Result<sled::Batch, String> {
        let mut batch = sled::Batch::default();
        let mut numbers: HashMap<&[u8], u64> = HashMap::new();
        let mut bodies: HashMap<EntryId, Touched> = HashMap::new();
        for op in ops {
            match op {
                Op::Put(key, value) => batch.insert(key.as_slice(), value.as_slice()),
                Op::Delete(key) => batch.remove(key.as_slice()),
                Op::Raise(key, value) => {
                    let highest = numbers.entry(key).or_default();
                    *highest = (*highest).max(*value);
                }
                Op::NewBody(id, packed) => {
                    for (n, piece) in (0..).zip(&packed.pieces) {
                        batch.insert(keys::piece(*id, n), piece.as_slice());
                    }
                    bodies.insert(*id, Touched { header: packed.header, inline: packed.inline.clone(), refs: packed.header.refs.into() });
                }
                Op::Refs(id, change) => {
                    if !bodies.contains_key(id) {
                        let Some(body) = self.body_header(*id)? else { continue };
                        bodies.insert(*id, body);
                    }
                    if let Some(body) = bodies.get_mut(id) {
                        body.refs += change;
                    }
                }
            }
        }
        for (key, value) in numbers {
            if value > self.number(key).unwrap_or(0) {
                batch.insert(key, codec::encode(NUMBER, &value).map_err(|e| e.to_string())?);
            }
        }
        for (id, body) in bodies {
            body.write(id, &mut batch)?;
        }
        Ok(batch)
    }

    fn body_header(&self, id: EntryId) -> Result<Option<Touched>, String> {
        let Some(record) = self.get(&keys::by_id(keys::BODY, id)).map_err(|e| e.to_string())? else {
            tracing::warn!(body = %id, "reference to a body that is not in the store");
            return Ok(None);
        };
        match body::decode_header(&record) {
            Ok((header, inline)) => Ok(Some(Touched { header, inline: inline.to_vec(), refs: header.refs.into() })),
            Err(error) => {
                // It stays where it is: `queue check` lists it, and nothing is thrown away unread.
                tracing::error!(body = %id, %error, "the header of a body does not decode; its references are not counted");
                Ok(None)
            }
        }
    }
}

struct Touched {
    header: Header,
    inline: Vec<u8>,
    refs: i64,
}

impl Touched {
    fn write(mut self, id: EntryId, batch: &mut sled::Batch) -> Result<(), String> {
        let key = keys::by_id(keys::BODY, id);
        if self.refs <= 0 {
            batch.remove(key);
            for n in 0..self.header.pieces {
                batch.remove(keys::piece(id, n));
            }
            return Ok(());
        }
        self.header.refs = u32::try_from(self.refs).unwrap_or(u32::MAX);
        batch.insert(key, body::encode_header(&self.header, &self.inline).map_err(|e| e.to_string())?);
        Ok(())
    }
}

/// Runs a call into sled; its panics are errors here.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(panic) => Err(format!("the database panicked: {}", panic_text(&*panic))),
    }
}

pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("without words").chars().take(300).collect()
}

/// Tries for two seconds while the database is locked: sled's own threads may outlive a closed database for a moment.
fn open_patiently(directory: &Path, cache: u64) -> Result<sled::Db, Refused> {
    let mut tries = 0;
    loop {
        match open_once(directory, cache) {
            Err(Refused::Busy) if tries < 100 => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

fn open_once(directory: &Path, cache: u64) -> Result<sled::Db, Refused> {
    let config = sled::Config::new().path(directory).cache_capacity(cache).segment_size(SEGMENT).flush_every_ms(None);
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(e))) if e.to_string().contains("could not acquire lock") => Err(Refused::Busy),
        Ok(Err(sled::Error::Io(e))) if e.kind() == std::io::ErrorKind::StorageFull => Err(Refused::Io(format!(
            "{e}; opening overwrites what an interrupted write has left, for which {} MiB must be free",
            super::RESERVE >> 20
        ))),
        // A log or snapshot that ends too early is damage, and so is a length that cannot be.
        Ok(Err(sled::Error::Io(e))) if e.kind() != std::io::ErrorKind::UnexpectedEof => Err(Refused::Io(e.to_string())),
        Ok(Err(e)) => Err(Refused::Damaged(e.to_string())),
        Err(panic) => Err(Refused::Damaged(format!("the database panicked: {}", panic_text(&*panic)))),
    }
}

/// Moves every snapshot out of the database's directory: sled takes any file there that begins with `snap.` for one,
/// whatever it ends in. Gives how many there were.
fn set_aside_snapshots(directory: &Path, to: &Path) -> std::io::Result<usize> {
    let mut count = 0;
    for file in std::fs::read_dir(directory)? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        if name.starts_with("snap.") {
            std::fs::rename(file.path(), to.join(format!("{name}.bad")))?;
            count += 1;
        }
    }
    Ok(count)
}
