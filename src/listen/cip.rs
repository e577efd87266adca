//! The CIP listener: accepts TCP connections within limits and drives a [`ServerSession`] on each (profile 1–4).
//!
//! Invariants:
//! - A command's reply is written only after the door's future has completed.
//! - Sessions are at most [`CipSettings::max_sessions`]; whoever comes above that is told `NO 004` and closed.
//! - A session ends within bounds: `idle_timeout` without a complete line (blank lines do not count), an hour for one
//!   object, `idle_timeout` for a client that does not read its answer, ten seconds after shutdown began.
//! - All sessions together hold a bounded number of octets of objects; whoever makes it more is told `NO 004` and closed.
//! - While the relay works on a command nothing is read, so that TCP holds back a client that does not wait its turn.

mod guard;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{Instrument, debug, error, info, info_span, warn};

use self::guard::LoginGuard;
use super::held::{Bound, Held};
use super::{CipClient, CipDoor};
use crate::cip::command::Password;
use crate::cip::response::{Answer, code};
use crate::cip::server::{ServerSession, SessionSettings, Step, refusal};

/// Octets that a closed client may still send meanwhile.
const LINGER_OCTETS: usize = 4 << 20;
/// Connections being told that there are too many; above that they are closed without a word.
const MAX_REFUSALS: usize = 64;
const READ: usize = 16 << 10;

/// What a site decides about its CIP listeners.
#[derive(Clone, Debug)]
pub struct CipSettings {
    /// In the greeting.
    pub hostname: String,
    pub max_sessions: usize,
    /// Without a complete line.
    pub idle_timeout: Duration,
    /// Octets of one object.
    pub max_event_size: usize,
    pub allow_plaintext_login: bool,
}

/// Bounds that no site needs to change.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// For one object from its command to its terminator.
    object: Duration,
    /// For sessions in the middle of a command when shutdown begins.
    grace: Duration,
    /// For a closed client to take its last answer.
    linger: Duration,
}

const BOUNDS: Bounds = Bounds { object: Duration::from_hours(1), grace: Duration::from_secs(10), linger: Duration::from_secs(1) };

/// What all sessions of a listener share.
struct Shared<D> {
    door: Arc<D>,
    settings: CipSettings,
    bounds: Bounds,
    logins: LoginGuard,
    objects: Bound,
}

/// Serves until `shutdown` becomes true (or its sender is gone), then lets the sessions finish and returns: within some
/// eleven seconds. Failures of `accept` are logged and waited out.
pub async fn serve<D: CipDoor>(listener: TcpListener, door: Arc<D>, settings: CipSettings, shutdown: watch::Receiver<bool>) {
    let objects = Bound::new(settings.max_event_size);
    serve_within(BOUNDS, objects, listener, door, settings, shutdown).await;
}

async fn serve_within<D: CipDoor>(
    bounds: Bounds,
    objects: Bound,
    listener: TcpListener,
    door: Arc<D>,
    settings: CipSettings,
    shutdown: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(settings.max_sessions.min(Semaphore::MAX_PERMITS)));
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let shared = Arc::new(Shared { door, settings, bounds, logins: LoginGuard::default(), objects });
    let mut sessions = JoinSet::new();
    let mut stop = shutdown.clone();
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            Some(ended) = sessions.join_next() => {
                log_panic(ended);
                continue;
            }
            accepted = accept(&listener) => accepted,
        };
        let span = info_span!("cip", %peer);
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            let session = Session::new(stream, peer, shared.clone(), shutdown.clone());
            let run = async move {
                session.run().await;
                drop(permit);
            };
            sessions.spawn(run.instrument(span));
        } else if let Ok(permit) = refusals.clone().try_acquire_owned() {
            let run = async move {
                info!("refused: too many sessions");
                finish(stream, &refusal("Too many sessions."), bounds.linger).await;
                drop(permit);
            };
            sessions.spawn(run.instrument(span));
        } else {
            warn!(%peer, "closed: too many sessions");
        }
    }
    drop(listener);
    while let Some(ended) = sessions.join_next().await {
        log_panic(ended);
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(panic) = ended {
        error!(%panic, "a CIP session ended by a bug of this program; the other sessions go on");
    }
}

/// The next connection. Errors of `accept` pass (no file descriptors, a client gone again): 50 ms to 1 s between tries.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut wait = Duration::from_millis(50);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, SocketAddr::new(peer.ip().to_canonical(), peer.port())),
            Err(error) => warn!(%error, ?wait, "accept failed, trying again"),
        }
        sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(1));
    }
}

/// One connection.
struct Session<D> {
    stream: TcpStream,
    protocol: ServerSession,
    client: CipClient,
    shared: Arc<Shared<D>>,
    held: Held,
    shutdown: watch::Receiver<bool>,
    /// Set once shutdown has begun: when this session ends whatever it does.
    last_call: Option<Instant>,
}

/// Why a session ends without a word to the client.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the client closed the connection")]
    Eof,
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the client did not read its answer")]
    NotReading,
    #[error("shutdown: the relay's answer to the client's command did not come in time")]
    CutShort,
}

impl<D: CipDoor> Session<D> {
    fn new(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared<D>>, shutdown: watch::Receiver<bool>) -> Self {
        let CipSettings { hostname, max_event_size, allow_plaintext_login, .. } = shared.settings.clone();
        let protocol = ServerSession::new(SessionSettings { hostname, max_event_size, allow_plaintext_login });
        let client = CipClient { address: peer.ip(), login: None };
        Self { stream, protocol, client, held: shared.objects.part(), shared, shutdown, last_call: None }
    }

    async fn run(mut self) {
        // Answers are written whole; waiting for more would only delay them.
        if let Err(error) = self.stream.set_nodelay(true) {
            debug!(%error, "no TCP_NODELAY");
        }
        if let Err(why) = self.shared.door.ready() {
            info!(%why, "refused: not ready");
            finish(self.stream, &refusal(&why), self.shared.bounds.linger).await;
            return;
        }
        info!("connected");
        let end = self.converse().await;
        // What was in hand goes with the session; the socket may take a little longer.
        self.held.set(0);
        match end {
            Ok(last_words) => {
                info!(last = %crate::wire::decode(&last_words).trim_end(), "closed");
                finish(self.stream, &last_words, self.shared.bounds.linger).await;
            }
            Err(end) => info!(%end, "ended"),
        }
    }

    /// Until the session closes, with what is to be said last.
    async fn converse(&mut self) -> Result<Vec<u8>, End> {
        let idle = self.shared.settings.idle_timeout;
        let Bounds { object, grace, .. } = self.shared.bounds;
        let mut buffer = vec![0; READ];
        let mut idle_at = Instant::now() + idle;
        let mut seen = self.protocol.progress();
        let mut object_at: Option<Instant> = None;
        let mut stop = self.shutdown.clone();
        loop {
            if self.is_stopping() && self.protocol.is_between_commands() {
                return Ok(self.last_words("Shutting down."));
            }
            if let Some(step) = self.protocol.next() {
                self.held.set(self.protocol.held() + step.octets());
                let step = if step.asks() { self.ask(step).await? } else { step };
                match step {
                    Step::Close(out) => return Ok(out),
                    Step::Send(out) => self.write(&out).await?,
                    _ => debug_assert!(false, "an answer that asks"),
                }
                idle_at = Instant::now() + idle;
                object_at = None;
                continue;
            }
            if !self.held.set(self.protocol.held()) {
                warn!("closed: all sessions together hold too much");
                return Ok(match self.protocol.put_off("Too much at once.") {
                    Step::Close(out) => out,
                    _ => Vec::new(),
                });
            }
            if self.protocol.progress() != seen {
                seen = self.protocol.progress();
                idle_at = Instant::now() + idle;
            }
            object_at = if self.protocol.is_in_data() { object_at.or_else(|| Some(Instant::now() + object)) } else { None };
            tokio::select! {
                read = self.stream.read(&mut buffer) => match read? {
                    0 => return Err(End::Eof),
                    n => self.protocol.feed(&buffer[..n]),
                },
                () = sleep_until(idle_at) => return Ok(self.last_words("Idle for too long.")),
                () = until(object_at) => return Ok(self.last_words("The object took too long.")),
                () = until(self.last_call) => return Ok(self.last_words("Shutting down.")),
                _ = stop.wait_for(|stop| *stop), if self.last_call.is_none() => {
                    self.last_call = Some(Instant::now() + grace);
                }
            }
        }
    }

    /// Whether shutdown has begun; the first time it starts the clock of the last call.
    fn is_stopping(&mut self) -> bool {
        // A sender that is gone can say nothing more: `has_changed` is an error then.
        if self.last_call.is_none() && (*self.shutdown.borrow() || self.shutdown.has_changed().is_err()) {
            self.last_call = Some(Instant::now() + self.shared.bounds.grace);
        }
        self.last_call.is_some()
    }

    fn last_words(&mut self, why: &str) -> Vec<u8> {
        match self.protocol.close(why) {
            Step::Close(out) => out,
            _ => Vec::new(),
        }
    }

    /// Completes when shutdown has lasted too long for whatever this session is at.
    fn cut_short(&self) -> impl Future<Output = ()> + 'static {
        let (mut shutdown, last_call, grace) = (self.shutdown.clone(), self.last_call, self.shared.bounds.grace);
        async move {
            if let Some(at) = last_call {
                return sleep_until(at).await;
            }
            // An error is a sender that is gone, which is shutdown too.
            let _ = shutdown.wait_for(|stop| *stop).await;
            sleep(grace).await;
        }
    }

    /// Has the relay answer a step. Dropped when shutdown lasts too long: the client then knows nothing, and asks again.
    async fn ask(&mut self, step: Step) -> Result<Step, End> {
        let cut = self.cut_short();
        tokio::select! {
            biased;
            step = self.answer(step) => Ok(step),
            () = cut => Err(End::CutShort),
        }
    }

    async fn answer(&mut self, step: Step) -> Step {
        let door = self.shared.door.clone();
        match step {
            Step::Login { identity, password } => self.login(&identity, &password).await,
            Step::SendEvent(object) => {
                let answer = door.send_event(&self.client, object).await;
                self.protocol.answered(&answer)
            }
            Step::Rsvp(object) => {
                let answer = door.rsvp(&self.client, object).await;
                self.protocol.answered(&answer)
            }
            Step::FreeBusy(request) => {
                let answer = door.free_busy(&self.client, request).await;
                self.protocol.free_busy_answered(&answer)
            }
            send => send,
        }
    }

    /// A new AUTHENTICATE ends the identity of the one before, also when it fails.
    async fn login(&mut self, identity: &str, password: &Password) -> Step {
        self.client.login = None;
        let too_many = Answer::no(code::CLOSING, "Too many failed logins.");
        let Some(tried) = self.shared.logins.begin(self.client.address, StdInstant::now()) else {
            warn!(identity, "login refused unchecked: too many failures from this address");
            return self.protocol.answered(&too_many);
        };
        self.client.login = self.shared.door.login(&self.client, identity, &password.0).await;
        if self.client.login.is_some() {
            self.shared.logins.succeeded(&tried);
            info!(identity, "logged in");
            return self.protocol.logged_in(true);
        }
        warn!(identity, "login failed");
        sleep(tried.wait()).await;
        if tried.is_last() { self.protocol.answered(&too_many) } else { self.protocol.logged_in(false) }
    }

    async fn write(&mut self, octets: &[u8]) -> Result<(), End> {
        let cut = self.cut_short();
        tokio::select! {
            biased;
            written = self.stream.write_all(octets) => Ok(written?),
            () = sleep(self.shared.settings.idle_timeout) => Err(End::NotReading),
            () = cut => Err(End::NotReading),
        }
    }
}

/// Completes at `at`, never without one.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Writes the last words and closes so that they arrive: a close with octets unread becomes a reset, which takes the
/// answer from the client. What it still sends is read away, within `linger` and a limit.
async fn finish(mut stream: TcpStream, last_words: &[u8], linger: Duration) {
    let close = async {
        stream.write_all(last_words).await?;
        stream.shutdown().await?;
        let mut sink = vec![0; READ];
        let mut left = LINGER_OCTETS;
        while left > 0 {
            match stream.read(&mut sink).await? {
                0 => break,
                n => left = left.saturating_sub(n),
            }
        }
        io::Result::Ok(())
    };
    match timeout(linger, close).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => debug!(%error, "while closing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cip::response::FreeBusyAnswer;
    use crate::listen::Login;

    /// A relay that never answers an RSVP, and answers a SENDEVENT with more than a socket holds.
    struct Stuck;

    impl CipDoor for Stuck {
        fn ready(&self) -> Result<(), String> {
            Ok(())
        }

        async fn login(&self, _: &CipClient, _: &str, _: &[u8]) -> Option<Login> {
            None
        }

        async fn send_event(&self, _: &CipClient, _: Vec<u8>) -> Answer {
            Answer::ok(0, "x".repeat(32 << 20))
        }

        async fn rsvp(&self, _: &CipClient, _: Vec<u8>) -> Answer {
            std::future::pending().await
        }

        async fn free_busy(&self, _: &CipClient, _: Vec<u8>) -> FreeBusyAnswer {
            FreeBusyAnswer { data: None, answer: Answer::ok(0, "") }
        }
    }

    const LONG: Duration = Duration::from_mins(1);

    async fn start(bounds: Bounds) -> (SocketAddr, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
        start_holding(bounds, Bound::of(1 << 20)).await
    }

    async fn start_holding(bounds: Bounds, objects: Bound) -> (SocketAddr, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let settings = CipSettings {
            hostname: "b.com".into(),
            max_sessions: 10,
            idle_timeout: LONG,
            max_event_size: 1000,
            allow_plaintext_login: false,
        };
        (address, stop, tokio::spawn(serve_within(bounds, objects, listener, Arc::new(Stuck), settings, stopped)))
    }

    /// Connects, reads the greeting and sends this.
    async fn say(address: SocketAddr, octets: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"OK CIP 1.0 b.com\r\n");
        stream.write_all(octets).await.unwrap();
        stream
    }

    async fn rest(stream: &mut TcpStream) -> String {
        let mut rest = String::new();
        timeout(LONG / 2, stream.read_to_string(&mut rest)).await.expect("the server closes").unwrap();
        rest
    }

    /// A relay that is stuck, a client that does not read, an object that stops: shutdown waits for none of them.
    #[tokio::test]
    async fn shutdown_is_bounded_whatever_sessions_are_at() {
        let grace = Duration::from_millis(200);
        let (address, stop, ended) = start(Bounds { grace, linger: grace, ..BOUNDS }).await;
        let mut stuck = say(address, b"RSVP+\r\n.\r\n").await;
        let deaf = say(address, b"SENDEVENT+\r\n.\r\n").await;
        let mut half = say(address, b"SENDEVENT+\r\nUID: 1\r\n").await;
        sleep(Duration::from_millis(50)).await;
        stop.send(true).unwrap();
        assert_eq!(rest(&mut stuck).await, "");
        assert_eq!(rest(&mut half).await, "NO 005 Shutting down.\r\n");
        timeout(LONG / 2, ended).await.expect("the listener ends").unwrap();
        drop(deaf);
    }

    /// Lines that keep coming hold an object open for its own bound only.
    #[tokio::test]
    async fn an_object_has_its_time() {
        let (address, _stop, _ended) = start(Bounds { object: Duration::from_millis(200), ..BOUNDS }).await;
        let mut slow = say(address, b"SENDEVENT+\r\n").await;
        let started = Instant::now();
        let (mut read, mut write) = slow.split();
        let drip = async {
            loop {
                // Once the server has closed there is nobody to write to, and the reader below has what it needs.
                let _ = write.write_all(b"X:1\r\n").await;
                sleep(Duration::from_millis(20)).await;
            }
        };
        let mut answer = vec![0; 64];
        let n = tokio::select! {
            n = timeout(LONG / 2, read.read(&mut answer)) => n.expect("the server answers").unwrap(),
            () = drip => 0,
        };
        assert_eq!(crate::wire::decode(&answer[..n]), "NO 005 The object took too long.\r\n");
        assert!(started.elapsed() >= Duration::from_millis(200));
    }

    /// Objects that do not end, from several clients: what they hold together is bounded, and given back.
    #[tokio::test]
    async fn sessions_together_hold_a_bounded_amount() {
        let bound = Bound::of(2500);
        let (address, _stop, _ended) = start_holding(BOUNDS, bound.clone()).await;
        let holds = async |octets: std::ops::Range<usize>| {
            while !octets.contains(&bound.held()) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let half = format!("RSVP+\r\n{}", "X:34567\r\n".repeat(100));
        let (one, mut two) = (say(address, half.as_bytes()).await, say(address, half.as_bytes()).await);
        holds(1800..2500).await;
        let mut three = say(address, half.as_bytes()).await;
        assert_eq!(rest(&mut three).await, "NO 004 Too much at once.\r\n");
        drop(one);
        holds(900..1800).await;
        let mut four = say(address, half.as_bytes()).await;
        four.write_all(b"\n\r\n.\r\nQUIT\r\n").await.unwrap();
        let mut answer = [0; 6];
        four.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"NO 001");
        two.write_all(b"\n\r\n.\r\n").await.unwrap();
        two.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"NO 001");
    }
}
