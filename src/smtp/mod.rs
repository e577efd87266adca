//! The receiving side of SMTP and LMTP, no I/O (RFC 5321, 2033; SIZE 1870, 8BITMIME 6152, PIPELINING 2920, CHUNKING 3030,
//! ENHANCEDSTATUSCODES 2034, SMTPUTF8 6531).
//!
//! [`ServerSession`] takes octets and gives [`Step`]s; it owns every protocol decision and asks its driver for all
//! others. Lines and data are framed by `wire`; [`command`] reads a line that framing found good.
//!
//! Invariants: a message whose framing another program could read differently (a lone CR or LF anywhere in it) is never
//! given out; replies come in the order of the commands, one each, and per accepted recipient one for an LMTP message;
//! what a session holds is bounded by its [`Rules`].

pub mod command;
mod message;
pub mod path;
mod received;
mod reply;
mod server;

pub use received::received_header;
pub use server::{Protocol, Rules, ServerSession, Step};

/// The envelope of one message (RFC 5321 2.3.1).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Envelope {
    /// `""` is the null sender.
    pub sender: String,
    /// As given in RCPT, without the angle brackets and without a source route; a quoted local part keeps its quotes.
    /// `postmaster` may stand without a domain (RFC 5321 4.5.1).
    pub recipients: Vec<String>,
    pub smtputf8: bool,
    /// `BODY=8BITMIME` was said, or the message holds such octets.
    pub eight_bit: bool,
}

/// A reply to one RCPT or to the message: code, enhanced code, text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailReply {
    pub code: u16,
    pub enhanced: &'static str,
    pub text: String,
}

impl MailReply {
    pub fn new(code: u16, enhanced: &'static str, text: impl Into<String>) -> Self {
        Self { code, enhanced, text: text.into() }
    }

    /// To be tried again.
    pub fn temporary(&self) -> bool {
        (400..500).contains(&self.code)
    }

    pub fn positive(&self) -> bool {
        self.code < 400
    }
}
