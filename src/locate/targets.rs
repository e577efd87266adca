//! Which addresses a look-up may lead to, and which of them are this relay itself.
//!
//! Invariant: a name in somebody else's DNS is no way into the organization's own network (profile 7), so that every
//! range which is not globally reachable is refused unless the configuration allows it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use ipnet::IpNet;

use crate::config::{Config, Listen};

/// What the configuration says of addresses.
#[derive(Clone, Debug)]
pub struct Targets {
    allow: Vec<IpNet>,
    /// Where this relay listens.
    own: Vec<SocketAddr>,
    /// This relay's names, in lower case.
    names: Vec<String>,
}

impl Targets {
    /// `own`: the addresses that the listeners of the protocol in question are really bound to.
    pub fn new(config: &Config, own: Vec<SocketAddr>) -> Self {
        let names = vec![config.host_name().to_ascii_lowercase(), config.server_id.key()];
        Self { allow: config.dns.allow_targets.clone(), own, names }
    }

    /// As [`Targets::new`], with the CIP listeners as the configuration has them.
    pub fn cip(config: &Config) -> Self {
        Self::new(config, config.cip.listen.clone())
    }

    /// As [`Targets::new`], with the mail listeners as the configuration has them.
    pub fn mail(config: &Config) -> Self {
        let listen = config.mail.smtp_listen.iter().chain(&config.mail.inbound_listen);
        let own = listen.filter_map(|l| match l {
            Listen::Tcp(address) => Some(*address),
            Listen::Unix(_) => None,
        });
        // The server-id is left out: the organization's mail server may well have that name.
        Self { names: vec![config.host_name().to_ascii_lowercase()], ..Self::new(config, own.collect()) }
    }

    /// Why no connection may be made to `address` when DNS gave it; `None`: it may.
    pub fn refusal(&self, address: IpAddr) -> Option<&'static str> {
        if self.allow.iter().any(|net| net.contains(&address)) {
            return None;
        }
        match address {
            IpAddr::V4(v4) => special_v4(v4),
            IpAddr::V6(v6) => special_v6(v6),
        }
    }

    /// Whether `host` is a name of this relay.
    pub fn is_own_name(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    /// Whether a connection to this address would reach one of this relay's own listeners.
    pub fn is_own_address(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.own
            .iter()
            .filter(|own| own.port() == address.port())
            .any(|own| own.ip().to_canonical() == ip || (own.ip().is_unspecified() && (ip.is_unspecified() || is_of_this_machine(ip))))
    }
}

/// Only an address of this machine can be bound to; nothing is sent.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

fn special_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = ip.octets();
    Some(match (a, b, c) {
        (0, ..) => "is unspecified",
        (127, ..) => "is a loopback address",
        (169, 254, _) => "is link-local",
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => "is private",
        (100, 64..=127, _) => "is shared by a carrier's customers (RFC 6598)",
        (192, 0, 0) | (198, 18..=19, _) | (240.., ..) => "is reserved",
        (224..=239, ..) => "is multicast",
        _ => return None,
    })
}

fn special_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let s = ip.segments();
    // Forms that carry an IPv4 address: what they lead to is what counts.
    let inside = |high: u16, low: u16| special_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    if ip.is_unspecified() {
        return Some("is unspecified");
    }
    if ip.is_loopback() {
        return Some("is a loopback address");
    }
    Some(match s[0] {
        0 if s[..5] == [0; 5] && (s[5] == 0xffff || s[5] == 0) => "is an IPv4 address in IPv6 form",
        0x64 if s[1..6] == [0xff9b, 0, 0, 0, 0] => return inside(s[6], s[7]),
        0x64 if s[1..3] == [0xff9b, 1] => "is private (local NAT64)",
        0x2001 if s[1] == 0 => "is a Teredo address",
        0x2002 => return inside(s[1], s[2]),
        0x100 if s[1..4] == [0, 0, 0] => "is discarded",
        0xfc00..=0xfdff => "is private",
        0xfe80..=0xfebf => "is link-local",
        0xfec0..=0xfeff => "is site-local",
        0xff00.. => "is multicast",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(allow: &[&str], own: &[&str]) -> Targets {
        let mut config = Config { hostname: Some("cal.tiny.com".into()), ..Config::default() };
        config.dns.allow_targets = allow.iter().map(|n| n.parse().unwrap()).collect();
        Targets::new(&config, own.iter().map(|a| a.parse().unwrap()).collect())
    }

    #[test]
    fn ranges_that_are_not_the_internet_are_refused() {
        let none = targets(&[], &[]);
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "127.0.0.1",
            "127.255.0.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:192.0.2.1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2001::1",
            "100::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(none.refusal(ip.parse().unwrap()).is_some(), "{ip}");
        }
        for ip in ["192.0.2.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "2a00::1", "64:ff9b::8.8.8.8", "2002:808:808::1"] {
            assert_eq!(none.refusal(ip.parse().unwrap()), None, "{ip}");
        }
        let some = targets(&["127.0.0.0/8", "fd00::/8"], &[]);
        assert_eq!(some.refusal("127.0.0.1".parse().unwrap()), None);
        assert_eq!(some.refusal("fd12::1".parse().unwrap()), None);
        for ip in ["::ffff:127.0.0.1", "10.0.0.1", "fe80::1"] {
            assert!(some.refusal(ip.parse().unwrap()).is_some(), "{ip}");
        }
    }

    #[test]
    fn the_relay_knows_itself() {
        let it = targets(&[], &["192.0.2.7:6047", "[::]:7047"]);
        let own = |a: &str| it.is_own_address(a.parse().unwrap());
        assert!(own("192.0.2.7:6047") && own("[::ffff:192.0.2.7]:6047"));
        assert!(!own("192.0.2.7:6048") && !own("192.0.2.8:6047"));
        // Listening on every address: those of the machine are its own, others are not.
        assert!(own("127.0.0.1:7047") && own("0.0.0.0:7047"));
        assert!(!own("192.0.2.7:7047"));
        assert!(it.is_own_name("CAL.tiny.com.") && it.is_own_name("localhost") && !it.is_own_name("tiny.com"));
    }
}
