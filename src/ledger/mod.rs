//! The event ledger: what must be known between deliveries (bridge 3).
//!
//! The queue holds what is on its way; the ledger holds which events there are, who is in them under which addresses, which
//! versions passed and what was answered, what a reply address means, and which redirects were learned. It lives in
//! the same store, and its changes ride in the same commits as the queue's (`Change::batch_mut`).
//!
//! Invariants: whoever reads a record in order to change it holds [`Ledger::lock`] of that event until his commit is
//! done; event-id and version of an event of ours are never given twice; tokens are stored with their meaning and never
//! recomputed from the secret (bridge 4); an expired redirect is never returned.

pub mod chronicle;
mod failures;
pub mod forget;
mod former;
pub mod judge;
pub mod objects;
pub mod proposals;
pub mod records;
#[cfg(test)]
mod tests;
pub mod times;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::clock::Timestamp;
use crate::ident::{EventId, UserId};
use crate::store::codec::{self, CodecError};
use crate::store::{Batch, ReadError, Store, keys};
use records::{EventRecord, PersonRecord, RedirectRecord, TokenRecord};

/// Locks for events; two events that share one only wait for each other now and then.
const LOCKS: usize = 1024;
/// People read of one event.
const PEOPLE: usize = 1001;
/// How long a learned redirect is believed.
pub const REDIRECT_LIFE: Duration = Duration::from_secs(90 * 86_400);

/// A record with its version octet.
trait Record: Serialize + DeserializeOwned {
    /// Of what is written today.
    const VERSION: u8 = 1;

    /// Reads the versions before that.
    fn former(_version: u8, _octets: &[u8]) -> Option<Result<Self, CodecError>> {
        None
    }
}

impl Record for EventId {}
impl Record for TokenRecord {}
impl Record for RedirectRecord {}

impl Record for EventRecord {
    const VERSION: u8 = 2;

    fn former(version: u8, octets: &[u8]) -> Option<Result<Self, CodecError>> {
        (version == 1).then(|| codec::decode::<former::EventRecord1>(version, octets).map(Self::from))
    }
}

impl Record for PersonRecord {
    const VERSION: u8 = 5;

    fn former(version: u8, octets: &[u8]) -> Option<Result<Self, CodecError>> {
        match version {
            1 => Some(codec::decode::<former::PersonRecord1>(1, octets).map(|old| former::PersonRecord2::from(old).into())),
            2 => Some(codec::decode::<former::PersonRecord2>(2, octets).map(Self::from)),
            3 => Some(codec::decode::<former::PersonRecord3>(3, octets).map(Self::from)),
            4 => Some(codec::decode::<former::PersonRecord4>(4, octets).map(Self::from)),
            _ => None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("ledger record {what} cannot be read: {error}; `cip-relay queue check` lists damaged records")]
    Record { what: String, error: CodecError },
}

/// The ledger of one store. Clones share one state.
#[derive(Clone)]
pub struct Ledger {
    store: Store,
    locks: Arc<Vec<Arc<Mutex<()>>>>,
}

/// Which kind of id a redirect is about (draft 2.2, 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectKind {
    User,
    Event,
}

impl Ledger {
    pub fn new(store: Store) -> Self {
        Self { store, locks: Arc::new((0..LOCKS).map(|_| Arc::default()).collect()) }
    }

    /// Held from reading an event's records until the commit that changes them is durable.
    pub async fn lock(&self, event: &EventId) -> OwnedMutexGuard<()> {
        let mut hasher = DefaultHasher::new();
        event.hash(&mut hasher);
        let slot = usize::try_from(hasher.finish() % LOCKS as u64).unwrap_or(0);
        self.locks[slot].clone().lock_owned().await
    }

    pub fn event(&self, id: &EventId) -> Result<Option<EventRecord>, LedgerError> {
        self.read(&event_key(id), || format!("of event {id}"))
    }

    pub fn put_event(&self, batch: &mut Batch, record: &EventRecord) -> Result<(), LedgerError> {
        batch.put(event_key(&record.event_id), encode(record, || format!("of event {}", record.event_id))?);
        batch.put(uid_key(&record.ical_uid, &record.owner), encode(&record.event_id, || format!("of UID {}", record.ical_uid))?);
        Ok(())
    }

    /// The event of an iCalendar UID from this organizer.
    pub fn event_of_uid(&self, uid: &str, organizer: &UserId) -> Result<Option<EventId>, LedgerError> {
        self.read(&uid_key(uid, organizer), || format!("of UID {uid}"))
    }

    pub fn person(&self, event: &EventId, user: &UserId) -> Result<Option<PersonRecord>, LedgerError> {
        self.read(&person_key(event, user), || format!("of {user} in {event}"))
    }

    pub fn put_person(&self, batch: &mut Batch, record: &PersonRecord) -> Result<(), LedgerError> {
        batch.put(person_key(&record.event_id, &record.user), encode(record, || format!("of {} in {}", record.user, record.event_id))?);
        Ok(())
    }

    /// The person with this address in an event, under any of the addresses that the ledger knows for him.
    pub fn person_at(&self, event: &EventId, address: &UserId) -> Result<Option<PersonRecord>, LedgerError> {
        match self.person(event, address)? {
            Some(person) => Ok(Some(person)),
            None => Ok(self.people(event)?.into_iter().find(|p| p.is(address))),
        }
    }

    /// Everybody in an event, at most 1,001.
    pub fn people(&self, event: &EventId) -> Result<Vec<PersonRecord>, LedgerError> {
        let prefix = people_prefix(event);
        self.store
            .scan(&prefix, &prefix, PEOPLE)?
            .into_iter()
            .map(|(_, value)| decode(&value, || format!("of a person in {event}")))
            .collect()
    }

    pub fn token(&self, token: &str) -> Result<Option<TokenRecord>, LedgerError> {
        self.read(&token_key(token), || format!("of token {token}"))
    }

    pub fn put_token(&self, batch: &mut Batch, token: &str, record: &TokenRecord) -> Result<(), LedgerError> {
        batch.put(token_key(token), encode(record, || "of a token".to_owned())?);
        // The event's tokens are looked for by the administrator, and when the event is forgotten.
        let key = [tokens_prefix(&record.event_id), token.to_ascii_lowercase().into_bytes()].concat();
        batch.put(key, encode(&record.event_id, || "of a token".to_owned())?);
        Ok(())
    }

    /// The tokens that were given for an event, at most `limit`, from after `after`.
    pub fn tokens(&self, event: &EventId, after: Option<&str>, limit: usize) -> Result<Vec<(String, TokenRecord)>, LedgerError> {
        let prefix = tokens_prefix(event);
        let from = after.map_or_else(|| prefix.clone(), |token| keys::after(&[&prefix, token.as_bytes()].concat()));
        let mut found = Vec::new();
        for (key, _) in self.store.scan(&prefix, &from, limit)? {
            let token = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
            if let Some(record) = self.token(&token)? {
                found.push((token, record));
            }
        }
        Ok(found)
    }

    /// Where an id has moved to, if that is known and still believed.
    pub fn redirect(&self, kind: RedirectKind, old: &str, now: Timestamp) -> Result<Option<RedirectRecord>, LedgerError> {
        let record: Option<RedirectRecord> = self.read(&redirect_key(kind, old), || format!("of the redirect of {old}"))?;
        Ok(record.filter(|r| r.expires.is_none_or(|end| now < end)))
    }

    pub fn redirect_of_user(&self, old: &UserId, now: Timestamp) -> Result<Option<UserId>, LedgerError> {
        Ok(self.redirect(RedirectKind::User, &old.key(), now)?.and_then(|r| UserId::parse(&r.new).ok()))
    }

    /// Where an event has moved, as the administrator, the relay itself or the event-id's own server has said: what another
    /// server said once counts for nobody (profile 3).
    pub fn redirect_of_event(&self, old: &EventId, now: Timestamp) -> Result<Option<EventId>, LedgerError> {
        let server = old.server().map(|server| server.key());
        // What the administrator said has no end.
        let decided = |r: &RedirectRecord| r.expires.is_none() || r.source == RedirectRecord::OWN;
        let trusted = |r: &RedirectRecord| decided(r) || server.as_deref().is_some_and(|s| r.source.eq_ignore_ascii_case(s));
        let known = self.redirect(RedirectKind::Event, old.as_str(), now)?.filter(trusted);
        Ok(known.and_then(|r| EventId::parse(&r.new).ok()))
    }

    pub fn put_redirect(&self, batch: &mut Batch, kind: RedirectKind, record: &RedirectRecord) -> Result<(), LedgerError> {
        let old = match kind {
            RedirectKind::User => record.old.to_ascii_lowercase(),
            RedirectKind::Event => record.old.clone(),
        };
        batch.put(redirect_key(kind, &old), encode(record, || format!("of the redirect of {old}"))?);
        Ok(())
    }

    pub fn remove_redirect(&self, batch: &mut Batch, kind: RedirectKind, old: &str) {
        let old = match kind {
            RedirectKind::User => old.to_ascii_lowercase(),
            RedirectKind::Event => old.to_owned(),
        };
        batch.delete(redirect_key(kind, &old));
    }

    /// Redirects in key order, expired ones included, from after `after` (a key that this function returned).
    pub fn redirects(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, RedirectRecord)>, LedgerError> {
        self.page(keys::REDIRECT, after, limit)
    }

    /// Events in key order, from after `after` (a key that this function returned).
    pub fn events(&self, after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, EventRecord)>, LedgerError> {
        self.page(&[keys::LEDGER, b"e"].concat(), after, limit)
    }

    /// A small value of the relay's own, such as the token secret.
    pub fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.store.get(&meta_key(name))?)
    }

    pub fn put_meta(&self, batch: &mut Batch, name: &str, value: Vec<u8>) {
        batch.put(meta_key(name), value);
    }

    /// Single records whose names begin with `prefix`, in key order, from after `after` (a key that this function returned).
    pub fn metas(&self, prefix: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<crate::store::Record>, LedgerError> {
        let prefix = meta_key(prefix);
        Ok(self.store.scan(&prefix, &after.map_or_else(Vec::new, keys::after), limit)?)
    }

    fn page<T: Record>(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, T)>, LedgerError> {
        let from = after.map_or_else(|| prefix.to_vec(), keys::after);
        self.store
            .scan(prefix, &from, limit)?
            .into_iter()
            .map(|(key, value)| Ok((key.clone(), decode(&value, || format!("at key {key:02x?}"))?)))
            .collect()
    }

    fn read<T: Record>(&self, key: &[u8], what: impl Fn() -> String) -> Result<Option<T>, LedgerError> {
        self.store.get(key)?.map(|value| decode(&value, what)).transpose()
    }
}

fn decode<T: Record>(value: &[u8], what: impl Fn() -> String) -> Result<T, LedgerError> {
    let former = codec::version(value).and_then(|version| T::former(version, value));
    former.unwrap_or_else(|| codec::decode(T::VERSION, value)).map_err(|error| LedgerError::Record { what: what(), error })
}

fn encode<T: Record>(record: &T, what: impl Fn() -> String) -> Result<Vec<u8>, LedgerError> {
    codec::encode(T::VERSION, record).map_err(|error| LedgerError::Record { what: what(), error })
}

/// Names go into keys as 16 octets of their SHA-256: bounded, and without anybody's spelling.
fn short(parts: &[&str]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut out = [0; 16];
    out.copy_from_slice(&digest[..16]);
    out
}

fn event_key(id: &EventId) -> Vec<u8> {
    [keys::LEDGER, b"e", &short(&[id.as_str()])].concat()
}

fn people_prefix(id: &EventId) -> Vec<u8> {
    [keys::LEDGER, b"p", &short(&[id.as_str()])].concat()
}

fn person_key(id: &EventId, user: &UserId) -> Vec<u8> {
    [people_prefix(id), short(&[&user.key()]).to_vec()].concat()
}

/// Which tokens are an event's. Digests may meet; the token's own record says whose it is.
fn tokens_prefix(id: &EventId) -> Vec<u8> {
    [keys::LEDGER, b"k", &short(&[id.as_str()])].concat()
}

fn uid_key(uid: &str, organizer: &UserId) -> Vec<u8> {
    [keys::LEDGER, b"u", &short(&[uid, &organizer.key()])].concat()
}

fn token_key(token: &str) -> Vec<u8> {
    [keys::TOKEN, token.to_ascii_lowercase().as_bytes()].concat()
}

fn redirect_key(kind: RedirectKind, old: &str) -> Vec<u8> {
    let kind = match kind {
        RedirectKind::User => b"u".as_slice(),
        RedirectKind::Event => b"e".as_slice(),
    };
    [keys::REDIRECT, kind, &short(&[old])].concat()
}

fn meta_key(name: &str) -> Vec<u8> {
    [keys::META, b"relay-", name.as_bytes()].concat()
}

/// What any of these records looks like to a person or a program.
pub fn json<T: Serialize>(record: &T) -> serde_json::Value {
    serde_json::to_value(record).unwrap_or(serde_json::Value::Null)
}
