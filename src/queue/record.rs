//! What the queue writes: the entry, the short record for the due order, the supersede index, the quarantine.
//!
//! Invariants: an entry's three kinds of records are written and removed in the same batch; the index holds one record
//! for each recipient for whom something is still to be done (for an RSVP: for its attendee), one more while the entry is
//! held, and none for entries without an event; a record of version 1 is the struct as it stands here and in `entry`, and changes only together
//! with its version number (`golden` below fails when it does not).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::ident::{EntryId, EventId, UserId};
use crate::store::codec::{self, CodecError};
use crate::store::{Batch, VALUE_MAX, keys};

use super::due::Facts;
use super::entry::{Destination, Entry, State, Verb};

/// Octets of an entry's record: less than a value may have, so that it fits into quarantine with what is said of it.
const ENTRY_MAX: usize = VALUE_MAX - (4 << 10);
/// Octets of the words that go into quarantine with a record.
const REASON_MAX: usize = 1 << 10;

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
    pub fn new(at: Timestamp, reason: &str, body: Option<u64>, octets: &[u8]) -> Self {
        let mut reason = reason.to_owned();
        reason.truncate(reason.floor_char_boundary(REASON_MAX));
        Self { at: at.0, reason, body, octets: octets.to_vec() }
    }

    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(QUARANTINED, self)
    }

    pub fn decode(record: &[u8]) -> Result<Self, CodecError> {
        codec::decode(QUARANTINED, record)
    }
}

fn encode_entry(entry: &Entry) -> Result<Vec<u8>, CodecError> {
    if entry.state == State::InFlight {
        return codec::encode(ENTRY, &Entry { state: State::Due, ..entry.clone() });
    }
    codec::encode(ENTRY, entry)
}

pub(super) fn decode_entry(record: &[u8]) -> Result<Entry, CodecError> {
    codec::decode(ENTRY, record)
}

/// Writes all records of an entry; `old` are the index keys that it may have left before.
pub(super) fn put(batch: &mut Batch, entry: &Entry, old: &BTreeSet<Vec<u8>>) {
    let encode = || -> Result<_, CodecError> {
        Ok((encode_entry(entry)?, codec::encode(DUE, &DueRecord::of(entry))?, codec::encode(INDEX, &entry.version.unwrap_or(0))?))
    };
    match encode() {
        Err(error) => batch.refuse(format!("entry {}: {error}", entry.id)),
        Ok((record, ..)) if record.len() > ENTRY_MAX => {
            batch.refuse(format!("entry {}: {} octets are too many for one entry (at most {ENTRY_MAX})", entry.id, record.len()));
        }
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
    let mut keys: BTreeSet<Vec<u8>> = match &entry.answer {
        Some(answer) => BTreeSet::from([key(&answer.attendee)]),
        None => entry.recipients.iter().filter(|r| everybody || !r.status.settled()).map(|r| key(&r.original)).collect(),
    };
    if entry.state == State::Held {
        keys.insert([held_prefix(event).as_slice(), &entry.id.raw().to_be_bytes()].concat());
    }
    keys
}

/// What all held entries of this event have in common: which are held is asked before one more is.
pub(super) fn held_prefix(event: &EventId) -> Vec<u8> {
    let mut digest = Sha256::new();
    digest.update(b"held");
    digest.update(event.as_str());
    keys::key(keys::SUPERSEDE, &digest.finalize()[..16])
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::entry::{Happening, Status};

    const AT: Timestamp = Timestamp(1_795_000_000_000);

    fn sample() -> Entry {
        Entry::sample(EntryId::from_raw(1 << 40), "tiny.com", AT)
    }

    /// A record of version 1 is what this program wrote when version 1 was made. A change of [`Entry`] (or of a type in it)
    /// that fails here needs a version of its own, with the old struct kept for reading, once a release has written such
    /// records; before that, the sum below is renewed.
    #[test]
    fn golden() {
        let quarantined = QuarantineRecord::new(AT, "why", Some(7), b"octets");
        let records = [encode_entry(&sample()), codec::encode(DUE, &DueRecord::of(&sample())), quarantined.encode()];
        let sums = records.map(|record| crc32fast::hash(&record.unwrap()));
        assert_eq!(
            sums,
            [187_246_228, 2_697_918_432, 2_176_124_792],
            "the encoding of an entry, a due record or a quarantined record has changed"
        );
    }

    #[test]
    fn being_in_flight_is_never_written() {
        let mut entry = sample();
        entry.state = State::InFlight;
        assert_eq!(DueRecord::of(&entry).state, State::Due);
        assert_eq!(decode_entry(&encode_entry(&entry).unwrap()).unwrap(), sample());
        assert_eq!(facts(&entry).state, State::Due);
    }

    #[test]
    fn a_thousand_recipients_with_long_histories_fit_and_come_back() {
        let mut entry = sample();
        let one = entry.recipients[0].clone();
        entry.recipients = (0..1000)
            .map(|n| {
                let user = UserId::parse(&format!("attendee.number.{n}@some.department.example{}.org", n % 7)).unwrap();
                let last = format!("{n}: 450 4.2.1 mailbox of {user} is busy, try again later please");
                super::super::entry::Recipient { user: user.clone(), original: user, last, status: Status::Queued, ..one.clone() }
            })
            .collect();
        entry.history = (0..Entry::HISTORY).map(|n| Happening { at: AT, what: format!("{n} ").repeat(160) }).collect();
        let record = codec::encode(ENTRY, &entry).unwrap();
        assert!(record.len() < ENTRY_MAX / 2, "{}", record.len());
        assert_eq!(decode_entry(&record).unwrap(), entry);
        let found = QuarantineRecord::new(AT, &"é".repeat(REASON_MAX), None, &vec![0xa5; ENTRY_MAX]);
        let stored = found.encode().unwrap();
        assert!(stored.len() <= VALUE_MAX);
        assert_eq!(QuarantineRecord::decode(&stored).unwrap(), found);
    }

    #[test]
    fn the_parts_of_an_index_key_do_not_run_together() {
        let event = |text: &str| EventId::parse(text).unwrap();
        let who = |text: &str| UserId::parse(text).unwrap();
        let (a, b) = (who("a@x.com"), who("b@x.com"));
        let all = [
            index_prefix(&event("e1"), None, Verb::Rsvp, &a),
            index_prefix(&event("e1"), None, Verb::Rsvp, &b),
            index_prefix(&event("e1"), None, Verb::SendEvent, &a),
            index_prefix(&event("e"), Some("1"), Verb::Rsvp, &a),
            index_prefix(&event("e1"), Some(""), Verb::Rsvp, &a),
            index_prefix(&event("E1"), None, Verb::Rsvp, &a),
        ];
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|key| key.len() == 17));
        assert_eq!(all[0], index_prefix(&event("e1"), None, Verb::Rsvp, &who("A@X.COM")));
    }
}
