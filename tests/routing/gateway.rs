//! Gateway addresses: a person elsewhere under an address of the relay's own, in both directions.

use super::{Ground, MARY, UID};
use crate::bridge::{ical, imip, property, python_reads, unfold};
use crate::support::running::Running;
use crate::support::sink::Mail;

const JUMBO: &str = "tom=jumbo.com@cip.tiny.com";
const PLAIN: &str = "ann=plain.org@cip.tiny.com";

/// Mary invites; `stamp` tells states of one SEQUENCE apart.
fn invite(to: &str, sequence: u32, stamp: &str) -> String {
    let object = ical("REQUEST", UID, sequence, "mary@tiny.com", &[(to, "NEEDS-ACTION")]);
    let line = object.lines().find(|l| l.starts_with("DTSTAMP:")).unwrap();
    let summary = format!("SUMMARY:Budget, {stamp}");
    imip("REQUEST", MARY, &[to], &object.replace(line, &format!("DTSTAMP:{stamp}")).replace("SUMMARY:Budget", &summary))
}

async fn send(relay: &Running, to: &str, message: &str) {
    let reply = relay.smtp().await.mail("mary@tiny.com", &[to], message.as_bytes()).await;
    assert_eq!(reply.code, 250, "{reply:?}");
}

/// The REPLY that Mary gets: UID, SEQUENCE and ATTENDEE as she knows them.
fn check_reply(mail: &Mail, sequence: u32, attendee: &str, partstat: &str) {
    assert_eq!(mail.recipients, ["mary@tiny.com"]);
    let (_, method, calendar) = python_reads(mail);
    let calendar = unfold(&calendar);
    assert_eq!(method, "REPLY");
    assert_eq!(property(&calendar, "UID"), format!(":{UID}"));
    assert_eq!(property(&calendar, "SEQUENCE"), format!(":{sequence}"), "{calendar}");
    assert!(property(&calendar, "ORGANIZER").ends_with("mailto:mary@tiny.com"), "{calendar}");
    let answer = property(&calendar, "ATTENDEE");
    assert!(answer.ends_with(&format!("mailto:{attendee}")) && answer.contains(&format!("PARTSTAT={partstat}")), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_on_a_cip_server() {
    let ground = Ground::new().await;
    let relay = Running::start(ground.settings()).await;
    send(&relay, JUMBO, &invite(JUMBO, 0, "20261122T120000Z")).await;
    let event = ground.jumbo.wait_for("SENDEVENT", 1).await.remove(0);
    assert_eq!(event.recipients("jumbo.com"), ["tom@jumbo.com"]);
    assert!(event.text().contains("tom@jumbo.com") && !event.text().contains("tom=jumbo.com"), "{}", event.text());
    let uid = event.value("UID").unwrap();
    let rsvp = format!("UID: {uid}\nSEQUENCE: 1\nATTENDEE;ROLE=ATTENDEE;STATUS=CONFIRMED: Tom Jones <tom@jumbo.com>\n");
    let answer = relay.cip().await.object("RSVP", &rsvp).await;
    assert_eq!(answer.code(), "OK 000", "{answer:?}");
    check_reply(&ground.sink.wait_for(1).await[0], 0, JUMBO, "ACCEPTED");
    relay.idle().await;
}

/// The domain has no CIP: Ann gets a mail of the relay's own, and her answers find their way back, each to the version
/// that she answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_turns_out_to_have_only_mail() {
    let ground = Ground::new().await;
    let relay = Running::start(ground.settings()).await;
    let mut organizer = String::new();
    // Two states of one SEQUENCE, then the next: versions 1, 2, 3.
    let states = [(0, "20261122T120000Z"), (0, "20261122T130000Z"), (1, "20261122T140000Z")];
    for (n, (sequence, stamp)) in states.into_iter().enumerate() {
        send(&relay, PLAIN, &invite(PLAIN, sequence, stamp)).await;
        let mail = ground.sink.wait_for(n + 1).await.remove(n);
        assert_eq!(mail.recipients, ["ann@plain.org"]);
        let (skeleton, method, calendar) = python_reads(&mail);
        assert_eq!(skeleton[0], "multipart/mixed");
        assert_eq!(method, "REQUEST");
        let calendar = unfold(&calendar);
        assert_eq!(property(&calendar, "UID"), format!(":{UID}"));
        assert_eq!(property(&calendar, "SEQUENCE"), format!(":{n}"), "{calendar}");
        assert!(property(&calendar, "ATTENDEE").ends_with("mailto:ann@plain.org"), "{calendar}");
        organizer = property(&calendar, "ORGANIZER").rsplit_once("mailto:").unwrap().1.to_owned();
        assert!(organizer.ends_with("@cip.tiny.com"), "{organizer}");
        assert!(mail.header("From").unwrap().contains(&organizer), "{}", mail.text());
        relay.idle().await;
    }
    assert!(ground.jumbo.commands().is_empty());
    // Her mail program answers each invitation as it came, the newest last.
    for (n, (sequence, partstat)) in [(0, "TENTATIVE"), (0, "DECLINED"), (1, "ACCEPTED")].into_iter().enumerate() {
        let reply = ical("REPLY", UID, u32::try_from(n).unwrap(), &organizer, &[("ann@plain.org", partstat)]);
        let reply = imip("REPLY", "Ann <ann@plain.org>", &[&organizer], &reply);
        let done = relay.inbound().await.mail("ann@plain.org", &[&organizer], reply.as_bytes()).await;
        assert_eq!(done.code, 250, "{done:?}");
        check_reply(&ground.sink.wait_for(4 + n).await[3 + n], sequence, PLAIN, partstat);
    }
    relay.idle().await;
}

/// An answer by mail to an owner on a CIP server whose event the relay never saw: SEQUENCE n of iCalendar is version n + 1.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_an_owner_elsewhere_keeps_its_version() {
    let ground = Ground::new().await;
    let relay = Running::start(ground.settings()).await;
    for (n, to) in ["tom@jumbo.com", JUMBO].into_iter().enumerate() {
        let reply = ical("REPLY", &format!("theirs{n}@jumbo.com"), 4, "tom@jumbo.com", &[("mary@tiny.com", "ACCEPTED")]);
        send(&relay, to, &imip("REPLY", MARY, &[to], &reply)).await;
        let rsvp = ground.jumbo.wait_for("RSVP", n + 1).await.remove(n);
        assert_eq!(rsvp.value("UID"), Some(format!("theirs{n}@jumbo.com")));
        assert_eq!(rsvp.value("SEQUENCE").as_deref(), Some("5"), "{}", rsvp.text());
        assert!(rsvp.text().contains("STATUS=CONFIRMED"), "{}", rsvp.text());
    }
    relay.idle().await;
    assert!(ground.sink.mails().is_empty());
}
