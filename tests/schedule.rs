//! When things are tried again, and when e-mail takes over (profile 7), on a clock that the scenario holds.

use std::time::Duration;

use cip_relay::ident::ServerId;
use cip_relay::queue::Health;
use cip_relay::queue::entry::{Destination, Entry, State, Verb};

use crate::bridge::{bare, ical, imip, zone};
use crate::support::dns::Dns;
use crate::support::eventually;
use crate::support::peer::{Behaviour, CipPeer};
use crate::support::relay::{Settings, free_port};
use crate::support::running::Running;
use crate::support::sink::Sink;

const MINUTE: Duration = Duration::from_secs(60);

struct Scene {
    relay: Running,
    jumbo: CipPeer,
    sink: Sink,
    dns: Dns,
}

/// A relay on a held clock whose peer is down, with a schedule of 1, 2, 4, 8 … minutes without jitter.
async fn scene(zone: impl FnOnce(&CipPeer) -> String, change: impl FnOnce(Settings) -> Settings) -> Scene {
    let jumbo = CipPeer::down("jumbo.com", Behaviour::accept());
    let dns = Dns::start(&zone(&jumbo)).await;
    let sink = Sink::start().await;
    let settings = Settings::new("tiny.com").dns(dns.address()).smarthost(sink.address()).set("delivery.retry.jitter", 0.0);
    let relay = Running::start_held(change(settings)).await;
    Scene { relay, jumbo, sink, dns }
}

impl Scene {
    /// Mary invites Tom by mail.
    async fn invite(&self, uid: &str) {
        let request = ical("REQUEST", uid, 0, "mary@tiny.com", &[("tom@jumbo.com", "NEEDS-ACTION")]);
        let request = imip("REQUEST", "mary@tiny.com", &["tom@jumbo.com"], &request);
        let reply = self.relay.smtp().await.mail("mary@tiny.com", &["tom@jumbo.com"], request.as_bytes()).await;
        assert_eq!(reply.code, 250, "{reply:?}");
    }

    /// Waits until the server is known to be down and nobody is at it any more: only then may the clock move.
    async fn parked(&self) -> Vec<Entry> {
        let jumbo = Destination::Cip(ServerId::parse("jumbo.com").unwrap());
        eventually("the server to be left alone", || async {
            let queue = self.relay.relay.queue();
            let down = matches!(queue.health(&jumbo), Health::Down { .. });
            let entries = self.relay.entries();
            (down && entries.iter().all(|e| e.state != State::InFlight)).then_some(entries)
        })
        .await
    }

    async fn after_attempts(&self, n: u32) -> Entry {
        self.relay.entry(&format!("{n} attempts"), |e| e.attempts == n && e.state == State::Deferred).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_tried_at_the_scheduled_times_and_gets_it_once() {
    let scene = scene(zone, |s| s.set("delivery.cip-patience", "2h")).await;
    scene.invite("down-then-up").await;
    let mut expected = Vec::new();
    for (n, wait) in [1, 2, 4, 8].into_iter().enumerate() {
        let entry = scene.after_attempts(u32::try_from(n).unwrap() + 1).await;
        let now = scene.relay.clock.as_ref().map(cip_relay::clock::Clock::now).unwrap();
        assert_eq!(entry.next_attempt.since(now), MINUTE * wait);
        expected.push(wait);
        // A moment too early nothing happens; the next step would show an attempt too many.
        scene.relay.advance((MINUTE * wait).saturating_sub(Duration::from_millis(1)));
        tokio::task::yield_now().await;
        if n == 3 {
            scene.jumbo.up();
        }
        scene.relay.advance(Duration::from_millis(1));
    }
    assert_eq!(expected, [1, 2, 4, 8]);
    scene.relay.idle().await;
    assert_eq!(scene.jumbo.of("SENDEVENT").len(), 1);
    assert!(scene.sink.mails().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_success_releases_what_waited_for_the_server() {
    let scene = scene(zone, |s| s.set("delivery.cip-patience", "2h")).await;
    for n in 0..5 {
        scene.invite(&format!("waits-{n}")).await;
    }
    scene.parked().await;
    scene.jumbo.up();
    scene.relay.advance(MINUTE);
    scene.relay.idle().await;
    assert_eq!(scene.jumbo.of("SENDEVENT").len(), 5);
    assert!(scene.relay.relay.delivery().failing().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn down_for_longer_than_patience_goes_by_mail() {
    let scene = scene(zone, |s| s.set("delivery.cip-patience", "10m")).await;
    scene.invite("impatient").await;
    for (n, wait) in [1, 2, 4].into_iter().enumerate() {
        scene.after_attempts(u32::try_from(n).unwrap() + 1).await;
        assert!(scene.sink.mails().is_empty());
        scene.relay.advance(MINUTE * wait);
    }
    scene.after_attempts(4).await;
    // Seven minutes have passed, the next attempt would be at fifteen: the end of patience comes first.
    scene.relay.advance(MINUTE * 3);
    let mail = scene.sink.wait_for(1).await.pop().unwrap();
    assert_eq!(mail.recipients, ["tom@jumbo.com"]);
    assert_eq!(mail.sender, "mary@tiny.com");
    assert!(mail.text().contains("UID:impatient"), "the original, octet for octet: {}", mail.text());
    scene.relay.idle().await;
    assert!(scene.jumbo.of("SENDEVENT").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_srv_and_nothing_listening_goes_by_mail_at_once() {
    let nothing = |_: &CipPeer| "$ORIGIN jumbo.com.\n@ A 127.0.0.1\n".to_owned();
    let scene = scene(nothing, |s| s.set("cip.default-port", i64::from(free_port()))).await;
    scene.invite("silent").await;
    scene.sink.wait_for(1).await;
    scene.relay.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_cip_server_is_remembered_for_an_hour() {
    let mail_server = CipPeer::start("jumbo.com", Behaviour::smtp()).await;
    let nothing = |_: &CipPeer| "$ORIGIN jumbo.com.\n@ A 127.0.0.1\n".to_owned();
    let scene = scene(nothing, |s| s.set("cip.default-port", i64::from(mail_server.address().port()))).await;
    for n in 1..=3 {
        scene.invite(&format!("no-cip-{n}")).await;
        scene.sink.wait_for(n).await;
    }
    scene.relay.idle().await;
    assert_eq!(mail_server.connections(), 1);
    scene.relay.advance(MINUTE * 61);
    scene.invite("no-cip-4").await;
    scene.sink.wait_for(4).await;
    assert_eq!(mail_server.connections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_srv_target_means_mail_without_any_connection() {
    let null = |jumbo: &CipPeer| {
        jumbo.up();
        "$ORIGIN jumbo.com.\n@ A 127.0.0.1\n_cip._tcp SRV 0 0 0 .\n".to_owned()
    };
    let scene = scene(null, |s| s).await;
    scene.invite("null").await;
    scene.sink.wait_for(1).await;
    scene.relay.idle().await;
    assert_eq!(scene.jumbo.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dns_failure_is_retried_and_never_mailed() {
    let scene = scene(zone, |s| s.set("delivery.cip-patience", "3m")).await;
    scene.jumbo.up();
    for name in ["_cip._tcp.jumbo.com", "cip.tcp.jumbo.com", "jumbo.com"] {
        scene.dns.servfail(name, true);
    }
    scene.invite("servfail").await;
    for (n, wait) in [1, 2, 4].into_iter().enumerate() {
        scene.after_attempts(u32::try_from(n).unwrap() + 1).await;
        scene.relay.advance(MINUTE * wait);
    }
    let entry = scene.after_attempts(4).await;
    assert!(entry.reason.contains("jumbo.com"), "{}", entry.reason);
    assert!(scene.sink.mails().is_empty());
    for name in ["_cip._tcp.jumbo.com", "cip.tcp.jumbo.com", "jumbo.com"] {
        scene.dns.servfail(name, false);
    }
    scene.relay.advance(MINUTE * 8);
    scene.jumbo.wait_for("SENDEVENT", 1).await;
    scene.relay.idle().await;
    assert!(scene.sink.mails().is_empty());
}

/// `NO 004` and silence alike: nothing is lost, and it is not tried without end.
#[tokio::test(flavor = "multi_thread")]
async fn expiry_is_reported_to_the_sender() {
    let scene = scene(zone, |s| {
        s.set("delivery.expire-after", "1h").set("delivery.warn-after", "30m").peer("server-id = \"jumbo.com\"\nroute = \"cip\"")
    })
    .await;
    scene.invite("expires").await;
    scene.after_attempts(1).await;
    assert!(scene.sink.mails().is_empty());
    scene.relay.advance(MINUTE * 30);
    let warning = scene.sink.wait_for(1).await.pop().unwrap();
    assert!(warning.text().contains("Action: delayed"), "{}", warning.text());
    scene.relay.entry("the invitation, warned of", |e| e.warned && e.state == State::Deferred && e.verb == Verb::SendEvent).await;
    scene.relay.advance(MINUTE * 30);
    let failure = scene.sink.wait_for(2).await.pop().unwrap();
    assert!(failure.text().contains("Action: failed"), "{}", failure.text());
    assert_eq!((failure.sender.as_str(), failure.recipients.as_slice()), ("", ["mary@tiny.com".to_owned()].as_slice()));
    scene.relay.idle().await;
    assert_eq!(scene.sink.mails().len(), 2);
    assert_eq!(scene.jumbo.connections(), 0);
}

/// An event that lies ahead waits for CIP a quarter of the time until it starts, at most.
#[tokio::test(flavor = "multi_thread")]
async fn patience_is_shorter_for_an_event_that_starts_soon() {
    let scene = scene(zone, |s| s.set("delivery.cip-patience", "2h")).await;
    let request = ical("REQUEST", "soon", 0, "mary@tiny.com", &[("tom@jumbo.com", "NEEDS-ACTION")])
        .replace("20270104T15", "20261122T13")
        .replace("20270104T16", "20261122T14");
    let request = imip("REQUEST", "mary@tiny.com", &["tom@jumbo.com"], &request);
    scene.relay.smtp().await.mail("mary@tiny.com", &["tom@jumbo.com"], request.as_bytes()).await;
    scene.after_attempts(1).await;
    // It starts in 60 minutes: after 15 e-mail takes over.
    scene.relay.advance(MINUTE * 15);
    scene.sink.wait_for(1).await;
    scene.relay.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_costs_one_attempt_a_time_and_holds_up_nobody_else() {
    let scene = scene(zone, |s| s.set("delivery.cip-patience", "10h")).await;
    for n in 0..20 {
        scene.invite(&format!("dead-{n}")).await;
    }
    let entries = scene.parked().await;
    // At most as many as may be in flight together were in hand when it was found to be down.
    let tried: u32 = entries.iter().map(|e| e.attempts).sum();
    assert!((1..=4).contains(&tried), "{tried}");
    let answer = scene.relay.cip().await.object("SENDEVENT", &bare("other@jumbo.com", 1, "tom@jumbo.com", &["mary@tiny.com"])).await;
    assert_eq!(answer.code(), "OK 000");
    scene.sink.wait_for(1).await;
    scene.relay.advance(MINUTE);
    let probed = eventually("the probe", || async {
        let now: u32 = scene.relay.entries().iter().map(|e| e.attempts).sum();
        (now > tried).then_some(now)
    })
    .await;
    assert_eq!(probed, tried + 1, "one probe");
}
