//! Several objects one after the other: where each begins and ends, in octets at hand or line by line as they come.
//!
//! A VCALENDAR is a piece of its own. What stands outside of one, up to the next BEGIN:VCALENDAR, is one piece as well: a
//! bare object, components without their VCALENDAR (a series and its exceptions belong together), or junk, of which its
//! reader says that it is none.
//!
//! Invariants: every line that is not blank belongs to exactly one piece, and the pieces ascend; a BEGIN:VCALENDAR within
//! a folded or encoded value is no border, by the rules of [`reader`](super::reader); the time is in proportion to the
//! octets, the memory of a [`Splitter`] constant.

use std::borrow::Cow;
use std::ops::Range;

use super::error::ObjectError;
use super::event::Format;
use super::property::{Document, Encoding, is_blank, name_of, params_of, split, trim};
use super::reader::{BOM, Ending, Physicals};
use super::text;

/// Line ends in some octets.
pub fn line_ends(octets: &[u8]) -> usize {
    octets.split(|&b| b == b'\n').count() - 1
}

/// Where a stream is to be cut at a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Nowhere,
    /// The line begins the next piece.
    Before,
    /// The line ends its piece.
    After,
}

/// Finds the borders, line by line.
#[derive(Debug)]
pub struct Splitter {
    /// The piece has a line that is not blank.
    filled: bool,
    inside: bool,
    /// What is known of the content line that may go on.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    /// Its start, while name and parameters may go on in the next line.
    head: Vec<u8>,
    physicals: usize,
    encoding: Encoding,
    ending: Ending,
}

/// Octets kept of name and parameters.
const MAX_HEAD: usize = 2_000;
/// Physical lines in which name and parameters may stand, as the reader has it.
const HEAD_LINES: usize = 4;

impl Splitter {
    pub const fn new() -> Self {
        Self { filled: false, inside: false, open: None }
    }

    /// Takes the next line, with or without its end.
    pub fn line(&mut self, line: &[u8]) -> Cut {
        let end = line.iter().rposition(|b| !matches!(b, b'\r' | b'\n')).map_or(0, |i| i + 1);
        let text = &line[..end];
        if is_nothing(text) {
            self.open = None;
            return Cut::Nowhere;
        }
        if self.open.as_mut().is_some_and(|open| open.goes_on(text)) {
            return Cut::Nowhere;
        }
        let text = text.strip_prefix(BOM).unwrap_or(text);
        self.open = Some(Open::new(text));
        let filled = std::mem::replace(&mut self.filled, true);
        match border(text) {
            Some(Border::Begin) => {
                self.inside = true;
                if filled { Cut::Before } else { Cut::Nowhere }
            }
            Some(Border::End) if self.inside => {
                *self = Self::new();
                Cut::After
            }
            _ => Cut::Nowhere,
        }
    }
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Open {
    fn new(text: &[u8]) -> Self {
        let head = text[..text.len().min(MAX_HEAD)].to_vec();
        Self { encoding: Encoding::of(&head), head, physicals: 1, ending: Ending::of(text) }
    }

    /// Whether the line is part of the content line.
    fn goes_on(&mut self, text: &[u8]) -> bool {
        let led = text.first().is_some_and(|b| is_blank(*b));
        let goes_on = match (self.encoding, self.ending) {
            (Encoding::QuotedPrintable, Ending::Break | Ending::Early) => self.ending.continues_with(text),
            _ => led,
        };
        if goes_on {
            self.ending = Ending::of(text);
            self.physicals += 1;
            if self.physicals <= HEAD_LINES && self.head.len() < MAX_HEAD {
                let rest = &text[usize::from(led)..];
                self.head.extend_from_slice(&rest[..rest.len().min(MAX_HEAD - self.head.len())]);
                self.encoding = Encoding::of(&self.head);
            }
        }
        goes_on
    }
}

enum Border {
    Begin,
    End,
}

fn border(text: &[u8]) -> Option<Border> {
    let (name, _) = name_of(text)?;
    let begin = name.eq_ignore_ascii_case(b"BEGIN");
    if !begin && !name.eq_ignore_ascii_case(b"END") {
        return None;
    }
    let (_, value) = split(text);
    trim(&text[value]).eq_ignore_ascii_case(b"VCALENDAR").then_some(if begin { Border::Begin } else { Border::End })
}

/// Nothing to read: blanks, a byte order mark, or what old systems end a file with.
pub fn is_nothing(line: &[u8]) -> bool {
    line.strip_prefix(BOM).unwrap_or(line).iter().all(|b| b.is_ascii_whitespace() || matches!(b, 0 | 0x1a))
}

/// The pieces of octets at hand.
pub fn objects(octets: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut lines = Physicals { octets, at: 0, number: 0 };
    let mut splitter = Splitter::new();
    let mut start = None;
    std::iter::from_fn(move || {
        for line in lines.by_ref() {
            let text = &octets[line.start..line.text_end];
            let cut = splitter.line(text);
            if cut == Cut::Before {
                return start.replace(line.start).map(|start| start..line.start);
            }
            if start.is_none() && !is_nothing(text) {
                start = Some(line.start);
            }
            if cut == Cut::After {
                return start.take().map(|start| start..line.end);
            }
        }
        start.take().map(|start| start..octets.len())
    })
}

/// Components of iCalendar that came without their VCALENDAR get one, so that they are read as what they are; a bare
/// object is in vCalendar's words. Whatever else it is stays as it is.
pub fn framed(octets: &[u8]) -> Result<Cow<'_, [u8]>, ObjectError> {
    let first = Physicals { octets, at: 0, number: 0 }.map(|l| &octets[l.start..l.text_end]).find(|l| !is_nothing(l));
    let first = first.map(|l| l.strip_prefix(BOM).unwrap_or(l)).unwrap_or_default();
    if !name_of(first).is_some_and(|(name, _)| name.eq_ignore_ascii_case(b"BEGIN")) {
        return Ok(Cow::Borrowed(octets));
    }
    let document = Document::parse(octets.to_vec())?;
    if document.format != Format::Bare || !says_icalendar(&document) {
        return Ok(Cow::Borrowed(octets));
    }
    let end: &[u8] = if octets.ends_with(b"\n") { b"" } else { b"\r\n" };
    let octets = octets.strip_prefix(BOM).unwrap_or(octets);
    Ok(Cow::Owned([b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n", octets, end, b"END:VCALENDAR\r\n"].concat()))
}

/// Words that only iCalendar has, and none that only vCalendar has.
fn says_icalendar(document: &Document) -> bool {
    let modern = document.components.iter().any(|c| matches!(c.name.as_str(), "VALARM" | "VTIMEZONE" | "VFREEBUSY"));
    let mut modern = modern || document.lines.iter().any(|l| matches!(&*l.name, "DTSTAMP" | "METHOD" | "RECURRENCE-ID" | "CREATED"));
    for line in &document.lines {
        if matches!(&*line.name, "AALARM" | "DALARM" | "MALARM" | "PALARM" | "DCREATED" | "RNUM" | "SUBJECT") {
            return false;
        }
        if matches!(&*line.name, "RRULE" | "DTSTART" | "DTEND" | "DUE" | "ATTENDEE" | "ORGANIZER") && !modern {
            let text = document.joined(line);
            let (head, value) = split(&text);
            let params = params_of(&text[head]);
            modern = params.iter().any(|p| p.name == "TZID" || p.name == "PARTSTAT" || p.value == "DATE")
                || text::guess(&text[value]).to_ascii_uppercase().starts_with("FREQ=");
        }
    }
    modern
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::calendar::tests::crlf;

    fn pieces(text: &str) -> Vec<String> {
        objects(text.as_bytes()).map(|r| text[r].to_owned()).collect()
    }

    #[test]
    fn each_vcalendar_is_a_piece_and_what_stands_between() {
        let (one, two) = ("BEGIN:VCALENDAR\nUID:1\nEND:VCALENDAR\n", "begin : vcalendar\nUID:2\nend:vcalendar\n");
        let open = "BEGIN:VCALENDAR\nUID:3\n";
        let fragments = "BEGIN:VEVENT\nUID:4\nEND:VEVENT\n\nBEGIN:VEVENT\nUID:5\nEND:VEVENT\n";
        for (text, expected) in [
            (String::new(), vec![]),
            ("\r\n \n\u{feff}\n\x1a".to_owned(), vec![]),
            (one.to_owned(), vec![one.to_owned()]),
            (one.trim_end().to_owned(), vec![one.trim_end().to_owned()]),
            (format!("{one}{two}"), vec![one.to_owned(), two.to_owned()]),
            (format!("\n\u{feff}{one}\n\n{two}\n"), vec![format!("\u{feff}{one}"), two.to_owned()]),
            (format!("{one}\u{feff}{two}"), vec![one.to_owned(), format!("\u{feff}{two}")]),
            // Not ended, or ended twice.
            (format!("{open}{two}"), vec![open.to_owned(), two.to_owned()]),
            (format!("{one}END:VCALENDAR\n{two}"), vec![one.to_owned(), "END:VCALENDAR\n".to_owned(), two.to_owned()]),
            (fragments.to_owned(), vec![fragments.to_owned()]),
            (format!("{fragments}{one}{fragments}"), vec![fragments.to_owned(), one.to_owned(), fragments.to_owned()]),
            ("UID: 1\nSEQUENCE: 1\n".to_owned(), vec!["UID: 1\nSEQUENCE: 1\n".to_owned()]),
            (format!("# two\n{one}junk\n{two}"), vec!["# two\n".to_owned(), one.to_owned(), "junk\n".to_owned(), two.to_owned()]),
        ] {
            assert_eq!(pieces(&text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_begin_within_a_value_is_no_border() {
        for value in [
            "DESCRIPTION:folded\n BEGIN:VCALENDAR",
            "DESCRIPTION:folded\n\tBEGIN:VCALENDAR\n END:VCALENDAR",
            "DESCRIPTION;QUOTED-PRINTABLE:text=0D=0A=\nBEGIN:VCALENDAR=0D=0A=\nEND:VCALENDAR=",
            "DESCRIPTION;ENCODING=\n QUOTED-PRINTABLE:text=0D=0A=\nBEGIN:VCALENDAR=0D=0A=\nmore",
            "DESCRIPTION;ENCODING=QUOTED-PRINTABLE:=0D=0A= \nBEGIN:VCALENDAR",
        ] {
            let text = format!("BEGIN:VCALENDAR\nVERSION:1.0\n{value}\nEND:VCALENDAR\nBEGIN:VCALENDAR\nEND:VCALENDAR\n");
            assert_eq!(pieces(&text).len(), 2, "{text}");
        }
        // Without quoted-printable, `=` at the end means nothing.
        assert_eq!(pieces("BEGIN:VCALENDAR\nSUMMARY:a=\nBEGIN:VCALENDAR\n").len(), 2);
    }

    #[test]
    fn fragments_of_icalendar_are_framed() {
        for (text, framed_as) in [
            ("BEGIN:VEVENT\nDTSTART;VALUE=DATE:20091013\nEND:VEVENT\n", Some(Format::ICalendar)),
            ("BEGIN:VEVENT\nDTSTART;TZID=Europe/Berlin:20091013T100000\nEND:VEVENT\n", Some(Format::ICalendar)),
            ("BEGIN:VEVENT\nRRULE:FREQ=DAILY\nEND:VEVENT", Some(Format::ICalendar)),
            ("\u{feff}\nBEGIN:VEVENT\nBEGIN:VALARM\nEND:VALARM\nEND:VEVENT\n", Some(Format::ICalendar)),
            ("BEGIN:VTIMEZONE\nEND:VTIMEZONE\nBEGIN:VEVENT\nEND:VEVENT\n", Some(Format::ICalendar)),
            ("BEGIN:VTODO\nDUE:20091013\nORGANIZER:me\nEND:VTODO\n", None),
            ("BEGIN:VTODO\nDUE;VALUE=DATE:20091013\nAALARM:20091013;;;\nEND:VTODO\n", None),
            ("BEGIN:VCALENDAR\nVERSION:1.0\nDTSTAMP:20091013T000000Z\n", None),
            ("UID:1\nDTSTAMP:20091013T000000Z\n", None),
            ("", None),
        ] {
            let octets = crlf(text);
            let framed = framed(&octets).unwrap();
            let document = Document::parse(framed.to_vec()).ok();
            let format = document.as_ref().filter(|_| matches!(framed, Cow::Owned(_))).map(|d| d.format);
            assert_eq!(format, framed_as, "{text}");
            assert!(framed_as.is_none() || document.is_some_and(|d| d.problems.is_empty()), "{text}");
        }
    }

    proptest! {
        #![proptest_config(crate::calendar::tests::cases(300))]

        #[test]
        fn nothing_is_lost_and_nothing_is_read_twice(octets in crate::calendar::tests::pieces()) {
            let mut covered = vec![false; octets.len()];
            let mut last = 0;
            for range in objects(&octets) {
                prop_assert!(range.start >= last && range.start < range.end);
                last = range.end;
                covered[range].fill(true);
            }
            for line in (Physicals { octets: &octets, at: 0, number: 0 }) {
                let text = &octets[line.start..line.text_end];
                if !is_nothing(text) {
                    prop_assert!(covered[line.start..line.text_end].iter().all(|c| *c));
                }
            }
        }
    }
}
