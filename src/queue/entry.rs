//! A queue entry: one event (or one message) on its way to one destination, with the state of each recipient.
//!
//! Invariants: an entry has at least one recipient that is not settled, else it is removed; `history` is bounded
//! ([`Entry::note`]); `attempts` counts attempts that reached out to a peer, never waits behind a dead destination;
//! the body is stored apart and shared by the entries of one acceptance ([`BodyRef`]).

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ident::{EntryId, EventId, ServerId, UserId};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    SendEvent,
    Rsvp,
    /// A message passed on octet for octet.
    Mail,
    /// A delivery report or delay warning of our own; never reported upon.
    Report,
}

/// Where an entry goes next: the unit of connections, of fairness and of health.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Destination {
    /// The CIP server of a server-id.
    Cip(ServerId),
    /// The mail servers of a domain (or the smarthost in front of them).
    Mail(ServerId),
}

impl Destination {
    pub fn server(&self) -> &ServerId {
        match self {
            Self::Cip(server) | Self::Mail(server) => server,
        }
    }

    /// `cip:jumbo.com` or `mail:jumbo.com`, in lower case: a key, and what people are shown.
    pub fn key(&self) -> String {
        match self {
            Self::Cip(server) => format!("cip:{}", server.key()),
            Self::Mail(server) => format!("mail:{}", server.key()),
        }
    }
}

/// The RFC 6638 3.2.9 schedule status words that `queue show` gives (bridge 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    #[serde(rename = "1.0")]
    Queued,
    #[serde(rename = "1.1")]
    SentByMail,
    #[serde(rename = "1.2")]
    DeliveredByCip,
    #[serde(rename = "2.7")]
    Redirected,
    #[serde(rename = "3.7")]
    NotFound,
    #[serde(rename = "3.8")]
    Refused,
    #[serde(rename = "5.1")]
    Failed,
}

impl Status {
    pub const fn code(self) -> &'static str {
        match self {
            Self::Queued => "1.0",
            Self::SentByMail => "1.1",
            Self::DeliveredByCip => "1.2",
            Self::Redirected => "2.7",
            Self::NotFound => "3.7",
            Self::Refused => "3.8",
            Self::Failed => "5.1",
        }
    }

    /// Nothing more will be tried.
    pub const fn settled(self) -> bool {
        !matches!(self, Self::Queued)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The address in use now: after unwrapping a gateway address and after redirects.
    pub user: UserId,
    /// As the sender named him.
    pub original: UserId,
    pub status: Status,
    /// What the last attempt said of him.
    pub last: String,
    /// Every id that redirects led through, in order (profile 7: at most 5, no id twice).
    pub visited: Vec<UserId>,
    /// Addressed through a gateway address: e-mail to him is composed, not passed on.
    pub gateway: bool,
}

/// How a message came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    Cip,
    Smtp,
    Lmtp,
    Submit,
    /// The listener for mail from outside.
    Inbound,
    /// Made by the relay itself.
    Relay,
    /// Brought by `queue import`.
    Import,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub via: Via,
    /// The peer's address, when there is one.
    pub peer: Option<String>,
    /// What a mail client called itself.
    pub helo: Option<String>,
    /// Whom the peer authenticated as.
    pub identity: Option<String>,
    /// How well the sender is known, 0 to 3 (profile 4).
    pub standing: u8,
    /// The envelope sender of a mail; `Some("")` is the null sender; `None`: came by CIP.
    pub sender: Option<String>,
    /// The mail said `Auto-Submitted` other than `no`.
    pub automatic: bool,
}

/// What the stored octets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyKind {
    /// A calendar object in one of the three formats.
    Object,
    /// A whole mail message.
    Message,
}

/// A stored body. Several entries may share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BodyRef {
    pub kind: BodyKind,
    /// Its own id, from the same never repeating source as the ids of entries.
    pub id: EntryId,
    /// Octets, uncompressed.
    pub size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Due,
    /// Only ever in memory: on disk such an entry is due or deferred.
    InFlight,
    Deferred,
    Held,
    Quarantined,
}

/// One line of an entry's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    pub at: Timestamp,
    pub what: String,
}

/// Whose answer an RSVP carries, and its place in the order of his answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answering {
    /// As the organizer knows him.
    pub attendee: UserId,
    /// RESPONSE-SEQUENCE of what the relay writes: grows with each change of this attendee's answer (profile 6).
    pub response_sequence: u32,
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts about an entry, each with its own name")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: EntryId,
    pub verb: Verb,
    pub destination: Destination,
    pub event_id: Option<EventId>,
    /// For an RSVP: the event-ids that redirects led through, in order (profile 7).
    pub moved_from: Vec<EventId>,
    /// RECURRENCE-ID when the entry is about one instance.
    pub recurrence_id: Option<String>,
    pub version: Option<u32>,
    pub owner: Option<UserId>,
    /// For an RSVP: whose answer it is. Superseding goes by this attendee instead of by recipient (bridge 3).
    pub answer: Option<Answering>,
    /// STATUS:CANCELLED, or METHOD:CANCEL.
    pub cancel: bool,
    pub event_start: Option<Timestamp>,
    pub event_end: Option<Timestamp>,
    pub recipients: Vec<Recipient>,
    pub origin: Origin,
    pub body: BodyRef,
    pub received: Timestamp,
    pub state: State,
    pub next_attempt: Timestamp,
    /// When the entry is to be looked at whatever its destination does: the earliest of the end of its route's patience,
    /// the delay warning still due, and `expires`. The caller keeps it; [`Timestamp::NEVER`] for none.
    pub deadline: Timestamp,
    /// Deferred only because its destination is down: the first success there makes it due at once.
    pub waits_for_hop: bool,
    pub attempts: u32,
    /// When this destination was first tried without success; patience counts from `received`.
    pub first_failure: Option<Timestamp>,
    /// From when on nothing is tried any more and the originator gets a report.
    pub expires: Timestamp,
    /// It was held by policy: whoever releases it wants it delivered, whatever came since.
    pub doubted: bool,
    /// The delay warning has gone out.
    pub warned: bool,
    /// An attempt ended after its data and before its answer (profile 7).
    pub uncertain: bool,
    /// Trace lines that the object bore when it was accepted.
    pub hops: u32,
    /// Why it is deferred, held or quarantined.
    pub reason: String,
    /// The entry from which this one was split off by a redirect or a change of route.
    pub parent: Option<EntryId>,
    pub history: Vec<Happening>,
}

impl Entry {
    /// History lines kept: the first quarter for ever, the rest the newest.
    pub const HISTORY: usize = 64;
    /// Octets kept of one history line.
    pub const HISTORY_LINE: usize = 500;

    /// Adds a line to the history, within the bounds.
    pub fn note(&mut self, at: Timestamp, what: impl Into<String>) {
        let mut what: String = what.into().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if what.len() > Self::HISTORY_LINE {
            let end = (0..=Self::HISTORY_LINE).rev().find(|&i| what.is_char_boundary(i)).unwrap_or(0);
            what.truncate(end);
        }
        if self.history.len() >= Self::HISTORY {
            self.history.remove(Self::HISTORY / 4);
        }
        self.history.push(Happening { at, what });
    }

    /// The recipients for whom something is still to be done.
    pub fn pending(&self) -> impl Iterator<Item = &Recipient> {
        self.recipients.iter().filter(|r| !r.status.settled())
    }

    /// `cip` or `mail`.
    pub fn route(&self) -> &'static str {
        match self.destination {
            Destination::Cip(_) => "cip",
            Destination::Mail(_) => "mail",
        }
    }
}

impl Recipient {
    /// Somebody for whom nothing has been done yet.
    pub fn new(user: UserId, original: UserId, gateway: bool) -> Self {
        Self { user, original, status: Status::Queued, last: String::new(), visited: Vec::new(), gateway }
    }
}

impl Entry {
    /// An entry as it is accepted at `now`, due at once, that says nothing of an event yet.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        id: EntryId,
        verb: Verb,
        destination: Destination,
        recipients: Vec<Recipient>,
        origin: Origin,
        body: BodyRef,
        now: Timestamp,
        expires: Timestamp,
    ) -> Self {
        Self {
            id,
            verb,
            destination,
            event_id: None,
            moved_from: Vec::new(),
            recurrence_id: None,
            version: None,
            owner: None,
            answer: None,
            cancel: false,
            event_start: None,
            event_end: None,
            recipients,
            origin,
            body,
            received: now,
            state: State::Due,
            next_attempt: now,
            deadline: expires,
            waits_for_hop: false,
            attempts: 0,
            first_failure: None,
            expires,
            doubted: false,
            warned: false,
            uncertain: false,
            hops: 0,
            reason: String::new(),
            parent: None,
            history: Vec::new(),
        }
    }
}

#[cfg(test)]
impl Entry {
    /// An invitation from `tom@jumbo.com`, version 3 of `lunch@jumbo.com`, to `mary@` a CIP server; due at `at`.
    pub fn sample(id: EntryId, server: &str, at: Timestamp) -> Self {
        let server = ServerId::parse(server).unwrap();
        let mary = UserId::new("mary", server.clone()).unwrap();
        let later = |hours: u64| at.after(std::time::Duration::from_hours(hours));
        let origin = Origin { via: Via::Cip, peer: None, helo: None, identity: None, standing: 2, sender: None, automatic: false };
        let body = BodyRef { kind: BodyKind::Object, id, size: 0 };
        let people = vec![Recipient::new(mary.clone(), mary, false)];
        Self {
            event_id: Some(EventId::parse("lunch@jumbo.com").unwrap()),
            version: Some(3),
            owner: Some(UserId::parse("tom@jumbo.com").unwrap()),
            deadline: later(100),
            ..Self::new(id, Verb::SendEvent, Destination::Cip(server), people, origin, body, at, later(120))
        }
    }
}
