//! Reports to originators as queue entries of their own: composed by `imip::report`, filed in the transaction that
//! settles what they are about.
//!
//! Invariants (bridge 9): a report has a null sender and is never reported upon; nobody is reported to who did not send: a
//! null sender gets none, an automatic message only when it has a calendar part, a CIP owner only at standing 2 or
//! more and without the object.

use crate::clock::Timestamp;
use crate::config::Config;
use crate::ident::{EntryId, UserId};
use crate::queue::entry::{BodyKind, Destination, Entry, Origin, Recipient, Verb, Via};
use crate::queue::{Change, Queue};

/// Who is to be told about an entry, which carries a calendar part or not; `Err` says why nobody is.
pub fn originator(entry: &Entry, calendar: bool) -> Result<UserId, &'static str> {
    if entry.verb == Verb::Report {
        return Err("a report is never reported upon");
    }
    match entry.origin.sender.as_deref() {
        Some("") => Err("the sender is the null sender"),
        Some(_) if entry.origin.automatic && !calendar => Err("the message was automatic and has no calendar part"),
        Some(sender) => UserId::parse(sender).map_err(|_| "the envelope sender is no address"),
        None if entry.origin.standing < 2 => Err("the sender is not known well enough (standing below 2)"),
        None => match (entry.verb, &entry.answer) {
            (Verb::Rsvp, Some(answering)) => Ok(answering.attendee.clone()),
            _ => entry.owner.clone().ok_or("the entry names no owner"),
        },
    }
}

/// Adds a report as a new entry to a change.
pub fn file(
    queue: &Queue,
    config: &Config,
    change: &mut Change,
    to: &UserId,
    message: &[u8],
    about: Option<EntryId>,
    now: Timestamp,
) -> Entry {
    let expires = now.after(config.delivery.expire_after.0);
    let note = about.map_or_else(|| "report filed".to_owned(), |id| format!("report on {id} filed"));
    let mut entry = message_of_ours(queue, change, to, message, (now, expires), &note);
    entry.parent = about;
    change.put(entry.clone());
    entry
}

/// Any message of the relay's own, with the null sender, from now until it expires: its body is in the change, the entry
/// still to be put.
pub fn message_of_ours(
    queue: &Queue,
    change: &mut Change,
    to: &UserId,
    message: &[u8],
    (now, expires): (Timestamp, Timestamp),
    note: &str,
) -> Entry {
    let body = change.add_body(BodyKind::Message, message, 1);
    let origin =
        Origin { via: Via::Relay, peer: None, helo: None, identity: None, standing: 3, sender: Some(String::new()), automatic: true };
    let destination = Destination::Mail(to.server().clone());
    let people = vec![Recipient::new(to.clone(), to.clone(), false)];
    let mut entry = Entry::new(queue.next_id(), Verb::Report, destination, people, origin, body, now, expires);
    entry.note(now, note);
    entry
}
