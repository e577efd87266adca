//! A transaction being built: entries in and out, bodies, and whatever else is to be durable with them.
//!
//! Invariants: nothing of it is visible before [`Queue::commit`] or [`Queue::settle`]; the due order follows only what
//! was committed, and in the order of the calls; a change that is dropped leaves nothing behind.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use crate::ident::EntryId;
use crate::store::{Batch, Then, keys};

use super::due::Facts;
use super::entry::{BodyKind, BodyRef, Entry};
use super::{Lease, Queue, RESERVE, record};

/// See the module.
pub struct Change {
    queue: Queue,
    batch: Batch,
    work: Vec<Work>,
    /// The highest id in it.
    highest: u64,
}

enum Work {
    Put(Entry),
    Remove(Entry),
}

/// What the due order is to learn.
enum Follow {
    Put(EntryId, Facts),
    Remove(EntryId),
}

impl Change {
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue, batch: Batch::new(), work: Vec::new(), highest: 0 }
    }

    /// Stores a body for `refs` entries, which are put in this same change.
    pub fn add_body(&mut self, kind: BodyKind, octets: &[u8], refs: u32) -> BodyRef {
        let id = self.queue.next_id();
        self.highest = self.highest.max(id.raw());
        self.batch.add_body(id, octets, refs);
        BodyRef { kind, id, size: octets.len() as u64 }
    }

    /// One more entry refers to a body that is already stored: for an entry split off another.
    pub fn share_body(&mut self, body: &BodyRef) -> BodyRef {
        self.batch.retain(body.id);
        *body
    }

    /// Puts an entry in, or the new state of one. An entry `InFlight` is written as `Due`.
    pub fn put(&mut self, entry: Entry) {
        self.highest = self.highest.max(entry.id.raw());
        self.work.push(Work::Put(entry));
    }

    /// Removes an entry and its share of the body.
    pub fn remove(&mut self, entry: &Entry) {
        self.work.push(Work::Remove(entry.clone()));
    }

    /// For records that are to be durable together with the entries: the ledger's.
    pub fn batch_mut(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.work.is_empty() && self.batch.is_empty()
    }

    /// Whether an entry of this id is put by it.
    pub(super) fn has(&self, id: EntryId) -> bool {
        self.work.iter().any(|work| matches!(work, Work::Put(entry) if entry.id == id))
    }

    /// The batch, and what is to happen in memory when it is on disk. The lease goes along and ends there.
    pub(super) fn finish(self, lease: Option<Lease>) -> (Batch, Then) {
        let Self { queue, mut batch, work, highest } = self;
        let none = BTreeSet::new();
        let mut follow = Vec::with_capacity(work.len());
        for item in &work {
            let (Work::Put(entry) | Work::Remove(entry)) = item;
            let index = lease.as_ref().filter(|lease| lease.id() == entry.id).map_or(&none, Lease::index);
            match item {
                Work::Put(_) => {
                    record::put(&mut batch, entry, index);
                    follow.push(Follow::Put(entry.id, record::facts(entry)));
                }
                Work::Remove(_) => {
                    record::remove(&mut batch, entry, index);
                    follow.push(Follow::Remove(entry.id));
                }
            }
        }
        let mark = reserve(&queue, &mut batch, highest);
        let then: Then = Box::new(move |result| {
            match (result, lease) {
                (Ok(()), lease) => {
                    queue.0.reserved.fetch_max(mark, Ordering::SeqCst);
                    let mut due = queue.due();
                    for step in follow {
                        match step {
                            Follow::Put(id, facts) => due.put(id, facts),
                            Follow::Remove(id) => {
                                due.remove(id);
                            }
                        }
                    }
                    drop(due);
                    // Lands the entry.
                    drop(lease);
                }
                (Err(error), Some(lease)) => lease.fail(error),
                (Err(_), None) => {}
            }
            queue.0.changed.notify_waiters();
        });
        (batch, then)
    }
}

/// Raises the high-water mark when the ids of this change reach beyond it; gives the mark that holds once it is on disk.
fn reserve(queue: &Queue, batch: &mut Batch, highest: u64) -> u64 {
    if highest <= queue.0.reserved.load(Ordering::SeqCst) {
        return 0;
    }
    let mark = highest.saturating_add(RESERVE);
    batch.raise(keys::HIGH_WATER, mark);
    mark
}
