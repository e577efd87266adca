//! The values of absent keys. `Config::default()` is what serves when there is no file at all: loopback only, data in
//! the working directory.

use std::net::SocketAddr;
use std::time::Duration;

use super::{
    Cip, Config, Delivery, DmarcUse, Dns, FreeBusy, Ledger, Listen, Log, LogFormat, Mail, NotFound, Organizer, Retry, Size, Source, Span,
    Storage,
};
use crate::ident::ServerId;

const fn span_s(s: u64) -> Span {
    Span(Duration::from_secs(s))
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_id: ServerId::parse("localhost").expect("a domain name"),
            server_id_aliases: Vec::new(),
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
            free_busy: FreeBusy::default(),
            storage: Storage::default(),
            ledger: Ledger::default(),
            log: Log::default(),
            source: Source::default(),
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
            authserv_id: None,
            dmarc: DmarcUse::Enforce,
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

impl Default for FreeBusy {
    fn default() -> Self {
        Self { timeout: span_s(10), max_size: Size(8 << 20) }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self { cache: Size(64 << 20), free_space_minimum: Size(256 << 20), unsafe_without_sync: false }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self { keep: span_s(90 * 86_400), keep_endless: span_s(400 * 86_400) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}
