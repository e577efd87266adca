//! Who joins an event later and who is taken out of it, both ways (bridge 2).

use crate::bridge::{Scene, bare, ical, imip, property, python_reads, unfold};
use crate::outcomes::{mary_invites, organizer};
use crate::support::peer::Command;

const EVENT: &str = "e1@jumbo.com";

/// By CIP, from a peer whose address jumbo.com resolves to.
async fn sendevent(scene: &Scene, version: u32, people: &[&str]) -> String {
    let answer = scene.relay.cip().await.object("SENDEVENT", &bare(EVENT, version, "tom@jumbo.com", people)).await;
    scene.relay.idle().await;
    answer.code().to_owned()
}

/// (method, recipient) of the mails from the `n`-th on, sorted.
fn mails(scene: &Scene, n: usize) -> Vec<(String, String)> {
    let mut all: Vec<_> = scene.sink.mails()[n..].iter().map(|m| (python_reads(m).1, m.recipients[0].clone())).collect();
    all.sort();
    all
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_new_version_leaves_out_gets_a_cancel_once_and_may_come_back() {
    let scene = Scene::with(|s| s.domain("tiny.com", vec!["mary", "bob", "joe"])).await;
    assert_eq!(sendevent(&scene, 1, &["mary@tiny.com", "bob@tiny.com"]).await, "OK 000");
    let token = organizer(scene.sink.mails_for("mary@tiny.com").last().unwrap());
    // Joe is added, Mary left out; Bob hears of the new version once.
    assert_eq!(sendevent(&scene, 2, &["bob@tiny.com", "joe@tiny.com"]).await, "OK 000");
    let expected = pairs(&[("CANCEL", "mary@tiny.com"), ("REQUEST", "bob@tiny.com"), ("REQUEST", "joe@tiny.com")]);
    assert_eq!(mails(&scene, 2), expected);
    let cancel = unfold(&python_reads(scene.sink.mails_for("mary@tiny.com").last().unwrap()).2);
    assert!(property(&cancel, "STATUS") == ":CANCELLED" && property(&cancel, "SEQUENCE") == ":1", "{cancel}");
    assert!(property(&cancel, "ORGANIZER").ends_with(&token), "{cancel}");
    // The same again says nothing new, and neither does the next version to her.
    sendevent(&scene, 2, &["bob@tiny.com", "joe@tiny.com"]).await;
    assert_eq!(scene.sink.mails().len(), 5);
    sendevent(&scene, 3, &["bob@tiny.com", "joe@tiny.com"]).await;
    assert_eq!(mails(&scene, 5), pairs(&[("REQUEST", "bob@tiny.com"), ("REQUEST", "joe@tiny.com")]));
    // Out of the event, she cannot answer; back in it, she can.
    let reply =
        |sequence| imip("REPLY", "mary@tiny.com", &[&token], &ical("REPLY", EVENT, sequence, &token, &[("mary@tiny.com", "ACCEPTED")]));
    let refused = scene.relay.smtp().await.mail("mary@tiny.com", &[&token], reply(0).as_bytes()).await;
    assert!(refused.code == 550 && format!("{refused:?}").contains("mary@tiny.com is not in this event any more"), "{refused:?}");
    sendevent(&scene, 4, &["mary@tiny.com", "bob@tiny.com", "joe@tiny.com"]).await;
    assert_eq!(scene.relay.smtp().await.mail("mary@tiny.com", &[&token], reply(3).as_bytes()).await.code, 250);
    assert!(scene.jumbo.wait_for("RSVP", 1).await[0].text().contains("mary@tiny.com"));
    let before = scene.sink.mails().len();
    sendevent(&scene, 5, &["mary@tiny.com"]).await;
    let expected = pairs(&[("CANCEL", "bob@tiny.com"), ("CANCEL", "joe@tiny.com"), ("REQUEST", "mary@tiny.com")]);
    assert_eq!(mails(&scene, before), expected);
    // With nobody in common it is no different.
    sendevent(&scene, 6, &["bob@tiny.com"]).await;
    assert_eq!(mails(&scene, before + 3), pairs(&[("CANCEL", "mary@tiny.com"), ("REQUEST", "bob@tiny.com")]));
}

/// Where each guest has a copy that names him alone, another's copy takes nobody out.
#[tokio::test(flavor = "multi_thread")]
async fn copies_for_one_guest_each_take_nobody_out() {
    let scene = Scene::with(|s| s.domain("tiny.com", vec!["mary", "bob"])).await;
    for (version, first, second) in
        [(1, "mary@tiny.com", "bob@tiny.com"), (2, "mary@tiny.com", "bob@tiny.com"), (3, "bob@tiny.com", "mary@tiny.com")]
    {
        let before = scene.sink.mails().len();
        for guest in [first, second] {
            assert_eq!(sendevent(&scene, version, &[guest]).await, "OK 000");
        }
        assert_eq!(mails(&scene, before), pairs(&[("REQUEST", "bob@tiny.com"), ("REQUEST", "mary@tiny.com")]), "version {version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_is_not_known_takes_nobody_out() {
    // The peer's address is not jumbo.com's: standing 0.
    let scene = Scene::with(|s| s.domain("tiny.com", vec!["mary", "bob"])).await;
    let send = async |version| {
        let people: &[&str] = if version == 1 { &["mary@tiny.com", "bob@tiny.com"] } else { &["bob@tiny.com"] };
        let object = bare("e1@other.org", version, "tom@other.org", people);
        assert_eq!(scene.relay.cip().await.object("SENDEVENT", &object).await.code(), "OK 000");
        scene.relay.idle().await;
    };
    send(1).await;
    send(2).await;
    assert_eq!(mails(&scene, 2), pairs(&[("REQUEST", "bob@tiny.com")]));
}

/// Sends Mary's mail and waits until all is done.
async fn mary(scene: &Scene, method: &str, sequence: u32, attendees: &[&str], to: &[&str]) {
    let people: Vec<(&str, &str)> = attendees.iter().map(|p| (*p, "NEEDS-ACTION")).collect();
    let object = ical(method, "m1", sequence, "mary@tiny.com", &people);
    let done = scene.relay.smtp().await.mail("mary@tiny.com", to, imip(method, "mary@tiny.com", to, &object).as_bytes()).await;
    assert_eq!(done.code, 250, "{done:?}");
    scene.relay.idle().await;
}

fn attendees(command: &Command) -> Vec<String> {
    let all = crate::support::object::values(&command.object, "ATTENDEE");
    let mut all: Vec<String> = all.iter().map(|v| crate::support::object::address(v)).filter(|a| a.ends_with("jumbo.com")).collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_for_some_leaves_the_event_to_the_others() {
    let scene = Scene::new().await;
    let (tom, joe) = ("tom@jumbo.com", "joe@jumbo.com");
    mary_invites(&scene.relay, "m1", &[tom, joe]).await;
    scene.relay.idle().await;
    assert_eq!(scene.jumbo.of("SENDEVENT").len(), 1);
    // Joe is taken out: his server has the version without him for Tom, and he himself hears by mail.
    mary(&scene, "CANCEL", 1, &[joe], &[joe]).await;
    let events = scene.jumbo.of("SENDEVENT");
    assert_eq!(events.len(), 2);
    assert_eq!((attendees(&events[1]), events[1].recipients("jumbo.com")), (vec![tom.to_owned()], vec![tom.to_owned()]));
    assert_eq!(events[1].value("SEQUENCE").as_deref(), Some("2"));
    assert!(!events[1].text().contains("CANCELLED") && events[1].text().contains("SUMMARY:Budget"), "{}", events[1].text());
    assert_eq!(mails(&scene, 0), pairs(&[("CANCEL", joe)]));
    // He is out: his answer is nobody's, Tom's is.
    let uid = events[0].value("UID").unwrap();
    let rsvp = |who: &str| format!("UID: {uid}\nSEQUENCE: 2\nATTENDEE;STATUS=CONFIRMED: <{who}>\n");
    assert_eq!(scene.relay.cip().await.object("RSVP", &rsvp(joe)).await.infos, [format!("* PERMDENIED {joe}")]);
    assert_eq!(scene.relay.cip().await.object("RSVP", &rsvp(tom)).await.code(), "OK 000");
    scene.relay.idle().await;
    // The update for the rest does not cancel him a second time.
    mary(&scene, "REQUEST", 2, &[tom], &[tom]).await;
    assert_eq!(scene.jumbo.of("SENDEVENT").len(), 3);
    assert_eq!(mails(&scene, 0).iter().filter(|(method, _)| method == "CANCEL").count(), 1);
    // Tom is the last: his server hears that it is cancelled.
    mary(&scene, "CANCEL", 3, &[tom], &[tom]).await;
    let events = scene.jumbo.of("SENDEVENT");
    assert_eq!(events.len(), 4);
    assert!(events[3].text().contains("STATUS:CANCELLED"), "{}", events[3].text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_by_mail_that_leaves_somebody_out_cancels_him_by_the_way_his_invitation_took() {
    let scene = Scene::new().await;
    let (tom, joe, ann) = ("tom@jumbo.com", "joe@jumbo.com", "ann@other.org");
    mary_invites(&scene.relay, "m1", &[tom, joe, ann]).await;
    scene.relay.idle().await;
    // Ann has no CIP: her invitation was passed on. She and Joe are left out.
    let before = scene.sink.mails().len();
    mary(&scene, "REQUEST", 1, &[tom], &[tom]).await;
    assert_eq!(mails(&scene, before), pairs(&[("CANCEL", ann), ("CANCEL", joe)]));
    assert_eq!(scene.jumbo.of("SENDEVENT").len(), 2);
    // Everybody of a server left out: the server hears it.
    mary(&scene, "REQUEST", 2, &[tom, ann], &[tom, ann]).await;
    mary(&scene, "REQUEST", 3, &[ann], &[ann]).await;
    let events = scene.jumbo.of("SENDEVENT");
    assert_eq!(events.len(), 4, "{:?}", events.iter().map(Command::text).collect::<Vec<_>>());
    assert!(events[3].text().contains("STATUS:CANCELLED") && events[3].recipients("jumbo.com") == [tom], "{}", events[3].text());
}

/// The others get a version once, whoever else is written to with it.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_added_later_gets_the_current_version_alone() {
    let scene = Scene::new().await;
    let (tom, joe) = ("tom@jumbo.com", "joe@jumbo.com");
    mary(&scene, "REQUEST", 0, &[tom], &[tom]).await;
    mary(&scene, "REQUEST", 0, &[tom, joe], &[joe]).await;
    let events = scene.jumbo.of("SENDEVENT");
    let recipients: Vec<_> = events.iter().map(|e| e.recipients("jumbo.com")).collect();
    assert_eq!(recipients, [[tom], [joe]]);
    // By CIP: the same version once more with one more attendee is stored for him alone.
    let two = Scene::with(|s| s.domain("tiny.com", vec!["mary", "bob"])).await;
    sendevent(&two, 1, &["mary@tiny.com"]).await;
    sendevent(&two, 1, &["mary@tiny.com", "bob@tiny.com"]).await;
    assert_eq!(mails(&two, 0), pairs(&[("REQUEST", "bob@tiny.com"), ("REQUEST", "mary@tiny.com")]));
}
