//! What `convert` and `inspect` read: a file or standard input, as text of whatever make, split into its objects as they
//! come.
//!
//! Invariants: nothing is read beyond the object that is handed out next, and of no object more than its limit is kept;
//! what comes out has UTF-8's or the properties' own charset and LF or CRLF line ends, whatever went in.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use encoding_rs::{Decoder, UTF_16BE, UTF_16LE};

use super::exit::{Exit, Failure};
use crate::calendar::stream::{self, Cut, Splitter};

/// Octets read of one object, or of one mail.
pub const MAX_OBJECT: usize = 64 << 20;
/// Octets in which a mail must be known for one.
const MAX_SNIFF: usize = 64 << 10;

/// A file, or standard input for `-`, and its name for messages.
pub fn open(path: &Path) -> Result<(String, Box<dyn Read>), Failure> {
    if path == Path::new("-") {
        return Ok(("standard input".to_owned(), Box::new(io::stdin().lock())));
    }
    let name = path.display().to_string();
    match std::fs::File::open(path) {
        Ok(file) => Ok((name, Box::new(file))),
        Err(error) => {
            let exit = if error.kind() == io::ErrorKind::NotFound { Exit::Data } else { Exit::Io };
            Err(Failure::new(exit, format!("{name}: {error}")))
        }
    }
}

/// One object, or what stands between objects.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    pub octets: Vec<u8>,
    /// Of its first line, from 1.
    pub line: usize,
    /// It has more than [`MAX_OBJECT`] octets, and none of them are here.
    pub too_large: bool,
}

/// The objects of an input, one after the other.
pub struct Pieces<R> {
    input: BufReader<Plain<R>>,
    splitter: Splitter,
    /// Lines read to find out whether it is a mail.
    ahead: VecDeque<Vec<u8>>,
    /// The line that begins the next piece.
    held: Option<Vec<u8>>,
    /// Lines taken so far.
    number: usize,
    limit: usize,
}

impl<R: Read> Pieces<R> {
    pub fn new(input: R, limit: usize) -> Self {
        let input = BufReader::new(Plain::new(input));
        Self { input, splitter: Splitter::new(), ahead: VecDeque::new(), held: None, number: 0, limit }
    }

    /// Octets that were left out since no text has them.
    pub fn nuls(&self) -> usize {
        self.input.get_ref().nuls
    }

    /// Whether it is a mail; to be asked first, and then [`Pieces::rest`] gives it.
    pub fn is_mail(&mut self) -> io::Result<bool> {
        let (mut seen, mut subject) = (0, false);
        while seen < MAX_SNIFF {
            let mut line = Vec::new();
            if !self.fresh_line(&mut line)? {
                break;
            }
            seen += line.len();
            let verdict = mail_or_not(&line);
            let ends = line.trim_ascii_end().is_empty() && verdict.is_some();
            self.ahead.push_back(line);
            match verdict {
                // Both have one: what follows decides.
                Some(Verdict::Subject) => subject = true,
                _ if ends => break,
                Some(verdict) => return Ok(verdict == Verdict::Mail),
                None => {}
            }
        }
        Ok(subject)
    }

    /// Everything up to the end as one piece.
    pub fn rest(&mut self) -> io::Result<Piece> {
        let mut octets: Vec<u8> = self.ahead.drain(..).flatten().collect();
        let room = (self.limit + 1).saturating_sub(octets.len());
        self.input.by_ref().take(room as u64).read_to_end(&mut octets)?;
        let too_large = octets.len() > self.limit;
        Ok(Piece { octets: if too_large { Vec::new() } else { octets }, line: 1, too_large })
    }

    /// The next object; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Piece>> {
        let mut piece = None;
        if let Some(line) = self.held.take() {
            self.add(&mut piece, line);
        }
        loop {
            let mut line = self.ahead.pop_front().unwrap_or_default();
            if line.is_empty() && !self.fresh_line(&mut line)? {
                return Ok(piece);
            }
            self.number += 1;
            let cut = self.splitter.line(&line);
            if cut == Cut::Before {
                self.held = Some(line);
                return Ok(piece);
            }
            if piece.is_some() || !stream::is_nothing(&line) {
                self.add(&mut piece, line);
            }
            if cut == Cut::After {
                return Ok(piece);
            }
        }
    }

    fn add(&self, piece: &mut Option<Piece>, line: Vec<u8>) {
        let Some(piece) = piece else {
            *piece = Some(Piece { too_large: line.len() > self.limit, line: self.number, octets: line });
            return;
        };
        if piece.too_large || piece.octets.len() + line.len() > self.limit {
            piece.too_large = true;
            piece.octets = Vec::new();
        } else {
            piece.octets.extend_from_slice(&line);
        }
    }

    /// A line with its end; one that is longer than the limit is cut. False at the end of the input.
    fn fresh_line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        let read = self.input.by_ref().take(self.limit as u64 + 1).read_until(b'\n', line)?;
        if read > self.limit && !line.ends_with(b"\n") {
            self.input.skip_until(b'\n')?;
        }
        Ok(read > 0)
    }
}

/// What a line says of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Mail,
    Object,
    /// A mail, unless a line of an object comes too: the draft's own events have a SUBJECT.
    Subject,
}

/// What a line of the header says of the whole; `None`: not yet decided. The header of a mail has none of the names that
/// every object has one of.
fn mail_or_not(line: &[u8]) -> Option<Verdict> {
    const KNOWN: [&str; 8] = ["from", "received", "mime-version", "message-id", "date", "to", "return-path", "content-type"];
    const OBJECT: [&str; 9] = ["begin", "uid", "dtstart", "dtend", "due", "dtstamp", "attendee", "rrule", "freebusy"];
    let text = line.trim_ascii_end();
    if text.is_empty() {
        // Mail programs keep a field of blanks in front, for flags of their own.
        return (!line.starts_with(b" ")).then_some(Verdict::Object);
    }
    let end = text.iter().position(|&b| b == b':' || b == b';').unwrap_or(0);
    let name = text[..end].trim_ascii_end().to_ascii_lowercase();
    let known = |names: &[&str]| names.iter().any(|k| k.as_bytes() == name);
    match text[end..].first() {
        _ if known(&OBJECT) => Some(Verdict::Object),
        Some(b':') if name == b"subject" => Some(Verdict::Subject),
        Some(b':') if known(&KNOWN) => Some(Verdict::Mail),
        _ => None,
    }
}

/// Turns text of any make into octets with LF or CRLF line ends: UTF-16 into UTF-8, the CR of old Macs into LF; NULs
/// are left out.
pub struct Plain<R> {
    input: R,
    /// Octets read of the input and not yet turned.
    raw: Vec<u8>,
    decoder: Option<Decoder>,
    ends: LineEnds,
    ready: Vec<u8>,
    at: usize,
    started: bool,
    ended: bool,
    pub nuls: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnds {
    Unknown,
    /// A CR was the last octet, and no other line end came before it.
    FirstCr,
    Lf,
    Cr,
}

impl<R: Read> Plain<R> {
    pub fn new(input: R) -> Self {
        let (raw, ready) = (Vec::new(), Vec::new());
        Self { input, raw, decoder: None, ends: LineEnds::Unknown, ready, at: 0, started: false, ended: false, nuls: 0 }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        let read = loop {
            match self.input.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.raw.extend_from_slice(&chunk[..read]);
        self.ended = read == 0;
        if !self.started && (self.raw.len() >= 4 || self.ended) {
            self.started = true;
            self.decoder = match self.raw.as_slice() {
                [0xff, 0xfe, ..] | [1..=255, 0, 1..=255, 0, ..] => Some(UTF_16LE.new_decoder_with_bom_removal()),
                [0xfe, 0xff, ..] | [0, 1..=255, 0, 1..=255, ..] => Some(UTF_16BE.new_decoder_with_bom_removal()),
                _ => None,
            };
        }
        if self.started {
            self.turn();
        }
        Ok(())
    }

    fn turn(&mut self) {
        let raw = std::mem::take(&mut self.raw);
        match &mut self.decoder {
            None => self.settle(&raw),
            Some(decoder) => {
                let room = decoder.max_utf8_buffer_length(raw.len()).unwrap_or(raw.len() * 3 + 16);
                let mut text = String::with_capacity(room);
                // The room is what the decoder says that it needs, so one call takes all.
                let _ = decoder.decode_to_string(&raw, &mut text, self.ended);
                self.settle(text.as_bytes());
            }
        }
        if self.ended && self.ends == LineEnds::FirstCr {
            self.ready.push(b'\n');
        }
    }

    fn settle(&mut self, octets: &[u8]) {
        for &octet in octets {
            match (self.ends, octet) {
                (_, 0) => {
                    self.nuls += 1;
                    continue;
                }
                (LineEnds::Unknown, b'\r') => {
                    self.ends = LineEnds::FirstCr;
                    continue;
                }
                (LineEnds::Unknown, b'\n') => self.ends = LineEnds::Lf,
                // CR CR LF is a line end that some gateway has written twice.
                (LineEnds::FirstCr, b'\r' | b'\n') => {
                    self.ends = LineEnds::Lf;
                    self.ready.push(b'\r');
                }
                (LineEnds::FirstCr, _) => {
                    self.ends = LineEnds::Cr;
                    self.ready.push(b'\n');
                }
                _ => {}
            }
            self.ready.push(if octet == b'\r' && self.ends == LineEnds::Cr { b'\n' } else { octet });
        }
    }
}

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.ready.len() && !self.ended {
            self.ready.clear();
            self.at = 0;
            self.fill()?;
        }
        let n = into.len().min(self.ready.len() - self.at);
        into[..n].copy_from_slice(&self.ready[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its octets in portions of one size.
    struct Portions<'a>(&'a [u8], usize);

    impl Read for Portions<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(into.len());
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn utf16(text: &str, to: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to).collect()
    }

    #[test]
    fn text_of_every_make_becomes_plain() {
        let text = "BEGIN:VCALENDAR\r\nSUMMARY:Größe 今日\r\n";
        for (input, expected, nuls) in [
            (text.as_bytes().to_vec(), text.to_owned(), 0),
            (utf16(&format!("\u{feff}{text}"), u16::to_le_bytes), text.to_owned(), 0),
            (utf16(&format!("\u{feff}{text}"), u16::to_be_bytes), text.to_owned(), 0),
            (utf16(text, u16::to_le_bytes), text.to_owned(), 0),
            (utf16(text, u16::to_be_bytes), text.to_owned(), 0),
            (b"A:1\rB:2\r\rC:3\r".to_vec(), "A:1\nB:2\n\nC:3\n".to_owned(), 0),
            (b"A:1\r".to_vec(), "A:1\n".to_owned(), 0),
            (b"A:1\r\r\nB:a\rb\r\n".to_vec(), "A:1\r\r\nB:a\rb\r\n".to_owned(), 0),
            (b"A:1\nB:a\rb\n".to_vec(), "A:1\nB:a\rb\n".to_owned(), 0),
            (b"A:1\n\0\0\0".to_vec(), "A:1\n".to_owned(), 3),
            (b"A".to_vec(), "A".to_owned(), 0),
            (Vec::new(), String::new(), 0),
        ] {
            for size in [1, 2, 3, 1000] {
                let mut plain = Plain::new(Portions(&input, size));
                let mut octets = Vec::new();
                plain.read_to_end(&mut octets).unwrap();
                assert_eq!((String::from_utf8(octets).unwrap(), plain.nuls), (expected.clone(), nuls), "{input:x?} by {size}");
            }
        }
    }

    fn all(input: &str, limit: usize) -> Vec<(String, usize, bool)> {
        let mut pieces = Pieces::new(Portions(input.as_bytes(), 3), limit);
        assert!(!pieces.is_mail().unwrap());
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().unwrap() {
            all.push((String::from_utf8(piece.octets).unwrap(), piece.line, piece.too_large));
        }
        all
    }

    #[test]
    fn pieces_come_as_the_splitter_cuts_them() {
        let one = "BEGIN:VCALENDAR\nUID:1\nEND:VCALENDAR\n";
        let text = format!("\n{one}\n\njunk\n{one}BEGIN:VCALENDAR\n{one}");
        let expected = [(one, 2), ("junk\n", 7), (one, 8), ("BEGIN:VCALENDAR\n", 11), (one, 12)];
        let expected: Vec<_> = expected.into_iter().map(|(t, n)| (t.to_owned(), n, false)).collect();
        assert_eq!(all(&text, 1000), expected);
        let split: Vec<_> = stream::objects(text.as_bytes()).map(|r| text[r].to_owned()).collect();
        assert!(split.iter().zip(&expected).all(|(a, b)| a.trim_end() == b.0.trim_end()) && split.len() == expected.len());
    }

    #[test]
    fn what_is_too_large_is_passed_over() {
        let (small, large) = ("BEGIN:VCALENDAR\nEND:VCALENDAR\n", format!("BEGIN:VCALENDAR\nX:{}\nY:1\nEND:VCALENDAR\n", "x".repeat(90)));
        let many = format!("BEGIN:VCALENDAR\n{}END:VCALENDAR\n", "X:1\n".repeat(20));
        let got = all(&format!("{small}{large}{small}{many}{small}"), 50);
        assert_eq!(got.iter().map(|p| p.2).collect::<Vec<_>>(), [false, true, false, true, false]);
        assert_eq!(got.iter().map(|p| p.1).collect::<Vec<_>>(), [1, 3, 7, 9, 31]);
        assert!(got.iter().all(|p| if p.2 { p.0.is_empty() } else { p.0 == small }));
    }

    #[test]
    fn a_mail_is_known_by_its_header() {
        for (text, expected) in [
            ("From: a@b.com\n\nhello", true),
            ("X-Some: 1\n folded\nreceived : by x\n", true),
            ("Subject: x", true),
            ("Subject: x\n\nDTSTART:20260101\n", true),
            ("Subject: x\nDate: today\nUID: 1\n", true),
            (include_str!("../../tests/fixtures/calendar/draft.txt"), false),
            ("CATEGORIES: Meeting\nDTSTART: 19961126T1530-0500\nSUBJECT: Important Meeting\n", false),
            ("SUBJECT: Important Meeting\nATTENDEE;ROLE=OWNER:bill@abc.com\n", false),
            ("     \nReceived: x\n", true),
            ("BEGIN:VCALENDAR\nSubject: x\n", false),
            ("UID: 1\nSUBJECT-LINE: x\n", false),
            ("\nFrom: a@b.com\n", false),
            ("", false),
        ] {
            let mut pieces = Pieces::new(text.as_bytes(), 1000);
            assert_eq!(pieces.is_mail().unwrap(), expected, "{text}");
            assert_eq!(pieces.rest().unwrap().octets, text.as_bytes());
        }
    }
}
