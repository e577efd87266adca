//! The only module that knows sled: opening it, reading, writing, and flushing what was written.
//!
//! Invariants: one tree; one writer at a time; what [`Engine::write`] has written survives a power cut once
//! [`Engine::flush`] has returned, with the filter of `durable` in force, and some of it before; every error or panic of a write is final: sled keeps the first
//! write error for as long as it lives, and after a failed fsync the kernel may have dropped the very pages that were
//! to be written, so that a second, successful one would prove nothing. Reads catch panics, since sled answers damage
//! that it meets while reading with one.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{ReadError, Record, keys};

/// The largest that sled takes, and fixed for the life of a store: with it no leaf becomes a blob file.
pub(super) const SEGMENT: usize = 16 << 20;

pub(super) struct Engine {
    /// `None` only while closing. Its default tree is the one tree.
    db: Option<sled::Db>,
    directory: PathBuf,
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
        Ok(Self { db: Some(db), directory: directory.to_owned(), lock })
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

    fn tree(&self) -> &sled::Tree {
        self.db.as_ref().expect("it is there until it is closed")
    }

    /// sled syncs its log once more when it goes, and panics when that fails.
    fn end(&mut self) -> Result<(), String> {
        let db = self.db.take();
        guarded(|| {
            drop(db);
            Ok(())
        })
    }

    pub fn lock(&self) -> Arc<File> {
        self.lock.clone()
    }

    /// Closes the database and waits until sled's own threads have let go of its files, so that none of them writes
    /// under a name that means something else by then.
    pub fn close(mut self) -> Result<(), String> {
        self.end()?;
        let file = File::open(self.directory.join("db")).map_err(|e| e.to_string())?;
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
            for row in self.tree().range(from..).take(limit) {
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

    /// Writes rows, or removes those without a value, one after the other; they are on disk after [`Engine::flush`].
    pub fn write<'a>(&self, rows: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Result<(), String> {
        guarded(|| {
            for (key, value) in rows {
                match value {
                    Some(value) => self.tree().insert(key, value)?,
                    None => self.tree().remove(key)?,
                };
            }
            Ok(())
        })
    }

    pub fn flush(&self) -> Result<(), String> {
        guarded(|| self.tree().flush()).map(|_| ())
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        guarded(|| self.tree().get(key).map(|value| value.map(|v| v.to_vec()))).map_err(ReadError)
    }

    pub fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Record>, ReadError> {
        let start = from.max(prefix);
        let rows = || {
            self.tree()
                .range(start..)
                .take_while(|row| row.as_ref().map_or(true, |(key, _)| key.starts_with(prefix)))
                .take(limit)
                .map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())))
                .collect()
        };
        guarded(rows).map_err(ReadError)
    }

    pub fn is_empty(&self) -> Result<bool, ReadError> {
        guarded(|| self.tree().iter().next().transpose().map(|row| row.is_none())).map_err(ReadError)
    }

    /// Octets that the database takes on disk.
    pub fn size(&self) -> u64 {
        self.db.as_ref().and_then(|db| db.size_on_disk().ok()).unwrap_or(0)
    }

    /// Files that should not be there: values that sled has put into files of their own, which it never syncs.
    pub fn blobs(&self) -> usize {
        std::fs::read_dir(self.directory.join("blobs")).map_or(0, Iterator::count)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The lock goes after this, so that whoever gets it finds the database closed. What did not become durable was
        // told when it was to.
        if let Err(error) = self.end() {
            tracing::warn!(error, "the database did not close in order");
        }
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
