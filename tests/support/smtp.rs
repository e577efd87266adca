//! An SMTP and LMTP client that sends what it is given and shows what came back.

use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::in_time;
use super::peer::line;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub struct SmtpClient {
    stream: Box<dyn Stream>,
    early: Vec<u8>,
    pub greeting: Reply,
}

/// One reply, all its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// The text of each line, the code and the blank or hyphen taken off.
    pub lines: Vec<String>,
}

impl Reply {
    pub fn positive(&self) -> bool {
        (200..400).contains(&self.code)
    }
}

impl SmtpClient {
    /// Connects and reads the greeting.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = in_time("an SMTP connection", TcpStream::connect(address)).await.unwrap_or_else(|e| panic!("{address}: {e}"));
        Self::greeted(Box::new(stream)).await
    }

    /// Connects, reads the greeting and says `EHLO` or `LHLO`.
    pub async fn greet(address: SocketAddr, verb: &str) -> Self {
        let mut client = Self::connect(address).await;
        let reply = client.command(&format!("{verb} client.test")).await;
        assert!(reply.positive(), "{reply:?}");
        client
    }

    /// Connects over a Unix socket and reads the greeting.
    pub async fn connect_unix(path: &Path) -> Self {
        let stream = in_time("an LMTP connection", UnixStream::connect(path)).await.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self::greeted(Box::new(stream)).await
    }

    async fn greeted(stream: Box<dyn Stream>) -> Self {
        let mut client = Self { stream, early: Vec::new(), greeting: Reply::default() };
        client.greeting = client.reply().await;
        client
    }

    /// Sends these octets as they are.
    pub async fn send(&mut self, octets: impl AsRef<[u8]>) {
        in_time("the mail server to read", self.stream.write_all(octets.as_ref())).await.expect("the mail server to read");
    }

    /// Reads one reply; code 0 when the server has closed.
    pub async fn reply(&mut self) -> Reply {
        let mut reply = Reply::default();
        loop {
            let Ok(Some(octets)) = in_time("a reply of the mail server", line(&mut self.stream, &mut self.early)).await else {
                return Reply::default();
            };
            let text = String::from_utf8_lossy(&octets).into_owned();
            reply.code = text.get(..3).and_then(|c| c.parse().ok()).unwrap_or_else(|| panic!("not a reply: {text:?}"));
            reply.lines.push(text.get(4..).unwrap_or("").to_owned());
            if text.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    /// Sends one command and reads its reply.
    pub async fn command(&mut self, line: &str) -> Reply {
        self.send(format!("{line}\r\n")).await;
        self.reply().await
    }

    /// One message by SMTP, after EHLO: the reply to the data, or the first negative one before it.
    pub async fn mail(&mut self, sender: &str, recipients: &[&str], message: &[u8]) -> Reply {
        let mut accepted = 0;
        let reply = self.command(&format!("MAIL FROM:<{sender}>")).await;
        if !reply.positive() {
            return reply;
        }
        let mut refusal = None;
        for recipient in recipients {
            let reply = self.command(&format!("RCPT TO:<{recipient}>")).await;
            if reply.positive() {
                accepted += 1;
            } else {
                refusal.get_or_insert(reply);
            }
        }
        if let Some(refusal) = refusal.filter(|_| accepted == 0) {
            self.command("RSET").await;
            return refusal;
        }
        let reply = self.command("DATA").await;
        if reply.code != 354 {
            return reply;
        }
        self.send(stuffed(message)).await;
        self.reply().await
    }

    /// One message by LMTP, after LHLO: for each recipient the reply to RCPT when that was negative, else to the data.
    pub async fn lmtp(&mut self, sender: &str, recipients: &[&str], message: &[u8]) -> Vec<Reply> {
        assert!(self.command(&format!("MAIL FROM:<{sender}>")).await.positive());
        let mut replies = Vec::new();
        for recipient in recipients {
            replies.push(self.command(&format!("RCPT TO:<{recipient}>")).await);
        }
        if !replies.iter().any(Reply::positive) {
            self.command("RSET").await;
            return replies;
        }
        let go = self.command("DATA").await;
        assert_eq!(go.code, 354, "{go:?}");
        self.send(stuffed(message)).await;
        for reply in replies.iter_mut().filter(|r| r.positive()) {
            *reply = self.reply().await;
        }
        replies
    }

    /// Whether the server closes without another word.
    pub async fn closed(&mut self) -> bool {
        let mut rest = [0; 1];
        self.early.is_empty() && matches!(in_time("the mail server to close", self.stream.read(&mut rest)).await, Ok(0) | Err(_))
    }
}

/// Dots doubled, the end marked; `message` has CRLF lines, the last one complete.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(message.len() + 16);
    let mut at_start = true;
    for &octet in message {
        if at_start && octet == b'.' {
            octets.push(b'.');
        }
        octets.push(octet);
        at_start = octet == b'\n';
    }
    octets.extend_from_slice(if message.is_empty() || message.ends_with(b"\r\n") { b".\r\n" } else { b"\r\n.\r\n" });
    octets
}
