//! What is kept between deliveries: idle connections, and which servers spoke CIP or said nothing. Both couriers keep theirs here.
//!
//! Invariants: every map here is bounded; an idle connection is closed when its time is over, also when nothing more is
//! ever delivered; a connection that is lent out belongs to its user alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;

/// Idle connections of one server.
const PER_SERVER: usize = 4;
/// Idle connections in all: a fraction of the usual limit of 1024 descriptors.
const IN_ALL: usize = 256;

/// Idle connections by key. `T` is closed by being dropped.
pub struct Pool<T> {
    idle: Mutex<Shelf<T>>,
    keep: Duration,
}

struct Shelf<T> {
    kept: HashMap<String, Vec<(Instant, T)>>,
    /// A task is waiting for the oldest to expire.
    reaping: bool,
}

impl<T> Shelf<T> {
    fn len(&self) -> usize {
        self.kept.values().map(Vec::len).sum()
    }

    fn purge(&mut self, now: Instant) {
        self.kept.retain(|_, list| {
            list.retain(|(until, _)| *until > now);
            !list.is_empty()
        });
    }
}

impl<T: Send + 'static> Pool<T> {
    pub fn new(keep: Duration) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::new(Shelf { kept: HashMap::new(), reaping: false }), keep })
    }

    /// Lends the connection that was used last.
    pub fn take(&self, key: &str) -> Option<T> {
        let mut shelf = lock(&self.idle);
        shelf.purge(Instant::now());
        Some(shelf.kept.get_mut(key)?.pop()?.1)
    }

    /// Keeps a connection, or closes it when there are enough.
    pub fn put(self: &Arc<Self>, key: &str, connection: T) {
        let now = Instant::now();
        let mut shelf = lock(&self.idle);
        shelf.purge(now);
        if shelf.len() >= IN_ALL {
            return;
        }
        let list = shelf.kept.entry(key.to_owned()).or_default();
        if list.len() < PER_SERVER {
            list.push((now + self.keep, connection));
        }
        if !shelf.reaping {
            shelf.reaping = true;
            tokio::spawn(reap(Arc::downgrade(self), self.keep));
        }
    }

    #[cfg(test)]
    fn idle(&self) -> usize {
        lock(&self.idle).len()
    }
}

/// Closes what has expired, until nothing is kept.
async fn reap<T: Send + 'static>(pool: Weak<Pool<T>>, keep: Duration) {
    let mut next = Instant::now() + keep;
    loop {
        tokio::time::sleep_until(next).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut shelf = lock(&pool.idle);
        let now = Instant::now();
        shelf.purge(now);
        let Some(oldest) = shelf.kept.values().flatten().map(|(until, _)| *until).min() else {
            shelf.reaping = false;
            return;
        };
        next = oldest;
    }
}

/// Times by server, the oldest forgotten first when there are too many.
pub struct Times {
    by_server: Mutex<HashMap<String, Timestamp>>,
    keep: Duration,
    most: usize,
}

impl Times {
    pub fn new(keep: Duration, most: usize) -> Self {
        Self { by_server: Mutex::default(), keep, most }
    }

    pub fn set(&self, key: String, at: Timestamp) {
        let mut times = lock(&self.by_server);
        if times.len() >= self.most && !times.contains_key(&key) {
            times.retain(|_, t| at.since(*t) < self.keep);
            if times.len() >= self.most
                && let Some(oldest) = times.iter().min_by_key(|(_, t)| **t).map(|(k, _)| k.clone())
            {
                times.remove(&oldest);
            }
        }
        times.insert(key, at);
    }

    /// When, unless that is too long ago.
    pub fn get(&self, key: &str, now: Timestamp) -> Option<Timestamp> {
        lock(&self.by_server).get(key).copied().filter(|&t| now.since(t) < self.keep)
    }

    pub fn forget(&self, key: &str) {
        lock(&self.by_server).remove(key);
    }
}

/// Nothing here can be left half done by a panic elsewhere: the maps are valid at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_connections_are_few_and_end() {
        let pool = Pool::new(Duration::from_millis(40));
        for n in 0..6 {
            pool.put("a", n);
        }
        pool.put("b", 9);
        assert_eq!(pool.idle(), 5);
        assert_eq!(pool.take("a"), Some(3));
        assert_eq!(pool.take("c"), None);
        for n in 0..300 {
            pool.put(&format!("x{n}"), n);
        }
        assert_eq!(pool.idle(), IN_ALL);
        tokio::time::sleep(Duration::from_millis(100)).await;
        // Nobody asked: they end by themselves.
        assert_eq!(pool.idle(), 0);
        pool.put("a", 1);
        assert_eq!(pool.take("a"), Some(1));
    }

    #[test]
    fn times_are_forgotten() {
        let times = Times::new(Duration::from_secs(10), 2);
        let at = |s: u64| Timestamp::from_millis(s * 1000);
        times.set("a".into(), at(1));
        times.set("b".into(), at(2));
        assert_eq!(times.get("a", at(10)), Some(at(1)));
        assert_eq!(times.get("a", at(11)), None);
        times.set("b".into(), at(3));
        times.set("c".into(), at(3));
        assert_eq!((times.get("a", at(4)), times.get("b", at(4))), (None, Some(at(3))));
        times.forget("b");
        assert_eq!(times.get("b", at(4)), None);
    }
}
