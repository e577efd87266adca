//! Delivery reports, written and recognized.
use cip_relay::calendar::event::Component;
use cip_relay::clock::Timestamp;
use cip_relay::ident::ServerId;
use cip_relay::imip::report::{self, Action, Attached, Report, Subject, Unreached};
use cip_relay::imip::{read, sendable};
use serde_json::json;

use super::{OBJECT, assert_no_defects, by_python, field, user};

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn compose(change: impl FnOnce(&mut Report<'_>)) -> Vec<u8> {
    let (domain, mary) = (ServerId::parse("cip.tiny.com").unwrap(), user("mary@tiny.com"));
    let (tom, wrapped, foreign) = (user("tom@jumbo.com"), user("tom=jumbo.com@cip.tiny.com"), user("j\u{f6}rg@tiny.org"));
    let recipients = [
        Unreached {
            name: Some("Tom Jones"),
            address: &tom,
            original: &wrapped,
            status: "5.1.1",
            reason: "550 5.1.1 no\r\nsuch user \u{fc}",
            remote: Some("mx.jumbo.com"),
            last_attempt: Some(at("2026-11-22T15:45:00Z")),
        },
        Unreached { name: None, address: &foreign, original: &foreign, status: "whatever", reason: "", remote: None, last_attempt: None },
    ];
    let history = [(at("2026-11-22T15:44:00Z"), "accepted"), (at("2026-11-22T15:45:00Z"), "mx.jumbo.com:\n550")];
    let mut report = Report {
        action: Action::Failed,
        reporting_mta: "cal.tiny.com",
        mail_domain: &domain,
        to: &mary,
        subject: Subject::Invitation { summary: "Dinner\r\nBcc: x@y.z", component: Component::Event },
        recipients: &recipients,
        arrival: at("2026-11-22T15:44:00Z"),
        will_retry_until: None,
        history: &history,
        attached: Attached::Calendar(OBJECT.as_bytes()),
        entry: "0aaaaaaaaaa",
        now: at("2026-11-22T16:00:00Z"),
    };
    change(&mut report);
    let mail = report::compose(&report);
    sendable::check(&mail, sendable::MAX_LINE).unwrap();
    assert!(mail.is_ascii());
    mail
}

#[test]
fn a_failure_report_in_the_words_of_a_calendar_user() {
    let mail = compose(|_| ());
    let seen = by_python(&mail);
    assert_no_defects(&seen);
    assert_eq!(field(&seen, "Subject"), ["Not delivered: Dinner Bcc: x@y.z"]);
    assert_eq!(field(&seen, "Auto-Submitted"), ["auto-replied"]);
    assert_eq!(seen["body"]["type"], "multipart/report");
    let parts = seen["body"]["parts"].as_array().unwrap();
    assert_eq!(
        parts.iter().map(|p| p["type"].as_str().unwrap()).collect::<Vec<_>>(),
        ["text/plain", "message/delivery-status", "text/calendar"]
    );
    let words = parts[0]["text"].as_str().unwrap().replace("\r\n", "\n").replace('\n', " ");
    assert!(words.contains("Your invitation “Dinner Bcc: x@y.z” could not be delivered"), "{words}");
    let tom = "Tom Jones <tom=jumbo.com@cip.tiny.com> could not be reached (tried as tom@jumbo.com): 550 5.1.1 no such user ü";
    assert!(words.contains(tom), "{words}");
    assert!(words.contains("jörg@tiny.org could not be reached."), "{words}");
    assert!(words.contains("2026-11-22T15:45:00.000Z mx.jumbo.com: 550"), "{words}");
    let status = parts[1]["text"].as_str().unwrap();
    for line in [
        "Reporting-MTA: dns; cal.tiny.com",
        "Arrival-Date: Sun, 22 Nov 2026 15:44:00 +0000",
        "Original-Recipient: rfc822; tom=jumbo.com@cip.tiny.com",
        "Final-Recipient: rfc822; tom@jumbo.com",
        "Action: failed",
        "Status: 5.1.1",
        "Remote-MTA: dns; mx.jumbo.com",
        "Diagnostic-Code: smtp; 550 5.1.1 no such user \\x{FC}",
        "Last-Attempt-Date: Sun, 22 Nov 2026 15:45:00 +0000",
        "Final-Recipient: utf-8; j\\x{F6}rg@tiny.org",
        "Status: 5.0.0",
    ] {
        assert!(status.lines().any(|l| l == line), "{line} in\n{status}");
    }
    // With a method a mail program would take the returned object as an invitation.
    assert_eq!((&parts[2]["method"], &parts[2]["text"]), (&json!(null), &json!(OBJECT)));
}

#[test]
fn a_delay_warning_says_how_long_it_is_tried() {
    let mail = compose(|r| {
        r.action = Action::Delayed;
        r.will_retry_until = Some(at("2026-11-27T15:44:00Z"));
        r.attached = Attached::HeaderOf(b"Subject: caf\xe9\r\nX: y\r\n\r\nsecret body\r\n");
    });
    let seen = by_python(&mail);
    assert_no_defects(&seen);
    assert_eq!(field(&seen, "Subject"), ["Not delivered yet: Dinner Bcc: x@y.z"]);
    let parts = seen["body"]["parts"].as_array().unwrap();
    let status = parts[1]["text"].as_str().unwrap();
    assert_eq!(status.matches("Will-Retry-Until: Fri, 27 Nov 2026 15:44:00 +0000").count(), 2, "{status}");
    assert!(status.contains("Action: delayed") && status.contains("Status: 4.1.1") && status.contains("Status: 4.0.0"), "{status}");
    assert_eq!(parts[2]["type"], "text/rfc822-headers");
    let header = parts[2]["text"].as_str().unwrap();
    assert!(header.contains("X: y") && !header.contains("secret"), "{header}");
    let id = |mail: &[u8]| read::read(mail).unwrap().message_id.unwrap();
    assert_ne!(id(&mail), id(&compose(|_| ())));
}

#[test]
fn our_own_report_is_recognized() {
    let incoming = read::read(&compose(|r| r.attached = Attached::HeaderOf(b"Message-ID: <m@n.o>\r\n\r\n"))).unwrap();
    assert!(incoming.automatic);
    assert_eq!(incoming.calendar, None);
    let report = incoming.report.unwrap();
    let failed: Vec<_> = report.failed().map(|r| (r.recipient.as_str(), r.original.as_deref().unwrap(), r.status.as_str())).collect();
    assert_eq!(failed, [("tom@jumbo.com", "tom=jumbo.com@cip.tiny.com", "5.1.1"), ("j\\x{F6}rg@tiny.org", "j\\x{F6}rg@tiny.org", "5.0.0")]);
    assert_eq!(report.message_id.as_deref(), Some("m@n.o"));
}

#[test]
fn a_foreign_report_and_what_is_none() {
    let raw = include_str!("../fixtures/foreign-report.eml");
    let incoming = read::read(raw.as_bytes()).unwrap();
    assert!(incoming.automatic, "without Auto-Submitted too");
    assert_eq!(incoming.calendar, None, "the returned original is not acted upon");
    let report = incoming.report.unwrap();
    assert_eq!(report.message_id.as_deref(), Some("invitation-1@cip.tiny.com"));
    let all: Vec<_> = report.recipients.iter().map(|r| (r.recipient.as_str(), r.action, r.status.as_str())).collect();
    assert_eq!(all, [("mary@tiny.com", Action::Failed, "5.2.2"), ("marv@tiny.com", Action::Delayed, "4.4.1")]);
    assert_eq!(report.recipients[0].diagnostic.as_deref(), Some("smtp; 552 5.2.2 mailbox full of meetings"));
    assert_eq!(report.failed().count(), 1);

    for (from, to) in [
        ("multipart/report", "multipart/mixed"),
        ("delivery-status;", "disposition-notification;"),
        ("message/delivery-status", "text/plain"),
    ] {
        let other = raw.replacen(from, to, 1);
        assert_ne!(other, raw);
        assert_eq!(read::read(other.as_bytes()).unwrap().report, None, "{to}");
    }
    let many = raw.replace("Final-Recipient: rfc822;marv@tiny.com\n", &"Final-Recipient: x;a\nAction: failed\n\n".repeat(50_000));
    assert_eq!(read::read(many.as_bytes()).unwrap().report.unwrap().recipients.len(), report::MAX_RECIPIENTS);
}
