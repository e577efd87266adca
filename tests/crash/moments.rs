//! kill -9 at moments drawn at random, while clients send and deliveries go on: under load, in the start, in the shutdown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use super::load::{cip_load, smtp_load};
use super::{World, moments, uid};
use crate::support::eventually;
use crate::support::object;

/// `delivery.per-destination`, and the outcomes that may wait for the disk: as many deliveries may be in hand with each peer.
const IN_HAND: usize = 4 + 64;

/// What a peer was given once: which event, in which life of the relay, and what must be the same each time.
struct Receipt {
    uid: String,
    life: usize,
    identity: String,
    whole: bool,
}

/// How many events and mails had come when each life ended.
type Ends = Vec<(usize, usize)>;

/// Waits until the peers have read all that a dead relay had sent, and takes note.
async fn end_of_life(world: &World, ends: &mut Ends) {
    for _ in 0..3 {
        eventually("the dead relay's connections to end", || async { (world.jumbo.sessions() + world.sink.sessions() == 0).then_some(()) })
            .await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ends.push((world.jumbo.count(), world.sink.count()));
}

/// The life in which the `n`th came.
fn life(ends: &Ends, n: usize, part: impl Fn(&(usize, usize)) -> usize) -> usize {
    ends.iter().position(|end| n < part(end)).unwrap_or(ends.len())
}

fn receipts(world: &World, ends: &Ends) -> [Vec<Receipt>; 2] {
    let events = world.jumbo.commands().into_iter().enumerate().filter(|(_, c)| c.verb == "SENDEVENT").map(|(n, command)| {
        let uid = command.value("UID").unwrap_or_default();
        Receipt {
            life: life(ends, n, |end| end.0),
            identity: command.value("SEQUENCE").unwrap_or_default(),
            whole: command.value("SUMMARY").as_deref() == Some("Budget") && command.recipients("jumbo.com") == ["tom@jumbo.com"],
            uid,
        }
    });
    let mails = world.sink.mails().into_iter().enumerate().map(|(n, mail)| {
        let calendar = cip_relay::imip::read::read(&mail.data).ok().and_then(|read| read.calendar).map(|c| c.octets).unwrap_or_default();
        Receipt {
            uid: uid(&mail),
            life: life(ends, n, |end| end.1),
            identity: mail.header("Message-ID").unwrap_or_default(),
            whole: object::value(&calendar, "DESCRIPTION").as_deref() == Some("Bring the plan.") && mail.recipients == ["mary@tiny.com"],
        }
    });
    [events.collect(), mails.collect()]
}

/// Nothing acknowledged is missing, nothing is damaged, and what came twice was in hand at a kill. Gives how many did.
fn judge(acknowledged: &BTreeSet<String>, ways: &[Vec<Receipt>; 2], lives: usize) -> usize {
    let damaged: Vec<&str> = ways.iter().flatten().filter(|r| !r.whole).map(|r| r.uid.as_str()).collect();
    assert!(damaged.is_empty(), "damaged: {damaged:?}");
    let here: BTreeSet<&str> = ways.iter().flatten().map(|r| r.uid.as_str()).collect();
    let lost: Vec<&String> = acknowledged.iter().filter(|uid| !here.contains(uid.as_str())).collect();
    assert!(lost.is_empty(), "of {} acknowledged, {} are lost: {lost:?}", acknowledged.len(), lost.len());
    let mut twice = 0;
    for receipts in ways {
        let mut copies: BTreeMap<&str, Vec<&Receipt>> = BTreeMap::new();
        for receipt in receipts {
            copies.entry(&receipt.uid).or_default().push(receipt);
        }
        // How many of those that came again had come in each life.
        let mut in_hand = vec![0; lives + 1];
        for (uid, copies) in copies {
            for pair in copies.windows(2) {
                assert!(pair[0].life < pair[1].life, "{uid} came twice while the relay lived");
                assert_eq!(pair[0].identity, pair[1].identity, "{uid} came again as another");
                in_hand[pair[0].life] += 1;
                twice += 1;
            }
        }
        assert!(in_hand.iter().all(|n| *n <= IN_HAND), "more came again than were in hand: {in_hand:?}");
    }
    twice
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment() {
    let seed = std::env::var("CRASH_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or_else(|| rand::rng().random());
    println!("CRASH_SEED={seed}");
    let mut coin = StdRng::seed_from_u64(seed);
    let mut world = World::new().await;
    world.jumbo.up();
    world.sink.up();
    let (mut acknowledged, mut ends) = (BTreeSet::new(), Ends::new());
    let (mut in_start, mut in_shutdown) = (0, 0);
    for round in 0..moments() {
        let (cip, smtp) = (world.relay.cip_address(), world.relay.smtp_address());
        let count = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for client in 0..4 {
            clients.spawn(cip_load(cip, client, round, count.clone()));
            clients.spawn(smtp_load(smtp, client, round, count.clone()));
        }
        eventually("the load to begin", || async { (count.load(Ordering::SeqCst) > 0).then_some(()) }).await;
        tokio::time::sleep(Duration::from_millis(coin.random_range(0..250))).await;
        if coin.random_range(0..4) == 0 {
            in_shutdown += 1;
            world.relay.signal("TERM");
            tokio::time::sleep(Duration::from_millis(coin.random_range(0..60))).await;
        }
        world.relay.kill();
        let taken = clients.join_all().await;
        acknowledged.extend(taken.into_iter().flatten());
        end_of_life(&world, &mut ends).await;
        if coin.random_range(0..3) == 0 {
            in_start += 1;
            world.relay.begin_again();
            tokio::time::sleep(Duration::from_millis(coin.random_range(0..150))).await;
            world.relay.kill();
            end_of_life(&world, &mut ends).await;
        }
        world.relay.start_again().await;
    }
    world.relay.queue_empty().await;
    assert_eq!(world.relay.terminate().await.code(), Some(0));
    let twice = judge(&acknowledged, &receipts(&world, &ends), ends.len());
    let settings = world.relay.settings.clone();
    let check = tokio::task::spawn_blocking(move || settings.run(&["queue", "check"], b"")).await.unwrap();
    assert!(check.status.success(), "{check:?}");
    let (kills, acknowledged) = (moments() + in_start, acknowledged.len());
    println!(
        "{kills} kills ({in_start} in the start, {in_shutdown} in a shutdown): {acknowledged} acknowledged, 0 lost, 0 damaged, {twice} came again"
    );
}
