//! Whether a mail server takes mail for an address, asked once and remembered (as Postfix's address verification does).
//!
//! Invariants: what the server did not say clearly is never "not found" but "not now"; at most one question about an
//! address is on its way at a time, and [`AT_A_TIME`] in all; nobody waits longer than [`PATIENCE`]; what is remembered is
//! bounded, and guesses at names never push out the users who were found; a server that cannot be reached is not asked
//! again for [`PAUSE`], and meanwhile who was found before stays found for [`STALE`] times the life of that word.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::clock::{Clock, Timestamp};
use crate::config::{Smarthost, UserProbe};
use crate::ident::UserId;

/// Addresses remembered as found, and as many of which something else is known.
const ROOM: usize = 10_000;
/// Questions on their way at a time.
const AT_A_TIME: usize = 8;
/// An SMTP client waits five minutes for the answer to RCPT, a CIP client not so long.
const QUESTION: Duration = Duration::from_secs(12);
const PATIENCE: Duration = Duration::from_secs(15);
/// After "not now" the same is not asked again so soon.
const PAUSE: Duration = Duration::from_secs(10);
/// How many lives a positive word has while the server cannot give a new one.
const STALE: u32 = 7;
/// Locks that addresses share, so that two questions about one are never on their way.
const TURNS: usize = 64;

/// What a mail server said of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Found,
    NotFound,
    /// Neither, of this address.
    Later(String),
    /// Nothing at all: no address can be asked for there now.
    Unreachable(String),
}

/// Nobody can say now; why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotNow(pub String);

/// Who asks: one question to a mail server.
pub trait Ask: Send + Sync {
    fn ask<'a>(&'a self, server: &'a Smarthost, address: &'a UserId) -> Pin<Box<dyn Future<Output = Told> + Send + 'a>>;
}

/// See the module's words. Clones share one memory.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    ask: Box<dyn Ask>,
    clock: Arc<dyn Clock>,
    found: Mutex<HashMap<String, Timestamp>>,
    other: Mutex<HashMap<String, (Told, Timestamp)>>,
    /// By server. As many as the configuration names.
    down: Mutex<HashMap<String, (String, Timestamp)>>,
    turns: Vec<tokio::sync::Mutex<()>>,
    hash: RandomState,
    questions: Semaphore,
    bounds: Bounds,
}

/// For one question, and for whoever waits for its answer.
#[derive(Clone, Copy)]
struct Bounds {
    question: Duration,
    patience: Duration,
}

impl Verifier {
    pub fn new(ask: impl Ask + 'static, clock: Arc<dyn Clock>) -> Self {
        Self::within(Bounds { question: QUESTION, patience: PATIENCE }, ask, clock)
    }

    fn within(bounds: Bounds, ask: impl Ask + 'static, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            ask: Box::new(ask),
            clock,
            found: Mutex::default(),
            other: Mutex::default(),
            down: Mutex::default(),
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::new(())).collect(),
            hash: RandomState::new(),
            questions: Semaphore::new(AT_A_TIME),
            bounds,
        }))
    }

    /// Whether there is such an address.
    pub async fn exists(&self, probe: &UserProbe, address: &UserId) -> Result<bool, NotNow> {
        if let Some(known) = self.known(probe, address) {
            return known;
        }
        let patience = self.0.bounds.patience;
        timeout(patience, self.ask(probe, address)).await.unwrap_or_else(|_| {
            let why = format!("the mail server did not say within {patience:?} whether there is <{address}>");
            self.unsure(probe, address, why)
        })
    }

    /// Forgets what is not there and who cannot say: an administrator who has made a user need not wait.
    pub fn forget_misses(&self) {
        lock(&self.0.other).clear();
        lock(&self.0.down).clear();
    }

    async fn ask(&self, probe: &UserProbe, address: &UserId) -> Result<bool, NotNow> {
        let inner = &*self.0;
        let turn = usize::try_from(inner.hash.hash_one(address.key()) % TURNS as u64).unwrap_or(0);
        let _turn = inner.turns[turn].lock().await;
        let _question = inner.questions.acquire().await.map_err(|error| NotNow(error.to_string()))?;
        // Somebody else may have asked meanwhile.
        if let Some(known) = self.known(probe, address) {
            return known;
        }
        let told = timeout(inner.bounds.question, inner.ask.ask(&probe.server, address));
        let told = told.await.unwrap_or_else(|_| Told::Later(format!("no answer within {:?}", inner.bounds.question)));
        tracing::debug!(%address, ?told, "asked the mail server");
        let (key, now) = (address.key(), inner.clock.now());
        match told {
            Told::Found => {
                lock(&inner.other).remove(&key);
                keep(&mut lock(&inner.found), key, now, |at| *at);
                Ok(true)
            }
            Told::NotFound => {
                lock(&inner.found).remove(&key);
                keep(&mut lock(&inner.other), key, (Told::NotFound, now), |(_, at)| *at);
                Ok(false)
            }
            Told::Later(why) => {
                tracing::warn!(%address, why, "the mail server does not say whether there is this address");
                keep(&mut lock(&inner.other), key, (Told::Later(why.clone()), now), |(_, at)| *at);
                self.unsure(probe, address, why)
            }
            Told::Unreachable(why) => {
                tracing::warn!(server = server_key(probe), why, "the mail server that knows the users cannot be asked");
                lock(&inner.down).insert(server_key(probe), (why.clone(), now));
                self.unsure(probe, address, why)
            }
        }
    }

    /// What need not be asked.
    fn known(&self, probe: &UserProbe, address: &UserId) -> Option<Result<bool, NotNow>> {
        let (key, now) = (address.key(), self.0.clock.now());
        if lock(&self.0.found).get(&key).is_some_and(|at| now.since(*at) < probe.found.0) {
            return Some(Ok(true));
        }
        let other = lock(&self.0.other).get(&key).cloned();
        match other {
            Some((Told::NotFound, at)) if now.since(at) < probe.not_found.0 => return Some(Ok(false)),
            Some((Told::Later(why), at)) if now.since(at) < PAUSE => return Some(self.unsure(probe, address, why)),
            _ => {}
        }
        let down = lock(&self.0.down).get(&server_key(probe)).filter(|(_, at)| now.since(*at) < PAUSE).cloned();
        down.map(|(why, _)| self.unsure(probe, address, why))
    }

    /// The server cannot say: an older good word counts, else nothing is known.
    fn unsure(&self, probe: &UserProbe, address: &UserId, why: String) -> Result<bool, NotNow> {
        let now = self.0.clock.now();
        let once = lock(&self.0.found).get(&address.key()).copied();
        match once {
            Some(at) if now.since(at) < probe.found.0.saturating_mul(STALE) => Ok(true),
            _ => Err(NotNow(why)),
        }
    }
}

fn server_key(probe: &UserProbe) -> String {
    format!("{}:{}", probe.server.host, probe.server.port)
}

/// Puts one more in; when there is no room the oldest goes.
fn keep<T>(known: &mut HashMap<String, T>, key: String, value: T, at: impl Fn(&T) -> Timestamp) {
    if known.len() >= ROOM
        && !known.contains_key(&key)
        && let Some(oldest) = known.iter().min_by_key(|(_, value)| at(value)).map(|(key, _)| key.clone())
    {
        known.remove(&oldest);
    }
    known.insert(key, value);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::clock::ManualClock;
    use crate::config::Span;

    /// Says the next of what it was given, and nothing new after the last; each question takes a turn of the runtime.
    #[derive(Clone)]
    struct Script(Arc<(Mutex<Vec<Told>>, AtomicUsize)>);

    impl Ask for Script {
        fn ask<'a>(&'a self, _: &'a Smarthost, _: &'a UserId) -> Pin<Box<dyn Future<Output = Told> + Send + 'a>> {
            Box::pin(async {
                self.0.1.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                let mut lines = lock(&self.0.0);
                if lines.len() > 1 { lines.remove(0) } else { lines[0].clone() }
            })
        }
    }

    struct Scene {
        script: Script,
        verifier: Verifier,
        clock: ManualClock,
        probe: UserProbe,
    }

    impl Scene {
        fn new(lines: &[Told]) -> Self {
            let script = Script(Arc::new((Mutex::new(lines.to_vec()), AtomicUsize::new(0))));
            let clock = ManualClock::new(Timestamp::from_millis(1_000_000_000));
            let probe = UserProbe {
                server: "smtp://127.0.0.1:25".to_owned().try_into().unwrap(),
                found: Span(Duration::from_mins(60)),
                not_found: Span(Duration::from_mins(5)),
            };
            Self { verifier: Verifier::new(script.clone(), Arc::new(clock.clone())), script, clock, probe }
        }

        async fn ask(&self, user: &str) -> Result<bool, NotNow> {
            self.verifier.exists(&self.probe, &UserId::parse(user).unwrap()).await
        }

        fn asked(&self) -> usize {
            self.script.0.1.load(Ordering::SeqCst)
        }
    }

    fn later() -> Told {
        Told::Later("451 greylisted".into())
    }

    #[tokio::test]
    async fn each_word_has_its_own_life() {
        let scene = Scene::new(&[Told::Found, Told::NotFound, Told::Found, Told::NotFound]);
        let minutes = |n| Duration::from_mins(n);
        assert_eq!((scene.ask("mary@tiny.com").await, scene.ask("bob@tiny.com").await), (Ok(true), Ok(false)));
        scene.clock.advance(minutes(4));
        assert_eq!((scene.ask("MARY@Tiny.com").await, scene.ask("bob@tiny.com").await), (Ok(true), Ok(false)));
        assert_eq!(scene.asked(), 2);
        scene.clock.advance(minutes(1));
        assert_eq!((scene.ask("bob@tiny.com").await, scene.asked()), (Ok(true), 3), "he was made meanwhile");
        scene.clock.advance(minutes(55));
        assert_eq!((scene.ask("mary@tiny.com").await, scene.asked()), (Ok(false), 4), "she has left");
        scene.verifier.forget_misses();
        scene.ask("mary@tiny.com").await.unwrap();
        assert_eq!(scene.asked(), 5);
    }

    #[tokio::test]
    async fn not_now_is_never_not_found() {
        let scene = Scene::new(&[later(), Told::Found, later(), Told::Unreachable("no route".into())]);
        assert_eq!(scene.ask("mary@tiny.com").await, Err(NotNow("451 greylisted".into())));
        assert_eq!((scene.ask("mary@tiny.com").await.is_err(), scene.asked()), (true, 1), "not again so soon");
        scene.clock.advance(PAUSE);
        assert_eq!((scene.ask("mary@tiny.com").await, scene.asked()), (Ok(true), 2));
        scene.clock.advance(scene.probe.found.0);
        assert_eq!((scene.ask("mary@tiny.com").await, scene.asked()), (Ok(true), 3), "the old word counts");
        scene.clock.advance(PAUSE);
        assert_eq!((scene.ask("mary@tiny.com").await, scene.asked()), (Ok(true), 4));
        // The server is down: nobody else is asked for there.
        assert_eq!((scene.ask("bob@tiny.com").await, scene.asked()), (Err(NotNow("no route".into())), 4));
        scene.clock.advance(scene.probe.found.0 * STALE);
        assert_eq!((scene.ask("mary@tiny.com").await.is_err(), scene.asked()), (true, 5), "too old");
    }

    #[tokio::test]
    async fn one_question_about_an_address_at_a_time() {
        for (told, expected) in [(Told::NotFound, Ok(false)), (later(), Err(NotNow("451 greylisted".into())))] {
            let scene = Scene::new(&[told]);
            let all = [scene.ask("x@tiny.com"), scene.ask("x@tiny.com"), scene.ask("X@tiny.com")];
            let [a, b, c] = all;
            let (a, b, c) = tokio::join!(a, b, c);
            assert!([a, b, c].iter().all(|said| *said == expected));
            assert_eq!(scene.asked(), 1);
        }
    }

    #[tokio::test]
    async fn guesses_push_out_no_user() {
        let scene = Scene::new(&[Told::Found, Told::NotFound]);
        assert_eq!(scene.ask("mary@tiny.com").await, Ok(true));
        for n in 0..=ROOM {
            assert_eq!(scene.ask(&format!("u{n}@tiny.com")).await, Ok(false));
        }
        assert_eq!((scene.ask("mary@tiny.com").await, lock(&scene.verifier.0.other).len()), (Ok(true), ROOM));
        let before = scene.asked();
        assert_eq!(scene.ask(&format!("u{ROOM}@tiny.com")).await, Ok(false));
        assert_eq!(scene.asked(), before, "the newest is known");
    }

    #[tokio::test]
    async fn a_server_that_never_answers_keeps_nobody_for_long() {
        struct Silent;
        impl Ask for Silent {
            fn ask<'a>(&'a self, _: &'a Smarthost, _: &'a UserId) -> Pin<Box<dyn Future<Output = Told> + Send + 'a>> {
                Box::pin(std::future::pending())
            }
        }
        let scene = Scene::new(&[Told::Found]);
        // All but the first eight get their turn, if at all, when their own patience is at its end.
        let bounds = Bounds { question: Duration::from_millis(40), patience: Duration::from_millis(60) };
        let verifier = Verifier::within(bounds, Silent, Arc::new(scene.clock.clone()));
        let users: Vec<UserId> = (0..3 * AT_A_TIME).map(|n| UserId::parse(&format!("u{n}@tiny.com")).unwrap()).collect();
        let mut tasks = tokio::task::JoinSet::new();
        for user in users {
            let (verifier, probe) = (verifier.clone(), scene.probe.clone());
            tasks.spawn(async move { verifier.exists(&probe, &user).await });
        }
        let said = timeout(Duration::from_secs(30), tasks.join_all()).await.expect("an end");
        assert!(said.iter().all(Result::is_err));
    }
}
