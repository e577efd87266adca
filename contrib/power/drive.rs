//! The program that is recorded: a life of a store. Senders hand operations to the real queue as fast as it takes them,
//! and say on standard output what they begin and what was acknowledged.
//!
//! Invariant: an object is in the hands of one sender; its next operation begins after the last one was answered.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cip_relay::ident::EntryId;
use cip_relay::queue::Queue;
use cip_relay::queue::entry::{BodyKind, State};
use cip_relay::store::keys;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::objects::{body, entry, look, name, open, record};
use super::promise::{Objects, Version, begin, done};

const SENDERS: usize = 24;
/// Versions of one life.
const LIFE: Version = 1_000_000;

/// Lives once: opens the store below `folder`, carries out `operations`, closes it.
pub fn live(folder: &Path, life: u32, operations: u32, seed: u64, without_filter: bool) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let queue = open(&folder.join("data"), without_filter)?;
        let last = Arc::new(AtomicU32::new(life * LIFE));
        let mut senders = Vec::new();
        for n in 0..SENDERS {
            let coin = StdRng::seed_from_u64(seed ^ (u64::from(life) << 32) ^ n as u64);
            senders.push(Sender { queue: queue.clone(), coin, entries: Vec::new(), records: Vec::new(), last: last.clone() });
        }
        let found = look(&queue)?;
        for (n, entry) in found.entries.iter().enumerate() {
            senders[n % SENDERS].entries.push(entry.id);
        }
        for (n, key) in found.objects.keys().filter(|name| name.starts_with('l')).enumerate() {
            senders[n % SENDERS].records.push(key.clone());
        }
        drop(found);
        let share = operations / u32::try_from(SENDERS).unwrap_or(1);
        let tasks: Vec<_> = senders.into_iter().map(|sender| tokio::spawn(sender.work(share))).collect();
        for task in tasks {
            task.await.map_err(|e| e.to_string())??;
        }
        Ok(())
    })
}

struct Sender {
    queue: Queue,
    coin: StdRng,
    entries: Vec<EntryId>,
    /// Keys of records of the ledger.
    records: Vec<String>,
    last: Arc<AtomicU32>,
}

impl Sender {
    async fn work(mut self, operations: u32) -> Result<(), String> {
        for _ in 0..operations {
            let version = self.last.fetch_add(1, Ordering::SeqCst) + 1;
            // More comes than goes at first, and then about as much.
            match self.coin.random_range(0..100) {
                0..40 => self.accept(version).await?,
                40..85 if !self.entries.is_empty() => self.settle(version).await?,
                _ => self.note(version).await?,
            }
        }
        Ok(())
    }

    /// One to three entries of one body, and a record of the ledger.
    async fn accept(&mut self, version: Version) -> Result<(), String> {
        let (queue, count) = (self.queue.clone(), self.coin.random_range(1..=3));
        let size = match self.coin.random_range(0..100) {
            0..85 => self.coin.random_range(200..6000),
            85..98 => self.coin.random_range(6000..40_000),
            _ => self.coin.random_range(100_000..200_000),
        };
        let mut change = queue.change();
        let stored = change.add_body(BodyKind::Object, &body(version, size), count);
        let mut objects = Objects::new();
        for n in 0..count {
            let (id, name) = (queue.next_id(), format!("e{version}-{n}"));
            change.put(entry(id, &name, version, version, stored, queue.clock().now()));
            objects.insert(name, version);
            self.entries.push(id);
        }
        let key = format!("l{version}");
        change.batch_mut().put(key.as_str(), record(version));
        objects.insert(key.clone(), version);
        self.records.push(key);
        say(&begin(version, &objects))?;
        queue.commit(change).await.map_err(|e| e.to_string())?;
        say(&done(version))
    }

    /// An entry is delivered, put off, held, or replaced by a report, each by the way of a lease.
    async fn settle(&mut self, version: Version) -> Result<(), String> {
        let queue = self.queue.clone();
        let place = self.coin.random_range(0..self.entries.len());
        let id = self.entries[place];
        let Some(mut lease) = queue.take(id, Duration::from_secs(60)).await else { return Err(format!("{id} is not there")) };
        let name = name(&lease.entry);
        let mut change = queue.change();
        let mut objects = Objects::from([(name.clone(), 0)]);
        match self.coin.random_range(0..10) {
            0..5 => {
                change.remove(&lease.entry);
                self.entries.swap_remove(place);
            }
            5..6 => {
                let report = format!("e{version}-r");
                let stored = change.add_body(BodyKind::Message, &body(version, 900), 1);
                let id = queue.next_id();
                change.put(entry(id, &report, version, version, stored, queue.clock().now()));
                change.remove(&lease.entry);
                objects.insert(report, version);
                self.entries[place] = id;
            }
            what => {
                lease.entry.version = Some(version);
                lease.entry.attempts += 1;
                let now = queue.clock().now();
                lease.entry.note(now, "not now");
                lease.entry.state = if what == 9 { State::Held } else { State::Deferred };
                lease.entry.next_attempt = now.after(Duration::from_mins(5));
                change.put(lease.entry.clone());
                objects.insert(name, version);
            }
        }
        say(&begin(version, &objects))?;
        queue.settle(lease, change).await.map_err(|e| e.to_string())?;
        say(&done(version))
    }

    /// The ledger alone: a record is written anew or removed.
    async fn note(&mut self, version: Version) -> Result<(), String> {
        let mut batch = cip_relay::store::Batch::new();
        let (key, to) = if self.records.is_empty() || self.coin.random_range(0..4) == 0 {
            let key = format!("l{version}");
            self.records.push(key.clone());
            (key, version)
        } else {
            let place = self.coin.random_range(0..self.records.len());
            if self.coin.random_range(0..3) == 0 { (self.records.swap_remove(place), 0) } else { (self.records[place].clone(), version) }
        };
        debug_assert!(key.as_bytes().starts_with(keys::LEDGER));
        if to == 0 {
            batch.delete(key.as_str());
        } else {
            batch.put(key.as_str(), record(to));
        }
        say(&begin(version, &Objects::from([(key, to)])))?;
        self.queue.store().commit(batch).await.map_err(|e| e.to_string())?;
        say(&done(version))
    }
}

/// In one write, so that it is one record.
fn say(mark: &str) -> Result<(), String> {
    let mut output = std::io::stdout().lock();
    output.write_all(mark.as_bytes()).and_then(|()| output.flush()).map_err(|e| e.to_string())
}
