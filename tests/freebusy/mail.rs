//! VFREEBUSY by mail: asked and answered within one SMTP transaction, for those who may ask.

use std::time::Duration;

use super::remote::{answering, told, via};
use super::{FROM, UNTIL, at_hour, calendar, domain};
use crate::bridge::{python_reads, unfold};
use crate::support::dns::Dns;
use crate::support::peer::CipPeer;
use crate::support::relay::Settings;
use crate::support::running::Running;
use crate::support::sink::{Mail, Sink};
use crate::support::smtp::SmtpClient;
use crate::support::web::{Page, Web};

const TOM: &str = "tom=jumbo.com@cip.tiny.com";

/// A question of this organizer, with more header fields, about these users.
fn question(from: &str, more: &str, users: &[&str]) -> String {
    let seats: String = users.iter().map(|user| format!("ATTENDEE:mailto:{user}\r\n")).collect();
    format!(
        "From: {from}\r\nTo: {}\r\nSubject: When?\r\nMessage-ID: <q{}@test.example>\r\n{more}MIME-Version: 1.0\r\n\
         Content-Type: text/calendar; charset=UTF-8; method=REQUEST; component=VFREEBUSY\r\n\r\n\
         BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nMETHOD:REQUEST\r\nBEGIN:VFREEBUSY\r\nUID:fb1@test.example\r\n\
         DTSTAMP:20261122T120000Z\r\nORGANIZER:mailto:{from}\r\n{seats}DTSTART:{FROM}\r\nDTEND:{UNTIL}\r\nEND:VFREEBUSY\r\nEND:VCALENDAR\r\n",
        users.join(", "),
        users.len()
    )
}

/// (ATTENDEE, FREEBUSY lines) of an answer; its form is checked.
fn answer(mail: &Mail, to: &str) -> (String, Vec<String>) {
    assert_eq!((mail.sender.as_str(), mail.recipients.as_slice()), ("", [to.to_owned()].as_slice()));
    assert_eq!(mail.header("Auto-Submitted").as_deref(), Some("auto-replied"));
    assert!(mail.text().contains("component=VFREEBUSY"), "{}", mail.text());
    let (parts, method, object) = python_reads(mail);
    assert_eq!(
        (parts.as_slice(), method.as_str()),
        (["multipart/alternative", "text/plain", "text/calendar"].map(str::to_owned).as_slice(), "REPLY")
    );
    let object = unfold(&object);
    assert_eq!(object.matches("BEGIN:VFREEBUSY").count(), 1, "one reply for each user");
    assert!(object.contains("UID:fb1@test.example\n") && object.contains(&format!("ORGANIZER:mailto:{to}\n")), "{object}");
    assert!(!mail.text().contains("secret") && !object.contains("secret"));
    let seat = object.lines().find_map(|l| l.strip_prefix("ATTENDEE:mailto:")).unwrap().to_owned();
    (seat, object.lines().filter(|l| l.starts_with("FREEBUSY")).map(str::to_owned).collect())
}

struct Scene {
    relay: Running,
    sink: Sink,
    web: Web,
}

/// Mary's and Bob's times are published, Carl's are not.
async fn scene(asker: &str, change: impl FnOnce(Settings) -> Settings) -> Scene {
    let web =
        Web::start(|request| if request.path.contains("carl") { Page::status(404) } else { Page::ok(calendar(&[&at_hour(9)])) }).await;
    let sink = Sink::start().await;
    let dns = Dns::start("$ORIGIN plain.org.\n@ A 127.0.0.1\n").await;
    let sources = format!("[{{ source = \"url\", url = \"{}\" }}]", web.url("/%u"));
    let settings = domain(&sources, asker).smarthost(sink.address()).dns(dns.address()).set("free-busy.timeout", "2s").quick();
    Scene { relay: Running::start_held(change(settings)).await, sink, web }
}

async fn ask(client: &mut SmtpClient, from: &str, to: &[&str], mail: &str) -> u16 {
    client.mail(from, to, mail.as_bytes()).await.code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_ours_is_told_of_colleagues_and_of_people_elsewhere() {
    let tom = answering([told(&[("tom@jumbo.com", 10)]), vec!["OK 000 Done.".into()]].concat());
    let jumbo = CipPeer::start("jumbo.com", tom).await;
    let Scene { relay, sink, web: _web } = scene("authenticated", |s| via(s, &jumbo)).await;
    let to = [TOM, "m.weaver@tiny.com", "ann@plain.org", "carl@tiny.com"];
    let mail = question("bob@tiny.com", "", &to);
    assert_eq!(ask(&mut relay.smtp().await, "bob@tiny.com", &to, &mail).await, 250);
    relay.idle().await;
    let mut told: Vec<(String, Vec<String>)> = sink.mails_for("bob@tiny.com").iter().map(|m| answer(m, "bob@tiny.com")).collect();
    told.sort();
    // Under the addresses that he wrote.
    let expected = [
        ("m.weaver@tiny.com", "FREEBUSY;FBTYPE=BUSY:20261124T090000Z/20261124T100000Z"),
        (TOM, "FREEBUSY;FBTYPE=BUSY-TENTATIVE:20261124T100000Z/20261124T103000Z"),
    ];
    assert_eq!(told, expected.map(|(who, line)| (who.to_owned(), vec![line.to_owned()])));
    let from: Vec<String> = sink.mails_for("bob@tiny.com").iter().filter_map(|m| m.header("From")).collect();
    assert!(from.contains(&"mary@tiny.com".to_owned()) && from.iter().any(|f| f.contains(TOM)), "{from:?}");
    // Of whom nothing is known, he is asked himself: by the mail as it is.
    for who in ["ann@plain.org", "carl@tiny.com"] {
        let passed = sink.mails_for(who);
        assert!(passed.len() == 1 && passed[0].text().ends_with(&mail), "{who}: {passed:?}");
    }
    // Behind a gateway address there is nobody whom a mail would reach.
    let lost = "ann=plain.org@cip.tiny.com";
    assert_eq!(ask(&mut relay.smtp().await, "bob@tiny.com", &[lost], &question("bob@tiny.com", "", &[lost])).await, 550);
    // Whoever the question does not name is not told of.
    assert_eq!(
        ask(&mut relay.smtp().await, "bob@tiny.com", &["mary@tiny.com"], &question("bob@tiny.com", "", &["carl@tiny.com"])).await,
        250
    );
    relay.idle().await;
    assert_eq!((sink.mails_for("bob@tiny.com").len(), sink.mails_for("mary@tiny.com").len()), (2, 1));
}

/// Not allowed, not known and not to be had look the same: the question lies in the mailbox of the person asked for.
#[tokio::test(flavor = "multi_thread")]
async fn from_outside_the_policy_decides_and_says_nothing_of_itself() {
    for (asker, who, answers) in [("anyone", "mary", 1), ("authenticated", "mary", 0), ("peers", "mary", 0), ("anyone", "carl", 0)] {
        let Scene { relay, sink, web } = scene(asker, |s| s).await;
        let user = format!("{who}@tiny.com");
        let mail = question("x@else.org", "", &[&user]);
        assert_eq!(ask(&mut relay.inbound().await, "x@else.org", &[&user], &mail).await, 250);
        relay.idle().await;
        assert_eq!((sink.mails_for("x@else.org").len(), sink.mails_for(&user).len()), (answers, 1 - answers), "{asker} {who}");
        if asker != "anyone" {
            assert_eq!(web.requests().len(), 0, "no source is asked");
        }
        for mail in sink.mails_for("x@else.org") {
            assert_eq!(answer(&mail, "x@else.org").0, user);
        }
        // The same by way of the organization's own mail server.
        let before = sink.mails_for("x@else.org").len();
        assert_eq!(ask(&mut relay.smtp().await, "x@else.org", &[&user], &mail).await, 250);
        relay.idle().await;
        assert_eq!(sink.mails_for("x@else.org").len(), before + answers, "{asker} {who}");
        // Nobody outside is answered about somebody else's users.
        assert_eq!(ask(&mut relay.inbound().await, "x@else.org", &[TOM], &question("x@else.org", "", &[TOM])).await, 550);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_and_forgers_get_no_answer() {
    let Scene { relay, sink, web } = scene("anyone", |s| s).await;
    let forged = question("x@else.org", "", &["mary@tiny.com"]).replace("From: x@else.org", "From: eve@evil.org");
    let automatic = question("x@else.org", "Auto-Submitted: auto-generated\r\n", &["mary@tiny.com"]);
    let again = question("x@else.org", "X-CIP-Trace: tiny.com;20261122T120000Z;MAIL;\r\n", &["mary@tiny.com"]);
    let plain = question("x@else.org", "", &["mary@tiny.com"]);
    let reply = plain.replace("REQUEST", "REPLY");
    for (n, (sender, mail)) in
        [("x@else.org", forged), ("x@else.org", automatic), ("x@else.org", again), ("", plain), ("x@else.org", reply)].iter().enumerate()
    {
        // Each is a message of its own.
        let mail = mail.replace("<q1@", &format!("<q1.{n}@"));
        assert_eq!(ask(&mut relay.inbound().await, sender, &["mary@tiny.com"], &mail).await, 250);
        relay.idle().await;
        assert_eq!((sink.mails_for("mary@tiny.com").len(), sink.mails().len()), (n + 1, n + 1), "it is mail for her");
    }
    assert_eq!(web.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_delivered_is_soon_forgotten() {
    let Scene { relay, sink, web: _web } = scene("anyone", |s| s).await;
    sink.stop().await;
    let mail = question("x@else.org", "", &["mary@tiny.com"]);
    assert_eq!(ask(&mut relay.inbound().await, "x@else.org", &["mary@tiny.com"], &mail).await, 250);
    let entry = relay.entry("an attempt", |e| e.attempts > 0).await;
    assert_eq!(entry.expires.since(entry.received), Duration::from_mins(5));
    relay.advance(Duration::from_mins(6));
    sink.up();
    relay.idle().await;
    assert!(sink.mails().is_empty(), "neither the answer nor a report");
}
