//! Answers that are not as plain as they might be: from an alias, a stranger, somebody else, twice, late, to the wrong
//! address, in words. Each either is the invited person's answer, or changes nothing and is not lost.

use cip_relay::queue::entry::State;

use crate::bridge::{Scene, bare, ical, imip, property, python_reads, unfold};
use crate::outcomes::{mary_answers, mary_invites, tom_invites_mary};
use crate::support::peer::Behaviour;
use crate::support::smtp::Reply;

const EVENT: &str = "e1@jumbo.com";

/// A reply mail to a token, from the organization's own side or from outside.
async fn reply(scene: &Scene, trusted: bool, from: &str, token: &str, calendar: &str) -> Reply {
    let mail = imip("REPLY", from, &[token], calendar);
    let mut client = if trusted { scene.relay.smtp().await } else { scene.relay.inbound().await };
    client.mail(from, &[token], mail.as_bytes()).await
}

fn accepted(token: &str, attendee: &str) -> String {
    ical("REPLY", EVENT, 0, token, &[(attendee, "ACCEPTED")])
}

/// Whose answer an RSVP carries, and which.
fn of(rsvp: &crate::support::peer::Command) -> (String, String) {
    let text = unfold(&rsvp.text());
    let seat = text.lines().find(|l| l.starts_with("ATTENDEE") && l.contains("STATUS=")).unwrap_or_else(|| panic!("{text}"));
    let status = seat.split("STATUS=").nth(1).unwrap().split([';', ':']).next().unwrap().to_owned();
    (crate::support::object::address(seat.split_once(':').unwrap().1), status)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_an_alias_is_the_invited_persons() {
    let scene =
        Scene::with(|s| s.domain_text("name = \"tiny.com\"\nusers = [\"mary\", \"bob\"]\naliases = { \"m.weaver\" = \"mary\" }")).await;
    let token = tom_invites_mary(&scene, EVENT, 1).await;
    let done = reply(&scene, true, "m.weaver@tiny.com", &token, &accepted(&token, "M.Weaver@tiny.com")).await;
    assert_eq!(done.code, 250, "{done:?}");
    let rsvp = scene.jumbo.wait_for("RSVP", 1).await.pop().unwrap();
    assert_eq!(of(&rsvp), ("mary@tiny.com".to_owned(), "CONFIRMED".to_owned()));
    assert!(!rsvp.text().contains("weaver"), "{}", rsvp.text());
    // The other way: invited by the alias, answers as herself, and the organizer hears the name that he wrote.
    let object = bare("e2@jumbo.com", 1, "tom@jumbo.com", &["m.weaver@tiny.com"]);
    let answer = scene.relay.cip().await.object("SENDEVENT", &object).await;
    assert_eq!(answer.infos, ["* TENTATIVE m.weaver@tiny.com"]);
    let mail = scene.sink.wait_for(2).await.pop().unwrap();
    let token = crate::outcomes::organizer(&mail);
    mary_answers(&scene.relay, "e2@jumbo.com", &token, "TENTATIVE", 1).await;
    let rsvp = scene.jumbo.wait_for("RSVP", 2).await.pop().unwrap();
    assert_eq!(of(&rsvp), ("m.weaver@tiny.com".to_owned(), "TENTATIVE".to_owned()));
    scene.relay.idle().await;
}

/// What may be somebody else's doing is kept for the administrator, and is never passed on as the invited person's.
#[tokio::test(flavor = "multi_thread")]
async fn answers_by_others_are_held() {
    let scene = Scene::new().await;
    let token = tom_invites_mary(&scene, EVENT, 1).await;
    let table = [
        // A stranger answers as himself, from outside and by way of our own side.
        (false, "eve@other.org", "eve@other.org", "eve@other.org answers by a reply address that was given to mary@tiny.com"),
        (true, "eve@other.org", "eve@other.org", "eve@other.org answers by a reply address that was given to mary@tiny.com"),
        // Outside, nobody vouches for a colleague.
        (false, "bob@tiny.com", "bob@tiny.com", "bob@tiny.com answers by a reply address that was given to mary@tiny.com"),
        // In Mary's name, by somebody else.
        (true, "bob@tiny.com", "mary@tiny.com", "the answer is of mary@tiny.com, who is neither in From nor in Sender"),
        (false, "eve@other.org", "mary@tiny.com", "the answer is of mary@tiny.com, who is neither in From nor in Sender"),
    ];
    for (n, (trusted, from, attendee, reason)) in table.iter().enumerate() {
        let done = reply(&scene, *trusted, from, &token, &accepted(&token, attendee)).await;
        assert_eq!(done.code, 250, "{done:?}");
        let entries = scene.relay.entries();
        assert_eq!(entries.len(), n + 1);
        let newest = entries.iter().max_by_key(|e| e.id).unwrap();
        assert_eq!((newest.state, newest.reason.as_str()), (State::Held, *reason));
    }
    // Mary's own answer is not hindered by them, and is the only one that goes out.
    mary_answers(&scene.relay, EVENT, &token, "DECLINED", 1).await;
    let rsvps = scene.jumbo.wait_for("RSVP", 1).await;
    assert_eq!(of(&rsvps[0]), ("mary@tiny.com".to_owned(), "DECLINED".to_owned()));
    let held = scene.relay.settings.queue_json(&["--state", "held"]);
    assert_eq!(held.len(), table.len());
    assert_eq!(scene.jumbo.of("RSVP").len(), 1);
}

/// An invitation forwarded within the organization: the owner reads the colleague's answer as mail.
#[tokio::test(flavor = "multi_thread")]
async fn a_colleagues_answer_reaches_the_owner_as_plain_mail() {
    let scene = Scene::new().await;
    let token = tom_invites_mary(&scene, EVENT, 1).await;
    let done = reply(&scene, true, "bob@tiny.com", &token, &accepted(&token, "bob@tiny.com")).await;
    assert_eq!(done.code, 250, "{done:?}");
    let mail = scene.sink.wait_for_recipient("tom@jumbo.com", 1).await.pop().unwrap();
    assert_eq!(mail.sender, "bob@tiny.com");
    assert_eq!(mail.header("From").as_deref(), Some("bob@tiny.com"));
    scene.relay.idle().await;
    assert!(scene.jumbo.of("RSVP").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_answer_is_sent_once_and_an_older_one_not_at_all() {
    let scene = Scene::new().await;
    let token = tom_invites_mary(&scene, EVENT, 1).await;
    // (PARTSTAT, minute of DTSTAMP, RSVPs after it)
    let table = [
        ("ACCEPTED", 10, 1),
        ("ACCEPTED", 10, 1),
        ("DECLINED", 5, 1),
        ("DECLINED", 20, 2),
        ("TENTATIVE", 15, 2),
        // The same again, later: nothing is sent, and what was answered in between stays in between.
        ("DECLINED", 40, 2),
        ("ACCEPTED", 30, 2),
        ("TENTATIVE", 50, 3),
    ];
    for (n, (partstat, minute, rsvps)) in table.iter().enumerate() {
        mary_answers(&scene.relay, EVENT, &token, partstat, *minute).await;
        scene.relay.idle().await;
        assert_eq!(scene.jumbo.of("RSVP").len(), *rsvps, "step {n}");
    }
    let rsvps = scene.jumbo.of("RSVP");
    let statuses: Vec<String> = rsvps.iter().map(|r| of(r).1).collect();
    assert_eq!(statuses, ["CONFIRMED", "DECLINED", "TENTATIVE"]);
    let order: Vec<String> = rsvps.iter().map(|r| r.value("RESPONSE-SEQUENCE").unwrap()).collect();
    assert_eq!(order, ["1", "2", "3"]);
}

/// The same by CIP: in the order of RESPONSE-SEQUENCE.
#[tokio::test(flavor = "multi_thread")]
async fn rsvps_are_judged_and_ordered() {
    let scene = Scene::new().await;
    mary_invites(&scene.relay, "m1", &["tom@jumbo.com"]).await;
    let event_id = scene.jumbo.wait_for("SENDEVENT", 1).await[0].value("UID").unwrap();
    scene.relay.idle().await;
    let rsvp = |uid: &str, n: u32, status: &str, who: &str| {
        format!("UID: {uid}\nSEQUENCE: 1\nRESPONSE-SEQUENCE: {n}\nATTENDEE;STATUS={status}: <{who}>\n")
    };
    let eve = "* PERMDENIED eve@jumbo.com";
    let table = [
        (rsvp("nothing@tiny.com", 1, "CONFIRMED", "tom@jumbo.com"), vec!["* NOTFOUND nothing@tiny.com"], "NO 000", 0),
        (rsvp(&event_id, 1, "CONFIRMED", "eve@jumbo.com"), vec![eve], "NO 000", 0),
        (rsvp(&event_id, 2, "CONFIRMED", "tom@jumbo.com"), vec!["* CONFIRMED tom@jumbo.com"], "OK 000", 1),
        (rsvp(&event_id, 2, "CONFIRMED", "tom@jumbo.com"), vec!["* CONFIRMED tom@jumbo.com"], "OK 000", 1),
        (rsvp(&event_id, 1, "DECLINED", "tom@jumbo.com"), vec!["* CONFIRMED tom@jumbo.com"], "OK 000", 1),
        (rsvp(&event_id, 3, "DECLINED", "tom@jumbo.com"), vec![], "OK 000", 2),
        (rsvp(&event_id, 4, "TENTATIVE", "tom@jumbo.com") + "ATTENDEE;STATUS=CONFIRMED: <eve@jumbo.com>\n", vec![eve], "OK 003", 3),
    ];
    for (n, (object, infos, code, mails)) in table.iter().enumerate() {
        let answer = scene.relay.cip().await.object("RSVP", object).await;
        assert_eq!((&answer.infos.iter().map(String::as_str).collect(), answer.code()), (infos, *code), "step {n}");
        scene.relay.idle().await;
        let mails_now = scene.sink.mails_for("mary@tiny.com");
        assert_eq!(mails_now.len(), *mails, "step {n}");
        for mail in mails_now {
            let (_, _, calendar) = python_reads(&mail);
            assert!(property(&unfold(&calendar), "ATTENDEE").ends_with("mailto:tom@jumbo.com"), "{calendar}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_mail_to_a_reply_address() {
    let scene = Scene::new().await;
    let token = tom_invites_mary(&scene, EVENT, 1).await;
    // Refused: another event's reply, two attendees, no status, an invitation, a reply address that never was.
    let other = ical("REPLY", "e9@jumbo.com", 0, &token, &[("mary@tiny.com", "ACCEPTED")]);
    let two = ical("REPLY", EVENT, 0, &token, &[("mary@tiny.com", "ACCEPTED"), ("bob@tiny.com", "ACCEPTED")]);
    let none = accepted(&token, "mary@tiny.com").replace(";PARTSTAT=ACCEPTED", "");
    let table = [(other, "another event"), (two, "one attendee"), (none, "no PARTSTAT")];
    for (calendar, why) in table {
        for trusted in [true, false] {
            let done = reply(&scene, trusted, "mary@tiny.com", &token, &calendar).await;
            assert!(done.code == 550 && done.lines[0].contains(why), "{done:?}");
        }
    }
    let request = imip("REQUEST", "mary@tiny.com", &[&token], &ical("REQUEST", EVENT, 1, "mary@tiny.com", &[(&token, "NEEDS-ACTION")]));
    assert_eq!(scene.relay.inbound().await.mail("mary@tiny.com", &[&token], request.as_bytes()).await.code, 550);
    let nobody = format!("r{}@cip.tiny.com", "a".repeat(26));
    let done = scene.relay.inbound().await.mail("mary@tiny.com", &[&nobody], b"Subject: x\r\n\r\nx\r\n").await;
    assert_eq!(done.code, 550, "{done:?}");

    // Automatic: dropped. In words: to the owner, octet for octet.
    let words =
        |extra: &str| format!("From: Mary <mary@tiny.com>\r\nTo: {token}\r\nSubject: Re: Project X\r\n{extra}\r\nI may be late.\r\n");
    let away = words("Auto-Submitted: auto-replied\r\n");
    assert_eq!(scene.relay.inbound().await.mail("mary@tiny.com", &[&token], away.as_bytes()).await.code, 250);
    assert_eq!(scene.relay.inbound().await.mail("", &[&token], words("").as_bytes()).await.code, 250);
    let upper = token.to_ascii_uppercase();
    assert_eq!(scene.relay.inbound().await.mail("mary@tiny.com", &[&upper], words("").as_bytes()).await.code, 250);
    let mail = scene.sink.wait_for_recipient("tom@jumbo.com", 1).await.pop().unwrap();
    assert_eq!(mail.sender, "mary@tiny.com");
    assert!(mail.text().ends_with(&words("")), "{}", mail.text());
    scene.relay.idle().await;
    assert_eq!(scene.sink.mails().len(), 2);
    assert!(scene.jumbo.of("RSVP").is_empty());
}

/// Several answers in one object are each judged and sent by themselves, under the addresses that the owner knows.
#[tokio::test(flavor = "multi_thread")]
async fn several_answers_in_one_rsvp_are_kept_apart() {
    let scene = Scene::with(|s| {
        s.set("cip.relay-networks", vec!["127.0.0.0/8"])
            .domain_text("name = \"tiny.com\"\nusers = [\"mary\", \"bob\"]\naliases = { \"m.weaver\" = \"mary\" }")
    })
    .await;
    // For an owner who has mail: Joe answers from where jumbo.com said that he is.
    scene.jumbo.behave(Behaviour::accept().redirect_user("joe@jumbo.com", "joseph@jumbo.com"));
    mary_invites(&scene.relay, "m1", &["tom@jumbo.com", "joe@jumbo.com"]).await;
    let event_id = scene.jumbo.wait_for("SENDEVENT", 2).await[0].value("UID").unwrap();
    scene.relay.idle().await;
    let both = "ATTENDEE;STATUS=CONFIRMED: <tom@jumbo.com>\nATTENDEE;STATUS=DECLINED: <joseph@jumbo.com>\n";
    let answer = scene.relay.cip().await.object("RSVP", &format!("UID: {event_id}\nSEQUENCE: 1\n{both}")).await;
    assert_eq!((answer.infos.as_slice(), answer.code()), (["* CONFIRMED tom@jumbo.com".to_owned()].as_slice(), "OK 000"));
    let mut seats: Vec<String> = Vec::new();
    for mail in scene.sink.wait_for_recipient("mary@tiny.com", 2).await {
        let (_, _, calendar) = python_reads(&mail);
        let calendar = unfold(&calendar);
        assert_eq!(calendar.matches("\nATTENDEE").count(), 1, "{calendar}");
        let seat = property(&calendar, "ATTENDEE");
        let status = seat.split("PARTSTAT=").nth(1).unwrap().split([';', ':']).next().unwrap();
        seats.push(format!("{} {status}", seat.rsplit_once("mailto:").unwrap().1));
    }
    seats.sort();
    assert_eq!(seats, ["joe@jumbo.com DECLINED", "tom@jumbo.com ACCEPTED"]);
    scene.relay.idle().await;

    // For an owner who has CIP: what was refused here is not passed on in another's answer, and an alias is undone.
    let object = bare(EVENT, 1, "tom@jumbo.com", &["mary@tiny.com", "bob@tiny.com"]);
    assert_eq!(scene.relay.cip().await.object("SENDEVENT", &object).await.code(), "OK 000");
    let three = "ATTENDEE;STATUS=TENTATIVE: <m.weaver@tiny.com>\nATTENDEE;STATUS=CONFIRMED: <eve@other.org>\n\
                 ATTENDEE;STATUS=DECLINED: <bob@tiny.com>\n";
    let answer = scene.relay.cip().await.object("RSVP", &format!("UID: {EVENT}\nSEQUENCE: 1\n{three}")).await;
    assert_eq!((answer.infos.as_slice(), answer.code()), (["* PERMDENIED eve@other.org".to_owned()].as_slice(), "OK 003"));
    let rsvps = scene.jumbo.wait_for("RSVP", 2).await;
    let mut answers: Vec<(String, String)> = rsvps.iter().map(of).collect();
    answers.sort();
    let expected = [("bob@tiny.com", "DECLINED"), ("mary@tiny.com", "TENTATIVE")].map(|(who, what)| (who.to_owned(), what.to_owned()));
    assert_eq!(answers, expected);
    assert!(rsvps.iter().all(|r| !r.text().contains("eve@") && !r.text().contains("weaver")), "{rsvps:?}");
    let alone = format!("UID: {EVENT}\nSEQUENCE: 1\nX-KEPT: as it was\nATTENDEE;STATUS=CONFIRMED: <m.weaver@tiny.com>\n");
    assert_eq!(scene.relay.cip().await.object("RSVP", &alone).await.code(), "OK 000");
    let rsvp = scene.jumbo.wait_for("RSVP", 3).await.pop().unwrap();
    assert_eq!(of(&rsvp), ("mary@tiny.com".to_owned(), "CONFIRMED".to_owned()));
    assert!(rsvp.text().contains("X-KEPT: as it was"), "{}", rsvp.text());
    scene.relay.idle().await;
    assert_eq!(scene.jumbo.of("RSVP").len(), 3);
}

/// A mail program that answers several instances at once puts them into one object.
#[tokio::test(flavor = "multi_thread")]
async fn answers_to_several_instances_in_one_object_all_count() {
    let scene = Scene::new().await;
    let series = bare(EVENT, 1, "tom@jumbo.com", &["mary@tiny.com"]).replace("SEQUENCE", "RRULE: D1 #9\nSEQUENCE");
    assert_eq!(scene.relay.cip().await.object("SENDEVENT", &series).await.code(), "OK 000");
    let token = crate::outcomes::organizer(&scene.sink.wait_for(1).await[0]);
    let both = |first: &str, second: &str| {
        let one =
            |lines: &str, status: &str| ical("REPLY", EVENT, 0, &token, &[("mary@tiny.com", status)]).replace("SUMMARY:Budget\n", lines);
        let second = one("RECURRENCE-ID:20270104T010000Z\n", second);
        let second = second.split_once("BEGIN:VEVENT").unwrap().1.to_owned();
        one(first, "ACCEPTED").replace("END:VCALENDAR\n", &format!("BEGIN:VEVENT{second}"))
    };
    let done = reply(&scene, true, "mary@tiny.com", &token, &both("RECURRENCE-ID:20270103T010000Z\n", "DECLINED")).await;
    assert_eq!(done.code, 250, "{done:?}");
    scene.relay.idle().await;
    let told = |n: usize| {
        let mut all: Vec<_> = scene.jumbo.of("RSVP")[n..].iter().map(|r| (r.value("RECURRENCE-ID").unwrap_or_default(), of(r).1)).collect();
        all.sort();
        all
    };
    let pair = |rid: &str, status: &str| (rid.to_owned(), status.to_owned());
    assert_eq!(told(0), [pair("20270103T010000Z", "CONFIRMED"), pair("20270104T010000Z", "DECLINED")]);
    // The series and an exception.
    let done = reply(&scene, true, "mary@tiny.com", &token, &both("", "TENTATIVE").replace("T1200", "T1230")).await;
    assert_eq!(done.code, 250, "{done:?}");
    scene.relay.idle().await;
    assert_eq!(told(2), [pair("", "CONFIRMED"), pair("20270104T010000Z", "TENTATIVE")]);
}

/// By CIP too: each is a REPLY of its own for the organizer.
#[tokio::test(flavor = "multi_thread")]
async fn an_rsvp_to_several_instances_becomes_as_many_replies() {
    let scene = Scene::new().await;
    let series =
        ical("REQUEST", "m1", 0, "mary@tiny.com", &[("tom@jumbo.com", "NEEDS-ACTION")]).replace("SUMMARY", "RRULE:FREQ=DAILY\nSUMMARY");
    let mail = imip("REQUEST", "mary@tiny.com", &["tom@jumbo.com"], &series);
    assert_eq!(scene.relay.smtp().await.mail("mary@tiny.com", &["tom@jumbo.com"], mail.as_bytes()).await.code, 250);
    let event = scene.jumbo.wait_for("SENDEVENT", 1).await[0].value("UID").unwrap();
    let one = |day: u32, status: &str| {
        format!(
            "BEGIN:VEVENT\nUID:{event}\nSEQUENCE:0\nDTSTAMP:20261122T120000Z\nRECURRENCE-ID:202701{day:02}T150000Z\n\
             ORGANIZER:mailto:mary@tiny.com\nATTENDEE;PARTSTAT={status}:mailto:tom@jumbo.com\nEND:VEVENT\n"
        )
    };
    let rsvp = format!("BEGIN:VCALENDAR\nVERSION:2.0\nMETHOD:REPLY\n{}{}END:VCALENDAR\n", one(5, "ACCEPTED"), one(6, "DECLINED"));
    let answer = scene.relay.cip().await.object("RSVP", &rsvp).await;
    assert_eq!((answer.code(), answer.infos.as_slice()), ("OK 000", ["* CONFIRMED tom@jumbo.com".to_owned()].as_slice()));
    let mails = scene.sink.wait_for_recipient("mary@tiny.com", 2).await;
    let mut told: Vec<(String, bool)> = mails
        .iter()
        .map(|mail| {
            let text = unfold(&python_reads(mail).2);
            (property(&text, "RECURRENCE-ID").to_owned(), property(&text, "ATTENDEE").contains("PARTSTAT=ACCEPTED"))
        })
        .collect();
    told.sort();
    assert_eq!(told, [(":20270105T150000Z".to_owned(), true), (":20270106T150000Z".to_owned(), false)]);
    scene.relay.idle().await;
}

/// From outside, saying that one was sent is not enough; a colleague of the attendee may write for him.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_not_sent_by_saying_so() {
    let scene = Scene::new().await;
    let token = tom_invites_mary(&scene, EVENT, 1).await;
    let by = |sender: &str| {
        accepted(&token, "mary@tiny.com").replace("PARTSTAT=ACCEPTED", &format!("PARTSTAT=ACCEPTED;SENT-BY=\"mailto:{sender}\""))
    };
    let done = reply(&scene, false, "mallory@evil.org", &token, &by("mallory@evil.org")).await;
    assert_eq!(done.code, 250, "{done:?}");
    let held = scene.relay.entry("a held answer", |e| e.state == State::Held).await;
    assert!(held.reason.contains("mary@tiny.com"), "{}", held.reason);
    assert!(scene.jumbo.of("RSVP").is_empty());
    let done = reply(&scene, false, "bob@tiny.com", &token, &by("bob@tiny.com")).await;
    assert_eq!(done.code, 250, "{done:?}");
    assert_eq!(of(&scene.jumbo.wait_for("RSVP", 1).await[0]).1, "CONFIRMED");
}
