//! One DNS front: absolute names only, and for each question an answer, "there is none", or a temporary failure.
//!
//! Invariants: NXDOMAIN and "no data" are the only way to [`Lookup::None`]; whatever else goes wrong (SERVFAIL, REFUSED,
//! silence, nonsense) is [`Lookup::Temporary`], because what a sender does on "there is none" cannot be taken back
//! (profile 7). Nothing but DNS is asked: no hosts file, no search domains, and names that a library would answer by
//! itself (`localhost`, address literals) have no records here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup as Found;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::config;

/// The DNS front could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    #[error("the system's DNS configuration cannot be used ({0}); put `dns.servers` into the configuration")]
    System(String),
    #[error("the DNS client cannot be set up ({0})")]
    Setup(String),
}

/// The outcome of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    /// At least one record.
    Answer(Vec<T>),
    /// DNS says that there is no such record.
    None,
    /// DNS could not say; ask again later. What happened, in words.
    Temporary(String),
}

/// One SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// Without the final dot; `.` alone says that the service is decidedly not available.
    pub target: String,
}

/// One MX record (RFC 5321 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mx {
    pub preference: u16,
    /// Without the final dot; `.` alone is the null MX (RFC 7505).
    pub exchange: String,
}

/// See the module's words. Clones share one cache, which obeys the TTLs.
#[derive(Clone)]
pub struct Resolver {
    inner: TokioResolver,
}

impl Resolver {
    /// A front to the configured servers, or to the system's when there are none. Must be called inside a tokio runtime.
    pub fn new(settings: &config::Dns) -> Result<Self, ResolverError> {
        let mut builder = if settings.servers.is_empty() {
            TokioResolver::builder_tokio().map_err(|e| ResolverError::System(e.to_string()))?
        } else {
            let servers = settings.servers.iter().map(|server| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                NameServerConfig::new(server.ip(), true, connections.into())
            });
            let servers = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
            TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Never;
        options.timeout = settings.timeout.0.max(Duration::from_millis(1));
        options.attempts = 1;
        // Questions go in clear text. The library wants a TLS set-up all the same once another crate switches that on, and by
        // itself would look for root certificates, which a machine need not have.
        let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|e| ResolverError::Setup(e.to_string()))?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let inner = builder.with_tls_config(tls).build().map_err(|e| ResolverError::Setup(e.to_string()))?;
        Ok(Self { inner })
    }

    /// The resolver itself, for a library that asks for records which this front does not know (SPF, DKIM, DMARC) and tells
    /// "none" from a failure by itself.
    pub fn library(&self) -> TokioResolver {
        self.inner.clone()
    }

    /// SRV records, in no particular order.
    pub async fn srv(&self, name: &str) -> Lookup<Srv> {
        let Some(name) = absolute(name) else { return Lookup::None };
        sort_out(self.inner.srv_lookup(name.clone()).await, &name, "SRV", |data| match data {
            RData::SRV(srv) => Some(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: relative(&srv.target) }),
            _ => None,
        })
    }

    /// MX records, in no particular order.
    pub async fn mx(&self, name: &str) -> Lookup<Mx> {
        let Some(name) = absolute(name) else { return Lookup::None };
        sort_out(self.inner.mx_lookup(name.clone()).await, &name, "MX", |data| match data {
            RData::MX(mx) => Some(Mx { preference: mx.preference, exchange: relative(&mx.exchange) }),
            _ => None,
        })
    }

    /// IPv6 and IPv4 addresses, taking turns, IPv6 first (RFC 6724 prefers it, and one broken family costs one attempt
    /// only). When one of the two questions fails and the other finds nothing, nobody knows: temporary.
    pub async fn addresses(&self, name: &str) -> Lookup<IpAddr> {
        let Some(name) = absolute(name) else { return Lookup::None };
        let (v6, v4) = tokio::join!(self.inner.ipv6_lookup(name.clone()), self.inner.ipv4_lookup(name.clone()));
        let v6 = sort_out(v6, &name, "AAAA", |data| match data {
            RData::AAAA(aaaa) => Some(IpAddr::V6(Ipv6Addr::from(*aaaa))),
            _ => None,
        });
        let v4 = sort_out(v4, &name, "A", |data| match data {
            RData::A(a) => Some(IpAddr::V4(Ipv4Addr::from(*a))),
            _ => None,
        });
        combine(v6, v4)
    }
}

fn combine<T>(a: Lookup<T>, b: Lookup<T>) -> Lookup<T> {
    match (a, b) {
        (Lookup::Answer(a), Lookup::Answer(b)) => Lookup::Answer(take_turns(a, b)),
        (Lookup::Answer(found), _) | (_, Lookup::Answer(found)) => Lookup::Answer(found),
        (Lookup::Temporary(why), _) | (_, Lookup::Temporary(why)) => Lookup::Temporary(why),
        (Lookup::None, Lookup::None) => Lookup::None,
    }
}

fn take_turns<T>(a: Vec<T>, b: Vec<T>) -> Vec<T> {
    let (mut a, mut b) = (a.into_iter(), b.into_iter());
    let mut all = Vec::with_capacity(a.len() + b.len());
    while a.len() + b.len() > 0 {
        all.extend(a.next());
        all.extend(b.next());
    }
    all
}

/// `None` for what can have no records: no domain name, an address literal, `localhost` and names below it (RFC 6761
/// 6.3: the library would answer them without asking).
fn absolute(text: &str) -> Option<Name> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let last = text.rsplit('.').next().unwrap_or("");
    if text.parse::<IpAddr>().is_ok() || last.eq_ignore_ascii_case("localhost") {
        return None;
    }
    // The ASCII reader leaves underscores alone; the other one knows IDNA.
    let mut name = if text.is_ascii() { Name::from_ascii(text) } else { Name::from_utf8(text) }.ok()?;
    name.set_fqdn(true);
    Some(name).filter(|name| !name.is_root())
}

fn relative(name: &Name) -> String {
    if name.is_root() { ".".to_owned() } else { name.to_ascii().trim_end_matches('.').to_owned() }
}

fn sort_out<T>(found: Result<Found, NetError>, name: &Name, kind: &str, take: impl Fn(&RData) -> Option<T>) -> Lookup<T> {
    match found {
        Ok(found) => {
            let records: Vec<T> = found.answers().iter().filter_map(|record| take(&record.data)).collect();
            // A CNAME that leads to nothing has an answer section, and none of the records asked for.
            if records.is_empty() { Lookup::None } else { Lookup::Answer(records) }
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Lookup::None,
        Err(NetError::Dns(DnsError::ResponseCode(code))) => Lookup::Temporary(format!("the DNS server answered {code} for {kind} {name}")),
        Err(NetError::Timeout) => Lookup::Temporary(format!("no DNS server answered in time for {kind} {name}")),
        Err(error) => Lookup::Temporary(format!("the look-up of {kind} {name} failed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_asked_for() {
        for text in ["127.0.0.1", "::1", "localhost", "LOCALHOST.", "a.localhost", "", ".", "a..b"] {
            assert_eq!(absolute(text), None, "{text:?}");
        }
        for (text, want) in
            [("tiny.com", "tiny.com."), ("_cip._tcp.Tiny.com.", "_cip._tcp.Tiny.com."), ("bücher.example", "xn--bcher-kva.example.")]
        {
            assert_eq!(absolute(text).unwrap().to_ascii(), want, "{text:?}");
        }
    }

    #[test]
    fn the_families_take_turns() {
        assert_eq!(take_turns(vec![1, 2, 3], vec![10]), [1, 10, 2, 3]);
        assert_eq!(take_turns(Vec::new(), vec![10, 20]), [10, 20]);
    }

    #[test]
    fn half_a_failure_and_half_a_no_is_a_failure() {
        let (some, none, fails) = (Lookup::Answer(vec![1]), Lookup::None, Lookup::Temporary("x".to_owned()));
        for (other, want) in [(&some, &some), (&none, &none), (&fails, &fails)] {
            assert_eq!(combine(other.clone(), none.clone()), *want);
            assert_eq!(combine(none.clone(), other.clone()), *want);
        }
        assert_eq!(combine(some.clone(), fails.clone()), some);
        assert_eq!(combine(fails, some.clone()), some);
    }
}
