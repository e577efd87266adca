//! The end of records (bridge 3): what the ledger knows of an event goes some time after the event is over, and what was
//! learned goes when it expires.
//!
//! A sweep looks through the ledger in pages, now and then, beside everything else. Invariants: an event is never
//! forgotten while an entry of it is in the queue, nor when something has happened to it since the sweep looked; whoever
//! accepts something holds the event's lock, and so does whoever forgets it; each event goes in one commit, so that a
//! sweep may end anywhere and the next one goes on.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::{Clock, Timestamp};
use crate::courier::cip::KNOWN_FOR;
use crate::delivery::known;
use crate::ident::EventId;
use crate::ledger::chronicle::{Chronicle, Retention};
use crate::ledger::records::EventRecord;
use crate::ledger::{Ledger, LedgerError};
use crate::queue::{Filter, Queue, QueueError};
use crate::store::CommitError;

/// How long after the start the first sweep is, and how far apart they are.
const FIRST: Duration = Duration::from_secs(600);
const EVERY: Duration = Duration::from_secs(6 * 3600);
/// Records read at a time.
const PAGE: usize = 500;
/// Events forgotten in one round; the queue is looked through once for each round.
const ROUND: usize = 10_000;
/// Commits made at a time, so that many share one flush.
const AT_ONCE: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("a part of the sweep failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub events: usize,
    /// Of events that the ledger does not know.
    pub tokens: usize,
    pub redirects: usize,
    /// Words that a server has spoken CIP once.
    pub servers: usize,
}

#[derive(Clone)]
pub struct Sweeper {
    queue: Queue,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    keep: Retention,
}

impl Sweeper {
    pub fn new(queue: Queue, ledger: Ledger, clock: Arc<dyn Clock>, keep: Retention) -> Self {
        Self { queue, ledger, clock, keep }
    }

    /// Sweeps now and then until `shutdown` turns true.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let mut next = self.clock.now().after(FIRST);
        loop {
            tokio::select! {
                () = self.clock.sleep_until(next) => {}
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
            let swept = tokio::select! {
                swept = self.sweep() => swept,
                _ = shutdown.wait_for(|stop| *stop) => return,
            };
            match swept {
                Ok(swept) if swept == Swept::default() => {}
                Ok(Swept { events, tokens, redirects, servers }) => {
                    tracing::info!(events, tokens, redirects, servers, "forgot what is over");
                }
                Err(error) => tracing::error!(%error, "what is over could not be forgotten; tried again in six hours"),
            }
            next = self.clock.now().after(EVERY);
        }
    }

    /// One look through the whole ledger.
    pub async fn sweep(&self) -> Result<Swept, SweepError> {
        let (tokens, redirects, servers) = (self.tokens().await?, self.redirects().await?, self.servers().await?);
        let mut swept = Swept { tokens, redirects, servers, ..Swept::default() };
        let mut after: Option<Vec<u8>> = None;
        loop {
            let mut over = Vec::new();
            let mut end = false;
            let seen = self.clock.now();
            while over.len() < ROUND && !end {
                let page = self.ledger.events(after.as_deref(), PAGE)?;
                end = page.is_empty();
                for (key, event) in page {
                    if self.expires(&event, self.ledger.chronicle(&event.event_id)?.as_ref()) <= seen {
                        over.push(event.event_id);
                    }
                    after = Some(key);
                }
                tokio::task::yield_now().await;
            }
            swept.events += self.forget(over, seen).await?;
            if end {
                return Ok(swept);
            }
        }
    }

    fn expires(&self, event: &EventRecord, chronicle: Option<&Chronicle>) -> Timestamp {
        // Accepted by a program that kept no history: its end is not known.
        chronicle.map_or_else(|| event.updated.after(self.keep.endless), |c| c.expires(self.keep))
    }

    /// Forgets these events, apart from those that the queue still has to do with.
    async fn forget(&self, over: Vec<EventId>, seen: Timestamp) -> Result<usize, SweepError> {
        if over.is_empty() {
            return Ok(0);
        }
        let mut over: HashSet<EventId> = over.into_iter().collect();
        let all = self.queue.list(Filter::default());
        // It reads the whole queue.
        let over = tokio::task::spawn_blocking(move || {
            for entry in all {
                let entry = entry?;
                for event in entry.event_id.iter().chain(&entry.moved_from) {
                    over.remove(event);
                }
            }
            Ok::<_, QueueError>(over)
        });
        let (mut forgotten, mut running) = (0, JoinSet::new());
        let mut over = over.await??.into_iter();
        loop {
            while running.len() < AT_ONCE
                && let Some(event) = over.next()
            {
                running.spawn(self.clone().forget_one(event, seen));
            }
            let Some(done) = running.join_next().await else { return Ok(forgotten) };
            forgotten += usize::from(done??);
        }
    }

    async fn forget_one(self, event: EventId, seen: Timestamp) -> Result<bool, SweepError> {
        let _lock = self.ledger.lock(&event).await;
        let Some(record) = self.ledger.event(&event)? else { return Ok(false) };
        let chronicle = self.ledger.chronicle(&event)?;
        // Whatever comes of an event leaves a line with it, so that an entry made since is known without a second look.
        let touched = chronicle.as_ref().is_some_and(|c| c.last >= seen) || record.updated >= seen;
        if touched || self.expires(&record, chronicle.as_ref()) > seen {
            return Ok(false);
        }
        let mut change = self.queue.change();
        let known = self.ledger.forget(change.batch_mut(), &event, seen)?;
        self.queue.commit(change).await?;
        tracing::debug!(%event, "forgotten");
        Ok(known)
    }

    /// Reply addresses of events that the ledger does not know: answers to owners elsewhere, and what a crash left over.
    async fn tokens(&self) -> Result<usize, SweepError> {
        let (mut removed, mut after) = (0, None::<Vec<u8>>);
        loop {
            let page = self.ledger.all_tokens(after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(removed) };
            after = Some(last.clone());
            let mut change = self.queue.change();
            for (key, token) in &page {
                let old = token.created.after(self.keep.endless) <= self.clock.now();
                if old && self.ledger.event(&token.event_id)?.is_none() {
                    self.ledger.remove_token(change.batch_mut(), key, token);
                    removed += 1;
                }
            }
            self.commit(change).await?;
        }
    }

    async fn redirects(&self) -> Result<usize, SweepError> {
        let (mut removed, mut after) = (0, None::<Vec<u8>>);
        loop {
            let page = self.ledger.redirects(after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(removed) };
            after = Some(last.clone());
            let mut change = self.queue.change();
            let now = self.clock.now();
            for (key, _) in page.iter().filter(|(_, r)| r.expires.is_some_and(|end| end <= now)) {
                change.batch_mut().delete(key.clone());
                removed += 1;
            }
            self.commit(change).await?;
        }
    }

    /// What promised that a server speaks CIP, and is too old to count (profile 7). One that speaks at this moment may be
    /// among them: it is written down again with its next delivery.
    async fn servers(&self) -> Result<usize, SweepError> {
        let (mut removed, mut after) = (0, None::<Vec<u8>>);
        loop {
            let page = self.ledger.metas(known::PREFIX, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(removed) };
            after = Some(last.clone());
            let mut change = self.queue.change();
            let now = self.clock.now();
            for (key, _) in page.iter().filter(|(_, at)| known::time(at).is_none_or(|at| now.since(at) >= KNOWN_FOR)) {
                change.batch_mut().delete(key.clone());
                removed += 1;
            }
            self.commit(change).await?;
        }
    }

    async fn commit(&self, change: crate::queue::Change) -> Result<(), SweepError> {
        if !change.is_empty() {
            self.queue.commit(change).await?;
        }
        tokio::task::yield_now().await;
        Ok(())
    }
}
