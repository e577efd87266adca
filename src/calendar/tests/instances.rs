//! Instances of whole objects: zones, exceptions, lists, and when the last one is over.

use super::super::event::Moment;
use super::object;
use crate::clock::Timestamp;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn shown(moment: &Moment) -> String {
    match moment {
        Moment::Utc { at, .. } | Moment::Zoned { at: Some(at), .. } => at.datetime().unwrap().format("%y%m%dT%H%MZ").to_string(),
        Moment::Zoned { local, at: None, .. } | Moment::Floating(local) => local.format("%y%m%dT%H%M").to_string(),
        Moment::Date(date) => date.format("%y%m%d").to_string(),
    }
}

/// The starts before 2031, as many as ten.
fn starts(text: &str) -> String {
    let found = object(text).instances(at("2031-01-01T00:00:00Z"), 10);
    found.starts.iter().map(shown).collect::<Vec<_>>().join(" ")
}

fn ical(event: &str) -> String {
    format!(
        "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//Test//EN\nBEGIN:VEVENT\nUID:1@jumbo.com\nDTSTAMP:20260101T000000Z\n{event}END:VEVENT\nEND:VCALENDAR\n"
    )
}

fn vcal(event: &str) -> String {
    format!(
        "BEGIN:VCALENDAR\nVERSION:1.0\nTZ:-05\nDAYLIGHT:TRUE;-04;20260308T020000;20261101T020000;EST;EDT\nBEGIN:VEVENT\nUID:1@jumbo.com\n{event}END:VEVENT\nEND:VCALENDAR\n"
    )
}

#[test]
fn nine_stays_nine_when_the_clocks_change() {
    let new_york = "DTSTART;TZID=America/New_York:20261030T090000\nRRULE:FREQ=DAILY;COUNT=4\n";
    assert_eq!(starts(&ical(new_york)), "261030T1300Z 261031T1300Z 261101T1400Z 261102T1400Z");
    let eastern = "DTSTART:20261030T090000\nRRULE:D1 #4\n";
    assert_eq!(starts(&vcal(eastern)), "261030T1300Z 261031T1300Z 261101T1400Z 261102T1400Z");
    // In UTC it does not.
    assert_eq!(starts(&vcal("DTSTART:20261030T130000Z\nRRULE:D1 #4\n")), "261030T1300Z 261031T1300Z 261101T1300Z 261102T1300Z");
    assert_eq!(starts("UID:1@jumbo.com\nDTSTART:20261030T0900-0400\nRRULE:D1 #3\n"), "261030T1300Z 261031T1300Z 261101T1300Z");
}

#[test]
fn an_end_in_utc_is_compared_in_utc() {
    let event = "DTSTART;TZID=America/New_York:20261030T090000\nRRULE:FREQ=DAILY;UNTIL=20261101T135959Z\n";
    assert_eq!(starts(&ical(event)), "261030T1300Z 261031T1300Z");
    let event = "DTSTART;TZID=America/New_York:20261030T090000\nRRULE:FREQ=DAILY;UNTIL=20261101T140000Z\n";
    assert_eq!(starts(&ical(event)), "261030T1300Z 261031T1300Z 261101T1400Z");
}

#[test]
fn lists_of_dates_in_every_shape() {
    for (event, expected) in [
        ("DTSTART:20260105T090000Z\nRRULE:FREQ=DAILY;COUNT=4\nEXDATE:20260106T090000Z,20260107T090000Z\n", "260105T0900Z 260108T0900Z"),
        ("DTSTART:20260105T090000Z\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE;VALUE=DATE:20260106\n", "260105T0900Z 260107T0900Z"),
        ("DTSTART;TZID=Europe/Berlin:20260105T090000\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE:20260106T080000Z\n", "260105T0800Z 260107T0800Z"),
        ("DTSTART:20260105T090000Z\nRDATE;TZID=Europe/Berlin:20260107T090000\n", "260105T0900Z 260107T0800Z"),
        (
            "DTSTART:20260105T090000Z\nRDATE;VALUE=PERIOD:20260107T090000Z/PT2H,20260106T090000Z/20260106T100000Z\n",
            "260105T0900Z 260106T0900Z 260107T0900Z",
        ),
        ("DTSTART;VALUE=DATE:20260105\nRRULE:FREQ=WEEKLY;COUNT=3\nEXDATE;VALUE=DATE:20260112\n", "260105 260119"),
        ("DTSTART:20260105T090000\nRRULE:FREQ=DAILY;COUNT=5\nEXRULE:FREQ=DAILY;INTERVAL=2\n", "260106T0900 260108T0900"),
        (
            "DTSTART:20260105T090000Z\nRRULE:FREQ=DAILY;COUNT=2\nRRULE:FREQ=WEEKLY;COUNT=2\nRDATE:20260106T090000Z\n",
            "260105T0900Z 260106T0900Z 260112T0900Z",
        ),
    ] {
        assert_eq!(starts(&ical(event)), expected, "{event}");
    }
    let event = "DTSTART:20261030T090000\nRRULE:D1 #4\nEXDATE:20261031T090000;20261101T140000Z\nRDATE:20261105T090000\nEXRULE:\n";
    assert_eq!(starts(&vcal(event)), "261030T1300Z 261102T1400Z 261105T1400Z");
    // Newer software writes iCalendar's rules into vCalendar.
    assert_eq!(starts(&vcal("DTSTART:20260105T090000Z\nRRULE:FREQ=DAILY;COUNT=2\n")), "260105T0900Z 260106T0900Z");
}

fn with_exceptions(exceptions: &str) -> String {
    format!(
        "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//Test//EN\nBEGIN:VEVENT\nUID:1@jumbo.com\nDTSTAMP:20260101T000000Z\nDTSTART;TZID=Europe/Berlin:20260105T090000\nRRULE:FREQ=DAILY;COUNT=4\nEND:VEVENT\n{exceptions}END:VCALENDAR\n"
    )
}

#[test]
fn exceptions_take_the_place_of_what_they_name() {
    let exception = |lines: &str| format!("BEGIN:VEVENT\nUID:1@jumbo.com\nDTSTAMP:20260101T000000Z\n{lines}END:VEVENT\n");
    for (lines, expected) in [
        (
            "RECURRENCE-ID:20260106T080000Z\nDTSTART;TZID=Europe/Berlin:20260106T140000\n",
            "260105T0800Z 260106T1300Z 260107T0800Z 260108T0800Z",
        ),
        (
            "RECURRENCE-ID;TZID=Europe/Berlin:20260106T090000\nDTSTART:20260110T080000Z\n",
            "260105T0800Z 260107T0800Z 260108T0800Z 260110T0800Z",
        ),
        ("RECURRENCE-ID;VALUE=DATE:20260106\nSTATUS:CANCELLED\n", "260105T0800Z 260107T0800Z 260108T0800Z"),
        ("RECURRENCE-ID;TZID=Europe/Berlin:20260106T090000\nSUMMARY:Another room\n", "260105T0800Z 260106T0800Z 260107T0800Z 260108T0800Z"),
        (
            "RECURRENCE-ID;RANGE=THISANDFUTURE:20260107T080000Z\nDTSTART;TZID=Europe/Berlin:20260107T110000\n",
            "260105T0800Z 260106T0800Z 260107T1000Z 260108T1000Z",
        ),
        ("RECURRENCE-ID;RANGE=THISANDFUTURE:20260107T080000Z\nSTATUS:CANCELLED\n", "260105T0800Z 260106T0800Z"),
        // One that the series does not have is one more.
        ("RECURRENCE-ID:20260201T080000Z\nDTSTART:20260201T080000Z\n", "260105T0800Z 260106T0800Z 260107T0800Z 260108T0800Z 260201T0800Z"),
    ] {
        assert_eq!(starts(&with_exceptions(&exception(lines))), expected, "{lines}");
    }
    // Without its series, it is all there is.
    assert_eq!(starts(&ical("RECURRENCE-ID:20260106T080000Z\nDTSTART:20260106T130000Z\n")), "260106T1300Z");
}

#[test]
fn to_dos_repeat_from_their_start_or_from_when_they_are_due() {
    let todo = |lines: &str| ical(lines).replace("VEVENT", "VTODO");
    assert_eq!(starts(&todo("DTSTART:20260105T090000Z\nDUE:20260106T090000Z\nRRULE:FREQ=WEEKLY;COUNT=2\n")), "260105T0900Z 260112T0900Z");
    assert_eq!(starts(&todo("DUE;VALUE=DATE:20260106\nRRULE:FREQ=WEEKLY;COUNT=2\n")), "260106 260113");
    let found = object(&todo("RRULE:FREQ=WEEKLY;COUNT=2\n")).instances(Timestamp::NEVER, 10);
    assert!(found.starts.is_empty() && !found.complete && found.problems.len() == 1, "{found:?}");
}

#[test]
fn what_is_not_all_is_told() {
    let until = at("2031-01-01T00:00:00Z");
    let endless = object(&ical("DTSTART:20260105T090000Z\nRRULE:FREQ=DAILY\n"));
    let found = endless.instances(until, 3);
    assert_eq!((found.starts.len(), found.complete, found.problems), (3, false, vec!["more than 3 instances".to_owned()]));
    let found = endless.instances(at("2026-01-08T09:00:00Z"), 10);
    assert_eq!((found.starts.len(), found.complete), (3, true));
    for (event, named) in [
        ("DTSTART:20260105T090000Z\nRRULE:FREQ=FORTNIGHTLY\n", "line 8: RRULE FREQ=FORTNIGHTLY: FREQ=FORTNIGHTLY is not understood"),
        (
            "DTSTART:20260105T090000Z\nRRULE:RSCALE=HEBREW;FREQ=YEARLY\n",
            "line 8: RRULE RSCALE=HEBREW;FREQ=YEARLY: RSCALE=HEBREW is not understood",
        ),
        ("DTSTART:20260105T090000Z\nEXDATE:tomorrow\n", "line 8: EXDATE tomorrow is not a time that can be read"),
        ("DTSTART:20260105T090000Z\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30\n", "the rules take more work than is done for them"),
    ] {
        let found = object(&ical(event)).instances(Timestamp::NEVER, 10);
        assert_eq!((found.starts.len(), found.complete, found.problems), (1, false, vec![named.to_owned()]), "{event}");
    }
}

#[test]
fn an_event_is_over_with_its_last_instance() {
    let hour = "DTSTART:20260105T090000Z\nDTEND:20260105T100000Z\n";
    for (lines, over) in [
        ("", Some("2026-01-05T10:00:00Z")),
        ("RRULE:FREQ=WEEKLY\n", None),
        ("RRULE:FREQ=WEEKLY;COUNT=3\n", Some("2026-01-19T10:00:00Z")),
        // Before the end of a rule nothing needs to be computed.
        ("RRULE:FREQ=WEEKLY;UNTIL=20260121T090000Z\n", Some("2026-01-21T10:00:00Z")),
        ("RDATE:20260301T090000Z,20260201T090000Z\n", Some("2026-03-01T10:00:00Z")),
        ("RDATE;VALUE=PERIOD:20260301T090000Z/PT5H\n", Some("2026-03-01T14:00:00Z")),
        ("RRULE:FREQ=WEEKLY;COUNT=2\nRDATE:20260301T090000Z\n", Some("2026-03-01T10:00:00Z")),
        ("RRULE:FREQ=WEEKLY;COUNT=100000\n", None),
        ("RRULE:nonsense\n", None),
    ] {
        assert_eq!(object(&ical(&format!("{hour}{lines}"))).ends(), over.map(at), "{lines}");
    }
    let late = "BEGIN:VEVENT\nUID:1@jumbo.com\nDTSTAMP:20260101T000000Z\nRECURRENCE-ID:20260106T080000Z\nDTSTART:20260501T080000Z\nDTEND:20260501T090000Z\nEND:VEVENT\n";
    let moved = with_exceptions(late).replace("RRULE", "DTEND;TZID=Europe/Berlin:20260105T100000\nRRULE");
    assert_eq!(object(&moved).ends(), Some(at("2026-05-01T09:00:00Z")));
    // It is over where the day ends last.
    assert_eq!(object(&ical("DTSTART;VALUE=DATE:20260105\nDTEND;VALUE=DATE:20260106\n")).ends(), Some(at("2026-01-06T12:00:00Z")));
    assert_eq!(object(&ical("DTSTART:20260105T090000Z\n")).ends(), None);
    assert_eq!(object(&vcal("DTSTART:20261030T090000\nDTEND:20261030T100000\nRRULE:D1 #4\n")).ends(), Some(at("2026-11-02T15:00:00Z")));
}
