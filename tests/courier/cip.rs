//! The CIP courier.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cip_relay::cip::response::{Answer, Info};
use cip_relay::clock::{ManualClock, Timestamp};
use cip_relay::config::Config;
use cip_relay::courier::cip::{CipCourier, Said, Timeouts};
use cip_relay::courier::{CipResult, CipVerb, FreeBusyResult, Unreachable};
use cip_relay::ident::{ServerId, UserId};
use cip_relay::locate::Locator;
use cip_relay::resolver::Resolver;

use super::{config, peer};
use crate::support::dns::Dns;
use crate::support::peer::{Behaviour, CipPeer, Reply};
use crate::support::{eventually, in_time};

const EVENT: &[u8] = b"UID: 1@tiny.com\r\nSEQUENCE: 1\r\nATTENDEE; ROLE=OWNER: <pete@tiny.com>\r\nATTENDEE: <tom@jumbo.com>\r\n..\r\n.\r\n";

fn jumbo() -> ServerId {
    "jumbo.com".parse().unwrap()
}

fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_millis(1_795_362_240_000))
}

fn courier_with(config: &Config, clock: &ManualClock) -> CipCourier {
    let locator = Locator::new(Resolver::new(&config.dns).unwrap(), config);
    CipCourier::new(locator, Arc::new(clock.clone())).timeouts(Timeouts {
        greeting: Duration::from_millis(800),
        greeting_unpromised: Duration::from_millis(300),
        answer: Duration::from_secs(10),
        ..Timeouts::new(Duration::from_secs(5))
    })
}

/// DNS with SRV records for jumbo.com that lead to these peers in this order.
async fn dns_to(peers: &[&CipPeer]) -> Dns {
    let mut zone = "$ORIGIN jumbo.com.\ncal 0 IN A 127.0.0.1\n".to_owned();
    for (i, peer) in peers.iter().enumerate() {
        writeln!(zone, "_cip._tcp 0 IN SRV {} 0 {} cal.jumbo.com.", i + 1, peer.address().port()).unwrap();
    }
    Dns::start(&zone).await
}

async fn deliver(courier: &CipCourier) -> CipResult {
    in_time("the courier", courier.deliver(&jumbo(), CipVerb::SendEvent, EVENT)).await
}

fn tentative() -> Answer {
    let mut answer = Answer::ok(0, "Stored.");
    answer.infos.push(Info::Tentative(UserId::parse("tom@jumbo.com").unwrap()));
    answer
}

#[track_caller]
fn answered(result: &CipResult) -> &Answer {
    match result {
        CipResult::Answered(answer) => answer,
        other => panic!("no answer but {other:?}"),
    }
}

#[track_caller]
fn unreachable_for(result: &CipResult, want: Unreachable, words: &str) {
    match result {
        CipResult::Unreachable { why, detail } => {
            assert_eq!(*why, want, "{detail}");
            assert!(detail.contains(words), "{detail:?} does not say {words:?}");
        }
        other => panic!("not unreachable but {other:?}"),
    }
}

#[tokio::test]
async fn commands_for_one_server_share_a_connection() {
    let server = CipPeer::start("jumbo.com", Behaviour::accept()).await;
    let dns = dns_to(&[&server]).await;
    let courier = courier_with(&config(&dns), &clock());
    assert_eq!(courier.known_cip(&jumbo()), None);
    let first = deliver(&courier).await;
    assert!(answered(&first).completion.ok && answered(&first).infos == tentative().infos, "{first:?}");
    let rsvp = in_time("RSVP", courier.deliver(&jumbo(), CipVerb::Rsvp, EVENT)).await;
    assert!(answered(&rsvp).completion.ok, "{rsvp:?}");
    let FreeBusyResult::Answered(free_busy) = in_time("FREEBUSY", courier.free_busy(&jumbo(), b"ATTENDEE: tom@jumbo.com\r\n")).await else {
        panic!("no answer")
    };
    assert!(free_busy.data.is_none() && !free_busy.answer.completion.ok, "{free_busy:?}");
    let seen: Vec<_> = server.commands().into_iter().map(|c| (c.connection, c.verb, c.object)).collect();
    assert_eq!(seen[..2], [(0, "SENDEVENT".to_owned(), EVENT.to_vec()), (0, "RSVP".to_owned(), EVENT.to_vec())]);
    assert_eq!((seen.len(), server.connections()), (3, 1));
    assert_eq!(courier.known_cip(&jumbo()), Some(Timestamp::from_millis(1_795_362_240_000)));
}

#[tokio::test]
async fn idle_connections_end_and_closed_ones_are_replaced() {
    let server = CipPeer::start("jumbo.com", Behaviour::accept()).await;
    let dns = dns_to(&[&server]).await;
    let base = courier_with(&config(&dns), &clock());
    let courier = base.clone().timeouts(Timeouts { idle: Duration::from_millis(50), ..Timeouts::new(Duration::from_secs(5)) });
    answered(&deliver(&courier).await);
    tokio::time::sleep(Duration::from_millis(80)).await;
    answered(&deliver(&courier).await);
    assert_eq!(server.connections(), 2);
    // The server restarts behind a kept connection.
    answered(&deliver(&base).await);
    server.stop().await;
    server.up();
    answered(&deliver(&base).await);
    assert_eq!(server.connections(), 4);
    // The server ends the session in its answer.
    server.behave(Behaviour::accept().answer("SENDEVENT", &["NO 005 Idle."]));
    assert_eq!(*answered(&deliver(&base).await), Answer::no(5, "Idle."));
    // Asked over the kept connection, then over a new one, whose word counted and which was not kept.
    assert_eq!(server.connections(), 5);
    server.behave(Behaviour::accept());
    answered(&deliver(&base).await);
    assert_eq!(server.connections(), 6);
}

#[tokio::test]
async fn the_next_candidate_takes_over() {
    let good = CipPeer::start("jumbo.com", Behaviour::accept()).await;
    for (name, bad) in [
        ("refuses connections", CipPeer::down("jumbo.com", Behaviour::accept())),
        ("speaks SMTP", CipPeer::start("jumbo.com", Behaviour::smtp()).await),
        ("is silent", CipPeer::start("jumbo.com", Behaviour::silent()).await),
        ("is busy", CipPeer::start("jumbo.com", Behaviour::no_service()).await),
        ("speaks CIP 2", CipPeer::start("jumbo.com", Behaviour::greeting("OK CIP 2.0 jumbo.com\r\n")).await),
        ("says half a line", CipPeer::start("jumbo.com", Behaviour::greeting("OK CIP")).await),
        ("never ends its line", CipPeer::start("jumbo.com", Behaviour::greeting("x".repeat(100_000))).await),
    ] {
        let dns = dns_to(&[&bad, &good]).await;
        let before = good.of("SENDEVENT").len();
        let result = deliver(&courier_with(&config(&dns), &clock())).await;
        assert!(answered(&result).completion.ok, "{name}: {result:?}");
        assert_eq!(good.of("SENDEVENT").len(), before + 1, "{name}");
        assert!(bad.commands().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_promised_server_that_is_not_there_is_down() {
    for (behaviour, words) in [
        (None, "refused"),
        (Some(Behaviour::smtp()), "220 mail.example ESMTP"),
        (Some(Behaviour::silent()), "says nothing"),
        (Some(Behaviour::no_service()), "Too many sessions"),
        (Some(Behaviour::greeting("OK CIP 2.0 x\r\n")), "CIP 2.0"),
        (Some(Behaviour::greeting("HTTP/1.1 400 Bad Request\r\n")), "HTTP/1.1"),
    ] {
        let server = match behaviour {
            None => CipPeer::down("jumbo.com", Behaviour::accept()),
            Some(behaviour) => CipPeer::start("jumbo.com", behaviour).await,
        };
        let dns = dns_to(&[&server]).await;
        let courier = courier_with(&config(&dns), &clock());
        for _ in 0..2 {
            unreachable_for(&deliver(&courier).await, Unreachable::Down, words);
        }
    }
}

#[tokio::test]
async fn an_unpromised_server_that_does_not_speak_cip_is_silent_for_an_hour() {
    for (behaviour, words) in [(Behaviour::smtp(), "220 mail.example"), (Behaviour::silent(), "says nothing")] {
        let server = CipPeer::start("jumbo.com", behaviour).await;
        let dns = Dns::start("$ORIGIN jumbo.com.\n@ 0 IN A 127.0.0.1").await;
        let mut config = config(&dns);
        config.cip.default_port = server.address().port();
        let clock = clock();
        let courier = courier_with(&config, &clock);
        unreachable_for(&deliver(&courier).await, Unreachable::Silent, words);
        clock.advance(Duration::from_mins(59));
        unreachable_for(&deliver(&courier).await, Unreachable::Silent, "last hour");
        assert_eq!(server.connections(), 1);
        clock.advance(Duration::from_mins(1));
        server.behave(Behaviour::accept());
        answered(&deliver(&courier).await);
        // It has spoken CIP now: when it is gone it is missed.
        server.stop().await;
        unreachable_for(&deliver(&courier).await, Unreachable::Down, "refused");
        dns.replace("$ORIGIN other.com.");
        unreachable_for(&deliver(&courier).await, Unreachable::Down, "neither an SRV record");
    }
}

#[tokio::test]
async fn a_busy_server_is_not_silent_and_an_srv_record_ends_the_silence() {
    let server = CipPeer::start("jumbo.com", Behaviour::no_service()).await;
    let dns = Dns::start("$ORIGIN jumbo.com.\n@ 0 IN A 127.0.0.1").await;
    let mut config = config(&dns);
    config.cip.default_port = server.address().port();
    let courier = courier_with(&config, &clock());
    unreachable_for(&deliver(&courier).await, Unreachable::Down, "Too many sessions");
    server.behave(Behaviour::smtp());
    unreachable_for(&deliver(&courier).await, Unreachable::Silent, "ESMTP");
    server.behave(Behaviour::accept());
    dns.replace(&format!("$ORIGIN jumbo.com.\n@ 0 IN A 127.0.0.1\n_cip._tcp 0 IN SRV 0 0 {} jumbo.com.", server.address().port()));
    answered(&deliver(&courier).await);
}

#[tokio::test]
async fn what_dns_and_policy_say_makes_no_connection() {
    let server = CipPeer::start("jumbo.com", Behaviour::accept()).await;
    let dns = dns_to(&[&server]).await;
    let mut config = config(&dns);
    dns.servfail("jumbo.com", true);
    unreachable_for(&deliver(&courier_with(&config, &clock())).await, Unreachable::Dns, "Server Failure");
    dns.servfail("jumbo.com", false);

    config.dns.allow_targets = Vec::new();
    unreachable_for(&deliver(&courier_with(&config, &clock())).await, Unreachable::Refused, "loopback");
    config.dns.allow_targets = vec!["127.0.0.0/8".parse().unwrap()];

    config.cip.listen = vec![server.address()];
    unreachable_for(&deliver(&courier_with(&config, &clock())).await, Unreachable::Refused, "itself");
    config.cip.listen = Vec::new();

    config.peer = vec![peer("server-id = \"jumbo.com\"\nroute = \"mail\"")];
    unreachable_for(&deliver(&courier_with(&config, &clock())).await, Unreachable::NoCip, "by e-mail");
    config.peer = vec![peer("server-id = \"jumbo.com\"\ntls = \"required\"")];
    unreachable_for(&deliver(&courier_with(&config, &clock())).await, Unreachable::Refused, "TLS");
    config.peer.clear();

    dns.replace("$ORIGIN jumbo.com.\n@ 0 IN A 127.0.0.1\n_cip._tcp 0 IN SRV 0 0 0 .");
    config.cip.default_port = server.address().port();
    unreachable_for(&deliver(&courier_with(&config, &clock())).await, Unreachable::NoCip, "no CIP service");
    dns.replace("$ORIGIN jumbo.com.\n@ 0 IN MX 1 jumbo.com.");
    unreachable_for(&deliver(&courier_with(&config, &clock())).await, Unreachable::Silent, "neither an SRV record");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_uncertain() {
    let server = CipPeer::start("jumbo.com", Behaviour::accept().cut_after_data(1)).await;
    let spare = CipPeer::start("jumbo.com", Behaviour::accept()).await;
    let dns = dns_to(&[&server, &spare]).await;
    let courier = courier_with(&config(&dns), &clock());
    let result = deliver(&courier).await;
    assert!(matches!(&result, CipResult::Uncertain(why) if why.contains("closed")), "{result:?}");
    // Not even the next candidate: it would be a second delivery.
    assert_eq!(spare.connections(), 0);
    answered(&deliver(&courier).await);
    // The same over a kept connection: not tried again by the courier itself.
    server.behave(Behaviour::accept().cut_after_data(1));
    assert!(matches!(deliver(&courier).await, CipResult::Uncertain(_)));
    assert_eq!((server.of("SENDEVENT").len(), server.connections(), spare.connections()), (3, 2, 0));
    for nonsense in ["250 Ok", "SENT 000", "* TENTATIVE tom@jumbo.com\nOK 000"] {
        server.behave(Behaviour::accept().answer("SENDEVENT", &[nonsense]));
        assert!(matches!(deliver(&courier).await, CipResult::Uncertain(_)), "{nonsense:?}");
    }
    server.behave(Behaviour::accept().rule(|c, _| (c.verb == "SENDEVENT").then_some(Reply::Silence)));
    let short = courier.timeouts(Timeouts { answer: Duration::from_millis(200), ..Timeouts::new(Duration::from_secs(5)) });
    let result = deliver(&short).await;
    assert!(matches!(&result, CipResult::Uncertain(why) if why.contains("no answer within")), "{result:?}");
    // Of a question nothing is left behind.
    server.behave(Behaviour::accept().rule(|_, _| Some(Reply::Cut)));
    let result = in_time("FREEBUSY", short.free_busy(&jumbo(), b"x\r\n")).await;
    assert!(matches!(result, FreeBusyResult::Unreachable { why: Unreachable::Down, .. }), "{result:?}");
}

#[tokio::test]
async fn a_dropped_delivery_leaves_nothing_to_the_next_one() {
    let late = Behaviour::accept().rule(|c, _| {
        (c.verb == "SENDEVENT").then(|| Reply::Late(Duration::from_millis(150), vec!["NO 001 For the first one.".to_owned()]))
    });
    let server = CipPeer::start("jumbo.com", Behaviour::accept()).await;
    let dns = dns_to(&[&server]).await;
    let courier = courier_with(&config(&dns), &clock());
    // A kept connection is there to be misused.
    answered(&deliver(&courier).await);
    server.behave(late);
    let dropped = tokio::time::timeout(Duration::from_millis(60), courier.deliver(&jumbo(), CipVerb::SendEvent, EVENT)).await;
    assert!(dropped.is_err());
    eventually("the dropped command", || async { (server.of("SENDEVENT").len() == 2).then_some(()) }).await;
    server.behave(Behaviour::accept());
    let rsvp = in_time("RSVP", courier.deliver(&jumbo(), CipVerb::Rsvp, EVENT)).await;
    assert!(answered(&rsvp).completion.ok, "{rsvp:?}");
    assert_eq!(server.of("RSVP")[0].connection, 1);
}

#[tokio::test]
async fn logins_are_made_and_refusals_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jumbo.pw");
    std::fs::write(&file, "pass word\r\nsecond line").unwrap();
    let server = CipPeer::start("jumbo.com", Behaviour::accept().answer("AUTHENTICATE", &["OK 000 Welcome."])).await;
    let dns = dns_to(&[&server]).await;
    let mut config = config(&dns);
    config.peer = vec![peer(&format!("server-id = \"jumbo.com\"\nidentity = \"tiny.com\"\npassword-file = {file:?}"))];
    let seen = Arc::new(Mutex::new(String::new()));
    let shown = seen.clone();
    let courier = courier_with(&config, &clock()).dialog(Arc::new(move |who, octets: &[u8]| {
        let who = if who == Said::Client { "C" } else { "S" };
        write!(shown.lock().unwrap(), "{who}:{}", String::from_utf8_lossy(octets)).unwrap();
    }));
    answered(&deliver(&courier).await);
    answered(&deliver(&courier).await);
    let lines: Vec<_> = server.of("AUTHENTICATE").into_iter().map(|c| c.line).collect();
    assert_eq!(lines, ["AUTHENTICATE LOGIN tiny.com pass word"]);
    let dialog = seen.lock().unwrap().clone();
    assert!(
        dialog.starts_with("S:OK CIP 1.0 jumbo.com\r\nC:AUTHENTICATE LOGIN tiny.com ***\r\nS:OK 000 Welcome.\r\nC:SENDEVENT +\r\n"),
        "{dialog}"
    );
    assert!(!dialog.contains("pass word"));

    for (reply, why, words) in [
        ("NO 000 Access denied.", Unreachable::Refused, "refused the login of tiny.com: NO 000 Access denied."),
        ("NO 002", Unreachable::Refused, "NO 002"),
        ("NO 004 Later.", Unreachable::Down, "Later."),
    ] {
        server.behave(Behaviour::accept().answer("AUTHENTICATE", &[reply]));
        unreachable_for(&deliver(&courier_with(&config, &clock())).await, why, words);
    }
    std::fs::remove_file(&file).unwrap();
    unreachable_for(&deliver(&courier_with(&config, &clock())).await, Unreachable::Down, "cannot be read");
    assert_eq!(server.of("SENDEVENT").len(), 2);
}

#[tokio::test]
async fn what_cip_cannot_carry_is_a_bad_object() {
    let server = CipPeer::start("jumbo.com", Behaviour::accept()).await;
    let dns = dns_to(&[&server]).await;
    let courier = courier_with(&config(&dns), &clock());
    for object in [&b"UID: 1\nX: 2\r\n"[..], b"UID: 1\r", b"UID: \0\r\n"] {
        let result = courier.deliver(&jumbo(), CipVerb::SendEvent, object).await;
        assert_eq!(answered(&result).completion.code, 1, "{object:?}");
    }
    assert_eq!(server.connections(), 0);
}
