//! Every method of iTIP through the bridge, both ways (bridge 2): what is proposed, asked for again, declined, published,
//! added, cancelled for some.

use crate::bridge::{Scene, bare, ical, imip, property, python_reads, unfold};
use crate::outcomes::{mary_answers, mary_invites, tom_invites_mary};
use crate::support::sink::Mail;
use crate::support::smtp::Reply;

const EVENT: &str = "e1@jumbo.com";

/// Mail from the organization's own side.
async fn mail(scene: &Scene, method: &str, from: &str, to: &[&str], calendar: &str) -> Reply {
    scene.relay.smtp().await.mail(from, to, imip(method, from, to, calendar).as_bytes()).await
}

/// The object of a composed mail, unfolded, and its method.
fn calendar(mail: &Mail) -> (String, String) {
    let (_, method, calendar) = python_reads(mail);
    (method, unfold(&calendar))
}

/// The words of a composed mail, in one line.
fn words(mail: &Mail) -> String {
    let parsed = mail_parser::MessageParser::default().parse(&mail.data).unwrap();
    let text = parsed.body_text(0).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn counter(organizer: &str, attendees: &[(&str, &str)], hour: u32) -> String {
    ical("COUNTER", EVENT, 0, organizer, attendees)
        .replace("20270104T15", &format!("20270102T{hour:02}"))
        .replace("20270104T16", &format!("20270102T{:02}", hour + 1))
        .replace("SUMMARY:Budget\n", "SUMMARY:Project X review\nCOMMENT:An hour later, please.\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_by_mail_becomes_an_rsvp_with_what_is_proposed() {
    let scene = Scene::new().await;
    let token = tom_invites_mary(&scene, EVENT, 1).await;
    let propose = async |hour, n: usize| {
        // As some programs write it: the others listed too.
        let object = counter(&token, &[("tom@jumbo.com", "ACCEPTED"), ("mary@tiny.com", "TENTATIVE")], hour);
        let done = mail(&scene, "COUNTER", "mary@tiny.com", &[&token], &object).await;
        assert_eq!(done.code, 250, "{done:?}");
        let rsvp = scene.jumbo.wait_for("RSVP", n).await.pop().unwrap();
        scene.relay.idle().await;
        rsvp
    };
    let rsvp = propose(2, 1).await;
    let text = unfold(&rsvp.text());
    for line in ["DTSTART:20270102T020000Z", "DTEND:20270102T030000Z", "COMMENT:An hour later\\, please.", "SEQUENCE:1"] {
        assert!(text.contains(line) || text.contains(&line.replace('\\', "")), "{line}\n{text}");
    }
    assert!(text.contains("STATUS=TENTATIVE") && text.contains("mary@tiny.com"), "{text}");
    assert!(!text.contains("SUMMARY") && !text.contains("STATUS=CONFIRMED"), "only what is proposed, of her alone: {text}");
    assert_eq!(rsvp.value("UID").as_deref(), Some(EVENT));
    // The same again is known; another proposal with the same status is not.
    propose(2, 1).await;
    assert_eq!(scene.jumbo.of("RSVP").len(), 1);
    let text = unfold(&propose(3, 2).await.text());
    assert!(text.contains("DTSTART:20270102T030000Z") && text.contains("RESPONSE-SEQUENCE:2"), "{text}");
    // And a reply takes it back: newer, by its DTSTAMP.
    mary_answers(&scene.relay, EVENT, &token, "ACCEPTED", 9).await;
    let text = unfold(&scene.jumbo.wait_for("RSVP", 3).await.pop().unwrap().text());
    assert!(text.contains("RESPONSE-SEQUENCE:3") && text.contains("STATUS=CONFIRMED") && !text.contains("DTSTART"), "{text}");
    // An older proposal that comes late changes nothing.
    propose(2, 3).await;
    assert_eq!(scene.jumbo.of("RSVP").len(), 3);
    // Somebody else's is held.
    let done = mail(&scene, "COUNTER", "eve@other.org", &[&token], &counter(&token, &[("mary@tiny.com", "TENTATIVE")], 5)).await;
    assert_eq!(done.code, 250, "{done:?}");
    assert_eq!(scene.relay.settings.queue_json(&["--state", "held"]).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_reaches_an_owner_who_was_addressed_plainly_or_through_the_gateway() {
    let scene = Scene::with(|s| s.peer("server-id = \"jumbo.com\"\nobject-format = \"icalendar\"")).await;
    tom_invites_mary(&scene, EVENT, 1).await;
    let gateway = "tom=jumbo.com@cip.tiny.com";
    for (n, to) in ["tom@jumbo.com", gateway].iter().enumerate() {
        let object = counter("tom@jumbo.com", &[("mary@tiny.com", "TENTATIVE")], 2 + u32::try_from(n).unwrap());
        assert_eq!(mail(&scene, "COUNTER", "mary@tiny.com", &[to], &object).await.code, 250);
        let text = unfold(&scene.jumbo.wait_for("RSVP", n + 1).await.pop().unwrap().text());
        assert!(text.contains("METHOD:COUNTER") && text.contains(&format!("DTSTART:20270102T{:02}0000Z", n + 2)), "{text}");
        scene.relay.idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rsvp_with_other_times_becomes_a_counter_that_says_what_it_changes() {
    let scene = Scene::new().await;
    mary_invites(&scene.relay, "m1", &["tom@jumbo.com"]).await;
    let event = scene.jumbo.wait_for("SENDEVENT", 1).await.pop().unwrap();
    let event_id = event.value("UID").unwrap();
    scene.relay.idle().await;
    let rsvp = async |n: u32, lines: &str, mails: usize| {
        let object = format!("UID: {event_id}\nSEQUENCE: 1\nRESPONSE-SEQUENCE: {n}\n{lines}ATTENDEE;STATUS=TENTATIVE: <tom@jumbo.com>\n");
        assert_eq!(scene.relay.cip().await.object("RSVP", &object).await.code(), "OK 000");
        scene.relay.idle().await;
        let sent = scene.sink.mails_for("mary@tiny.com");
        assert_eq!(sent.len(), mails);
        sent.last().cloned().unwrap()
    };
    // The whole event written back as it is proposes nothing.
    let echo: String = event
        .text()
        .lines()
        .filter(|l| ["DTSTART", "DTEND", "SUMMARY"].iter().any(|n| l.starts_with(n)))
        .fold(String::new(), |all, line| all + line + "\n");
    assert!(echo.lines().count() == 3, "{echo}");
    let (method, _) = calendar(&rsvp(1, &echo, 1).await);
    assert_eq!(method, "REPLY");
    // Half an hour later, in the draft's own dialect; the end keeps the length.
    let mail = rsvp(2, "DTSTART: 20270104T1030-0500\nCOMMENT: My train is late.\n", 2).await;
    let (method, object) = calendar(&mail);
    assert_eq!(method, "COUNTER");
    for line in
        ["UID:m1", "SEQUENCE:0", "DTSTART:20270104T153000Z", "DTEND:20270104T163000Z", "SUMMARY:Budget", "COMMENT:My train is late."]
    {
        assert!(object.contains(line), "{line}\n{object}");
    }
    assert!(property(&object, "ORGANIZER").ends_with("mailto:mary@tiny.com"), "{object}");
    assert_eq!(object.matches("\nATTENDEE").count(), 1, "{object}");
    assert!(property(&object, "ATTENDEE").contains("PARTSTAT=TENTATIVE"), "{object}");
    let told = words(&mail);
    for expected in ["proposes a change", "proposed", "Monday, 4 January 2027, 15:00 to 16:00", "My train is late."] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    // The same again, and an older one: nothing is sent. The place too: another proposal.
    rsvp(2, "DTSTART: 20270104T1030-0500\nCOMMENT: My train is late.\n", 2).await;
    rsvp(1, "DTSTART: 20270104T1130-0500\n", 2).await;
    let (method, object) = calendar(&rsvp(3, "LOCATION: Room 2\n", 3).await);
    assert_eq!(method, "COUNTER");
    assert!(object.contains("LOCATION:Room 2") && object.contains("DTSTART:20270104T150000Z"), "{object}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_is_answered_from_the_ledger() {
    let scene = Scene::new().await;
    let token = tom_invites_mary(&scene, EVENT, 1).await;
    let second = bare(EVENT, 2, "tom@jumbo.com", &["mary@tiny.com"]).replace("T2000", "T2100");
    assert_eq!(scene.relay.cip().await.object("SENDEVENT", &second).await.code(), "OK 000");
    scene.sink.wait_for_recipient("mary@tiny.com", 2).await;
    scene.relay.idle().await;
    let refresh = |to: &str, who: &str| ical("REFRESH", EVENT, 0, to, &[(who, "NEEDS-ACTION")]).replace("SUMMARY:Budget\n", "");
    // By the reply address, and to the owner as she may know him.
    for (n, to) in [token.as_str(), "tom@jumbo.com", "tom=jumbo.com@cip.tiny.com"].iter().enumerate() {
        let organizer = if n == 0 { to } else { "tom@jumbo.com" };
        let done = mail(&scene, "REFRESH", "mary@tiny.com", &[to], &refresh(organizer, "mary@tiny.com")).await;
        assert_eq!(done.code, 250, "{done:?}");
        let sent = scene.sink.wait_for_recipient("mary@tiny.com", 3 + n).await.pop().unwrap();
        let (method, object) = calendar(&sent);
        assert_eq!(method, "REQUEST");
        assert!(object.contains("SEQUENCE:1") && object.contains("20270102T020000Z"), "{object}");
        assert!(property(&object, "ORGANIZER").ends_with(&token), "her answers go the way that they went: {object}");
        scene.relay.idle().await;
    }
    assert!(scene.jumbo.of("RSVP").is_empty(), "nobody else was asked");
    // Somebody else is told nothing.
    let done = mail(&scene, "REFRESH", "bob@tiny.com", &[&token], &refresh(&token, "bob@tiny.com")).await;
    assert_eq!(done.code, 550, "{done:?}");
    // What the relay does not know is asked of its owner.
    let other = refresh("tom@jumbo.com", "mary@tiny.com").replace(EVENT, "e7@jumbo.com");
    assert_eq!(mail(&scene, "REFRESH", "mary@tiny.com", &["tom@jumbo.com"], &other).await.code, 250);
    let rsvp = scene.jumbo.wait_for("RSVP", 1).await.pop().unwrap();
    assert_eq!(rsvp.value("UID").as_deref(), Some("e7@jumbo.com"));
    assert!(rsvp.text().contains("STATUS=NEEDS ACTION"), "{}", rsvp.text());
    scene.relay.idle().await;
    assert_eq!(scene.sink.mails().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_counter_is_the_current_version_once_more_with_a_comment() {
    let scene = Scene::new().await;
    mary_invites(&scene.relay, "m1", &["tom@jumbo.com", "joe@jumbo.com"]).await;
    scene.jumbo.wait_for("SENDEVENT", 1).await;
    scene.relay.idle().await;
    let object = ical("DECLINECOUNTER", "m1", 0, "mary@tiny.com", &[("tom@jumbo.com", "TENTATIVE")])
        .replace("T15", "T17")
        .replace("DTSTAMP:20261122T1200", "DTSTAMP:20261122T1210")
        .replace("SUMMARY:Budget\n", "SUMMARY:Budget\nCOMMENT:It stays as it is.\n");
    for _ in 0..2 {
        assert_eq!(mail(&scene, "DECLINECOUNTER", "mary@tiny.com", &["tom@jumbo.com"], &object).await.code, 250);
        scene.relay.idle().await;
    }
    let events = scene.jumbo.of("SENDEVENT");
    assert_eq!(events.len(), 2, "the same message twice is one version");
    let text = unfold(&events[1].text());
    assert_eq!((events[1].value("SEQUENCE").as_deref(), events[1].value("UID")), (Some("2"), events[0].value("UID")));
    assert_eq!(events[1].recipients("jumbo.com"), ["tom@jumbo.com"]);
    assert!(text.contains("DTSTART:20270104T150000Z") && text.contains("COMMENT:It stays as it is."), "{text}");
    // An unknown event has no current version: the gateway says so.
    let other = object.replace("UID:m1", "UID:m9");
    let done = mail(&scene, "DECLINECOUNTER", "mary@tiny.com", &["tom=jumbo.com@cip.tiny.com"], &other).await;
    assert!(done.code == 550 && done.lines[0].contains("not known"), "{done:?}");
}

/// A COUNTER came from a reply address, and there a mail program declines it.
#[tokio::test(flavor = "multi_thread")]
async fn a_counter_is_declined_to_the_reply_address_that_it_came_from() {
    let scene = Scene::new().await;
    mary_invites(&scene.relay, "m1", &["tom@jumbo.com", "joe@jumbo.com"]).await;
    let event_id = scene.jumbo.wait_for("SENDEVENT", 1).await.pop().unwrap().value("UID").unwrap();
    scene.relay.idle().await;
    let rsvp = format!("UID: {event_id}\nSEQUENCE: 1\nDTSTART: 20270104T1030-0500\nATTENDEE;STATUS=TENTATIVE: <tom@jumbo.com>\n");
    assert_eq!(scene.relay.cip().await.object("RSVP", &rsvp).await.code(), "OK 000");
    let counter = scene.sink.wait_for_recipient("mary@tiny.com", 1).await.pop().unwrap();
    assert_eq!(calendar(&counter).0, "COUNTER");
    let token = counter.header("Reply-To").unwrap().trim_matches(['<', '>']).to_owned();
    let declined = |organizer: &str| {
        ical("DECLINECOUNTER", "m1", 0, organizer, &[("tom@jumbo.com", "TENTATIVE")])
            .replace("DTSTAMP:20261122T1200", "DTSTAMP:20261122T1210")
            .replace("SUMMARY:Budget\n", "SUMMARY:Budget\nCOMMENT:It stays as it is.\n")
    };
    // Nobody else declines it: not in his own name, and from outside nobody is known.
    let bob = imip("DECLINECOUNTER", "bob@tiny.com", &[&token], &declined("bob@tiny.com"));
    assert_eq!(scene.relay.smtp().await.mail("bob@tiny.com", &[&token], bob.as_bytes()).await.code, 550);
    let mary = imip("DECLINECOUNTER", "mary@tiny.com", &[&token], &declined("mary@tiny.com"));
    assert_eq!(scene.relay.inbound().await.mail("mary@tiny.com", &[&token], mary.as_bytes()).await.code, 550);
    assert_eq!(scene.relay.smtp().await.mail("mary@tiny.com", &[&token], mary.as_bytes()).await.code, 250);
    let event = scene.jumbo.wait_for("SENDEVENT", 2).await.pop().unwrap();
    let text = unfold(&event.text());
    assert_eq!((event.value("SEQUENCE").as_deref(), event.value("UID")), (Some("2"), Some(event_id)));
    assert_eq!(event.recipients("jumbo.com"), ["tom@jumbo.com"]);
    assert!(text.contains("DTSTART:20270104T150000Z") && text.contains("COMMENT:It stays as it is."), "{text}");
    scene.relay.idle().await;
}

/// The way of the event is not the way of one answer.
#[tokio::test(flavor = "multi_thread")]
async fn who_asked_by_mail_has_the_next_version_where_he_had_the_event() {
    let scene = Scene::with(|s| s.set("cip.relay-networks", vec!["127.0.0.0/8"])).await;
    let send = async |version| {
        let object = bare("e1@newco.com", version, "tom@newco.com", &["joe@jumbo.com"]);
        assert_eq!(scene.relay.cip().await.object("SENDEVENT", &object).await.code(), "OK 000");
        scene.relay.idle().await;
    };
    send(1).await;
    let refresh = ical("REFRESH", "e1@newco.com", 0, "tom@newco.com", &[("joe@jumbo.com", "NEEDS-ACTION")]);
    assert_eq!(mail(&scene, "REFRESH", "joe@jumbo.com", &["tom@newco.com"], &refresh).await.code, 250);
    scene.sink.wait_for_recipient("joe@jumbo.com", 1).await;
    scene.relay.idle().await;
    send(2).await;
    assert_eq!((scene.jumbo.of("SENDEVENT").len(), scene.sink.mails().len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_for_those_who_get_it() {
    let scene = Scene::new().await;
    let people = ["tom@jumbo.com", "joe@jumbo.com"];
    let object = ical("PUBLISH", "p1", 0, "mary@tiny.com", &[]);
    assert_eq!(mail(&scene, "PUBLISH", "mary@tiny.com", &people, &object).await.code, 250);
    let event = scene.jumbo.wait_for("SENDEVENT", 1).await.pop().unwrap();
    let mut recipients = event.recipients("jumbo.com");
    recipients.sort();
    assert_eq!(recipients, ["joe@jumbo.com", "tom@jumbo.com"]);
    let text = event.text();
    assert!(people.iter().all(|p| text.lines().any(|l| l.starts_with("ATTENDEE") && l.contains(p))), "{text}");
    scene.relay.idle().await;
}

fn series(method: &str, sequence: u32, extra: &str) -> String {
    ical(method, "s1", sequence, "mary@tiny.com", &[("tom@jumbo.com", "NEEDS-ACTION")])
        .replace("SUMMARY:Budget\n", &format!("SUMMARY:Budget\n{extra}"))
}

const WEEKLY: &str = "RRULE:FREQ=WEEKLY;COUNT=4\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_added_instance_is_sent_with_the_whole_series() {
    let scene = Scene::new().await;
    assert_eq!(mail(&scene, "REQUEST", "mary@tiny.com", &["tom@jumbo.com"], &series("REQUEST", 0, WEEKLY)).await.code, 250);
    scene.jumbo.wait_for("SENDEVENT", 1).await;
    scene.relay.idle().await;
    let add = series("ADD", 1, "").replace("20270104T15", "20270106T15").replace("20270104T16", "20270106T16");
    assert_eq!(mail(&scene, "ADD", "mary@tiny.com", &["tom@jumbo.com"], &add).await.code, 250);
    let event = scene.jumbo.wait_for("SENDEVENT", 2).await.pop().unwrap();
    let text = unfold(&event.text());
    assert_eq!(event.value("SEQUENCE").as_deref(), Some("2"));
    assert!(text.contains("DTSTART:20270104T150000Z") && text.contains("RRULE:W1") && text.contains("RDATE:20270106T150000Z"), "{text}");
    scene.relay.idle().await;
}

/// What the administrator says has moved is told to who asks, and who has confirmed to who answers (draft 2.2, 2.3).
#[tokio::test(flavor = "multi_thread")]
async fn redirects_that_were_added_and_confirmations_are_told() {
    let scene = Scene::new().await;
    mary_invites(&scene.relay, "m1", &["tom@jumbo.com", "joe@jumbo.com"]).await;
    let uid = scene.jumbo.wait_for("SENDEVENT", 1).await[0].value("UID").unwrap();
    scene.relay.idle().await;
    let rsvp = async |uid: &str, who: &str, status: &str| {
        let object = format!("UID: {uid}\nSEQUENCE: 1\nATTENDEE;STATUS={status}: <{who}>\n");
        let answer = scene.relay.cip().await.object("RSVP", &object).await;
        (answer.infos.clone(), answer.code().to_owned())
    };
    assert_eq!(rsvp(&uid, "tom@jumbo.com", "CONFIRMED").await, (vec!["* CONFIRMED tom@jumbo.com".to_owned()], "OK 000".to_owned()));
    assert_eq!(rsvp(&uid, "joe@jumbo.com", "DECLINED").await, (vec!["* CONFIRMED tom@jumbo.com".to_owned()], "OK 000".to_owned()));
    for arguments in [&["--event", &uid, "new@tiny.com"][..], &["mary@tiny.com", "mary@jumbo.com"]] {
        let output = scene.relay.settings.run(&[&["redirect", "add"], arguments].concat(), b"");
        assert!(output.status.success(), "{output:?}");
    }
    let moved = rsvp(&uid, "tom@jumbo.com", "DECLINED").await;
    assert_eq!(moved, (vec![format!("* REDIRECT EVENT {uid} IS NOW new@tiny.com")], "NO 000".to_owned()));
    let answer = scene.relay.cip().await.object("SENDEVENT", &bare(EVENT, 1, "tom@jumbo.com", &["mary@tiny.com"])).await;
    assert_eq!(answer.infos, ["* REDIRECT USER mary@tiny.com IS NOW mary@jumbo.com"]);
    scene.relay.idle().await;
}
