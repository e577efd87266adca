//! What a CIP server says: informational lines and the completion (draft 1.4, 2.1–2.4; profile 3).
//!
//! Parsing and writing stand side by side. Invariant: `write` then `parse` gives the same value back for every value
//! whose text holds no CR, LF or NUL; the writer replaces such octets by blanks rather than let a text end a line.

use crate::ident::{EventId, UserId};

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
