//! Records end some time after their event, and not before the queue is done with it; what outlives them keeps ids and
//! versions from being given twice.

use std::time::Duration;

use cip_relay::clock::{Clock, Timestamp};
use cip_relay::config::Ledger as Keep;
use cip_relay::ident::{EventId, UserId};
use cip_relay::ledger::RedirectKind;
use cip_relay::ledger::records::RedirectRecord;
use cip_relay::queue::entry::State;
use cip_relay::retention::{Sweeper, Swept};

use crate::bridge::{Scene, bare, ical, imip, zone};
use crate::outcomes::{mary_invites, organizer};
use crate::support::dns::Dns;
use crate::support::eventually;
use crate::support::peer::{Behaviour, CipPeer};
use crate::support::relay::Settings;
use crate::support::running::Running;
use crate::support::sink::Sink;

const DAY: Duration = Duration::from_secs(86_400);
const UID: &str = "040000008200E00074C5B7101A82E008";

async fn scene() -> Scene {
    let jumbo = CipPeer::start("jumbo.com", Behaviour::accept()).await;
    let dns = Dns::start(&zone(&jumbo)).await;
    let sink = Sink::start().await;
    let settings = Settings::new("tiny.com")
        .dns(dns.address())
        .smarthost(sink.address())
        .domain_text("name = \"tiny.com\"\nusers = \"any\"\nfree-busy = [{ source = \"ledger\" }]");
    Scene { relay: Running::start_held(settings).await, jumbo, sink, dns }
}

fn sweeper(relay: &Running) -> Sweeper {
    let clock = relay.clock.clone().unwrap();
    Sweeper::new(relay.relay.queue().clone(), relay.relay.ledger().clone(), std::sync::Arc::new(clock), Keep::default().retention())
}

fn until(relay: &Running, day: &str) {
    let there = Timestamp::parse_rfc3339(&format!("{day}T12:00:00Z")).unwrap();
    relay.advance(there.since(relay.clock.as_ref().unwrap().now()));
}

/// What is left of a kind of records.
fn left(relay: &Running, prefix: &[u8]) -> usize {
    relay.relay.queue().store().scan(prefix, prefix, 1000).unwrap().len()
}

fn own_event(relay: &Running) -> EventId {
    relay.relay.ledger().event_of_uid(UID, &UserId::parse("mary@tiny.com").unwrap()).unwrap().unwrap()
}

/// Mary's event of 4 January 2027 and Tom's of 2 January, each with people, answers, tokens, times.
async fn two_events(scene: &Scene) -> (EventId, String) {
    let Scene { relay, jumbo, sink, .. } = scene;
    mary_invites(relay, UID, &["tom@jumbo.com"]).await;
    jumbo.wait_for("SENDEVENT", 1).await;
    let id = own_event(relay);
    let rsvp = format!("UID: {id}\nSEQUENCE: 1\nATTENDEE;STATUS=CONFIRMED: <tom@jumbo.com>\n");
    assert_eq!(relay.cip().await.object("RSVP", &rsvp).await.code(), "OK 000");
    sink.wait_for(1).await;
    let answer = relay.cip().await.object("SENDEVENT", &bare("e1@jumbo.com", 1, "tom@jumbo.com", &["mary@tiny.com"])).await;
    assert_eq!(answer.code(), "OK 000");
    let token = organizer(&sink.wait_for(2).await[1]);
    let reply = ical("REPLY", "e1@jumbo.com", 0, &token, &[("mary@tiny.com", "ACCEPTED")]);
    let done = relay.smtp().await.mail("mary@tiny.com", &[&token], imip("REPLY", "mary@tiny.com", &[&token], &reply).as_bytes()).await;
    assert_eq!(done.code, 250, "{done:?}");
    relay.idle().await;
    (id, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_forgotten_with_all_its_records_ninety_days_after_it() {
    let scene = scene().await;
    let relay = &scene.relay;
    let (id, token) = two_events(&scene).await;
    let now = relay.clock.as_ref().unwrap().now();
    let learned = RedirectRecord {
        old: "ann@jumbo.com".into(),
        new: "anne@jumbo.com".into(),
        source: "jumbo.com".into(),
        learned: now,
        expires: Some(now.after(90 * DAY)),
    };
    let mut change = relay.relay.queue().change();
    relay.relay.ledger().put_redirect(change.batch_mut(), RedirectKind::User, &learned).unwrap();
    relay.relay.queue().commit(change).await.unwrap();

    assert_eq!(sweeper(relay).sweep().await.unwrap(), Swept::default());
    assert_eq!(left(relay, b"Mrelay-cip-"), 1, "jumbo.com has spoken CIP");
    for kind in [b"le", b"lp", b"lu", b"lk", b"lo", b"lf", b"lh", b"ln"] {
        assert!(left(relay, kind) > 0, "{}", String::from_utf8_lossy(kind));
    }
    // The relay sweeps by itself as well: either of them may be the one that finds it.
    until(relay, "2027-04-01");
    sweeper(relay).sweep().await.unwrap();
    assert!(relay.relay.ledger().event(&id).unwrap().is_some() && left(relay, b"le") == 2, "89 days after");
    eventually("the redirect to be forgotten", || async { (left(relay, b"r") == 0).then_some(()) }).await;
    eventually("what was known of jumbo.com to be forgotten", || async { (left(relay, b"Mrelay-cip-") == 0).then_some(()) }).await;
    until(relay, "2027-04-06");
    eventually("both events to be forgotten", || async { (left(relay, b"le") == 0).then_some(()) }).await;
    for kind in [&b"lp"[..], b"lu", b"lk", b"lo", b"lf", b"lh", b"ln", b"li", b"t"] {
        assert_eq!(left(relay, kind), 0, "{}", String::from_utf8_lossy(kind));
    }
    let former = relay.relay.ledger().tombstone(&id).unwrap().unwrap();
    assert_eq!((former.version, former.owner.to_string()), (1, "mary@tiny.com".to_owned()));
    assert_eq!(left(relay, b"lz"), 1, "Tom's event is not the relay's");

    // Its reply address is refused by a word.
    let done = relay.smtp().await.mail("mary@tiny.com", &[&token], b"Subject: late\r\n\r\n").await;
    assert_eq!(done.code, 550, "{done:?}");
    assert!(done.lines.join(" ").contains("or its event is over and forgotten"), "{done:?}");

    // The same event again: the id that it had, and a version that it had not. A colleague who writes its id gets another.
    mary_invites(relay, UID, &["tom@jumbo.com"]).await;
    let events = scene.jumbo.wait_for("SENDEVENT", 2).await;
    assert_eq!((events[1].value("UID"), events[1].value("SEQUENCE").as_deref()), (Some(id.to_string()), Some("2")));
    relay.idle().await;
    until(relay, "2028-04-06");
    eventually("it to be forgotten again", || async { (left(relay, b"le") == 0).then_some(()) }).await;
    let request = ical("REQUEST", id.as_str(), 0, "bob@tiny.com", &[("tom@jumbo.com", "NEEDS-ACTION")]);
    let mail = imip("REQUEST", "bob@tiny.com", &["tom@jumbo.com"], &request);
    assert_eq!(relay.smtp().await.mail("bob@tiny.com", &["tom@jumbo.com"], mail.as_bytes()).await.code, 250);
    let events = scene.jumbo.wait_for("SENDEVENT", 3).await;
    assert_ne!(events[2].value("UID"), Some(id.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_queue_still_has_is_not_forgotten() {
    let scene = scene().await;
    let relay = &scene.relay;
    for (version, summary) in [(2, "Project X review"), (1, "Something else")] {
        let object = bare("e1@jumbo.com", version, "tom@jumbo.com", &["mary@tiny.com"]).replace("Project X review", summary);
        assert_eq!(relay.cip().await.object("SENDEVENT", &object).await.code(), "OK 000");
    }
    scene.sink.wait_for(1).await;
    let held = relay.entry("the version that went back", |e| e.state == State::Held).await;
    until(relay, "2028-11-22");
    assert_eq!(sweeper(relay).sweep().await.unwrap().events, 0);
    assert_eq!(left(relay, b"le"), 1);
    let lease = relay.relay.queue().take(held.id, Duration::from_secs(1)).await.unwrap();
    let mut change = relay.relay.queue().change();
    change.remove(&lease.entry);
    relay.relay.queue().settle(lease, change).await.unwrap();
    relay.idle().await;
    sweeper(relay).sweep().await.unwrap();
    assert_eq!(left(relay, b"le"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_without_an_end_stays_for_a_year_after_its_last_traffic() {
    let scene = scene().await;
    let relay = &scene.relay;
    let object = bare("e1@jumbo.com", 1, "tom@jumbo.com", &["mary@tiny.com"]) + "RRULE: W1 #0\n";
    assert_eq!(relay.cip().await.object("SENDEVENT", &object).await.code(), "OK 000");
    scene.sink.wait_for(1).await;
    relay.idle().await;
    until(relay, "2027-12-26");
    sweeper(relay).sweep().await.unwrap();
    assert_eq!(left(relay, b"le"), 1, "399 days");
    until(relay, "2027-12-29");
    sweeper(relay).sweep().await.unwrap();
    assert_eq!(left(relay, b"le"), 0);
}
