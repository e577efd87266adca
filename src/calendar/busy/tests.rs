//! Calendars as they are published, against periods worked out by hand.

use super::read::{How, answers, busy_times};
use super::skeleton::{Attendance, attended, instance, skeleton};
use super::*;
use crate::calendar::Object;
use crate::ident::UserId;

fn at(text: &str) -> Timestamp {
    chrono::NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%MZ").unwrap().and_utc().into()
}

fn window(start: &str, end: &str) -> Window {
    Window { start: at(start), end: at(end) }
}

fn calendar(events: &str) -> Vec<u8> {
    format!("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//test//EN\n{events}END:VCALENDAR\n").replace('\n', "\r\n").into_bytes()
}

fn event(lines: &str) -> String {
    format!("BEGIN:VEVENT\nUID:a@tiny.com\n{lines}END:VEVENT\n")
}

fn shown(times: &BusyTimes) -> Vec<String> {
    let utc = |t: Timestamp| t.datetime().unwrap().format("%m%dT%H%M").to_string();
    times.periods().iter().map(|(kind, p)| format!("{} {}/{}", kind.as_str(), utc(p.start), utc(p.end))).collect()
}

fn read_in(octets: Vec<u8>, window: Window, zone: &str) -> Result<Vec<String>, BusyError> {
    let mary = [UserId::parse("mary@tiny.com").unwrap()];
    let how = How { window, zone, addresses: &mary, covers: None };
    busy_times(octets, &how).map(|times| shown(&times))
}

fn read(octets: Vec<u8>) -> Vec<String> {
    read_in(octets, window("20260301T0000Z", "20260501T0000Z"), "Europe/Berlin").unwrap()
}

#[test]
fn each_kind_of_event_takes_its_time() {
    let time = "DTSTART:20260310T090000Z\nDTEND:20260310T100000Z\n";
    let table = [
        ("", "BUSY"),
        ("TRANSP:OPAQUE\nSTATUS:CONFIRMED\n", "BUSY"),
        ("STATUS:TENTATIVE\n", "BUSY-TENTATIVE"),
        ("X-MICROSOFT-CDO-BUSYSTATUS:TENTATIVE\n", "BUSY-TENTATIVE"),
        ("X-MICROSOFT-CDO-BUSYSTATUS:OOF\n", "BUSY-UNAVAILABLE"),
        ("X-MICROSOFT-CDO-BUSYSTATUS:OOF\nSTATUS:TENTATIVE\n", "BUSY-UNAVAILABLE"),
        ("ATTENDEE;PARTSTAT=ACCEPTED:mailto:MARY@tiny.com\n", "BUSY"),
        ("ATTENDEE;PARTSTAT=TENTATIVE:mailto:mary@tiny.com\n", "BUSY-TENTATIVE"),
        ("ATTENDEE;PARTSTAT=DECLINED:mailto:bob@tiny.com\n", "BUSY"),
        ("ORGANIZER:mailto:mary@tiny.com\nATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:mary@tiny.com\n", "BUSY"),
        ("TRANSP:TRANSPARENT\n", ""),
        ("STATUS:CANCELLED\n", ""),
        ("X-MICROSOFT-CDO-BUSYSTATUS:FREE\n", ""),
        ("ATTENDEE;PARTSTAT=DECLINED:mailto:mary@tiny.com\n", ""),
        ("ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:mary@tiny.com\n", ""),
    ];
    for (lines, kind) in table {
        let expected: Vec<String> = Some(format!("{kind} 0310T0900/0310T1000")).filter(|_| !kind.is_empty()).into_iter().collect();
        assert_eq!(read(calendar(&event(&format!("{time}{lines}")))), expected, "{lines}");
    }
}

#[test]
fn how_long_it_lasts() {
    let table = [
        ("DTSTART:20260310T090000Z\nDURATION:PT90M\n", vec!["BUSY 0310T0900/0310T1030"]),
        ("DTSTART;VALUE=DATE:20260310\n", vec!["BUSY 0309T2300/0310T2300"]),
        ("DTSTART;VALUE=DATE:20260310\nDTEND;VALUE=DATE:20260312\n", vec!["BUSY 0309T2300/0311T2300"]),
        ("DTSTART:20260310T090000\nDTEND:20260310T100000\n", vec!["BUSY 0310T0800/0310T0900"]),
        ("DTSTART;TZID=America/New_York:20260310T090000\nDTEND;TZID=Europe/Berlin:20260310T150000\n", vec!["BUSY 0310T1300/0310T1400"]),
        ("DTSTART;TZID=Nowhere/Known:20260310T090000\nDURATION:PT1H\n", vec!["BUSY 0310T0800/0310T0900"]),
        // The day on which the clocks go forward: 23 hours, and a night shift that ends at six.
        ("DTSTART;VALUE=DATE:20260329\n", vec!["BUSY 0328T2300/0329T2200"]),
        ("DTSTART;TZID=Europe/Berlin:20260328T220000\nDTEND;TZID=Europe/Berlin:20260329T060000\n", vec!["BUSY 0328T2100/0329T0400"]),
        ("DTSTART:20260310T090000Z\n", vec![]),
        ("DTSTART:20260310T090000Z\nDTEND:20260310T080000Z\n", vec![]),
        ("DTSTART:20260228T230000Z\nDTEND:20260301T010000Z\n", vec!["BUSY 0301T0000/0301T0100"]),
        ("DTSTART:20260430T230000Z\nDTEND:20260501T010000Z\n", vec!["BUSY 0430T2300/0501T0000"]),
        ("DTSTART:20260501T000000Z\nDTEND:20260501T010000Z\n", vec![]),
    ];
    for (lines, expected) in table {
        assert_eq!(read(calendar(&event(lines))), expected, "{lines}");
    }
}

#[test]
fn a_series_keeps_its_hour_when_the_clocks_change() {
    let weekly = "DTSTART;TZID=Europe/Berlin:20260105T090000\nDTEND;TZID=Europe/Berlin:20260105T100000\nRRULE:FREQ=WEEKLY\n";
    let around = window("20260320T0000Z", "20260408T0000Z");
    let series = event(weekly);
    let read = |more: &str| read_in(calendar(&format!("{series}{more}")), around, "UTC").unwrap();
    assert_eq!(read(""), ["BUSY 0323T0800/0323T0900", "BUSY 0330T0700/0330T0800", "BUSY 0406T0700/0406T0800"]);
    let moved = event("RECURRENCE-ID;TZID=Europe/Berlin:20260330T090000\nDTSTART;TZID=Europe/Berlin:20260331T140000\nDURATION:PT30M\n");
    assert_eq!(read(&moved), ["BUSY 0323T0800/0323T0900", "BUSY 0331T1200/0331T1230", "BUSY 0406T0700/0406T0800"]);
    let again = event("SEQUENCE:2\nRECURRENCE-ID:20260330T070000Z\nDTSTART:20260401T120000Z\nDURATION:PT30M\nSTATUS:TENTATIVE\n");
    assert_eq!(
        read(&format!("{again}{moved}")),
        ["BUSY 0323T0800/0323T0900", "BUSY 0406T0700/0406T0800", "BUSY-TENTATIVE 0401T1200/0401T1230"]
    );
    let cancelled = event("RECURRENCE-ID:20260330T070000Z\nDTSTART:20260330T070000Z\nDURATION:PT1H\nSTATUS:CANCELLED\n");
    assert_eq!(read(&cancelled), ["BUSY 0323T0800/0323T0900", "BUSY 0406T0700/0406T0800"]);
    let later = event("RECURRENCE-ID;RANGE=THISANDFUTURE:20260330T070000Z\nDTSTART:20260330T100000Z\nDURATION:PT2H\n");
    assert_eq!(read(&later), ["BUSY 0323T0800/0323T0900", "BUSY 0330T1000/0330T1200", "BUSY 0406T1000/0406T1200"]);
    let from_before = event("RECURRENCE-ID:20260119T080000Z\nDTSTART:20260325T100000Z\nDURATION:PT1H\n");
    assert_eq!(read(&from_before).len(), 4, "an instance of January may have been moved here");
}

#[test]
fn dates_are_added_and_taken_out() {
    let series = "DTSTART;TZID=Europe/Berlin:20260327T090000\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=5\n\
                  EXDATE;TZID=Europe/Berlin:20260328T090000,20260329T090000\nRDATE;VALUE=PERIOD:20260402T100000Z/PT3H\nEXDATE;VALUE=DATE:20260331\n";
    assert_eq!(read(calendar(&event(series))), ["BUSY 0327T0800/0327T0900", "BUSY 0330T0700/0330T0800", "BUSY 0402T1000/0402T1300"]);
}

#[test]
fn many_events_are_joined_by_type_and_alone_by_uid() {
    let one = |uid: &str, lines: &str| event(lines).replace("a@tiny.com", uid);
    let all = [
        one("a", "DTSTART:20260310T090000Z\nDTEND:20260310T100000Z\n"),
        one("b", "DTSTART:20260310T100000Z\nDTEND:20260310T110000Z\n"),
        one("c", "DTSTART:20260310T093000Z\nDTEND:20260310T094500Z\nSTATUS:TENTATIVE\n"),
        one("d", "DTSTART:20260312T090000Z\nDTEND:20260312T100000Z\n"),
        "BEGIN:VTODO\nUID:t\nDTSTART:20260313T090000Z\nDUE:20260313T100000Z\nEND:VTODO\n".to_owned(),
    ];
    assert_eq!(
        read(calendar(&all.concat())),
        ["BUSY 0310T0900/0310T1100", "BUSY 0312T0900/0312T1000", "BUSY-TENTATIVE 0310T0930/0310T0945"]
    );
    let zoned = "X-WR-TIMEZONE:America/New_York\n".to_owned() + &event("DTSTART;VALUE=DATE:20260310\n");
    assert_eq!(read(calendar(&zoned)), ["BUSY 0310T0400/0311T0400"]);
}

#[test]
fn a_vcalendar_is_read_too() {
    let old = "BEGIN:VCALENDAR\r\nVERSION:1.0\r\nTZ:+01\r\nDAYLIGHT:TRUE;+02;20260329T020000;20261025T030000;;\r\nBEGIN:VEVENT\r\n\
               DTSTART:20260327T090000\r\nDTEND:20260327T100000\r\nRRULE:D1 #4\r\nEXDATE:20260328T080000Z;20260330T070000Z\r\nTRANSP:0\r\nEND:VEVENT\r\n\
               BEGIN:VEVENT\r\nUID:2\r\nDTSTART:20260401T090000\r\nDTEND:20260401T100000\r\nTRANSP:1\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    assert_eq!(read(old.as_bytes().to_vec()), ["BUSY 0327T0800/0327T0900", "BUSY 0329T0700/0329T0800"]);
}

#[test]
fn what_cannot_be_read_is_not_free() {
    let error = |octets: &[u8]| read_in(octets.to_vec(), window("20260301T0000Z", "20260501T0000Z"), "UTC").unwrap_err().to_string();
    let whole = calendar(&event("DTSTART:20260310T090000Z\nDTEND:20260310T100000Z\n"));
    for cut in [whole.len() - 3, whole.len() - 16, whole.len() - 40, 40] {
        assert!(error(&whole[..cut]).contains("ends before END"), "{cut}: {}", error(&whole[..cut]));
    }
    for (octets, words) in [
        (b"<html>\r\n<body>Log in</body>\r\n</html>\r\n".to_vec(), "is not a calendar"),
        (b"".to_vec(), "is not a calendar"),
        (b"\x00\x01\x02".to_vec(), "is not a calendar"),
        (calendar(&event("DTSTART:soon\n")), "line 6: DTSTART is not a time"),
        (calendar(&event("DTSTART:20260310T090000Z\nRRULE:FREQ=SOMETIMES\n")), "line 7: RRULE"),
        (calendar(&event("DTSTART:19700101T000000Z\nDURATION:PT1S\nRRULE:FREQ=SECONDLY\n")), "repeats too often"),
        (calendar("BEGIN:VFREEBUSY\nFREEBUSY:20260310T090000Z/PT1H\nEND:VFREEBUSY\n"), "without DTSTART and DTEND"),
        (calendar("BEGIN:VFREEBUSY\nDTSTART:20260301T000000Z\nDTEND:20260401T000000Z\nFREEBUSY:x\nEND:VFREEBUSY\n"), "not a period"),
    ] {
        assert!(error(&octets).contains(words), "{}", error(&octets));
    }
}

#[test]
fn a_published_file_says_no_more_than_it_covers() {
    let file = "BEGIN:VFREEBUSY\nDTSTART:20260305T000000Z\nDTEND:20260401T000000Z\n\
                FREEBUSY:20260310T090000Z/PT1H,20260310T100000Z/20260310T110000Z\nFREEBUSY;FBTYPE=BUSY-TENTATIVE:20260311T090000Z/PT1H\n\
                FREEBUSY;FBTYPE=FREE:20260312T090000Z/PT1H\nFREEBUSY;FBTYPE=X-ODD:20260313T090000Z/PT1H\n\
                FREEBUSY;FBTYPE=BUSY-UNAVAILABLE:20260420T090000Z/PT1H\nEND:VFREEBUSY\n";
    let how = How { window: window("20260301T0000Z", "20260501T0000Z"), zone: "UTC", addresses: &[], covers: None };
    let times = busy_times(calendar(file), &how).unwrap();
    assert_eq!(times.window, window("20260305T0000Z", "20260401T0000Z"));
    assert_eq!(shown(&times), ["BUSY 0310T0900/0310T1100", "BUSY 0313T0900/0313T1000", "BUSY-TENTATIVE 0311T0900/0311T1000"]);
    let outside = How { window: window("20270101T0000Z", "20270102T0000Z"), ..how };
    assert!(busy_times(calendar(file), &outside).unwrap().window.is_empty());
    let free = BusyTimes::free(window("20260310T0000Z", "20260601T0000Z"));
    let both = times.and(free);
    assert_eq!((both.window, shown(&both).len()), (window("20260310T0000Z", "20260401T0000Z"), 3));
}

#[test]
fn an_answer_reads_back_and_tells_nothing_but_times() {
    let mut times = BusyTimes::free(window("20260301T0000Z", "20260501T0000Z"));
    times.add(BusyType::Busy, window("20260310T0900Z", "20260310T1000Z"));
    times.add(BusyType::Unavailable, window("20260228T0900Z", "20260302T1000Z"));
    times.settle();
    let (mary, server) = (UserId::parse("mary@tiny.com").unwrap(), crate::ident::ServerId::parse("tiny.com").unwrap());
    let octets = reply::reply(&reply::Asked::default(), &server, at("20260301T0000Z"), &[(mary.clone(), times.clone())]);
    let text = String::from_utf8(octets.clone()).unwrap();
    assert!(text.contains("FREEBUSY;FBTYPE=BUSY:20260310T090000Z/20260310T100000Z\r\n"), "{text}");
    assert_eq!(answers(octets, times.window).unwrap(), [(Some(mary), times)]);
}

#[test]
fn a_skeleton_has_the_times_of_the_whole_and_nothing_else() {
    let zone = "BEGIN:VTIMEZONE\nTZID:Ours\nX-NOTE:secret\nBEGIN:STANDARD\nDTSTART:19701025T030000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\n\
                RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\nEND:STANDARD\nBEGIN:DAYLIGHT\nDTSTART:19700329T020000\nTZOFFSETFROM:+0100\n\
                TZOFFSETTO:+0200\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\nEND:DAYLIGHT\nEND:VTIMEZONE\n";
    let lines = "DTSTART;TZID=Ours:20260327T090000\nDTEND;TZID=Ours:20260327T100000\nRRULE:FREQ=DAILY;\n COUNT=4\nSUMMARY:secret\n\
                 ATTENDEE;CN=secret:mailto:secret@tiny.com\nORGANIZER:mailto:tom@jumbo.com\nSEQUENCE:3\nDESCRIPTION:secret\n";
    let bare = "UID: a@tiny.com\r\nSEQUENCE: 1\r\nDTSTART: 20260310T2000-0500\r\nDTEND: 20260311T0600-0500\r\nSUMMARY: secret\r\n\
                ATTENDEE;OWNER: Tom <tom@jumbo.com>\r\nATTENDEE: secret@tiny.com\r\n";
    let old = "BEGIN:VCALENDAR\r\nVERSION:1.0\r\nTZ:+01\r\nDAYLIGHT:TRUE;+02;20260329T020000;20261025T030000;;\r\nBEGIN:VEVENT\r\nUID:a\r\n\
               DTSTART:20260327T090000\r\nDTEND:20260327T100000\r\nRRULE:D1 #4\r\nSUMMARY:secret\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    let daily = vec!["BUSY 0327T0800/0327T0900", "BUSY 0328T0800/0328T0900", "BUSY 0329T0700/0329T0800", "BUSY 0330T0700/0330T0800"];
    let table = [
        (calendar(&format!("{zone}{}", event(lines))), daily.clone(), None),
        (bare.as_bytes().to_vec(), vec!["BUSY 0311T0100/0311T1100"], Some("20260312T1100Z")),
        (old.as_bytes().to_vec(), daily, None),
    ];
    for (octets, expected, last) in table {
        let cut = skeleton(&Object::parse(octets).unwrap()).unwrap().unwrap();
        let text = String::from_utf8(cut.octets.clone()).unwrap();
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(read(cut.octets.clone()), expected, "{text}");
        assert_eq!(cut.last, last.map(at));
        let tentative = read(attended(&cut.octets, Attendance::Perhaps));
        assert!(tentative.len() == expected.len() && tentative.iter().all(|p| p.starts_with("BUSY-TENTATIVE ")), "{tentative:?}");
        assert!(read(attended(&cut.octets, Attendance::No)).is_empty());
    }
    let todo = Object::parse(
        b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VTODO\r\nUID:a\r\nDTSTART:20260310T090000Z\r\nEND:VTODO\r\nEND:VCALENDAR\r\n".to_vec(),
    );
    assert_eq!(skeleton(&todo.unwrap()), Ok(None));
}

#[test]
fn an_instance_that_was_answered_apart_stands_in_place_of_itself() {
    let series =
        skeleton(&Object::parse(calendar(&event("DTSTART:20260310T090000Z\nDTEND:20260310T100000Z\nRRULE:FREQ=DAILY;COUNT=3\n"))).unwrap());
    let series = series.unwrap().unwrap().octets;
    let apart = |rid: &str, attendance| [series.clone(), attended(&instance("a@tiny.com", rid, 3600), attendance)].concat();
    assert_eq!(read(apart("20260311T090000Z", Attendance::No)), ["BUSY 0310T0900/0310T1000", "BUSY 0312T0900/0312T1000"]);
    let perhaps = read(apart("20260311T090000Z", Attendance::Perhaps));
    assert_eq!(perhaps, ["BUSY 0310T0900/0310T1000", "BUSY 0312T0900/0312T1000", "BUSY-TENTATIVE 0311T0900/0311T1000"]);
}
