//! The mail that the relay composes itself (bridge 4, 5): invitations, updates, cancellations, answers; and a message
//! passed on with two fields in front.
//!
//! Invariants: one recipient, one calendar object; the MIME method is the object's METHOD, read from the same octets; the
//! same inputs give the same octets, so that a delivery tried again is the same message; every line has at most 76 octets
//! where a blank allows it, and all is 7-bit unless an address is not.

pub mod busy;
mod changes;
pub mod header;
mod html;
pub mod page;
mod pattern;
mod repeats;
mod rows;
mod text;
mod when;
mod words;

use crate::calendar::Object;
use crate::calendar::event::{Component, Event, Method, Person, Trace};
use crate::clock::Timestamp;
use crate::ident::{ServerId, UserId};
use crate::imip::read::{find_method, parse_method};
use crate::mime::{transfer, without_preamble};
pub use changes::Before;
use changes::Changes;
use header::Header;
use page::{Page, Section, paragraphs};
pub use rows::MAX_LISTED;
use rows::Told;
pub use words::Language;
use words::{Kind, Label, Topic};

/// Why a mail was not composed: a fault of the caller's object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    #[error("the calendar object has no METHOD that RFC 5546 knows, so that no mail program would take it as one")]
    NoMethod,
    #[error("the calendar object is not UTF-8")]
    NotUtf8,
}

/// What every composed mail needs.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The finished iCalendar object: UTF-8, CRLF, with its METHOD. Its digest is part of the Message-ID. Times, rules and
    /// exceptions are told from it.
    pub calendar: &'a Object,
    /// The same event as it came: the people under their own addresses, and the texts.
    pub event: &'a Event,
    /// The recipient's address in that event.
    pub attendee: &'a UserId,
    /// What the recipient had of it before.
    pub before: Before<'a>,
    pub language: Language,
    /// From: a token.
    pub from: &'a UserId,
    /// Reply-To: the same, or the person's own address where the site says so.
    pub reply_to: &'a UserId,
    /// To.
    pub recipient: &'a UserId,
    /// The recipient's name, when known.
    pub recipient_name: Option<&'a str>,
    /// Whom the mail comes `via`: the relay's server-id.
    pub site: &'a ServerId,
    /// For Message-ID.
    pub mail_domain: &'a ServerId,
    /// The event-id by which the relay knows the event, which need not be the UID of the object.
    pub event_id: &'a str,
    /// How well the sender is known (profile 4); below 2 the mail says so.
    pub standing: u8,
    /// The trace so far, the relay's own line included.
    pub traces: &'a [Trace],
    /// For Date. The time of acceptance makes a repeated delivery the same to the octet.
    pub now: Timestamp,
}

/// A mail from the owner to one attendee: REQUEST, PUBLISH, ADD, CANCEL or DECLINECOUNTER.
pub fn invitation(envelope: &Envelope<'_>) -> Result<Vec<u8>, ComposeError> {
    let method = object_method(envelope.calendar.octets())?;
    let event = envelope.event;
    let kind = match method {
        _ if method == Method::Cancel || event.is_cancelled() => Kind::Cancellation,
        Method::Publish => Kind::Published,
        Method::DeclineCounter => Kind::ProposalDeclined,
        Method::Add => Kind::Added,
        _ if matches!(envelope.before, Before::Nothing) => Kind::Invitation,
        _ => Kind::Update,
    };
    let page = invitation_page(envelope, kind);
    let owner = event.owner.as_ref();
    let id = identity(envelope, method, owner.map(|o| &o.address));
    let mut out = top(envelope, owner, &page.title, &id);
    put!(out, "Content-Type: multipart/mixed;\r\n boundary=\"{id}.m\"\r\n\r\n");
    put!(out, "--{id}.m\r\nContent-Type: multipart/alternative;\r\n boundary=\"{id}.a\"\r\n\r\n");
    alternatives(&mut out, &format!("{id}.a"), &page, method, envelope);
    let file = file_name(kind);
    put!(
        out,
        "--{id}.m\r\nContent-Type: application/ics; name=\"{file}\"\r\nContent-Disposition: attachment; filename=\"{file}\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}--{id}.m--\r\n",
        transfer::encode_base64(envelope.calendar.octets())
    );
    Ok(out.into_bytes())
}

/// A mail from one attendee to an organizer who has only e-mail: REPLY, COUNTER or REFRESH. Of a COUNTER,
/// [`Envelope::before`] gives what is in force and what is proposed.
pub fn reply(envelope: &Envelope<'_>, attendee: &Person) -> Result<Vec<u8>, ComposeError> {
    let method = object_method(envelope.calendar.octets())?;
    let kind = match method {
        Method::Counter => Kind::Proposal,
        Method::Refresh => Kind::RefreshRequest,
        _ => Kind::Answer(attendee.status),
    };
    let page = reply_page(envelope, kind, attendee);
    let id = identity(envelope, method, Some(&attendee.address));
    let mut out = top(envelope, Some(attendee), &page.title, &id);
    put!(out, "Content-Type: multipart/alternative;\r\n boundary=\"{id}.a\"\r\n\r\n");
    alternatives(&mut out, &format!("{id}.a"), &page, method, envelope);
    Ok(out.into_bytes())
}

/// A message passed on: Received and X-CIP-Trace in front, the rest octet for octet (bridge 1), so that signatures hold.
/// `received` is the field as `smtp::received_header` gives it; it is folded anew, so that it is one field whatever it
/// holds. Blank lines and an mbox separator line before the
/// header are no part of the message.
pub fn passed_on(raw: &[u8], received: &str, trace: &Trace) -> Vec<u8> {
    let value = received.strip_prefix("Received:").unwrap_or(received);
    let head = Header::default().plain("Received", value).traces(std::slice::from_ref(trace)).finish();
    let raw = without_preamble(raw);
    let mut out = Vec::with_capacity(head.len() + raw.len());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(raw);
    out
}

/// METHOD, read from the octets that go out: one value for object and MIME parameter.
fn object_method(calendar: &[u8]) -> Result<Method, ComposeError> {
    if std::str::from_utf8(calendar).is_err() {
        return Err(ComposeError::NotUtf8);
    }
    find_method(calendar).and_then(|m| parse_method(&m)).ok_or(ComposeError::NoMethod)
}

/// Of (event-id, RECURRENCE-ID, version, method, answering attendee or owner, recipient, digest of the object).
fn identity(envelope: &Envelope<'_>, method: Method, person: Option<&UserId>) -> String {
    let event = envelope.event;
    let instance = event.recurrence_id.as_deref().map(|r| format!("={r}")).unwrap_or_default();
    let version = event.version.map(|v| v.to_string()).unwrap_or_default();
    header::fingerprint(&[
        envelope.event_id.as_bytes(),
        instance.as_bytes(),
        version.as_bytes(),
        method.as_str().as_bytes(),
        person.map(UserId::key).unwrap_or_default().as_bytes(),
        envelope.recipient.key().as_bytes(),
        envelope.calendar.octets(),
    ])
}

/// The header down to MIME-Version.
fn top(envelope: &Envelope<'_>, person: Option<&Person>, subject: &str, id: &str) -> String {
    let display = person.map(|p| display_name(p, envelope));
    Header::default()
        .mailbox("From", display.as_deref(), envelope.from)
        .mailbox("Reply-To", None, envelope.reply_to)
        .mailbox("To", envelope.recipient_name, envelope.recipient)
        .text("Subject", subject)
        .plain("Date", &header::date(envelope.now))
        .plain("Message-ID", &header::message_id(id, envelope.mail_domain))
        .plain("Auto-Submitted", "auto-generated")
        .traces(envelope.traces)
        .plain("MIME-Version", "1.0")
        .finish()
}

/// `Pete O'Leary via tiny.com`; below standing 2 without the claimed name (bridge 5); a person's own address needs no
/// `via`.
fn display_name(person: &Person, envelope: &Envelope<'_>) -> String {
    let words = envelope.language.words();
    let (address, site) = (person.address.to_string(), envelope.site.to_string());
    if envelope.standing < 2 {
        return words.unverified_via(&address, &site);
    }
    let name = person.name.as_deref().map(header::visible).filter(|n| !n.is_empty());
    let name = transfer::clip(name.as_deref().unwrap_or_default(), 150).trim_end();
    if *envelope.from == person.address {
        return name.to_owned();
    }
    words.name_via(if name.is_empty() { &address } else { name }, &site)
}

fn component_name(component: Component) -> &'static str {
    match component {
        Component::Event => "VEVENT",
        Component::Todo => "VTODO",
        Component::FreeBusy => "VFREEBUSY",
    }
}

fn file_name(kind: Kind) -> &'static str {
    if kind == Kind::Cancellation { "cancel.ics" } else { "invite.ics" }
}

/// text/plain, text/html, text/calendar last; the closing boundary included.
fn alternatives(out: &mut String, boundary: &str, page: &Page, method: Method, envelope: &Envelope<'_>) {
    for (kind, text) in [("plain", page.text()), ("html", page.html())] {
        put!(
            out,
            "--{boundary}\r\nContent-Type: text/{kind}; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}",
            transfer::encode_quoted_printable(&text)
        );
    }
    put!(
        out,
        "--{boundary}\r\nContent-Type: text/calendar; charset=UTF-8; method={}; component={}\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}--{boundary}--\r\n",
        method.as_str(),
        component_name(envelope.event.component),
        transfer::encode_base64(envelope.calendar.octets())
    );
}

fn invitation_page(envelope: &Envelope<'_>, kind: Kind) -> Page {
    let told = Told::new(envelope);
    let words = told.words;
    let event = envelope.event;
    let summary = told.summary();
    let topic = Topic { kind, component: event.component, summary: &summary, instance: told.instance() };
    let changes = match kind {
        Kind::Update => Changes::new(words, envelope.before, event.component, false),
        _ => Changes::none(words),
    };
    let mut page = titled(envelope, &topic);
    let owner = event.owner.as_ref();
    page.warning = owner.and_then(|owner| warning(envelope, &owner.address));
    page.intro.push(words.opening(&topic, owner.map(|o| told.who(o)).as_deref(), None));
    page.intro.extend(changes.compared().and_then(|compared| words.compared(compared)));
    told.rows(&mut page, &changes);
    page.list(words.label(Label::Who), told.people(!matches!(kind, Kind::Cancellation | Kind::Published)));
    if kind != Kind::Cancellation {
        page.sections.extend(told.changed_dates(&changes));
    }
    told.texts(&mut page, &changes);
    finish(&mut page, envelope);
    if matches!(kind, Kind::Invitation | Kind::Update | Kind::Added) {
        page.sections.push(Section::text(None, words.how_to_answer(file_name(kind), event.component)));
    }
    page.sections.extend(words.what_happens(&topic).map(|text| Section::text(None, text.to_owned())));
    page
}

fn reply_page(envelope: &Envelope<'_>, kind: Kind, attendee: &Person) -> Page {
    let told = Told::new(envelope);
    let words = told.words;
    let event = envelope.event;
    let summary = told.summary();
    let topic = Topic { kind, component: event.component, summary: &summary, instance: told.instance() };
    let changes = match kind {
        Kind::Proposal => Changes::new(words, envelope.before, event.component, true),
        _ => Changes::none(words),
    };
    let mut page = titled(envelope, &topic);
    page.warning = warning(envelope, &attendee.address);
    let delegate = attendee.delegated_to.as_ref().map(ToString::to_string);
    page.intro.push(words.opening(&topic, Some(&told.who(attendee)), delegate.as_deref()));
    told.rows(&mut page, &changes);
    if let Some(comment) = event.comment.as_deref().map(paragraphs).filter(|c| !c.is_empty()) {
        page.sections.push(Section::text(Some(words.label(Label::Comment)), comment));
    }
    finish(&mut page, envelope);
    page.sections.extend(words.what_happens(&topic).map(|text| Section::text(None, text.to_owned())));
    page
}

fn titled(envelope: &Envelope<'_>, topic: &Topic<'_>) -> Page {
    let words = envelope.language.words();
    Page { language: words.tag(), title: words.subject(topic), ..Page::default() }
}

/// Below standing 2 the first thing that a person reads.
fn warning(envelope: &Envelope<'_>, claimed: &UserId) -> Option<String> {
    let words = envelope.language.words();
    (envelope.standing < 2).then(|| words.warning(&claimed.to_string(), &envelope.site.to_string()))
}

/// What a sender of standing below 2 wrote holds no live link.
fn finish(page: &mut Page, envelope: &Envelope<'_>) {
    if envelope.standing < 2 {
        page.unlink();
    }
}
