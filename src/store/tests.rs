//! The store on real directories.

#![allow(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use std::fs;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

fn options() -> StoreOptions {
    StoreOptions { cache: 8 << 20, free_space_minimum: 0, ..StoreOptions::default() }
}

fn open(dir: &TempDir) -> Store {
    Store::open(dir.path(), &options()).unwrap()
}

fn id(n: u64) -> EntryId {
    EntryId::from_raw(n)
}

fn put(key: &str, value: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(key, value);
    batch
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (first_id, flushes) = {
        let store = open(&dir);
        let mut batch = put("l1", "one");
        batch.put("l2", "two");
        batch.put("l2", "zwei");
        batch.put("l3", "three");
        batch.delete("l3");
        store.commit(batch).await.unwrap();
        store.commit(put("t1", "token")).await.unwrap();
        (store.id().to_owned(), store.flushes())
    };
    assert!(flushes >= 2);
    let store = open(&dir);
    assert_eq!(store.id(), first_id);
    let ledger: Vec<_> = store.export_raw(keys::LEDGER).map(Result::unwrap).collect();
    assert_eq!(ledger, [(b"l1".to_vec(), b"one".to_vec()), (b"l2".to_vec(), b"zwei".to_vec())]);
    assert_eq!(store.get(b"t1").unwrap().unwrap(), b"token");
    assert_eq!(store.get(b"l3").unwrap(), None);
    assert_eq!(store.0.shared.state.engine.blobs(), 0);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let (path, to) = file.map(|file| (file.path(), to.join(file.file_name()))).unwrap();
        if path.is_dir() { copy(&path, &to) } else { assert_eq!(fs::copy(&path, &to).unwrap(), path.metadata().unwrap().len()) }
    }
}

#[tokio::test]
async fn a_process_that_does_not_end_in_order_leaves_all_commits_in_the_journal() {
    let (dir, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(&dir);
    for n in 0..20 {
        let mut batch = put(&format!("l{n:02}"), "value");
        if n > 0 {
            batch.delete(format!("l{:02}", n - 1));
        }
        batch.raise(keys::HIGH_WATER, n);
        batch.add_body(id(n), &vec![n as u8; 100_000], 1);
        store.commit(batch).await.unwrap();
    }
    assert!(store.0.shared.state.engine.get(b"l19").unwrap().is_none(), "not in the database yet");
    let written = |dir: &TempDir| fs::metadata(dir.path().join("queue/db")).unwrap().len();
    let before = written(&dir);
    copy(dir.path(), left.path());
    for _ in 0..2 {
        let store = open(&left);
        assert_eq!(store.iter(keys::LEDGER).map(|row| row.unwrap().0).collect::<Vec<_>>(), [b"l19"]);
        assert_eq!(store.number(keys::HIGH_WATER).unwrap(), 19);
        assert_eq!(store.body(id(7)).unwrap().unwrap(), vec![7; 100_000]);
        assert!(store.0.shared.state.engine.get(b"l19").unwrap().is_some(), "worked in");
    }
    // In order: nothing is left in the journal.
    drop(store);
    assert!(written(&dir) >= before);
    let found = journal::recover(&dir.path().join("queue"), |_| Err("it is empty".to_owned()), || Ok(()));
    assert_eq!(found, Ok(0));
    assert!(open(&dir).get(b"l19").unwrap().is_some());
}

/// The journal changes files all the time, while others read what is on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_worked_in_meanwhile_is_never_missed() {
    let dir = tempfile::tempdir().unwrap();
    let small = StoreOptions { gather: 4 << 10, ..options() };
    let store = Store::open(dir.path(), &small).unwrap();
    for n in 0..2000u64 {
        let mut batch = put(&format!("l{n:04}"), &n.to_string());
        if n >= 100 {
            batch.delete(format!("l{:04}", n - 100));
        }
        store.commit(batch).await.unwrap();
        if n.is_multiple_of(7) {
            assert_eq!(store.get(format!("l{n:04}").as_bytes()).unwrap().unwrap(), n.to_string().into_bytes());
            assert_eq!(store.iter(keys::LEDGER).count() as u64, (n + 1).min(100), "{n}");
        }
    }
    assert!(store.0.shared.state.engine.scan(keys::LEDGER, b"", 10).unwrap().len() == 10, "the database has them as well");
    drop(store);
    let store = open(&dir);
    assert_eq!(store.iter(keys::LEDGER).count(), 100);
}

#[tokio::test]
async fn scans_stay_within_their_prefix_and_go_on_where_they_ended() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut batch = Batch::new();
    for n in 0..200u64 {
        batch.put(keys::by_id(keys::LEDGER, id(n)), n.to_string());
    }
    batch.put("k", "before");
    batch.put("m", "behind");
    store.commit(batch).await.unwrap();
    let all: Vec<_> = store.iter(keys::LEDGER).map(|row| keys::id_of(&row.unwrap().0).unwrap().raw()).collect();
    assert_eq!(all, (0..200).collect::<Vec<_>>());
    let some = store.scan(keys::LEDGER, &keys::by_id(keys::LEDGER, id(150)), 3).unwrap();
    assert_eq!(some.iter().map(|(_, v)| v.as_slice()).collect::<Vec<_>>(), [b"150", b"151", b"152"]);
    let next = store.scan(keys::LEDGER, &keys::after(&some[2].0), 1).unwrap();
    assert_eq!(next[0].1, b"153");
    assert!(store.scan(keys::TOKEN, &[], 10).unwrap().is_empty());
    let tail = store.iter(keys::LEDGER).from(keys::by_id(keys::LEDGER, id(199)));
    assert_eq!(tail.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_commits_share_few_flushes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    // Held up by a follow-up, the committer finds all the others waiting.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let first = store.clone();
    let (begun, held) = tokio::sync::oneshot::channel();
    let hold: Then = Box::new(move |_| {
        begun.send(()).unwrap();
        wait.recv().unwrap();
    });
    let first = tokio::spawn(async move { first.commit_then(put("l-first", ""), Some(hold)).await });
    held.await.unwrap();
    let before = store.flushes();
    let others: Vec<_> = (0..64)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.commit(put(&format!("l{n}"), "x")).await })
        })
        .collect();
    let capacity = |store: &Store| store.0.requests.as_ref().unwrap().capacity();
    while capacity(&store) > QUEUED - 64 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    go.send(()).unwrap();
    for other in others {
        other.await.unwrap().unwrap();
    }
    first.await.unwrap().unwrap();
    assert_eq!(store.flushes() - before, 1, "one group");
    assert_eq!(store.iter(keys::LEDGER).count(), 65);
}

#[tokio::test]
async fn the_follow_up_runs_though_the_caller_has_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let ran = Arc::new(AtomicUsize::new(0));
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let counter = ran.clone();
    let then: Then = Box::new(move |result| {
        wait.recv().unwrap();
        assert!(result.is_ok());
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let commit = store.commit_then(put("l1", "x"), Some(then));
    assert!(tokio::time::timeout(Duration::from_millis(50), commit).await.is_err(), "the caller gave up");
    go.send(()).unwrap();
    // An empty commit waits for all before it.
    store.commit(Batch::new()).await.unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 1);
    assert!(store.get(b"l1").unwrap().is_some());
}

#[tokio::test]
async fn bodies_live_as_long_as_their_references() {
    let dir = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..300_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    {
        let store = open(&dir);
        let mut batch = Batch::new();
        batch.add_body(id(1), b"small", 2);
        batch.add_body(id(2), &large, 3);
        batch.add_body(id(3), b"", 1);
        store.commit(batch).await.unwrap();
        assert!(store.scan(keys::BODY, &[], 1000).unwrap().iter().all(|(_, v)| v.len() <= body::PIECE + 16));
    }
    let store = open(&dir);
    assert_eq!(store.body(id(1)).unwrap().unwrap(), b"small");
    assert!(store.body(id(2)).unwrap().unwrap() == large);
    assert_eq!(store.body(id(3)).unwrap().unwrap(), b"");
    assert_eq!(store.body(id(4)).unwrap(), None);
    // Releases from many callers at once, in whatever groups: none is lost, none counted twice.
    let mut batch = Batch::new();
    for _ in 0..60 {
        batch.retain(id(2));
    }
    store.commit(batch).await.unwrap();
    let release = |n| {
        let store = store.clone();
        async move {
            let mut batch = Batch::new();
            batch.release(id(n));
            store.commit(batch).await
        }
    };
    let mut all = tokio::task::JoinSet::new();
    (0..62).for_each(|_| {
        all.spawn(release(2));
    });
    all.join_all().await.into_iter().for_each(|r| r.unwrap());
    assert_eq!(store.body_refs(id(2)).unwrap(), Some(1));
    release(2).await.unwrap();
    release(1).await.unwrap();
    release(3).await.unwrap();
    release(99).await.unwrap();
    assert_eq!(store.body(id(2)).unwrap(), None);
    assert_eq!(store.body_refs(id(1)).unwrap(), Some(1));
    // One entry out and another in that shares its body: in one batch, whatever the order.
    let mut batch = Batch::new();
    batch.release(id(1));
    batch.retain(id(1));
    store.commit(batch).await.unwrap();
    release(1).await.unwrap();
    assert_eq!(store.scan(keys::BODY, &[], 10).unwrap(), []);
}

#[tokio::test]
async fn numbers_only_rise() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    for (raise, expected) in [(5, 5), (3, 5), (9, 9)] {
        let mut batch = Batch::new();
        batch.raise(keys::HIGH_WATER, raise);
        batch.raise(keys::HIGH_WATER, 1);
        store.commit(batch).await.unwrap();
        assert_eq!(store.number(keys::HIGH_WATER).unwrap(), expected);
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_and_nothing_of_its_batch_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let mut batch = put("l1", "x");
    batch.put("l2", vec![0; VALUE_MAX + 1]);
    assert!(matches!(store.commit(batch).await, Err(CommitError::Refused(why)) if why.contains("too large")));
    let mut batch = put("l1", "x");
    batch.refuse("because".into());
    assert_eq!(store.commit(batch).await, Err(CommitError::Refused("because".into())));
    assert_eq!(store.get(b"l1").unwrap(), None);
    assert_eq!(store.ready(), Ok(()));
}

#[tokio::test]
async fn a_full_disk_stops_new_work_first_and_then_all_writing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &StoreOptions { free_space_minimum: u64::MAX, ..options() }).unwrap();
    assert!(store.ready().unwrap_err().contains("storage.free-space-minimum"));
    // There is more than the reserve left in every place where tests run.
    assert_eq!(store.writable(), Ok(()));
    store.commit(put("l1", "x")).await.unwrap();
    assert!(store.0.shared.space(u64::MAX, |_| false).is_err());
    assert_eq!(store.0.shared.space(1, |free| free >= 1), Ok(()));
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_taken_until_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.commit(put("l1", "x")).await.unwrap();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.broken().await }
    });
    let boom: Then = Box::new(|_| panic!("memory is wrong"));
    store.commit_then(put("l2", "x"), Some(boom)).await.unwrap();
    assert!(waiting.await.unwrap().contains("memory is wrong"));
    assert!(store.ready().unwrap_err().contains("started again"));
    assert!(matches!(store.commit(put("l3", "x")).await, Err(CommitError::NotReady(_))));
    drop(store);
    let store = open(&dir);
    assert_eq!(store.ready(), Ok(()));
    assert_eq!(store.iter(keys::LEDGER).count(), 2);
}

#[tokio::test]
async fn a_store_has_one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    assert!(matches!(Store::open(dir.path(), &options()), Err(OpenError::Locked(_))));
    drop(store);
    open(&dir);
}

#[tokio::test]
async fn a_store_that_vanished_is_not_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    open(&dir).commit(put("l1", "x")).await.unwrap();
    let (queue, away) = (dir.path().join("queue"), dir.path().join("away"));

    // Gone; there without its log; a fresh one in its place.
    fs::rename(&queue, &away).unwrap();
    assert!(matches!(Store::open(dir.path(), &options()), Err(OpenError::Emptied { .. })));
    assert!(!queue.exists(), "nothing was made in its place");
    fs::create_dir(&queue).unwrap();
    fs::write(queue.join("db"), b"").unwrap();
    let words = Store::open(dir.path(), &options()).err().unwrap().to_string();
    assert!(words.contains("store-id") && words.contains("backup"), "{words}");
    fs::remove_dir_all(&queue).unwrap();
    let other = tempfile::tempdir().unwrap();
    let other_id = open(&other).id().to_owned();
    fs::rename(other.path().join("queue"), &queue).unwrap();
    assert!(matches!(Store::open(dir.path(), &options()), Err(OpenError::Foreign { found, .. }) if found.contains(&other_id)));

    // An empty database that opens.
    fs::remove_dir_all(&queue).unwrap();
    drop(sled::Config::new().path(&queue).segment_size(16 << 20).open().unwrap());
    assert!(matches!(Store::open(dir.path(), &options()), Err(OpenError::Emptied { .. })));

    // Put back, all is well; the file alone is made again.
    fs::remove_dir_all(&queue).unwrap();
    fs::rename(&away, &queue).unwrap();
    fs::remove_file(dir.path().join("store-id")).unwrap();
    let store = open(&dir);
    assert_eq!(store.get(b"l1").unwrap().unwrap(), b"x");
    assert_eq!(fs::read_to_string(dir.path().join("store-id")).unwrap().trim(), store.id());
}

#[tokio::test]
async fn a_bad_snapshot_is_set_aside_and_the_log_read_instead() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..3 {
        let store = open(&dir);
        let mut batch = Batch::new();
        for i in 0..200 {
            batch.put(format!("l{n}-{i}"), vec![b'x'; 500]);
        }
        store.commit(batch).await.unwrap();
    }
    let queue = dir.path().join("queue");
    let snapshot =
        || fs::read_dir(&queue).unwrap().map(|f| f.unwrap().path()).find(|p| p.file_name().unwrap().to_string_lossy().starts_with("snap."));
    let path = snapshot().expect("sled keeps a snapshot");
    let octets = fs::read(&path).unwrap();
    for bad in [&octets[..octets.len() / 2], &octets[..5], &[0xffu8; 64][..]] {
        let path = snapshot().unwrap_or_else(|| path.clone());
        fs::write(&path, bad).unwrap();
        let store = open(&dir);
        assert_eq!(store.iter(keys::LEDGER).count(), 600);
        drop(store);
        let name = format!("{}.bad", path.file_name().unwrap().to_string_lossy());
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), bad);
    }
}

#[tokio::test]
async fn a_database_that_does_not_open_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    open(&dir).commit(put("l1", "x")).await.unwrap();
    fs::write(dir.path().join("queue/conf"), b"version: 0.34\nsegment_size: 1\nxxxx").unwrap();
    let error = Store::open(dir.path(), &options()).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("Keep a copy"), "{error}");
    // A file where the directory should be.
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(Store::open(&file, &options()), Err(OpenError::Io { .. })));
}

#[test]
fn there_is_room_to_deliver_when_nothing_more_is_accepted() {
    const MIB: u64 = 1 << 20;
    for (minimum, expected) in
        [(0, 0), (MIB, MIB / 2), (64 * MIB, 32 * MIB), (128 * MIB, RESERVE), (256 * MIB, RESERVE), (u64::MAX, RESERVE)]
    {
        assert_eq!(super::reserve(minimum), expected, "{minimum}");
    }
}

/// Needs a file system of its own of about 120 MiB: `mount -t tmpfs -o size=120m tmpfs DIR`, then
/// `CIP_RELAY_SMALL_DISK=DIR cargo test --lib -- --ignored a_disk_that_is_really_full`.
#[tokio::test]
#[ignore = "needs a small file system in CIP_RELAY_SMALL_DISK"]
async fn a_disk_that_is_really_full() {
    let small = std::env::var("CIP_RELAY_SMALL_DISK").unwrap();
    let dir = tempfile::tempdir_in(small).unwrap();
    let ballast = dir.path().join("ballast");
    fs::write(&ballast, vec![1; 36 << 20]).unwrap();
    let noise = |n: usize| -> Vec<u8> { (0..200_000).map(|i: usize| ((i + n).wrapping_mul(2_654_435_761) >> 13) as u8).collect() };
    let mut acknowledged = 0;
    // With a minimum the database never meets the full disk, and goes on when there is room again.
    {
        let minimum = StoreOptions { free_space_minimum: 36 << 20, ..options() };
        let store = Store::open(dir.path(), &minimum).unwrap();
        let refused = fill(&store, &noise, &mut acknowledged).await;
        assert!(matches!(refused, CommitError::NotReady(_)), "{refused}");
        fs::remove_file(&ballast).unwrap();
        store.commit(Batch::new()).await.unwrap();
        assert_eq!(store.ready(), Ok(()));
    }
    fs::write(&ballast, vec![1; 36 << 20]).unwrap();
    let reserved = acknowledged;
    // Without one it does, and says so without hanging.
    {
        let store = open(&dir);
        let failed = fill(&store, &noise, &mut acknowledged).await;
        assert!(matches!(failed, CommitError::Failed(_)), "{failed}");
        assert!(store.ready().is_err());
        eprintln!("{reserved} with the reserve, {acknowledged} without: {failed}");
    }
    // Opening needs room too: the database overwrites what a failed write has left.
    let words = Store::open(dir.path(), &options()).err().map(|e| e.to_string());
    assert!(words.as_ref().is_none_or(|words| words.contains("MiB")), "{words:?}");
    fs::remove_file(&ballast).unwrap();
    let store = open(&dir);
    for n in 0..acknowledged {
        assert!(store.get(format!("l{n:06}").as_bytes()).unwrap() == Some(noise(n)), "{n}");
    }
}

/// Writes until that fails; counts what was acknowledged.
async fn fill(store: &Store, noise: &dyn Fn(usize) -> Vec<u8>, acknowledged: &mut usize) -> CommitError {
    loop {
        let mut batch = Batch::new();
        batch.put(format!("l{acknowledged:06}"), noise(*acknowledged));
        let commit = tokio::time::timeout(Duration::from_secs(10), store.commit(batch));
        match commit.await.expect("a full disk hangs nobody") {
            Ok(()) => *acknowledged += 1,
            Err(error) => return error,
        }
        assert!(*acknowledged < 2000);
    }
}

#[tokio::test]
async fn a_first_start_that_was_cut_off_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("queue.begun/blobs")).unwrap();
    fs::write(dir.path().join("queue.begun/conf"), [0; 100]).unwrap();
    fs::write(dir.path().join("queue.begun/db"), [0; 5000]).unwrap();
    let store = open(&dir);
    store.commit(put("l1", "x")).await.unwrap();
    assert!(!dir.path().join("queue.begun").exists());
    drop(store);
    assert_eq!(open(&dir).get(b"l1").unwrap().unwrap(), b"x");
}
