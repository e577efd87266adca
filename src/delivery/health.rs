//! The health of destinations: who is failing, since when, and when the next try is (issue: one dead server must not
//! cost a connection time-out per entry).
//!
//! Invariant: at most [`ROOM`] destinations are remembered; a success forgets the failure at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

const ROOM: usize = 100_000;

/// Why a destination is failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trouble {
    /// Nobody answers, or nobody who will talk to us.
    Down,
    /// The look-up fails for now.
    Dns,
}

/// What is known of a failing destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    pub trouble: Trouble,
    pub since: Timestamp,
    pub failures: u32,
    pub next_try: Timestamp,
    pub detail: String,
}

/// All failing destinations, by [`Destination::key`](crate::queue::entry::Destination::key).
#[derive(Debug, Default)]
pub struct Health(Mutex<HashMap<String, Failing>>);

impl Health {
    pub fn failing(&self, key: &str) -> Option<Failing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Notes a failure; `wait` gives the time until the next try from the number of failures in a row.
    pub fn down(
        &self,
        key: &str,
        trouble: Trouble,
        detail: &str,
        now: Timestamp,
        wait: impl FnOnce(u32) -> std::time::Duration,
    ) -> Failing {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= ROOM && !map.contains_key(key) {
            map.retain(|_, f| f.next_try >= now);
            if map.len() >= ROOM {
                map.clear();
            }
        }
        let (since, failures) = map.get(key).map_or((now, 0), |f| (f.since, f.failures));
        // Several attempts may have been under way when it went down; together they are one failure.
        let failures = match map.get(key) {
            Some(f) if now < f.next_try => failures,
            _ => failures + 1,
        };
        let next_try = match map.get(key) {
            Some(f) if now < f.next_try => f.next_try,
            _ => now.after(wait(failures)),
        };
        let failing = Failing { trouble, since, failures, next_try, detail: detail.to_owned() };
        map.insert(key.to_owned(), failing.clone());
        failing
    }

    /// True when it had been failing.
    pub fn up(&self, key: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key).is_some()
    }

    pub fn all(&self) -> Vec<(String, Failing)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(k, f)| (k.clone(), f.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn failures_in_a_row_grow_and_a_success_forgets() {
        let health = Health::default();
        let t = Timestamp::from_millis(1_000_000);
        let wait = |n: u32| Duration::from_secs(60 * u64::from(n));
        let first = health.down("cip:a", Trouble::Down, "refused", t, wait);
        assert_eq!((first.failures, first.next_try), (1, t.after(Duration::from_secs(60))));
        let together = health.down("cip:a", Trouble::Down, "refused", t.after(Duration::from_secs(1)), wait);
        assert_eq!((together.failures, together.next_try), (1, first.next_try));
        let second = health.down("cip:a", Trouble::Dns, "servfail", first.next_try, wait);
        assert_eq!((second.failures, second.since), (2, t));
        assert!(health.up("cip:a"));
        assert!(!health.up("cip:a"));
        assert!(health.failing("cip:a").is_none());
    }
}
