//! What was said first arrives first, also while a peer takes its time (bridge 3; profile 6).

mod histories;
mod series;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::bridge::{Scene, bare, ical, imip};
use crate::outcomes::{mary_answers, tom_invites_mary};
use crate::support::peer::{Behaviour, Reply};

/// How long the peer leaves the first command of each verb without its answer.
const LATE: Duration = Duration::from_secs(1);

/// Answers the first command of this verb late; notes when each came.
fn slow_at_first(verb: &'static str, came: &Arc<Mutex<Vec<Instant>>>) -> Behaviour {
    let came = came.clone();
    Behaviour::accept().rule(move |command, _| {
        if command.verb != verb {
            return None;
        }
        let mut came = came.lock().unwrap();
        came.push(Instant::now());
        (came.len() == 1).then(|| Reply::Late(LATE, vec!["OK 000 At last.".to_owned()]))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_for_the_one_before_it() {
    let scene = Scene::new().await;
    let came = Arc::default();
    scene.jumbo.behave(slow_at_first("RSVP", &came));
    let token = tom_invites_mary(&scene, "order@jumbo.com", 1).await;
    mary_answers(&scene.relay, "order@jumbo.com", &token, "ACCEPTED", 1).await;
    scene.jumbo.wait_for("RSVP", 1).await;
    mary_answers(&scene.relay, "order@jumbo.com", &token, "DECLINED", 2).await;
    let rsvps = scene.jumbo.wait_for("RSVP", 2).await;
    assert!(rsvps[0].text().contains("STATUS=CONFIRMED") && rsvps[1].text().contains("STATUS=DECLINED"));
    let came = came.lock().unwrap().clone();
    assert!(came[1] - came[0] >= LATE, "the second came while the first was in hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_waits_for_its_invitation_and_is_not_taken_for_needless() {
    let scene = Scene::new().await;
    let came = Arc::default();
    scene.jumbo.behave(slow_at_first("SENDEVENT", &came));
    for method in ["REQUEST", "CANCEL"] {
        let sequence = u32::from(method == "CANCEL");
        let object = ical(method, "cancelled@example", sequence, "mary@tiny.com", &[("tom@jumbo.com", "NEEDS-ACTION")]);
        let mail = imip(method, "mary@tiny.com", &["tom@jumbo.com"], &object);
        assert_eq!(scene.relay.smtp().await.mail("mary@tiny.com", &["tom@jumbo.com"], mail.as_bytes()).await.code, 250);
        scene.jumbo.wait_for("SENDEVENT", 1).await;
    }
    let events = scene.jumbo.wait_for("SENDEVENT", 2).await;
    assert!(events[1].text().contains("STATUS:CANCELLED"), "{}", events[1].text());
    let came = came.lock().unwrap().clone();
    assert!(came[1] - came[0] >= LATE, "the CANCEL came while the invitation was in hand");
    scene.relay.idle().await;
}

/// An update goes the way its invitation went, though CIP would be there by now.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_follows_the_route_of_its_invitation() {
    let scene = Scene::with(|s| s.set("delivery.cip-patience", "300ms").set("cip.relay-networks", vec!["127.0.0.0/8"])).await;
    scene.jumbo.stop().await;
    let send = async |version| {
        let object = bare("route@other.org", version, "tom@other.org", &["ann@jumbo.com"]);
        scene.relay.cip().await.object("SENDEVENT", &object).await
    };
    assert_eq!(send(1).await.code(), "OK 000");
    scene.sink.wait_for_recipient("ann@jumbo.com", 1).await;
    scene.relay.idle().await;
    scene.jumbo.up();
    assert_eq!(send(2).await.code(), "OK 000");
    scene.sink.wait_for_recipient("ann@jumbo.com", 2).await;
    scene.relay.idle().await;
    assert!(scene.jumbo.of("SENDEVENT").is_empty());
}

/// The same version with other content, while the first is in hand and will be put off: what was said last arrives last.
#[tokio::test(flavor = "multi_thread")]
async fn the_newer_content_of_a_version_is_delivered_last() {
    let scene = Scene::with(|s| s.set("cip.relay-networks", vec!["127.0.0.0/8"])).await;
    let first = std::sync::atomic::AtomicBool::new(true);
    scene.jumbo.behave(Behaviour::accept().rule(move |command, _| {
        let first = command.verb == "SENDEVENT" && first.swap(false, std::sync::atomic::Ordering::SeqCst);
        first.then(|| Reply::Late(LATE, vec!["NO 004 Not now.".to_owned()]))
    }));
    let send = async |title: &str| {
        let object = bare("same@other.org", 1, "tom@other.org", &["ann@jumbo.com"]).replace("Project X", title);
        assert_eq!(scene.relay.cip().await.object("SENDEVENT", &object).await.code(), "OK 000");
    };
    send("First").await;
    scene.jumbo.wait_for("SENDEVENT", 1).await;
    send("Second").await;
    scene.relay.idle().await;
    let titles: Vec<String> = scene.jumbo.of("SENDEVENT").iter().map(|c| c.value("SUMMARY").unwrap()).collect();
    assert_eq!(titles, ["First review", "Second review"]);
}
