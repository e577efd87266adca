//! Mail from the organization's own side as mail programs really write it: a copy for each attendee in any order, changes
//! and changes back, colleagues' UIDs, copies of replies, one person under two addresses.

use cip_relay::clock::Timestamp;
use cip_relay::ident::{EventId, UserId};
use cip_relay::ledger::records::TokenRecord;
use cip_relay::queue::entry::State;

use crate::bridge::{Scene, bare, ical, imip};
use crate::reports::dsn;
use crate::support::smtp::Reply;

const MARY: &str = "mary@tiny.com";
const TOM: &str = "tom@jumbo.com";
const ANN: &str = "ann@jumbo.com";

/// What one copy of an invitation says.
#[derive(Clone, Copy)]
struct Copy<'a> {
    uid: &'a str,
    organizer: &'a str,
    sequence: u32,
    /// Seconds of DTSTAMP.
    stamp: u32,
    location: &'a str,
    /// The ATTENDEE lines, without the word.
    seats: &'a [&'a str],
}

const COPY: Copy<'_> = Copy {
    uid: "copies@tiny.com",
    organizer: MARY,
    sequence: 0,
    stamp: 10,
    location: "Room 1",
    seats: &[";RSVP=TRUE:mailto:tom@jumbo.com", ":mailto:ann@jumbo.com"],
};

impl Copy<'_> {
    async fn send(&self, scene: &Scene, to: &[&str]) -> Reply {
        let Copy { uid, organizer, sequence, stamp, location, seats } = self;
        let seats: String = seats.iter().map(|seat| format!("ATTENDEE{seat}\n")).collect();
        let object = format!(
            "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//EN\nMETHOD:REQUEST\nBEGIN:VEVENT\nUID:{uid}\nSEQUENCE:{sequence}\n\
             DTSTAMP:20261122T1200{stamp:02}Z\nDTSTART:20270104T150000Z\nDTEND:20270104T160000Z\nSUMMARY:Budget\n\
             LOCATION:{location}\nORGANIZER:mailto:{organizer}\n{seats}END:VEVENT\nEND:VCALENDAR\n"
        );
        let mail = imip("REQUEST", organizer, to, &object);
        scene.relay.smtp().await.mail(organizer, to, mail.as_bytes()).await
    }
}

/// (recipients, version, LOCATION) of every SENDEVENT so far, once there are `n`.
async fn sent(scene: &Scene, n: usize) -> Vec<(Vec<String>, String, String)> {
    let commands = scene.jumbo.wait_for("SENDEVENT", n).await;
    assert_eq!(commands.len(), n);
    let said = |c: &crate::support::peer::Command, name: &str| c.value(name).unwrap_or_default();
    commands.iter().map(|c| (c.recipients("jumbo.com"), said(c, "SEQUENCE"), said(c, "LOCATION"))).collect()
}

fn line(to: &str, version: &str, location: &str) -> (Vec<String>, String, String) {
    (vec![to.to_owned()], version.to_owned(), location.to_owned())
}

/// A mail program writes to each attendee by himself, and the mail arrives in any order.
#[tokio::test(flavor = "multi_thread")]
async fn each_attendees_own_copy_is_his_whatever_the_order() {
    let scene = Scene::new().await;
    let for_ann = &[":mailto:tom@jumbo.com", ";CN=Ann:mailto:ann@jumbo.com"];
    assert_eq!(COPY.send(&scene, &[TOM]).await.code, 250);
    sent(&scene, 1).await;
    // Stamped a second before Tom's.
    assert_eq!(Copy { stamp: 9, seats: for_ann, ..COPY }.send(&scene, &[ANN]).await.code, 250);
    sent(&scene, 2).await;
    let update = Copy { sequence: 1, stamp: 20, location: "Room 2", ..COPY };
    update.send(&scene, &[TOM]).await;
    sent(&scene, 3).await;
    Copy { stamp: 19, seats: for_ann, ..update }.send(&scene, &[ANN]).await;
    let all = sent(&scene, 4).await;
    assert_eq!(all, [line(TOM, "1", "Room 1"), line(ANN, "2", "Room 1"), line(TOM, "3", "Room 2"), line(ANN, "4", "Room 2")]);
    // Older than what both have: dropped.
    let late = Copy { sequence: 1, stamp: 15, location: "Room 3", ..COPY }.send(&scene, &[TOM, ANN]).await;
    assert!(late.code == 250 && late.lines[0].contains("older"), "{late:?}");
    // One who has nothing of it gets it all the same, and the rest of an event is not turned back by it.
    let bill = Copy { stamp: 12, seats: &[":mailto:bill@jumbo.com"], ..COPY };
    assert_eq!(bill.send(&scene, &["bill@jumbo.com"]).await.code, 250);
    assert_eq!(sent(&scene, 5).await[4], line("bill@jumbo.com", "5", "Room 1"));
    let record = scene.relay.relay.ledger().event(&EventId::parse(COPY.uid).unwrap()).unwrap().unwrap();
    assert_eq!(record.part(None).unwrap().newest().unwrap().sequence, 1);
    // A lower SEQUENCE that was stamped later is for the administrator.
    let back = Copy { stamp: 40, location: "Room 4", ..COPY };
    assert_eq!(back.send(&scene, &[TOM]).await.code, 250);
    let held = scene.relay.entry("the held one", |e| e.state == State::Held).await;
    assert!(held.reason.starts_with("version went back"), "{}", held.reason);
    // Told again, it is not held twice.
    assert_eq!(back.send(&scene, &[TOM]).await.code, 250);
    assert_eq!(scene.relay.entries().len(), 1);
    assert_eq!(sent(&scene, 5).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_back_is_a_change() {
    let scene = Scene::new().await;
    let states = [(10, "Room 1"), (20, "Room 2"), (30, "Room 1")];
    for (n, (stamp, location)) in states.into_iter().enumerate() {
        Copy { stamp, location, ..COPY }.send(&scene, &[TOM]).await;
        sent(&scene, n + 1).await;
    }
    // Each of them again is a retry; only then comes something new.
    for (stamp, location) in states {
        assert_eq!(Copy { stamp, location, ..COPY }.send(&scene, &[TOM]).await.code, 250);
    }
    Copy { stamp: 40, location: "Room 3", ..COPY }.send(&scene, &[TOM]).await;
    let all = sent(&scene, 4).await;
    assert_eq!(all, [line(TOM, "1", "Room 1"), line(TOM, "2", "Room 2"), line(TOM, "3", "Room 1"), line(TOM, "4", "Room 3")]);
    scene.relay.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_over_an_event_by_its_uid() {
    let scene = Scene::new().await;
    COPY.send(&scene, &[TOM]).await;
    sent(&scene, 1).await;
    for (n, stamp) in [20, 30].into_iter().enumerate() {
        let bobs = Copy { organizer: "bob@tiny.com", stamp, location: "Bob's", sequence: u32::try_from(n).unwrap(), ..COPY };
        assert_eq!(bobs.send(&scene, &[TOM]).await.code, 250);
        sent(&scene, n + 2).await;
    }
    Copy { sequence: 1, stamp: 40, location: "Room 2", ..COPY }.send(&scene, &[TOM]).await;
    let versions: Vec<_> = sent(&scene, 4).await.into_iter().map(|(_, version, location)| (version, location)).collect();
    let expected = [("1", "Room 1"), ("1", "Bob's"), ("2", "Bob's"), ("2", "Room 2")];
    assert_eq!(versions, expected.map(|(version, location)| (version.to_owned(), location.to_owned())));
    let ids: Vec<String> = scene.jumbo.of("SENDEVENT").iter().map(|c| c.value("UID").unwrap()).collect();
    assert!(ids[0] == COPY.uid && ids[3] == COPY.uid && ids[1] != COPY.uid && ids[1] == ids[2], "{ids:?}");
    let ledger = scene.relay.relay.ledger();
    let owner = |id: &str| ledger.event(&EventId::parse(id).unwrap()).unwrap().unwrap().owner.to_string();
    assert_eq!((owner(&ids[0]).as_str(), owner(&ids[1]).as_str()), (MARY, "bob@tiny.com"));
    // Nor does anybody by CIP, whether or not the event is known.
    for uid in [COPY.uid, "forgotten@tiny.com"] {
        let answer = scene.relay.cip().await.object("SENDEVENT", &bare(uid, 9, TOM, &[MARY])).await;
        assert_eq!((answer.code(), answer.infos.as_slice()), ("NO 000", ["* PERMDENIED mary@tiny.com".to_owned()].as_slice()));
    }
    scene.relay.idle().await;
}

const GATEWAY: &str = "tom=jumbo.com@cip.tiny.com";

/// A reply goes as RSVP to its ORGANIZER alone; copies of it are mail.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_reply_is_no_rsvp() {
    let scene = Scene::new().await;
    let to = [TOM, ANN, "ann=jumbo.com@cip.tiny.com", GATEWAY];
    let reply = imip("REPLY", MARY, &to, &ical("REPLY", "e1@jumbo.com", 0, TOM, &[(MARY, "ACCEPTED")]));
    let done = scene.relay.lmtp().await.lmtp(MARY, &to, reply.as_bytes()).await;
    assert_eq!(done.iter().map(|r| r.code).collect::<Vec<_>>(), [250, 250, 550, 250], "{done:?}");
    scene.relay.idle().await;
    // Once, though Tom stands there under two addresses.
    let rsvps = scene.jumbo.of("RSVP");
    assert_eq!(rsvps.len(), 1);
    assert_eq!(rsvps[0].value("UID").as_deref(), Some("e1@jumbo.com"));
    let mails = scene.sink.mails();
    assert_eq!(mails.iter().map(|m| m.recipients.clone()).collect::<Vec<_>>(), [[ANN]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_under_two_addresses_gets_one_copy() {
    let scene = Scene::new().await;
    let invitation = Copy { seats: &[":mailto:tom=jumbo.com@cip.tiny.com"], ..COPY };
    assert_eq!(invitation.send(&scene, &[TOM, GATEWAY, "TOM@jumbo.com", TOM]).await.code, 250);
    assert_eq!(sent(&scene, 1).await[0].0, [TOM]);
    let id = EventId::parse(COPY.uid).unwrap();
    let people = scene.relay.relay.ledger().people(&id).unwrap();
    assert_eq!(people.len(), 1);
    assert_eq!(people[0].written().to_string(), GATEWAY, "as the organizer wrote it");
    assert!(people[0].is(&UserId::parse(TOM).unwrap()));
    let text = format!("From: {MARY}\r\nSubject: Lunch\r\nMessage-ID: <1@tiny.com>\r\n\r\nAt one?\r\n");
    let done = scene.relay.lmtp().await.lmtp(MARY, &[TOM, "Tom@jumbo.com", TOM], text.as_bytes()).await;
    assert!(done.len() == 3 && done.iter().all(|r| r.code == 250), "{done:?}");
    scene.relay.idle().await;
    assert_eq!(scene.sink.mails().iter().map(|m| m.recipients.clone()).collect::<Vec<_>>(), [[TOM]]);
    assert_eq!(scene.jumbo.of("SENDEVENT").len(), 1);
}

/// One 250 for all: whoever was refused under it is reported, and only then.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_under_anothers_250_is_reported() {
    let scene = Scene::new().await;
    let mail = |id: u32, more: &str| format!("From: {MARY}\r\nSubject: Lunch\r\nMessage-ID: <{id}@tiny.com>\r\n{more}\r\nAt one?\r\n");
    let to = ["bob@tiny.com", GATEWAY];
    let silent = [(1, "", ""), (2, MARY, "Auto-Submitted: auto-replied\r\n")];
    for (id, sender, more) in silent {
        assert_eq!(scene.relay.smtp().await.mail(sender, &to, mail(id, more).as_bytes()).await.code, 250);
    }
    // By LMTP the client is told of each.
    let done = scene.relay.lmtp().await.lmtp(MARY, &to, mail(3, "").as_bytes()).await;
    assert_eq!(done.iter().map(|r| r.code).collect::<Vec<_>>(), [250, 550]);
    // Nor when all are refused.
    assert_eq!(scene.relay.smtp().await.mail(MARY, &[GATEWAY], mail(4, "").as_bytes()).await.code, 550);
    assert_eq!(scene.relay.smtp().await.mail(MARY, &to, mail(5, "").as_bytes()).await.code, 250);
    let report = scene.sink.wait_for_recipient(MARY, 1).await.pop().unwrap();
    assert_eq!(report.sender, "");
    let read = cip_relay::imip::read::read(&report.data).unwrap().report.unwrap();
    let failed: Vec<_> = read.failed().map(|r| (r.recipient.clone(), r.status.clone())).collect();
    assert_eq!(failed, [(GATEWAY.to_owned(), "5.6.0".to_owned())]);
    assert!(report.text().contains("Not for a gateway address"), "{}", report.text());
    // A refusal for now is one for good, when nobody will try again.
    let looping = mail(6, "X-CIP-Trace: tiny.com;20261122T120000Z;SENDEVENT;1\r\n");
    assert_eq!(scene.relay.smtp().await.mail(MARY, &["bob@tiny.com"], looping.as_bytes()).await.code, 250);
    let both = scene.relay.smtp().await.mail(MARY, &["bob@tiny.com", "carol@tiny.com"], looping.as_bytes()).await;
    assert_eq!(both.code, 250);
    let report = scene.sink.wait_for_recipient(MARY, 2).await.pop().unwrap();
    assert!(report.text().contains("been here before") && report.text().contains("bob@tiny.com"), "{}", report.text());
    scene.relay.idle().await;
    assert_eq!(scene.sink.mails_for(MARY).len(), 2);
}

/// Our own user is told that an answer of hers bounced, also when the ledger has no answer to know its standing by.
#[tokio::test(flavor = "multi_thread")]
async fn a_local_user_is_told_that_her_answer_bounced() {
    let scene = Scene::new().await;
    scene.relay.cip().await.object("SENDEVENT", &bare("f1@nowhere.org", 1, "tom@nowhere.org", &[MARY])).await;
    scene.sink.wait_for_recipient(MARY, 1).await;
    let token = TokenRecord {
        event_id: EventId::parse("f1@nowhere.org").unwrap(),
        counterpart: UserId::parse(MARY).unwrap(),
        holder: UserId::parse("tom@nowhere.org").unwrap(),
        bounce: true,
        created: Timestamp::default(),
    };
    let name = format!("b{}", "a".repeat(26));
    let mut change = scene.relay.relay.queue().change();
    scene.relay.relay.ledger().put_token(change.batch_mut(), &name, &token).unwrap();
    scene.relay.relay.queue().commit(change).await.unwrap();
    let bounce = format!("{name}@cip.tiny.com");
    let failed = dsn(&bounce, "tom@nowhere.org", "failed", "d1");
    assert_eq!(scene.relay.inbound().await.mail("", &[&bounce], failed.as_bytes()).await.code, 250);
    let told = scene.sink.wait_for_recipient(MARY, 2).await;
    assert!(told[1].text().contains("Your answer"), "{}", told[1].text());
}

/// An organizer's other name is his.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_under_an_alias_of_the_organizer_is_of_the_same_event() {
    let scene = Scene::with(|s| s.domain_text("name = \"tiny.com\"\naliases = { \"m.weaver\" = \"mary\", mw = \"mary\" }")).await;
    let tom = "tom@jumbo.com";
    for (sequence, name) in ["m.weaver@tiny.com", "mary@tiny.com", "mw@tiny.com"].into_iter().enumerate() {
        let sequence = u32::try_from(sequence).unwrap();
        let object = ical("REQUEST", "one", sequence, name, &[(tom, "NEEDS-ACTION")]);
        let done = scene.relay.smtp().await.mail(name, &[tom], imip("REQUEST", name, &[tom], &object).as_bytes()).await;
        assert_eq!(done.code, 250, "{done:?}");
        scene.relay.idle().await;
    }
    let got = scene.jumbo.of("SENDEVENT");
    let ids: Vec<_> = got.iter().map(|c| (c.value("UID").unwrap(), c.value("SEQUENCE").unwrap())).collect();
    let same = ids[0].0.clone();
    assert_eq!(ids, ["1", "2", "3"].map(|version| (same.clone(), version.to_owned())));
}

/// Whoever writes from outside may be anybody: nothing is sent to the name that he gives.
#[tokio::test(flavor = "multi_thread")]
async fn mail_from_outside_that_is_refused_in_part_is_not_reported() {
    let scene = Scene::new().await;
    let token = crate::outcomes::tom_invites_mary(&scene, "e1@jumbo.com", 1).await;
    let request = ical("REQUEST", "x", 0, "eve@evil.org", &[(MARY, "NEEDS-ACTION")]);
    let mail = imip("REQUEST", "eve@evil.org", &[MARY, &token], &request);
    let done = scene.relay.inbound().await.mail("victim@jumbo.com", &[MARY, &token], mail.as_bytes()).await;
    assert_eq!(done.code, 250, "{done:?}");
    scene.sink.wait_for_recipient(MARY, 2).await;
    scene.relay.idle().await;
    assert!(scene.sink.mails_for("victim@jumbo.com").is_empty());
}
