//! Content lines of vCalendar 1.0: values that are one line of ASCII as they are, all others in quoted-printable UTF-8.
//!
//! Invariants: what is written reads back to the same text ([`text::readable`], line ends as LF, without controls and
//! trailing blanks); a physical line that is not one line of ASCII has at most 76 octets after its first, and none is
//! longer than the wire takes; no value can start a line of its own.

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::calendar::property::{Document, Encoding};
use crate::calendar::{people, text};
use crate::ident::UserId;

/// Longest physical line of quoted-printable, without its end (RFC 2045 6.7).
const SOFT: usize = 76;
/// Longest line that is written in one piece; the wire takes 64 KiB (profile 1).
const LONG: usize = 60 * 1024;

/// Content lines with CRLF.
#[derive(Default)]
pub(crate) struct VWriter {
    pub octets: Vec<u8>,
    /// Room in which a line is put together.
    line: String,
}

impl VWriter {
    pub fn with_capacity(octets: usize) -> Self {
        Self { octets: Vec::with_capacity(octets), line: String::new() }
    }

    /// A line as it stands, with soft breaks where it is quoted-printable.
    pub fn line(&mut self, line: &str) {
        wrap_into(&mut self.octets, line.as_bytes());
    }

    /// The same, put together in place.
    pub fn line_of(&mut self, line: fmt::Arguments<'_>) {
        self.line.clear();
        // Writing to a String cannot fail.
        let _ = self.line.write_fmt(line);
        wrap_into(&mut self.octets, self.line.as_bytes());
    }

    /// A property with a text that a person reads.
    pub fn text(&mut self, name: &str, params: &str, text: &str) {
        self.line.clear();
        let value = push_text(&mut self.line, name, params, text);
        push_wrapped(&mut self.octets, self.line.as_bytes(), value);
    }

    /// A property whose value has no escapes: an address, a time, a URL.
    pub fn raw(&mut self, name: &str, params: &str, value: &str) {
        self.line.clear();
        let value = push_raw(&mut self.line, name, params, value);
        push_wrapped(&mut self.octets, self.line.as_bytes(), value);
    }

    /// `ATTENDEE;ROLE=ATTENDEE:Mary Weaver <mary@tiny.com>`.
    pub fn attendee(&mut self, params: &str, name: Option<&str>, address: &UserId) {
        self.raw("ATTENDEE", params, &person(name, address));
    }

    /// A property whose value is a list separated by `;`. `,`, by which much software separates, is escaped too.
    pub fn list<T: AsRef<str>>(&mut self, name: &str, params: &str, parts: &[T]) {
        let quoted = parts.iter().any(|p| !is_plain(&normal(p.as_ref())));
        let escaped = |p: &T| escape(&normal(p.as_ref()), !quoted).replace(',', "\\,");
        let joined = parts.iter().map(escaped).collect::<Vec<_>>().join(";");
        self.line.clear();
        let value = push_encoded(&mut self.line, name, params, &joined, quoted);
        push_wrapped(&mut self.octets, self.line.as_bytes(), value);
    }

    /// Moments by `;`, in as many lines as keep each at a length that old software takes.
    pub fn moments(&mut self, name: &str, moments: &[String]) {
        for some in moments.chunks(40) {
            self.line_of(format_args!("{name}:{}", some.join(";")));
        }
    }

    /// A base64 value: folded, with an empty line after it. `packed` holds base64 alone.
    pub fn base64(&mut self, name: &str, params: &str, packed: &[u8]) {
        let head = format!("{name}{params};ENCODING=BASE64:");
        self.octets.extend(head.bytes().filter(|b| !matches!(b, b'\r' | b'\n')));
        for line in packed.chunks(72) {
            self.octets.extend_from_slice(b"\r\n ");
            self.octets.extend_from_slice(line);
        }
        self.octets.extend_from_slice(b"\r\n\r\n");
    }
}

/// A property with a text, without line end and soft breaks.
pub(crate) fn text_line(name: &str, params: &str, text: &str) -> String {
    let mut line = String::new();
    push_text(&mut line, name, params, text);
    line
}

/// `ATTENDEE;ROLE=ATTENDEE:Mary Weaver <mary@tiny.com>`, without line end and soft breaks.
pub(crate) fn person_line(property: &str, params: &str, name: Option<&str>, address: &UserId) -> String {
    let mut line = String::new();
    push_raw(&mut line, property, params, &person(name, address));
    line
}

/// `Mary Weaver <mary@tiny.com>`, read back by [`people::read_user`].
fn person(name: Option<&str>, address: &UserId) -> String {
    let name: String = name.unwrap_or_default().chars().map(|c| if c == '"' { '\'' } else { c }).filter(|c| !c.is_control()).collect();
    let (local, server) = (address.local(), address.server().as_str());
    let value = match name.trim() {
        "" => [local, "@", server].concat(),
        name if name.contains(['\'', ',', ';', ':', '@', '(', ')', '\\', '<', '>']) => {
            ["\"", name, "\" <", local, "@", server, ">"].concat()
        }
        name => [name, " <", local, "@", server, ">"].concat(),
    };
    debug_assert!(people::read_user(&value).is_some_and(|(read, _)| read == *address), "{value}");
    value
}

/// Appends a property with a text; where its value begins when that is quoted-printable.
fn push_text(line: &mut String, name: &str, params: &str, text: &str) -> Option<usize> {
    let text = normal(text);
    let quoted = !is_plain(&text);
    push_encoded(line, name, params, &escape(&text, !quoted), quoted)
}

/// The same with a value that is taken as it stands.
fn push_raw(line: &mut String, name: &str, params: &str, value: &str) -> Option<usize> {
    let value = normal(value);
    let quoted = !is_plain(&value);
    push_encoded(line, name, params, &value, quoted)
}

fn push_encoded(line: &mut String, name: &str, params: &str, value: &str, quoted: bool) -> Option<usize> {
    // First, so that a reader knows it however long the parameters are.
    let encoding = if quoted { ";ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8" } else { "" };
    let room = value.len() + if quoted { value.len() / 4 } else { 0 };
    line.reserve(name.len() + encoding.len() + params.len() + 1 + room);
    for part in [name, encoding, params, ":"] {
        line.push_str(part);
    }
    let begins = line.len();
    if quoted {
        push_quoted(line, value);
    } else {
        line.push_str(value);
    }
    quoted.then_some(begins)
}

/// What a reader makes of it in any case: LF, no controls, no blanks at the end.
fn normal(text: &str) -> Cow<'_, str> {
    let text = text::without_end(text);
    if !text::has_controls(text) {
        return Cow::Borrowed(text);
    }
    let mut text = text::printable(text);
    text.truncate(text::without_end(&text).len());
    Cow::Owned(text)
}

/// One line of ASCII that nothing in front would be cut off of, and that the wire takes.
fn is_plain(text: &str) -> bool {
    text.len() <= LONG && !text.starts_with(' ') && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

/// `;` always; `\` only where its reader would take it for an escape, since older software knows none but `\;`.
/// `breaks`: the reader takes `\n` for a line break, as it does outside quoted-printable.
fn escape(text: &str, breaks: bool) -> Cow<'_, str> {
    if !text.contains([';', '\\']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(at) = rest.find([';', '\\']) {
        out.push_str(&rest[..at]);
        let (special, behind) = (rest.as_bytes()[at], rest.as_bytes().get(at + 1));
        let escaped = match (special, behind) {
            (b';', _) | (_, None | Some(b';' | b',' | b'\\' | b':' | b'"')) => true,
            (_, Some(b'n' | b'N')) => breaks,
            _ => false,
        };
        if escaped {
            out.push('\\');
        }
        out.push(char::from(special));
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Appends quoted-printable of UTF-8, line breaks as CRLF, without soft breaks.
fn push_quoted(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let last = text.len().saturating_sub(1);
    let mut from = 0;
    for (i, b) in text.bytes().enumerate() {
        // A blank in front or at the end is lost on the way.
        let plain = (b' '..=b'~').contains(&b) && b != b'=' && !(b == b' ' && (i == 0 || i == last));
        if plain {
            continue;
        }
        // What stands before is ASCII and ends here, or is nothing.
        out.push_str(text.get(from..i).unwrap_or_default());
        from = i + 1;
        if b == b'\n' {
            out.push_str("=0D=0A");
        } else {
            out.push('=');
            out.push(char::from(HEX[usize::from(b >> 4)]));
            out.push(char::from(HEX[usize::from(b & 15)]));
        }
    }
    out.push_str(text.get(from..).unwrap_or_default());
}

/// Appends a line with CRLF; where it names quoted-printable, in physical lines of 76 octets. What could end the line
/// within is left out.
pub(crate) fn wrap_into(out: &mut Vec<u8>, line: &[u8]) {
    let quoted = Encoding::of(line) == Encoding::QuotedPrintable;
    // A soft break at the end would take the next line into the value.
    let dangling = if quoted { line.iter().rev().take_while(|b| matches!(b, b'=' | b' ' | b'\t')).count() } else { 0 };
    let line = if line[line.len() - dangling..].contains(&b'=') { &line[..line.len() - dangling] } else { line };
    if memchr::memchr2(b'\r', b'\n', line).is_some() {
        let line: Vec<u8> = line.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
        push_wrapped(out, &line, quoted.then(|| Document::value_range(&line).start));
    } else {
        push_wrapped(out, line, quoted.then(|| Document::value_range(line).start));
    }
}

/// Appends a line with CRLF, its value in physical lines of 76 octets where it is quoted-printable: `value` is where it
/// begins then.
fn push_wrapped(out: &mut Vec<u8>, line: &[u8], value: Option<usize>) {
    out.reserve(line.len() + line.len() / 24 + 4);
    let Some(value) = value.filter(|_| line.len() > SOFT) else {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
        return;
    };
    out.extend_from_slice(&line[..value]);
    let mut column = value;
    let mut i = value;
    while i < line.len() {
        let coded = line[i] == b'=' && line[i + 1..].len() >= 2;
        let unit = if coded { &line[i..i + 3] } else { &line[i..=i] };
        i += unit.len();
        // Room for the `=` that breaks, unless the value ends here.
        let room = if i == line.len() { SOFT } else { SOFT - 1 };
        if column + unit.len() > room {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        let unit: &[u8] = match unit {
            // A blank in front of a line would pass for folding,
            b" " if column == 0 => b"=20",
            // and an END for the one that shows a value broken off.
            b"E" if column == 0 && line[i..].starts_with(b"ND:") => b"=45",
            unit => unit,
        };
        out.extend_from_slice(unit);
        column += unit.len();
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::calendar::event::Format;
    use crate::calendar::property::Document;
    use crate::calendar::tests::user;
    use crate::calendar::text;

    fn event(inner: &[u8]) -> Document {
        let octets =
            [b"BEGIN:VCALENDAR\r\nVERSION:1.0\r\nBEGIN:VEVENT\r\nUID:1\r\n", inner, b"DTSTART:20260101\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"];
        Document::parse(octets.concat()).unwrap()
    }

    fn read(document: &Document, name: &str) -> Vec<String> {
        let lines = document.lines.iter().filter(|l| &*l.name == name);
        lines.map(|l| text::readable(&document.content(l), Format::VCalendar)).collect()
    }

    fn same(text: &str) {
        for (name, params) in [("SUMMARY", ""), ("DESCRIPTION", ";LANGUAGE=de"), ("X-A", ";X-CIP-ALTREP=\"a:b\"")] {
            let mut out = VWriter::default();
            out.text(name, params, text);
            assert!(out.octets.iter().all(|b| matches!(b, b' '..=b'~' | b'\r' | b'\n')), "{text:?}");
            let document = event(&out.octets);
            let expected = normal(text);
            assert_eq!(read(&document, name), [expected], "{}", String::from_utf8_lossy(&out.octets));
            assert_eq!(document.lines.iter().filter(|l| &*l.name == "DTSTART").count(), 1);
            assert_eq!(document.problems, Vec::<String>::new());
        }
    }

    #[test]
    fn texts_read_back() {
        for text in [
            "Lunch; with, all \\ of them",
            "C:\\new\\temp\\",
            "\\",
            "\\n",
            "a\\;b",
            "\\\\",
            " led",
            "tab\there",
            "a\r\nb\rc\n\n",
            "Größe =41 = =\n",
            "BEGIN:VEVENT\nEND:VEVENT",
        ] {
            same(text);
        }
        same(&"long and plain; ".repeat(6000));
        same(&"é ".repeat(500));
        same(&" ".repeat(200));
        same(&format!("{}ü", " ".repeat(300)));
        same(&"=".repeat(300));
    }

    #[test]
    fn older_software_sees_few_escapes() {
        assert_eq!(text_line("SUMMARY", "", "C:\\temp; now"), "SUMMARY:C:\\temp\\; now");
        assert_eq!(text_line("LOCATION", "", "Raum 5, Köln"), "LOCATION;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:Raum 5, K=C3=B6ln");
    }

    #[test]
    fn physical_lines_stay_short() {
        let mut out = VWriter::default();
        out.text("DESCRIPTION", ";LANGUAGE=de", &"Grüße aus Köln am Rhein. ".repeat(50));
        let text = String::from_utf8(out.octets).unwrap();
        assert!(text.lines().count() > 20 && text.lines().all(|l| l.len() <= 76), "{text}");
        let mut out = VWriter::default();
        out.text("DESCRIPTION", "", &"plain ".repeat(200_000));
        assert!(out.octets.split(|b| *b == b'\n').all(|l| l.len() <= 77));
    }

    /// A reader takes END at the start of a physical line for the end of a component, whatever stands before it.
    #[test]
    fn no_break_puts_an_end_in_front() {
        for ahead in 0..160 {
            same(&format!("{}\nEND:VEVENT\nEND:VCALENDAR", "x".repeat(ahead)));
        }
    }

    #[test]
    fn base64_ends_with_an_empty_line() {
        let mut out = VWriter::default();
        let packed = "QUJD".repeat(60);
        out.base64("ATTACH", ";VALUE=INLINE", packed.as_bytes());
        assert!(out.octets.ends_with(b"\r\n\r\n"));
        let document = event(&out.octets);
        let line = document.lines.iter().find(|l| &*l.name == "ATTACH").unwrap();
        assert_eq!(text::decoded(&document.content(line)), "ABC".repeat(60).into_bytes());
    }

    #[test]
    fn people_read_back() {
        for name in ["Mary Weaver", "Weaver, Mary", "DOMAIN\\mary", "M. <the> W.", "José", "boss@other.com", "a;b:c", "x\\"] {
            let line = person_line("ATTENDEE", ";ROLE=ATTENDEE", Some(name), &user("mary@tiny.com"));
            let mut out = VWriter::default();
            out.line(&line);
            let document = event(&out.octets);
            let content = document.content(document.lines.iter().find(|l| &*l.name == "ATTENDEE").unwrap());
            let seat = people::seat(&content).unwrap();
            assert_eq!((seat.person.address, seat.person.name.as_deref()), (user("mary@tiny.com"), Some(name)), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_text_reads_back(text in "(?s).{0,300}") {
            same(&text);
        }

        #[test]
        fn any_text_of_awkward_characters_reads_back(text in "[ \\\\;,:=nN\"ü\n\r\t]{0,200}") {
            same(&text);
        }

        #[test]
        fn any_list_reads_back(parts in proptest::collection::vec("[!-~ü\\\\;,n][ -~ü\\\\;,n]{0,20}", 1..8)) {
            let mut out = VWriter::default();
            out.list("CATEGORIES", "", &parts);
            let document = event(&out.octets);
            let content = document.content(document.lines.iter().find(|l| &*l.name == "CATEGORIES").unwrap());
            let raw = text::raw(&content);
            let read: Vec<String> = text::split_list(&raw, &[';', ',']).into_iter().map(|p| text::unescape(p, false).trim_end().to_owned()).collect();
            let expected: Vec<String> = parts.iter().map(|p| p.trim_end().to_owned()).collect();
            let (read, expected) = (read.join(";"), expected.join(";"));
            prop_assert_eq!(read, expected.trim_end());
        }
    }
}
