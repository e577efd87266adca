//! Content lines of all three formats: where each one stands in the octets, and how its folded parts join.
//!
//! A [`Document`] is an index over octets that are never changed; names, parameters and values are taken out of it on
//! demand ([`Document::content`]), so that a ten-megabyte attachment costs one index entry.
//!
//! Invariants: the spans of `lines` ascend, do not overlap, and start and end at physical line borders; blank lines
//! between them belong to no line; `components[0]` is the whole object, and every component's parent stands before it.

use std::ops::Range;

use super::error::ObjectError;
use super::event::Format;
use super::text;

/// Property lines in one object.
pub(crate) const MAX_LINES: usize = 400_000;
/// Components inside one another.
pub(crate) const MAX_DEPTH: usize = 16;
/// Components in one object.
const MAX_COMPONENTS: usize = 50_000;
/// Lines of the report about what was odd.
const MAX_PROBLEMS: usize = 50;

/// How the physical lines of one content line join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// iCalendar: the break and one blank vanish (RFC 5545 3.1).
    Fold,
    /// RFC 822: the break vanishes, one blank stays.
    Blank,
    /// Quoted-printable: `=` and the break vanish.
    SoftBreak,
    /// Broken inside a word without folding, as the draft's pages do with addresses.
    Nothing,
}

/// One content line: a property, or BEGIN or END.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Octets with all line ends.
    pub span: Range<usize>,
    /// Of its first physical line, from 1.
    pub number: usize,
    /// In upper case; empty for a line that is no property.
    pub name: Box<str>,
    pub join: Join,
    /// Index into [`Document::components`].
    pub component: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Component {
    /// In upper case; empty for the whole object.
    pub name: String,
    pub parent: usize,
    /// Indexes of lines: from BEGIN up to and with END (or what ended it).
    pub lines: Range<usize>,
    /// Closed by its own END line.
    pub closed: bool,
}

/// A parameter; `name` is empty where only a value stands (`;QUOTED-PRINTABLE`). Upper case name, value without quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Param {
    pub name: String,
    pub value: String,
}

/// A content line taken apart. `value` is joined and trimmed in front, but not decoded.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub name: String,
    pub params: Vec<Param>,
    pub value: Vec<u8>,
}

impl Content {
    /// The value of the first parameter of that name.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|p| p.name == name).map(|p| p.value.as_str())
    }
}

/// The index over one object.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub octets: Vec<u8>,
    pub format: Format,
    pub lines: Vec<Line>,
    pub components: Vec<Component>,
    pub problems: Vec<String>,
}

/// A physical line: octets without and with its line end.
#[derive(Clone, Copy)]
struct Physical {
    start: usize,
    text_end: usize,
    end: usize,
    number: usize,
}

struct Physicals<'a> {
    octets: &'a [u8],
    at: usize,
    number: usize,
}

impl Iterator for Physicals<'_> {
    type Item = Physical;

    fn next(&mut self) -> Option<Physical> {
        let start = self.at;
        let rest = self.octets.get(start..).filter(|r| !r.is_empty())?;
        let end = rest.iter().position(|&b| b == b'\n').map_or(self.octets.len(), |i| start + i + 1);
        let mut text_end = end;
        while text_end > start && matches!(self.octets[text_end - 1], b'\r' | b'\n') {
            text_end -= 1;
        }
        self.at = end;
        self.number += 1;
        Some(Physical { start, text_end, end, number: self.number })
    }
}

pub(crate) fn is_blank(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_blank(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_blank(*last)
    {
        text = rest;
    }
    text
}

/// The name at the start of a line, and where what follows it (`;` or `:`) stands. Blanks may stand around.
fn name_of(line: &[u8]) -> Option<(&[u8], usize)> {
    let lead = line.iter().take_while(|b| is_blank(**b)).count();
    let len = line[lead..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'-' || **b == b'_' || **b == b'.').count();
    let after = lead + len + line[lead + len..].iter().take_while(|b| is_blank(**b)).count();
    (len > 0 && len <= 100 && matches!(line.get(after), Some(b':' | b';'))).then(|| (&line[lead..lead + len], after))
}

/// Properties that the draft writes without a colon (`UID unique identifier of event`).
const COLONLESS: [&str; 5] = ["UID", "SEQUENCE", "RESPONSE-SEQUENCE", "DTSTART", "DTEND"];

/// The colon that ends name and parameters: the first one outside quotes. Where a quote is left open, the first at all.
fn value_colon(line: &[u8], from: usize) -> Option<usize> {
    let mut quoted = false;
    for (i, &b) in line.iter().enumerate().skip(from) {
        match b {
            b'"' => quoted = !quoted,
            b':' if !quoted => return Some(i),
            _ => {}
        }
    }
    line.iter().skip(from).position(|&b| b == b':').map(|i| from + i)
}

/// Parameters: `;NAME=value,"value";VALUE`.
fn params_of(text: &[u8]) -> Vec<Param> {
    let mut params = Vec::new();
    let mut parts = Vec::new();
    let (mut quoted, mut start) = (false, 0);
    for (i, &b) in text.iter().enumerate() {
        match b {
            b'"' => quoted = !quoted,
            b';' if !quoted => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    for part in parts.into_iter().map(trim).filter(|p| !p.is_empty()).take(200) {
        let (name, value) = match part.iter().position(|&b| b == b'=' || b == b'"') {
            Some(i) if part[i] == b'=' => (trim(&part[..i]), trim(&part[i + 1..])),
            _ => (&part[..0], part),
        };
        let mut value = text::guess(value);
        if value.len() >= 2 && value.starts_with('"') && value.ends_with('"') && !value[1..value.len() - 1].contains('"') {
            value.pop();
            value.remove(0);
        }
        params.push(Param { name: text::guess(name).to_ascii_uppercase(), value });
    }
    params
}

impl Document {
    /// Indexes the octets and decides the format.
    pub fn parse(octets: Vec<u8>) -> Result<Self, ObjectError> {
        if let Some(at) = octets.iter().position(|&b| b == 0) {
            let line = octets[..at].split(|&b| b == b'\n').count();
            return Err(ObjectError::Nul { line });
        }
        let format = format_of(&octets).ok_or(ObjectError::Empty)?;
        let mut reader = Reader { physicals: Vec::new(), octets: &octets, format, lines: Vec::new(), problems: Vec::new() };
        reader.index()?;
        let (mut lines, problems) = (reader.lines, reader.problems);
        let mut document = Self { octets: Vec::new(), format, lines: Vec::new(), components: Vec::new(), problems };
        document.nest(&octets, &mut lines)?;
        document.lines = lines;
        document.octets = octets;
        document.read_colonless();
        Ok(document)
    }

    /// A note about something odd that was read all the same.
    pub fn problem(&mut self, text: String) {
        note(&mut self.problems, text);
    }

    /// The lines that stand directly in a component, with their indexes, BEGIN and END left out.
    pub fn lines_of(&self, component: usize) -> impl Iterator<Item = (usize, &Line)> {
        let range = self.components.get(component).map_or(0..0, |c| c.lines.clone());
        range.clone().zip(&self.lines[range]).filter(move |(_, l)| l.component == component && &*l.name != "BEGIN" && &*l.name != "END")
    }

    /// The line joined from its physical lines.
    pub fn joined(&self, line: &Line) -> Vec<u8> {
        join(&self.octets, line.span.clone(), line.join, |_| {})
    }

    /// The same, with the place of each octet in the object.
    pub fn placed(&self, line: &Line) -> (Vec<u8>, Vec<usize>) {
        let mut places = Vec::with_capacity(line.span.len());
        let text = join(&self.octets, line.span.clone(), line.join, |run| match run {
            Run::Octets(run) => places.extend(run),
            Run::Blank(before) => places.push(before),
        });
        (text, places)
    }

    /// Name, parameters and value.
    pub fn content(&self, line: &Line) -> Content {
        let text = self.joined(line);
        let (head, value) = split(&text);
        Content { name: line.name.to_string(), params: params_of(&text[head]), value: text[value].to_vec() }
    }

    /// Where the value stands in the joined line.
    pub fn value_range(text: &[u8]) -> Range<usize> {
        split(text).1
    }

    /// Fills `components` and each line's `component`.
    fn nest(&mut self, octets: &[u8], lines: &mut [Line]) -> Result<(), ObjectError> {
        self.components.push(Component { name: String::new(), parent: 0, lines: 0..lines.len(), closed: true });
        let mut open = vec![0usize];
        for (i, line) in lines.iter_mut().enumerate() {
            let here = *open.last().unwrap_or(&0);
            line.component = here;
            if &*line.name != "BEGIN" && &*line.name != "END" {
                continue;
            }
            let text = join(octets, line.span.clone(), line.join, |_| {});
            let name = text::guess(trim(&text[split(&text).1])).to_ascii_uppercase();
            if &*line.name == "BEGIN" {
                if open.len() > MAX_DEPTH {
                    return Err(ObjectError::TooDeep { line: line.number, limit: MAX_DEPTH });
                }
                if self.components.len() >= MAX_COMPONENTS {
                    return Err(ObjectError::TooManyEvents { limit: MAX_COMPONENTS });
                }
                line.component = self.components.len();
                open.push(self.components.len());
                self.components.push(Component { name, parent: here, lines: i..i, closed: false });
            } else if let Some(depth) = open.iter().rposition(|&c| c != 0 && self.components[c].name == name) {
                for &c in &open[depth..] {
                    self.components[c].lines.end = i;
                }
                if depth + 1 < open.len() {
                    note(&mut self.problems, format!("line {}: END:{name} closes what stands open inside it", line.number));
                }
                let closing = open[depth];
                self.components[closing].lines.end = i + 1;
                self.components[closing].closed = true;
                line.component = closing;
                open.truncate(depth);
            } else {
                note(&mut self.problems, format!("line {}: END:{} without its BEGIN", line.number, super::error::clip(&name)));
                line.name = "".into();
            }
        }
        for &c in open.iter().skip(1) {
            self.components[c].lines.end = lines.len();
            let name = &self.components[c].name;
            note(&mut self.problems, format!("{} is not ended", super::error::clip(name)));
        }
        Ok(())
    }

    /// Names the lines that the draft writes without a colon, where no proper line of that name stands.
    fn read_colonless(&mut self) {
        if self.format != Format::Bare {
            return;
        }
        for name in COLONLESS {
            if self.lines.iter().any(|l| &*l.name == name) {
                continue;
            }
            let found = self.lines.iter().position(|l| {
                let text = &self.octets[l.span.clone()];
                l.name.is_empty() && text.starts_with(name.as_bytes()) && text.get(name.len()).is_some_and(|b| is_blank(*b))
            });
            if let Some(i) = found {
                self.lines[i].name = name.into();
                let number = self.lines[i].number;
                self.problem(format!("line {number}: {name} without a colon"));
            }
        }
        for i in 0..self.lines.len() {
            if self.lines[i].name.is_empty() {
                let number = self.lines[i].number;
                self.problem(format!("line {number}: not a property; passed on unread"));
            }
        }
    }
}

fn note(problems: &mut Vec<String>, text: String) {
    if problems.len() < MAX_PROBLEMS {
        problems.push(text);
    }
}

/// The ranges of parameters and of the value in a joined line.
fn split(text: &[u8]) -> (Range<usize>, Range<usize>) {
    let (after, colonless) = match name_of(text) {
        Some((_, after)) => (after, false),
        None => (text.iter().take_while(|b| !is_blank(**b)).count(), true),
    };
    let colon = if colonless { Some(after) } else { value_colon(text, after) };
    let colon = colon.unwrap_or(text.len());
    let mut start = (colon + 1).min(text.len());
    while start < text.len() && is_blank(text[start]) {
        start += 1;
    }
    (after.min(colon)..colon, start..text.len())
}

/// Where a part of a joined line came from: octets of the object, or a blank put in before that place.
enum Run {
    Octets(Range<usize>),
    Blank(usize),
}

/// Joins physical lines; `place` is told where each part came from.
fn join(octets: &[u8], span: Range<usize>, how: Join, mut place: impl FnMut(Run)) -> Vec<u8> {
    let mut text = Vec::with_capacity(span.len());
    let slice = &octets[..span.end];
    // What the run before loses when the next line is joined by a soft break.
    let mut run = span.start..span.start;
    for (n, line) in (Physicals { octets: slice, at: span.start, number: 0 }).enumerate() {
        let mut start = line.start;
        if n == 0 && octets[start..line.text_end].starts_with(b"\xef\xbb\xbf") {
            start += 3;
        }
        if n > 0 {
            let led = octets[start..line.text_end].first().is_some_and(|b| is_blank(*b));
            match how {
                Join::Fold => start += usize::from(led),
                Join::SoftBreak => {
                    let soft = !run.is_empty() && text.last() == Some(&b'=');
                    if soft {
                        text.pop();
                        run.end -= 1;
                    }
                    // Some writers fold after the soft break as well.
                    start += usize::from(led && (!soft || text.last().is_some_and(|b| is_blank(*b))));
                }
                Join::Blank => {
                    while start < line.text_end && is_blank(octets[start]) {
                        start += 1;
                    }
                }
                Join::Nothing => {}
            }
            place(Run::Octets(run));
            if how == Join::Blank && !text.last().is_some_and(|b| is_blank(*b)) {
                text.push(b' ');
                place(Run::Blank(start));
            }
        }
        text.extend_from_slice(&octets[start..line.text_end]);
        run = start..line.text_end;
    }
    place(Run::Octets(run));
    text
}

/// The format, by the first lines; `None` when nothing but blanks is there.
fn format_of(octets: &[u8]) -> Option<Format> {
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    let mut named = None;
    let (mut first, mut modern, mut old) = (true, false, false);
    for line in (Physicals { octets, at: 0, number: 0 }) {
        let text = trim(&octets[line.start..line.text_end]);
        if text.is_empty() {
            continue;
        }
        let parts = name_of(text).map(|(n, at)| (n, trim(&text[(at + 1).min(text.len())..])));
        let is = |name: &str, value: &str| {
            parts.is_some_and(|(n, v)| n.eq_ignore_ascii_case(name.as_bytes()) && v.eq_ignore_ascii_case(value.as_bytes()))
        };
        if first && !is("BEGIN", "VCALENDAR") {
            return Some(Format::Bare);
        }
        first = false;
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
    (!first).then_some(if modern || !old { Format::ICalendar } else { Format::VCalendar })
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
            if trim(self.text(first)).is_empty() || self.text(first) == b"\xef\xbb\xbf" {
                continue;
            }
            self.physicals.clear();
            self.physicals.push(first);
            let head = octets[first.start..first.text_end].strip_prefix(b"\xef\xbb\xbf").unwrap_or(&octets[first.start..first.text_end]);
            let mut name = name_of(head).map(|(n, _)| text::guess(n).to_ascii_uppercase());
            let mut kind = Encoding::of(head);
            let mut how = None;
            while let Some(&next) = all.peek() {
                let Some(join) = self.continues(next, kind, name.as_deref(), how) else { break };
                how = Some(join);
                self.physicals.push(next);
                all.next();
                if self.physicals.len() < 5 {
                    // A name or its parameters may themselves be folded; four times are enough for both.
                    let text = join_all(octets, &self.physicals, join);
                    name = name_of(&text).map(|(n, _)| text::guess(n).to_ascii_uppercase());
                    kind = Encoding::of(&text);
                }
            }
            self.push(name, how)?;
        }
        Ok(())
    }

    /// Whether and how `next` belongs to the line being read.
    fn continues(&self, next: Physical, kind: Encoding, name: Option<&str>, how: Option<Join>) -> Option<Join> {
        let last = *self.physicals.last()?;
        let (before, text) = (self.text(last), self.text(next));
        if kind == Encoding::QuotedPrintable && before.last() == Some(&b'=') {
            return Some(Join::SoftBreak);
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
        // Folding that lost its blank on the way: a full line, and no property after it.
        let length = last.text_end - last.start;
        if self.format != Format::Bare && kind == Encoding::Plain && (73..=76).contains(&length) && how.is_none_or(|h| h == Join::Fold) {
            let property = name_of(text).is_some() || trim(text).is_empty();
            if !property {
                return Some(Join::Fold);
            }
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

    fn push(&mut self, name: Option<String>, how: Option<Join>) -> Result<(), ObjectError> {
        if self.lines.len() >= MAX_LINES {
            return Err(ObjectError::TooManyLines { limit: MAX_LINES });
        }
        let (Some(first), Some(last)) = (self.physicals.first(), self.physicals.last()) else { return Ok(()) };
        let mut join = how.unwrap_or(Join::Fold);
        if join == Join::Fold && self.format != Format::ICalendar && name.as_deref() != Some("ATTACH") && !self.folded_as_icalendar() {
            join = Join::Blank;
        }
        if name.is_none() && self.format != Format::Bare {
            note(&mut self.problems, format!("line {}: not a property; passed on unread", first.number));
        }
        let (span, number) = (first.start..last.end, first.number);
        let name = name.unwrap_or_default().into();
        self.lines.push(Line { span, number, name, join, component: 0 });
        Ok(())
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

fn join_all(octets: &[u8], physicals: &[Physical], how: Join) -> Vec<u8> {
    match (physicals.first(), physicals.last()) {
        (Some(first), Some(last)) => join(octets, first.start..last.end, how, |_| {}),
        _ => Vec::new(),
    }
}

fn colonless(text: &[u8]) -> bool {
    COLONLESS.iter().any(|n| text.starts_with(n.as_bytes()) && text.get(n.len()).is_some_and(|b| is_blank(*b)))
}

/// The transfer encoding that a line names, with or without `ENCODING=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Plain,
    QuotedPrintable,
    Base64,
}

impl Encoding {
    fn of(line: &[u8]) -> Self {
        let (head, _) = split(line);
        // Most lines have no parameters; 500 octets of them are more than an encoding needs.
        let head = &line[head.start..head.end.min(head.start + 500)];
        if head.is_empty() { Self::Plain } else { Self::named(&params_of(head)) }
    }

    pub fn named(params: &[Param]) -> Self {
        let says = |v: &str| params.iter().any(|p| (p.name.is_empty() || p.name == "ENCODING") && p.value.eq_ignore_ascii_case(v));
        if says("QUOTED-PRINTABLE") || says("Q") {
            Self::QuotedPrintable
        } else if says("BASE64") || says("B") {
            Self::Base64
        } else {
            Self::Plain
        }
    }
}
