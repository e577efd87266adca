//! What the store holds: the database, and over it what the journal holds and the database does not yet.
//!
//! Invariants: a reader sees what was committed and nothing else; what depends on the present state (references,
//! high-water marks) is worked out by the committer, which alone changes it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::ident::EntryId;

use super::batch::Op;
use super::body::{self, Header};
use super::engine::Engine;
use super::journal::Row;
use super::pending::{self, Known, Pending};
use super::{ReadError, Record, codec, keys};

const NUMBER: u8 = 1;
/// Rows that go, looked at in one portion of a scan beside those that stay.
const GONE_AT_A_TIME: usize = 256;

pub(super) struct State {
    pub engine: Engine,
    pending: RwLock<Pending>,
}

impl State {
    pub fn new(engine: Engine) -> Self {
        Self { engine, pending: RwLock::default() }
    }

    // A row is in a layer or not, also when somebody has panicked under the lock.
    pub fn pending(&self) -> RwLockReadGuard<'_, Pending> {
        self.pending.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn pending_mut(&self) -> RwLockWriteGuard<'_, Pending> {
        self.pending.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let pending = self.pending().get(key);
        match pending {
            Known::Not => self.engine.get(key),
            Known::Gone => Ok(None),
            Known::Value(value) => Ok(Some(value)),
        }
    }

    pub fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Record>, ReadError> {
        let mut found: Vec<Record> = Vec::new();
        let mut from = from.max(prefix).to_vec();
        while found.len() < limit {
            let room = limit - found.len();
            let portion = self.pending().scan(prefix, &from, room, room + GONE_AT_A_TIME);
            // Each row of the portion may hide one of the database's.
            let database = self.engine.scan(prefix, &from, room + portion.rows.len())?;
            let next = portion.until.as_deref().map(keys::after);
            found.extend(pending::merge(portion, database));
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    pub fn number(&self, key: &[u8]) -> Result<u64, ReadError> {
        match self.get(key)? {
            None => Ok(0),
            Some(record) => codec::decode(NUMBER, &record).map_err(|e| ReadError(format!("{}: {e}", key.escape_ascii()))),
        }
    }

    /// Turns operations into rows. Later ones on the same key win, as they would one after the other.
    pub fn resolve(&self, ops: impl Iterator<Item = Op>) -> Result<BTreeMap<Vec<u8>, Option<Vec<u8>>>, String> {
        let mut rows = BTreeMap::new();
        let mut numbers: HashMap<Vec<u8>, u64> = HashMap::new();
        let mut bodies: HashMap<EntryId, Touched> = HashMap::new();
        for op in ops {
            match op {
                Op::Put(key, value) => {
                    rows.insert(key, Some(value));
                }
                Op::Delete(key) => {
                    rows.insert(key, None);
                }
                Op::Raise(key, value) => {
                    let highest = numbers.entry(key).or_default();
                    *highest = (*highest).max(value);
                }
                Op::NewBody(id, packed) => {
                    for (n, piece) in (0..).zip(packed.pieces) {
                        rows.insert(keys::piece(id, n), Some(piece));
                    }
                    bodies.insert(id, Touched { header: packed.header, inline: packed.inline, refs: packed.header.refs.into() });
                }
                Op::Refs(id, change) => {
                    let body = match bodies.entry(id) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(place) => match self.body_header(id)? {
                            Some(body) => place.insert(body),
                            None => continue,
                        },
                    };
                    body.refs += change;
                }
            }
        }
        for (key, value) in numbers {
            if value > self.number(&key).unwrap_or(0) {
                let record = codec::encode(NUMBER, &value).map_err(|e| e.to_string())?;
                rows.insert(key, Some(record));
            }
        }
        for (id, body) in bodies {
            body.write(id, &mut rows)?;
        }
        Ok(rows)
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

    /// What was just made durable by the journal can be read from now on.
    pub fn show(&self, rows: impl IntoIterator<Item = Row>) {
        self.pending_mut().put(rows.into_iter());
    }
}

struct Touched {
    header: Header,
    inline: Vec<u8>,
    refs: i64,
}

impl Touched {
    fn write(mut self, id: EntryId, rows: &mut BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Result<(), String> {
        let key = keys::by_id(keys::BODY, id);
        if self.refs <= 0 {
            rows.insert(key, None);
            for n in 0..self.header.pieces {
                rows.insert(keys::piece(id, n), None);
            }
            return Ok(());
        }
        self.header.refs = u32::try_from(self.refs).unwrap_or(u32::MAX);
        rows.insert(key, Some(body::encode_header(&self.header, &self.inline).map_err(|e| e.to_string())?));
        Ok(())
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
