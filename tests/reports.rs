//! Mail that is put off or refused, and what the originator hears of it: each try is the same message, one report to the
//! one who sent it, none to nobody, and none about a report.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use cip_relay::clock::Clock;
use serde::Deserialize;

use crate::bridge::{Scene, bare, ical, imip, zone};
use crate::outcomes::{mary_answers, tom_invites_mary};
use crate::support::dns::Dns;
use crate::support::peer::{Behaviour, CipPeer};
use crate::support::relay::Settings;
use crate::support::running::Running;
use crate::support::sink::{Mail, Sink, Stage};

/// A delivery report as Python's `email` reads it.
#[derive(Debug, Deserialize)]
pub struct ReportSeen {
    pub subject: String,
    pub automatic: String,
    pub types: Vec<String>,
    /// The human part.
    pub words: String,
    pub recipients: Vec<RecipientSeen>,
    /// The attached calendar object, if any.
    pub calendar: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct RecipientSeen {
    pub original: String,
    #[serde(rename = "final")]
    pub last: String,
    pub action: String,
    pub status: String,
    pub diagnostic: Option<String>,
}

/// Reads a report; fails unless Python finds multipart/report without defects.
pub fn read_report(mail: &Mail) -> ReportSeen {
    const PROGRAM: &str = r#"
import email, email.policy, json, sys
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
assert m.get_content_type() == "multipart/report" and m.get_param("report-type") == "delivery-status", m.get_content_type()
for p in m.walk():
    assert not p.defects, p.defects
parts = list(m.iter_parts())
status = parts[1]
assert status.get_content_type() == "message/delivery-status"
groups = status.get_payload()
assert groups[0]["Reporting-MTA"] and groups[0]["Arrival-Date"], groups[0].items()
def one(kind):
    return next((p.get_content() for p in parts[2:] if p.get_content_type() == kind), None)
json.dump({
    "subject": m["Subject"], "automatic": m["Auto-Submitted"], "types": [p.get_content_type() for p in parts],
    "words": parts[0].get_content(), "calendar": one("text/calendar"),
    "recipients": [{"original": g["Original-Recipient"], "final": g["Final-Recipient"], "action": g["Action"],
                    "status": g["Status"], "diagnostic": g["Diagnostic-Code"]} for g in groups[1:]],
}, sys.stdout)
"#;
    let mut child = Command::new("python3").args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&mail.data).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", mail.text());
    let mut report: ReportSeen = serde_json::from_slice(&output.stdout).unwrap();
    // Lines of prose are wrapped; what is said matters here, not where the line ends.
    report.words = report.words.split_whitespace().collect::<Vec<_>>().join(" ");
    report
}

/// Mary invites somebody whose domain has no CIP: the message is passed on by mail.
async fn by_mail(relay: &Running, sender: &str, uid: &str, to: &str) {
    let request = imip("REQUEST", "Mary Weaver <mary@tiny.com>", &[to], &ical("REQUEST", uid, 0, "mary@tiny.com", &[(to, "NEEDS-ACTION")]));
    let done = relay.smtp().await.mail(sender, &[to], request.as_bytes()).await;
    assert_eq!(done.code, 250, "{done:?}");
}

/// A delivery report as another mail server writes it.
pub fn dsn(to: &str, recipient: &str, action: &str, id: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.jumbo.com\r\nTo: {to}\r\nSubject: Undelivered Mail\r\nMessage-ID: <{id}@mx.jumbo.com>\r\n\
         Date: Sun, 22 Nov 2026 12:30:00 +0000\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.jumbo.com\r\n\r\n\
         Final-Recipient: rfc822; {recipient}\r\nAction: {action}\r\nStatus: 5.2.2\r\n\
         Diagnostic-Code: smtp; 552 5.2.2 Mailbox full\r\n\r\n--b--\r\n"
    )
}

/// Composed and passed on alike: however often it is tried, it is the same message, and it is kept once.
#[tokio::test(flavor = "multi_thread")]
async fn put_off_and_then_taken_is_delivered_once_as_the_same_message() {
    let scene = Scene::new().await;
    scene.sink.refuse(Stage::Data, None, "451 4.3.0 Later.", 2);
    tom_invites_mary(&scene, "e1@jumbo.com", 1).await;
    scene.relay.idle().await;
    scene.sink.refuse(Stage::Data, None, "452 4.2.2 Full.", 2);
    by_mail(&scene.relay, "mary@tiny.com", "m1", "ann@nocip.org").await;
    scene.sink.wait_for_recipient("ann@nocip.org", 1).await;
    scene.relay.idle().await;
    let (refused, kept) = (scene.sink.refused(), scene.sink.mails());
    assert_eq!((refused.len(), kept.len()), (4, 2));
    for (tries, kept) in [(&refused[..2], &kept[0]), (&refused[2..], &kept[1])] {
        for refused in tries {
            assert_eq!(refused.text(), kept.text());
            assert_eq!((&refused.sender, &refused.recipients), (&kept.sender, &kept.recipients));
        }
        assert!(kept.header("Message-ID").is_some());
    }
    assert_ne!(kept[0].header("Message-ID"), kept[1].header("Message-ID"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_reported_once_to_the_sender_of_the_mail_with_the_object() {
    let scene = Scene::new().await;
    scene.sink.refuse(Stage::Rcpt, Some("ann@nocip.org"), "550 5.1.1 No such user here", 9);
    by_mail(&scene.relay, "mary@tiny.com", "m1", "ann@nocip.org").await;
    let mail = scene.sink.wait_for(1).await.pop().unwrap();
    assert_eq!((mail.sender.as_str(), mail.recipients.as_slice()), ("", ["mary@tiny.com".to_owned()].as_slice()));
    let report = read_report(&mail);
    assert_eq!(report.types, ["text/plain", "message/delivery-status", "text/calendar"]);
    assert_eq!(report.automatic, "auto-replied");
    assert_eq!(report.subject, "Not delivered: Budget");
    assert!(report.words.contains("ann@nocip.org could not be reached:") && report.words.contains("No such user here"), "{}", report.words);
    let [ann] = report.recipients.as_slice() else { panic!("{report:?}") };
    assert_eq!((ann.original.as_str(), ann.last.as_str()), ("rfc822; ann@nocip.org", "rfc822; ann@nocip.org"));
    assert_eq!((ann.action.as_str(), ann.status.as_str()), ("failed", "5.1.1"));
    assert!(ann.diagnostic.as_ref().is_some_and(|d| d.contains("No such user here")), "{ann:?}");
    let calendar = report.calendar.unwrap();
    assert!(calendar.contains("UID:m1") && calendar.contains("BEGIN:VEVENT"), "{calendar}");
    scene.relay.idle().await;
    assert_eq!((scene.sink.mails().len(), scene.sink.refusals()), (1, 1));
}

/// Neither the null sender nor a report is told anything; an automatic message only when it has a calendar part.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_what_nobody_sent() {
    let scene = Scene::new().await;
    scene.sink.refuse(Stage::Rcpt, Some("ann@nocip.org"), "550 5.1.1 No such user here", 99);
    by_mail(&scene.relay, "", "m1", "ann@nocip.org").await;
    let automatic = "From: robot@tiny.com\r\nTo: ann@nocip.org\r\nSubject: Away\r\nMessage-ID: <a@tiny.com>\r\n\
                     Auto-Submitted: auto-replied\r\n\r\nI am away.\r\n";
    let done = scene.relay.smtp().await.mail("robot@tiny.com", &["ann@nocip.org"], automatic.as_bytes()).await;
    assert_eq!(done.code, 250);
    scene.relay.idle().await;
    // A report that itself is refused: the refusal comes after those above, and nothing after it.
    scene.sink.refuse(Stage::Rcpt, Some("mary@tiny.com"), "550 5.2.1 Disabled", 9);
    by_mail(&scene.relay, "mary@tiny.com", "m2", "ann@nocip.org").await;
    scene.sink.wait_for_refusals(4).await;
    scene.relay.idle().await;
    // An automatic message that carries a calendar part is told.
    let request = ical("REQUEST", "m3", 0, "robot@tiny.com", &[("ann@nocip.org", "NEEDS-ACTION")]);
    let request = imip("REQUEST", "robot@tiny.com", &["ann@nocip.org"], &request)
        .replace("MIME-Version", "Auto-Submitted: auto-generated\r\nMIME-Version");
    let done = scene.relay.smtp().await.mail("robot@tiny.com", &["ann@nocip.org"], request.as_bytes()).await;
    assert_eq!(done.code, 250);
    let mails = scene.sink.wait_for(1).await;
    assert_eq!(mails[0].recipients, ["robot@tiny.com"]);
    read_report(&mails[0]);
    scene.relay.idle().await;
    assert_eq!((scene.sink.mails().len(), scene.sink.refusals()), (1, 5));
}

/// A CIP owner who is known well enough hears by mail, without the object; one who is not hears nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_cip_owner_is_told_by_mail_when_he_is_known() {
    let scene = Scene::new().await;
    scene.sink.refuse(Stage::Rcpt, Some("mary@tiny.com"), "550 5.1.1 No such user here", 9);
    let forged = bare("f1@nowhere.org", 1, "tom@nowhere.org", &["mary@tiny.com"]);
    assert_eq!(scene.relay.cip().await.object("SENDEVENT", &forged).await.code(), "OK 000");
    scene.sink.wait_for_refusals(1).await;
    scene.relay.idle().await;
    let object = bare("e1@jumbo.com", 1, "tom@jumbo.com", &["mary@tiny.com"]);
    assert_eq!(scene.relay.cip().await.object("SENDEVENT", &object).await.code(), "OK 000");
    let mail = scene.sink.wait_for(1).await.pop().unwrap();
    assert_eq!((mail.sender.as_str(), mail.recipients.as_slice()), ("", ["tom@jumbo.com".to_owned()].as_slice()));
    let report = read_report(&mail);
    assert_eq!(report.types, ["text/plain", "message/delivery-status"]);
    assert_eq!(report.subject, "Not delivered: Project X review");
    assert_eq!(report.recipients[0].last, "rfc822; mary@tiny.com");
    assert!(!mail.text().contains("Bring the plan"), "{}", mail.text());
    scene.relay.idle().await;
    assert_eq!((scene.sink.mails().len(), scene.sink.refusals()), (1, 2));
}

/// A mail server takes the invitation and reports later, to the envelope sender.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_report_to_the_envelope_sender_reaches_the_owner() {
    let scene = Scene::new().await;
    let reply_token = tom_invites_mary(&scene, "e1@jumbo.com", 1).await;
    let invitation = scene.sink.mails().pop().unwrap();
    let bounce = invitation.sender.as_str();
    assert!(bounce.ends_with("@cip.tiny.com") && bounce != reply_token, "{bounce}");
    let post = |text: String| async { scene.relay.inbound().await.mail("", &[bounce], text.into_bytes().as_slice()).await.code };
    // Not a failure, not a report, and a report to the other kind of token: nothing happens.
    assert_eq!(post(dsn(bounce, "mary@tiny.com", "delayed", "d1")).await, 250);
    assert_eq!(post("From: a@b.org\r\nSubject: Hello\r\n\r\nHello.\r\n".to_owned()).await, 250);
    let to_reply = dsn(&reply_token, "mary@tiny.com", "failed", "d2");
    assert_eq!(scene.relay.inbound().await.mail("", &[&reply_token], to_reply.as_bytes()).await.code, 250);
    // The failure, and once more: the other server did not see our reply.
    let failed = dsn(bounce, "mary@tiny.com", "failed", "d3");
    assert_eq!(post(failed.clone()).await, 250);
    assert_eq!(post(failed).await, 250);
    let mail = scene.sink.wait_for_recipient("tom@jumbo.com", 1).await.pop().unwrap();
    let report = read_report(&mail);
    assert_eq!(mail.sender, "");
    assert_eq!(report.types, ["text/plain", "message/delivery-status"]);
    assert_eq!(report.subject, "Not delivered: Project X review");
    assert_eq!((report.recipients[0].last.as_str(), report.recipients[0].status.as_str()), ("rfc822; mary@tiny.com", "5.2.2"));
    assert!(report.words.contains("Mailbox full"), "{}", report.words);
    scene.relay.idle().await;

    // To an owner whose standing is 0 nothing goes; to an attendee whose answer bounced neither.
    let forged = bare("f1@nowhere.org", 1, "tom@nowhere.org", &["bob@tiny.com"]);
    assert_eq!(scene.relay.cip().await.object("SENDEVENT", &forged).await.code(), "OK 000");
    let bounce = scene.sink.wait_for_recipient("bob@tiny.com", 1).await[0].sender.clone();
    let done = scene.relay.inbound().await.mail("", &[&bounce], dsn(&bounce, "bob@tiny.com", "failed", "d4").as_bytes()).await;
    assert_eq!(done.code, 250);
    let request = ical("REQUEST", "m1", 0, "mary@tiny.com", &[("eve@victim.org", "NEEDS-ACTION"), ("tom@jumbo.com", "NEEDS-ACTION")]);
    let request = imip("REQUEST", "mary@tiny.com", &["tom@jumbo.com", "eve@victim.org"], &request);
    let done = scene.relay.smtp().await.mail("mary@tiny.com", &["tom@jumbo.com", "eve@victim.org"], request.as_bytes()).await;
    assert_eq!(done.code, 250);
    let event_id = scene.jumbo.wait_for("SENDEVENT", 1).await[0].value("UID").unwrap();
    let answers = [("eve@victim.org", 2), ("tom@jumbo.com", 3)];
    for (who, mails) in answers {
        let rsvp = format!("UID: {event_id}\nSEQUENCE: 1\nATTENDEE;STATUS=DECLINED: <{who}>\n");
        assert_eq!(scene.relay.cip().await.object("RSVP", &rsvp).await.code(), "OK 000");
        let bounce = scene.sink.wait_for_recipient("mary@tiny.com", mails).await.pop().unwrap().sender;
        let failed = dsn(&bounce, "mary@tiny.com", "failed", who);
        assert_eq!(scene.relay.inbound().await.mail("", &[&bounce], failed.as_bytes()).await.code, 250);
    }
    let told = scene.sink.wait_for_recipient("tom@jumbo.com", 2).await;
    assert!(read_report(&told[1]).words.contains("Your answer"), "{}", told[1].text());
    scene.relay.idle().await;
    assert_eq!(told.len(), 2);
    assert!(scene.sink.mails_for("tom@nowhere.org").is_empty());
    // Only the invitation that was passed on.
    assert_eq!(scene.sink.mails_for("eve@victim.org").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_warning_when_it_takes_long_and_none_for_nobody() {
    let jumbo = CipPeer::start("jumbo.com", Behaviour::accept()).await;
    let dns = Dns::start(&zone(&jumbo)).await;
    let sink = Sink::start().await;
    let settings = Settings::new("tiny.com").dns(dns.address()).smarthost(sink.address());
    let relay = Running::start_held(settings.set("delivery.retry.jitter", 0.0)).await;
    sink.refuse(Stage::Rcpt, Some("ann@nocip.org"), "451 4.3.0 Later.", 99);
    by_mail(&relay, "mary@tiny.com", "m1", "ann@nocip.org").await;
    by_mail(&relay, "", "m2", "ann@nocip.org").await;
    sink.wait_for_refusals(2).await;
    // The refusals are at the sink before they are settled here, and the clock must not move in between.
    relay.entry("both to be put off", |_| relay.entries().iter().all(|e| e.attempts == 1)).await;
    relay.advance(Duration::from_secs(4 * 3600 - 61));
    sink.wait_for_refusals(4).await;
    relay.entry("both to wait", |_| relay.entries().iter().all(|e| e.attempts == 2)).await;
    assert!(sink.mails().is_empty());
    relay.advance(Duration::from_secs(61));
    let mail = sink.wait_for(1).await.pop().unwrap();
    assert_eq!((mail.sender.as_str(), mail.recipients.as_slice()), ("", ["mary@tiny.com".to_owned()].as_slice()));
    let report = read_report(&mail);
    assert_eq!(report.subject, "Not delivered yet: Budget");
    assert_eq!((report.recipients[0].action.as_str(), report.recipients[0].status.as_str()), ("delayed", "4.0.0"));
    assert!(report.words.contains("You need not do anything") && report.words.contains("Fri, 27 Nov 2026"), "{}", report.words);
    // Hours later, tried again and again: no further word until it is delivered.
    for _ in 0..3 {
        let before = sink.refusals();
        relay.advance(Duration::from_secs(3700));
        sink.wait_for_refusals(before + 2).await;
        relay.entry("both to wait", |_| relay.entries().iter().all(|e| e.next_attempt > relay.clock.as_ref().unwrap().now())).await;
    }
    sink.relent();
    relay.advance(Duration::from_secs(3700));
    sink.wait_for_recipient("ann@nocip.org", 2).await;
    relay.idle().await;
    assert_eq!(sink.mails().len(), 3);
    drop(dns);
}

/// After five days in vain: one report, with what was tried.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_delivered_in_time_is_reported() {
    let jumbo = CipPeer::start("jumbo.com", Behaviour::accept()).await;
    let dns = Dns::start(&zone(&jumbo)).await;
    let sink = Sink::start().await;
    let settings = Settings::new("tiny.com").dns(dns.address()).smarthost(sink.address());
    let relay = Running::start_held(settings.set("delivery.warn-after", "30d")).await;
    sink.refuse(Stage::Rcpt, Some("ann@nocip.org"), "451 4.3.0 Not today.", 99);
    by_mail(&relay, "mary@tiny.com", "m1", "ann@nocip.org").await;
    sink.wait_for_refusals(1).await;
    relay.entry("it to wait", |e| e.attempts == 1).await;
    relay.advance(Duration::from_secs(5 * 86_400));
    let mail = sink.wait_for(1).await.pop().unwrap();
    let report = read_report(&mail);
    assert_eq!(mail.recipients, ["mary@tiny.com"]);
    assert_eq!((report.recipients[0].action.as_str(), report.recipients[0].status.as_str()), ("failed", "5.4.0"));
    assert!(report.words.contains("not delivered in time") && report.words.contains("Not today."), "{}", report.words);
    relay.idle().await;
    assert_eq!((sink.mails().len(), sink.refusals()), (1, 1));
    drop(dns);
}

/// An answer that cannot be brought to the owner is reported to the one who answered.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_fails_is_reported_to_the_attendee() {
    let scene = Scene::new().await;
    let token = tom_invites_mary(&scene, "e1@jumbo.com", 1).await;
    scene.jumbo.behave(Behaviour::accept().answer("RSVP", &["NO 002 Go away."]));
    mary_answers(&scene.relay, "e1@jumbo.com", &token, "ACCEPTED", 1).await;
    let mail = scene.sink.wait_for(2).await.pop().unwrap();
    let report = read_report(&mail);
    assert_eq!((mail.sender.as_str(), mail.recipients.as_slice()), ("", ["mary@tiny.com".to_owned()].as_slice()));
    assert!(report.words.contains("Your answer “Budget”"), "{}", report.words);
    assert!(report.calendar.is_some_and(|c| c.contains("PARTSTAT=ACCEPTED")));
    scene.relay.idle().await;
    assert_eq!((scene.sink.mails().len(), scene.jumbo.of("RSVP").len()), (2, 1));
}
