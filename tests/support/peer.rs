//! A CIP server that plays a part: it greets, reads commands and data by the draft's rules, answers as it was told, and
//! keeps everything that it was sent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::port::Port;
use super::{eventually, object};

/// One command as it came, with its data.
#[derive(Clone, Debug)]
pub struct Command {
    /// Counted from 0 in the order of accepting.
    pub connection: usize,
    /// `SENDEVENT`, `RSVP`, `FREEBUSY`, `AUTHENTICATE`, …, in upper case.
    pub verb: String,
    /// The command line, without CRLF.
    pub line: String,
    /// The data with the dot rule undone, CRLF lines; empty for a command without data.
    pub object: Vec<u8>,
}

impl Command {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.object).into_owned()
    }

    /// Whom a SENDEVENT is for at `server_id`.
    pub fn recipients(&self, server_id: &str) -> Vec<String> {
        object::recipients(&self.object, server_id)
    }

    /// The value of the first property of this name.
    pub fn value(&self, name: &str) -> Option<String> {
        object::value(&self.object, name)
    }
}

/// What to do about one command.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These lines, CRLF put behind each.
    Lines(Vec<String>),
    /// Close without an answer.
    Cut,
    /// Keep the connection and say nothing, ever.
    Silence,
    /// The lines, after this long.
    Late(Duration, Vec<String>),
}

impl Reply {
    pub fn lines<S: Into<String>>(lines: impl IntoIterator<Item = S>) -> Self {
        Self::Lines(lines.into_iter().map(Into::into).collect())
    }
}

type Script = Arc<dyn Fn(&Command, &str) -> Option<Reply> + Send + Sync>;

/// How a peer behaves: what it says first, and rules that are asked in order; what no rule answers is accepted.
#[derive(Clone)]
pub struct Behaviour {
    /// Octets that greet, CRLF included; `None`: `OK CIP 1.0 SERVER-ID`; empty: silence.
    greeting: Option<Vec<u8>>,
    /// Close after the greeting.
    close: bool,
    rules: Vec<Script>,
    users: Vec<(String, String)>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self::accept()
    }
}

impl Behaviour {
    /// Takes everything: `* TENTATIVE user` for each recipient of this server, `OK 000`; nobody's free/busy is known.
    pub fn accept() -> Self {
        Self { greeting: None, close: false, rules: Vec::new(), users: Vec::new() }
    }

    /// Accepts connections and never says a word.
    pub fn silent() -> Self {
        Self { greeting: Some(Vec::new()), ..Self::accept() }
    }

    /// Greets with these octets.
    pub fn greeting(octets: impl Into<Vec<u8>>) -> Self {
        Self { greeting: Some(octets.into()), ..Self::accept() }
    }

    /// A mail server where a calendar server was expected.
    pub fn smtp() -> Self {
        Self::greeting("220 mail.example ESMTP\r\n")
    }

    /// Greets `NO 004` and closes: no service now (profile 2).
    pub fn no_service() -> Self {
        Self { close: true, ..Self::greeting("NO 004 Too many sessions.\r\n") }
    }

    /// Adds a rule: given the command and the server-id, an answer or "ask the next rule".
    #[must_use]
    pub fn rule(mut self, script: impl Fn(&Command, &str) -> Option<Reply> + Send + Sync + 'static) -> Self {
        self.rules.push(Arc::new(script));
        self
    }

    /// Answers every `verb` with these lines.
    #[must_use]
    pub fn answer(self, verb: &'static str, lines: &[&str]) -> Self {
        let lines: Vec<String> = lines.iter().map(|&l| l.to_owned()).collect();
        self.rule(move |command, _| (command.verb == verb).then(|| Reply::Lines(lines.clone())))
    }

    /// Refuses SENDEVENT and RSVP with `NO 004`: not now.
    #[must_use]
    pub fn busy(self) -> Self {
        self.answer("SENDEVENT", &["NO 004 Not now."]).answer("RSVP", &["NO 004 Not now."])
    }

    /// Reads the data of the first `times` events or answers and closes without a word: the client cannot know.
    #[must_use]
    pub fn cut_after_data(self, times: usize) -> Self {
        let left = Arc::new(AtomicUsize::new(times));
        self.rule(move |command, _| {
            let data = matches!(command.verb.as_str(), "SENDEVENT" | "RSVP");
            let cut = data && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
            cut.then_some(Reply::Cut)
        })
    }

    /// SENDEVENT for `user` gets `* NOTFOUND user`.
    #[must_use]
    pub fn not_found(self, user: &str) -> Self {
        self.user(user, &format!("NOTFOUND {user}"))
    }

    /// SENDEVENT for `user` gets `* PERMDENIED user`.
    #[must_use]
    pub fn denied(self, user: &str) -> Self {
        self.user(user, &format!("PERMDENIED {user}"))
    }

    /// SENDEVENT for `old` gets `* REDIRECT USER old IS NOW new`.
    #[must_use]
    pub fn redirect_user(self, old: &str, new: &str) -> Self {
        self.user(old, &format!("REDIRECT USER {old} IS NOW {new}"))
    }

    /// RSVP to `old` gets `* REDIRECT EVENT old IS NOW new`, `NO 000`.
    #[must_use]
    pub fn redirect_event(self, old: &str, new: &str) -> Self {
        let (old, new) = (old.to_owned(), new.to_owned());
        self.rule(move |command, _| {
            let it = command.verb == "RSVP" && command.value("UID").is_some_and(|uid| uid.eq_ignore_ascii_case(&old));
            it.then(|| Reply::lines([format!("* REDIRECT EVENT {old} IS NOW {new}"), "NO 000 The event has moved.".to_owned()]))
        })
    }

    fn user(mut self, user: &str, info: &str) -> Self {
        self.users.push((user.to_ascii_lowercase(), info.to_owned()));
        self
    }

    fn reply(&self, command: &Command, server_id: &str) -> Reply {
        if let Some(reply) = self.rules.iter().find_map(|rule| rule(command, server_id)) {
            return reply;
        }
        match command.verb.as_str() {
            "SENDEVENT" => self.send_event(&command.recipients(server_id)),
            "RSVP" => Reply::lines(["OK 000 RSVP accepted."]),
            "FREEBUSY" => {
                let users = object::values(&command.object, "ATTENDEE");
                let infos = users.iter().map(|user| format!("* NOTFOUND {}", object::address(user)));
                Reply::lines(infos.chain(["NO 000 Nobody is known.".to_owned()]))
            }
            "AUTHENTICATE" if command.line.to_ascii_uppercase().starts_with("AUTHENTICATE LOGIN ") => {
                Reply::lines(["OK 000 Login complete."])
            }
            _ => Reply::lines(["NO 001 Unknown command."]),
        }
    }

    /// Draft 2.2, profile 6: a line for each recipient; all, some or none stored.
    fn send_event(&self, recipients: &[String]) -> Reply {
        let mut stored = 0;
        let mut lines = Vec::new();
        for user in recipients {
            if let Some((_, info)) = self.users.iter().find(|(u, _)| u == user) {
                lines.push(format!("* {info}"));
            } else {
                stored += 1;
                lines.push(format!("* TENTATIVE {user}"));
            }
        }
        lines.push(match stored {
            0 => "NO 000 Nobody here.".to_owned(),
            n if n == recipients.len() => "OK 000 SENDEVENT completed.".to_owned(),
            _ => "OK 003 Some were not served.".to_owned(),
        });
        Reply::Lines(lines)
    }
}

pub struct CipPeer {
    shared: Arc<Shared>,
    port: Port,
}

struct Shared {
    server_id: String,
    behaviour: Mutex<Behaviour>,
    commands: Mutex<Vec<Command>>,
    connections: AtomicUsize,
}

impl CipPeer {
    /// A peer that listens.
    // Not because it waits: the port belongs to the runtime that it is started on.
    #[allow(clippy::unused_async)]
    pub async fn start(server_id: &str, behaviour: Behaviour) -> Self {
        let peer = Self::down(server_id, behaviour);
        peer.port.open();
        peer
    }

    /// A peer whose port refuses connections until [`CipPeer::up`].
    pub fn down(server_id: &str, behaviour: Behaviour) -> Self {
        let shared = Arc::new(Shared {
            server_id: server_id.to_owned(),
            behaviour: Mutex::new(behaviour),
            commands: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let for_sessions = shared.clone();
        let port = Port::new(move |stream| {
            let shared = for_sessions.clone();
            async move {
                let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
                // A client that goes away ends its session and nothing else.
                let _ = session(stream, connection, &shared).await;
            }
        });
        Self { shared, port }
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub fn server_id(&self) -> &str {
        &self.shared.server_id
    }

    /// Listens (again) on the same port.
    pub fn up(&self) {
        self.port.open();
    }

    /// Closes every connection; connections are refused from now on.
    pub async fn stop(&self) {
        self.port.close().await;
    }

    /// Behaves like this from the next command on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Every command so far, in order of arrival.
    pub fn commands(&self) -> Vec<Command> {
        self.shared.commands.lock().unwrap().clone()
    }

    /// How many commands have come so far.
    pub fn count(&self) -> usize {
        self.shared.commands.lock().unwrap().len()
    }

    /// Connections that are open just now.
    pub fn sessions(&self) -> usize {
        self.port.sessions()
    }

    /// The commands of this verb so far.
    pub fn of(&self, verb: &str) -> Vec<Command> {
        self.commands().into_iter().filter(|c| c.verb == verb).collect()
    }

    /// Waits until at least `n` commands of this verb have come; gives all of them.
    pub async fn wait_for(&self, verb: &str, n: usize) -> Vec<Command> {
        eventually(&format!("{n} {verb} at {}; came: {:?}", self.server_id(), self.commands().len()), || async {
            Some(self.of(verb)).filter(|seen| seen.len() >= n)
        })
        .await
    }
}

async fn session(mut stream: TcpStream, connection: usize, shared: &Shared) -> std::io::Result<()> {
    let behaviour = shared.behaviour.lock().unwrap().clone();
    match &behaviour.greeting {
        None => stream.write_all(format!("OK CIP 1.0 {}\r\n", shared.server_id).as_bytes()).await?,
        Some(octets) if octets.is_empty() => std::future::pending().await,
        Some(octets) => stream.write_all(octets).await?,
    }
    if behaviour.close {
        return Ok(());
    }
    let mut early = Vec::new();
    while let Some(line) = line(&mut stream, &mut early).await? {
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.trim().is_empty() {
            continue;
        }
        let mut object = Vec::new();
        if line.ends_with('+') {
            loop {
                let Some(mut data) = self::line(&mut stream, &mut early).await? else { return Ok(()) };
                if data == b"." {
                    break;
                }
                if data.len() >= 2 && data.iter().all(|&b| b == b'.') {
                    data.pop();
                }
                object.extend_from_slice(&data);
                object.extend_from_slice(b"\r\n");
            }
        }
        let verb = line.split([' ', '+']).next().unwrap_or("").to_ascii_uppercase();
        let command = Command { connection, verb, line, object };
        let behaviour = shared.behaviour.lock().unwrap().clone();
        let reply = behaviour.reply(&command, &shared.server_id);
        shared.commands.lock().unwrap().push(command);
        let lines = match reply {
            Reply::Lines(lines) => lines,
            Reply::Late(wait, lines) => {
                tokio::time::sleep(wait).await;
                lines
            }
            Reply::Cut => return Ok(()),
            Reply::Silence => std::future::pending().await,
        };
        stream.write_all((lines.join("\r\n") + "\r\n").as_bytes()).await?;
    }
    Ok(())
}

/// The next line up to CRLF, without it; `None` at the end of the stream. `early` holds what was read beyond it.
pub(super) async fn line<S: AsyncReadExt + Unpin>(stream: &mut S, early: &mut Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    let mut searched = 0;
    loop {
        if let Some(at) = early[searched..].windows(2).position(|w| w == b"\r\n") {
            let mut line: Vec<u8> = early.drain(..searched + at + 2).collect();
            line.truncate(searched + at);
            return Ok(Some(line));
        }
        searched = early.len().saturating_sub(1);
        early.reserve(16 * 1024);
        if stream.read_buf(early).await? == 0 {
            return Ok(None);
        }
    }
}
