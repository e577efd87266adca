//! What an object may cost, and where a carrier may stand: counts, never times.

use super::translated;
use crate::calendar::convert::Target;
use crate::calendar::convert::lines::tests::READ;
use crate::calendar::zone::SAID;

fn vcalendar(lines: &str) -> String {
    format!("BEGIN:VCALENDAR\nVERSION:1.0\nBEGIN:VEVENT\nUID:a\nDTSTAMP:20260101T000000Z\n{lines}END:VEVENT\nEND:VCALENDAR\n")
}

fn icalendar(lines: &str) -> String {
    let event = format!("BEGIN:VEVENT\nUID:a\nDTSTAMP:20260101T000000Z\n{lines}END:VEVENT\n");
    format!("BEGIN:VCALENDAR\nPRODID:-//x//EN\nVERSION:2.0\n{event}END:VCALENDAR\n")
}

/// How many carriers were read for a translation, and how many losses came of it.
fn read(text: &str, target: Target) -> (usize, usize) {
    let before = READ.with(std::cell::Cell::get);
    let losses = translated(text, target).1.len();
    (READ.with(std::cell::Cell::get) - before, losses)
}

#[test]
fn carriers_are_read_a_fixed_number_of_times() {
    for n in [10, 40] {
        let alarms = "DALARM;X-CIP-ICAL=YES:20260101T000000Z;;;x\nX-CIP-ICAL:BEGIN:VALARM\\nACTION:AUDIO\\nTRIGGER:-PT5M\\nEND:VALARM\n";
        let (count, _) = read(&vcalendar(&format!("DTSTART:20260101T000000Z\n{}", alarms.repeat(n))), Target::ICalendar);
        assert!(count <= 5 * n, "{count} for {n}");
        let words = "STATUS:CONFIRMED\nX-CIP-VCAL:TRANSP:5\n";
        let (count, losses) = read(&icalendar(&format!("DTSTART:20260101T000000Z\n{}", words.repeat(n))), Target::VCalendar);
        // What refines nothing is a loss.
        assert!(count <= 3 * n && losses >= n, "{count} and {losses} for {n}");
    }
}

#[test]
fn a_zone_is_said_as_tz_and_daylight_once_for_all_events() {
    let zone = |id: &str, month: u32| {
        let part = |kind: &str, month: u32, from: &str, to: &str| {
            format!(
                "BEGIN:{kind}\nDTSTART:1970{month:02}01T020000\nRRULE:FREQ=YEARLY;BYMONTHDAY=1;BYMONTH={month}\nTZOFFSETFROM:{from}\nTZOFFSETTO:{to}\nEND:{kind}\n"
            )
        };
        let parts = part("DAYLIGHT", month, "+0100", "+0200") + &part("STANDARD", month + 3, "+0200", "+0100");
        format!("BEGIN:VTIMEZONE\nTZID:{id}\n{parts}END:VTIMEZONE\n")
    };
    let events = |count: usize| -> String {
        let event = |n| {
            let id = ["A", "B", "C"][n % 3];
            format!("BEGIN:VEVENT\nUID:{n}\nDTSTART;TZID={id}:20260101T090000\nRRULE:FREQ=DAILY;COUNT=5\nEND:VEVENT\n")
        };
        (0..count).map(event).collect()
    };
    let count = |events: &str| {
        let zones = zone("A", 3) + &zone("B", 4) + &zone("C", 3);
        let before = SAID.with(std::cell::Cell::get);
        let (there, _) =
            translated(&format!("BEGIN:VCALENDAR\nPRODID:-//x//EN\nVERSION:2.0\n{zones}{events}END:VCALENDAR\n"), Target::VCalendar);
        assert!(there.contains("X-CIP-TZID:A\n") && there.contains("X-CIP-TZID:C\n") && !there.contains("X-CIP-TZID:B\n"), "{there}");
        SAID.with(std::cell::Cell::get) - before
    };
    assert_eq!((count(&events(6)), count(&events(60))), (3, 3));
}

#[test]
fn an_event_has_so_many_rules() {
    let start = "DTSTART:20260101T000000Z\n";
    let rules = |name: &str| -> String { (2..32).map(|n| format!("{name}:FREQ=DAILY;BYMONTH=2;INTERVAL={n}\n")).collect() };
    let source = icalendar(&format!("{start}RRULE:FREQ=DAILY\n{}", rules("EXRULE")));
    let (_, losses) = translated(&source, Target::VCalendar);
    assert_eq!(losses.iter().filter(|l| l.contains("(an event has 20")).count(), 10, "{losses:?}");
    let (there, losses) = translated(&vcalendar(&format!("{start}{}", rules("RRULE"))), Target::ICalendar);
    assert_eq!((there.matches("RRULE:FREQ=").count(), losses.len()), (20, 10), "{there}");
    // A person reads twenty of them.
    assert_eq!(there.replace("\n ", "").matches("it repeats by the rule").count(), 10, "{there}");
    let carried: String = (2..32).map(|n| format!("X-CIP-ICAL:RRULE:FREQ=DAILY\\;INTERVAL={n}\n")).collect();
    let (there, losses) = translated(&vcalendar(&format!("{start}{carried}")), Target::ICalendar);
    assert_eq!((there.matches("RRULE:").count(), losses.len()), (20, 10), "{there}");
}

#[test]
fn events_of_many_zones_of_one_name_end_in_utc() {
    let event = |n: u32| {
        format!(
            "BEGIN:VEVENT\nUID:{n}\nDTSTAMP:20260101T000000Z\nTZ:+01\nDAYLIGHT:TRUE;+02;200001{:02}T020000;200007{:02}T030000;;\n\
             DTSTART:20260101T{:02}0000\nEND:VEVENT\n",
            n % 28 + 1,
            n / 28 + 1,
            n % 24
        )
    };
    let source = format!("BEGIN:VCALENDAR\nVERSION:1.0\n{}END:VCALENDAR\n", (0..60).map(event).collect::<String>());
    let (there, losses) = translated(&source, Target::ICalendar);
    let utc = there.lines().filter(|l| l.starts_with("DTSTART:2026") && l.ends_with('Z')).count();
    assert!(utc > 0 && losses.iter().filter(|l| l.ends_with("written as UTC")).count() == utc, "{utc} {losses:?}");
    assert!(there.matches("BEGIN:VTIMEZONE").count() <= 50, "{}", there.matches("BEGIN:VTIMEZONE").count());
}

#[test]
fn a_carrier_brings_nothing_that_has_no_place_where_it_stands() {
    for (line, unwanted) in
        [("X-CIP-ICAL:METHOD:CANCEL\n", "METHOD"), ("X-CIP-ICAL:TRIGGER:-PT5M\n", "TRIGGER"), ("X-CIP-ICAL:ACTION:EMAIL\n", "ACTION")]
    {
        let (there, losses) = translated(&vcalendar(&format!("DTSTART:20260101T000000Z\n{line}")), Target::ICalendar);
        assert!(!there.contains(unwanted) && losses.len() == 1, "{there} {losses:?}");
    }
    let alarm = "VERSION:1.0\nX-CIP-ICAL:BEGIN:VALARM\\nACTION:AUDIO\\nTRIGGER:-PT5M\\nEND:VALARM\n";
    let source = vcalendar("DTSTART:20260101T000000Z\n").replace("VERSION:1.0\n", alarm);
    let (there, losses) = translated(&source, Target::ICalendar);
    assert!(!there.contains("VALARM") && losses.len() == 1, "{there} {losses:?}");
    // A METHOD inside an event is the calendar's, and comes back as such.
    let (there, _) = translated(&icalendar("METHOD:REQUEST\nDTSTART:20260101T000000Z\n"), Target::VCalendar);
    assert!(there.contains("X-CIP-ICAL:METHOD:REQUEST\nBEGIN:VEVENT\n"), "{there}");
}

#[test]
fn a_carrier_that_contradicts_its_neighbour_is_a_loss() {
    let (there, losses) = translated(&icalendar("DTSTART:20260101T000000Z\nSTATUS:TENTATIVE\nX-CIP-VCAL:STATUS:SENT\n"), Target::VCalendar);
    assert!(there.contains("STATUS:TENTATIVE\n") && !there.contains("SENT"), "{there}");
    assert_eq!(losses, ["X-CIP-VCAL \"STATUS:SENT\": it contradicts another property; left out"]);
}
