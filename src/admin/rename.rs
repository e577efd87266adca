//! `ledger rename`: the relay's own live events go on under its new server-id (draft 1.5, profile 8).
//!
//! Invariants: an event is cancelled under the old id and sent out under the new one in one commit, under its lock; one
//! that cannot be sent out again is not cancelled; an event that has gone on already is passed over.

use serde::{Deserialize, Serialize};

use super::execute::{Backend, ExecuteError, Sink, json};
use crate::cli::exit::Exit;
use crate::ident::{EventId, ServerId};
use crate::ledger::records::EventRecord;
use crate::policy::directory::Directory;
use crate::renewal::Renewal;

/// Records read at a time.
const PAGE: usize = 500;

/// One event that goes on under another id, or the reason why it does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenamedView {
    pub event_id: EventId,
    pub next: EventId,
    pub problem: Option<String>,
}

pub(super) async fn rename(backend: &Backend, from: &str, sink: &mut impl Sink) -> Result<u64, ExecuteError> {
    let refused = |words: String| ExecuteError::refused(Exit::Config, words);
    let old = ServerId::parse(from).map_err(|error| ExecuteError::refused(Exit::Data, error.to_string()))?;
    let config = &backend.config;
    if !config.server_id_aliases.contains(&old) {
        let words = format!(
            "{old} is not among server-id-aliases: put it there, so that answers under the old name are taken, and start the relay again"
        );
        return Err(refused(words));
    }
    let directory = Directory::load(config).map_err(|error| refused(error.to_string()))?;
    let (mut renamed, mut after) = (0, None::<Vec<u8>>);
    loop {
        let page = backend.ledger.events(after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(renamed) };
        after = Some(last.clone());
        for (_, event) in page.into_iter().filter(|(_, event)| event.own && event.event_id.server().as_ref() == Some(&old)) {
            let Some(view) = one(backend, &directory, &event.event_id).await? else { continue };
            renamed += u64::from(view.problem.is_none());
            sink.item(json(&view)?).await?;
        }
    }
}

/// `None`: it is over, cancelled, or has gone on already.
async fn one(backend: &Backend, directory: &Directory, id: &EventId) -> Result<Option<RenamedView>, ExecuteError> {
    let Backend { queue, ledger, config, .. } = backend;
    let _lock = ledger.lock(id).await;
    let now = queue.clock().now();
    let Some(record) = ledger.event(id)? else { return Ok(None) };
    let ends = ledger.chronicle(id)?.and_then(|c| c.ends);
    let cancelled = record.parts.iter().all(|part| part.cancelled) || record.part(None).is_some_and(|part| part.cancelled);
    if cancelled || ends.is_some_and(|ends| ends <= now) || ledger.followed(id)? != *id {
        return Ok(None);
    }
    let renewal = Renewal { queue, ledger, config, directory, now };
    let next = renewal.next_id(&record, &config.server_id)?;
    if let Some(problem) = not_kept(backend, &record)? {
        return Ok(Some(RenamedView { event_id: id.clone(), next, problem: Some(problem) }));
    }
    let mut change = queue.change();
    renewal.retire(&mut change, record.clone(), &next, "the relay has another server-id")?;
    renewal.resend(&mut change, &record, &next)?;
    queue.commit(change).await.map_err(|error| ExecuteError::refused(Exit::Io, error.to_string()))?;
    Ok(Some(RenamedView { event_id: id.clone(), next, problem: None }))
}

/// Why the event cannot be sent out again.
fn not_kept(backend: &Backend, record: &EventRecord) -> Result<Option<String>, ExecuteError> {
    for part in record.parts.iter().filter(|part| !part.cancelled) {
        let kept = backend.ledger.object(&record.event_id, part.rid.as_deref())?;
        if kept.and_then(|kept| kept.object()).is_none() {
            let problem = "its object is not kept here: have its owner send it again once, and rename after that";
            return Ok(Some(problem.to_owned()));
        }
    }
    Ok(None)
}
