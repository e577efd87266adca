//! Every verb of `queue` on the program that is installed, while it runs and while it does not; and a queue that moves to
//! another machine.

use cip_relay::clock::Timestamp;
use cip_relay::ident::{EventId, UserId};
use cip_relay::imip::read::read;
use cip_relay::ledger::Ledger;
use cip_relay::ledger::forget::Tombstone;
use cip_relay::store::{Batch, Store, StoreOptions};

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

/// Everything that a store has besides entries: what the ledger knows, tokens, redirects, the secret.
fn records(settings: &Settings) -> Vec<(Vec<u8>, Vec<u8>)> {
    let options = StoreOptions { cache: 8 << 20, free_space_minimum: 0, ..StoreOptions::default() };
    let store = Store::open(&settings.path("data"), &options).unwrap();
    let rows = [b"l", b"t", b"r", b"M"].into_iter().flat_map(|kind| store.export_raw(kind));
    let local: [&[u8]; 2] = [b"Mstore-id", b"Mhigh-water"];
    rows.map(Result::unwrap).filter(|(key, _)| !local.contains(&key.as_slice())).collect()
}

/// A relay that knows something of every kind moves: nothing is missing there, and what it goes on to do fits.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_known_is_missing_after_a_move_and_after_a_restore_versions_jump() {
    let jumbo = CipPeer::start("jumbo.com", Behaviour::accept().redirect_user("ann@jumbo.com", "anne@jumbo.com")).await;
    let dns = Dns::start(&crate::bridge::zone(&jumbo)).await;
    let sink = Sink::start().await;
    let settings = || {
        let domain = "name = \"tiny.com\"\nusers = \"any\"\nfree-busy = [{ source = \"ledger\" }]";
        Settings::new("tiny.com").dns(dns.address()).smarthost(sink.address()).domain_text(domain).ports()
    };
    let mut old = Process::start(settings()).await;
    invite(&old, "moves").await;
    let request = ical("REQUEST", "learns", 0, "mary@tiny.com", &[("ann@jumbo.com", "NEEDS-ACTION")]);
    let request = imip("REQUEST", "mary@tiny.com", &["ann@jumbo.com"], &request);
    assert_eq!(old.smtp().await.mail("mary@tiny.com", &["ann@jumbo.com"], request.as_bytes()).await.code, 250);
    let answer = old.cip().await.object("SENDEVENT", &bare("moving@jumbo.com", 1, "tom@jumbo.com", &["mary@tiny.com"])).await;
    assert_eq!(answer.code(), "OK 000");
    let token = crate::outcomes::organizer(&sink.wait_for(1).await[0]);
    let event = jumbo.wait_for("SENDEVENT", 3).await.into_iter().find(|e| e.recipients("jumbo.com") == ["tom@jumbo.com"]).unwrap();
    old.queue_empty().await;
    assert!(old.terminate().await.success());
    // One that was forgotten long ago.
    let former = Tombstone {
        event_id: EventId::parse("former@tiny.com").unwrap(),
        owner: UserId::parse("mary@tiny.com").unwrap(),
        version: 7,
        next: None,
        at: Timestamp::from_millis(1),
    };
    let store = Store::open(&old.settings.path("data"), &StoreOptions { free_space_minimum: 0, ..StoreOptions::default() }).unwrap();
    let mut batch = Batch::default();
    Ledger::new(store.clone()).put_tombstone(&mut batch, &former).unwrap();
    store.commit(batch).await.unwrap();
    drop(store);
    let known = records(&old.settings);
    for kind in [&b"le"[..], b"lp", b"lu", b"lk", b"lo", b"lf", b"lh", b"lz", b"t", b"r", b"Mrelay-token-secret"] {
        assert!(known.iter().any(|(key, _)| key.starts_with(kind)), "{}", String::from_utf8_lossy(kind));
    }
    let export = old.settings.run(&["queue", "export"], b"").stdout;

    for restored in [false, true] {
        let there = settings();
        let file = there.path("moved.jsonl");
        std::fs::write(&file, &export).unwrap();
        let import: &[&str] = if restored { &["import", "--restored"] } else { &["import"] };
        queue(&there, &[import, &[file.to_str().unwrap()]].concat());
        if !restored {
            assert_eq!(records(&there), known);
        }
        let mut new = Process::start(there).await;
        // An answer to an old token finds its way, and the next mail of that event has the same token.
        let partstat = if restored { "DECLINED" } else { "ACCEPTED" };
        let reply = ical("REPLY", "moving@jumbo.com", 0, &token, &[("mary@tiny.com", partstat)]);
        let reply = imip("REPLY", "mary@tiny.com", &[&token], &reply);
        assert_eq!(new.smtp().await.mail("mary@tiny.com", &[&token], reply.as_bytes()).await.code, 250);
        let rsvps = jumbo.wait_for("RSVP", 1 + usize::from(restored)).await;
        assert_eq!(rsvps.last().unwrap().value("UID").as_deref(), Some("moving@jumbo.com"));
        let before = sink.mails().len();
        let update = bare("moving@jumbo.com", 2, "tom@jumbo.com", &["mary@tiny.com"]).replace("Project X", "Project Y");
        assert_eq!(new.cip().await.object("SENDEVENT", &update).await.code(), "OK 000");
        assert_eq!(crate::outcomes::organizer(&sink.wait_for(before + 1).await[before]), token);
        // Mary's own event goes on under its id: with the next version, or with one that is newer than all that was lost.
        let before = jumbo.of("SENDEVENT").len();
        let update = ical("REQUEST", "moves", 1, "mary@tiny.com", &[("tom@jumbo.com", "NEEDS-ACTION")]);
        let update = imip("REQUEST", "mary@tiny.com", &["tom@jumbo.com"], &update);
        assert_eq!(new.smtp().await.mail("mary@tiny.com", &["tom@jumbo.com"], update.as_bytes()).await.code, 250);
        let next = &jumbo.wait_for("SENDEVENT", before + 1).await[before];
        let version = if restored { "1002" } else { "2" };
        assert_eq!((next.value("UID"), next.value("SEQUENCE").as_deref()), (event.value("UID"), Some(version)));
        new.queue_empty().await;
        assert!(new.terminate().await.success());
        let store = Store::open(&new.settings.path("data"), &StoreOptions { free_space_minimum: 0, ..StoreOptions::default() }).unwrap();
        let there = Ledger::new(store).tombstone(&former.event_id).unwrap().unwrap();
        assert_eq!(there.version, if restored { 1_007 } else { 7 });
    }
}
