//! Content lines of vCalendar 1.0: values that are one line of ASCII as they are, all others in quoted-printable UTF-8.
//!
//! Invariants: what is written reads back to the same text ([`text::readable`], line ends as LF, without controls and
//! trailing blanks); a physical line that is not one line of ASCII has at most 76 octets after its first, and none is
//! longer than the wire takes; no value can start a line of its own.

use std::borrow::Cow;

use crate::calendar::property::{Document, Encoding};
use crate::calendar::{people, text};
use crate::ident::UserId;

/// Longest physical line of quoted-printable, without its end (RFC 2045 6.7).
const SOFT: usize = 76;
/// Longest line that is written in one piece; the wire takes 64 KiB (profile 1).
const LONG: usize = 60 * 1024;

/// Content lines with CRLF.
#[derive(Default)]
pub(crate) struct VWriter(pub Vec<u8>);

impl VWriter {
    /// A line as it stands, with soft breaks where it is quoted-printable.
    pub fn line(&mut self, line: &str) {
        wrap_into(&mut self.0, line.as_bytes());
    }

    /// A property with a text that a person reads.
    pub fn text(&mut self, name: &str, params: &str, text: &str) {
        self.line(&text_line(name, params, text));
    }

    /// A property whose value has no escapes: an address, a time, a URL.
    pub fn raw(&mut self, name: &str, params: &str, value: &str) {
        self.line(&raw_line(name, params, value));
    }

    /// A property whose value is a list separated by `;`. `,`, by which much software separates, is escaped too.
    pub fn list<T: AsRef<str>>(&mut self, name: &str, params: &str, parts: &[T]) {
        let quoted = parts.iter().any(|p| !is_plain(&normal(p.as_ref())));
        let escaped = |p: &T| escape(&normal(p.as_ref()), !quoted).replace(',', "\\,");
        let joined = parts.iter().map(escaped).collect::<Vec<_>>().join(";");
        self.line(&encoded_line(name, params, &joined, quoted));
    }

    /// Moments by `;`, in as many lines as keep each at a length that old software takes.
    pub fn moments(&mut self, name: &str, moments: &[String]) {
        for some in moments.chunks(40) {
            self.line(&format!("{name}:{}", some.join(";")));
        }
    }

    /// A base64 value: folded, with an empty line after it. `packed` holds base64 alone.
    pub fn base64(&mut self, name: &str, params: &str, packed: &[u8]) {
        let head = format!("{name}{params};ENCODING=BASE64:");
        self.0.extend(head.bytes().filter(|b| !matches!(b, b'\r' | b'\n')));
        for line in packed.chunks(72) {
            self.0.extend_from_slice(b"\r\n ");
            self.0.extend_from_slice(line);
        }
        self.0.extend_from_slice(b"\r\n\r\n");
    }
}

/// A property with a text, without line end and soft breaks.
pub(crate) fn text_line(name: &str, params: &str, text: &str) -> String {
    let text = normal(text);
    let quoted = !is_plain(&text);
    encoded_line(name, params, &escape(&text, !quoted), quoted)
}

/// A property whose value is taken as it stands, without line end and soft breaks.
pub(crate) fn raw_line(name: &str, params: &str, value: &str) -> String {
    let value = normal(value);
    let quoted = !is_plain(&value);
    encoded_line(name, params, &value, quoted)
}

/// `ATTENDEE;ROLE=ATTENDEE:Mary Weaver <mary@tiny.com>`.
pub(crate) fn person_line(property: &str, params: &str, name: Option<&str>, address: &UserId) -> String {
    let name: String = name.unwrap_or_default().chars().map(|c| if c == '"' { '\'' } else { c }).filter(|c| !c.is_control()).collect();
    let value = match name.trim() {
        "" => address.to_string(),
        name if name.contains(['\'', ',', ';', ':', '@', '(', ')', '\\', '<', '>']) => format!("\"{name}\" <{address}>"),
        name => format!("{name} <{address}>"),
    };
    debug_assert!(people::read_user(&value).is_some_and(|(read, _)| read == *address), "{value}");
    raw_line(property, params, &value)
}

fn encoded_line(name: &str, params: &str, value: &str, quoted: bool) -> String {
    // First, so that a reader knows it however long the parameters are.
    let encoding = if quoted { ";ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8" } else { "" };
    let room = value.len() + if quoted { value.len() / 4 } else { 0 };
    let mut line = String::with_capacity(name.len() + encoding.len() + params.len() + 1 + room);
    for part in [name, encoding, params, ":"] {
        line.push_str(part);
    }
    if quoted {
        push_quoted(&mut line, value);
    } else {
        line.push_str(value);
    }
    line
}

/// What a reader makes of it in any case: LF, no controls, no blanks at the end.
fn normal(text: &str) -> Cow<'_, str> {
    let text = text.trim_end();
    if !text::has_controls(text) {
        return Cow::Borrowed(text);
    }
    let mut text = text::printable(text);
    text.truncate(text.trim_end().len());
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
    out.reserve(line.len() + line.len() / 24 + 4);
    let quoted = Encoding::of(line) == Encoding::QuotedPrintable;
    // A soft break at the end would take the next line into the value.
    let dangling = if quoted { line.iter().rev().take_while(|b| matches!(b, b'=' | b' ' | b'\t')).count() } else { 0 };
    let line = if line[line.len() - dangling..].contains(&b'=') { &line[..line.len() - dangling] } else { line };
    let line = match memchr::memchr2(b'\r', b'\n', line) {
        None => Cow::Borrowed(line),
        Some(_) => Cow::Owned(line.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect()),
    };
    if line.len() <= SOFT || !quoted {
        out.extend_from_slice(&line);
        out.extend_from_slice(b"\r\n");
        return;
    }
    let value = Document::value_range(&line);
    out.extend_from_slice(&line[..value.start]);
    let mut column = value.start;
    let mut i = value.start;
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
            assert!(out.0.iter().all(|b| matches!(b, b' '..=b'~' | b'\r' | b'\n')), "{text:?}");
            let document = event(&out.0);
            let expected = normal(text);
            assert_eq!(read(&document, name), [expected], "{}", String::from_utf8_lossy(&out.0));
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
        let text = String::from_utf8(out.0).unwrap();
        assert!(text.lines().count() > 20 && text.lines().all(|l| l.len() <= 76), "{text}");
        let mut out = VWriter::default();
        out.text("DESCRIPTION", "", &"plain ".repeat(200_000));
        assert!(out.0.split(|b| *b == b'\n').all(|l| l.len() <= 77));
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
        assert!(out.0.ends_with(b"\r\n\r\n"));
        let document = event(&out.0);
        let line = document.lines.iter().find(|l| &*l.name == "ATTACH").unwrap();
        assert_eq!(text::decoded(&document.content(line)), "ABC".repeat(60).into_bytes());
    }

    #[test]
    fn people_read_back() {
        for name in ["Mary Weaver", "Weaver, Mary", "DOMAIN\\mary", "M. <the> W.", "José", "boss@other.com", "a;b:c", "x\\"] {
            let line = person_line("ATTENDEE", ";ROLE=ATTENDEE", Some(name), &user("mary@tiny.com"));
            let mut out = VWriter::default();
            out.line(&line);
            let document = event(&out.0);
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
            let document = event(&out.0);
            let content = document.content(document.lines.iter().find(|l| &*l.name == "CATEGORIES").unwrap());
            let raw = text::raw(&content);
            let read: Vec<String> = text::split_list(&raw, &[';', ',']).into_iter().map(|p| text::unescape(p, false).trim_end().to_owned()).collect();
            let expected: Vec<String> = parts.iter().map(|p| p.trim_end().to_owned()).collect();
            let (read, expected) = (read.join(";"), expected.join(";"));
            prop_assert_eq!(read, expected.trim_end());
        }
    }
}
