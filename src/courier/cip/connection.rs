//! One connection to a CIP server: connect, greeting, AUTHENTICATE, then command after command.
//!
//! Invariants: every wait has a deadline; an error says whether the data had ended, which is the difference between
//! "nobody has it" and "perhaps"; a connection with an error is never used again; the password is shown to nobody.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::cip::client::{ClientError, ClientEvent, ClientSession, Limits};
use crate::cip::response::{Answer, FreeBusyAnswer, code};

/// Who said the octets that a [`Dialog`] is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Client,
    Server,
}

/// Is shown what goes over the connections, as it goes; the password of AUTHENTICATE is replaced by `***`.
pub type Dialog = Arc<dyn Fn(Said, &[u8]) + Send + Sync>;

/// How long a server may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To accept a connection.
    pub connect: Duration,
    /// The same where nothing promised a CIP server.
    pub connect_unpromised: Duration,
    /// To greet (profile 2).
    pub greeting: Duration,
    pub greeting_unpromised: Duration,
    /// To take a whole command, and again to give its whole answer.
    pub answer: Duration,
    /// How long a connection is kept without a command.
    pub idle: Duration,
}

impl Timeouts {
    /// The profile's, with the configuration's `connect-timeout`.
    pub fn new(connect: Duration) -> Self {
        Self {
            connect,
            connect_unpromised: connect.min(Duration::from_secs(5)),
            greeting: Duration::from_secs(30),
            greeting_unpromised: Duration::from_secs(5),
            answer: Duration::from_mins(5),
            idle: Duration::from_secs(30),
        }
    }
}

/// A command with its object or request.
#[derive(Clone, Copy, Debug)]
pub enum Command<'a> {
    SendEvent(&'a [u8]),
    Rsvp(&'a [u8]),
    FreeBusy(&'a [u8]),
}

/// The answer to a [`Command`].
#[derive(Clone, Debug)]
pub enum Reply {
    Answer(Answer),
    FreeBusy(FreeBusyAnswer),
}

impl Reply {
    pub fn answer(&self) -> &Answer {
        match self {
            Self::Answer(answer) => answer,
            Self::FreeBusy(free_busy) => &free_busy.answer,
        }
    }

    /// The server said with its answer that it closes.
    pub fn closing(&self) -> bool {
        let completion = &self.answer().completion;
        !completion.ok && completion.code == code::CLOSING
    }
}

/// Why there is no session with the server at an address.
#[derive(Debug)]
pub enum NotOpened {
    /// No connection, or something that is not our CIP.
    Unreachable(String),
    /// CIP, and `NO 004`.
    Busy(String),
    /// This machine could not: out of descriptors, ports or memory.
    Local(String),
}

/// A command that got no answer. The connection is to be dropped.
#[derive(Debug)]
pub struct Broken {
    /// The terminator had been handed to the network: the server perhaps acts on the command.
    pub ended: bool,
    pub why: String,
}

pub struct Connection {
    stream: TcpStream,
    session: ClientSession,
    dialog: Option<Dialog>,
}

impl Connection {
    /// Connects and reads the greeting.
    pub async fn open(to: SocketAddr, promised: bool, timeouts: &Timeouts, dialog: Option<Dialog>) -> Result<Self, NotOpened> {
        let (connect, greeting) =
            if promised { (timeouts.connect, timeouts.greeting) } else { (timeouts.connect_unpromised, timeouts.greeting_unpromised) };
        let stream = match timeout(connect, TcpStream::connect(to)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if is_local(&error) => return Err(NotOpened::Local(format!("no connection can be made: {error}"))),
            Ok(Err(error)) => return Err(NotOpened::Unreachable(format!("no connection: {error}"))),
            Err(_) => return Err(NotOpened::Unreachable(format!("no connection within {connect:?}"))),
        };
        // Each command is written whole; waiting for more would only delay its end. Without it things still work.
        let _ = stream.set_nodelay(true);
        let mut connection = Self { stream, session: ClientSession::new(Limits::default()), dialog };
        match timeout(greeting, connection.event()).await {
            Ok(Ok(ClientEvent::Greeting(_))) => Ok(connection),
            Ok(Ok(ClientEvent::Error(error @ ClientError::Busy(_)))) => Err(NotOpened::Busy(error.to_string())),
            Ok(Ok(ClientEvent::Error(error))) => Err(NotOpened::Unreachable(error.to_string())),
            Ok(Ok(other)) => Err(NotOpened::Unreachable(format!("no greeting but {other:?}"))),
            Ok(Err(why)) => Err(NotOpened::Unreachable(format!("no greeting: {why}"))),
            Err(_) => Err(NotOpened::Unreachable(format!("it accepts connections and says nothing for {greeting:?}"))),
        }
    }

    /// `AUTHENTICATE LOGIN` (draft 2.1; profile 4). `Err`: no answer, or not even a question.
    pub async fn login(&mut self, identity: &str, password: &[u8], timeouts: &Timeouts) -> Result<Answer, String> {
        let command = self.session.authenticate_login(identity, password).map_err(|e| e.to_string())?;
        if let Some(dialog) = &self.dialog {
            dialog(Said::Client, format!("AUTHENTICATE LOGIN {identity} ***\r\n").as_bytes());
        }
        let deadline = Instant::now() + timeouts.answer;
        match timeout_at(deadline, self.stream.write_all(&command)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("the server does not read".to_owned()),
        }
        match timeout_at(deadline, self.event()).await {
            Ok(Ok(ClientEvent::Answer(answer))) => Ok(answer),
            Ok(Ok(ClientEvent::Error(error))) => Err(error.to_string()),
            Ok(Ok(other)) => Err(format!("no answer but {other:?}")),
            Ok(Err(why)) => Err(why),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// One command and its answer.
    pub async fn command(&mut self, command: Command<'_>, timeouts: &Timeouts) -> Result<Reply, Broken> {
        let octets = match command {
            Command::SendEvent(object) => self.session.send_event(object),
            Command::Rsvp(object) => self.session.rsvp(object),
            Command::FreeBusy(request) => self.session.free_busy(request),
        };
        let octets = octets.map_err(|e| Broken { ended: false, why: e.to_string() })?;
        let unsent = |why: String| Broken { ended: false, why };
        match timeout(timeouts.answer, self.stream.write_all(&octets)).await {
            Ok(Ok(())) => {}
            // The terminator stands last, so that a server that did not get everything did not get it.
            Ok(Err(error)) => return Err(unsent(format!("the connection broke while sending: {error}"))),
            Err(_) => return Err(unsent(format!("the server did not take the command within {:?}", timeouts.answer))),
        }
        self.show(Said::Client, &octets);
        let unanswered = |why: String| Broken { ended: true, why };
        match timeout(timeouts.answer, self.event()).await {
            Ok(Ok(ClientEvent::Answer(answer))) => Ok(Reply::Answer(answer)),
            Ok(Ok(ClientEvent::FreeBusy(answer))) => Ok(Reply::FreeBusy(answer)),
            Ok(Ok(ClientEvent::Error(error))) => Err(unanswered(error.to_string())),
            Ok(Ok(other)) => Err(unanswered(format!("no answer but {other:?}"))),
            Ok(Err(why)) => Err(unanswered(format!("the data was sent, then {why}"))),
            Err(_) => Err(unanswered(format!("the data was sent, then there was no answer within {:?}", timeouts.answer))),
        }
    }

    /// Whether a further command may be given: the server has neither closed nor spoken unasked since the last answer.
    pub async fn is_fresh(&mut self) -> bool {
        // The runtime learns of a closed socket only when it has looked.
        tokio::task::yield_now().await;
        let mut octet = [0];
        let nothing = matches!(self.stream.try_read(&mut octet), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        nothing && self.session.is_ready()
    }

    async fn event(&mut self) -> Result<ClientEvent, String> {
        let mut buffer = [0; 8192];
        loop {
            if let Some(event) = self.session.next() {
                return Ok(event);
            }
            let n = self.stream.read(&mut buffer).await.map_err(|e| format!("the connection broke: {e}"))?;
            if n == 0 {
                return Err("the server closed the connection".to_owned());
            }
            self.show(Said::Server, &buffer[..n]);
            self.session.push(&buffer[..n]);
        }
    }

    fn show(&self, who: Said, octets: &[u8]) {
        if let Some(dialog) = &self.dialog {
            dialog(who, octets);
        }
    }
}

/// Whether the failure says something of this machine and nothing of the peer.
pub fn is_local(error: &io::Error) -> bool {
    // ENOMEM, ENFILE, EMFILE, EADDRNOTAVAIL (no port left), ENOBUFS.
    matches!(error.raw_os_error(), Some(12 | 23 | 24 | 99 | 105)) || error.kind() == io::ErrorKind::OutOfMemory
}
