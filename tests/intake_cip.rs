//! What a CIP client can and cannot do at the door: standings, versions, answers, strangers.

use cip_relay::queue::entry::State;

use crate::bridge::{Scene, bare, ical, imip, property, python_reads, unfold};
use crate::support::cip::{Answer, CipClient};
use crate::support::relay::free_port;

/// Anybody who is not at an address of jumbo.com.
async fn stranger(scene: &Scene) -> CipClient {
    CipClient::connect_from("127.0.0.2", scene.relay.cip_address()).await
}

/// Mary invites Tom by mail; gives the event-id by which jumbo.com knows it.
async fn mary_invites_tom(scene: &Scene, sequence: u32) -> String {
    mary_invites_tom_at(scene, sequence, "15").await
}

async fn mary_invites_tom_at(scene: &Scene, sequence: u32, hour: &str) -> String {
    let request = ical("REQUEST", "budget-meeting", sequence, "mary@tiny.com", &[("tom@jumbo.com", "NEEDS-ACTION")]);
    let request = request.replace("DTSTART:20270104T15", &format!("DTSTART:20270104T{hour}"));
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

/// A scene in which no mail goes out: what is accepted for local users waits.
async fn waiting() -> Scene {
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    Scene::with(|s| s.smarthost(nobody).set("delivery.retry.initial", "1h").set("delivery.retry.max", "1h")).await
}

/// A version of an event of Tom's, with a text of its own.
fn version(version: u32, text: &str, people: &[&str]) -> String {
    bare("e1@jumbo.com", version, "tom@jumbo.com", people).replace("Bring the plan.", text)
}

fn held(scene: &Scene) -> usize {
    scene.relay.entries().iter().filter(|e| e.state == State::Held).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_names_is_stopped_also_when_one_was_right() {
    let scene = Scene::with(|s| s.domain("tiny.com", vec!["mary"])).await;
    let guesses: Vec<String> = (0..104).map(|n| format!("guess{n}@tiny.com")).collect();
    let people: Vec<&str> = ["mary@tiny.com"].into_iter().chain(guesses.iter().map(String::as_str)).collect();
    let mut client = stranger(&scene).await;
    // Names elsewhere tell nothing, however many there are.
    let elsewhere: Vec<String> = (0..30).map(|n| format!("ann{n}@other.org")).collect();
    let remote: Vec<&str> = ["mary@tiny.com"].into_iter().chain(elsewhere.iter().map(String::as_str)).collect();
    for n in 0..2 {
        let answer = client.object("SENDEVENT", &bare(&format!("r{n}@jumbo.com"), 1, "tom@jumbo.com", &remote)).await;
        assert_eq!((answer.code(), answer.infos.len()), ("OK 003", 31));
    }
    let answer = client.object("SENDEVENT", &bare("g1@jumbo.com", 1, "tom@jumbo.com", &people)).await;
    assert_eq!(answer.code(), "OK 003");
    let count = |word: &str| answer.infos.iter().filter(|i| i.starts_with(word)).count();
    assert_eq!((count("* TENTATIVE"), count("* NOTFOUND"), count("* PERMDENIED")), (1, 21, 83));
    let answer = client.object("SENDEVENT", &bare("g2@jumbo.com", 1, "tom@jumbo.com", &["mary@tiny.com"])).await;
    assert_eq!((answer.code(), answer.infos.len()), ("NO 005", 0));
    assert!(client.closed().await);
    // Somebody who is known is not in the way of that.
    ok(&scene.relay.cip().await.object("SENDEVENT", &bare("g3@jumbo.com", 1, "tom@jumbo.com", &["mary@tiny.com"])).await);
    scene.sink.wait_for(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_went_back_changes_nothing_and_is_held_once() {
    let scene = Scene::new().await;
    let mut client = scene.relay.cip().await;
    ok(&client.object("SENDEVENT", &version(5, "New.", &["mary@tiny.com"])).await);
    scene.sink.wait_for(1).await;
    for _ in 0..3 {
        ok(&client.object("SENDEVENT", &version(3, "From a backup.", &["mary@tiny.com"])).await);
    }
    assert_eq!(held(&scene), 1);
    let (_, record) = scene.relay.relay.ledger().events(None, 10).unwrap().pop().unwrap();
    assert_eq!(record.part(None).unwrap().seen.iter().map(|s| s.version).collect::<Vec<_>>(), [5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_version_with_other_content_takes_the_place_of_the_first() {
    let scene = waiting().await;
    let mut client = scene.relay.cip().await;
    ok(&client.object("SENDEVENT", &version(1, "First.", &["mary@tiny.com"])).await);
    let first = scene.relay.entry("the first, waiting", |e| e.state == State::Deferred).await;
    ok(&client.object("SENDEVENT", &version(1, "Second.", &["mary@tiny.com"])).await);
    let ids: Vec<_> = scene.relay.entries().iter().map(|e| e.id).collect();
    assert!(ids.len() == 1 && ids[0] != first.id, "{ids:?}");
}

/// A thousand recipients must not wait for the disk a thousand times.
#[tokio::test(flavor = "multi_thread")]
async fn superseding_for_many_costs_one_rewrite() {
    let scene = waiting().await;
    let people: Vec<String> = (0..200).map(|n| format!("user{n}@tiny.com")).collect();
    let people: Vec<&str> = people.iter().map(String::as_str).collect();
    let mut client = scene.relay.cip().await;
    ok(&client.object("SENDEVENT", &version(1, "First.", &people)).await);
    scene.relay.entry("the first, waiting", |e| e.state == State::Deferred).await;
    let before = scene.relay.relay.queue().store().flushes();
    // For half of them: the others, who are still in the event, wait on for the first.
    let half: String = people[..100].iter().map(|user| format!("X-CIP-RCPT:{user}\n")).collect();
    ok(&client.object("SENDEVENT", &(version(2, "Second.", &people) + &half)).await);
    assert!(scene.relay.relay.queue().store().flushes() - before < 20);
    let mut left: Vec<(Option<u32>, usize)> = scene.relay.entries().iter().map(|e| (e.version, e.recipients.len())).collect();
    left.sort_unstable();
    assert_eq!(left, [(Some(1), 100), (Some(2), 100)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_does_not_multiply() {
    let scene = Scene::new().await;
    ok(&scene.relay.cip().await.object("SENDEVENT", &version(1, "Real.", &["mary@tiny.com"])).await);
    scene.relay.idle().await;
    let mut client = stranger(&scene).await;
    for _ in 0..3 {
        ok(&client.object("SENDEVENT", &version(2, "Forged.", &["mary@tiny.com"])).await);
    }
    assert_eq!(held(&scene), 1);
    for n in 3..=21 {
        ok(&client.object("SENDEVENT", &version(n, "Forged.", &["mary@tiny.com"])).await);
    }
    assert_eq!(held(&scene), 20);
    let answer = client.object("SENDEVENT", &version(22, "Forged.", &["mary@tiny.com"])).await;
    assert_eq!((answer.code(), answer.infos.as_slice()), ("NO 000", ["* PERMDENIED mary@tiny.com".to_owned()].as_slice()));
    // What is held already is answered as then; and the administrator makes room.
    ok(&client.object("SENDEVENT", &version(21, "Forged.", &["mary@tiny.com"])).await);
    let queue = scene.relay.relay.queue();
    let one = scene.relay.entries().into_iter().find(|e| e.state == State::Held).unwrap();
    let lease = queue.take(one.id, std::time::Duration::ZERO).await.unwrap();
    let mut change = queue.change();
    change.remove(&lease.entry);
    queue.settle(lease, change).await.unwrap();
    ok(&client.object("SENDEVENT", &version(22, "Forged.", &["mary@tiny.com"])).await);
    assert_eq!((held(&scene), queue.held_of(&one.event_id.unwrap()).unwrap()), (20, 20));
    // The owner's own are not in the way of each other.
    ok(&scene.relay.cip().await.object("SENDEVENT", &version(2, "Real.", &["mary@tiny.com"])).await);
    scene.sink.wait_for(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_answer_is_held_once() {
    let scene = Scene::new().await;
    let event = mary_invites_tom(&scene, 0).await;
    ok(&scene.relay.cip().await.object("RSVP", &rsvp(&event, "CONFIRMED", "SEQUENCE: 1\n")).await);
    let mut client = stranger(&scene).await;
    for _ in 0..3 {
        ok(&client.object("RSVP", &rsvp(&event, "DECLINED", "SEQUENCE: 1\n")).await);
    }
    assert_eq!(held(&scene), 1);
}

/// It is told to Mary once, and does not count for the time that the meeting has now.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_time_that_is_over_is_told_once() {
    let scene = Scene::new().await;
    let event = mary_invites_tom(&scene, 0).await;
    mary_invites_tom_at(&scene, 1, "13").await;
    let mut client = scene.relay.cip().await;
    for _ in 0..2 {
        let answer = client.object("RSVP", &rsvp(&event, "CONFIRMED", "SEQUENCE: 1\n")).await;
        assert_eq!((answer.code(), answer.infos.len()), ("OK 000", 0), "not confirmed: {answer:?}");
    }
    ok(&client.object("RSVP", &rsvp(&event, "TENTATIVE", "SEQUENCE: 2\n")).await);
    assert_eq!(told(&scene, 2).await, ["ACCEPTED", "TENTATIVE"]);
    scene.relay.idle().await;
    assert_eq!(told(&scene, 2).await.len(), 2);
}

/// One who is not on the event is told of nobody, whoever else's answer he brings along.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_confirmed_is_told_to_the_events_people_alone() {
    let scene = Scene::new().await;
    crate::outcomes::mary_invites(&scene.relay, "m1", &["tom@jumbo.com", "ann@other.org"]).await;
    let event = scene.jumbo.wait_for("SENDEVENT", 1).await[0].value("UID").unwrap();
    scene.relay.idle().await;
    let mut client = scene.relay.cip().await;
    let seat = |who: &str| format!("ATTENDEE;STATUS=CONFIRMED: <{who}>\n");
    let head = format!("UID: {event}\nSEQUENCE: 1\n");
    let answer = client.object("RSVP", &(head.clone() + &seat("tom@jumbo.com"))).await;
    assert_eq!(answer.infos, ["* CONFIRMED tom@jumbo.com"]);
    let answer = client.object("RSVP", &(head + &seat("eve@jumbo.com") + &seat("ann@other.org"))).await;
    assert_eq!((answer.infos.as_slice(), answer.code()), (["* PERMDENIED eve@jumbo.com".to_owned()].as_slice(), "OK 003"));
    scene.relay.idle().await;
}

/// Each name that was asked for is answered under that name.
#[tokio::test(flavor = "multi_thread")]
async fn two_names_of_one_person_are_each_answered() {
    let scene = Scene::with(|s| s.domain_text("name = \"tiny.com\"\naliases = { \"m.weaver\" = \"mary\" }")).await;
    let object = bare("two@jumbo.com", 1, "tom@jumbo.com", &["m.weaver@tiny.com", "mary@tiny.com"]);
    let answer = scene.relay.cip().await.object("SENDEVENT", &object).await;
    assert_eq!(answer.infos, ["* TENTATIVE m.weaver@tiny.com", "* TENTATIVE mary@tiny.com"]);
    scene.relay.idle().await;
    assert_eq!(scene.sink.mails().len(), 1);
}

/// What acts by itself, or runs, does not come into a user's calendar from somebody whom nobody knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_alarms_and_scripts_are_left_out() {
    let scene = Scene::new().await;
    let event = |uid: &str, owner: &str, url: &str| {
        format!(
            "BEGIN:VCALENDAR\nVERSION:2.0\nMETHOD:REQUEST\nBEGIN:VEVENT\nUID:{uid}\nSEQUENCE:0\nDTSTAMP:20261122T120000Z\n\
             DTSTART:20270104T150000Z\nSUMMARY:Lunch\nORGANIZER:mailto:{owner}\nATTENDEE:mailto:mary@tiny.com\nURL:{url}\n\
             BEGIN:VALARM\nACTION:EMAIL\nTRIGGER:-PT5M\nATTENDEE:mailto:victim@other.org\nSUMMARY:a\nDESCRIPTION:b\nEND:VALARM\n\
             END:VEVENT\nEND:VCALENDAR\n"
        )
    };
    // jumbo.com is known by its address, other.org is not.
    let cases = [
        ("a@jumbo.com", "tom@jumbo.com", "javascript:alert(1)", true, true),
        ("b@other.org", "eve@other.org", "javascript:alert(1)", false, false),
        ("c@other.org", "eve@other.org", "https://other.org/lunch", false, true),
    ];
    for (n, (uid, owner, url, alarm, link)) in cases.into_iter().enumerate() {
        assert_eq!(scene.relay.cip().await.object("SENDEVENT", &event(uid, owner, url)).await.code(), "OK 000");
        let mail = scene.sink.wait_for(n + 1).await.pop().unwrap();
        let text = crate::bridge::unfold(&crate::bridge::python_reads(&mail).2);
        assert_eq!((text.contains("VALARM"), text.contains(url)), (alarm, link), "{text}");
        assert!(text.contains("END:VEVENT") && text.contains("SUMMARY:Lunch"), "{text}");
    }
    scene.relay.idle().await;
}

/// Who is addressed through the gateway is told of by the name that he has.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_confirmed_is_told_by_his_own_name() {
    let scene = Scene::new().await;
    crate::outcomes::mary_invites(&scene.relay, "m1", &["tom@jumbo.com", "ann=jumbo.com@cip.tiny.com"]).await;
    scene.relay.idle().await;
    let event = scene.jumbo.of("SENDEVENT")[0].value("UID").unwrap();
    for (who, told) in [
        ("ann@jumbo.com", &["* CONFIRMED ann@jumbo.com"][..]),
        ("tom@jumbo.com", &["* CONFIRMED ann@jumbo.com", "* CONFIRMED tom@jumbo.com"]),
    ] {
        let rsvp = format!("UID: {event}\nSEQUENCE: 1\nATTENDEE;STATUS=CONFIRMED: <{who}>\n");
        let mut infos = scene.relay.cip().await.object("RSVP", &rsvp).await.infos;
        infos.sort();
        assert_eq!(infos, told);
    }
    scene.relay.idle().await;
}
