//! iCalendar, as software writes it, said in vCalendar 1.0.

use super::{options, translated};
use crate::calendar::Object;
use crate::calendar::convert::{Target, translate};
use crate::calendar::event::{Format, PartStat, Person, Role};
use crate::calendar::tests::user;

/// The body of the first event, and the losses.
fn event(lines: &str) -> (String, Vec<String>) {
    let (text, losses) = calendar(&format!("BEGIN:VEVENT\nUID:1@a.com\n{lines}END:VEVENT\n"));
    let body = text.split_once("BEGIN:VEVENT\nUID:1@a.com\n").unwrap().1.split_once("END:VEVENT\n").unwrap().0;
    (body.to_owned(), losses)
}

fn calendar(inner: &str) -> (String, Vec<String>) {
    translated(&format!("BEGIN:VCALENDAR\nPRODID:-//x//EN\nVERSION:2.0\n{inner}END:VCALENDAR\n"), Target::VCalendar)
}

#[test]
fn an_invitation_as_outlook_writes_it() {
    let source = "BEGIN:VCALENDAR\nMETHOD:REQUEST\nPRODID:Microsoft Exchange Server 2010\nVERSION:2.0\nBEGIN:VTIMEZONE\nTZID:W. Europe Standard Time\n\
        BEGIN:STANDARD\nDTSTART:16010101T030000\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nRRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10\nEND:STANDARD\n\
        BEGIN:DAYLIGHT\nDTSTART:16010101T020000\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0200\nRRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3\nEND:DAYLIGHT\nEND:VTIMEZONE\n\
        BEGIN:VEVENT\nORGANIZER;CN=\"Weaver, Mary\";SENT-BY=\"mailto:sec@tiny.com\":MAILTO:mary@tiny.com\n\
        ATTENDEE;ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=TRUE;CN=Tom Müller:MAILTO:tom@jumbo.com\n\
        ATTENDEE;ROLE=NON-PARTICIPANT;CUTYPE=ROOM;PARTSTAT=ACCEPTED;RSVP=FALSE;CN=Raum 5:MAILTO:raum5@tiny.com\n\
        DESCRIPTION;LANGUAGE=de-DE:Bitte kommen\\; es gibt Kuchen.\\n\\nMary\\n\nSUMMARY;LANGUAGE=de-DE:Planung\nDTSTART;TZID=W. Europe Standard Time:20260701T090000\n\
        DTEND;TZID=W. Europe Standard Time:20260701T103000\nUID:040000008200E00074C5B7101A82E008\nCLASS:PUBLIC\nPRIORITY:5\nDTSTAMP:20260601T120000Z\n\
        TRANSP:OPAQUE\nSTATUS:CONFIRMED\nSEQUENCE:2\nLOCATION;LANGUAGE=de-DE:Raum 5, Köln\nX-MICROSOFT-CDO-BUSYSTATUS:TENTATIVE\nREQUEST-STATUS:2.0;ok\n\
        BEGIN:VALARM\nDESCRIPTION:REMINDER\nTRIGGER;RELATED=START:-PT15M\nACTION:DISPLAY\nEND:VALARM\nEND:VEVENT\nEND:VCALENDAR\n";
    let (text, losses) = translated(source, Target::VCalendar);
    assert_eq!(
        text,
        "BEGIN:VCALENDAR\nVERSION:1.0\nPRODID:-//cip-relay//cip-relay//EN\nX-CIP-ICAL:METHOD:REQUEST\nBEGIN:VEVENT\n\
         UID:040000008200E00074C5B7101A82E008\nSEQUENCE:3\nDTSTART:20260701T070000Z\nDTEND:20260701T083000Z\n\
         X-CIP-TZID:W. Europe Standard Time\n\
         ATTENDEE;ROLE=OWNER;X-CIP-SENT-BY=sec@tiny.com:\"Weaver, Mary\" <mary@tiny.com>\n\
         ATTENDEE;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8;ROLE=ATTENDEE;STATUS=NEEDS ACTION;RSVP=YES;EXPECT=REQUIRE:=\nTom M=C3=BCller <tom@jumbo.com>\n\
         ATTENDEE;ROLE=ATTENDEE;STATUS=CONFIRMED;RSVP=NO;EXPECT=FYI;TYPE=ROOM:Raum 5 <raum5@tiny.com>\n\
         SUMMARY;LANGUAGE=de-DE:Planung\nCLASS:PUBLIC\nPRIORITY:5\nDTSTAMP:20260601T120000Z\nTRANSP:0\nSTATUS:CONFIRMED\n\
         LOCATION;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8;LANGUAGE=de-DE:Raum 5, K=\n=C3=B6ln\n\
         X-MICROSOFT-CDO-BUSYSTATUS:TENTATIVE\nDALARM;X-CIP-ICAL=YES:20260701T064500Z;;;REMINDER\n\
         DESCRIPTION;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8;LANGUAGE=de-DE:Bitte ko=\nmmen\\; es gibt Kuchen.=0D=0A=0D=0AMary\n\
         X-CIP-ICAL:REQUEST-STATUS:2.0\\;ok\n\
         X-CIP-ICAL;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:BEGIN:VALARM=0D=0ADESCRI=\nPTION:REMINDER=0D=0ATRIGGER\\;RELATED=3DSTART:-PT15M=0D=0AACTION:DISPLAY=0D=\n\
         =0AEND:VALARM\nEND:VEVENT\nEND:VCALENDAR\n"
    );
    assert_eq!(
        losses,
        [
            "METHOD \"REQUEST\": the other format has no word for it; carried as X-CIP-ICAL",
            "REQUEST-STATUS \"2.0;ok\": the other format has no word for it; carried as X-CIP-ICAL",
        ]
    );
    let read = Object::parse(text.into_bytes()).unwrap();
    let event = read.event();
    assert_eq!((read.format(), event.version), (Format::VCalendar, Some(3)));
    assert_eq!(event.summary.as_deref(), Some("Planung"));
    assert_eq!(event.location.as_deref(), Some("Raum 5, Köln"));
    assert_eq!(event.description.as_deref(), Some("Bitte kommen; es gibt Kuchen.\n\nMary"));
    assert_eq!(event.owner.as_ref().and_then(|o| o.name.as_deref()), Some("Weaver, Mary"));
    let tom = Person {
        name: Some("Tom Müller".into()),
        status: Some(PartStat::NeedsAction),
        role: Some(Role::Required),
        rsvp: Some(true),
        ..Person::new(user("tom@jumbo.com"))
    };
    assert_eq!(event.attendees[0], tom);
}

#[test]
fn times_stay_the_instants_or_local_times_that_they_were() {
    for (lines, expected) in [
        ("DTSTART:20260701T090000Z\nDTEND:20260701T100000Z\n", "DTSTART:20260701T090000Z\nDTEND:20260701T100000Z\n"),
        ("DTSTART:20260701T090000\nDURATION:PT90M\n", "DTSTART:20260701T090000\nDTEND:20260701T103000\n"),
        ("DTSTART;VALUE=DATE:20260701\n", "DTSTART:20260701T000000\nDTEND:20260702T000000\n"),
        ("DTSTART;VALUE=DATE:20260701\nDTEND;VALUE=DATE:20260701\n", "DTSTART:20260701T000000\nDTEND:20260702T000000\n"),
        ("DTSTART;VALUE=DATE:20260701\nDTEND;VALUE=DATE:20260704\n", "DTSTART:20260701T000000\nDTEND:20260704T000000\n"),
        ("DTSTART;VALUE=DATE:20260701\nDURATION:P2D\n", "DTSTART:20260701T000000\nDTEND:20260703T000000\n"),
        (
            "DTSTART;TZID=Europe/Berlin:20260701T090000\nDTEND;TZID=Europe/Berlin:20260701T100000\n",
            "DTSTART:20260701T070000Z\nDTEND:20260701T080000Z\nX-CIP-TZID:Europe/Berlin\n",
        ),
        ("DTSTART;TZID=Europe/Berlin:19600101T000000\n", "DTSTART:19591231T230000Z\nX-CIP-TZID:Europe/Berlin\n"),
    ] {
        assert_eq!(event(lines), (expected.to_owned(), Vec::new()), "{lines}");
    }
    let (text, losses) = event("DTSTART;TZID=Europe/Berlin:20260701T090000\nDTEND;TZID=America/New_York:20260701T090000\n");
    assert_eq!(text, "DTSTART:20260701T070000Z\nDTEND:20260701T130000Z\nX-CIP-TZID:Europe/Berlin\n");
    assert_eq!(losses, ["DTEND \"America/New_York\": the zone cannot be said; written as the same instant in Europe/Berlin"]);
    let (text, losses) = event("DTSTART;TZID=Mars/Olympus:20260701T090000\n");
    assert_eq!(text, "DTSTART:20260701T090000\nX-CIP-TZID:Mars/Olympus\n");
    assert_eq!(losses, ["TZID \"Mars/Olympus\": the zone cannot be said; written as local time without a zone"]);
    let (text, losses) = event("DTSTART:soon\nDTEND:20260701T090000Z\nDURATION:P1D\n");
    assert_eq!(text, "DTEND:20260701T090000Z\n");
    assert_eq!(losses, ["DURATION \"P1D\": it contradicts another property; left out", "DTSTART \"soon\": it cannot be read; left out",]);
}

#[test]
fn a_to_do_keeps_dates_that_stand_alone() {
    let (text, losses) = calendar(
        "BEGIN:VTODO\nUID:1\nDUE;VALUE=DATE:20260701\nSTATUS:IN-PROCESS\nPERCENT-COMPLETE:40\nCOMPLETED:20260702T080000Z\nEND:VTODO\n",
    );
    assert!(
        text.ends_with(
            "BEGIN:VTODO\nUID:1\nDUE:20260701\nSTATUS:ACCEPTED\nCOMPLETED:20260702T080000Z\nX-CIP-ICAL:PERCENT-COMPLETE:40\nEND:VTODO\nEND:VCALENDAR\n"
        ),
        "{text}"
    );
    assert_eq!(losses, ["PERCENT-COMPLETE \"40\": the other format has no word for it; carried as X-CIP-ICAL"]);
}

#[test]
fn properties_with_a_place_are_written_there() {
    for (line, expected) in [
        ("SEQUENCE:0", "SEQUENCE:1"),
        ("CREATED:20260101T080000Z", "DCREATED:20260101T080000Z"),
        ("LAST-MODIFIED:20260101T080000Z", "LAST-MODIFIED:20260101T080000Z"),
        ("GEO:52.5;13.4", "GEO:13.4,52.5"),
        ("TRANSP:TRANSPARENT", "TRANSP:1"),
        ("CLASS:confidential", "CLASS:CONFIDENTIAL"),
        ("CATEGORIES:MEETING,Phone\\, call\nCATEGORIES:a\\;b", "CATEGORIES:MEETING;Phone\\, call;a\\;b"),
        ("URL:http://a.com/?a=1;b=2,3", "URL:http://a.com/?a=1;b=2,3"),
        ("RELATED-TO;RELTYPE=CHILD:2@a.com", "RELATED-TO;X-CIP-RELTYPE=CHILD:2@a.com"),
        ("ATTACH;FMTTYPE=text/html:http://a.com/x", "ATTACH;VALUE=URL;X-CIP-FMTTYPE=text/html:http://a.com/x"),
        ("ATTACH:cid:part1@a.com", "ATTACH;VALUE=CONTENT-ID:<part1@a.com>"),
        ("ATTACH;ENCODING=BASE64;VALUE=BINARY:QUJD", "ATTACH;VALUE=INLINE;ENCODING=BASE64:\n QUJD\n"),
        ("COMMENT:a\\nb", "COMMENT;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:a=0D=0Ab"),
        ("X-FOO;X-BAR=1:a\\, b", "X-FOO;X-BAR=1:a, b"),
        ("X-CIP-RCPT:mary@tiny.com", "X-CIP-RCPT:mary@tiny.com"),
        ("X-CIP-TRACE:a.com;20260101T000000Z;SENDEVENT;1", "X-CIP-TRACE:a.com;20260101T000000Z;SENDEVENT;1"),
        ("TRANSP:TRANSPARENT\nX-CIP-VCAL:TRANSP:3", "TRANSP:3"),
        ("X-CIP-VCAL:RESOURCEKIND:a\\;b", "RESOURCEKIND:a;b"),
        // Words that iCalendar does not have; no others.
        ("X-CIP-VCAL:STATUS:NEEDS ACTION\nX-CIP-VCAL:GEO:37.24\nX-CIP-VCAL:PRIORITY:high", "STATUS:NEEDS ACTION\nGEO:37.24\nPRIORITY:high"),
        (
            "ORGANIZER:mailto:a@b.com\nATTENDEE;PARTSTAT=ACCEPTED:mailto:A@b.com",
            "ATTENDEE;ROLE=OWNER:a@b.com\nATTENDEE;ROLE=ATTENDEE;STATUS=CONFIRMED:A@b.com",
        ),
        ("ATTENDEE;ROLE=CHAIR:mailto:a@b.com", "ATTENDEE;ROLE=ATTENDEE;EXPECT=REQUIRE;X-CIP-ROLE=CHAIR:a@b.com"),
        (
            "ATTENDEE;PARTSTAT=DELEGATED;DELEGATED-TO=\"mailto:c@d.com\",\"mailto:e@f.com\":mailto:a@b.com\nATTENDEE:mailto:e@f.com",
            "ATTENDEE;ROLE=ATTENDEE;STATUS=DELEGATED;X-CIP-DELEGATED-TO=\"c@d.com,e@f.com\":a@b.com\nATTENDEE;ROLE=ATTENDEE:e@f.com\nATTENDEE;ROLE=DELEGATE:c@d.com",
        ),
        ("ATTENDEE;PARTSTAT=NEEDS-ACTION;X-CIP-STATUS=SENT:mailto:a@b.com", "ATTENDEE;ROLE=ATTENDEE;STATUS=SENT:a@b.com"),
        (
            "ATTENDEE;ROLE=REQ-PARTICIPANT;X-CIP-EXPECT=IMMEDIATE;X-CIP-ROLE=DELEGATE:mailto:a@b.com",
            "ATTENDEE;ROLE=DELEGATE;EXPECT=IMMEDIATE:a@b.com",
        ),
        (
            "ATTENDEE;X-CIP-ROLE=OWNER;PARTSTAT=ACCEPTED;X-CIP-STATUS=DECLINED:mailto:a@b.com",
            "ATTENDEE;ROLE=ATTENDEE;STATUS=CONFIRMED:a@b.com",
        ),
        ("ATTENDEE;CN=Board;CUTYPE=GROUP:urn:uuid:7", "ATTENDEE;ROLE=ATTENDEE;TYPE=GROUP;CN=Board;VALUE=URL:urn:uuid:7"),
    ] {
        assert_eq!(event(&format!("{line}\n")), (format!("{expected}\n"), Vec::new()), "{line}");
    }
    for (line, expected, unused) in [
        (
            "CLASS:PUBLIC\nX-CIP-VCAL:STATUS:CANCELLED\nX-CIP-VCAL:CLASS:PRIVATE\nX-CIP-VCAL:PRIORITY:1",
            "CLASS:PUBLIC",
            &["STATUS:CANCELLED", "CLASS:PRIVATE", "PRIORITY:1"][..],
        ),
        // A rule that iCalendar could not have, of an event without a start.
        ("X-CIP-VCAL:RRULE:MP1 1+ MO #4\nX-CIP-VCAL:RRULE:soon", "RRULE:MP1 1+ MO #4", &["RRULE:soon"][..]),
    ] {
        let losses = unused.iter().map(|u| format!("X-CIP-VCAL \"{u}\": it contradicts another property; left out")).collect();
        assert_eq!(event(&format!("{line}\n")), (format!("{expected}\n"), losses), "{line}");
    }
}

#[test]
fn what_has_no_place_is_listed() {
    let none = "the other format has no word for it";
    for (line, expected, loss) in [
        ("CONTACT:Jim\\, 555", "X-CIP-ICAL:CONTACT:Jim\\\\, 555", format!("CONTACT \"Jim\\, 555\": {none}; carried as X-CIP-ICAL")),
        ("STATUS:DRAFT", "X-CIP-ICAL:STATUS:DRAFT", format!("STATUS \"DRAFT\": {none}; carried as X-CIP-ICAL")),
        ("CLASS:X-SECRET", "X-CIP-ICAL:CLASS:X-SECRET", format!("CLASS \"X-SECRET\": {none}; carried as X-CIP-ICAL")),
        ("SUMMARY;ALTREP=\"cid:1\":a", "SUMMARY:a", format!("SUMMARY \"X-CIP-ALTREP=cid:1\": {none}; left out")),
        ("SEQUENCE:many", "", "SEQUENCE \"many\": it cannot be read; left out".to_owned()),
        (
            "X-LOC;VALUE=URI;X-TITLE=\"a;b\":geo:1,2",
            "X-CIP-ICAL:X-LOC\\;VALUE=URI\\;X-TITLE=\"a\\;b\":geo:1,2",
            format!("X-LOC \"geo:1,2\": {none}; carried as X-CIP-ICAL"),
        ),
        (
            "ATTENDEE;EMAIL=a@b.com;CN=A:/principals/1/",
            "ATTENDEE;ROLE=ATTENDEE:A <a@b.com>",
            format!("ATTENDEE \"/principals/1/\": {none}; written as a@b.com"),
        ),
        (
            "ATTENDEE;PARTSTAT=IN-PROCESS:mailto:a@b.com",
            "ATTENDEE;ROLE=ATTENDEE;STATUS=CONFIRMED:a@b.com",
            format!("ATTENDEE \"PARTSTAT=IN-PROCESS\": {none}; written as CONFIRMED"),
        ),
        ("X-CIP-SERIES:2;20260101", "", "X-CIP-SERIES \"2;20260101\": it contradicts another property; left out".to_owned()),
    ] {
        let expected = if expected.is_empty() { String::new() } else { format!("{expected}\n") };
        assert_eq!(event(&format!("{line}\n")), (expected, vec![loss]), "{line}");
    }
}

#[test]
fn exceptions_become_events_of_their_own() {
    let (text, losses) = calendar(
        "BEGIN:VEVENT\nUID:23@a.com\nDTSTART:20260101T090000Z\nRDATE:20260102T090000Z,20260103T090000Z,20260104T090000Z\nEXDATE:20260104T090000Z\nEND:VEVENT\n\
         BEGIN:VEVENT\nUID:23@a.com\nRECURRENCE-ID:20260102T090000Z\nDTSTART:20260102T110000Z\nSEQUENCE:1\nEND:VEVENT\n\
         BEGIN:VEVENT\nUID:23@a.com\nRECURRENCE-ID:20260103T090000Z\nDTSTART:20260103T090000Z\nSEQUENCE:2\nSTATUS:CANCELLED\nDTSTAMP:20250101T000000Z\nEND:VEVENT\n",
    );
    assert_eq!(
        text.split_once("EN\n").unwrap().1,
        "BEGIN:VEVENT\nUID:23@a.com\nDTSTART:20260101T090000Z\nRDATE:20260102T090000Z;20260103T090000Z;20260104T090000Z\n\
         EXDATE:20260104T090000Z;20260102T090000Z;20260103T090000Z\nX-CIP-CANCELLED:20260103T090000Z;2;20250101T000000Z\nEND:VEVENT\n\
         BEGIN:VEVENT\nUID:23.20260102T090000Z@a.com\nX-CIP-SERIES:23@a.com;20260102T090000Z\nSEQUENCE:2\nDTSTART:20260102T110000Z\nEND:VEVENT\nEND:VCALENDAR\n"
    );
    assert_eq!(losses, ["RECURRENCE-ID \"20260103T090000Z\": the other format has no word for it; written as EXDATE in the series"]);
    let (text, losses) = calendar(
        "BEGIN:VEVENT\nUID:no at; all\nRECURRENCE-ID;RANGE=THISANDFUTURE;VALUE=DATE:20260102\nDTSTART;VALUE=DATE:20260103\nEND:VEVENT\n",
    );
    assert!(text.contains("UID:no at\\; all.20260102\nX-CIP-SERIES;X-CIP-RANGE=THISANDFUTURE:no at\\; all;20260102\n"), "{text}");
    assert_eq!(losses, ["RECURRENCE-ID \"RANGE=THISANDFUTURE\": the other format has no word for it; written as that instance alone"]);
    let (text, losses) = calendar(
        "METHOD:REPLY\nBEGIN:VEVENT\nUID:1\nRECURRENCE-ID:20260102T090000Z\nATTENDEE;PARTSTAT=DECLINED:mailto:a@b.com\nEND:VEVENT\n",
    );
    assert!(text.contains("UID:1\nRECURRENCE-ID:20260102T090000Z\nATTENDEE;ROLE=ATTENDEE;STATUS=DECLINED:a@b.com\n"), "{text}");
    assert_eq!(losses.len(), 1);
}

#[test]
fn a_rule_in_an_exception_makes_no_series() {
    let source = "BEGIN:VEVENT\nUID:1@a.com\nDTSTART:20260101T090000Z\nRRULE:FREQ=DAILY;COUNT=3\nDTSTAMP:20250101T000000Z\nEND:VEVENT\n\
        BEGIN:VEVENT\nUID:1@a.com\nRECURRENCE-ID:20260102T090000Z\nDTSTART:20260102T110000Z\nRRULE:FREQ=DAILY;COUNT=30\nRDATE:20270101T000000Z\n\
        DTSTAMP:20250101T000000Z\nEND:VEVENT\n";
    let (text, losses) = calendar(source);
    let (_, exception) = text.split_once("X-CIP-SERIES").unwrap();
    assert!(exception.contains("X-CIP-ICAL:RRULE:FREQ=DAILY\\;COUNT=30\n") && !exception.contains("\nRRULE"), "{text}");
    assert_eq!(
        losses,
        [
            "RRULE \"FREQ=DAILY;COUNT=30\": it contradicts another property; carried as X-CIP-ICAL",
            "RDATE \"20270101T000000Z\": it contradicts another property; left out"
        ]
    );
    let (back, losses) = translated(&text, Target::ICalendar);
    assert_eq!(losses, Vec::<String>::new());
    assert!(back.contains("DTSTART:20260102T110000Z\nRRULE:FREQ=DAILY;COUNT=30\n"), "{back}");
    assert_eq!(translated(&back, Target::VCalendar).0, text);
    // An exception without a start takes place when its series says.
    let (text, _) = calendar(&source.replace("DTSTART:20260102T110000Z\n", ""));
    assert!(text.contains("X-CIP-SERIES:1@a.com;20260102T090000Z\nDTSTART:20260102T090000Z\n"), "{text}");
}

#[test]
fn what_a_cancelled_instance_said_beyond_its_series_is_listed() {
    let person = |name: &str| format!("ATTENDEE:mailto:{name}@a.com\n");
    let (text, losses) = calendar(&format!(
        "BEGIN:VEVENT\nUID:1@a.com\nORGANIZER;CN=O:mailto:o@a.com\n{}DTSTART:20260101T090000Z\nRRULE:FREQ=DAILY;COUNT=3\nDTSTAMP:20250101T000000Z\nEND:VEVENT\n\
         BEGIN:VEVENT\nUID:1@a.com\nRECURRENCE-ID:20260102T090000Z\nORGANIZER:mailto:o@a.com\n{}{}STATUS:CANCELLED\nDTSTAMP:20250102T000000Z\nEND:VEVENT\n",
        person("a"),
        person("a"),
        person("b")
    ));
    assert_eq!(
        losses,
        [
            "RECURRENCE-ID \"20260102T090000Z\": the other format has no word for it; written as EXDATE in the series",
            "ATTENDEE \"mailto:b@a.com\": the other format has no word for it; left out",
        ]
    );
    let (back, _) = translated(&text, Target::ICalendar);
    let (_, cancelled) = back.split_once("RECURRENCE-ID:20260102T090000Z\n").unwrap();
    assert!(cancelled.contains("ORGANIZER:mailto:o@a.com\nSTATUS:CANCELLED\n"), "{back}");
}

#[test]
fn alarms_of_each_kind_once_and_the_rest_carried() {
    let (text, losses) = event(
        "DTSTART:20260701T090000Z\nDTEND:20260701T100000Z\nBEGIN:VALARM\nACTION:AUDIO\nTRIGGER;RELATED=END:PT5M\nREPEAT:2\nDURATION:PT5M\n\
         ATTACH:file:///beep.wav\nEND:VALARM\nBEGIN:VALARM\nACTION:DISPLAY\nTRIGGER;VALUE=DATE-TIME:20260701T080000Z\nDESCRIPTION:Soon\\; go\nEND:VALARM\n\
         BEGIN:VALARM\nACTION:DISPLAY\nTRIGGER:-PT1M\nDESCRIPTION:Now\nEND:VALARM\n",
    );
    assert_eq!(
        text,
        "DTSTART:20260701T090000Z\nDTEND:20260701T100000Z\nAALARM;X-CIP-ICAL=YES;VALUE=URL:20260701T100500Z;PT5M;2;file:///beep.wav\n\
         DALARM:20260701T080000Z;;;Soon\\; go\n\
         X-CIP-ICAL;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:BEGIN:VALARM=0D=0AACTION=\n:AUDIO=0D=0ATRIGGER\\;RELATED=3DEND:PT5M=0D=0AREPEAT:2=0D=0ADURATION:PT5M=0D=\n\
         =0AATTACH:file:///beep.wav=0D=0AEND:VALARM\n\
         X-CIP-ICAL;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:BEGIN:VALARM=0D=0AACTION=\n:DISPLAY=0D=0ATRIGGER:-PT1M=0D=0ADESCRIPTION:Now=0D=0AEND:VALARM\n"
    );
    assert_eq!(losses, ["VALARM \"-PT1M\": the other format takes only one; carried as X-CIP-ICAL"]);
}

#[test]
fn sounds_keep_their_kind() {
    for (lines, expected) in [
        ("ATTACH;FMTTYPE=audio/wav:file:///beep.wav\n", "AALARM;TYPE=WAVE;VALUE=URL:20260701T080000Z;;;file:///beep.wav\n"),
        ("X-CIP-CONTENT;TYPE=X-EPOCSOUND:Rings\\; twice\n", "AALARM;TYPE=X-EPOCSOUND:20260701T080000Z;;;Rings\\; twice\n"),
        ("", "AALARM:20260701T080000Z;;;\n"),
    ] {
        let alarm = format!("BEGIN:VALARM\nACTION:AUDIO\nTRIGGER;VALUE=DATE-TIME:20260701T080000Z\n{lines}END:VALARM\n");
        let (text, losses) = event(&format!("DTSTART:20260701T090000Z\n{alarm}"));
        assert_eq!((text, losses), (format!("DTSTART:20260701T090000Z\n{expected}"), Vec::new()));
    }
}

#[test]
fn what_holds_neither_events_nor_to_dos_is_refused() {
    let refused = |inner: &str| {
        let text = format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{inner}END:VCALENDAR\r\n");
        translate(text.into_bytes(), Target::VCalendar, &options()).unwrap_err().to_string()
    };
    for (inner, what) in [
        ("BEGIN:VJOURNAL\r\nUID:1\r\nEND:VJOURNAL\r\n", "a journal entry"),
        ("BEGIN:VFREEBUSY\r\nUID:1\r\nEND:VFREEBUSY\r\n", "free/busy times"),
        ("", "a calendar without events and to-dos"),
    ] {
        assert_eq!(refused(inner), format!("{what}, which vCalendar 1.0 cannot say: it has events and to-dos alone"));
    }
    let (text, losses) = calendar("X-WR-CALNAME:Work\nBEGIN:VJOURNAL\nUID:1\nEND:VJOURNAL\nBEGIN:VEVENT\nSUMMARY:no uid\nEND:VEVENT\n");
    assert!(text.ends_with("X-WR-CALNAME:Work\nBEGIN:VEVENT\nSUMMARY:no uid\nEND:VEVENT\nEND:VCALENDAR\n"), "{text}");
    assert_eq!(losses, ["VJOURNAL \"\": the other format has no word for it; left out"]);
}

#[test]
fn a_soft_break_at_the_end_takes_in_no_further_line() {
    let (text, _) = event("X-CIP-VCAL:NOTE\\;ENCODING=QUOTED-PRINTABLE:a=3D=\n");
    assert_eq!(text, "NOTE;ENCODING=QUOTED-PRINTABLE:a=3D\n");
}

#[test]
fn an_organizers_object_has_a_version_whatever_its_sequence_says() {
    for sequence in ["", "SEQUENCE:soon\n", "SEQUENCE:0\n"] {
        let (text, _) = calendar(&format!("METHOD:REQUEST\nBEGIN:VEVENT\nUID:1\n{sequence}END:VEVENT\n"));
        assert!(text.contains("UID:1\nSEQUENCE:1\n"), "{text}");
    }
    // A METHOD that stands in a zone is nobody's.
    let (text, _) = calendar("BEGIN:VTIMEZONE\nMETHOD:REQUEST\nTZID:z\nEND:VTIMEZONE\nBEGIN:VEVENT\nUID:1\nEND:VEVENT\n");
    assert!(!text.contains("SEQUENCE"), "{text}");
}

#[test]
fn of_several_organizers_the_one_with_an_address_comes_first() {
    let (text, _) = event("ORGANIZER:Tom\nORGANIZER:mailto:a@b.com\nATTENDEE;DELEGATED-TO=\"mailto:d@b.com\"x:mailto:c@b.com\n");
    let people: Vec<&str> = text.lines().collect();
    assert_eq!(people[0], "ATTENDEE;ROLE=OWNER:a@b.com");
    assert_eq!(people[2..], ["ATTENDEE;ROLE=ATTENDEE;X-CIP-DELEGATED-TO=\"'mailto:d@b.com'x\":c@b.com", "ATTENDEE;ROLE=DELEGATE:d@b.com"]);
}

#[test]
fn hostile_values_start_no_line() {
    let (text, _) = event(
        "SUMMARY:a\\nEND:VEVENT\\nBEGIN:VEVENT\nX-A:x\\nATTENDEE:m@b.com\nCOLOR:\\nUID:2\nATTENDEE;CN=\"a\\nUID:3\":mailto:a@b.com\nURL:http://a\\n\n\
         CATEGORIES:a\\nUID:4,b\nX-CIP-VCAL:ATTENDEE:evil@b.com\nX-CIP-VCAL:FOO:a\\nUID:5\n",
    );
    assert!(text.lines().all(|l| !l.starts_with("UID") && !l.starts_with("END") && !l.starts_with("BEGIN")), "{text}");
    assert_eq!(text.lines().filter(|l| l.starts_with("ATTENDEE")).count(), 1);
}
