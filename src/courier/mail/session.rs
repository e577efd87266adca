//! One connection to a mail server: greeting, EHLO or HELO, STARTTLS, then message after message (RFC 5321, RFC 3207).
//!
//! Invariants: every wait has a deadline; after anything but a whole, orderly transaction the session is not used again
//! ([`Session::reusable`]); the message goes out octet for octet.

use std::error::Error as _;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Quit, Rset, Starttls};
use lettre::transport::smtp::extension::{ClientId, Extension};
use lettre::transport::smtp::{Error, response::Response};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::guard::{Guard, Inner, Slot};
use super::tls::{Proof, Tls};
use crate::config::TlsUse;

/// How long a mail server may take (RFC 5321 4.5.3.2).
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To accept a connection.
    pub connect: Duration,
    /// To greet and to answer EHLO; to complete a TLS handshake.
    pub greeting: Duration,
    /// To answer any other command.
    pub command: Duration,
    /// To take the message and to answer it; a second more for each 16 KiB.
    pub data: Duration,
    /// How long a connection is kept without a message.
    pub idle: Duration,
}

impl Timeouts {
    /// The RFC's, with the configuration's `connect-timeout`.
    pub fn new(connect: Duration) -> Self {
        let five = Duration::from_mins(5);
        Self { connect, greeting: five, command: five, data: Duration::from_mins(10), idle: Duration::from_secs(10) }
    }
}

/// Messages over one connection.
const MAX_MESSAGES: u32 = 100;
/// How long a server may take to answer QUIT, which nobody waits for in earnest.
const QUIT: Duration = Duration::from_secs(1);

/// What a server said of a command: `2xx`, or the failure with the class of its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The three-digit code.
    pub code: u16,
    /// The enhanced status code (RFC 3463), as given or as the class alone says it.
    pub enhanced: String,
    /// `550 5.1.1 No such user`.
    pub words: String,
}

/// One message on its way.
#[derive(Clone, Copy, Debug)]
pub struct Mail<'a> {
    /// `""` is the null sender.
    pub sender: &'a str,
    pub recipients: &'a [String],
    /// CRLF lines; no lone CR or LF.
    pub message: &'a [u8],
}

/// What became of a transaction. Of `Transaction::Done`, one verdict per recipient.
#[derive(Debug)]
pub enum Transaction {
    Done(Vec<Result<Said, Said>>),
    /// The sender or the session was refused for now; another server may be tried.
    Refused(Said),
    /// The server lacks an extension that the message needs: code and reason.
    Unsuited(&'static str, String),
    /// The connection broke, or the server fell silent; `in_data`: while it had the message in hand.
    Broken {
        in_data: bool,
        why: String,
    },
}

/// What came of the question for one address.
#[derive(Debug)]
pub enum Probed {
    Said(Said),
    /// No answer to RCPT.
    Silent(String),
    /// The session was refused, or broke, before the address was named; or the server closes.
    Lost(String),
}

pub struct Session {
    connection: AsyncSmtpConnection,
    slot: Slot,
    timeouts: Timeouts,
    messages: u32,
    orderly: bool,
}

/// How to talk to a server.
#[derive(Clone, Copy)]
pub struct Manner<'a> {
    /// The name in EHLO.
    pub hello: &'a str,
    /// The name that a certificate must bear.
    pub host: &'a str,
    pub tls: TlsUse,
    pub implicit_tls: bool,
    pub timeouts: &'a Timeouts,
    pub client: &'a Tls,
}

enum Opened {
    Session(Box<Session>),
    /// EHLO was refused for good: an old server.
    NoEhlo,
}

impl Session {
    /// Opens a session at an address; falls back to HELO, and to clear text where TLS is only an opportunity. Each
    /// fallback is a new connection: what went wrong on the old one may have left octets behind.
    pub async fn open(to: SocketAddr, manner: Manner<'_>) -> Result<Self, String> {
        let mut tls_failure = None;
        let plain = match Self::once(to, manner, false).await? {
            Opened::NoEhlo => None,
            Opened::Session(session) => match session.secure(to, manner).await {
                Ok(session) => return Ok(session),
                Err(why) if manner.tls == TlsUse::Required => return Err(why),
                Err(why) => {
                    tls_failure = Some(why);
                    match Self::once(to, manner, false).await? {
                        Opened::Session(session) => Some(session),
                        Opened::NoEhlo => None,
                    }
                }
            },
        };
        match plain {
            Some(session) => Ok(*session),
            None if manner.tls == TlsUse::Required && !manner.implicit_tls => {
                Err("the server knows no EHLO, so no STARTTLS, and TLS is required".to_owned())
            }
            None => match Self::once(to, manner, true).await? {
                Opened::Session(session) => Ok(*session),
                Opened::NoEhlo => Err(tls_failure.unwrap_or_else(|| "the server refuses EHLO and HELO".to_owned())),
            },
        }
    }

    async fn once(to: SocketAddr, manner: Manner<'_>, helo: bool) -> Result<Opened, String> {
        let Timeouts { connect, greeting, .. } = *manner.timeouts;
        let tcp = within(connect, "no connection", async { TcpStream::connect(to).await.map_err(|e| e.to_string()) }).await?;
        let _ = tcp.set_nodelay(true);
        let inner = if manner.implicit_tls {
            let handshake = manner.client.handshake(manner.host, Proof::Required, tcp);
            Inner::Tls(Box::new(within(greeting, "no TLS", handshake).await?))
        } else {
            Inner::Tcp(tcp)
        };
        let slot = Slot::new(inner);
        let guard = Guard::new(slot.clone(), to);
        let spoken = guard.spoken();
        let guard = if helo { guard.helo() } else { guard };
        let hello = ClientId::Domain(manner.hello.to_owned());
        match timeout(greeting, AsyncSmtpConnection::connect_with_transport(Box::new(guard), &hello)).await {
            Ok(Ok(connection)) => Ok(Opened::Session(Box::new(Self::new(connection, slot, *manner.timeouts)))),
            // Refused for good after the greeting: it was EHLO that was refused.
            Ok(Err(error)) if error.is_permanent() && spoken.get() => Ok(Opened::NoEhlo),
            Ok(Err(error)) => Err(words(&error)),
            Err(_) => Err(format!("no greeting or no answer to EHLO within {greeting:?}")),
        }
    }

    fn new(connection: AsyncSmtpConnection, slot: Slot, timeouts: Timeouts) -> Self {
        Self { connection, slot, timeouts, messages: 0, orderly: true }
    }

    /// STARTTLS where it is offered and wanted. `Err`: it was wanted, and there is none.
    async fn secure(mut self, to: SocketAddr, manner: Manner<'_>) -> Result<Self, String> {
        if manner.implicit_tls || manner.tls == TlsUse::Never {
            return Ok(self);
        }
        if !self.connection.server_info().supports_feature(Extension::StartTls) {
            return match manner.tls {
                TlsUse::Required => Err("the server offers no STARTTLS, and TLS is required".to_owned()),
                _ => Ok(self),
            };
        }
        let Timeouts { command, greeting, .. } = *manner.timeouts;
        match timeout(command, self.connection.command(Starttls)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(format!("STARTTLS: {}", words(&error))),
            Err(_) => return Err(format!("no answer to STARTTLS within {command:?}")),
        }
        let Some(Inner::Tcp(tcp)) = self.slot.take() else { return Err("the connection is gone".to_owned()) };
        let proof = if manner.tls == TlsUse::Required { Proof::Required } else { Proof::None };
        let handshake = manner.client.handshake(manner.host, proof, tcp);
        let tls = within(greeting, "no TLS after STARTTLS", handshake).await?;
        let slot = Slot::new(Inner::Tls(Box::new(tls)));
        let guard = Guard::new(slot.clone(), to).greeted();
        let hello = ClientId::Domain(manner.hello.to_owned());
        match timeout(greeting, AsyncSmtpConnection::connect_with_transport(Box::new(guard), &hello)).await {
            Ok(Ok(connection)) => Ok(Self::new(connection, slot, self.timeouts)),
            Ok(Err(error)) => Err(format!("inside TLS: {}", words(&error))),
            Err(_) => Err(format!("no answer inside TLS within {greeting:?}")),
        }
    }

    /// Whether another message may go over this connection.
    pub fn reusable(&self) -> bool {
        self.orderly && self.messages < MAX_MESSAGES
    }

    /// Whether the server has neither closed nor spoken since.
    pub async fn is_fresh(&self) -> bool {
        self.slot.is_quiet().await
    }

    /// Says QUIT and closes.
    pub async fn quit(mut self) {
        let _ = timeout(QUIT, self.connection.command(Quit)).await;
    }

    /// One message.
    pub async fn send(&mut self, mail: Mail<'_>) -> Transaction {
        // Until the end is reached in order, whoever looks finds the session used up; also when this future is dropped.
        self.orderly = false;
        self.messages += 1;
        let parameters = match self.parameters(mail) {
            Ok(parameters) => parameters,
            Err((code, why)) => return Transaction::Unsuited(code, why),
        };
        match self.command(format!("MAIL FROM:<{}>{parameters}\r\n", mail.sender)).await {
            Ok(Ok(_)) => {}
            Ok(Err(said)) if said.code < 500 => return Transaction::Refused(said),
            Ok(Err(said)) => return Transaction::Done(vec![Err(said); mail.recipients.len()]),
            Err(why) => return Transaction::Broken { in_data: false, why },
        }
        let mut verdicts = Vec::with_capacity(mail.recipients.len());
        for recipient in mail.recipients {
            match self.command(format!("RCPT TO:<{recipient}>\r\n")).await {
                // 421: the server closes (RFC 5321 3.8).
                Ok(Err(said)) if said.code == 421 => return Transaction::Refused(said),
                Ok(verdict) => verdicts.push(verdict),
                Err(why) => return Transaction::Broken { in_data: false, why },
            }
        }
        if verdicts.iter().all(Result::is_err) {
            return Transaction::Done(verdicts);
        }
        match self.command(Data).await {
            Ok(Ok(said)) if said.code == 354 => {}
            Ok(Ok(said)) => return Transaction::Broken { in_data: false, why: format!("{} is no answer to DATA", said.words) },
            Ok(Err(said)) if said.code < 500 => return Transaction::Refused(said),
            Ok(Err(said)) => return Transaction::Done(settle(verdicts, &Err(said))),
            Err(why) => return Transaction::Broken { in_data: false, why },
        }
        let verdict = match self.body(mail.message).await {
            Ok(verdict) => verdict,
            Err(why) => return Transaction::Broken { in_data: true, why },
        };
        self.orderly = verdict.is_ok();
        Transaction::Done(settle(verdicts, &verdict))
    }

    /// Whether a transaction may name this address.
    pub fn can_say(&self, address: &str) -> bool {
        address.is_ascii() || self.connection.server_info().supports_feature(Extension::SmtpUtfEight)
    }

    /// What the server says to RCPT for this address, in a transaction that ends there.
    pub async fn probe(&mut self, address: &str) -> Probed {
        self.orderly = false;
        self.messages += 1;
        let utf8 = if address.is_ascii() { "" } else { " SMTPUTF8" };
        match self.command(format!("MAIL FROM:<>{utf8}\r\n")).await {
            Ok(Ok(_)) => {}
            Ok(Err(said)) => return Probed::Lost(format!("MAIL: {}", said.words)),
            Err(why) => return Probed::Lost(why),
        }
        let said = match self.command(format!("RCPT TO:<{address}>\r\n")).await {
            Ok(Err(said)) if said.code == 421 => return Probed::Lost(said.words),
            Ok(Ok(said) | Err(said)) => said,
            Err(why) => return Probed::Silent(why),
        };
        self.orderly = matches!(self.command(Rset).await, Ok(Ok(_)));
        Probed::Said(said)
    }

    /// The parameters of MAIL that the message needs, or what is missing.
    fn parameters(&self, mail: Mail<'_>) -> Result<String, (&'static str, String)> {
        let offers = |extension| self.connection.server_info().supports_feature(extension);
        let mut parameters = String::new();
        let header = mail.message.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(mail.message.len());
        let addresses = mail.sender.is_ascii() && mail.recipients.iter().all(|r| r.is_ascii());
        if !addresses && !offers(Extension::SmtpUtfEight) {
            return Err(("5.6.7", "an address is not ASCII, and the server knows no SMTPUTF8 (RFC 6531)".to_owned()));
        }
        if !(addresses && mail.message[..header].is_ascii()) && offers(Extension::SmtpUtfEight) {
            parameters.push_str(" SMTPUTF8");
        }
        if !mail.message.is_ascii() {
            if !offers(Extension::EightBitMime) {
                return Err(("5.6.3", "the message holds octets above 127, and the server knows no 8BITMIME (RFC 6152)".to_owned()));
            }
            parameters.push_str(" BODY=8BITMIME");
        }
        Ok(parameters)
    }

    /// `Err`: no reply. The inner result is the reply.
    async fn command(&mut self, command: impl std::fmt::Display) -> Result<Result<Said, Said>, String> {
        let limit = self.timeouts.command;
        let name: String = command.to_string().chars().take_while(char::is_ascii_alphabetic).collect();
        match timeout(limit, self.connection.command(command)).await {
            Ok(result) => replied(result).map_err(|why| format!("{name}: {why}")),
            Err(_) => Err(format!("no answer to {name} within {limit:?}")),
        }
    }

    async fn body(&mut self, message: &[u8]) -> Result<Result<Said, Said>, String> {
        let limit = self.timeouts.data + Duration::from_secs(message.len() as u64 >> 14);
        // The library puts a CRLF before the final dot, whether or not there is one.
        let message = message.strip_suffix(b"\r\n").unwrap_or(message);
        match timeout(limit, self.connection.message(message)).await {
            Ok(result) => replied(result).map_err(|why| format!("after the message: {why}")),
            Err(_) => Err(format!("the message was not answered within {limit:?}")),
        }
    }
}

/// Whoever was accepted at RCPT shares the fate of the message.
fn settle(verdicts: Vec<Result<Said, Said>>, message: &Result<Said, Said>) -> Vec<Result<Said, Said>> {
    verdicts.into_iter().map(|verdict| verdict.and_then(|_| message.clone())).collect()
}

async fn within<T>(limit: Duration, what: &str, doing: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match timeout(limit, doing).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(why)) => Err(format!("{what}: {why}")),
        Err(_) => Err(format!("{what} within {limit:?}")),
    }
}

fn replied(result: Result<Response, Error>) -> Result<Result<Said, Said>, String> {
    match result {
        Ok(response) => {
            let code = u16::from(response.code());
            let text = response.message().collect::<Vec<_>>().join(" ");
            Ok(Ok(Said { code, enhanced: enhanced(code, &text), words: format!("{code} {text}") }))
        }
        Err(error) => match error.status() {
            Some(code) => {
                let code = u16::from(code);
                let text = error.source().map(ToString::to_string).unwrap_or_default();
                Ok(Err(Said { code, enhanced: enhanced(code, &text), words: format!("{code} {text}") }))
            }
            None => Err(words(&error)),
        },
    }
}

/// The library's error, without its own prefix where the cause says it all.
fn words(error: &Error) -> String {
    let cause = one_line(&error.source().map(ToString::to_string).unwrap_or_default());
    match error.status() {
        Some(code) => format!("{code} {cause}").trim_end().to_owned(),
        None if cause.is_empty() => error.to_string(),
        None => cause,
    }
}

/// A cause may quote what the server sent, line ends and all: a line of the log is not the server's to write.
fn one_line(text: &str) -> String {
    text.split(char::is_control).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The enhanced status code that the text begins with, when its class is the reply's (RFC 2034 4); else `5.0.0` or its
/// like.
pub fn enhanced(code: u16, text: &str) -> String {
    let class = code / 100;
    let word = text.split([' ', '\t']).next().unwrap_or("");
    let mut parts = word.split('.');
    let number = |part: Option<&str>| part.is_some_and(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()));
    let ours = parts.next() == Some(class.to_string().as_str()) && number(parts.next()) && number(parts.next()) && parts.next().is_none();
    if ours { word.to_owned() } else { format!("{class}.0.0") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_sent_is_quoted_on_one_line() {
        for (text, expected) in
            [("", ""), ("plain words", "plain words"), ("a\r\n2026 INFO delivered\r\n", "a 2026 INFO delivered"), ("\x1b[2Jx", "[2Jx")]
        {
            assert_eq!(one_line(text), expected, "{text:?}");
        }
    }

    #[test]
    fn enhanced_codes_are_taken_when_they_fit() {
        for (code, text, want) in [
            (550, "5.1.1 No such user", "5.1.1"),
            (550, "5.7.509 Denied", "5.7.509"),
            (550, "No such user", "5.0.0"),
            (550, "4.1.1 confused", "5.0.0"),
            (450, "4.2.0", "4.2.0"),
            (250, "2.1.5.6 x", "2.0.0"),
            (550, "5.1234.1 x", "5.0.0"),
            (550, "5.1. x", "5.0.0"),
            (554, "", "5.0.0"),
        ] {
            assert_eq!(enhanced(code, text), want, "{code} {text}");
        }
    }
}
