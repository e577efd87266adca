//! A CIP client that sends what it is given and shows what came back.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::in_time;
use super::peer::line;

pub struct CipClient {
    stream: TcpStream,
    early: Vec<u8>,
    /// The server's first line.
    pub greeting: String,
}

/// The lines of an answer in order, the completion last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `* …` lines, as they came.
    pub infos: Vec<String>,
    /// `OK …` or `NO …`.
    pub completion: String,
    /// What stood between `+` and `.` before the lines (FREEBUSY), CRLF lines.
    pub data: Option<String>,
}

impl Answer {
    /// `"OK 000"`, `"NO 001"`, …
    pub fn code(&self) -> &str {
        self.completion.get(..6).unwrap_or(&self.completion)
    }
}

impl CipClient {
    /// Connects and reads the greeting.
    pub async fn connect(address: SocketAddr) -> Self {
        let mut client = Self::connect_raw(address).await;
        client.greeting = client.line().await.expect("a greeting");
        client
    }

    /// The same from another address of this machine (`127.0.0.2`): a stranger.
    pub async fn connect_from(source: &str, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
        let stream = in_time("a CIP connection", socket.connect(address)).await.unwrap_or_else(|e| panic!("{address}: {e}"));
        let mut client = Self { stream, early: Vec::new(), greeting: String::new() };
        client.greeting = client.line().await.expect("a greeting");
        client
    }

    /// Connects and reads nothing.
    pub async fn connect_raw(address: SocketAddr) -> Self {
        let stream = in_time("a CIP connection", TcpStream::connect(address)).await.unwrap_or_else(|e| panic!("{address}: {e}"));
        Self { stream, early: Vec::new(), greeting: String::new() }
    }

    /// Sends these octets as they are.
    pub async fn send(&mut self, octets: impl AsRef<[u8]>) {
        in_time("the CIP server to read", self.stream.write_all(octets.as_ref())).await.expect("the CIP server to read");
    }

    /// Ends our half of the connection.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next line, without CRLF; `None` when the server has closed.
    pub async fn line(&mut self) -> Option<String> {
        let line = in_time("a line of the CIP server", line(&mut self.stream, &mut self.early)).await.ok().flatten()?;
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    /// Reads one whole answer.
    pub async fn answer(&mut self) -> Answer {
        self.try_answer().await.unwrap_or_else(|begun| panic!("the CIP server closed within an answer: {begun:?}"))
    }

    /// The same; what had come of it when the server closed instead.
    async fn try_answer(&mut self) -> Result<Answer, Answer> {
        let mut answer = Answer { infos: Vec::new(), completion: String::new(), data: None };
        loop {
            let Some(line) = self.line().await else { return Err(answer) };
            if line == "+" {
                let mut data = String::new();
                while let Some(line) = self.line().await.filter(|l| l != ".") {
                    data.push_str(&line);
                    data.push_str("\r\n");
                }
                answer.data = Some(data);
            } else if line.starts_with('*') {
                answer.infos.push(line);
            } else {
                answer.completion = line;
                return Ok(answer);
            }
        }
    }

    /// Sends a command without data and reads its answer.
    pub async fn command(&mut self, line: &str) -> Answer {
        self.send(format!("{line}\r\n")).await;
        self.answer().await
    }

    /// Sends `VERB +`, the object by the dot rule, and the terminator; reads the answer. An LF in `object` becomes CRLF.
    pub async fn object(&mut self, verb: &str, object: &str) -> Answer {
        self.send(framed(verb, object)).await;
        self.answer().await
    }

    /// The same; `None` when the server has closed, or closes without an answer.
    pub async fn try_object(&mut self, verb: &str, object: &str) -> Option<Answer> {
        in_time("the CIP server to read", self.stream.write_all(framed(verb, object).as_bytes())).await.ok()?;
        self.try_answer().await.ok()
    }

    /// Whether the server closes without another word.
    pub async fn closed(&mut self) -> bool {
        let mut rest = [0; 1];
        self.early.is_empty() && matches!(in_time("the CIP server to close", self.stream.read(&mut rest)).await, Ok(0) | Err(_))
    }
}

fn framed(verb: &str, object: &str) -> String {
    let mut octets = format!("{verb} +\r\n");
    for line in object.lines() {
        if !line.is_empty() && line.bytes().all(|b| b == b'.') {
            octets.push('.');
        }
        octets.push_str(line);
        octets.push_str("\r\n");
    }
    octets.push_str(".\r\n");
    octets
}
