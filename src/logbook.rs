//! One function per event in a message's life, so that one `grep ID` in the log tells the whole story.
//!
//! Every line has the target `cip_relay::life` and a field `id` with the entry id, and names its event in the first word of
//! its text. Errors of a subsystem are logged where they are understood, not here.

use crate::clock::Timestamp;
use crate::ident::{EntryId, UserId};
use crate::queue::entry::{Entry, Recipient};

macro_rules! life {
    ($level:ident, $id:expr, $($rest:tt)*) => {
        tracing::$level!(target: "cip_relay::life", id = %$id, $($rest)*)
    };
}

fn names<'a>(people: impl Iterator<Item = &'a Recipient>) -> String {
    let mut text = String::new();
    for (n, r) in people.enumerate() {
        if n == 20 {
            text.push_str(" …");
            break;
        }
        if n > 0 {
            text.push(' ');
        }
        text.push_str(&r.user.to_string());
    }
    text
}

/// On disk, acknowledged.
pub fn accepted(e: &Entry) {
    life!(
        info,
        e.id,
        verb = ?e.verb,
        event = e.event_id.as_ref().map(tracing::field::display),
        version = e.version,
        via = ?e.origin.via,
        peer = e.origin.peer.as_deref(),
        standing = e.origin.standing,
        parent = e.parent.as_ref().map(tracing::field::display),
        to = %names(e.recipients.iter()),
        destination = %e.destination.key(),
        size = e.body.size,
        "accepted"
    );
}

pub fn held(e: &Entry) {
    life!(warn, e.id, reason = %e.reason, to = %names(e.recipients.iter()), "held");
}

pub fn attempt(e: &Entry) {
    life!(info, e.id, destination = %e.destination.key(), attempt = e.attempts + 1, to = %names(e.pending()), "attempt");
}

/// Something could not be kept in the other format; the history says what.
pub fn translated(id: EntryId, losses: usize) {
    life!(info, id, losses, "translated");
}

pub fn delivered(id: EntryId, user: &UserId, how: &str, said: &str) {
    life!(info, id, to = %user, status = how, said, "delivered");
}

pub fn deferred(e: &Entry, until: Timestamp) {
    life!(info, e.id, attempts = e.attempts, next = %until, reason = %e.reason, "deferred");
}

pub fn redirected(id: EntryId, old: &UserId, new: &UserId) {
    life!(info, id, %old, %new, "redirected");
}

pub fn fallback(id: EntryId, user: &UserId, why: &str) {
    life!(info, id, to = %user, why, "fallback to e-mail");
}

pub fn moved(id: EntryId, child: EntryId, destination: &str) {
    life!(info, id, %child, destination, "split");
}

pub fn failed(id: EntryId, user: &UserId, why: &str) {
    life!(warn, id, to = %user, why, "failed");
}

pub fn superseded(id: EntryId, user: &UserId, version: u32) {
    life!(info, id, to = %user, by_version = version, "superseded");
}

pub fn reported(id: EntryId, report: EntryId, to: &str) {
    life!(info, id, %report, to, "reported");
}

pub fn unreported(id: EntryId, why: &str) {
    life!(warn, id, why, "not reported");
}

/// Nothing more to do: taken out of the queue.
pub fn removed(e: &Entry, now: Timestamp) {
    life!(info, e.id, seconds = now.since(e.received).as_secs_f64(), "removed");
}

/// By an administrator.
pub fn administered(id: EntryId, what: &str, reason: &str) {
    life!(info, id, what, reason, "administered");
}
