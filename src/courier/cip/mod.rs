//! The CIP courier: one command for one server-id, delivered over a kept or a new connection (profile 2, 3, 7).
//!
//! Invariants: [`CipCourier::deliver`] only ever talks to servers that were located or configured for the server-id it
//! was given, so that whoever reads its answer may trust a `REDIRECT` for that server-id's users and for nobody else's;
//! [`CipResult::Unreachable`] means that no server got the end of the data; once the data has ended, only an answer or
//! [`CipResult::Uncertain`] comes back. Dropping the future closes the connection that it used.

mod connection;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

pub use connection::{Dialog, Said, Timeouts};

use self::connection::{Command, Connection, NotOpened, Reply};
use super::memory::{Pool, Times};
use super::{CipResult, CipVerb, FreeBusyResult, Unreachable};
use crate::cip::response::{Answer, code};
use crate::clock::{Clock, Timestamp};
use crate::config::{Peer, TlsUse};
use crate::ident::ServerId;
use crate::locate::{LocateError, Located, Locator, NotLocated};
use crate::wire;

/// For how long "nothing there speaks CIP" is believed (profile 7).
const SILENT_FOR: Duration = Duration::from_hours(1);
/// For how long "CIP worked there" counts as a promise. A domain that gave CIP up is reached by e-mail without waiting
/// from then on.
pub(crate) const KNOWN_FOR: Duration = Duration::from_hours(30 * 24);
/// Servers remembered of each kind.
const REMEMBERED: usize = 65_536;
/// Addresses tried for one delivery, over all candidates.
const MAX_ATTEMPTS: usize = 10;
/// Octets of a password file.
const MAX_PASSWORD_FILE: usize = 4096;

/// See the module's words. Clones share connections and memory.
#[derive(Clone)]
pub struct CipCourier {
    locator: Locator,
    clock: Arc<dyn Clock>,
    timeouts: Timeouts,
    dialog: Option<Dialog>,
    idle: Arc<Pool<Connection>>,
    known: Arc<Times>,
    silent: Arc<Times>,
}

enum Outcome {
    Reply(Reply),
    Uncertain(String),
    Unreachable { why: Unreachable, detail: String },
}

/// What the attempts at one delivery amount to so far.
#[derive(Default)]
struct Attempts {
    notes: Vec<String>,
    made: usize,
    /// Some server speaks CIP, or the failure was ours: not silence, whatever else was found.
    temporary: bool,
}

impl CipCourier {
    /// A courier that goes by the locator's configuration.
    pub fn new(locator: Locator, clock: Arc<dyn Clock>) -> Self {
        let timeouts = Timeouts::new(locator.config().delivery.connect_timeout.0);
        Self {
            locator,
            clock,
            timeouts,
            dialog: None,
            idle: Pool::new(timeouts.idle),
            known: Arc::new(Times::new(KNOWN_FOR, REMEMBERED)),
            silent: Arc::new(Times::new(SILENT_FOR, REMEMBERED)),
        }
    }

    /// Other patience than the profile's.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self.idle = Pool::new(timeouts.idle);
        self
    }

    /// Shows the octets of every connection made from now on.
    #[must_use]
    pub fn dialog(mut self, dialog: Dialog) -> Self {
        self.dialog = Some(dialog);
        self.idle = Pool::new(self.timeouts.idle);
        self
    }

    /// When CIP last worked for this server-id, within the last 30 days.
    pub fn known_cip(&self, server: &ServerId) -> Option<Timestamp> {
        self.known.get(&server.key(), self.clock.now())
    }

    /// Puts back what [`CipCourier::known_cip`] gave before a restart.
    pub fn remember_cip(&self, server: &ServerId, at: Timestamp) {
        self.known.set(server.key(), at);
    }

    /// Sends one object to the server of `server`, located or configured for exactly that server-id: an answer has
    /// authority over its users, and a `REDIRECT` of anybody else's in it has none (profile 3). An object that CIP cannot carry (a lone CR or LF, a NUL) is answered
    /// `NO 001` here, without a connection: that is what the server would say.
    pub async fn deliver(&self, server: &ServerId, verb: CipVerb, object: &[u8]) -> CipResult {
        let command = match verb {
            CipVerb::SendEvent => Command::SendEvent(object),
            CipVerb::Rsvp => Command::Rsvp(object),
        };
        // Boxed: the future holds a whole conversation, and whoever awaits it would hold it again.
        match Box::pin(self.run(server, command, object)).await {
            Outcome::Reply(reply) => CipResult::Answered(reply.answer().clone()),
            Outcome::Uncertain(why) => CipResult::Uncertain(why),
            Outcome::Unreachable { why, detail } => CipResult::Unreachable { why, detail },
        }
    }

    /// Asks the server of `server` for free/busy times. Nothing is stored by that, so that an answer that never came
    /// is as good as a server that is down.
    pub async fn free_busy(&self, server: &ServerId, request: &[u8]) -> FreeBusyResult {
        match Box::pin(self.run(server, Command::FreeBusy(request), request)).await {
            Outcome::Reply(Reply::FreeBusy(answer)) => FreeBusyResult::Answered(answer),
            Outcome::Reply(Reply::Answer(answer)) => FreeBusyResult::Answered(crate::cip::response::FreeBusyAnswer { data: None, answer }),
            Outcome::Uncertain(detail) => FreeBusyResult::Unreachable { why: Unreachable::Down, detail },
            Outcome::Unreachable { why, detail } => FreeBusyResult::Unreachable { why, detail },
        }
    }

    async fn run(&self, server: &ServerId, command: Command<'_>, octets: &[u8]) -> Outcome {
        if wire::has_lone_cr_or_lf(octets) || octets.contains(&0) {
            let words = "The object holds a lone CR or LF, or a NUL, and was not sent.";
            return Outcome::Reply(Reply::Answer(Answer::no(code::BAD, words)));
        }
        let peer = self.locator.config().peer(server);
        if peer.is_some_and(|p| p.tls == TlsUse::Required) {
            let detail = format!("the configuration requires TLS for {server}, and this program speaks CIP in clear text only");
            return Outcome::Unreachable { why: Unreachable::Refused, detail };
        }
        if let Some(outcome) = self.over_idle(server, command).await {
            return outcome;
        }
        let mut rng = StdRng::from_rng(&mut rand::rng());
        match self.locator.locate(server, &mut rng).await {
            Ok(located) => self.over_new(server, peer, &located, command).await,
            Err(error) => self.not_located(server, error),
        }
    }

    /// Over a kept connection. `None`: there is none, or the server had closed it and did not get the end of the data.
    async fn over_idle(&self, server: &ServerId, command: Command<'_>) -> Option<Outcome> {
        let key = server.key();
        while let Some(mut connection) = self.idle.take(&key) {
            if !connection.is_fresh().await {
                continue;
            }
            return match connection.command(command, &self.timeouts).await {
                // It had been idle for too long: NO, so that nobody has the object.
                Ok(reply) if reply.closing() && reply.answer().infos.is_empty() => None,
                Ok(reply) => Some(self.done(server, connection, reply)),
                Err(broken) if broken.ended => Some(Outcome::Uncertain(broken.why)),
                Err(_) => None,
            };
        }
        None
    }

    async fn over_new(&self, server: &ServerId, peer: Option<&Peer>, located: &Located, command: Command<'_>) -> Outcome {
        let now = self.clock.now();
        let promised = located.promised || self.known.get(&server.key(), now).is_some();
        if !promised && self.silent.get(&server.key(), now).is_some() {
            let detail = format!("nothing at {server} spoke CIP within the last hour");
            return Outcome::Unreachable { why: Unreachable::Silent, detail };
        }
        let mut attempts = Attempts::default();
        for candidate in &located.candidates {
            for &address in &candidate.addresses {
                let what = format!("{} ({address} port {})", candidate.host, candidate.port);
                if attempts.made == MAX_ATTEMPTS {
                    attempts.notes.push(format!("{what} and what follows was not tried"));
                    return self.all_failed(server, promised, &attempts);
                }
                attempts.made += 1;
                if let Some(outcome) =
                    self.attempt(server, peer, promised, (address, candidate.port).into(), command, &what, &mut attempts).await
                {
                    return outcome;
                }
            }
        }
        self.all_failed(server, promised, &attempts)
    }

    /// One address. `None`: the next one may be tried; why stands in `attempts`.
    #[expect(clippy::too_many_arguments, reason = "the inner body of two loops")]
    async fn attempt(
        &self,
        server: &ServerId,
        peer: Option<&Peer>,
        promised: bool,
        to: SocketAddr,
        command: Command<'_>,
        what: &str,
        attempts: &mut Attempts,
    ) -> Option<Outcome> {
        let mut connection = match Connection::open(to, promised, &self.timeouts, self.dialog.clone()).await {
            Ok(connection) => connection,
            Err(NotOpened::Unreachable(why)) => {
                attempts.notes.push(format!("{what}: {why}"));
                return None;
            }
            Err(NotOpened::Busy(why) | NotOpened::Local(why)) => {
                attempts.temporary = true;
                attempts.notes.push(format!("{what}: {why}"));
                return None;
            }
        };
        self.known.set(server.key(), self.clock.now());
        self.silent.forget(&server.key());
        attempts.temporary = true;
        // AUTHENTICATE TLS belongs here: before any password, and before any object where the peer requires it.
        match self.authenticate(peer, &mut connection).await {
            Ok(()) => {}
            Err((Unreachable::Refused, why)) => {
                return Some(Outcome::Unreachable { why: Unreachable::Refused, detail: format!("{what}: {why}") });
            }
            Err((_, why)) => {
                attempts.notes.push(format!("{what}: {why}"));
                return None;
            }
        }
        match connection.command(command, &self.timeouts).await {
            Ok(reply) => Some(self.done(server, connection, reply)),
            Err(broken) if broken.ended => Some(Outcome::Uncertain(format!("{what}: {}", broken.why))),
            Err(broken) => {
                attempts.notes.push(format!("{what}: {}", broken.why));
                None
            }
        }
    }

    /// Logs in where the configuration has an identity for the peer. A refusal is for the administrator to solve; all
    /// else is temporary.
    async fn authenticate(&self, peer: Option<&Peer>, connection: &mut Connection) -> Result<(), (Unreachable, String)> {
        let Some((identity, file)) = peer.and_then(|p| Some((p.identity.as_deref()?, p.password_file.as_deref()?))) else {
            return Ok(());
        };
        let down = |why: String| (Unreachable::Down, why);
        let content = std::fs::read(file).map_err(|e| down(format!("the password file {} cannot be read: {e}", file.display())))?;
        if content.len() > MAX_PASSWORD_FILE {
            return Err(down(format!("the password file {} is longer than {MAX_PASSWORD_FILE} octets", file.display())));
        }
        let password = content.split(|&b| b == b'\n').next().unwrap_or_default();
        let password = password.strip_suffix(b"\r").unwrap_or(password);
        let answer = connection.login(identity, password, &self.timeouts).await;
        let answer = answer.map_err(|why| down(format!("AUTHENTICATE as {identity}: {why}")))?;
        let completion = answer.completion;
        if completion.ok {
            return Ok(());
        }
        let why = format!("the server refused the login of {identity}: NO {:03} {}", completion.code, completion.text);
        Err(match completion.code {
            code::BUSY | code::CLOSING => down(why),
            _ => (Unreachable::Refused, why),
        })
    }

    /// Keeps the connection unless the server closes it.
    fn done(&self, server: &ServerId, connection: Connection, reply: Reply) -> Outcome {
        if !reply.closing() {
            self.idle.put(&server.key(), connection);
        }
        Outcome::Reply(reply)
    }

    fn all_failed(&self, server: &ServerId, promised: bool, attempts: &Attempts) -> Outcome {
        let detail = attempts.notes.join("; ");
        let why = if promised || attempts.temporary {
            Unreachable::Down
        } else {
            self.silent.set(server.key(), self.clock.now());
            Unreachable::Silent
        };
        Outcome::Unreachable { why, detail }
    }

    fn not_located(&self, server: &ServerId, error: LocateError) -> Outcome {
        let why = match error.why {
            NotLocated::NoCip => Unreachable::NoCip,
            NotLocated::NoAddress if self.known_cip(server).is_none() => Unreachable::Silent,
            NotLocated::NoAddress | NotLocated::Down => Unreachable::Down,
            NotLocated::Dns => Unreachable::Dns,
            NotLocated::Refused => Unreachable::Refused,
        };
        Outcome::Unreachable { why, detail: error.detail }
    }
}
