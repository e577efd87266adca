//! Calls that fail or wait, by a library that is loaded into the relay before all others (`fault.c`).

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::bridge::bare;
use crate::crash::World;
use crate::crash::load::{cip_load, smtp_load};
use crate::support::cip::CipClient;
use crate::support::eventually;
use crate::support::relay::Settings;

use super::{all_delivered, came};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// A relay with the library in it, and the file that tells the library what to do.
struct Faulty {
    world: World,
    control: PathBuf,
}

impl Faulty {
    /// `None`, with words, where there is no C compiler.
    async fn new() -> Option<Self> {
        let mut control = None;
        let mut built = true;
        let world = World::with(|settings: Settings| {
            let library = settings.path("fault.so");
            let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/disk/fault.c");
            let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).args([source, "-ldl"]).status();
            built = status.as_ref().is_ok_and(std::process::ExitStatus::success);
            assert!(built || status.is_err(), "fault.c does not compile");
            if !built {
                return settings;
            }
            let path = settings.path("fault");
            fs::write(&path, "").unwrap();
            control = Some(path.clone());
            let data = settings.path("data").display().to_string();
            settings
                .variable("LD_PRELOAD", library.display().to_string())
                .variable("FAULT_CONTROL", path.display().to_string())
                .variable("FAULT_ROOT", data)
        })
        .await;
        if control.is_none() {
            eprintln!("skipped: no C compiler (cc) here");
        }
        Some(Self { world, control: control? })
    }

    fn fault(&self, what: &str, number: i32) {
        // In one step, so that no half of it is read.
        let new = self.control.with_extension("new");
        fs::write(&new, format!("{what} {number}\n")).unwrap();
        fs::rename(&new, &self.control).unwrap();
    }

    fn heal(&self) {
        self.fault("none", 0);
    }

    /// Runs `serve` to its end: what it says, and its exit code.
    async fn fails_to_start(&self) -> (Option<i32>, String) {
        let settings = self.world.relay.settings.clone();
        let output = tokio::task::spawn_blocking(move || settings.run(&["serve"], b"")).await.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

async fn event(address: std::net::SocketAddr, uid: String) -> String {
    let mut client = CipClient::connect(address).await;
    if !client.greeting.starts_with("OK ") {
        return client.greeting;
    }
    client.object("SENDEVENT", &bare(&uid, 1, "tom@jumbo.com", &["mary@tiny.com"])).await.code().to_owned()
}

/// A write, or a sync, that fails under load: the relay ends for its supervisor, and after the next start nothing is
/// missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_disk_ends_the_relay_and_loses_nothing() {
    let Some(mut faulty) = Faulty::new().await else { return };
    faulty.world.jumbo.up();
    faulty.world.sink.up();
    let mut acknowledged = BTreeSet::new();
    for (round, (what, number)) in
        [("write", EIO), ("sync", EIO), ("write", ENOSPC), ("sync", ENOSPC), ("write", EROFS)].into_iter().enumerate()
    {
        let (cip, smtp) = (faulty.world.relay.cip_address(), faulty.world.relay.smtp_address());
        let count = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for client in 0..2 {
            clients.spawn(cip_load(cip, client, round, count.clone()));
            clients.spawn(smtp_load(smtp, client, round, count.clone()));
        }
        eventually("the load to begin", || async { (count.load(Ordering::SeqCst) > 3).then_some(()) }).await;
        faulty.fault(what, number);
        let status = faulty.world.relay.ended().await;
        assert_eq!(status.code(), Some(74), "{what} {number}");
        acknowledged.extend(clients.join_all().await.into_iter().flatten());
        faulty.heal();
        faulty.world.relay.start_again().await;
    }
    assert!(faulty.world.relay.log().contains("the store cannot be written to any more"), "{}", faulty.world.relay.log());
    all_delivered(&faulty.world, &acknowledged).await;
    faulty.world.relay.queue_empty().await;
    let strangers: Vec<String> =
        came(&faulty.world).into_iter().filter(|uid| !uid.starts_with("cip") && !uid.starts_with("smtp")).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_takes_no_writes_is_named_at_the_start() {
    let Some(mut faulty) = Faulty::new().await else { return };
    assert_eq!(event(faulty.world.relay.cip_address(), "kept@jumbo.com".to_owned()).await, "OK 000");
    assert_eq!(faulty.world.relay.terminate().await.code(), Some(0));
    let data = faulty.world.relay.settings.path("data").display().to_string();
    faulty.fault("open", EROFS);
    let (code, said) = faulty.fails_to_start().await;
    // Not as a mistake in the configuration, after which systemd would not try again.
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains(&format!("{data} cannot be written to (Read-only file system")), "{said}");
    faulty.fault("sync", EIO);
    let (code, said) = faulty.fails_to_start().await;
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains(&data) && said.contains("Input/output error"), "{said}");
    faulty.heal();
    faulty.world.relay.start_again().await;
    faulty.world.sink.up();
    all_delivered(&faulty.world, &BTreeSet::from(["kept@jumbo.com".to_owned()])).await;
}

/// Slow syncs: senders wait and are served. A sync that takes more than half a minute: new senders are sent away, and the
/// one that waits is served in the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_makes_senders_wait_and_a_stalled_one_sends_them_away() {
    let Some(faulty) = Faulty::new().await else { return };
    let address = faulty.world.relay.cip_address();
    let send = |uids: Vec<String>| async move {
        let tasks: JoinSet<String> = uids.into_iter().map(|uid| event(address, uid)).collect();
        tasks.join_all().await
    };
    faulty.fault("slow", 1200);
    let slow: Vec<String> = (0..6).map(|n| format!("slow{n}@jumbo.com")).collect();
    let began = Instant::now();
    assert!(send(slow.clone()).await.iter().all(|code| code == "OK 000"));
    assert!(began.elapsed() >= Duration::from_millis(1200), "the sync was not waited for");

    faulty.fault("slow", 36_000);
    let stalled = tokio::spawn(event(address, "stalled@jumbo.com".to_owned()));
    eventually("senders to be sent away", || async { (!CipClient::connect(address).await.greeting.starts_with("OK ")).then_some(()) })
        .await;
    let refusal = CipClient::connect(address).await.greeting;
    assert!(refusal.starts_with("NO 004 ") && refusal.contains("has taken more than 30 s"), "{refusal}");
    assert!(!stalled.is_finished());
    faulty.heal();
    assert_eq!(stalled.await.unwrap(), "OK 000");
    eventually("the relay to take new work", || async { CipClient::connect(address).await.greeting.starts_with("OK ").then_some(()) })
        .await;
    faulty.world.sink.up();
    let acknowledged: BTreeSet<String> = slow.into_iter().chain(["stalled@jumbo.com".to_owned()]).collect();
    all_delivered(&faulty.world, &acknowledged).await;
}
