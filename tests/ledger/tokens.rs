//! Reply addresses: not to be guessed, never the same, the same after a restart and in any case; and a clear word for
//! those that are not one's own to use.

use std::collections::HashSet;

use cip_relay::clock::Timestamp;
use cip_relay::ident::{EventId, UserId};
use cip_relay::imip::address::{Kind, Token};
use cip_relay::ledger::Ledger;
use cip_relay::ledger::records::TokenRecord;
use cip_relay::store::{Batch, Store, StoreOptions};

use crate::bridge::{Scene, bare, ical, imip, zone};
use crate::outcomes::{organizer, tom_invites_mary};
use crate::support::dns::Dns;
use crate::support::peer::{Behaviour, CipPeer};
use crate::support::relay::{Process, Settings};
use crate::support::sink::Sink;

/// 10,000 tokens as the relay makes them, each with its meaning.
fn tokens(secret: &[u8; 32]) -> Vec<(Token, TokenRecord)> {
    let owner = UserId::parse("tom@jumbo.com").unwrap();
    let one = |n: u32| {
        let event = EventId::parse(&format!("{}@jumbo.com", n / 100)).unwrap();
        let holder = UserId::parse(&format!("user{}@tiny.com", n % 50)).unwrap();
        let kind = if n % 100 < 50 { Kind::Reply } else { Kind::Bounce };
        let token = Token::derive(secret, &event, &owner, &holder, kind);
        let bounce = kind == Kind::Bounce;
        (token, TokenRecord { event_id: event, counterpart: owner.clone(), holder, bounce, created: Timestamp::from_millis(1) })
    };
    (0..10_000).map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_tokens_are_unguessable_unique_and_outlive_restart_and_change_of_case() {
    let tokens = tokens(&rand::random());
    let texts: HashSet<&str> = tokens.iter().map(|(token, _)| token.as_str()).collect();
    assert_eq!(texts.len(), 10_000);
    // After the letter of the kind, 26 digits of 32: 130 bits. Each digit takes every value, about as often as the others
    // (10,000/32 = 312, standard deviation 17), so that none of them is known beforehand.
    for place in 1..27 {
        let mut counts = [0u32; 256];
        for text in &texts {
            counts[usize::from(text.as_bytes()[place])] += 1;
        }
        let used: Vec<u32> = counts.into_iter().filter(|n| *n > 0).collect();
        assert_eq!(used.len(), 32, "place {place}");
        assert!(used.iter().all(|n| (190..=440).contains(n)), "place {place}: {used:?}");
    }
    // Nor does one token say anything of the next: no two have so much as ten digits in common.
    let beginnings: HashSet<&str> = texts.iter().map(|text| &text[1..11]).collect();
    let ends: HashSet<&str> = texts.iter().map(|text| &text[17..]).collect();
    assert_eq!((beginnings.len(), ends.len()), (10_000, 10_000));
    assert!(texts.iter().all(|text| text.len() == 27 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())));

    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { free_space_minimum: 0, ..StoreOptions::default() };
    let store = Store::open(dir.path(), &options).unwrap();
    let ledger = Ledger::new(store.clone());
    let mut batch = Batch::default();
    for (token, record) in &tokens {
        ledger.put_token(&mut batch, token.as_str(), record).unwrap();
    }
    store.commit(batch).await.unwrap();
    drop((store, ledger));
    let ledger = Ledger::new(Store::open(dir.path(), &options).unwrap());
    for (n, (token, record)) in tokens.iter().enumerate() {
        let text = if n % 2 == 0 { token.as_str().to_ascii_uppercase() } else { token.as_str().to_owned() };
        assert_eq!(ledger.token(&text).unwrap().as_ref(), Some(record));
    }
    let of_event = ledger.tokens(&tokens[0].1.event_id, None, 1000).unwrap();
    assert_eq!(of_event.len(), 100);
}

/// The relay is killed and started again: a token that a mail system has written in capitals still leads to the owner.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_token_in_capitals_arrives_after_a_crash() {
    let jumbo = CipPeer::start("jumbo.com", Behaviour::accept()).await;
    let dns = Dns::start(&zone(&jumbo)).await;
    let sink = Sink::start().await;
    let mut relay = Process::start(Settings::new("tiny.com").dns(dns.address()).smarthost(sink.address())).await;
    let answer = relay.cip().await.object("SENDEVENT", &bare("e1@jumbo.com", 1, "tom@jumbo.com", &["mary@tiny.com"])).await;
    assert_eq!(answer.code(), "OK 000");
    let token = organizer(&sink.wait_for(1).await[0]);
    relay.kill();
    relay.start_again().await;
    for (n, (token, partstat)) in [(token.to_ascii_uppercase(), "ACCEPTED"), (token.to_ascii_lowercase(), "DECLINED")].iter().enumerate() {
        let reply = ical("REPLY", "e1@jumbo.com", 0, token, &[("mary@tiny.com", partstat)]);
        let reply = reply.replace("DTSTAMP:20261122T1200", &format!("DTSTAMP:20261122T12{n:02}"));
        let done = relay.smtp().await.mail("mary@tiny.com", &[token], imip("REPLY", "mary@tiny.com", &[token], &reply).as_bytes()).await;
        assert_eq!(done.code, 250, "{done:?}");
        assert_eq!(jumbo.wait_for("RSVP", n + 1).await[n].value("UID").as_deref(), Some("e1@jumbo.com"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_token_is_refused_when_it_is_named() {
    let scene = Scene::new().await;
    let token = tom_invites_mary(&scene, "e1@jumbo.com", 1).await;
    let (local, domain) = token.split_once('@').unwrap();
    // One digit is another.
    let last = if local.ends_with('a') { 'b' } else { 'a' };
    let forged = format!("{}{last}@{domain}", &local[..local.len() - 1]);
    for mut client in [scene.relay.smtp().await, scene.relay.inbound().await] {
        assert_eq!(client.command("MAIL FROM:<mary@tiny.com>").await.code, 250);
        let refused = client.command(&format!("RCPT TO:<{forged}>")).await;
        assert_eq!(refused.code, 550, "{refused:?}");
        assert!(
            refused.lines.join(" ").contains("5.1.1 No such reply address here: it was never given, or its event is over"),
            "{refused:?}"
        );
        let known = client.command(&format!("RCPT TO:<{token}>")).await;
        assert_eq!(known.code, 250, "{known:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_event_is_refused_with_that_reason() {
    let scene = Scene::new().await;
    let token = tom_invites_mary(&scene, "e1@jumbo.com", 1).await;
    tom_invites_mary(&scene, "e2@jumbo.com", 1).await;
    let reply = ical("REPLY", "e2@jumbo.com", 0, &token, &[("mary@tiny.com", "ACCEPTED")]);
    let reply = imip("REPLY", "mary@tiny.com", &[&token], &reply);
    let done = scene.relay.smtp().await.mail("mary@tiny.com", &[&token], reply.as_bytes()).await;
    assert_eq!(done.code, 550, "{done:?}");
    assert!(done.lines.join(" ").contains("This reply address belongs to another event"), "{done:?}");
    scene.relay.idle().await;
    assert!(scene.jumbo.of("RSVP").is_empty());
}
