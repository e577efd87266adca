//! Octets of a value to text and back: charsets, quoted-printable, base64, escapes, folding.
//!
//! Invariant: decoding never fails. What cannot be decoded is kept as it stands, since a person still reads it.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::event::Format;
use super::property::{Content, Encoding, is_blank};

/// UTF-8 when it is valid, else ISO 8859-1 (profile 5), read as its superset windows-1252, which is what is meant
/// wherever the two differ.
pub(crate) fn guess(octets: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(octets) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(octets).0,
    }
}

/// A label that real software writes wrong is taken for what it must mean: `CP1252`, `iso8859_1`, and a Western label on
/// what is plainly UTF-8.
fn charset<'a>(octets: &'a [u8], label: Option<&str>) -> Cow<'a, str> {
    let Some(encoding) = label.and_then(encoding_named).filter(|e| *e != encoding_rs::UTF_8) else { return guess(octets) };
    let (text, errors) = encoding.decode_without_bom_handling(octets);
    let wide = encoding == encoding_rs::UTF_16LE || encoding == encoding_rs::UTF_16BE;
    let mislabeled = errors || encoding == encoding_rs::WINDOWS_1252 || (wide && !octets.contains(&0));
    match std::str::from_utf8(octets) {
        Ok(utf8) if mislabeled => Cow::Borrowed(utf8),
        _ => text,
    }
}

fn encoding_named(label: &str) -> Option<&'static encoding_rs::Encoding> {
    let known = |label: &str| encoding_rs::Encoding::for_label_no_replacement(label.as_bytes());
    let label = label.trim_matches(['"', '\'', ' ', '\t']);
    known(label).or_else(|| known(&label.replace('_', "-"))).or_else(|| {
        let letters: String = label.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        let page = ["windows", "win", "cp", "ms", "ibm"].iter().find_map(|p| letters.strip_prefix(p));
        match (letters.strip_prefix("iso8859"), page) {
            (Some(part), _) => known(&format!("iso-8859-{part}")),
            (None, Some("932")) => Some(encoding_rs::SHIFT_JIS),
            (None, Some("936")) => Some(encoding_rs::GBK),
            (None, Some(page)) => known(&format!("windows-{page}")),
            (None, None) => known(&letters),
        }
    })
}

/// Quoted-printable; a malformed `=` stays as it is.
pub(crate) fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let hex = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'=', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if let [high, low, behind @ ..] = rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high << 4 | low);
            rest = behind;
        } else if rest.iter().all(|b| is_blank(*b)) {
            // A soft break after which nothing comes.
            return out;
        } else {
            out.push(b'=');
        }
    }
    out.extend_from_slice(rest);
    out
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

/// The octets of a value after its transfer encoding.
pub(crate) fn decoded<'a>(content: &'a Content) -> Cow<'a, [u8]> {
    match Encoding::named(&content.params) {
        Encoding::Plain => Cow::Borrowed(&content.value),
        Encoding::QuotedPrintable => Cow::Owned(quoted_printable(&content.value)),
        Encoding::Base64 => {
            let packed: Vec<u8> = content.value.iter().copied().filter(|b| !is_blank(*b)).collect();
            LENIENT.decode(&packed).map_or(Cow::Borrowed(&*content.value), Cow::Owned)
        }
    }
}

/// The value without escapes undone: for addresses, lists, times.
pub(crate) fn raw<'a>(content: &'a Content) -> Cow<'a, str> {
    let label = content.param("CHARSET");
    match decoded(content) {
        Cow::Borrowed(octets) => charset(octets, label),
        Cow::Owned(octets) => match charset(&octets, label) {
            Cow::Owned(text) => Cow::Owned(text),
            // It is UTF-8 as it stands, as is most of what is encoded.
            Cow::Borrowed(_) => Cow::Owned(String::from_utf8(octets).unwrap_or_else(|e| guess(e.as_bytes()).into_owned())),
        },
    }
}

/// The value as a text that a person reads, with line breaks as LF.
pub(crate) fn readable(content: &Content, format: Format) -> String {
    let breaks = format == Format::ICalendar || Encoding::named(&content.params) == Encoding::Plain;
    let mut text = match raw(content) {
        raw if raw.contains('\\') => unescape(&raw, breaks),
        raw => raw.into_owned(),
    };
    if has_controls(&text) {
        text = printable(&text);
    }
    text.truncate(without_end(&text).len());
    text
}

/// Without blanks and line ends at its end. Other white space of Unicode is part of a text, such as a UID.
pub(crate) fn without_end(text: &str) -> &str {
    text.trim_end_matches([' ', '\t', '\r', '\n'])
}

/// Whether [`printable`] may change it: it has CR, or what may be the first octet of another control than LF and TAB.
pub(crate) fn has_controls(text: &str) -> bool {
    // Without an early end within a block, which the compiler makes few instructions of.
    let may = |b: &u8| *b < b' ' && *b != b'\n' && *b != b'\t' || *b == 0x7f || *b == 0xc2;
    text.as_bytes().chunks(64).any(|block| block.iter().fold(false, |found, b| found | may(b)))
}

/// With LF for every line end, and without other controls than TAB.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, control)) = rest.char_indices().find(|(_, c)| c.is_control() && !matches!(c, '\n' | '\t')) {
        out.push_str(&rest[..at]);
        rest = &rest[at + control.len_utf8()..];
        if control == '\r' {
            out.push('\n');
            rest = rest.strip_prefix('\n').unwrap_or(rest);
        }
    }
    out.push_str(rest);
    out
}

/// Undoes `\;` `\,` `\\`, and with `breaks` also `\n`: vCalendar has no `\n`, but its writers use it where they do not
/// use quoted-printable.
pub(crate) fn unescape(text: &str, breaks: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let said = match rest.bytes().next() {
            Some(octet @ (b';' | b',' | b'\\' | b':' | b'"')) => Some(char::from(octet)),
            Some(b'n' | b'N') if breaks => Some('\n'),
            _ => None,
        };
        out.push(said.unwrap_or('\\'));
        rest = &rest[usize::from(said.is_some())..];
    }
    out.push_str(rest);
    out
}

/// Splits at unescaped separators; the parts keep their escapes.
pub(crate) fn split_list<'a>(text: &'a str, separators: &[char]) -> Vec<&'a str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (i, c) in text.char_indices() {
        if !escaped && separators.contains(&c) {
            parts.push(&text[start..i]);
            start = i + c.len_utf8();
        }
        escaped = !escaped && c == '\\';
    }
    parts.push(&text[start..]);
    parts
}

/// iCalendar TEXT (RFC 5545 3.3.11).
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::new();
    push_escaped(&mut out, text);
    out
}

/// Appends the same.
pub(crate) fn push_escaped(out: &mut String, text: &str) {
    out.reserve(text.len() + text.len() / 16);
    let text = if has_controls(text) { Cow::Owned(printable(text)) } else { Cow::Borrowed(text) };
    let mut rest = &*text;
    while let Some(at) = rest.bytes().position(|b| matches!(b, b'\\' | b';' | b',' | b'\n')) {
        out.push_str(&rest[..at]);
        out.push('\\');
        out.push(match rest.as_bytes()[at] {
            b'\n' => 'n',
            b => char::from(b),
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// A parameter value of iCalendar with `^n`, `^^` and `^'` undone (RFC 6868). A list of quoted values stays as it is.
pub(crate) fn uncircumflexed(text: &str) -> String {
    if text.contains('"') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let said = match (c, chars.peek()) {
            ('^', Some('n')) => Some('\n'),
            ('^', Some('^')) => Some('^'),
            ('^', Some('\'')) => Some('"'),
            _ => None,
        };
        if said.is_some() {
            chars.next();
        }
        out.push(said.unwrap_or(c));
    }
    out
}

/// A parameter value of iCalendar: quoted where it must be (RFC 5545 3.1), quotes and line breaks as RFC 6868 says.
pub(crate) fn ical_param_value(text: &str) -> Cow<'_, str> {
    if !text.contains(['"', '\n', '^']) {
        return param_value(text);
    }
    Cow::Owned(param_value(&text.replace('^', "^^").replace('"', "^'").replace('\n', "^n")).into_owned())
}

/// A parameter value of vCalendar: quoted where a reader of iCalendar needs it; what cannot stand in one is replaced.
pub(crate) fn param_value(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'-' | b'.' | b'/' | b'@' | b'_')) {
        return Cow::Borrowed(text);
    }
    let clean: String = text.chars().map(|c| if c == '"' { '\'' } else { c }).filter(|c| !c.is_control()).collect();
    Cow::Owned(if clean.contains([':', ';', ',']) { format!("\"{clean}\"") } else { clean })
}

/// Longest physical line in iCalendar, without its end (RFC 5545 3.1).
pub(crate) const FOLD_AT: usize = 75;

/// Appends one content line with CRLF, folded at 75 octets, never inside a UTF-8 character.
pub(crate) fn fold_into(out: &mut Vec<u8>, line: &[u8]) {
    let mut rest = line;
    let mut room = FOLD_AT;
    while rest.len() > room {
        let mut cut = room;
        while cut > 1 && rest[cut] & 0xc0 == 0x80 {
            cut -= 1;
        }
        if cut == 1 {
            cut = room;
        }
        out.extend_from_slice(&rest[..cut]);
        out.extend_from_slice(b"\r\n ");
        rest = &rest[cut..];
        room = FOLD_AT - 1;
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(b"\r\n");
}
