//! A series and its instances: what is said of one neither takes the place of what was said of the other, nor comes before it.

use crate::bridge::{Scene, ical, imip};
use crate::outcomes::organizer;
use crate::support::eventually;
use crate::support::peer::Command;

const TOM: &str = "tom@jumbo.com";
const SECOND: &str = "20270105T150000Z";
const THIRD: &str = "20270106T150000Z";

/// Of five days from 2027-01-04 on, with more lines.
fn series(method: &str, uid: &str, sequence: u32, owner: &str, attendee: (&str, &str), lines: &str) -> String {
    ical(method, uid, sequence, owner, &[attendee]).replace("SUMMARY:", &format!("{lines}SUMMARY:"))
}

const DAILY: &str = "RRULE:FREQ=DAILY;COUNT=5\n";

async fn send(scene: &Scene, method: &str, to: &str, object: &str) {
    let mail = imip(method, "mary@tiny.com", &[to], object);
    let done = scene.relay.smtp().await.mail("mary@tiny.com", &[to], mail.as_bytes()).await;
    assert_eq!(done.code, 250, "{done:?}");
}

fn status(rsvp: &Command) -> &'static str {
    if rsvp.text().contains("STATUS=CONFIRMED") { "CONFIRMED" } else { "DECLINED" }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_a_series_and_to_its_instances_all_arrive_the_series_first() {
    let scene = Scene::new().await;
    let object = series("REQUEST", "e1@jumbo.com", 0, TOM, ("mary@tiny.com", "NEEDS-ACTION"), DAILY);
    assert_eq!(scene.relay.cip().await.object("SENDEVENT", &object).await.code(), "OK 000");
    let token = organizer(&scene.sink.wait_for(1).await[0]);
    scene.relay.idle().await;
    scene.jumbo.stop().await;
    for (partstat, rid) in [("ACCEPTED", None), ("DECLINED", Some(SECOND)), ("DECLINED", Some(THIRD))] {
        let rid = rid.map_or_else(String::new, |rid| format!("RECURRENCE-ID:{rid}\n"));
        send(&scene, "REPLY", &token, &series("REPLY", "e1@jumbo.com", 0, &token, ("mary@tiny.com", partstat), &rid)).await;
    }
    eventually("all three tried", || async {
        let entries = scene.relay.entries();
        (entries.len() == 3 && entries.iter().any(|e| e.attempts > 0)).then_some(())
    })
    .await;
    scene.jumbo.up();
    let rsvps = scene.jumbo.wait_for("RSVP", 3).await;
    let statuses: Vec<&str> = rsvps.iter().map(status).collect();
    assert_eq!(statuses, ["CONFIRMED", "DECLINED", "DECLINED"]);
    scene.relay.idle().await;
    assert_eq!(scene.jumbo.of("RSVP").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_instance_of_a_series_that_waits_is_cancelled_after_it() {
    let scene = Scene::new().await;
    scene.jumbo.stop().await;
    send(&scene, "REQUEST", TOM, &series("REQUEST", "u1", 0, "mary@tiny.com", (TOM, "NEEDS-ACTION"), DAILY)).await;
    scene.relay.entry("an attempt that was refused", |e| e.attempts > 0).await;
    let lines = format!("STATUS:CANCELLED\nRECURRENCE-ID:{SECOND}\n");
    send(&scene, "CANCEL", TOM, &series("CANCEL", "u1", 1, "mary@tiny.com", (TOM, "NEEDS-ACTION"), &lines)).await;
    scene.relay.entry("the CANCEL behind its series", |e| e.cancel && e.reason.contains("whole series")).await;
    assert_eq!(scene.relay.entries().len(), 2);
    scene.jumbo.up();
    let events = scene.jumbo.wait_for("SENDEVENT", 2).await;
    assert!(events[0].text().contains("RRULE") && !events[0].text().contains("STATUS:CANCELLED"), "{}", events[0].text());
    assert!(events[1].text().contains(SECOND), "{}", events[1].text());
    scene.relay.idle().await;
}
