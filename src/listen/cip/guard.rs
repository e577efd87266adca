//! Failed logins per address: they slow down, then close (profile 4).
//!
//! A try is counted before its password is checked, and taken back when it was right: a thousand tries in parallel are a
//! thousand tries. Counts are forgotten [`FORGET_AFTER`] after the address's last failure.
//!
//! Invariant: at most [`MAX_ADDRESSES`] addresses are remembered; when that is not enough, the one that has been quiet
//! for longest is forgotten.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Failures after which an address gets no further try.
const MAX_FAILURES: u32 = 10;
const FORGET_AFTER: Duration = Duration::from_mins(15);
const MAX_ADDRESSES: usize = 10_000;
/// The answer to a second failure waits for this long, and twice as long each time after.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct LoginGuard(Mutex<HashMap<IpAddr, Failures>>);

#[derive(Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

impl LoginGuard {
    /// Counts a try. `None`: this address has used up its tries.
    pub(super) fn begin(&self, address: IpAddr, now: Instant) -> Option<Try> {
        let mut map = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let key = network(address);
        if map.len() >= MAX_ADDRESSES && !map.contains_key(&key) {
            map.retain(|_, f| now.duration_since(f.last) < FORGET_AFTER);
            if map.len() >= MAX_ADDRESSES
                && let Some(quietest) = map.iter().min_by_key(|(_, f)| f.last).map(|(a, _)| *a)
            {
                map.remove(&quietest);
            }
        }
        let failures = map.entry(key).or_insert(Failures { count: 0, last: now });
        if now.duration_since(failures.last) >= FORGET_AFTER {
            failures.count = 0;
        }
        if failures.count >= MAX_FAILURES {
            return None;
        }
        failures.count += 1;
        failures.last = now;
        Some(Try { key, number: failures.count })
    }

    /// The try was right: it is taken back. Earlier failures stay, or one known password would buy endless tries.
    pub(super) fn succeeded(&self, tried: &Try) {
        let mut map = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(failures) = map.get_mut(&tried.key) {
            failures.count = failures.count.saturating_sub(1);
            if failures.count == 0 {
                map.remove(&tried.key);
            }
        }
    }
}

/// One counted try.
#[derive(Debug)]
pub(super) struct Try {
    key: IpAddr,
    number: u32,
}

impl Try {
    /// How long the answer to it waits when it failed.
    pub(super) fn wait(&self) -> Duration {
        match self.number {
            0 | 1 => Duration::ZERO,
            n => FIRST_WAIT.saturating_mul(1 << (n - 2).min(20)).min(LONGEST_WAIT),
        }
    }

    /// Whether it was the last one.
    pub(super) fn is_last(&self) -> bool {
        self.number >= MAX_FAILURES
    }
}

/// An IPv6 client commands its whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from(n).into()
    }

    #[test]
    fn failures_slow_down_and_then_close() {
        let (guard, now) = (LoginGuard::default(), Instant::now());
        let waits: Vec<u128> = std::iter::from_fn(|| guard.begin(v4(1), now)).map(|t| t.wait().as_millis()).collect();
        assert_eq!(waits, [0, 50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000]);
        assert!(guard.begin(v4(1), now + FORGET_AFTER / 2).is_none());
        assert!(guard.begin(v4(2), now).is_some(), "another address is not concerned");
        assert_eq!(guard.begin(v4(1), now + FORGET_AFTER).map(|t| t.number), Some(1));
    }

    #[test]
    fn a_right_password_takes_back_its_own_try_only() {
        let (guard, now) = (LoginGuard::default(), Instant::now());
        guard.begin(v4(1), now).unwrap();
        for _ in 0..50 {
            let tried = guard.begin(v4(1), now).unwrap();
            assert_eq!(tried.number, 2);
            guard.succeeded(&tried);
        }
        guard.succeeded(&guard.begin(v4(2), now).unwrap());
        assert!(!guard.0.lock().unwrap().contains_key(&v4(2)));
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let (guard, now) = (LoginGuard::default(), Instant::now());
        for n in 0..10u16 {
            guard.begin(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, n, 0, 0, n)), now).unwrap();
        }
        assert!(guard.begin("2001:db8:0:1::99".parse().unwrap(), now).is_none());
        assert!(guard.begin("2001:db8:0:2::99".parse().unwrap(), now).is_some());
    }

    #[test]
    fn the_table_is_bounded() {
        let (guard, now) = (LoginGuard::default(), Instant::now());
        for n in 0..u32::try_from(MAX_ADDRESSES).unwrap() + 10 {
            guard.begin(v4(n), now + Duration::from_micros(n.into())).unwrap();
        }
        let map = guard.0.lock().unwrap();
        assert_eq!(map.len(), MAX_ADDRESSES);
        assert!(!map.contains_key(&v4(0)) && map.contains_key(&v4(10)));
    }
}
