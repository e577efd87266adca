//! What has been here before and comes again (profile 9).

use crate::bridge::{Scene, bare, ical, imip};
use crate::support::relay::Settings;
use crate::support::sink::Mail;

const MARY: &str = "Mary Weaver <mary@tiny.com>";

/// Hands a mail of the relay's own back to it, as a transport map does, by SMTP and by LMTP.
async fn comes_back(scene: &Scene, mail: &Mail) {
    scene.relay.idle().await;
    let to: Vec<&str> = mail.recipients.iter().map(String::as_str).collect();
    let smtp = scene.relay.smtp().await.mail(&mail.sender, &to, &mail.data).await;
    let lmtp = scene.relay.lmtp().await.lmtp(&mail.sender, &to, &mail.data).await;
    for reply in [smtp].iter().chain(&lmtp) {
        assert_eq!(reply.code, 451, "{reply:?} to {}", mail.text());
        assert!(reply.lines[0].starts_with("4.4.6 "), "{reply:?}");
    }
    assert!(scene.relay.entries().is_empty(), "{:?}", scene.relay.entries());
}

async fn send(scene: &Scene, from: &str, to: &str, message: &str) {
    let reply = scene.relay.smtp().await.mail(from, &[to], message.as_bytes()).await;
    assert_eq!(reply.code, 250, "{reply:?}");
}

async fn the_relays_own_mail_comes_back(mail_domain: &str, change: impl FnOnce(Settings) -> Settings) {
    let scene = Scene::with(change).await;
    // An invitation that came by CIP.
    scene.relay.cip().await.object("SENDEVENT", &bare("e1@jumbo.com", 1, "tom@jumbo.com", &["mary@tiny.com"])).await;
    comes_back(&scene, &scene.sink.wait_for(1).await[0]).await;
    // One that came by mail and was composed for a gateway address; and the answer to it.
    let gateway = format!("ann=plain.org@{mail_domain}");
    let object = |uid: &str, to: &str| ical("REQUEST", uid, 0, "mary@tiny.com", &[(to, "NEEDS-ACTION")]);
    send(&scene, "mary@tiny.com", &gateway, &imip("REQUEST", MARY, &[&gateway], &object("g1", &gateway))).await;
    let composed = scene.sink.wait_for(2).await.remove(1);
    assert_eq!(composed.recipients, ["ann@plain.org"]);
    comes_back(&scene, &composed).await;
    let token = composed.header("Reply-To").unwrap();
    let token = token.trim_start_matches('<').trim_end_matches('>');
    let reply = ical("REPLY", "g1", 0, token, &[("ann@plain.org", "ACCEPTED")]);
    send(&scene, "ann@plain.org", token, &imip("REPLY", "ann@plain.org", &[token], &reply)).await;
    comes_back(&scene, &scene.sink.wait_for(3).await[2]).await;
    // One that came by mail, found no CIP, and was passed on.
    send(&scene, "mary@tiny.com", "ann@plain.org", &imip("REQUEST", MARY, &["ann@plain.org"], &object("p1", "ann@plain.org"))).await;
    comes_back(&scene, &scene.sink.wait_for(4).await[3]).await;
    // Mail that is not the relay's to understand, some of it not even to read.
    let unreadable = imip("CANCEL", MARY, &["ann@plain.org"], &object("p2", "ann@plain.org"));
    let twice = format!("From: eve@tiny.com\r\n{unreadable}");
    let plain = "From: mary@tiny.com\r\nSubject: Lunch\r\n\r\nToday?\r\n".to_owned();
    for (n, message) in [plain, unreadable, twice].iter().enumerate() {
        send(&scene, "mary@tiny.com", "ann@plain.org", message).await;
        comes_back(&scene, &scene.sink.wait_for(5 + n).await[4 + n]).await;
    }
    // The same mail to somebody else is no loop: a list at the mail server may have him on it.
    let passed = scene.sink.mails().remove(4);
    let reply = scene.relay.smtp().await.mail("mary@tiny.com", &["joe@plain.org"], &passed.data).await;
    assert_eq!(reply.code, 250, "{reply:?}");
    assert_eq!(scene.sink.wait_for(8).await[7].recipients, ["joe@plain.org"]);
    scene.relay.idle().await;
    assert_eq!(scene.sink.mails().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relays_own_mail_makes_no_loop() {
    the_relays_own_mail_comes_back("cip.tiny.com", |s| s).await;
}

/// Without a mail domain of its own, reply addresses are addresses of a local domain.
#[tokio::test(flavor = "multi_thread")]
async fn the_relays_own_mail_makes_no_loop_under_the_local_domain() {
    the_relays_own_mail_comes_back("tiny.com", |s| s.unset("mail.domain")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_has_seen_too_many_relays_is_refused() {
    let scene = Scene::new().await;
    let message = "From: mary@tiny.com\r\nSubject: Lunch\r\n\r\nToday?\r\n";
    let trace = "X-CIP-Trace: other.org;20261122T120000Z;MAIL;\r\n";
    for (hops, code) in [(24, "250 2.0.0"), (25, "554 5.4.6")] {
        let replies = scene.relay.lmtp().await.lmtp("mary@tiny.com", &["ann@plain.org"], (trace.repeat(hops) + message).as_bytes()).await;
        assert!(format!("{} {}", replies[0].code, replies[0].lines[0]).starts_with(code), "{hops}: {replies:?}");
    }
    scene.sink.wait_for(1).await;
    scene.relay.idle().await;
    assert_eq!(scene.sink.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_bears_our_trace_line_is_looping() {
    let scene = Scene::with(|s| s.set("cip.relay-networks", vec!["127.0.0.1/32"])).await;
    let trace = |server: &str, verb: &str, version: u32| format!("X-CIP-TRACE:{server};20261122T120000Z;{verb};{version}\n");
    let event = |version, traces: &str| bare("e1@jumbo.com", version, "tom@jumbo.com", &["mary@tiny.com", "bob@tiny.com"]) + traces;
    let answer_of = |traces: &str| format!("UID: e1@jumbo.com\nSEQUENCE: 1\nATTENDEE;STATUS=CONFIRMED: <mary@tiny.com>\n{traces}");
    let others = |n| trace("other.org", "SENDEVENT", 1).repeat(n);
    let both = |what: &str| ["mary@tiny.com", "bob@tiny.com"].map(|u| format!("* {what} {u}")).to_vec();
    let table: Vec<(String, &str, Vec<String>)> = vec![
        (event(1, &others(24)), "OK 000", both("TENTATIVE")),
        (event(1, &trace("TINY.com", "SENDEVENT", 1)), "NO 000", both("PERMDENIED")),
        (event(2, &others(25)), "NO 000", both("PERMDENIED")),
        // Our line of another version, or of an answer, is history.
        (event(2, &trace("tiny.com", "SENDEVENT", 1)), "OK 000", both("TENTATIVE")),
        (event(3, &trace("tiny.com", "RSVP", 3)), "OK 000", both("TENTATIVE")),
    ];
    for (object, code, infos) in table {
        let answer = scene.relay.cip().await.object("SENDEVENT", &object).await;
        assert_eq!((answer.code(), &answer.infos), (code, &infos), "{object}");
        scene.relay.idle().await;
    }
    assert_eq!(scene.sink.mails().len(), 6);
    for (traces, code) in [(trace("tiny.com", "RSVP", 1), "NO 000"), (others(25), "NO 000"), (others(24), "OK 000")] {
        let answer = scene.relay.cip().await.object("RSVP", &answer_of(&traces)).await;
        assert_eq!(answer.code(), code, "{traces} {answer:?}");
        if code == "NO 000" {
            assert_eq!(answer.infos, ["* PERMDENIED mary@tiny.com"]);
        }
    }
    scene.jumbo.wait_for("RSVP", 1).await;
    scene.relay.idle().await;
    assert_eq!(scene.jumbo.of("RSVP").len(), 1);
}
