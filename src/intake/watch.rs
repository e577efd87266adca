//! What the door remembers of strangers and of its own mail, in memory and within bounds.
//!
//! Invariant: at most [`ROOM`] addresses or messages are remembered; when there is no room the oldest go.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

const ROOM: usize = 65_536;
const HOUR: Duration = Duration::from_secs(3600);
/// `NOTFOUND` answers about local domains that one source may collect within an hour at standing 0 (profile 4).
pub const NOT_FOUND_LIMIT: u32 = 20;

/// Counts `NOTFOUND` answers per source address, to stop those who guess user names.
#[derive(Default)]
pub struct Strangers(Mutex<HashMap<IpAddr, (Timestamp, u32)>>);

impl Strangers {
    /// How many more `NOTFOUND` this source may be given: one more than its share, which is what closes it; 0: it has had
    /// that.
    pub fn left(&self, source: IpAddr, now: Timestamp) -> u32 {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = map.get(&source).filter(|(since, _)| now.since(*since) < HOUR).map_or(0, |(_, count)| *count);
        (NOT_FOUND_LIMIT + 1).saturating_sub(counted)
    }

    /// Adds `missed` answers; true when the source has now had more than its share.
    pub fn missed(&self, source: IpAddr, missed: u32, now: Timestamp) -> bool {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= ROOM {
            map.retain(|_, (since, _)| now.since(*since) < HOUR);
            if map.len() >= ROOM {
                map.clear();
            }
        }
        let (since, count) = map.entry(source).or_insert((now, 0));
        if now.since(*since) >= HOUR {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(missed);
        *count > NOT_FOUND_LIMIT
    }
}

/// A message and a recipient, as 16 octets of a digest.
pub type PassedKey = [u8; 16];

#[derive(Default)]
struct Known {
    keys: HashSet<PassedKey>,
    /// The oldest first.
    order: VecDeque<PassedKey>,
}

/// Messages that were passed on octet for octet, to know them when a transport map sends them back (profile 9).
#[derive(Default)]
pub struct Passed(Mutex<Known>);

impl Passed {
    /// Remembers one message to one recipient; false when it was remembered before.
    pub fn first_time(&self, key: PassedKey) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.keys.insert(key) {
            return false;
        }
        known.order.push_back(key);
        if known.order.len() > ROOM
            && let Some(oldest) = known.order.pop_front()
        {
            known.keys.remove(&oldest);
        }
        true
    }

    pub fn knows(&self, key: &PassedKey) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys.contains(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guesser_is_found_out_and_forgiven_after_an_hour() {
        let strangers = Strangers::default();
        let source: IpAddr = [192, 0, 2, 1].into();
        let t = Timestamp::from_millis(0);
        assert_eq!(strangers.left(source, t), 21);
        assert!(!strangers.missed(source, 20, t));
        assert_eq!(strangers.left(source, t), 1);
        assert!(strangers.missed(source, 1, t));
        assert_eq!(strangers.left(source, t), 0);
        assert_eq!(strangers.left(source, t.after(HOUR)), 21);
        assert!(!strangers.missed([192, 0, 2, 2].into(), 1, t));
        assert!(!strangers.missed(source, 1, t.after(HOUR)));
    }

    #[test]
    fn passed_messages_are_known_again_within_bounds() {
        let passed = Passed::default();
        assert!(passed.first_time([1; 16]));
        assert!(!passed.first_time([1; 16]));
        for n in 0..ROOM {
            let mut key = [2; 16];
            key[..8].copy_from_slice(&(n as u64).to_be_bytes());
            passed.first_time(key);
        }
        assert!(!passed.knows(&[1; 16]));
    }
}
