//! The first line of a server: `OK CIP 1.0 HOSTNAME`, or `NO 004 TEXT` (draft 1.4; profile 2).

use crate::cip::response::{Completion, Reply};
use crate::wire::decode;

/// The version that this program speaks.
pub const MAJOR: u16 = 1;
pub const MINOR: u16 = 0;

/// A server that is willing to talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    pub major: u16,
    pub minor: u16,
    /// May be empty; nothing depends on it.
    pub hostname: String,
}

/// What a first line was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstLine {
    Ready(Greeting),
    /// `NO …`: a CIP server that will not serve now.
    Refused(Completion),
    /// An SMTP banner, HTTP, anything else; at most 80 characters of it.
    NotCip(String),
}

impl Greeting {
    /// Ours.
    pub fn new(hostname: impl Into<String>) -> Self {
        Self { major: MAJOR, minor: MINOR, hostname: hostname.into() }
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        let host: String = self.hostname.chars().filter(|c| !c.is_control()).collect();
        out.extend_from_slice(format!("OK CIP {}.{} {host}\r\n", self.major, self.minor).as_bytes());
    }
}

impl FirstLine {
    /// Reads a line without its CRLF. The draft's `1.0` is "two numeric values delimited by a period": `1.10` is minor 10.
    pub fn parse(line: &[u8]) -> Self {
        let text = decode(line);
        let mut words = text.split([' ', '\t']).filter(|w| !w.is_empty());
        let first = words.next().unwrap_or("");
        if first.eq_ignore_ascii_case("OK") && words.next().is_some_and(|w| w.eq_ignore_ascii_case("CIP")) {
            let number = |s: &str| s.parse::<u16>().ok().filter(|_| s.bytes().all(|b| b.is_ascii_digit()));
            if let Some((major, minor)) = words.next().and_then(|v| v.split_once('.'))
                && let (Some(major), Some(minor)) = (number(major), number(minor))
            {
                return Self::Ready(Greeting { major, minor, hostname: words.next().unwrap_or("").to_owned() });
            }
        }
        // `NO` alone could be anybody's; with a result code it is CIP's.
        if first.eq_ignore_ascii_case("NO")
            && words.next().is_some_and(|w| w.len() == 3 && w.bytes().all(|b| b.is_ascii_digit()))
            && let Ok(Reply::Completion(completion)) = Reply::parse(line)
        {
            return Self::Refused(completion);
        }
        Self::NotCip(text.chars().take(80).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_are_told_apart() {
        let ready = |major, minor, host: &str| FirstLine::Ready(Greeting { major, minor, hostname: host.into() });
        let table: &[(&str, FirstLine)] = &[
            ("OK CIP 1.0 b.com", ready(1, 0, "b.com")),
            ("ok  cip  1.10  B.com  welcome", ready(1, 10, "B.com")),
            ("OK CIP 2.0", ready(2, 0, "")),
            ("NO 004 Too many sessions.", FirstLine::Refused(Completion::no(4, "Too many sessions."))),
            ("NO 000", FirstLine::Refused(Completion::no(0, ""))),
            ("NO thanks", FirstLine::NotCip("NO thanks".into())),
            ("OK CIP 1 b.com", FirstLine::NotCip("OK CIP 1 b.com".into())),
            ("OK CIP +1.0 b.com", FirstLine::NotCip("OK CIP +1.0 b.com".into())),
            ("OK CIP 70000.0 b.com", FirstLine::NotCip("OK CIP 70000.0 b.com".into())),
            ("OK 000 hello", FirstLine::NotCip("OK 000 hello".into())),
            ("220 mail.tiny.com ESMTP", FirstLine::NotCip("220 mail.tiny.com ESMTP".into())),
            ("* OK IMAP4rev1", FirstLine::NotCip("* OK IMAP4rev1".into())),
            ("HTTP/1.1 400 Bad Request", FirstLine::NotCip("HTTP/1.1 400 Bad Request".into())),
            ("", FirstLine::NotCip(String::new())),
        ];
        for (line, want) in table {
            assert_eq!(&FirstLine::parse(line.as_bytes()), want, "{line:?}");
        }
    }

    #[test]
    fn ours_is_the_drafts() {
        let mut out = Vec::new();
        Greeting::new("b.com").write(&mut out);
        assert_eq!(out, b"OK CIP 1.0 b.com\r\n");
    }
}
