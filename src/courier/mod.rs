//! The couriers: each knows one transport, delivers one batch and says what became of it.
//!
//! A courier keeps connections and nothing else: it does not know the queue, the ledger or the retry schedule. What its
//! result means for a recipient is decided in `delivery`.
//!
//! Invariant: a courier's future may be dropped at any point; the connection it used is then closed and never reused.

pub mod cip;
pub mod mail;
mod memory;

use crate::cip::response::{Answer, FreeBusyAnswer};

/// Which CIP command carries the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CipVerb {
    SendEvent,
    Rsvp,
}

/// Why a CIP server could not be talked to (profile 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// SRV target `.`, or the administrator's `route = "mail"`: e-mail at once, no connection.
    NoCip,
    /// No SRV record, and nothing at its addresses greets as CIP: e-mail at once, remembered for an hour.
    Silent,
    /// SRV promised a server, or CIP worked there before, and none answers now: retried for `cip-patience`.
    Down,
    /// The look-up failed for now: retried, never e-mailed for that.
    Dns,
    /// Every candidate is this relay itself, or refused by policy (private address, TLS required and not given).
    Refused,
}

/// What became of one command at one server.
#[derive(Clone, Debug)]
pub enum CipResult {
    Answered(Answer),
    /// The data ended and the answer never came: perhaps stored.
    Uncertain(String),
    /// Nothing was sent.
    Unreachable {
        why: Unreachable,
        detail: String,
    },
}

#[derive(Clone, Debug)]
pub enum FreeBusyResult {
    Answered(FreeBusyAnswer),
    Unreachable { why: Unreachable, detail: String },
}

/// What became of one recipient of one mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailResult {
    /// `host`: which server took it; `reply`: its words.
    Sent { host: String, reply: String },
    /// Try again later. `hop_down`: no server could be talked to at all, so that others for the same hop need not try.
    /// `uncertain`: the connection ended after the message and before its reply, so that it may have been taken.
    Later { detail: String, hop_down: bool, uncertain: bool },
    /// 5xx, null MX, no such domain. `code` is the enhanced status, such as `5.1.1`.
    Failed { code: String, detail: String },
}
