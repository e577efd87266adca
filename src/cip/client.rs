//! The client's side of a session (draft 1.4, 2; profile 2–4), no I/O: what to write, and what the octets read mean.
//!
//! Order of use: push what the socket gives, pull events until `None`; the first event is the greeting; then one command
//! at a time, each answered by one event. After [`ClientEvent::Error`] the session is over and the connection is to be
//! closed.
//!
//! Invariants: one command is outstanding at most; an answer holds at most [`Limits::max_lines`] lines and
//! [`Limits::max_octets`] octets; nothing that a server sends unasked is taken for the answer to a later command.

use crate::cip::command::{Command, Password};
use crate::cip::greeting::{FirstLine, Greeting, MAJOR};
use crate::cip::response::{Answer, Completion, FreeBusyAnswer, Info, Reply, ResponseError, code};
use crate::wire::{self, DataError, DataRule, DotRule, Framer, LineError, LineRule};

/// What is accepted from a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Octets of one response line, with its CRLF.
    pub max_line: usize,
    /// Informational lines in one answer.
    pub max_lines: usize,
    /// Octets of the informational lines of one answer.
    pub max_octets: usize,
    /// Octets of the data part of a FREEBUSY answer.
    pub max_data: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_line: 8192, max_lines: 10_000, max_octets: 4 << 20, max_data: 10 << 20 }
    }
}

/// Why a session cannot go on, or a command cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    #[error("the server's first line is no CIP greeting: {0:?}")]
    NotCip(String),
    #[error("the server speaks CIP {major}.{minor}, this program CIP 1.0")]
    WrongMajor { major: u16, minor: u16 },
    /// `NO 004 …` (or another NO) instead of a greeting.
    #[error("the server will not serve now: {:03} {}", .0.code, .0.text)]
    Busy(Completion),
    /// `NO 005` while no command was outstanding.
    #[error("the server closes the session: {}", .0.text)]
    Closing(Completion),
    #[error(transparent)]
    Response(#[from] ResponseError),
    #[error("bad line from the server: {0}")]
    Line(LineError),
    #[error("bad data from the server: {0}")]
    Data(DataError),
    #[error("the server's answer is larger than {lines} lines or {octets} octets")]
    TooMuch { lines: usize, octets: usize },
    #[error("the server spoke unasked: {0:?}")]
    Unasked(String),
    /// The caller's fault: a command before the greeting, before the last answer, or after an error.
    #[error("a command was given out of turn")]
    OutOfTurn,
    #[error("the object holds a CR or LF that is not part of CRLF, or a NUL, and cannot be sent by CIP")]
    Unsendable,
    #[error("identity or password cannot be sent: the identity is one word, both are without control characters")]
    BadCredentials,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    Greeting(Greeting),
    /// To AUTHENTICATE, SENDEVENT or RSVP. After a completion with code 005 the server closes.
    Answer(Answer),
    FreeBusy(FreeBusyAnswer),
    /// The session is over; close the connection.
    Error(ClientError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Ready,
    /// A command's answer is awaited; whether it may bring data.
    Awaiting {
        free_busy: bool,
    },
    /// Inside the data part of a FREEBUSY answer.
    Data,
    Over,
}

/// See the module's words.
#[derive(Debug)]
pub struct ClientSession {
    limits: Limits,
    framer: Framer,
    state: State,
    infos: Vec<Info>,
    /// Octets of the informational lines so far.
    octets: usize,
    data: Option<Vec<u8>>,
}

impl ClientSession {
    pub fn new(limits: Limits) -> Self {
        Self { limits, framer: Framer::new(), state: State::Greeting, infos: Vec::new(), octets: 0, data: None }
    }

    /// Takes what the socket gave, one read at a time.
    pub fn push(&mut self, octets: &[u8]) {
        if self.state != State::Over {
            self.framer.push(octets);
        }
    }

    /// What the octets so far amount to; `None`: read more.
    #[expect(clippy::should_implement_trait, reason = "it is no iterator: more may come after `None`")]
    pub fn next(&mut self) -> Option<ClientEvent> {
        loop {
            let event = match self.state {
                State::Over => return None,
                State::Data => self.read_data()?,
                _ => self.read_line()?,
            };
            match event {
                Ok(None) => {}
                Ok(Some(event)) => return Some(event),
                Err(error) => {
                    self.state = State::Over;
                    self.framer = Framer::new();
                    return Some(ClientEvent::Error(error));
                }
            }
        }
    }

    /// Whether a command may be given now.
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// `AUTHENTICATE LOGIN identity password` (draft 2.1). The answer's `OK` is all that counts.
    pub fn authenticate_login(&mut self, identity: &str, password: &[u8]) -> Result<Vec<u8>, ClientError> {
        let word = !identity.is_empty() && !identity.contains(|c: char| c.is_whitespace() || c.is_control());
        // A server may take blanks around the password for separators: it could not come through verbatim.
        let trimmed = password.trim_ascii().len() == password.len();
        if !word || password.is_empty() || !trimmed || password.iter().any(u8::is_ascii_control) || identity.len() + password.len() > 4000 {
            return Err(ClientError::BadCredentials);
        }
        self.start(false)?;
        let mut out = Vec::new();
        Command::Login { identity: identity.to_owned(), password: Password(password.to_vec()) }.write(&mut out);
        Ok(out)
    }

    /// `SENDEVENT +` and the object (draft 2.2).
    pub fn send_event(&mut self, object: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.with_data(&Command::SendEvent, object, false)
    }

    /// `RSVP +` and the object (draft 2.3).
    pub fn rsvp(&mut self, object: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.with_data(&Command::Rsvp, object, false)
    }

    /// `FREEBUSY +` and the request (draft 2.4).
    pub fn free_busy(&mut self, request: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.with_data(&Command::FreeBusy, request, true)
    }

    fn with_data(&mut self, command: &Command, object: &[u8], free_busy: bool) -> Result<Vec<u8>, ClientError> {
        if wire::has_lone_cr_or_lf(object) || object.contains(&0) {
            return Err(ClientError::Unsendable);
        }
        self.start(free_busy)?;
        let mut out = Vec::new();
        command.write(&mut out);
        wire::write_data(object, DotRule::Cip, &mut out);
        Ok(out)
    }

    fn start(&mut self, free_busy: bool) -> Result<(), ClientError> {
        if self.state != State::Ready {
            return Err(ClientError::OutOfTurn);
        }
        // What came before the command cannot be its answer.
        if self.framer.pending() > 0 {
            self.state = State::Over;
            return Err(ClientError::Unasked("octets before the command".to_owned()));
        }
        self.infos.clear();
        self.octets = 0;
        self.data = None;
        self.state = State::Awaiting { free_busy };
        Ok(())
    }

    fn read_line(&mut self) -> Option<Result<Option<ClientEvent>, ClientError>> {
        let line = match self.framer.line(LineRule { max: self.limits.max_line, nul: false })? {
            Ok(line) => line,
            // A first line that is not even a line of text is no CIP server's.
            Err(error) if self.state == State::Greeting => return Some(Err(ClientError::NotCip(error.to_string()))),
            Err(error) => return Some(Err(ClientError::Line(error))),
        };
        Some(match self.state {
            State::Greeting => self.greeted(&line).map(Some),
            State::Awaiting { free_busy } => self.replied(&line, free_busy),
            _ => Err(unasked(&line)),
        })
    }

    fn greeted(&mut self, line: &[u8]) -> Result<ClientEvent, ClientError> {
        match FirstLine::parse(line) {
            FirstLine::Ready(g) if g.major == MAJOR => {
                self.state = State::Ready;
                Ok(ClientEvent::Greeting(g))
            }
            FirstLine::Ready(g) => Err(ClientError::WrongMajor { major: g.major, minor: g.minor }),
            FirstLine::Refused(completion) => Err(ClientError::Busy(completion)),
            FirstLine::NotCip(text) => Err(ClientError::NotCip(text)),
        }
    }

    fn replied(&mut self, line: &[u8], free_busy: bool) -> Result<Option<ClientEvent>, ClientError> {
        match Reply::parse(line)? {
            Reply::Info(info) => {
                self.octets += line.len();
                let Limits { max_lines, max_octets, .. } = self.limits;
                if self.infos.len() == max_lines || self.octets > max_octets {
                    return Err(ClientError::TooMuch { lines: max_lines, octets: max_octets });
                }
                self.infos.push(info);
                Ok(None)
            }
            // Data stands first and once (draft 2.4).
            Reply::Data if free_busy && self.data.is_none() && self.infos.is_empty() => {
                self.state = State::Data;
                Ok(None)
            }
            Reply::Data => Err(ClientError::Unasked("+".to_owned())),
            Reply::Completion(completion) => {
                self.state = State::Ready;
                let answer = Answer { infos: std::mem::take(&mut self.infos), completion };
                Ok(Some(if free_busy {
                    ClientEvent::FreeBusy(FreeBusyAnswer { data: self.data.take(), answer })
                } else {
                    ClientEvent::Answer(answer)
                }))
            }
        }
    }

    fn read_data(&mut self) -> Option<Result<Option<ClientEvent>, ClientError>> {
        let rule = DataRule { dots: DotRule::Cip, max_line: 64 << 10, max_size: self.limits.max_data, nul: false };
        Some(match self.framer.data(&rule)? {
            Ok(data) => {
                self.data = Some(data);
                self.state = State::Awaiting { free_busy: true };
                Ok(None)
            }
            Err(error) => Err(ClientError::Data(error)),
        })
    }
}

/// What a line means that no command asked for.
fn unasked(line: &[u8]) -> ClientError {
    match Reply::parse(line) {
        Ok(Reply::Completion(c)) if !c.ok && c.code == code::CLOSING => ClientError::Closing(c),
        _ => ClientError::Unasked(wire::decode(line).chars().take(80).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClientEvent::Error;

    fn events(session: &mut ClientSession, octets: &[u8]) -> Vec<ClientEvent> {
        octets
            .iter()
            .flat_map(|&b| {
                session.push(&[b]);
                std::iter::from_fn(|| session.next()).collect::<Vec<_>>()
            })
            .collect()
    }

    fn greeted() -> ClientSession {
        let mut session = ClientSession::new(Limits::default());
        assert_eq!(events(&mut session, b"OK CIP 1.0 b.com\r\n"), [ClientEvent::Greeting(Greeting::new("b.com"))]);
        session
    }

    #[test]
    fn greetings_that_end_the_session() {
        let table: &[(&[u8], ClientError)] = &[
            (b"220 mail.tiny.com ESMTP\r\n", ClientError::NotCip("220 mail.tiny.com ESMTP".into())),
            (b"SSH-2.0-OpenSSH_9\nmore\r\n", ClientError::NotCip(LineError::LoneCrOrLf.to_string())),
            (b"OK CIP 2.1 b.com\r\n", ClientError::WrongMajor { major: 2, minor: 1 }),
            (b"NO 004 Full.\r\n", ClientError::Busy(Completion::no(4, "Full."))),
        ];
        for (octets, want) in table {
            let mut session = ClientSession::new(Limits::default());
            assert_eq!(events(&mut session, octets), [Error(want.clone())]);
            assert_eq!(session.send_event(b"x"), Err(ClientError::OutOfTurn));
            assert_eq!(events(&mut session, b"OK CIP 1.0 b.com\r\n"), []);
        }
    }

    #[test]
    fn a_session_with_every_command() {
        let mut s = ClientSession::new(Limits::default());
        assert_eq!(s.rsvp(b"x"), Err(ClientError::OutOfTurn));
        let mut s = greeted();
        assert_eq!(s.authenticate_login("a.com", b"PASS WORD").unwrap(), b"AUTHENTICATE LOGIN a.com PASS WORD\r\n");
        assert_eq!(s.send_event(b"x"), Err(ClientError::OutOfTurn));
        assert_eq!(events(&mut s, b"NO 000 Access denied.\r\n"), [ClientEvent::Answer(Answer::no(0, "Access denied."))]);
        assert_eq!(s.send_event(b"UID: 1\r\n.\r\n").unwrap(), b"SENDEVENT +\r\nUID: 1\r\n..\r\n.\r\n");
        let user = crate::ident::UserId::parse("mary@xyz.com").unwrap();
        let want = Answer {
            infos: vec![Info::Tentative(user), Info::NotFound("bill@abc.com".into()), Info::Other("NEW thing".into())],
            completion: Completion::ok(3, "Stored something anyway."),
        };
        let got =
            events(&mut s, b"* TENTATIVE mary@xyz.com\r\n* NOTFOUND  <bill@abc.com>\r\n* NEW thing\r\nOK 003 Stored something anyway.\r\n");
        assert_eq!(got, [ClientEvent::Answer(want)]);
        assert_eq!(s.rsvp(b"UID: 1").unwrap(), b"RSVP +\r\nUID: 1\r\n.\r\n");
        assert_eq!(events(&mut s, b"OK 000\r\n"), [ClientEvent::Answer(Answer::ok(0, ""))]);
        assert_eq!(s.free_busy(b"").unwrap(), b"FREEBUSY +\r\n.\r\n");
        let got = events(&mut s, b"+\r\nBEGIN:VCALENDAR\r\n..\r\n.\r\n* NOTFOUND x@y.z\r\nOK 000 Done.\r\n");
        let answer = Answer { infos: vec![Info::NotFound("x@y.z".into())], completion: Completion::ok(0, "Done.") };
        assert_eq!(got, [ClientEvent::FreeBusy(FreeBusyAnswer { data: Some(b"BEGIN:VCALENDAR\r\n.\r\n".to_vec()), answer })]);
        s.free_busy(b"").unwrap();
        let want = FreeBusyAnswer { data: None, answer: Answer::no(0, "Nobody.") };
        assert_eq!(events(&mut s, b"NO 000 Nobody.\r\n"), [ClientEvent::FreeBusy(want)]);
        assert!(s.is_ready());
        assert_eq!(events(&mut s, b"NO 005 Idle.\r\n"), [Error(ClientError::Closing(Completion::no(5, "Idle.")))]);
    }

    #[test]
    fn servers_that_misbehave() {
        type Ask = fn(&mut ClientSession);
        let send: Ask = |s| drop(s.send_event(b"x").unwrap());
        let ask: Ask = |s| drop(s.free_busy(b"x").unwrap());
        let nothing: Ask = |_| {};
        let table: &[(Ask, &[u8], ClientError)] = &[
            (nothing, b"OK 000 stored\r\n", ClientError::Unasked("OK 000 stored".into())),
            (send, b"250 Ok\r\n", ClientError::Response(ResponseError("250 Ok".into()))),
            (send, b"+\r\n", ClientError::Unasked("+".into())),
            (send, b"OK 000 x\ny\r\n", ClientError::Line(LineError::LoneCrOrLf)),
            (ask, b"* NOTFOUND a@b.c\r\n+\r\n", ClientError::Unasked("+".into())),
            (ask, b"+\r\n.\r\n+\r\n", ClientError::Unasked("+".into())),
            (ask, b"+\r\na\nb\r\n.\r\n", ClientError::Data(DataError::LoneCrOrLf)),
        ];
        for (ask, octets, want) in table {
            let mut session = greeted();
            ask(&mut session);
            assert_eq!(events(&mut session, octets), [Error(want.clone())], "{:?}", wire::decode(octets));
        }
        // A second answer, sent along with the first, is not the next command's.
        let mut session = greeted();
        send(&mut session);
        session.push(b"NO 000 a\r\nOK 000 b\r\n");
        assert_eq!(session.next(), Some(ClientEvent::Answer(Answer::no(0, "a"))));
        assert_eq!(session.rsvp(b"x"), Err(ClientError::Unasked("octets before the command".into())));
        assert_eq!(session.next(), None);
    }

    #[test]
    fn an_answer_is_bounded() {
        for (line, count, max_lines, max_octets) in [("* X\r\n", 11, 10, 1000), ("* 345678\r\n", 13, 1000, 96)] {
            let mut session = ClientSession::new(Limits { max_lines, max_octets, ..Limits::default() });
            session.push(b"OK CIP 1.0 b.com\r\n");
            session.next();
            session.send_event(b"x").unwrap();
            let got = events(&mut session, line.repeat(count).as_bytes());
            assert_eq!(got, [Error(ClientError::TooMuch { lines: max_lines, octets: max_octets })], "{line:?}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused_before_it_is_said() {
        let mut session = greeted();
        for object in ["a\nb\r\n", "a\rb", "a\r\n.\n", "a\0"] {
            assert_eq!(session.send_event(object.as_bytes()), Err(ClientError::Unsendable), "{object:?}");
        }
        for (identity, password) in [("", "x"), ("a b", "x"), ("a", ""), ("a", "x\r\ny"), ("a\n", "x"), ("a", " x")] {
            assert_eq!(session.authenticate_login(identity, password.as_bytes()), Err(ClientError::BadCredentials), "{identity:?}");
        }
        assert!(session.is_ready());
    }
}
