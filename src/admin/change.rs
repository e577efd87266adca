//! `retry`, `hold`, `release`, `drop`, `bounce`.
//!
//! A bounce only marks the entry: its life ends now, so that whoever delivers settles its recipients as failed and makes
//! the report, in this process or, offline, at the relay's next start. There is one maker of reports.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::execute::{Backend, ExecuteError, Sink, json, no_entry};
use super::protocol::{Action, Change, Touched};
use crate::cli::exit::Exit;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::ident::EntryId;
use crate::intake::release::Release;
use crate::ledger::Ledger;
use crate::policy::directory::Directory;
use crate::queue::entry::{Entry, State};
use crate::queue::{Health, Lease, Queue};

/// How long an entry that is in flight is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Entries changed at a time, so that many share one flush.
const AT_ONCE: usize = 64;

/// What an entry needs to become, besides its id.
#[derive(Clone)]
struct Order {
    action: Action,
    reason: Option<String>,
    expire_after: Duration,
    config: Arc<Config>,
    /// For a release: what is released is placed in the ledger.
    directory: Option<Directory>,
    /// Entries were named one by one: what does not fit is a problem. A filter passes over it.
    named: bool,
}

enum Done {
    Touched,
    /// The action does not apply to it.
    PassedOver,
    Problem(String),
}

pub(super) async fn change(backend: &Backend, change: Change, sink: &mut impl Sink) -> Result<u64, ExecuteError> {
    let named = !change.ids.is_empty();
    let ids = if named { change.ids.clone() } else { select(backend, &change)? };
    if change.dry_run {
        return Ok(ids.len() as u64);
    }
    let directory = match change.action {
        Action::Release => Some(Directory::load(&backend.config).map_err(|error| ExecuteError::refused(Exit::Config, error.to_string()))?),
        _ => None,
    };
    let config = backend.config.clone();
    let order = Order { action: change.action, reason: change.reason, expire_after: backend.expire_after, config, directory, named };
    let mut touched = 0;
    let mut running = JoinSet::new();
    let mut ids = ids.into_iter();
    loop {
        while running.len() < AT_ONCE
            && let Some(id) = ids.next()
        {
            let (queue, ledger, order) = (backend.queue.clone(), backend.ledger.clone(), order.clone());
            running.spawn(async move { (id, touch(&queue, &ledger, id, &order).await) });
        }
        let Some(finished) = running.join_next().await else { return Ok(touched) };
        // A panic in one of them is a defect that the runtime has shown already; the others go on.
        let Ok((id, done)) = finished else { continue };
        let problem = match done {
            Done::Touched => {
                touched += 1;
                None
            }
            Done::PassedOver => continue,
            Done::Problem(problem) => Some(problem),
        };
        sink.item(json(&Touched { id, problem })?).await?;
    }
}

/// The entries that a filter means. Those in quarantine are only ever named.
fn select(backend: &Backend, change: &Change) -> Result<Vec<EntryId>, ExecuteError> {
    let applies = |entry: &Entry| match change.action {
        Action::Retry | Action::Hold => entry.state != State::Held,
        Action::Release => entry.state == State::Held,
        Action::Drop | Action::Bounce => true,
    };
    let mut ids = Vec::new();
    for entry in backend.queue.list(change.filter.clone()) {
        let entry = entry?;
        if applies(&entry) {
            ids.push(entry.id);
        }
    }
    Ok(ids)
}

async fn touch(queue: &Queue, ledger: &Ledger, id: EntryId, order: &Order) -> Done {
    match queue.take(id, PATIENCE).await {
        Some(lease) => apply(queue, ledger, lease, order).await,
        None => match queue.load(id) {
            Ok(Some(_)) => Done::Problem(format!("{id}: is being delivered just now; try again")),
            Err(error) => Done::Problem(format!("{id}: {error}")),
            Ok(None) => quarantined(queue, id, order).await,
        },
    }
}

/// A record that cannot be read can only be thrown away.
async fn quarantined(queue: &Queue, id: EntryId, order: &Order) -> Done {
    let known = queue.quarantine().is_ok_and(|list| list.iter().any(|record| record.id == id));
    match order.action {
        Action::Drop if known => match queue.discard(id).await {
            Ok(true) => {
                tracing::warn!(entry = %id, reason = order.reason, "dropped from quarantine by the administrator");
                Done::Touched
            }
            Ok(false) => Done::Problem(no_entry(id)),
            Err(error) => Done::Problem(format!("{id}: {error}")),
        },
        _ if known => Done::Problem(format!("{id}: is in quarantine and cannot be read; it can only be dropped")),
        // Settled since the filter met it.
        _ if !order.named => Done::PassedOver,
        _ => Done::Problem(no_entry(id)),
    }
}

async fn apply(queue: &Queue, ledger: &Ledger, lease: Lease, order: &Order) -> Done {
    let now = queue.clock().now();
    let id = lease.entry.id;
    let held = lease.before() == State::Held;
    match order.action {
        Action::Retry if held && order.named => return Done::Problem(format!("{id}: is held; release it")),
        Action::Release if !held && order.named => return Done::Problem(format!("{id}: is not held")),
        Action::Retry if held => return Done::PassedOver,
        Action::Release if !held => return Done::PassedOver,
        _ => {}
    }
    let words = order.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
    let mut entry = lease.entry.clone();
    entry.note(now, format!("{} by the administrator{words}", order.action.done()));
    let mut change = queue.change();
    match order.action {
        Action::Retry => due(&mut entry, now),
        Action::Hold => {
            entry.state = State::Held;
            entry.reason = format!("held by the administrator{words}");
        }
        Action::Release => {
            due(&mut entry, now);
            if entry.expires <= now {
                entry.expires = now.after(order.expire_after);
                entry.note(now, "it had expired while it was held; it gets a new term");
            }
        }
        Action::Drop => {}
        Action::Bounce => {
            due(&mut entry, now);
            (entry.expires, entry.deadline) = (now, now);
            entry.reason = format!("bounced by the administrator{words}");
        }
    }
    // The event's history is to say why nothing came of an entry that is gone (bridge 3).
    let event = entry.moved_from.first().or(entry.event_id.as_ref()).cloned();
    let lock = match &event {
        Some(event) if order.action != Action::Retry => Some(ledger.lock(event).await),
        _ => None,
    };
    if let (Some(event), true) = (&event, lock.is_some()) {
        let version = entry.version.map_or_else(|| "the event".to_owned(), |v| format!("version {v}"));
        let what = match &entry.answer {
            Some(answer) => format!("answer of {} to {version}", answer.attendee),
            None => version,
        };
        let line = format!("{what}: {} by the administrator{words} (entry {id})", order.action.done());
        let written = match &order.directory {
            Some(directory) => {
                let release = Release { queue, ledger, config: &order.config, directory, now };
                release.place(&mut entry, &mut change, line).map_err(|error| error.to_string())
            }
            None => ledger.tell(change.batch_mut(), event, now, vec![line]).map_err(|error| error.to_string()),
        };
        if let Err(error) = written {
            return Done::Problem(format!("{id}: {error}"));
        }
        // What is thrown away unsent may be sent again.
        if order.action == Action::Drop && !entry.doubted {
            for recipient in entry.pending() {
                if let Err(error) = ledger.give_up(change.batch_mut(), &entry, recipient, false) {
                    return Done::Problem(format!("{id}: {error}"));
                }
            }
        }
    }
    let hop = entry.destination.clone();
    match order.action {
        Action::Drop => change.remove(&entry),
        _ => change.put(entry),
    }
    if let Err(error) = queue.settle(lease, change).await {
        return Done::Problem(format!("{id}: {error}"));
    }
    tracing::info!(entry = %id, reason = order.reason, "{} by the administrator", order.action.done());
    // Somebody who asks for an attempt knows more than the schedule: a destination that is down is tried at once.
    if order.action == Action::Retry && matches!(queue.health(&hop), Health::Down { .. }) {
        queue.hop_down(&hop, now, true);
    }
    Done::Touched
}

fn due(entry: &mut Entry, now: Timestamp) {
    entry.state = State::Due;
    entry.next_attempt = now;
    entry.waits_for_hop = false;
    entry.reason.clear();
}
