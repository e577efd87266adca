//! What a CIP server says: informational lines and the completion (draft 1.4, 2.1–2.4; profile 3).
//!
//! Parsing and writing stand side by side. Invariant: `write` then `parse` gives the same value back for every value
//! whose text holds no CR, LF or NUL and neither begins nor ends with a blank; the writer replaces such octets by blanks
//! rather than let a text end a line. Text is written as UTF-8 and read as UTF-8 or else ISO 8859-1.

use crate::ident::{EventId, UserId};
use crate::wire::{self, DotRule};

/// The three-digit result codes (profile 3).
pub mod code {
    pub const NONE: u16 = 0;
    /// Command invalid, or object bad: permanent.
    pub const BAD: u16 = 1;
    /// Access control: permanent for these credentials.
    pub const ACCESS: u16 = 2;
    /// Some attendees did not receive the event.
    pub const PARTIAL: u16 = 3;
    /// Extension: not now; nothing was stored; try again later.
    pub const BUSY: u16 = 4;
    /// Extension: closing this connection.
    pub const CLOSING: u16 = 5;
}

/// One `* CODE REST` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Info {
    NotFound(String),
    Tentative(UserId),
    PermDenied(String),
    Confirmed(UserId),
    RedirectUser {
        old: UserId,
        new: UserId,
    },
    RedirectEvent {
        old: EventId,
        new: EventId,
    },
    /// SCRAM (profile 4): base64 as it stands.
    Challenge(String),
    /// A line that this program does not know: kept for the history, otherwise ignored.
    Other(String),
}

/// `OK NNN TEXT` or `NO NNN TEXT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    pub ok: bool,
    pub code: u16,
    pub text: String,
}

impl Completion {
    pub fn ok(code: u16, text: impl Into<String>) -> Self {
        Self { ok: true, code, text: text.into() }
    }

    pub fn no(code: u16, text: impl Into<String>) -> Self {
        Self { ok: false, code, text: text.into() }
    }
}

/// The whole answer to SENDEVENT, RSVP or AUTHENTICATE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub infos: Vec<Info>,
    pub completion: Completion,
}

impl Answer {
    pub fn ok(code: u16, text: impl Into<String>) -> Self {
        Self { infos: Vec::new(), completion: Completion::ok(code, text) }
    }

    pub fn no(code: u16, text: impl Into<String>) -> Self {
        Self { infos: Vec::new(), completion: Completion::no(code, text) }
    }
}

/// The answer to FREEBUSY: the data part stands first and is left out when nobody was found (profile 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreeBusyAnswer {
    /// One iCalendar object, CRLF lines, without the terminator.
    pub data: Option<Vec<u8>>,
    pub answer: Answer,
}

/// One line from a server, after its greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Info(Info),
    Completion(Completion),
    /// `+`: the server's data follows (FREEBUSY).
    Data,
}

/// Not a CIP response at all: the server's fault, and what follows cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server said {0:?}, which is no CIP response (`* …`, `OK …`, `NO …` or `+`)")]
pub struct ResponseError(pub String);

impl Reply {
    /// Reads a line without its CRLF.
    pub fn parse(line: &[u8]) -> Result<Self, ResponseError> {
        let text = wire::decode(line);
        let text = text.trim_matches(BLANK);
        if let Some(rest) = text.strip_prefix('*') {
            return Ok(Self::Info(Info::parse(rest)));
        }
        if text == "+" {
            return Ok(Self::Data);
        }
        Completion::parse(text).map(Self::Completion).ok_or_else(|| ResponseError(text.chars().take(80).collect()))
    }
}

impl Info {
    /// Reads what stands after the `*`. Anything unknown or malformed is [`Info::Other`].
    pub fn parse(text: &str) -> Self {
        let text = text.trim_matches(BLANK);
        Self::known(text).unwrap_or_else(|| Self::Other(text.to_owned()))
    }

    fn known(text: &str) -> Option<Self> {
        let (code, rest) = word(text);
        if rest.is_empty() {
            return None;
        }
        match code.to_ascii_uppercase().as_str() {
            "NOTFOUND" => Some(Self::NotFound(bare(rest).to_owned())),
            "TENTATIVE" => Some(Self::Tentative(user(rest)?)),
            "PERMDENIED" => Some(Self::PermDenied(bare(rest).to_owned())),
            "CONFIRMED" => Some(Self::Confirmed(user(rest)?)),
            "REDIRECT" => redirect(rest),
            "CHALLENGE" => Some(Self::Challenge(rest.to_owned())),
            _ => None,
        }
    }

    /// The line with its CRLF; user-ids are sent bare (profile 3).
    pub fn write(&self, out: &mut Vec<u8>) {
        let line = match self {
            // Brackets of its own are kept apart from the optional ones.
            Self::NotFound(id) if bare(id) != id => format!("NOTFOUND <{id}>"),
            Self::PermDenied(id) if bare(id) != id => format!("PERMDENIED <{id}>"),
            Self::NotFound(id) => format!("NOTFOUND {id}"),
            Self::PermDenied(id) => format!("PERMDENIED {id}"),
            Self::Tentative(user) => format!("TENTATIVE {user}"),
            Self::Confirmed(user) => format!("CONFIRMED {user}"),
            Self::RedirectUser { old, new } => format!("REDIRECT USER {old} IS NOW {new}"),
            Self::RedirectEvent { old, new } => format!("REDIRECT EVENT {old} IS NOW {new}"),
            Self::Challenge(text) => format!("CHALLENGE {text}"),
            Self::Other(text) => text.clone(),
        };
        write_line("* ", &line, out);
    }
}

impl Completion {
    /// Reads a whole completion. OK and NO are all that a client must rely on (draft 1.4), so a missing or odd result
    /// code is 000 and the rest is text.
    fn parse(text: &str) -> Option<Self> {
        let (verdict, rest) = word(text);
        let ok = match verdict.to_ascii_uppercase().as_str() {
            "OK" => true,
            "NO" => false,
            _ => return None,
        };
        let (digits, after) = word(rest);
        let code = if digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None };
        Some(match code {
            Some(code) => Self { ok, code, text: after.to_owned() },
            None => Self { ok, code: code::NONE, text: rest.to_owned() },
        })
    }

    /// The line with its CRLF.
    pub fn write(&self, out: &mut Vec<u8>) {
        let verdict = if self.ok { "OK" } else { "NO" };
        write_line(&format!("{verdict} {:03} ", self.code.min(999)), &self.text, out);
    }
}

impl Answer {
    /// All its lines, the completion last.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.infos.iter().for_each(|info| info.write(out));
        self.completion.write(out);
    }
}

impl FreeBusyAnswer {
    /// The data part, when there is one, then the lines.
    pub fn write(&self, out: &mut Vec<u8>) {
        if let Some(data) = &self.data {
            out.extend_from_slice(b"+\r\n");
            wire::write_data(data, DotRule::Cip, out);
        }
        self.answer.write(out);
    }
}

const BLANK: [char; 2] = [' ', '\t'];

/// The first word and the rest without the blanks between.
fn word(text: &str) -> (&str, &str) {
    let (first, rest) = text.split_once(BLANK).unwrap_or((text, ""));
    (first, rest.trim_start_matches(BLANK))
}

/// Without the angle brackets around the whole.
fn bare(text: &str) -> &str {
    text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).filter(|t| !t.is_empty()).unwrap_or(text)
}

fn user(text: &str) -> Option<UserId> {
    UserId::parse(bare(text).trim_matches(BLANK)).ok()
}

/// `USER old IS NOW new` or `EVENT old IS NOW new`.
fn redirect(text: &str) -> Option<Info> {
    let (kind, ids) = word(text);
    let (old, new) = split_is_now(ids)?;
    match kind.to_ascii_uppercase().as_str() {
        "USER" => Some(Info::RedirectUser { old: user(old)?, new: user(new)? }),
        "EVENT" => Some(Info::RedirectEvent { old: EventId::parse(bare(old)).ok()?, new: EventId::parse(bare(new)).ok()? }),
        _ => None,
    }
}

/// Splits around the words `IS NOW`, in any case and with any blanks around them.
fn split_is_now(text: &str) -> Option<(&str, &str)> {
    let starts = text.match_indices(BLANK).map(|(i, _)| i);
    for at in starts {
        let (is, rest) = word(text[at..].trim_start_matches(BLANK));
        let (now, new) = word(rest);
        if is.eq_ignore_ascii_case("IS") && now.eq_ignore_ascii_case("NOW") && !new.is_empty() {
            return Some((text[..at].trim_end_matches(BLANK), new));
        }
    }
    None
}

/// One line: nothing inside can end it.
fn write_line(head: &str, text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(head.as_bytes());
    out.extend(text.bytes().map(|b| if matches!(b, b'\r' | b'\n' | 0) { b' ' } else { b }));
    while out.len() > start && out.ends_with(b" ") {
        out.pop();
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn u(text: &str) -> UserId {
        UserId::parse(text).unwrap()
    }

    fn e(text: &str) -> EventId {
        EventId::parse(text).unwrap()
    }

    #[test]
    fn lines_of_the_draft_and_their_variants() {
        use Info::{Challenge, Confirmed, NotFound, Other, PermDenied, RedirectEvent, RedirectUser, Tentative};
        let info = Reply::Info;
        let done = |ok, code, text: &str| Reply::Completion(Completion { ok, code, text: text.into() });
        let table: &[(&str, Reply)] = &[
            ("+", Reply::Data),
            ("* NOTFOUND <president@whitehouse.gov>", info(NotFound("president@whitehouse.gov".into()))),
            ("* NOTFOUND  mary@xyz.com", info(NotFound("mary@xyz.com".into()))),
            ("*\tnotfound\t mary@xyz.com ", info(NotFound("mary@xyz.com".into()))),
            ("*NOTFOUND 23454321abcdabcd", info(NotFound("23454321abcdabcd".into()))),
            ("* NOTFOUND <>", info(NotFound("<>".into()))),
            ("* NOTFOUND", info(Other("NOTFOUND".into()))),
            ("* PERMDENIED bill@abc.com", info(PermDenied("bill@abc.com".into()))),
            ("* TENTATIVE <mary@xyz.com>", info(Tentative(u("mary@xyz.com")))),
            ("* TENTATIVE mary", info(Other("TENTATIVE mary".into()))),
            ("* CONFIRMED bill@abc.com", info(Confirmed(u("bill@abc.com")))),
            ("* REDIRECT USER <a@b.c>  is now\t d@e.f", info(RedirectUser { old: u("a@b.c"), new: u("d@e.f") })),
            ("* REDIRECT EVENT a b IS NOW c@d", info(RedirectEvent { old: e("a b"), new: e("c@d") })),
            ("* REDIRECT USER a@b.c IS NOW", info(Other("REDIRECT USER a@b.c IS NOW".into()))),
            ("* REDIRECT GROUP a@b.c IS NOW d@e.f", info(Other("REDIRECT GROUP a@b.c IS NOW d@e.f".into()))),
            ("* CHALLENGE cj1hYmM=", info(Challenge("cj1hYmM=".into()))),
            ("* LATER whatever", info(Other("LATER whatever".into()))),
            ("*", info(Other(String::new()))),
            ("OK 000 Login complete.", done(true, 0, "Login complete.")),
            ("OK 000", done(true, 0, "")),
            ("OK 000  Things came out better this time", done(true, 0, "Things came out better this time")),
            ("no 003 x", done(false, 3, "x")),
            ("NO", done(false, 0, "")),
            ("OK stored", done(true, 0, "stored")),
            ("OK 12 stored", done(true, 0, "12 stored")),
            ("OK +12 stored", done(true, 0, "+12 stored")),
            ("NO 999 caf\u{e9}", done(false, 999, "caf\u{e9}")),
        ];
        for (line, want) in table {
            assert_eq!(Reply::parse(line.as_bytes()).as_ref(), Ok(want), "{line:?}");
        }
        assert_eq!(Reply::parse(b"NO 004 caf\xe9"), Ok(done(false, 4, "caf\u{e9}")));
        for bad in ["", "OKAY 000 x", "250 2.0.0 Ok", "+ x", "-ERR", "."] {
            assert_eq!(Reply::parse(bad.as_bytes()), Err(ResponseError(bad.into())), "{bad:?}");
        }
    }

    #[test]
    fn a_text_cannot_end_its_line() {
        let mut out = Vec::new();
        Answer {
            infos: vec![Info::NotFound("a\r\nOK 000 stored\r\n".into()), Info::PermDenied("<x>".into())],
            completion: Completion::no(0, "x\0y\n"),
        }
        .write(&mut out);
        assert_eq!(wire::decode(&out), "* NOTFOUND a  OK 000 stored\r\n* PERMDENIED <<x>>\r\nNO 000 x y\r\n");
    }

    #[test]
    fn free_busy_has_its_data_first() {
        let mut out = Vec::new();
        FreeBusyAnswer { data: Some(b"BEGIN:X\r\n.\r\n".to_vec()), answer: Answer::ok(0, "") }.write(&mut out);
        assert_eq!(wire::decode(&out), "+\r\nBEGIN:X\r\n..\r\n.\r\nOK 000\r\n");
    }

    fn text() -> impl Strategy<Value = String> {
        "[!-~\u{e9}\u{4e00}]([ -~\u{e9}]{0,20}[!-~\u{e9}])?".prop_map(|t| t.replace("IS NOW", "is later"))
    }

    fn any_info() -> impl Strategy<Value = Info> {
        let user = "[a-z.+-]{1,8}@[a-z]{1,8}[.][a-z]{2,3}".prop_map(|t| UserId::parse(&t).unwrap());
        // Not in brackets, which an event-id would lose.
        let event = || text().prop_map(|t| EventId::parse(&format!("{t}@a.b")).unwrap());
        prop_oneof![
            text().prop_map(Info::NotFound),
            text().prop_map(Info::PermDenied),
            text().prop_map(Info::Challenge),
            text().prop_map(|t| Info::Other(format!("X-{t}"))),
            user.clone().prop_map(Info::Tentative),
            user.clone().prop_map(Info::Confirmed),
            (user.clone(), user).prop_map(|(old, new)| Info::RedirectUser { old, new }),
            (event(), event()).prop_map(|(old, new)| Info::RedirectEvent { old, new }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(info in any_info(), ok: bool, code in 0u16..1000, words in text()) {
            let mut out = Vec::new();
            info.write(&mut out);
            prop_assert_eq!(Reply::parse(out.strip_suffix(b"\r\n").unwrap()), Ok(Reply::Info(info)));
            let completion = Completion { ok, code, text: words };
            out.clear();
            completion.write(&mut out);
            prop_assert_eq!(Reply::parse(out.strip_suffix(b"\r\n").unwrap()), Ok(Reply::Completion(completion)));
        }
    }
}
