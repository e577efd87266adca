//! Compaction, cut off at each of its steps, and the bound on a store that much has passed through.

#![allow(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::ident::EntryId;
use crate::store::{Batch, Store, open, room};

const MIB: u64 = 1 << 20;

fn options(compact_from: Option<u64>) -> StoreOptions {
    StoreOptions { cache: 8 << 20, free_space_minimum: 0, compact_from, ..StoreOptions::default() }
}

fn open_plain(dir: &Path) -> Store {
    Store::open(dir, &options(None)).unwrap()
}

/// Octets that do not compress.
fn noise(seed: u64, n: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    };
    (0..n.div_ceil(8)).flat_map(|_| next()).take(n).collect()
}

fn records(store: &Store) -> Vec<Record> {
    store.iter(&[]).map(Result::unwrap).collect()
}

/// A store of which some 20 MiB live in a file of four times that and more; gives what lives.
async fn mostly_free(dir: &Path) -> (String, Vec<Record>) {
    let store = open_plain(dir);
    for n in 0..300u32 {
        let mut batch = Batch::new();
        for k in 0..4u32 {
            batch.put(format!("l{n:04}-{k}"), noise(u64::from(n * 4 + k), 70_000));
        }
        batch.add_body(EntryId::from_raw(n.into()), &noise(n.into(), 200), 1);
        store.commit(batch).await.unwrap();
    }
    for n in 0..300u32 {
        let mut batch = Batch::new();
        for k in 1..4u32 {
            batch.delete(format!("l{n:04}-{k}"));
        }
        store.commit(batch).await.unwrap();
    }
    (store.id().to_owned(), records(&store))
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

fn leftovers(dir: &Path) -> bool {
    [NEW, OLD].iter().any(|name| dir.join(name).exists())
}

/// Opens what a crash has left: it is the whole store, takes writes, and nothing else remains.
async fn whole(dir: &Path, id: &str, expected: &[Record], when: &str) {
    let store = open_plain(dir);
    assert_eq!(store.id(), id, "{when}");
    assert!(records(&store) == expected, "{when}");
    assert!(!leftovers(dir), "{when}");
    let mut batch = Batch::new();
    batch.put("l-more", when);
    store.commit(batch).await.unwrap();
    drop(store);
    assert_eq!(open_plain(dir).get(b"l-more").unwrap().unwrap(), when.as_bytes());
}

fn plan_now(dir: &Path) -> (Engine, Plan) {
    let options = options(Some(0));
    let (engine, _) = open::open(dir, &StoreOptions { compact_from: None, ..options.clone() }).unwrap();
    let plan = plan(&engine, dir, &options).expect("most of the file is free");
    (engine, plan)
}

#[tokio::test]
async fn a_crash_at_any_step_leaves_the_old_store_or_the_new_one() {
    let (dir, moments) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (id, expected) = mostly_free(dir.path()).await;
    let (engine, plan) = plan_now(dir.path());
    let before = engine.size();
    let mut steps = Vec::new();
    run(engine, dir.path(), plan, &mut |step| {
        copy_folder(dir.path(), &moments.path().join(steps.len().to_string()));
        steps.push(step);
    })
    .unwrap();
    assert_eq!(steps, [Step::Part, Step::Copied, Step::Verified, Step::Aside, Step::Switched]);
    for (n, step) in steps.iter().enumerate() {
        let moment = moments.path().join(n.to_string());
        assert!(leftovers(&moment), "{step:?}");
        whole(&moment, &id, &expected, &format!("{step:?}")).await;
    }
    whole(dir.path(), &id, &expected, "the end").await;
    let after = open_plain(dir.path()).size();
    let bound = room::AMPLIFICATION * 22 * MIB + 4 * SEGMENT as u64;
    assert!(before > bound && after <= bound, "{before} became {after}");
}

#[tokio::test]
async fn what_a_crash_has_left_half_written_or_half_removed_is_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let (id, expected) = mostly_free(dir.path()).await;
    // A copy that was just begun.
    fs::create_dir(dir.path().join(NEW)).unwrap();
    fs::write(dir.path().join(NEW).join("db"), [7; 5000]).unwrap();
    // An old store that was being removed.
    fs::create_dir(dir.path().join(OLD)).unwrap();
    fs::write(dir.path().join(OLD).join("conf"), [7; 10]).unwrap();
    whole(dir.path(), &id, &expected, "leftovers").await;
    // Nothing is removed for the sake of a store that is not the one that was here.
    fs::create_dir(dir.path().join(OLD)).unwrap();
    fs::rename(dir.path().join("queue"), dir.path().join(OLD).join("kept")).unwrap();
    fs::create_dir(dir.path().join("queue")).unwrap();
    assert!(matches!(Store::open(dir.path(), &options(None)), Err(crate::store::OpenError::Emptied { .. })));
    assert!(dir.path().join(OLD).join("kept/db").exists());
}

#[tokio::test]
async fn a_copy_that_cannot_be_made_or_differs_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (id, expected) = mostly_free(dir.path()).await;
    // In the way of the copy.
    fs::write(dir.path().join(NEW), b"").unwrap();
    let store = Store::open(dir.path(), &options(Some(0))).unwrap();
    assert!(store.size() >= 80 * MIB && records(&store) == expected);
    drop(store);
    fs::remove_file(dir.path().join(NEW)).unwrap();
    // A record more than the store has, behind the back of the copying.
    let (engine, plan) = plan_now(dir.path());
    let lock = engine.lock();
    let mut steps = Vec::new();
    run(engine, dir.path(), plan, &mut |step| {
        steps.push(step);
        if step == Step::Copied {
            let Ok(copy) = Engine::open(&dir.path().join(NEW), dir.path(), 8 << 20, lock.clone()) else { panic!("the copy does not open") };
            copy.write([(&b"l-foreign"[..], Some(&[][..]))].into_iter()).unwrap();
            copy.flush().unwrap();
            copy.close().unwrap();
        }
    })
    .unwrap();
    drop(lock);
    assert_eq!(steps.last(), Some(&Step::Copied), "it is not switched to");
    whole(dir.path(), &id, &expected, "a copy that differs").await;
}

/// Tells a store from its copy: the two are there at the same time.
fn inode(dir: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(dir.join("queue")).unwrap())
}

#[tokio::test]
async fn a_store_that_is_small_or_in_use_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (_, expected) = mostly_free(dir.path()).await;
    let (first, size) = (inode(dir.path()), open_plain(dir.path()).size());
    drop(Store::open(dir.path(), &options(Some(2 * size))).unwrap());
    assert_eq!(inode(dir.path()), first, "it is small");
    let store = open_plain(dir.path());
    let mut batch = Batch::new();
    for n in 0..size / 2 / 100_000 {
        batch.put(format!("m{n:04}"), noise(n, 100_000));
    }
    store.commit(batch).await.unwrap();
    drop(store);
    drop(Store::open(dir.path(), &options(Some(0))).unwrap());
    assert_eq!(inode(dir.path()), first, "more than its share lives");
    let store = open_plain(dir.path());
    let mut batch = Batch::new();
    for n in 0..size / 2 / 100_000 {
        batch.delete(format!("m{n:04}"));
    }
    store.commit(batch).await.unwrap();
    drop(store);
    let elsewhere = tempfile::tempdir().unwrap();
    fs::rename(dir.path().join("queue"), elsewhere.path().join("queue")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("queue"), dir.path().join("queue")).unwrap();
    drop(Store::open(dir.path(), &options(Some(0))).unwrap());
    assert_eq!(inode(dir.path()), first, "it is a link");
    fs::remove_file(dir.path().join("queue")).unwrap();
    fs::rename(elsewhere.path().join("queue"), dir.path().join("queue")).unwrap();
    let store = Store::open(dir.path(), &options(Some(0))).unwrap();
    assert_ne!(inode(dir.path()), first);
    assert!(records(&store) == expected);
}

/// `count` entries of a little more than 4 KiB come, and go in the order in which they came.
async fn come_and_go(store: &Store, first: u64, count: u64) {
    const AT_ONCE: u64 = 250;
    for n in (first..first + count).step_by(AT_ONCE as usize) {
        let mut batch = Batch::new();
        for id in (n..n + AT_ONCE).map(EntryId::from_raw) {
            batch.put(keys::by_id(keys::ENTRY, id), noise(id.raw(), 300));
            batch.put(keys::by_id(keys::DUE, id), noise(id.raw(), 60));
            batch.add_body(id, &noise(id.raw(), 4096), 1);
        }
        store.commit(batch).await.unwrap();
    }
    for n in (first..first + count).step_by(AT_ONCE as usize) {
        let mut batch = Batch::new();
        for id in (n..n + AT_ONCE).map(EntryId::from_raw) {
            batch.delete(keys::by_id(keys::ENTRY, id));
            batch.delete(keys::by_id(keys::DUE, id));
            batch.release(id);
        }
        store.commit(batch).await.unwrap();
    }
}

#[tokio::test]
async fn what_comes_and_goes_leaves_a_bounded_file_and_a_small_one_after_a_start() {
    const EACH: u64 = 4_000;
    let dir: TempDir = tempfile::tempdir().unwrap();
    let peak = EACH * (4096 + 300 + 60 + 60);
    let store = open_plain(dir.path());
    let mut kept = Batch::new();
    kept.put("l-kept", "x");
    store.commit(kept).await.unwrap();
    let mut sizes = Vec::new();
    for cycle in 0..5 {
        come_and_go(&store, cycle * EACH, EACH).await;
        sizes.push(store.size());
    }
    let bound = room::AMPLIFICATION * peak + 6 * SEGMENT as u64;
    eprintln!(
        "{} MiB lived at most; file after each of five times: {:?} MiB",
        peak / MIB,
        sizes.iter().map(|s| s / MIB).collect::<Vec<_>>()
    );
    assert!(sizes.iter().all(|&size| size <= bound), "{sizes:?} against {bound}");
    drop(store);
    let store = Store::open(dir.path(), &options(Some(48 * MIB))).unwrap();
    assert!(store.size() <= 48 * MIB, "{} after a start", store.size());
    assert_eq!(store.get(b"l-kept").unwrap().unwrap(), b"x");
    assert!(!leftovers(dir.path()));
}

#[tokio::test]
async fn room_in_the_file_is_found_and_what_is_written_counts_against_it() {
    let dir = tempfile::tempdir().unwrap();
    mostly_free(dir.path()).await;
    let store = open_plain(dir.path());
    let shared = store.0.shared.clone();
    let found = async {
        loop {
            match room::inside(&shared) {
                0 => tokio::time::sleep(Duration::from_millis(20)).await,
                found => return found,
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_mins(1), found).await.expect("the look ends");
    let live = 300 * 70_000;
    let size = store.size();
    let most = size - room::AMPLIFICATION * live - room::SLACK;
    assert!(found <= most && found >= most - room::AMPLIFICATION * MIB, "{found} of {size}");
    let mut batch = Batch::new();
    for n in 0..100 {
        batch.put(format!("m{n}"), noise(n, 100_000));
    }
    store.commit(batch).await.unwrap();
    let (left, size) = (room::inside(&shared), store.size());
    assert!(left <= size.saturating_sub(room::AMPLIFICATION * (live + 100 * 100_000) + room::SLACK), "{left} of {size}");
    // A store that is still held is not closed.
    drop(shared);
}
