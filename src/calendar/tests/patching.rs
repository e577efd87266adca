//! Patches change what they name and nothing else.

use proptest::prelude::*;

use super::dialect::PARTY;
use super::*;
use crate::calendar::compose::MailJob;
use crate::calendar::event::{Method, Trace};
use crate::calendar::{Patch, crlf as with_crlf};
use crate::ident::EventId;

/// A mail job with nothing special.
pub(crate) fn job() -> MailJob<'static> {
    MailJob {
        method: Method::Request,
        uid: "series@jumbo.com".into(),
        sequence: 3,
        organizer: None,
        addresses: Vec::new(),
        recipient: None,
        only: None,
        drop_attach: false,
        now: crate::clock::Timestamp::parse_rfc3339("2026-11-22T15:44:00Z").unwrap(),
        stand_in: None,
        cancelled: false,
    }
}

fn trace() -> Trace {
    Trace { server: "tiny.com".into(), time: "20261122T154400Z".into(), verb: "SENDEVENT".into(), version: "1".into() }
}

const TRACE: &str = "X-CIP-TRACE:tiny.com;20261122T154400Z;SENDEVENT;1\n";

fn patched(text: &str, patch: &Patch) -> String {
    String::from_utf8(object(text).patched(patch)).unwrap().replace("\r\n", "\n")
}

#[test]
fn lines_are_added_at_the_end_of_a_bare_object() {
    let patch = Patch { add_recipients: vec![user("jen@yip.com")], add_trace: Some(trace()), ..Patch::default() };
    let party = PARTY.trim_start();
    assert_eq!(patched(party, &patch), format!("{party}X-CIP-RCPT:jen@yip.com\n{TRACE}"));
    assert_eq!(patched(party.trim_end(), &patch), format!("{party}X-CIP-RCPT:jen@yip.com\n{TRACE}"), "last line without an end");
    assert_eq!(patched(&format!("{party}\n"), &patch), format!("{party}X-CIP-RCPT:jen@yip.com\n{TRACE}\n"), "blank line after it");
    // Not where a quoted-printable line would swallow them.
    let open = "UID:1\nDESCRIPTION;QUOTED-PRINTABLE:a=\n";
    assert_eq!(patched(open, &patch), format!("UID:1\nX-CIP-RCPT:jen@yip.com\n{TRACE}DESCRIPTION;QUOTED-PRINTABLE:a=\n"));
}

#[test]
fn lines_are_added_inside_the_event() {
    let patch = Patch { add_recipients: vec![user(&format!("{}@yip.com", "j".repeat(70)))], add_trace: Some(trace()), ..Patch::default() };
    for (version, line) in [
        ("1.0", format!("X-CIP-RCPT:{}@yip.com\n", "j".repeat(70))),
        ("2.0", format!("X-CIP-RCPT:{}\n {}@yip.com\n", "j".repeat(64), "j".repeat(6))),
    ] {
        let head = format!("BEGIN:VCALENDAR\nVERSION:{version}\nBEGIN:VEVENT\nUID:1\n");
        let tail = "END:VEVENT\nEND:VCALENDAR\n";
        assert_eq!(patched(&format!("{head}{tail}"), &patch), format!("{head}{line}{TRACE}{tail}"));
        let alarm = "BEGIN:VALARM\nACTION:AUDIO\nEND:VALARM\n";
        assert_eq!(patched(&format!("{head}{alarm}{tail}"), &patch), format!("{head}{line}{TRACE}{alarm}{tail}"));
    }
}

#[test]
fn a_patched_object_reads_back() {
    let patch = Patch { add_recipients: vec![user("jen@yip.com")], add_trace: Some(trace()), ..Patch::default() };
    let again = Object::parse(object(PARTY).patched(&patch)).unwrap();
    assert_eq!(again.event().recipients, [user("jen@yip.com")]);
    assert_eq!(again.event().traces, [trace()]);
    let back = again.patched(&Patch { drop_recipients: true, drop_traces: true, ..Patch::default() });
    assert_eq!(back, crlf(PARTY));
}

#[test]
fn addresses_are_rewritten_in_place() {
    let patch = Patch {
        rewrite: vec![(user("JEN@yip.com"), user("jennifer@new.example.com")), (user("o@a.com"), user("o2@a.com"))],
        ..Patch::default()
    };
    for (line, expected) in [
        ("ATTENDEE: Jen Yip\n<jen@yip.com>", "ATTENDEE: Jen Yip\n<jennifer@new.example.com>"),
        ("attendee ;x=y : Jen@Yip.com ", "attendee ;x=y : jennifer@new.example.com "),
        ("ATTENDEE;CN=jen@yip.com:MAILTO:jen@yip.com", "ATTENDEE;CN=jen@yip.com:MAILTO:jennifer@new.example.com"),
        ("ATTENDEE:Jen <jen@y\nip.com>", "ATTENDEE:Jen <jennifer@new.example.com>"),
        ("ATTENDEE:jen@y\nip.com", "ATTENDEE:jennifer@new.example.com"),
        ("X-CIP-RCPT:<jen@yip.com>", "X-CIP-RCPT:<jennifer@new.example.com>"),
        ("ORGANIZER:o@a.com", "ORGANIZER:o2@a.com"),
        (
            "ATTENDEE;QUOTED-PRINTABLE:J=C3=A9 <jen=40yip.com>",
            "ATTENDEE;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:J=C3=A9 <jennifer@new.exam=\nple.com>",
        ),
        ("ATTENDEE;EMAIL=jen@yip.com;CN=Jen:urn:x", "ATTENDEE;CN=Jen:jennifer@new.example.com"),
        ("ATTENDEE:xjen@yip.com", "ATTENDEE:xjen@yip.com"),
        ("COMMENT:jen@yip.com", "COMMENT:jen@yip.com"),
    ] {
        assert_eq!(patched(&format!("UID:1\n{line}\nSUMMARY:x\n"), &patch), format!("UID:1\n{expected}\nSUMMARY:x\n"), "{line}");
    }
    let line = format!("ATTENDEE;CN={}:mailto:jen@yip.com", "é".repeat(20));
    let text = format!("BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:1\n{line}\nEND:VEVENT\nEND:VCALENDAR\n");
    let folded = format!("ATTENDEE;CN={}:mailto:jennifer@new.ex\n ample.com", "é".repeat(20));
    assert_eq!(patched(&text, &patch), text.replace(&line, &folded));
}

#[test]
fn properties_are_set_in_every_event() {
    let patch = Patch {
        uid: Some(EventId::parse("new@a.com").unwrap()),
        sequence: Some(9),
        cancelled: true,
        method: Some(Method::Cancel),
        drop_attach: true,
        add_attendees: vec![user("m@b.com"), user("n@b.com")],
        ..Patch::default()
    };
    let text = "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:1\nSEQUENCE : 0\nATTENDEE:mailto:m@b.com\nATTACH:http://x\nEND:VEVENT\n\
                BEGIN:VEVENT\nuid:1\nRECURRENCE-ID:20260101\nSTATUS:CONFIRMED\nSTATUS:TENTATIVE\nEND:VEVENT\nEND:VCALENDAR\n";
    let expected = "BEGIN:VCALENDAR\nVERSION:2.0\nMETHOD:CANCEL\nBEGIN:VEVENT\nUID:new@a.com\nSEQUENCE : 9\nATTENDEE:mailto:m@b.com\n\
                    STATUS:CANCELLED\nATTENDEE:mailto:n@b.com\nEND:VEVENT\n\
                    BEGIN:VEVENT\nuid:new@a.com\nRECURRENCE-ID:20260101\nSTATUS:CANCELLED\nSEQUENCE:9\nEND:VEVENT\nEND:VCALENDAR\n";
    assert_eq!(patched(text, &patch), expected);
    // A bare object has no METHOD; the draft's colonless UID becomes a proper one.
    let patch = Patch { uid: patch.uid, method: Some(Method::Cancel), ..Patch::default() };
    assert_eq!(patched("UID old id\nSUMMARY:x\n", &patch), "UID:new@a.com\nSUMMARY:x\n");
}

#[test]
fn line_ends_stay_and_can_be_made_strict() {
    let lf = "UID:1\nSUMMARY:x\n";
    let read = Object::parse(lf.as_bytes().to_vec()).unwrap();
    let patch = Patch { add_recipients: vec![user("m@b.com")], ..Patch::default() };
    assert_eq!(read.patched(&patch), b"UID:1\nSUMMARY:x\nX-CIP-RCPT:m@b.com\n");
    for (text, strict) in [
        ("a\nb\r\n", "a\r\nb\r\n"),
        ("a\r\r\nb", "a\r\nb"),
        ("a\rb\n", "a b\r\n"),
        ("a\r", "a"),
        ("\n\n", "\r\n\r\n"),
        ("a\r\n", "a\r\n"),
        ("", ""),
    ] {
        assert_eq!(String::from_utf8(with_crlf(text.into())).unwrap(), strict, "{text:?}");
    }
}

#[test]
fn the_digest_is_of_the_content() {
    let digest = |text: &str| object(text).digest();
    let base = "UID:1\nSEQUENCE:1\nSUMMARY:party\nATTENDEE;ROLE=OWNER:o@a.com\nATTENDEE:Mary <m@b.com>\n";
    for same in [
        base.to_owned() + "DTSTAMP:19970101T000000Z\n",
        base.to_owned() + TRACE + "X-CIP-RCPT:m@b.com\n",
        base.replace("m@b.com", "mary@new.com"),
        base.replace("SUMMARY:party", "summary : party"),
        base.replace("SUMMARY:party", "SUMMARY:\n party"),
        base.to_owned() + "ATTENDEE:n@b.com\n",
        base.to_owned() + "METHOD:REQUEST\n",
    ] {
        assert_eq!(digest(base), digest(&same), "{same}");
    }
    for other in [
        base.replace("party", "Party"),
        base.replace("SEQUENCE:1", "SEQUENCE:2"),
        base.replace("Mary", "Marie"),
        base.replace("ATTENDEE:Mary", "ATTENDEE;STATUS=DECLINED:Mary"),
        base.to_owned() + "LOCATION:home\n",
    ] {
        assert_ne!(digest(base), digest(&other), "{other}");
    }
}

/// Content lines of many shapes, none of which a patch of recipients and traces touches.
fn lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        "[A-Z]{1,8}(;[A-Z]{1,4}=[a-z\"]{0,5})?:[ -~é]{0,90}",
        "X-[A-Z]{1,6}:[ -~]{0,20}\r\n [ -~]{1,20}",
        "ATTENDEE;ROLE=[A-Z]{1,8}:[a-z]{1,8}@[a-z]{1,8}\\.com",
        "DESCRIPTION;QUOTED-PRINTABLE:[a-z]{0,9}=\r\n[a-z]{0,9}",
        "[ -~]{0,30}",
        Just(String::new()),
    ];
    prop::collection::vec(line, 0..20).prop_map(|l| l.into_iter().map(|l| l + "\r\n").collect())
}

proptest! {
    #![proptest_config(crate::calendar::tests::cases(300))]

    /// Taking out what was put in gives the octets back: no other octet was touched.
    #[test]
    fn untouched_lines_stay_octet_for_octet(lines in lines(), format in 0..3) {
        let text = match format {
            0 => format!("UID:1\r\n{lines}"),
            1 => format!("BEGIN:VCALENDAR\r\nVERSION:1.0\r\nBEGIN:VEVENT\r\nUID:1\r\n{lines}END:VEVENT\r\nEND:VCALENDAR\r\n"),
            _ => format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\n{lines}END:VEVENT\r\nEND:VCALENDAR\r\n"),
        };
        let Ok(read) = Object::parse(text.clone().into_bytes()) else { return Ok(()) };
        let patch = Patch { add_recipients: vec![user("m@b.com")], add_trace: Some(trace()), ..Patch::default() };
        let with = String::from_utf8(read.patched(&patch)).unwrap();
        let added = format!("X-CIP-RCPT:m@b.com\r\n{}", TRACE.replace('\n', "\r\n"));
        prop_assert_eq!(with.replacen(&added, "", 1), text);
        let again = Object::parse(with.into_bytes()).unwrap();
        prop_assert_eq!(&again.event().recipients, &vec![user("m@b.com")]);
        prop_assert_eq!(again.event().traces.len(), 1);
        prop_assert_eq!(again.digest(), read.digest());
        prop_assert_eq!(&again.event().attendees, &read.event().attendees);
    }
}
