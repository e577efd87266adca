//! vCalendar and the bare dialect said in iCalendar, in the styles of the programs that wrote them.

use super::{options, translated};
use crate::calendar::Object;
use crate::calendar::convert::{Target, Why, translate};
use crate::calendar::event::Format;

/// What stands in the one component of the translation, and the losses.
fn inner(event: &str) -> (Vec<String>, Vec<String>) {
    inner_of("VEVENT", "", event)
}

fn inner_of(component: &str, head: &str, event: &str) -> (Vec<String>, Vec<String>) {
    let text = format!(
        "BEGIN:VCALENDAR\nVERSION:1.0\n{head}BEGIN:{component}\nUID:1\nDTSTAMP:20260101T000000Z\n{event}END:{component}\nEND:VCALENDAR\n"
    );
    let (text, losses) = translated(&text, Target::ICalendar);
    let text = text.replace("\n ", "");
    let begin = format!("BEGIN:{component}\nUID:1\nDTSTAMP:20260101T000000Z\n");
    let (_, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{text}"));
    let (inner, _) = rest.split_once(&format!("END:{component}\n")).unwrap();
    (inner.lines().map(str::to_owned).collect(), losses)
}

#[test]
fn an_appointment_of_outlook_2000() {
    let (text, losses) = translated(
        "BEGIN:VCALENDAR\nPRODID:-//Microsoft Corporation//Outlook 9.0 MIMEDIR//EN\nVERSION:1.0\nBEGIN:VEVENT\nDTSTART:20001107T140000Z\n\
         DTEND:20001107T153000Z\nLOCATION;ENCODING=QUOTED-PRINTABLE:R=E4um 4; links\nCATEGORIES:Business;Phone Call\nTRANSP:0\n\
         UID:040000008200E00074C5B7101A82E00800000000A0B1\nDESCRIPTION;ENCODING=QUOTED-PRINTABLE:First line=0D=0A=\n\
         Second, with a comma=0D=0A\nSUMMARY;ENCODING=QUOTED-PRINTABLE:Budget=20\nPRIORITY:3\nCLASS:PRIVATE\nAALARM:20001107T134500Z;;;\n\
         DALARM:20001107T134500Z;PT5M;2;Budget\nEND:VEVENT\nEND:VCALENDAR\n",
        Target::ICalendar,
    );
    assert_eq!(
        text,
        "BEGIN:VCALENDAR\nPRODID:-//Microsoft Corporation//Outlook 9.0 MIMEDIR//EN\nVERSION:2.0\nBEGIN:VEVENT\n\
         UID:040000008200E00074C5B7101A82E00800000000A0B1\nDTSTAMP:20261122T154400Z\nDTSTART:20001107T140000Z\nDTEND:20001107T153000Z\n\
         LOCATION:Räum 4\\; links\nCATEGORIES:Business,Phone Call\nTRANSP:OPAQUE\nDESCRIPTION:First line\\nSecond\\, with a comma\n\
         SUMMARY:Budget\nPRIORITY:3\nCLASS:PRIVATE\nBEGIN:VALARM\nTRIGGER;VALUE=DATE-TIME:20001107T134500Z\nACTION:AUDIO\nEND:VALARM\n\
         BEGIN:VALARM\nTRIGGER;VALUE=DATE-TIME:20001107T134500Z\nACTION:DISPLAY\nDESCRIPTION:Budget\nDURATION:PT5M\nREPEAT:2\nEND:VALARM\n\
         END:VEVENT\nEND:VCALENDAR\n"
    );
    assert_eq!(losses, Vec::<String>::new());
}

#[test]
fn a_birthday_of_a_nokia_telephone_without_uid() {
    let text = "BEGIN:VCALENDAR\nVERSION:1.0\nBEGIN:VEVENT\nPRODID:-//Nokia Mobile Phones//7650//EN\nX-EPOCAGENDAENTRYTYPE:ANNIVERSARY\n\
                DTSTART:20031224T000000\nDTEND:20031224T000000\nSUMMARY;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:J=C3=BCrgen\nRRULE:YD1 #0\n\
                LAST-MODIFIED:20031101T120000Z\nEND:VEVENT\nEND:VCALENDAR\n";
    let (first, losses) = translated(text, Target::ICalendar);
    assert!(first.starts_with("BEGIN:VCALENDAR\nPRODID:-//Nokia Mobile Phones//7650//EN\nVERSION:2.0\nBEGIN:VEVENT\nUID:"), "{first}");
    for line in ["X-EPOCAGENDAENTRYTYPE:ANNIVERSARY", "DTSTART;VALUE=DATE:20031224", "SUMMARY:Jürgen", "DTSTAMP:20031101T120000Z"] {
        assert!(first.lines().any(|l| l == line), "{line}: {first}");
    }
    assert!(!first.contains("DTEND") && first.contains("\nRRULE:FREQ=YEARLY"), "{first}");
    assert_eq!(losses.len(), 1, "{losses:?}");
    assert!(losses[0].starts_with("UID \"\": the other format requires it; written as "), "{losses:?}");
    assert_eq!(translated(text, Target::ICalendar).0, first, "the UID is made of the content");
    let twice = translated(&format!("{text}{text}"), Target::ICalendar).0;
    assert_eq!(twice, format!("{first}{first}"));
    let both = text.replace("END:VEVENT\n", "END:VEVENT\nBEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT\nBEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT\n");
    let uids: std::collections::HashSet<String> =
        translated(&both, Target::ICalendar).0.lines().filter(|l| l.starts_with("UID:")).map(str::to_owned).collect();
    assert_eq!(uids.len(), 3);
}

#[test]
fn a_to_do_of_korganizer() {
    let (lines, losses) = inner_of(
        "VTODO",
        "",
        "DCREATED:20030301T101500Z\nLAST-MODIFIED:20030302T101500Z\nSEQUENCE:3\nX-ORGANIZER:MAILTO:kim@x.org\nATTENDEE;ROLE=OWNER;STATUS=CONFIRMED:Kim\n\
         SUMMARY:Paint\nSTATUS:NEEDS ACTION\nPRIORITY:2\nDUE:20030310T000000\nCOMPLETED:20030309T120000Z\nRELATED-TO:KOrganizer-77\n\
         X-PILOTID:0\nX-PILOTSTAT:2\nRNUM:3\n",
    );
    assert_eq!(
        lines,
        [
            "CREATED:20030301T101500Z",
            "LAST-MODIFIED:20030302T101500Z",
            "SEQUENCE:2",
            "X-ORGANIZER:MAILTO:kim@x.org",
            "ORGANIZER;CN=Kim;PARTSTAT=ACCEPTED:invalid:nomail",
            "SUMMARY:Paint",
            "STATUS:NEEDS-ACTION",
            "PRIORITY:2",
            "DUE:20030310T000000",
            "COMPLETED:20030309T120000Z",
            "RELATED-TO:KOrganizer-77",
            "X-PILOTID:0",
            "X-PILOTSTAT:2",
        ]
    );
    assert_eq!(losses, ["ATTENDEE \"Kim\": it cannot be read; written as a name without address"]);
}

#[test]
fn people_keep_their_parts() {
    for (line, expected) in [
        ("ATTENDEE;ROLE=OWNER:Tom <tom@a.com>", "ORGANIZER;CN=Tom:mailto:tom@a.com"),
        ("ATTENDEE;OWNER:tom@a.com", "ORGANIZER:mailto:tom@a.com"),
        ("ORGANIZER;CN=Tom:MAILTO:tom@a.com", "ORGANIZER;CN=Tom:mailto:tom@a.com"),
        (
            "ATTENDEE;STATUS=ACCEPTED;EXPECT=REQUEST;RSVP=YES:\"W, Mary\" <m@b.com>",
            "ATTENDEE;CN=\"W, Mary\";ROLE=OPT-PARTICIPANT;PARTSTAT=ACCEPTED;RSVP=TRUE:mailto:m@b.com",
        ),
        (
            "ATTENDEE;STATUS=NEEDS ACTION;EXPECT=FYI;RSVP=NO:m@b.com",
            "ATTENDEE;ROLE=NON-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=FALSE:mailto:m@b.com",
        ),
        ("ATTENDEE;ROLE=ATTENDEE;EXPECT=REQUIRE;X-CIP-ROLE=CHAIR:m@b.com", "ATTENDEE;ROLE=CHAIR:mailto:m@b.com"),
        ("ATTENDEE;TYPE=ROOM;STATUS=TENTATIVE:r@b.com", "ATTENDEE;CUTYPE=ROOM;PARTSTAT=TENTATIVE:mailto:r@b.com"),
        (
            "ATTENDEE;STATUS=DELEGATED;X-CIP-DELEGATED-TO=\"d@b.com,e@b.com\";X-CIP-SENT-BY=s@b.com:m@b.com",
            "ATTENDEE;PARTSTAT=DELEGATED;DELEGATED-TO=\"mailto:d@b.com\",\"mailto:e@b.com\";SENT-BY=\"mailto:s@b.com\":mailto:m@b.com",
        ),
        ("ATTENDEE;X-MINE=1;X-CIP-LANGUAGE=de;X-CIP-CN=Evil:m@b.com", "ATTENDEE;X-MINE=1;LANGUAGE=de;X-CIP-CN=Evil:mailto:m@b.com"),
        ("ATTENDEE;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:J=C3=B6rg <j@b.com>", "ATTENDEE;CN=Jörg:mailto:j@b.com"),
        ("ATTENDEE;VALUE=URL:http://a.com/people/m", "ATTENDEE:http://a.com/people/m"),
    ] {
        assert_eq!(inner(&format!("{line}\n")), (vec![expected.to_owned()], vec![]), "{line}");
    }
    for (line, expected, loss) in [
        ("ATTENDEE:Person A", "ATTENDEE;CN=Person A:invalid:nomail", "it cannot be read; written as a name without address"),
        ("ATTENDEE:+49 (30) 1234-5", "ATTENDEE:tel:+493012345", "it cannot be read; written as a telephone number"),
        ("ATTENDEE;STATUS=SENT:m@b.com", "ATTENDEE;PARTSTAT=NEEDS-ACTION;X-CIP-STATUS=SENT:mailto:m@b.com", "carried as X-CIP-STATUS"),
        (
            "ATTENDEE;EXPECT=IMMEDIATE:m@b.com",
            "ATTENDEE;ROLE=REQ-PARTICIPANT;X-CIP-EXPECT=IMMEDIATE:mailto:m@b.com",
            "carried as X-CIP-EXPECT",
        ),
    ] {
        let (lines, losses) = inner(&format!("{line}\n"));
        assert_eq!(lines, [expected]);
        assert!(losses.len() == 1 && losses[0].ends_with(loss), "{losses:?}");
    }
}

#[test]
fn an_owner_stands_once_and_attends_where_he_says_so() {
    let (lines, losses) = inner(
        "ATTENDEE;ROLE=OWNER:Tom <tom@a.com>\nATTENDEE;STATUS=CONFIRMED:Tom <tom@a.com>\nATTENDEE;ROLE=OWNER:ann@a.com\nATTENDEE;ROLE=ORGANIZER:o@a.com\n",
    );
    assert_eq!(
        lines,
        [
            "ORGANIZER;CN=Tom:mailto:tom@a.com",
            "ATTENDEE;CN=Tom;PARTSTAT=ACCEPTED:mailto:tom@a.com",
            "ATTENDEE:mailto:ann@a.com",
            "ATTENDEE:mailto:o@a.com"
        ]
    );
    assert_eq!(losses, ["ann", "o"].map(|name| format!("ATTENDEE \"{name}@a.com\": the other format takes only one; written as ATTENDEE")));
    assert_eq!(inner("ATTENDEE;ROLE=ORGANIZER:o@a.com\n").0, ["ORGANIZER:mailto:o@a.com"]);
}

#[test]
fn times_and_days() {
    for (times, expected) in [
        ("DTSTART:19990101T100000\nDTEND:19990101T110000", vec!["DTSTART:19990101T100000", "DTEND:19990101T110000"]),
        ("DTSTART:19990101T000000\nDTEND:19990101T235900", vec!["DTSTART;VALUE=DATE:19990101", "DTEND;VALUE=DATE:19990102"]),
        ("DTSTART:19990101T000000\nDTEND:19990103T000000", vec!["DTSTART;VALUE=DATE:19990101", "DTEND;VALUE=DATE:19990103"]),
        ("DTSTART:19990101T000000\nDTEND:19990101T000000", vec!["DTSTART:19990101T000000", "DTEND:19990101T000000"]),
        ("X-FUNAMBOL-ALLDAY:1\nDTSTART:19990101T000000", vec!["X-FUNAMBOL-ALLDAY:1", "DTSTART;VALUE=DATE:19990101"]),
        ("DTSTART:19961231T2000-0500\nDTEND:19970101T0600-0500", vec!["DTSTART:19970101T010000Z", "DTEND:19970101T110000Z"]),
        ("DTSTART:19990101T1000Z\nDURATION:P1DT2H", vec!["DTSTART:19990101T100000Z", "DURATION:P1DT2H"]),
        (
            "DTSTART:19990101T100000\nRDATE:19990102;19990103T113000\nEXDATE:19990102T100000;19990104",
            vec!["DTSTART:19990101T100000", "RDATE:19990102T100000,19990103T113000", "EXDATE:19990102T100000,19990104T100000"],
        ),
        (
            "DTSTART:19990101\nRDATE:19990102T000000;19990103\nEXDATE:",
            vec!["DTSTART;VALUE=DATE:19990101", "RDATE;VALUE=DATE:19990102,19990103"],
        ),
        (
            "DTSTART:19990101T100000Z\nRRULE:D1 #3\nEXDATE:19990102T100000Z",
            vec!["DTSTART:19990101T100000Z", "RRULE:FREQ=DAILY;COUNT=3", "EXDATE:19990102T100000Z"],
        ),
        ("DTSTART:19990101T100000\nRRULE:FREQ=WEEKLY;BYDAY=FR", vec!["DTSTART:19990101T100000", "RRULE:FREQ=WEEKLY;BYDAY=FR"]),
        (
            "DTSTART:19990101T100000\nRRULE:D1 #5\nEXRULE:D2 #2",
            vec!["DTSTART:19990101T100000", "RRULE:FREQ=DAILY;COUNT=5", "EXDATE:19990101T100000,19990103T100000"],
        ),
    ] {
        assert_eq!(inner(&format!("{times}\n")), (expected.into_iter().map(str::to_owned).collect(), vec![]), "{times}");
    }
    for (times, loss) in [
        ("DTSTART:19990101T100000\nDTEND:19990101T090000", "DTEND \"19990101T090000\": it contradicts another property; left out"),
        ("DTSTART:19990101\nDTEND:19990101T090000", "DTEND \"19990101T090000\": it contradicts another property; left out"),
        ("DTSTART:19990101T100000\nEXDATE:soon", "EXDATE \"soon\": it cannot be read; said in DESCRIPTION"),
        ("DTSTART:19990101T100000\nDTSTART:19990101T110000", "DTSTART \"19990101T110000\": the other format takes only one; left out"),
    ] {
        assert_eq!(inner(&format!("{times}\n")).1, [loss]);
    }
}

#[test]
fn an_offset_of_the_bare_dialect_becomes_a_zone_when_the_event_recurs() {
    let (text, losses) = translated("UID:1\nDTSTART:19961231T2000-0500\nRRULE:D1 #3\nSUBJECT:Party\n", Target::ICalendar);
    assert_eq!(losses, Vec::<String>::new());
    for line in ["TZID:UTC-0500", "TZOFFSETTO:-0500", "DTSTART;TZID=UTC-0500:19961231T200000", "RRULE:FREQ=DAILY;COUNT=3", "SUMMARY:Party"]
    {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    let object = Object::parse(text.replace('\n', "\r\n").into_bytes()).unwrap();
    let start = object.event().start.as_ref().and_then(crate::calendar::event::Moment::instant);
    assert_eq!(start.map(crate::calendar::time::basic_utc).as_deref(), Some("19970101T010000Z"));
}

#[test]
fn words_that_icalendar_lacks_are_carried() {
    for (line, expected, carried) in [
        ("TRANSP:3", vec!["TRANSP:TRANSPARENT"], true),
        ("PRIORITY:25", vec!["PRIORITY:9"], true),
        ("STATUS:NEEDS ACTION", vec![], true),
        ("STATUS:ACCEPTED", vec!["STATUS:CONFIRMED"], true),
        ("STATUS:CONFIRMED", vec!["STATUS:CONFIRMED"], false),
        ("GEO:-17.87,37.24", vec!["GEO:37.24;-17.87"], false),
        ("GEO:37.24", vec![], true),
        ("URL:http://a.com/?a=1;b=2,3", vec!["URL:http://a.com/?a=1;b=2,3"], false),
        ("CONFERENCE-ROOM:4", vec![], true),
        ("PERCENT-COMPLETE:50", vec!["PERCENT-COMPLETE:50"], false),
        ("SEQUENCE:0", vec!["SEQUENCE:0"], false),
        ("X-A;X-P=1:b;c", vec!["X-A;X-P=1:b\\;c"], false),
        ("RESOURCES;LANGUAGE=en:EASEL;VCR , BEAMER", vec!["RESOURCES;LANGUAGE=en:EASEL,VCR,BEAMER"], false),
    ] {
        let (lines, losses) = inner(&format!("{line}\n"));
        let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        if carried {
            expected.push(format!("X-CIP-VCAL:{}", line.replace(',', "\\,").replace(';', "\\;")));
        }
        assert_eq!(lines, expected, "{line}");
        assert_eq!(losses.len(), usize::from(carried), "{line}: {losses:?}");
    }
    // What no carrier may bring back is not carried.
    for line in ["SEQUENCE:-1", "URL:http://a b", "LAST-MODIFIED:yesterday", "ATTACH:nothing"] {
        let (lines, losses) = inner(&format!("{line}\n"));
        assert!(!lines.iter().any(|l| l.starts_with("X-CIP")) && losses.len() == 1, "{line}: {lines:?} {losses:?}");
    }
}

#[test]
fn attachments_and_alarms() {
    for (line, expected) in [
        ("ATTACH;VALUE=URL:ftp://a.com/r.ps", "ATTACH:ftp://a.com/r.ps"),
        ("ATTACH;VALUE=CONTENT-ID:<a.b@c.com>", "ATTACH:cid:a.b@c.com"),
        (
            "ATTACH;VALUE=INLINE;ENCODING=BASE64;X-FILENAME=a.txt:YWJj\n ZA\n",
            "ATTACH;X-FILENAME=a.txt;ENCODING=BASE64;VALUE=BINARY:YWJjZA==",
        ),
    ] {
        assert_eq!(inner(&format!("{line}\n")), (vec![expected.to_owned()], vec![]), "{line}");
    }
    assert_eq!(inner("ATTACH:C:\\My files\\a.doc\n").0, ["ATTACH:file:///C:/My%20files/a.doc"]);
    for (start, line, expected) in [
        (
            "DTSTART:19990101T100000\n",
            "DALARM:19990101T094500;;;Go; now",
            vec!["TRIGGER:-PT15M", "ACTION:DISPLAY", "DESCRIPTION:Go\\; now"],
        ),
        (
            "DTSTART:19990101T100000Z\nRRULE:D1 #2\n",
            "AALARM;TYPE=WAVE;VALUE=URL:19990101T090000Z;PT5M;3;http://a.com/b.wav",
            vec!["TRIGGER:-PT1H", "ACTION:AUDIO", "ATTACH;FMTTYPE=audio/wav:http://a.com/b.wav", "DURATION:PT5M", "REPEAT:3"],
        ),
        (
            "DTSTART:19990102\n",
            "MALARM:19990101T120000;;;ann@a.com;Note",
            vec!["TRIGGER:-PT12H", "ACTION:EMAIL", "ATTENDEE:mailto:ann@a.com", "SUMMARY:Reminder", "DESCRIPTION:Note"],
        ),
        (
            "DTSTART:19990101T100000\n",
            "PALARM;VALUE=URL:19990103T100000;;;file:///a.exe",
            vec!["TRIGGER:P2D", "ACTION:PROCEDURE", "ATTACH:file:///a.exe"],
        ),
    ] {
        let (lines, losses) = inner(&format!("{start}{line}\n"));
        let at = lines.iter().position(|l| l == "BEGIN:VALARM").unwrap();
        assert_eq!(lines[at + 1..lines.len() - 1], expected, "{line}");
        assert_eq!(losses, Vec::<String>::new(), "{line}");
    }
    let (lines, losses) = inner("DTSTART:19990101T100000\nAALARM;TYPE=X-EPOCSOUND:19990101T100000;;0;Chimes\nAALARM:;;;\nDALARM:later\n");
    assert_eq!(lines[1..], ["BEGIN:VALARM", "TRIGGER:PT0S", "ACTION:AUDIO", "X-CIP-CONTENT;TYPE=X-EPOCSOUND:Chimes", "END:VALARM"]);
    assert_eq!(losses.len(), 2, "{losses:?}");
}

#[test]
fn what_was_carried_comes_back_and_nothing_else() {
    let (lines, losses) = inner(
        "DTSTART:20260101T090000\nX-CIP-ICAL:COLOR:red\nX-CIP-ICAL:ATTENDEE:mailto:evil@x.com\nX-CIP-ICAL:DTEND:20270101T000000\n\
         X-CIP-ICAL:RRULE:FREQ=WEEKLY;COUNT=3\nRDATE:20260108T090000;20260115T090000;20260120T090000\nX-CIP-ICAL:RRULE:FREQ=DAILY;COUNT=4\n\
         X-CIP-ICAL:STATUS:CANCELLED\nSTATUS:CONFIRMED\n",
    );
    assert_eq!(lines, ["DTSTART:20260101T090000", "COLOR:red", "RRULE:FREQ=WEEKLY;COUNT=3", "RDATE:20260120T090000", "STATUS:CONFIRMED"]);
    assert_eq!(losses.len(), 4, "{losses:?}");
    assert!(losses.iter().all(|l| l.starts_with("X-CIP-ICAL ") && l.ends_with("it contradicts another property; left out")), "{losses:?}");
    let alarm = "AALARM;X-CIP-ICAL=YES:20260101T085000\nX-CIP-ICAL;ENCODING=QUOTED-PRINTABLE:BEGIN:VALARM=0D=0AACTION:AUDIO=0D=0ATRIGGER:-PT10M=0D=0AX-A:1=0D=0AEND:VALARM\n";
    assert_eq!(
        inner(alarm),
        (["BEGIN:VALARM", "ACTION:AUDIO", "TRIGGER:-PT10M", "X-A:1", "END:VALARM"].map(str::to_owned).to_vec(), vec![])
    );
}

#[test]
fn an_exception_goes_back_to_its_series() {
    let (text, losses) = translated(
        "BEGIN:VCALENDAR\nVERSION:1.0\nX-CIP-ICAL:METHOD:REQUEST\nBEGIN:VEVENT\nUID:s@a.com\nDTSTART:20260101T090000Z\nRRULE:D1 #5\n\
         EXDATE:20260102T090000Z;20260103T090000Z;20260104T090000Z\nX-CIP-CANCELLED:20260104T090000Z;2;20260101T000000Z\nEND:VEVENT\nBEGIN:VEVENT\nUID:s.20260102T090000Z@a.com\n\
         X-CIP-SERIES:s@a.com;20260102T090000Z\nDTSTART:20260102T110000Z\nEND:VEVENT\nEND:VCALENDAR\n",
        Target::ICalendar,
    );
    assert_eq!(losses, Vec::<String>::new());
    assert!(text.contains("\nMETHOD:REQUEST\n") && text.contains("\nEXDATE:20260103T090000Z\n"), "{text}");
    let object = Object::parse(text.replace('\n', "\r\n").into_bytes()).unwrap();
    let ids: Vec<_> = object.events().iter().map(|e| (e.recurrence_id.as_deref(), e.is_cancelled())).collect();
    assert_eq!(ids, [(None, false), (Some("20260104T090000Z"), true), (Some("20260102T090000Z"), false)]);
}

#[test]
fn many_calendars_fragments_and_junk() {
    let event = |uid: &str| format!("BEGIN:VEVENT\nUID:{uid}\nDTSTART:19990101T100000\nEND:VEVENT\n");
    let (text, _) = translated(&event("lone"), Target::ICalendar);
    assert!(text.starts_with("BEGIN:VCALENDAR\n") && text.ends_with("END:VEVENT\nEND:VCALENDAR\n"), "{text}");
    let all = format!("BEGIN:VCALENDAR\nVERSION:1.0\n{}{}junk here\nEND:VCALENDAR\n", event("a"), event("b"));
    let (text, losses) = translated(&all, Target::ICalendar);
    assert_eq!(text.matches("BEGIN:VEVENT").count(), 2);
    assert_eq!(losses, [" \"junk here\": it cannot be read; left out"]);
    let (text, losses) = translated(&format!("{all}{all}"), Target::ICalendar);
    assert_eq!((text.matches("BEGIN:VCALENDAR").count(), losses.len()), (2, 2));
    let open = "BEGIN:VCALENDAR\nVERSION:1.0\nBEGIN:VEVENT\nUID:a\nBEGIN:VEVENT\nUID:b\nEND:VEVENT\nEND:VCALENDAR\n";
    assert_eq!(translated(open, Target::ICalendar).0.matches("\nUID:").count(), 2);
    assert!(translate(b"hello\nworld\n".to_vec(), Target::ICalendar, &options()).is_err());
    let many: String = (0..300).map(|i| format!("line {i}\n")).collect();
    let losses = translate(format!("UID:1\n{many}").into_bytes(), Target::ICalendar, &options()).unwrap();
    assert_eq!((losses.losses.len(), losses.more_losses), (200, 100));
    assert!(losses.losses.iter().all(|l| l.why == Why::Unreadable));
}

#[test]
fn what_is_icalendar_already_stays() {
    let text = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\nX-A:b;c\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    let translation = translate(text.into(), Target::ICalendar, &options()).unwrap();
    assert_eq!((String::from_utf8(translation.octets).unwrap().as_str(), translation.losses.len()), (text, 0));
    let bare = translate(b"UID:1\nDTSTART:19961231T2000-0500\nSUBJECT:Party\n".to_vec(), Target::VCalendar, &options()).unwrap();
    let object = Object::parse(bare.octets).unwrap();
    assert_eq!((object.format(), object.event().summary.as_deref()), (Format::VCalendar, Some("Party")));
}

#[test]
fn a_date_stands_once_in_a_list() {
    let source = "BEGIN:VCALENDAR\nVERSION:1.0\nBEGIN:VEVENT\nUID:1\nDTSTART:20260401T010000Z\nRDATE:20260403T010000Z;20260403T020000+0100\nEND:VEVENT\nEND:VCALENDAR\n";
    let (text, _) = translated(source, Target::ICalendar);
    assert!(text.contains("\nRDATE:20260403T010000Z\n"), "{text}");
}

#[test]
fn confirmed_of_a_todo_comes_back() {
    let source = "BEGIN:VCALENDAR\nVERSION:1.0\nBEGIN:VTODO\nUID:1\nSTATUS:CONFIRMED\nEND:VTODO\nEND:VCALENDAR\n";
    let (text, _) = translated(source, Target::ICalendar);
    assert!(text.contains("\nSTATUS:IN-PROCESS\nX-CIP-VCAL:STATUS:CONFIRMED\n"), "{text}");
    let (text, _) = translated(&text, Target::VCalendar);
    assert!(text.contains("\nSTATUS:CONFIRMED\n"), "{text}");
}
