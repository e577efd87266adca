//! Zones there and back: TZ and DAYLIGHT, VTIMEZONE, and whose rules a name stands for (bridge 8).

use super::translated;
use crate::calendar::Object;
use crate::calendar::convert::Target;
use crate::calendar::event::Moment;
use crate::clock::Timestamp;

/// The rules of the United States from 1987 to 2006.
const OLD_RULES: &str = "BEGIN:VTIMEZONE\nTZID:America/New_York\nBEGIN:DAYLIGHT\nDTSTART:19870405T020000\nRRULE:FREQ=YEARLY;BYMONTH=4;BYDAY=1SU\n\
    TZOFFSETFROM:-0500\nTZOFFSETTO:-0400\nEND:DAYLIGHT\nBEGIN:STANDARD\nDTSTART:19871025T020000\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\n\
    TZOFFSETFROM:-0400\nTZOFFSETTO:-0500\nEND:STANDARD\nEND:VTIMEZONE\n";

fn icalendar(inner: &str) -> String {
    format!("BEGIN:VCALENDAR\nPRODID:-//x//EN\nVERSION:2.0\n{inner}END:VCALENDAR\n")
}

fn starts(text: &str) -> Vec<Option<Timestamp>> {
    let object = Object::parse(text.replace('\n', "\r\n").into_bytes()).unwrap();
    object.instances(Timestamp::NEVER, 500).starts.iter().map(Moment::instant).collect()
}

fn start(text: &str) -> Option<Timestamp> {
    let object = Object::parse(text.replace('\n', "\r\n").into_bytes()).unwrap();
    object.event().start.as_ref().and_then(Moment::instant)
}

#[test]
fn the_objects_own_vtimezone_comes_back() {
    let source = icalendar(&format!(
        "{OLD_RULES}BEGIN:VEVENT\nUID:1\nDTSTAMP:20080101T000000Z\nDTSTART;TZID=America/New_York:20080204T090000\n\
         DTEND;TZID=America/New_York:20080204T100000\nRRULE:FREQ=WEEKLY;COUNT=52\nEND:VEVENT\n"
    ));
    let (there, losses) = translated(&source, Target::VCalendar);
    assert!(there.contains("DAYLIGHT:TRUE;-04;20080406T020000;20081026T020000;"), "{there}");
    let (back, more) = translated(&there, Target::ICalendar);
    assert_eq!((losses, more), (vec![], vec![]));
    assert!(back.contains("DTSTART;TZID=America/New_York:20080204T090000\n"), "{back}");
    assert_eq!((starts(&there), starts(&back)), (starts(&source), starts(&source)));
    let again = translated(&there, Target::ICalendar).0;
    assert_eq!(translated(&again, Target::VCalendar).0, there);
    // The world's own rules are the world's, and go on for ever.
    let (there, _) = translated(&source.replace(OLD_RULES, ""), Target::VCalendar);
    let (back, _) = translated(&there, Target::ICalendar);
    assert!(back.contains("RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=2SU\n"), "{back}");
}

#[test]
fn a_single_event_keeps_its_instant_and_says_that_the_clock_shows_another_time() {
    let event = |day: &str| {
        icalendar(&format!(
            "{OLD_RULES}BEGIN:VEVENT\nUID:1\nDTSTAMP:20080101T000000Z\nDTSTART;TZID=America/New_York:{day}T090000\nEND:VEVENT\n"
        ))
    };
    let (there, losses) = translated(&event("20080318"), Target::VCalendar);
    assert_eq!((start(&there), losses.len()), (start(&event("20080318")), 1), "{losses:?}");
    assert!(losses[0].starts_with("VTIMEZONE \"America/New_York\""), "{losses:?}");
    assert_eq!(translated(&event("20080218"), Target::VCalendar).1, Vec::<String>::new());
}

#[test]
fn tz_inside_an_event_is_that_events_own() {
    let event =
        |uid: &str, zone: &str| format!("BEGIN:VEVENT\n{zone}UID:{uid}\nDTSTART:20000221T070000\nDTEND:20000221T071500\nEND:VEVENT\n");
    let calendar = |inner: &str| format!("BEGIN:VCALENDAR\nVERSION:1.0\nTZ:-05:30\n{inner}END:VCALENDAR\n");
    let own = calendar(&event("1", "TZ:+03:30\n"));
    assert_eq!(start(&own).unwrap().rfc3339(), "2000-02-21T03:30:00.000Z");
    let (text, losses) = translated(&own, Target::ICalendar);
    assert_eq!((start(&text), losses), (start(&own), vec![]));
    assert!(text.contains("DTSTART;TZID=UTC+0330:20000221T070000\n"), "{text}");
    let (both, _) = translated(&calendar(&(event("1", "TZ:+03:30\n") + &event("2", ""))), Target::ICalendar);
    assert!(both.contains("TZID=UTC+0330:") && both.contains("TZID=UTC-0530:"), "{both}");
    // A summer inside the event belongs to the calendar's TZ; what nobody understands leaves that in force.
    let summer = calendar(&event("1", "DAYLIGHT:TRUE;-04:30;20000101T000000;20000301T000000;;\n"));
    assert_eq!(start(&summer).unwrap().rfc3339(), "2000-02-21T11:30:00.000Z");
    assert_eq!(start(&calendar(&event("1", "TZ:nowhere\n"))).unwrap().rfc3339(), "2000-02-21T12:30:00.000Z");
}

#[test]
fn daylight_is_the_same_the_second_time() {
    // A "summer" that takes the clocks back, in the first year alone.
    let source = "BEGIN:VCALENDAR\nVERSION:1.0\nTZ:+01\nDAYLIGHT:TRUE;-01;20050326T020000;20051029T020000;;\n\
        DAYLIGHT:TRUE;+02;20070325T020000;20071028T030000;;\nBEGIN:VEVENT\nUID:1\nDTSTAMP:20050101T000000Z\nDTSTART:20050516T133000\n\
        RRULE:D1 20050525T133000\nEND:VEVENT\nEND:VCALENDAR\n";
    let back = |text: &str| translated(&translated(text, Target::ICalendar).0, Target::VCalendar).0;
    let once = back(source);
    assert_eq!(starts(&once), starts(source));
    assert_eq!(back(&once), once);
}
