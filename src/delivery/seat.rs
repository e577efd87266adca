//! What an attempt occupies: a worker while it makes progress, a place among those that wait while its peer is silent,
//! and nothing but memory while its outcome is on its way to the disk.
//!
//! A worker bounds how much is done at a time; waiting for a peer that says nothing, or for the disk, is no work. So an
//! attempt that takes long stands aside, and one whose outcome is known leaves, and their workers go on with the next
//! entry.
//!
//! Invariants: at most `workers` attempts make progress; those that stand aside hold at most [`ASIDE`] times [`UNIT`] octets
//! (a further one keeps its worker); the outcomes of at most [`UNSETTLED`] wait for the disk: that many more may be repeated
//! after a crash.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What may stand aside, in units of memory. Each attempt takes one, for its connection, and more for a large body.
const ASIDE: usize = 1024;
const UNIT: u64 = 64 << 10;
/// Entries whose outcomes wait for the disk: enough to fill a group of commits at some thousand a second.
const UNSETTLED: usize = 64;

/// All that may be occupied.
pub(super) struct Seats {
    workers: Arc<Semaphore>,
    others: Arc<Others>,
}

/// What an attempt can have instead of a worker.
struct Others {
    aside: Arc<Semaphore>,
    unsettled: Arc<Semaphore>,
}

/// What one attempt occupies: one of the three. Dropped, it occupies nothing.
pub(super) struct Seat {
    held: Mutex<Held>,
    others: Arc<Others>,
}

struct Held {
    _permit: OwnedSemaphorePermit,
    /// The outcome is known.
    over: bool,
}

impl Seats {
    pub fn new(workers: usize) -> Self {
        let of = |n: usize| Arc::new(Semaphore::new(n));
        Self { workers: of(workers), others: Arc::new(Others { aside: of(ASIDE), unsettled: of(UNSETTLED) }) }
    }

    /// Waits for a worker.
    pub async fn take(&self) -> Option<Seat> {
        let worker = self.workers.clone().acquire_owned().await.ok()?;
        Some(Seat { held: Mutex::new(Held { _permit: worker, over: false }), others: self.others.clone() })
    }
}

impl Seat {
    /// Gives the worker back because the peer is silent, while an attempt with a body of `size` octets goes on. Whether it
    /// did: there may be too much aside, and the attempt may be over.
    pub fn stand_aside(&self, size: u64) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let units = u32::try_from(1 + size / UNIT).unwrap_or(u32::MAX);
        if held.over {
            return false;
        }
        let Ok(place) = self.others.aside.clone().try_acquire_many_owned(units) else { return false };
        *held = Held { _permit: place, over: false };
        true
    }

    /// The outcome is known: what is held is given back, unless too many outcomes wait for the disk.
    pub fn leave(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match self.others.unsettled.clone().try_acquire_owned() {
            Ok(place) => *held = Held { _permit: place, over: true },
            Err(_) => held.over = true,
        }
    }
}
