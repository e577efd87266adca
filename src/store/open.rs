//! Opening: who holds the store, whether it is the one that was here, and that its files are on disk.
//!
//! Invariants: nothing in the database is touched before the lock is held and durable writes are assured; a store is
//! given its id once, first inside and then in the file beside it, so that a file without a store is a loss and never
//! an interrupted beginning; a database is made under another name and gets its own when it is on disk, so that a power
//! cut during the very first start leaves none or a whole one, never one that does not open.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use super::engine::{Engine, Refused};
use super::{OpenError, StoreOptions, compact, durable, journal, keys};

pub(super) fn open(dir: &Path, options: &StoreOptions) -> Result<(Engine, String), OpenError> {
    make(dir)?;
    let lock = Arc::new(lock(dir)?);
    match durable::ensure() {
        Ok(()) => {}
        Err(error) if options.unsafe_without_sync => {
            tracing::warn!(%error, "starting although a power cut may lose acknowledged events (storage.unsafe-without-sync)");
        }
        Err(error) => return Err(error.into()),
    }
    let database = dir.join("queue");
    compact::put_back(dir).map_err(|e| io(dir, "ending a compaction that was cut off", &e))?;
    let expected = read_id(dir)?;
    let known = expected.is_some();
    if let Some(id) = &expected
        && fs::metadata(database.join("db")).map_or(0, |m| m.len()) == 0
    {
        return Err(OpenError::Emptied { dir: dir.to_owned(), id: id.clone() });
    }
    let refused = |refused| refused_by(dir, refused);
    if expected.is_none() && !database.exists() {
        create(dir, &database, |new| Engine::create(new, &new_id(), options.cache).map_err(refused))?;
    }
    let engine = Engine::open(&database, dir, options.cache, lock).map_err(refused)?;
    let id = identify(dir, &engine, expected)?;
    work_in(&database, &engine)?;
    durable::settle(&database).map_err(|e| io(&database, "syncing the database", &e))?;
    if known {
        compact::clear(dir);
    }
    let Some(plan) = compact::plan(&engine, dir, options) else { return Ok((engine, id)) };
    let lock =
        compact::run(engine, dir, plan, &mut |_| ()).map_err(|why| OpenError::Io { path: database.clone(), what: "compacting", why })?;
    // Whether the store is the new one or, after a failure, still the old one.
    let engine = Engine::open(&database, dir, options.cache, lock).map_err(refused)?;
    let id = identify(dir, &engine, Some(id))?;
    durable::settle(&database).map_err(|e| io(&database, "syncing the database", &e))?;
    compact::clear(dir);
    Ok((engine, id))
}

/// Puts into the database what the journal of a process that did not end in order has left.
fn work_in(database: &Path, engine: &Engine) -> Result<(), OpenError> {
    let put = |rows: Vec<journal::Row>| engine.write(rows.iter().map(|(key, value)| (key.as_slice(), value.as_deref())));
    // What the process before this one wrote and did not sync, sled takes for stable, and finds nothing to flush.
    let last = || engine.flush().and_then(|()| durable::settle(database).map_err(|e| e.to_string()));
    match journal::recover(database, put, last) {
        Ok(0) => Ok(()),
        Ok(commits) => {
            tracing::info!(commits, "the journal of a relay that did not end in order was worked into the database");
            Ok(())
        }
        Err(why) => Err(OpenError::Io { path: database.to_owned(), what: "working the journal into the database", why }),
    }
}

fn refused_by(dir: &Path, refused: Refused) -> OpenError {
    match refused {
        Refused::Busy => OpenError::Locked(dir.to_owned()),
        Refused::Damaged(why) => OpenError::Damaged { dir: dir.to_owned(), why },
        Refused::Io(why) => OpenError::Io { path: dir.join("queue"), what: "opening the database", why },
    }
}

/// Makes a database where none has been.
fn create(dir: &Path, database: &Path, fill: impl FnOnce(&Path) -> Result<(), OpenError>) -> Result<(), OpenError> {
    let begun = dir.join("queue.begun");
    let clear = match fs::remove_dir_all(&begun) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => fs::create_dir(&begun),
    };
    clear.map_err(|e| io(&begun, "making the database", &e))?;
    fill(&begun)?;
    let settle = || {
        durable::settle(&begun)?;
        fs::rename(&begun, database)?;
        durable::sync(dir)
    };
    settle().map_err(|e| io(database, "making the database", &e))
}

fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn make(dir: &Path) -> Result<(), OpenError> {
    if !dir.is_dir() {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o750);
        builder.create(dir).map_err(|e| io(dir, "making the data directory", &e))?;
    }
    // Also when it was there: whoever made it may have been killed before this.
    for parent in dir.ancestors().skip(1) {
        // Those that are not ours to open were there before.
        if durable::sync(parent).is_err() {
            break;
        }
    }
    Ok(())
}

/// The lock is our own beside the database's: it covers the id and the snapshots as well, and tells "held by another"
/// from every other failure without reading an error's words.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(|e| io(&path, "opening the lock", &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(dir.to_owned())),
        Err(TryLockError::Error(e)) => Err(io(&path, "locking", &e)),
    }
}

fn read_id(dir: &Path) -> Result<Option<String>, OpenError> {
    let path = dir.join("store-id");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io(&path, "reading the id of the store", &e)),
    }
}

/// Compares the id inside with the one beside, or gives a new store its id.
fn identify(dir: &Path, engine: &Engine, expected: Option<String>) -> Result<String, OpenError> {
    let damaged = |why: String| OpenError::Damaged { dir: dir.to_owned(), why };
    let found = engine.get(keys::STORE_ID).map_err(|e| damaged(e.to_string()))?;
    let found = found.map(|octets| String::from_utf8_lossy(&octets).into_owned());
    let empty = engine.is_empty().map_err(|e| damaged(e.to_string()))?;
    match (found, expected) {
        (Some(found), Some(expected)) if found == expected => Ok(found),
        (Some(found), Some(expected)) => {
            Err(OpenError::Foreign { dir: dir.to_owned(), expected: format!("store {expected}"), found: format!("store {found}") })
        }
        // Interrupted between the two, or the file was lost: the store itself is the witness.
        (Some(found), None) => write_id(dir, &found).map(|()| found),
        (None, Some(id)) if empty => Err(OpenError::Emptied { dir: dir.to_owned(), id }),
        (None, Some(id)) => {
            Err(OpenError::Foreign { dir: dir.to_owned(), expected: format!("store {id}"), found: "records without an id".to_owned() })
        }
        (None, None) if !empty => Err(damaged("it holds records, but not the id of its store".to_owned())),
        (None, None) => {
            // A folder that somebody made for it: a mount point.
            let id = new_id();
            engine.write([(keys::STORE_ID, Some(id.as_bytes()))].into_iter()).and_then(|()| engine.flush()).map_err(damaged)?;
            // The directory entries of the database must be on disk before the file says that there is one.
            durable::settle(&dir.join("queue")).map_err(|e| io(dir, "syncing the database", &e))?;
            write_id(dir, &id).map(|()| id)
        }
    }
}

fn write_id(dir: &Path, id: &str) -> Result<(), OpenError> {
    let (path, new) = (dir.join("store-id"), dir.join("store-id.new"));
    let write = || {
        let mut file = File::create(&new)?;
        writeln!(file, "{id}")?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        durable::sync(dir)
    };
    write().map_err(|e| io(&path, "writing the id of the store", &e))
}

fn io(path: &Path, what: &'static str, error: &std::io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), what, why: error.to_string() }
}
