//! The right to work on one entry.
//!
//! Invariant: from the moment an entry is marked as in flight until its mark is taken off there is exactly one `Lease`
//! for it, wherever that goes: into a worker, into the committer, or into nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;

use crate::ident::EntryId;
use crate::store::CommitError;

use super::due::Why;
use super::entry::{Entry, State};
use super::{Queue, record};

/// An entry in hand. Dropped without [`Queue::settle`], it puts the entry back as it was.
pub struct Lease {
    pub entry: Entry,
    pub why: Why,
    queue: Queue,
    /// The keys of the entry in the supersede index as it was when it was taken.
    index: BTreeSet<Vec<u8>>,
    id: EntryId,
    before: State,
    landed: bool,
}

impl Lease {
    /// `entry` is marked as in flight already.
    pub(super) fn new(queue: Queue, mut entry: Entry, why: Why) -> Self {
        let before = queue.due().durable_state(entry.id).unwrap_or(entry.state);
        // As it is on disk, for what it left in the index.
        entry.state = before;
        let index = record::index_keys(&entry, false);
        entry.state = State::InFlight;
        Self { id: entry.id, entry, why, queue, index, before, landed: false }
    }

    /// The state in which the entry was, and is on disk.
    pub fn before(&self) -> State {
        self.before
    }

    /// Ends the lease of an entry whose outcome could not be recorded: it is not tried again at once, and when its outcome
    /// never can be, not by itself.
    pub(super) fn fail(mut self, error: &CommitError) {
        tracing::error!(entry = %self.id, %error, "what became of the entry could not be recorded");
        // Not twice: somebody else may hold the entry by the time this is dropped.
        self.landed = true;
        if matches!(error, CommitError::Refused(_)) {
            let mut due = self.queue.due();
            due.hold(self.id);
            due.land(self.id);
        } else {
            self.queue.0.land_later(self.id);
        }
    }

    pub(super) fn index(&self) -> &BTreeSet<Vec<u8>> {
        &self.index
    }

    pub(super) fn id(&self) -> EntryId {
        self.id
    }
}

impl Deref for Lease {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.landed {
            self.queue.due().land(self.id);
        }
        self.queue.0.changed.notify_waiters();
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("id", &self.id).field("why", &self.why).finish_non_exhaustive()
    }
}
