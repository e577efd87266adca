//! Time as a parameter.
//!
//! Everything that stores, compares or schedules a time takes it from a [`Clock`], so that a test can hold it still
//! and a retry schedule of five days is tested in milliseconds. Sockets keep using tokio's own timers: a peer's silence
//! is measured in real time even in tests.
//!
//! Invariant: a [`Timestamp`] is UTC, in milliseconds since the Unix epoch; it has no zone and no floating form.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// An instant in UTC, in whole milliseconds since 1970-01-01T00:00:00Z. Shown as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Later than every instant that comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// Milliseconds since the epoch.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Later by `d`; saturates at the end of time.
    #[must_use]
    pub fn after(self, d: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long from `earlier` until this instant; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The calendar form; `None` past the year 262142.
    pub fn datetime(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(i64::try_from(self.0).ok()?)
    }

    /// RFC 3339 in UTC with milliseconds: `2026-11-22T15:44:00.000Z`.
    pub fn rfc3339(self) -> String {
        self.datetime().map_or_else(|| "never".to_owned(), |t| t.to_rfc3339_opts(SecondsFormat::Millis, true))
    }

    /// Reads RFC 3339; times before 1970 are refused.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let at = DateTime::parse_from_rfc3339(text).ok()?;
        Some(Self(u64::try_from(at.timestamp_millis()).ok()?))
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Self(u64::try_from(at.timestamp_millis()).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// A pending wait on a [`Clock`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// Completes once [`Clock::now`] has reached `at`; at once when it already has.
    fn sleep_until(&self, at: Timestamp) -> Sleep;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from(Utc::now())
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        // Slices of at most a minute, so that a step of the wall clock is noticed.
        Box::pin(async move {
            loop {
                let left = at.since(SystemClock.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(Duration::from_secs(60))).await;
            }
        })
    }
}

/// A clock that stands still until [`ManualClock::advance`] moves it. For tests and the demo.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<watch::Sender<Timestamp>>);

impl ManualClock {
    pub fn new(start: Timestamp) -> Self {
        Self(Arc::new(watch::Sender::new(start)))
    }

    /// Moves the time forward and wakes whoever waited for it.
    pub fn advance(&self, d: Duration) {
        self.0.send_modify(|t| *t = t.after(d));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep_until(&self, at: Timestamp) -> Sleep {
        let mut rx = self.0.subscribe();
        Box::pin(async move {
            // The sender lives in `self`; when the last clock is dropped nobody can be waiting for its time.
            let _ = rx.wait_for(|now| *now >= at).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_round_trip() {
        let t = Timestamp::from_millis(1_795_362_240_123);
        assert_eq!(t.rfc3339(), "2026-11-22T15:44:00.123Z");
        assert_eq!(Timestamp::parse_rfc3339("2026-11-22T16:44:00.123+01:00"), Some(t));
        assert_eq!(Timestamp::parse_rfc3339("1969-12-31T23:59:59Z"), None);
    }

    #[tokio::test]
    async fn a_manual_clock_wakes_its_sleepers_only_when_moved() {
        let clock = ManualClock::new(Timestamp::from_millis(1000));
        let sleep = clock.sleep_until(Timestamp::from_millis(2000));
        let woken = tokio::spawn(sleep);
        tokio::task::yield_now().await;
        assert!(!woken.is_finished());
        clock.advance(Duration::from_millis(999));
        tokio::task::yield_now().await;
        assert!(!woken.is_finished());
        clock.advance(Duration::from_millis(1));
        woken.await.unwrap();
    }
}
