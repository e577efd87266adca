//! Words, lists, places, attachments and parameters.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::lines;
use crate::calendar::property::{Content, Encoding, Param};
use crate::calendar::text;

/// An iana-token in upper case.
pub(super) fn word(value: &str) -> Option<String> {
    let fits = !value.is_empty() && value.len() < 60 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    fits.then(|| value.to_ascii_uppercase())
}

/// `a;b, c` as `a,b,c`; vCalendar separates by `;`, much software by `,`.
pub(super) fn list(value: &str) -> String {
    let parts = text::split_list(value, &[';', ',']).into_iter();
    let parts: Vec<String> = parts.map(|p| text::escape(text::unescape(p, false).trim())).filter(|p| !p.is_empty()).collect();
    parts.join(",")
}

/// The parameters that iCalendar takes over, as `;NAME=value`: transfer encoding, charset and value kind are dealt with
/// elsewhere, X-CIP- ones get their own name back.
pub(super) fn params(content: &Content) -> String {
    let mut out = String::new();
    for param in content.params.iter().filter(|p| !matches!(p.name.as_str(), "" | "ENCODING" | "CHARSET" | "VALUE" | "TZID")) {
        push_param(&mut out, param);
    }
    out
}

/// A value of vCalendar as one of iCalendar. What has no place in a parameter of vCalendar would not come back.
pub(super) fn param_value(text: &str) -> Cow<'_, str> {
    if text.contains(['"', '^']) {
        Cow::Owned(text::ical_param_value(&text.replace('"', "'")).into_owned())
    } else {
        text::param_value(text)
    }
}

/// One parameter, its own name given back to one of iCalendar that was carried.
pub(super) fn push_param(out: &mut String, param: &Param) {
    let name = match param.name.strip_prefix(lines::PARAMETER) {
        Some(inner) if lines::param_restores(inner) => inner,
        _ => &param.name,
    };
    if !is_token(name) {
        return;
    }
    out.push(';');
    out.push_str(name);
    out.push('=');
    if lines::is_quoted_list(&param.value) { out.push_str(&param.value) } else { out.push_str(&param_value(&param.value)) }
}

pub(super) fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// `scheme:rest` with a scheme of two letters at least (one is a drive).
pub(super) fn is_uri(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once(':') else { return false };
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '<' | '>' | '\\');
    scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(fits)
        && !rest.is_empty()
        && value.chars().all(plain)
}

/// `C:\a b.wav`, `\a\b`, `/a/b` as a file URI.
pub(super) fn file_uri(value: &str) -> Option<String> {
    let drive = value.as_bytes().get(1) == Some(&b':') && value.as_bytes()[0].is_ascii_alphabetic();
    if !(drive || value.starts_with(['\\', '/'])) || value.chars().any(char::is_control) {
        return None;
    }
    let mut out = String::from(if drive { "file:///" } else { "file://" });
    push_encoded(&mut out, &value.replace('\\', "/"), false);
    Some(out)
}

/// Percent-encodes what may not stand in a URI; of what may be one already, no `%` of an encoded octet.
fn push_encoded(out: &mut String, value: &str, encoded: bool) {
    use std::fmt::Write;
    let hex = |at: usize| value.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    for (at, b) in value.bytes().enumerate() {
        let known = encoded && b == b'%' && hex(at + 1) && hex(at + 2);
        if known || b.is_ascii_alphanumeric() || b"-._~/:@!$&'()*+,;=".contains(&b) {
            out.push(char::from(b));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{b:02X}");
        }
    }
}

/// What stands in an attachment, a sound or a program.
pub(super) enum Attached {
    Uri(String),
    /// Base64, and a media type where the source implies one.
    Binary(String, Option<&'static str>),
    /// A name that is no URI, written as one near it.
    File(String),
}

/// Reads a value by VALUE= and ENCODING=; `None` where it is nothing that iCalendar could point to.
pub(super) fn attached(params: &[Param], raw: &[u8], decoded: &str) -> Option<Attached> {
    let says = |v: &str| params.iter().any(|p| matches!(p.name.as_str(), "" | "VALUE") && p.value.eq_ignore_ascii_case(v));
    if Encoding::named(params) == Encoding::Base64 {
        return packed(raw).map(|data| Attached::Binary(data, None));
    }
    let value = decoded.trim();
    if says("CONTENT-ID") || says("CID") {
        let id = value.trim_start_matches('<').trim_end_matches('>').trim();
        let id = id.get(..4).filter(|p| p.eq_ignore_ascii_case("cid:")).map_or(id, |_| &id[4..]);
        let mut uri = String::from("cid:");
        push_encoded(&mut uri, id, true);
        return (!id.is_empty()).then_some(Attached::Uri(uri));
    }
    if is_uri(value) {
        return Some(Attached::Uri(value.to_owned()));
    }
    if let Some(inner) = value.strip_prefix('<').and_then(|v| v.strip_suffix('>')).filter(|v| is_uri(v)) {
        return Some(Attached::Uri(inner.to_owned()));
    }
    if let Some(uri) = file_uri(value) {
        return Some(Attached::File(uri));
    }
    let text = says("INLINE") || Encoding::named(params) == Encoding::QuotedPrintable;
    (text && !value.is_empty()).then(|| Attached::Binary(STANDARD.encode(decoded), Some("text/plain")))
}

/// Base64 without blanks and with its padding; `None` when it is none.
fn packed(raw: &[u8]) -> Option<String> {
    let mut data: Vec<u8> = raw.iter().copied().filter(|b| !b.is_ascii_whitespace() && *b != b'=').collect();
    if data.is_empty() || data.len() % 4 == 1 || !data.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')) {
        return None;
    }
    while !data.len().is_multiple_of(4) {
        data.push(b'=');
    }
    String::from_utf8(data).ok()
}
