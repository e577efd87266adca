//! What software of 1996 to 2010 wrote instead of what its specification says.

use super::*;
use crate::calendar::event::Event;

fn read(version: &str, lines: &str) -> Object {
    object(&format!("BEGIN:VCALENDAR\nVERSION:{version}\nBEGIN:VEVENT\nUID:1@a.com\n{lines}\nEND:VEVENT\nEND:VCALENDAR\n"))
}

fn vcalendar(lines: &str) -> Event {
    read("1.0", lines).event().clone()
}

fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a character of ISO 8859-1")).collect()
}

#[test]
fn a_soft_break_takes_the_next_line_and_a_dangling_one_does_not() {
    let full = "x".repeat(60);
    for (lines, description, location) in [
        // Transport padding after the `=`.
        ("DESCRIPTION;QUOTED-PRINTABLE:over =  \nthe top\nLOCATION:here", "over the top", Some("here")),
        // Text after a soft break that has the form of a property.
        ("DESCRIPTION;QUOTED-PRINTABLE:two lines=0D=0A=\nLOCATION:Rome", "two lines\nLOCATION:Rome", None),
        ("DESCRIPTION;QUOTED-PRINTABLE:a=\nLocation: Rome", "aLocation: Rome", None),
        ("DESCRIPTION;QUOTED-PRINTABLE:a=\nLOCATION: Rome", "aLOCATION: Rome", None),
        ("DESCRIPTION;QUOTED-PRINTABLE:a=\nhttp://a.com", "ahttp://a.com", None),
        ("DESCRIPTION;QUOTED-PRINTABLE:a=\n LOCATION:Rome", "a LOCATION:Rome", None),
        (&format!("DESCRIPTION;QUOTED-PRINTABLE:{full}=\nLOCATION:Rome"), &format!("{full}LOCATION:Rome"), None),
        // The `=` of a short line dangles when a property follows.
        ("DESCRIPTION;QUOTED-PRINTABLE:a=\nLOCATION:here", "a", Some("here")),
        ("DESCRIPTION;QUOTED-PRINTABLE:a= \nLOCATION;LANGUAGE=en:here", "a", Some("here")),
        ("DESCRIPTION;QUOTED-PRINTABLE:a=\nX-OTHER:1\nLOCATION:here", "a", Some("here")),
        ("DESCRIPTION;QUOTED-PRINTABLE:a=\n\nLOCATION:here", "a", Some("here")),
        // No text swallows the end of its component.
        ("LOCATION:here\nDESCRIPTION;QUOTED-PRINTABLE:a=0D=0A=", "a", Some("here")),
        ("LOCATION:here\nDESCRIPTION;QUOTED-PRINTABLE:a=", "a", Some("here")),
        // The break is written twice, without `=`.
        ("DESCRIPTION;QUOTED-PRINTABLE:a=0D=0A\nb=0D=0A\nc\nLOCATION:here", "a\nb\nc", Some("here")),
    ] {
        for version in ["1.0", "2.0"] {
            let read = read(version, lines);
            let event = read.event();
            assert_eq!((event.description.as_deref(), event.location.as_deref()), (Some(description), location), "{version} {lines}");
            assert_eq!(read.document.components.iter().filter(|c| !c.closed).count(), 0, "{lines}");
        }
    }
    let odd = read("1.0", "DESCRIPTION;QUOTED-PRINTABLE:a=\nLOCATION:here");
    assert_eq!(odd.problems(), ["line 5: ends in =, and a property follows"]);
}

#[test]
fn charsets_by_their_right_and_their_wrong_names() {
    let event = |value: &[u8]| {
        let head = b"BEGIN:VCALENDAR\nVERSION:1.0\nBEGIN:VEVENT\nUID:1\nSUMMARY".as_slice();
        Object::parse([head, value, b"\nEND:VEVENT\nEND:VCALENDAR\n"].concat()).unwrap().event().summary.clone().unwrap()
    };
    for (params, value, expected) in [
        (";CHARSET=\"UTF-8\"", "möchen".as_bytes().to_vec(), "möchen"),
        (";CHARSET='utf8'", "möchen".as_bytes().to_vec(), "möchen"),
        // A wrong label in both directions.
        (";CHARSET=UTF-8", latin("möchen"), "möchen"),
        (";CHARSET=ISO-8859-1", "möchen".as_bytes().to_vec(), "möchen"),
        (";CHARSET=US-ASCII", "möchen".as_bytes().to_vec(), "möchen"),
        (";CHARSET=UTF-16", b"plain".to_vec(), "plain"),
        (";CHARSET=SHIFT_JIS", "あ".as_bytes().to_vec(), "あ"),
        (";CHARSET=iso8859_2", b"\xb1\xe6".to_vec(), "ąć"),
        (";CHARSET=ISO8859-15", b"\xa4".to_vec(), "€"),
        (";CHARSET=CP1251", b"\xcf\xf0\xe8\xe2\xe5\xf2".to_vec(), "Привет"),
        (";CHARSET=Windows1250", b"\x9a".to_vec(), "š"),
        (";CHARSET=win-1257", b"\xd0".to_vec(), "Š"),
        (";CHARSET=Shift-JIS", b"\x8d\xa1\x93\xfa".to_vec(), "今日"),
        (";CHARSET=MS932", b"\x8d\xa1\x93\xfa".to_vec(), "今日"),
        // The trail octet of 表 is a backslash.
        (";CHARSET=SHIFT_JIS", b"\x95\x5c,\x8d\xa1".to_vec(), "表,今"),
        (";ENCODING=QUOTED_PRINTABLE;CHARSET=EUC_JP", b"=A4=A2".to_vec(), "あ"),
        (";ENCODING=8-BIT;CHARSET=utf-8", "あ".as_bytes().to_vec(), "あ"),
        (";ENCODING=\"Quoted-Printable\"", b"=C3=B6=".to_vec(), "ö"),
        (";ENCODING=BASE64;CHARSET=ISO-2022-JP", b"GyRCJCIbKEI=\n".to_vec(), "あ"),
    ] {
        let line = [params.as_bytes(), b":", &value].concat();
        assert_eq!(event(&line), expected, "{params} {value:x?}");
    }
}

#[test]
fn tokens_are_folded_without_a_blank() {
    let (first, second) = ("040000008200E00074C5B7101A82E00800000000F09AFF411EEDC6010000000000000000100", "000009CCD6B27F01B4");
    let text = format!("BEGIN:VCALENDAR\nVERSION:1.0\nBEGIN:VEVENT\nUID:{first}\n {second}\nEND:VEVENT\nEND:VCALENDAR\n");
    assert_eq!(object(&text).event().uid.as_str(), format!("{first}{second}"));
    // Words stay words.
    let text = "BEGIN:VCALENDAR\nVERSION:1.0\nBEGIN:VEVENT\nUID:the first\n event\nEND:VEVENT\nEND:VCALENDAR\n";
    assert_eq!(object(text).event().uid.as_str(), "the first event");
}

#[test]
fn begin_and_end_are_known_in_every_dress() {
    let read = object(
        "begin : vCalendar\nversion:1.0\nBEGIN;BASE64:VkVWRU5U\n\nUID:1\nEND;ENCODING=BASE64:VkVWRU5U\n\nEND;QUOTED-PRINTABLE:V=43ALENDAR\n",
    );
    assert_eq!((read.events().len(), read.problems().len()), (1, 0), "{:?}", read.problems());
}

#[test]
fn base64_ends_where_the_next_property_begins() {
    for end in ["", "\n", "\n\n", "\n\t\n"] {
        let event = vcalendar(&format!("ATTACH;ENCODING=BASE64:\n    QUJD\n    REVG\n{end}LOCATION:here"));
        assert_eq!(event.location.as_deref(), Some("here"), "{end:?}");
    }
    assert_eq!(vcalendar("ATTACH;BASE64:\nQUJD\nREVG\nLOCATION:here").location.as_deref(), Some("here"));
}

#[test]
fn parameters_without_a_name_or_without_anything() {
    let event = vcalendar("SUMMARY;;123:a\nDESCRIPTION;;abc;:b\nLOCATION ; CHARSET = utf-8 ;; ENCODING = QUOTED-PRINTABLE : =C3=B6");
    assert_eq!((event.summary.as_deref(), event.description.as_deref(), event.location.as_deref()), (Some("a"), Some("b"), Some("ö")));
}

#[test]
fn a_line_that_breaks_off_within_its_parameters_goes_on() {
    for version in ["1.0", "2.0"] {
        let read = read(version, "ATTENDEE;RSVP=TRUE;CN=\"'mary\n@tiny.com'\":mailto:mary@tiny.com\nSUMMARY;LANGUAGE=en\nLOCATION:here");
        assert_eq!(read.event().attendees[0].address, user("mary@tiny.com"));
        assert_eq!(read.event().location.as_deref(), Some("here"));
    }
}
