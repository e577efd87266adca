//! What a user owns and what he has accepted, from the relay's own ledger.

use super::{FROM, UNTIL, ask, busy};
use crate::bridge::{Scene, imip};
use crate::support::cip::{Answer, CipClient};

/// A relay for tiny.com, of any users, that answers from its ledger; clients on this host may relay.
async fn scene() -> Scene {
    let text = "name = \"tiny.com\"\nusers = \"any\"\naliases = { \"m.weaver\" = \"mary\" }\nfree-busy = [{ source = \"ledger\" }]\ntime-zone = \"Europe/Berlin\"";
    Scene::with(|s| s.domain_text(text).set("cip.relay-networks", vec!["127.0.0.0/8"])).await
}

fn object(uid: &str, sequence: u32, lines: &str) -> String {
    format!(
        "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//EN\nMETHOD:REQUEST\nBEGIN:VEVENT\nUID:{uid}\nSEQUENCE:{sequence}\n\
         DTSTAMP:20261101T{:02}0000Z\nORGANIZER:mailto:tom@jumbo.com\nATTENDEE:mailto:mary@tiny.com\nATTENDEE:mailto:bob@tiny.com\nSUMMARY:secret\n{lines}\n\
         END:VEVENT\nEND:VCALENDAR\n",
        sequence + 1
    )
}

async fn send(client: &mut CipClient, uid: &str, sequence: u32, lines: &str) {
    let answer = client.object("SENDEVENT", &object(uid, sequence, lines)).await;
    assert_eq!(answer.code(), "OK 000", "{answer:?}");
}

async fn answer(client: &mut CipClient, uid: &str, version: u32, status: &str, more: &str) {
    let rsvp = format!("UID:{uid}\nSEQUENCE:{version}\n{more}ATTENDEE;STATUS={status}:mary@tiny.com\n");
    let answer = client.object("RSVP", &rsvp).await;
    assert_eq!(answer.code(), "OK 000", "{answer:?}");
}

fn mary(answer: &Answer) -> Vec<String> {
    busy(answer, "mary@tiny.com").unwrap_or_else(|| panic!("{answer:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_decides_whether_an_invitation_takes_time() {
    let scene = scene().await;
    let mut client = scene.relay.cip().await;
    send(&mut client, "1@jumbo.com", 0, "DTSTART:20261124T090000Z\nDTEND:20261124T100000Z").await;
    let nothing = ask(&mut client, &["mary@tiny.com"]).await;
    assert_eq!((nothing.infos.as_slice(), nothing.code()), (["* NOTFOUND mary@tiny.com".to_owned()].as_slice(), "NO 000"));
    for (status, expected) in [
        ("TENTATIVE", vec!["BUSY-TENTATIVE 1124T0900/1124T1000"]),
        ("CONFIRMED", vec!["BUSY 1124T0900/1124T1000"]),
        ("DECLINED", vec![]),
        ("ACCEPTED", vec!["BUSY 1124T0900/1124T1000"]),
    ] {
        answer(&mut client, "1@jumbo.com", 1, status, "").await;
        let told = ask(&mut client, &["mary@tiny.com", "bob@tiny.com"]).await;
        assert_eq!(mary(&told), expected, "{status}");
        assert_eq!(told.infos, ["* NOTFOUND bob@tiny.com"], "who has not answered is not known");
        assert!(!told.data.unwrap().contains("secret"));
    }
    // Moved: she accepted another time. Then she accepts this one, under her other name.
    send(&mut client, "1@jumbo.com", 1, "DTSTART:20261125T090000Z\nDTEND:20261125T100000Z").await;
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), ["BUSY-TENTATIVE 1125T0900/1125T1000"]);
    answer(&mut client, "1@jumbo.com", 2, "ACCEPTED", "").await;
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), ["BUSY 1125T0900/1125T1000"]);
    send(&mut client, "1@jumbo.com", 2, "DTSTART:20261125T090000Z\nDTEND:20261125T100000Z\nTRANSP:TRANSPARENT").await;
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), [""; 0]);
    send(&mut client, "1@jumbo.com", 3, "DTSTART:20261125T090000Z\nDTEND:20261125T100000Z").await;
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await).len(), 1);
    send(&mut client, "1@jumbo.com", 4, "DTSTART:20261125T090000Z\nDTEND:20261125T100000Z\nSTATUS:CANCELLED").await;
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), [""; 0]);
    let alias = ask(&mut client, &["m.weaver@tiny.com"]).await;
    assert_eq!(busy(&alias, "m.weaver@tiny.com").unwrap(), [""; 0]);
}

/// New York's clocks went back on the first of November; nine o'clock there is fourteen in UTC then.
#[tokio::test(flavor = "multi_thread")]
async fn series_with_exceptions_answered_one_by_one() {
    let scene = scene().await;
    let mut client = scene.relay.cip().await;
    let series =
        "DTSTART;TZID=America/New_York:20261019T090000\nDTEND;TZID=America/New_York:20261019T093000\nRRULE:FREQ=DAILY;BYDAY=MO,TU,WE,TH";
    send(&mut client, "2@jumbo.com", 0, series).await;
    answer(&mut client, "2@jumbo.com", 1, "ACCEPTED", "").await;
    let days = |list: &[u32]| list.iter().map(|d| format!("BUSY 11{d}T1400/11{d}T1430")).collect::<Vec<_>>();
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), days(&[23, 24, 25, 26]));
    // One that the organizer never spoke of by itself.
    answer(&mut client, "2@jumbo.com", 1, "DECLINED", "RECURRENCE-ID:20261124T140000Z\n").await;
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), days(&[23, 25, 26]));
    // One that he moves, and she has accepted the series.
    let moved = "RECURRENCE-ID;TZID=America/New_York:20261125T090000\nDTSTART:20261127T080000Z\nDTEND:20261127T083000Z";
    send(&mut client, "2@jumbo.com", 1, moved).await;
    let with = |kind: &str| {
        let mut all = days(&[23, 26]);
        all.push(format!("{kind} 1127T0800/1127T0830"));
        all
    };
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), with("BUSY"));
    answer(&mut client, "2@jumbo.com", 2, "TENTATIVE", "RECURRENCE-ID:20261125T140000Z\n").await;
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), with("BUSY-TENTATIVE"));
    answer(&mut client, "2@jumbo.com", 2, "DECLINED", "RECURRENCE-ID:20261125T140000Z\n").await;
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), days(&[23, 26]));
    let cancelled = "RECURRENCE-ID;TZID=America/New_York:20261126T090000\nDTSTART;TZID=America/New_York:20261126T090000\n\
                     DTEND;TZID=America/New_York:20261126T093000\nSTATUS:CANCELLED";
    send(&mut client, "2@jumbo.com", 2, cancelled).await;
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), days(&[23]));
    // A question about one day looks at that day alone.
    let request = "ATTENDEE:mary@tiny.com\nDTSTART:20261030T000000Z\nDTEND:20261103T000000Z\n";
    let told = client.object("FREEBUSY", request).await;
    assert_eq!(mary(&told), ["BUSY 1102T1400/1102T1430"], "the week in which the clocks went back");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organizer_is_busy_with_what_he_organizes() {
    let scene = scene().await;
    let own = |sequence: u32, method: &str, lines: &str, to: &[&str]| {
        let people: String = to.iter().map(|to| format!("ATTENDEE:mailto:{to}\n")).collect();
        let calendar = format!(
            "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//EN\nMETHOD:{method}\nBEGIN:VEVENT\nUID:own\nSEQUENCE:{sequence}\n\
             DTSTAMP:20261101T{:02}0000Z\nORGANIZER:mailto:mary@tiny.com\n{people}DTSTART;VALUE=DATE:20261125\nSUMMARY:secret\n{lines}END:VEVENT\nEND:VCALENDAR\n",
            sequence + 1
        );
        imip(method, "Mary <mary@tiny.com>", to, &calendar)
    };
    let mut smtp = scene.relay.smtp().await;
    let both = ["tom@jumbo.com", "ann@jumbo.com"];
    let invitation = own(0, "REQUEST", "", &both);
    assert!(smtp.mail("mary@tiny.com", &both, invitation.as_bytes()).await.positive());
    let mut client = scene.relay.cip().await;
    // A day of Berlin, which is an hour ahead.
    let day = ["BUSY 1124T2300/1125T2300"];
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), day);
    // One attendee is taken out, and the event goes on.
    assert!(smtp.mail("mary@tiny.com", &["ann@jumbo.com"], own(1, "CANCEL", "", &["ann@jumbo.com"]).as_bytes()).await.positive());
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), day);
    let cancel = own(2, "CANCEL", "STATUS:CANCELLED\n", &["tom@jumbo.com"]);
    assert!(smtp.mail("mary@tiny.com", &["tom@jumbo.com"], cancel.as_bytes()).await.positive());
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), [""; 0]);
    let told = ask(&mut client, &["mary@tiny.com"]).await.data.unwrap();
    assert!(told.contains(&format!("DTSTART:{FROM}\r\nDTEND:{UNTIL}\r\n")), "{told}");
}

/// An event whose times cannot be read takes nobody's answer away until somebody accepts it.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_not_free() {
    let scene = scene().await;
    let mut client = scene.relay.cip().await;
    send(&mut client, "3@jumbo.com", 0, "DTSTART:20261124T090000Z\nDTEND:20261124T100000Z").await;
    answer(&mut client, "3@jumbo.com", 1, "ACCEPTED", "").await;
    send(&mut client, "4@jumbo.com", 0, "DTSTART:20261124T110000Z\nDTEND:20261124T120000Z\nRRULE:FREQ=SOMETIMES").await;
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), ["BUSY 1124T0900/1124T1000"]);
    answer(&mut client, "4@jumbo.com", 1, "ACCEPTED", "").await;
    let told = ask(&mut client, &["mary@tiny.com"]).await;
    assert_eq!((told.code(), told.data.as_deref()), ("NO 004", None));
    answer(&mut client, "4@jumbo.com", 1, "DECLINED", "").await;
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), ["BUSY 1124T0900/1124T1000"]);
}

/// What she had accepted takes none of her time once she is out of the event.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_taken_out_of_an_event_is_free() {
    let scene = scene().await;
    let mut client = scene.relay.cip().await;
    let lines = "DTSTART:20261124T090000Z\nDTEND:20261124T100000Z";
    send(&mut client, "5@jumbo.com", 0, lines).await;
    answer(&mut client, "5@jumbo.com", 1, "ACCEPTED", "").await;
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), ["BUSY 1124T0900/1124T1000"]);
    let without = object("5@jumbo.com", 1, lines).replace("ATTENDEE:mailto:mary@tiny.com\n", "");
    assert_eq!(client.object("SENDEVENT", &without).await.code(), "OK 000");
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), [""; 0]);
}

/// A CANCEL need not say STATUS:CANCELLED.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_without_a_status_frees_whom_it_is_for() {
    let scene = scene().await;
    let mut client = scene.relay.cip().await;
    let lines = "DTSTART:20261124T090000Z\nDTEND:20261124T100000Z";
    send(&mut client, "6@jumbo.com", 0, lines).await;
    answer(&mut client, "6@jumbo.com", 1, "ACCEPTED", "").await;
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), ["BUSY 1124T0900/1124T1000"]);
    let cancel = object("6@jumbo.com", 1, lines).replace("METHOD:REQUEST", "METHOD:CANCEL");
    assert_eq!(client.object("SENDEVENT", &cancel).await.code(), "OK 000");
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), [""; 0]);
}

/// Whoever hands his event over owns none of its time any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_former_owner_is_free() {
    let scene = scene().await;
    let invitation = |sequence: u32, organizer: &str| {
        let calendar = format!(
            "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//EN\nMETHOD:REQUEST\nBEGIN:VEVENT\nUID:own\nSEQUENCE:{sequence}\n\
             DTSTAMP:20261101T{:02}0000Z\n{organizer}\nATTENDEE:mailto:tom@jumbo.com\nDTSTART:20261124T090000Z\n\
             DTEND:20261124T100000Z\nSUMMARY:secret\nEND:VEVENT\nEND:VCALENDAR\n",
            sequence + 1
        );
        imip("REQUEST", "Mary <mary@tiny.com>", &["tom@jumbo.com"], &calendar)
    };
    let mut smtp = scene.relay.smtp().await;
    let mut client = scene.relay.cip().await;
    for (sequence, organizer) in
        [(0, "ORGANIZER:mailto:mary@tiny.com"), (1, "ORGANIZER;SENT-BY=\"mailto:mary@tiny.com\":mailto:bob@tiny.com")]
    {
        assert!(smtp.mail("mary@tiny.com", &["tom@jumbo.com"], invitation(sequence, organizer).as_bytes()).await.positive());
        let owner = if sequence == 0 { "mary@tiny.com" } else { "bob@tiny.com" };
        assert_eq!(busy(&ask(&mut client, &[owner]).await, owner).unwrap(), ["BUSY 1124T0900/1124T1000"]);
    }
    assert_eq!(mary(&ask(&mut client, &["mary@tiny.com"]).await), [""; 0]);
}
