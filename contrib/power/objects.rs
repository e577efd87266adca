//! What the operations are about, as the store holds it: entries with their bodies, and records of the ledger.

use std::path::Path;
use std::sync::Arc;

use cip_relay::clock::{SystemClock, Timestamp};
use cip_relay::ident::{EntryId, EventId, ServerId, UserId};
use cip_relay::queue::entry::{BodyRef, Destination, Entry, Origin, Recipient, Verb, Via};
use cip_relay::queue::{Filter, Queue};
use cip_relay::store::{Store, StoreOptions, codec, keys};

use super::promise::{Objects, Version};

const RECORD: u8 = 1;
/// Entries in flight for one destination: never a limit here.
const MANY: usize = 1 << 20;

/// Opens the store and the queue in it as the relay does, except that no free space is asked for.
pub fn open(directory: &Path, unsafe_without_sync: bool) -> Result<Queue, String> {
    // The journal changes files often, so that many cuts fall into that.
    let gather = 8 << 10;
    let options = StoreOptions { cache: 16 << 20, unsafe_without_sync, free_space_minimum: 0, gather, ..StoreOptions::default() };
    let store = Store::open(directory, &options).map_err(|e| e.to_string())?;
    Queue::open(store, Arc::new(SystemClock), MANY).map_err(|e| e.to_string())
}

/// The octets that belong to a number: half of them text, half of them noise.
pub fn body(number: u32, size: usize) -> Vec<u8> {
    let mut x = number | 1;
    let mut octets: Vec<u8> = format!("SUMMARY:body {number}\r\n").bytes().cycle().take(size / 2).collect();
    octets.extend((size / 2..size).map(|_| {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x.to_le_bytes()[1]
    }));
    octets
}

/// The entry that stands for the object `name`, in this version; its body is that of `number`.
pub fn entry(id: EntryId, name: &str, version: Version, number: u32, body: BodyRef, now: Timestamp) -> Entry {
    let server = ServerId::parse("jumbo.com").expect("a name");
    let tom = UserId::new("tom", server.clone()).expect("a name");
    let origin = Origin { via: Via::Cip, peer: None, helo: None, identity: None, standing: 2, sender: None, automatic: false };
    let people = vec![Recipient::new(tom.clone(), tom, false)];
    let expires = now.after(std::time::Duration::from_hours(120));
    Entry {
        event_id: EventId::parse(&format!("{name}@tiny.com")).ok(),
        version: Some(version),
        reason: number.to_string(),
        ..Entry::new(id, Verb::SendEvent, Destination::Cip(server), people, origin, body, now, expires)
    }
}

pub fn record(version: Version) -> Vec<u8> {
    codec::encode(RECORD, &version).expect("a number can be stored")
}

/// The name of the object that an entry stands for.
pub fn name(entry: &Entry) -> String {
    let id = entry.event_id.as_ref().map_or("", EventId::as_str);
    id.split('@').next().unwrap_or_default().to_owned()
}

/// Everything that is in the store, and what of it is not as it was written, in words.
#[derive(Default)]
pub struct Found {
    pub entries: Vec<Entry>,
    pub objects: Objects,
    pub corrupt: Vec<String>,
}

pub fn look(queue: &Queue) -> Result<Found, String> {
    let mut found = Found::default();
    for entry in queue.list(Filter::default()) {
        let entry = entry.map_err(|e| e.to_string())?;
        let number = entry.reason.parse().unwrap_or_default();
        match queue.body(&entry.body) {
            Ok(octets) if octets == body(number, octets.len()) && octets.len() as u64 == entry.body.size => {}
            Ok(_) => found.corrupt.push(format!("the body of {} is another one", entry.id)),
            Err(error) => found.corrupt.push(error.to_string()),
        }
        found.objects.insert(name(&entry), entry.version.unwrap_or_default());
        found.entries.push(entry);
    }
    for row in queue.store().iter(keys::LEDGER) {
        let (key, record) = row.map_err(|e| e.to_string())?;
        let name = String::from_utf8_lossy(&key).into_owned();
        match codec::decode(RECORD, &record) {
            Ok(version) => {
                found.objects.insert(name, version);
            }
            Err(error) => found.corrupt.push(format!("{name}: {error}")),
        }
    }
    let check = queue.check().map_err(|e| e.to_string())?;
    found.corrupt.extend(check.problems);
    Ok(found)
}
