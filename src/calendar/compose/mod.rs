//! Objects of our own: invitations for mail, answers for CIP and for mail.
//!
//! Invariants: what is composed reads back to the same UID, version, people and times; iCalendar lines are folded at 75
//! octets and end in CRLF; whatever an object cannot say is listed as a [`Loss`], and what a person would miss is said in
//! DESCRIPTION too (bridge 7).

mod answer;
mod fresh;
mod invitation;
#[cfg(test)]
mod tests;

use crate::calendar::convert::Loss;
use crate::calendar::error::ObjectError;
use crate::calendar::event::{Event, Method};
use crate::clock::Timestamp;
use crate::ident::UserId;

pub use answer::{ReplyJob, RsvpJob, counter, reply, rsvp};
pub(super) use fresh::moment_line_like;
pub use invitation::icalendar;

/// PRODID of what the relay composes.
pub const PRODID: &str = "-//cip-relay//cip-relay//EN";

/// Who stands as ORGANIZER in a composed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organizer {
    pub address: UserId,
    pub name: Option<String>,
}

/// How an object is to be composed for one mail.
#[derive(Clone, Debug)]
pub struct MailJob<'a> {
    pub method: Method,
    /// The iCalendar UID.
    pub uid: String,
    /// The iCalendar SEQUENCE.
    pub sequence: u32,
    /// Stands in ORGANIZER; `None`: the object's own owner.
    pub organizer: Option<Organizer>,
    /// (old, new) of attendees.
    pub addresses: Vec<(UserId, UserId)>,
    /// Who gets the mail: RSVP=TRUE;PARTSTAT=NEEDS-ACTION in a REQUEST; added when he is no attendee.
    pub recipient: Option<UserId>,
    /// Lists these attendees alone, by old or new address (bridge 5: more than 200 attendees).
    pub only: Option<Vec<UserId>>,
    /// Leaves ATTACH out (a sender of standing below 2).
    pub drop_attach: bool,
    /// DTSTAMP.
    pub now: Timestamp,
    /// Gives DTSTART, DTEND and SUMMARY where the object has none.
    pub stand_in: Option<&'a Event>,
    /// STATUS:CANCELLED.
    pub cancelled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    pub octets: Vec<u8>,
    /// At most 200.
    pub losses: Vec<Loss>,
    /// Losses beyond those listed.
    pub more_losses: usize,
}

/// Why an object cannot become an invitation (bridge 8). The sender's fault, permanent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    #[error("the event has no DTSTART that can be read, so it cannot be sent as an invitation by e-mail: add one")]
    NoStart,
    #[error("the time zone {0:?} is not known: use UTC, an IANA name, or send its VTIMEZONE")]
    UnknownZone(String),
    #[error("the event cannot be said in iCalendar: {0}")]
    NotTranslated(ObjectError),
}
