//! Mail made to hurt: each case has its exact answer, and a bound on the work that holds by construction (the sizes here
//! take minutes or the stack where that bound is missing).

use std::time::{Duration, Instant};

use cip_relay::imip::read::{self, ReadError};
use cip_relay::mime::{self, MAX_DEPTH, MAX_FIELDS, MAX_PARAMETERS, MAX_PARTS, MimeError};

use super::OBJECT;

/// Generous for a debug build on a busy machine; the attacks take far longer.
const LIMIT: Duration = Duration::from_secs(5);

fn read_in_time(raw: &[u8]) -> Result<read::Incoming, ReadError> {
    let start = Instant::now();
    let result = read::read(raw);
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
    result
}

fn nested_multiparts(levels: usize) -> String {
    let mut mail = String::from("From: a@b.c\r\n");
    for i in 0..levels {
        mail.push_str(&format!("Content-Type: multipart/mixed; boundary=b{i}\r\n\r\n--b{i}\r\n"));
    }
    mail + "Content-Type: text/calendar\r\n\r\n" + OBJECT
}

fn with_header(fields: &str) -> Vec<u8> {
    format!("From: a@b.c\r\n{fields}\r\n{OBJECT}").into_bytes()
}

#[test]
fn bounds_and_their_words() {
    let parts = |n: usize| format!("From: a@b.c\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--b\r\n\r\nx\r\n".repeat(n));
    let parameters = |n: usize| with_header(&format!("Content-Type: text/calendar{}\r\n", "; a=b".repeat(n)));
    let fields = |n: usize| with_header(&"X: y\r\n".repeat(n - 1));
    let cases: Vec<(&str, Vec<u8>, Option<MimeError>)> = vec![
        ("depth", nested_multiparts(MAX_DEPTH).into(), None),
        ("too deep", nested_multiparts(MAX_DEPTH + 1).into(), Some(MimeError::TooDeep)),
        ("far too deep", nested_multiparts(20_000).into(), Some(MimeError::TooDeep)),
        ("parts", parts(MAX_PARTS - 1).into(), None),
        ("too many parts", parts(MAX_PARTS).into(), Some(MimeError::TooManyParts)),
        ("far too many parts", parts(500_000).into(), Some(MimeError::TooManyParts)),
        ("fields", fields(MAX_FIELDS), None),
        ("too many fields", fields(MAX_FIELDS + 1), Some(MimeError::TooManyFields)),
        ("parameters", parameters(MAX_PARAMETERS), None),
        ("too many parameters", parameters(MAX_PARAMETERS + 1), Some(MimeError::TooManyParameters("Content-Type".into()))),
        (
            "folded parameters",
            with_header(&format!("Content-Type: a/b{}\r\n", ";\r\n a*0*=b".repeat(500_000))),
            Some(MimeError::TooManyParameters("Content-Type".into())),
        ),
        ("one long field", with_header(&format!("X: {}\r\n", "y".repeat(6 << 20))), Some(MimeError::HeaderTooLong)),
        ("a header without end", with_header(&format!("X: y\r\n{}", " z\r\n".repeat(1 << 20))), Some(MimeError::HeaderTooLong)),
        ("two From fields", with_header("from: d@e.f\r\n"), Some(MimeError::Twice("From"))),
        ("two Sender fields", with_header("Sender: a@b.c\r\nSender : d@e.f\r\n"), Some(MimeError::Twice("Sender"))),
        ("nothing", Vec::new(), Some(MimeError::NoHeader)),
        ("only line ends", b"\r\n\r\n\r\n".to_vec(), Some(MimeError::NoHeader)),
        ("no field", b"hello\r\nthere\r\n".to_vec(), Some(MimeError::NoHeader)),
    ];
    for (name, raw, expected) in cases {
        assert_eq!(read_in_time(&raw).err(), expected.map(ReadError::Mime), "{name}");
    }
}

#[test]
fn header_blocks_of_many_parts_share_one_allowance() {
    let part = format!("--b\r\nX: {}\r\n\r\n\r\n", "y".repeat(200 << 10));
    let mail = |n: usize| format!("From: a@b.c\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{}", part.repeat(n));
    assert!(read_in_time(mail(5).as_bytes()).is_ok());
    assert_eq!(read_in_time(mail(6).as_bytes()), Err(ReadError::Mime(MimeError::HeaderTooLong)));
}

#[test]
fn messages_within_messages_are_not_entered() {
    for depth in [1, 3, 50_000] {
        let mail =
            format!("From: a@b.c\r\n{}Content-Type: text/calendar\r\n\r\n{OBJECT}", "Content-Type: message/rfc822\r\n\r\n".repeat(depth));
        let incoming = read_in_time(mail.as_bytes()).unwrap();
        assert_eq!(incoming.calendar, None, "{depth}");
        assert_eq!(mime::parse(mail.as_bytes()).unwrap().parts.len(), 1);
    }
}

#[test]
fn multiparts_whose_boundary_never_comes_cost_nothing_extra() {
    let mut mail = String::from("From: a@b.c\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n");
    for i in 0..MAX_PARTS - 1 {
        mail.push_str(&format!("--b\r\nContent-Type: multipart/mixed; boundary=never{i}\r\n\r\n{}\r\n", "-".repeat(10_000)));
    }
    assert_eq!(read_in_time(mail.as_bytes()).unwrap().calendar, None);
}

#[test]
fn big_bodies_in_every_encoding() {
    for encoding in ["base64", "quoted-printable", "8bit"] {
        for filler in ["=", "A", "=\r\n", "\r", "\n ", "=3D"] {
            let body = filler.repeat((1 << 20) / filler.len());
            let mail =
                format!("From: a@b.c\r\nContent-Type: text/calendar; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}");
            let incoming = read_in_time(mail.as_bytes());
            assert!(incoming.is_ok(), "{encoding} {filler:?} {:?}", incoming.err());
        }
    }
}

#[test]
fn what_hides_behind_a_line_of_blanks_is_still_seen() {
    // To mail-parser alone the header ends at such a line, to other readers it goes on.
    let mail = format!("Subject: x\r\n \t\r\nFrom: a@b.c\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\n{OBJECT}");
    let incoming = read_in_time(mail.as_bytes()).unwrap();
    assert_eq!(incoming.from.len(), 1);
    assert!(incoming.calendar.is_some());
    let two = format!("From: a@b.c\r\n \r\nFrom: d@e.f\r\n\r\n{OBJECT}");
    assert_eq!(read_in_time(two.as_bytes()), Err(ReadError::Mime(MimeError::Twice("From"))));
}

#[test]
fn every_field_filled_with_what_its_parser_likes_least() {
    let fields = ["From", "To", "Sender", "Subject", "Received", "Message-ID", "Content-Type", "Content-Disposition", "Date", "References"];
    let fillers = ["(", "<", ">", "=?utf-8?Q?", "=?x?B?AA?= ", "\"", "\\", ",", ":", "a@b,", "a:b;", "*0*=%", "=", "\r\n ", "\u{e9}", "0 "];
    for field in fields {
        for filler in fillers {
            let mail = with_header(&format!("Content-Type: text/calendar\r\n{field}: {}\r\n", filler.repeat((200 << 10) / filler.len())));
            // Some are refused for their parameters or for two From fields; none takes long.
            let _ = read_in_time(&mail);
        }
    }
}

#[test]
fn cut_and_damaged_mail_is_answered_not_died_of() {
    for whole in [&include_bytes!("../fixtures/nested-request.eml")[..], include_bytes!("../fixtures/foreign-report.eml")] {
        for at in 0..whole.len() {
            let _ = read::read(&whole[..at]);
            if at % 2 == 0 {
                let mut damaged = whole.to_vec();
                damaged[at] = b"\0\n\xff=-:\"; "[at / 2 % 9];
                let _ = read::read(&damaged);
            }
        }
    }
}
