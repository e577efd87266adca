//! One command line, read (RFC 5321 4.1.1 and the extensions that the session offers).
//!
//! The verbs, the parameters of MAIL and the arguments are read by `smtp_proto`, behind a guard of ours for what it
//! reads wrongly (paths, overlong numbers, arguments of commands that have none, parameters that are not offered).
//! Invariant: `parse` never panics, and an `Err` says in its [`CommandError::reply`] what the client is told.

use smtp_proto::{MAIL_BODY_8BITMIME, MAIL_SMTPUTF8, Request};

use super::MailReply;
use super::path::{self, Path, PathError};

/// Digits of a chunk size that are taken: more would exceed any limit, and the grammar crate wraps around on them.
const MAX_CHUNK_DIGITS: usize = 15;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Ehlo(String),
    Helo(String),
    Lhlo(String),
    Mail(Mail),
    /// As given, without the angle brackets; `postmaster` may stand alone.
    Rcpt(String),
    Data,
    Bdat {
        size: u64,
        last: bool,
    },
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// `""` is the null sender.
    pub sender: String,
    /// SIZE in octets, saturated; 0 when it was not given.
    pub size: u64,
    pub eight_bit: bool,
    pub smtputf8: bool,
}

/// Why a line was refused; each is the client's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("line is not UTF-8 text, or holds control characters")]
    NotText,
    #[error("command not recognized")]
    Unknown,
    #[error("command not implemented")]
    NotImplemented,
    /// A web browser, perhaps led here by a page to send mail in its user's name.
    #[error("this is a mail server")]
    Http,
    #[error("syntax: {0}")]
    Syntax(&'static str),
    #[error("sender: {0}")]
    Sender(PathError),
    #[error("recipient: {0}")]
    Recipient(PathError),
    #[error("recipient must not be empty")]
    NoRecipient,
    #[error("address beyond ASCII needs the SMTPUTF8 parameter")]
    NeedsUtf8,
    #[error("parameter {0:?} is not offered here")]
    Parameter(String),
    #[error("parameter {0} has a bad value, or stands twice")]
    BadParameter(&'static str),
    /// How many octets follow is unknown, so nothing more can be read from this client.
    #[error("syntax: BDAT size [LAST], closing the connection")]
    Chunk,
}

impl CommandError {
    pub fn reply(&self) -> MailReply {
        let (code, enhanced) = match self {
            Self::NotText => (500, "5.5.2"),
            Self::Unknown | Self::Http => (500, "5.5.1"),
            Self::NotImplemented => (502, "5.5.1"),
            Self::Syntax(_) | Self::BadParameter(_) | Self::Chunk => (501, "5.5.4"),
            Self::Sender(_) => (501, "5.1.7"),
            Self::Recipient(_) | Self::NoRecipient => (501, "5.1.3"),
            Self::NeedsUtf8 => (553, "5.6.7"),
            Self::Parameter(_) => (555, "5.5.4"),
        };
        MailReply::new(code, enhanced, self.to_string())
    }

    /// The connection is of no further use.
    pub fn fatal(&self) -> bool {
        matches!(self, Self::Http | Self::Chunk)
    }
}

/// Reads one line, without its CRLF.
pub fn parse(line: &[u8]) -> Result<Command, CommandError> {
    let text = std::str::from_utf8(line).map_err(|_| CommandError::NotText)?;
    if text.chars().any(char::is_control) {
        return Err(CommandError::NotText);
    }
    // RFC 5321 4.1.1: blanks at the end are to be tolerated.
    let text = text.trim_end_matches(' ');
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (verb, rest) = (verb.to_ascii_uppercase(), rest.trim_start_matches(' '));
    // The grammar crate skips blanks in front of a verb, and with them the checks below.
    if verb.is_empty() {
        return Err(CommandError::Unknown);
    }
    match verb.as_str() {
        "MAIL" => mail(rest),
        "RCPT" => rcpt(rest),
        "BDAT" => bdat(rest),
        "DATA" | "RSET" | "QUIT" | "STARTTLS" if !rest.is_empty() => Err(CommandError::Syntax("this command has no argument")),
        "GET" | "POST" | "PUT" | "HEAD" | "OPTIONS" | "CONNECT" => Err(CommandError::Http),
        "AUTH" | "EXPN" | "STARTTLS" | "ETRN" | "ATRN" | "BURL" | "TURN" | "SEND" | "SOML" | "SAML" => Err(CommandError::NotImplemented),
        _ => plain(&verb, rest),
    }
}

fn plain(verb: &str, rest: &str) -> Result<Command, CommandError> {
    let line = format!("{verb} {rest}\r\n");
    // A bare verb stands directly before its CRLF: the blank would count as an empty argument.
    let line = if rest.is_empty() { format!("{verb}\r\n") } else { line };
    match Request::parse(&mut line.as_bytes().iter()).map_err(grammar_error)? {
        Request::Ehlo { host } => Ok(Command::Ehlo(helo(&host)?)),
        Request::Helo { host } => Ok(Command::Helo(helo(&host)?)),
        Request::Lhlo { host } => Ok(Command::Lhlo(helo(&host)?)),
        Request::Data => Ok(Command::Data),
        Request::Rset => Ok(Command::Rset),
        Request::Quit => Ok(Command::Quit),
        Request::Noop { .. } => Ok(Command::Noop),
        Request::Help { .. } => Ok(Command::Help),
        Request::Vrfy { .. } => Ok(Command::Vrfy),
        _ => Err(CommandError::NotImplemented),
    }
}

fn grammar_error(error: smtp_proto::Error) -> CommandError {
    match error {
        smtp_proto::Error::SyntaxError { syntax } => CommandError::Syntax(syntax),
        smtp_proto::Error::InvalidParameter { param } => CommandError::BadParameter(param),
        smtp_proto::Error::UnsupportedParameter { param } => CommandError::Parameter(param),
        _ => CommandError::Unknown,
    }
}

/// Clients say many things that are neither a domain nor a literal, and are served (RFC 5321 4.1.4); but what is said
/// ends up in a header and in logs, and is ASCII even with SMTPUTF8 (RFC 6531 3.7.1).
fn helo(host: &str) -> Result<String, CommandError> {
    let harmless = |c: char| c.is_ascii_graphic() && !"()<>\"\\;,@".contains(c);
    if host.chars().all(harmless) { Ok(host.to_owned()) } else { Err(CommandError::Syntax("EHLO domain")) }
}

/// What follows `FROM:` or `TO:`. A blank after the colon is wrong (RFC 5321 3.3), common and harmless.
fn after_keyword<'a>(rest: &'a str, keyword: &str) -> Option<&'a str> {
    let (word, path) = rest.split_once(':')?;
    word.eq_ignore_ascii_case(keyword).then(|| path.trim_start_matches(' '))
}

/// The parameters after a path: nothing, or a blank and at least one.
fn parameters(after: &str) -> Option<Vec<&str>> {
    (after.is_empty() || after.starts_with(' ')).then(|| after.split(' ').filter(|p| !p.is_empty()).collect())
}

fn mail(rest: &str) -> Result<Command, CommandError> {
    const SYNTAX: CommandError = CommandError::Syntax("MAIL FROM:<address> [parameters]");
    let (path, after) = path::read(after_keyword(rest, "FROM").ok_or(SYNTAX)?).map_err(CommandError::Sender)?;
    let parameters = parameters(after).ok_or(SYNTAX)?;
    // Postmaster without a domain is a recipient only.
    if matches!(path, Path::Postmaster(_)) {
        return Err(CommandError::Sender(PathError::NoDomain));
    }
    let mut size = 0;
    let mut seen = [false; 3];
    for parameter in &parameters {
        let (name, value) = parameter.split_once('=').map_or((*parameter, None), |(n, v)| (n, Some(v)));
        let known = ["SIZE", "BODY", "SMTPUTF8"];
        let index = known.iter().position(|k| k.eq_ignore_ascii_case(name)).ok_or_else(|| CommandError::Parameter(clip(name)))?;
        let bad = CommandError::BadParameter(known[index]);
        if std::mem::replace(&mut seen[index], true) || (known[index] == "SMTPUTF8") != value.is_none() {
            return Err(bad);
        }
        match value {
            Some(digits) if known[index] == "SIZE" => size = size_value(digits).ok_or(bad)?,
            Some(body) if body.eq_ignore_ascii_case("BINARYMIME") => return Err(CommandError::Parameter("BODY=BINARYMIME".to_owned())),
            _ => {}
        }
    }
    // SIZE has been read: the grammar crate refuses what it cannot hold, where the client is to hear "too large".
    let others: Vec<&str> = parameters.into_iter().filter(|p| !p.to_ascii_uppercase().starts_with("SIZE=")).collect();
    let line = format!("MAIL FROM:<>{}{}\r\n", if others.is_empty() { "" } else { " " }, others.join(" "));
    let Request::Mail { from } = Request::parse(&mut line.as_bytes().iter()).map_err(grammar_error)? else {
        return Err(SYNTAX);
    };
    let (sender, smtputf8) = (path.as_str(), from.flags & MAIL_SMTPUTF8 != 0);
    if !sender.is_ascii() && !smtputf8 {
        return Err(CommandError::NeedsUtf8);
    }
    Ok(Command::Mail(Mail { sender: sender.to_owned(), size, eight_bit: from.flags & MAIL_BODY_8BITMIME != 0, smtputf8 }))
}

/// RFC 1870: one to twenty digits.
fn size_value(digits: &str) -> Option<u64> {
    let good = (1..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    good.then(|| digits.parse().unwrap_or(u64::MAX))
}

fn rcpt(rest: &str) -> Result<Command, CommandError> {
    const SYNTAX: CommandError = CommandError::Syntax("RCPT TO:<address>");
    let (path, after) = path::read(after_keyword(rest, "TO").ok_or(SYNTAX)?).map_err(CommandError::Recipient)?;
    match parameters(after).ok_or(SYNTAX)?.first() {
        Some(parameter) => Err(CommandError::Parameter(clip(parameter.split('=').next().unwrap_or(parameter)))),
        None if path == Path::Null => Err(CommandError::NoRecipient),
        None => Ok(Command::Rcpt(path.as_str().to_owned())),
    }
}

fn bdat(rest: &str) -> Result<Command, CommandError> {
    let digits = rest.split(' ').next().unwrap_or(rest);
    if digits.is_empty() || digits.len() > MAX_CHUNK_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(CommandError::Chunk);
    }
    let line = format!("BDAT {rest}\r\n");
    match Request::parse(&mut line.as_bytes().iter()) {
        Ok(Request::Bdat { chunk_size, is_last }) => {
            // The crate overlooks what follows LAST.
            let words = rest.split(' ').filter(|w| !w.is_empty()).count();
            let size = u64::try_from(chunk_size).map_err(|_| CommandError::Chunk)?;
            if words == 1 + usize::from(is_last) { Ok(Command::Bdat { size, last: is_last }) } else { Err(CommandError::Chunk) }
        }
        _ => Err(CommandError::Chunk),
    }
}

fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests;
