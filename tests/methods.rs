//! Every method of iTIP through the bridge, both ways (bridge 2): what is proposed, asked for again, declined, published,
//! added, cancelled for some.

use crate::bridge::{Scene, ical, imip, property, python_reads, unfold};
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
