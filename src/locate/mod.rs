//! Where the CIP server of a server-id is (draft 1.9; profile 7; RFC 2782): the peer's `via`, else SRV
//! `_cip._tcp.SERVER-ID`, else SRV `cip.tcp.SERVER-ID`, else the addresses of SERVER-ID with the default port.
//!
//! Invariants: what DNS could not say is never taken for "there is none" ([`NotLocated::Dns`]); no address outside the
//! public Internet comes from DNS unless the configuration allows it; this relay itself is never a candidate; at most
//! [`MAX_TARGETS`] candidates with [`MAX_ADDRESSES`] addresses each. Every step is told in a sentence, also on failure.

mod order;
mod targets;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rand::Rng;

pub use order::order;
pub use targets::Targets;

use crate::config::{Config, Peer, RouteRule, split_host_port};
use crate::ident::ServerId;
use crate::resolver::{Lookup, Resolver, Srv};

/// How many SRV targets are looked at; a zone may hold thousands.
pub const MAX_TARGETS: usize = 16;
/// How many addresses of one target are tried.
pub const MAX_ADDRESSES: usize = 8;

/// Where the candidates come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// SRV `_cip._tcp.SERVER-ID` (RFC 2782).
    Srv,
    /// SRV `cip.tcp.SERVER-ID` (RFC 2052).
    BareSrv,
    /// A and AAAA of SERVER-ID, default port.
    Address,
    /// The peer's `via` in the configuration.
    Via,
}

/// One server to try, at its addresses in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub host: String,
    pub port: u16,
    pub addresses: Vec<IpAddr>,
}

/// Somewhere to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// SRV or the configuration says that there is a CIP server; otherwise the addresses may be anybody's.
    pub promised: bool,
    pub source: Source,
    /// In the order of attempt; never empty, and none without addresses.
    pub candidates: Vec<Candidate>,
    /// What was asked and found, a sentence each.
    pub steps: Vec<String>,
}

/// Why there is nowhere to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotLocated {
    /// SRV target `.`, or `route = "mail"`: the server-id has no CIP.
    NoCip,
    /// Nothing promised a server, and the name has no address.
    NoAddress,
    /// A server was promised, and none of its names has an address now.
    Down,
    /// DNS could not say.
    Dns,
    /// Every address is refused by policy, or is this relay itself.
    Refused,
}

/// [`NotLocated`], in words, and the steps that led there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct LocateError {
    pub why: NotLocated,
    pub detail: String,
    pub steps: Vec<String>,
}

/// Finds CIP servers. Nothing is remembered here: the mapping is made anew for every connection (draft 1.9), and the
/// resolver's cache obeys the TTLs.
#[derive(Clone)]
pub struct Locator {
    resolver: Resolver,
    config: Arc<Config>,
    targets: Targets,
}

/// The candidates of one source as they are collected.
struct Search {
    promised: bool,
    source: Source,
    candidates: Vec<Candidate>,
    steps: Vec<String>,
    /// The first temporary failure of an address look-up.
    temporary: Option<String>,
    /// The first refusal.
    refused: Option<String>,
}

impl Locator {
    /// The relay's own addresses are those of the configuration; [`Locator::own_addresses`] sets others.
    pub fn new(resolver: Resolver, config: &Config) -> Self {
        Self { resolver, targets: Targets::cip(config), config: Arc::new(config.clone()) }
    }

    /// Sets where this relay's CIP listeners are really bound, which differs from the configuration for port 0 and
    /// for sockets that the system handed over.
    #[must_use]
    pub fn own_addresses(mut self, own: Vec<SocketAddr>) -> Self {
        self.targets = Targets::new(&self.config, own);
        self
    }

    /// The configuration that this locator goes by.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Finds the server of `server` (profile 7). `rng` makes the weighted choice among SRV records.
    pub async fn locate(&self, server: &ServerId, rng: &mut (impl Rng + Send)) -> Result<Located, LocateError> {
        let mut steps = Vec::new();
        let peer = self.config.peer(server);
        if let Some(peer) = peer {
            steps.push(format!("The configuration has a [[peer]] {:?} for {server}.", peer.server_id));
            if peer.route == RouteRule::Mail {
                return Err(fail(NotLocated::NoCip, format!("the configuration routes {server} by e-mail"), steps));
            }
            if let Some(via) = &peer.via {
                return self.via(peer, via, steps).await;
            }
        }
        // `route = "cip"` is the administrator's promise.
        let promised = peer.is_some_and(|p| p.route == RouteRule::Cip);
        for (source, prefix) in [(Source::Srv, "_cip._tcp"), (Source::BareSrv, "cip.tcp")] {
            let name = format!("{prefix}.{server}");
            match self.resolver.srv(&name).await {
                Lookup::Answer(records) => return self.by_srv(source, &name, records, steps, rng).await,
                Lookup::None => steps.push(format!("There is no SRV record {name}.")),
                Lookup::Temporary(why) => {
                    steps.push(format!("The look-up of SRV {name} failed for now: {why}."));
                    return Err(fail(NotLocated::Dns, why, steps));
                }
            }
        }
        let mut search = Search::new(promised, Source::Address, steps);
        if self.targets.is_own_name(server.as_str()) {
            search.own(&format!("{server}"));
        } else {
            self.target(&mut search, server.as_str(), self.config.cip.default_port).await;
        }
        search.finish(server)
    }

    async fn by_srv(
        &self,
        source: Source,
        name: &str,
        records: Vec<Srv>,
        steps: Vec<String>,
        rng: &mut (impl Rng + Send),
    ) -> Result<Located, LocateError> {
        let mut search = Search::new(true, source, steps);
        let shown = records.iter().take(MAX_TARGETS).map(|r| format!("{} {} {} {}", r.priority, r.weight, r.port, r.target));
        search.say(format!("SRV {name}: {}.", shown.collect::<Vec<_>>().join(", ")));
        let (null, mut records): (Vec<Srv>, Vec<Srv>) = order(records, rng).into_iter().partition(|r| r.target == ".");
        if records.is_empty() && !null.is_empty() {
            return Err(fail(NotLocated::NoCip, format!("SRV {name} says that there is no CIP service"), search.steps));
        }
        if records.len() > MAX_TARGETS {
            search.say(format!("Only the first {MAX_TARGETS} of {} targets are looked at.", records.len()));
            records.truncate(MAX_TARGETS);
        }
        let mut seen = Vec::new();
        for Srv { target, port, .. } in records {
            let key = (target.to_ascii_lowercase(), port);
            if seen.contains(&key) {
                continue;
            }
            seen.push(key);
            if port == 0 || ServerId::parse(&target).is_err() {
                search.refuse(format!("target {target} port {port} is no host name with a port"));
            } else if self.targets.is_own_name(&target) {
                search.own(&format!("target {target}"));
                break;
            } else if !self.target(&mut search, &target, port).await {
                break;
            }
        }
        search.finish(&name)
    }

    /// Adds the addresses of one host; false when it is this relay, which ends the list (RFC 5321 5.1).
    async fn target(&self, search: &mut Search, host: &str, port: u16) -> bool {
        let found = match self.resolver.addresses(host).await {
            Lookup::Answer(found) => found,
            Lookup::None => {
                search.say(format!("{host} has no address."));
                return true;
            }
            Lookup::Temporary(why) => {
                search.say(format!("The addresses of {host} cannot be had for now: {why}."));
                search.temporary.get_or_insert(why);
                return true;
            }
        };
        let mut addresses = Vec::new();
        for address in found {
            if self.targets.is_own_address((address, port).into()) {
                search.own(&format!("{host} ({address} port {port})"));
                search.add(host, port, addresses);
                return false;
            }
            match self.targets.refusal(address) {
                Some(why) => search.refuse(format!("{host} leads to {address}, which {why} and not in dns.allow-targets")),
                None if addresses.len() < MAX_ADDRESSES => addresses.push(address),
                None => {}
            }
        }
        search.add(host, port, addresses);
        true
    }

    /// The administrator's own word: any address is allowed, and a literal or `localhost` needs no DNS.
    async fn via(&self, peer: &Peer, via: &str, steps: Vec<String>) -> Result<Located, LocateError> {
        let mut search = Search::new(true, Source::Via, steps);
        let Some((host, port)) = split_host_port(via) else {
            return Err(fail(NotLocated::Refused, format!("via = {via:?} is not HOST:PORT"), search.steps));
        };
        let port = port.unwrap_or(self.config.cip.default_port);
        let found = if let Ok(literal) = host.parse::<IpAddr>() {
            vec![literal]
        } else if host.eq_ignore_ascii_case("localhost") {
            vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])]
        } else {
            match self.resolver.addresses(&host).await {
                Lookup::Answer(found) => found,
                Lookup::None => {
                    search.say(format!("{host} has no address."));
                    Vec::new()
                }
                Lookup::Temporary(why) => {
                    search.temporary = Some(why);
                    Vec::new()
                }
            }
        };
        let own = found.iter().position(|&address| self.targets.is_own_address((address, port).into()));
        if let Some(own) = own {
            search.own(&format!("via {via} ({})", found[own]));
        }
        search.add(&host, port, found.into_iter().take(own.unwrap_or(MAX_ADDRESSES).min(MAX_ADDRESSES)).collect());
        search.finish(&format!("{} via {via}", peer.server_id))
    }
}

impl Search {
    fn new(promised: bool, source: Source, steps: Vec<String>) -> Self {
        Self { promised, source, candidates: Vec::new(), steps, temporary: None, refused: None }
    }

    fn say(&mut self, sentence: String) {
        self.steps.push(sentence);
    }

    fn refuse(&mut self, why: String) {
        self.say(format!("Refused: {why}."));
        self.refused.get_or_insert(why);
    }

    fn own(&mut self, what: &str) {
        self.say(format!("{what} is this relay itself, which ends the list."));
        self.refused.get_or_insert(format!("{what} is this relay itself"));
    }

    fn add(&mut self, host: &str, port: u16, addresses: Vec<IpAddr>) {
        if !addresses.is_empty() {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            self.say(format!("Candidate {}: {host} port {port}, at {}.", self.candidates.len() + 1, list.join(", ")));
            self.candidates.push(Candidate { host: host.to_owned(), port, addresses });
        }
    }

    fn finish(self, what: &dyn std::fmt::Display) -> Result<Located, LocateError> {
        let Self { promised, source, candidates, steps, temporary, refused } = self;
        if !candidates.is_empty() {
            return Ok(Located { promised, source, candidates, steps });
        }
        // An address not known now might be a good one: retried, before anything final is said.
        Err(match (temporary, refused) {
            (Some(why), _) => fail(NotLocated::Dns, why, steps),
            (None, Some(why)) => fail(NotLocated::Refused, why, steps),
            (None, None) if promised => fail(NotLocated::Down, format!("{what} leads to no address"), steps),
            (None, None) => fail(NotLocated::NoAddress, format!("{what} has neither an SRV record for CIP nor an address"), steps),
        })
    }
}

fn fail(why: NotLocated, detail: String, mut steps: Vec<String>) -> LocateError {
    steps.push(format!("Nowhere to connect to: {detail}."));
    LocateError { why, detail, steps }
}
