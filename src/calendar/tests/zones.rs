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
    let windows =
        part("STANDARD", "19981025T030000", "+0200", "+0100", "RRULE:FREQ=YEARLY;BYYEARDAY=-67,-66,-65,-64,-63,-62,-61;BYDAY=SU\n")
            + &part("DAYLIGHT", "19980329T020000", "+0100", "+0200", "RRULE:FREQ=MONTHLY;INTERVAL=12;BYDAY=SU;BYSETPOS=-1\n");
    let several = part(
        "STANDARD",
        "19960101T000000",
        "-0400",
        "-0500",
        "RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU;COUNT=3\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU;INTERVAL=2\n",
    ) + &part(
        "DAYLIGHT",
        "19960407T020000",
        "-0500",
        "-0400",
        "RDATE;VALUE=PERIOD:19970406T020000/PT1H,19980405T020000/PT1H\nRDATE:19990404T020000\n",
    );
    let no_from = "BEGIN:STANDARD\nDTSTART:20001029T030000\nTZOFFSETTO:+0100\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\nEND:STANDARD\n\
                   BEGIN:DAYLIGHT\nDTSTART:20000326T020000\nTZOFFSETTO:+0200\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\nEND:DAYLIGHT\n"
        .to_owned();
    for (parts, local, utc) in [
        // The Sunday before 1 November, in a leap year too; the last of March by its place in the month.
        (&windows, "20041031T120000", "2004-10-31T11:00:00Z"),
        (&windows, "20051025T120000", "2005-10-25T10:00:00Z"),
        (&windows, "20260329T120000", "2026-03-29T10:00:00Z"),
        (&windows, "20260328T120000", "2026-03-28T11:00:00Z"),
        // A start that no rule gives is no onset; three years by COUNT, then every second year, and single dates.
        (&several, "19960107T120000", "1996-01-07T17:00:00Z"),
        (&several, "19961028T120000", "1996-10-28T17:00:00Z"),
        (&several, "19980701T120000", "1998-07-01T16:00:00Z"),
        (&several, "19981026T120000", "1998-10-26T17:00:00Z"),
        (&several, "19991101T120000", "1999-11-01T16:00:00Z"),
        (&several, "20001106T120000", "2000-11-06T17:00:00Z"),
        // TZOFFSETFROM left out: the offset of the other part.
        (&no_from, "20260329T013000", "2026-03-29T00:30:00Z"),
        (&no_from, "20260329T033000", "2026-03-29T01:30:00Z"),
        (&no_from, "20261025T023000", "2026-10-25T00:30:00Z"),
        (&no_from, "20261025T033000", "2026-10-25T02:30:00Z"),
    ] {
        assert_eq!(instant(&zone(parts), "z", local).as_deref(), Some(utc), "{local} by {parts}");
    }
    // TZID is text in VTIMEZONE and a quoted parameter elsewhere.
    let commas = zone(&single).replace("TZID:z", "TZID:Here\\, there");
    assert_eq!(instant(&commas, "\"Here, there\"", "20260307T120000").as_deref(), Some("2026-03-07T06:30:00Z"));
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
        ("europe/berlin", Some("2026-07-15T10:00:00Z")),
        ("w. europe STANDARD time", Some("2026-07-15T10:00:00Z")),
        ("us eastern standard time", Some("2026-07-15T16:00:00Z")),
        ("/mozilla.org/20050126_1/Europe/Berlin", Some("2026-07-15T10:00:00Z")),
        ("/softwarestudio.org/Olson_20011030_5/America/Argentina/Buenos_Aires", Some("2026-07-15T15:00:00Z")),
        ("tzone://Microsoft/Utc", Some("2026-07-15T12:00:00Z")),
        ("US-Eastern", Some("2026-07-15T16:00:00Z")),
        ("(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna", Some("2026-07-15T10:00:00Z")),
        ("(GMT-05:00) Eastern Time (US & Canada)", Some("2026-07-15T16:00:00Z")),
        ("(GMT+05.30) Chennai/Kolkata", Some("2026-07-15T06:30:00Z")),
        ("Canberra, Melbourne, Sydney", Some("2026-07-15T02:00:00Z")),
        ("GMT+0100", Some("2026-07-15T11:00:00Z")),
        ("UTC-5", Some("2026-07-15T17:00:00Z")),
        ("GMT +05:30", Some("2026-07-15T06:30:00Z")),
        // Cities that do not have the offset, or that nobody knows: no guess by the offset.
        ("(UTC+09:00) Amsterdam, Berlin", None),
        ("(UTC+05:30) Olympus", None),
        ("Berlin, Sydney", None),
        ("GMT+0100 (Standard)", None),
        ("0100", None),
        ("Customized Time Zone", None),
        ("American/New_York", None),
        ("Mars/Olympus", None),
    ] {
        // RFC 5545 3.1: with a colon only in quotes.
        let written = if id.contains(':') && !id.starts_with('"') { format!("\"{id}\"") } else { id.to_owned() };
        assert_eq!(instant("", &written, "20260715T120000").as_deref(), utc, "{id}");
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
        ("TZ:\nTZ:-0500", "19960701T120000", "1996-07-01T17:00:00Z", Some(-300)),
        ("TZ:+1", "19960701T120000", "1996-07-01T11:00:00Z", Some(60)),
        ("TZ:09:30\nDAYLIGHT:TRUE;10:30;20011001T030000;20020307T020000;CAT;CDT", "20020228T070000", "2002-02-27T20:30:00Z", Some(630)),
        ("TZ:-05;EST;EDT", "19960701T120000", "1996-07-01T17:00:00Z", Some(-300)),
        ("TZ:Europe/London", "19960701T120000", "1996-07-01T11:00:00Z", Some(60)),
        ("TZ:GMT+0200", "19960701T120000", "1996-07-01T10:00:00Z", Some(120)),
        // The ends of a summer as instants; the last hour of it, read by the wall.
        ("TZ:+01\nDAYLIGHT:TRUE;+02;20090329T010000Z;20091025T010000Z;;", "20091025T023000", "2009-10-25T00:30:00Z", Some(120)),
        ("TZ:+01\nDAYLIGHT:TRUE;+02;20090329T010000Z;20091025T010000Z;;", "20091025T030000", "2009-10-25T02:00:00Z", Some(60)),
        // Symbian: the days of the first year for all years up to the last.
        ("TZ:+01\nDAYLIGHT:TRUE;+02;18990326T010000Z;21011029T010000Z;;", "20050516T133000", "2005-05-16T11:30:00Z", Some(120)),
        ("TZ:+01\nDAYLIGHT:TRUE;+02;18990326T010000Z;21011029T010000Z;;", "20051216T133000", "2005-12-16T12:30:00Z", Some(60)),
        ("TZ:+01\nDAYLIGHT:FALSE;+02;20050326T010000Z;20051029T010000Z;;", "20050516T133000", "2005-05-16T12:30:00Z", Some(60)),
    ] {
        assert_eq!(read(head, local), (utc.to_owned(), offset), "{local} {head}");
    }
}

#[test]
fn what_tz_and_daylight_do_not_say_is_a_problem() {
    for (head, problem) in [
        ("TZ:-02454554445", "TZ -02454554445: neither an offset nor the name of a zone"),
        ("TZ:+25", "TZ +25: neither an offset nor the name of a zone"),
        ("TZ:-05\nDAYLIGHT:TRUE;-53;19960407T055959;19961027T010000;EST;EDT", "not understood, left out"),
        ("TZ:-05\nDAYLIGHT:TRUE;-04;19961027T010000;19960407T055959;EST;EDT", "not understood, left out"),
        ("TZ:-05\nDAYLIGHT:TRUE;+0", "not understood, left out"),
        ("TZ:-0351\nDAYLIGHT:TRUE;-03;18990101T000000;19001231T235959;;", "not understood, left out"),
        ("DAYLIGHT:TRUE;-04;19960407T020000;19961027T020000;EST;EDT", "since no TZ says the offset in winter"),
        (
            "TZ:-05\nDAYLIGHT:TRUE;-04;19960407T020000;19961027T020000;EST;EDT\nDAYLIGHT:TRUE;-04;19960507T020000;19961127T020000;;",
            "DAYLIGHT: 1 of 2 periods left out",
        ),
    ] {
        let text =
            format!("BEGIN:VCALENDAR\nVERSION:1.0\n{head}\nBEGIN:VEVENT\nUID:1\nDTSTART:19960701T120000Z\nEND:VEVENT\nEND:VCALENDAR\n");
        let read = object(&text);
        let problems = read.problems();
        assert!(problems.iter().any(|p| p.contains(problem)), "{head}: {problems:?}");
    }
    for head in ["TZ:-05\nDAYLIGHT:FALSE", "TZ:-05\nDAYLIGHT:", "TZ:+00\nDAYLIGHT:TRUE;+00;19891029T010000Z;19900325T010000Z;;"] {
        let text =
            format!("BEGIN:VCALENDAR\nVERSION:1.0\n{head}\nBEGIN:VEVENT\nUID:1\nDTSTART:19960701T120000Z\nEND:VEVENT\nEND:VCALENDAR\n");
        assert_eq!(object(&text).problems(), Vec::<String>::new(), "{head}");
    }
}
