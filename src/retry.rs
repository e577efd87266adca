//! When to try again: a pure function of the configuration and the number of attempts that failed.
//!
//! This is the only module that knows the `backoff` crate. The crate's own randomization is switched off, so that the
//! schedule can be asserted as a whole; the jitter comes in as a number that the caller drew.
//!
//! Invariants: the wait never exceeds `max` by more than the jitter, is never zero, and does not depend on the clock.

use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

use crate::config::Retry;

/// Past this many failures every wait is `max` anyway, whatever the multiplier.
const STEPS: u32 = 256;

/// The wait after the `failed`-th failure in a row (from 1). `draw` is a number in 0 … 1: 0.5 gives the plain schedule,
/// 0 the wait shortened by the whole jitter, 1 the wait lengthened by it.
pub fn wait(retry: &Retry, failed: u32, draw: f64) -> Duration {
    let mut schedule: ExponentialBackoff = ExponentialBackoffBuilder::new()
        .with_initial_interval(retry.initial.0)
        .with_multiplier(retry.multiplier)
        .with_max_interval(retry.max.0)
        .with_randomization_factor(0.0)
        .with_max_elapsed_time(None)
        .build();
    let mut plain = retry.initial.0.min(retry.max.0);
    for _ in 0..failed.clamp(1, STEPS) {
        // Without a maximum of elapsed time the schedule never ends.
        plain = schedule.next_backoff().unwrap_or(retry.max.0).min(retry.max.0);
        if plain == retry.max.0 {
            break;
        }
    }
    let factor = 1.0 + retry.jitter.clamp(0.0, 1.0) * (draw.clamp(0.0, 1.0) * 2.0 - 1.0);
    plain.mul_f64(factor).max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;

    fn minutes(retry: &Retry, draw: f64) -> Vec<f64> {
        (1..=10).map(|n| wait(retry, n, draw).as_secs_f64() / 60.0).collect()
    }

    #[test]
    fn the_whole_schedule() {
        let retry = Retry::default();
        assert_eq!(minutes(&retry, 0.5), [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]);
        assert_eq!(minutes(&retry, 0.0), [0.7, 1.4, 2.8, 5.6, 11.2, 22.4, 42.0, 42.0, 42.0, 42.0]);
        assert_eq!(minutes(&retry, 1.0), [1.3, 2.6, 5.2, 10.4, 20.8, 41.6, 78.0, 78.0, 78.0, 78.0]);
    }

    #[test]
    fn odd_settings_keep_within_bounds() {
        let retry = Retry { initial: Span(Duration::from_secs(100)), max: Span(Duration::from_secs(10)), multiplier: 1.0, jitter: 7.0 };
        assert_eq!(wait(&retry, 0, 0.5), Duration::from_secs(10));
        assert_eq!(wait(&retry, u32::MAX, 0.0), Duration::from_millis(1));
        assert_eq!(wait(&retry, 3, 1.0), Duration::from_secs(20));
    }
}
