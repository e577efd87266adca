//! A CIP client's connection: the relay's own session on a socket.

use cip_relay::cip::client::{ClientEvent, ClientSession, Limits};
use cip_relay::cip::response::Info;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::ledger::Line;
use super::{Answer, Broken};

pub struct Connection {
    stream: TcpStream,
    session: ClientSession,
}

impl Connection {
    pub async fn open(stream: TcpStream) -> Result<Self, Broken> {
        let mut connection = Self { stream, session: ClientSession::new(Limits::default()) };
        match connection.event().await? {
            ClientEvent::Greeting(_) => Ok(connection),
            other => Err(unexpected(other)),
        }
    }

    pub async fn send(&mut self, line: &Line, object: &[u8]) -> Result<Answer, Broken> {
        let octets = self.session.send_event(object).map_err(|e| Broken::Protocol(e.to_string()))?;
        self.stream.write_all(&octets).await?;
        let answer = match self.event().await? {
            ClientEvent::Answer(answer) => answer,
            other => return Err(unexpected(other)),
        };
        let said = format!("{} {:03} {}", if answer.completion.ok { "OK" } else { "NO" }, answer.completion.code, answer.completion.text);
        if !answer.completion.ok {
            // 001 and 002 are for good (profile 3), and a NO without a word for each recipient is not.
            let lasting = matches!(answer.completion.code, 1 | 2) || !answer.infos.is_empty();
            return Ok(if lasting { Answer::Refused(said) } else { Answer::Later(said) });
        }
        let without = |user: &String| !answer.infos.iter().any(|info| excludes(info, user));
        let taken: Vec<String> = line.recipients.iter().filter(|user| without(user)).cloned().collect();
        Ok(if taken.is_empty() { Answer::Refused(said) } else { Answer::Taken(taken) })
    }

    async fn event(&mut self) -> Result<ClientEvent, Broken> {
        let mut octets = [0; 4096];
        loop {
            if let Some(event) = self.session.next() {
                return Ok(event);
            }
            let n = self.stream.read(&mut octets).await?;
            if n == 0 {
                return Err(Broken::Closed);
            }
            self.session.push(&octets[..n]);
        }
    }
}

/// Whether a line says that this user has not got it.
fn excludes(info: &Info, user: &str) -> bool {
    match info {
        Info::NotFound(who) | Info::PermDenied(who) => who.eq_ignore_ascii_case(user),
        Info::RedirectUser { old, .. } => old.key() == user,
        _ => false,
    }
}

fn unexpected(event: ClientEvent) -> Broken {
    match event {
        ClientEvent::Error(error) => Broken::Protocol(error.to_string()),
        other => Broken::Protocol(format!("the server said {other:?}")),
    }
}
