//! `queue export` and `queue import`: whole entries, ledger and tokens, to move a relay to another machine.
//!
//! The file is JSON lines: a header `{"cip-relay-export":1,…}`, entries `{"entry":…,"body":…}`, raw records
//! `{"key":…,"value":…}` in base64, and a last line `{"end":{"entries":N,"records":N}}` that a file cut short lacks.
//!
//! Invariants: a record that is there already is kept; an entry that is there already is not doubled; what came in is
//! durable before it is counted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::execute::{Backend, ExecuteError, Sink};
use crate::cli::exit::Exit;
use crate::queue::entry::{Entry, State};
use crate::queue::{Filter, QueueError};
use crate::store::{ReadError, keys};

/// The version of the format.
pub const FORMAT: u64 = 1;
/// The key of the header that holds it.
pub const HEADER: &str = "cip-relay-export";

/// The kinds of records besides entries: what the ledger knows, tokens, redirects, and the ledger's own single records.
const KINDS: [&[u8]; 4] = [keys::LEDGER, keys::TOKEN, keys::REDIRECT, keys::META];
/// Of a store and not of what is in it.
const LOCAL: [&[u8]; 2] = [keys::STORE_ID, keys::HIGH_WATER];

/// Checks the first line of a file.
pub fn check_header(line: &str) -> Result<(), String> {
    let header: Value = serde_json::from_str(line).map_err(|_| "the first line is not the header of an export".to_owned())?;
    match header.get(HEADER).and_then(Value::as_u64) {
        Some(FORMAT) => Ok(()),
        Some(other) => Err(format!(
            "the file has format {other}, and this program reads format {FORMAT}: import it with the version that wrote it, or a newer one"
        )),
        None => Err("the first line is not the header of an export".to_owned()),
    }
}

/// Checks the last line of a file.
pub fn check_end(line: &str) -> Result<(), String> {
    let end = serde_json::from_str::<Value>(line).ok().is_some_and(|v| v.get("end").is_some());
    if end { Ok(()) } else { Err("the file has no end line: it was cut short; export it again".to_owned()) }
}

pub(super) async fn export(backend: &Backend, sink: &mut impl Sink) -> Result<u64, ExecuteError> {
    let queue = &backend.queue;
    let now = queue.clock().now().rfc3339();
    sink.item(json!({ HEADER: FORMAT, "server_id": backend.server_id, "exported": now })).await?;
    let (mut entries, mut records) = (0u64, 0u64);
    for entry in queue.list(Filter::default()) {
        let entry = entry?;
        match queue.export_entry(&entry) {
            Ok(value) => sink.item(value).await?,
            // Settled since it was read: then it is no longer to be moved.
            Err(_) if queue.load(entry.id)?.is_none() => continue,
            Err(error) => return Err(error.into()),
        }
        entries += 1;
    }
    for kind in KINDS {
        for row in queue.store().export_raw(kind) {
            let (key, value) = row.map_err(unreadable)?;
            if LOCAL.contains(&key.as_slice()) {
                continue;
            }
            sink.item(json!({ "key": BASE64.encode(key), "value": BASE64.encode(value) })).await?;
            records += 1;
        }
    }
    sink.item(json!({ "end": { "entries": entries, "records": records } })).await?;
    Ok(entries)
}

fn unreadable(error: ReadError) -> ExecuteError {
    ExecuteError::from(QueueError::from(error))
}

fn bad(n: usize, why: impl std::fmt::Display) -> ExecuteError {
    ExecuteError::refused(Exit::Data, format!("record {} of these: {why}", n + 1))
}

/// Takes in some records, in one commit. Each that was passed over is an item with the reason.
pub(super) async fn import(backend: &Backend, list: Vec<Value>, restored: bool, sink: &mut impl Sink) -> Result<u64, ExecuteError> {
    let queue = &backend.queue;
    if list.is_empty() && restored {
        super::ledger::raise_own_versions(backend).await?;
        return Ok(0);
    }
    let mut change = queue.change();
    let mut entries = 0;
    for (n, mut record) in list.into_iter().enumerate() {
        if record.get("entry").is_some() {
            let mut entry: Entry = serde_json::from_value(record["entry"].take()).map_err(|error| bad(n, error))?;
            let twin = queue
                .load(entry.id)?
                .is_some_and(|e| e.received == entry.received && e.event_id == entry.event_id && e.body.size == entry.body.size);
            if twin {
                sink.item(json!({ "id": entry.id, "problem": format!("{}: is in the queue already", entry.id) })).await?;
                continue;
            }
            let now = queue.clock().now();
            entry.note(now, if restored { "imported from a backup" } else { "imported" });
            if restored {
                entry.state = State::Held;
                "restored from a backup: it may have been delivered since; release or drop it".clone_into(&mut entry.reason);
            }
            record["entry"] = serde_json::to_value(&entry).map_err(|error| bad(n, error))?;
            queue.import_entry(&mut change, record).map_err(|error| bad(n, error))?;
            entries += 1;
        } else if let (Some(key), Some(value)) = (octets(&record, "key"), octets(&record, "value")) {
            if !KINDS.iter().any(|kind| key.starts_with(kind)) || LOCAL.contains(&key.as_slice()) {
                return Err(bad(n, "its key is none of an exported record"));
            }
            if queue.store().get(&key).map_err(unreadable)?.is_none() {
                change.batch_mut().put(key, value);
            }
        } else if record.get(HEADER).is_none() && record.get("end").is_none() {
            return Err(bad(n, "is neither an entry nor a record"));
        }
    }
    if !change.is_empty() {
        queue.commit(change).await.map_err(|error| ExecuteError::refused(Exit::Io, error.to_string()))?;
    }
    Ok(entries)
}

fn octets(record: &Value, field: &str) -> Option<Vec<u8>> {
    BASE64.decode(record.get(field)?.as_str()?).ok()
}
