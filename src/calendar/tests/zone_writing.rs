//! Zones written: VTIMEZONE of names and of TZ with DAYLIGHT, TZ with DAYLIGHT of names. Each is read back and asked for
//! the same offsets.

use std::ops::RangeInclusive;

use calcard::common::timezone::Tz;
use chrono::{DateTime, Datelike, LocalResult, NaiveDate, Offset, TimeZone};

use crate::calendar::property::Document;
use crate::calendar::zone::Zones;

const WORLD: [&str; 44] = [
    "Europe/Berlin",
    "Europe/London",
    "Europe/Dublin",
    "Europe/Lisbon",
    "Europe/Moscow",
    "Europe/Istanbul",
    "Europe/Chisinau",
    "Atlantic/Azores",
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Phoenix",
    "America/Los_Angeles",
    "America/Anchorage",
    "America/St_Johns",
    "America/Halifax",
    "America/Havana",
    "America/Mexico_City",
    "America/Sao_Paulo",
    "America/Santiago",
    "America/Asuncion",
    "America/Caracas",
    "America/Nuuk",
    "America/Argentina/Buenos_Aires",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/El_Aaiun",
    "Africa/Johannesburg",
    "Asia/Jerusalem",
    "Asia/Gaza",
    "Asia/Beirut",
    "Asia/Tehran",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Tokyo",
    "Asia/Pyongyang",
    "Australia/Sydney",
    "Australia/Adelaide",
    "Australia/Brisbane",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Apia",
    "Antarctica/Troll",
];

fn vtimezone(id: &str, years: RangeInclusive<i32>) -> Option<Vec<String>> {
    Zones::world(id, years).map(|rules| rules.vtimezone(id))
}

fn zones(head: &str) -> Zones {
    let document = Document::parse(format!("BEGIN:VCALENDAR\r\n{head}\r\nEND:VCALENDAR\r\n").into_bytes()).unwrap();
    let (zones, problems) = Zones::read(&document);
    assert_eq!((&document.problems, problems), (&Vec::new(), Vec::new()), "{head}");
    zones
}

/// TZID is a name that nobody knows, so that the rules themselves are asked.
fn by_rules(lines: &[String]) -> Zones {
    assert_eq!(lines[1].split(':').next(), Some("TZID"));
    let lines: Vec<&str> = lines.iter().enumerate().map(|(i, l)| if i == 1 { "TZID:z" } else { l }).collect();
    zones(&format!("VERSION:2.0\r\n{}", lines.join("\r\n")))
}

fn truth(zone: Tz, seconds: i64) -> i32 {
    zone.offset_from_utc_datetime(&DateTime::from_timestamp(seconds, 0).unwrap().naive_utc()).fix().local_minus_utc()
}

fn start(year: i32) -> i64 {
    NaiveDate::from_ymd_opt(year, 1, 1).unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp()
}

/// Twice a day the years have the offset that the zone has; hours and seconds next to a change are asked one by one.
fn same(id: &str, years: std::ops::RangeInclusive<i32>, offset: impl Fn(i64) -> i32) {
    let zone: Tz = id.parse().unwrap();
    let ask = |at| assert_eq!(offset(at), truth(zone, at), "{id} at {}", DateTime::from_timestamp(at, 0).unwrap());
    let step = 12 * 3600;
    for at in (start(*years.start())..start(*years.end() + 1)).step_by(step) {
        ask(at);
        let before = at - 12 * 3600;
        if truth(zone, before) != truth(zone, at) {
            (before - 12 * 3600..at + 12 * 3600).step_by(3600).for_each(ask);
            (before..at).step_by(900).for_each(|at| [at - 1, at].into_iter().for_each(ask));
        }
    }
}

proptest::proptest! {
    /// Wall time is the zone's own, and leads back to the instant, or, where it occurs twice, to the first of the two; by a
    /// name and by the rules of a VTIMEZONE alike.
    #[test]
    fn there_and_back(place in 0..WORLD.len(), seconds in 0i64..2_145_916_800) {
        let (id, zone) = (WORLD[place], WORLD[place].parse::<Tz>().unwrap());
        let year = DateTime::from_timestamp(seconds, 0).unwrap().year();
        let own = by_rules(&vtimezone(id, year..=year).unwrap());
        let offset = i64::from(truth(zone, seconds));
        for (zones, id) in [(&Zones::default(), id), (&own, "z")] {
            let local = zones.local(seconds, id).unwrap();
            proptest::prop_assert_eq!(local.and_utc().timestamp(), seconds + offset);
            let twice = match zone.from_local_datetime(&local) {
                LocalResult::Ambiguous(first, second) => (first.timestamp(), second.timestamp()),
                _ => (seconds, seconds),
            };
            proptest::prop_assert_eq!(zones.instant(local, id), Some(twice.0));
            proptest::prop_assert!(seconds == twice.0 || seconds == twice.1);
        }
    }

    /// No octets in the places of a zone's parts stop the reading, and what is read answers for any year.
    #[test]
    fn any_rules(rule in "(FREQ=(YEARLY|MONTHLY|DAILY);)?(BY(MONTH|DAY|MONTHDAY|YEARDAY|SETPOS)=-?[0-9]{0,3}(SU|MO)?;){0,3}((COUNT|INTERVAL)=[0-9]{1,6};)?(UNTIL=[0-9]{8}Z?)?",
                 start in "(0000|1601|1970|2024|9999)(0229|0101|1231)T[0-2][0-9]0000", daylight in "TRUE;[+-][0-9]{2,4};[0-9]{8}T020000;[0-9]{8}T020000Z?;A;B",
                 seconds in proptest::num::i64::ANY) {
        let text = format!("BEGIN:VCALENDAR\r\nTZ:-05\r\nDAYLIGHT:{daylight}\r\nBEGIN:VTIMEZONE\r\nTZID:z\r\nBEGIN:STANDARD\r\nDTSTART:{start}\r\n\
            TZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nRRULE:{rule}\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\nEND:VCALENDAR\r\n");
        let (zones, _) = Zones::read(&Document::parse(text.into_bytes()).unwrap());
        for at in [seconds, seconds % 4_000_000_000, i64::MIN, i64::MAX] {
            if let Some(local) = zones.local(at, "z") {
                proptest::prop_assert!(zones.instant(local, "z").is_some());
            }
        }
        let _ = zones.tz_daylight("z", 2024..=2027);
        if let Some(rules) = &zones.local {
            let back = by_rules(&rules.vtimezone(rules.name()));
            let at = seconds.rem_euclid(4_000_000_000);
            proptest::prop_assert_eq!(back.offset(at, "z"), Some(rules.offset_at(at)));
        }
    }
}

#[test]
fn vtimezone_of_names() {
    for id in WORLD {
        for years in [2024..=2027, 1996..=2000, 2005..=2012, 2026..=2026] {
            let lines = vtimezone(id, years.clone()).unwrap();
            assert_eq!(lines[1], format!("TZID:{id}"));
            let zones = by_rules(&lines);
            same(id, years, |at| zones.offset(at, "z").unwrap());
        }
    }
}

#[test]
fn vtimezone_goes_on_after_the_years() {
    for id in ["Europe/Berlin", "America/New_York", "America/Santiago", "Africa/Cairo", "Australia/Lord_Howe", "America/Nuuk"] {
        let zones = by_rules(&vtimezone(id, 2025..=2026).unwrap());
        same(id, 2025..=2060, |at| zones.offset(at, "z").unwrap());
    }
    let zones = by_rules(&vtimezone("Africa/Casablanca", 2025..=2026).unwrap());
    same("Africa/Casablanca", 2025..=2036, |at| zones.offset(at, "z").unwrap());
}

#[test]
fn vtimezone_as_outlook_wants_it() {
    let lines = |id: &str, years| vtimezone(id, years).unwrap().join("\n");
    assert_eq!(
        lines("W. Europe Standard Time", 2024..=2027),
        "BEGIN:VTIMEZONE\nTZID:W. Europe Standard Time\nBEGIN:DAYLIGHT\nDTSTART:20230326T020000\n\
         RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0200\nTZNAME:CEST\nEND:DAYLIGHT\n\
         BEGIN:STANDARD\nDTSTART:20231029T030000\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\nTZOFFSETFROM:+0200\n\
         TZOFFSETTO:+0100\nTZNAME:CET\nEND:STANDARD\nEND:VTIMEZONE"
    );
    assert_eq!(
        lines("Asia/Kolkata", 2024..=2027),
        "BEGIN:VTIMEZONE\nTZID:Asia/Kolkata\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0530\nTZOFFSETTO:+0530\n\
         TZNAME:IST\nEND:STANDARD\nEND:VTIMEZONE"
    );
    let new_york = lines("America/New_York", 2005..=2008);
    for line in ["RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=2SU", "RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU", "DTSTART:20041031T020000", "TZNAME:EDT"]
    {
        assert!(new_york.lines().any(|l| l == line), "{line} in {new_york}");
    }
    assert_eq!(vtimezone("Mars/Olympus", 2024..=2027), None);
    assert_eq!(vtimezone("Europe/Berlin", 9000..=9999).map(|l| l.len()), Some(17));
}

#[test]
fn tz_and_daylight_of_names() {
    let mut told = 0;
    for id in WORLD {
        for years in [2024..=2027, 1997..=2000, 2008..=2013, 2026..=2026, 2024..=2050] {
            let Some((tz, daylight)) = Zones::default().tz_daylight(id, years.clone()) else { continue };
            told += 1;
            assert!(daylight.len() <= 26, "{id}");
            let head = daylight.iter().fold(format!("VERSION:1.0\r\nTZ:{tz}"), |head, d| format!("{head}\r\nDAYLIGHT:{d}"));
            let rules = zones(&head).local.unwrap();
            same(id, years.clone(), |at| rules.offset_at(at));
            // And the same once more as a VTIMEZONE.
            let zones = by_rules(&rules.vtimezone(rules.name()));
            same(id, years, |at| zones.offset(at, "z").unwrap());
        }
    }
    assert!(told > 150, "only {told} could be said");
}

#[test]
fn tz_and_daylight_as_it_is_written() {
    let write = |id: &str, years| Zones::default().tz_daylight(id, years);
    let said = |tz: &str, daylight: &[&str]| Some((tz.to_owned(), daylight.iter().map(|d| String::from(*d)).collect::<Vec<_>>()));
    assert_eq!(
        write("America/New_York", 1996..=1997),
        said("-05", &["TRUE;-04;19960407T020000;19961027T020000;EST;EDT", "TRUE;-04;19970406T020000;19971026T020000;EST;EDT"])
    );
    assert_eq!(write("Asia/Kolkata", 2024..=2030), said("+05:30", &[]));
    // The summer that holds on 1 January, and the one that begins in the year.
    assert_eq!(
        write("Australia/Adelaide", 2026..=2026),
        said("+09:30", &["TRUE;+10:30;20251005T020000;20260405T030000;ACST;ACDT", "TRUE;+10:30;20261004T020000;20270404T030000;ACST;ACDT"])
    );
    // A summer that never ended, another offset, an offset with seconds, no zone.
    assert_eq!(write("Europe/Moscow", 2010..=2012), None);
    assert_eq!(write("America/Sao_Paulo", 2018..=2021), None);
    assert_eq!(write("Africa/Monrovia", 1960..=1961), None);
    assert_eq!(write("Mars/Olympus", 2010..=2012), None);
    let berlin = write("Europe/Berlin", 2020..=2100).unwrap().1;
    assert_eq!(berlin.len(), 12);
    // The object's own rules before the name.
    let own = vtimezone("America/New_York", 2024..=2027).unwrap().join("\r\n").replace("America/New_York", "Europe/Berlin");
    let own = zones(&format!("VERSION:2.0\r\n{own}")).tz_daylight("Europe/Berlin", 2025..=2025);
    assert_eq!(own, said("-05", &["TRUE;-04;20250309T020000;20251102T020000;EST;EDT"]));
}

/// More questions than answers are kept of; the same rules under one name in two objects, and other rules under it.
#[test]
fn what_is_asked_again_is_said_again() {
    let own = |of: &str| {
        let lines = vtimezone(of, 2024..=2027).unwrap().join("\r\n").replace(of, "own");
        zones(&format!("VERSION:2.0\r\n{lines}"))
    };
    let all = || {
        let years = (0..20).map(|n| 2026..=2026 + n);
        years.flat_map(|y| ["Europe/Berlin", "America/New_York"].map(|of| own(of).tz_daylight("own", y.clone()))).collect::<Vec<_>>()
    };
    let (first, second) = (all(), all());
    assert_eq!(first, second);
    assert!(first.iter().all(Option::is_some));
    assert!(first.chunks(2).all(|pair| pair[0] != pair[1]));
    let wide = first[38].as_ref().unwrap();
    assert!(wide.1.len() > first[0].as_ref().unwrap().1.len());
}

#[test]
fn vtimezone_of_tz_and_daylight() {
    let local = |head: &str| zones(&format!("VERSION:1.0\r\n{head}")).local.unwrap();
    let berlin = "TZ:+01\r\nDAYLIGHT:TRUE;+02;20090329T020000;20091025T030000;;\r\nDAYLIGHT:TRUE;+02;20100328T020000;20101031T030000;;";
    let rules = local(berlin);
    assert_eq!(rules.name(), "UTC+0100/+0200 20090329-20101031");
    assert_eq!(
        rules.vtimezone("x,y").join("\n"),
        "BEGIN:VTIMEZONE\nTZID:x\\,y\nBEGIN:DAYLIGHT\nDTSTART:19490327T020000\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\n\
         TZOFFSETFROM:+0100\nTZOFFSETTO:+0200\nEND:DAYLIGHT\nBEGIN:STANDARD\nDTSTART:19491030T030000\n\
         RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nEND:STANDARD\nEND:VTIMEZONE"
    );
    assert_eq!(local("TZ:-0351").name(), "UTC-0351");
    for head in [
        berlin,
        "TZ:-0351",
        "TZ:Europe/London",
        // Years left out, another hour, another offset, the southern summer, a winter that is the exception.
        "TZ:-05\r\nDAYLIGHT:TRUE;-04;19960407T020000;19961027T020000;EST;EDT\r\nDAYLIGHT:TRUE;-04;19990404T030000;19991031T020000;EST;EDT\r\n\
         DAYLIGHT:TRUE;-03;20000402T030000;20001029T020000;EST;XDT",
        "TZ:-04\r\nDAYLIGHT:TRUE;-03;20050904T020000;20060416T020000;;",
        "TZ:+01\r\nDAYLIGHT:TRUE;+00;19891029T010000Z;19900325T010000Z;;",
    ] {
        let rules = local(head);
        let back = by_rules(&rules.vtimezone(rules.name()));
        for at in (start(1985)..start(2012)).step_by(6 * 3600) {
            assert_eq!(back.offset(at, "z"), Some(rules.offset_at(at)), "{head} at {}", DateTime::from_timestamp(at, 0).unwrap());
        }
        let (name, known) = (rules.name(), Zones::default());
        if let Some(offset) = known.offset(start(2026), name) {
            assert!(!head.contains("DAYLIGHT"), "{name} is the name of another zone");
            assert_eq!(offset, rules.offset_at(start(2026)), "{name}");
        }
    }
}
