//! The configuration: typed, complete with defaults, unknown keys refused.
//!
//! One struct per TOML table, in the order and with the names of the interface; durations are written `30s 5m 4h 5d`,
//! sizes `10 MiB`. [`load`] reads and checks what the text alone can show, [`check`] what needs the machine (files,
//! folders); nothing else in the crate looks at TOML.
//!
//! Invariants: in a [`Config`] that `load` returned names parse, numbers are within their ranges, no two settings
//! contradict each other, `domain` is not empty, and paths that stood in the file relative to it are joined to its
//! folder.

mod check;
mod defaults;
mod free_busy;
mod load;
mod source;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

pub use check::check;
pub use free_busy::{FreeBusy, FreeBusyFor, FreeBusySource, Report, SourceKind, UrlPattern};
pub use load::{DEFAULT_PATH, load, parse};
pub use source::{ConfigErrors, Problem, Source};
pub use values::split_host_port;

use crate::ident::ServerId;
use crate::ledger::chronicle::Retention;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    pub server_id: ServerId,
    /// Former server-ids, for a transition: events under them are still this relay's.
    pub server_id_aliases: Vec<ServerId>,
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
    pub free_busy: FreeBusy,
    pub storage: Storage,
    pub ledger: Ledger,
    pub log: Log,
    /// The file that this came from, for error positions; empty for the built-in defaults.
    #[serde(skip)]
    pub source: Source,
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
    /// The mail server whose Authentication-Results are believed (RFC 8601).
    pub authserv_id: Option<String>,
    pub dmarc: DmarcUse,
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

/// What is done with an answer to a reply address whose From fails DMARC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DmarcUse {
    /// Held, when the domain of From asks for quarantine or reject.
    #[default]
    Enforce,
    /// Taken, and the result is recorded.
    Record,
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
    /// Further names: of one person, of several, or of somebody elsewhere.
    pub aliases: BTreeMap<String, Alias>,
    #[serde(default)]
    pub deliver: Deliver,
    /// Where the users' busy times are known; empty: nowhere, and nobody is found.
    #[serde(default)]
    pub free_busy: Vec<FreeBusySource>,
    #[serde(default)]
    pub free_busy_for: FreeBusyFor,
    /// IANA name: of times without a zone in the users' calendars, and of whole days; default: UTC.
    pub time_zone: Option<String>,
}

impl Domain {
    /// A domain of any users, with the defaults for all else.
    pub fn new(name: ServerId) -> Self {
        Self {
            name,
            users: Users::Any,
            redirects: BTreeMap::new(),
            aliases: BTreeMap::new(),
            deliver: Deliver::Mail,
            free_busy: Vec::new(),
            free_busy_for: FreeBusyFor::default(),
            time_zone: None,
        }
    }

    pub fn zone(&self) -> &str {
        self.time_zone.as_deref().unwrap_or("UTC")
    }
}

/// Whom an alias names: one, or a list; each a local part of the domain or a whole address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias(pub Vec<String>);

/// Who lives in a local domain: `"any"`, a list of local parts, `{ file = "users.txt" }` with one a line, or
/// `{ probe = "smtp://127.0.0.1:25" }`: whom the mail server takes mail for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Users {
    #[default]
    Any,
    List(Vec<String>),
    File {
        file: PathBuf,
    },
    Probe(UserProbe),
}

/// The users of a domain are asked of its mail server, by RCPT in a transaction that ends there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserProbe {
    pub server: Smarthost,
    /// How long an address that was found need not be asked for again.
    pub found: Span,
    /// The same of one that was not.
    pub not_found: Span,
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

/// How long what is known of an event outlives it (bridge 3).
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ledger {
    /// After its end, or the last traffic when that is later.
    pub keep: Span,
    /// After the last traffic, for an event of which no end is known.
    pub keep_endless: Span,
}

impl Ledger {
    pub fn retention(self) -> Retention {
        Retention { ended: self.keep.0, endless: self.keep_endless.0 }
    }
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

    /// Whether this is the relay's server-id, or was.
    pub fn is_own_name(&self, name: &str) -> bool {
        [&self.server_id].into_iter().chain(&self.server_id_aliases).any(|id| id.as_str().eq_ignore_ascii_case(name))
    }

    /// Where reply and gateway addresses live.
    pub fn mail_domain(&self) -> &ServerId {
        self.mail.domain.as_ref().unwrap_or(&self.server_id)
    }

    pub fn control_socket(&self) -> PathBuf {
        self.control_socket.clone().unwrap_or_else(|| self.data_dir.join("control.sock"))
    }

    /// The local domain of this name, if it is one. [`load`] gives a file without any `[[domain]]` its server-id as one.
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
