//! The sink: a server that takes messages and writes down each one before it acknowledges it.
//!
//! Invariants: a message is acknowledged only when it has been given to the ledger; one that is refused or whose
//! connection is dropped is not in the ledger, since the relay keeps it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cip_relay::cip::response::{Answer, Info, code};
use cip_relay::cip::server as cip;
use cip_relay::ident::UserId;
use cip_relay::smtp::{self, MailReply};
use clap::Args;
use mail_parser::{MessageParser, MimeHeaders};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::ledger::{Line, Writer};
use super::{LoadError, Protocol, duration, message, rate, seconds_now, stopped};

const HOSTNAME: &str = "sink.load.example";
const MAX_MESSAGE: usize = 64 << 20;
/// After an `accept` that failed: too many open files, as a rule.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub struct Options {
    /// What is spoken.
    #[arg(long, value_enum)]
    protocol: Protocol,
    /// Where to listen: ADDRESS:PORT.
    listen: SocketAddr,
    /// The wait before each answer to a message.
    #[arg(long, value_parser = duration, default_value = "0ms")]
    delay: Duration,
    /// The share of messages, 0 to 1, that are refused for now.
    #[arg(long, value_parser = share, default_value_t = 0.0)]
    refuse: f64,
    /// The share of messages, 0 to 1, after which the connection is dropped without an answer.
    #[arg(long, value_parser = share, default_value_t = 0.0)]
    drop: f64,
    /// Accept connections and never say anything.
    #[arg(long)]
    black_hole: bool,
    /// End after this many deliveries (a message and one of its recipients).
    #[arg(long)]
    expect: Option<u64>,
    /// Append a line for each acknowledged message to this file.
    #[arg(long)]
    ledger: Option<PathBuf>,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("{text:?} is no share; write a number from 0 to 1, such as 0.1"))
}

/// What was taken.
#[derive(Debug, Default, Serialize)]
pub struct Taken {
    pub connections: u64,
    pub messages: u64,
    /// Messages times recipients.
    pub deliveries: u64,
    pub refused: u64,
    pub dropped: u64,
    /// Messages that the source did not make, refused for good.
    pub strange: u64,
    /// When the first and the last message were taken, seconds since 1970.
    pub first: f64,
    pub last: f64,
    /// Deliveries a second between the two.
    pub rate: f64,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, messages, deliveries, refused, dropped, strange, rate, .. } = self;
        write!(
            f,
            "{deliveries} deliveries in {messages} messages over {connections} connections, {rate:.0}/s; refused {refused}, \
             dropped {dropped}, strange {strange}"
        )
    }
}

struct Shared {
    options: Options,
    ledger: Writer,
    taken: Mutex<Taken>,
    /// Enough has come, or the ledger has failed.
    done: Notify,
    failed: Mutex<Option<LoadError>>,
}

/// What becomes of a message.
enum Fate {
    Take,
    Later,
    Drop,
    /// Nothing that the source has made.
    Strange,
}

pub async fn run(options: Options, stop: watch::Receiver<bool>) -> Result<Taken, LoadError> {
    let listener = TcpListener::bind(options.listen).await.map_err(LoadError::io(options.listen))?;
    eprintln!("listening on {}", listener.local_addr().map_err(LoadError::io(options.listen))?);
    let ledger = Writer::open(options.ledger.as_deref())?;
    let shared = Arc::new(Shared { options, ledger, taken: Mutex::new(Taken::default()), done: Notify::new(), failed: Mutex::new(None) });
    let mut sessions = JoinSet::new();
    let end = stopped(stop);
    tokio::pin!(end);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    lock(&shared.taken).connections += 1;
                    sessions.spawn(session(shared.clone(), stream));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
            Some(_) = sessions.join_next() => {}
            () = &mut end => break,
            () = shared.done.notified() => break,
        }
    }
    sessions.shutdown().await;
    let shared = Arc::into_inner(shared).expect("every session has ended");
    if let Some(error) = shared.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    shared.ledger.finish()?;
    let mut taken = shared.taken.into_inner().unwrap_or_else(PoisonError::into_inner);
    taken.rate = rate(taken.deliveries, taken.last - taken.first);
    Ok(taken)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn session(shared: Arc<Shared>, stream: TcpStream) {
    if shared.options.black_hole {
        // Read, so that the end of the other side's patience shows.
        let mut stream = stream;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        return;
    }
    let _ = stream.set_nodelay(true);
    // A peer that goes in the middle is the relay's affair: it keeps what was not acknowledged.
    let _ = match shared.options.protocol {
        Protocol::Cip => cip_session(&shared, stream).await,
        Protocol::Smtp => smtp_session(&shared, stream).await,
    };
}

impl Shared {
    /// Decides on a message; when it is to be taken it has been, on return.
    async fn message(&self, line: Option<Line>) -> Fate {
        if !self.options.delay.is_zero() {
            tokio::time::sleep(self.options.delay).await;
        }
        let Some(line) = line.filter(|line| !line.recipients.is_empty()) else {
            lock(&self.taken).strange += 1;
            return Fate::Strange;
        };
        let chance: f64 = rand::random();
        if chance < self.options.refuse {
            lock(&self.taken).refused += 1;
            return Fate::Later;
        }
        if chance < self.options.refuse + self.options.drop {
            lock(&self.taken).dropped += 1;
            return Fate::Drop;
        }
        if let Err(error) = self.ledger.add(&line) {
            lock(&self.failed).get_or_insert(error);
            self.done.notify_one();
            return Fate::Later;
        }
        let mut taken = lock(&self.taken);
        taken.last = seconds_now();
        if taken.messages == 0 {
            taken.first = taken.last;
        }
        taken.messages += 1;
        taken.deliveries += line.recipients.len() as u64;
        if self.options.expect.is_some_and(|expected| taken.deliveries >= expected) {
            self.done.notify_one();
        }
        Fate::Take
    }
}

async fn cip_session(shared: &Shared, mut stream: TcpStream) -> std::io::Result<()> {
    let settings = cip::SessionSettings { hostname: HOSTNAME.to_owned(), max_event_size: MAX_MESSAGE, allow_plaintext_login: false };
    let mut session = cip::ServerSession::new(settings);
    let mut octets = vec![0; 16 << 10];
    loop {
        while let Some(step) = session.next() {
            let answer = match step {
                cip::Step::Send(out) => {
                    stream.write_all(&out).await?;
                    continue;
                }
                cip::Step::Close(out) => return stream.write_all(&out).await,
                cip::Step::SendEvent(object) => {
                    let line = message::read(&object);
                    let users = line.as_ref().map(|line| line.recipients.clone()).unwrap_or_default();
                    match shared.message(line).await {
                        Fate::Take => {
                            let infos = users.iter().filter_map(|user| UserId::parse(user).ok()).map(Info::Tentative).collect();
                            Answer { infos, ..Answer::ok(code::NONE, "") }
                        }
                        Fate::Later => Answer::no(code::BUSY, "Not now."),
                        Fate::Strange => Answer::no(code::BAD, "This is no message of the source."),
                        Fate::Drop => return Ok(()),
                    }
                }
                _ => Answer::no(code::BAD, "This server takes SENDEVENT alone."),
            };
            if let cip::Step::Send(out) | cip::Step::Close(out) = session.answered(&answer) {
                stream.write_all(&out).await?;
            }
        }
        let n = stream.read(&mut octets).await?;
        if n == 0 {
            return Ok(());
        }
        session.feed(&octets[..n]);
    }
}

async fn smtp_session(shared: &Shared, mut stream: TcpStream) -> std::io::Result<()> {
    let rules = smtp::Rules { hostname: HOSTNAME.to_owned(), protocol: smtp::Protocol::Smtp, max_message: MAX_MESSAGE };
    let mut session = smtp::ServerSession::new(rules);
    let mut octets = vec![0; 16 << 10];
    loop {
        match session.step() {
            smtp::Step::Read => {
                let n = stream.read(&mut octets).await?;
                if n == 0 {
                    return Ok(());
                }
                session.receive(&octets[..n]);
            }
            smtp::Step::Send(out) => stream.write_all(&out).await?,
            smtp::Step::Ready => session.ready(Ok(())),
            smtp::Step::Recipient { .. } => session.recipient(&MailReply::new(250, "2.1.5", "ok")),
            smtp::Step::Message { envelope, octets } => {
                let recipients: Vec<String> = envelope.recipients.iter().map(|user| user.to_ascii_lowercase()).collect();
                let count = recipients.len();
                let line = calendar(&octets).as_deref().and_then(message::read).map(|line| Line { recipients, ..line });
                let reply = match shared.message(line).await {
                    Fate::Take => MailReply::new(250, "2.0.0", "taken"),
                    Fate::Later => MailReply::new(451, "4.3.0", "not now"),
                    Fate::Strange => MailReply::new(554, "5.6.0", "this is no message of the source"),
                    Fate::Drop => return Ok(()),
                };
                session.message(vec![reply; count]);
            }
            smtp::Step::Close => return Ok(()),
        }
    }
}

/// The first calendar object in a mail.
fn calendar(mail: &[u8]) -> Option<Vec<u8>> {
    let mail = MessageParser::default().parse(mail)?;
    let part = mail.parts.iter().find(|part| part.is_content_type("text", "calendar"))?;
    Some(part.contents().to_vec())
}
