//! What the administrator sees and changes of the ledger: events, people's answers, redirects.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::execute::{Backend, ExecuteError, Sink, json};
pub use super::ledger_view::{
    AnswerView, EventDetails, EventView, PartView, PersonView, ReachedView, RedirectView, TokenView, VersionView, WaitingView,
};
use super::view::HappeningView;
use crate::cli::exit::Exit;
use crate::clock::Timestamp;
use crate::ident::{EventId, UserId};
use crate::ledger::judge::MAX_VERSION;
use crate::ledger::records::{EventRecord, RedirectRecord, Seen};
use crate::ledger::{Ledger, LedgerError, RedirectKind};
use crate::queue::entry::Entry;
use crate::queue::{Entries, Filter, Queue, QueueError, glob};

/// Records read at a time.
const PAGE: usize = 500;
/// Tokens shown of one event: two for each of its people, and as many again for answers.
const TOKENS: usize = 4_000;
/// Events changed at a time, so that many share one flush.
const AT_ONCE: usize = 64;
/// What versions of the relay's own events grow by after a restore, to be newer than what was lost (interface).
const RESTORED_JUMP: u32 = 1_000;

impl From<LedgerError> for ExecuteError {
    fn from(error: LedgerError) -> Self {
        Self::refused(Exit::Io, error.to_string())
    }
}

/// Which events are meant. What is not set does not matter. Patterns compare without case, and `*` stands for anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerFilter {
    pub owner: Option<String>,
    /// The event-id or the iCalendar UID.
    pub event: Option<String>,
    /// Nothing new was accepted for at least so long.
    pub older: Option<Duration>,
}

impl LedgerFilter {
    fn matches(&self, event: &EventRecord, now: Timestamp) -> bool {
        let is = |pattern: &Option<String>, text: &dyn Fn(&str) -> bool| pattern.as_deref().is_none_or(text);
        self.older.is_none_or(|age| now.since(event.updated) >= age)
            && is(&self.owner, &|p| glob(p, &event.owner.to_string()))
            && is(&self.event, &|p| glob(p, event.event_id.as_str()) || glob(p, &event.ical_uid))
    }
}

pub(super) async fn list(backend: &Backend, filter: &LedgerFilter, sink: &mut impl Sink) -> Result<u64, ExecuteError> {
    let now = backend.queue.clock().now();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = backend.ledger.events(after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(0) };
        after = Some(last.clone());
        for (_, event) in page.iter().filter(|(_, event)| filter.matches(event, now)) {
            sink.item(json(&EventView::new(event))?).await?;
        }
    }
}

pub(super) async fn show(backend: &Backend, id: &str, sink: &mut impl Sink) -> Result<u64, ExecuteError> {
    let asked = EventId::parse(id).map_err(|error| ExecuteError::refused(Exit::Data, error.to_string()))?;
    if let Some(event) = backend.ledger.event(&asked)? {
        sink.item(json(&detailed(backend, &event).await?)?).await?;
        return Ok(0);
    }
    // Somebody who reads a mail knows the iCalendar UID; several organizers may have used the same.
    let mut found = false;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = backend.ledger.events(after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (_, event) in page.iter().filter(|(_, event)| event.ical_uid == id) {
            found = true;
            sink.item(json(&detailed(backend, event).await?)?).await?;
        }
    }
    if found {
        return Ok(0);
    }
    Err(ExecuteError::refused(Exit::Data, format!("{id}: the ledger knows no event with this event-id or iCalendar UID")))
}

fn waiting(queue: Entries, event: &EventId) -> Result<Vec<WaitingView>, QueueError> {
    let of_event = |entry: &Entry| entry.event_id.as_ref() == Some(event) || entry.moved_from.contains(event);
    queue.filter(|entry| entry.as_ref().map_or(true, of_event)).map(|entry| Ok(WaitingView::new(&entry?))).collect()
}

/// Everything that is known of one event.
async fn detailed(backend: &Backend, event: &EventRecord) -> Result<EventView, ExecuteError> {
    let Backend { ledger, queue, .. } = backend;
    let now = queue.clock().now();
    let id = &event.event_id;
    let people = ledger.people(id)?;
    let mut redirects = Vec::new();
    redirects.extend(ledger.redirect(RedirectKind::Event, id.as_str(), now)?);
    for person in &people {
        redirects.extend(ledger.redirect(RedirectKind::User, &person.user.key(), now)?);
    }
    let (asked, all) = (id.clone(), queue.list(Filter::default()));
    // It reads the whole queue.
    let waiting = tokio::task::spawn_blocking(move || waiting(all, &asked)).await;
    let waiting = waiting.map_err(|error| ExecuteError::refused(Exit::Software, error.to_string()))??;
    let chronicle = ledger.chronicle(id)?;
    let details = EventDetails {
        owner_name: event.owner_name.clone(),
        created: event.created.rfc3339(),
        ends: chronicle.as_ref().and_then(|c| c.ends).map(Timestamp::rfc3339),
        parts: event.parts.iter().map(PartView::new).collect(),
        people: people.iter().map(|person| PersonView::new(event, person)).collect(),
        tokens: ledger.tokens(id, None, TOKENS)?.iter().map(|(token, record)| TokenView::new(token, record)).collect(),
        redirects: redirects.iter().map(RedirectView::new).collect(),
        waiting,
        history: chronicle.iter().flat_map(|c| &c.lines).map(|l| HappeningView { at: l.at.rfc3339(), what: l.what.clone() }).collect(),
    };
    Ok(EventView { details: Some(details), ..EventView::new(event) })
}

pub(super) async fn redirects(backend: &Backend, sink: &mut impl Sink) -> Result<u64, ExecuteError> {
    let ledger = &backend.ledger;
    let now = backend.queue.clock().now();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = ledger.redirects(after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(0) };
        after = Some(last.clone());
        for (_, r) in page.iter().filter(|(_, r)| r.expires.is_none_or(|end| now < end)) {
            sink.item(json(&RedirectView::new(r))?).await?;
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
    backend.ledger.put_redirect(change.batch_mut(), kind, &record)?;
    commit(backend, change).await?;
    Ok(1)
}

pub(super) async fn remove_redirect(backend: &Backend, event: bool, old: &str) -> Result<u64, ExecuteError> {
    let ledger = &backend.ledger;
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
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = backend.ledger.events(after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        let mut running = JoinSet::new();
        for (_, event) in page.into_iter().filter(|(_, event)| event.own) {
            if running.len() >= AT_ONCE {
                joined(running.join_next().await)?;
            }
            running.spawn(raise(backend.queue.clone(), backend.ledger.clone(), event.event_id));
        }
        while let Some(done) = running.join_next().await {
            joined(Some(done))?;
        }
    }
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = backend.ledger.tombstones(after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        let mut change = backend.queue.change();
        for (_, mut former) in page {
            former.version = former.version.saturating_add(RESTORED_JUMP).min(MAX_VERSION);
            backend.ledger.put_tombstone(change.batch_mut(), &former)?;
        }
        commit(backend, change).await?;
    }
}

/// Under the event's lock: the relay may be running.
async fn raise(queue: Queue, ledger: Ledger, event: EventId) -> Result<(), ExecuteError> {
    let _lock = ledger.lock(&event).await;
    let Some(mut record) = ledger.event(&event)? else { return Ok(()) };
    for part in &mut record.parts {
        if let Some(newest) = part.newest().cloned() {
            let version = newest.version.saturating_add(RESTORED_JUMP).min(MAX_VERSION);
            // SEQUENCE is the organizer's own and stays; no content is known by the new number.
            part.remember(Seen { version, digest: [0; 32], ..newest });
        }
    }
    let mut change = queue.change();
    ledger.put_event(change.batch_mut(), &record)?;
    let told = format!("restored from a backup: versions go on after {}", record.version());
    ledger.tell(change.batch_mut(), &event, queue.clock().now(), vec![told])?;
    queue.commit(change).await.map_err(|error| ExecuteError::refused(Exit::Io, error.to_string()))
}

fn joined(done: Option<Result<Result<(), ExecuteError>, tokio::task::JoinError>>) -> Result<(), ExecuteError> {
    match done {
        None => Ok(()),
        Some(Ok(done)) => done,
        Some(Err(error)) => Err(ExecuteError::refused(Exit::Software, error.to_string())),
    }
}

async fn commit(backend: &Backend, change: crate::queue::Change) -> Result<(), ExecuteError> {
    if change.is_empty() {
        return Ok(());
    }
    backend.queue.commit(change).await.map_err(|error| ExecuteError::refused(Exit::Io, error.to_string()))
}
