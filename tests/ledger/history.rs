//! The history of one event across the relay, read from `ledger show` and `queue show` alone, on the program that is
//! installed.

use serde_json::Value;

use crate::bridge::{bare, ical, imip, zone};
use crate::support::dns::Dns;
use crate::support::eventually;
use crate::support::peer::{Behaviour, CipPeer};
use crate::support::relay::{Process, Settings};
use crate::support::sink::Sink;

const UID: &str = "040000008200E00074C5B7101A82E008";

fn run(relay: &Process, arguments: &[&str]) -> String {
    let output = relay.settings.run(arguments, b"");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn show(relay: &Process, id: &str) -> Value {
    serde_json::from_str(&run(relay, &["ledger", "show", id, "--json"])).unwrap()
}

/// The lines of an event's history without their times.
fn history(event: &Value) -> Vec<String> {
    event["history"].as_array().unwrap().iter().map(|h| h["what"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the history of Mary's event has a line with these words.
async fn told(relay: &Process, words: &str) -> Value {
    eventually(words, || async {
        let event = show(relay, UID);
        history(&event).iter().any(|line| line.contains(words)).then_some(event)
    })
    .await
}

/// Mary sends this state of her event to Tom, who has CIP, and Ann, who has mail, by gateway addresses.
async fn mary_sends(relay: &Process, method: &str, sequence: u32, start: &str) {
    let people = ["tom=jumbo.com@cip.tiny.com", "ann=other.org@cip.tiny.com"];
    let attendees: Vec<(&str, &str)> = people.iter().map(|&p| (p, "NEEDS-ACTION")).collect();
    let object = ical(method, UID, sequence, "mary@tiny.com", &attendees).replace("DTSTART:20270104T150000Z", start);
    let mail = imip(method, "Mary Weaver <mary@tiny.com>", &people, &object);
    let done = relay.smtp().await.mail("mary@tiny.com", &people, mail.as_bytes()).await;
    assert_eq!(done.code, 250, "{done:?}");
}

async fn tom_answers(relay: &Process, event: &str, version: u32, status: &str, order: u32) {
    let rsvp = format!(
        "UID: {event}\nSEQUENCE: {version}\nRESPONSE-SEQUENCE: {order}\nDTSTAMP: 20261122T13000{order}Z\nATTENDEE;STATUS={status}: <tom@jumbo.com>\n"
    );
    assert_eq!(relay.cip().await.object("RSVP", &rsvp).await.code(), "OK 000");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_one_event_is_read_from_ledger_show_and_queue_show() {
    let jumbo = CipPeer::start("jumbo.com", Behaviour::accept()).await;
    let dns = Dns::start(&zone(&jumbo)).await;
    let sink = Sink::start().await;
    let settings = Settings::new("tiny.com").dns(dns.address()).smarthost(sink.address()).set("delivery.connect-timeout", "1s");
    let relay = Process::start(settings).await;

    mary_sends(&relay, "REQUEST", 0, "DTSTART:20270104T150000Z").await;
    jumbo.wait_for("SENDEVENT", 1).await;
    told(&relay, "version 1 for ann@other.org: delivered by mail").await;
    let event = told(&relay, "version 1 for tom@jumbo.com: delivered by CIP").await;
    let id = event["event_id"].as_str().unwrap().to_owned();
    tom_answers(&relay, &id, 1, "CONFIRMED", 1).await;
    told(&relay, "answer of tom=jumbo.com@cip.tiny.com to version 1 for mary@tiny.com: delivered by mail").await;
    mary_sends(&relay, "REQUEST", 1, "DTSTART:20270104T151500Z").await;
    told(&relay, "version 2 for tom@jumbo.com: delivered by CIP").await;
    told(&relay, "version 2 for ann@other.org: delivered by mail").await;
    // An answer to the time that is over, one to the new time, and a cancellation that finds nobody.
    tom_answers(&relay, &id, 1, "DECLINED", 2).await;
    tom_answers(&relay, &id, 2, "TENTATIVE", 3).await;
    told(&relay, "answer TENTATIVE of tom@jumbo.com to version 2").await;
    jumbo.stop().await;
    mary_sends(&relay, "CANCEL", 2, "DTSTART:20270104T151500Z").await;
    told(&relay, "version 3, a cancellation for ann@other.org: delivered by mail").await;

    let event = eventually("the cancellation to wait", || async {
        let event = show(&relay, &id);
        (event["waiting"].as_array().unwrap().len() == 1).then_some(event)
    })
    .await;
    everything_is_told(&event);
    let waiting = event["waiting"][0]["id"].as_str().unwrap();
    let entry: Value = serde_json::from_str(&run(&relay, &["queue", "show", waiting, "--json"])).unwrap();
    assert_eq!((&entry["event_id"], &entry["cancel"], &entry["version"]), (&event["event_id"], &true.into(), &3.into()));

    // What the administrator does to an entry that is then gone stays with the event.
    run(&relay, &["queue", "drop", waiting, "--reason", "told by telephone"]);
    let event = show(&relay, &id);
    let last = history(&event).pop().unwrap();
    assert_eq!(last, format!("version 3: dropped by the administrator: told by telephone (entry {waiting})"));
    assert_eq!(event["waiting"], Value::Array(Vec::new()));
    in_words(&run(&relay, &["ledger", "show", UID]), &id);
}

fn everything_is_told(event: &Value) {
    assert_eq!((&event["ical_uid"], &event["owner"], &event["own"]), (&UID.into(), &"mary@tiny.com".into(), &true.into()));
    assert_eq!((&event["standing"], &event["version"], &event["cancelled"]), (&3.into(), &3.into(), &true.into()));
    assert_eq!(event["ends"], "2027-01-04T16:00:00.000Z");
    let versions: Vec<_> = event["parts"][0]["versions"].as_array().unwrap().iter().collect();
    let numbers: Vec<_> = versions.iter().map(|v| (v["version"].as_u64().unwrap(), v["sequence"].as_u64().unwrap())).collect();
    assert_eq!(numbers, [(1, 0), (2, 1), (3, 2)]);
    assert_eq!(versions[1]["dtstamp"], "2026-11-22T12:00:01.000Z");
    assert_eq!((&versions[0]["start"], &versions[1]["start"]), (&"2027-01-04T15:00:00.000Z".into(), &"2027-01-04T15:15:00.000Z".into()));

    let people = event["people"].as_array().unwrap();
    let person = |user: &str| people.iter().find(|p| p["user"] == user).unwrap();
    let (tom, ann) = (person("tom@jumbo.com"), person("ann@other.org"));
    assert_eq!(tom["addresses"], serde_json::json!(["tom=jumbo.com@cip.tiny.com", "tom@jumbo.com"]));
    assert_eq!((&tom["route"], &ann["route"]), (&"cip".into(), &"mail".into()));
    assert_eq!(ann["reached"], serde_json::json!([{ "recurrence_id": null, "version": 3, "before": 2 }]));
    assert_eq!(tom["reached"], serde_json::json!([{ "recurrence_id": null, "version": 2, "before": 1 }]));
    let answer = &tom["answers"][0];
    assert_eq!((&answer["status"], &answer["version"], &answer["response_sequence"]), (&"tentative".into(), &2.into(), &3.into()));
    assert_eq!(tom["response_sequence"], 3);

    let tokens = event["tokens"].as_array().unwrap();
    let given: Vec<_> = tokens.iter().map(|t| (t["kind"].as_str().unwrap(), t["holder"].as_str().unwrap())).collect();
    for expected in [("reply", "ann@other.org"), ("bounce", "ann@other.org"), ("reply", "mary@tiny.com")] {
        assert!(given.contains(&expected), "{expected:?}: {given:?}");
    }

    let lines = history(event);
    let expected = [
        "version 1 (SEQUENCE 0) accepted by smtp from 127.0.0.1, standing 3, for tom=jumbo.com@cip.tiny.com, ann=other.org@cip.tiny.com",
        "version 1 for tom@jumbo.com: delivered by CIP (entry ",
        "answer ACCEPTED of tom@jumbo.com to version 1, by cip from 127.0.0.1",
        "version 2 (SEQUENCE 1) accepted by smtp",
        "answer DECLINED of tom@jumbo.com to version 1, by cip from 127.0.0.1, standing 2, late: the event's time has changed since",
        "answer TENTATIVE of tom@jumbo.com to version 2, by cip",
        "version 3 (SEQUENCE 2), a cancellation, accepted by smtp",
    ];
    let mut at = 0;
    for words in expected {
        at += lines[at..].iter().position(|l| l.starts_with(words)).unwrap_or_else(|| panic!("{words} after line {at} of {lines:#?}"));
    }
}

/// The same for a person.
fn in_words(text: &str, id: &str) {
    for words in [
        &format!("{id} version 3, 2027-01-04T15:15:00.000Z, of mary@tiny.com, cancelled: Budget"),
        "2 is SEQUENCE 1, DTSTAMP 2026-11-22T12:00:01.000Z: 2027-01-04T15:15:00.000Z to 2027-01-04T16:00:00.000Z",
        "tom@jumbo.com, reached by cip",
        "also tom=jumbo.com@cip.tiny.com",
        "has version 3, and 2 before",
        "TENTATIVE, to version 2, RESPONSE-SEQUENCE 3, DTSTAMP 2026-11-22T13:00:03.000Z, standing 2",
        "(bounce) given to ann@other.org, for mary@tiny.com",
        "delivered by CIP (entry ",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_events_and_a_redirect_is_shown_with_them() {
    let jumbo = CipPeer::start("jumbo.com", Behaviour::accept().redirect_user("tom@jumbo.com", "thomas@jumbo.com")).await;
    let dns = Dns::start(&zone(&jumbo)).await;
    let sink = Sink::start().await;
    let relay = Process::start(Settings::new("tiny.com").dns(dns.address()).smarthost(sink.address())).await;
    mary_sends(&relay, "REQUEST", 0, "DTSTART:20270104T150000Z").await;
    let answer = relay.cip().await.object("SENDEVENT", &bare("lunch@jumbo.com", 1, "pete@jumbo.com", &["mary@tiny.com"])).await;
    assert_eq!(answer.code(), "OK 000");
    let list = |arguments: &[&str]| -> Vec<Value> {
        let text = run(&relay, &[&["ledger", "list", "--json"], arguments].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    for (arguments, expected) in [
        (vec![], 2),
        (vec!["--owner", "mary"], 1),
        (vec!["--owner", "*@JUMBO.com"], 1),
        (vec!["--event", UID], 1),
        (vec!["--event", "lunch@*"], 1),
        (vec!["--event", "nothing"], 0),
        (vec!["--older", "1h"], 0),
        (vec!["--older", "0s", "--owner", "pete"], 1),
    ] {
        assert_eq!(list(&arguments).len(), expected, "{arguments:?}");
    }
    let event = told(&relay, "redirected to thomas@jumbo.com").await;
    assert_eq!((&event["redirects"][0]["new"], &event["redirects"][0]["source"]), (&"thomas@jumbo.com".into(), &"jumbo.com".into()));
    let unknown = relay.settings.run(&["ledger", "show", "nobody@knows"], b"");
    assert_eq!(unknown.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no event with this event-id or iCalendar UID"), "{unknown:?}");
}
