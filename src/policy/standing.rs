//! How well a CIP client is known towards a server-id that it speaks for (profile 4, Standing).
//!
//! 3: it authenticated as that server-id, or comes from `relay-networks`; 2: it connected from an address to which the
//! server-id resolves; 1: it authenticated as someone else who has `relay`; 0: all else.
//!
//! Invariants: a look-up that fails lowers the standing, never raises it, and is told of ([`Standing::complete`]); answers of the DNS are remembered for
//! [`REMEMBERED`] at most, of [`ROOM`] server-ids at most; a judgement takes at most [`PATIENCE`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{Config, split_host_port};
use crate::ident::ServerId;
use crate::listen::CipClient;
use crate::resolver::{Lookup, Resolver};

const ROOM: usize = 4096;
const REMEMBERED: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(5);
/// SRV targets looked at for one server-id.
const TARGETS: usize = 16;

/// How well a client is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// 0 to 3.
    pub level: u8,
    /// False when the DNS could not be asked about everything: the level may be too low, and later it may be higher.
    pub complete: bool,
}

impl Standing {
    /// What is known of someone who was not looked up.
    pub const NONE: Self = Self { level: 0, complete: true };

    /// The standing towards both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { level: self.level.min(other.level), complete: self.complete && other.complete }
    }

    /// What needs the standing `level` must wait: it is not there, but perhaps only for want of the DNS.
    pub fn may_become(self, level: u8) -> bool {
        self.level < level && !self.complete
    }
}

type Cache = Mutex<HashMap<String, (Instant, Vec<IpAddr>)>>;

/// Judges the standing of clients. Clones share one memory.
#[derive(Clone)]
pub struct Standings {
    config: Arc<Config>,
    resolver: Resolver,
    cache: Arc<Cache>,
}

impl Standings {
    pub fn new(config: Arc<Config>, resolver: Resolver) -> Self {
        Self { config, resolver, cache: Arc::default() }
    }

    /// The standing of a client towards `server`.
    pub async fn of(&self, client: &CipClient, server: &ServerId) -> Standing {
        let as_server = client.login.as_ref().is_some_and(|l| ServerId::parse(&l.identity).is_ok_and(|id| id == *server));
        if as_server || self.config.cip.relay_networks.iter().any(|n| n.contains(&client.address)) {
            return Standing { level: 3, complete: true };
        }
        let (addresses, complete) = self.addresses(server).await;
        if addresses.contains(&client.address.to_canonical()) {
            return Standing { level: 2, complete: true };
        }
        Standing { level: u8::from(client.login.as_ref().is_some_and(|l| l.relay)), complete }
    }

    /// Where the server-id's CIP server may connect from: the configured `via`, its SRV targets, its own addresses; and
    /// whether every look-up answered.
    async fn addresses(&self, server: &ServerId) -> (Vec<IpAddr>, bool) {
        let key = server.key();
        {
            let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((since, addresses)) = cache.get(&key)
                && since.elapsed() < REMEMBERED
            {
                return (addresses.clone(), true);
            }
        }
        let Ok(found) = tokio::time::timeout(PATIENCE, self.look_up(server)).await else { return (Vec::new(), false) };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= ROOM {
            cache.retain(|_, (since, _)| since.elapsed() < REMEMBERED);
            if cache.len() >= ROOM {
                cache.clear();
            }
        }
        // What was found in part only is asked again next time.
        if let (addresses, true) = &found {
            cache.insert(key, (Instant::now(), addresses.clone()));
        }
        found
    }

    /// The addresses, and whether every look-up answered.
    async fn look_up(&self, server: &ServerId) -> (Vec<IpAddr>, bool) {
        let via = self.config.peer(server).and_then(|p| p.via.as_deref()).and_then(split_host_port);
        let mut names = vec![server.to_string()];
        let mut found: Vec<IpAddr> = Vec::new();
        let mut complete = true;
        if let Some((host, _)) = via {
            match host.parse::<IpAddr>() {
                Ok(address) => found.push(address.to_canonical()),
                Err(_) => names.push(host),
            }
        }
        for name in [format!("_cip._tcp.{server}"), format!("cip.tcp.{server}")] {
            match self.resolver.srv(&name).await {
                Lookup::Answer(records) => {
                    names.extend(
                        records.into_iter().take(TARGETS).map(|r| r.target.trim_end_matches('.').to_owned()).filter(|t| !t.is_empty()),
                    );
                    break;
                }
                Lookup::None => {}
                Lookup::Temporary(_) => complete = false,
            }
        }
        for name in names {
            match self.resolver.addresses(&name).await {
                Lookup::Answer(addresses) => found.extend(addresses.into_iter().map(|a| a.to_canonical())),
                Lookup::None => {}
                Lookup::Temporary(_) => complete = false,
            }
        }
        (found, complete)
    }
}
