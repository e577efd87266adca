//! What the administrator is shown: the field names and forms that scripts rely on.
//!
//! Invariants: the fields of [`EntryView`] up to `reason` and their order are fixed by the interface; times are
//! RFC 3339 in UTC; nothing is shown that a script would have to take apart again.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ident::{EntryId, EventId, UserId};
use crate::queue::entry::{BodyKind, Entry, Origin, State, Status, Verb};
use crate::queue::{Check, Counts, Health, Quarantined, Summary};

/// One entry, as `queue list --json` and `queue show --json` give it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryView {
    pub id: EntryId,
    pub state: State,
    /// `null`, as much else, for a record in quarantine, which could not be read.
    pub verb: Option<Verb>,
    pub event_id: Option<EventId>,
    pub version: Option<u32>,
    pub owner: Option<UserId>,
    /// The destination.
    pub server_id: String,
    pub recipients: Vec<RecipientView>,
    pub origin: Option<Origin>,
    /// RFC 3339, like all times here.
    pub received: String,
    /// `null` while it is held or quarantined.
    pub next_attempt: Option<String>,
    pub attempts: u32,
    pub expires: Option<String>,
    /// Octets of the body.
    pub size: u64,
    /// Trace lines when it was accepted.
    pub hops: u32,
    pub reason: String,
    /// Only in `queue show`.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientView {
    pub user: UserId,
    pub original: UserId,
    /// RFC 6638 3.2.9.
    pub status: Status,
    /// `cip` or `mail`.
    pub route: String,
    /// What the last attempt said of him.
    pub last: String,
}

/// What `queue show` adds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    pub recurrence_id: Option<String>,
    pub cancel: bool,
    pub event_start: Option<String>,
    pub event_end: Option<String>,
    pub first_failure: Option<String>,
    pub warned: bool,
    pub uncertain: bool,
    pub parent: Option<EntryId>,
    pub history: Vec<HappeningView>,
    pub body: Option<BodyView>,
    /// The stored octets as text, when they are UTF-8; only with `--payload`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// The stored octets in base64, when they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HappeningView {
    pub at: String,
    pub what: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyView {
    pub kind: BodyKind,
    /// The entry under whose id it is stored.
    pub id: EntryId,
    pub size: u64,
}

impl EntryView {
    pub fn new(entry: &Entry) -> Self {
        let waits = matches!(entry.state, State::Due | State::InFlight | State::Deferred);
        Self {
            id: entry.id,
            state: entry.state,
            verb: Some(entry.verb),
            event_id: entry.event_id.clone(),
            version: entry.version,
            owner: entry.owner.clone(),
            server_id: entry.destination.server().to_string(),
            recipients: entry
                .recipients
                .iter()
                .map(|r| RecipientView {
                    user: r.user.clone(),
                    original: r.original.clone(),
                    status: r.status,
                    route: entry.route().to_owned(),
                    last: r.last.clone(),
                })
                .collect(),
            origin: Some(entry.origin.clone()),
            received: entry.received.rfc3339(),
            next_attempt: waits.then(|| time(entry.next_attempt)).flatten(),
            attempts: entry.attempts,
            expires: time(entry.expires),
            size: entry.body.size,
            hops: entry.hops,
            reason: entry.reason.clone(),
            details: None,
        }
    }

    /// With everything that `queue show` gives; `payload`: the stored octets, when they were asked for.
    pub fn detailed(entry: &Entry, payload: Option<&[u8]>) -> Self {
        let text = payload.map(std::str::from_utf8);
        let details = Details {
            recurrence_id: entry.recurrence_id.clone(),
            cancel: entry.cancel,
            event_start: entry.event_start.and_then(time),
            event_end: entry.event_end.and_then(time),
            first_failure: entry.first_failure.and_then(time),
            warned: entry.warned,
            uncertain: entry.uncertain,
            parent: entry.parent,
            history: entry.history.iter().map(|h| HappeningView { at: h.at.rfc3339(), what: h.what.clone() }).collect(),
            body: Some(BodyView { kind: entry.body.kind, id: entry.body.id, size: entry.body.size }),
            payload: text.and_then(Result::ok).map(str::to_owned),
            payload_base64: payload.filter(|_| text.is_some_and(|t| t.is_err())).map(|octets| BASE64.encode(octets)),
        };
        Self { details: Some(details), ..Self::new(entry) }
    }

    /// A record that could not be read; `payload`: give its octets.
    pub fn quarantined(record: &Quarantined, payload: bool) -> Self {
        let found = record.at.rfc3339();
        Self {
            id: record.id,
            state: State::Quarantined,
            verb: None,
            event_id: None,
            version: None,
            owner: None,
            server_id: String::new(),
            recipients: Vec::new(),
            origin: None,
            received: found.clone(),
            next_attempt: None,
            attempts: 0,
            expires: None,
            size: record.octets.len() as u64,
            hops: 0,
            reason: record.reason.clone(),
            details: Some(Details {
                history: vec![HappeningView { at: found, what: format!("put in quarantine: {}", record.reason) }],
                payload_base64: payload.then(|| BASE64.encode(&record.octets)),
                ..Details::default()
            }),
        }
    }

    /// `cip` or `mail`; every recipient of an entry has the same.
    pub fn route(&self) -> &str {
        self.recipients.first().map_or("", |r| r.route.as_str())
    }
}

/// `null` for a time that never comes.
fn time(at: Timestamp) -> Option<String> {
    at.datetime().map(|_| at.rfc3339())
}

/// How many entries wait for a destination, by how long they have been waiting, and how the destination is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationView {
    /// `cip:jumbo.com` or `mail:jumbo.com`.
    pub destination: String,
    pub total: usize,
    /// Entries by age; the limits of the columns, in minutes, are [`AGES`], the last column has all that are older.
    pub ages: Vec<usize>,
    pub states: StateCounts,
    /// `up` or `down`.
    pub health: String,
    pub failing_since: Option<String>,
    pub next_try: Option<String>,
    /// When the oldest entry was received.
    pub oldest: Option<String>,
}

/// How many entries are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StateCounts {
    pub due: usize,
    pub in_flight: usize,
    pub deferred: usize,
    pub held: usize,
    pub quarantined: usize,
}

impl From<Counts> for StateCounts {
    fn from(counts: Counts) -> Self {
        let Counts { due, in_flight, deferred, held, quarantined } = counts;
        Self { due, in_flight, deferred, held, quarantined }
    }
}

impl DestinationView {
    pub fn new(summary: &Summary) -> Self {
        let (health, failing_since, probe) = match summary.health {
            Health::Up => ("up", None, None),
            Health::Down { since, until, probe } => ("down", time(since), probe.then_some(until).and_then(time)),
        };
        Self {
            destination: summary.destination.key(),
            total: summary.counts.total(),
            ages: summary.ages.to_vec(),
            states: summary.counts.into(),
            health: health.to_owned(),
            failing_since,
            next_try: probe.or_else(|| summary.next.and_then(time)),
            oldest: time(summary.oldest),
        }
    }
}

/// What `queue check` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckView {
    pub entries: usize,
    pub bodies: usize,
    /// Records of the ledger, tokens and redirects.
    pub ledger: usize,
    /// Due records that were made again.
    pub mended: usize,
    /// The first problems, in words; `problem_count` has all.
    pub problems: Vec<String>,
    pub problem_count: usize,
    /// The queue was at work, so that references were not counted.
    pub busy: bool,
    pub quarantine: Vec<QuarantineView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineView {
    pub id: EntryId,
    pub at: String,
    pub reason: String,
    pub size: usize,
}

impl CheckView {
    pub fn new(check: &Check, quarantine: &[Quarantined]) -> Self {
        Self {
            entries: check.entries,
            bodies: check.bodies,
            ledger: check.ledger,
            mended: check.mended,
            problems: check.problems.clone(),
            problem_count: check.problem_count,
            busy: check.busy,
            quarantine: quarantine
                .iter()
                .map(|q| QuarantineView { id: q.id, at: q.at.rfc3339(), reason: q.reason.clone(), size: q.octets.len() })
                .collect(),
        }
    }
}
