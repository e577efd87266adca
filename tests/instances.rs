//! Instances of a series towards a server that reads vCalendar 1.0, which knows no RECURRENCE-ID (bridge 2): each is an
//! event of its own there, and one answer for the organizer here.

use crate::bridge::{Scene, ical, imip, property, python_reads, unfold};
use crate::support::peer::{Behaviour, CipPeer, Command};
use crate::support::smtp::Reply;

const TOM: &str = "tom@jumbo.com";
const RID: &str = "20270111T150000Z";

fn series(method: &str, sequence: u32, extra: &str) -> String {
    ical(method, "s1", sequence, "mary@tiny.com", &[(TOM, "NEEDS-ACTION")]).replace("SUMMARY:Budget\n", &format!("SUMMARY:Budget\n{extra}"))
}

const WEEKLY: &str = "RRULE:FREQ=WEEKLY;COUNT=4\n";

/// The second instance, two hours later.
fn moved(method: &str, sequence: u32) -> String {
    series(method, sequence, &format!("RECURRENCE-ID:{RID}\n")).replace("20270104T15", "20270111T17").replace("20270104T16", "20270111T18")
}

async fn mail(scene: &Scene, method: &str, calendar: &str) -> Reply {
    scene.relay.smtp().await.mail("mary@tiny.com", &[TOM], imip(method, "mary@tiny.com", &[TOM], calendar).as_bytes()).await
}

/// Sends it, and gives the events that Tom's server has got by then.
async fn sent(scene: &Scene, method: &str, calendar: &str, events: usize) -> Vec<Command> {
    assert_eq!(mail(scene, method, calendar).await.code, 250);
    scene.jumbo.wait_for("SENDEVENT", events).await;
    scene.relay.idle().await;
    let got = scene.jumbo.of("SENDEVENT");
    assert_eq!(got.len(), events, "{:?}", got.iter().map(Command::text).collect::<Vec<_>>());
    got
}

fn text(command: &Command) -> String {
    unfold(&command.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_is_a_date_left_out_and_an_event_of_its_own_whose_answer_comes_back() {
    let scene = Scene::new().await;
    let series_id = sent(&scene, "REQUEST", &series("REQUEST", 0, WEEKLY), 1).await[0].value("UID").unwrap();
    let got = sent(&scene, "REQUEST", &moved("REQUEST", 1), 3).await;
    let (whole, own) = (&got[1], &got[2]);
    assert_eq!((whole.value("UID"), whole.value("SEQUENCE").as_deref()), (Some(series_id.clone()), Some("2")));
    let said = text(whole);
    assert!(said.contains(&format!("EXDATE:{RID}")) && said.contains("RRULE:W1") && said.contains("DTSTART:20270104T150000Z"), "{said}");
    assert_eq!((whole.recipients("jumbo.com"), own.recipients("jumbo.com")), (vec![TOM.to_owned()], vec![TOM.to_owned()]));
    let own_id = own.value("UID").unwrap();
    assert!(own_id != series_id && own_id.ends_with("@tiny.com"), "{own_id}");
    let said = text(own);
    assert!(said.contains("DTSTART:20270111T170000Z") && said.contains("SEQUENCE:2") && said.contains("X-CIP-TRACE:tiny.com;"), "{said}");
    assert!(!said.contains("RRULE") && !said.contains("\nRECURRENCE-ID"), "{said}");
    assert_eq!(said.matches("BEGIN:VEVENT").count(), 1);

    // Tom declines that date, and accepts the series.
    let rsvp = |uid: &str, version: u32, status: &str| {
        format!("UID: {uid}\nSEQUENCE: {version}\nRESPONSE-SEQUENCE: 1\nATTENDEE;STATUS={status}: <{TOM}>\n")
    };
    for (uid, version, status) in [(&own_id, 2, "DECLINED"), (&series_id, 1, "CONFIRMED")] {
        assert_eq!(scene.relay.cip().await.object("RSVP", &rsvp(uid, version, status)).await.code(), "OK 000");
        scene.relay.idle().await;
    }
    let replies: Vec<String> = scene.sink.mails_for("mary@tiny.com").iter().map(|m| unfold(&python_reads(m).2)).collect();
    let [declined, accepted] = replies.as_slice() else { panic!("{replies:?}") };
    assert_eq!((property(declined, "UID"), property(declined, "SEQUENCE")), (":s1", ":1"));
    assert_eq!(property(declined, "RECURRENCE-ID"), format!(":{RID}"));
    assert!(property(declined, "ATTENDEE").contains("PARTSTAT=DECLINED"), "{declined}");
    assert!(!accepted.contains("RECURRENCE-ID") && property(accepted, "ATTENDEE").contains("PARTSTAT=ACCEPTED"), "{accepted}");

    // Another title for the series: the date stays left out.
    let got = sent(&scene, "REQUEST", &series("REQUEST", 2, WEEKLY).replace("Budget", "Money"), 4).await;
    let said = text(&got[3]);
    assert!(said.contains(&format!("EXDATE:{RID}")) && said.contains("SUMMARY:Money") && said.contains("SEQUENCE:3"), "{said}");

    // Cancelled: the date stays left out, and its own event is cancelled; then the series.
    let got = sent(&scene, "CANCEL", &moved("CANCEL", 3), 6).await;
    assert!(text(&got[4]).contains(&format!("EXDATE:{RID}")) && !text(&got[4]).contains("CANCELLED"), "{}", text(&got[4]));
    assert!(got[5].value("UID") == Some(own_id.clone()) && text(&got[5]).contains("STATUS:CANCELLED"), "{}", text(&got[5]));
    let got = sent(&scene, "CANCEL", &series("CANCEL", 4, WEEKLY), 8).await;
    let cancelled: Vec<_> = got[6..].iter().map(|c| (c.value("UID").unwrap(), c.value("STATUS").unwrap())).collect();
    assert_eq!(cancelled, [series_id, own_id].map(|id| (id, "CANCELLED".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_cancelled_without_having_been_changed_is_a_date_left_out() {
    let scene = Scene::new().await;
    sent(&scene, "REQUEST", &series("REQUEST", 0, WEEKLY), 1).await;
    let cancel = series("CANCEL", 1, &format!("RECURRENCE-ID:{RID}\nSTATUS:CANCELLED\n"));
    let got = sent(&scene, "CANCEL", &cancel, 2).await;
    assert!(text(&got[1]).contains(&format!("EXDATE:{RID}")) && !text(&got[1]).contains("STATUS:CANCELLED"), "{}", text(&got[1]));
}

/// What comes in one object goes as several, the whole first; a server that has only the first gets both again.
#[tokio::test(flavor = "multi_thread")]
async fn a_series_with_its_exceptions_is_tried_until_all_of_it_is_there() {
    let scene = Scene::new().await;
    let refused = std::sync::atomic::AtomicBool::new(false);
    scene.jumbo.behave(Behaviour::accept().rule(move |command, _| {
        let exception = command.text().contains("X-CIP-SERIES");
        let once = exception && !refused.swap(true, std::sync::atomic::Ordering::SeqCst);
        once.then(|| crate::support::peer::Reply::lines(["NO 004 Not now."]))
    }));
    let exception = moved("REQUEST", 0);
    let exception = exception.split_once("BEGIN:VEVENT").unwrap().1;
    let both = series("REQUEST", 0, WEEKLY).replace("END:VCALENDAR\n", &format!("BEGIN:VEVENT{exception}"));
    let got = sent(&scene, "REQUEST", &both, 4).await;
    let uids: Vec<_> = got.iter().map(|c| c.value("UID").unwrap()).collect();
    assert!(uids[0] != uids[1] && uids[..2] == uids[2..], "{uids:?}");
    assert!(text(&got[2]).contains(&format!("EXDATE:{RID}")), "{}", text(&got[2]));
    let rsvp = format!("UID: {}\nSEQUENCE: 1\nATTENDEE;STATUS=CONFIRMED: <{TOM}>\n", uids[1]);
    assert_eq!(scene.relay.cip().await.object("RSVP", &rsvp).await.code(), "OK 000");
    let reply = scene.sink.wait_for_recipient("mary@tiny.com", 1).await.pop().unwrap();
    assert_eq!(property(&unfold(&python_reads(&reply).2), "RECURRENCE-ID"), format!(":{RID}"));
    scene.relay.idle().await;
}

/// The organizer has a calendar server of his own behind the relay: it too hears of which instance the answer is.
#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_an_instance_reaches_a_cip_organizer_as_one_of_that_instance() {
    let home = CipPeer::start("tiny.com", Behaviour::accept()).await;
    let scene = Scene::with(|s| {
        s.domain_text("name = \"tiny.com\"\ndeliver = \"cip\"").peer(&format!("server-id = \"tiny.com\"\nvia = \"{}\"", home.address()))
    })
    .await;
    let series_id = sent(&scene, "REQUEST", &series("REQUEST", 0, WEEKLY), 1).await[0].value("UID").unwrap();
    let own_id = sent(&scene, "REQUEST", &moved("REQUEST", 1), 3).await[2].value("UID").unwrap();
    assert_ne!(own_id, series_id);
    let rsvp = format!("UID: {own_id}\nSEQUENCE: 2\nATTENDEE;STATUS=DECLINED: <{TOM}>\n");
    assert_eq!(scene.relay.cip().await.object("RSVP", &rsvp).await.code(), "OK 000");
    let got = home.wait_for("RSVP", 1).await.remove(0);
    assert_eq!(got.value("UID"), Some(series_id));
    let said = text(&got);
    assert!(said.contains(&format!("RECURRENCE-ID:{RID}")) && said.contains("STATUS=DECLINED"), "{said}");
    scene.relay.idle().await;
}

/// Half of it was taken, the rest not yet: the cancellation is not one of what was never delivered.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_series_without_its_exception_hears_that_it_is_cancelled() {
    let scene = Scene::with(|s| s.set("delivery.retry.initial", "10m").set("delivery.retry.max", "10m")).await;
    scene.jumbo.behave(
        Behaviour::accept()
            .rule(|command, _| command.text().contains("X-CIP-SERIES").then(|| crate::support::peer::Reply::lines(["NO 004 Not now."]))),
    );
    let exception = moved("REQUEST", 0);
    let exception = exception.split_once("BEGIN:VEVENT").unwrap().1;
    let both = series("REQUEST", 0, WEEKLY).replace("END:VCALENDAR\n", &format!("BEGIN:VEVENT{exception}"));
    assert_eq!(mail(&scene, "REQUEST", &both).await.code, 250);
    scene.relay.entry("the exception to be put off", |e| e.attempts == 1).await;
    scene.jumbo.behave(Behaviour::accept());
    assert_eq!(mail(&scene, "CANCEL", &series("CANCEL", 1, WEEKLY)).await.code, 250);
    scene.relay.idle().await;
    let got = scene.jumbo.of("SENDEVENT");
    assert!(got.iter().any(|c| text(c).contains("STATUS:CANCELLED")), "{:?}", got.iter().map(Command::text).collect::<Vec<_>>());
}

/// A UID as long as an event-id may be leaves no room for the date in the id of an instance.
#[tokio::test(flavor = "multi_thread")]
async fn an_exception_of_a_very_long_uid_has_an_id_of_its_own() {
    let scene = Scene::new().await;
    let uid = format!("{}@tiny.com", "u".repeat(1010));
    let long = |text: String| text.replace("UID:s1\n", &format!("UID:{uid}\n"));
    sent(&scene, "REQUEST", &long(series("REQUEST", 0, WEEKLY)), 1).await;
    let got = sent(&scene, "REQUEST", &long(moved("REQUEST", 1)), 3).await;
    let own = got[2].value("UID").unwrap();
    assert!(own.ends_with(&format!(".{RID}@tiny.com")), "{own}");
    let rsvp = format!("UID: {own}\nSEQUENCE: 2\nATTENDEE;STATUS=DECLINED: <{TOM}>\n");
    assert_eq!(scene.relay.cip().await.object("RSVP", &rsvp).await.code(), "OK 000");
    let reply = scene.sink.wait_for_recipient("mary@tiny.com", 1).await.pop().unwrap();
    assert_eq!(property(&unfold(&python_reads(&reply).2), "RECURRENCE-ID"), format!(":{RID}"));
    scene.relay.idle().await;
}
