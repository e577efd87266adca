//! What a CIP server may answer besides "stored": users and events that have moved, users whom it does not know or does
//! not serve, and how each recipient stands while the others wait.

use std::time::Duration;

use cip_relay::clock::{Clock, SystemClock};
use cip_relay::ident::{EventId, UserId};

use crate::bridge::{Scene, bare, ical, imip, property, python_reads, unfold, zone};
use crate::reports::read_report;
use crate::support::dns::Dns;
use crate::support::eventually;
use crate::support::peer::{Behaviour, CipPeer};
use crate::support::relay::Settings;
use crate::support::running::Running;
use crate::support::sink::{Mail, Sink, Stage};

/// Mary invites these people from her mail program.
pub async fn mary_invites(relay: &Running, uid: &str, people: &[&str]) {
    let attendees: Vec<(&str, &str)> = people.iter().map(|&p| (p, "NEEDS-ACTION")).collect();
    let request = imip("REQUEST", "Mary Weaver <mary@tiny.com>", people, &ical("REQUEST", uid, 0, "mary@tiny.com", &attendees));
    let done = relay.smtp().await.mail("mary@tiny.com", people, request.as_bytes()).await;
    assert_eq!(done.code, 250, "{done:?}");
}

/// Tom invites Mary by CIP; the address that her mail program answers to.
pub async fn tom_invites_mary(scene: &Scene, uid: &str, version: u32) -> String {
    let before = scene.sink.mails_for("mary@tiny.com").len();
    let answer = scene.relay.cip().await.object("SENDEVENT", &bare(uid, version, "tom@jumbo.com", &["mary@tiny.com"])).await;
    assert_eq!(answer.code(), "OK 000", "{answer:?}");
    organizer(&scene.sink.wait_for_recipient("mary@tiny.com", before + 1).await[before])
}

/// The ORGANIZER's address in a composed mail.
pub fn organizer(mail: &Mail) -> String {
    let (_, _, calendar) = python_reads(mail);
    property(&unfold(&calendar), "ORGANIZER").rsplit_once("mailto:").unwrap().1.to_owned()
}

/// Mary answers by mail.
pub async fn mary_answers(relay: &Running, uid: &str, token: &str, partstat: &str, minute: u32) {
    let reply = ical("REPLY", uid, 0, token, &[("mary@tiny.com", partstat)]);
    let reply = reply.replace("DTSTAMP:20261122T1200", &format!("DTSTAMP:20261122T12{minute:02}"));
    let done = relay.smtp().await.mail("mary@tiny.com", &[token], imip("REPLY", "mary@tiny.com", &[token], &reply).as_bytes()).await;
    assert_eq!(done.code, 250, "{done:?}");
}

fn user(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

/// A relay for tiny.com, jumbo.com and newco.com with CIP servers.
struct Two {
    scene: Scene,
    newco: CipPeer,
}

impl Two {
    async fn new(held: bool) -> Self {
        let jumbo = CipPeer::start("jumbo.com", Behaviour::accept()).await;
        let newco = CipPeer::start("newco.com", Behaviour::accept()).await;
        let zones = zone(&jumbo) + &zone(&newco).replace("jumbo.com", "newco.com");
        let dns = Dns::start(&zones).await;
        let sink = Sink::start().await;
        let settings = Settings::new("tiny.com").dns(dns.address()).smarthost(sink.address()).quick();
        let relay = if held { Running::start_held(settings).await } else { Running::start(settings).await };
        Self { scene: Scene { relay, jumbo, sink, dns }, newco }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_moved_to_another_server_is_followed_and_remembered() {
    let Two { scene, newco } = Two::new(true).await;
    let Scene { relay, jumbo, sink, .. } = &scene;
    jumbo.behave(Behaviour::accept().redirect_user("tom@jumbo.com", "thomas@newco.com"));
    mary_invites(relay, "one", &["tom@jumbo.com"]).await;
    let event = newco.wait_for("SENDEVENT", 1).await.pop().unwrap();
    let text = event.text();
    assert_eq!(event.recipients("newco.com"), ["thomas@newco.com"]);
    assert!(text.contains("X-CIP-RCPT:thomas@newco.com"), "{text}");
    let attendee = text.lines().any(|l| l.starts_with("ATTENDEE") && l.ends_with("thomas@newco.com"));
    assert!(attendee && !text.contains("tom@jumbo.com"), "{text}");
    relay.idle().await;
    let ledger = relay.relay.ledger();
    let now = relay.clock.as_ref().unwrap().now();
    assert_eq!(ledger.redirect_of_user(&user("Tom@Jumbo.com"), now).unwrap(), Some(user("thomas@newco.com")));

    // His answer comes from where he is now, and reaches Mary under the address that she wrote.
    let event_id = event.value("UID").unwrap();
    let rsvp = format!("UID: {event_id}\nSEQUENCE: 1\nATTENDEE;STATUS=CONFIRMED: <thomas@newco.com>\n");
    assert_eq!(relay.cip().await.object("RSVP", &rsvp).await.code(), "OK 000");
    let (_, _, calendar) = python_reads(&sink.wait_for_recipient("mary@tiny.com", 1).await[0]);
    assert!(property(&unfold(&calendar), "ATTENDEE").ends_with("mailto:tom@jumbo.com"), "{calendar}");

    // Remembered: the next event goes straight to him; jumbo.com is not asked.
    mary_invites(relay, "two", &["tom@jumbo.com"]).await;
    assert_eq!(newco.wait_for("SENDEVENT", 2).await[1].recipients("newco.com"), ["thomas@newco.com"]);
    relay.idle().await;
    assert_eq!(jumbo.of("SENDEVENT").len(), 1);

    // Not for ever: after its life jumbo.com is asked anew.
    relay.advance(Duration::from_secs(91 * 86_400));
    mary_invites(relay, "three", &["tom@jumbo.com"]).await;
    newco.wait_for("SENDEVENT", 3).await;
    assert_eq!(jumbo.of("SENDEVENT").len(), 2);
    relay.idle().await;
}

/// What is remembered is no prison: the server that he moved to says that he is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_moved_back_is_reached_where_he_is() {
    let Two { scene, newco } = Two::new(true).await;
    let Scene { relay, jumbo, sink, .. } = &scene;
    jumbo.behave(Behaviour::accept().redirect_user("tom@jumbo.com", "tom@newco.com"));
    mary_invites(relay, "one", &["tom@jumbo.com"]).await;
    newco.wait_for("SENDEVENT", 1).await;
    relay.idle().await;
    relay.advance(Duration::from_secs(3600));
    jumbo.behave(Behaviour::accept());
    newco.behave(Behaviour::accept().redirect_user("tom@newco.com", "tom@jumbo.com"));
    for (n, uid) in ["two", "three"].iter().enumerate() {
        mary_invites(relay, uid, &["tom@jumbo.com"]).await;
        let event = jumbo.wait_for("SENDEVENT", n + 2).await.pop().unwrap();
        assert_eq!(event.recipients("jumbo.com"), ["tom@jumbo.com"]);
        relay.idle().await;
        // The second time nobody asks newco.com.
        assert_eq!(newco.of("SENDEVENT").len(), 2);
        relay.advance(Duration::from_secs(3600));
    }
    assert!(sink.mails().is_empty(), "{:?}", sink.mails());
}

/// He is a user of this relay now: composed for him, and his answer reaches Mary under the address that she wrote.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_moved_to_a_local_domain_gets_mail() {
    let scene = Scene::new().await;
    scene.jumbo.behave(Behaviour::accept().redirect_user("tom@jumbo.com", "tom@tiny.com"));
    mary_invites(&scene.relay, "one", &["tom=jumbo.com@cip.tiny.com"]).await;
    let mail = scene.sink.wait_for_recipient("tom@tiny.com", 1).await.pop().unwrap();
    let (_, method, calendar) = python_reads(&mail);
    let calendar = unfold(&calendar);
    assert_eq!(method, "REQUEST");
    assert!(property(&calendar, "ATTENDEE").ends_with("mailto:tom@tiny.com"), "{calendar}");
    scene.relay.idle().await;
    let token = organizer(&mail);
    let reply = imip("REPLY", "tom@tiny.com", &[&token], &ical("REPLY", "one", 0, &token, &[("tom@tiny.com", "ACCEPTED")]));
    assert_eq!(scene.relay.smtp().await.mail("tom@tiny.com", &[&token], reply.as_bytes()).await.code, 250);
    let (_, method, calendar) = python_reads(&scene.sink.wait_for_recipient("mary@tiny.com", 1).await[0]);
    let calendar = unfold(&calendar);
    assert_eq!(method, "REPLY");
    assert_eq!(property(&calendar, "UID"), ":one");
    assert!(property(&calendar, "ATTENDEE").ends_with("mailto:tom=jumbo.com@cip.tiny.com"), "{calendar}");
    scene.relay.idle().await;
    assert_eq!(scene.sink.mails().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_five_times_and_not_in_a_circle() {
    let scene = Scene::new().await;
    let mut jumbo = Behaviour::accept();
    for n in 0..6 {
        jumbo = jumbo.redirect_user(&format!("six{n}@jumbo.com"), &format!("six{}@jumbo.com", n + 1));
        if n < 5 {
            jumbo = jumbo.redirect_user(&format!("five{n}@jumbo.com"), &format!("five{}@jumbo.com", n + 1));
        }
    }
    jumbo = jumbo.redirect_user("tim@jumbo.com", "jim@jumbo.com").redirect_user("jim@jumbo.com", "tim@jumbo.com");
    scene.jumbo.behave(jumbo.redirect_user("self@jumbo.com", "self@jumbo.com"));
    // Five are followed: six questions.
    mary_invites(&scene.relay, "five", &["five0@jumbo.com"]).await;
    scene.relay.idle().await;
    let asked = scene.jumbo.of("SENDEVENT");
    assert_eq!(asked.len(), 6);
    assert_eq!(asked[5].recipients("jumbo.com"), ["five5@jumbo.com"]);
    assert!(scene.sink.mails().is_empty());

    let six = (0..=6).map(|n| format!("six{n}@jumbo.com")).collect::<Vec<_>>().join(" → ");
    let mut questions = 6;
    let chains = [
        ("six0@jumbo.com", 6, six.as_str()),
        // What is remembered is not asked again, but nobody is given up without asking.
        ("six0@jumbo.com", 1, &six),
        ("tim@jumbo.com", 2, "tim@jumbo.com → jim@jumbo.com → tim@jumbo.com"),
        ("self@jumbo.com", 1, "self@jumbo.com → self@jumbo.com"),
    ];
    for (n, (who, asked, chain)) in chains.iter().enumerate() {
        mary_invites(&scene.relay, &format!("chain{n}"), &[who]).await;
        let mail = scene.sink.wait_for(n + 1).await.pop().unwrap();
        let report = read_report(&mail);
        assert_eq!(mail.recipients, ["mary@tiny.com"]);
        assert!(report.words.contains(chain), "{}", report.words);
        assert_eq!(report.recipients.len(), 1);
        assert_eq!(report.recipients[0].original, format!("rfc822; {who}"));
        assert_eq!(report.recipients[0].status, "5.4.0");
        scene.relay.idle().await;
        questions += asked;
        assert_eq!(scene.jumbo.of("SENDEVENT").len(), questions, "{who}");
    }
    assert_eq!(scene.sink.mails().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_moved_gets_its_answers_under_the_new_id() {
    let scene = Scene::new().await;
    scene.jumbo.behave(Behaviour::accept().redirect_event("e1@jumbo.com", "e2@jumbo.com"));
    let token = tom_invites_mary(&scene, "e1@jumbo.com", 1).await;
    mary_answers(&scene.relay, "e1@jumbo.com", &token, "ACCEPTED", 1).await;
    let rsvps = scene.jumbo.wait_for("RSVP", 2).await;
    let uids = |n: usize| rsvps[n].value("UID").unwrap();
    assert_eq!((uids(0).as_str(), uids(1).as_str()), ("e1@jumbo.com", "e2@jumbo.com"));
    let strip = |text: String| text.replace("e1@jumbo.com", "e2@jumbo.com");
    assert_eq!(strip(rsvps[0].text()), rsvps[1].text(), "only the UID changes");
    scene.relay.idle().await;
    let known = scene.relay.relay.ledger().redirect_of_event(&EventId::parse("e1@jumbo.com").unwrap(), SystemClock.now()).unwrap();
    assert_eq!(known, EventId::parse("e2@jumbo.com").ok());
    // Remembered: the next answer is sent under the new id alone.
    mary_answers(&scene.relay, "e1@jumbo.com", &token, "DECLINED", 2).await;
    let rsvps = scene.jumbo.wait_for("RSVP", 3).await;
    assert_eq!(rsvps[2].value("UID").as_deref(), Some("e2@jumbo.com"));
    assert!(rsvps[2].text().contains("STATUS=DECLINED"), "{}", rsvps[2].text());
    scene.relay.idle().await;
    assert_eq!(scene.jumbo.of("RSVP").len(), 3);
    // A server that relays its answers through this one is told.
    let answer =
        scene.relay.cip().await.object("RSVP", "UID: e1@jumbo.com\nSEQUENCE: 1\nATTENDEE;STATUS=CONFIRMED: <mary@tiny.com>\n").await;
    assert_eq!(
        (answer.infos.as_slice(), answer.code()),
        (["* REDIRECT EVENT e1@jumbo.com IS NOW e2@jumbo.com".to_owned()].as_slice(), "NO 000")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_of_an_event_are_followed_five_times_and_not_in_a_circle() {
    let scene = Scene::new().await;
    let mut jumbo = Behaviour::accept();
    for n in 0..6 {
        jumbo = jumbo.redirect_event(&format!("c{n}@jumbo.com"), &format!("c{}@jumbo.com", n + 1));
    }
    scene.jumbo.behave(jumbo.redirect_event("l0@jumbo.com", "l1@jumbo.com").redirect_event("l1@jumbo.com", "l0@jumbo.com"));
    let table = [
        ("l0@jumbo.com", 2, "l0@jumbo.com → l1@jumbo.com → l0@jumbo.com"),
        ("c0@jumbo.com", 6, "c0@jumbo.com → c1@jumbo.com → c2@jumbo.com → c3@jumbo.com → c4@jumbo.com → c5@jumbo.com → c6@jumbo.com"),
    ];
    let mut asked = 0;
    for (uid, questions, chain) in table {
        let before = scene.sink.mails().len();
        let token = tom_invites_mary(&scene, uid, 1).await;
        mary_answers(&scene.relay, uid, &token, "ACCEPTED", 1).await;
        let mail = scene.sink.wait_for(before + 2).await.pop().unwrap();
        let report = read_report(&mail);
        assert_eq!(mail.recipients, ["mary@tiny.com"]);
        assert!(report.words.contains(chain), "{}", report.words);
        assert!(report.subject.contains("Not delivered"), "{}", report.subject);
        scene.relay.idle().await;
        asked += questions;
        assert_eq!(scene.jumbo.of("RSVP").len(), asked);
    }
}

/// One of three is not there by CIP: he gets the mail as it was, the others have it by CIP.
#[tokio::test(flavor = "multi_thread")]
async fn not_found_goes_on_by_mail_to_that_one_alone() {
    let scene = Scene::new().await;
    scene.jumbo.behave(Behaviour::accept().not_found("ann@jumbo.com"));
    let people = ["tom@jumbo.com", "ann@jumbo.com", "joe@jumbo.com"];
    mary_invites(&scene.relay, "one", &people).await;
    let event = scene.jumbo.wait_for("SENDEVENT", 1).await.pop().unwrap();
    assert_eq!(event.recipients("jumbo.com"), people);
    let mail = scene.sink.wait_for(1).await.pop().unwrap();
    assert_eq!((mail.sender.as_str(), mail.recipients.as_slice()), ("mary@tiny.com", ["ann@jumbo.com".to_owned()].as_slice()));
    assert_eq!(mail.header("Subject").as_deref(), Some("Meeting"));
    scene.relay.idle().await;
    assert_eq!((scene.sink.mails().len(), scene.jumbo.of("SENDEVENT").len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_and_by_configuration_not_found_are_reported() {
    let scene = Scene::with(|s| s.set("delivery.not-found", "fail")).await;
    let table = [
        (Behaviour::accept().not_found("ann@jumbo.com"), "5.1.1", "NOTFOUND"),
        (Behaviour::accept().denied("ann@jumbo.com"), "5.7.1", "PERMDENIED"),
    ];
    for (n, (behaviour, status, word)) in table.into_iter().enumerate() {
        scene.jumbo.behave(behaviour);
        mary_invites(&scene.relay, &format!("event{n}"), &["tom@jumbo.com", "ann@jumbo.com", "joe@jumbo.com"]).await;
        let mail = scene.sink.wait_for(n + 1).await.pop().unwrap();
        assert_eq!((mail.sender.as_str(), mail.recipients.as_slice()), ("", ["mary@tiny.com".to_owned()].as_slice()));
        let report = read_report(&mail);
        assert_eq!(report.recipients.len(), 1, "{report:?}");
        assert_eq!(report.recipients[0].last, "rfc822; ann@jumbo.com");
        assert_eq!(report.recipients[0].status, status);
        assert!(report.words.contains(word) && report.words.contains("ann@jumbo.com could not be reached"), "{}", report.words);
        assert!(report.words.contains("tom@jumbo.com: delivered (1.2)"), "{}", report.words);
        assert!(report.words.contains("joe@jumbo.com: delivered (1.2)"), "{}", report.words);
        scene.relay.idle().await;
    }
    assert_eq!((scene.sink.mails().len(), scene.jumbo.of("SENDEVENT").len()), (2, 2));
}

/// A refused answer is told to the person who answered.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_owners_server_refuses_is_reported_to_the_attendee() {
    let scene = Scene::new().await;
    scene.jumbo.behave(Behaviour::accept().answer("RSVP", &["* PERMDENIED mary@tiny.com", "NO 000 Not on it."]));
    let token = tom_invites_mary(&scene, "e1@jumbo.com", 1).await;
    mary_answers(&scene.relay, "e1@jumbo.com", &token, "ACCEPTED", 1).await;
    let mail = scene.sink.wait_for(2).await.pop().unwrap();
    let report = read_report(&mail);
    assert_eq!(mail.recipients, ["mary@tiny.com"]);
    assert_eq!(report.recipients[0].status, "5.7.1");
    assert!(report.words.contains("Your answer"), "{}", report.words);
    scene.relay.idle().await;
    assert_eq!(scene.jumbo.of("RSVP").len(), 1);
}

/// The schedule status of each recipient while others of his entry wait: `queue list --json` of the real program.
#[tokio::test(flavor = "multi_thread")]
async fn the_queue_shows_how_each_recipient_stands() {
    let scene =
        Scene::with(|s| s.set("delivery.not-found", "fail").set("delivery.retry.initial", "1h").set("delivery.retry.max", "1h")).await;
    let statuses = || {
        let entries = scene.relay.settings.queue_json(&[]);
        let mut all: Vec<(String, String)> = entries
            .iter()
            .flat_map(|e| e["recipients"].as_array().unwrap())
            .map(|r| (r["user"].as_str().unwrap().to_owned(), r["status"].as_str().unwrap().to_owned()))
            .collect();
        all.sort();
        all
    };
    let expect = |table: &[(&str, &str)]| table.iter().map(|(u, s)| ((*u).to_owned(), (*s).to_owned())).collect::<Vec<_>>();
    let waits = |of: usize| {
        scene.relay.entry("an entry that waits", move |e| e.attempts == 1 && e.recipients.len() == of && e.pending().count() == 1)
    };

    // Under NO nobody has it: who is named is decided, the rest waits.
    scene
        .jumbo
        .behave(Behaviour::accept().answer("SENDEVENT", &["* NOTFOUND ann@jumbo.com", "* PERMDENIED joe@jumbo.com", "NO 000 Nobody."]));
    mary_invites(&scene.relay, "one", &["tom@jumbo.com", "ann@jumbo.com", "joe@jumbo.com"]).await;
    waits(3).await;
    let by_cip = expect(&[("ann@jumbo.com", "3.7"), ("joe@jumbo.com", "3.8"), ("tom@jumbo.com", "1.0")]);
    // The report on the two goes out at once; then the entry is alone.
    scene.sink.wait_for_recipient("mary@tiny.com", 1).await;
    eventually("the report to be out of the queue", || async { (statuses() == by_cip).then_some(()) }).await;
    let id = scene.relay.entries()[0].id.to_string();
    assert!(scene.relay.settings.run(&["queue", "drop", &id], b"").status.success());
    scene.relay.idle().await;

    // By mail: one sent, one refused, one put off; and those who were redirected here.
    scene.jumbo.behave(Behaviour::accept().redirect_user("a@jumbo.com", "ann@tiny.com").redirect_user("b@jumbo.com", "bob@tiny.com"));
    scene.sink.refuse(Stage::Rcpt, Some("bob@tiny.com"), "451 4.2.1 Later.", 1);
    mary_invites(&scene.relay, "two", &["a=jumbo.com@cip.tiny.com", "b=jumbo.com@cip.tiny.com"]).await;
    waits(2).await;
    assert_eq!(statuses(), expect(&[("ann@tiny.com", "2.7"), ("bob@tiny.com", "1.0")]));
    let id = scene.relay.entries()[0].id.to_string();
    assert!(scene.relay.settings.run(&["queue", "drop", &id], b"").status.success());
    scene.relay.idle().await;

    scene.sink.refuse(Stage::Rcpt, Some("bob@tiny.com"), "451 4.2.1 Later.", 1);
    scene.sink.refuse(Stage::Rcpt, Some("cy@tiny.com"), "550 5.1.1 No such user.", 1);
    let object = bare("three@jumbo.com", 1, "tom@jumbo.com", &["ann@tiny.com", "bob@tiny.com", "cy@tiny.com"]);
    assert_eq!(scene.relay.cip().await.object("SENDEVENT", &object).await.code(), "OK 000");
    waits(3).await;
    scene.sink.wait_for_recipient("tom@jumbo.com", 1).await;
    let by_mail = expect(&[("ann@tiny.com", "1.1"), ("bob@tiny.com", "1.0"), ("cy@tiny.com", "5.1")]);
    eventually("the report to be out of the queue", || async { (statuses() == by_mail).then_some(()) }).await;
}

/// The server of an owner may send his answers on; what it says of another server's event counts for nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_redirects_other_peoples_events() {
    let Two { scene, newco } = Two::new(false).await;
    newco.behave(Behaviour::accept().redirect_event("961@jumbo.com", "z@newco.com"));
    let object = bare("961@jumbo.com", 1, "eve@newco.com", &["mary@tiny.com"]);
    assert_eq!(scene.relay.cip().await.object("SENDEVENT", &object).await.code(), "OK 000");
    let token = organizer(&scene.sink.wait_for_recipient("mary@tiny.com", 1).await[0]);
    mary_answers(&scene.relay, "961@jumbo.com", &token, "ACCEPTED", 1).await;
    let rsvps = newco.wait_for("RSVP", 2).await;
    assert_eq!(rsvps[1].value("UID").as_deref(), Some("z@newco.com"));
    scene.relay.idle().await;
    let event = EventId::parse("961@jumbo.com").unwrap();
    assert_eq!(scene.relay.relay.ledger().redirect_of_event(&event, SystemClock.now()).unwrap(), None);
    let learned = scene.relay.relay.ledger().redirects(None, 10).unwrap();
    assert!(learned.is_empty(), "{learned:?}");
}

/// Whom a redirect leads to where there is only mail gets an invitation of his own, not one for who he was.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_moved_to_where_there_is_only_mail_is_the_one_invited() {
    let scene = Scene::new().await;
    scene.jumbo.behave(Behaviour::accept().redirect_user("tom@jumbo.com", "thomas@plain.org"));
    mary_invites(&scene.relay, "one", &["tom@jumbo.com"]).await;
    let mail = scene.sink.wait_for_recipient("thomas@plain.org", 1).await.pop().unwrap();
    let calendar = unfold(&python_reads(&mail).2);
    assert!(property(&calendar, "ATTENDEE").ends_with("mailto:thomas@plain.org"), "{calendar}");
    assert!(!calendar.contains("tom@jumbo.com"), "{calendar}");
    scene.relay.idle().await;
}

/// What was given up on is no duplicate: the same answer, and the same invitation, sent again go out again.
#[tokio::test(flavor = "multi_thread")]
async fn what_failed_may_be_sent_again() {
    let scene = Scene::new().await;
    let refused = Behaviour::accept().answer("RSVP", &["NO 002 No."]).denied("ann@jumbo.com");
    scene.jumbo.behave(refused);
    let token = tom_invites_mary(&scene, "e1@jumbo.com", 1).await;
    mary_answers(&scene.relay, "e1@jumbo.com", &token, "ACCEPTED", 1).await;
    mary_invites(&scene.relay, "one", &["ann@jumbo.com"]).await;
    scene.sink.wait_for(3).await;
    scene.relay.idle().await;
    scene.jumbo.behave(Behaviour::accept());
    mary_answers(&scene.relay, "e1@jumbo.com", &token, "ACCEPTED", 2).await;
    mary_invites(&scene.relay, "one", &["ann@jumbo.com"]).await;
    scene.relay.idle().await;
    assert_eq!((scene.jumbo.of("RSVP").len(), scene.jumbo.of("SENDEVENT").len()), (2, 2));
    // Once it is there, it is.
    mary_answers(&scene.relay, "e1@jumbo.com", &token, "ACCEPTED", 3).await;
    mary_invites(&scene.relay, "one", &["ann@jumbo.com"]).await;
    scene.relay.idle().await;
    assert_eq!((scene.jumbo.of("RSVP").len(), scene.jumbo.of("SENDEVENT").len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_dropped_may_be_sent_again() {
    let scene = Scene::with(|s| s.set("delivery.retry.initial", "10m").set("delivery.retry.max", "10m")).await;
    scene.jumbo.behave(Behaviour::accept().busy());
    mary_invites(&scene.relay, "one", &["tom@jumbo.com"]).await;
    let waiting = scene.relay.entry("the invitation to wait", |e| e.attempts == 1).await;
    let (settings, id) = (scene.relay.settings.clone(), waiting.id.to_string());
    let done = tokio::task::spawn_blocking(move || settings.run(&["queue", "drop", &id], b"")).await.unwrap();
    assert!(done.status.success(), "{done:?}");
    scene.jumbo.behave(Behaviour::accept());
    mary_invites(&scene.relay, "one", &["tom@jumbo.com"]).await;
    scene.relay.idle().await;
    assert_eq!(scene.jumbo.of("SENDEVENT").len(), 2);
}

/// The circle closes at a user here who has moved by the configuration.
#[tokio::test(flavor = "multi_thread")]
async fn a_circle_through_a_user_here_who_has_moved_is_seen() {
    let scene = Scene::with(|s| s.domain_text("name = \"tiny.com\"\nusers = \"any\"\nredirects = { old = \"new@jumbo.com\" }")).await;
    scene.jumbo.behave(Behaviour::accept().redirect_user("new@jumbo.com", "old@tiny.com"));
    mary_invites(&scene.relay, "one", &["new=jumbo.com@cip.tiny.com"]).await;
    let mail = scene.sink.wait_for(1).await.pop().unwrap();
    assert_eq!(mail.recipients, ["mary@tiny.com"]);
    let words = read_report(&mail).words;
    assert!(words.contains("new@jumbo.com → old@tiny.com → new@jumbo.com"), "{words}");
    scene.relay.idle().await;
    assert_eq!(scene.jumbo.of("SENDEVENT").len(), 1);
}
