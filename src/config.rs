//! The configuration: typed, complete with defaults, unknown keys refused.
//!
//! One struct per TOML table, in the order and with the names of the interface; durations are written `30s 5m 4h 5d`,
//! sizes `10 MiB`. Reading and checking stand in `config::load`; nothing else in the crate looks at TOML.
//!
//! Invariant: a [`Config`] that `load` returned has been checked as far as that is possible without starting: names
//! parse, files that must exist do, numbers are within their ranges.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use crate::ident::ServerId;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    pub server_id: ServerId,
    /// In greetings and EHLO; default: the host's name.
    pub hostname: Option<String>,
    pub data_dir: PathBuf,
    /// Default: `control.sock` in the data directory.
    pub control_socket: Option<PathBuf>,
    pub cip: Cip,
    pub tls: Option<Tls>,
    pub mail: Mail,
    pub domain: Vec<Domain>,
    pub peer: Vec<Peer>,
    pub dns: Dns,
    pub delivery: Delivery,
    pub storage: Storage,
    pub log: Log,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cip {
    pub listen: Vec<SocketAddr>,
    pub default_port: u16,
    pub allow_plaintext_login: bool,
    pub max_event_size: Size,
    pub max_sessions: usize,
    pub idle_timeout: Span,
    pub credentials: Option<PathBuf>,
    pub relay_networks: Vec<IpNet>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mail {
    /// Where reply addresses and gateway addresses live; default: the server-id.
    pub domain: Option<ServerId>,
    pub smtp_listen: Vec<Listen>,
    pub lmtp_listen: Vec<Listen>,
    pub inbound_listen: Vec<Listen>,
    pub trusted_networks: Vec<IpNet>,
    /// `smtp://HOST:PORT` or `smtps://…`, with `?tls=required|opportunistic|none`.
    pub smarthost: Option<Smarthost>,
    pub organizer: Organizer,
}

/// A listening address: `127.0.0.1:2525` or `unix:/run/cip-relay/lmtp.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Smarthost {
    pub host: String,
    pub port: u16,
    /// `smtps://`: TLS from the first octet.
    pub implicit_tls: bool,
    pub tls: TlsUse,
}

/// How far TLS is asked of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsUse {
    #[serde(alias = "none")]
    Never,
    #[default]
    Opportunistic,
    Required,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Organizer {
    #[default]
    Token,
    Verbatim,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Domain {
    pub name: ServerId,
    #[serde(default)]
    pub users: Users,
    #[serde(default)]
    pub redirects: BTreeMap<String, String>,
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
    #[serde(default)]
    pub deliver: Deliver,
}

/// Who lives in a local domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Users {
    #[default]
    #[serde(skip)]
    Any,
    Word(String),
    List(Vec<String>),
    File {
        file: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deliver {
    #[default]
    Mail,
    Cip,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Peer {
    /// A server-id, or `*.example.org` for every name below it.
    pub server_id: String,
    /// `HOST:PORT` or `[ADDR]:PORT`: skip the look-up.
    pub via: Option<String>,
    #[serde(default)]
    pub route: RouteRule,
    #[serde(default)]
    pub tls: TlsUse,
    pub identity: Option<String>,
    pub password_file: Option<PathBuf>,
    #[serde(default)]
    pub object_format: ObjectFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteRule {
    #[default]
    Auto,
    Cip,
    Mail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectFormat {
    #[default]
    Vcalendar,
    Icalendar,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dns {
    /// Empty: the system's.
    pub servers: Vec<SocketAddr>,
    pub timeout: Span,
    pub allow_targets: Vec<IpNet>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Delivery {
    pub workers: usize,
    pub per_destination: usize,
    pub retry: Retry,
    pub connect_timeout: Span,
    pub cip_patience: Span,
    pub warn_after: Span,
    pub expire_after: Span,
    pub not_found: NotFound,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Retry {
    pub initial: Span,
    pub multiplier: f64,
    pub max: Span,
    /// A fraction: 0.3 spreads each wait evenly over ±30 %.
    pub jitter: f64,
}

/// What NOTFOUND from the user's own server leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotFound {
    #[default]
    Mail,
    Fail,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Storage {
    pub cache: Size,
    pub free_space_minimum: Size,
    pub unsafe_without_sync: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Log {
    pub format: LogFormat,
    pub level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
    Journald,
}

/// A length of time: a number and `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

/// A number of octets: a number and nothing, `KiB`, `MiB` or `GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub u64);

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (number, unit) = split_unit(&text);
        let unit_ms: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(format!("{text:?} is not a duration; write a number and one of ms s m h d, such as \"30s\" or \"4h\"")),
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(unit_ms))
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| format!("{text:?} is not a duration; write a whole number before the unit, such as \"30s\""))
    }
}

impl TryFrom<String> for Size {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (number, unit) = split_unit(&text);
        let factor: u64 = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(format!("{text:?} is not a size; write a number and one of KiB MiB GiB, such as \"10 MiB\"")),
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a size; write a whole number before the unit, such as \"10 MiB\""))
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

impl TryFrom<String> for Listen {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        text.parse()
            .map(Self::Tcp)
            .map_err(|_| format!("{text:?} is not a listening address; write \"127.0.0.1:2525\", \"[::1]:2525\" or \"unix:/path\""))
    }
}

impl TryFrom<String> for Smarthost {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let bad = || {
            format!(
                "{text:?} is not a smarthost; write \"smtp://HOST:PORT\" or \"smtps://HOST:PORT\", with ?tls=required, opportunistic or none"
            )
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(bad)?;
        let implicit_tls = match scheme {
            "smtp" => false,
            "smtps" => true,
            _ => return Err(bad()),
        };
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let tls = match query {
            "" if implicit_tls => TlsUse::Required,
            "" | "tls=opportunistic" => TlsUse::Opportunistic,
            "tls=required" => TlsUse::Required,
            "tls=none" if !implicit_tls => TlsUse::Never,
            _ => return Err(bad()),
        };
        let default_port = if implicit_tls { 465 } else { 25 };
        let (host, port) = split_host_port(address.trim_end_matches('/')).ok_or_else(bad)?;
        Ok(Self { host, port: port.unwrap_or(default_port), implicit_tls, tls })
    }
}

/// `HOST`, `HOST:PORT`, `[V6]`, `[V6]:PORT`; the brackets are taken off.
pub fn split_host_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        match rest {
            "" => (host, None),
            _ => (host, Some(rest.strip_prefix(':')?)),
        }
    } else {
        match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return None;
    }
    let port = match port {
        Some(p) => Some(p.parse().ok().filter(|&p: &u16| p != 0)?),
        None => None,
    };
    Some((host.to_owned(), port))
}

const fn span_s(s: u64) -> Span {
    Span(Duration::from_secs(s))
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_id: ServerId::parse("localhost").expect("a domain name"),
            hostname: None,
            data_dir: "./cip-relay-data".into(),
            control_socket: None,
            cip: Cip::default(),
            tls: None,
            mail: Mail::default(),
            domain: Vec::new(),
            peer: Vec::new(),
            dns: Dns::default(),
            delivery: Delivery::default(),
            storage: Storage::default(),
            log: Log::default(),
        }
    }
}

impl Default for Cip {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 6047))],
            default_port: 6047,
            allow_plaintext_login: false,
            max_event_size: Size(10 << 20),
            max_sessions: 1000,
            idle_timeout: span_s(300),
            credentials: None,
            relay_networks: Vec::new(),
        }
    }
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            domain: None,
            smtp_listen: vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 2525)))],
            lmtp_listen: Vec::new(),
            inbound_listen: Vec::new(),
            trusted_networks: vec!["127.0.0.0/8".parse().expect("a network"), "::1/128".parse().expect("a network")],
            smarthost: None,
            organizer: Organizer::Token,
        }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self { servers: Vec::new(), timeout: span_s(5), allow_targets: Vec::new() }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            workers: 32,
            per_destination: 4,
            retry: Retry::default(),
            connect_timeout: span_s(15),
            cip_patience: span_s(30 * 60),
            warn_after: span_s(4 * 3600),
            expire_after: span_s(5 * 86_400),
            not_found: NotFound::Mail,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { initial: span_s(60), multiplier: 2.0, max: span_s(3600), jitter: 0.3 }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self { cache: Size(64 << 20), free_space_minimum: Size(256 << 20), unsafe_without_sync: false }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Config {
    /// The name in greetings and EHLO.
    pub fn host_name(&self) -> String {
        self.hostname.clone().unwrap_or_else(|| {
            std::fs::read_to_string("/proc/sys/kernel/hostname")
                .ok()
                .map(|name| name.trim().to_owned())
                .filter(|name| ServerId::parse(name).is_ok())
                .unwrap_or_else(|| self.server_id.to_string())
        })
    }

    /// Where reply and gateway addresses live.
    pub fn mail_domain(&self) -> &ServerId {
        self.mail.domain.as_ref().unwrap_or(&self.server_id)
    }

    pub fn control_socket(&self) -> PathBuf {
        self.control_socket.clone().unwrap_or_else(|| self.data_dir.join("control.sock"))
    }

    /// The local domain of this name, if it is one. A configuration without any `[[domain]]` serves its server-id.
    pub fn local_domain(&self, name: &ServerId) -> Option<&Domain> {
        self.domain.iter().find(|d| d.name == *name)
    }

    /// The rules for a peer: an exact name before the longest matching wildcard.
    pub fn peer(&self, name: &ServerId) -> Option<&Peer> {
        let key = name.key();
        let exact = self.peer.iter().find(|p| p.server_id.eq_ignore_ascii_case(&key));
        exact.or_else(|| {
            self.peer
                .iter()
                .filter(|p| {
                    p.server_id.strip_prefix('*').is_some_and(|suffix| suffix.len() > 1 && key.ends_with(&suffix.to_ascii_lowercase()))
                })
                .max_by_key(|p| p.server_id.len())
        })
    }
}
