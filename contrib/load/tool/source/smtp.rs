//! An SMTP client's connection (RFC 5321), with the commands of a message in one write where the server allows that
//! (RFC 2920).

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::ledger::Line;
use super::{Answer, Broken};

/// Octets that a server may have said without coming to the end of a reply.
const MAX_REPLY: usize = 64 << 10;

pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    pipelining: bool,
}

/// One reply: its code, and its lines.
struct Reply {
    code: u16,
    text: String,
}

impl Reply {
    fn answer(self) -> Answer {
        if self.code < 500 { Answer::Later(self.text) } else { Answer::Refused(self.text) }
    }

    fn positive(&self) -> bool {
        self.code < 400
    }
}

impl Connection {
    pub async fn open(stream: TcpStream) -> Result<Self, Broken> {
        let mut connection = Self { stream, unread: Vec::new(), pipelining: false };
        let greeting = connection.reply().await?;
        if !greeting.positive() {
            return Err(Broken::Protocol(greeting.text));
        }
        connection.stream.write_all(b"EHLO load.example\r\n").await?;
        let hello = connection.reply().await?;
        if !hello.positive() {
            return Err(Broken::Protocol(hello.text));
        }
        connection.pipelining = hello.text.lines().any(|line| line.get(4..).is_some_and(|word| word.eq_ignore_ascii_case("PIPELINING")));
        Ok(connection)
    }

    /// One transaction. Those refused at RCPT are left out of what was taken.
    pub async fn send(&mut self, from: &str, line: &Line, mail: &[u8]) -> Result<Answer, Broken> {
        let mut commands = vec![format!("MAIL FROM:<{from}>\r\n")];
        commands.extend(line.recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>\r\n")));
        commands.push("DATA\r\n".to_owned());
        let mut replies = Vec::new();
        if self.pipelining {
            self.stream.write_all(commands.concat().as_bytes()).await?;
            for _ in &commands {
                replies.push(self.reply().await?);
            }
        } else {
            for command in &commands {
                self.stream.write_all(command.as_bytes()).await?;
                replies.push(self.reply().await?);
            }
        }
        let go = replies.pop().ok_or(Broken::Closed)?;
        let mut replies = replies.into_iter();
        let sender = replies.next().ok_or(Broken::Closed)?;
        let judged: Vec<(String, Reply)> = line.recipients.iter().cloned().zip(replies).collect();
        if go.code != 354 {
            self.stream.write_all(b"RSET\r\n").await?;
            self.reply().await?;
            let first = std::iter::once(sender).chain(judged.into_iter().map(|(_, reply)| reply)).find(|reply| !reply.positive());
            return Ok(first.unwrap_or(go).answer());
        }
        self.stream.write_all(&dotted(mail)).await?;
        let end = self.reply().await?;
        if !end.positive() {
            return Ok(end.answer());
        }
        Ok(Answer::Taken(judged.into_iter().filter(|(_, reply)| reply.positive()).map(|(recipient, _)| recipient).collect()))
    }

    async fn reply(&mut self) -> Result<Reply, Broken> {
        loop {
            if let Some(reply) = self.whole()? {
                return Ok(reply);
            }
            if self.unread.len() > MAX_REPLY {
                return Err(Broken::Protocol(format!("a reply of more than {MAX_REPLY} octets")));
            }
            let mut octets = [0; 4096];
            let n = self.stream.read(&mut octets).await?;
            if n == 0 {
                return Err(Broken::Closed);
            }
            self.unread.extend_from_slice(&octets[..n]);
        }
    }

    /// The first whole reply of what was read, taken out of it.
    fn whole(&mut self) -> Result<Option<Reply>, Broken> {
        let mut end = 0;
        for line in self.unread.split_inclusive(|&octet| octet == b'\n').take_while(|line| line.ends_with(b"\n")) {
            end += line.len();
            if line.get(3) == Some(&b'-') {
                continue;
            }
            let text = String::from_utf8_lossy(&self.unread[..end]).trim_end().replace('\r', "");
            self.unread.drain(..end);
            let last = text.lines().last().unwrap_or_default();
            let code = last.get(..3).and_then(|code| code.parse().ok());
            return code.map(|code| Some(Reply { code, text: text.clone() })).ok_or(Broken::Protocol(text));
        }
        Ok(None)
    }
}

/// The mail as DATA sends it (RFC 5321 4.5.2), with its end.
fn dotted(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + 5);
    cip_relay::wire::write_data(mail, cip_relay::wire::DotRule::Smtp, &mut out);
    out
}
