//! What is wrong with a configuration that reads well: contradictions, ranges, and what the machine does not have.
//!
//! Invariant: nothing here changes anything; a probe file made to see whether a folder is writable is gone afterwards.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::source::Problem;
use super::{Alias, Config, Deliver, Domain, Listen, Peer, RouteRule, TlsUse, UserProbe, Users, split_host_port};
use crate::ident::{ServerId, UserId};
use crate::policy::aliases::{self, Aliases};
use crate::policy::credentials::Credentials;

const EIO: i32 = 5;

/// Everything that can be known to be wrong without starting: [`rules`], and files and folders.
pub fn check(config: &Config) -> Vec<Problem> {
    let mut found = rules(config);
    files(config, &mut found);
    found.sort_by_key(|p| (p.warning, p.position));
    found
}

/// What the text alone shows.
pub(super) fn rules(config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    tls(config, &mut found);
    numbers(config, &mut found);
    listeners(config, &mut found);
    domains(config, &mut found);
    peers(config, &mut found);
    super::free_busy::rules(config, &mut found);
    if config.hostname.as_deref().is_some_and(|name| ServerId::parse(name).is_err()) {
        found.push(config.source.problem("hostname", "is not a domain name; write the host's full name, such as \"cal.tiny.com\""));
    }
    if config.server_id_aliases.contains(&config.server_id) {
        found.push(config.source.problem("server-id-aliases", "names the server-id itself; write the former ones only"));
    }
    let level = &config.log.level;
    let word = ["error", "warn", "info", "debug", "trace", "off"].contains(&level.as_str());
    // A lone unknown word would parse as the name of a module.
    let directives = level.contains('=') && tracing_subscriber::EnvFilter::builder().parse(level).is_ok();
    if !word && !directives {
        let what = format!(
            "{level:?} is not a level; write one of error warn info debug trace off, or directives such as \"info,cip_relay=debug\""
        );
        found.push(config.source.problem("log.level", what));
    }
    found
}

/// TLS has its place in the configuration before it has code: to ignore it would be to promise what is not done.
fn tls(config: &Config, found: &mut Vec<Problem>) {
    let source = &config.source;
    if config.tls.is_some() {
        found.push(source.problem("tls", "this version does not serve TLS over CIP; remove the [tls] table"));
    }
    for (i, peer) in config.peer.iter().enumerate() {
        if peer.tls == TlsUse::Required {
            let what = "this version does not speak TLS over CIP, so \"required\" could never deliver; write \"opportunistic\" or \"never\", or route = \"mail\"";
            found.push(source.problem(&format!("peer[{i}].tls"), what));
        }
    }
}

fn numbers(config: &Config, found: &mut Vec<Problem>) {
    let delivery = &config.delivery;
    let retry = &delivery.retry;
    let positive = [
        ("cip.max-event-size", u128::from(config.cip.max_event_size.0)),
        ("cip.max-sessions", config.cip.max_sessions as u128),
        ("cip.default-port", u128::from(config.cip.default_port)),
        ("cip.idle-timeout", config.cip.idle_timeout.0.as_millis()),
        ("dns.timeout", config.dns.timeout.0.as_millis()),
        ("delivery.workers", delivery.workers as u128),
        ("delivery.per-destination", delivery.per_destination as u128),
        ("delivery.retry.initial", retry.initial.0.as_millis()),
        ("delivery.retry.max", retry.max.0.as_millis()),
        ("delivery.connect-timeout", delivery.connect_timeout.0.as_millis()),
        ("delivery.warn-after", delivery.warn_after.0.as_millis()),
        ("delivery.expire-after", delivery.expire_after.0.as_millis()),
        ("ledger.keep", config.ledger.keep.0.as_millis()),
        ("ledger.keep-endless", config.ledger.keep_endless.0.as_millis()),
        ("storage.cache", u128::from(config.storage.cache.0)),
    ];
    for (key, _) in positive.iter().filter(|(_, value)| *value == 0) {
        found.push(config.source.problem(key, "is zero; write a value above zero, or leave it out for the default"));
    }
    if !(1.0..=1000.0).contains(&retry.multiplier) {
        found.push(config.source.problem("delivery.retry.multiplier", "is not between 1 and 1000; write 2.0 to double each wait"));
    }
    if !(0.0..=1.0).contains(&retry.jitter) {
        found.push(config.source.problem("delivery.retry.jitter", "is not between 0 and 1; write 0.3 for a spread of 30 %"));
    }
    if retry.max < retry.initial {
        found.push(
            config.source.problem("delivery.retry.max", "is shorter than the first wait; write a longer one, or a shorter `initial`"),
        );
    }
}

fn listeners(config: &Config, found: &mut Vec<Problem>) {
    let mail = &config.mail;
    let cip = config.cip.listen.iter().map(|address| ("cip.listen", Listen::Tcp(*address)));
    let all = cip
        .chain(mail.smtp_listen.iter().map(|l| ("mail.smtp-listen", l.clone())))
        .chain(mail.lmtp_listen.iter().map(|l| ("mail.lmtp-listen", l.clone())))
        .chain(mail.inbound_listen.iter().map(|l| ("mail.inbound-listen", l.clone())));
    let mut seen: Vec<(&str, Listen)> = Vec::new();
    for (key, listen) in all {
        let any_port = matches!(&listen, Listen::Tcp(address) if address.port() == 0);
        if let Some((other, _)) = seen.iter().find(|(_, l)| *l == listen && !any_port) {
            let name = match &listen {
                Listen::Tcp(address) => address.to_string(),
                Listen::Unix(path) => path.display().to_string(),
            };
            found.push(config.source.problem(key, format!("{name} already stands in {other}; give each listener an address of its own")));
        }
        seen.push((key, listen));
    }
}

fn domains(config: &Config, found: &mut Vec<Problem>) {
    let source = &config.source;
    let mut names = HashSet::new();
    for (i, domain) in config.domain.iter().enumerate() {
        let key = |rest: &str| format!("domain[{i}].{rest}");
        if !names.insert(domain.name.key()) {
            found.push(source.problem(&key("name"), format!("{} stands in two [[domain]] tables; keep one", domain.name)));
        }
        if let Users::List(list) = &domain.users {
            for name in list.iter().filter(|name| !names_local_user(name, &domain.name)) {
                let what = format!("{name:?} is not a user of {}; write the part before the `@`", domain.name);
                found.push(source.problem(&key("users"), what));
            }
        }
        if let Users::Probe(probe) = &domain.users {
            probe_rules(probe, config, &key("users"), found);
        }
        for (old, new) in &domain.redirects {
            if UserId::new(old, domain.name.clone()).is_err() {
                found.push(source.problem(&key("redirects"), format!("{old:?} is not a local part; write the part before the `@`")));
            }
            match UserId::parse(new) {
                Err(_) => found.push(source.problem(
                    &key("redirects"),
                    format!("{new:?} is not a user-id; write the whole new address, such as \"new.name@other.org\""),
                )),
                Ok(new) if UserId::new(old, domain.name.clone()).is_ok_and(|old| old == new) => {
                    found.push(source.problem(&key("redirects"), format!("{new} leads to itself; remove it")));
                }
                Ok(_) => {}
            }
        }
        alias_rules(domain, config, &key("aliases"), found);
        if domain.deliver == Deliver::Cip {
            match config.peer(&domain.name) {
                Some(peer) if peer.via.is_some() && peer.route != RouteRule::Mail => {}
                Some(peer) if peer.route == RouteRule::Mail => found.push(source.problem(
                    &key("deliver"),
                    format!("\"cip\" contradicts route = \"mail\" of [[peer]] {}; write route = \"cip\" there", peer.server_id),
                )),
                _ => found.push(source.problem(
                    &key("deliver"),
                    format!(
                        "\"cip\" needs the address of the domain's own server; add [[peer]] with server-id = \"{}\" and via = \"HOST:PORT\"",
                        domain.name
                    ),
                )),
            }
        }
    }
}

fn alias_rules(domain: &Domain, config: &Config, key: &str, found: &mut Vec<Problem>) {
    let aliases = Aliases::read(config);
    let problem = |what: String| config.source.problem(key, what);
    for (alias, Alias(members)) in &domain.aliases {
        let Ok(name) = UserId::new(alias, domain.name.clone()) else {
            found.push(problem(format!("{alias:?} is not a local part; write the part before the `@`")));
            continue;
        };
        for member in members.iter().filter(|m| aliases::member(&domain.name, m).is_none()) {
            found.push(problem(format!("{member:?} is neither a local part nor an address; write \"mary\" or \"tom@jumbo.com\"")));
        }
        if members.is_empty() {
            found.push(problem(format!("{alias:?} names nobody; write whom, or remove it")));
        }
        let Some(expansion) = aliases.expand(&name) else { continue };
        // Said once, by the first name of the circle.
        if let Some(circle) = expansion.circle.filter(|c| c.first() == Some(&name) && c.iter().all(|step| name.key() <= step.key())) {
            let steps: Vec<String> = circle.iter().map(ToString::to_string).collect();
            found.push(problem(format!("{} is a circle; take one step out", steps.join(" → "))));
        }
        if expansion.cut {
            let what = format!(
                "{alias:?} leads to more than {} people or through more than {} aliases; a mailing list is for the mail server",
                aliases::PEOPLE,
                aliases::DEPTH
            );
            found.push(problem(what));
        }
    }
}

fn probe_rules(probe: &UserProbe, config: &Config, key: &str, found: &mut Vec<Problem>) {
    let mail = &config.mail;
    let ours = mail.smtp_listen.iter().chain(&mail.inbound_listen).any(|listen| match listen {
        Listen::Tcp(address) => {
            let here = probe.server.host.parse().map_or(probe.server.host == "localhost", |ip: IpAddr| {
                ip == address.ip() || address.ip().is_unspecified() && ip.is_loopback()
            });
            here && address.port() == probe.server.port
        }
        Listen::Unix(_) => false,
    });
    if ours {
        let what = format!(
            "{}:{} is this relay itself; write the address of the mail server that has the users",
            probe.server.host, probe.server.port
        );
        found.push(config.source.problem(key, what));
    }
    if probe.found.0.is_zero() || probe.not_found.0.is_zero() {
        let what = "found and not-found must be above zero, or each recipient would be asked for again; leave them out for the defaults";
        found.push(config.source.problem(key, what));
    }
}

/// A users entry is a local part, or a whole address of the domain.
fn names_local_user(name: &str, domain: &ServerId) -> bool {
    match UserId::parse(name) {
        Ok(user) => user.server() == domain,
        Err(_) => UserId::new(name, domain.clone()).is_ok(),
    }
}

fn peers(config: &Config, found: &mut Vec<Problem>) {
    let source = &config.source;
    let mut names = HashSet::new();
    for (i, peer) in config.peer.iter().enumerate() {
        let key = |rest: &str| format!("peer[{i}].{rest}");
        let name = peer.server_id.strip_prefix("*.").unwrap_or(&peer.server_id);
        if ServerId::parse(name).is_err() {
            let what = format!("{:?} is not a server-id; write \"jumbo.com\", or \"*.example.org\" for every name below", peer.server_id);
            found.push(source.problem(&key("server-id"), what));
        }
        if !names.insert(peer.server_id.to_ascii_lowercase()) {
            found.push(source.problem(&key("server-id"), format!("{} stands in two [[peer]] tables; keep one", peer.server_id)));
        }
        if let Some(via) = &peer.via
            && !matches!(split_host_port(via), Some((_, Some(_))))
        {
            found.push(source.problem(&key("via"), format!("{via:?} is not HOST:PORT; write \"127.0.0.1:7047\" or \"[::1]:7047\"")));
        }
        contradictions(peer, config, &key, found);
    }
}

fn contradictions(peer: &Peer, config: &Config, key: &dyn Fn(&str) -> String, found: &mut Vec<Problem>) {
    let source = &config.source;
    if peer.route == RouteRule::Mail && peer.via.is_some() {
        found.push(source.problem(&key("via"), "is never used with route = \"mail\"; remove one of the two"));
    }
    match (&peer.identity, &peer.password_file) {
        (Some(_), None) => found.push(source.problem(&key("identity"), "needs a password-file beside it")),
        (None, Some(_)) => found.push(source.problem(&key("password-file"), "needs an identity beside it")),
        _ => {}
    }
}

fn files(config: &Config, found: &mut Vec<Problem>) {
    let source = &config.source;
    if let Err((disk, what)) = writable_folder(&config.data_dir) {
        // A disk may be well again later, whatever stands in the file: the start says so in its own words.
        found.push(if disk { config.source.warning("data-dir", what) } else { config.source.problem("data-dir", what) });
    }
    if let Some(path) = &config.control_socket {
        socket_parent(path, "control-socket", config, found);
    }
    let mail = &config.mail;
    for (key, listens) in
        [("mail.smtp-listen", &mail.smtp_listen), ("mail.lmtp-listen", &mail.lmtp_listen), ("mail.inbound-listen", &mail.inbound_listen)]
    {
        for listen in listens {
            if let Listen::Unix(path) = listen {
                socket_parent(path, key, config, found);
            }
        }
    }
    if let Some(path) = &config.cip.credentials {
        match Credentials::load(path) {
            Err(error) => found.push(source.problem("cip.credentials", error.to_string())),
            Ok(_) => secret(path, "cip.credentials", config, found),
        }
    }
    for (i, peer) in config.peer.iter().enumerate() {
        if let Some(path) = &peer.password_file {
            password_file(path, &format!("peer[{i}].password-file"), config, found);
        }
    }
    for (i, domain) in config.domain.iter().enumerate() {
        for (n, source) in domain.free_busy.iter().enumerate() {
            if let Some(path) = &source.password_file {
                password_file(path, &format!("domain[{i}].free-busy[{n}].password-file"), config, found);
            }
        }
    }
    for (i, domain) in config.domain.iter().enumerate() {
        if let Users::File { file } = &domain.users {
            users_file(file, &domain.name, &format!("domain[{i}].users"), config, found);
        }
    }
}

fn password_file(path: &Path, key: &str, config: &Config, found: &mut Vec<Problem>) {
    let source = &config.source;
    match std::fs::read_to_string(path) {
        Err(error) => {
            found.push(source.problem(key, format!("{}: {error}; write the password into it, readable for the relay", path.display())));
        }
        Ok(text) if text.trim_end_matches(['\r', '\n']).is_empty() => {
            found.push(source.problem(key, format!("{} is empty; write the password into it", path.display())));
        }
        Ok(_) => secret(path, key, config, found),
    }
}

/// One local part (or address of the domain) a line; blank lines and `#` comments pass.
fn users_file(file: &Path, domain: &ServerId, key: &str, config: &Config, found: &mut Vec<Problem>) {
    match std::fs::read_to_string(file) {
        Err(error) => found.push(config.source.problem(key, format!("{}: {error}; write one local part a line", file.display()))),
        Ok(text) => {
            let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
            let bad = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#') && !names_local_user(line, domain));
            for (n, line) in bad.take(10) {
                let what = format!("{}:{n}: {line:?} is not a user of {domain}; write the part before the `@`", file.display());
                found.push(config.source.problem(key, what));
            }
        }
    }
}

/// A secret that everybody can read still works; it is worth a word.
fn secret(path: &Path, key: &str, config: &Config, found: &mut Vec<Problem>) {
    if std::fs::metadata(path).is_ok_and(|m| m.mode() & 0o007 != 0) {
        found.push(config.source.warning(key, format!("{0} can be read by everybody; chmod 640 {0}", path.display())));
    }
}

fn socket_parent(path: &Path, key: &str, config: &Config, found: &mut Vec<Problem>) {
    // sockaddr_un holds 108 octets with the final zero.
    if path.as_os_str().len() > 107 {
        found
            .push(config.source.problem(key, format!("{} has more than 107 octets; choose a shorter path for the socket", path.display())));
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The data directory is made at start, and so are sockets in it.
    if !parent.is_dir() && parent != config.data_dir {
        found.push(config.source.problem(key, format!("the folder {} does not exist; create it", parent.display())));
    }
}

/// Whether files can be made in a folder that exists, or in the nearest one above it that does; if not, whether that is the
/// disk's doing (full, read-only, failing), and what to say.
fn writable_folder(folder: &Path) -> Result<(), (bool, String)> {
    let mut here = folder;
    while !here.exists() {
        here = match here.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => break,
        };
    }
    if !here.is_dir() {
        return Err((false, format!("{} is not a folder; name one that this user may write to", here.display())));
    }
    let probe = here.join(format!(".cip-relay-check-{}", std::process::id()));
    let made: std::io::Result<File> = OpenOptions::new().write(true).create_new(true).open(&probe);
    match made {
        Ok(_) => std::fs::remove_file(&probe).map_err(|error| (true, format!("{}: {error}", probe.display()))),
        Err(error) => {
            let disk = error.raw_os_error() == Some(EIO)
                || matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem);
            let cure = if disk { "see to its disk" } else { "give it to the user that runs the relay, or name another folder" };
            Err((disk, format!("{} cannot be written to ({error}); {cure}", here.display())))
        }
    }
}
