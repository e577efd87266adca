//! What the queue writes: the entry, the short record for the due order, the supersede index, the quarantine.
//!
//! Invariants: an entry's three kinds of records are written and removed in the same batch; the index holds one record
//! for each recipient for whom something is still to be done (for an RSVP: for its attendee), and none for entries
//! without an event; a record of version 1 is the struct as it stands here and in `entry`, and changes only together
//! with its version number (`golden` below fails when it does not).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::ident::{EntryId, EventId, UserId};
use crate::store::codec::{self, CodecError};
use crate::store::{Batch, keys};

use super::due::Facts;
use super::entry::{Destination, Entry, State, Verb};

const ENTRY: u8 = 1;
const DUE: u8 = 1;
const QUARANTINED: u8 = 1;
const INDEX: u8 = 1;

/// What the due order needs of an entry, and the body that goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DueRecord {
    pub destination: Destination,
    pub state: State,
    pub next_attempt: u64,
    pub deadline: u64,
    pub received: u64,
    pub waits_for_hop: bool,
    pub body: u64,
}

impl DueRecord {
    pub fn of(entry: &Entry) -> Self {
        let facts = facts(entry);
        Self {
            destination: facts.destination,
            state: facts.state,
            next_attempt: facts.next_attempt.0,
            deadline: facts.deadline.0,
            received: facts.received.0,
            waits_for_hop: facts.waits_for_hop,
            body: entry.body.id.raw(),
        }
    }

    pub fn decode(record: &[u8]) -> Result<Self, CodecError> {
        codec::decode(DUE, record)
    }

    pub fn facts(self) -> Facts {
        Facts {
            destination: self.destination,
            state: self.state,
            next_attempt: Timestamp(self.next_attempt),
            deadline: Timestamp(self.deadline),
            received: Timestamp(self.received),
            waits_for_hop: self.waits_for_hop,
        }
    }
}

/// What the order is to know of an entry; an entry in flight counts as due, since being in flight is not durable.
pub(super) fn facts(entry: &Entry) -> Facts {
    Facts {
        destination: entry.destination.clone(),
        state: durable_state(entry.state),
        next_attempt: entry.next_attempt,
        deadline: entry.deadline,
        received: entry.received,
        waits_for_hop: entry.waits_for_hop,
    }
}

fn durable_state(state: State) -> State {
    if state == State::InFlight { State::Due } else { state }
}

/// An entry that does not decode, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct QuarantineRecord {
    pub at: u64,
    pub reason: String,
    pub body: Option<u64>,
    pub octets: Vec<u8>,
}

impl QuarantineRecord {
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(QUARANTINED, self)
    }

    pub fn decode(record: &[u8]) -> Result<Self, CodecError> {
        codec::decode(QUARANTINED, record)
    }
}

pub(super) fn decode_entry(record: &[u8]) -> Result<Entry, CodecError> {
    codec::decode(ENTRY, record)
}

/// Writes all records of an entry; `old` are the index keys that it may have left before.
pub(super) fn put(batch: &mut Batch, entry: &Entry, old: &BTreeSet<Vec<u8>>) {
    let stored;
    let on_disk = if entry.state == State::InFlight {
        stored = Entry { state: State::Due, ..entry.clone() };
        &stored
    } else {
        entry
    };
    let encoded = codec::encode(ENTRY, on_disk).and_then(|e| Ok((e, codec::encode(DUE, &DueRecord::of(entry))?)));
    match encoded.and_then(|(entry, due)| Ok((entry, due, codec::encode(INDEX, &on_disk.version.unwrap_or(0))?))) {
        Err(error) => batch.refuse(format!("entry {}: {error}", entry.id)),
        Ok((record, due, version)) => {
            batch.put(keys::by_id(keys::ENTRY, entry.id), record);
            batch.put(keys::by_id(keys::DUE, entry.id), due);
            let new = index_keys(entry, false);
            // Those of recipients who are settled, or were split off.
            for gone in index_keys(entry, true).union(old).filter(|key| !new.contains(*key)) {
                batch.delete(gone.clone());
            }
            for key in new {
                batch.put(key, version.clone());
            }
        }
    }
}

/// Removes all records of an entry and its share of the body.
pub(super) fn remove(batch: &mut Batch, entry: &Entry, old: &BTreeSet<Vec<u8>>) {
    batch.delete(keys::by_id(keys::ENTRY, entry.id));
    batch.delete(keys::by_id(keys::DUE, entry.id));
    for key in index_keys(entry, true).union(old) {
        batch.delete(key.clone());
    }
    batch.release(entry.body.id);
}

/// The keys of an entry in the supersede index: of those still waiting, or of everybody it names.
pub(super) fn index_keys(entry: &Entry, everybody: bool) -> BTreeSet<Vec<u8>> {
    let Some(event) = &entry.event_id else { return BTreeSet::new() };
    let instance = entry.recurrence_id.as_deref();
    let key = |who: &UserId| index_key(event, instance, entry.verb, who, entry.id);
    if let Some(answer) = &entry.answer {
        return BTreeSet::from([key(&answer.attendee)]);
    }
    entry.recipients.iter().filter(|r| everybody || !r.status.settled()).map(|r| key(&r.original)).collect()
}

/// What all entries for this event, instance, verb and person have in common. A digest, since an event-id may be longer
/// than a key should be.
pub(super) fn index_prefix(event: &EventId, instance: Option<&str>, verb: Verb, who: &UserId) -> Vec<u8> {
    let verb = match verb {
        Verb::SendEvent => b'e',
        Verb::Rsvp => b'r',
        Verb::Mail => b'm',
        Verb::Report => b'p',
    };
    let mut digest = Sha256::new();
    for part in [event.as_str().as_bytes(), instance.map_or(b"\0".as_slice(), str::as_bytes), &[verb], who.key().as_bytes()] {
        // The length before each part: no two lists of parts run together to the same octets.
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    keys::key(keys::SUPERSEDE, &digest.finalize()[..16])
}

fn index_key(event: &EventId, instance: Option<&str>, verb: Verb, who: &UserId, id: EntryId) -> Vec<u8> {
    let mut key = index_prefix(event, instance, verb, who);
    key.extend_from_slice(&id.raw().to_be_bytes());
    key
}

/// The entry and version of an index record.
pub(super) fn read_index(key: &[u8], record: &[u8]) -> Option<(EntryId, u32)> {
    let raw = key.last_chunk::<8>()?;
    let version = codec::decode(INDEX, record).ok()?;
    Some((EntryId::from_raw(u64::from_be_bytes(*raw)), version))
}
