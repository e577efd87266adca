//! The server session: octets in, [`Step`]s out.
//!
//! The driver gives octets to [`ServerSession::receive`] and then carries out [`ServerSession::step`] until that says
//! [`Step::Read`] or [`Step::Close`]. A step that asks something is answered by the function of its name, and nothing
//! that the client pipelined behind it is looked at before. How the input is cut into pieces changes nothing.
//!
//! Invariant: outside of `transaction` nothing of a message is kept, so whatever ends a transaction frees it.

use super::command::{self, Command, Mail};
use super::message::{self, MAX_DATA_LINE};
use super::{Envelope, MailReply, reply};
use crate::wire::{DataError, DataRule, DotRule, Exact, Framer, LineRule};

/// Octets of a command line with its CRLF: profile 1's limit, ample for two addresses of any script.
const LINE: LineRule = LineRule { max: 4096, nul: false };
/// RFC 5321 4.5.3.1.8 asks for 100 at least.
pub(super) const MAX_RECIPIENTS: usize = 1000;
/// Commands refused for what they are, not for whom they name, until the client is sent away.
pub(super) const MAX_ERRORS: u32 = 20;
/// Replies are handed out when this many octets of them are waiting, else when there is nothing more to do.
const FLUSH: usize = 8 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Smtp,
    Lmtp,
}

/// What a session is told at its start.
#[derive(Clone, Debug)]
pub struct Rules {
    /// In the greeting, in EHLO and in the farewell.
    pub hostname: String,
    pub protocol: Protocol,
    /// Octets of a message.
    pub max_message: usize,
}

/// What the driver is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing can be done before more octets come.
    Read,
    /// Write these octets to the client.
    Send(Vec<u8>),
    /// May a message begin now? [`ServerSession::ready`] is the answer.
    Ready,
    /// What of this recipient? [`ServerSession::recipient`] is the answer.
    Recipient { sender: String, recipient: String },
    /// Take this message; it ends in CRLF. [`ServerSession::message`] is the answer.
    Message { envelope: Envelope, octets: Vec<u8> },
    /// Close the connection; everything has been sent.
    Close,
}

/// See the module's words.
#[derive(Debug)]
pub struct ServerSession {
    rules: Rules,
    framer: Framer,
    out: Vec<u8>,
    mode: Mode,
    asked: Asked,
    helo: Option<String>,
    transaction: Option<Transaction>,
    errors: u32,
}

#[derive(Debug)]
enum Mode {
    Command,
    Data,
    Chunk { chunk: Exact, size: u64, last: bool },
    Closed,
}

/// Which answer of the driver is awaited.
#[derive(Debug)]
enum Asked {
    Nothing,
    Ready(Mail),
    Recipient(String),
    /// How many replies, and whether the client said SMTPUTF8.
    Message {
        recipients: usize,
        smtputf8: bool,
    },
}

/// From MAIL to the end of the message.
#[derive(Debug)]
struct Transaction {
    envelope: Envelope,
    /// Octets of the addresses in it, with what a `String` costs.
    addressed: usize,
    /// The chunks so far; `None` before the first BDAT.
    chunks: Option<Vec<u8>>,
    /// Octets of all chunks, kept or not.
    chunked: u64,
    /// A chunk was refused: the rest is read and discarded (RFC 3030 2).
    failed: bool,
}

impl ServerSession {
    /// A session that greets as soon as it is asked for a step.
    pub fn new(rules: Rules) -> Self {
        let mut session = Self {
            framer: Framer::new(),
            out: Vec::new(),
            mode: Mode::Command,
            asked: Asked::Nothing,
            helo: None,
            transaction: None,
            errors: 0,
            rules,
        };
        let kind = if session.lmtp() { "LMTP" } else { "ESMTP" };
        session.say(220, "", format!("{} {kind} cip-relay", session.rules.hostname));
        session
    }

    /// A session that does not begin: `421` in place of the greeting (RFC 5321 3.1, 3.8).
    pub fn turned_away(rules: Rules, reason: &str) -> Self {
        let mut session = Self::new(rules);
        session.out.clear();
        session.leave("4.3.2", reason);
        session
    }

    /// What the client said in EHLO, HELO or LHLO; `""` before.
    pub fn helo(&self) -> &str {
        self.helo.as_deref().unwrap_or("")
    }

    /// Between MAIL and the reply to the message.
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some() || !matches!(self.asked, Asked::Nothing)
    }

    /// The octets of a message are what comes next.
    pub fn in_message(&self) -> bool {
        matches!(self.mode, Mode::Data | Mode::Chunk { .. })
    }

    /// Octets held for this client, at most: what a limit over all sessions counts.
    pub fn held(&self) -> usize {
        let max = self.rules.max_message;
        let chunk = match self.mode {
            Mode::Chunk { size, .. } => usize::try_from(size).unwrap_or(max).min(max),
            _ => 0,
        };
        let transaction = self.transaction.as_ref().map_or(0, |t| t.addressed + t.chunks.as_ref().map_or(0, Vec::len));
        self.framer.pending().min(max.saturating_add(MAX_DATA_LINE)) + chunk + transaction
    }

    /// Takes what the socket gave: one read at a time, steps in between.
    pub fn receive(&mut self, octets: &[u8]) {
        if !matches!(self.mode, Mode::Closed) {
            self.framer.push(octets);
        }
    }

    /// Ends the session from the driver's side: `421 ENHANCED HOST REASON`, then [`Step::Close`] (RFC 5321 3.8).
    pub fn leave(&mut self, enhanced: &'static str, reason: &str) {
        if !matches!(self.mode, Mode::Closed) {
            self.say(421, enhanced, format!("{} {reason}, closing connection", self.rules.hostname));
            self.shut();
        }
    }

    pub fn step(&mut self) -> Step {
        while self.out.len() < FLUSH && matches!(self.asked, Asked::Nothing) {
            // Nobody waits with these while the door is busy with the message.
            if self.in_message() && !self.out.is_empty() {
                break;
            }
            let more = match &mut self.mode {
                Mode::Closed => return if self.out.is_empty() { Step::Close } else { self.flush() },
                Mode::Command => match self.framer.line(LINE) {
                    None => None,
                    Some(Ok(line)) => Some(self.line(&line)),
                    Some(Err(flaw)) => Some(self.fault(&MailReply::new(500, "5.5.2", flaw.to_string()))),
                },
                Mode::Data => {
                    let rule = DataRule { dots: DotRule::Smtp, max_line: MAX_DATA_LINE, max_size: self.rules.max_message, nul: false };
                    self.framer.data(&rule).map(|end| self.data_end(end))
                }
                Mode::Chunk { chunk, size, last } => {
                    let (size, last) = (*size, *last);
                    chunk.read(&mut self.framer).map(|end| self.chunk_end(end, size, last))
                }
            };
            match more {
                None => break,
                Some(None) => {}
                Some(Some(step)) => return step,
            }
        }
        if self.out.is_empty() { Step::Read } else { self.flush() }
    }

    /// Answers [`Step::Ready`].
    pub fn ready(&mut self, ready: Result<(), String>) {
        let Asked::Ready(mail) = std::mem::replace(&mut self.asked, Asked::Nothing) else { return };
        if let Err(reason) = ready {
            self.say(452, "4.3.1", reason);
            return;
        }
        self.transaction = Some(Transaction {
            addressed: mail.sender.len(),
            envelope: Envelope { sender: mail.sender, recipients: Vec::new(), smtputf8: mail.smtputf8, eight_bit: mail.eight_bit },
            chunks: None,
            chunked: 0,
            failed: false,
        });
        self.say(250, "2.1.0", "sender ok");
    }

    /// Answers [`Step::Recipient`].
    pub fn recipient(&mut self, reply: &MailReply) {
        let Asked::Recipient(recipient) = std::mem::replace(&mut self.asked, Asked::Nothing) else { return };
        let reply = reply::checked(reply);
        if let Some(transaction) = self.transaction.as_mut().filter(|_| reply.positive()) {
            transaction.addressed += recipient.len() + size_of::<String>();
            transaction.envelope.recipients.push(recipient);
        }
        self.answer(&reply);
    }

    /// Answers [`Step::Message`]: one reply per recipient of the envelope, in its order.
    pub fn message(&mut self, replies: Vec<MailReply>) {
        let Asked::Message { recipients, smtputf8 } = std::mem::replace(&mut self.asked, Asked::Nothing) else { return };
        let mut replies = replies;
        // A door that does not speak of a recipient has not taken the message for him.
        replies.resize(recipients, MailReply::new(451, "4.3.0", "internal error, try again later"));
        let replies: Vec<MailReply> = replies.iter().map(reply::checked).collect();
        if replies.iter().any(MailReply::positive) {
            self.errors = 0;
        }
        if self.lmtp() {
            for reply in &replies {
                reply::write(reply, smtputf8, &mut self.out);
            }
        } else if let Some(one) = one_of(&replies) {
            reply::write(one, smtputf8, &mut self.out);
        }
    }

    fn lmtp(&self) -> bool {
        self.rules.protocol == Protocol::Lmtp
    }

    fn flush(&mut self) -> Step {
        Step::Send(std::mem::take(&mut self.out))
    }

    fn shut(&mut self) {
        self.mode = Mode::Closed;
        self.transaction = None;
        self.asked = Asked::Nothing;
        self.framer = Framer::new();
    }

    fn say(&mut self, code: u16, enhanced: &'static str, text: impl Into<String>) {
        self.answer(&MailReply::new(code, enhanced, text));
    }

    fn answer(&mut self, reply: &MailReply) {
        let utf8 = self.transaction.as_ref().is_some_and(|t| t.envelope.smtputf8);
        reply::write(reply, utf8, &mut self.out);
    }

    /// A reply to something that no correct client does; too many of them end the session.
    fn fault(&mut self, reply: &MailReply) -> Option<Step> {
        self.answer(reply);
        self.errors += 1;
        if self.errors >= MAX_ERRORS {
            self.leave("4.7.0", "too many errors");
        }
        None
    }

    fn out_of_order(&mut self, text: &str) -> Option<Step> {
        self.fault(&MailReply::new(503, "5.5.1", text))
    }

    fn line(&mut self, line: &[u8]) -> Option<Step> {
        match command::parse(line) {
            Ok(command) => self.command(command),
            Err(error) => {
                self.fault(&error.reply());
                if error.fatal() {
                    self.shut();
                }
                None
            }
        }
    }

    fn command(&mut self, command: Command) -> Option<Step> {
        match command {
            Command::Ehlo(_) | Command::Helo(_) if self.lmtp() => return self.out_of_kind("this is LMTP, say LHLO"),
            Command::Lhlo(_) if !self.lmtp() => return self.out_of_kind("this is SMTP, say EHLO"),
            Command::Ehlo(host) | Command::Lhlo(host) => self.hello(host, true),
            Command::Helo(host) => self.hello(host, false),
            Command::Mail(mail) => return self.mail(mail),
            Command::Rcpt(recipient) => return self.rcpt(recipient),
            Command::Data => return self.data(),
            Command::Bdat { size, last } => return self.bdat(size, last),
            Command::Rset => {
                self.transaction = None;
                self.say(250, "2.0.0", "reset");
            }
            Command::Noop => self.say(250, "2.0.0", "ok"),
            // Who exists here is not told (RFC 5321 7.3).
            Command::Vrfy => self.say(252, "2.5.0", "cannot verify, but will take a message and try"),
            Command::Help => self.say(214, "2.0.0", "RFC 5321; calendar mail is bridged to CIP, see your administrator"),
            Command::Quit => {
                self.say(221, "2.0.0", format!("{} closing connection", self.rules.hostname));
                self.shut();
            }
        }
        None
    }

    fn out_of_kind(&mut self, text: &str) -> Option<Step> {
        self.fault(&MailReply::new(500, "5.5.1", text))
    }

    fn hello(&mut self, host: String, extended: bool) {
        self.helo = Some(host);
        self.transaction = None;
        let Rules { hostname, max_message, .. } = &self.rules;
        let text = if extended {
            format!(
                "250-{hostname}\r\n250-PIPELINING\r\n250-SIZE {max_message}\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n\
                 250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250 HELP\r\n"
            )
        } else {
            format!("250 {hostname}\r\n")
        };
        self.out.extend_from_slice(text.as_bytes());
    }

    fn mail(&mut self, mail: Mail) -> Option<Step> {
        if self.helo.is_none() {
            return self.out_of_order(if self.lmtp() { "say LHLO first" } else { "say EHLO first" });
        }
        if self.transaction.is_some() {
            return self.out_of_order("MAIL has been given; RSET begins anew");
        }
        if mail.size > self.rules.max_message as u64 {
            self.say(552, "5.3.4", self.too_large());
            return None;
        }
        self.asked = Asked::Ready(mail);
        Some(Step::Ready)
    }

    fn too_large(&self) -> String {
        format!("message is larger than {} octets", self.rules.max_message)
    }

    fn rcpt(&mut self, recipient: String) -> Option<Step> {
        let Some(transaction) = &self.transaction else { return self.out_of_order("say MAIL first") };
        if transaction.chunks.is_some() {
            return self.out_of_order("the message has begun");
        }
        if !recipient.is_ascii() && !transaction.envelope.smtputf8 {
            return self.fault(&command::CommandError::NeedsUtf8.reply());
        }
        if transaction.envelope.recipients.len() >= MAX_RECIPIENTS {
            self.say(452, "4.5.3", format!("more than {MAX_RECIPIENTS} recipients, send the rest in another transaction"));
            return None;
        }
        let sender = transaction.envelope.sender.clone();
        self.asked = Asked::Recipient(recipient.clone());
        Some(Step::Recipient { sender, recipient })
    }

    /// Why a message cannot begin now.
    fn cannot_begin(&self) -> Option<MailReply> {
        match &self.transaction {
            None => Some(MailReply::new(503, "5.5.1", "say MAIL first")),
            // RFC 2033 4.2 wants 503.
            Some(t) if t.envelope.recipients.is_empty() => {
                Some(MailReply::new(if self.lmtp() { 503 } else { 554 }, "5.5.1", "no valid recipients"))
            }
            Some(_) => None,
        }
    }

    fn data(&mut self) -> Option<Step> {
        if let Some(reply) = self.cannot_begin() {
            return self.fault(&reply);
        }
        if self.transaction.as_ref().is_some_and(|t| t.chunks.is_some()) {
            return self.out_of_order("BDAT and DATA cannot be mixed");
        }
        self.mode = Mode::Data;
        self.say(354, "", "send the message, end with CRLF . CRLF");
        None
    }

    fn data_end(&mut self, end: Result<Vec<u8>, DataError>) -> Option<Step> {
        self.mode = Mode::Command;
        match end {
            Ok(octets) => self.complete(octets),
            Err(error) => {
                let reply = match error {
                    DataError::TooLarge { .. } | DataError::Abandon { .. } => MailReply::new(552, "5.3.4", self.too_large()),
                    DataError::LineTooLong { .. } => message::long_line(),
                    DataError::LoneCrOrLf => message::lone(),
                    DataError::Nul => message::nul(),
                };
                self.refuse_message(&reply);
                if matches!(error, DataError::Abandon { .. }) {
                    self.shut();
                }
                None
            }
        }
    }

    fn bdat(&mut self, size: u64, last: bool) -> Option<Step> {
        let refusal = self.cannot_begin();
        let max = self.rules.max_message as u64;
        let transaction = self.transaction.as_mut().filter(|_| refusal.is_none());
        let before = transaction.as_ref().map_or(0, |t| t.chunked);
        if before.saturating_add(size) > max.saturating_mul(4).max(4096) {
            self.say(552, "5.3.4", self.too_large());
            self.shut();
            return None;
        }
        let mut room = 0;
        if let Some(transaction) = transaction {
            transaction.chunked += size;
            let kept = transaction.chunks.get_or_insert_default().len();
            room = if transaction.failed { 0 } else { self.rules.max_message - kept };
        }
        self.mode = Mode::Chunk { chunk: Exact::new(size, room), size, last };
        None
    }

    fn chunk_end(&mut self, end: Result<Vec<u8>, DataError>, size: u64, last: bool) -> Option<Step> {
        self.mode = Mode::Command;
        // The chunk has been read whatever it was worth, so that command and data stay apart (RFC 3030 2).
        if let Some(reply) = self.cannot_begin() {
            return self.fault(&reply);
        }
        // `cannot_begin` has seen to it that there is one.
        let transaction = self.transaction.as_mut()?;
        if transaction.failed {
            // Not held against the client: it may have pipelined any number of chunks.
            self.say(503, "5.5.1", "an earlier chunk was refused; RSET begins anew");
            return None;
        }
        let chunks = transaction.chunks.get_or_insert_default();
        match end {
            Ok(octets) if chunks.is_empty() => *chunks = octets,
            Ok(octets) => chunks.extend_from_slice(&octets),
            Err(_) => {
                *chunks = Vec::new();
                transaction.failed = true;
                let reply = MailReply::new(552, "5.3.4", self.too_large());
                if last {
                    self.refuse_message(&reply);
                } else {
                    self.answer(&reply);
                }
                return None;
            }
        }
        if !last {
            self.say(250, "2.0.0", format!("{size} octets received"));
            return None;
        }
        let octets = std::mem::take(chunks);
        self.complete(octets)
    }

    /// A whole message has come; framing found no fault with it.
    fn complete(&mut self, mut octets: Vec<u8>) -> Option<Step> {
        if let Some(reply) = message::judge(&octets) {
            self.refuse_message(&reply);
            return None;
        }
        // Only a chunk can end in the middle of a line; mail consists of lines.
        if !octets.is_empty() && !octets.ends_with(b"\r\n") {
            octets.extend_from_slice(b"\r\n");
        }
        let mut envelope = self.transaction.take()?.envelope;
        envelope.eight_bit |= !octets.is_ascii();
        self.asked = Asked::Message { recipients: envelope.recipients.len(), smtputf8: envelope.smtputf8 };
        Some(Step::Message { envelope, octets })
    }

    /// Refuses the whole message: for LMTP with one reply per recipient (RFC 2033 4.2).
    fn refuse_message(&mut self, reply: &MailReply) {
        let recipients = self.transaction.as_ref().map_or(0, |t| t.envelope.recipients.len());
        for _ in 0..if self.lmtp() { recipients } else { 1 } {
            self.answer(reply);
        }
        self.transaction = None;
    }
}

/// The one reply of SMTP for several recipients; see `MailDoor::message`.
fn one_of(replies: &[MailReply]) -> Option<&MailReply> {
    let first = |test: fn(&MailReply) -> bool| replies.iter().find(|r| test(r));
    first(MailReply::positive).or_else(|| first(|r| r.code < 500)).or_else(|| replies.first())
}

#[cfg(test)]
mod tests;
