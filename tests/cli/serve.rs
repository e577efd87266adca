//! `serve` and what is asked of it while it runs.

use super::{code, stderr, stdout};
use crate::support::eventually;
use crate::support::peer::{Behaviour, CipPeer};
use crate::support::relay::{Process, Settings};

const MAIL: &[u8] = b"From: tom@jumbo.com\nTo: mary@tiny.com\nMessage-ID: <1@jumbo.com>\nDate: Sun, 22 Nov 2026 12:00:00 +0000\nSubject: Lunch\nMIME-Version: 1.0\nContent-Type: text/calendar; method=REQUEST; charset=utf-8\n\nBEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//x//y//EN\nMETHOD:REQUEST\nBEGIN:VEVENT\nUID:lunch-1\nSEQUENCE:2\nDTSTAMP:20261122T120000Z\nDTSTART:20261201T113000Z\nDTEND:20261201T123000Z\nSUMMARY:Lunch\nORGANIZER:mailto:tom@jumbo.com\nATTENDEE:mailto:mary@tiny.com\nEND:VEVENT\nEND:VCALENDAR\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_running_relay_takes_mail_is_looked_at_and_ends_in_order() {
    let peer = CipPeer::down("tiny.com", Behaviour::accept());
    let via = format!("server-id = \"tiny.com\"\nvia = \"{}\"", peer.address());
    let mut relay = Process::start(Settings::new("jumbo.com").peer(&via)).await;
    let settings = relay.settings.clone();
    let run = |words: &[&str], input: &[u8]| tokio::task::block_in_place(|| settings.run(words, input));

    let output = run(&["submit", "-oi", "-f", "tom@jumbo.com", "mary@tiny.com"], MAIL);
    assert_eq!((code(&output), stdout(&output), stderr(&output)), (0, String::new(), String::new()));
    let refused = run(&["submit", "-f", "tom@jumbo.com", "not an address"], MAIL);
    assert!([65, 67, 77].contains(&code(&refused)) && stderr(&refused).contains("not an address: 5"), "{refused:?}");

    let entry = eventually("a first attempt", || async {
        relay.queue_json().into_iter().find(|e| e["attempts"].as_u64() > Some(0) || e["state"] == "deferred")
    })
    .await;
    assert_eq!((&entry["verb"], &entry["server_id"], &entry["origin"]["via"]), (&"sendevent".into(), &"tiny.com".into(), &"submit".into()));
    let id = entry["id"].as_str().unwrap();
    peer.up();
    let output = run(&["queue", "retry", id, "--reason", "it is up"], b"");
    assert_eq!((code(&output), stdout(&output)), (0, "1 entry made due\n".to_owned()), "{output:?}");
    peer.wait_for("SENDEVENT", 1).await;
    relay.queue_empty().await;

    let event: serde_json::Value = serde_json::from_str(stdout(&run(&["ledger", "list", "--json"], b"")).trim()).unwrap();
    assert_eq!((&event["summary"], &event["owner"], &event["version"]), (&"Lunch".into(), &"tom@jumbo.com".into(), &3.into()), "{event}");
    let shown = stdout(&run(&["ledger", "show", event["event_id"].as_str().unwrap()], b""));
    assert!(shown.contains("  mary@tiny.com, reached by cip\n"), "{shown}");
    assert_eq!(code(&run(&["ledger", "show", "nothing@jumbo.com"], b"")), 65);

    assert_eq!(code(&run(&["redirect", "add", "joe@big.com", "joe@big.com"], b"")), 65);
    assert_eq!(stdout(&run(&["redirect", "add", "Joe@big.com", "joe@bigger.com"], b"")), "Joe@big.com is now joe@bigger.com\n");
    assert_eq!(stdout(&run(&["redirect", "list"], b"")), "Joe@big.com is now joe@bigger.com (from administrator)\n");
    assert_eq!(code(&run(&["redirect", "remove", "joe@BIG.com"], b"")), 0);
    assert_eq!((code(&run(&["redirect", "remove", "joe@big.com"], b"")), stdout(&run(&["redirect", "list"], b""))), (65, String::new()));

    let second = run(&["serve"], b"");
    assert_ne!(code(&second), 0);
    relay.signal("HUP");
    eventually("the reload", || async { relay.log().contains("were read anew").then_some(()) }).await;
    let status = relay.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", relay.log());
    assert!(!relay.control_socket().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_makes_a_report_and_the_entry_goes() {
    let sink = crate::support::sink::Sink::start().await;
    let peer = CipPeer::down("tiny.com", Behaviour::accept());
    let via = format!("server-id = \"tiny.com\"\nvia = \"{}\"", peer.address());
    let relay = Process::start(Settings::new("jumbo.com").peer(&via).smarthost(sink.address())).await;
    let settings = relay.settings.clone();
    let run = |words: &[&str], input: &[u8]| tokio::task::block_in_place(|| settings.run(words, input));
    assert_eq!(code(&run(&["submit", "-f", "tom@jumbo.com", "mary@tiny.com"], MAIL)), 0);
    let entry = eventually("the entry", || async { relay.queue_json().into_iter().find(|e| e["state"] == "deferred") }).await;
    let output = run(&["queue", "bounce", entry["id"].as_str().unwrap(), "--reason", "the company has closed"], b"");
    assert_eq!(stdout(&output), "1 entry bounced\n", "{output:?}");
    let mails = sink.wait_for(1).await;
    let report = String::from_utf8_lossy(&mails[0].data).into_owned();
    assert!(report.contains("multipart/report") && report.contains("mary@tiny.com"), "{report}");
    relay.queue_empty().await;
}

#[test]
fn serve_refuses_a_configuration_that_check_config_refuses() {
    let settings = Settings::new("jumbo.com").set("cip.credentials", "absent");
    let output = settings.run(&["serve"], b"");
    assert_eq!(code(&output), 78);
    assert!(stderr(&output).contains("cip.credentials: ") && stderr(&output).contains("absent: No such file"), "{output:?}");
}
