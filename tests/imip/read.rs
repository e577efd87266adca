//! What is read from ordinary and odd mail.

use cip_relay::calendar::event::{Method, Trace};
use cip_relay::imip::read::{self, CalendarPart, ReadError};
use cip_relay::mime::MimeError;

use super::{OBJECT, user};

fn part(fields: &str, body: &str) -> Vec<u8> {
    format!("From: a@b.c\r\n{fields}\r\n{body}").into_bytes()
}

fn calendar(raw: &[u8]) -> Result<Option<CalendarPart>, ReadError> {
    read::read(raw).map(|incoming| incoming.calendar)
}

#[test]
fn a_mail_as_gmail_shapes_it() {
    let incoming = read::read(include_bytes!("../fixtures/nested-request.eml")).unwrap();
    assert_eq!(incoming.from, [user("mary@tiny.com")]);
    assert_eq!(incoming.from_name.as_deref(), Some("M\u{e1}ry Weaver"));
    assert_eq!(incoming.sender, Some(user("calendar@mailer.tiny.com")));
    assert_eq!(incoming.subject.as_deref(), Some("Einladung: Caf\u{e9} um acht"));
    assert_eq!(incoming.message_id.as_deref(), Some("request-1@mailer.tiny.com"));
    assert_eq!((incoming.received, incoming.automatic, incoming.winmail), (2, false, false));
    assert_eq!(incoming.text.as_deref(), Some("Komm ins Caf\u{e9}."));
    let trace = |s: &str, v: &str| Trace { server: s.into(), time: "2026-11-22T15:44:00.000Z".into(), verb: v.into(), version: "1".into() };
    assert_eq!(incoming.traces, [trace("tiny.com", "SENDEVENT"), trace("jumbo.com", "RSVP")]);
    let part = incoming.calendar.unwrap();
    assert_eq!((part.method, part.method_param), (Some(Method::Request), Some(Method::Request)));
    let text = String::from_utf8(part.octets).unwrap();
    assert!(text.contains("SUMMARY:Caf\u{e9} um acht\r\n") && !text.replace("\r\n", "").contains('\n'), "{text}");
}

#[test]
fn which_part_is_the_calendar() {
    let object = |method: &str| OBJECT.replace("REQUEST", method);
    let mail = |parts: &[(&str, String)]| {
        let mut mail = String::from("From: a@b.c\r\nContent-Type: multipart/mixed; boundary=\"b b\"\r\n\r\npreamble\r\n");
        for (fields, body) in parts {
            mail.push_str(&format!("--b b \t\r\n{fields}\r\n\r\n{body}\r\n"));
        }
        (mail + "--b b--\r\nepilogue\r\n--b b\r\nContent-Type: text/calendar\r\n\r\nMETHOD:ADD\r\n").into_bytes()
    };
    let ics = "Content-Type: application/ics";
    let cal = "Content-Type: TEXT/Calendar; Charset=\"utf-8\"";
    let file = "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"Meet.ICS\"";
    let named = "Content-Type: text/plain; name*=utf-8''me%20et.ics";
    for (parts, expected) in [
        (vec![(file, object("PUBLISH")), (ics, object("CANCEL")), (cal, object("REQUEST"))], Some(Method::Request)),
        (vec![(file, object("PUBLISH")), (ics, object("CANCEL"))], Some(Method::Cancel)),
        (vec![("Content-Type: image/png", "x".into()), (file, object("PUBLISH"))], Some(Method::Publish)),
        (vec![(named, object("COUNTER"))], Some(Method::Counter)),
        (vec![(cal, object("REPLY")), (cal, object("REQUEST"))], Some(Method::Reply)),
        (vec![(cal, "  \r\n".into()), (cal, object("REFRESH"))], Some(Method::Refresh)),
        (vec![(cal, object("REQUEST").replace("METHOD:REQUEST\r\n", ""))], None),
        (vec![(cal, "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nMETHOD:ADD\r\nEND:VEVENT\r\nmethod;x=\":\" : re\r\n".into())], None),
        (vec![(cal, "BEGIN:VCALENDAR\r\nMET\r\n HOD:REQ\r\n\tUEST\r\nEND:VCALENDAR\r\n".into())], Some(Method::Request)),
    ] {
        let found = calendar(&mail(&parts));
        if parts[0].1.contains("method;x") {
            assert!(matches!(found, Err(ReadError::UnknownMethod(_))), "{found:?}");
            continue;
        }
        assert_eq!(found.unwrap().unwrap().method, expected, "{parts:?}");
    }
    assert_eq!(calendar(&mail(&[("Content-Type: text/plain", "hello".into())])).unwrap(), None);
}

#[test]
fn methods_from_parameter_and_object() {
    let with = |parameter: &str, object: &str| calendar(&part(&format!("Content-Type: text/calendar{parameter}\r\n"), object));
    let without = OBJECT.replace("METHOD:REQUEST\r\n", "");
    let both = |c: Result<Option<CalendarPart>, ReadError>| c.map(|c| c.map(|c| (c.method, c.method_param)).unwrap());
    let request = Some(Method::Request);
    assert_eq!(both(with("; method=request", OBJECT)), Ok((request, request)));
    assert_eq!(both(with("; METHOD=\"REQUEST\"", &without)), Ok((request, request)));
    assert_eq!(both(with("", OBJECT)), Ok((request, None)));
    assert_eq!(both(with("; method=", OBJECT)), Ok((request, None)));
    assert_eq!(both(with("", &without)), Ok((None, None)));
    let error = with("; method=CANCEL", OBJECT).unwrap_err();
    assert_eq!(error, ReadError::MethodsDiffer { parameter: "CANCEL", object: "REQUEST" });
    let words = error.to_string();
    assert!(words.contains("method=CANCEL") && words.contains("METHOD:REQUEST"), "{words}");
    assert_eq!(with("; method=brew", OBJECT), Err(ReadError::UnknownMethod("brew".into())));
}

#[test]
fn charsets_and_encodings() {
    let utf8 = "S:Caf\u{e9}\r\n";
    let unknown = |charset: &str| Err(MimeError::UnknownCharset { part: "text/calendar".into(), charset: charset.into() });
    let malformed = |charset: &str| Err(MimeError::NotInCharset { part: "text/calendar".into(), charset: charset.into() });
    let encoding = |encoding: &str| Err(MimeError::UnknownEncoding { part: "text/calendar".into(), encoding: encoding.into() });
    let utf16: Vec<u8> = std::iter::once(0xfeff).chain("S:Caf\u{e9}".encode_utf16()).flat_map(u16::to_be_bytes).collect();
    let cases: Vec<(&str, &[u8], Result<&str, MimeError>)> = vec![
        ("; charset=utf-8", b"S:Caf\xc3\xa9", Ok(utf8)),
        ("; charset=\"UTF-8\"", b"\xef\xbb\xbfS:Caf\xc3\xa9\n", Ok(utf8)),
        ("", b"S:Caf\xc3\xa9\r\r\n", Ok(utf8)),
        ("", b"S:Caf\xe9\n", Ok(utf8)),
        ("; charset=us-ascii", b"S:Caf\xe9\r", Ok(utf8)),
        ("; charset=iso-8859-15", b"S:Caf\xe9 \xa4", Ok("S:Caf\u{e9} \u{20ac}\r\n")),
        ("; charset=windows-1252", b"S:Caf\xe9", Ok(utf8)),
        ("; charset=utf-16", &utf16, Ok(utf8)),
        ("; charset=utf-7", b"S:Caf+AOk-", unknown("utf-7")),
        ("; charset=x-nobody-knows", b"S:x", unknown("x-nobody-knows")),
        ("; charset=hz-gb-2312", b"S:x", unknown("hz-gb-2312")),
        ("; charset=utf-8", b"S:Caf\xe9", malformed("utf-8")),
        ("\r\nContent-Transfer-Encoding: QUOTED-PRINTABLE", b"S:Ca=\r\nf=c3=A9 \t\r\n", Ok(utf8)),
        ("\r\nContent-Transfer-Encoding: quoted-printable", b"S:=zz=4", Ok("S:=zz=4\r\n")),
        ("\r\nContent-Transfer-Encoding: base64 (so it says)", b"Uzp\r\n!DYWbD\r\nqQ", Ok(utf8)),
        ("\r\nContent-Transfer-Encoding: base64", b"UzpDYWbDqQ==\r\n--\r\nmore", Ok(utf8)),
        ("\r\nContent-Transfer-Encoding: x-uuencode", b"begin 644", encoding("x-uuencode")),
    ];
    for (parameter, body, expected) in cases {
        let raw = [part(&format!("Content-Type: text/calendar{parameter}\r\n"), "").as_slice(), body].concat();
        let found = calendar(&raw).map(|c| String::from_utf8(c.unwrap().octets).unwrap());
        assert_eq!(found, expected.map(str::to_owned).map_err(ReadError::Mime), "{parameter} {}", String::from_utf8_lossy(body));
    }
}

#[test]
fn winmail_is_recognized_by_type_and_by_name() {
    for (fields, expected) in [
        ("Content-Type: application/ms-tnef\r\n", true),
        ("Content-Type: application/octet-stream; name=WinMail.dat\r\n", true),
        ("Content-Disposition: attachment; filename=winmail.dat\r\n", true),
        ("Content-Type: text/plain; name=winmail.dat.txt\r\n", false),
    ] {
        assert_eq!(read::read(&part(fields, "x")).unwrap().winmail, expected, "{fields}");
    }
}

#[test]
fn automatic_mail_says_so() {
    for (field, expected) in [
        ("", false),
        ("Auto-Submitted: no\r\n", false),
        ("Auto-Submitted: No; by=person\r\n", false),
        ("Auto-Submitted: auto-replied (vacation)\r\n", true),
        ("auto-submitted: auto-generated\r\n", true),
    ] {
        assert_eq!(read::read(&part(field, "x")).unwrap().automatic, expected, "{field}");
    }
}

#[test]
fn people_in_from_and_sender() {
    for (from, expected, name) in [
        ("Mary <Mary@Tiny.com>", vec!["Mary@Tiny.com"], Some("Mary")),
        ("a@b.c, \"D, E\" <d@e.f>", vec!["a@b.c", "d@e.f"], None),
        ("friends: a@b.c, d@e.f;", vec!["a@b.c", "d@e.f"], None),
        ("\"mary weaver\" <\"mary weaver\"@tiny.com>", vec!["\"mary weaver\"@tiny.com"], Some("mary weaver")),
        ("nobody", vec![], None),
        ("<>", vec![], None),
    ] {
        let incoming = read::read(format!("From: {from}\r\nSender: s@t.u\r\n\r\nx").as_bytes()).unwrap();
        assert_eq!(incoming.from.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{from}");
        assert_eq!(incoming.from_name.as_deref(), name, "{from}");
        assert_eq!(incoming.sender, Some(user("s@t.u")));
    }
}

#[test]
fn a_human_answer_is_kept_within_its_bound() {
    let long = "\u{e9}".repeat(read::MAX_TEXT);
    let incoming = read::read(&part("Content-Type: text/plain; charset=utf-8\r\n", &long)).unwrap();
    assert_eq!(incoming.text.unwrap().len(), read::MAX_TEXT);
    let attached = part("Content-Type: text/plain\r\nContent-Disposition: attachment\r\n", "x");
    assert_eq!(read::read(&attached).unwrap().text, None);
}

/// Fields of the header alone, unfolded, in any case, and of a message that nothing else can be read of.
#[test]
fn header_values_are_found_whatever_else_is_wrong() {
    let message =
        b"\r\nFrom x Sat Nov 22\r\nFrom: a@b\r\nFrom: c@d\r\nX-CIP-Trace: a.org;t;MAIL;\r\nno field at all\r\n folded nowhere\r\n\
        x-cip-TRACE :\tb.org;\r\n\tt;MAIL;\r\nX-CIP-Traces: no\r\nX-CIP-Trace: c.org;t;SENDEVENT;2\r\n\r\nX-CIP-Trace: d.org;t;MAIL;\r\n";
    let values = |most| cip_relay::mime::header_values(message, "X-CIP-Trace", most);
    assert_eq!(values(9), ["a.org;t;MAIL;", "b.org; t;MAIL;", "c.org;t;SENDEVENT;2"]);
    assert_eq!(values(2), ["a.org;t;MAIL;", "b.org; t;MAIL;"]);
    assert!(cip_relay::mime::header_values(b"", "From", 1).is_empty());
    assert!(read::read(message).is_err());
    let servers: Vec<_> = read::traces(message).into_iter().map(|t| (t.server, t.version)).collect();
    assert_eq!(servers, [("a.org", ""), ("b.org", ""), ("c.org", "2")].map(|(s, v)| (s.to_owned(), v.to_owned())));
}
