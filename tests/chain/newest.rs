//! Cancellations by mail, and versions that overtake each other in the queue.

use crate::bridge::{Scene, bare, ical, imip, python_reads};
use crate::support::eventually;

const MARY: &str = "Mary Weaver <mary@tiny.com>";
const TOM: &str = "tom@jumbo.com";

/// A state of Mary's event; the minute tells the order of states with one SEQUENCE.
fn state(method: &str, uid: &str, sequence: u32, minute: u32) -> String {
    let object = ical(method, uid, sequence, "mary@tiny.com", &[(TOM, "NEEDS-ACTION")]);
    let stamp = object.lines().find(|l| l.starts_with("DTSTAMP:")).unwrap().to_owned();
    let object = object.replace(&stamp, &format!("DTSTAMP:20261122T12{minute:02}00Z")).replace("Budget", &format!("Budget {minute}"));
    imip(method, MARY, &[TOM], &object)
}

async fn send(scene: &Scene, message: &str) {
    let reply = scene.relay.smtp().await.mail("mary@tiny.com", &[TOM], message.as_bytes()).await;
    assert_eq!(reply.code, 250, "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_by_mail_is_a_cancelled_event_of_a_higher_version() {
    let scene = Scene::new().await;
    // Programs disagree whether CANCEL raises SEQUENCE.
    for (n, (uid, sequence)) in [("raised", 1), ("kept", 0)].into_iter().enumerate() {
        send(&scene, &state("REQUEST", uid, 0, 1)).await;
        let request = scene.jumbo.wait_for("SENDEVENT", 2 * n + 1).await.remove(2 * n);
        assert_eq!(request.value("SEQUENCE").as_deref(), Some("1"));
        assert_eq!(request.value("STATUS"), None);
        let cancel = state("CANCEL", uid, sequence, 2);
        send(&scene, &cancel).await;
        let event = scene.jumbo.wait_for("SENDEVENT", 2 * n + 2).await.remove(2 * n + 1);
        assert_eq!(event.value("UID"), request.value("UID"));
        assert_eq!(event.value("SEQUENCE").as_deref(), Some("2"), "{}", event.text());
        assert_eq!(event.value("STATUS").as_deref(), Some("CANCELLED"), "{}", event.text());
        assert_eq!(event.recipients("jumbo.com"), [TOM]);
        assert!(event.text().contains("X-CIP-TRACE:tiny.com;"), "{}", event.text());
        // The same mail again, and the invitation that arrives late: nothing more to say.
        send(&scene, &cancel).await;
        send(&scene, &state("REQUEST", uid, 0, 1)).await;
        scene.relay.idle().await;
        assert_eq!(scene.jumbo.of("SENDEVENT").len(), 2 * n + 2);
    }
    assert!(scene.sink.mails().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_takes_the_place_of_the_version_that_waits() {
    let scene = Scene::new().await;
    scene.jumbo.stop().await;
    for (n, sequence) in [0, 0, 1].into_iter().enumerate() {
        send(&scene, &state("REQUEST", "u1", sequence, u32::try_from(n).unwrap() + 1)).await;
        scene.relay.entry("an attempt that was refused", |e| e.version == Some(u32::try_from(n).unwrap() + 1) && e.attempts > 0).await;
        // One that was in flight is dropped by its next attempt.
        eventually("the newest alone", || async { (scene.relay.entries().len() == 1).then_some(()) }).await;
    }
    scene.jumbo.up();
    let event = scene.jumbo.wait_for("SENDEVENT", 1).await.remove(0);
    assert_eq!(event.value("SUMMARY").as_deref(), Some("Budget 3"));
    assert_eq!(event.value("SEQUENCE").as_deref(), Some("3"), "version 3");
    scene.relay.idle().await;
    assert_eq!(scene.jumbo.of("SENDEVENT").len(), 1);
}

/// The same in the other direction: the mail server is down.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_by_cip_takes_the_place_of_the_mail_that_waits() {
    let scene = Scene::new().await;
    scene.sink.stop().await;
    for version in [1, 2, 7] {
        let object =
            bare("e1@jumbo.com", version, TOM, &["mary@tiny.com", "bob@tiny.com"]).replace("Project X", &format!("Project {version}"));
        assert_eq!(scene.relay.cip().await.object("SENDEVENT", &object).await.code(), "OK 000");
        scene.relay.entry("an attempt that failed", |e| e.version == Some(version) && e.attempts > 0).await;
        eventually("the newest alone", || async { (scene.relay.entries().len() == 1).then_some(()) }).await;
    }
    scene.sink.up();
    let mails = scene.sink.wait_for(2).await;
    for mail in &mails {
        let (_, _, calendar) = python_reads(mail);
        assert!(calendar.contains("SUMMARY:Project 7 review") && calendar.contains("SEQUENCE:6"), "{calendar}");
    }
    scene.relay.idle().await;
    assert_eq!(scene.sink.mails().len(), 2);
}

/// What never left need not be taken back.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_of_what_was_never_delivered_is_not_sent() {
    let scene = Scene::new().await;
    scene.jumbo.stop().await;
    send(&scene, &state("REQUEST", "u1", 0, 1)).await;
    scene.relay.entry("an attempt that was refused", |e| e.attempts > 0).await;
    send(&scene, &state("CANCEL", "u1", 1, 2)).await;
    scene.relay.idle().await;
    scene.jumbo.up();
    send(&scene, &state("REQUEST", "u2", 0, 3)).await;
    let event = scene.jumbo.wait_for("SENDEVENT", 1).await.remove(0);
    assert_eq!(event.value("SUMMARY").as_deref(), Some("Budget 3"));
    scene.relay.idle().await;
    assert_eq!(scene.jumbo.of("SENDEVENT").len(), 1);
}
