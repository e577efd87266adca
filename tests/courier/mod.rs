//! The couriers against real peers: what is said, over how many connections, and what a failure is taken for.

mod cip;
mod mail;
mod tls;

use std::time::Duration;

use cip_relay::config::{Config, Peer, Span};

use crate::support::dns::Dns;

/// A relay's configuration that asks `dns` and may connect to loopback.
fn config(dns: &Dns) -> Config {
    let mut config = Config { hostname: Some("relay.tiny.com".into()), server_id: "tiny.com".parse().unwrap(), ..Config::default() };
    config.dns.servers = vec![dns.address()];
    config.dns.timeout = Span(Duration::from_millis(300));
    config.dns.allow_targets = vec!["127.0.0.0/8".parse().unwrap()];
    config.delivery.connect_timeout = Span(Duration::from_secs(5));
    config
}

fn peer(toml: &str) -> Peer {
    toml::from_str(toml).unwrap()
}
