//! What a command does to the queue, whichever way it came: over the control socket or offline.
//!
//! Invariants: every change of an entry is made under its lease, in one durable commit, with a line in its history; an
//! entry that is in flight is waited for and not pulled from under a worker; memory does not grow with the queue but for
//! the ids of a bulk change.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::change;
use super::ledger;
use super::protocol::{Command, Refusal, Submit, SubmitReply};
use super::transfer;
use super::view::{CheckView, DestinationView, EntryView};
use crate::cli::exit::Exit;
use crate::config::Config;
use crate::ident::{EntryId, ServerId};
use crate::ledger::Ledger;
use crate::listen::{Envelope, MailClient, MailDoor};
use crate::queue::entry::State;
use crate::queue::{Filter, Queue, QueueError};

/// What the commands work on.
pub struct Backend {
    pub queue: Queue,
    pub ledger: Ledger,
    pub config: Arc<Config>,
    /// For the header of an export.
    pub server_id: ServerId,
    /// `delivery.expire-after`: what a released entry gets that expired while it was held.
    pub expire_after: Duration,
    /// Octets of one request.
    pub max_request: usize,
    /// The door for `submit`; `None`: the relay is not running.
    pub door: Option<Arc<dyn SubmitDoor>>,
}

/// Where the items of an answer go.
pub trait Sink: Send {
    fn item(&mut self, item: Value) -> impl Future<Output = io::Result<()>> + Send;
}

/// Why a command was not done, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The asker has gone away.
    #[error(transparent)]
    Sink(#[from] io::Error),
}

impl From<QueueError> for ExecuteError {
    fn from(error: QueueError) -> Self {
        Self::Refused(Refusal { exit: Exit::Io.code(), message: error.to_string() })
    }
}

impl ExecuteError {
    pub(super) fn refused(exit: Exit, message: impl Into<String>) -> Self {
        Self::Refused(Refusal { exit: exit.code(), message: message.into() })
    }
}

/// A boxed answer to a submission.
pub type Submission<'a> = Pin<Box<dyn Future<Output = Vec<SubmitReply>> + Send + 'a>>;

/// The mail door of a running relay, as `submit` needs it. Every [`MailDoor`] is one.
pub trait SubmitDoor: Send + Sync {
    fn submit(&self, mail: Submit) -> Submission<'_>;
}

impl<D: MailDoor> SubmitDoor for D {
    fn submit(&self, mail: Submit) -> Submission<'_> {
        Box::pin(through_door(self, mail))
    }
}

/// As a mail session would: each recipient is judged, then the message goes in for those that may have it.
async fn through_door<D: MailDoor>(door: &D, mail: Submit) -> Vec<SubmitReply> {
    let client = MailClient { via: crate::queue::entry::Via::Submit, address: None, helo: "submit".to_owned(), trusted: true };
    let reply = |recipient: &str, reply: &crate::listen::MailReply| SubmitReply {
        recipient: recipient.to_owned(),
        code: reply.code,
        enhanced: reply.enhanced.to_owned(),
        text: reply.text.clone(),
    };
    if let Err(why) = door.ready() {
        let busy = crate::listen::MailReply::new(452, "4.3.1", why);
        return mail.recipients.iter().map(|r| reply(r, &busy)).collect();
    }
    let mut replies = Vec::new();
    let mut accepted = Vec::new();
    for recipient in &mail.recipients {
        let judged = door.recipient(&client, &mail.sender, recipient).await;
        if judged.positive() {
            accepted.push((replies.len(), recipient.clone()));
        }
        replies.push(reply(recipient, &judged));
    }
    if accepted.is_empty() {
        return replies;
    }
    let smtputf8 = !mail.sender.is_ascii() || accepted.iter().any(|(_, r)| !r.is_ascii());
    let recipients = accepted.iter().map(|(_, r)| r.clone()).collect();
    let eight_bit = !mail.message.is_ascii();
    let envelope = Envelope { sender: mail.sender, recipients, smtputf8, eight_bit };
    let outcome = door.message(&client, &envelope, mail.message).await;
    for ((at, recipient), last) in accepted.iter().zip(&outcome) {
        replies[*at] = reply(recipient, last);
    }
    replies
}

/// Does what the command says; items go to the sink as they come. Gives how many entries were touched.
pub async fn execute(backend: &Backend, command: Command, sink: &mut impl Sink) -> Result<u64, ExecuteError> {
    match command {
        Command::List { filter } => list(backend, filter, sink).await,
        Command::Show { id, payload } => show(backend, id, payload, sink).await,
        Command::Summary => {
            for line in backend.queue.summary() {
                sink.item(json(&DestinationView::new(&line))?).await?;
            }
            Ok(0)
        }
        Command::Change(change) => change::change(backend, change, sink).await,
        Command::Export => transfer::export(backend, sink).await,
        Command::Import { records, restored } => transfer::import(backend, records, restored, sink).await,
        Command::Check => check(backend, sink).await,
        Command::Submit(mail) => {
            let Some(door) = &backend.door else {
                return Err(ExecuteError::refused(Exit::TempFail, "the relay is not running"));
            };
            for reply in door.submit(mail).await {
                sink.item(json(&reply)?).await?;
            }
            Ok(0)
        }
        Command::LedgerList { filter } => ledger::list(backend, &filter, sink).await,
        Command::LedgerShow { event_id } => ledger::show(backend, &event_id, sink).await,
        Command::LedgerRename { from } => super::rename::rename(backend, &from, sink).await,
        Command::RedirectList => ledger::redirects(backend, sink).await,
        Command::RedirectAdd { old, new, event } => ledger::add_redirect(backend, event, old, new).await,
        Command::RedirectRemove { old, event } => ledger::remove_redirect(backend, event, &old).await,
    }
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<Value, ExecuteError> {
    serde_json::to_value(value).map_err(|error| ExecuteError::refused(Exit::Software, error.to_string()))
}

async fn list(backend: &Backend, filter: Filter, sink: &mut impl Sink) -> Result<u64, ExecuteError> {
    // Nothing but its state is known of a record in quarantine.
    if (Filter { state: None, ..filter.clone() }).is_all() && filter.state.is_none_or(|s| s == State::Quarantined) {
        for record in backend.queue.quarantine()? {
            sink.item(json(&EntryView { details: None, ..EntryView::quarantined(&record, false) })?).await?;
        }
    }
    for entry in backend.queue.list(filter) {
        sink.item(json(&EntryView::new(&entry?))?).await?;
    }
    Ok(0)
}

async fn show(backend: &Backend, id: EntryId, payload: bool, sink: &mut impl Sink) -> Result<u64, ExecuteError> {
    let view = match backend.queue.load(id)? {
        Some(entry) => {
            let body = if payload { Some(backend.queue.body(&entry.body)?) } else { None };
            EntryView::detailed(&entry, body.as_deref())
        }
        None => match backend.queue.quarantine()?.iter().find(|record| record.id == id) {
            Some(record) => EntryView::quarantined(record, payload),
            None => return Err(ExecuteError::refused(Exit::Data, no_entry(id))),
        },
    };
    sink.item(json(&view)?).await?;
    Ok(0)
}

pub(super) fn no_entry(id: EntryId) -> String {
    format!("{id}: no such entry in the queue; it has been settled (the log says how), or never was")
}

async fn check(backend: &Backend, sink: &mut impl Sink) -> Result<u64, ExecuteError> {
    let queue = backend.queue.clone();
    // It reads the whole store.
    let checked = tokio::task::spawn_blocking(move || Ok::<_, QueueError>((queue.check()?, queue.quarantine()?))).await;
    let (check, quarantine) = checked.map_err(|error| ExecuteError::refused(Exit::Software, error.to_string()))??;
    sink.item(json(&CheckView::new(&check, &quarantine))?).await?;
    Ok(0)
}
