//! `queue …`, on a data directory that the library filled, offline and through a control socket.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cip_relay::admin::execute::Backend;
use cip_relay::admin::server::{ControlError, ControlSocket};
use cip_relay::clock::{Clock, SystemClock, Timestamp};
use cip_relay::ident::{EntryId, EventId, ServerId, UserId};
use cip_relay::ledger::Ledger;
use cip_relay::ledger::records::{EventRecord, Part, Seen};
use cip_relay::queue::Queue;
use cip_relay::queue::entry::{BodyKind, Destination, Entry, Origin, Recipient, State, Verb, Via};
use cip_relay::store::{Store, StoreOptions};
use serde_json::Value;

use super::{code, stderr, stdout};
use crate::support::relay::{Settings, binary};

fn open(settings: &Settings) -> Queue {
    let options = StoreOptions { cache: 8 << 20, free_space_minimum: 0, ..StoreOptions::default() };
    Queue::open(Store::open(&settings.path("data"), &options).unwrap(), Arc::new(SystemClock), 4).unwrap()
}

fn entry(queue: &Queue, user: &str, body: &[u8], change: &mut cip_relay::queue::Change) -> Entry {
    let now = SystemClock.now();
    let user = UserId::parse(user).unwrap();
    let later = |hours: u64| now.after(Duration::from_secs(hours * 3600));
    let origin = Origin { via: Via::Cip, peer: None, helo: None, identity: None, standing: 2, sender: None, automatic: false };
    let body = change.add_body(BodyKind::Object, body, 1);
    let recipient = Recipient { last: "NO 004 Not \x1b[2Jnow".to_owned(), ..Recipient::new(user.clone(), user.clone(), false) };
    let destination = Destination::Cip(user.server().clone());
    Entry {
        event_id: Some(EventId::parse("10-28@jumbo.com").unwrap()),
        version: Some(3),
        owner: Some(UserId::parse("tom@jumbo.com").unwrap()),
        state: State::Deferred,
        next_attempt: later(1),
        deadline: later(4),
        attempts: 2,
        hops: 1,
        reason: "no connection \x1b[31m: refused".to_owned(),
        ..Entry::new(queue.next_id(), Verb::SendEvent, destination, vec![recipient], origin, body, now, later(120))
    }
}

/// Puts one entry for each user into the data directory; gives their ids.
async fn fill(settings: &Settings, users: &[&str]) -> Vec<EntryId> {
    let queue = open(settings);
    let mut change = queue.change();
    let mut ids = Vec::new();
    for user in users {
        let entry = entry(&queue, user, b"SUMMARY:caf\xe9\r\n", &mut change);
        ids.push(entry.id);
        change.put(entry);
    }
    queue.commit(change).await.unwrap();
    ids
}

fn own_event(id: &str, version: u32) -> EventRecord {
    let now = SystemClock.now();
    let mut part = Part::new(None);
    part.remember(Seen { version, sequence: version - 1, dtstamp: None, digest: [1; 32], start: None, end: None });
    EventRecord {
        event_id: EventId::parse(id).unwrap(),
        ical_uid: id.to_owned(),
        owner: UserId::parse("tom@jumbo.com").unwrap(),
        owner_name: None,
        own: true,
        standing: 3,
        created: now,
        updated: now,
        parts: vec![part],
    }
}

fn show(settings: &Settings, id: EntryId) -> Value {
    let output = settings.run(&["queue", "show", &id.to_string(), "--json"], b"");
    assert_eq!(code(&output), 0, "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

const FIELDS: [&str; 16] = [
    "id",
    "state",
    "verb",
    "event_id",
    "version",
    "owner",
    "server_id",
    "recipients",
    "origin",
    "received",
    "next_attempt",
    "attempts",
    "expires",
    "size",
    "hops",
    "reason",
];

#[tokio::test]
async fn a_list_has_the_fields_that_scripts_rely_on() {
    let settings = Settings::new("jumbo.com");
    let ids = fill(&settings, &["mary@tiny.com", "joe@big.com"]).await;
    let output = settings.run(&["queue", "list", "--json"], b"");
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(stderr(&output), format!("cip-relay is not running; reading {} directly\n", settings.path("data").display()));
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    let first: serde_json::Map<String, Value> = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(first.keys().cloned().collect::<std::collections::BTreeSet<_>>(), FIELDS.map(str::to_owned).into());
    let order: Vec<usize> = FIELDS.iter().map(|f| lines[0].find(&format!("\"{f}\":")).unwrap()).collect();
    assert!(order.windows(2).all(|w| w[0] < w[1]), "{}", lines[0]);
    assert_eq!(first["id"], ids[0].to_string());
    assert_eq!((&first["state"], &first["verb"], &first["server_id"]), (&"deferred".into(), &"sendevent".into(), &"tiny.com".into()));
    let keys: Vec<&String> = first["recipients"][0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["last", "original", "route", "status", "user"]);
    assert_eq!((&first["recipients"][0]["status"], &first["recipients"][0]["route"]), (&"1.0".into(), &"cip".into()));
    for time in ["received", "next_attempt", "expires"] {
        let text = first[time].as_str().unwrap();
        assert!(text.ends_with('Z') && Timestamp::parse_rfc3339(text).is_some(), "{time}: {text}");
    }

    let human = stdout(&settings.run(&["queue", "list"], b""));
    assert!(human.lines().count() == 2 && !human.contains('\x1b'), "no colour and no controls into a pipe: {human:?}");
    assert!(human.starts_with(&format!("{} deferred ", ids[0])) && human.contains("sendevent cip>tiny.com mary@tiny.com"), "{human}");
}

#[tokio::test]
async fn filters_choose() {
    let settings = Settings::new("jumbo.com");
    let ids = fill(&settings, &["mary@tiny.com", "joe@big.com"]).await;
    for (words, expected) in [
        ("--to mary@tiny.com", vec![0]),
        ("--to mary", vec![0]),
        ("--to *@BIG.com", vec![1]),
        ("--server big.com", vec![1]),
        ("--server big", vec![]),
        ("--owner tom", vec![0, 1]),
        ("--event 10-28@*", vec![0, 1]),
        ("--event other", vec![]),
        ("--state deferred --server tiny.com", vec![0]),
        ("--state held", vec![]),
        ("--older 1h", vec![]),
        ("--older 0s", vec![0, 1]),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let found: Vec<String> = settings.queue_json(&words).iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(found, expected.iter().map(|&i: &usize| ids[i].to_string()).collect::<Vec<_>>(), "{words:?}");
    }
}

#[tokio::test]
async fn every_change_says_how_many_and_stays_in_the_history() {
    let settings = Settings::new("jumbo.com");
    let ids = fill(&settings, &["mary@tiny.com", "joe@big.com", "ann@big.com"]).await;
    let (mary, joe) = (ids[0].to_string(), ids[1].to_string());
    let run = |words: &[&str], expected: i32, said: &str| {
        let output = settings.run(&[&["queue"], words].concat(), b"");
        assert_eq!((code(&output), stdout(&output)), (expected, said.to_owned()), "{words:?}: {}", stderr(&output));
        stderr(&output)
    };
    run(&["hold", &mary, "--reason", "asked by Tom"], 0, "1 entry held\n");
    let held = show(&settings, ids[0]);
    assert_eq!((&held["state"], &held["reason"]), (&"held".into(), &"held by the administrator: asked by Tom".into()));
    assert_eq!(held["next_attempt"], Value::Null);
    assert_eq!(held["history"][0]["what"], "held by the administrator: asked by Tom");

    assert!(run(&["retry", &mary], 65, "0 entries made due\n").contains("is held; release it"));
    assert!(run(&["release", &joe], 65, "0 entries released\n").contains("is not held"));
    run(&["retry", "--server", "big.com"], 0, "2 entries made due\n");
    assert_eq!(show(&settings, ids[1])["state"], "due");
    run(&["release", "--state", "held"], 0, "1 entry released\n");
    let released = show(&settings, ids[0]);
    assert_eq!((&released["state"], &released["reason"]), (&"due".into(), &"".into()));

    run(&["bounce", &joe, "--reason", "gone"], 0, "1 entry bounced\n");
    let bounced = show(&settings, ids[1]);
    assert_eq!((&bounced["state"], &bounced["reason"]), (&"due".into(), &"bounced by the administrator: gone".into()));
    assert!(bounced["expires"].as_str().unwrap() <= SystemClock.now().rfc3339().as_str());

    assert!(run(&["drop", &mary, "00000000001"], 65, "1 entry dropped\n").contains("00000000001: no such entry"));
    assert_eq!(settings.queue_json(&[]).len(), 2);
    assert!(run(&["drop", "--all"], 64, "").contains("drop --all would touch 2 entries; add --yes"));
    run(&["drop", "--all", "--yes"], 0, "2 entries dropped\n");
    assert_eq!(settings.queue_json(&[]).len(), 0);
    run(&["check"], 0, "0 entries, 0 bodies and 0 ledger records read, 0 problems, 0 in quarantine\n");
}

#[tokio::test]
async fn show_gives_the_payload_octet_for_octet() {
    let settings = Settings::new("jumbo.com");
    let ids = fill(&settings, &["mary@tiny.com"]).await;
    let output = settings.run(&["queue", "show", &ids[0].to_string(), "--payload"], b"");
    assert_eq!(output.stdout, b"SUMMARY:caf\xe9\r\n");
    let json = settings.run(&["queue", "show", &ids[0].to_string(), "--payload", "--json"], b"");
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((json["payload_base64"].as_str(), &json["payload"]), (Some("U1VNTUFSWTpjYWbpDQo="), &Value::Null));
    let human = stdout(&settings.run(&["queue", "show", &ids[0].to_string()], b""));
    assert!(human.contains("1.0 mary@tiny.com by cip: NO 004 Not  [2Jnow") && !human.contains('\x1b'), "{human:?}");
}

#[tokio::test]
async fn what_was_exported_arrives_elsewhere_whole() {
    let (here, there) = (Settings::new("jumbo.com"), Settings::new("jumbo.com"));
    let ids = fill(&here, &["mary@tiny.com", "joe@big.com"]).await;
    {
        let queue = open(&here);
        let mut change = queue.change();
        change.batch_mut().put(b"l-record".to_vec(), b"what the ledger knows".to_vec());
        let ledger = Ledger::new(queue.store().clone());
        ledger.put_event(change.batch_mut(), &own_event("lunch@jumbo.com", 7)).unwrap();
        queue.commit(change).await.unwrap();
    }
    let file = here.path("relay.export");
    let name = file.display().to_string();
    let output = here.run(&["queue", "export", &name], b"");
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(code(&here.run(&["queue", "export", &name], b"")), 74, "an export is not overwritten");

    let output = there.run(&["queue", "import", &name], b"");
    assert_eq!((code(&output), stdout(&output)), (0, "2 entries imported, 0 passed over\n".to_owned()), "{output:?}");
    let moved = there.queue_json(&[]);
    let stayed = here.queue_json(&[]);
    assert_eq!(
        moved.iter().map(|e| e["id"].clone()).collect::<Vec<_>>(),
        ids.iter().map(|id| Value::from(id.to_string())).collect::<Vec<_>>()
    );
    assert_eq!(moved, stayed);
    assert_eq!(there.run(&["queue", "show", &ids[0].to_string(), "--payload"], b"").stdout, b"SUMMARY:caf\xe9\r\n");
    assert_eq!(open(&there).store().get(b"l-record").unwrap().as_deref(), Some(&b"what the ledger knows"[..]));

    let again = there.run(&["queue", "import", &name], b"");
    assert_eq!(stdout(&again), "0 entries imported, 2 passed over\n");
    let backup = Settings::new("jumbo.com");
    assert_eq!(stdout(&backup.run(&["queue", "import", "--restored", &name], b"")), "2 entries imported, held, 0 passed over\n");
    assert!(backup.queue_json(&[]).iter().all(|e| e["state"] == "held"));
    for (settings, version) in [(&there, 7), (&backup, 1007)] {
        let event = Ledger::new(open(settings).store().clone()).event(&EventId::parse("lunch@jumbo.com").unwrap()).unwrap().unwrap();
        let newest = event.parts[0].newest().unwrap();
        assert_eq!((newest.version, newest.sequence), (version, 6), "SEQUENCE is the organizer's and stays");
    }

    let text = std::fs::read_to_string(&file).unwrap();
    let cut = text.rsplit_once("\n{\"end\"").unwrap().0;
    for (bad, said) in [
        (text.replace("\"cip-relay-export\":1", "\"cip-relay-export\":2"), "the file has format 2, and this program reads format 1"),
        (cut.to_owned(), "it was cut short"),
        ("hello\n".to_owned(), "not the header of an export"),
        (text.replace("\"attempts\":2", "\"attempts\":\"two\""), "lines 1 to 7: record 2 of these: invalid type"),
        (text.replace("{\"key\":\"", "{\"key\":\"ZXhh"), "none of an exported record"),
    ] {
        let fresh = Settings::new("jumbo.com");
        std::fs::write(here.path("bad"), bad).unwrap();
        let output = fresh.run(&["queue", "import", &here.path("bad").display().to_string()], b"");
        assert_eq!((code(&output), stderr(&output).contains(said)), (65, true), "{said}: {output:?}");
        assert_eq!(fresh.queue_json(&[]).len(), 0);
    }
}

/// A control socket over the queue, as a running relay has it.
fn serve(settings: &Settings) -> tokio::task::JoinHandle<()> {
    let queue = open(settings);
    let backend = Backend {
        ledger: Ledger::new(queue.store().clone()),
        config: Arc::default(),
        queue,
        server_id: ServerId::parse("jumbo.com").unwrap(),
        expire_after: Duration::from_secs(3600),
        max_request: 100_000,
        door: None,
    };
    let socket = ControlSocket::bind(&settings.path("data").join("control.sock")).unwrap();
    tokio::spawn(socket.serve(Arc::new(backend), std::future::pending()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_relay_is_asked_through_its_socket() {
    let settings = Settings::new("jumbo.com");
    let ids = fill(&settings, &["mary@tiny.com"]).await;
    let server = serve(&settings);
    let path = settings.path("data").join("control.sock");
    assert_eq!(std::fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(ControlSocket::bind(&path), Err(ControlError::Taken(_))));

    tokio::task::block_in_place(|| {
        let output = settings.run(&["queue", "list", "--json"], b"");
        assert_eq!((code(&output), stderr(&output)), (0, String::new()));
        assert_eq!(stdout(&output).lines().count(), 1);
        assert_eq!(stdout(&settings.run(&["queue", "hold", &ids[0].to_string()], b"")), "1 entry held\n");
        let summary = stdout(&settings.run(&["queue", "summary", "--json"], b""));
        let summary: Value = serde_json::from_str(summary.trim()).unwrap();
        assert_eq!((&summary["destination"], &summary["total"], &summary["ages"][0]), (&"cip:tiny.com".into(), &1.into(), &1.into()));
        assert_eq!((&summary["states"]["held"], &summary["health"]), (&1.into(), &"up".into()));

        for (request, said) in [
            ("{\"version\":2,\"command\":{\"do\":\"dance\"}}", "speaks version 2 of the control protocol"),
            ("{\"version\":1,\"command\":{\"do\":\"dance\"}}", "is not understood"),
            ("{}", "names no version"),
            ("hello", "is not JSON"),
            (&"x".repeat(100_001), "is too large"),
        ] {
            let mut stream = UnixStream::connect(&path).unwrap();
            let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.write_all(b"\n"));
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            assert!(answer.starts_with("{\"error\":{\"exit\":64") && answer.contains(said), "{request:.80}: {answer}");
        }
    });
    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
    assert!(!path.exists(), "it is removed with the server");

    // What a killed relay leaves behind is replaced; what is no socket is not.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    drop(ControlSocket::bind(&path).unwrap());
    std::fs::write(&path, "").unwrap();
    assert!(matches!(ControlSocket::bind(&path), Err(ControlError::NoSocket(_))));
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_list_quietly() {
    let settings = Settings::new("jumbo.com");
    fill(&settings, &["mary@tiny.com"; 200]).await;
    let config = settings.write();
    let mut child = Command::new(binary())
        .args(["queue", "list", "--json", "--config"])
        .arg(&config)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
}
