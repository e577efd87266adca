//! What a message must be to be taken, whatever it says.
//!
//! Invariant: what passes here can be sent on by DATA as it stands: lines that end in CRLF, no NUL, no line that a
//! receiver could not hold.

use super::MailReply;
use crate::wire::has_lone_cr_or_lf;

/// Octets of a line with its CRLF. RFC 5322 allows 1000; what is longer passes through unchanged up to here.
pub(super) const MAX_DATA_LINE: usize = 64 << 10;
/// Received fields that are still no loop (RFC 5321 6.3).
const MAX_RECEIVED: usize = 100;

pub(super) fn lone() -> MailReply {
    MailReply::new(550, "5.6.11", "message holds a CR or LF that is not part of CRLF (RFC 5321 2.3.8)")
}

pub(super) fn nul() -> MailReply {
    MailReply::new(554, "5.6.0", "message holds a NUL octet (RFC 2045 2.8)")
}

pub(super) fn long_line() -> MailReply {
    MailReply::new(554, "5.6.0", format!("a line of the message is longer than {MAX_DATA_LINE} octets"))
}

/// What is wrong with a message, if anything. For DATA the framer has looked at its octets; a chunk may hold anything.
pub(super) fn judge(octets: &[u8]) -> Option<MailReply> {
    if has_lone_cr_or_lf(octets) {
        return Some(lone());
    }
    if octets.contains(&0) {
        return Some(nul());
    }
    if octets.split_inclusive(|&b| b == b'\n').any(|line| line.len() > MAX_DATA_LINE) {
        return Some(long_line());
    }
    let header = octets.split(|&b| b == b'\n').take_while(|line| !matches!(line, [] | [b'\r']));
    if header.filter(|line| is_received(line)).count() > MAX_RECEIVED {
        return Some(MailReply::new(554, "5.4.6", format!("more than {MAX_RECEIVED} Received fields: a loop")));
    }
    None
}

fn is_received(line: &[u8]) -> bool {
    let name = b"received";
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        && line[name.len()..].iter().find(|&&b| b != b' ' && b != b'\t') == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_judged_by_their_octets() {
        let line = |n: usize| format!("{}\r\n", "x".repeat(n - 2));
        let table: [(String, Option<MailReply>); 12] = [
            (String::new(), None),
            ("a".into(), None),
            ("a\r\nb\r\n".into(), None),
            ("a\nb\r\n".into(), Some(lone())),
            ("a\r\nb\r".into(), Some(lone())),
            ("a\0b".into(), Some(nul())),
            (line(MAX_DATA_LINE), None),
            (line(MAX_DATA_LINE + 1), Some(long_line())),
            ("Received: x\r\n".repeat(100), None),
            ("X-Received: x\r\nReceived-SPF: x\r\n Received: folded\r\n".repeat(101), None),
            (format!("a: b\r\n\r\n{}", "Received: x\r\n".repeat(101)), None),
            ("RECEIVED \t: x\r\n".repeat(101), Some(MailReply::new(554, "5.4.6", "more than 100 Received fields: a loop"))),
        ];
        for (octets, want) in table {
            assert_eq!(judge(octets.as_bytes()), want, "{:?}", octets.get(..20));
        }
    }
}
