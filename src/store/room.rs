//! How much more may be taken in: what the disk has free, and what is free inside the database's file.
//!
//! A burst that filled the disk leaves a large file with little in it. The room in it is used again before the file
//! grows, so it counts as free; how much it is, only a look through the store can say. Invariants: the look is taken
//! only while the disk is short of space, in portions, in a thread of its own, at most a tenth of the time, and ends with the store; what is
//! written after it counts as if it had found it, so that room is never overrated; half of what lies between the minimum
//! and the reserve is left for settling what is there, whatever room there is, since a file with room in it may still
//! grow by a few segments.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::engine::SEGMENT;
use super::{Shared, compact, reserve};

/// Octets of file for an octet that lives, when freed space is used again; 1.65 was measured at a million entries.
pub(super) const AMPLIFICATION: u64 = 2;
/// Segments that are being written to or cleared at any time.
pub(super) const SLACK: u64 = 2 * SEGMENT as u64;
/// The least time between two looks.
const PAUSE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Room {
    /// Octets handed to the database since it was opened.
    written: AtomicU64,
    known: Mutex<Known>,
    looking: Mutex<Option<JoinHandle<()>>>,
    closing: AtomicBool,
}

#[derive(Clone, Copy, Default)]
struct Known {
    /// What lives, and what had been written before that was looked up.
    live: Option<(u64, u64)>,
    /// Not before this the next look.
    next: Option<Instant>,
}

impl Room {
    pub fn wrote(&self, octets: usize) {
        self.written.fetch_add(octets as u64, Ordering::Relaxed);
    }

    /// Ends a look that is being taken.
    pub fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        let looking = lock(&self.looking).take();
        // The thread that looks may be the one that closes, when it held the last clone.
        if let Some(looking) = looking.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = looking.join();
        }
    }
}

/// Whether new work may be taken.
pub(super) fn enough(free: u64, minimum: u64, room: impl FnOnce() -> u64) -> bool {
    let settling = u64::midpoint(minimum, reserve(minimum));
    free >= minimum || (free >= settling && free.saturating_add(room()) >= minimum)
}

/// Octets that fit into the file without its growing, as far as is known; asks for a look when that is old.
pub(super) fn inside(shared: &Arc<Shared>) -> u64 {
    look(shared);
    let known = *lock(&shared.room.known);
    let Some((live, before)) = known.live else { return 0 };
    let since = shared.room.written.load(Ordering::Relaxed).saturating_sub(before);
    shared.state.engine.size().saturating_sub(AMPLIFICATION.saturating_mul(live + since) + SLACK)
}

fn look(shared: &Arc<Shared>) {
    let mut looking = lock(&shared.room.looking);
    let running = looking.as_ref().is_some_and(|thread| !thread.is_finished());
    let early = lock(&shared.room.known).next.is_some_and(|next| Instant::now() < next);
    if running || early || shared.room.closing.load(Ordering::SeqCst) {
        return;
    }
    let weak = Arc::downgrade(shared);
    let thread = std::thread::Builder::new().name("room".to_owned()).spawn(move || count(&weak));
    match thread {
        Ok(thread) => *looking = Some(thread),
        Err(error) => tracing::error!(%error, "what lives in the store cannot be counted"),
    }
}

/// Counts what lives, or as much of it as shows that there is no room.
fn count(store: &Weak<Shared>) {
    let begun = Instant::now();
    let (mut live, mut from, mut before) = (0, Vec::new(), None);
    loop {
        let Some(shared) = store.upgrade().filter(|shared| !shared.room.closing.load(Ordering::SeqCst)) else { return };
        let before = *before.get_or_insert_with(|| shared.room.written.load(Ordering::Relaxed));
        let portion = match compact::portion(&shared.state.engine, &mut from) {
            Ok(portion) => portion,
            Err(error) => {
                tracing::error!(%error, "what lives in the store cannot be counted");
                live = u64::MAX / 8;
                None
            }
        };
        live += portion.as_ref().map_or(0, |rows| compact::octets(rows));
        if portion.is_none() || live > shared.state.engine.size() / AMPLIFICATION {
            *lock(&shared.room.known) = Known { live: Some((live, before)), next: Some(Instant::now() + PAUSE.max(begun.elapsed() * 9)) };
            return;
        }
    }
}

/// Nothing is left half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_in_the_file_counts_as_free_but_not_to_the_last() {
        const MIB: u64 = 1 << 20;
        let enough = |free: u64, room: u64| enough(free * MIB, 256 * MIB, || room * MIB);
        assert!(enough(256, 0));
        assert!(!enough(255, 0));
        assert!(enough(255, 1));
        assert!(enough(160, 96));
        assert!(!enough(160, 95));
        // The rest is for settling.
        assert!(!enough(159, 10_000));
    }
}
