//! Octets that all sessions of a listener hold together: each is bounded by itself, and a thousand of them by this.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Octets of unfinished messages or objects that all sessions of a listener may hold; at least four of the largest.
const HELD: usize = 256 << 20;

/// The bound over all sessions of one listener. Clones share one count.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    all: Arc<AtomicUsize>,
    max: usize,
}

impl Bound {
    /// For messages of at most `largest` octets.
    pub(super) fn new(largest: usize) -> Self {
        Self::of(HELD.max(largest.saturating_mul(4)))
    }

    pub(super) fn of(max: usize) -> Self {
        Self { all: Arc::default(), max }
    }

    /// What all sessions hold now.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    /// A session's part, none yet.
    pub(super) fn part(&self) -> Held {
        Held { bound: self.clone(), mine: 0 }
    }
}

/// One session's part; given back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    bound: Bound,
    mine: usize,
}

impl Held {
    /// False when all sessions together now hold too much and this one is among those that made it so.
    pub(super) fn set(&mut self, octets: usize) -> bool {
        let grows = octets > self.mine;
        // Added before it is taken away, so that the sum never goes below zero.
        let before = self.bound.all.fetch_add(octets, Ordering::Relaxed);
        self.bound.all.fetch_sub(self.mine, Ordering::Relaxed);
        let all = (before + octets).saturating_sub(self.mine);
        self.mine = octets;
        !grows || all <= self.bound.max
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bound.all.fetch_sub(self.mine, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_of_held_octets_balances() {
        let bound = Bound::of(100);
        let (mut a, mut b) = (bound.part(), bound.part());
        assert!(a.set(60) && b.set(40));
        assert!(!b.set(41), "over the limit, and growing");
        assert!(b.set(41), "over the limit, but not by what happens now");
        assert!(a.set(10) && b.set(90));
        drop(a);
        assert_eq!(bound.held(), 90);
        drop(b);
        assert_eq!(bound.held(), 0);
    }
}
