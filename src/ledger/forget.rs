//! The end of what is known of an event (bridge 3), and what outlives it.
//!
//! Invariants: an event goes in one batch, with its people, tokens, times, instances and history, so that no crash leaves
//! half of it; of an event whose versions the relay gives, id, owner and highest version stay for ever as a [`Tombstone`],
//! so that no version is given twice and no id to another event (profile 8).

use serde::{Deserialize, Serialize};

use super::chronicle::chronicle_key;
use super::records::TokenRecord;
use super::times::{engagement_key, times_prefix};
use super::{Batch, Ledger, LedgerError, PEOPLE, Record, encode, event_key, keys, people_prefix, short, token_key, tokens_prefix, uid_key};
use crate::clock::Timestamp;
use crate::ident::{EventId, UserId};

/// What outlives an event of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    pub event_id: EventId,
    pub owner: UserId,
    /// The highest version that was given.
    pub version: u32,
    /// The id under which the event went on: its versions were used up, or the server-id changed.
    pub next: Option<EventId>,
    pub at: Timestamp,
}

impl Record for Tombstone {}

/// Tokens removed with their event in one batch; what is left of them goes as tokens without an event.
const TOKENS: usize = 4_000;
/// Changes of an event's id that are followed.
const STEPS: usize = 16;

impl Ledger {
    pub fn tombstone(&self, event: &EventId) -> Result<Option<Tombstone>, LedgerError> {
        self.read(&tombstone_key(event), || format!("of the former event {event}"))
    }

    pub fn put_tombstone(&self, batch: &mut Batch, record: &Tombstone) -> Result<(), LedgerError> {
        batch.put(tombstone_key(&record.event_id), encode(record, || format!("of the former event {}", record.event_id))?);
        Ok(())
    }

    /// The id under which an event is now, which it may have changed (profile 8).
    pub fn followed(&self, event: &EventId) -> Result<EventId, LedgerError> {
        let mut id = event.clone();
        // Each step is a lifetime of versions, or a change of the server-id: more would be a circle.
        for _ in 0..STEPS {
            match self.tombstone(&id)?.and_then(|former| former.next) {
                Some(next) => id = next,
                None => break,
            }
        }
        Ok(id)
    }

    /// Former events in key order, from after `after` (a key that this function returned).
    pub fn tombstones(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Tombstone)>, LedgerError> {
        self.page(&[keys::LEDGER, b"z"].concat(), after, limit)
    }

    /// Removes everything that is known of an event. The caller holds its lock. Gives whether there was anything.
    pub fn forget(&self, batch: &mut Batch, event: &EventId, now: Timestamp) -> Result<bool, LedgerError> {
        let Some(record) = self.event(event)? else { return Ok(false) };
        if record.own {
            let before = self.tombstone(event)?;
            let stone = Tombstone {
                event_id: event.clone(),
                owner: record.owner.clone(),
                version: record.version().max(before.as_ref().map_or(0, |b| b.version)),
                next: before.and_then(|b| b.next),
                at: now,
            };
            self.put_tombstone(batch, &stone)?;
        }
        for person in self.people(event)? {
            for user in person.addresses.iter().chain([&person.user]) {
                batch.delete(engagement_key(user, event));
            }
        }
        batch.delete(engagement_key(&record.owner, event));
        let prefixes = [(people_prefix(event), PEOPLE), (times_prefix(event), PEOPLE), (tokens_prefix(event), TOKENS)];
        for (prefix, limit) in prefixes {
            for (key, _) in self.store.scan(&prefix, &prefix, limit)? {
                batch.delete(key);
            }
        }
        for (token, token_record) in self.tokens(event, None, TOKENS)? {
            if token_record.event_id == *event {
                batch.delete(token_key(&token));
            }
        }
        // The same UID may have come to mean another event of this owner.
        if self.event_of_uid(&record.ical_uid, &record.owner)?.as_ref() == Some(event) {
            batch.delete(uid_key(&record.ical_uid, &record.owner));
        }
        self.forget_objects(batch, event)?;
        batch.delete(chronicle_key(event));
        batch.delete(event_key(event));
        Ok(true)
    }

    /// All tokens in key order, from after `after` (a key that this function returned), each with the token.
    pub fn all_tokens(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, TokenRecord)>, LedgerError> {
        self.page(keys::TOKEN, after, limit)
    }

    /// Removes a token by its key in [`Ledger::all_tokens`].
    pub fn remove_token(&self, batch: &mut Batch, key: &[u8], record: &TokenRecord) {
        batch.delete([tokens_prefix(&record.event_id), key[keys::TOKEN.len()..].to_vec()].concat());
        batch.delete(key);
    }
}

fn tombstone_key(event: &EventId) -> Vec<u8> {
    [keys::LEDGER, b"z", &short(&[event.as_str()])].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record is what the program wrote when its version was made: a change here needs a version of its own.
    #[test]
    fn golden() {
        let stone = Tombstone {
            event_id: EventId::parse("961@tiny.com").unwrap(),
            owner: UserId::parse("mary@tiny.com").unwrap(),
            version: 7,
            next: Some(EventId::parse("962@tiny.com").unwrap()),
            at: Timestamp(1_795_000_000_000),
        };
        assert_eq!(crc32fast::hash(&encode(&stone, String::new).unwrap()), 3_455_738_208);
    }
}
