//! Lets commits that come close together reach the store together.
//!
//! A commit costs the store a sync, however much is in it, and nothing but processor time for each further one that
//! goes with it. A lone commit is not kept: waiting would only make its client wait. But where several sessions commit at
//! the same time, or did a moment ago, each waits up to [`WINDOW`] for the others; what nobody waits for, an outcome,
//! always does.
//!
//! Invariants: nothing waits longer than twice [`WINDOW`]; whoever is dropped while waiting keeps nobody else waiting longer
//! than that; the gate holds back, it never reorders what one caller commits.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// What a commit waits for others.
const WINDOW: Duration = Duration::from_millis(5);
/// So many sessions committing at the same time are too few to wait for each other.
const FEW: usize = 2;
/// How long a crowd is expected to come back.
const LATELY: Duration = Duration::from_millis(100);
/// So many waiting need not wait for more.
const MANY: usize = 256;

pub(super) struct Gate {
    /// [`WINDOW`], but for tests.
    window: Duration,
    state: Mutex<State>,
    opened: Notify,
}

impl Default for Gate {
    fn default() -> Self {
        Self { window: WINDOW, state: Mutex::default(), opened: Notify::new() }
    }
}

#[derive(Default)]
struct State {
    /// Commits with someone waiting for them, from their arrival until they are on disk.
    sessions: usize,
    /// When there were last more of them than a few.
    crowd: Option<Instant>,
    waiting: usize,
}

/// Whether somebody waits for the outcome of a commit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// A session that is to answer.
    For,
    Not,
}

/// A commit under way; to be kept until it is on disk.
pub(super) struct Passage<'a> {
    gate: &'a Gate,
    waited: Waited,
}

impl Gate {
    /// Waits for company, if any is to be expected.
    pub async fn pass(&self, waited: Waited) -> Passage<'_> {
        let passage = Passage { gate: self, waited };
        // Made before the state is looked at, so that no opening is missed.
        let opened = self.opened.notified();
        let patience = {
            let mut state = self.state();
            if waited == Waited::For {
                state.sessions += 1;
                if state.sessions > FEW {
                    state.crowd = Some(Instant::now());
                }
            }
            let alone = waited == Waited::For && state.crowd.is_none_or(|crowd| crowd.elapsed() > LATELY);
            state.waiting += 1;
            if alone || state.waiting >= MANY {
                None
            } else {
                // The first one opens for all; the others only if it is gone.
                Some(if state.waiting == 1 { self.window } else { 2 * self.window })
            }
        };
        match patience {
            None => self.open(),
            Some(patience) => tokio::select! {
                () = opened => {}
                () = sleep(patience) => self.open(),
            },
        }
        passage
    }

    fn open(&self) {
        self.state().waiting = 0;
        self.opened.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        if self.waited == Waited::For {
            self.gate.state().sessions -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_hours(1);
    const DEADLINE: Duration = Duration::from_mins(1);

    struct Rig {
        gate: Arc<Gate>,
        passed: mpsc::UnboundedSender<()>,
        seen: mpsc::UnboundedReceiver<()>,
    }

    impl Rig {
        fn new(window: Duration) -> Self {
            let (passed, seen) = mpsc::unbounded_channel();
            Self { gate: Arc::new(Gate { window, ..Gate::default() }), passed, seen }
        }

        /// Starts a commit that passes, says so, and is under way until what is given back is dropped. It has reached the
        /// gate when this returns.
        async fn commit(&self, waited: Waited) -> mpsc::Sender<()> {
            let (end, mut ended) = mpsc::channel::<()>(1);
            let (gate, passed) = (self.gate.clone(), self.passed.clone());
            tokio::spawn(async move {
                let passage = gate.pass(waited).await;
                let _ = passed.send(());
                ended.recv().await;
                drop(passage);
            });
            tokio::task::yield_now().await;
            end
        }

        async fn pass(&mut self, count: usize) {
            for _ in 0..count {
                timeout(DEADLINE, self.seen.recv()).await.expect("it passes");
            }
        }

        async fn nobody_passes(&mut self) {
            tokio::task::yield_now().await;
            assert!(self.seen.try_recv().is_err());
        }
    }

    #[tokio::test]
    async fn few_pass_at_once_and_many_together() {
        let mut rig = Rig::new(LONG);
        let mut under_way = vec![rig.commit(Waited::For).await, rig.commit(Waited::For).await];
        rig.pass(2).await;
        for _ in 0..20 {
            under_way.push(rig.commit(Waited::For).await);
        }
        rig.nobody_passes().await;
        rig.gate.open();
        rig.pass(20).await;
        // The last of many opens for all.
        for _ in 0..MANY {
            under_way.push(rig.commit(Waited::For).await);
        }
        rig.pass(MANY).await;
        // When they are done, the next one is alone again.
        under_way.clear();
        while rig.gate.state().sessions > 0 {
            tokio::task::yield_now().await;
        }
        let lately = rig.commit(Waited::For).await;
        rig.nobody_passes().await;
        rig.gate.open();
        rig.pass(1).await;
        drop(lately);
        tokio::time::sleep(LATELY).await;
        let _end = rig.commit(Waited::For).await;
        rig.pass(1).await;
    }

    #[tokio::test]
    async fn an_outcome_waits_for_company_and_goes_with_a_session() {
        let mut rig = Rig::new(LONG);
        let _outcome = rig.commit(Waited::Not).await;
        rig.nobody_passes().await;
        let _session = rig.commit(Waited::For).await;
        rig.pass(2).await;
    }

    #[tokio::test]
    async fn without_company_it_passes_alone_also_when_the_first_has_gone() {
        let mut rig = Rig::new(WINDOW);
        let _alone = rig.commit(Waited::Not).await;
        rig.pass(1).await;
        let gate = rig.gate.clone();
        let first = tokio::spawn(async move { drop(gate.pass(Waited::Not).await) });
        tokio::task::yield_now().await;
        let _second = rig.commit(Waited::Not).await;
        first.abort();
        rig.pass(1).await;
    }
}
