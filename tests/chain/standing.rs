//! Who may speak for an owner (profile 4): what comes with a lower standing than the event is known with is held.

use cip_relay::queue::entry::{Entry, State};

use crate::bridge::{Scene, bare, ical, imip, property, python_reads, unfold};
use crate::support::cip::{Answer, CipClient};
use crate::support::eventually;
use crate::support::running::Running;

/// 127.0.0.2 is nobody's address; jumbo.com's is 127.0.0.1.
async fn stranger(relay: &Running, verb: &str, object: &str) -> Answer {
    CipClient::connect_from("127.0.0.2", relay.cip_address()).await.object(verb, object).await
}

fn held(relay: &Running) -> Vec<Entry> {
    relay.entries().into_iter().filter(|e| e.state == State::Held).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_update_is_held_and_the_true_event_stays() {
    let scene = Scene::new().await;
    let relay = &scene.relay;
    let mary = ["mary@tiny.com"];
    let event = |version| bare("e1@jumbo.com", version, "tom@jumbo.com", &mary);
    assert_eq!(relay.cip().await.object("SENDEVENT", &event(2)).await.code(), "OK 000");
    let first = scene.sink.wait_for(1).await.remove(0);
    relay.idle().await;

    let forgeries = [
        // A later version, a cancellation, other content in the same version, another owner, an end to all versions.
        event(3).replace("Project X review", "At my place"),
        event(4).replace("SUMMARY", "STATUS: CANCELLED\nSUMMARY"),
        event(2).replace("Project X review", "Somewhere else"),
        bare("e1@jumbo.com", 5, "eve@evil.org", &mary),
        event(0x7fff_ffff),
    ];
    for (n, forged) in forgeries.iter().enumerate() {
        let answer = stranger(relay, "SENDEVENT", forged).await;
        assert_eq!((answer.code(), answer.infos.as_slice()), ("OK 000", &["* TENTATIVE mary@tiny.com".to_owned()][..]), "{forged}");
        let held = held(relay);
        assert_eq!(held.len(), n + 1, "{forged}");
        assert!(held.iter().all(|e| e.reason == "its sender has standing 0, the event is known with standing 2"), "{held:?}");
    }
    // Mary's answer is to what she was sent.
    let (_, _, calendar) = python_reads(&first);
    let token = property(&unfold(&calendar), "ORGANIZER").rsplit_once("mailto:").unwrap().1.to_owned();
    let reply = imip("REPLY", "mary@tiny.com", &[&token], &ical("REPLY", "e1@jumbo.com", 1, &token, &[("mary@tiny.com", "ACCEPTED")]));
    assert_eq!(relay.smtp().await.mail("mary@tiny.com", &[&token], reply.as_bytes()).await.code, 250);
    let rsvp = scene.jumbo.wait_for("RSVP", 1).await.remove(0);
    assert_eq!(rsvp.value("SEQUENCE").as_deref(), Some("2"));
    // The true owner's next version is no older than any of them.
    assert_eq!(relay.cip().await.object("SENDEVENT", &event(3)).await.code(), "OK 000");
    let mails = scene.sink.wait_for(2).await;
    assert!(mails[1].text().contains("Project X review"), "{}", mails[1].text());
    assert_eq!((mails.len(), held(relay).len()), (2, forgeries.len()));
    eventually("what is held, alone", || async { (relay.entries().len() == forgeries.len()).then_some(()) }).await;
    assert_eq!(scene.sink.mails().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_sender_cannot_use_up_the_version_numbers() {
    let scene = Scene::new().await;
    let relay = &scene.relay;
    let event = |version| bare("e1@jumbo.com", version, "tom@jumbo.com", &["mary@tiny.com"]);
    assert_eq!(stranger(relay, "SENDEVENT", &event(0x7fff_ffff)).await.code(), "OK 000");
    assert_eq!(held(relay).len(), 1);
    assert!(held(relay)[0].reason.contains("jumps by more than 1000"), "{:?}", held(relay));
    assert_eq!(relay.cip().await.object("SENDEVENT", &event(1)).await.code(), "OK 000");
    assert!(scene.sink.wait_for(1).await[0].text().contains("Project X review"));
    // A first version from a stranger is delivered, and says that nobody vouches for it.
    assert_eq!(stranger(relay, "SENDEVENT", &event(1).replace("e1@", "e2@")).await.code(), "OK 000");
    let mail = scene.sink.wait_for(2).await.remove(1);
    let from = mail.header("From").unwrap();
    assert!(from.contains("tom@jumbo.com, unverified, via tiny.com") && !from.contains("Tom Jones"), "{from}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_owner_is_not_a_strangers_to_speak_for() {
    let scene = Scene::new().await;
    let relay = &scene.relay;
    let denied = |answer: &Answer, users: &[&str]| {
        assert_eq!(answer.infos, users.iter().map(|u| format!("* PERMDENIED {u}")).collect::<Vec<_>>());
        assert_eq!(answer.code(), "NO 000");
    };
    let users = ["mary@tiny.com", "ann@tiny.com"];
    let spoofed = bare("e1@jumbo.com", 1, "bob@tiny.com", &users);
    denied(&stranger(relay, "SENDEVENT", &spoofed).await, &users);
    // Nor of the server that another domain is found at.
    denied(&relay.cip().await.object("SENDEVENT", &spoofed).await, &users);
    // Mary's own event, claimed by somebody who is what he says he is.
    let request = ical("REQUEST", "own@tiny.com", 0, "mary@tiny.com", &[("tom@jumbo.com", "NEEDS-ACTION")]);
    let request = imip("REQUEST", "mary@tiny.com", &["tom@jumbo.com"], &request);
    assert_eq!(relay.smtp().await.mail("mary@tiny.com", &["tom@jumbo.com"], request.as_bytes()).await.code, 250);
    scene.jumbo.wait_for("SENDEVENT", 1).await;
    let stolen = bare("own@tiny.com", 2, "tom@jumbo.com", &users);
    denied(&relay.cip().await.object("SENDEVENT", &stolen).await, &users);
    relay.idle().await;
    assert!(scene.sink.mails().is_empty());
}
