//! Recipients of several kinds in one message, by LMTP, by SMTP and from outside.

use super::{Ground, MARY, UID};
use crate::bridge::{bare, ical, imip, property, python_reads, unfold};
use crate::support::running::Running;
use crate::support::smtp::Reply;

const NO_TOKEN: &str = "rabcdefghijklmnopqrstuvwxyz@cip.tiny.com";
const GATEWAY: &str = "tom=jumbo.com@cip.tiny.com";

/// Invites Mary by CIP, so that she has a reply address for Tom's event.
async fn token(ground: &Ground, relay: &Running) -> String {
    let answer = relay.cip().await.object("SENDEVENT", &bare("e1@jumbo.com", 1, "tom@jumbo.com", &["mary@tiny.com"])).await;
    assert_eq!(answer.code(), "OK 000", "{answer:?}");
    let mail = ground.sink.wait_for(1).await.remove(0);
    relay.idle().await;
    let (_, _, calendar) = python_reads(&mail);
    property(&unfold(&calendar), "ORGANIZER").rsplit_once("mailto:").unwrap().1.to_owned()
}

/// `250 2.0.0`, `550 5.1.1`, …
fn code(reply: &Reply) -> String {
    format!("{} {}", reply.code, reply.lines.first().and_then(|l| l.split(' ').next()).unwrap_or(""))
}

fn invitation(to: &[&str]) -> String {
    let attendees =
        [("bob@tiny.com", "NEEDS-ACTION"), ("tim@jumbo.com", "NEEDS-ACTION"), (GATEWAY, "NEEDS-ACTION"), ("ann@plain.org", "NEEDS-ACTION")];
    imip("REQUEST", MARY, to, &ical("REQUEST", UID, 0, "mary@tiny.com", &attendees))
}

/// What the invitation led to, by whichever protocol it came.
async fn check_deliveries(ground: &Ground, relay: &Running, message: &str) {
    let events = ground.jumbo.wait_for("SENDEVENT", 1).await;
    for who in ["bob@tiny.com", "ann@plain.org"] {
        let mail = ground.sink.wait_for_recipient(who, 1).await.remove(0);
        assert!(mail.data.ends_with(message.as_bytes()), "passed on octet for octet: {}", mail.text());
        assert_eq!(mail.sender, "mary@tiny.com");
    }
    relay.idle().await;
    assert_eq!((ground.jumbo.of("SENDEVENT").len(), ground.jumbo.of("RSVP").len()), (1, 0));
    let mut served = events[0].recipients("jumbo.com");
    served.sort();
    assert_eq!(served, ["tim@jumbo.com", "tom@jumbo.com"]);
    assert!(!events[0].text().contains(GATEWAY), "a gateway address is of no use to others: {}", events[0].text());
}

#[tokio::test(flavor = "multi_thread")]
async fn lmtp_answers_for_each_kind() {
    let ground = Ground::new().await;
    let relay = Running::start(ground.settings().domain("tiny.com", vec!["mary", "bob"])).await;
    let token = token(&ground, &relay).await;
    let table = [
        ("bob@tiny.com", "250 2.0.0"),
        ("tim@jumbo.com", "250 2.0.0"),
        (GATEWAY, "250 2.0.0"),
        ("ann@plain.org", "250 2.0.0"),
        // An invitation is no answer.
        (token.as_str(), "550 5.6.1"),
        (NO_TOKEN, "550 5.1.1"),
        ("nobody@tiny.com", "550 5.1.1"),
        ("nobody@cip.tiny.com", "550 5.1.1"),
        ("tom=@cip.tiny.com", "553 5.1.3"),
    ];
    let to = table.map(|(address, _)| address);
    let message = invitation(&to);
    let replies = relay.lmtp().await.lmtp("mary@tiny.com", &to, message.as_bytes()).await;
    for ((address, expected), reply) in table.iter().zip(&replies) {
        assert_eq!(code(reply), *expected, "{address}: {reply:?}");
    }
    check_deliveries(&ground, &relay, &message).await;
    assert_eq!(ground.sink.mails().len(), 3, "LMTP has told the client; no report besides");
}

#[tokio::test(flavor = "multi_thread")]
async fn smtp_answers_for_each_kind_and_reports_what_one_reply_cannot_say() {
    let ground = Ground::new().await;
    let relay = Running::start(ground.settings().domain("tiny.com", vec!["mary", "bob"])).await;
    let token = token(&ground, &relay).await;
    let table = [
        ("bob@tiny.com", "250 2.1.5"),
        ("tim@jumbo.com", "250 2.1.5"),
        (GATEWAY, "250 2.1.5"),
        ("ann@plain.org", "250 2.1.5"),
        (token.as_str(), "250 2.1.5"),
        (NO_TOKEN, "550 5.1.1"),
        ("nobody@tiny.com", "550 5.1.1"),
        ("tom=@cip.tiny.com", "553 5.1.3"),
    ];
    let message = invitation(&table.map(|(address, _)| address));
    let mut client = relay.smtp().await;
    assert_eq!(client.command("MAIL FROM:<mary@tiny.com>").await.code, 250);
    for (address, expected) in table {
        let reply = client.command(&format!("RCPT TO:<{address}>")).await;
        assert_eq!(code(&reply), expected, "{address}: {reply:?}");
    }
    assert_eq!(client.command("DATA").await.code, 354);
    client.send(format!("{message}.\r\n")).await;
    assert_eq!(client.reply().await.code, 250, "some were served");
    check_deliveries(&ground, &relay, &message).await;
    // An invitation cannot go to a reply address, and the one reply to the data could not say so.
    let reports: Vec<_> = ground.sink.mails_for("mary@tiny.com").into_iter().filter(|m| m.sender.is_empty()).collect();
    assert_eq!(reports.len(), 1);
    let report = reports[0].text();
    assert!(report.contains("report-type=delivery-status"), "{report}");
    assert!(report.contains(&format!("Final-Recipient: rfc822;{token}")) || report.contains(&format!("Final-Recipient: rfc822; {token}")));
    assert!(report.contains("Status: 5.6.1"), "{report}");
    assert!(!report.contains("Final-Recipient: rfc822; bob@tiny.com") && !report.contains("Final-Recipient: rfc822;bob@tiny.com"));
}

/// When nobody at all is served the one reply says it, and there is nothing to report.
#[tokio::test(flavor = "multi_thread")]
async fn smtp_refuses_what_nobody_gets() {
    let ground = Ground::new().await;
    let relay = Running::start(ground.settings()).await;
    let plain = "From: mary@tiny.com\r\nSubject: Lunch\r\n\r\nToday?\r\n";
    let reply = relay.smtp().await.mail("mary@tiny.com", &[GATEWAY], plain.as_bytes()).await;
    assert_eq!(code(&reply), "550 5.6.0", "{reply:?}");
    let stranger = request_of("Eve <eve@elsewhere.org>", "eve@elsewhere.org");
    let reply = relay.smtp().await.mail("eve@elsewhere.org", &[GATEWAY], stranger.as_bytes()).await;
    assert_eq!(code(&reply), "550 5.6.0", "{reply:?}");
    assert!(reply.lines[0].contains("not of this organization"), "{reply:?}");
    relay.idle().await;
    assert!(ground.sink.mails().is_empty() && ground.jumbo.commands().is_empty());
}

fn request_of(from: &str, organizer: &str) -> String {
    imip("REQUEST", from, &[GATEWAY], &ical("REQUEST", UID, 0, organizer, &[(GATEWAY, "NEEDS-ACTION")]))
}

#[tokio::test(flavor = "multi_thread")]
async fn from_outside_only_tokens_and_local_users_are_served() {
    let ground = Ground::new().await;
    let relay = Running::start(ground.settings().domain("tiny.com", vec!["mary", "bob"])).await;
    let token = token(&ground, &relay).await;
    let table = [
        ("bob@tiny.com", "250 2.1.5"),
        (token.as_str(), "250 2.1.5"),
        ("tim@jumbo.com", "550 5.7.1"),
        (GATEWAY, "550 5.7.1"),
        (NO_TOKEN, "550 5.1.1"),
        ("nobody@tiny.com", "550 5.1.1"),
    ];
    let reply = ical("REPLY", "e1@jumbo.com", 0, &token, &[("mary@tiny.com", "ACCEPTED")]);
    let message = imip("REPLY", "Mary <mary@tiny.com>", &[&token, "bob@tiny.com"], &reply);
    let mut client = relay.inbound().await;
    assert_eq!(client.command("MAIL FROM:<mary@tiny.com>").await.code, 250);
    for (address, expected) in table {
        let reply = client.command(&format!("RCPT TO:<{address}>")).await;
        assert_eq!(code(&reply), expected, "{address}: {reply:?}");
    }
    assert_eq!(client.command("DATA").await.code, 354);
    client.send(format!("{message}.\r\n")).await;
    assert_eq!(client.reply().await.code, 250);
    let rsvp = ground.jumbo.wait_for("RSVP", 1).await.remove(0);
    assert!(rsvp.text().contains("STATUS=CONFIRMED"), "{}", rsvp.text());
    let copy = ground.sink.wait_for_recipient("bob@tiny.com", 1).await.remove(0);
    assert!(copy.data.ends_with(message.as_bytes()));
    // An invitation from outside for a local user is his mail, and none of the relay's business.
    let foreign = imip(
        "REQUEST",
        "Eve <eve@jumbo.com>",
        &["bob@tiny.com"],
        &ical("REQUEST", "x@jumbo.com", 0, "eve@jumbo.com", &[("bob@tiny.com", "NEEDS-ACTION")]),
    );
    // Not even when it claims to be of the house.
    let claimed = imip("REQUEST", MARY, &["bob@tiny.com"], &ical("REQUEST", UID, 0, "mary@tiny.com", &[("bob@tiny.com", "NEEDS-ACTION")]));
    for message in [&foreign, &claimed] {
        assert_eq!(relay.inbound().await.mail("eve@jumbo.com", &["bob@tiny.com"], message.as_bytes()).await.code, 250);
    }
    let mails = ground.sink.wait_for_recipient("bob@tiny.com", 3).await;
    for message in [foreign, claimed] {
        assert!(mails.iter().any(|m| m.data.ends_with(message.as_bytes())));
    }
    relay.idle().await;
    assert!(ground.jumbo.of("SENDEVENT").is_empty());
}
