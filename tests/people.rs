//! Who is here: users from a list, from a file that is followed, and asked of the mail server, for every way in.

mod delegates;
mod groups;
mod verbatim;

use std::fs;
use std::time::Duration;

use crate::bridge::{Scene, bare, ical, imip};
use crate::support::cip::{Answer, CipClient};
use crate::support::dns::Dns;
use crate::support::eventually;
use crate::support::relay::{Process, Settings};
use crate::support::running::Running;
use crate::support::sink::{Sink, Stage};

const TOM: &str = "tom@jumbo.com";

/// A relay whose clock is held and whose users this mail server knows.
async fn probing(sink: &Sink, more: &str) -> Running {
    let dns = Dns::start("$ORIGIN jumbo.com.\n@ A 127.0.0.1\n").await;
    let domain = format!(
        "name = \"tiny.com\"\nusers = {{ probe = \"smtp://{}?tls=none\"{more} }}\naliases = {{ \"m.weaver\" = \"mary\" }}\nfree-busy = [{{ source = \"ledger\" }}]\nfree-busy-for = \"anyone\"",
        sink.address()
    );
    Running::start_held(Settings::new("tiny.com").dns(dns.address()).smarthost(sink.address()).quick().domain_text(&domain)).await
}

async fn event(relay: &Running, n: u32, to: &[&str]) -> Answer {
    relay.cip().await.object("SENDEVENT", &bare(&format!("p{n}@jumbo.com"), 1, TOM, to)).await
}

async fn rcpt(relay: &Running, user: &str) -> u16 {
    let mut client = relay.inbound().await;
    client.command("MAIL FROM:<x@else.org>").await;
    client.command(&format!("RCPT TO:<{user}>")).await.code
}

async fn busy(client: &mut CipClient, user: &str) -> Answer {
    client.object("FREEBUSY", &format!("ATTENDEE:{user}\nDTSTART:20261123T000000Z\nDTEND:20261130T000000Z\n")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mail_server_is_asked_once_for_every_way_in() {
    let sink = Sink::start().await;
    sink.refuse(Stage::Rcpt, Some("nobody@tiny.com"), "550 5.1.1 No such user", usize::MAX);
    let relay = probing(&sink, ", found = \"2h\", not-found = \"10m\"").await;
    let answer = event(&relay, 1, &["m.weaver@tiny.com", "nobody@tiny.com"]).await;
    assert_eq!(answer.infos, ["* TENTATIVE m.weaver@tiny.com", "* NOTFOUND nobody@tiny.com"]);
    assert_eq!(answer.code(), "OK 003");
    assert_eq!(sink.wait_for(1).await[0].recipients, ["mary@tiny.com"], "one message: a question leaves none behind");
    for user in ["mary@tiny.com", "MARY@tiny.com", "m.weaver@tiny.com"] {
        assert_eq!(rcpt(&relay, user).await, 250);
    }
    assert_eq!(rcpt(&relay, "nobody@tiny.com").await, 550);
    let mut client = relay.cip().await;
    let answer = busy(&mut client, "nobody@tiny.com").await;
    assert_eq!((answer.infos.as_slice(), answer.code()), (["* NOTFOUND nobody@tiny.com".to_owned()].as_slice(), "NO 000"));
    // One question each, and one delivery.
    assert_eq!((sink.asked_for("mary@tiny.com"), sink.asked_for("m.weaver@tiny.com"), sink.asked_for("nobody@tiny.com")), (2, 0, 1));
    relay.advance(Duration::from_mins(11));
    assert_eq!((rcpt(&relay, "nobody@tiny.com").await, rcpt(&relay, "mary@tiny.com").await), (550, 250));
    assert_eq!((sink.asked_for("mary@tiny.com"), sink.asked_for("nobody@tiny.com")), (2, 2), "each word has its own life");
    sink.relent();
    relay.advance(Duration::from_mins(11));
    assert_eq!(rcpt(&relay, "nobody@tiny.com").await, 250, "he was made meanwhile");
    relay.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_mail_server_cannot_say_is_not_now() {
    let sink = Sink::start().await;
    let relay = probing(&sink, ", found = \"1h\"").await;
    // A user and an event from better days.
    assert_eq!(event(&relay, 1, &["mary@tiny.com"]).await.code(), "OK 000");
    sink.wait_for(1).await;
    relay.idle().await;
    for (stage, reply) in [
        (Stage::Rcpt, "450 4.2.0 Greylisted"),
        (Stage::Mail, "550 5.7.1 No null senders"),
        (Stage::Connect, "421 4.3.2 Busy"),
        (Stage::Rcpt, "554 5.7.1 Relay access denied"),
    ] {
        sink.refuse(stage, None, reply, usize::MAX);
        relay.advance(Duration::from_mins(1));
        assert_eq!(rcpt(&relay, "bob@tiny.com").await, 451, "{reply}");
        let answer = event(&relay, 2, &["bob@tiny.com", "mary@tiny.com"]).await;
        assert_eq!((answer.infos.len(), answer.code()), (0, "NO 004"), "{reply}");
        assert_eq!(busy(&mut relay.cip().await, "bob@tiny.com").await.code(), "NO 004", "{reply}");
        sink.relent();
    }
    sink.stop().await;
    relay.advance(Duration::from_mins(1));
    assert_eq!(rcpt(&relay, "bob@tiny.com").await, 451);
    // Her last good word is two hours old: while nobody can say otherwise, it counts.
    relay.advance(Duration::from_mins(120));
    assert_eq!((rcpt(&relay, "mary@tiny.com").await, rcpt(&relay, "bob@tiny.com").await), (250, 451));
    sink.up();
    relay.advance(Duration::from_mins(1));
    assert_eq!(event(&relay, 3, &["bob@tiny.com", "mary@tiny.com"]).await.code(), "OK 000");
    sink.wait_for(3).await;
    relay.idle().await;
}

/// The owner of ours who has left, and the one about whom the mail server cannot say.
#[tokio::test(flavor = "multi_thread")]
async fn an_rsvp_goes_to_an_owner_who_is_there() {
    let sink = Sink::start().await;
    let scene = Scene::with(|s| {
        s.domain_text(&format!(
            "name = \"tiny.com\"\nusers = {{ probe = \"smtp://{}?tls=none\", found = \"1ms\", not-found = \"1ms\" }}",
            sink.address()
        ))
    })
    .await;
    let mail =
        imip("REQUEST", "Mary <mary@tiny.com>", &[TOM], &ical("REQUEST", "r1@tiny.com", 0, "mary@tiny.com", &[(TOM, "NEEDS-ACTION")]));
    assert_eq!(scene.relay.smtp().await.mail("mary@tiny.com", &[TOM], mail.as_bytes()).await.code, 250);
    scene.jumbo.wait_for("SENDEVENT", 1).await;
    let rsvp = "UID: r1@tiny.com\nSEQUENCE: 1\nATTENDEE;STATUS=CONFIRMED: <tom@jumbo.com>\n";
    sink.refuse(Stage::Rcpt, None, "550 5.1.1 No such user", 1);
    let answer = scene.relay.cip().await.object("RSVP", rsvp).await;
    assert_eq!((answer.infos.as_slice(), answer.code()), (["* NOTFOUND r1@tiny.com".to_owned()].as_slice(), "NO 000"));
    eventually("her return", || async { (scene.relay.cip().await.object("RSVP", rsvp).await.code() == "OK 000").then_some(()) }).await;
    scene.sink.wait_for_recipient("mary@tiny.com", 1).await;
    scene.relay.idle().await;
}

/// A guesser is stopped, and nobody is asked for whom he hears nothing of.
#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_few_also_for_the_mail_server() {
    let sink = Sink::start().await;
    sink.refuse(Stage::Rcpt, None, "550 5.1.1 No such user", usize::MAX);
    let relay = probing(&sink, "").await;
    let names: Vec<String> = (0..60).map(|n| format!("guess{n}@tiny.com")).collect();
    let mut stranger = CipClient::connect_from("127.0.0.2", relay.cip_address()).await;
    let answer =
        stranger.object("SENDEVENT", &bare("g@evil.org", 1, "eve@evil.org", &names.iter().map(String::as_str).collect::<Vec<_>>())).await;
    assert_eq!(answer.infos.iter().filter(|i| i.starts_with("* NOTFOUND")).count(), 21);
    let asked: usize = names.iter().map(|name| sink.asked_for(name)).sum();
    assert!((21..30).contains(&asked), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_file_is_followed_and_a_bad_one_changes_nothing() {
    let sink = Sink::start().await;
    let settings = Settings::new("tiny.com").smarthost(sink.address()).quick();
    let file = settings.path("users.txt");
    fs::write(&file, "mary\n").unwrap();
    let process = Process::start(settings.domain_text("name = \"tiny.com\"\nusers = { file = \"users.txt\" }")).await;
    let knows = |user: &'static str| {
        let process = &process;
        async move {
            let mut client = process.inbound().await;
            client.command("MAIL FROM:<x@else.org>").await;
            client.command(&format!("RCPT TO:<{user}@tiny.com>")).await.code == 250
        }
    };
    assert!(knows("mary").await && !knows("bob").await);
    fs::write(&file, "mary\nbob # new\n").unwrap();
    eventually("bob", || async { knows("bob").await.then_some(()) }).await;
    // Whatever goes wrong with the file is said, and bob stays.
    let says = |words: &'static str| {
        let process = &process;
        eventually(words, move || async move { process.log().contains(words).then_some(()) })
    };
    fs::write(&file, "carol\ntom@jumbo.com\n").unwrap();
    says("\"tom@jumbo.com\" is not a local part or an address of that domain").await;
    fs::write(&file, "# all gone\n").unwrap();
    says("names nobody any more").await;
    fs::remove_file(&file).unwrap();
    says("No such file").await;
    assert!(knows("bob").await && !knows("carol").await);
    // Another file in its place, as a careful program writes it; SIGHUP does not wait for it to stand still.
    let new = process.settings.path("users.new");
    fs::write(&new, "carol\n").unwrap();
    fs::rename(&new, &file).unwrap();
    process.signal("HUP");
    eventually("carol", || async { knows("carol").await.then_some(()) }).await;
    assert!(!knows("bob").await);
}
