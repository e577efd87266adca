//! In memory, what the journal holds and the database does not yet.
//!
//! Two layers: what is being worked into the database, and over it what was committed since. Invariants: a row is here from
//! its commit until the database holds it and has flushed it, so that whoever looks here first and into the database
//! then misses nothing; the newer layer hides the older one, and both hide the database; a key that goes is kept as
//! such for as long.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::Record;
use super::journal::Row;

/// What a row takes beside its octets.
const OVERHEAD: usize = 64;

/// Rows by their keys.
#[derive(Debug, Default)]
pub(super) struct Layer {
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    octets: usize,
}

impl Layer {
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.rows.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    fn insert(&mut self, (key, value): Row) {
        let size = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        let (fresh, new) = (key.len() + OVERHEAD, size(&value));
        match self.rows.insert(key, value) {
            Some(old) => self.octets = (self.octets + new).saturating_sub(size(&old)),
            None => self.octets += fresh + new,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    newer: Layer,
    older: Option<Arc<Layer>>,
}

/// What is pending for a key.
pub(super) enum Known {
    /// Nothing: the database has what there is.
    Not,
    Gone,
    Value(Vec<u8>),
}

/// A portion of what is pending, in the order of keys.
pub(super) struct Portion {
    pub rows: Vec<Row>,
    /// Behind this key nothing was looked at; `None`: there is nothing more.
    pub until: Option<Vec<u8>>,
}

impl Pending {
    pub fn put(&mut self, rows: impl Iterator<Item = Row>) {
        rows.for_each(|row| self.newer.insert(row));
    }

    /// Octets of what was committed since the last [`Pending::freeze`].
    pub fn octets(&self) -> usize {
        self.newer.octets
    }

    /// Octets of all.
    pub fn all_octets(&self) -> usize {
        self.newer.octets + self.older.as_ref().map_or(0, |layer| layer.octets)
    }

    /// What was committed until now, to be worked into the database; `None`: nothing was, or the last ones are not
    /// [`Pending::settled`] yet.
    pub fn freeze(&mut self) -> Option<Arc<Layer>> {
        if self.older.is_some() || self.newer.rows.is_empty() {
            return None;
        }
        let layer = Arc::new(std::mem::take(&mut self.newer));
        self.older = Some(layer.clone());
        Some(layer)
    }

    /// What was frozen is in the database, and flushed there.
    pub fn settled(&mut self) {
        self.older = None;
    }

    pub fn get(&self, key: &[u8]) -> Known {
        match self.newer.rows.get(key).or_else(|| self.older.as_ref()?.rows.get(key)) {
            None => Known::Not,
            Some(None) => Known::Gone,
            Some(Some(value)) => Known::Value(value.clone()),
        }
    }

    /// Rows with this prefix from the key `from` on, gone ones among them: until `limit` are there that are not gone, or
    /// `most` in all.
    pub fn scan(&self, prefix: &[u8], from: &[u8], limit: usize, most: usize) -> Portion {
        let range = || (Bound::Included(from), Bound::Unbounded);
        let none = BTreeMap::new();
        let mut newer = self.newer.rows.range::<[u8], _>(range()).peekable();
        let mut older = self.older.as_ref().map_or(&none, |layer| &layer.rows).range::<[u8], _>(range()).peekable();
        let (mut rows, mut live) = (Vec::new(), 0);
        while live < limit && rows.len() < most {
            let order = match (newer.peek(), older.peek()) {
                (Some((a, _)), Some((b, _))) => a.cmp(b),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => return Portion { rows, until: None },
            };
            if order.is_eq() {
                older.next();
            }
            let next = if order.is_gt() { older.next() } else { newer.next() };
            let Some((key, value)) = next.filter(|(key, _)| key.starts_with(prefix)) else { return Portion { rows, until: None } };
            live += usize::from(value.is_some());
            rows.push((key.clone(), value.clone()));
        }
        let until = rows.last().map(|(key, _)| key.clone());
        Portion { rows, until }
    }
}

/// A portion and what the database holds from the same key on, as far as the portion reaches.
pub(super) fn merge(portion: Portion, database: Vec<Record>) -> Vec<Record> {
    let mut merged = Vec::with_capacity(database.len() + portion.rows.len());
    let mut database = database.into_iter().peekable();
    for (key, value) in portion.rows {
        while let Some(record) = database.next_if(|(other, _)| *other < key) {
            merged.push(record);
        }
        database.next_if(|(other, _)| *other == key);
        merged.extend(value.map(|value| (key, value)));
    }
    match portion.until {
        Some(until) => merged.extend(database.take_while(|(key, _)| *key <= until)),
        None => merged.extend(database),
    }
    merged
}
