//! Header fields of composed mail: folding, RFC 2047, addresses, parameters, Message-ID.
//!
//! Invariants: a field is one logical line ended by CRLF, whatever the values hold: controls become blanks, and
//! characters that reorder or hide text (bidirectional controls, zero width) are left out, so that a name cannot make the
//! words around it read otherwise. Lines are at most 76 octets where a blank allows it and never over 998.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::calendar::event::Trace;
use crate::clock::Timestamp;
use crate::ident::{ServerId, UserId};
use crate::mime::transfer::clip;

/// Octets kept of a name or a subject.
const MAX_WORDS: usize = 250;
const WIDTH: usize = 76;

/// A header block under construction.
#[derive(Default)]
pub struct Header(String);

impl Header {
    /// A field whose value is made by the relay itself: ASCII tokens, dates, identifiers.
    pub fn plain(&mut self, name: &str, value: &str) -> &mut Self {
        self.folded(name, &one_line(value))
    }

    /// A field of free text, such as Subject.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        let value = visible(value);
        let value = clip(&value, MAX_WORDS);
        if value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) && !value.contains("=?") {
            self.folded(name, value)
        } else {
            self.folded(name, &encoded_words(value))
        }
    }

    /// An address field with one mailbox.
    pub fn mailbox(&mut self, name: &str, display: Option<&str>, address: &UserId) -> &mut Self {
        self.folded(name, &mailbox(display, address))
    }

    /// `X-CIP-Trace: server-id;time;verb;version`, one field each (profile 9).
    pub fn traces(&mut self, traces: &[Trace]) -> &mut Self {
        for trace in traces {
            self.plain("X-CIP-Trace", &trace_value(trace));
        }
        self
    }

    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.0)
    }

    fn folded(&mut self, name: &str, value: &str) -> &mut Self {
        self.0.push_str(name);
        self.0.push(':');
        let mut width = name.len() + 1;
        for word in value.split(' ').filter(|w| !w.is_empty()) {
            if width + 1 + word.len() > WIDTH && width > name.len() + 1 {
                self.0.push_str("\r\n");
                width = 0;
            }
            // No value of ours has such a word; a foreign one must not make a line that SMTP refuses.
            let word = clip(word, 900);
            self.0.push(' ');
            self.0.push_str(word);
            width += 1 + word.len();
        }
        self.0.push_str("\r\n");
        self
    }
}

/// The value of a trace field.
pub fn trace_value(trace: &Trace) -> String {
    let part = |text: &str| clip(&one_line(text), 255).replace([';', ' '], "_");
    format!("{};{};{};{}", part(&trace.server), part(&trace.time), part(&trace.verb), part(&trace.version))
}

/// `"Name" <local@server-id>`, or the bare address. Blanks inside the quotes are kept apart from folding by their count
/// alone: several become one.
fn mailbox(display: Option<&str>, address: &UserId) -> String {
    let display = display.map(visible).filter(|d| !d.is_empty());
    let Some(display) = display else { return address.to_string() };
    let display = clip(&display, MAX_WORDS);
    if display.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) && !display.contains("=?") {
        let quoted = display.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{quoted}\" <{address}>")
    } else {
        format!("{} <{address}>", encoded_words(display))
    }
}

/// Controls become blanks, runs of blanks one.
pub fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c }).collect();
    text.split(' ').filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
}

/// [`one_line`] without the characters that reorder or hide text.
pub fn visible(text: &str) -> String {
    one_line(&text.chars().filter(|c| !is_invisible(*c)).collect::<String>())
}

/// Bidirectional controls, zero width characters, line separators, tags.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// RFC 2047 in base64, words of at most 75 octets cut between characters.
fn encoded_words(text: &str) -> String {
    // 39 octets are 52 of base64 and 64 as a word, which leaves room for a field name before the first one.
    const CHUNK: usize = 39;
    let (mut rest, mut words) = (text, Vec::new());
    while !rest.is_empty() {
        let head = clip(rest, CHUNK);
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(head)));
        rest = &rest[head.len()..];
    }
    words.join(" ")
}

/// RFC 5322 3.3, in UTC.
pub fn date(at: Timestamp) -> String {
    at.datetime().unwrap_or(DateTime::<Utc>::UNIX_EPOCH).format("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// A SHA-256 over fields with their lengths, in hexadecimal: for Message-ID and boundaries.
pub fn fingerprint(fields: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    let mut text = String::with_capacity(40);
    for octet in &hash.finalize()[..20] {
        put!(text, "{octet:02x}");
    }
    text
}

/// `<fingerprint@mail-domain>`.
pub fn message_id(fingerprint: &str, mail_domain: &ServerId) -> String {
    format!("<{fingerprint}@{mail_domain}>")
}
