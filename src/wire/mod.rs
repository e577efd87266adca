//! Strict framing on octets, no I/O: CRLF lines, dot-terminated data, counted chunks. Shared by the CIP server, the
//! CIP client and the SMTP/LMTP server (profile 1; RFC 5321 2.3.8, 4.1.1.4, 4.5.2; RFC 3030).
//!
//! Octets are pushed into a [`Framer`]; complete lines, objects and chunks are pulled out of it. The caller decides what
//! it expects next by what it pulls, so a change of mode takes effect exactly between two octets.
//!
//! Invariants:
//! - Only CRLF ends a line and only CRLF `.` CRLF (or `.` CRLF at the start) ends data. A lone CR or LF ends nothing:
//!   it is reported once the true end has been read. Two programs that disagree on this is what SMTP smuggling needs.
//! - Memory is bounded by the limits in [`LineRule`] and [`DataRule`] plus what was pushed and not yet pulled. Nothing
//!   that is over a limit is stored.
//! - Each octet is looked at a constant number of times, however the input is cut into pushes.

mod framer;

pub use framer::{DataError, DataRule, Exact, Framer, LineError, LineRule};

/// How a line of data that could be mistaken for the terminator is disguised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DotRule {
    /// Profile 1: a line of periods alone gains one when sent and loses one, when it has two or more, when received.
    /// Any other line, `.foo` included, passes unchanged.
    Cip,
    /// RFC 5321 4.5.2: a line that begins with a period gains one when sent and loses it when received.
    Smtp,
}

impl DotRule {
    /// Whether this line (without its CRLF) gains a period on its way out.
    fn stuffs(self, line: &[u8]) -> bool {
        match self {
            Self::Cip => only_periods(line),
            Self::Smtp => line.first() == Some(&b'.'),
        }
    }

    /// Whether this line (without its CRLF, not the terminator) loses its first period on its way in.
    fn unstuffs(self, line: &[u8]) -> bool {
        line.len() >= 2 && self.stuffs(line)
    }
}

fn only_periods(line: &[u8]) -> bool {
    !line.is_empty() && line.iter().all(|&b| b == b'.')
}

/// Appends `octets` as dot-terminated data: periods by `dots`, a CRLF where the last line lacks it, and the terminator.
///
/// The caller makes sure that `octets` hold no lone CR or LF ([`has_lone_cr_or_lf`]): they would be written as they are,
/// and a careless receiver could take the terminator out of them. Nothing at all is written as the terminator alone.
pub fn write_data(octets: &[u8], dots: DotRule, out: &mut Vec<u8>) {
    out.reserve(octets.len() + 5);
    for line in octets.split_inclusive(|&b| b == b'\n') {
        let content = line.strip_suffix(b"\r\n").unwrap_or(line);
        if dots.stuffs(content) {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !octets.is_empty() && !octets.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
}

/// Whether a CR stands without its LF, or an LF without its CR.
pub fn has_lone_cr_or_lf(octets: &[u8]) -> bool {
    let mut last = 0;
    for &b in octets {
        if (b == b'\n') != (last == b'\r') {
            return true;
        }
        last = b;
    }
    last == b'\r'
}

/// Reads octets as text: UTF-8 when they are valid UTF-8, else ISO 8859-1 (profile 5).
pub fn decode(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => octets.iter().map(|&b| char::from(b)).collect(),
    }
}

#[cfg(test)]
mod tests;
