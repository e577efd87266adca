//! What changed since the version that each recipient had, from one SENDEVENT to the next.

use cip_relay::ident::EventId;
use cip_relay::queue::entry::State;

use crate::bridge::{Scene, bare, ical, imip};
use crate::outcomes::{mary_answers, mary_invites, tom_invites_mary};
use crate::support::eventually;
use crate::support::peer::Behaviour;
use crate::support::sink::Mail;

/// The words of a composed mail, in one line.
fn words(mail: &Mail) -> String {
    let parsed = mail_parser::MessageParser::default().parse(&mail.data).unwrap();
    let text = parsed.body_text(0).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn to<'a>(mails: &'a [Mail], who: &str) -> &'a Mail {
    mails.iter().rev().find(|m| m.recipients == [who]).unwrap_or_else(|| panic!("no mail to {who}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_marked_for_those_who_had_the_event_and_nobody_else() {
    let scene = Scene::with(|s| s.domain("tiny.com", vec!["mary", "bob"])).await;
    let mut client = scene.relay.cip().await;
    let first = bare("e9@jumbo.com", 1, "tom@jumbo.com", &["mary@tiny.com"]);
    assert_eq!(client.object("SENDEVENT", &first).await.infos, ["* TENTATIVE mary@tiny.com"]);
    let mails = scene.sink.wait_for(1).await;
    let invited = words(to(&mails, "mary@tiny.com"));
    assert!(invited.contains("invites you") && !invited.contains("changed"), "{invited}");

    let second = bare("e9@jumbo.com", 2, "tom@jumbo.com", &["mary@tiny.com", "bob@tiny.com"]);
    let second = second.replace("0101T2000", "0101T2030").replace("Project X review", "Project Y review");
    client.object("SENDEVENT", &second).await;
    let mails = scene.sink.wait_for(3).await;
    let updated = words(to(&mails, "mary@tiny.com"));
    for expected in [
        "Updated invitation: Project Y review",
        "Changed: title and time.",
        "Project Y review (changed; was: Project X review)",
        "(changed; was: Friday, 1 January 2027, 20:00 to 22:00)",
    ] {
        assert!(updated.contains(expected), "{expected}\n{updated}");
    }
    let invited = words(to(&mails, "bob@tiny.com"));
    assert!(invited.contains("invites you") && !invited.contains("changed"), "{invited}");

    // The next one is compared with the second, for both.
    let third = second.replace("SEQUENCE: 2", "SEQUENCE: 3").replace("Bring the plan.", "Bring it.");
    client.object("SENDEVENT", &third).await;
    let mails = scene.sink.wait_for(5).await;
    for who in ["mary@tiny.com", "bob@tiny.com"] {
        let updated = words(to(&mails, who));
        assert!(updated.contains("Changed: description.") && !updated.contains("was:"), "{updated}");
    }
    scene.relay.idle().await;
}

/// Waits until an event's history has this line.
async fn told(scene: &Scene, event: &EventId, line: &str) {
    eventually(line, || async {
        let chronicle = scene.relay.relay.ledger().chronicle(event).unwrap()?;
        chronicle.lines.iter().any(|told| told.what.contains(line)).then_some(())
    })
    .await;
}

/// What never went out because something newer did is in the history of the event.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_and_an_answer_that_were_superseded_while_they_waited_are_told_of() {
    let slow = || Scene::with(|s| s.set("delivery.retry.initial", "10m").set("delivery.retry.max", "10m"));
    let scene = slow().await;
    let token = tom_invites_mary(&scene, "e1@jumbo.com", 1).await;
    scene.jumbo.behave(Behaviour::accept().busy());
    mary_answers(&scene.relay, "e1@jumbo.com", &token, "ACCEPTED", 1).await;
    scene.relay.entry("the answer to wait", |e| e.state == State::Deferred).await;
    mary_answers(&scene.relay, "e1@jumbo.com", &token, "DECLINED", 2).await;
    told(&scene, &EventId::parse("e1@jumbo.com").unwrap(), "answer of mary@tiny.com: not sent, a newer one takes its place").await;

    let scene = slow().await;
    scene.jumbo.behave(Behaviour::accept().busy());
    mary_invites(&scene.relay, "m1", &["tom@jumbo.com"]).await;
    let event = scene.relay.entry("the invitation to wait", |e| e.state == State::Deferred).await.event_id.unwrap();
    let second = ical("REQUEST", "m1", 1, "mary@tiny.com", &[("tom@jumbo.com", "NEEDS-ACTION")]).replace("Budget", "Money");
    let second = imip("REQUEST", "mary@tiny.com", &["tom@jumbo.com"], &second);
    assert_eq!(scene.relay.smtp().await.mail("mary@tiny.com", &["tom@jumbo.com"], second.as_bytes()).await.code, 250);
    told(&scene, &event, "version 1 for tom@jumbo.com: not sent, version 2 takes its place").await;
}
