//! What the administrator is shown of the ledger: the field names and forms that scripts rely on.
//!
//! Invariants: times are RFC 3339 in UTC, a floating time is read as UTC; an instance is named by its RECURRENCE-ID, and
//! `null` stands for the whole event; what only `ledger show` gives stands in [`EventDetails`].

use serde::{Deserialize, Serialize};

use super::view::HappeningView;
use crate::calendar::event::{Moment, PartStat};
use crate::clock::Timestamp;
use crate::ident::{EntryId, EventId, UserId};
use crate::ledger::judge::counts;
use crate::ledger::records::{AnswerRecord, EventRecord, Part, PersonRecord, Reached, RedirectRecord, Route, Seen, TokenRecord};
use crate::queue::entry::{Entry, State, Verb};

/// One event, as `ledger list` and `ledger show` give it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    pub event_id: EventId,
    pub ical_uid: String,
    pub owner: UserId,
    /// The owner has only e-mail, and the relay numbers the versions.
    pub own: bool,
    pub standing: u8,
    /// The newest version.
    pub version: u32,
    pub summary: Option<String>,
    pub start: Option<String>,
    pub cancelled: bool,
    pub updated: String,
    /// Only in `ledger show`.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub details: Option<EventDetails>,
}

/// What `ledger show` adds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventDetails {
    pub owner_name: Option<String>,
    pub created: String,
    /// When its last instance is over; `null`: no end is known.
    pub ends: Option<String>,
    pub parts: Vec<PartView>,
    pub people: Vec<PersonView>,
    pub tokens: Vec<TokenView>,
    /// Learned or given redirects of the event and of its people.
    pub redirects: Vec<RedirectView>,
    /// Entries in the queue: `queue show` has the rest of them.
    pub waiting: Vec<WaitingView>,
    pub history: Vec<HappeningView>,
}

/// The whole event, or one instance that was spoken of by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartView {
    pub recurrence_id: Option<String>,
    pub summary: Option<String>,
    pub start: Option<String>,
    pub end: Option<String>,
    pub cancelled: bool,
    /// Those that are still remembered, in the order of their arrival.
    pub versions: Vec<VersionView>,
}

/// One version, and what it is in iCalendar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionView {
    pub version: u32,
    pub sequence: u32,
    pub dtstamp: Option<String>,
    pub start: Option<String>,
    pub end: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonView {
    pub user: UserId,
    pub name: Option<String>,
    /// All addresses known in this event; the organizer's first.
    pub addresses: Vec<UserId>,
    /// The newest version accepted for this person.
    pub version: Option<u32>,
    pub route: Option<Route>,
    /// The newest versions that reached this person, or may have.
    pub reached: Vec<ReachedView>,
    pub answers: Vec<AnswerView>,
    /// RESPONSE-SEQUENCE of the last answer that the relay wrote.
    pub response_sequence: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachedView {
    pub recurrence_id: Option<String>,
    pub version: u32,
    pub before: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerView {
    pub recurrence_id: Option<String>,
    pub status: PartStat,
    pub comment: Option<String>,
    pub standing: u8,
    pub at: String,
    /// Its order among this person's answers: version, RESPONSE-SEQUENCE, DTSTAMP (profile 6).
    pub version: u32,
    pub response_sequence: u32,
    pub dtstamp: String,
    /// `false`: to a time that the event no longer has.
    pub counts: bool,
}

/// An address of the relay's own that was given out for this event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    pub token: String,
    /// `reply` or `bounce` (an envelope sender).
    pub kind: String,
    /// Whom mail to it is for.
    pub counterpart: UserId,
    /// Who was given it.
    pub holder: UserId,
    pub created: String,
}

/// A known redirect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedirectView {
    pub old: String,
    pub new: String,
    /// The server that said so, `administrator`, or `configuration`.
    pub source: String,
    pub learned: Option<String>,
    pub expires: Option<String>,
}

/// An entry of this event that is in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingView {
    pub id: EntryId,
    pub state: State,
    pub verb: Verb,
    pub version: Option<u32>,
    pub destination: String,
    pub recipients: Vec<UserId>,
    pub reason: String,
}

impl EventView {
    pub(super) fn new(event: &EventRecord) -> Self {
        let whole = event.part(None).or(event.parts.first());
        Self {
            event_id: event.event_id.clone(),
            ical_uid: event.ical_uid.clone(),
            owner: event.owner.clone(),
            own: event.own,
            standing: event.standing,
            version: event.version(),
            summary: whole.and_then(|part| part.summary.clone()),
            start: whole.and_then(|part| moment(part.start.as_ref())),
            cancelled: whole.is_some_and(|part| part.cancelled),
            updated: event.updated.rfc3339(),
            details: None,
        }
    }
}

fn moment(moment: Option<&Moment>) -> Option<String> {
    moment.and_then(Moment::instant).map(Timestamp::rfc3339)
}

impl PartView {
    pub(super) fn new(part: &Part) -> Self {
        Self {
            recurrence_id: part.rid.clone(),
            summary: part.summary.clone(),
            start: moment(part.start.as_ref()),
            end: moment(part.end.as_ref()),
            cancelled: part.cancelled,
            versions: part.seen.iter().map(VersionView::new).collect(),
        }
    }
}

impl VersionView {
    fn new(seen: &Seen) -> Self {
        Self {
            version: seen.version,
            sequence: seen.sequence,
            dtstamp: seen.dtstamp.map(Timestamp::rfc3339),
            start: seen.start.map(Timestamp::rfc3339),
            end: seen.end.map(Timestamp::rfc3339),
        }
    }
}

impl PersonView {
    pub(super) fn new(event: &EventRecord, person: &PersonRecord) -> Self {
        let reached = |r: &Reached| ReachedView { recurrence_id: r.rid.clone(), version: r.newest, before: r.before };
        Self {
            user: person.user.clone(),
            name: person.name.clone(),
            addresses: person.addresses.clone(),
            version: person.accepted.iter().map(|(_, version)| *version).max(),
            route: person.route,
            reached: person.reached.iter().map(reached).collect(),
            answers: person.answers.iter().map(|answer| AnswerView::new(event, answer)).collect(),
            response_sequence: person.response_sequence,
        }
    }
}

impl AnswerView {
    fn new(event: &EventRecord, answer: &AnswerRecord) -> Self {
        Self {
            recurrence_id: answer.rid.clone(),
            status: answer.status,
            comment: answer.comment.clone(),
            standing: answer.standing,
            at: answer.at.rfc3339(),
            version: answer.order.version,
            response_sequence: answer.order.response_sequence,
            dtstamp: answer.order.dtstamp.rfc3339(),
            counts: counts(event, answer),
        }
    }
}

impl TokenView {
    pub(super) fn new(token: &str, record: &TokenRecord) -> Self {
        Self {
            token: token.to_owned(),
            kind: if record.bounce { "bounce" } else { "reply" }.to_owned(),
            counterpart: record.counterpart.clone(),
            holder: record.holder.clone(),
            created: record.created.rfc3339(),
        }
    }
}

impl RedirectView {
    pub(super) fn new(record: &RedirectRecord) -> Self {
        Self {
            old: record.old.clone(),
            new: record.new.clone(),
            source: record.source.clone(),
            learned: Some(record.learned.rfc3339()),
            expires: record.expires.map(Timestamp::rfc3339),
        }
    }
}

impl WaitingView {
    pub(super) fn new(entry: &Entry) -> Self {
        Self {
            id: entry.id,
            state: entry.state,
            verb: entry.verb,
            version: entry.version,
            destination: entry.destination.key(),
            recipients: entry.pending().map(|r| r.user.clone()).collect(),
            reason: entry.reason.clone(),
        }
    }
}
