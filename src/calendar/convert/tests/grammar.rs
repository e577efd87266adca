//! vCalendar objects out of a grammar of properties: what holds of every one of them.

use proptest::prelude::*;

use super::options;
use crate::calendar::convert::{Target, translate};
use crate::calendar::event::{Event, Moment, Person};
use crate::calendar::property::Document;
use crate::calendar::{Object, text};

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9 ;,:\\\\.-]{0,30}", Just("Grüße aus Köln".to_owned()), Just("a=0D=0Ab".to_owned()), "[ -~]{60,200}",]
}

fn time() -> impl Strategy<Value = String> {
    (1990..2030u32, 1..13u32, 1..29u32, 0..24u32, 0..60u32, 0..5u8).prop_map(|(y, m, d, h, min, form)| match form {
        0 => format!("{y:04}{m:02}{d:02}"),
        1 => format!("{y:04}{m:02}{d:02}T{h:02}{min:02}00Z"),
        2 => format!("{y:04}{m:02}{d:02}T000000"),
        3 => format!("{y:04}{m:02}{d:02}T{h:02}{min:02}-0530"),
        _ => format!("{y:04}{m:02}{d:02}T{h:02}{min:02}00"),
    })
}

fn rule() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "D1 #5",
        "D2 19991231T000000",
        "W1 MO WE #0",
        "W2 TU #3",
        "MP1 1+ MO #4",
        "MP1 1- FR 2+ TU #6",
        "MD1 1 15 LD #5",
        "YM1 6 #2",
        "YD1 100 #3",
        "M15 #4",
        "D1 1200 1400 #4",
        "FREQ=DAILY;COUNT=3",
        "Q9",
    ])
    .prop_map(str::to_owned)
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}@[a-z]{1,8}\\.com",
        "[A-Z][a-z]{1,8} <[a-z]{1,8}@[a-z]{1,8}\\.com>",
        Just("\"Weaver, Mary\" <m@b.com>".to_owned()),
        Just("Person A".to_owned()),
        Just("+49 30 1234".to_owned()),
    ]
}

fn person() -> impl Strategy<Value = String> {
    let params = prop::sample::subsequence(
        vec![
            ";ROLE=OWNER",
            ";STATUS=ACCEPTED",
            ";STATUS=NEEDS ACTION",
            ";EXPECT=REQUIRE",
            ";RSVP=YES",
            ";TYPE=ROOM",
            ";X-P=1",
            ";EXPECT=IMMEDIATE",
        ],
        0..4,
    );
    (params, address()).prop_map(|(params, address)| format!("ATTENDEE{}:{address}", params.concat()))
}

fn property() -> impl Strategy<Value = String> {
    let named =
        prop::sample::select(vec!["SUMMARY", "DESCRIPTION", "LOCATION", "COMMENT", "X-A", "RELATED-TO", "CATEGORIES", "RESOURCES", "JUNK"]);
    prop_oneof![
        (named, word(), any::<bool>()).prop_map(|(name, word, encoded)| match encoded || !word.is_ascii() {
            true => format!(
                "{name};ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:{}",
                word.replace('=', "=3D").replace('ü', "=C3=BC").replace('ö', "=C3=B6").replace('ß', "=C3=9F")
            ),
            false => format!("{name}:{word}"),
        }),
        (prop::sample::select(vec!["DTEND", "LAST-MODIFIED", "DCREATED", "COMPLETED", "DUE", "EXDATE", "RDATE"]), time())
            .prop_map(|(name, time)| format!("{name}:{time}")),
        (prop::sample::select(vec!["RRULE", "EXRULE"]), rule()).prop_map(|(name, rule)| format!("{name}:{rule}")),
        person(),
        (prop::sample::select(vec!["AALARM", "DALARM", "MALARM", "PALARM"]), time(), prop::sample::select(vec!["", "PT5M;2", ";0"]))
            .prop_map(|(name, time, rest)| format!("{name}:{time};{rest};x@y.com;z")),
        prop::sample::select(vec![
            "STATUS:TENTATIVE",
            "STATUS:NEEDS ACTION",
            "STATUS:CONFIRMED",
            "CLASS:PRIVATE",
            "CLASS:secret stuff",
            "TRANSP:0",
            "TRANSP:7",
            "PRIORITY:3",
            "PRIORITY:12",
            "GEO:13.4,52.5",
            "URL:http://a.com/?b;c",
            "SEQUENCE:4",
            "ATTACH;VALUE=URL:http://a.com/x",
            "ATTACH;ENCODING=BASE64:YWJj",
            "X-CIP-TZID:Europe/Berlin",
            "X-CIP-ICAL:COLOR:red",
            "X-CIP-ICAL:RRULE:FREQ=DAILY;COUNT=2",
            "no property at all",
        ])
        .prop_map(str::to_owned),
    ]
}

fn object() -> impl Strategy<Value = String> {
    let head = prop::sample::subsequence(
        vec!["TZ:+01\r\n", "DAYLIGHT:TRUE;+02;19980329T020000;19981025T030000;CET;CEST\r\n", "X-WR-CALNAME:x\r\n"],
        0..4,
    );
    let lines = prop::collection::vec(property(), 0..14);
    (head, prop::sample::select(vec!["VEVENT", "VTODO"]), prop::option::weighted(0.9, time()), lines).prop_map(|(head, component, start, lines)| {
        let start = start.map(|s| format!("DTSTART:{s}\r\n")).unwrap_or_default();
        let lines: String = lines.iter().map(|l| format!("{l}\r\n")).collect();
        format!("BEGIN:VCALENDAR\r\nVERSION:1.0\r\n{}BEGIN:{component}\r\nUID:1@a.com\r\n{start}{lines}END:{component}\r\nEND:VCALENDAR\r\n", head.concat())
    })
}

/// The same instant; for a day of its own, the sender's day.
fn same_start(before: Option<&Moment>, after: Option<&Moment>) -> bool {
    match (before, after) {
        (Some(Moment::Utc { at, offset_minutes }), Some(Moment::Date(date))) => {
            let offset = chrono::Duration::minutes(i64::from(offset_minutes.unwrap_or(0)));
            at.datetime().is_some_and(|t| (t.naive_utc() + offset).date() == *date)
        }
        (before, after) => before.and_then(Moment::instant) == after.and_then(Moment::instant),
    }
}

/// What a translation must not change: who, which version, when. Of two owners the second becomes an attendee, and what
/// he says elsewhere is his as well.
fn kept(event: &Event, two_owners: bool) -> impl PartialEq + std::fmt::Debug {
    let answer = |p: &Person| (p.name.clone(), p.status, p.role, p.rsvp);
    let mut people: Vec<_> = event.attendees.iter().map(|p| (p.address.clone(), (!two_owners).then(|| answer(p)))).collect();
    people.sort_by(|a, b| a.0.cmp(&b.0));
    (event.uid.clone(), event.version, event.owner.as_ref().map(|o| o.address.clone()), people, event.start.as_ref().map(|_| ()))
}

/// Which years DAYLIGHT names depends on the dates that are left, which says nothing else of any of them.
fn without_years(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).split_inclusive("\r\n").filter(|l| !l.starts_with("DAYLIGHT:TRUE")).collect()
}

/// What a vCalendar object is after one way to iCalendar and back, and after two.
fn once_and_twice(source: String) -> (String, String) {
    let there = |octets: Vec<u8>| {
        let modern = translate(octets, Target::ICalendar, &options()).unwrap().octets;
        translate(modern, Target::VCalendar, &options()).unwrap().octets
    };
    let once = there(source.into_bytes());
    assert!(Document::parse(once.clone()).is_ok());
    let twice = there(once.clone());
    (without_years(&once), without_years(&twice))
}

/// Objects out of this grammar that changed once more on the second way, or lost what the first had kept.
#[test]
fn what_changed_on_the_second_way() {
    for (head, inner) in [
        // A line of quoted-printable broken before END.
        ("", "VTODO\nUID:1\nAALARM:20200801T101000Z;;x@y.com;z\nDUE:19940101\nRRULE:D1 #5\nAALARM:19900101;;x@y.com;z\nEND:VTODO"),
        // The second EXDATE lies before the year of the first one.
        ("TZ:+01\n", "VEVENT\nUID:1\nDTSTART:19920101T000000Z\nX-CIP-TZID:Europe/Berlin\nEXDATE:19920101\nEXDATE:19900401\nEND:VEVENT"),
        // From midnight to midnight, of which the second is written in UTC: no whole day.
        ("TZ:+01\n", "VEVENT\nUID:1\nDTSTART:19900101T000000\nRRULE:D1 #5\nDTEND:19900101T230000Z\nEND:VEVENT"),
    ] {
        let source = format!("BEGIN:VCALENDAR\nVERSION:1.0\n{head}BEGIN:{inner}\nEND:VCALENDAR\n").replace('\n', "\r\n");
        let (once, twice) = once_and_twice(source);
        assert_eq!(once, twice);
    }
}

proptest! {
    #![proptest_config(crate::calendar::tests::cases(400))]

    #[test]
    fn a_translation_reads_back_to_the_same_event(source in object()) {
        let first = translate(source.clone().into_bytes(), Target::ICalendar, &options()).unwrap();
        let said = String::from_utf8(first.octets.clone()).unwrap();
        for line in said.split_inclusive("\r\n") {
            prop_assert!(line.len() <= text::FOLD_AT + 2 && line.ends_with("\r\n"), "{line:?}");
        }
        let (before, after) = (Object::parse(source.into_bytes()).unwrap(), Object::parse(first.octets).unwrap());
        let two_owners = before.octets().windows(10).filter(|w| w == b"ROLE=OWNER").count() > 1;
        prop_assert_eq!(kept(before.event(), two_owners), kept(after.event(), two_owners), "{}", said);
        prop_assert!(same_start(before.event().start.as_ref(), after.event().start.as_ref()), "{said}");
        prop_assert_eq!(after.events().len(), 1);
    }

    #[test]
    fn there_and_back_twice_is_as_once(source in object()) {
        let (once, twice) = once_and_twice(source);
        prop_assert_eq!(once, twice);
    }
}
