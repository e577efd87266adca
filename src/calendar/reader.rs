//! Octets to lines: which format it is, and which physical lines make one content line.
//!
//! Invariant: every octet that is no blank line ends up in exactly one [`Line`]; deciding costs time in proportion to the
//! octets, however they are folded.

use compact_str::CompactString;

use super::error::ObjectError;
use super::event::Format;
use super::property::{Encoding, Join, Line, colonless, is_blank, join, name_of, note, split, trim};
use super::text;

/// Property lines in one object.
pub(super) const MAX_LINES: usize = 400_000;

/// The byte order mark of UTF-8, which Windows puts in front of files and into the middle of joined ones.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

/// A physical line: octets without and with its line end.
#[derive(Clone, Copy)]
pub(super) struct Physical {
    pub start: usize,
    pub text_end: usize,
    pub end: usize,
    pub number: usize,
}

pub(super) struct Physicals<'a> {
    pub octets: &'a [u8],
    pub at: usize,
    pub number: usize,
}

impl Iterator for Physicals<'_> {
    type Item = Physical;

    fn next(&mut self) -> Option<Physical> {
        let start = self.at;
        let rest = self.octets.get(start..).filter(|r| !r.is_empty())?;
        let end = memchr::memchr(b'\n', rest).map_or(self.octets.len(), |i| start + i + 1);
        let mut text_end = end;
        while text_end > start && matches!(self.octets[text_end - 1], b'\r' | b'\n') {
            text_end -= 1;
        }
        self.at = end;
        self.number += 1;
        Some(Physical { start, text_end, end, number: self.number })
    }
}

/// The format: that of the first calendar, also where other lines (the text of a mail) stand before it. `None` when
/// nothing but blanks is there.
pub(super) fn format_of(octets: &[u8]) -> Option<Format> {
    let octets = octets.strip_prefix(BOM).unwrap_or(octets);
    let mut named = None;
    let (mut anything, mut inside, mut modern, mut old) = (false, false, false, false);
    for line in (Physicals { octets, at: 0, number: 0 }) {
        let text = trim(&octets[line.start..line.text_end]);
        if text.is_empty() {
            continue;
        }
        let parts = name_of(text).map(|(n, at)| (n, trim(&text[(at + 1).min(text.len())..])));
        let is = |name: &str, value: &str| {
            parts.is_some_and(|(n, v)| n.eq_ignore_ascii_case(name.as_bytes()) && v.eq_ignore_ascii_case(value.as_bytes()))
        };
        anything = true;
        inside = inside || is("BEGIN", "VCALENDAR");
        if !inside {
            continue;
        }
        if is("VERSION", "2.0") {
            named = Some(Format::ICalendar);
        } else if is("VERSION", "1.0") {
            named = Some(Format::VCalendar);
        }
        if named.is_some() {
            return named;
        }
        modern |= parts.is_some_and(|(n, _)| ["METHOD", "DTSTAMP", "ORGANIZER"].iter().any(|m| n.eq_ignore_ascii_case(m.as_bytes())));
        old |= parts.is_some_and(|(n, _)| ["TZ", "DAYLIGHT", "DCREATED"].iter().any(|m| n.eq_ignore_ascii_case(m.as_bytes())));
    }
    let calendar = if modern || !old { Format::ICalendar } else { Format::VCalendar };
    anything.then_some(if inside { calendar } else { Format::Bare })
}

/// Indexes all lines; their components are not yet known.
pub(super) fn lines(octets: &[u8], format: Format) -> Result<(Vec<Line>, Vec<String>), ObjectError> {
    let mut reader =
        Reader { physicals: Vec::new(), octets, format, lines: Vec::with_capacity((octets.len() / 32).min(1024)), problems: Vec::new() };
    reader.index()?;
    Ok((reader.lines, reader.problems))
}

struct Reader<'a> {
    octets: &'a [u8],
    format: Format,
    /// Of the content line being read.
    physicals: Vec<Physical>,
    lines: Vec<Line>,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn text(&self, line: Physical) -> &[u8] {
        &self.octets[line.start..line.text_end]
    }

    fn index(&mut self) -> Result<(), ObjectError> {
        let octets = self.octets;
        let mut all = Physicals { octets, at: 0, number: 0 }.peekable();
        while let Some(first) = all.next() {
            if trim(self.text(first)).is_empty() || self.text(first) == BOM {
                continue;
            }
            self.physicals.clear();
            self.physicals.push(first);
            let head = octets[first.start..first.text_end].strip_prefix(BOM).unwrap_or(&octets[first.start..first.text_end]);
            let mut head = Head::of(head);
            let mut how = None;
            while let Some(&next) = all.peek() {
                let Some(join) = self.continues(next, head.kind, head.name.as_deref(), how) else {
                    self.note_open_end(next, head.kind);
                    break;
                };
                how = Some(join);
                self.physicals.push(next);
                all.next();
                if !head.settled && self.physicals.len() < 5 {
                    // A name or its parameters may themselves be folded; four times are enough for both.
                    head = Head::of(&join_all(octets, &self.physicals, join));
                }
            }
            self.push(head.name, how)?;
        }
        Ok(())
    }

    /// Whether and how `next` belongs to the line being read.
    fn continues(&self, next: Physical, kind: Encoding, name: Option<&str>, how: Option<Join>) -> Option<Join> {
        let last = *self.physicals.last()?;
        let (before, text) = (self.text(last), self.text(next));
        if kind == Encoding::QuotedPrintable {
            let ending = Ending::of(before);
            if ending.continues_with(text) {
                return Some(Join::SoftBreak);
            }
            if ending != Ending::Closed {
                return None;
            }
        }
        let led = text.first().is_some_and(|b| is_blank(*b));
        if kind == Encoding::Base64 {
            let base64 = |b: &u8| b.is_ascii_alphanumeric() || b"+/= \t".contains(b);
            let joins = !trim(text).is_empty() && (led || text.iter().all(base64));
            return joins.then_some(Join::Fold);
        }
        if led && (self.format == Format::ICalendar || !trim(text).is_empty()) {
            return Some(how.unwrap_or(if kind == Encoding::QuotedPrintable { Join::SoftBreak } else { Join::Fold }));
        }
        // Folding that lost its blank on the way: a full line, or one that ends within its parameters, and no property after it.
        let length = last.text_end - last.start;
        let full = (73..=76).contains(&length) && how.is_none_or(|h| h == Join::Fold);
        let headless = self.physicals.len() == 1 && name.is_some() && !before.contains(&b':');
        if self.format != Format::Bare && kind == Encoding::Plain && (full || headless) {
            let property = name_of(text).is_some() || trim(text).is_empty();
            if !property {
                return Some(Join::Fold);
            }
        }
        // A line break that is written encoded and then as itself, without the soft break.
        if kind == Encoding::QuotedPrintable && is_hard_break(before) && name_of(text).is_none() && !trim(text).is_empty() {
            return Some(Join::SoftBreak);
        }
        // What follows is the draft's page-broken dialect.
        if self.format == Format::ICalendar || how.is_some_and(|h| h == Join::SoftBreak) {
            return None;
        }
        let name = name?;
        let person = matches!(name, "ATTENDEE" | "ORGANIZER");
        if person && text.first() == Some(&b'<') && !before.contains(&b'<') {
            return Some(Join::Blank);
        }
        if self.format != Format::Bare || trim(text).is_empty() || name_of(text).is_some() || colonless(text) {
            return None;
        }
        if person {
            return self.broken_address(text).then_some(Join::Nothing);
        }
        matches!(name, "DESCRIPTION" | "SUMMARY" | "SUBJECT" | "LOCATION" | "COMMENT" | "CONTACT" | "RESOURCES" | "CATEGORIES")
            .then_some(Join::Blank)
    }

    /// `…:bill@ab` and `c.com`, `…:mar` and `y@xyz.com`: the value is no whole user-id, and joined it is one.
    fn broken_address(&self, next: &[u8]) -> bool {
        let mut text = join_all(self.octets, &self.physicals, Join::Nothing);
        let whole = |text: &[u8]| super::people::read_user(&text::guess(trim(&text[split(text).1]))).is_some();
        let value = text::guess(&text[split(&text).1]);
        let cut = !whole(&text) || value.rsplit_once('@').is_some_and(|(_, domain)| !domain.contains('.') && !domain.contains('>'));
        text.extend_from_slice(next);
        self.physicals.len() < 4 && cut && !next.iter().any(|b| is_blank(*b)) && whole(&text)
    }

    fn push(&mut self, name: Option<CompactString>, how: Option<Join>) -> Result<(), ObjectError> {
        if self.lines.len() >= MAX_LINES {
            return Err(ObjectError::TooManyLines { limit: MAX_LINES });
        }
        let (Some(first), Some(last)) = (self.physicals.first(), self.physicals.last()) else { return Ok(()) };
        let mut join = how.unwrap_or(Join::Fold);
        let token = matches!(name.as_deref(), Some("ATTACH" | "UID" | "URL" | "RELATED-TO")) && self.without_blanks();
        if join == Join::Fold && self.format != Format::ICalendar && !token && !self.folded_as_icalendar() {
            join = Join::Blank;
        }
        if name.is_none() && self.format != Format::Bare {
            note(&mut self.problems, format!("line {}: not a property; passed on unread", first.number));
        }
        let (span, number) = (first.start..last.end, first.number);
        let name = name.unwrap_or_default();
        self.lines.push(Line { span, number, name, join, component: 0 });
        Ok(())
    }

    /// Names and values of which no line holds a blank: a fold put none into them either.
    fn without_blanks(&self) -> bool {
        self.physicals.iter().all(|p| !trim(self.text(*p)).iter().any(|b| is_blank(*b)))
    }

    fn note_open_end(&mut self, next: Physical, kind: Encoding) {
        let Some(last) = self.physicals.last().filter(|_| kind == Encoding::QuotedPrintable) else { return };
        if Ending::of(self.text(*last)) != Ending::Closed && !trim(self.text(next)).is_empty() {
            note(&mut self.problems, format!("line {}: ends in =, and a property follows", last.number));
        }
    }

    /// vCalendar folds before a blank, which stays; software that folds as iCalendar does breaks all lines at one
    /// length around 75, or leaves a blank before the break.
    fn folded_as_icalendar(&self) -> bool {
        let Some((_, broken)) = self.physicals.split_last() else { return true };
        let Some(length) = broken.first().map(|p| p.text_end - p.start) else { return true };
        broken.iter().all(|p| self.text(*p).last().is_some_and(|b| is_blank(*b)))
            || ((72..=77).contains(&length) && broken.iter().all(|p| (length - 2..=length + 2).contains(&(p.text_end - p.start))))
    }
}

/// How a physical line of a quoted-printable value ends.
///
/// `=` at its end continues the value on the next line, whatever that looks like: text that says `ATTENDEE:…` must not
/// become an attendee. Only where no writer breaks a value, on a short line that ends no line of the text, a property
/// after `=` shows that the `=` dangles; the END of a component shows it everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Without `=`.
    Closed,
    /// `=` where writers break: on a full line, or after an encoded line break.
    Break,
    /// `=` with room left on the line.
    Early,
}

/// Shorter lines than writers break a value at.
const FULL_LINE: usize = 60;

impl Ending {
    pub(super) fn of(line: &[u8]) -> Self {
        let line = trim(line);
        match line.strip_suffix(b"=") {
            None => Self::Closed,
            Some(text) if line.len() >= FULL_LINE || is_hard_break(text) => Self::Break,
            Some(_) => Self::Early,
        }
    }

    /// Whether `next` is part of the value.
    pub(super) fn continues_with(self, next: &[u8]) -> bool {
        match self {
            Self::Closed => false,
            Self::Break => !is_end(next),
            Self::Early => !is_end(next) && !is_known_property(next),
        }
    }
}

/// Ends in an encoded line break.
fn is_hard_break(text: &[u8]) -> bool {
    text.len() >= 3 && [&b"=0A"[..], b"=0D"].iter().any(|b| text[text.len() - 3..].eq_ignore_ascii_case(b))
}

fn is_end(line: &[u8]) -> bool {
    const COMPONENTS: [&[u8]; 7] = [b"VEVENT", b"VTODO", b"VALARM", b"VCALENDAR", b"VJOURNAL", b"VFREEBUSY", b"VTIMEZONE"];
    line.strip_prefix(b"END:").is_some_and(|name| COMPONENTS.contains(&trim(name)))
}

/// A property line as software writes them: a name that both formats or an extension may use, in capitals, and no blank
/// after the colon.
fn is_known_property(line: &[u8]) -> bool {
    const NAMES: [&[u8]; 42] = [
        b"AALARM",
        b"ATTACH",
        b"ATTENDEE",
        b"BEGIN",
        b"CATEGORIES",
        b"CLASS",
        b"COMMENT",
        b"COMPLETED",
        b"CONTACT",
        b"CREATED",
        b"DALARM",
        b"DCREATED",
        b"DESCRIPTION",
        b"DTEND",
        b"DTSTAMP",
        b"DTSTART",
        b"DUE",
        b"DURATION",
        b"END",
        b"EXDATE",
        b"EXRULE",
        b"GEO",
        b"LAST-MODIFIED",
        b"LOCATION",
        b"MALARM",
        b"ORGANIZER",
        b"PALARM",
        b"PERCENT-COMPLETE",
        b"PRIORITY",
        b"RDATE",
        b"RECURRENCE-ID",
        b"RELATED-TO",
        b"RESOURCES",
        b"RNUM",
        b"RRULE",
        b"SEQUENCE",
        b"STATUS",
        b"SUBJECT",
        b"SUMMARY",
        b"TRANSP",
        b"UID",
        b"URL",
    ];
    let Some((name, at)) = name_of(line) else { return false };
    let known = line.starts_with(name) && (NAMES.contains(&name) || name.starts_with(b"X-"));
    known && line[at..].iter().position(|&b| b == b':').is_some_and(|i| !line.get(at + i + 1).is_some_and(|b| is_blank(*b)))
}

/// What a line begins with.
struct Head {
    /// In upper case.
    name: Option<CompactString>,
    kind: Encoding,
    /// Name and parameters end here: nothing that is joined to it changes them.
    settled: bool,
}

impl Head {
    fn of(text: &[u8]) -> Self {
        let Some((name, after)) = name_of(text) else { return Self { name: None, kind: Encoding::of(text), settled: false } };
        let mut name = CompactString::from(text::guess(name));
        name.make_ascii_uppercase();
        if text[after] == b':' {
            return Self { name: Some(name), kind: Encoding::Plain, settled: true };
        }
        let mut quoted = false;
        let settled = text[after..].iter().any(|&b| {
            quoted ^= b == b'"';
            b == b':' && !quoted
        });
        Self { name: Some(name), kind: Encoding::of(text), settled }
    }
}

fn join_all(octets: &[u8], physicals: &[Physical], how: Join) -> Vec<u8> {
    match (physicals.first(), physicals.last()) {
        (Some(first), Some(last)) => join(octets, first.start..last.end, how, |_| {}),
        _ => Vec::new(),
    }
}
