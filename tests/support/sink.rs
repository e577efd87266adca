//! A mail server that keeps what it is sent, and refuses what it was told to refuse.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::eventually;
use super::peer::line;
use super::port::Port;

/// One accepted message and its envelope.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Counted from 0 in the order of accepting.
    pub connection: usize,
    /// Without the angle brackets; `""` is the null sender.
    pub sender: String,
    /// What followed the address in MAIL, such as `BODY=8BITMIME SMTPUTF8`.
    pub parameters: String,
    pub recipients: Vec<String>,
    /// The octets with the dots undone.
    pub data: Vec<u8>,
}

impl Mail {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }

    /// The unfolded value of the first header field of this name.
    pub fn header(&self, name: &str) -> Option<String> {
        let text = self.text();
        let head = text.split("\r\n\r\n").next().unwrap_or("").replace("\r\n ", " ").replace("\r\n\t", " ");
        head.lines().find_map(|field| {
            let (n, value) = field.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

/// Where in a conversation a rule speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Instead of the greeting; the connection is then closed.
    Connect,
    Mail,
    Rcpt,
    /// After the final dot.
    Data,
    /// After the final dot: close without a reply.
    CutAfterData,
}

struct Rule {
    stage: Stage,
    /// The address (sender for `Mail`, recipient for `Rcpt`); `None`: any.
    address: Option<String>,
    reply: String,
    left: usize,
}

pub struct Sink {
    shared: Arc<Shared>,
    port: Port,
}

struct Shared {
    mails: Mutex<Vec<Mail>>,
    /// Refused at [`Stage::Data`].
    refused: Mutex<Vec<Mail>>,
    rules: Mutex<Vec<Rule>>,
    extensions: Mutex<Vec<String>>,
    connections: AtomicUsize,
    refusals: AtomicUsize,
    /// Every address named in RCPT.
    asked: Mutex<Vec<String>>,
}

impl Shared {
    /// The reply of the first rule that has some left, used up by one.
    fn rule(&self, stage: Stage, address: &str) -> Option<String> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules
            .iter_mut()
            .find(|rule| rule.stage == stage && rule.left > 0 && rule.address.as_ref().is_none_or(|a| a.eq_ignore_ascii_case(address)))?;
        rule.left -= 1;
        self.refusals.fetch_add(1, Ordering::SeqCst);
        Some(rule.reply.clone())
    }
}

impl Sink {
    /// A sink that listens.
    // Not because it waits: the port belongs to the runtime that it is started on.
    #[allow(clippy::unused_async)]
    pub async fn start() -> Self {
        let sink = Self::down();
        sink.up();
        sink
    }

    /// A sink whose port refuses connections until [`Sink::up`].
    pub fn down() -> Self {
        let shared = Arc::new(Shared {
            mails: Mutex::default(),
            refused: Mutex::default(),
            rules: Mutex::default(),
            extensions: Mutex::new(["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"].map(str::to_owned).to_vec()),
            connections: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            asked: Mutex::default(),
        });
        let for_sessions = shared.clone();
        let port = Port::new(move |stream| {
            let shared = for_sessions.clone();
            async move {
                let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
                let _ = session(stream, connection, &shared).await;
            }
        });
        Self { shared, port }
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Listens (again) on the same port.
    pub fn up(&self) {
        self.port.open();
    }

    /// Closes every connection; connections are refused from now on.
    pub async fn stop(&self) {
        self.port.close().await;
    }

    /// Replies `reply` (`"451 4.3.0 Later."`) at this stage, the next `times` times. `address` narrows it to one sender
    /// (at [`Stage::Mail`]) or recipient (at [`Stage::Rcpt`]).
    pub fn refuse(&self, stage: Stage, address: Option<&str>, reply: &str, times: usize) {
        self.shared.rules.lock().unwrap().push(Rule { stage, address: address.map(str::to_owned), reply: reply.to_owned(), left: times });
    }

    /// Forgets every rule.
    pub fn relent(&self) {
        self.shared.rules.lock().unwrap().clear();
    }

    /// What EHLO offers; without any, EHLO is still answered.
    pub fn offer(&self, extensions: &[&str]) {
        *self.shared.extensions.lock().unwrap() = extensions.iter().map(|&e| e.to_owned()).collect();
    }

    /// Everything accepted so far, in order.
    pub fn mails(&self) -> Vec<Mail> {
        self.shared.mails.lock().unwrap().clone()
    }

    /// How many messages have been accepted so far.
    pub fn count(&self) -> usize {
        self.shared.mails.lock().unwrap().len()
    }

    /// Connections that are open just now.
    pub fn sessions(&self) -> usize {
        self.port.sessions()
    }

    /// Every message refused at [`Stage::Data`] so far, in order.
    pub fn refused(&self) -> Vec<Mail> {
        self.shared.refused.lock().unwrap().clone()
    }

    /// What was accepted for this recipient.
    pub fn mails_for(&self, recipient: &str) -> Vec<Mail> {
        self.mails().into_iter().filter(|m| m.recipients.iter().any(|r| r.eq_ignore_ascii_case(recipient))).collect()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How often this recipient was named in RCPT, with or without a message behind it.
    pub fn asked_for(&self, recipient: &str) -> usize {
        self.shared.asked.lock().unwrap().iter().filter(|r| r.eq_ignore_ascii_case(recipient)).count()
    }

    /// How often a rule of [`Sink::refuse`] has spoken.
    pub fn refusals(&self) -> usize {
        self.shared.refusals.load(Ordering::SeqCst)
    }

    /// Waits until at least `n` messages have been accepted; gives all of them.
    pub async fn wait_for(&self, n: usize) -> Vec<Mail> {
        eventually(&format!("{n} messages at the mail sink"), || async { Some(self.mails()).filter(|seen| seen.len() >= n) }).await
    }

    /// Waits until at least `n` messages for this recipient have been accepted; gives them.
    pub async fn wait_for_recipient(&self, recipient: &str, n: usize) -> Vec<Mail> {
        eventually(&format!("{n} messages for {recipient} at the mail sink"), || async {
            Some(self.mails_for(recipient)).filter(|seen| seen.len() >= n)
        })
        .await
    }

    /// Waits until rules have spoken at least `n` times.
    pub async fn wait_for_refusals(&self, n: usize) {
        eventually(&format!("{n} refusals at the mail sink"), || async { (self.refusals() >= n).then_some(()) }).await;
    }
}

async fn session(mut stream: TcpStream, connection: usize, shared: &Shared) -> std::io::Result<()> {
    if let Some(reply) = shared.rule(Stage::Connect, "") {
        return say(&mut stream, &reply).await;
    }
    say(&mut stream, "220 sink.test ESMTP").await?;
    let mut early = Vec::new();
    let mut mail: Option<Mail> = None;
    while let Some(octets) = line(&mut stream, &mut early).await? {
        let text = String::from_utf8_lossy(&octets).into_owned();
        let verb = text.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => {
                mail = None;
                let mut lines = vec!["sink.test".to_owned()];
                lines.extend(shared.extensions.lock().unwrap().iter().cloned());
                let last = lines.pop().unwrap_or_default();
                let text: String = lines.iter().map(|l| format!("250-{l}\r\n")).chain([format!("250 {last}\r\n")]).collect();
                stream.write_all(text.as_bytes()).await?;
            }
            "HELO" => {
                mail = None;
                say(&mut stream, "250 sink.test").await?;
            }
            "MAIL" => {
                let Some((sender, parameters)) = path(&text, "MAIL FROM:") else {
                    say(&mut stream, "501 5.5.4 MAIL FROM:<address>").await?;
                    continue;
                };
                if let Some(reply) = shared.rule(Stage::Mail, &sender) {
                    say(&mut stream, &reply).await?;
                } else {
                    mail = Some(Mail { connection, sender, parameters, recipients: Vec::new(), data: Vec::new() });
                    say(&mut stream, "250 2.1.0 Ok").await?;
                }
            }
            "RCPT" => match (path(&text, "RCPT TO:"), &mut mail) {
                (Some((recipient, _)), Some(mail)) => {
                    shared.asked.lock().unwrap().push(recipient.to_ascii_lowercase());
                    if let Some(reply) = shared.rule(Stage::Rcpt, &recipient) {
                        say(&mut stream, &reply).await?;
                    } else {
                        mail.recipients.push(recipient);
                        say(&mut stream, "250 2.1.5 Ok").await?;
                    }
                }
                _ => say(&mut stream, "503 5.5.1 MAIL first").await?,
            },
            "DATA" => match mail.take() {
                Some(mut mail) if !mail.recipients.is_empty() => {
                    say(&mut stream, "354 Go on").await?;
                    let Some(data) = message(&mut stream, &mut early).await? else { return Ok(()) };
                    if shared.rule(Stage::CutAfterData, "").is_some() {
                        return Ok(());
                    }
                    mail.data = data;
                    if let Some(reply) = shared.rule(Stage::Data, "") {
                        shared.refused.lock().unwrap().push(mail);
                        say(&mut stream, &reply).await?;
                    } else {
                        shared.mails.lock().unwrap().push(mail);
                        say(&mut stream, "250 2.0.0 Kept").await?;
                    }
                }
                other => {
                    mail = other;
                    say(&mut stream, "503 5.5.1 RCPT first").await?;
                }
            },
            "RSET" => {
                mail = None;
                say(&mut stream, "250 2.0.0 Ok").await?;
            }
            "NOOP" => say(&mut stream, "250 2.0.0 Ok").await?,
            "QUIT" => return say(&mut stream, "221 2.0.0 Bye").await,
            _ => say(&mut stream, "502 5.5.2 Unknown").await?,
        }
    }
    Ok(())
}

async fn say(stream: &mut TcpStream, line: &str) -> std::io::Result<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await
}

/// `MAIL FROM:<a@b> X=Y` → (`a@b`, `X=Y`).
fn path(line: &str, prefix: &str) -> Option<(String, String)> {
    let head = line.get(..prefix.len())?;
    let rest = line[prefix.len()..].trim_start();
    let (address, parameters) = rest.strip_prefix('<')?.split_once('>')?;
    head.eq_ignore_ascii_case(prefix).then(|| (address.to_owned(), parameters.trim().to_owned()))
}

/// RFC 5321 4.5.2: up to the lone dot; a leading dot is taken off.
async fn message(stream: &mut TcpStream, early: &mut Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    let mut data = Vec::new();
    while let Some(line) = line(stream, early).await? {
        if line == b"." {
            return Ok(Some(data));
        }
        data.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        data.extend_from_slice(b"\r\n");
    }
    Ok(None)
}
