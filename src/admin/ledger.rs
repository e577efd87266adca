//! What the administrator sees and changes of the ledger: events, people's answers, redirects.

use serde::{Deserialize, Serialize};

use super::execute::{Backend, ExecuteError, Sink, json};
use crate::calendar::event::PartStat;
use crate::cli::exit::Exit;
use crate::clock::Timestamp;
use crate::ident::{EventId, UserId};
use crate::ledger::judge::{MAX_VERSION, counts};
use crate::ledger::records::{EventRecord, PersonRecord, RedirectRecord, Route, Seen};
use crate::ledger::{Ledger, LedgerError, RedirectKind};

/// Records read at a time.
const PAGE: usize = 500;
/// What versions of the relay's own events grow by after a restore, to be newer than what was lost (interface).
const RESTORED_JUMP: u32 = 1_000;

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
    /// RFC 3339 in UTC; a floating time is read as UTC.
    pub start: Option<String>,
    pub cancelled: bool,
    pub updated: String,
    /// Only in `ledger show`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<PersonView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonView {
    pub user: UserId,
    pub name: Option<String>,
    /// All addresses known in this event.
    pub addresses: Vec<UserId>,
    /// The newest version accepted for this person.
    pub version: Option<u32>,
    pub route: Option<Route>,
    pub answers: Vec<AnswerView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerView {
    /// The instance; `null`: the whole event.
    pub recurrence_id: Option<String>,
    pub status: PartStat,
    pub comment: Option<String>,
    pub standing: u8,
    pub at: String,
    /// `false`: to a time that the event no longer has.
    pub counts: bool,
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

impl From<LedgerError> for ExecuteError {
    fn from(error: LedgerError) -> Self {
        Self::refused(Exit::Io, error.to_string())
    }
}

fn ledger(backend: &Backend) -> Ledger {
    Ledger::new(backend.queue.store().clone())
}

pub(super) async fn list(backend: &Backend, sink: &mut impl Sink) -> Result<u64, ExecuteError> {
    let ledger = ledger(backend);
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = ledger.events(after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(0) };
        after = Some(last.clone());
        for (_, event) in &page {
            sink.item(json(&event_view(event))?).await?;
        }
    }
}

pub(super) async fn show(backend: &Backend, id: &str, sink: &mut impl Sink) -> Result<u64, ExecuteError> {
    let ledger = ledger(backend);
    let id = EventId::parse(id).map_err(|error| ExecuteError::refused(Exit::Data, error.to_string()))?;
    let Some(event) = ledger.event(&id)? else {
        return Err(ExecuteError::refused(Exit::Data, format!("{id}: the ledger knows no such event")));
    };
    let people = ledger.people(&id)?.iter().map(|person| person_view(&event, person)).collect();
    sink.item(json(&EventView { people, ..event_view(&event) })?).await?;
    Ok(0)
}

fn event_view(event: &EventRecord) -> EventView {
    let whole = event.part(None).or(event.parts.first());
    let start = whole.and_then(|part| part.start.as_ref()).and_then(crate::calendar::event::Moment::instant);
    EventView {
        event_id: event.event_id.clone(),
        ical_uid: event.ical_uid.clone(),
        owner: event.owner.clone(),
        own: event.own,
        standing: event.standing,
        version: event.version(),
        summary: whole.and_then(|part| part.summary.clone()),
        start: start.map(Timestamp::rfc3339),
        cancelled: whole.is_some_and(|part| part.cancelled),
        updated: event.updated.rfc3339(),
        people: Vec::new(),
    }
}

fn person_view(event: &EventRecord, person: &PersonRecord) -> PersonView {
    let answers = person.answers.iter().map(|a| AnswerView {
        recurrence_id: a.rid.clone(),
        status: a.status,
        comment: a.comment.clone(),
        standing: a.standing,
        at: a.at.rfc3339(),
        counts: counts(event, a),
    });
    PersonView {
        user: person.user.clone(),
        name: person.name.clone(),
        addresses: person.addresses.clone(),
        version: person.accepted.iter().map(|(_, version)| *version).max(),
        route: person.route,
        answers: answers.collect(),
    }
}

pub(super) async fn redirects(backend: &Backend, sink: &mut impl Sink) -> Result<u64, ExecuteError> {
    let ledger = ledger(backend);
    let now = backend.queue.clock().now();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = ledger.redirects(after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(0) };
        after = Some(last.clone());
        for (_, r) in page.iter().filter(|(_, r)| r.expires.is_none_or(|end| now < end)) {
            let view = RedirectView {
                old: r.old.clone(),
                new: r.new.clone(),
                source: r.source.clone(),
                learned: Some(r.learned.rfc3339()),
                expires: r.expires.map(Timestamp::rfc3339),
            };
            sink.item(json(&view)?).await?;
        }
    }
}

/// Both ids are user-ids, or with `event` event-ids.
pub(super) async fn add_redirect(backend: &Backend, event: bool, old: String, new: String) -> Result<u64, ExecuteError> {
    let bad = |error: crate::ident::IdentError| ExecuteError::refused(Exit::Data, error.to_string());
    let kind = if event { RedirectKind::Event } else { RedirectKind::User };
    let same = if event {
        EventId::parse(&old).map_err(bad)? == EventId::parse(&new).map_err(bad)?
    } else {
        UserId::parse(&old).map_err(bad)? == UserId::parse(&new).map_err(bad)?
    };
    if same {
        return Err(ExecuteError::refused(Exit::Data, format!("{old} would lead to itself")));
    }
    let learned = backend.queue.clock().now();
    let record = RedirectRecord { old, new, source: "administrator".to_owned(), learned, expires: None };
    let mut change = backend.queue.change();
    ledger(backend).put_redirect(change.batch_mut(), kind, &record)?;
    commit(backend, change).await?;
    Ok(1)
}

pub(super) async fn remove_redirect(backend: &Backend, event: bool, old: &str) -> Result<u64, ExecuteError> {
    let ledger = ledger(backend);
    let kind = if event { RedirectKind::Event } else { RedirectKind::User };
    let key = if event { old.to_owned() } else { old.to_ascii_lowercase() };
    if ledger.redirect(kind, &key, backend.queue.clock().now())?.is_none() {
        return Err(ExecuteError::refused(Exit::Data, format!("{old}: no such redirect; those of the configuration are removed there")));
    }
    let mut change = backend.queue.change();
    ledger.remove_redirect(change.batch_mut(), kind, old);
    commit(backend, change).await?;
    Ok(1)
}

/// After a restore: what was sent since the backup had higher versions than the backup knows.
pub(super) async fn raise_own_versions(backend: &Backend) -> Result<(), ExecuteError> {
    let ledger = ledger(backend);
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = ledger.events(after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        let mut change = backend.queue.change();
        for (_, mut event) in page.into_iter().filter(|(_, event)| event.own) {
            for part in &mut event.parts {
                if let Some(newest) = part.newest().cloned() {
                    let version = newest.version.saturating_add(RESTORED_JUMP).min(MAX_VERSION);
                    // SEQUENCE is the organizer's own and stays; no content is known by the new number.
                    part.remember(Seen { version, digest: [0; 32], ..newest });
                }
            }
            ledger.put_event(change.batch_mut(), &event)?;
        }
        commit(backend, change).await?;
    }
}

async fn commit(backend: &Backend, change: crate::queue::Change) -> Result<(), ExecuteError> {
    if change.is_empty() {
        return Ok(());
    }
    backend.queue.commit(change).await.map_err(|error| ExecuteError::refused(Exit::Io, error.to_string()))
}
