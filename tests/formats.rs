//! The format in which a peer gets what came by mail: vCalendar 1.0, or what its `object-format` says.

use cip_relay::calendar::Object;
use cip_relay::calendar::event::{Format, Method, PartStat};
use cip_relay::queue::entry::Entry;

use crate::bridge::{Scene, bare, ical, imip, property, python_reads, unfold};
use crate::support::dns::Dns;
use crate::support::peer::{Behaviour, Command};
use crate::support::relay::Settings;
use crate::support::running::Running;
use crate::support::sink::Sink;

const MARY: &str = "Mary Weaver <mary@tiny.com>";
const TOM: &str = "tom@jumbo.com";

fn object(command: &Command) -> Object {
    Object::parse(command.text().into_bytes()).unwrap_or_else(|e| panic!("{e}: {}", command.text()))
}

/// Sends an invitation from Mary and gives what the peer got.
async fn invited(scene: &Scene, calendar: &str) -> Command {
    let mail = imip("REQUEST", MARY, &[TOM], calendar);
    let reply = scene.relay.smtp().await.mail("mary@tiny.com", &[TOM], mail.as_bytes()).await;
    assert_eq!(reply.code, 250, "{reply:?}");
    scene.jumbo.wait_for("SENDEVENT", 1).await.remove(0)
}

fn peer(scene_settings: Settings, format: &str) -> Settings {
    scene_settings.peer(&format!("server-id = \"jumbo.com\"\nobject-format = \"{format}\""))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_gets_vcalendar_that_reads_back() {
    let scene = Scene::new().await;
    let calendar = ical("REQUEST", "u1", 2, "mary@tiny.com", &[(TOM, "NEEDS-ACTION"), ("ann@other.org", "ACCEPTED")])
        .replace("SUMMARY:Budget\n", "SUMMARY:Größe\\; Budget\nDESCRIPTION:a\\nb\nCONTACT:Jim\n");
    let got = invited(&scene, &calendar).await;
    let text = got.text();
    for line in [
        "VERSION:1.0",
        "SEQUENCE:3",
        "DTSTART:20270104T150000Z",
        "DTEND:20270104T160000Z",
        "ATTENDEE;ROLE=OWNER:Mary Weaver <mary@tiny.com>",
        "ATTENDEE;ROLE=ATTENDEE;STATUS=NEEDS ACTION:tom@jumbo.com",
        "ATTENDEE;ROLE=ATTENDEE;STATUS=CONFIRMED:ann@other.org",
        "X-CIP-ICAL:CONTACT:Jim",
        "X-CIP-RCPT:tom@jumbo.com",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    let read = object(&got);
    let event = read.event();
    assert_eq!((read.format(), event.version, event.recipients.len(), event.traces.len()), (Format::VCalendar, Some(3), 1, 1));
    assert_eq!((event.summary.as_deref(), event.description.as_deref()), (Some("Größe; Budget"), Some("a\nb")));
    scene.relay.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_whose_object_format_is_icalendar_gets_icalendar() {
    let scene = Scene::with(|s| peer(s, "icalendar")).await;
    let calendar = ical("REQUEST", "u1", 2, "mary@tiny.com", &[(TOM, "NEEDS-ACTION")]);
    let got = invited(&scene, &calendar).await;
    let read = object(&got);
    assert_eq!((read.format(), read.event().method, read.event().version), (Format::ICalendar, Some(Method::Request), Some(3)));
    assert!(got.text().contains("\r\nORGANIZER;CN=Mary Weaver:mailto:mary@tiny.com\r\n"), "{}", got.text());

    let answer = scene.relay.cip().await.object("SENDEVENT", &bare("e1@jumbo.com", 3, TOM, &["mary@tiny.com"])).await;
    assert_eq!(answer.code(), "OK 000", "{answer:?}");
    let (_, _, calendar) = python_reads(&scene.sink.wait_for(1).await.remove(0));
    let organizer = property(&unfold(&calendar), "ORGANIZER").rsplit_once("mailto:").unwrap().1.to_owned();
    let reply = imip("REPLY", MARY, &[&organizer], &ical("REPLY", "e1@jumbo.com", 2, &organizer, &[("mary@tiny.com", "ACCEPTED")]));
    let done = scene.relay.smtp().await.mail("mary@tiny.com", &[&organizer], reply.as_bytes()).await;
    assert_eq!(done.code, 250, "{done:?}");
    let rsvp = scene.jumbo.wait_for("RSVP", 1).await.remove(0);
    let read = object(&rsvp);
    let event = read.event();
    assert_eq!((read.format(), event.method, event.uid.as_str()), (Format::ICalendar, Some(Method::Reply), "e1@jumbo.com"));
    assert_eq!((event.version, event.response_sequence, event.traces.len()), (Some(3), Some(1), 1));
    assert_eq!(event.owner.as_ref().map(|o| o.address.to_string()).as_deref(), Some(TOM));
    let answers = read.answers();
    assert_eq!(
        answers.iter().map(|a| (a.address.to_string(), a.status)).collect::<Vec<_>>(),
        [("mary@tiny.com".to_owned(), Some(PartStat::Accepted))]
    );
    scene.relay.idle().await;
}

/// To a peer that reads iCalendar a series with its exceptions is one object; vCalendar: see `instances`.
#[tokio::test(flavor = "multi_thread")]
async fn a_series_with_exceptions_is_one_icalendar_object() {
    let scene = Scene::with(|s| peer(s, "icalendar")).await;
    let calendar = ical("REQUEST", "u1", 0, "mary@tiny.com", &[(TOM, "NEEDS-ACTION")]);
    let event = calendar.split_once("BEGIN:VEVENT\n").unwrap().1.split_once("END:VEVENT\n").unwrap().0;
    let exception = format!(
        "BEGIN:VEVENT\n{}RECURRENCE-ID:20270105T150000Z\nEND:VEVENT\n",
        event.replace("20270104T15", "20270105T17").replace("20270104T16", "20270105T18")
    );
    let series =
        calendar.replace("SUMMARY", "RRULE:FREQ=DAILY;COUNT=3\nSUMMARY").replace("END:VCALENDAR", &format!("{exception}END:VCALENDAR"));
    let read = object(&invited(&scene, &series).await);
    assert_eq!((read.format(), read.events().len()), (Format::ICalendar, 2));
    scene.relay.idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_translation_loses_stands_in_the_history() {
    let scene = Scene::new().await;
    // Tom has it, Ann's waits for the mail server, and its history with it.
    scene.jumbo.behave(Behaviour::accept().not_found("ann@jumbo.com"));
    scene.sink.stop().await;
    let users = [TOM, "ann@jumbo.com"];
    let calendar =
        ical("REQUEST", "u1", 0, "mary@tiny.com", &users.map(|u| (u, "NEEDS-ACTION"))).replace("SUMMARY", "CONTACT:Jim\nSUMMARY");
    let mail = imip("REQUEST", MARY, &users, &calendar);
    let reply = scene.relay.smtp().await.mail("mary@tiny.com", &users, mail.as_bytes()).await;
    assert_eq!(reply.code, 250, "{reply:?}");
    let lost = |e: &Entry| e.history.iter().map(|n| n.what.clone()).filter(|t| t.contains("lost in translation")).collect::<Vec<_>>();
    let entry = scene.relay.entry("the entry that lost something", |e| !lost(e).is_empty()).await;
    let lost = lost(&entry);
    assert_eq!(lost, ["lost in translation: CONTACT \"Jim\": the other format has no word for it; carried as X-CIP-ICAL"]);
    scene.sink.up();
    scene.relay.idle().await;
}

/// Mary's relay writes vCalendar, Tom's reads it and writes the mail that Tom's program gets.
#[tokio::test(flavor = "multi_thread")]
async fn a_zoned_series_with_an_alarm_is_the_same_behind_two_relays() {
    let dns = Dns::start("$ORIGIN nowhere.\n").await;
    let (near_sink, far_sink) = (Sink::start().await, Sink::start().await);
    let far = Settings::new("jumbo.com").dns(dns.address()).smarthost(far_sink.address()).quick();
    // Where tiny.com's CIP comes from: it is known by its address.
    let far = Running::start(far.peer("server-id = \"tiny.com\"\nvia = \"127.0.0.1:6047\"")).await;
    let near = Settings::new("tiny.com").dns(dns.address()).smarthost(near_sink.address()).quick();
    let near = Running::start(near.peer(&format!("server-id = \"jumbo.com\"\nvia = \"{}\"", far.cip_address()))).await;

    let calendar = "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//EN\nMETHOD:REQUEST\nBEGIN:VTIMEZONE\nTZID:Europe/Berlin\n\
        BEGIN:STANDARD\nDTSTART:19701025T030000\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nTZNAME:CET\nEND:STANDARD\n\
        BEGIN:DAYLIGHT\nDTSTART:19700329T020000\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0200\nTZNAME:CEST\nEND:DAYLIGHT\nEND:VTIMEZONE\n\
        BEGIN:VEVENT\nUID:series\nSEQUENCE:1\nDTSTAMP:20261122T120000Z\nDTSTART;TZID=Europe/Berlin:20270301T090000\nDTEND;TZID=Europe/Berlin:20270301T103000\n\
        RRULE:FREQ=WEEKLY;COUNT=10;BYDAY=MO,TH\nEXDATE;TZID=Europe/Berlin:20270401T090000\nSUMMARY:Größe\nLOCATION:Room 5\\, left\n\
        ORGANIZER;CN=Mary Weaver:mailto:mary@tiny.com\nATTENDEE;CN=\"Jones, Tom\";PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:tom@jumbo.com\n\
        ATTENDEE;CN=Ann;PARTSTAT=ACCEPTED;ROLE=OPT-PARTICIPANT:mailto:ann@other.org\nBEGIN:VALARM\nACTION:DISPLAY\nTRIGGER:-PT15M\nDESCRIPTION:Soon\nEND:VALARM\n\
        END:VEVENT\nEND:VCALENDAR\n";
    let mail = imip("REQUEST", MARY, &[TOM], calendar);
    let reply = near.smtp().await.mail("mary@tiny.com", &[TOM], mail.as_bytes()).await;
    assert_eq!(reply.code, 250, "{reply:?}");
    let mail = far_sink.wait_for(1).await.remove(0);
    assert_eq!(mail.recipients, [TOM]);
    let (_, method, calendar) = python_reads(&mail);
    assert_eq!(method, "REQUEST");
    let calendar = unfold(&calendar);
    for line in [
        "DTSTART;TZID=Europe/Berlin:20270301T090000",
        "DTEND;TZID=Europe/Berlin:20270301T103000",
        "EXDATE;TZID=Europe/Berlin:20270401T090000",
        "TZID:Europe/Berlin",
        "SUMMARY:Größe",
        "LOCATION:Room 5\\, left",
        "TRIGGER:-PT15M",
        "DESCRIPTION:Soon",
    ] {
        assert!(calendar.lines().any(|l| l == line), "{line}: {calendar}");
    }
    let mut rule: Vec<&str> =
        property(calendar.split_once("BEGIN:VEVENT").unwrap().1, "RRULE").trim_start_matches(':').split(';').collect();
    rule.sort_unstable();
    assert_eq!(rule, ["BYDAY=MO,TH", "COUNT=10", "FREQ=WEEKLY"]);
    let read = Object::parse(calendar.replace('\n', "\r\n").into_bytes()).unwrap();
    let event = read.event();
    assert_eq!((event.version, event.owner.as_ref().and_then(|o| o.name.as_deref())), (Some(2), Some("Mary Weaver")));
    let people: Vec<_> = event.attendees.iter().map(|a| (a.address.to_string(), a.name.as_deref(), a.status)).collect();
    assert_eq!(
        people,
        [
            (TOM.to_owned(), Some("Jones, Tom"), Some(PartStat::NeedsAction)),
            ("ann@other.org".to_owned(), Some("Ann"), Some(PartStat::Accepted))
        ]
    );
    near.idle().await;
    far.idle().await;
}
