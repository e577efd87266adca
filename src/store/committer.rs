//! The one writer: takes what waits, writes it to the journal as one group with one sync, releases all who waited, and now
//! and then has what has gathered worked into the database.
//!
//! Invariants: requests are applied in the order in which they were handed over; a waiter is released after the sync
//! that covers it and after its own follow-up (`then`) has run, so that a caller that goes away while it waits loses
//! neither its data nor what memory must know of them; a group is bounded in number and octets, and so are what may wait
//! and what waits to be worked in; a file of the journal is written over only after a flush of the database that
//! covers all of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::batch::Op;
use super::engine::panic_text;
use super::journal::Journal;
use super::pending::Layer;
use super::{CommitError, Shared};

/// Requests in one group.
const GROUP: usize = 1024;
/// Octets after which a group is closed.
const GROUP_OCTETS: usize = 8 << 20;

/// Runs in the committer's thread, once, when the outcome is known.
pub type Then = Box<dyn FnOnce(&Result<(), CommitError>) + Send>;

pub(super) struct Request {
    pub ops: Vec<Op>,
    pub octets: usize,
    pub then: Option<Then>,
    pub reply: Option<oneshot::Sender<Result<(), CommitError>>>,
    /// Its share of what may wait, given back when the request is done.
    pub _share: Option<OwnedSemaphorePermit>,
}

pub(super) struct Committer {
    pub shared: Arc<Shared>,
    pub journal: Journal,
    /// Octets after which what has gathered is worked in.
    pub gather: usize,
    /// Works something in.
    pub worker: Option<JoinHandle<bool>>,
}

impl Committer {
    /// Works until every sender is gone and everything handed over is written and worked in.
    pub fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(first) = requests.blocking_recv() {
            let mut octets = first.octets;
            let mut group = vec![first];
            while group.len() < GROUP && octets < GROUP_OCTETS {
                let Ok(next) = requests.try_recv() else { break };
                octets += next.octets;
                group.push(next);
            }
            let result = self.write(&mut group);
            for request in group {
                self.finish(request, &result);
            }
            self.work_in_some();
        }
        self.work_in_all();
    }

    fn write(&mut self, group: &mut [Request]) -> Result<(), CommitError> {
        let shared = &self.shared;
        shared.writable().map_err(CommitError::NotReady)?;
        shared.room.wrote(group.iter().map(|request| request.octets).sum());
        let ops = group.iter_mut().flat_map(|request| std::mem::take(&mut request.ops));
        let state = &shared.state;
        let rows = state.resolve(ops);
        let written = rows.and_then(|rows| {
            // Whoever only waits for what was handed over before has it.
            if !rows.is_empty() {
                shared
                    .writing(|| self.journal.append(rows.iter().map(|(k, v)| (k.as_slice(), v.as_deref()))))
                    .map_err(|e| e.to_string())?;
                shared.flushes.fetch_add(1, Ordering::Relaxed);
                state.show(rows);
            }
            Ok(())
        });
        written.map_err(|why| {
            shared.set_broken(&why);
            CommitError::Failed(why)
        })
    }

    fn finish(&self, request: Request, result: &Result<(), CommitError>) {
        if let Some(then) = request.then
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| then(result)))
        {
            // Memory no longer says what the disk does.
            self.shared.set_broken(&format!("the follow-up of a commit panicked: {}", panic_text(&*panic)));
        }
        if let Some(reply) = request.reply {
            // The caller may have gone; the commit stands.
            let _ = reply.send(result.clone());
        }
    }

    /// Has what has gathered worked in beside further commits, when it is much. When it is too much, waits for what is
    /// being worked in.
    fn work_in_some(&mut self) {
        let octets = self.shared.state.pending().octets().max(usize::try_from(self.journal.octets()).unwrap_or(usize::MAX));
        let busy = self.worker.as_ref().is_some_and(|worker| !worker.is_finished());
        if octets < self.gather || busy && octets < 2 * self.gather {
            return;
        }
        let shared = self.shared.clone();
        if !shared.writing(|| self.worked_in()) {
            return;
        }
        let layer = shared.state.pending_mut().freeze();
        let Some(layer) = layer else { return };
        if let Err(error) = self.journal.turn() {
            shared.set_broken(&error.to_string());
            return;
        }
        let for_thread = shared.clone();
        let worker = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || work_in(&for_thread, &layer));
        match worker {
            Ok(worker) => self.worker = Some(worker),
            Err(error) => shared.set_broken(&format!("what was committed cannot be worked into the database: {error}")),
        }
    }

    /// Waits for what is being worked in. Whether all went well.
    fn worked_in(&mut self) -> bool {
        let done = self.worker.take().is_none_or(|worker| worker.join().unwrap_or(false));
        done && self.shared.not_broken().is_ok()
    }

    fn work_in_all(&mut self) {
        if !self.worked_in() {
            // It stays in the journal, and the next start works it in.
            return;
        }
        let layer = self.shared.state.pending_mut().freeze();
        if layer.is_none_or(|layer| work_in(&self.shared, &layer))
            && let Err(error) = self.journal.clear()
        {
            tracing::warn!(%error, "the journal cannot be emptied; the next start works it in once more");
        }
    }
}

/// Works a layer into the database; whether that went well. What may be in the database in part is in the journal whole.
fn work_in(shared: &Shared, layer: &Layer) -> bool {
    let engine = &shared.state.engine;
    let done = engine.write(layer.rows()).and_then(|()| engine.flush());
    if let Err(why) = &done {
        shared.set_broken(why);
        return false;
    }
    shared.state.pending_mut().settled();
    shared.blob_alarm();
    true
}
