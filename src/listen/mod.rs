//! Sockets: accept within limits, drive a session, close in order.
//!
//! The listeners know protocols and no storage. What they need of the rest of the relay are the two doors below;
//! `intake` is behind both. A driver owns the socket, its limits and time-outs, and shutdown; the sans-IO session
//! (`cip::server`, `smtp::server`) owns every protocol decision.
//!
//! Invariants: a positive reply (`OK`, `250`) is written only after the door's future has completed, which is after the
//! durable commit; sessions are bounded in number, and one that cannot be served is told so (`NO 004`, `421`); a failing
//! `accept` is logged and waited out, never fatal.

pub mod activation;
pub mod cip;
mod held;
pub mod smtp;

use std::future::Future;
use std::net::IpAddr;

use crate::cip::response::{Answer, FreeBusyAnswer};
use crate::queue::entry::Via;

pub use crate::smtp::{Envelope, MailReply};

/// What is known of a CIP client.
#[derive(Clone, Debug)]
pub struct CipClient {
    pub address: IpAddr,
    /// Set by AUTHENTICATE.
    pub login: Option<Login>,
}

/// An identity that has proved itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub identity: String,
    /// May send to remote users.
    pub relay: bool,
}

/// What a CIP session may ask of the relay.
pub trait CipDoor: Send + Sync + 'static {
    /// `Err` says why new work is refused just now (no disk, shutting down): `NO 004`.
    fn ready(&self) -> Result<(), String>;
    /// Constant time whether or not the identity exists.
    fn login(&self, client: &CipClient, identity: &str, password: &[u8]) -> impl Future<Output = Option<Login>> + Send;
    fn send_event(&self, client: &CipClient, object: Vec<u8>) -> impl Future<Output = Answer> + Send;
    fn rsvp(&self, client: &CipClient, object: Vec<u8>) -> impl Future<Output = Answer> + Send;
    fn free_busy(&self, client: &CipClient, request: Vec<u8>) -> impl Future<Output = FreeBusyAnswer> + Send;
}

/// What is known of the client of a mail session.
#[derive(Clone, Debug)]
pub struct MailClient {
    pub via: Via,
    /// `None` on a Unix socket.
    pub address: Option<IpAddr>,
    /// What it said in EHLO, HELO or LHLO.
    pub helo: String,
    /// On a listener of the organization's own side and inside `trusted-networks` (or a Unix socket, or `submit`).
    pub trusted: bool,
}

/// What a mail session may ask of the relay.
pub trait MailDoor: Send + Sync + 'static {
    /// `Err` says why new work is refused just now: `421` in the greeting, `452` later.
    fn ready(&self) -> Result<(), String>;
    /// Judges one recipient before the message is known; the session answers RCPT with it.
    fn recipient(&self, client: &MailClient, sender: &str, recipient: &str) -> impl Future<Output = MailReply> + Send;
    /// Takes a message for the recipients that were accepted; one reply per recipient, in their order, after the
    /// durable commit. When they differ, an SMTP session gives the client `250` when any was stored (the rest then get a
    /// report), else a temporary one when there is one (the client tries again for all), else the first; an LMTP session
    /// gives all of them.
    fn message(&self, client: &MailClient, envelope: &Envelope, message: Vec<u8>) -> impl Future<Output = Vec<MailReply>> + Send;
}
