//! An event keeps its event-id when its owner changes, and goes on under another when its versions are used up or when the
//! relay's server-id changes.

use cip_relay::ident::{EventId, UserId};
use cip_relay::ledger::Ledger;
use cip_relay::ledger::judge::MAX_VERSION;
use cip_relay::store::{Batch, Store, StoreOptions};

use crate::bridge::{ical, imip, python_reads, unfold, zone};
use crate::support::dns::Dns;
use crate::support::peer::{Behaviour, CipPeer, Command};
use crate::support::relay::{Process, Settings};
use crate::support::sink::Sink;

const UID: &str = "040000008200E00074C5B7101A82E008";
const TOM: &str = "tom=jumbo.com@cip.tiny.com";
const ANN: &str = "ann=other.org@cip.tiny.com";

struct Place {
    jumbo: CipPeer,
    sink: Sink,
    _dns: Dns,
    settings: Settings,
}

async fn place() -> Place {
    let jumbo = CipPeer::start("jumbo.com", Behaviour::accept()).await;
    let dns = Dns::start(&zone(&jumbo)).await;
    let sink = Sink::start().await;
    let settings = Settings::new("tiny.com").dns(dns.address()).smarthost(sink.address());
    Place { jumbo, sink, _dns: dns, settings }
}

/// A state of the event from this organizer, in a mail that `from` wrote.
async fn send(relay: &Process, from: &str, organizer: &str, uid: &str, sequence: u32, second: u32) {
    let object = ical("REQUEST", uid, 0, organizer, &[(TOM, "NEEDS-ACTION"), (ANN, "NEEDS-ACTION")])
        .replace("SEQUENCE:0", &format!("SEQUENCE:{sequence}"))
        .replace("DTSTAMP:20261122T120000Z", &format!("DTSTAMP:20261122T1200{second:02}Z"))
        .replace("SUMMARY:Budget", &format!("SUMMARY:Budget {second}"))
        .replace("ORGANIZER;CN=Mary Weaver", &format!("ORGANIZER;SENT-BY=\"mailto:{from}\""));
    let mail = imip("REQUEST", from, &[TOM, ANN], &object);
    let done = relay.smtp().await.mail(from, &[TOM, ANN], mail.as_bytes()).await;
    assert_eq!(done.code, 250, "{done:?}");
}

fn said(event: &Command) -> (String, String, bool) {
    let cancelled = event.text().lines().any(|l| l.trim() == "STATUS:CANCELLED");
    (event.value("UID").unwrap(), event.value("SEQUENCE").unwrap(), cancelled)
}

/// (UID, SEQUENCE, method) of a composed mail.
fn mailed(mail: &crate::support::sink::Mail) -> (String, String, String) {
    let (_, method, calendar) = python_reads(mail);
    let calendar = unfold(&calendar);
    let value = |name: &str| crate::bridge::property(&calendar, name)[1..].to_owned();
    (value("UID"), value("SEQUENCE"), method)
}

fn with_ledger<T>(settings: &Settings, work: impl FnOnce(&Store, &Ledger) -> T) -> T {
    let store = Store::open(&settings.path("data"), &StoreOptions { free_space_minimum: 0, ..StoreOptions::default() }).unwrap();
    work(&store, &Ledger::new(store.clone()))
}

/// Old numbers are all given: the next change cancels the event for everybody who has it, and goes out as a new one.
#[tokio::test(flavor = "multi_thread")]
async fn at_the_last_version_the_event_is_cancelled_and_goes_on_under_a_new_id() {
    let Place { jumbo, sink, settings, .. } = &place().await;
    let mut relay = Process::start(settings.clone()).await;
    send(&relay, "mary@tiny.com", "mary@tiny.com", UID, 0, 1).await;
    let (old, ..) = said(&jumbo.wait_for("SENDEVENT", 1).await[0]);
    assert_eq!(mailed(&sink.wait_for(1).await[0]), (UID.to_owned(), "0".to_owned(), "REQUEST".to_owned()));
    relay.queue_empty().await;
    // Two thousand million changes later.
    assert!(relay.terminate().await.success());
    let store = with_ledger(&relay.settings, |store, ledger| {
        let mut event = ledger.event(&EventId::parse(&old).unwrap()).unwrap().unwrap();
        event.part_mut(None).seen[0].version = MAX_VERSION - 1;
        let mut batch = Batch::default();
        ledger.put_event(&mut batch, &event).unwrap();
        (store.clone(), batch)
    });
    store.0.commit(store.1).await.unwrap();
    drop(store.0);
    relay.start_again().await;
    send(&relay, "mary@tiny.com", "mary@tiny.com", UID, 1, 2).await;
    let events = jumbo.wait_for("SENDEVENT", 3).await;
    let (cancel, fresh) = (said(&events[1]), said(&events[2]));
    let (cancel, fresh) = if cancel.2 { (cancel, fresh) } else { (fresh, cancel) };
    assert_eq!(cancel, (old.clone(), MAX_VERSION.to_string(), true));
    assert_eq!((fresh.1.as_str(), fresh.2), ("1", false), "{fresh:?}");
    assert_ne!(fresh.0, old);
    let mails: Vec<_> = sink.wait_for(3).await[1..].iter().map(mailed).collect();
    assert!(mails.contains(&(UID.to_owned(), (MAX_VERSION - 1).to_string(), "CANCEL".to_owned())), "{mails:?}");
    assert!(mails.iter().any(|m| m.0 == fresh.0 && m.2 == "REQUEST"), "{mails:?}");
    relay.queue_empty().await;
    // Who answers under the old id is led to the new one; the next change goes there, and Mary's own UID stays hers.
    let rsvp = |id: &str| format!("UID: {id}\nSEQUENCE: 1\nATTENDEE;STATUS=CONFIRMED: <tom@jumbo.com>\n");
    let answer = relay.cip().await.object("RSVP", &rsvp(&old)).await;
    assert_eq!(answer.infos, [format!("* REDIRECT EVENT {old} IS NOW {}", fresh.0)]);
    assert_eq!(relay.cip().await.object("RSVP", &rsvp(&fresh.0)).await.code(), "OK 000");
    assert_eq!(mailed(&sink.wait_for_recipient("mary@tiny.com", 1).await[0]).0, UID);
    send(&relay, "mary@tiny.com", "mary@tiny.com", UID, 2, 3).await;
    let next = said(&jumbo.wait_for("SENDEVENT", 4).await[3]);
    assert_eq!((next.0.as_str(), next.2), (fresh.0.as_str(), false));
    assert!(next.1.parse::<u32>().unwrap() > fresh.1.parse().unwrap());
    relay.queue_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_change_of_the_server_id_live_events_go_on_under_the_new_one() {
    let Place { jumbo, sink, settings, .. } = &place().await;
    let mut relay = Process::start(settings.clone()).await;
    send(&relay, "mary@tiny.com", "mary@tiny.com", UID, 0, 1).await;
    let (old, ..) = said(&jumbo.wait_for("SENDEVENT", 1).await[0]);
    let token = crate::outcomes::organizer(&sink.wait_for(1).await[0]);
    relay.queue_empty().await;
    assert!(relay.terminate().await.success());

    // The company is called otherwise from now on; its people keep their addresses for the transition.
    let refused = relay.settings.run(&["ledger", "rename", "tiny.com"], b"");
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
    relay.settings =
        relay.settings.clone().set("server-id", "new.example").set("server-id-aliases", vec!["tiny.com"]).domain("tiny.com", "any");
    relay.start_again().await;
    // Until it is renamed, the event is what it was.
    let rsvp = |id: &str, status: &str| format!("UID: {id}\nSEQUENCE: 1\nATTENDEE;STATUS={status}: <tom@jumbo.com>\n");
    assert_eq!(relay.cip().await.object("RSVP", &rsvp(&old, "CONFIRMED")).await.code(), "OK 000");
    sink.wait_for_recipient("mary@tiny.com", 1).await;
    let output = relay.settings.run(&["ledger", "rename", "tiny.com"], b"");
    assert!(output.status.success(), "{output:?}");
    let new = old.replace("@tiny.com", "@new.example");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{old} is now {new}\n1 events renamed\n"));

    let events = jumbo.wait_for("SENDEVENT", 3).await;
    let mut both = [said(&events[1]), said(&events[2])];
    both.sort_by_key(|e| !e.2);
    assert_eq!(both, [(old.clone(), "2".to_owned(), true), (new.clone(), "1".to_owned(), false)]);
    assert!(events[1..].iter().all(|e| e.text().contains("Budget 1")));
    let mails = sink.wait_for_recipient("ann@other.org", 3).await;
    let told: Vec<_> = mails[1..].iter().map(mailed).collect();
    assert!(told.contains(&(UID.to_owned(), "1".to_owned(), "CANCEL".to_owned())), "{told:?}");
    assert!(told.contains(&(new.clone(), "0".to_owned(), "REQUEST".to_owned())), "{told:?}");
    relay.queue_empty().await;

    // Ann answers the mail that she had first; Tom is told the new id, and answers there.
    let reply = ical("REPLY", UID, 0, &token, &[("ann@other.org", "ACCEPTED")]);
    let done = relay.inbound().await.mail("ann@other.org", &[&token], imip("REPLY", "ann@other.org", &[&token], &reply).as_bytes()).await;
    assert_eq!(done.code, 250, "{done:?}");
    assert_eq!(mailed(&sink.wait_for_recipient("mary@tiny.com", 2).await[1]).0, UID);
    let answer = relay.cip().await.object("RSVP", &rsvp(&old, "DECLINED")).await;
    assert_eq!(answer.infos, [format!("* REDIRECT EVENT {old} IS NOW {new}")]);
    assert_eq!(relay.cip().await.object("RSVP", &rsvp(&new, "DECLINED")).await.code(), "OK 000");
    assert_eq!(mailed(&sink.wait_for_recipient("mary@tiny.com", 3).await[2]).0, UID);
    // Mary's next change goes on there; renaming again finds nothing to do.
    send(&relay, "mary@tiny.com", "mary@tiny.com", UID, 1, 2).await;
    assert_eq!(said(&jumbo.wait_for("SENDEVENT", 4).await[3]), (new, "2".to_owned(), false));
    let again = relay.settings.run(&["ledger", "rename", "tiny.com"], b"");
    assert_eq!(String::from_utf8(again.stdout).unwrap(), "0 events renamed\n");
    relay.queue_empty().await;
}

/// Mary hands her event over to Bob in a mail that she writes herself; nobody can take it from her.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_changes_owner_keeps_its_id() {
    let Place { jumbo, sink, settings, .. } = &place().await;
    let mut relay = Process::start(settings.clone()).await;
    send(&relay, "mary@tiny.com", "mary@tiny.com", UID, 0, 1).await;
    let (id, ..) = said(&jumbo.wait_for("SENDEVENT", 1).await[0]);
    relay.queue_empty().await;
    send(&relay, "eve@tiny.com", "eve@tiny.com", UID, 1, 2).await;
    assert_ne!(said(&jumbo.wait_for("SENDEVENT", 2).await[1]).0, id, "an event of her own");
    relay.queue_empty().await;
    send(&relay, "mary@tiny.com", "bob@tiny.com", UID, 1, 3).await;
    let event = jumbo.wait_for("SENDEVENT", 3).await.pop().unwrap();
    assert_eq!(said(&event), (id.clone(), "2".to_owned(), false));
    assert!(event.text().contains("bob@tiny.com"), "{}", event.text());
    relay.queue_empty().await;
    // From now on Bob sends it, and the answers are his.
    send(&relay, "bob@tiny.com", "bob@tiny.com", UID, 2, 4).await;
    assert_eq!(said(&jumbo.wait_for("SENDEVENT", 4).await[3]), (id.clone(), "3".to_owned(), false));
    let rsvp = format!("UID: {id}\nSEQUENCE: 3\nATTENDEE;STATUS=CONFIRMED: <tom@jumbo.com>\n");
    assert_eq!(relay.cip().await.object("RSVP", &rsvp).await.code(), "OK 000");
    sink.wait_for_recipient("bob@tiny.com", 1).await;
    relay.queue_empty().await;
    // What Mary's mail server sends once more from before makes no event.
    let mails = sink.mails().len();
    send(&relay, "mary@tiny.com", "mary@tiny.com", UID, 0, 1).await;
    relay.queue_empty().await;
    assert_eq!((jumbo.of("SENDEVENT").len(), sink.mails().len()), (4, mails));
    assert!(relay.terminate().await.success());
    with_ledger(&relay.settings, |_, ledger| {
        let event = ledger.event(&EventId::parse(&id).unwrap()).unwrap().unwrap();
        assert_eq!(event.owner, UserId::parse("bob@tiny.com").unwrap());
        let history = ledger.chronicle(&event.event_id).unwrap().unwrap().lines;
        assert!(history.iter().any(|l| l.what == "the owner changes from mary@tiny.com to bob@tiny.com"), "{history:?}");
    });
}
