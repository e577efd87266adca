//! What the scenarios and the demo stand on: a DNS server, CIP and SMTP peers, clients, and a relay in a folder of its own.
//!
//! Everything here speaks its protocol by itself, from the specification, and shares no code with the crate: a mistake
//! that both ends of a conversation make is a mistake that no test sees. Every wait has a deadline, and a wait that
//! fails says what was seen instead. The demo includes this module by path, so nothing here depends on being a test.

// Each program that includes this uses a part of it.
#![allow(dead_code)]

pub mod cip;
pub mod dns;
pub mod object;
pub mod peer;
pub mod port;
pub mod relay;
pub mod running;
pub mod sink;
pub mod smtp;
pub mod web;

mod selftest;

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything may take on loopback before the scenario fails; generous, because machines are shared.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `check` gives a value; fails with `what` after [`DEADLINE`].
pub async fn eventually<T, F, Fut>(what: &str, mut check: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(Instant::now() < end, "waited {DEADLINE:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Gives `future` [`DEADLINE`]; fails with `what` after that.
pub async fn in_time<F: Future>(what: &str, future: F) -> F::Output {
    let done = tokio::time::timeout(DEADLINE, future).await;
    done.unwrap_or_else(|_| panic!("waited {DEADLINE:?} in vain for {what}"))
}
