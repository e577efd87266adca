//! Operations that become durable together.
//!
//! Invariant: a batch is applied whole or not at all, in its order; what depends on the present state of the store
//! (reference counts, high-water marks) is worked out by the committer, the only writer, and is therefore exact.

use std::fmt;

use crate::ident::EntryId;

use super::body::Packed;

/// Octets of one value. Leaves of the tree hold up to 16 neighbours and must stay below 4 MiB (see `store`).
pub const VALUE_MAX: usize = 240 << 10;
/// Octets of one key.
pub const KEY_MAX: usize = 2 << 10;
/// Octets of one batch.
pub const BATCH_MAX: usize = 256 << 20;

pub(super) enum Op {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    /// Writes the number unless a greater one stands there.
    Raise(Vec<u8>, u64),
    NewBody(EntryId, Packed),
    /// Adds to the references of a body; at zero its records go.
    Refs(EntryId, i64),
}

/// A list of operations for [`super::Store::commit`].
#[derive(Default)]
pub struct Batch {
    pub(super) ops: Vec<Op>,
    octets: usize,
    refused: Option<String>,
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a record. A value above [`VALUE_MAX`] makes the commit fail: what is that large is a body.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        let (key, value) = (key.into(), value.into());
        if value.len() > VALUE_MAX || key.len() > KEY_MAX {
            self.refuse(format!("a record of {} octets under a key of {} octets is too large to be stored", value.len(), key.len()));
            return;
        }
        self.octets += key.len() + value.len();
        self.ops.push(Op::Put(key, value));
    }

    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        let key = key.into();
        self.octets += key.len();
        self.ops.push(Op::Delete(key));
    }

    /// Writes `value` as a number, unless a greater one stands there ([`super::Store::number`] reads it).
    pub fn raise(&mut self, key: impl Into<Vec<u8>>, value: u64) {
        self.ops.push(Op::Raise(key.into(), value));
    }

    /// Stores a body with `refs` references (at least one). Compresses here, in the caller's thread.
    pub fn add_body(&mut self, id: EntryId, octets: &[u8], refs: u32) {
        let packed = Packed::new(octets, refs.max(1));
        self.octets += packed.octets();
        self.ops.push(Op::NewBody(id, packed));
    }

    /// One more reference to a body that is there.
    pub fn retain(&mut self, id: EntryId) {
        self.ops.push(Op::Refs(id, 1));
    }

    /// One reference less; the last one takes the body with it. A body that is not there is left at that.
    pub fn release(&mut self, id: EntryId) {
        self.ops.push(Op::Refs(id, -1));
    }

    /// Makes the commit fail with these words: something that belongs to the batch could not be put into it.
    pub fn refuse(&mut self, why: String) {
        self.refused.get_or_insert(why);
    }

    /// Octets to be written, without the overhead.
    pub fn octets(&self) -> usize {
        self.octets
    }

    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.refused.is_none()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match &self.refused {
            Some(why) => Err(why.clone()),
            None if self.octets > BATCH_MAX => Err(format!("{} octets are too many for one commit (at most {BATCH_MAX})", self.octets)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("operations", &self.ops.len()).field("octets", &self.octets).finish_non_exhaustive()
    }
}
