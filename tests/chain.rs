//! Relays in a row and in a circle, and servers that claim what is not theirs.

mod loops;
mod newest;
mod standing;

use crate::bridge::bare;
use crate::support::dns::Dns;
use crate::support::peer::{Behaviour, CipPeer, Reply};
use crate::support::relay::Settings;
use crate::support::running::Running;
use crate::support::sink::Sink;

/// A relay whose clients on this machine may send to anybody.
fn hub(server_id: &str, dns: &Dns, sink: &Sink) -> Settings {
    Settings::new(server_id).dns(dns.address()).smarthost(sink.address()).quick().set("cip.relay-networks", vec!["127.0.0.1/32"])
}

fn via(settings: Settings, server_id: &str, relay: &Running) -> Settings {
    settings.peer(&format!("server-id = \"{server_id}\"\nvia = \"{}\"", relay.cip_address()))
}

/// SRV records that lead to these peers.
fn zones(peers: &[&CipPeer]) -> String {
    let zone = |p: &&CipPeer| format!("$ORIGIN {}.\n_cip._tcp SRV 0 0 {} cal\ncal A 127.0.0.1\n", p.server_id(), p.address().port());
    peers.iter().map(zone).collect()
}

/// An object without the lines that a relay adds.
fn bared(text: &str) -> String {
    text.split_inclusive("\r\n").filter(|l| !l.starts_with("X-CIP-")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_behind_two_relays_get_the_event_once_each_for_their_own() {
    let mut peers = Vec::new();
    for name in ["one.com", "two.com", "three.com"] {
        peers.push(CipPeer::start(name, Behaviour::accept()).await);
    }
    let dns = Dns::start(&zones(&peers.iter().collect::<Vec<_>>())).await;
    let sink = Sink::start().await;
    let far = Running::start(hub("far.org", &dns, &sink)).await;
    let mut settings = hub("near.org", &dns, &sink);
    for peer in &peers {
        settings = via(settings, peer.server_id(), &far);
    }
    let near = Running::start(settings).await;

    let users = ["a@one.com", "b@two.com", "c@three.com", "d@one.com"];
    let object = bare("e1@jumbo.com", 1, "tom@jumbo.com", &users);
    for _ in 0..2 {
        // The second time is a repetition, and answered as the first.
        let answer = near.cip().await.object("SENDEVENT", &object).await;
        assert_eq!(answer.infos, users.map(|u| format!("* TENTATIVE {u}")));
        assert_eq!(answer.code(), "OK 000");
        near.idle().await;
        far.idle().await;
    }
    for (peer, own) in peers.iter().zip([vec!["a@one.com", "d@one.com"], vec!["b@two.com"], vec!["c@three.com"]]) {
        let events = peer.of("SENDEVENT");
        assert_eq!(events.len(), 1, "{}", peer.server_id());
        let text = events[0].text();
        let named: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("X-CIP-RCPT:")).collect();
        assert_eq!(named, own, "{text}");
        let traces: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("X-CIP-TRACE:")).collect();
        let servers: Vec<&str> = traces.iter().map(|t| t.split(';').next().unwrap()).collect();
        assert_eq!(servers, ["near.org", "far.org"], "{text}");
        assert_eq!(bared(&text), object.replace('\n', "\r\n"), "from CIP to CIP octet for octet");
    }
    assert!(sink.mails().is_empty());
}

/// Two relays that each take the other for the way: the first to see its own trace line refuses, and the owner hears it.
#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_relays_ends_at_the_first_that_sees_itself() {
    let dns = Dns::start("$ORIGIN nowhere.\n").await;
    let sink = Sink::start().await;
    // Each must know the other's port: the first starts a second time on the port that it had.
    let settings = hub("near.org", &dns, &sink).ports();
    let address = settings.clone();
    let near = Running::start(settings).await;
    let far = Running::start(via(hub("far.org", &dns, &sink), "lost.com", &near)).await;
    let near_address = near.cip_address();
    near.relay.shutdown().await;
    let near = Running::start(via(address, "lost.com", &far)).await;
    assert_eq!(near.cip_address(), near_address);

    let answer = near.cip().await.object("SENDEVENT", &bare("e1@jumbo.com", 1, "tom@jumbo.com", &["x@lost.com"])).await;
    assert_eq!(answer.code(), "OK 000");
    let report = sink.wait_for(1).await.remove(0);
    assert_eq!((report.sender.as_str(), report.recipients[0].as_str()), ("", "tom@jumbo.com"));
    assert!(report.text().contains("PERMDENIED"), "{}", report.text());
    near.idle().await;
    far.idle().await;
    assert_eq!(sink.mails().len(), 1);
}

/// One server speaks of another's user, first beside its own, then as the second server that an answer is tried at.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_redirects_other_peoples_users() {
    let moved = "* REDIRECT USER w@c.com IS NOW eve@evil.org";
    let b = CipPeer::start("b.com", Behaviour::accept().answer("SENDEVENT", &["* TENTATIVE u@b.com", moved, "OK 003 Some."])).await;
    let c = CipPeer::down("c.com", Behaviour::accept());
    let evil = CipPeer::start("evil.org", Behaviour::accept()).await;
    let dns = Dns::start(&zones(&[&b, &c, &evil])).await;
    let sink = Sink::start().await;
    let relay = Running::start(hub("near.org", &dns, &sink)).await;
    let answer = relay.cip().await.object("SENDEVENT", &bare("e1@b.com", 1, "tom@c.com", &["u@b.com", "w@c.com"])).await;
    assert_eq!(answer.code(), "OK 000");
    b.wait_for("SENDEVENT", 1).await;
    relay.entry("w@c.com alone, waiting", |e| e.attempts > 0 && e.recipients.iter().all(|r| r.user.to_string() == "w@c.com")).await;
    c.up();
    c.wait_for("SENDEVENT", 1).await;
    relay.idle().await;
    // Nothing was learned of him either.
    relay.cip().await.object("SENDEVENT", &bare("e2@b.com", 1, "tom@c.com", &["w@c.com"])).await;
    c.wait_for("SENDEVENT", 2).await;

    // The owner's server does not know the event; the event's server is asked, and has no say over the owner.
    let gone =
        |lines: &'static [&'static str]| Behaviour::accept().rule(move |c, _| (c.verb == "RSVP").then(|| Reply::lines(lines.to_vec())));
    c.behave(gone(&["* NOTFOUND e1@b.com", "NO 000 No such event."]));
    b.behave(gone(&["* REDIRECT USER tom@c.com IS NOW eve@evil.org", "OK 000 Taken."]));
    let answer = relay.cip().await.object("RSVP", "UID: e1@b.com\nSEQUENCE: 1\nATTENDEE;STATUS=CONFIRMED: <u@b.com>\n").await;
    assert_eq!(answer.code(), "OK 000", "{answer:?}");
    b.wait_for("RSVP", 1).await;
    relay.idle().await;
    assert_eq!((c.of("RSVP").len(), b.of("RSVP").len(), evil.connections()), (1, 1, 0));
    assert!(sink.mails().is_empty());
}

/// An event for many users of one relay comes by as many connections at once: all of them are first, and none is doubted.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_of_one_event_that_arrive_together_are_all_taken() {
    let dns = Dns::start("$ORIGIN nowhere.\n").await;
    let sink = Sink::start().await;
    let relay = Running::start(hub("near.org", &dns, &sink)).await;
    for round in 0..10 {
        let mut sessions = tokio::task::JoinSet::new();
        for n in 0..8 {
            let mut client = relay.cip().await;
            let object = bare(&format!("e{round}@jumbo.com"), 1, "tom@jumbo.com", &["a@near.org"]) + &format!("X-CIP-RCPT:u{n}@near.org\n");
            sessions.spawn(async move { client.object("SENDEVENT", &object).await });
        }
        while let Some(answer) = sessions.join_next().await {
            assert_eq!(answer.unwrap().code(), "OK 000");
        }
    }
    relay.idle().await;
    assert_eq!(sink.mails().len(), 80);
}
