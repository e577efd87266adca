//! The queue on real stores in temporary directories.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::entry::*;
use super::*;
use crate::clock::ManualClock;
use crate::ident::ServerId;
use crate::store::StoreOptions;

const START: Timestamp = Timestamp(1_795_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn options() -> StoreOptions {
    StoreOptions { cache: 8 << 20, free_space_minimum: 0, ..StoreOptions::default() }
}

struct Rig {
    dir: TempDir,
    clock: ManualClock,
}

impl Rig {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), clock: ManualClock::new(START) }
    }

    fn open(&self) -> Queue {
        self.open_at(self.dir.path())
    }

    fn open_at(&self, dir: &Path) -> Queue {
        let store = Store::open(dir, &options()).unwrap();
        Queue::open(store, Arc::new(self.clock.clone()), 4).unwrap()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

fn hop(server: &str) -> Destination {
    Destination::Cip(ServerId::parse(server).unwrap())
}

fn entry(id: EntryId, server: &str, body: BodyRef) -> Entry {
    Entry { body, ..Entry::sample(id, server, START) }
}

/// Accepts one entry for each server, all of one body.
async fn accept(queue: &Queue, servers: &[&str], octets: &[u8]) -> Vec<Entry> {
    let mut change = queue.change();
    let body = change.add_body(BodyKind::Object, octets, servers.len() as u32);
    let entries: Vec<_> = servers.iter().map(|server| entry(queue.next_id(), server, body)).collect();
    entries.iter().for_each(|entry| change.put(entry.clone()));
    queue.commit(change).await.unwrap();
    entries
}

#[tokio::test]
async fn what_was_accepted_is_there_after_an_abrupt_end_and_is_handed_out_once() {
    let rig = Rig::new();
    let accepted = {
        let queue = rig.open();
        let accepted = accept(&queue, &["a.com", "b.com"], b"SUMMARY:lunch").await;
        // In flight when the process ends: only in memory.
        std::mem::forget(queue.next(rig.now()).unwrap().entry.clone());
        accepted
    };
    let queue = rig.open();
    assert_eq!(queue.counts(), Counts { due: 2, ..Counts::default() });
    let (one, two) = (queue.next(rig.now()).unwrap(), queue.next(rig.now()).unwrap());
    assert!(queue.next(rig.now()).is_none());
    assert_eq!(queue.counts().in_flight, 2);
    assert_eq!([one.id, two.id], [accepted[0].id, accepted[1].id]);
    assert_eq!(queue.load(one.id).unwrap().unwrap().state, State::InFlight);
    assert_eq!(queue.body(&one.body).unwrap(), b"SUMMARY:lunch");

    // Settled: gone. Deferred: comes at its time.
    let mut change = queue.change();
    change.remove(&one.entry);
    queue.settle(one, change).await.unwrap();
    let mut later = two.entry.clone();
    later.state = State::Deferred;
    later.next_attempt = rig.now().after(HOUR);
    let mut change = queue.change();
    change.put(later.clone());
    queue.settle(two, change).await.unwrap();
    assert!(queue.next(rig.now()).is_none());
    assert_eq!(queue.next_wake(), Some(later.next_attempt));
    assert_eq!(queue.load(later.id).unwrap().unwrap(), later);
    rig.clock.advance(HOUR);
    let lease = queue.next(rig.now()).unwrap();
    assert_eq!((lease.id, lease.why, lease.before()), (later.id, Why::Due, State::Deferred));
}
