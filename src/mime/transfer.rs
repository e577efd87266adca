//! Transfer encodings and charsets, both ways: base64 and quoted-printable (RFC 2045 6.7, 6.8), charsets by encoding_rs.
//!
//! Invariants: the readers never fail and never grow their input (what is no base64 or no escape is passed over or kept
//! as it stands, RFC 2045); the writers give lines of at most 76 octets, 7-bit, each ended by CRLF.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Content-Transfer-Encoding (RFC 2045 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// 7bit, 8bit, binary.
    Identity,
    Base64,
    QuotedPrintable,
}

impl Encoding {
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            // `8bits`, `utf-8` and the like stand in real mail; the octets are as they are.
            "" | "7bit" | "8bit" | "binary" | "7bits" | "8bits" | "utf-8" => Some(Self::Identity),
            "base64" => Some(Self::Base64),
            "quoted-printable" => Some(Self::QuotedPrintable),
            _ => None,
        }
    }
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

/// Undoes a transfer encoding.
pub fn decode(encoding: Encoding, octets: &[u8]) -> Cow<'_, [u8]> {
    match encoding {
        Encoding::Identity => Cow::Borrowed(octets),
        Encoding::Base64 => Cow::Owned(decode_base64(octets)),
        Encoding::QuotedPrintable => Cow::Owned(decode_quoted_printable(octets)),
    }
}

/// Characters outside the alphabet are passed over; the first `=` ends the data; an odd last character is dropped.
fn decode_base64(octets: &[u8]) -> Vec<u8> {
    let mut digits: Vec<u8> =
        octets.iter().copied().take_while(|&b| b != b'=').filter(|&b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/').collect();
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    LENIENT.decode(&digits).unwrap_or_default()
}

fn decode_quoted_printable(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    for line in octets.split_inclusive(|&b| b == b'\n') {
        let (content, end): (&[u8], &[u8]) = match line {
            [content @ .., b'\r', b'\n'] => (content, b"\r\n"),
            [content @ .., b'\n'] => (content, b"\n"),
            _ => (line, b""),
        };
        // Blanks at the end of a line were added on the way (RFC 2045 6.7 rule 3).
        let content = content.trim_ascii_end();
        let (content, soft) = content.strip_suffix(b"=").map_or((content, false), |c| (c, true));
        let mut at = 0;
        while at < content.len() {
            let escape = (content[at] == b'=').then(|| content.get(at + 1..at + 3)).flatten();
            if let Some(octet) = escape.and_then(|e| Some(hex(e[0])? << 4 | hex(e[1])?)) {
                out.push(octet);
                at += 3;
            } else {
                out.push(content[at]);
                at += 1;
            }
        }
        if !soft {
            out.extend_from_slice(end);
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// Why octets are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CharsetProblem {
    Unknown,
    Malformed,
}

/// Text by a charset label; see [`super::Part::text`].
pub fn decode_charset(octets: &[u8], label: Option<&str>) -> Result<String, CharsetProblem> {
    let label = label.map(|l| l.trim().to_ascii_lowercase()).filter(|l| !l.is_empty());
    let text = match label.as_deref() {
        None | Some("us-ascii" | "ascii") => match std::str::from_utf8(octets) {
            Ok(text) => text.to_owned(),
            Err(_) => octets.iter().map(|&b| char::from(b)).collect(),
        },
        Some(label) => {
            let named = encoding_rs::Encoding::for_label_no_replacement(label.as_bytes()).ok_or(CharsetProblem::Unknown)?;
            // Only for UTF-16 does the mark decide something that the label leaves open.
            let marked = encoding_rs::Encoding::for_bom(octets).filter(|_| label == "utf-16").map_or(named, |(e, _)| e);
            marked.decode_without_bom_handling_and_without_replacement(octets).ok_or(CharsetProblem::Malformed)?.into_owned()
        }
    };
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Base64 in lines of 76.
pub fn encode_base64(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len() / 57 * 78 + 78);
    for chunk in octets.chunks(57) {
        base64::engine::general_purpose::STANDARD.encode_string(chunk, &mut out);
        out.push_str("\r\n");
    }
    out
}

/// Quoted-printable of a text whose lines end in LF or CRLF.
pub fn encode_quoted_printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for line in text.split_terminator('\n') {
        let octets = line.strip_suffix('\r').unwrap_or(line).as_bytes();
        let mut width = 0;
        for (i, &octet) in octets.iter().enumerate() {
            let last = i + 1 == octets.len();
            // A blank at the end of a line would be lost; `From ` and a lone `.` are altered by some mail systems.
            let plain = match octet {
                b' ' | b'\t' => !last,
                b'=' => false,
                b'.' => i > 0,
                b'F' => i > 0 || !octets.starts_with(b"From "),
                _ => octet.is_ascii_graphic(),
            };
            let need = if plain { 1 } else { 3 };
            // One column is kept for the `=` of the soft break.
            if width + need > 75 {
                out.push_str("=\r\n");
                width = 0;
            }
            if plain {
                out.push(char::from(octet));
            } else {
                let digit = |d: u8| char::from(b"0123456789ABCDEF"[usize::from(d & 15)]);
                out.extend(['=', digit(octet >> 4), digit(octet)]);
            }
            width += need;
        }
        out.push_str("\r\n");
    }
    out
}

/// At most `max` octets of a text, cut between characters.
pub fn clip(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let end = (0..=max).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    &text[..end]
}

/// At most `max` octets.
pub fn clip_octets(octets: &[u8], max: usize) -> &[u8] {
    &octets[..octets.len().min(max)]
}
