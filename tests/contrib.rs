//! The files that administrators copy say what the program reads.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cip_relay::config::{self, Config};

/// Every key of the configuration. A key that the program learns is added here and explained in `contrib/cip-relay.toml`.
const KEYS: &[&str] = &[
    "server-id",
    "server-id-aliases",
    "hostname",
    "data-dir",
    "control-socket",
    "cip.listen",
    "cip.default-port",
    "cip.allow-plaintext-login",
    "cip.max-event-size",
    "cip.max-sessions",
    "cip.idle-timeout",
    "cip.credentials",
    "cip.relay-networks",
    "tls.certificate",
    "tls.key",
    "tls.client-ca",
    "mail.domain",
    "mail.smtp-listen",
    "mail.lmtp-listen",
    "mail.inbound-listen",
    "mail.trusted-networks",
    "mail.smarthost",
    "mail.organizer",
    "mail.authserv-id",
    "mail.dmarc",
    "domain.name",
    "domain.users",
    "domain.redirects",
    "domain.aliases",
    "domain.deliver",
    "domain.free-busy",
    "domain.free-busy-for",
    "domain.time-zone",
    "peer.server-id",
    "peer.via",
    "peer.route",
    "peer.tls",
    "peer.identity",
    "peer.password-file",
    "peer.object-format",
    "dns.servers",
    "dns.timeout",
    "dns.allow-targets",
    "delivery.workers",
    "delivery.per-destination",
    "delivery.retry",
    "delivery.connect-timeout",
    "delivery.cip-patience",
    "delivery.warn-after",
    "delivery.expire-after",
    "delivery.not-found",
    "free-busy.timeout",
    "free-busy.max-size",
    "storage.cache",
    "storage.free-space-minimum",
    "storage.unsafe-without-sync",
    "ledger.keep",
    "ledger.keep-endless",
    "log.format",
    "log.level",
];

fn contrib(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("contrib").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The examples taken in: `#key = value` and `#[table]` without their `#`; prose has a blank behind it.
fn with_examples(text: &str) -> String {
    let examples = text.lines().map(|line| line.strip_prefix('#').filter(|l| l.starts_with(|c: char| !c.is_whitespace())).unwrap_or(line));
    examples.collect::<Vec<_>>().join("\n")
}

/// `table.key` of everything that stands at the first two levels, arrays of tables included.
fn keys(table: &toml::Table) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (name, value) in table {
        let inner = match value {
            toml::Value::Table(inner) => vec![inner],
            toml::Value::Array(list) => list.iter().filter_map(toml::Value::as_table).collect(),
            _ => Vec::new(),
        };
        if inner.is_empty() {
            keys.insert(name.clone());
        }
        keys.extend(inner.iter().flat_map(|t| t.keys()).map(|key| format!("{name}.{key}")));
    }
    keys
}

#[test]
fn the_full_configuration_explains_every_key() {
    let text = with_examples(&contrib("cip-relay.toml"));
    let mut table: toml::Table = text.parse().unwrap();
    assert_eq!(keys(&table), KEYS.iter().map(|&k| k.to_owned()).collect::<BTreeSet<_>>());
    // The program knows the keys of TLS and refuses to start with them until it serves TLS.
    let tls = table.remove("tls").unwrap().to_string();
    let refused = config::parse(Path::new("tls.toml"), &format!("tls = {tls}")).unwrap_err().to_string();
    assert!(refused.contains("does not serve TLS") && !refused.contains("no such key"), "{refused}");
    read("cip-relay.toml", &table.to_string());
}

/// As the program reads it.
fn read(name: &str, text: &str) -> Config {
    config::parse(&Path::new("/contrib").join(name), text).unwrap_or_else(|e| panic!("contrib/{name}: {e}"))
}

#[test]
fn the_configurations_are_read_as_they_stand() {
    for name in ["cip-relay.toml", "quickstart.toml", "postfix/cip-relay.toml", "exim/cip-relay.toml", "opensmtpd/cip-relay.toml"] {
        assert_eq!(read(name, &contrib(name)).server_id.as_str(), "tiny.com");
    }
}

/// What the full configuration calls a default is one.
#[test]
fn values_that_stand_in_the_full_configuration_are_the_defaults() {
    // What only a site can know.
    const SITE: &[&str] = &["server-id", "mail.domain", "domain"];
    let without_site = |text: &str| {
        let mut table: toml::Table = text.parse().unwrap();
        for key in SITE {
            match key.split_once('.') {
                Some((table_name, key)) => table.get_mut(table_name).and_then(|t| t.as_table_mut()).and_then(|t| t.remove(key)),
                None => table.remove(*key),
            };
        }
        let mut config = read("x.toml", &table.to_string());
        // Where each key stands, for error messages.
        config.source = config::Source::default();
        format!("{config:#?}")
    };
    assert_eq!(without_site(&contrib("cip-relay.toml")), without_site(""));
}
