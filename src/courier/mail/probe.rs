//! The question whether a mail server takes mail for an address: MAIL and RCPT, and then RSET in place of the message.
//!
//! Invariant: only a permanent refusal of the address itself says that there is none. A refusal of us (5.7: policy, and
//! 5.3, 5.5: the server, the protocol), of the null sender or of the session says nothing about the address, and a full
//! mailbox (5.2.2) is one.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::hop::{self, Hop};
use super::is_path;
use super::session::{Manner, Probed, Said, Session, Timeouts};
use super::tls::Tls;
use crate::config::{Config, Smarthost};
use crate::courier::memory::Pool;
use crate::ident::UserId;
use crate::policy::verify::{Ask, Told};
use crate::resolver::Resolver;

/// A mail server that knows its users is near: it has not the minutes that RFC 5321 gives to strangers.
const STEP: Duration = Duration::from_secs(5);
/// How long a connection is kept for the next question.
const IDLE: Duration = Duration::from_secs(5);

/// Asks mail servers. Keeps connections for the next question.
pub struct Probe {
    resolver: Resolver,
    hello: String,
    timeouts: Timeouts,
    tls: Tls,
    idle: Arc<Pool<Session>>,
}

impl Probe {
    pub fn new(config: &Config, resolver: Resolver) -> Self {
        let timeouts =
            Timeouts { connect: STEP.min(config.delivery.connect_timeout.0), greeting: STEP, command: STEP, data: STEP, idle: IDLE };
        Self { resolver, hello: config.host_name(), timeouts, tls: Tls::default(), idle: Pool::new(IDLE) }
    }

    async fn question(&self, server: &Smarthost, address: &UserId) -> Told {
        let key = format!("{}:{}", server.host, server.port);
        let address = address.to_string();
        if !is_path(&address) {
            return Told::NotFound;
        }
        if let Some(session) = self.idle.take(&key)
            && session.is_fresh().await
            && let Some(told) = self.over(&key, session, &address).await.ok()
        {
            return told;
        }
        match self.open(server).await {
            Ok(session) => self.over(&key, session, &address).await.unwrap_or_else(Told::Unreachable),
            Err(why) => Told::Unreachable(why),
        }
    }

    /// Asks over one session, and keeps it or ends it. `Err`: nothing can be asked over it.
    async fn over(&self, key: &str, mut session: Session, address: &str) -> Result<Told, String> {
        // A server that cannot be told the address has no such mailbox.
        let told = if session.can_say(address) {
            match session.probe(address).await {
                Probed::Said(said) => judged(&said),
                Probed::Silent(why) => return Ok(Told::Later(why)),
                Probed::Lost(why) => return Err(why),
            }
        } else {
            Told::NotFound
        };
        self.shelve(key, session).await;
        Ok(told)
    }

    async fn shelve(&self, key: &str, session: Session) {
        if session.reusable() {
            self.idle.put(key, session);
        } else {
            session.quit().await;
        }
    }

    async fn open(&self, server: &Smarthost) -> Result<Session, String> {
        let hosts = match hop::smarthost(&self.resolver, server).await {
            Hop::Hosts(hosts) => hosts,
            Hop::Later(why) | Hop::Failed { detail: why, .. } => return Err(why),
        };
        let mut last = format!("{} has no address", server.host);
        // Collected: held across an await, the lazy one makes this a future that cannot be boxed.
        let all: Vec<_> = hosts.iter().flat_map(|host| host.addresses.iter().map(move |ip| (host, *ip))).collect();
        for (host, ip) in all {
            let manner = Manner {
                hello: &self.hello,
                host: &host.name,
                tls: server.tls,
                implicit_tls: server.implicit_tls,
                timeouts: &self.timeouts,
                client: &self.tls,
            };
            match Session::open(SocketAddr::new(ip, server.port), manner).await {
                Ok(session) => return Ok(session),
                Err(why) => last = format!("{} ({ip}): {why}", host.name),
            }
        }
        Err(last)
    }
}

impl Ask for Probe {
    fn ask<'a>(&'a self, server: &'a Smarthost, address: &'a UserId) -> Pin<Box<dyn Future<Output = Told> + Send + 'a>> {
        Box::pin(self.question(server, address))
    }
}

/// What the reply to RCPT says of the address.
fn judged(said: &Said) -> Told {
    let class = said.enhanced.split('.').nth(1).unwrap_or("0");
    match said.code {
        250..260 => Told::Found,
        500..600 if said.enhanced == "5.2.2" => Told::Found,
        500..600 if !matches!(class, "3" | "5" | "7") => Told::NotFound,
        _ => Told::Later(said.words.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_of_the_address_says_that_there_is_none() {
        let table = [
            (250, "2.1.5", "found"),
            (251, "2.0.0", "found"),
            (550, "5.1.1", "not found"),
            (550, "5.0.0", "not found"),
            (550, "5.4.1", "not found"),
            (553, "5.1.3", "not found"),
            (550, "5.2.1", "not found"),
            (552, "5.2.2", "found"),
            (554, "5.7.1", "later"),
            (503, "5.5.1", "later"),
            (450, "4.1.1", "later"),
            (354, "2.0.0", "later"),
        ];
        for (code, enhanced, expected) in table {
            let said = Said { code, enhanced: enhanced.to_owned(), words: String::new() };
            let found = match judged(&said) {
                Told::Found => "found",
                Told::NotFound => "not found",
                Told::Later(_) | Told::Unreachable(_) => "later",
            };
            assert_eq!(found, expected, "{code} {enhanced}");
        }
    }
}
