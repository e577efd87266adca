//! kill -9 while the start compacts the store: what was accepted before is there after each, and is delivered in the end.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use cip_relay::store::{Batch, Store, StoreOptions, compact};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::{World, rounds, uid};
use crate::bridge::bare;
use crate::support::eventually;

fn open(data: &Path) -> Store {
    Store::open(data, &StoreOptions { cache: 16 << 20, free_space_minimum: 0, ..StoreOptions::default() }).unwrap()
}

/// Every record of the store, as one number, and the store's id.
fn content(store: &Store) -> (u32, usize, String) {
    let (mut sum, mut count) = (crc32fast::Hasher::new(), 0);
    for (key, value) in store.iter(&[]).map(Result::unwrap) {
        sum.update(&key);
        sum.update(&value);
        count += 1;
    }
    (sum.finalize(), count, store.id().to_owned())
}

/// Lets so much come and go that the store is worth compacting, and leaves so much that this takes a while.
async fn inflate(data: &Path, coin: &mut StdRng) -> (u32, usize, String) {
    let store = open(data);
    let mut octets = vec![0; 100_000];
    let key = |n: u32| format!("Mballast-{n:05}");
    let mut n = 0;
    while store.size() < compact::FROM + (64 << 20) {
        let mut batch = Batch::new();
        for _ in 0..20 {
            coin.fill_bytes(&mut octets);
            batch.put(key(n), octets.clone());
            n += 1;
        }
        store.commit(batch).await.unwrap();
    }
    let mut batch = Batch::new();
    (250..n).for_each(|n| batch.delete(key(n)));
    store.commit(batch).await.unwrap();
    content(&store)
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy_folder(&file.path(), &target);
        } else {
            fs::copy(file.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_compacts() {
    let seed = std::env::var("CRASH_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or_else(|| rand::rng().random());
    println!("CRASH_SEED={seed}");
    let mut coin = StdRng::seed_from_u64(seed);
    let mut world = World::new().await;
    let mut accepted = BTreeSet::new();
    for n in 0..20 {
        let id = format!("e{n}@jumbo.com");
        let answer = world.relay.cip().await.object("SENDEVENT", &bare(&id, 1, "tom@jumbo.com", &["mary@tiny.com"])).await;
        assert_eq!(answer.code(), "OK 000");
        accepted.insert(id);
    }
    assert_eq!(world.relay.terminate().await.code(), Some(0));
    let (data, aside) = (world.relay.settings.path("data"), world.relay.settings.path("aside"));
    let expected = inflate(&data, &mut coin).await;
    fs::rename(data.join("queue"), &aside).unwrap();
    let parts = ["compact.new", "compact.old"].map(|name| data.join(name));
    let mut within = 0;
    for _ in 0..rounds() {
        let _ = fs::remove_dir_all(data.join("queue"));
        copy_folder(&aside, &data.join("queue"));
        world.relay.begin_again();
        eventually("the compaction to begin", || async { parts[0].exists().then_some(()) }).await;
        tokio::time::sleep(Duration::from_millis(coin.random_range(0..800))).await;
        world.relay.kill();
        let compacting = parts.iter().any(|part| part.exists());
        within += usize::from(compacting);
        let store = open(&data);
        // Once it is over, deliveries begin, and change records.
        assert!(!compacting || content(&store) == expected, "CRASH_SEED={seed}");
        assert!(!parts.iter().any(|part| part.exists()), "what the compaction has left is removed");
    }
    assert!(within > 0, "no kill met the compaction");
    let _ = fs::remove_dir_all(data.join("queue"));
    fs::rename(&aside, data.join("queue")).unwrap();
    world.relay.start_again().await;
    assert!(world.relay.log().contains("the store was compacted"), "{}", world.relay.log());
    world.sink.up();
    let mails = world.sink.wait_for(accepted.len()).await;
    assert_eq!(mails.iter().map(uid).collect::<BTreeSet<_>>(), accepted);
    world.relay.queue_empty().await;
    println!("{} kills, {within} of them within a compaction: nothing lost", rounds());
}
