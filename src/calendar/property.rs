//! Content lines of all three formats: where each one stands in the octets, and how its folded parts join.
//!
//! A [`Document`] is an index over octets that are never changed; names, parameters and values are taken out of it on
//! demand ([`Document::content`]), so that a ten-megabyte attachment costs one index entry.
//!
//! Invariants: the spans of `lines` ascend, do not overlap, and start and end at physical line borders; blank lines
//! between them belong to no line; `components[0]` is the whole object, and every component's parent stands before it.

use std::borrow::Cow;
use std::ops::Range;

use compact_str::CompactString;

use super::error::ObjectError;
use super::event::Format;
use super::reader::{self, Physicals};
use super::text;

/// Components inside one another.
pub(crate) const MAX_DEPTH: usize = 16;
/// Components in one object.
const MAX_COMPONENTS: usize = 50_000;
/// Lines of the report about what was odd.
const MAX_PROBLEMS: usize = 50;
/// Parameters read of one line.
const MAX_PARAMS: usize = 200;

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
    pub name: CompactString,
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
    pub name: CompactString,
    pub value: CompactString,
}

/// A content line taken apart. `value` is joined and, unless it is a text of iCalendar, trimmed in front, but not decoded.
#[derive(Clone, Debug)]
pub(crate) struct Content<'a> {
    pub name: CompactString,
    pub params: Vec<Param>,
    /// Part of the object's octets, unless it was folded.
    pub value: Cow<'a, [u8]>,
}

impl Content<'_> {
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
pub(super) fn name_of(line: &[u8]) -> Option<(&[u8], usize)> {
    let blanks = |from: usize| line[from..].iter().position(|b| !is_blank(*b)).map_or(line.len(), |i| from + i);
    let in_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let begin = blanks(0);
    let end = line[begin..].iter().position(|b| !in_name(b)).map_or(line.len(), |i| begin + i);
    let after = blanks(end);
    ((1..=100).contains(&(end - begin)) && matches!(line.get(after), Some(b':' | b';'))).then(|| (&line[begin..end], after))
}

/// Properties that the draft writes without a colon (`UID unique identifier of event`).
const COLONLESS: [&str; 5] = ["UID", "SEQUENCE", "RESPONSE-SEQUENCE", "DTSTART", "DTEND"];

pub(super) fn colonless(text: &[u8]) -> bool {
    COLONLESS.iter().any(|n| text.starts_with(n.as_bytes()) && text.get(n.len()).is_some_and(|b| is_blank(*b)))
}

/// The first `wanted` outside quotes; where a quote is left open, the first at all.
fn outside_quotes(text: &[u8], wanted: u8) -> Option<usize> {
    let mut quoted = false;
    for (i, &b) in text.iter().enumerate() {
        match b {
            b'"' => quoted = !quoted,
            _ if b == wanted && !quoted => return Some(i),
            _ => {}
        }
    }
    if quoted { text.iter().position(|&b| b == wanted) } else { None }
}

/// The colon that ends name and parameters.
fn value_colon(line: &[u8], from: usize) -> Option<usize> {
    outside_quotes(&line[from.min(line.len())..], b':').map(|i| from + i)
}

/// The parts between the `;` outside quotes, trimmed, without empty ones.
fn param_parts(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let end = outside_quotes(text, b';');
        let part = &text[..end.unwrap_or(text.len())];
        text = end.map_or(&[], |end| &text[end + 1..]);
        Some(trim(part))
    });
    parts.filter(|p| !p.is_empty()).take(MAX_PARAMS)
}

/// Name and value of one of [`param_parts`], both trimmed; the name is empty where none stands.
fn name_and_value(part: &[u8]) -> (&[u8], &[u8]) {
    match part.iter().position(|&b| b == b'=' || b == b'"') {
        Some(i) if part[i] == b'=' => (trim(&part[..i]), trim(&part[i + 1..])),
        _ => (&part[..0], part),
    }
}

/// Parameters: `;NAME=value,"value";VALUE`.
pub(super) fn params_of(text: &[u8]) -> Vec<Param> {
    let param = |part| {
        let (name, mut value) = name_and_value(part);
        if let [b'"', inner @ .., b'"'] = value
            && !inner.contains(&b'"')
        {
            value = inner;
        }
        let mut name = CompactString::from(text::guess(name));
        name.make_ascii_uppercase();
        Param { name, value: text::guess(value).into() }
    };
    param_parts(text).map(param).collect()
}

impl Document {
    /// Indexes the octets and decides the format.
    pub fn parse(octets: Vec<u8>) -> Result<Self, ObjectError> {
        if let Some(at) = memchr::memchr(0, &octets) {
            let line = octets[..at].split(|&b| b == b'\n').count();
            return Err(ObjectError::Nul { line });
        }
        let format = reader::format_of(&octets).ok_or(ObjectError::Empty)?;
        let (mut lines, problems) = reader::lines(&octets, format)?;
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
    pub fn joined(&self, line: &Line) -> Cow<'_, [u8]> {
        joined(&self.octets, line)
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
    pub fn content(&self, line: &Line) -> Content<'_> {
        content(&self.octets, line, self.format)
    }

    /// The value without escapes undone ([`text::raw`]).
    pub fn raw(&self, line: &Line) -> String {
        text::raw(&self.content(line)).into_owned()
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
            let name = component_name(octets, line);
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

/// What a BEGIN or END line names; Symbian encodes even that.
fn component_name(octets: &[u8], line: &Line) -> String {
    text::guess(trim(&text::decoded(&content(octets, line, Format::Bare)))).to_ascii_uppercase()
}

/// A line joined from its physical lines; most have one.
fn joined<'a>(octets: &'a [u8], line: &Line) -> Cow<'a, [u8]> {
    let whole = &octets[line.span.clone()];
    let text = whole.strip_suffix(b"\n").map_or(whole, |text| text.strip_suffix(b"\r").unwrap_or(text));
    if memchr::memchr(b'\n', text).is_none() && !text.ends_with(b"\r") {
        return Cow::Borrowed(text.strip_prefix(reader::BOM).unwrap_or(text));
    }
    Cow::Owned(join(octets, line.span.clone(), line.join, |_| {}))
}

fn content<'a>(octets: &'a [u8], line: &Line, format: Format) -> Content<'a> {
    let text = joined(octets, line);
    let (head, mut value) = split(&text);
    if format == Format::ICalendar && matches!(&*line.name, "COMMENT" | "CONTACT" | "DESCRIPTION" | "LOCATION" | "SUMMARY") {
        // Blanks in front belong to the text (RFC 5545 3.1).
        value.start = value.start.min(head.end + 1);
    }
    let mut params = params_of(&text[head]);
    if format == Format::ICalendar {
        for param in params.iter_mut().filter(|p| p.value.contains('^')) {
            param.value = text::uncircumflexed(&param.value).into();
        }
    }
    let value = match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[value]),
        Cow::Owned(mut text) => {
            text.truncate(value.end);
            text.drain(..value.start);
            Cow::Owned(text)
        }
    };
    Content { name: line.name.clone(), params, value }
}

pub(super) fn note(problems: &mut Vec<String>, text: String) {
    if problems.len() < MAX_PROBLEMS {
        problems.push(text);
    }
}

/// The ranges of parameters and of the value in a joined line.
pub(super) fn split(text: &[u8]) -> (Range<usize>, Range<usize>) {
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
pub(super) enum Run {
    Octets(Range<usize>),
    Blank(usize),
}

/// Joins physical lines; `place` is told where each part came from.
pub(super) fn join(octets: &[u8], span: Range<usize>, how: Join, mut place: impl FnMut(Run)) -> Vec<u8> {
    let mut text = Vec::with_capacity(span.len());
    let slice = &octets[..span.end];
    // What the run before loses when the next line is joined by a soft break.
    let mut run = span.start..span.start;
    for (n, line) in (Physicals { octets: slice, at: span.start, number: 0 }).enumerate() {
        let mut start = line.start;
        if n == 0 && octets[start..line.text_end].starts_with(reader::BOM) {
            start += 3;
        }
        if n > 0 {
            let led = octets[start..line.text_end].first().is_some_and(|b| is_blank(*b));
            match how {
                Join::Fold => start += usize::from(led),
                Join::SoftBreak => {
                    // Mail systems pad the `=` with blanks.
                    let padded = text.iter().rev().take_while(|b| is_blank(**b)).count() + 1;
                    let soft = padded <= run.len() && text[text.len() - padded] == b'=';
                    if soft {
                        text.truncate(text.len() - padded);
                        run.end -= padded;
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

/// The transfer encoding that a line names, with or without `ENCODING=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Plain,
    QuotedPrintable,
    Base64,
}

impl Encoding {
    pub(super) fn of(line: &[u8]) -> Self {
        // Most lines have no parameters.
        if memchr::memchr2(b':', b';', line).is_none_or(|i| line[i] == b':') {
            return Self::Plain;
        }
        let (head, _) = split(line);
        // 500 octets of them are more than an encoding needs.
        Self::first(param_parts(&line[head.start..head.end.min(head.start + 500)]).map(name_and_value))
    }

    pub fn named(params: &[Param]) -> Self {
        Self::first(params.iter().map(|p| (p.name.as_bytes(), p.value.as_bytes())))
    }

    fn first<'a>(params: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut words = params.filter(|(name, _)| name.is_empty() || name.eq_ignore_ascii_case(b"ENCODING")).map(|(_, value)| value);
        words.find_map(Self::word).unwrap_or(Self::Plain)
    }

    /// `QUOTED-PRINTABLE` and what is meant for it.
    fn word(value: &[u8]) -> Option<Self> {
        let is = |word: &[u8]| {
            let letters = value.iter().filter(|b| !matches!(b, b'-' | b'_' | b'"' | b' '));
            letters.map(u8::to_ascii_uppercase).eq(word.iter().copied())
        };
        match value.first()? {
            _ if is(b"QUOTEDPRINTABLE") || is(b"QP") || is(b"Q") => Some(Self::QuotedPrintable),
            _ if is(b"BASE64") || is(b"B") => Some(Self::Base64),
            _ => None,
        }
    }
}
