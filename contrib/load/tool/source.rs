//! The source: many sessions, each sending one message after the other and waiting for its answer.
//!
//! Invariants: a message stands in the ledger only when its answer was read to the end and was positive, and for those
//! recipients alone whom the server took; the messages of a run are numbered once over all sessions, so that none is sent
//! twice except after a failure, and then with the same event-id.

mod cip;
mod smtp;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ledger::{Line, Writer};
use super::message::Plan;
use super::{LoadError, Protocol, duration, rate, seconds_now, stopped};

/// Between two tries of one message.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest latency that is told apart, microseconds.
const LONGEST: u64 = 3_600_000_000;
/// Days from now until the events begin: far enough that no relay hurries them.
const AHEAD: chrono::Days = chrono::Days::new(30);

#[derive(Debug, Args)]
pub struct Options {
    /// What the server speaks.
    #[arg(long, value_enum)]
    protocol: Protocol,
    /// The server: ADDRESS:PORT.
    server: SocketAddr,
    /// Sessions at once.
    #[arg(long, default_value_t = 1)]
    sessions: usize,
    /// Messages in all.
    #[arg(long, default_value_t = 1000)]
    messages: u64,
    /// Begin no message after this time.
    #[arg(long, value_parser = duration)]
    time: Option<Duration>,
    /// Octets of a message: of the object for CIP, of the whole mail for SMTP.
    #[arg(long, default_value_t = 4096)]
    size: usize,
    /// Recipients of each message.
    #[arg(long, default_value_t = 1)]
    recipients: u64,
    /// Destinations that the messages go to by turns.
    #[arg(long, default_value_t = 1)]
    destinations: u64,
    /// The recipients: %d is the number of the destination, %r that of the recipient, from 0.
    #[arg(long, default_value = "user%r@d%d.example")]
    to: String,
    /// The owner of the events, and the sender.
    #[arg(long, default_value = "load@load.example")]
    from: String,
    /// The pause of a session between an answer and the next message.
    #[arg(long, value_parser = duration, default_value = "0ms")]
    think: Duration,
    /// Open a new connection for each message.
    #[arg(long)]
    reconnect: bool,
    /// How long a message that is refused for now, or whose connection fails, is tried again.
    #[arg(long, value_parser = duration, default_value = "0ms")]
    patience: Duration,
    /// How long an answer, or a connection, is waited for.
    #[arg(long, value_parser = duration, default_value = "60s")]
    timeout: Duration,
    /// Append a line for each acknowledged message to this file.
    #[arg(long)]
    ledger: Option<PathBuf>,
}

/// What was sent. Latency is from the first octet of a message (of its connection, with `--reconnect`) to the last of the
/// answer, of acknowledged messages alone.
#[derive(Debug, Serialize)]
pub struct Sent {
    /// Messages that the server acknowledged for at least one recipient.
    pub acknowledged: u64,
    /// Messages that were given up: refused for good, or longer than `--patience` allows.
    pub refused: u64,
    /// Answers that said "not now", and connections that failed; a message may meet several.
    pub postponed: u64,
    pub broken: u64,
    pub seconds: f64,
    /// Acknowledged messages a second.
    pub rate: f64,
    /// Microseconds.
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub max: u64,
    /// Seconds since 1970.
    pub began: f64,
    /// Why a message was refused or put off, or a connection broke: the last word of each kind.
    pub said: Vec<String>,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, refused, postponed, broken, seconds, rate, p50, p90, p99, max, .. } = self;
        write!(
            f,
            "{acknowledged} acknowledged in {seconds:.2} s, {rate:.0}/s; refused {refused}, postponed {postponed}, broken {broken}; \
             latency in microseconds: p50 {p50}, p90 {p90}, p99 {p99}, max {max}"
        )?;
        self.said.iter().try_for_each(|said| write!(f, "\n{said}"))
    }
}

/// What the server made of one message.
#[derive(Debug)]
enum Answer {
    /// Taken for these recipients.
    Taken(Vec<String>),
    Refused(String),
    Later(String),
}

/// Why a connection cannot be used any more.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the server closed the connection")]
    Closed,
    #[error("no answer in time")]
    Timeout,
    #[error("{0}")]
    Protocol(String),
}

enum Connection {
    Cip(cip::Connection),
    Smtp(smtp::Connection),
}

impl Connection {
    async fn open(options: &Options) -> Result<Self, Broken> {
        let stream = tokio::net::TcpStream::connect(options.server).await?;
        stream.set_nodelay(true)?;
        match options.protocol {
            Protocol::Cip => cip::Connection::open(stream).await.map(Self::Cip),
            Protocol::Smtp => smtp::Connection::open(stream).await.map(Self::Smtp),
        }
    }

    async fn send(&mut self, from: &str, line: &Line, octets: &[u8]) -> Result<Answer, Broken> {
        match self {
            Self::Cip(connection) => connection.send(line, octets).await,
            Self::Smtp(connection) => connection.send(from, line, octets).await,
        }
    }
}

/// What all sessions share.
struct Shared {
    options: Options,
    plan: Plan,
    ledger: Writer,
    next: AtomicU64,
    stop: watch::Receiver<bool>,
    began: Instant,
}

/// What one session saw.
struct Session {
    shared: Arc<Shared>,
    connection: Option<Connection>,
    latency: Histogram<u64>,
    refused: u64,
    postponed: u64,
    broken: u64,
    said: [Option<String>; 3],
}

pub async fn run(options: Options, stop: watch::Receiver<bool>) -> Result<Sent, LoadError> {
    if options.sessions == 0 {
        return Err(LoadError::Options("--sessions is 1 at least".to_owned()));
    }
    let now = chrono::Utc::now();
    let plan = Plan {
        protocol: options.protocol,
        run: format!("{:012x}", rand::random::<u64>() >> 16),
        from: options.from.to_ascii_lowercase(),
        to: options.to.clone(),
        destinations: options.destinations,
        recipients: options.recipients.max(1),
        size: options.size,
        day: (now + AHEAD).format("%Y%m%d").to_string(),
        today: now.format("%Y%m%d").to_string(),
    };
    plan.check()?;
    let ledger = Writer::open(options.ledger.as_deref())?;
    let sessions = options.sessions;
    let began_at = seconds_now();
    let shared = Arc::new(Shared { options, plan, ledger, next: AtomicU64::new(0), stop, began: Instant::now() });
    let mut tasks = JoinSet::new();
    for _ in 0..sessions {
        tasks.spawn(Session::new(shared.clone()).run());
    }
    let mut all = Session::new(shared.clone());
    while let Some(done) = tasks.join_next().await {
        all.add(done.expect("a session does not panic")?);
    }
    let seconds = shared.began.elapsed().as_secs_f64();
    let Session { latency, refused, postponed, broken, said, shared: own, .. } = all;
    drop(own);
    Arc::into_inner(shared).map_or(Ok(()), |shared| shared.ledger.finish())?;
    Ok(Sent {
        acknowledged: latency.len(),
        refused,
        postponed,
        broken,
        seconds,
        rate: rate(latency.len(), seconds),
        p50: latency.value_at_quantile(0.5),
        p90: latency.value_at_quantile(0.9),
        p99: latency.value_at_quantile(0.99),
        max: latency.max(),
        began: began_at,
        said: said.into_iter().flatten().collect(),
    })
}

impl Session {
    fn new(shared: Arc<Shared>) -> Self {
        let latency = Histogram::new_with_max(LONGEST, 3).expect("bounds that are valid");
        Self { shared, connection: None, latency, refused: 0, postponed: 0, broken: 0, said: Default::default() }
    }

    fn add(&mut self, other: Self) {
        self.latency.add(&other.latency).expect("the same bounds");
        self.refused += other.refused;
        self.postponed += other.postponed;
        self.broken += other.broken;
        for (own, others) in self.said.iter_mut().zip(other.said) {
            *own = others.or(own.take());
        }
    }

    fn over(&self) -> bool {
        let Shared { options, stop, began, .. } = &*self.shared;
        *stop.borrow() || options.time.is_some_and(|time| began.elapsed() >= time)
    }

    async fn run(mut self) -> Result<Self, LoadError> {
        let shared = self.shared.clone();
        while !self.over() {
            let n = shared.next.fetch_add(1, Ordering::Relaxed);
            if n >= shared.options.messages {
                break;
            }
            let (line, octets) = shared.plan.compose(n);
            self.message(line, &octets).await?;
            if !shared.options.think.is_zero() {
                self.pause(shared.options.think).await;
            }
        }
        Ok(self)
    }

    /// Sends one message until it is taken or given up.
    async fn message(&mut self, mut line: Line, octets: &[u8]) -> Result<(), LoadError> {
        let first = Instant::now();
        loop {
            let start = Instant::now();
            match self.attempt(&line, octets).await {
                Ok(Answer::Taken(recipients)) => {
                    let taken = u64::try_from(start.elapsed().as_micros()).unwrap_or(LONGEST);
                    self.latency.saturating_record(taken);
                    line.recipients = recipients;
                    return self.shared.ledger.add(&line);
                }
                Ok(Answer::Refused(said)) => {
                    self.refused += 1;
                    self.said[0] = Some(format!("refused: {said}"));
                    return Ok(());
                }
                Ok(Answer::Later(said)) => {
                    self.postponed += 1;
                    self.said[1] = Some(format!("postponed: {said}"));
                }
                Err(error) => {
                    self.connection = None;
                    self.broken += 1;
                    self.said[2] = Some(format!("broken: {error}"));
                }
            }
            if self.over() || first.elapsed() >= self.shared.options.patience {
                self.refused += 1;
                return Ok(());
            }
            self.pause(PAUSE).await;
        }
    }

    async fn attempt(&mut self, line: &Line, octets: &[u8]) -> Result<Answer, Broken> {
        let Shared { options, plan, .. } = &*self.shared;
        let connection = &mut self.connection;
        let whole = async {
            if options.reconnect {
                *connection = None;
            }
            let open = match connection {
                Some(open) => open,
                None => connection.insert(Connection::open(options).await?),
            };
            open.send(&plan.from, line, octets).await
        };
        tokio::time::timeout(options.timeout, whole).await.unwrap_or(Err(Broken::Timeout))
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopped(self.shared.stop.clone()) => {}
        }
    }
}
