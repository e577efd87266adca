//! The mail courier: one message for recipients of one domain, to the smarthost or the domain's mail servers.
//!
//! Invariants: each recipient gets exactly one result; a message that a server may have taken is not offered to another
//! one in the same attempt; a connection is used again only after a whole, orderly transaction, and never after its
//! future was dropped; what DNS gives obeys the rule of `locate::Targets`; the message goes out octet for octet.

mod guard;
mod hop;
mod probe;
mod session;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;

pub use self::probe::Probe;
pub use self::session::Timeouts;

use self::hop::{Hop, Host};
use self::session::{Mail, Manner, Said, Session, Transaction};
use self::tls::Tls;
use super::MailResult;
use super::memory::Pool;
use crate::config::{Config, Smarthost, TlsUse};
use crate::ident::ServerId;
use crate::locate::Targets;
use crate::resolver::Resolver;
use crate::wire;

/// Addresses tried for one message, over all hosts.
const MAX_ATTEMPTS: usize = 10;
/// Servers that greeted and then said "not now" before the message waits: more of the same domain say the same.
const MAX_SESSIONS: usize = 2;

/// See the module's words. Clones share connections.
#[derive(Clone)]
pub struct MailCourier {
    resolver: Resolver,
    targets: Targets,
    smarthost: Option<Smarthost>,
    hello: String,
    port: u16,
    timeouts: Timeouts,
    tls: Arc<Tls>,
    idle: Arc<Pool<Kept>>,
}

/// A kept session, and whom it is with.
struct Kept {
    session: Session,
    host: String,
}

/// What a transaction means for the message.
enum Verdict {
    Final(Vec<MailResult>),
    /// Another server may be tried; why.
    Next(String),
}

impl MailCourier {
    pub fn new(config: &Config, resolver: Resolver) -> Self {
        let timeouts = Timeouts::new(config.delivery.connect_timeout.0);
        Self {
            resolver,
            targets: Targets::mail(config),
            smarthost: config.mail.smarthost.clone(),
            hello: config.host_name(),
            port: 25,
            timeouts,
            tls: Arc::default(),
            idle: Pool::new(timeouts.idle),
        }
    }

    /// Other patience than the RFC's.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self.idle = Pool::new(timeouts.idle);
        self
    }

    /// Another port than 25 at servers found by MX, for a network of one's own.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Sends one message; one result per recipient, in their order. `message` has CRLF lines; a lone CR or LF in it is
    /// refused (`5.6.0`), since it would not arrive as it is. `sender` may be `""`, the null sender.
    pub async fn deliver(&self, domain: &ServerId, sender: &str, recipients: &[String], message: &[u8]) -> Vec<MailResult> {
        let all = |code: &str, detail: &str| vec![failed(code, detail.to_owned()); recipients.len()];
        if wire::has_lone_cr_or_lf(message) {
            return all("5.6.0", "the message holds a CR or LF that is not part of CRLF");
        }
        if !(sender.is_empty() || is_path(sender)) {
            return all("5.1.7", "the sender's address cannot be said in SMTP");
        }
        let good: Vec<String> = recipients.iter().filter(|r| is_path(r)).cloned().collect();
        if good.is_empty() {
            return all("5.1.3", "the address cannot be said in SMTP");
        }
        // Boxed: the future holds a whole conversation, and whoever awaits it would hold it again.
        let mut results = Box::pin(self.send(domain, Mail { sender, recipients: &good, message })).await.into_iter();
        let bad = || failed("5.1.3", "the address cannot be said in SMTP".to_owned());
        recipients.iter().map(|r| if is_path(r) { results.next().unwrap_or_else(bad) } else { bad() }).collect()
    }

    async fn send(&self, domain: &ServerId, mail: Mail<'_>) -> Vec<MailResult> {
        let key = if self.smarthost.is_some() { "smarthost".to_owned() } else { domain.key() };
        while let Some(kept) = self.idle.take(&key) {
            if !kept.session.is_fresh().await {
                continue;
            }
            if let Verdict::Final(results) = self.over(&key, kept, mail).await {
                return results;
            }
            break;
        }
        let hop = if let Some(smarthost) = &self.smarthost {
            hop::smarthost(&self.resolver, smarthost).await
        } else {
            let mut rng = StdRng::from_rng(&mut rand::rng());
            hop::of_domain(&self.resolver, &self.targets, domain, self.port, &mut rng).await
        };
        match hop {
            Hop::Hosts(hosts) => self.to(&key, &hosts, mail).await,
            Hop::Later(detail) => vec![MailResult::Later { detail, hop_down: true, uncertain: false }; mail.recipients.len()],
            Hop::Failed { code, detail } => vec![failed(code, detail); mail.recipients.len()],
        }
    }

    /// The hosts in their order, each at its addresses, until one decides.
    async fn to(&self, key: &str, hosts: &[Host], mail: Mail<'_>) -> Vec<MailResult> {
        let mut notes = Vec::new();
        let mut sessions = 0;
        // Collected: held across an await, the lazy one makes this a future that cannot be spawned.
        let all: Vec<_> = hosts.iter().flat_map(|host| host.addresses.iter().map(move |&ip| (host, ip))).take(MAX_ATTEMPTS).collect();
        for (host, ip) in all {
            let what = format!("{} ({ip})", host.name);
            let session = match self.open(&host.name, ip).await {
                Ok(session) => session,
                Err(why) => {
                    notes.push(format!("{what}: {why}"));
                    continue;
                }
            };
            sessions += 1;
            match self.over(key, Kept { session, host: host.name.clone() }, mail).await {
                Verdict::Final(results) => return results,
                Verdict::Next(why) => notes.push(format!("{what}: {why}")),
            }
            if sessions == MAX_SESSIONS {
                break;
            }
        }
        vec![MailResult::Later { detail: notes.join("; "), hop_down: sessions == 0, uncertain: false }; mail.recipients.len()]
    }

    async fn open(&self, host: &str, ip: IpAddr) -> Result<Session, String> {
        let (port, tls, implicit_tls) = match &self.smarthost {
            Some(s) => (s.port, s.tls, s.implicit_tls),
            None => (self.port, TlsUse::Opportunistic, false),
        };
        let manner = Manner { hello: &self.hello, host, tls, implicit_tls, timeouts: &self.timeouts, client: &self.tls };
        Session::open(SocketAddr::new(ip, port), manner).await
    }

    /// One transaction; keeps the session, or ends it.
    async fn over(&self, key: &str, mut kept: Kept, mail: Mail<'_>) -> Verdict {
        let recipients = mail.recipients.len();
        let transaction = kept.session.send(mail).await;
        let host = kept.host.clone();
        if kept.session.reusable() {
            self.idle.put(key, kept);
        } else if !matches!(transaction, Transaction::Broken { .. }) {
            kept.session.quit().await;
        }
        match transaction {
            Transaction::Done(verdicts) => Verdict::Final(verdicts.into_iter().map(|v| result(&host, v)).collect()),
            Transaction::Unsuited(code, why) => Verdict::Final(vec![failed(code, format!("{host}: {why}")); recipients]),
            Transaction::Refused(said) => Verdict::Next(said.words),
            Transaction::Broken { in_data: false, why } => Verdict::Next(why),
            // Perhaps taken: another server might deliver it a second time.
            Transaction::Broken { in_data: true, why } => {
                Verdict::Final(vec![MailResult::Later { detail: format!("{host}: {why}"), hop_down: false, uncertain: true }; recipients])
            }
        }
    }
}

fn result(host: &str, verdict: Result<Said, Said>) -> MailResult {
    match verdict {
        Ok(said) => MailResult::Sent { host: host.to_owned(), reply: said.words },
        Err(said) if said.code < 500 => {
            MailResult::Later { detail: format!("{host} said: {}", said.words), hop_down: false, uncertain: false }
        }
        Err(said) => failed(&said.enhanced, format!("{host} said: {}", said.words)),
    }
}

fn failed(code: &str, detail: String) -> MailResult {
    MailResult::Failed { code: code.to_owned(), detail }
}

/// Whether an address can stand between angle brackets: nothing that ends the path or the line, blanks only in a quoted
/// local part.
fn is_path(address: &str) -> bool {
    let quoted = address.starts_with('"');
    let fits = |c: char| !c.is_control() && !"<>".contains(c) && (quoted || !c.is_whitespace());
    let parts = address.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    parts && address.len() <= 512 && address.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_would_break_out_of_their_brackets() {
        for good in ["mary@tiny.com", "\"mary weaver\"@tiny.com", "tom=jumbo.com@cip.tiny.com", "müller@bücher.example"] {
            assert!(is_path(good), "{good:?}");
        }
        for bad in
            ["", "mary", "@tiny.com", "mary@", "a b@c.d", "a@c.d>\r\nRCPT TO:<x@y.z", "a@c.d\n", "a<b@c.d", "a@c.d SIZE=1", "\"a\r\n\"@c.d"]
        {
            assert!(!is_path(bad), "{bad:?}");
        }
        assert!(!is_path(&format!("{}@c.d", "a".repeat(600))));
    }
}
