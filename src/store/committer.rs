//! The one writer: takes what waits, writes it as one batch, flushes once, releases all who waited.
//!
//! Invariants: requests are applied in the order in which they were handed over; a waiter is released after the flush
//! that covers it and after its own follow-up (`then`) has run, so that a caller that goes away while it waits loses
//! neither its data nor what memory must know of them; a group is bounded in number and octets, and so is what may wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::batch::Op;
use super::engine::panic_text;
use super::{CommitError, Shared};

/// Requests in one group.
const GROUP: usize = 1024;
/// Octets after which a group is closed.
const GROUP_OCTETS: usize = 8 << 20;
/// After so many flushes the directory of blobs is looked at.
const BLOB_CHECK: u64 = 4096;

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

/// Works until every sender is gone and everything handed over is written.
pub(super) fn run(shared: &Arc<Shared>, mut requests: mpsc::Receiver<Request>) {
    while let Some(first) = requests.blocking_recv() {
        let mut octets = first.octets;
        let mut group = vec![first];
        while group.len() < GROUP && octets < GROUP_OCTETS {
            let Ok(next) = requests.try_recv() else { break };
            octets += next.octets;
            group.push(next);
        }
        let result = write(shared, &group);
        for request in group {
            finish(shared, request, &result);
        }
    }
}

fn write(shared: &Shared, group: &[Request]) -> Result<(), CommitError> {
    shared.writable().map_err(CommitError::NotReady)?;
    shared.room.wrote(group.iter().map(|request| request.octets).sum());
    shared.writing_since.store(shared.elapsed_ms(), Ordering::Relaxed);
    let result = shared.engine.apply(group.iter().flat_map(|request| &request.ops));
    shared.writing_since.store(0, Ordering::Relaxed);
    if let Err(why) = result {
        shared.set_broken(&why);
        return Err(CommitError::Failed(why));
    }
    if shared.engine.flushes().is_multiple_of(BLOB_CHECK) {
        shared.blob_alarm();
    }
    Ok(())
}

fn finish(shared: &Shared, request: Request, result: &Result<(), CommitError>) {
    if let Some(then) = request.then
        && let Err(panic) = catch_unwind(AssertUnwindSafe(|| then(result)))
    {
        // Memory no longer says what the disk does.
        shared.set_broken(&format!("the follow-up of a commit panicked: {}", panic_text(&*panic)));
    }
    if let Some(reply) = request.reply {
        // The caller may have gone; the commit stands.
        let _ = reply.send(result.clone());
    }
}
