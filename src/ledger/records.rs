//! What the ledger keeps, as records: one per event, one per person in an event, one per token, one per redirect.
//!
//! An event and each of its people are records of their own, so that an answer to an event of a thousand people rewrites
//! one of them. Invariants: a version number of an event of ours is given once; `seen` is bounded and newest last; every
//! address a person has in the event is in `addresses`, the one that the organizer wrote first; every list and every text
//! from outside is bounded, so that no record comes near the store's limit for one value; a struct here is the newest
//! version of its record, and changes only together with a version number (`golden` below), while what stood before goes
//! to `former`.

use serde::{Deserialize, Serialize};

use crate::calendar::event::{Moment, PartStat};
use crate::calendar::{Mark, Snapshot};
use crate::clock::Timestamp;
use crate::ident::{EventId, UserId};

/// An event that passed through the relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    pub event_id: EventId,
    /// The UID in iCalendar: the event-id itself, or what the organizer's mail program gave (bridge 3).
    pub ical_uid: String,
    /// As the organizer wrote the address.
    pub owner: UserId,
    pub owner_name: Option<String>,
    /// The owner has only e-mail and the relay numbers the versions.
    pub own: bool,
    /// The best standing with which the event came (profile 4).
    pub standing: u8,
    pub created: Timestamp,
    pub updated: Timestamp,
    /// The whole event, and the instances that were spoken of one by one.
    pub parts: Vec<Part>,
}

/// The whole event (`rid` is `None`) or one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub rid: Option<String>,
    /// Newest last, at most [`Part::SEEN`].
    pub seen: Vec<Seen>,
    pub cancelled: bool,
    pub summary: Option<String>,
    pub start: Option<Moment>,
    pub end: Option<Moment>,
    /// What versions said, to tell a recipient what changed since the one that he had. Newest last.
    pub states: Vec<State>,
}

/// What several versions in a row said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub first: u32,
    pub last: u32,
    pub said: Snapshot,
}

/// A version that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub version: u32,
    /// SEQUENCE in iCalendar.
    pub sequence: u32,
    pub dtstamp: Option<Timestamp>,
    pub digest: [u8; 32],
    /// Start and end, to tell whether an answer was given to another time.
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
}

impl Seen {
    /// By SEQUENCE, then DTSTAMP (RFC 5546 2.1.5), then version: the copies of one state that a mail program writes to each
    /// attendee by himself come in any order, and get their versions in it.
    pub fn newer_than(&self, other: &Self) -> bool {
        let stamps = self.dtstamp.zip(other.dtstamp).map_or(std::cmp::Ordering::Equal, |(a, b)| a.cmp(&b));
        self.sequence.cmp(&other.sequence).then(stamps).then(self.version.cmp(&other.version)).is_gt()
    }
}

impl Part {
    /// Versions remembered of the whole event, and of one instance.
    pub const SEEN: usize = 32;
    pub const SEEN_OF_INSTANCE: usize = 4;
    /// States remembered of the whole event, and of one instance.
    pub const STATES: usize = 8;
    pub const STATES_OF_INSTANCE: usize = 2;
    /// Octets kept of a title or a comment.
    pub const TEXT: usize = 400;

    pub fn new(rid: Option<String>) -> Self {
        Self { rid, seen: Vec::new(), cancelled: false, summary: None, start: None, end: None, states: Vec::new() }
    }

    /// What a version said, as far as it is known.
    pub fn said(&self, version: u32) -> Option<&Snapshot> {
        self.states.iter().rev().find(|s| (s.first..=s.last).contains(&version)).map(|s| &s.said)
    }

    pub fn newest(&self) -> Option<&Seen> {
        self.seen.iter().reduce(|a, b| if a.newer_than(b) { a } else { b })
    }

    pub fn knows(&self, digest: &[u8; 32]) -> Option<&Seen> {
        self.seen.iter().find(|s| s.digest == *digest)
    }

    pub fn remember(&mut self, seen: Seen) {
        if self.seen.contains(&seen) {
            return;
        }
        let room = if self.rid.is_none() { Self::SEEN } else { Self::SEEN_OF_INSTANCE };
        if self.seen.len() >= room {
            self.seen.remove(0);
        }
        self.seen.push(seen);
    }
}

/// At most [`Part::TEXT`] octets of a text.
pub fn clipped(text: &str) -> String {
    crate::mime::transfer::clip(text, Part::TEXT).to_owned()
}

impl EventRecord {
    /// Parts kept of one event: a series of working days answered instance by instance for most of a year.
    pub const PARTS: usize = 200;
    /// States kept of all parts together.
    pub const STATES: usize = 32;

    pub fn part(&self, rid: Option<&str>) -> Option<&Part> {
        self.parts.iter().find(|p| p.rid.as_deref() == rid)
    }

    pub fn part_mut(&mut self, rid: Option<&str>) -> &mut Part {
        if let Some(at) = self.parts.iter().position(|p| p.rid.as_deref() == rid) {
            return &mut self.parts[at];
        }
        if self.parts.len() >= Self::PARTS {
            // The oldest instance goes; the whole event, wherever it stands, stays.
            let oldest = self.parts.iter().position(|p| p.rid.is_some()).unwrap_or(0);
            self.parts.remove(oldest);
        }
        self.parts.push(Part::new(rid.map(str::to_owned)));
        self.parts.last_mut().expect("a part was just pushed")
    }

    /// Keeps what a version said. Versions in a row that say the same are one state; the oldest states of instances make
    /// room first.
    pub fn remember_state(&mut self, rid: Option<&str>, version: u32, said: Snapshot) {
        let part = self.part_mut(rid);
        match part.states.iter_mut().max_by_key(|s| s.last) {
            Some(state) if state.said == said && version >= state.first => state.last = state.last.max(version),
            _ => part.states.push(State { first: version, last: version, said }),
        }
        let room = if rid.is_none() { Part::STATES } else { Part::STATES_OF_INSTANCE };
        if part.states.len() > room {
            part.states.remove(0);
        }
        let mut total: usize = self.parts.iter().map(|p| p.states.len()).sum();
        for part in self.parts.iter_mut().filter(|p| p.rid.is_some() && p.rid.as_deref() != rid) {
            while total > Self::STATES && !part.states.is_empty() {
                part.states.remove(0);
                total -= 1;
            }
        }
    }

    /// The highest version of any part.
    pub fn version(&self) -> u32 {
        self.parts.iter().flat_map(|p| &p.seen).map(|s| s.version).max().unwrap_or(0)
    }

    /// The part an answer is about: the instance, or the whole when the instance was never spoken of.
    pub fn answered_part(&self, rid: Option<&str>) -> Option<&Part> {
        self.part(rid).or_else(|| self.part(None)).or_else(|| self.parts.first())
    }
}

/// One person in one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonRecord {
    pub event_id: EventId,
    /// The key: the address after unwrapping a gateway address, before any redirect.
    pub user: UserId,
    /// All addresses in this event, as the organizer wrote it first.
    pub addresses: Vec<UserId>,
    pub name: Option<String>,
    /// Newest version accepted for this person, per instance (`None`: the whole).
    pub accepted: Vec<(Option<String>, u32)>,
    /// How many versions were accepted for this person.
    pub versions: u32,
    /// The newest answer to the whole event and to each instance, whether or not the event's time has changed since.
    pub answers: Vec<AnswerRecord>,
    /// RESPONSE-SEQUENCE of the last RSVP or REPLY that the relay wrote for this person.
    pub response_sequence: u32,
    /// How something last reached this person, or may have.
    pub route: Option<Route>,
    /// Which versions did.
    pub reached: Vec<Reached>,
    /// The version without him that took him out of the event (bridge 2); a later one may bring him back.
    pub removed: Option<u32>,
}

/// The last two versions of the whole event, or of one instance, that reached a person or may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    pub rid: Option<String>,
    pub newest: u32,
    pub before: Option<u32>,
}

/// How an event reached a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    Cip,
    Mail,
    /// The data of an attempt ended and its answer never came.
    Uncertain,
    /// Uncertain by CIP, then by mail: later versions and the CANCEL take both (profile 7).
    Both,
}

/// The newest answer of a person about the whole event or one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRecord {
    pub rid: Option<String>,
    pub status: PartStat,
    pub comment: Option<String>,
    pub order: AnswerOrder,
    pub standing: u8,
    pub at: Timestamp,
    /// Of what he proposes instead (COUNTER).
    pub proposal: Option<Mark>,
    /// It could not be brought to the owner: given again, it goes out again.
    pub lost: bool,
}

/// The order of answers: SEQUENCE, RESPONSE-SEQUENCE, DTSTAMP (profile 6); arrival decides between equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AnswerOrder {
    pub version: u32,
    pub response_sequence: u32,
    pub dtstamp: Timestamp,
}

impl PersonRecord {
    pub const ADDRESSES: usize = 16;

    pub fn new(event_id: EventId, user: UserId) -> Self {
        Self {
            event_id,
            addresses: Vec::new(),
            user,
            name: None,
            accepted: Vec::new(),
            versions: 0,
            answers: Vec::new(),
            response_sequence: 0,
            route: None,
            reached: Vec::new(),
            removed: None,
        }
    }

    /// A version has reached this person, or may have. Says whether that is news.
    pub fn reach(&mut self, rid: Option<&str>, version: u32) -> bool {
        let Some(known) = self.reached.iter_mut().find(|r| r.rid.as_deref() == rid) else {
            if self.reached.len() >= EventRecord::PARTS {
                self.reached.remove(0);
            }
            self.reached.push(Reached { rid: rid.map(str::to_owned), newest: version, before: None });
            return true;
        };
        match version.cmp(&known.newest) {
            std::cmp::Ordering::Greater => (known.before, known.newest) = (Some(known.newest), version),
            std::cmp::Ordering::Less if known.before.is_none_or(|b| b < version) => known.before = Some(version),
            _ => return false,
        }
        true
    }

    /// The newest version below this one that reached this person: the same before and after this one does.
    pub fn had_before(&self, rid: Option<&str>, version: u32) -> Option<u32> {
        let known = self.reached.iter().find(|r| r.rid.as_deref() == rid)?;
        [Some(known.newest), known.before].into_iter().flatten().find(|v| *v < version)
    }

    pub fn accepted_version(&self, rid: Option<&str>) -> Option<u32> {
        self.accepted.iter().find(|(r, _)| r.as_deref() == rid).map(|(_, v)| *v)
    }

    pub fn accept(&mut self, rid: Option<&str>, version: u32) {
        self.versions = self.versions.saturating_add(1);
        if rid.is_none() {
            self.removed = None;
        }
        match self.accepted.iter_mut().find(|(r, _)| r.as_deref() == rid) {
            Some((_, v)) => *v = version,
            None => {
                if self.accepted.len() >= EventRecord::PARTS {
                    self.accepted.remove(0);
                }
                self.accepted.push((rid.map(str::to_owned), version));
            }
        }
    }

    /// A version did not reach this person after all: it is as if it had not been accepted for him, so that it can come again.
    /// Says whether that is news.
    pub fn take_back(&mut self, rid: Option<&str>, version: u32) -> bool {
        let had = self.had_before(rid, version);
        let Some(at) = self.accepted.iter().position(|(r, v)| r.as_deref() == rid && *v == version) else { return false };
        match had {
            Some(had) => self.accepted[at].1 = had,
            None => drop(self.accepted.remove(at)),
        }
        true
    }

    pub fn answer(&self, rid: Option<&str>) -> Option<&AnswerRecord> {
        self.answers.iter().find(|a| a.rid.as_deref() == rid)
    }

    pub fn set_answer(&mut self, answer: AnswerRecord) {
        self.answers.retain(|a| a.rid != answer.rid);
        if self.answers.len() >= EventRecord::PARTS {
            self.answers.remove(0);
        }
        self.answers.push(answer);
    }

    pub fn answer_mut(&mut self, rid: Option<&str>) -> Option<&mut AnswerRecord> {
        self.answers.iter_mut().find(|a| a.rid.as_deref() == rid)
    }

    /// Adds an address unless it is known or there are too many.
    pub fn add_address(&mut self, address: &UserId) {
        if !self.addresses.contains(address) && self.addresses.len() < Self::ADDRESSES {
            self.addresses.push(address.clone());
        }
    }

    pub fn is(&self, address: &UserId) -> bool {
        self.user == *address || self.addresses.contains(address)
    }

    /// The address under which the organizer knows this person.
    pub fn written(&self) -> &UserId {
        self.addresses.first().unwrap_or(&self.user)
    }
}

/// What a reply address or an envelope sender of ours stands for (bridge 4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    pub event_id: EventId,
    /// Whom mail to the token is for: the owner of an invitation, the attendee of an answer.
    pub counterpart: UserId,
    /// Who was given the token, and alone may answer by it.
    pub holder: UserId,
    /// An envelope sender, for delivery reports.
    pub bounce: bool,
    pub created: Timestamp,
}

/// A learned redirect of a user-id or an event-id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedirectRecord {
    pub old: String,
    pub new: String,
    /// The server that said so, `administrator`, or [`RedirectRecord::OWN`].
    pub source: String,
    pub learned: Timestamp,
    /// `None`: until removed.
    pub expires: Option<Timestamp>,
}

impl RedirectRecord {
    /// The source of what this relay decided itself. No server-id has a blank in it.
    pub const OWN: &str = "this relay";
}
