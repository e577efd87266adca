//! What policy had held and the administrator releases is in the ledger as if there had been no doubt.

use cip_relay::calendar::event::PartStat;
use cip_relay::ident::{EventId, UserId};
use cip_relay::queue::entry::State;

use crate::bridge::{Scene, bare, ical, imip, property, python_reads, unfold};
use crate::outcomes::{mary_invites, organizer};
use crate::support::cip::CipClient;

/// Releases what is held.
async fn release(scene: &Scene) {
    let held = scene.relay.entry("a held entry", |e| e.state == State::Held).await;
    let (settings, id) = (scene.relay.settings.clone(), held.id.to_string());
    let done = tokio::task::spawn_blocking(move || settings.run(&["queue", "release", &id], b"")).await.unwrap();
    assert!(done.status.success(), "{done:?}");
    scene.relay.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reply_address_of_a_released_event_takes_the_answer() {
    let scene = Scene::new().await;
    // Nobody knows this sender, and the version is out of all reach.
    let event = bare("big@other.org", 5000, "tom@other.org", &["mary@tiny.com"]);
    assert_eq!(scene.relay.cip().await.object("SENDEVENT", &event).await.code(), "OK 000");
    release(&scene).await;
    let token = organizer(&scene.sink.wait_for_recipient("mary@tiny.com", 1).await[0]);
    let reply = imip("REPLY", "mary@tiny.com", &[&token], &ical("REPLY", "big@other.org", 4999, &token, &[("mary@tiny.com", "ACCEPTED")]));
    let done = scene.relay.smtp().await.mail("mary@tiny.com", &[&token], reply.as_bytes()).await;
    assert_eq!(done.code, 250, "{done:?}");
    // The next version is no jump any more.
    let next = bare("big@other.org", 5001, "tom@other.org", &["mary@tiny.com"]).replace("Project X", "Project Y");
    assert_eq!(scene.relay.cip().await.object("SENDEVENT", &next).await.code(), "OK 000");
    scene.sink.wait_for_recipient("mary@tiny.com", 2).await;
    let history = scene.relay.relay.ledger().chronicle(&EventId::parse("big@other.org").unwrap()).unwrap().unwrap();
    assert!(history.lines.iter().any(|line| line.what.contains("released by the administrator")), "{history:?}");
    scene.relay.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_went_back_is_released_as_the_next_version() {
    let scene = Scene::new().await;
    for (sequence, stamp, title) in [(5, "20261101", "Budget"), (2, "20261102", "Money")] {
        let object = ical("REQUEST", "m1", sequence, "mary@tiny.com", &[("tom@jumbo.com", "NEEDS-ACTION")]);
        let object = object.replace("DTSTAMP:20261122", &format!("DTSTAMP:{stamp}")).replace("Budget", title);
        let mail = imip("REQUEST", "mary@tiny.com", &["tom@jumbo.com"], &object);
        assert_eq!(scene.relay.smtp().await.mail("mary@tiny.com", &["tom@jumbo.com"], mail.as_bytes()).await.code, 250);
        scene.jumbo.wait_for("SENDEVENT", 1).await;
    }
    release(&scene).await;
    let got = scene.jumbo.of("SENDEVENT");
    let said: Vec<_> = got.iter().map(|c| (c.value("SEQUENCE").unwrap(), c.value("SUMMARY").unwrap())).collect();
    assert_eq!(said, [("6".into(), "Budget".into()), ("7".into(), "Money".to_owned())]);
    let event = EventId::parse(&got[0].value("UID").unwrap()).unwrap();
    let ledger = scene.relay.relay.ledger();
    assert_eq!(ledger.event(&event).unwrap().unwrap().part(None).unwrap().summary.as_deref(), Some("Money"));
    assert_eq!(ledger.person(&event, &UserId::parse("tom@jumbo.com").unwrap()).unwrap().unwrap().accepted_version(None), Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_answer_is_the_attendees_answer() {
    let scene = Scene::new().await;
    mary_invites(&scene.relay, "m1", &["tom@jumbo.com"]).await;
    let event = scene.jumbo.wait_for("SENDEVENT", 1).await[0].value("UID").unwrap();
    let rsvp = |status: &str| format!("UID: {event}\nSEQUENCE: 1\nATTENDEE;STATUS={status}: <tom@jumbo.com>\n");
    assert_eq!(scene.relay.cip().await.object("RSVP", &rsvp("CONFIRMED")).await.code(), "OK 000");
    scene.sink.wait_for_recipient("mary@tiny.com", 1).await;
    scene.relay.idle().await;
    // From somewhere else than jumbo.com.
    let mut stranger = CipClient::connect_from("127.0.0.9", scene.relay.cip_address()).await;
    assert_eq!(stranger.object("RSVP", &rsvp("DECLINED")).await.code(), "OK 000");
    release(&scene).await;
    let mails = scene.sink.wait_for_recipient("mary@tiny.com", 2).await;
    assert!(property(&unfold(&python_reads(&mails[1]).2), "ATTENDEE").contains("PARTSTAT=DECLINED"));
    let ledger = scene.relay.relay.ledger();
    let tom = ledger.person(&EventId::parse(&event).unwrap(), &UserId::parse("tom@jumbo.com").unwrap()).unwrap().unwrap();
    assert_eq!(tom.answer(None).unwrap().status, PartStat::Declined);
}
