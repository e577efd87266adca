//! Zones: the object's own rules, names, TZ and DAYLIGHT.

use super::*;
use crate::calendar::event::Moment;

fn instant(zone: &str, id: &str, local: &str) -> Option<String> {
    let text = format!("BEGIN:VCALENDAR\nVERSION:2.0\n{zone}BEGIN:VEVENT\nUID:1\nDTSTART;TZID={id}:{local}\nEND:VEVENT\nEND:VCALENDAR\n");
    match object(&text).event().start.clone().unwrap() {
        Moment::Zoned { at, .. } => at.map(|t| t.rfc3339().replace(".000Z", "Z")),
        other => panic!("{other:?}"),
    }
}

const OWN: &str = "BEGIN:VTIMEZONE\nTZID:Own\nBEGIN:STANDARD\nDTSTART:16011028T030000\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\n\
                   TZOFFSETFROM:+0300\nTZOFFSETTO:+0200\nEND:STANDARD\nBEGIN:DAYLIGHT\nDTSTART:16010325T020000\n\
                   RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0300\nEND:DAYLIGHT\nEND:VTIMEZONE\n";

#[test]
fn the_objects_own_rules_come_first() {
    for (local, utc) in [
        ("20260115T120000", "2026-01-15T10:00:00Z"),
        ("20260715T120000", "2026-07-15T09:00:00Z"),
        ("20260329T015959", "2026-03-28T23:59:59Z"),
        // In the gap: as before it.
        ("20260329T023000", "2026-03-29T00:30:00Z"),
        ("20260329T030000", "2026-03-29T00:00:00Z"),
        // Twice: the first.
        ("20261025T023000", "2026-10-24T23:30:00Z"),
        ("20261025T030000", "2026-10-25T01:00:00Z"),
    ] {
        assert_eq!(instant(OWN, "Own", local).as_deref(), Some(utc), "{local}");
        // A name of the world that the object defines otherwise.
        let own = OWN.replace("TZID:Own", "TZID:America/New_York");
        assert_eq!(instant(&own, "America/New_York", local).as_deref(), Some(utc), "{local}");
    }
    // Lotus repeats the time of day; a quoted name; another case.
    let lotus = OWN.replace("FREQ=YEARLY;", "FREQ=YEARLY;BYMINUTE=0;BYHOUR=2;");
    assert_eq!(instant(&lotus, "\"own\"", "20260715T120000").as_deref(), Some("2026-07-15T09:00:00Z"));
}

#[test]
fn the_kinds_of_rules() {
    let zone = |parts: &str| format!("BEGIN:VTIMEZONE\nTZID:z\n{parts}END:VTIMEZONE\n");
    let part = |kind: &str, start: &str, from: &str, to: &str, more: &str| {
        format!("BEGIN:{kind}\nDTSTART:{start}\nTZOFFSETFROM:{from}\nTZOFFSETTO:{to}\n{more}END:{kind}\n")
    };
    let us = part("STANDARD", "19671029T020000", "-0400", "-0500", "RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU;UNTIL=20061029T060000Z\n")
        + &part("DAYLIGHT", "19870405T020000", "-0500", "-0400", "RRULE:FREQ=YEARLY;BYMONTH=4;BYDAY=1SU;UNTIL=20060402T070000Z\n")
        + &part("DAYLIGHT", "20070311T020000", "-0500", "-0400", "RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=SU;BYMONTHDAY=8,9,10,11,12,13,14\n")
        + &part("STANDARD", "20071104T020000", "-0400", "-0500", "RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU\n");
    let single = part("STANDARD", "20060101T000000", "+0000", "+0530", "");
    let dates = part("STANDARD", "20001029T020000", "-0400", "-0500", "RDATE:20011028T020000,20021027T020000\n")
        + &part("DAYLIGHT", "20010401T020000", "-0500", "-0400", "RDATE:20020407T020000\n");
    for (parts, local, utc) in [
        (&us, "20060405T120000", "2006-04-05T16:00:00Z"),
        (&us, "20061101T120000", "2006-11-01T17:00:00Z"),
        (&us, "20070315T120000", "2007-03-15T16:00:00Z"),
        (&us, "20071101T120000", "2007-11-01T16:00:00Z"),
        (&us, "20260310T120000", "2026-03-10T16:00:00Z"),
        (&us, "20260307T120000", "2026-03-07T17:00:00Z"),
        (&single, "20260307T120000", "2026-03-07T06:30:00Z"),
        (&single, "20050307T120000", "2005-03-07T12:00:00Z"),
        (&dates, "20010701T120000", "2001-07-01T16:00:00Z"),
        (&dates, "20011201T120000", "2001-12-01T17:00:00Z"),
        (&dates, "20020701T120000", "2002-07-01T16:00:00Z"),
        (&dates, "20300701T120000", "2030-07-01T17:00:00Z"),
    ] {
        assert_eq!(instant(&zone(parts), "z", local).as_deref(), Some(utc), "{local} by {parts}");
    }
    // Rules that are not understood leave the zone to its name, and say so.
    let odd = part("STANDARD", "20060101T000000", "+0000", "+0530", "RRULE:FREQ=YEARLY;BYWEEKNO=20\n");
    assert_eq!(instant(&zone(&odd), "z", "20260307T120000"), None);
}

#[test]
fn names() {
    for (id, utc) in [
        ("Europe/Berlin", Some("2026-07-15T10:00:00Z")),
        ("W. Europe Standard Time", Some("2026-07-15T10:00:00Z")),
        ("\"Pacific Time (US & Canada)\"", Some("2026-07-15T19:00:00Z")),
        ("/freeassociation.sourceforge.net/Tzfile/Europe/Vienna", Some("2026-07-15T10:00:00Z")),
        ("UTC", Some("2026-07-15T12:00:00Z")),
        ("American/New_York", None),
        ("Mars/Olympus", None),
    ] {
        assert_eq!(instant("", id, "20260715T120000").as_deref(), utc, "{id}");
    }
    assert_eq!(instant("", "Europe/Berlin", "20260329T023000").as_deref(), Some("2026-03-29T01:30:00Z"), "gap");
    assert_eq!(instant("", "Europe/Berlin", "20261025T023000").as_deref(), Some("2026-10-25T00:30:00Z"), "twice");
}

#[test]
fn tz_and_daylight_of_vcalendar() {
    let read = |head: &str, local: &str| {
        let text = format!("BEGIN:VCALENDAR\nVERSION:1.0\n{head}\nBEGIN:VEVENT\nUID:1\nDTSTART:{local}\nEND:VEVENT\nEND:VCALENDAR\n");
        match object(&text).event().start.clone().unwrap() {
            Moment::Utc { at, offset_minutes } => (at.rfc3339().replace(".000Z", "Z"), offset_minutes),
            other => panic!("{other:?}"),
        }
    };
    let eastern = "TZ:-05\nDAYLIGHT:TRUE;-04;19960407T020000;19961027T020000;EST;EDT\nDAYLIGHT:TRUE;-04;19970406T020000;19971026T020000;;";
    for (head, local, utc, offset) in [
        (eastern, "19960701T120000", "1996-07-01T16:00:00Z", Some(-240)),
        (eastern, "19961201T120000", "1996-12-01T17:00:00Z", Some(-300)),
        (eastern, "19970701T120000", "1997-07-01T16:00:00Z", Some(-240)),
        // Years that no line names follow the pattern of the nearest one.
        (eastern, "19990701T120000", "1999-07-01T16:00:00Z", Some(-240)),
        (eastern, "19991201T120000", "1999-12-01T17:00:00Z", Some(-300)),
        (eastern, "19940701T120000", "1994-07-01T16:00:00Z", Some(-240)),
        (eastern, "19940301T120000", "1994-03-01T17:00:00Z", Some(-300)),
        (eastern, "19960701T120000Z", "1996-07-01T12:00:00Z", None),
        ("TZ:+05:30\nDAYLIGHT:FALSE", "19960701T120000", "1996-07-01T06:30:00Z", Some(330)),
        ("TZ:-0351", "19960701T120000", "1996-07-01T15:51:00Z", Some(-231)),
    ] {
        assert_eq!(read(head, local), (utc.to_owned(), offset), "{local} {head}");
    }
}
