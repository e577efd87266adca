//! The queue on real stores in temporary directories.

#![allow(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::entry::*;
use super::*;
use crate::clock::ManualClock;
use crate::ident::ServerId;
use crate::store::{Batch, StoreOptions};

const START: Timestamp = Timestamp(1_795_000_000_000);
const HOUR: Duration = Duration::from_hours(1);

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
    for entry in &entries {
        change.put(entry.clone());
    }
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

async fn overwrite(queue: &Queue, key: Vec<u8>, value: &[u8]) {
    let mut batch = Batch::new();
    batch.put(key, value);
    queue.store().commit(batch).await.unwrap();
}

/// The stored record with one octet changed.
async fn damage(queue: &Queue, key: Vec<u8>) {
    let mut octets = queue.store().get(&key).unwrap().unwrap();
    let middle = octets.len() / 2;
    octets[middle] ^= 0x20;
    overwrite(queue, key, &octets).await;
}

async fn settled(queue: &Queue) {
    // Waits for what was handed over without waiting.
    queue.store().commit(Batch::new()).await.unwrap();
}

#[tokio::test]
async fn a_damaged_entry_goes_to_quarantine_and_the_others_go_on() {
    let rig = Rig::new();
    let entries = {
        let queue = rig.open();
        let entries = accept(&queue, &["a.com", "b.com", "c.com"], b"body").await;
        damage(&queue, keys::by_id(keys::ENTRY, entries[0].id)).await;
        damage(&queue, keys::by_id(keys::DUE, entries[2].id)).await;
        // The record of one entry under the id of another.
        let other = queue.store().get(&keys::by_id(keys::ENTRY, entries[2].id)).unwrap().unwrap();
        overwrite(&queue, keys::by_id(keys::ENTRY, entries[1].id), &other).await;
        entries
    };
    let queue = rig.open();
    assert_eq!(queue.counts().due, 3);
    let lease = queue.next(rig.now()).unwrap();
    assert_eq!(lease.id, entries[2].id, "the one whose due record was made again");
    assert!(queue.next(rig.now()).is_none());
    assert_eq!(queue.counts(), Counts { in_flight: 1, ..Counts::default() });
    settled(&queue).await;
    let listed = queue.quarantine().unwrap();
    assert_eq!(listed.iter().map(|q| q.id).collect::<Vec<_>>(), [entries[0].id, entries[1].id]);
    assert!(listed[0].reason.contains("checksum") && listed[1].reason.contains(&entries[2].id.to_string()), "{listed:?}");
    assert_eq!((listed[0].at, queue.load(entries[0].id).unwrap()), (START, None));
    // The share that a quarantined entry has of its body goes when it is thrown away.
    assert_eq!(queue.store().body_refs(entries[0].body.id).unwrap(), Some(3));
    assert!(queue.discard(entries[0].id).await.unwrap());
    assert!(!queue.discard(entries[0].id).await.unwrap());
    assert_eq!(queue.store().body_refs(entries[0].body.id).unwrap(), Some(2));
    assert_eq!(queue.quarantine().unwrap().len(), 1);
}

#[tokio::test]
async fn a_lease_that_is_dropped_loses_nothing_and_one_whose_outcome_is_not_recorded_waits() {
    let rig = Rig::new();
    let queue = rig.open();
    let entry = accept(&queue, &["a.com"], b"body").await.remove(0);
    drop(queue.next(rig.now()).unwrap());
    assert_eq!(queue.load(entry.id).unwrap().unwrap(), entry);
    let lease = queue.next(rig.now()).unwrap();
    // Settled with nothing said of the entry: as it was.
    let change = queue.change();
    queue.settle(lease, change).await.unwrap();
    let lease = queue.next(rig.now()).unwrap();
    let mut change = queue.change();
    change.remove(&lease.entry);
    change.batch_mut().put("l1", vec![0; crate::store::VALUE_MAX + 1]);
    assert!(matches!(queue.settle(lease, change).await, Err(CommitError::Refused(_))));
    assert_eq!(queue.load(entry.id).unwrap().unwrap(), entry);
    rig.clock.advance(HOUR * 200);
    assert!(queue.next(rig.now()).is_none(), "the same would happen again");
    assert_eq!(queue.counts().held, 1);
    // The administrator still gets at it, and what is put for it holds.
    let lease = queue.take(entry.id, Duration::ZERO).await.unwrap();
    let mut change = queue.change();
    change.put(entry.clone());
    queue.settle(lease, change).await.unwrap();
    let lease = queue.next(rig.now()).unwrap();

    // The store fails while it is in flight.
    let boom: crate::store::Then = Box::new(|_| panic!("for the test"));
    queue.store().commit_then(Batch::new(), Some(boom)).await.unwrap();
    let change = queue.change();
    assert!(matches!(queue.settle(lease, change).await, Err(CommitError::NotReady(_))));
    let later = rig.now().after(UNRECORDED);
    assert_eq!(queue.due().next_wake(), Some(later), "it is not tried again at once");
    assert_eq!(queue.due().next(later).unwrap().0, entry.id);
}

#[tokio::test]
async fn the_due_order_follows_though_the_caller_has_gone() {
    let rig = Rig::new();
    let queue = rig.open();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let hold: crate::store::Then = Box::new(move |_| wait.recv().unwrap());
    let held_up = tokio::spawn({
        let store = queue.store().clone();
        async move { store.commit_then(Batch::new(), Some(hold)).await }
    });
    tokio::task::yield_now().await;
    let acceptance = accept(&queue, &["a.com"], b"body");
    assert!(tokio::time::timeout(Duration::from_millis(30), acceptance).await.is_err());
    assert!(queue.next(rig.now()).is_none(), "not handed out before it is on disk");
    let woken = queue.changed();
    go.send(()).unwrap();
    held_up.await.unwrap().unwrap();
    woken.await;
    settled(&queue).await;
    assert_eq!(queue.next(rig.now()).unwrap().destination, hop("a.com"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shared_body_goes_with_the_last_of_many_that_settle_at_once() {
    let rig = Rig::new();
    let queue = rig.open();
    let servers: Vec<_> = (0..40).map(|n| format!("s{n}.com")).collect();
    let entries = accept(&queue, &servers.iter().map(String::as_str).collect::<Vec<_>>(), &vec![b'x'; 200_000]).await;
    // One is split in two first: both refer to the body.
    let lease = queue.take(entries[0].id, Duration::ZERO).await.unwrap();
    let mut change = queue.change();
    let body = change.share_body(&lease.body);
    let mut split = entry(queue.next_id(), "split.com", body);
    split.parent = Some(lease.id);
    change.put(split);
    queue.settle(lease, change).await.unwrap();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (queue, now) = (queue.clone(), rig.now());
        workers.spawn(async move {
            let mut done = 0;
            while let Some(lease) = queue.next(now) {
                assert_eq!(queue.body(&lease.body).unwrap().len(), 200_000);
                let mut change = queue.change();
                change.remove(&lease.entry);
                queue.settle(lease, change).await.unwrap();
                done += 1;
            }
            done
        });
    }
    assert_eq!(workers.join_all().await.into_iter().sum::<usize>(), 41);
    assert_eq!(queue.counts().total(), 0);
    for prefix in [keys::ENTRY, keys::DUE, keys::BODY, keys::SUPERSEDE] {
        assert_eq!(queue.store().iter(prefix).count(), 0, "{}", prefix.escape_ascii());
    }
}

#[tokio::test]
async fn ids_grow_though_the_clock_goes_back() {
    let rig = Rig::new();
    let highest = {
        let queue = rig.open();
        let ids: Vec<_> = (0..20_000).map(|_| queue.next_id()).collect();
        assert!(ids.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(ids[0].raw() >> EntryId::COUNTER_BITS, START.millis() - EntryId::EPOCH_MS);
        let entry = accept(&queue, &["a.com"], b"").await.remove(0);
        let lease = queue.next(rig.now()).unwrap();
        let mut change = queue.change();
        change.remove(&lease.entry);
        queue.settle(lease, change).await.unwrap();
        entry.id
    };
    // The clock a day back, and nothing left in the queue that would tell.
    let earlier = ManualClock::new(Timestamp(START.millis() - 86_400_000));
    let store = Store::open(rig.dir.path(), &options()).unwrap();
    let queue = Queue::open(store, Arc::new(earlier), 4).unwrap();
    assert!(queue.next_id() > highest);
}

#[tokio::test]
async fn the_supersede_index_names_what_waits_and_nothing_else() {
    let rig = Rig::new();
    let queue = rig.open();
    let event = EventId::parse("lunch@jumbo.com").unwrap();
    let waiting = |who: &str| -> Vec<(EntryId, u32)> { queue.waiting(&event, None, Verb::SendEvent, &user(who)).unwrap() };
    let accepted = accept(&queue, &["a.com", "a.com"], b"").await;
    let both: Vec<_> = accepted.iter().map(|e| (e.id, 3)).collect();
    assert_eq!(waiting("MARY@A.com"), both);
    assert_eq!(waiting("john@a.com"), []);
    assert_eq!(queue.waiting(&event, Some("19970101T000000Z"), Verb::SendEvent, &user("mary@a.com")).unwrap(), []);
    assert_eq!(queue.waiting(&event, None, Verb::Rsvp, &user("mary@a.com")).unwrap(), []);
    // In flight, held, redirected: still there under the name that the sender used.
    let lease = queue.take(accepted[0].id, Duration::ZERO).await.unwrap();
    assert_eq!(waiting("mary@a.com"), both);
    let mut changed = lease.entry.clone();
    changed.state = State::Held;
    changed.version = Some(4);
    changed.recipients[0].user = user("mary@b.com");
    changed.recipients.push(Recipient { original: user("john@a.com"), ..changed.recipients[0].clone() });
    let mut change = queue.change();
    change.put(changed);
    queue.settle(lease, change).await.unwrap();
    assert_eq!(waiting("mary@a.com"), [(accepted[0].id, 4), both[1]]);
    assert_eq!(waiting("john@a.com"), [(accepted[0].id, 4)]);
    // One settled, one split off: both gone from the index with the same commit.
    let lease = queue.take(accepted[0].id, Duration::ZERO).await.unwrap();
    assert_eq!(lease.before(), State::Held);
    let mut changed = lease.entry.clone();
    changed.recipients[0].status = Status::DeliveredByCip;
    changed.recipients[1].original = user("third@a.com");
    let mut change = queue.change();
    change.put(changed);
    queue.settle(lease, change).await.unwrap();
    assert_eq!((waiting("mary@a.com"), waiting("john@a.com")), (vec![both[1]], vec![]));
    assert_eq!(waiting("third@a.com"), [(accepted[0].id, 4)]);

    // An answer goes by its attendee.
    let mut change = queue.change();
    let body = change.add_body(BodyKind::Object, b"", 1);
    let mut rsvp = entry(queue.next_id(), "jumbo.com", body);
    rsvp.verb = Verb::Rsvp;
    rsvp.version = None;
    rsvp.answer = Some(Answering { attendee: user("mary@tiny.com"), response_sequence: 2 });
    let id = rsvp.id;
    change.put(rsvp);
    queue.commit(change).await.unwrap();
    assert_eq!(queue.waiting(&event, None, Verb::Rsvp, &user("mary@tiny.com")).unwrap(), [(id, 0)]);
}

#[tokio::test]
async fn an_entry_is_taken_by_name_and_waited_for() {
    let rig = Rig::new();
    let queue = rig.open();
    let id = accept(&queue, &["a.com"], b"").await[0].id;
    assert!(queue.take(EntryId::from_raw(7), HOUR).await.is_none(), "not there: known at once");
    let lease = queue.next(rig.now()).unwrap();
    assert!(queue.take(id, Duration::from_millis(20)).await.is_none());
    let taker = tokio::spawn({
        let queue = queue.clone();
        async move { queue.take(id, HOUR).await.map(|lease| (lease.why, lease.before())) }
    });
    tokio::task::yield_now().await;
    let mut held = lease.entry.clone();
    held.state = State::Held;
    let mut change = queue.change();
    change.put(held);
    queue.settle(lease, change).await.unwrap();
    assert_eq!(taker.await.unwrap(), Some((Why::Taken, State::Held)));
    assert_eq!(queue.counts().held, 1, "given back as it was");
    // Removed while somebody waits for it.
    let lease = queue.take(id, Duration::ZERO).await.unwrap();
    let taker = tokio::spawn({
        let queue = queue.clone();
        async move { queue.take(id, HOUR).await.is_none() }
    });
    tokio::task::yield_now().await;
    let mut change = queue.change();
    change.remove(&lease.entry);
    queue.settle(lease, change).await.unwrap();
    assert!(taker.await.unwrap());
}

#[tokio::test]
async fn the_first_success_releases_what_waited_for_the_hop_also_after_a_restart() {
    let rig = Rig::new();
    {
        let queue = rig.open();
        accept(&queue, &["a.com", "a.com", "a.com"], b"").await;
        let lease = queue.next(rig.now()).unwrap();
        queue.hop_down(&hop("a.com"), rig.now().after(HOUR), true);
        let mut parked = lease.entry.clone();
        parked.state = State::Deferred;
        parked.waits_for_hop = true;
        parked.next_attempt = rig.now().after(HOUR * 2);
        let mut change = queue.change();
        change.put(parked);
        queue.settle(lease, change).await.unwrap();
        assert!(queue.next(rig.now()).is_none());
        assert_eq!(queue.next_wake(), Some(rig.now().after(HOUR)));
        assert!(matches!(queue.summary()[0].health, Health::Down { since: START, .. }));
    }
    // What only waited behind the dead hop is due on disk as before; the health itself is learned anew.
    let queue = rig.open();
    assert_eq!(queue.counts(), Counts { due: 2, deferred: 1, ..Counts::default() });
    let lease = queue.next(rig.now()).unwrap();
    assert!(queue.next(rig.now()).is_none());
    queue.hop_up(&hop("a.com"));
    assert!(queue.next(rig.now()).unwrap().waits_for_hop);
    drop(lease);
}

#[tokio::test]
async fn nothing_is_handed_out_while_its_outcome_could_not_be_recorded() {
    let rig = Rig::new();
    let queue = rig.open();
    accept(&queue, &["a.com"], b"").await;
    let boom: crate::store::Then = Box::new(|_| panic!("for the test"));
    queue.store().commit_then(Batch::new(), Some(boom)).await.unwrap();
    assert!(queue.next(rig.now()).is_none());
    assert_eq!(queue.next_wake(), Some(rig.now().after(NOT_WRITABLE)));
    let change = queue.change();
    assert!(matches!(queue.commit(change).await, Err(CommitError::NotReady(_))));
}

#[tokio::test]
async fn lists_are_in_order_of_id_filtered_and_with_the_state_of_the_moment() {
    let rig = Rig::new();
    let queue = rig.open();
    let mut ids = Vec::new();
    for _ in 0..60 {
        ids.extend(accept(&queue, &["a.com", "b.com", "c.com"], b"").await.iter().map(|e| e.id));
    }
    let listed = |filter: Filter| -> Vec<_> { queue.list(filter).map(|e| e.unwrap().id).collect() };
    assert_eq!(listed(Filter::default()), ids);
    let lease = queue.next(rig.now()).unwrap();
    let text = |text: &str| Some(text.to_owned());
    let table = [
        (Filter { server: text("A.com"), ..Filter::default() }, 60),
        (Filter { to: text("mary@b.com"), ..Filter::default() }, 60),
        (Filter { to: text("mary@*"), owner: text("tom@jumbo.com"), event: text("lunch@*"), ..Filter::default() }, 180),
        (Filter { owner: text("mary@b.com"), ..Filter::default() }, 0),
        (Filter { state: Some(State::InFlight), ..Filter::default() }, 1),
        (Filter { state: Some(State::Due), ..Filter::default() }, 179),
        (Filter { older: Some(Duration::from_secs(1)), ..Filter::default() }, 0),
        (Filter { older: Some(Duration::ZERO), ..Filter::default() }, 180),
    ];
    for (filter, expected) in table {
        assert_eq!(listed(filter.clone()).len(), expected, "{filter:?}");
    }
    drop(lease);
}

#[tokio::test]
async fn an_exported_entry_goes_on_elsewhere() {
    let (rig, other) = (Rig::new(), Rig::new());
    let (queue, there) = (rig.open(), other.open());
    let accepted = accept(&queue, &["a.com", "b.com"], &[0, 255, 10, 13]).await;
    let lease = queue.next(rig.now()).unwrap();
    let exported: Vec<_> = queue.list(Filter::default()).map(|e| queue.export_entry(&e.unwrap()).unwrap()).collect();
    drop(lease);
    let mut change = there.change();
    let kept: Vec<_> = exported.iter().map(|v| there.import_entry(&mut change, v.clone()).unwrap()).collect();
    // The same again in one change, and later: under other ids.
    let twice = there.import_entry(&mut change, exported[0].clone()).unwrap();
    there.commit(change).await.unwrap();
    let mut change = there.change();
    let again = there.import_entry(&mut change, exported[0].clone()).unwrap();
    there.commit(change).await.unwrap();
    assert_eq!(kept, [accepted[0].id, accepted[1].id]);
    assert!(again != twice && !kept.contains(&again) && !kept.contains(&twice));
    let arrived = there.load(accepted[0].id).unwrap().unwrap();
    assert_eq!(Entry { body: accepted[0].body, ..arrived.clone() }, accepted[0]);
    assert_eq!(there.body(&arrived.body).unwrap(), [0, 255, 10, 13]);
    assert_eq!(there.counts().due, 4);

    let mut far = exported[0].clone();
    far["entry"]["id"] = EntryId::from_raw(u64::MAX).to_string().into();
    let mut change = there.change();
    assert!(there.import_entry(&mut change, far).unwrap() < EntryId::from_raw(u64::MAX));
    assert!(there.next_id() > again);
    for (path, bad) in [("/body", "!"), ("/body", "AAAA"), ("/entry/id", "x"), ("/entry/destination", "x")] {
        let mut value = exported[0].clone();
        *value.pointer_mut(path).unwrap() = bad.into();
        assert!(there.import_entry(&mut change, value).is_err(), "{path} {bad}");
    }
    assert!(there.import_entry(&mut change, serde_json::Value::Null).is_err());
}

#[tokio::test]
async fn the_check_reads_everything() {
    let rig = Rig::new();
    let queue = rig.open();
    let whole = accept(&queue, &["a.com", "b.com"], b"body").await;
    overwrite(&queue, b"l1".to_vec(), &crate::store::codec::encode(1, &"x").unwrap()).await;
    let check = queue.check().unwrap();
    assert_eq!(check, Check { entries: 2, bodies: 1, ledger: 1, ..Check::default() });

    let large: Vec<u8> = (0..100_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let damaged = accept(&queue, &["c.com"], b"x").await.remove(0);
    let torn = accept(&queue, &["d.com"], &large).await.remove(0);
    let bodiless = accept(&queue, &["e.com"], b"y").await.remove(0);
    damage(&queue, keys::by_id(keys::ENTRY, damaged.id)).await;
    damage(&queue, keys::piece(torn.body.id, 2)).await;
    overwrite(&queue, b"l2".to_vec(), b"nonsense").await;
    let mut batch = Batch::new();
    batch.delete(keys::by_id(keys::DUE, whole[1].id));
    batch.release(bodiless.body.id);
    batch.add_body(EntryId::from_raw(5), b"nobody's", 1);
    queue.store().commit(batch).await.unwrap();
    queue.check().unwrap();
    settled(&queue).await;
    // The second time what could be mended is, and the rest is still said.
    let check = queue.check().unwrap();
    assert_eq!((check.entries, check.quarantined, check.mended, check.busy), (4, 1, 0, false));
    assert_eq!(check.problem_count, 4, "{:#?}", check.problems);
    for (words, id) in [("checksum", torn.body.id), ("missing", bodiless.body.id), ("no entry", EntryId::from_raw(5))] {
        assert!(check.problems.iter().any(|p| p.contains(words) && p.contains(&id.to_string())), "{words}: {:#?}", check.problems);
    }
    assert!(matches!(queue.body(&torn.body), Err(QueueError::Read(_))));
    assert!(matches!(queue.body(&bodiless.body), Err(QueueError::NoBody(id)) if id == bodiless.body.id));
}
