//! The driver of SMTP and LMTP sessions, over TCP and Unix sockets.
//!
//! It owns the socket: accepting, time-outs, shutdown, and the limits over all sessions of one listener (how many there
//! are, and how many octets of messages they hold together). What is said is decided in `smtp::server`, what is taken
//! behind the [`MailDoor`].
//!
//! Invariants: no wait on a client is without an end; what the door has begun to take is never given up half-way because
//! the client went; who is `trusted` depends on the listener first and on the address second.

use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::held::{Bound, Held};
use super::{MailClient, MailDoor};
use crate::config::Listen;
use crate::queue::entry::Via;
use crate::smtp::{Protocol, Rules, ServerSession, Step};

/// How long a session in the middle of a message may go on after shutdown has begun.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// How much longer than that the door may take for a message it has been given.
const DOOR_GRACE: Duration = Duration::from_secs(5);
/// A message may trickle in for this many idle time-outs; then its session is closed.
const MESSAGE_PATIENCE: u32 = 6;
/// The longest idle time-out that is kept: more would be none, and could not be added to a time.
const MAX_IDLE: Duration = Duration::from_hours(24);
/// How long, and how much, is read after the last reply so that the client gets to see it: closing a socket with unread
/// input resets the connection.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_OCTETS: usize = 1 << 20;
/// The pause after a failed `accept`: nearly always too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A bound and listening socket.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SMTP from the organization's own side.
    Smtp,
    /// LMTP from the organization's own side.
    Lmtp,
    /// SMTP from outside: nobody is trusted, wherever the connection comes from (bridge 6).
    Inbound,
}

#[derive(Clone, Debug)]
pub struct SmtpSettings {
    /// In the greeting.
    pub hostname: String,
    pub kind: Kind,
    pub trusted_networks: Vec<IpNet>,
    pub max_sessions: usize,
    /// Without a complete command, or without an octet of a message.
    pub idle_timeout: Duration,
    /// Octets of one message.
    pub max_message: usize,
}

/// Binds a listening address. To be called within a tokio runtime.
///
/// A socket file that nobody answers on is left over from a run that was killed, and is replaced; any other file, and a
/// socket that is in use, is an error ([`io::ErrorKind::AddrInUse`]).
pub fn bind(address: &Listen) -> io::Result<Socket> {
    match address {
        Listen::Tcp(address) => {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(Socket::Tcp(TcpListener::from_std(listener)?))
        }
        Listen::Unix(path) => {
            remove_stale(path)?;
            Ok(Socket::Unix(UnixListener::bind(path)?))
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
            // Somebody answers, or is too busy to: `bind` will say that the address is in use.
            _ => Ok(()),
        },
        // `bind` fails on any other file.
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Serves a socket until `shutdown` becomes true (or its sender is gone), then lets what is in the middle of a message
/// finish: at most 15 s.
pub async fn serve<D: MailDoor>(socket: Socket, door: Arc<D>, settings: SmtpSettings, shutdown: watch::Receiver<bool>) {
    let bound = Bound::new(settings.max_message);
    serve_within(socket, door, settings, shutdown, bound).await;
}

async fn serve_within<D: MailDoor>(
    socket: Socket,
    door: Arc<D>,
    settings: SmtpSettings,
    mut shutdown: watch::Receiver<bool>,
    bound: Bound,
) {
    let slots = Arc::new(Semaphore::new(settings.max_sessions.min(Semaphore::MAX_PERMITS)));
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = shutdown.wait_for(|&down| down) => break,
            Some(_) = sessions.join_next() => continue,
            accepted = socket.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a mail connection; trying again");
                tokio::select! {
                    _ = shutdown.wait_for(|&down| down) => break,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => continue,
                }
            }
        };
        let refusal = match (Arc::clone(&slots).try_acquire_owned(), door.ready()) {
            (Ok(slot), Ok(())) => {
                let drive = Drive {
                    session: ServerSession::new(settings.rules()),
                    client: settings.client(address),
                    door: Arc::clone(&door),
                    idle: settings.idle_timeout.min(MAX_IDLE),
                    shutdown: shutdown.clone(),
                    held: bound.part(),
                };
                sessions.spawn(async move {
                    match stream {
                        Stream::Tcp(stream) => drive.run(stream).await,
                        Stream::Unix(stream) => drive.run(stream).await,
                    }
                    drop(slot);
                });
                continue;
            }
            (Err(_), _) => "too many sessions".to_owned(),
            (_, Err(reason)) => reason,
        };
        tracing::debug!(?address, refusal, "mail connection turned away");
        stream.turn_away(ServerSession::turned_away(settings.rules(), &refusal));
    }
    drop(socket);
    let rest = async { while sessions.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_GRACE + DOOR_GRACE, rest).await.is_err() {
        tracing::warn!("mail sessions were cut off at shutdown; their clients got no answer and will try again");
    }
}

impl SmtpSettings {
    fn rules(&self) -> Rules {
        let protocol = if self.kind == Kind::Lmtp { Protocol::Lmtp } else { Protocol::Smtp };
        Rules { hostname: self.hostname.clone(), protocol, max_message: self.max_message }
    }

    fn client(&self, address: Option<IpAddr>) -> MailClient {
        let near = address.is_none_or(|a| self.trusted_networks.iter().any(|net| net.contains(&a)));
        let (via, trusted) = match self.kind {
            Kind::Smtp => (Via::Smtp, near),
            Kind::Lmtp => (Via::Lmtp, near),
            Kind::Inbound => (Via::Inbound, false),
        };
        MailClient { via, address, helo: String::new(), trusted }
    }
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

impl Socket {
    async fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Replies are written whole; waiting to fill a packet only delays them, and failing to say so harms nothing.
                let _ = stream.set_nodelay(true);
                // An IPv4 client of a socket for both is known by its IPv4 address, as the networks are written.
                Ok((Stream::Tcp(stream), Some(peer.ip().to_canonical())))
            }
            Self::Unix(listener) => Ok((Stream::Unix(listener.accept().await?.0), None)),
        }
    }
}

impl Stream {
    /// Says the last words without waiting and without a task: a new socket has room for one line, and one that has
    /// not is of no use to its client either.
    fn turn_away(self, mut session: ServerSession) {
        if let Step::Send(words) = session.step() {
            let _ = match self {
                Self::Tcp(stream) => stream.into_std().and_then(|mut s| s.write(&words)),
                Self::Unix(stream) => stream.into_std().and_then(|mut s| s.write(&words)),
            };
        }
    }
}

/// Why a session's loop ended.
enum End {
    /// In order: everything has been written.
    Closed,
    /// The connection broke, or the client does not read.
    Gone,
}

/// One session and all that belongs to it.
struct Drive<D> {
    session: ServerSession,
    client: MailClient,
    door: Arc<D>,
    idle: Duration,
    shutdown: watch::Receiver<bool>,
    held: Held,
}

impl<D: MailDoor> Drive<D> {
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(mut self, mut stream: S) {
        let end = self.converse(&mut stream).await;
        // Whatever was in hand is gone with the session's end; the socket may take a little longer.
        self.held.set(0);
        match end {
            End::Closed => linger(&mut stream).await,
            End::Gone => tracing::debug!(address = ?self.client.address, "mail connection broke off"),
        }
    }

    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut S) -> End {
        let mut buffer = vec![0; 16 << 10];
        // When the last step was carried out.
        let mut since = Instant::now();
        // When shutdown has been seen: until when the message in hand may still take.
        let mut grace = None;
        loop {
            let progress = match self.carry_out(stream).await {
                Ok(progress) => progress,
                Err(end) => return end,
            };
            let now = Instant::now();
            if progress {
                // Whatever comes now is another command, another message or another chunk.
                since = now;
            }
            let silent_until =
                if self.session.in_message() { (now + self.idle).min(since + self.idle * MESSAGE_PATIENCE) } else { since + self.idle };
            if !self.held.set(self.session.held()) {
                self.session.leave("4.3.1", "too much mail at once");
                continue;
            }
            if grace.is_some() && !self.session.in_transaction() {
                self.session.leave("4.3.2", "shutting down");
                continue;
            }
            let deadline = grace.map_or(silent_until, |grace: Instant| grace.min(silent_until));
            // Looked at here, since a client that never stops sending is never waited for below.
            if now >= deadline {
                let idle = deadline == silent_until;
                let (enhanced, why) = if idle { ("4.4.2", "idle for too long") } else { ("4.3.2", "shutting down") };
                self.session.leave(enhanced, why);
                continue;
            }
            tokio::select! {
                biased;
                // An error means that the sender is gone, which is an end as well.
                _ = self.shutdown.wait_for(|&down| down), if grace.is_none() => grace = Some(Instant::now() + SHUTDOWN_GRACE),
                read = timeout_at(deadline, stream.read(&mut buffer)) => match read {
                    Ok(Ok(0) | Err(_)) => return End::Gone,
                    Ok(Ok(n)) => self.session.receive(&buffer[..n]),
                    // Too late: said above.
                    Err(_) => {}
                },
            }
        }
    }

    /// Carries out the session's steps until it wants more octets; true when there was one.
    async fn carry_out<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> Result<bool, End> {
        let mut progress = false;
        loop {
            match self.session.step() {
                Step::Read => return Ok(progress),
                Step::Close => return Err(End::Closed),
                Step::Send(octets) => match timeout(self.idle, stream.write_all(&octets)).await {
                    Ok(Ok(())) => {}
                    _ => return Err(End::Gone),
                },
                Step::Ready => {
                    self.session.helo().clone_into(&mut self.client.helo);
                    let ready = self.door.ready();
                    self.session.ready(ready);
                }
                Step::Recipient { sender, recipient } => {
                    let reply = self.door.recipient(&self.client, &sender, &recipient).await;
                    self.session.recipient(&reply);
                }
                Step::Message { envelope, octets } => {
                    let replies = self.door.message(&self.client, &envelope, octets).await;
                    self.session.message(replies);
                }
            }
            progress = true;
        }
    }
}

async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let rest = async {
        stream.shutdown().await?;
        let mut buffer = vec![0; 4 << 10];
        let mut left = LINGER_OCTETS;
        while left > 0 {
            let n = stream.read(&mut buffer).await?;
            if n == 0 {
                break;
            }
            left = left.saturating_sub(n);
        }
        Ok::<(), io::Error>(())
    };
    // Nothing depends on it: the replies have been written.
    let _ = timeout(LINGER, rest).await;
}

#[cfg(test)]
mod tests;
