//! The relay's main job, both ways: CIP in and mail out with the answer back, mail in and CIP out with the answer back.

use std::process::{Command, Stdio};

use crate::support::dns::Dns;
use crate::support::peer::{Behaviour, CipPeer};
use crate::support::relay::Settings;
use crate::support::running::Running;
use crate::support::sink::{Mail, Sink};

/// A relay for tiny.com, a CIP peer for jumbo.com that SRV records lead to, and a mail sink behind the relay.
#[allow(dead_code)]
pub struct Scene {
    pub relay: Running,
    pub jumbo: CipPeer,
    pub sink: Sink,
    pub dns: Dns,
}

pub fn zone(jumbo: &CipPeer) -> String {
    format!("$ORIGIN jumbo.com.\n@ A 127.0.0.1\n_cip._tcp SRV 0 0 {} cal.jumbo.com.\ncal A 127.0.0.1\n", jumbo.address().port())
}

impl Scene {
    pub async fn new() -> Self {
        Self::with(|settings| settings).await
    }

    pub async fn with(change: impl FnOnce(Settings) -> Settings) -> Self {
        let jumbo = CipPeer::start("jumbo.com", Behaviour::accept()).await;
        let dns = Dns::start(&zone(&jumbo)).await;
        let sink = Sink::start().await;
        let settings = Settings::new("tiny.com").dns(dns.address()).smarthost(sink.address()).quick();
        let relay = Running::start(change(settings)).await;
        Self { relay, jumbo, sink, dns }
    }
}

/// An object in the draft's own dialect.
pub fn bare(uid: &str, version: u32, owner: &str, attendees: &[&str]) -> String {
    let mut text = format!(
        "DTSTART: 20270101T2000-0500\nDTEND: 20270101T2200-0500\nSUMMARY: Project X review\nDESCRIPTION: Bring the plan.\n\
         ATTENDEE; ROLE=OWNER: Tom Jones <{owner}>\n"
    );
    for attendee in attendees {
        text.push_str(&format!("ATTENDEE: <{attendee}>\n"));
    }
    text.push_str(&format!("SEQUENCE: {version}\nUID: {uid}\n"));
    text
}

/// An iMIP mail of one method.
pub fn imip(method: &str, from: &str, to: &[&str], calendar: &str) -> String {
    format!(
        "From: {from}\r\nTo: {}\r\nSubject: Meeting\r\nMessage-ID: <{}.{method}@test.example>\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/calendar; charset=UTF-8; method={method}\r\n\r\n{}",
        to.join(", "),
        calendar.len(),
        calendar.replace('\n', "\r\n")
    )
}

/// An iCalendar object of one event.
pub fn ical(method: &str, uid: &str, sequence: u32, organizer: &str, attendees: &[(&str, &str)]) -> String {
    let mut text = format!(
        "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//EN\nMETHOD:{method}\nBEGIN:VEVENT\nUID:{uid}\nSEQUENCE:{sequence}\n\
         DTSTAMP:20261122T1200{sequence:02}Z\nDTSTART:20270104T150000Z\nDTEND:20270104T160000Z\nSUMMARY:Budget\n\
         ORGANIZER;CN=Mary Weaver:mailto:{organizer}\n"
    );
    for (attendee, status) in attendees {
        text.push_str(&format!("ATTENDEE;PARTSTAT={status}:mailto:{attendee}\n"));
    }
    text.push_str("END:VEVENT\nEND:VCALENDAR\n");
    text
}

/// The calendar object of a composed mail, as Python's `email` reads it: (skeleton, method parameter, object).
pub fn python_reads(mail: &Mail) -> (Vec<String>, String, String) {
    let script = "import sys,json,email,email.policy\n\
        m=email.message_from_bytes(sys.stdin.buffer.read(),policy=email.policy.default)\n\
        c=[p for p in m.walk() if p.get_content_type()=='text/calendar'][0]\n\
        assert not m.defects, m.defects\n\
        print(json.dumps([[p.get_content_type() for p in m.walk()], c.get_param('method'), c.get_content()]))";
    let mut child = Command::new("python3").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &mail.data).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The first value of a property in an unfolded iCalendar text, with its parameters: `;X=Y:value`.
pub fn property<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find_map(|l| l.strip_prefix(name).filter(|r| r.starts_with([';', ':']))).unwrap_or_else(|| panic!("no {name} in {text}"))
}

pub fn unfold(text: &str) -> String {
    text.replace("\r\n", "\n").replace("\n ", "")
}

#[tokio::test(flavor = "multi_thread")]
async fn sendevent_for_two_local_one_unknown_one_remote_user() {
    let scene = Scene::with(|s| s.domain("tiny.com", vec!["mary", "bob"])).await;
    let mut client = scene.relay.cip().await;
    let object = bare("e1@jumbo.com", 1, "tom@jumbo.com", &["mary@tiny.com", "bob@tiny.com", "nobody@tiny.com", "ann@other.org"]);
    let answer = client.object("SENDEVENT", &object).await;
    assert_eq!(
        answer.infos,
        ["* TENTATIVE mary@tiny.com", "* TENTATIVE bob@tiny.com", "* NOTFOUND nobody@tiny.com", "* NOTFOUND ann@other.org"]
    );
    assert_eq!(answer.code(), "OK 003");
    let mails = scene.sink.wait_for(2).await;
    for who in ["mary@tiny.com", "bob@tiny.com"] {
        let mail = mails.iter().find(|m| m.recipients == [who]).unwrap_or_else(|| panic!("no mail to {who}"));
        let (skeleton, method, calendar) = python_reads(mail);
        let expected = ["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "text/calendar", "application/ics"];
        assert_eq!(skeleton, expected);
        assert_eq!(method, "REQUEST");
        let calendar = unfold(&calendar);
        assert_eq!(property(&calendar, "UID"), ":e1@jumbo.com");
        assert_eq!(property(&calendar, "SEQUENCE"), ":0");
        assert!(calendar.contains("DTSTART:20270102T010000Z") || calendar.contains("DTSTART"), "{calendar}");
        assert!(property(&calendar, "ORGANIZER").contains("@cip.tiny.com"), "{calendar}");
        assert!(calendar.contains(&format!("mailto:{who}")), "{calendar}");
        let read = cip_relay::imip::read::read(&mail.data).unwrap();
        assert!(read.automatic);
        assert_eq!(read.traces.len(), 1);
    }
    scene.relay.idle().await;
}

/// Accept, decline, tentatively accept: the mail answer reaches the owner's CIP server as RSVP.
#[tokio::test(flavor = "multi_thread")]
async fn answers_by_mail_become_rsvps() {
    let scene = Scene::new().await;
    for (n, (partstat, status)) in [("ACCEPTED", "CONFIRMED"), ("DECLINED", "DECLINED"), ("TENTATIVE", "TENTATIVE")].iter().enumerate() {
        let uid = format!("e{n}@jumbo.com");
        let answer = scene.relay.cip().await.object("SENDEVENT", &bare(&uid, 3, "tom@jumbo.com", &["mary@tiny.com"])).await;
        assert_eq!(answer.code(), "OK 000", "{answer:?}");
        let mail = scene.sink.wait_for(n + 1).await.pop().unwrap();
        let (_, _, calendar) = python_reads(&mail);
        let organizer = property(&unfold(&calendar), "ORGANIZER").rsplit_once("mailto:").unwrap().1.to_owned();
        let reply = ical("REPLY", &uid, 2, &organizer, &[("mary@tiny.com", partstat)]);
        let reply = imip("REPLY", "Mary <mary@tiny.com>", &[&organizer], &reply);
        let done = scene.relay.smtp().await.mail("mary@tiny.com", &[&organizer], reply.as_bytes()).await;
        assert_eq!(done.code, 250, "{done:?}");
        let rsvp = scene.jumbo.wait_for("RSVP", n + 1).await.pop().unwrap();
        assert_eq!(rsvp.value("UID").as_deref(), Some(uid.as_str()));
        assert_eq!(rsvp.value("SEQUENCE").as_deref(), Some("3"), "{}", rsvp.text());
        let text = rsvp.text();
        assert!(text.contains("mary@tiny.com") && text.contains(&format!("STATUS={status}")), "{text}");
    }
    scene.relay.idle().await;
}

/// Mary invites Tom from her mail program; his RSVPs come back as iMIP REPLYs with her own UID.
#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_by_mail_becomes_a_sendevent_and_rsvps_become_replies() {
    let scene = Scene::new().await;
    let uid = "040000008200E00074C5B7101A82E00800000000";
    let request = ical("REQUEST", uid, 0, "mary@tiny.com", &[("tom@jumbo.com", "NEEDS-ACTION")]);
    let request = imip("REQUEST", "Mary Weaver <mary@tiny.com>", &["tom@jumbo.com"], &request);
    let done = scene.relay.smtp().await.mail("mary@tiny.com", &["tom@jumbo.com"], request.as_bytes()).await;
    assert_eq!(done.code, 250, "{done:?}");
    let event = scene.jumbo.wait_for("SENDEVENT", 1).await.pop().unwrap();
    let event_id = event.value("UID").unwrap();
    assert!(event_id.ends_with("@tiny.com"), "{event_id}");
    assert_eq!(event.recipients("jumbo.com"), ["tom@jumbo.com"]);
    assert!(event.text().contains("X-CIP-TRACE:tiny.com;"), "{}", event.text());
    for (n, status) in ["CONFIRMED", "TENTATIVE", "DECLINED"].iter().enumerate() {
        let rsvp = format!(
            "UID: {event_id}\nSEQUENCE: 1\nRESPONSE-SEQUENCE: {}\nATTENDEE;ROLE=ATTENDEE;STATUS={status}: Tom Jones <tom@jumbo.com>\n",
            n + 1
        );
        let answer = scene.relay.cip().await.object("RSVP", &rsvp).await;
        assert_eq!(answer.code(), "OK 000", "{answer:?}");
        assert_eq!(answer.infos, if n == 0 { vec!["* CONFIRMED tom@jumbo.com"] } else { Vec::new() });
        let mail = scene.sink.wait_for(n + 1).await.pop().unwrap();
        assert_eq!(mail.recipients, ["mary@tiny.com"]);
        let (_, method, calendar) = python_reads(&mail);
        let calendar = unfold(&calendar);
        assert_eq!(method, "REPLY");
        assert_eq!(property(&calendar, "UID"), format!(":{uid}"));
        assert_eq!(property(&calendar, "SEQUENCE"), ":0");
        assert!(property(&calendar, "ORGANIZER").ends_with("mailto:mary@tiny.com"), "{calendar}");
        let partstat = ["ACCEPTED", "TENTATIVE", "DECLINED"][n];
        let attendee = property(&calendar, "ATTENDEE");
        assert!(attendee.contains(&format!("PARTSTAT={partstat}")) && attendee.ends_with("mailto:tom@jumbo.com"), "{attendee}");
    }
    scene.relay.idle().await;
}
