//! What a CIP client can and cannot do at the door: standings, versions, answers, strangers.

use cip_relay::queue::entry::State;

use crate::bridge::{Scene, bare, ical, imip, property, python_reads, unfold};
use crate::support::cip::{Answer, CipClient};

/// Anybody who is not at an address of jumbo.com.
async fn stranger(scene: &Scene) -> CipClient {
    CipClient::connect_from("127.0.0.2", scene.relay.cip_address()).await
}

/// Mary invites Tom by mail; gives the event-id by which jumbo.com knows it.
async fn mary_invites_tom(scene: &Scene, sequence: u32) -> String {
    let request = ical("REQUEST", "budget-meeting", sequence, "mary@tiny.com", &[("tom@jumbo.com", "NEEDS-ACTION")]);
    let request = imip("REQUEST", "Mary Weaver <mary@tiny.com>", &["tom@jumbo.com"], &request);
    let before = scene.jumbo.of("SENDEVENT").len();
    let done = scene.relay.smtp().await.mail("mary@tiny.com", &["tom@jumbo.com"], request.as_bytes()).await;
    assert_eq!(done.code, 250, "{done:?}");
    let event = scene.jumbo.wait_for("SENDEVENT", before + 1).await.pop().unwrap();
    event.value("UID").unwrap()
}

/// Tom's answer, with these further lines.
fn rsvp(event: &str, status: &str, lines: &str) -> String {
    format!("UID: {event}\n{lines}ATTENDEE;ROLE=ATTENDEE;STATUS={status}: Tom Jones <tom@jumbo.com>\n")
}

/// What the mails to Mary said of Tom, in order.
async fn told(scene: &Scene, mails: usize) -> Vec<String> {
    let mails = scene.sink.wait_for(mails).await;
    let status = |mail| {
        let (_, _, calendar) = python_reads(mail);
        let calendar = unfold(&calendar);
        let (_, rest) = property(&calendar, "ATTENDEE").split_once("PARTSTAT=").unwrap();
        rest.split([';', ':']).next().unwrap().to_owned()
    };
    mails.iter().map(status).collect()
}

fn ok(answer: &Answer) {
    assert_eq!(answer.code(), "OK 000", "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_answer_is_never_in_the_way_of_the_real_one() {
    let scene = Scene::new().await;
    let event = mary_invites_tom(&scene, 0).await;
    let forged = "SEQUENCE: 2147483647\nRESPONSE-SEQUENCE: 4000000000\nDTSTAMP: 20990101T000000Z\n";
    ok(&stranger(&scene).await.object("RSVP", &rsvp(&event, "DECLINED", forged)).await);
    assert_eq!(told(&scene, 1).await, ["DECLINED"]);
    // Tom's own, with modest numbers, from his server: it counts.
    let mut jumbo = scene.relay.cip().await;
    ok(&jumbo.object("RSVP", &rsvp(&event, "CONFIRMED", "SEQUENCE: 1\nRESPONSE-SEQUENCE: 1\n")).await);
    assert_eq!(told(&scene, 2).await[1], "ACCEPTED");
    // From now on the stranger cannot change it, whatever his numbers are: his is kept for the administrator.
    ok(&stranger(&scene).await.object("RSVP", &rsvp(&event, "DECLINED", forged)).await);
    let held = scene.relay.entry("a held answer", |e| e.state == State::Held).await;
    assert!(held.reason.contains("standing 2") && held.reason.contains("standing 0"), "{}", held.reason);
    // The same as is known says nothing new, and what Tom says next is believed as before.
    ok(&stranger(&scene).await.object("RSVP", &rsvp(&event, "CONFIRMED", "SEQUENCE: 1\n")).await);
    ok(&jumbo.object("RSVP", &rsvp(&event, "TENTATIVE", "SEQUENCE: 1\nRESPONSE-SEQUENCE: 2\n")).await);
    assert_eq!(told(&scene, 3).await[2], "TENTATIVE");
    assert_eq!(scene.relay.entries().iter().filter(|e| e.state == State::Held).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_numbers_do_not_silence_the_next_stranger() {
    let scene = Scene::new().await;
    let event = mary_invites_tom(&scene, 0).await;
    let mut client = stranger(&scene).await;
    ok(&client.object("RSVP", &rsvp(&event, "DECLINED", "RESPONSE-SEQUENCE: 4000000000\nDTSTAMP: 20990101T000000Z\n")).await);
    assert_eq!(told(&scene, 1).await, ["DECLINED"]);
    ok(&client.object("RSVP", &rsvp(&event, "CONFIRMED", "SEQUENCE: 1\nRESPONSE-SEQUENCE: 2\n")).await);
    assert_eq!(told(&scene, 2).await[1], "ACCEPTED");
}

/// The same from someone who is better known sends nothing, and counts as his from then on.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_answer_from_a_better_known_sender_makes_it_his() {
    let scene = Scene::new().await;
    let event = mary_invites_tom(&scene, 0).await;
    ok(&stranger(&scene).await.object("RSVP", &rsvp(&event, "CONFIRMED", "SEQUENCE: 1\n")).await);
    assert_eq!(told(&scene, 1).await, ["ACCEPTED"]);
    ok(&scene.relay.cip().await.object("RSVP", &rsvp(&event, "CONFIRMED", "SEQUENCE: 1\n")).await);
    ok(&stranger(&scene).await.object("RSVP", &rsvp(&event, "DECLINED", "SEQUENCE: 1\nRESPONSE-SEQUENCE: 9\n")).await);
    scene.relay.entry("a held answer", |e| e.state == State::Held).await;
    assert_eq!(told(&scene, 1).await, ["ACCEPTED"]);
}

/// At 127.0.0.1 everybody has standing 3 without being looked up.
async fn trusting() -> Scene {
    Scene::with(|s| s.set("cip.relay-networks", vec!["127.0.0.1/32"])).await
}

/// What came with a standing that the DNS cannot confirm now is to come again, and is neither held nor taken for forged.
#[tokio::test(flavor = "multi_thread")]
async fn a_dns_failure_puts_a_known_event_off() {
    let scene = trusting().await;
    let object = |version| bare("e1@jumbo.com", version, "tom@jumbo.com", &["mary@tiny.com"]);
    ok(&scene.relay.cip().await.object("SENDEVENT", &object(1)).await);
    scene.relay.idle().await;
    scene.dns.servfail("jumbo.com", true);
    let mut client = stranger(&scene).await;
    let answer = client.object("SENDEVENT", &object(2)).await;
    assert_eq!((answer.code(), answer.infos.as_slice()), ("NO 004", [].as_slice()));
    // An event that nobody knows loses nothing by it.
    ok(&client.object("SENDEVENT", &bare("e2@jumbo.com", 1, "tom@jumbo.com", &["mary@tiny.com"])).await);
    scene.relay.idle().await;
    scene.dns.servfail("jumbo.com", false);
    ok(&client.object("SENDEVENT", &object(2)).await);
    scene.relay.entry("the update, held", |e| e.state == State::Held && e.version == Some(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dns_failure_puts_a_changed_answer_off() {
    let scene = trusting().await;
    let event = mary_invites_tom(&scene, 0).await;
    ok(&scene.relay.cip().await.object("RSVP", &rsvp(&event, "CONFIRMED", "SEQUENCE: 1\n")).await);
    assert_eq!(told(&scene, 1).await, ["ACCEPTED"]);
    scene.dns.servfail("jumbo.com", true);
    let changed = rsvp(&event, "DECLINED", "SEQUENCE: 1\nRESPONSE-SEQUENCE: 1\n");
    let mut client = stranger(&scene).await;
    assert_eq!(client.object("RSVP", &changed).await.code(), "NO 004");
    scene.relay.idle().await;
    scene.dns.servfail("jumbo.com", false);
    ok(&client.object("RSVP", &changed).await);
    scene.relay.entry("the answer, held", |e| e.state == State::Held).await;
}

/// Look-ups cost: there are none for people who are not on the event, and only a few for those who are.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_causes_few_look_ups() {
    let scene = Scene::new().await;
    let domains: Vec<String> = (0..12).map(|n| format!("d{n}.example")).collect();
    let people: Vec<String> = domains.iter().map(|d| format!("ann@{d}")).collect();
    let attendees: Vec<(&str, &str)> = people.iter().map(|p| (p.as_str(), "NEEDS-ACTION")).collect();
    let to: Vec<&str> = people.iter().map(String::as_str).collect();
    let request = imip("REQUEST", "Mary Weaver <mary@tiny.com>", &to, &ical("REQUEST", "many", 0, "mary@tiny.com", &attendees));
    assert_eq!(scene.relay.smtp().await.mail("mary@tiny.com", &to, request.as_bytes()).await.code, 250);
    scene.sink.wait_for(12).await;
    scene.relay.idle().await;
    let (_, event) = scene.relay.relay.ledger().events(None, 10).unwrap().pop().unwrap();
    let asked = || domains.iter().map(|d| scene.dns.queries(d, "")).collect::<Vec<_>>();
    let before = asked();
    let answer = |who: &[String]| {
        let lines: Vec<String> = who.iter().map(|p| format!("ATTENDEE;STATUS=CONFIRMED:<{p}>\n")).collect();
        format!("UID: {}\nSEQUENCE: 1\n{}", event.event_id, lines.concat())
    };
    let strangers: Vec<String> = domains.iter().map(|d| format!("eve@{d}")).collect();
    let refused = stranger(&scene).await.object("RSVP", &answer(&strangers)).await;
    assert_eq!((refused.code(), refused.infos.len()), ("NO 000", 12));
    assert_eq!(asked(), before);
    ok(&stranger(&scene).await.object("RSVP", &answer(&people)).await);
    assert_eq!(asked().iter().zip(&before).filter(|(now, then)| now > then).count(), 10);
}
