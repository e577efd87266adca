//! The server's side of a session (draft 1.4, 2; profile 1–4), no I/O: octets in, steps out.
//!
//! Order of use: feed what the socket gives, take steps until `None`. The first step is the greeting. A step that asks
//! something of the relay ([`Step::asks`]) is followed by no other until it has been answered; octets that arrive
//! meanwhile are kept and handled in order. After [`Step::Close`] nothing more comes.
//!
//! Invariants: exactly one answer to each command, in order; nothing is said between a command line and the end of its
//! data; memory is bounded by the object limit and one read. Place for what is not here yet: `AUTHENTICATE TLS` will be
//! a step that is legal only while [`Framer::pending`] is zero; EXTERNAL and SCRAM will be states beside [`State::Asking`].

use crate::cip::command::{Command, MAX_LINE, Password};
use crate::cip::greeting::Greeting;
use crate::cip::response::{Answer, Completion, FreeBusyAnswer, code};
use crate::wire::{DataError, DataRule, DotRule, Framer, LineError, LineRule};

/// Octets of one line of data (profile 1).
pub const MAX_DATA_LINE: usize = 64 << 10;
/// Bad commands, since the last command that went well, after which the session is closed with `NO 005`.
pub const MAX_ERRORS: u32 = 20;

/// What a site decides.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// In the greeting.
    pub hostname: String,
    /// Octets of one object.
    pub max_event_size: usize,
    /// Whether AUTHENTICATE LOGIN is served on a connection without TLS.
    pub allow_plaintext_login: bool,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write these octets.
    Send(Vec<u8>),
    /// Check these credentials, then [`ServerSession::logged_in`].
    Login { identity: String, password: Password },
    /// Take this object, then [`ServerSession::answered`].
    SendEvent(Vec<u8>),
    /// Take this object, then [`ServerSession::answered`].
    Rsvp(Vec<u8>),
    /// Answer this request, then [`ServerSession::free_busy_answered`].
    FreeBusy(Vec<u8>),
    /// Write these octets and close.
    Close(Vec<u8>),
}

impl Step {
    /// Whether the session waits for an answer to this step.
    pub fn asks(&self) -> bool {
        !matches!(self, Self::Send(_) | Self::Close(_))
    }

    /// Octets of the client's that are in it.
    pub fn octets(&self) -> usize {
        match self {
            Self::SendEvent(object) | Self::Rsvp(object) | Self::FreeBusy(object) => object.len(),
            Self::Send(_) | Self::Close(_) | Self::Login { .. } => 0,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    New,
    Ready,
    Data(Purpose),
    /// The relay works on a command.
    Asking,
    Closed,
}

/// What the data being read is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Purpose {
    SendEvent,
    Rsvp,
    FreeBusy,
    /// Of a bad command: read it, then say this with `NO 001`.
    Discard(String),
}

/// See the module's words.
#[derive(Debug)]
pub struct ServerSession {
    settings: SessionSettings,
    framer: Framer,
    state: State,
    errors: u32,
    blank_lines: u64,
}

impl ServerSession {
    pub fn new(settings: SessionSettings) -> Self {
        Self { settings, framer: Framer::new(), state: State::New, errors: 0, blank_lines: 0 }
    }

    /// Takes what the socket gave: one read of some 16 KiB, and not while the relay works on a command.
    pub fn feed(&mut self, octets: &[u8]) {
        if self.state != State::Closed {
            self.framer.push(octets);
        }
    }

    /// The next step; `None`: more octets are needed, or the answer to the last step.
    #[expect(clippy::should_implement_trait, reason = "it is no iterator: more may come after `None`")]
    pub fn next(&mut self) -> Option<Step> {
        loop {
            match std::mem::replace(&mut self.state, State::Ready) {
                State::New => {
                    let mut out = Vec::new();
                    Greeting::new(&*self.settings.hostname).write(&mut out);
                    return Some(Step::Send(out));
                }
                State::Ready => {
                    let line = self.framer.line(LineRule { max: MAX_LINE, nul: false })?;
                    if let Some(step) = self.command(line) {
                        return Some(step);
                    }
                }
                State::Data(purpose) => return self.read_object(purpose),
                waiting @ (State::Asking | State::Closed) => {
                    self.state = waiting;
                    return None;
                }
            }
        }
    }

    /// Whether no command has been begun: the session may be closed without cutting into anything.
    pub fn is_between_commands(&self) -> bool {
        matches!(self.state, State::New | State::Ready)
    }

    /// Whether the data of a command is being read.
    pub fn is_in_data(&self) -> bool {
        matches!(self.state, State::Data(_))
    }

    /// Grows with each complete line except blank ones between commands: what the idle timer watches (profile 1).
    pub fn progress(&self) -> u64 {
        self.framer.lines() - self.blank_lines
    }

    /// The relay's answer to SENDEVENT or RSVP. An answer with code 005 closes the session.
    pub fn answered(&mut self, answer: &Answer) -> Step {
        let mut out = Vec::new();
        answer.write(&mut out);
        self.settle(&answer.completion, out)
    }

    /// The relay's answer to FREEBUSY.
    pub fn free_busy_answered(&mut self, answer: &FreeBusyAnswer) -> Step {
        let mut out = Vec::new();
        answer.write(&mut out);
        self.settle(&answer.answer.completion, out)
    }

    /// Whether the credentials were right. A failed login says nothing more (draft 2.1).
    pub fn logged_in(&mut self, success: bool) -> Step {
        self.answered(&if success { Answer::ok(code::NONE, "Login complete.") } else { Answer::no(code::NONE, "Access denied.") })
    }

    /// `NO 005 why`, and the end: idle, shutting down.
    pub fn close(&mut self, why: &str) -> Step {
        self.state = State::Closed;
        Step::Close(line(&Completion::no(code::CLOSING, why)))
    }

    /// `NO 004 why`, and the end: there is no room for what is being sent.
    pub fn put_off(&mut self, why: &str) -> Step {
        self.state = State::Closed;
        self.framer = Framer::new();
        Step::Close(refusal(why))
    }

    /// Octets held of what is being received, at most.
    pub fn held(&self) -> usize {
        self.framer.pending().min(self.settings.max_event_size.saturating_add(MAX_DATA_LINE))
    }

    fn settle(&mut self, completion: &Completion, out: Vec<u8>) -> Step {
        debug_assert_eq!(self.state, State::Asking, "an answer without a question");
        if completion.ok {
            self.errors = 0;
        }
        if completion.code == code::CLOSING && !completion.ok {
            self.state = State::Closed;
            return Step::Close(out);
        }
        self.state = State::Ready;
        Step::Send(out)
    }

    /// One command line; `None`: nothing is to be said yet.
    fn command(&mut self, line: Result<Vec<u8>, LineError>) -> Option<Step> {
        let command = match line {
            Ok(line) if line.trim_ascii().is_empty() => {
                self.blank_lines += 1;
                return None;
            }
            Ok(line) => Command::parse(&line).map_err(|bad| (bad.why.to_owned(), bad.data)),
            // What cannot be read can still say that data follows, which must not be taken for commands.
            Err(flaw) => Err((command_flaw(flaw), self.framer.tail() == Some(b'+'))),
        };
        match command {
            Ok(Command::SendEvent) => self.state = State::Data(Purpose::SendEvent),
            Ok(Command::Rsvp) => self.state = State::Data(Purpose::Rsvp),
            Ok(Command::FreeBusy) => self.state = State::Data(Purpose::FreeBusy),
            Ok(Command::Login { identity, password }) => return Some(self.login(identity, password)),
            Err((why, true)) => self.state = State::Data(Purpose::Discard(why)),
            Err((why, false)) => return Some(self.refuse(code::BAD, &why)),
        }
        None
    }

    fn login(&mut self, identity: String, password: Password) -> Step {
        if !self.settings.allow_plaintext_login {
            return self.refuse(code::ACCESS, "A password is not taken on a connection without encryption.");
        }
        self.state = State::Asking;
        Step::Login { identity, password }
    }

    fn read_object(&mut self, purpose: Purpose) -> Option<Step> {
        let rule = DataRule { dots: DotRule::Cip, max_line: MAX_DATA_LINE, max_size: self.settings.max_event_size, nul: false };
        let Some(object) = self.framer.data(&rule) else {
            self.state = State::Data(purpose);
            return None;
        };
        Some(match (object, purpose) {
            (Err(flaw @ DataError::Abandon { .. }), _) => {
                self.state = State::Closed;
                Step::Close(line(&Completion::no(code::BAD, object_flaw(flaw))))
            }
            (_, Purpose::Discard(why)) => self.refuse(code::BAD, &why),
            (Err(flaw), _) => self.refuse(code::BAD, &object_flaw(flaw)),
            (Ok(object), purpose) => {
                self.state = State::Asking;
                match purpose {
                    Purpose::Rsvp => Step::Rsvp(object),
                    Purpose::FreeBusy => Step::FreeBusy(object),
                    _ => Step::SendEvent(object),
                }
            }
        })
    }

    /// A NO of the session's own, and the end when there were too many.
    fn refuse(&mut self, code: u16, why: &str) -> Step {
        self.errors += 1;
        if self.errors >= MAX_ERRORS {
            return self.close("Too many errors.");
        }
        self.state = State::Ready;
        Step::Send(line(&Completion::no(code, why)))
    }
}

/// The refusal instead of a greeting: `NO 004 why` (profile 2).
pub fn refusal(why: &str) -> Vec<u8> {
    line(&Completion::no(code::BUSY, why))
}

fn line(completion: &Completion) -> Vec<u8> {
    let mut out = Vec::new();
    completion.write(&mut out);
    out
}

fn command_flaw(flaw: LineError) -> String {
    match flaw {
        LineError::TooLong => format!("A command line has at most {MAX_LINE} octets."),
        LineError::LoneCrOrLf => "A line ends in CRLF; this one holds a CR or LF alone.".to_owned(),
        LineError::Nul => "A line holds no NUL.".to_owned(),
    }
}

fn object_flaw(flaw: DataError) -> String {
    match flaw {
        DataError::TooLarge { limit } | DataError::Abandon { limit } => format!("An object has at most {limit} octets."),
        DataError::LineTooLong { limit } => format!("A line of an object has at most {limit} octets."),
        DataError::LoneCrOrLf => "Lines end in CRLF; the object holds a CR or LF alone.".to_owned(),
        DataError::Nul => "An object holds no NUL.".to_owned(),
    }
}

#[cfg(test)]
mod tests;
