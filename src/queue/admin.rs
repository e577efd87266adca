//! What the administrator needs of the queue: lists, the quarantine, the check, export and import.
//!
//! Invariants: lists are read in small portions and decoded one by one, so that memory does not grow with the queue;
//! nothing here holds up delivery; an exported entry holds all that another relay needs to go on with it.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::ident::EntryId;
use crate::store::{Batch, CommitError, ReadError, Records, codec, keys};

use super::change::Change;
use super::entry::{Entry, State};
use super::record::{self, DueRecord, QuarantineRecord};
use super::{Queue, QueueError};

/// How far ahead of the ids in use an imported id may be and still be kept: a day's worth.
const IMPORT_AHEAD: u64 = 86_400_000 << EntryId::COUNTER_BITS;

/// Which entries are meant. What is not set does not matter. Patterns compare without case, and `*` stands for anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    pub state: Option<State>,
    /// A recipient, as he was named or as he is reached now.
    pub to: Option<String>,
    pub owner: Option<String>,
    pub event: Option<String>,
    /// The server-id or domain of the destination.
    pub server: Option<String>,
    /// Received at least this long ago.
    pub older: Option<Duration>,
}

impl Filter {
    /// Whether nothing is asked of an entry: all are meant.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    pub fn matches(&self, entry: &Entry, now: Timestamp) -> bool {
        let is = |pattern: &Option<String>, text: &dyn Fn(&str) -> bool| pattern.as_deref().is_none_or(text);
        self.state.is_none_or(|state| state == entry.state)
            && self.older.is_none_or(|age| now.since(entry.received) >= age)
            && is(&self.server, &|p| glob(p, entry.destination.server().as_str()))
            && is(&self.event, &|p| entry.event_id.as_ref().is_some_and(|id| glob(p, id.as_str())))
            && is(&self.owner, &|p| entry.owner.as_ref().is_some_and(|o| glob(p, &o.to_string())))
            && is(&self.to, &|p| entry.recipients.iter().any(|r| glob(p, &r.user.to_string()) || glob(p, &r.original.to_string())))
    }
}

/// `*` is any text, everything else itself without regard to ASCII case. Costs at most the product of the lengths.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last star stood, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p).is_some_and(|c| c.eq_ignore_ascii_case(&text[t])) {
            p += 1;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, t) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// Entries in the order of their ids, see [`Queue::list`].
pub struct Entries {
    queue: Queue,
    records: Records,
    filter: Filter,
    now: Timestamp,
}

impl Iterator for Entries {
    type Item = Result<Entry, QueueError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (key, record) = match self.records.next()? {
                Ok(row) => row,
                Err(error) => return Some(Err(error.into())),
            };
            let entry = keys::id_of(&key).and_then(|id| self.queue.decode(id, &record));
            if let Some(entry) = entry.filter(|entry| self.filter.matches(entry, self.now)) {
                return Some(Ok(entry));
            }
        }
    }
}

/// An entry that did not decode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    pub id: EntryId,
    /// When that was found.
    pub at: Timestamp,
    pub reason: String,
    /// The record as it was found, checksum and all.
    #[serde(skip)]
    pub octets: Vec<u8>,
}

/// What [`Queue::check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Check {
    pub entries: usize,
    pub bodies: usize,
    /// Records of the ledger, tokens and redirects.
    pub ledger: usize,
    pub quarantined: usize,
    /// Due records that had to be made again from their entries.
    pub mended: usize,
    /// The first [`Check::LISTED`] problems, in words.
    pub problems: Vec<String>,
    /// All of them.
    pub problem_count: usize,
    /// References were not compared with their counts, since the queue was at work meanwhile.
    pub busy: bool,
}

impl Check {
    pub const LISTED: usize = 1000;

    fn problem(&mut self, words: String) {
        self.problem_count += 1;
        if self.problems.len() < Self::LISTED {
            self.problems.push(words);
        }
    }
}

/// Why an exported entry cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("not an exported entry: {0}")]
    Form(String),
    #[error("the body has {found} octets where the entry says {expected}")]
    Body { expected: u64, found: u64 },
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Queue {
    /// The entries that `filter` means, in the order of their ids, with their states of the moment. Entries that come and
    /// go meanwhile may or may not be among them; those that do not decode go to quarantine and are passed over.
    pub fn list(&self, filter: Filter) -> Entries {
        Entries { queue: self.clone(), records: self.0.store.iter(keys::ENTRY), filter, now: self.0.clock.now() }
    }

    /// Entries whose records did not decode.
    pub fn quarantine(&self) -> Result<Vec<Quarantined>, QueueError> {
        let mut list = Vec::new();
        for row in self.0.store.iter(keys::QUARANTINE) {
            let (key, record) = row?;
            let Some(id) = keys::id_of(&key) else { continue };
            list.push(match QuarantineRecord::decode(&record) {
                Ok(found) => Quarantined { id, at: Timestamp(found.at), reason: found.reason, octets: found.octets },
                Err(error) => Quarantined { id, at: Timestamp::default(), reason: error.to_string(), octets: record },
            });
        }
        Ok(list)
    }

    /// Throws a quarantined record away, with its share of a body where that is known. `Ok(false)`: there is none.
    pub async fn discard(&self, id: EntryId) -> Result<bool, QueueError> {
        let key = keys::by_id(keys::QUARANTINE, id);
        let Some(record) = self.0.store.get(&key)? else { return Ok(false) };
        let mut batch = Batch::new();
        if let Some(body) = QuarantineRecord::decode(&record).ok().and_then(|found| found.body) {
            batch.release(EntryId::from_raw(body));
        }
        batch.delete(key);
        self.0.store.commit(batch).await?;
        Ok(true)
    }

    /// Moves a record that is no entry out of the way. Not waited for: until it is on disk, the record is found again.
    pub(super) fn quarantine_entry(&self, id: EntryId, octets: &[u8], reason: &str) {
        tracing::error!(entry = %id, reason, "an entry does not decode; it is in quarantine");
        self.due().remove(id);
        let due = self.0.store.get(&keys::by_id(keys::DUE, id)).ok().flatten();
        let body = due.and_then(|record| DueRecord::decode(&record).ok()).map(|record| record.body);
        let found = QuarantineRecord::new(self.0.clock.now(), reason, body, octets);
        let Ok(record) = found.encode() else { return };
        let mut batch = Batch::new();
        batch.put(keys::by_id(keys::QUARANTINE, id), record);
        batch.delete(keys::by_id(keys::ENTRY, id));
        batch.delete(keys::by_id(keys::DUE, id));
        self.0.store.submit(batch);
        self.0.changed.notify_waiters();
    }

    /// Makes the due record of an entry again.
    pub(super) fn mend(&self, id: EntryId) -> Result<(), QueueError> {
        let Some(entry) = self.load(id)? else {
            let mut batch = Batch::new();
            batch.delete(keys::by_id(keys::DUE, id));
            self.0.store.submit(batch);
            return Ok(());
        };
        let mut batch = Batch::new();
        record::put(&mut batch, &entry, &std::collections::BTreeSet::new());
        self.0.store.submit(batch);
        self.due().put(id, record::facts(&entry));
        self.0.changed.notify_waiters();
        Ok(())
    }

    /// Reads every record and every body. Due records that are missing or wrong are made again; entries that do not decode
    /// go to quarantine; all else is reported.
    pub fn check(&self) -> Result<Check, QueueError> {
        let flushes = self.0.store.flushes();
        let mut check = Check { quarantined: self.quarantine()?.len(), ..Check::default() };
        let mut references: HashMap<EntryId, u32> = HashMap::new();
        for row in self.0.store.iter(keys::ENTRY) {
            let (key, octets) = row?;
            let Some(id) = keys::id_of(&key) else {
                check.problem(format!("a record under the malformed key {}", key.escape_ascii()));
                continue;
            };
            self.check_entry(id, &octets, &mut references, &mut check)?;
        }
        self.check_bodies(&references, &mut check)?;
        for prefix in [keys::LEDGER, keys::TOKEN, keys::REDIRECT] {
            for row in self.0.store.iter(prefix) {
                let (key, octets) = row?;
                check.ledger += 1;
                if let Err(error) = codec::verify(&octets) {
                    check.problem(format!("record {}: {error}", key.escape_ascii()));
                }
            }
        }
        check.busy = self.0.store.flushes() != flushes;
        if !check.busy {
            self.check_references(&references, &mut check)?;
        }
        Ok(check)
    }

    fn check_entry(&self, id: EntryId, octets: &[u8], references: &mut HashMap<EntryId, u32>, check: &mut Check) -> Result<(), QueueError> {
        check.entries += 1;
        let entry = match record::decode_entry(octets) {
            Ok(entry) if entry.id == id => entry,
            other => {
                let why = other.map_or_else(|e| e.to_string(), |e| format!("it is the record of entry {}", e.id));
                check.problem(format!("entry {id}: {why}; moved to quarantine"));
                check.quarantined += 1;
                self.quarantine_entry(id, octets, &why);
                return Ok(());
            }
        };
        *references.entry(entry.body.id).or_default() += 1;
        let due = self.0.store.get(&keys::by_id(keys::DUE, id))?.map(|record| DueRecord::decode(&record));
        // A due record of another state may be that of a commit between the two reads; one that is missing is not.
        if !matches!(due, Some(Ok(_))) && self.0.store.get(&keys::by_id(keys::ENTRY, id))?.is_some() {
            check.problem(format!("entry {id}: its due record is missing or damaged; made again"));
            check.mended += 1;
            self.mend(id)?;
        }
        Ok(())
    }

    fn check_bodies(&self, references: &HashMap<EntryId, u32>, check: &mut Check) -> Result<(), QueueError> {
        for row in self.0.store.iter(keys::BODY) {
            let (key, _) = row?;
            // Pieces are read with their header.
            let Some(id) = keys::id_of(&key) else { continue };
            check.bodies += 1;
            match self.0.store.body(id) {
                // Removed since the key was read, or whole.
                Ok(_) => {}
                Err(error) => {
                    let users = references.get(&id).copied().unwrap_or(0);
                    check.problem(format!("body {id}, of {users} entries: {error}"));
                }
            }
        }
        Ok(())
    }

    fn check_references(&self, references: &HashMap<EntryId, u32>, check: &mut Check) -> Result<(), QueueError> {
        for (&id, &users) in references {
            match self.0.store.body_refs(id) {
                Ok(None) => check.problem(format!("body {id}, of {users} entries, is missing")),
                Ok(Some(refs)) if refs < users => check.problem(format!("body {id} counts {refs} references and has {users}")),
                // Damaged: reported with the bodies. More than there are: those of the quarantine.
                Ok(Some(_)) | Err(_) => {}
            }
        }
        let quarantined: Vec<u64> = self.quarantined_bodies()?;
        for row in self.0.store.iter(keys::BODY) {
            let Some(id) = keys::id_of(&row?.0) else { continue };
            if !references.contains_key(&id) && !quarantined.contains(&id.raw()) {
                check.problem(format!("body {id} belongs to no entry"));
            }
        }
        Ok(())
    }

    fn quarantined_bodies(&self) -> Result<Vec<u64>, QueueError> {
        let rows: Result<Vec<_>, ReadError> = self.0.store.iter(keys::QUARANTINE).collect();
        Ok(rows?.iter().filter_map(|(_, record)| QuarantineRecord::decode(record).ok()?.body).collect())
    }

    /// An entry with its body, for another relay (`queue export`).
    pub fn export_entry(&self, entry: &Entry) -> Result<Value, QueueError> {
        let mut stored = entry.clone();
        if stored.state == State::InFlight {
            stored.state = State::Due;
        }
        let body = self.body(&entry.body)?;
        // Both kinds of values in an entry, texts and numbers, have a JSON form.
        let entry = serde_json::to_value(&stored).map_err(|e| ReadError(e.to_string()))?;
        Ok(json!({ "entry": entry, "body": BASE64.encode(body) }))
    }

    /// Adds an exported entry to a change. It keeps its state, and its id when that is free. Gives the id.
    pub fn import_entry(&self, change: &mut Change, value: Value) -> Result<EntryId, ImportError> {
        #[derive(Deserialize)]
        struct Exported {
            entry: Entry,
            body: String,
        }
        let exported: Exported = serde_json::from_value(value).map_err(|e| ImportError::Form(e.to_string()))?;
        let body = BASE64.decode(exported.body).map_err(|e| ImportError::Form(format!("body: {e}")))?;
        let mut entry = exported.entry;
        if body.len() as u64 != entry.body.size {
            return Err(ImportError::Body { expected: entry.body.size, found: body.len() as u64 });
        }
        // An id far ahead of the clock would leave none for those to come.
        let ahead = self.next_id().raw().saturating_add(IMPORT_AHEAD);
        if entry.id.raw() > ahead || change.has(entry.id) || !self.is_free(entry.id)? {
            entry.id = self.next_id();
        } else {
            self.skip_to(entry.id);
        }
        entry.body = change.add_body(entry.body.kind, &body, 1);
        let id = entry.id;
        change.put(entry);
        Ok(id)
    }

    fn is_free(&self, id: EntryId) -> Result<bool, ReadError> {
        for prefix in [keys::ENTRY, keys::DUE, keys::QUARANTINE] {
            if self.0.store.get(&keys::by_id(prefix, id))?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl From<ImportError> for QueueError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Read(error) => Self::Read(error),
            other => Self::Commit(CommitError::Refused(other.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let table = [
            ("mary@tiny.com", "Mary@Tiny.com", true),
            ("mary@tiny.com", "rosemary@tiny.com", false),
            ("*mary@tiny.com", "rosemary@tiny.com", true),
            ("mary@*", "mary@tiny.com", true),
            ("*@*.com", "mary@tiny.com", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("**", "x", true),
            ("é*", "été", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
        // Quadratic at worst, not exponential.
        assert!(!glob(&"*a".repeat(1000), &"a".repeat(999)));
    }
}
