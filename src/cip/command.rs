//! What a CIP client says: one command line (draft 2.1–2.4; profile 1, 4).
//!
//! Parsing and writing stand side by side. Keywords are case-insensitive, several blanks are one, and a command that
//! sends data ends in `+` with or without a blank before it (both spellings stand in the draft).
//!
//! Invariant: `write` then `parse` gives the same command back.

use std::fmt;

use crate::wire::decode;

/// Octets of a command line with its CRLF (profile 1).
pub const MAX_LINE: usize = 4096;

/// A command that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `AUTHENTICATE LOGIN identity password`: the identity is one word, the password the rest of the line, verbatim.
    Login { identity: String, password: Password },
    /// `SENDEVENT +`; the object follows.
    SendEvent,
    /// `RSVP +`; the object follows.
    Rsvp,
    /// `FREEBUSY +`; the request follows.
    FreeBusy,
}

/// A line that is no command of ours: `NO 001`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct BadCommand {
    /// In words, for the answer.
    pub why: &'static str,
    /// It ends in `+`: its data is to be read and discarded before the answer.
    pub data: bool,
}

impl Command {
    /// Reads a line without its CRLF.
    pub fn parse(line: &[u8]) -> Result<Self, BadCommand> {
        let (keyword, rest) = word(line);
        if keyword.eq_ignore_ascii_case(b"AUTHENTICATE") {
            return authenticate(rest);
        }
        let data = line.ends_with(b"+");
        let bad = |why| Err(BadCommand { why, data });
        let head = line.strip_suffix(b"+").unwrap_or(line);
        let (keyword, parameters) = word(head);
        let command = match keyword.to_ascii_uppercase().as_slice() {
            b"SENDEVENT" => Self::SendEvent,
            b"RSVP" => Self::Rsvp,
            b"FREEBUSY" => Self::FreeBusy,
            _ => return bad("Unknown command."),
        };
        if !data {
            return bad("This command sends data: it ends in \"+\".");
        }
        if !parameters.trim_ascii().is_empty() {
            return bad("This command takes no parameters.");
        }
        Ok(command)
    }

    /// The line with its CRLF. The caller has made sure that identity and password can stand in it.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Login { identity, password } => {
                out.extend_from_slice(b"AUTHENTICATE LOGIN ");
                out.extend_from_slice(identity.as_bytes());
                out.push(b' ');
                out.extend_from_slice(&password.0);
                out.extend_from_slice(b"\r\n");
            }
            Self::SendEvent => out.extend_from_slice(b"SENDEVENT +\r\n"),
            Self::Rsvp => out.extend_from_slice(b"RSVP +\r\n"),
            Self::FreeBusy => out.extend_from_slice(b"FREEBUSY +\r\n"),
        }
    }
}

/// A password as it came, of any octets. Its debug form hides it, so that it never gets into a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Vec<u8>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What follows `AUTHENTICATE`. A password or base64 may end in `+` and announces no data by it; of a code that is
/// unknown here, a `+` that stands alone does.
fn authenticate(rest: &[u8]) -> Result<Command, BadCommand> {
    let (code, rest) = word(rest);
    if !code.eq_ignore_ascii_case(b"LOGIN") {
        let data = code == b"+" || rest == b"+" || rest.ends_with(b" +") || rest.ends_with(b"\t+");
        return Err(BadCommand { why: "This kind of authentication is not known here.", data });
    }
    let bad = BadCommand { why: "Write AUTHENTICATE LOGIN identity password.", data: false };
    // Exactly one blank ends the identity: the password is verbatim, and may begin with a blank.
    let end = rest.iter().position(|b| is_blank(*b)).ok_or(bad.clone())?;
    let (identity, password) = (&rest[..end], &rest[end + 1..]);
    if identity.is_empty() || password.is_empty() {
        return Err(bad);
    }
    Ok(Command::Login { identity: decode(identity), password: Password(password.to_vec()) })
}

fn is_blank(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

/// The first word, and the rest without the blanks between.
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    let skip = |l: &[u8]| l.iter().position(|b| !is_blank(*b)).unwrap_or(l.len());
    let line = &line[skip(line)..];
    let (first, rest) = line.split_at(line.iter().position(|b| is_blank(*b)).unwrap_or(line.len()));
    (first, &rest[skip(rest)..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn command_lines() {
        use Command::{FreeBusy, Rsvp, SendEvent};
        let login = |identity: &str, password: &[u8]| Ok(Command::Login { identity: identity.into(), password: Password(password.into()) });
        let unknown = |data| Err(BadCommand { why: "Unknown command.", data });
        let parameters = Err(BadCommand { why: "This command takes no parameters.", data: true });
        let no_plus = Err(BadCommand { why: "This command sends data: it ends in \"+\".", data: false });
        let bad_login = Err(BadCommand { why: "Write AUTHENTICATE LOGIN identity password.", data: false });
        let bad_code = |data| Err(BadCommand { why: "This kind of authentication is not known here.", data });
        let table: &[(&[u8], Result<Command, BadCommand>)] = &[
            (b"SENDEVENT +", Ok(SendEvent)),
            (b"SENDEVENT+", Ok(SendEvent)),
            (b"sendEvent \t +", Ok(SendEvent)),
            (b" SENDEVENT +", Ok(SendEvent)),
            (b"RSVP+", Ok(Rsvp)),
            (b"freebusy +", Ok(FreeBusy)),
            (b"SENDEVENT", no_plus.clone()),
            // The `+` stands right before the CRLF, or it does not stand there.
            (b"SENDEVENT + ", no_plus.clone()),
            (b"RSVP x", no_plus),
            (b"RSVP 123@a.com +", parameters.clone()),
            (b"SENDEVENT ++", parameters),
            (b"SENDEVENT++", unknown(true)),
            (b"QUIT", unknown(false)),
            (b"RESPOND +", unknown(true)),
            (b"+", unknown(true)),
            (b"S\xc9NDEVENT+", unknown(true)),
            (b"AUTHENTICATE LOGIN fredsbaking.com fromblotz", login("fredsbaking.com", b"fromblotz")),
            (b"authenticate  login\ta b c+", login("a", b"b c+")),
            (b"AUTHENTICATE LOGIN a  b ", login("a", b" b ")),
            (b"AUTHENTICATE LOGIN caf\xe9 \xe9", login("caf\u{e9}", b"\xe9")),
            (b"AUTHENTICATE LOGIN a", bad_login.clone()),
            (b"AUTHENTICATE LOGIN a ", bad_login.clone()),
            (b"AUTHENTICATE LOGIN +", bad_login.clone()),
            (b"AUTHENTICATE LOGIN", bad_login),
            (b"AUTHENTICATE", bad_code(false)),
            (b"AUTHENTICATE TLS", bad_code(false)),
            (b"AUTHENTICATE SCRAM-SHA-256 biws+", bad_code(false)),
            (b"AUTHENTICATE KERBEROS +", bad_code(true)),
            (b"AUTHENTICATE +", bad_code(true)),
        ];
        for (line, want) in table {
            assert_eq!(&Command::parse(line), want, "{:?}", decode(line));
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let shown = format!("{:?}", Command::parse(b"AUTHENTICATE LOGIN a.com secret").unwrap());
        assert!(shown.contains("a.com") && !shown.contains("secret") && !shown.contains("115"), "{shown}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(identity in "[!-~\u{e9}]{1,20}", password in "[ -~\u{e9}]{1,40}", which in 0..4) {
            let command = match which {
                0 => Command::SendEvent,
                1 => Command::Rsvp,
                2 => Command::FreeBusy,
                _ => Command::Login { identity, password: Password(password.into_bytes()) },
            };
            let mut out = Vec::new();
            command.write(&mut out);
            prop_assert_eq!(Command::parse(out.strip_suffix(b"\r\n").unwrap()), Ok(command));
        }
    }
}
