//! Each rule of reading, one table each (profile 5, vCalendar 1.0, RFC 5545).

use chrono::{NaiveDate, NaiveDateTime};
use proptest::prelude::*;

use super::*;
use crate::calendar::event::*;
use crate::calendar::{ObjectError, freebusy_request, read_user, read_users};
use crate::clock::Timestamp;

fn bare(lines: &str) -> Object {
    object(&format!("UID:1@a.com\n{lines}\n"))
}

fn vcalendar(lines: &str) -> Object {
    object(&format!("BEGIN:VCALENDAR\nVERSION:1.0\nBEGIN:VEVENT\nUID:1@a.com\n{lines}\nEND:VEVENT\nEND:VCALENDAR\n"))
}

fn icalendar(lines: &str) -> Object {
    object(&format!("BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:1@a.com\n{lines}\nEND:VEVENT\nEND:VCALENDAR\n"))
}

fn local(text: &str) -> NaiveDateTime {
    text.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

#[test]
fn the_format_is_decided_by_the_first_lines() {
    use Format::{Bare, ICalendar, VCalendar};
    for (text, format) in [
        ("UID:1\n", Bare),
        ("\n\nuid : 1\n", Bare),
        ("\u{feff}UID:1\n", Bare),
        ("BEGIN:VEVENT\nUID:1\nEND:VEVENT\n", Bare),
        ("BEGIN:VCALENDAR\nVERSION:1.0\nBEGIN:VEVENT\nUID:1\nEND:VEVENT\nEND:VCALENDAR\n", VCalendar),
        ("begin : vcalendar\nversion : 2.0\nbegin:vevent\nuid:1\nend:vevent\nend:vcalendar\n", ICalendar),
        ("\u{feff}BEGIN:VCALENDAR\nPRODID:x\nVERSION:2.0\nBEGIN:VTODO\nUID:1\nEND:VTODO\nEND:VCALENDAR\n", ICalendar),
        ("BEGIN:VCALENDAR\nTZ:+01\nBEGIN:VEVENT\nUID:1\nEND:VEVENT\nEND:VCALENDAR\n", VCalendar),
        ("BEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VEVENT\nUID:1\nEND:VEVENT\nEND:VCALENDAR\n", ICalendar),
    ] {
        let read = object(text);
        assert_eq!(read.format(), format, "{text}");
        assert_eq!(read.event().uid.as_str(), "1", "{text}");
        let lf = Object::parse(text.as_bytes().to_vec()).unwrap();
        assert_eq!(lf.events(), read.events(), "LF alone: {text}");
    }
}

#[test]
fn lines_are_joined_as_each_format_folds_them() {
    let folded = |fold: &str| format!("DESCRIPTION:{}{fold}{}", "a".repeat(63), "b".repeat(10));
    for (read, description) in [
        (icalendar("DESCRIPTION:over\n  the top"), "over the top"),
        (icalendar("DESCRIPTION:over\n\t the top"), "over the top"),
        (icalendar("DESC\n RIPTION:over the top"), "over the top"),
        (icalendar("DESCRIPTION;LANGUAGE=\n en:over the top"), "over the top"),
        (vcalendar("DESCRIPTION:over\n the top"), "over the top"),
        (vcalendar("DESCRIPTION:over \n the top"), "over the top"),
        (vcalendar("DESCRIPTION:over\n\t\t the top"), "over the top"),
        (bare("DESCRIPTION: over\n the top"), "over the top"),
        (bare("description : over\nthe top"), "over the top"),
        // All lines broken at 75 octets: software that folds as iCalendar does.
        (vcalendar(&folded("\n ")), &format!("{}{}", "a".repeat(63), "b".repeat(10))),
        (icalendar(&folded("\n ")), &format!("{}{}", "a".repeat(63), "b".repeat(10))),
        // Folding that lost its blank.
        (icalendar(&folded("\n")), &format!("{}{}", "a".repeat(63), "b".repeat(10))),
    ] {
        assert_eq!(read.event().description.as_deref(), Some(description), "{}", String::from_utf8_lossy(read.octets()));
    }
}

#[test]
fn texts_are_decoded() {
    let german = "Größe; bis\nmorgen";
    for (line, text) in [
        ("DESCRIPTION;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:Gr=C3=B6=C3=9Fe; bis=0D=0Amorgen", german),
        ("DESCRIPTION;QUOTED-PRINTABLE:Gr=C3=B6=C3=9Fe; bis=\n=0Amorgen", german),
        ("DESCRIPTION;QUOTED-PRINTABLE;CHARSET=ISO-8859-1:Gr=F6=DFe; bis=0D=0Amorgen", german),
        ("DESCRIPTION;QUOTED-PRINTABLE:Gr=F6=DFe; bis=0Amorgen", german),
        ("DESCRIPTION;ENCODING=BASE64;CHARSET=ISO-8859-1:R3L232U7IGJp\n cwptb3JnZW4=\n", german),
        ("DESCRIPTION;BASE64;CHARSET=utf-8:\n  R3LDtsOfZTsg\n  YmlzCm1vcmdlbg\n", german),
        ("DESCRIPTION:Größe\\; bis\\nmorgen", german),
        ("DESCRIPTION;CHARSET=KOI8-R;QUOTED-PRINTABLE:=D7=D3=D4=D2=C5=DE=C1", "встреча"),
        ("DESCRIPTION;CHARSET=no-such:plain", "plain"),
        ("DESCRIPTION;QUOTED-PRINTABLE:50=zz", "50=zz"),
        ("DESCRIPTION:a\\,b\\\\c", "a,b\\c"),
    ] {
        assert_eq!(vcalendar(line).event().description.as_deref(), Some(text), "{line}");
        assert_eq!(bare(line).event().description.as_deref(), Some(text), "{line}");
    }
    let latin = Object::parse(b"UID:1\r\nSUMMARY:Gr\xf6\xdfe\r\n".to_vec()).unwrap();
    assert_eq!(latin.event().summary.as_deref(), Some("Größe"));
}

#[test]
fn addresses_in_every_spelling() {
    for (text, expected) in [
        ("mary@tiny.com", Some(("mary@tiny.com", None))),
        ("<mary@tiny.com>", Some(("mary@tiny.com", None))),
        ("Mary Weaver <mary@tiny.com>", Some(("mary@tiny.com", Some("Mary Weaver")))),
        ("\"Weaver, Mary\" <mary@tiny.com>", Some(("mary@tiny.com", Some("Weaver, Mary")))),
        ("Mary<mary@Tiny.COM>", Some(("mary@Tiny.COM", Some("Mary")))),
        ("mary@tiny.com (Mary Weaver)", Some(("mary@tiny.com", Some("Mary Weaver")))),
        ("mailto:mary@tiny.com", Some(("mary@tiny.com", None))),
        ("MAILTO: mary@tiny.com", Some(("mary@tiny.com", None))),
        ("mailto:<mary@tiny.com>", Some(("mary@tiny.com", None))),
        ("mailto:mary%2Bcal@tiny.com?subject=x", Some(("mary+cal@tiny.com", None))),
        ("mailto:50%@tiny.com", Some(("50%@tiny.com", None))),
        ("Mary <mailto:mary@tiny.com>", Some(("mary@tiny.com", Some("Mary")))),
        ("\"mary weaver\"@tiny.com", Some(("\"mary weaver\"@tiny.com", None))),
        ("Mary Weaver", None),
        ("", None),
        ("urn:uuid:1-2-3", None),
        ("mailto:%0d%0a@tiny.com", None),
        ("<>", None),
        ("mary@", None),
    ] {
        let expected = expected.map(|(a, n): (&str, Option<&str>)| (a.to_owned(), n.map(str::to_owned)));
        assert_eq!(read_user(text).map(|(a, n)| (a.to_string(), n)), expected, "{text}");
    }
    let list = read_users("Mary <mary@tiny.com>, \"Jones, Tom\" <tom@jumbo.com>;ann@x.org");
    assert_eq!(list.iter().map(|(a, _)| a.to_string()).collect::<Vec<_>>(), ["mary@tiny.com", "tom@jumbo.com", "ann@x.org"]);
}

#[test]
fn attendees_in_every_spelling() {
    use PartStat::{Accepted, Completed, Declined, Delegated, NeedsAction, Tentative};
    let person = |line: &str| {
        let p = object(&format!("UID:1\n{line}\n")).event().attendees[0].clone();
        (p.address.to_string(), p.name, p.status, p.role, p.rsvp)
    };
    let mary = |name: Option<&str>, status, role, rsvp| ("mary@tiny.com".to_owned(), name.map(str::to_owned), status, role, rsvp);
    for (line, expected) in [
        ("ATTENDEE:mary@tiny.com", mary(None, None, None, None)),
        ("attendee ; Role = Attendee ; status = confirmed : Mary <mary@tiny.com>", mary(Some("Mary"), Some(Accepted), None, None)),
        ("ATTENDEE;ACCEPTED:mary@tiny.com", mary(None, Some(Accepted), None, None)),
        ("ATTENDEE;STATUS=NEEDS ACTION;RSVP=YES:mary@tiny.com", mary(None, Some(NeedsAction), None, Some(true))),
        ("ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=FALSE:mailto:mary@tiny.com", mary(None, Some(NeedsAction), None, Some(false))),
        ("ATTENDEE;PARTSTAT=IN-PROCESS:mailto:mary@tiny.com", mary(None, Some(Accepted), None, None)),
        ("ATTENDEE;STATUS=DECLINED;EXPECT=FYI:mary@tiny.com", mary(None, Some(Declined), Some(Role::NonParticipant), None)),
        ("ATTENDEE;STATUS=TENTATIVE;EXPECT=REQUIRE:mary@tiny.com", mary(None, Some(Tentative), Some(Role::Required), None)),
        ("ATTENDEE;STATUS=DELEGATED;ROLE=CHAIR:mary@tiny.com", mary(None, Some(Delegated), Some(Role::Chair), None)),
        ("ATTENDEE;STATUS=COMPLETED;ROLE=OPT-PARTICIPANT:mary@tiny.com", mary(None, Some(Completed), Some(Role::Optional), None)),
        ("ATTENDEE;CN=\"Weaver; Mary: a\":mailto:mary@tiny.com", mary(Some("Weaver; Mary: a"), None, None, None)),
        ("ATTENDEE;CN=mary@tiny.com:mailto:mary@tiny.com", mary(None, None, None, None)),
        ("ATTENDEE;EMAIL=mary@tiny.com;CN=Mary:urn:uuid:7", mary(Some("Mary"), None, None, None)),
        ("ATTENDEE;QUOTED-PRINTABLE:J=C3=B6 <mary=40tiny.com>", mary(Some("Jö"), None, None, None)),
        ("ATTENDEE: Mary\n<mary@tiny.com>", mary(Some("Mary"), None, None, None)),
        ("ATTENDEE: Mary\n <mary@tiny.com>", mary(Some("Mary"), None, None, None)),
        ("ATTENDEE:mary\n@tiny.com", mary(None, None, None, None)),
        ("ATTENDEE:mary@ti\nny.com", mary(None, None, None, None)),
        // A whole address is not joined with junk after it.
        ("ATTENDEE:mary@tiny.com\nnonsense", mary(None, None, None, None)),
    ] {
        assert_eq!(person(line), expected, "{line}");
    }
}

#[test]
fn who_owns_and_who_attends() {
    for (lines, owner, attendees) in [
        ("ATTENDEE;OWNER:o@a.com\nATTENDEE:m@b.com", Some("o@a.com"), vec!["m@b.com"]),
        ("ATTENDEE;ROLE=ORGANIZER:o@a.com\nATTENDEE:m@b.com", Some("o@a.com"), vec!["m@b.com"]),
        ("ATTENDEE;ROLE=ORGANIZER:x@a.com\nATTENDEE;ROLE=OWNER:o@a.com", Some("o@a.com"), vec!["x@a.com"]),
        ("ORGANIZER:mailto:o@a.com\nATTENDEE:mailto:O@A.com\nATTENDEE:mailto:m@b.com", Some("o@a.com"), vec!["O@A.com", "m@b.com"]),
        ("ATTENDEE;ROLE=OWNER:o@a.com\nATTENDEE:o@a.com\nATTENDEE:m@b.com\nATTENDEE:M@B.com", Some("o@a.com"), vec!["o@a.com", "m@b.com"]),
        ("ATTENDEE:m@b.com", None, vec!["m@b.com"]),
        ("ATTENDEE:nobody\nATTENDEE:m@b.com", None, vec!["m@b.com"]),
    ] {
        let read = bare(lines);
        let event = read.event();
        assert_eq!(event.owner.as_ref().map(|o| o.address.to_string()).as_deref(), owner, "{lines}");
        assert_eq!(event.attendees.iter().map(|a| a.address.to_string()).collect::<Vec<_>>(), attendees, "{lines}");
    }
}

#[test]
fn times_of_all_dialects() {
    let utc = |t: &str, offset_minutes| Some(Moment::Utc { at: at(t), offset_minutes });
    let floating = |t: &str| Some(Moment::Floating(local(t)));
    let date = |y, m, d| Some(Moment::Date(NaiveDate::from_ymd_opt(y, m, d).unwrap()));
    for (text, expected) in [
        ("19961231T2000-0500", utc("1997-01-01T01:00:00Z", Some(-300))),
        ("19961231T200000+05:30", utc("1996-12-31T14:30:00Z", Some(330))),
        ("19961231T200000Z", utc("1996-12-31T20:00:00Z", None)),
        (" 19961231t200000z ", utc("1996-12-31T20:00:00Z", None)),
        ("1996-12-31T20:00:00.5Z", utc("1996-12-31T20:00:00Z", None)),
        ("19961231T200060Z", utc("1996-12-31T20:00:59Z", None)),
        ("19961231T240000Z", utc("1997-01-01T00:00:00Z", None)),
        ("19961231T200000", floating("1996-12-31T20:00:00")),
        ("19961231T2000", floating("1996-12-31T20:00:00")),
        ("19961231", date(1996, 12, 31)),
        ("1996-12-31", date(1996, 12, 31)),
        ("19961231T", date(1996, 12, 31)),
        ("19961231Z", date(1996, 12, 31)),
        ("19961231T2000000Z", utc("1996-12-31T20:00:00Z", None)),
        ("19961231T2000005Z", None),
        ("19691231T235959Z", Some(Moment::Zoned { local: local("1969-12-31T23:59:59"), zone: "UTC".into(), at: Some(Timestamp(0)) })),
        ("start date and time", None),
        ("19961331T200000Z", None),
        ("19961231T256000Z", None),
        ("19961231T200000-9900", None),
        ("", None),
        ("T", None),
        ("19961231T20:00é", None),
    ] {
        assert_eq!(bare(&format!("DTSTART:{text}")).event().start, expected, "{text}");
    }
}

#[test]
fn durations_give_an_end() {
    for (text, end) in [
        ("PT1H30M", Some("1996-12-31T21:30:00Z")),
        ("P1D", Some("1997-01-01T20:00:00Z")),
        ("P1W", Some("1997-01-07T20:00:00Z")),
        ("-PT1H", Some("1996-12-31T19:00:00Z")),
        ("P", None),
        ("PT5", None),
        ("1H", None),
        ("P99999999999999999999D", None),
    ] {
        let read = icalendar(&format!("DTSTART:19961231T200000Z\nDURATION:{text}"));
        assert_eq!(read.event().end.as_ref().and_then(Moment::instant), end.map(at), "{text}");
    }
}

#[test]
fn versions() {
    let version = |o: Object| (o.event().sequence, o.event().version);
    for (text, as_bare, as_icalendar) in [
        ("SEQUENCE:1", (Some(1), Some(1)), (Some(1), Some(2))),
        ("SEQUENCE: 7 ", (Some(7), Some(7)), (Some(7), Some(8))),
        ("SEQUENCE:0", (Some(0), None), (Some(0), Some(1))),
        ("SEQUENCE:2147483646", (Some(2_147_483_646), Some(2_147_483_646)), (Some(2_147_483_646), Some(2_147_483_647))),
        ("SEQUENCE:2147483647", (Some(2_147_483_647), Some(2_147_483_647)), (Some(2_147_483_647), None)),
        ("SEQUENCE:2147483648", (None, None), (None, None)),
        ("SEQUENCE:-1", (None, None), (None, None)),
        ("SEQUENCE:+1", (None, None), (None, None)),
        ("SEQUENCE:one", (None, None), (None, None)),
        ("SEQUENCE:", (None, None), (None, None)),
        ("X:", (None, None), (None, None)),
    ] {
        assert_eq!(version(bare(text)), as_bare, "{text}");
        assert_eq!(version(icalendar(text)), as_icalendar, "{text}");
    }
    // RFC 5546 3.2: an organizer may leave out a SEQUENCE of 0; an answer without one names no version.
    for (method, version) in [("REQUEST", Some(1)), ("CANCEL", Some(1)), ("REPLY", None), ("COUNTER", None)] {
        let text = format!("BEGIN:VCALENDAR\nVERSION:2.0\nMETHOD:{method}\nBEGIN:VEVENT\nUID:1\nEND:VEVENT\nEND:VCALENDAR\n");
        assert_eq!(object(&text).event().version, version, "{method}");
    }
}

#[test]
fn what_must_be_there_is_named() {
    let full = "SEQUENCE:1\nATTENDEE;ROLE=OWNER:o@a.com\nATTENDEE:m@b.com";
    bare(full).require_sendevent().unwrap();
    for (lines, words) in [
        ("ATTENDEE;ROLE=OWNER:o@a.com\nATTENDEE:m@b.com", "SEQUENCE is missing"),
        ("SEQUENCE:0\nATTENDEE;ROLE=OWNER:o@a.com\nATTENDEE:m@b.com", "line 2: bad SEQUENCE \"0\": it must be a number from 1 to"),
        ("SEQUENCE:1\nATTENDEE:m@b.com", "ATTENDEE;ROLE=OWNER is missing"),
        ("SEQUENCE:1\nATTENDEE;ROLE=OWNER:o@a.com\nATTENDEE:O@a.com", "ATTENDEE is missing"),
    ] {
        let error = bare(lines).require_sendevent().unwrap_err().to_string();
        assert!(error.starts_with(words), "{lines}: {error}");
    }
    for (lines, answers) in [
        ("ATTENDEE;STATUS=DECLINED:m@b.com", Ok(1)),
        ("ATTENDEE:m@b.com\nSTATUS:DECLINED", Ok(1)),
        ("ATTENDEE;ROLE=OWNER:o@a.com\nATTENDEE:m@b.com\nSTATUS:DECLINED", Ok(1)),
        ("ATTENDEE:m@b.com\nATTENDEE:n@b.com\nSTATUS:DECLINED", Err("STATUS is missing")),
        ("ATTENDEE;STATUS=PERHAPS:m@b.com", Err("STATUS is missing")),
        ("ATTENDEE:m@b.com", Err("STATUS is missing")),
        ("STATUS:CONFIRMED", Err("ATTENDEE is missing")),
        ("ATTENDEE;STATUS=DECLINED:m@b.com\nATTENDEE:n@b.com", Ok(1)),
    ] {
        let read = bare(lines);
        match (read.require_rsvp(), answers) {
            (Ok(()), Ok(n)) => assert_eq!(read.answers().len(), n, "{lines}"),
            (Err(error), Err(words)) => assert!(error.to_string().starts_with(words), "{lines}: {error}"),
            (result, _) => panic!("{lines}: {result:?}"),
        }
    }
    // STATUS is the event's own in iCalendar.
    assert!(icalendar("ATTENDEE:mailto:m@b.com\nSTATUS:CONFIRMED").require_rsvp().is_err());
}

#[test]
fn what_is_refused() {
    let error = |octets: &[u8]| Object::parse(octets.to_vec()).unwrap_err();
    assert_eq!(error(b""), ObjectError::Empty);
    assert_eq!(error(b"\r\n \r\n"), ObjectError::Empty);
    assert_eq!(error(b"UID:1\r\nSUMMARY:a\0b\r\n"), ObjectError::Nul { line: 2 });
    assert_eq!(error(b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n"), ObjectError::NoEvent);
    assert_eq!(error(b"SUMMARY:a\r\n").to_string().split(':').next(), Some("UID is missing"));
    assert!(matches!(error(b"UID:\r\n"), ObjectError::Bad { property: "UID", line: 1, .. }));
    assert_eq!(error("BEGIN:X\r\n".repeat(17).as_bytes()), ObjectError::TooDeep { line: 17, limit: 16 });
    assert_eq!(error("X:\n".repeat(400_001).as_bytes()), ObjectError::TooManyLines { limit: 400_000 });
    let two = b"BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:1\nEND:VEVENT\nBEGIN:VEVENT\nUID:2\nEND:VEVENT\nEND:VCALENDAR\n";
    assert_eq!(error(two), ObjectError::SeveralEvents { line: 6, first: "1".into(), second: "2".into() });
}

#[test]
fn a_series_stands_before_its_exceptions() {
    let text = "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:1\nRECURRENCE-ID;TZID=Europe/Berlin:20260701T100000\n\
                X-CIP-TRACE:a.com;20260101T000000Z;SENDEVENT;1\nEND:VEVENT\n\
                BEGIN:VEVENT\nUID:1\nRRULE:FREQ=DAILY\nX-CIP-RCPT:<m@b.com>\nX-CIP-RCPT:M@b.com\nEND:VEVENT\nEND:VCALENDAR\n";
    let read = object(text);
    assert_eq!(read.events().len(), 2);
    assert_eq!(read.event().rules, ["FREQ=DAILY"]);
    assert_eq!(read.event().recipients, [user("m@b.com")]);
    let trace = Trace { server: "a.com".into(), time: "20260101T000000Z".into(), verb: "SENDEVENT".into(), version: "1".into() };
    assert_eq!(read.event().traces, [trace]);
    assert_eq!(read.events()[1].recurrence_id.as_deref(), Some("20260701T080000Z"));
    assert!(read.events()[1].recipients.is_empty());
}

#[test]
fn an_alarm_is_not_the_event() {
    let read = icalendar("ATTENDEE:mailto:m@b.com\nBEGIN:VALARM\nATTENDEE:mailto:x@b.com\nSUMMARY:ring\nDURATION:PT5M\nEND:VALARM");
    assert_eq!(read.event().attendees.len(), 1);
    assert_eq!(read.event().summary, None);
}

#[test]
fn what_is_odd_is_reported_with_its_line() {
    let read = bare("DTSTART:soon\nATTENDEE:nobody\nSUMMARY:a\n!junk");
    assert_eq!(
        read.problems(),
        [
            "line 2: DTSTART is not a time that can be read".to_owned(),
            "line 3: ATTENDEE without a user-id: passed on, not served".to_owned(),
        ],
        "a line after SUMMARY is its continuation"
    );
    assert_eq!(read.event().summary.as_deref(), Some("a !junk"));
    let read = bare("X-A:1\n!junk");
    assert_eq!(read.problems(), ["line 3: not a property; passed on unread"]);
    let read = object("BEGIN:VCALENDAR\nVERSION:2.0\nEND:VALARM\nBEGIN:VEVENT\nUID:1\nBEGIN:VALARM\nEND:VEVENT\n");
    assert_eq!(
        read.problems(),
        ["line 3: END:VALARM without its BEGIN", "line 7: END:VEVENT closes what stands open inside it", "VCALENDAR is not ended"]
    );
}

#[test]
fn attendees_are_counted_to_a_bound() {
    use std::fmt::Write;
    let mut text = "UID:1\n".to_owned();
    for i in 0..crate::calendar::MAX_PEOPLE + 50 {
        writeln!(text, "ATTENDEE:u{i}@b.com").unwrap();
    }
    let read = Object::parse(text.into_bytes()).unwrap();
    assert_eq!(read.event().attendees.len(), crate::calendar::MAX_PEOPLE);
}

#[test]
fn freebusy_requests() {
    let ok = freebusy_request(&crlf(
        "ATTENDEE:m@b.com\nATTENDEE: Tom <t@c.com>\nATTENDEE:M@b.com\nDTSTART:19961231T2000-0500\nDTEND:19970102T000000Z\n",
    ));
    let ok = ok.unwrap();
    assert_eq!(ok.users, [user("m@b.com"), user("t@c.com")]);
    assert_eq!((ok.start, ok.end), (at("1997-01-01T01:00:00Z"), at("1997-01-02T00:00:00Z")));
    let inside = "BEGIN:VCALENDAR\nVERSION:2.0\nMETHOD:REQUEST\nBEGIN:VFREEBUSY\nORGANIZER:mailto:o@a.com\nATTENDEE:mailto:m@b.com\n\
                  DTSTART:19970101T000000Z\nDTEND:19980205T000000Z\nEND:VFREEBUSY\nEND:VCALENDAR\n";
    assert_eq!(freebusy_request(&crlf(inside)).unwrap().users, [user("m@b.com")]);
    for (lines, words) in [
        ("DTSTART:19970101\nDTEND:19970102", "ATTENDEE is missing"),
        ("ATTENDEE:m@b.com\nDTEND:19970102", "DTSTART is missing"),
        ("ATTENDEE:m@b.com\nDTSTART:19970101", "DTEND is missing"),
        ("ATTENDEE:m@b.com\nDTSTART:19970101\nDTEND:soon", "line 3: bad DTEND \"soon\""),
        ("ATTENDEE:m@b.com\nDTSTART:19970102\nDTEND:19970101", "line 3: bad DTEND \"19970101T000000Z\": it must not be before"),
        ("ATTENDEE:m@b.com\nDTSTART:19970101T000000Z\nDTEND:19980205T000001Z", "line 3: bad DTEND \"19980205T000001Z\": at most 400 days"),
        ("", "the object is empty"),
    ] {
        let error = freebusy_request(&crlf(lines)).unwrap_err().to_string();
        assert!(error.starts_with(words), "{lines}: {error}");
    }
}

/// Pieces that make hostile objects more often than random octets do.
pub(crate) fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"BEGIN:VCALENDAR\r\n",
        b"BEGIN:VEVENT\r\n",
        b"END:VEVENT\r\n",
        b"VERSION:2.0\r\n",
        b"VERSION:1.0\r\n",
        b"UID:1@a.com\r\n",
        b"UID x\r\n",
        b"ATTENDEE",
        b";ROLE=OWNER",
        b":",
        b";",
        b"=",
        b"=\r\n",
        b"\"",
        b"<m@b.com>",
        b"m@b.com",
        b"\r\n ",
        b"\r\n",
        b"\n",
        b"\r",
        b"DESCRIPTION",
        b";QUOTED-PRINTABLE:",
        b";BASE64:",
        b"DTSTART:",
        b";TZID=",
        b"Europe/Berlin",
        b"19961231T2000-0500",
        b"99991231T235959",
        b"TZ:-05\r\n",
        b"DAYLIGHT:TRUE;-04;00010101T000000;99991231T235959;a;b\r\n",
        b"BEGIN:VTIMEZONE\r\nTZID:z\r\nBEGIN:STANDARD\r\n",
        b"END:STANDARD\r\nEND:VTIMEZONE\r\n",
        b"TZOFFSETTO:-2359\r\n",
        b"RRULE:FREQ=YEARLY;BYDAY=-5SU;COUNT=9\r\n",
        b"DURATION:P9999D\r\n",
        b"X-CIP-TRACE:a;b;c;d\r\n",
        b"\xff\xfe",
        b"\xc3",
        b"\xc3\xa4",
        b" ",
        b"\\n\\;",
    ];
    let piece = prop_oneof![8 => prop::sample::select(words).prop_map(<[u8]>::to_vec), 1 => prop::collection::vec(any::<u8>(), 0..8)];
    prop::collection::vec(piece, 0..60).prop_map(|p| p.concat())
}

proptest! {
    #![proptest_config(crate::calendar::tests::cases(400))]

    #[test]
    fn nothing_panics_and_nothing_changes(octets in pieces()) {
        let _ = freebusy_request(&octets);
        if let Ok(read) = Object::parse(octets.clone()) {
            read.digest();
            let _ = (read.require_sendevent(), read.require_rsvp());
            prop_assert_eq!(read.patched(&crate::calendar::Patch::default()), octets);
            let _ = crate::calendar::compose::icalendar(&read, &super::patching::job());
        }
    }
}
