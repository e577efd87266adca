//! What is composed reads back as what it was composed from.

use super::*;
use crate::calendar::event::{EventStatus, Format, Moment, PartStat, Person, Role};
use crate::calendar::tests::dialect::PARTY;
use crate::calendar::tests::patching::job;
use crate::calendar::tests::{object, user};
use crate::calendar::{Object, Proposal};
use crate::ident::EventId;

fn composed(text: &str, job: &MailJob<'_>) -> (Object, String, Vec<String>) {
    let composed = icalendar(&object(text), job).unwrap();
    let text = String::from_utf8(composed.octets.clone()).unwrap();
    for line in text.split_inclusive("\r\n") {
        assert!(line.ends_with("\r\n") && !line[..line.len() - 2].contains(['\r', '\n']), "{line:?}");
    }
    let losses = composed.losses.iter().map(ToString::to_string).collect();
    (Object::parse(composed.octets).unwrap(), text.replace("\r\n", "\n"), losses)
}

fn now() -> crate::clock::Timestamp {
    job().now
}

#[test]
fn the_party_of_the_draft_as_an_invitation() {
    let job = MailJob {
        organizer: Some(Organizer { address: user("token@cip.tiny.com"), name: None }),
        recipient: Some(user("jen@yip.com")),
        ..job()
    };
    let (_, text, losses) = composed(PARTY, &job);
    assert_eq!(
        text,
        "BEGIN:VCALENDAR\nPRODID:-//cip-relay//cip-relay//EN\nVERSION:2.0\nMETHOD:REQUEST\nBEGIN:VEVENT\nUID:series@jumbo.com\n\
         DTSTAMP:20261122T154400Z\nDTSTART:19970101T010000Z\nDTEND:19970101T110000Z\n\
         DESCRIPTION:New year's eve party in New York. The Big 2000!\n\
         ORGANIZER;CN=Pete O'Leary:mailto:token@cip.tiny.com\nATTENDEE;CN=Bill Clinton:mailto:president@whitehouse.gov\n\
         ATTENDEE;CN=Jen Yip;RSVP=TRUE;PARTSTAT=NEEDS-ACTION:mailto:jen@yip.com\nSEQUENCE:3\n\
         SUMMARY:New year's eve party in New York. The Big 2000!\nEND:VEVENT\nEND:VCALENDAR\n"
    );
    assert_eq!(losses, Vec::<String>::new());
}

#[test]
fn everything_a_vcalendar_says_is_carried_or_listed() {
    let source = "BEGIN:VCALENDAR\nVERSION:1.0\nPRODID:x\nTZ:+01\nBEGIN:VEVENT\nUID:1@a.com\nSEQUENCE:4\nDTSTART:20260101T090000\nDTEND:20260101T100000\n\
        SUMMARY;QUOTED-PRINTABLE;CHARSET=ISO-8859-1:Gr=F6=DFe, wie; immer\nDESCRIPTION:a\\nb\nLOCATION:Room 1\\; left\nSTATUS:TENTATIVE\nCLASS: Private\n\
        CATEGORIES:MEETING;PHONE CALL\nPRIORITY:1\nURL:http://a.com/?a=1;b=2,3\nGEO:13.4,52.5\nTRANSP:0\nX-A:1;2\nX-CIP-TRACE:a;b;c;d\nRDATE:20260115T090000\nEXDATE:20260108T090000\nRRULE:Z9\n\
        AALARM:20260101T085500;;;\nLAST-MODIFIED:20250101T000000Z\n\
        ATTENDEE;ROLE=OWNER:Tom <tom@a.com>\nATTENDEE;STATUS=ACCEPTED;EXPECT=REQUEST;RSVP=YES:\"Weaver, Mary\" <mary@b.com>\nEND:VEVENT\nEND:VCALENDAR\n";
    let (read, text, losses) = composed(source, &job());
    let rule = losses.iter().find(|l| l.starts_with("RRULE \"Z9"));
    assert!(rule.is_some_and(|l| l.ends_with("it cannot be read; said in DESCRIPTION")), "{losses:?}");
    let event = read.event();
    assert_eq!(event.summary.as_deref(), Some("Größe, wie; immer"));
    assert_eq!(event.location.as_deref(), Some("Room 1; left"));
    assert_eq!(event.status, Some(EventStatus::Tentative));
    assert_eq!(event.description.as_deref(), Some("a\nb\n\nNot shown in your calendar: it repeats by the rule \"Z9\""));
    let mary = &event.attendees[0];
    assert_eq!(
        (mary.name.as_deref(), mary.status, mary.role, mary.rsvp),
        (Some("Weaver, Mary"), Some(PartStat::Accepted), Some(Role::Optional), Some(true))
    );
    let unfolded = text.replace("\n ", "");
    for line in [
        "CLASS:PRIVATE",
        "TRIGGER:-PT5M",
        "ACTION:AUDIO",
        "CATEGORIES:MEETING,PHONE CALL",
        "PRIORITY:1",
        "URL:http://a.com/?a=1;b=2,3",
        "GEO:52.5;13.4",
        "TRANSP:OPAQUE",
        "X-A:1\\;2",
    ] {
        assert!(unfolded.lines().any(|l| l == line), "{line}: {unfolded}");
    }
    assert!(!text.contains("X-CIP-"), "{text}");
    assert_eq!(event.start.as_ref().and_then(Moment::instant).map(crate::calendar::time::basic_utc).as_deref(), Some("20260101T080000Z"));
}

#[test]
fn times_are_written_as_they_were_meant() {
    for (head, times, expected) in [
        ("", "DTSTART:20260101T090000Z\nDTEND:20260101T100000Z", "DTSTART:20260101T090000Z\nDTEND:20260101T100000Z\n"),
        ("", "DTSTART:20260101T0900", "DTSTART:20260101T090000\n"),
        ("", "DTSTART:20260101", "DTSTART;VALUE=DATE:20260101\n"),
        ("", "DTSTART:20260101\nDTEND:20260101", "DTSTART;VALUE=DATE:20260101\n"),
        ("", "DTSTART:20260101\nDTEND:20260103", "DTSTART;VALUE=DATE:20260101\nDTEND;VALUE=DATE:20260103\n"),
        ("", "DTSTART:20260101T000000\nDTEND:20260102T000000", "DTSTART;VALUE=DATE:20260101\nDTEND;VALUE=DATE:20260102\n"),
        ("", "DTSTART:20260101T000000\nDTEND:20260101T235959", "DTSTART;VALUE=DATE:20260101\nDTEND;VALUE=DATE:20260102\n"),
        ("TZ:-05\n", "DTSTART:20260101T000000\nDTEND:20260102T000000", "DTSTART;VALUE=DATE:20260101\nDTEND;VALUE=DATE:20260102\n"),
        ("TZ:-05\n", "DTSTART:20260101T000000Z\nDTEND:20260102T000000Z", "DTSTART:20260101T000000Z\nDTEND:20260102T000000Z\n"),
        ("", "DTSTART:20260101T000000\nDTEND:20260101T000000", "DTSTART:20260101T000000\nDTEND:20260101T000000\n"),
        ("", "DTSTART:19601231T230000Z", "DTSTART:19601231T230000Z\n"),
    ] {
        let text = format!("BEGIN:VCALENDAR\nVERSION:1.0\n{head}BEGIN:VEVENT\nUID:1\n{times}\nEND:VEVENT\nEND:VCALENDAR\n");
        let (_, text, losses) = composed(&text, &job());
        assert!(text.contains(&format!("DTSTAMP:20261122T154400Z\n{expected}SEQUENCE:3\nEND:VEVENT")), "{times}: {text}");
        assert_eq!(losses, Vec::<String>::new(), "{times}");
    }
    let (_, text, losses) = composed("UID:1\nDTSTART:20260102T0900Z\nDTEND:20260101T0900Z\n", &job());
    assert!(!text.contains("DTEND"));
    assert_eq!(losses, ["DTEND \"20260101T0900Z\": it contradicts another property; left out"]);
}

#[test]
fn an_invitation_needs_a_start_that_can_be_read() {
    let ical = "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:1\nEND:VEVENT\nEND:VCALENDAR\n";
    let stand_in = object(PARTY);
    for text in ["UID:1\n", "UID:1\nDTSTART:soon\n", ical] {
        assert_eq!(icalendar(&object(text), &job()).unwrap_err(), ComposeError::NoStart, "{text}");
        let (read, ..) = composed(text, &MailJob { stand_in: Some(stand_in.event()), ..job() });
        assert_eq!(read.event().start.as_ref().and_then(Moment::instant), stand_in.event().start.as_ref().and_then(Moment::instant));
        for method in [Method::Cancel, Method::Reply] {
            assert_eq!(composed(text, &MailJob { method, ..job() }).0.event().method, Some(method));
        }
    }
    let zoned = "UID:1\nDTSTART;TZID=Mars/Olympus:20260101T000000\n";
    let inside = format!("BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\n{zoned}END:VEVENT\nEND:VCALENDAR\n");
    for text in [zoned, &inside] {
        assert_eq!(icalendar(&object(text), &job()).unwrap_err(), ComposeError::UnknownZone("Mars/Olympus".into()));
    }
}

#[test]
fn an_icalendar_object_is_patched_line_by_line() {
    let source = "BEGIN:VCALENDAR\nVERSION:2.0\nX-WR-CALNAME:keep\nBEGIN:VTIMEZONE\nTZID:z\nEND:VTIMEZONE\nBEGIN:VEVENT\nUID:old\nDTSTAMP:20200101T000000Z\n\
        DTSTART;TZID=Europe/Berlin:20260701T090000\nSUMMARY:a\\, b\nORGANIZER;CN=Tom;SENT-BY=\"mailto:s@a.com\";X-P=1:MAILTO:tom@a.com\n\
        ATTENDEE;CN=Ann;PARTSTAT=ACCEPTED:mailto:ann@c.com\nATTENDEE;PARTSTAT=ACCEPTED;CUTYPE=INDIVIDUAL;RSVP=FALSE:MAILTO:mary@b.com\n\
        ATTENDEE;DELEGATED-TO=\"mailto:x@d.com\",\"mailto:y@d.com\":MAILTO:bob@c.com\n\
        X-CIP-RCPT:mary@b.com\nX-CIP-TRACE:a;b;c;d\nX-KEEP:1\nATTACH:http://x\nEND:VEVENT\nEND:VCALENDAR\n";
    let job = MailJob {
        organizer: Some(Organizer { address: user("token@cip.tiny.com"), name: None }),
        addresses: vec![(user("ann@c.com"), user("ann=c.com@gate.tiny.com"))],
        recipient: Some(user("mary@b.com")),
        drop_attach: true,
        ..job()
    };
    let (_, text, losses) = composed(source, &job);
    assert_eq!(
        text,
        "BEGIN:VCALENDAR\nVERSION:2.0\nMETHOD:REQUEST\nX-WR-CALNAME:keep\nBEGIN:VTIMEZONE\nTZID:z\nEND:VTIMEZONE\nBEGIN:VEVENT\nUID:series@jumbo.com\n\
         DTSTAMP:20261122T154400Z\nDTSTART;TZID=Europe/Berlin:20260701T090000\nSUMMARY:a\\, b\nORGANIZER;CN=Tom;X-P=1:mailto:token@cip.tiny.com\n\
         ATTENDEE;CN=Ann;PARTSTAT=ACCEPTED:mailto:ann=c.com@gate.tiny.com\n\
         ATTENDEE;CUTYPE=INDIVIDUAL;RSVP=TRUE;PARTSTAT=NEEDS-ACTION:mailto:mary@b.co\n m\n\
         ATTENDEE;DELEGATED-TO=\"mailto:x@d.com\",\"mailto:y@d.com\":mailto:bob@c.com\n\
         X-KEEP:1\nSEQUENCE:3\nEND:VEVENT\nEND:VCALENDAR\n"
    );
    assert_eq!(losses, ["ATTACH \"http://x\": the sender is not verified; left out"]);
    // A list member is added, the others are left out; a CANCEL asks nobody.
    let job = MailJob { method: Method::Cancel, cancelled: true, recipient: Some(user("guest@d.com")), only: Some(vec![]), ..job };
    let (read, text, _) = composed(source, &job);
    assert_eq!(read.event().attendees, [Person::new(user("guest@d.com"))]);
    assert!(read.event().is_cancelled() && text.contains("\nSTATUS:CANCELLED\n"), "{text}");
}

#[test]
fn octets_that_are_not_utf8_become_utf8() {
    let source = b"BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:1\nDTSTART:20260101\nSUMMARY:Gr\xf6\xdfe\nEND:VEVENT\nEND:VCALENDAR\n";
    let composed = icalendar(&Object::parse(source.to_vec()).unwrap(), &job()).unwrap();
    assert!(String::from_utf8(composed.octets).unwrap().contains("\r\nSUMMARY:Größe\r\n"));
}

#[test]
fn long_lines_are_folded_between_characters() {
    for text in ["é".repeat(300), "a".to_owned() + &"€".repeat(100), "x".repeat(1000), "a\\;,b".repeat(40)] {
        let (read, out, _) = composed(&format!("UID:1\nDTSTART:20260101\nSUMMARY:{}\n", text.replace(';', "\\;")), &job());
        assert!(out.lines().all(|l| l.len() <= 75), "{out}");
        assert_eq!(read.event().summary.as_deref(), Some(text.as_str()));
    }
}

#[test]
fn hostile_values_start_no_line() {
    let source = "UID:1\nDTSTART:20260101\nSUMMARY;QUOTED-PRINTABLE:a=0D=0AMETHOD:CANCEL\nURL;QUOTED-PRINTABLE:http://a=0D=0AEND:VEVENT\n\
                  CLASS;QUOTED-PRINTABLE:a=0Ab\nATTENDEE;QUOTED-PRINTABLE:\"x=0D=0AATTENDEE:y@z.com\" <m@b.com>\nRELATED-TO;QUOTED-PRINTABLE:a=0Ab\n";
    let (read, text, _) = composed(source, &MailJob { uid: "u\r\nSEQUENCE:9".into(), ..job() });
    assert_eq!(read.event().attendees.len(), 1);
    assert_eq!(read.event().sequence, Some(3));
    assert_eq!(read.event().method, Some(Method::Request));
    assert_eq!(text.lines().filter(|l| l.starts_with("END:")).count(), 2, "{text}");
}

#[test]
fn an_rsvp_reads_back() {
    let mary = Person { name: Some("Mary Weaver".into()), status: Some(PartStat::Accepted), ..Person::new(user("mary@tiny.com")) };
    let owner = Person { name: Some("José; x".into()), ..Person::new(user("jose@a.com")) };
    let id = EventId::parse("23@a.com").unwrap();
    let start = Moment::Utc { at: now(), offset_minutes: None };
    let proposal = Proposal { start: Some(start.clone()), ..Proposal::default() };
    let job = RsvpJob {
        event_id: &id,
        version: Some(7),
        response_sequence: 2,
        attendee: &mary,
        owner: Some(&owner),
        comment: Some("a; b\nc é"),
        now: now(),
        recurrence_id: Some("20260701T080000Z"),
        proposal: Some(&proposal),
    };
    let octets = rsvp(&job);
    let text = String::from_utf8(octets.clone()).unwrap();
    assert!(text.contains("\r\nATTENDEE;ROLE=ATTENDEE;STATUS=CONFIRMED:Mary Weaver <mary@tiny.com>\r\n"), "{text}");
    let read = Object::parse(octets).unwrap();
    read.require_rsvp().unwrap();
    let event = read.event();
    assert_eq!((read.format(), &event.uid, event.version, event.response_sequence), (Format::VCalendar, &id, Some(7), Some(2)));
    assert_eq!(event.attendees, std::slice::from_ref(&mary));
    assert_eq!(event.owner.as_ref().map(|o| (o.address.clone(), o.name.clone())), Some((owner.address.clone(), owner.name.clone())));
    assert_eq!(event.comment.as_deref(), Some("a; b\nc é"));
    assert_eq!(
        (event.dtstamp, event.recurrence_id.as_deref(), &event.start),
        (Some(now()), Some("20260701T080000Z"), &Some(start.clone()))
    );

    let delegating = Person { status: Some(PartStat::Delegated), delegated_to: Some(user("ann@tiny.com")), ..mary.clone() };
    let job = RsvpJob { attendee: &delegating, owner: None, comment: None, recurrence_id: None, proposal: None, ..job };
    let read = Object::parse(rsvp(&job)).unwrap();
    assert_eq!(read.answers().len(), 1);
    assert_eq!(read.event().attendees[1].address, user("ann@tiny.com"));
}

#[test]
fn a_reply_reads_back() {
    let mary = Person { name: Some("Weaver, Mary".into()), status: Some(PartStat::Tentative), ..Person::new(user("mary@tiny.com")) };
    let tom = Person::new(user("tom@jumbo.com"));
    let party = object(PARTY);
    let job = ReplyJob {
        method: Method::Reply,
        proposal: None,
        uid: "040000008200E00074C5B7101A82E008@x",
        sequence: 0,
        response_sequence: None,
        recurrence_id: Some("20260701"),
        organizer: &tom,
        attendee: &mary,
        event: Some(party.event()),
        comment: Some("late, sorry"),
        now: now(),
    };
    let octets = reply(&job);
    let read = Object::parse(octets.clone()).unwrap();
    let event = read.event();
    assert_eq!(
        (read.format(), event.method, event.uid.as_str(), event.version),
        (Format::ICalendar, Some(Method::Reply), job.uid, Some(1))
    );
    assert_eq!((event.owner.as_ref(), &event.attendees), (Some(&tom), &vec![mary.clone()]));
    assert_eq!(event.comment.as_deref(), Some("late, sorry"));
    assert_eq!(event.recurrence_id.as_deref(), Some("20260701"));
    assert_eq!(event.start.as_ref().and_then(Moment::instant), party.event().start.as_ref().and_then(Moment::instant));
    assert_eq!(read.problems(), Vec::<String>::new());
    assert!(octets.windows(2).filter(|w| w[1] == b'\n').all(|w| w[0] == b'\r'));
}
