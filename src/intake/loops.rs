//! Mail that has been here before (profile 9): how it is known, and what is said of it.
//!
//! What is looked at is the header as octets, so that a mail that cannot be taken apart is known again as well: it was
//! passed on all the same.

use sha2::{Digest, Sha256};

use super::Intake;
use crate::ident::UserId;
use crate::imip::read;
use crate::ledger::LedgerError;
use crate::listen::MailReply;
use crate::mime;

/// Trace lines after which an object or a mail is taken to be looping.
pub(super) const HOPS: usize = 25;

/// The ways that a mail has come.
pub(super) struct Traces {
    ours: bool,
    count: usize,
    /// Of the Message-ID, else of the body.
    identity: [u8; 32],
}

impl Traces {
    pub fn of(message: &[u8], us: impl Fn(&str) -> bool) -> Self {
        let traces = read::traces(message);
        let mut hash = Sha256::new();
        match mime::header_values(message, "Message-ID", 1).first() {
            Some(id) => hash.update(id),
            None => hash.update(body_of(message)),
        }
        Self { ours: traces.iter().any(|t| us(&t.server)), count: traces.len(), identity: hash.finalize().into() }
    }

    /// It bears this relay's trace line.
    pub fn ours(&self) -> bool {
        self.ours
    }

    pub fn too_many(&self) -> bool {
        self.count >= HOPS
    }

    /// By which a message to one recipient is known again.
    pub fn key(&self, recipient: &UserId) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update(self.identity);
        hash.update(recipient.key());
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize()[..16]);
        key
    }

    /// The reply for a mail of our own that came back: the mail server keeps it, and reports when it expires there.
    pub fn refusal(address: &UserId) -> MailReply {
        tracing::error!(
            recipient = %address,
            "a message of our own came back: the mail server hands the relay's mail to the relay again; see contrib/ for a port without the transport map"
        );
        MailReply::new(451, "4.4.6", "This message has been here before; mail loop")
    }

    /// The reply for a mail that has been through too many relays.
    pub fn exhausted(&self, address: &UserId) -> MailReply {
        if self.ours { Self::refusal(address) } else { MailReply::new(554, "5.4.6", format!("{HOPS} X-CIP-Trace fields: a loop")) }
    }
}

impl Intake {
    /// An address of the relay's own, given out for one event.
    pub(super) fn is_token(&self, address: &UserId) -> Result<bool, LedgerError> {
        Ok(address.server() == self.0.config.mail_domain() && self.0.ledger.token(address.local())?.is_some())
    }

    /// A mail from this address to this recipient is one that the relay composed: From is a token that was given to him.
    pub(super) fn composed_for(&self, from: Option<&UserId>, recipient: &UserId) -> Result<bool, LedgerError> {
        let Some(from) = from.filter(|f| f.server() == self.0.config.mail_domain()) else { return Ok(false) };
        let Some(token) = self.0.ledger.token(from.local())? else { return Ok(false) };
        Ok(self.0.directory.same_person(&token.holder, recipient))
    }
}

fn body_of(message: &[u8]) -> &[u8] {
    message.windows(4).position(|w| w == b"\r\n\r\n").map_or(message, |at| &message[at..])
}
