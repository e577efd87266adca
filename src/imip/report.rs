//! Delivery reports, written and recognized (RFC 3464, RFC 6522; bridge 9).
//!
//! Invariants: the report's machine part is 7-bit and holds no line that a peer's words have ended; addresses outside
//! ASCII stand there in the form of RFC 6533; the words say first, in a calendar user's terms, who was not reached. A
//! report is `Auto-Submitted: auto-replied`; that it goes out with the null envelope sender, and never for another report,
//! is its caller's task. What is read from a foreign report is bounded by [`MAX_RECIPIENTS`].

mod recognize;

use crate::calendar::event::Component;
use crate::clock::Timestamp;
use crate::ident::{ServerId, UserId};
use crate::imip::compose::header::{self, Header, visible};
use crate::imip::compose::page::{Page, Section, words};
use crate::mime::transfer::{self, clip};

pub use recognize::{DeliveryReport, MAX_RECIPIENTS, ReportedRecipient, recognize};

/// History lines shown.
const MAX_HISTORY: usize = 20;

/// RFC 3464 2.3.3. The relay writes `Failed` and `Delayed` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Failed,
    Delayed,
    Delivered,
    Relayed,
    Expanded,
}

impl Action {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Failed, "failed"),
        (Self::Delayed, "delayed"),
        (Self::Delivered, "delivered"),
        (Self::Relayed, "relayed"),
        (Self::Expanded, "expanded"),
    ];

    /// The word on the wire.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(a, _)| *a == self).map_or("failed", |(_, word)| word)
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, w)| w.eq_ignore_ascii_case(word.trim())).map(|(a, _)| *a)
    }
}

/// What was on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// An invitation or its update.
    Invitation {
        summary: &'a str,
        component: Component,
    },
    Cancellation {
        summary: &'a str,
    },
    /// An attendee's answer.
    Answer {
        summary: &'a str,
    },
    /// A message without a calendar part, by its Subject.
    Message {
        subject: &'a str,
    },
}

/// One recipient of the report.
#[derive(Clone, Copy, Debug)]
pub struct Unreached<'a> {
    pub name: Option<&'a str>,
    /// Where it went last, after redirects.
    pub address: &'a UserId,
    /// As the originator wrote it.
    pub original: &'a UserId,
    /// Enhanced status (RFC 3463), such as `5.1.1`; another text becomes `5.0.0` or `4.0.0`.
    pub status: &'a str,
    /// Why, in the peer's words or ours.
    pub reason: &'a str,
    /// Which server said so, when one did.
    pub remote: Option<&'a str>,
    pub last_attempt: Option<Timestamp>,
}

/// What is attached as the third part.
#[derive(Clone, Copy, Debug)]
pub enum Attached<'a> {
    Nothing,
    /// The calendar object. It goes without a method, so that no mail program acts upon it.
    Calendar(&'a [u8]),
    /// A message: its header goes back, not its body.
    HeaderOf(&'a [u8]),
}

/// A failure report or a delay warning.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    pub action: Action,
    /// The relay's host name.
    pub reporting_mta: &'a str,
    /// For From (`mailer-daemon@`) and Message-ID.
    pub mail_domain: &'a ServerId,
    /// The originator.
    pub to: &'a UserId,
    pub subject: Subject<'a>,
    pub recipients: &'a [Unreached<'a>],
    /// When the relay accepted it.
    pub arrival: Timestamp,
    /// Of a delay: how long it will be tried.
    pub will_retry_until: Option<Timestamp>,
    /// Lines of the entry's history, the oldest first.
    pub history: &'a [(Timestamp, &'a str)],
    pub attached: Attached<'a>,
    /// The entry id: in the words, and with the action what makes the Message-ID.
    pub entry: &'a str,
    pub now: Timestamp,
}

/// Writes the report as a message.
pub fn compose(report: &Report<'_>) -> Vec<u8> {
    let id = header::fingerprint(&[
        b"report",
        report.entry.as_bytes(),
        report.action.word().as_bytes(),
        report.to.key().as_bytes(),
        report.recipients.iter().map(|r| r.original.key()).collect::<Vec<_>>().join(" ").as_bytes(),
    ]);
    let page = page(report);
    let daemon = UserId::new("mailer-daemon", report.mail_domain.clone()).expect("a plain word is a local part");
    let mut out = Header::default()
        .mailbox("From", Some("Calendar delivery"), &daemon)
        .mailbox("To", None, report.to)
        .text("Subject", &page.title)
        .plain("Date", &header::date(report.now))
        .plain("Message-ID", &header::message_id(&id, report.mail_domain))
        .plain("Auto-Submitted", "auto-replied")
        .plain("MIME-Version", "1.0")
        .finish();
    let boundary = format!("{id}.r");
    put!(
        out,
        "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\"\r\n\r\n\
         --{boundary}\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}\
         --{boundary}\r\nContent-Type: message/delivery-status\r\n\r\n{}",
        transfer::encode_quoted_printable(&page.text()),
        status_part(report)
    );
    match report.attached {
        Attached::Nothing => {}
        Attached::Calendar(octets) => put!(
            out,
            "--{boundary}\r\nContent-Type: text/calendar; charset=UTF-8; name=\"event.ics\"\r\n\
             Content-Disposition: attachment; filename=\"event.ics\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
            transfer::encode_base64(octets)
        ),
        Attached::HeaderOf(message) => put!(
            out,
            "--{boundary}\r\nContent-Type: text/rfc822-headers; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}",
            transfer::encode_quoted_printable(&header_of(message))
        ),
    }
    put!(out, "--{boundary}--\r\n");
    out.into_bytes()
}

/// The header block of a message, at most 64 KiB.
fn header_of(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(transfer::clip_octets(message, 64 << 10)).replace("\r\n", "\n");
    let end = text.find("\n\n").map_or(text.len(), |end| end + 1);
    text[..end].to_owned()
}

fn page(report: &Report<'_>) -> Page {
    let delayed = report.action == Action::Delayed;
    let (what, title) = match report.subject {
        Subject::Invitation { summary, component: Component::Todo } => ("to-do", words(summary)),
        Subject::Invitation { summary, .. } => ("invitation", words(summary)),
        Subject::Cancellation { summary } => ("cancellation", words(summary)),
        Subject::Answer { summary } => ("answer", words(summary)),
        Subject::Message { subject } => ("message", words(subject)),
    };
    let quoted = if title.is_empty() { format!("Your {what}") } else { format!("Your {what} “{title}”") };
    let mut page = Page {
        title: format!("{}: {}", if delayed { "Not delivered yet" } else { "Not delivered" }, if title.is_empty() { what } else { &title }),
        ..Page::default()
    };
    page.intro.push(if delayed {
        let until = report.will_retry_until.map(|t| format!(" until {}", header::date(t))).unwrap_or_default();
        format!(
            "{quoted} has not reached everybody yet. You need not do anything: delivery is tried again{until}, and you will be told if it fails."
        )
    } else {
        format!("{quoted} could not be delivered to the people named here, and will not be tried again.")
    });
    for person in report.recipients {
        page.intro.push(sentence(person, delayed));
    }
    if !delayed {
        page.intro.push("Please check the address, or reach them in another way.".to_owned());
    }
    let lines = report.history.len();
    let shown = report.history.iter().skip(lines.saturating_sub(MAX_HISTORY));
    let mut history: Vec<String> = shown.map(|(at, what)| format!("{} {}", at.rfc3339(), words(what))).collect();
    if lines > MAX_HISTORY {
        history.insert(0, format!("({} earlier lines are left out)", lines - MAX_HISTORY));
    }
    if !history.is_empty() {
        page.sections.push(Section::text(Some("What was tried"), history.join("\n")));
    }
    let entry = format!("For the administrator: entry {} at {}.", words(report.entry), words(report.reporting_mta));
    page.sections.push(Section::text(None, entry));
    page
}

/// `Tom Jones <tom@jumbo.com> could not be reached: no such user`.
fn sentence(person: &Unreached<'_>, delayed: bool) -> String {
    let name = person.name.map(words).filter(|n| !n.is_empty());
    let who = match name {
        Some(name) => format!("{name} <{}>", person.original),
        None => person.original.to_string(),
    };
    let verb = if delayed { "has not been reached yet" } else { "could not be reached" };
    let reason = words(person.reason);
    let moved = if person.address == person.original { String::new() } else { format!(" (tried as {})", person.address) };
    if reason.is_empty() { format!("{who} {verb}{moved}.") } else { format!("{who} {verb}{moved}: {reason}") }
}

/// message/delivery-status: a group for the message, one for each recipient (RFC 3464 2.1).
fn status_part(report: &Report<'_>) -> String {
    let mut out = Header::default()
        .plain("Reporting-MTA", &format!("dns; {}", ascii(report.reporting_mta)))
        .plain("Arrival-Date", &header::date(report.arrival))
        .finish();
    out.push_str("\r\n");
    for person in report.recipients {
        let mut group = Header::default();
        group
            .plain("Original-Recipient", &typed_address(person.original))
            .plain("Final-Recipient", &typed_address(person.address))
            .plain("Action", report.action.word())
            .plain("Status", &status(person.status, report.action));
        if let Some(remote) = person.remote {
            group.plain("Remote-MTA", &format!("dns; {}", ascii(remote)));
        }
        if !person.reason.trim().is_empty() {
            let kind = if person.reason.trim_start().starts_with(['4', '5']) { "smtp" } else { "x-cip-relay" };
            group.plain("Diagnostic-Code", &format!("{kind}; {}", ascii(person.reason)));
        }
        if let Some(at) = person.last_attempt {
            group.plain("Last-Attempt-Date", &header::date(at));
        }
        if let Some(until) = report.will_retry_until.filter(|_| report.action == Action::Delayed) {
            group.plain("Will-Retry-Until", &header::date(until));
        }
        out.push_str(&group.finish());
        out.push_str("\r\n");
    }
    out
}

/// `rfc822; a@b`, or `utf-8; …` with what is not ASCII as `\x{HEX}` (RFC 6533 3).
fn typed_address(address: &UserId) -> String {
    let text = address.to_string();
    if text.is_ascii() { format!("rfc822; {text}") } else { format!("utf-8; {}", ascii(&text)) }
}

/// One line of ASCII, at most 500 octets; other characters as `\x{HEX}`.
fn ascii(text: &str) -> String {
    let mut out = String::new();
    for c in visible(text).chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            put!(out, "\\x{{{:X}}}", u32::from(c));
        }
    }
    clip(&out, 500).to_owned()
}

/// Three numbers, the first 5 of a failure and 4 of a delay (RFC 3464 2.3.4).
fn status(given: &str, action: Action) -> String {
    let class = if action == Action::Delayed { '4' } else { '5' };
    let parts: Vec<&str> = given.trim().split('.').collect();
    let number = |p: &&str| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit());
    if parts.len() == 3 && parts.iter().all(number) { format!("{class}.{}.{}", parts[1], parts[2]) } else { format!("{class}.0.0") }
}
