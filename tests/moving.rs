//! Every verb of `queue` on the program that is installed, while it runs and while it does not; and a queue that moves to
//! another machine.

use cip_relay::imip::read::read;

use crate::bridge::{bare, ical, imip, python_reads};
use crate::support::dns::Dns;
use crate::support::peer::{Behaviour, CipPeer};
use crate::support::relay::{Process, Settings};
use crate::support::sink::Sink;

/// Runs `queue` with these arguments; its standard output.
fn queue(settings: &Settings, arguments: &[&str]) -> String {
    let output = settings.run(&[&["queue"], arguments].concat(), b"");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn state(settings: &Settings, id: &str) -> String {
    let all = settings.queue_json(&[]);
    all.iter().find(|e| e["id"] == id).map_or_else(|| "gone".to_owned(), |e| e["state"].as_str().unwrap().to_owned())
}

async fn invite(relay: &Process, uid: &str) {
    let request = ical("REQUEST", uid, 0, "mary@tiny.com", &[("tom@jumbo.com", "NEEDS-ACTION")]);
    let request = imip("REQUEST", "mary@tiny.com", &["tom@jumbo.com"], &request);
    assert_eq!(relay.smtp().await.mail("mary@tiny.com", &["tom@jumbo.com"], request.as_bytes()).await.code, 250);
}

/// The verbs one after the other on four waiting entries.
fn every_verb(settings: &Settings, file: &str) {
    let entries = settings.queue_json(&[]);
    assert_eq!(entries.len(), 4, "{entries:?}");
    let ids: Vec<&str> = entries.iter().map(|e| e["id"].as_str().unwrap()).collect();
    assert_eq!(queue(settings, &["list"]).lines().count(), 4);
    assert_eq!(queue(settings, &["list", "--server", "jumbo.com", "--to", "tom@jumbo.com"]).lines().count(), 4);
    assert_eq!(queue(settings, &["list", "--to", "nobody@jumbo.com"]).lines().count(), 0);
    let show: serde_json::Value = serde_json::from_str(&queue(settings, &["show", ids[0], "--json"])).unwrap();
    assert_eq!(show["recipients"][0]["original"], "tom@jumbo.com");
    assert!(!show["history"].as_array().unwrap().is_empty());
    assert!(queue(settings, &["summary"]).contains("cip:jumbo.com"));
    assert!(queue(settings, &["hold", ids[0], "--reason", "looked at"]).contains('1'));
    assert_eq!(state(settings, ids[0]), "held");
    queue(settings, &["release", ids[0]]);
    assert_ne!(state(settings, ids[0]), "held");
    queue(settings, &["retry", ids[1]]);
    queue(settings, &["hold", "--all", "--yes"]);
    assert!(ids.iter().all(|id| state(settings, id) == "held"));
    queue(settings, &["drop", ids[3], "--reason", "not wanted"]);
    assert_eq!(state(settings, ids[3]), "gone");
    assert!(!queue(settings, &["check"]).is_empty());
    let export = settings.path(file);
    let export = export.to_str().unwrap();
    queue(settings, &["export", export]);
    queue(settings, &["drop", "--all", "--yes"]);
    assert!(settings.queue_json(&[]).is_empty());
    queue(settings, &["import", export]);
    assert_eq!(settings.queue_json(&["--state", "held"]).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_queue_verb_works_while_the_relay_runs_and_while_it_does_not() {
    let jumbo = CipPeer::down("jumbo.com", Behaviour::accept());
    let dns = Dns::start(&crate::bridge::zone(&jumbo)).await;
    let sink = Sink::start().await;
    let settings = Settings::new("tiny.com").dns(dns.address()).smarthost(sink.address()).set("delivery.connect-timeout", "1s");
    let mut relay = Process::start(settings.ports()).await;
    for n in 0..4 {
        invite(&relay, &format!("verbs-{n}")).await;
    }
    every_verb(&relay.settings, "running.jsonl");
    invite(&relay, "verbs-4").await;
    assert!(relay.terminate().await.success());
    assert_eq!(relay.settings.queue_json(&[]).len(), 4);
    queue(&relay.settings, &["release", "--all", "--yes"]);
    every_verb(&relay.settings, "offline.jsonl");
    // One is bounced offline: the report is made at the next start. The others go out.
    let ids: Vec<String> = relay.settings.queue_json(&[]).iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect();
    queue(&relay.settings, &["bounce", &ids[0], "--reason", "the administrator says so"]);
    queue(&relay.settings, &["release", &ids[1], &ids[2]]);
    queue(&relay.settings, &["retry", &ids[1], &ids[2]]);
    jumbo.up();
    relay.start_again().await;
    let report = sink.wait_for(1).await.pop().unwrap();
    assert_eq!((report.sender.as_str(), report.recipients.as_slice()), ("", ["mary@tiny.com".to_owned()].as_slice()));
    assert!(report.text().contains("the administrator says so"), "{}", report.text());
    jumbo.wait_for("SENDEVENT", 2).await;
    relay.queue_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_machine_exports_another_delivers() {
    let jumbo = CipPeer::down("jumbo.com", Behaviour::accept());
    let dns = Dns::start(&crate::bridge::zone(&jumbo)).await;
    let (old_sink, new_sink) = (Sink::down(), Sink::start().await);
    let settings =
        |sink: &Sink| Settings::new("tiny.com").dns(dns.address()).smarthost(sink.address()).set("delivery.cip-patience", "2h").ports();
    let old = Process::start(settings(&old_sink)).await;
    invite(&old, "moves").await;
    let answer = old.cip().await.object("SENDEVENT", &bare("moving@jumbo.com", 1, "tom@jumbo.com", &["mary@tiny.com"])).await;
    assert_eq!(answer.code(), "OK 000");
    let export = old.settings.run(&["queue", "export"], b"");
    assert!(export.status.success(), "{export:?}");
    drop(old);

    let new = Process::start(settings(&new_sink)).await;
    let file = new.settings.path("moved.jsonl");
    std::fs::write(&file, &export.stdout).unwrap();
    queue(&new.settings, &["import", file.to_str().unwrap()]);
    jumbo.up();
    queue(&new.settings, &["retry", "--all", "--yes"]);
    let event = jumbo.wait_for("SENDEVENT", 1).await.pop().unwrap();
    assert_eq!(event.recipients("jumbo.com"), ["tom@jumbo.com"]);
    let mail = new_sink.wait_for_recipient("mary@tiny.com", 1).await.pop().unwrap();
    let (_, method, _) = python_reads(&mail);
    assert_eq!(method, "REQUEST");
    // The ledger came along: Mary's answer finds its way from the new machine.
    let organizer = read(&mail.data).unwrap().from[0].to_string();
    let reply = ical("REPLY", "moving@jumbo.com", 0, &organizer, &[("mary@tiny.com", "ACCEPTED")]);
    let reply = imip("REPLY", "mary@tiny.com", &[&organizer], &reply);
    assert_eq!(new.smtp().await.mail("mary@tiny.com", &[&organizer], reply.as_bytes()).await.code, 250);
    assert_eq!(jumbo.wait_for("RSVP", 1).await[0].value("UID").as_deref(), Some("moving@jumbo.com"));
    // And so do Tom's answers to Mary's own event, by the event-id that the old machine gave.
    let rsvp = format!("UID: {}\nSEQUENCE: 1\nATTENDEE;STATUS=CONFIRMED: <tom@jumbo.com>\n", event.value("UID").unwrap());
    assert_eq!(new.cip().await.object("RSVP", &rsvp).await.code(), "OK 000");
    let reply = new_sink.wait_for_recipient("mary@tiny.com", 2).await.pop().unwrap();
    assert!(python_reads(&reply).2.contains("UID:moves"), "{}", reply.text());
    new.queue_empty().await;
}
