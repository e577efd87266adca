//! `convert`, on files, mails and streams.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::{MAIL, code, stderr, stdout};
use crate::support::relay::{Settings, binary};

const PHONE: &str = "BEGIN:VCALENDAR\r\nVERSION:1.0\r\nBEGIN:VEVENT\r\nUID:phone-1\r\nDTSTART:20261201T113000Z\r\nDTEND:20261201T123000Z\r\nSUMMARY;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:Gr=C3=B6=C3=9Fe\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

fn phone(n: usize) -> String {
    PHONE.replace("phone-1", &format!("phone-{n}"))
}

fn start(format: &str) -> (Child, ChildStdin, BufReader<ChildStdout>) {
    let mut child = Command::new(binary())
        .args(["convert", "--to", format])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    (child, input, output)
}

/// Lines up to and with END:VCALENDAR.
fn object(output: &mut BufReader<ChildStdout>) -> String {
    let mut text = String::new();
    while !text.contains("END:VCALENDAR") {
        assert_ne!(output.read_line(&mut text).unwrap(), 0, "{text}");
    }
    text
}

#[test]
fn a_file_a_pipe_and_a_mail() {
    let settings = Settings::new("tiny.com");
    let file = settings.path("phone.vcs");
    std::fs::write(&file, PHONE).unwrap();
    let from_file = settings.run(&["convert", "--to", "icalendar", file.to_str().unwrap()], b"");
    assert_eq!((code(&from_file), stderr(&from_file)), (0, String::new()));
    let text = stdout(&from_file);
    assert!(["VERSION:2.0\r\n", "UID:phone-1\r\n", "SUMMARY:Größe\r\n"].iter().all(|l| text.contains(l)), "{text}");
    let without_stamp = |text: String| text.lines().filter(|l| !l.starts_with("DTSTAMP")).collect::<Vec<_>>().join("\n");
    for words in [&["convert", "--to", "icalendar"][..], &["convert", "--to", "icalendar", "-"]] {
        let piped = settings.run(words, PHONE.as_bytes());
        assert_eq!((code(&piped), without_stamp(stdout(&piped))), (0, without_stamp(text.clone())));
    }

    let mail = settings.run(&["convert", "--to", "vcalendar"], MAIL.replace("SUMMARY:Lunch\n", "SUMMARY:Lunch\nCOLOR:red\n").as_bytes());
    let text = stdout(&mail);
    assert_eq!(code(&mail), 0, "{mail:?}");
    let lines = ["VERSION:1.0", "UID:lunch-1", "SEQUENCE:3", "DTSTART:20261201T113000Z", "ATTENDEE;ROLE=OWNER:Tom Jones <tom@jumbo.com>"];
    assert!(lines.iter().all(|l| text.contains(&format!("{l}\r\n"))), "{text}");
    let said = stderr(&mail);
    assert!(said.contains("cip-relay: lunch-1: COLOR \"red\": the other format has no word for it; carried as X-CIP-ICAL\n"), "{said}");
    let counts = |said: &str| said.lines().last().is_some_and(|l| l.contains(" losses (") && l.ends_with(" in 1 of 1 objects"));
    assert!(counts(&said), "{said}");

    for (input, said) in [
        (&b""[..], "no calendar object in the input"),
        (b"From: a@b.com\n\nhello\n", "the mail has no calendar part"),
        (b"From: a@b.com\nContent-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\nMETHOD:CANCEL\n", "they must be the same"),
    ] {
        let output = settings.run(&["convert", "--to", "vcalendar"], input);
        assert_eq!((code(&output), stderr(&output).contains(said)), (65, true), "{output:?}");
    }
    let folder = settings.folder().display().to_string();
    assert_eq!(code(&settings.run(&["convert", "--to", "vcalendar", &folder], b"")), 74);
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_written() {
    let settings = Settings::new("tiny.com");
    let deep = format!("BEGIN:VCALENDAR\n{}END:VCALENDAR\n", "BEGIN:X\n".repeat(20));
    let input = format!("{}{deep}{}", phone(1), phone(2));
    let output = settings.run(&["convert", "--to", "icalendar"], input.as_bytes());
    assert_eq!(code(&output), 65);
    assert_eq!(stdout(&output).lines().filter(|l| l.starts_with("UID:")).collect::<Vec<_>>(), ["UID:phone-1", "UID:phone-2"]);
    let said = stderr(&output);
    assert!(said.contains("what begins at line 10 is not translated: line 17: components nested deeper"), "{said}");
    assert!(said.ends_with("cip-relay: 0 losses in 0 of 2 objects; 1 not translated\n"), "{said}");

    let output = settings.run(&["convert", "--to", "icalendar", "--json"], input.as_bytes());
    let lines: Vec<serde_json::Value> = stderr(&output).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((lines[0]["line"].as_u64(), lines.last()), (Some(10), Some(&serde_json::json!({"objects": 2, "losses": 0, "unread": 1}))));
}

#[test]
fn objects_come_as_they_are_done() {
    let (mut child, mut input, mut output) = start("icalendar");
    for n in 1..=3 {
        // The program has no more than this when it answers.
        input.write_all(phone(n).as_bytes()).unwrap();
        input.flush().unwrap();
        assert!(object(&mut output).contains(&format!("UID:phone-{n}\r\n")));
    }
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), child.wait().unwrap().code()), ("", Some(0)));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let (mut child, mut input, mut output) = start("icalendar");
    input.write_all(phone(1).as_bytes()).unwrap();
    object(&mut output);
    drop(output);
    // Writing fails once the program is gone.
    for n in 0..10_000 {
        if input.write_all(phone(n).as_bytes()).is_err() {
            break;
        }
    }
    drop(input);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn text_of_every_make_and_fragments() {
    let settings = Settings::new("tiny.com");
    let utf16: Vec<u8> = PHONE.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mac = PHONE.replace("\r\n", "\r");
    let padded = format!("{PHONE}\0\0\x1a");
    for input in [&utf16, mac.as_bytes(), padded.as_bytes()] {
        let output = settings.run(&["convert", "--to", "icalendar"], input);
        assert_eq!(code(&output), 0, "{output:?}");
        assert!(stdout(&output).contains("SUMMARY:Größe\r\n"), "{output:?}");
    }
    assert_eq!(stderr(&settings.run(&["convert", "--to", "icalendar"], padded.as_bytes())), "cip-relay: 2 NUL octets were left out\n");

    let fragment = "BEGIN:VEVENT\nUID:f\nDTSTAMP:20261122T120000Z\nDTSTART;VALUE=DATE:20091013\nSUMMARY:Holiday\\, at last\nEND:VEVENT\n";
    let output = stdout(&settings.run(&["convert", "--to", "icalendar"], fragment.as_bytes()));
    assert!(output.starts_with("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n"), "{output}");
    assert!(output.contains("DTSTART;VALUE=DATE:20091013\r\nSUMMARY:Holiday\\, at last\r\n"), "{output}");
}
