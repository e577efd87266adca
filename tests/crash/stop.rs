//! kill -9 and SIGTERM.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::load::{cip_load, invitation, smtp_load};
use super::{World, rounds, uid};
use crate::bridge::{bare, ical, imip};
use crate::support::eventually;
use crate::support::peer::{Behaviour, Reply};
use crate::support::sink::Stage;

async fn event(world: &World, uid: &str) {
    let answer = world.relay.cip().await.object("SENDEVENT", &bare(uid, 1, "tom@jumbo.com", &["mary@tiny.com"])).await;
    assert_eq!(answer.code(), "OK 000", "{answer:?}");
}

async fn mail(world: &World, uid: &str) {
    let reply = world.relay.smtp().await.mail("mary@tiny.com", &["tom@jumbo.com"], invitation(uid).as_bytes()).await;
    assert_eq!(reply.code, 250, "{reply:?}");
}

/// Killed at once after `OK` and `250`, both servers down: delivered after the restart, each exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_answer_and_before_delivery() {
    let mut world = World::new().await;
    for round in 0..rounds() {
        event(&world, &format!("event{round}@jumbo.com")).await;
        mail(&world, &format!("mail{round}@tiny.com")).await;
        world.relay.kill();
        world.relay.start_again().await;
    }
    world.jumbo.up();
    world.sink.up();
    world.relay.queue_empty().await;
    let sent: Vec<String> = world.jumbo.of("SENDEVENT").iter().map(|c| c.value("UID").unwrap()).collect();
    let expected: BTreeSet<String> = (0..rounds()).map(|n| format!("mail{n}@tiny.com")).collect();
    assert_eq!((sent.len(), sent.into_iter().collect()), (rounds(), expected));
    let mails = world.sink.mails();
    assert_eq!(mails.len(), rounds());
    for round in 0..rounds() {
        let event = format!("event{round}@jumbo.com");
        assert_eq!(mails.iter().filter(|m| uid(m) == event).count(), 1, "{event}");
    }
}

/// Killed while the peer has the data and has not answered: sent again, the same event in the same version.
#[tokio::test(flavor = "multi_thread")]
async fn killed_during_an_attempt() {
    let mut world = World::new().await;
    world.sink.up();
    world.jumbo.up();
    for round in 0..rounds() {
        world.jumbo.behave(Behaviour::accept().rule(|command, _| (command.verb == "SENDEVENT").then_some(Reply::Silence)));
        let before = world.jumbo.of("SENDEVENT").len();
        let uid = format!("mail{round}@tiny.com");
        mail(&world, &uid).await;
        world.jumbo.wait_for("SENDEVENT", before + 1).await;
        world.relay.kill();
        world.jumbo.behave(Behaviour::accept());
        world.relay.start_again().await;
        let seen = world.jumbo.wait_for("SENDEVENT", before + 2).await.split_off(before);
        world.relay.queue_empty().await;
        assert_eq!(seen.len(), 2);
        for command in &seen {
            // It goes as vCalendar, where SEQUENCE is the version.
            assert_eq!((command.value("UID"), command.value("SEQUENCE")), (Some(uid.clone()), Some("1".into())));
            assert_eq!(command.recipients("jumbo.com"), ["tom@jumbo.com"]);
        }
        assert_eq!(world.jumbo.of("SENDEVENT").len(), before + 2, "no third time");
    }
    world.sink.refuse(Stage::CutAfterData, None, "", 1);
    event(&world, "cut@jumbo.com").await;
    world.sink.wait_for_refusals(1).await;
    world.relay.kill();
    world.relay.start_again().await;
    let mail = world.sink.wait_for(1).await.pop().unwrap();
    world.relay.queue_empty().await;
    assert_eq!(uid(&mail), "cut@jumbo.com");
}

/// Stopped in order, or killed, while six clients send as fast as they can: whatever was acknowledged is delivered.
async fn under_load(orderly: bool) {
    let mut world = World::new().await;
    let mut taken = BTreeSet::new();
    for round in 0..rounds() {
        let (cip, smtp) = (world.relay.cip_address(), world.relay.smtp_address());
        let mut clients = JoinSet::new();
        let count = Arc::new(AtomicUsize::new(0));
        for client in 0..3 {
            clients.spawn(cip_load(cip, client, round, count.clone()));
            clients.spawn(smtp_load(smtp, client, round, count.clone()));
        }
        eventually("the load to begin", || async { (count.load(Ordering::SeqCst) > 0).then_some(()) }).await;
        tokio::time::sleep(Duration::from_millis(150 + 37 * (round as u64 % 7))).await;
        if orderly {
            let started = Instant::now();
            let status = world.relay.terminate().await;
            assert_eq!(status.code(), Some(0), "round {round}");
            // The bound is 20 s; with clients that go as soon as they are told, it takes no time.
            assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
        } else {
            world.relay.kill();
        }
        let acknowledged: Vec<String> = clients.join_all().await.into_iter().flatten().collect();
        taken.extend(acknowledged);
        world.relay.start_again().await;
    }
    world.jumbo.up();
    world.sink.up();
    world.relay.queue_empty().await;
    let mut delivered: BTreeMap<String, usize> = BTreeMap::new();
    for command in world.jumbo.of("SENDEVENT") {
        *delivered.entry(command.value("UID").unwrap()).or_default() += 1;
    }
    for mail in world.sink.mails() {
        *delivered.entry(uid(&mail)).or_default() += 1;
    }
    let lost: Vec<&String> = taken.iter().filter(|uid| !delivered.contains_key(*uid)).collect();
    assert!(lost.is_empty(), "of {} acknowledged, {} are lost: {lost:?}", taken.len(), lost.len());
    // Nothing was in hand with a peer when it stopped, so nothing came twice.
    let twice: Vec<_> = delivered.iter().filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_under_load() {
    under_load(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load() {
    under_load(false).await;
}

/// Killed while the peer has the data and has not answered, and cancelled before it can be tried again: the peer hears it.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_after_having_been_killed_during_an_attempt() {
    let mut world = World::new().await;
    world.sink.up();
    world.jumbo.up();
    world.jumbo.behave(Behaviour::accept().rule(|command, _| (command.verb == "SENDEVENT").then_some(Reply::Silence)));
    mail(&world, "one@tiny.com").await;
    world.jumbo.wait_for("SENDEVENT", 1).await;
    world.relay.kill();
    world.jumbo.stop().await;
    world.jumbo.behave(Behaviour::accept());
    world.relay.start_again().await;
    let cancel = ical("CANCEL", "one@tiny.com", 1, "mary@tiny.com", &[("tom@jumbo.com", "NEEDS-ACTION")]);
    let cancel = imip("CANCEL", "mary@tiny.com", &["tom@jumbo.com"], &cancel);
    let reply = world.relay.smtp().await.mail("mary@tiny.com", &["tom@jumbo.com"], cancel.as_bytes()).await;
    assert_eq!(reply.code, 250, "{reply:?}");
    world.jumbo.up();
    world.relay.queue_empty().await;
    let events = world.jumbo.of("SENDEVENT");
    assert!(events.iter().any(|c| c.text().contains("STATUS:CANCELLED")), "{events:?}");
}
