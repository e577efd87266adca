//! The mail that the relay composes itself (bridge 4, 5): invitations, updates, cancellations, answers; and a message
//! passed on with two fields in front.
//!
//! Invariants: one recipient, one calendar object; the MIME method is the object's METHOD, read from the same octets; the
//! same inputs give the same octets, so that a delivery tried again is the same message; every line has at most 76 octets
//! where a blank allows it, and all is 7-bit unless an address is not.

pub mod body;
pub mod header;
pub mod when;

use crate::calendar::event::{Component, Event, Method, PartStat, Person, Trace};
use crate::clock::Timestamp;
use crate::ident::{ServerId, UserId};
use crate::imip::read::{find_method, parse_method};
use crate::mime::{transfer, without_preamble};
use body::Page;
use header::Header;

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
    /// The finished iCalendar object: UTF-8, CRLF, with its METHOD. Its digest is part of the Message-ID.
    pub calendar: &'a [u8],
    /// The same event, for the words.
    pub event: &'a Event,
    /// From and Reply-To: a token, or the person's own address where the site says so.
    pub from: &'a UserId,
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
    let method = object_method(envelope.calendar)?;
    let event = envelope.event;
    let cancelled = method == Method::Cancel || event.is_cancelled();
    // A version that is not the first may still be the first that this recipient sees; the words fit both.
    let updated = event.version.is_some_and(|v| v > 1);
    let kind = match method {
        _ if cancelled => "Cancelled",
        Method::Publish => "Event",
        Method::DeclineCounter => "Proposal declined",
        _ if updated => "Updated invitation",
        _ => "Invitation",
    };
    let subject = format!("{kind}: {}", body::summary(event));
    let page = invitation_page(envelope, &subject, cancelled, updated, method);
    let owner = event.owner.as_ref();
    let id = identity(envelope, method, owner.map(|o| &o.address));
    let component = component_name(event.component);

    let mut out = top(envelope, owner, &subject, &id);
    put!(out, "Content-Type: multipart/mixed;\r\n boundary=\"{id}.m\"\r\n\r\n");
    put!(out, "--{id}.m\r\nContent-Type: multipart/alternative;\r\n boundary=\"{id}.a\"\r\n\r\n");
    let calendar = format!("text/calendar; charset=UTF-8; method={}; component={component}", method.as_str());
    alternatives(&mut out, &format!("{id}.a"), &page, true, &calendar, envelope.calendar);
    let file = if cancelled { "cancel.ics" } else { "invite.ics" };
    put!(
        out,
        "--{id}.m\r\nContent-Type: application/ics; name=\"{file}\"\r\nContent-Disposition: attachment; filename=\"{file}\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}--{id}.m--\r\n",
        transfer::encode_base64(envelope.calendar)
    );
    Ok(out.into_bytes())
}

/// A mail from one attendee to an organizer who has only e-mail: REPLY, COUNTER or REFRESH.
pub fn reply(envelope: &Envelope<'_>, attendee: &Person) -> Result<Vec<u8>, ComposeError> {
    let method = object_method(envelope.calendar)?;
    let (kind, says) = match (method, attendee.status) {
        (Method::Counter, _) => ("New time or details proposed", "proposes a change to"),
        (Method::Refresh, _) => ("Request for the current version", "asks for the current version of"),
        (_, Some(PartStat::Accepted)) => ("Accepted", "has accepted"),
        (_, Some(PartStat::Declined)) => ("Declined", "has declined"),
        (_, Some(PartStat::Tentative)) => ("Tentative", "has tentatively accepted"),
        (_, Some(PartStat::Delegated)) => ("Delegated", "has delegated"),
        (_, Some(PartStat::Completed)) => ("Completed", "has completed"),
        (_, None | Some(PartStat::NeedsAction)) => ("Not decided", "has not decided yet about"),
    };
    let event = envelope.event;
    let summary = body::summary(event);
    let subject = format!("{kind}: {summary}");
    let mut page = Page { title: subject.clone(), ..Page::default() };
    warn(&mut page, envelope.standing, &attendee.address, envelope.site);
    let to = attendee.delegated_to.as_ref().map(|d| format!(" to {d}")).unwrap_or_default();
    page.intro.push(format!("{} {says} “{summary}”{to}.", body::person(attendee)));
    body::event_rows(&mut page, event);
    if let Some(comment) = event.comment.as_deref().map(body::paragraphs).filter(|c| !c.is_empty()) {
        page.blocks.push((Some("Comment"), comment));
    }
    page.blocks.push((None, "Your calendar program takes this answer from the calendar part of this message.".to_owned()));

    let id = identity(envelope, method, Some(&attendee.address));
    let mut out = top(envelope, Some(attendee), &subject, &id);
    put!(out, "Content-Type: multipart/alternative;\r\n boundary=\"{id}.a\"\r\n\r\n");
    let component = component_name(event.component);
    let calendar = format!("text/calendar; charset=UTF-8; method={}; component={component}", method.as_str());
    alternatives(&mut out, &format!("{id}.a"), &page, false, &calendar, envelope.calendar);
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
        envelope.calendar,
    ])
}

/// The header down to MIME-Version.
fn top(envelope: &Envelope<'_>, person: Option<&Person>, subject: &str, id: &str) -> String {
    let display = person.map(|p| display_name(p, envelope));
    Header::default()
        .mailbox("From", display.as_deref(), envelope.from)
        .mailbox("Reply-To", None, envelope.from)
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
    if envelope.standing < 2 {
        return format!("{}, unverified, via {}", person.address, envelope.site);
    }
    let name = person.name.as_deref().map(header::visible).filter(|n| !n.is_empty());
    let name = transfer::clip(name.as_deref().unwrap_or_default(), 150).trim_end();
    if *envelope.from == person.address {
        return name.to_owned();
    }
    if name.is_empty() { format!("{} via {}", person.address, envelope.site) } else { format!("{name} via {}", envelope.site) }
}

fn component_name(component: Component) -> &'static str {
    match component {
        Component::Event => "VEVENT",
        Component::Todo => "VTODO",
        Component::FreeBusy => "VFREEBUSY",
    }
}

/// text/plain, text/html when asked, text/calendar last; the closing boundary included.
fn alternatives(out: &mut String, boundary: &str, page: &Page, html: bool, calendar_type: &str, calendar: &[u8]) {
    let mut words = vec![("plain", page.text())];
    if html {
        words.push(("html", page.html()));
    }
    for (kind, text) in words {
        put!(
            out,
            "--{boundary}\r\nContent-Type: text/{kind}; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}",
            transfer::encode_quoted_printable(&text)
        );
    }
    put!(
        out,
        "--{boundary}\r\nContent-Type: {calendar_type}\r\nContent-Transfer-Encoding: base64\r\n\r\n{}--{boundary}--\r\n",
        transfer::encode_base64(calendar)
    );
}

/// Below standing 2 the first thing that a person reads.
fn warn(page: &mut Page, standing: u8, claimed: &UserId, site: &ServerId) {
    if standing < 2 {
        page.intro.push(format!(
            "Unverified: this message says that it comes from {claimed}, and {site} could not verify that. If you do not expect it, \
             ask that person before you answer or follow anything written in it."
        ));
    }
}

fn invitation_page(envelope: &Envelope<'_>, subject: &str, cancelled: bool, updated: bool, method: Method) -> Page {
    let event = envelope.event;
    let mut page = Page { title: subject.to_owned(), ..Page::default() };
    let owner = event.owner.as_ref();
    // The claimed name of an unverified owner is not repeated (bridge 5).
    let owner_words =
        owner.map_or_else(|| "The organizer".to_owned(), |o| if envelope.standing < 2 { o.address.to_string() } else { body::person(o) });
    if let Some(owner) = owner {
        warn(&mut page, envelope.standing, &owner.address, envelope.site);
    }
    page.intro.push(match method {
        _ if cancelled => format!("{owner_words} has cancelled this event. It does not take place, or you are no longer invited."),
        Method::Publish => format!("{owner_words} tells you of this event."),
        Method::DeclineCounter => format!("{owner_words} has declined the change that you proposed; the event stays as it is here."),
        _ if updated => format!("{owner_words} has changed this event. What is written here replaces what you may have had before."),
        _ => format!("{owner_words} invites you to this event."),
    });
    body::event_rows(&mut page, event);
    page.row("Who", people(envelope));
    for (heading, text) in [("Description", &event.description), ("Comment", &event.comment)] {
        if let Some(text) = text.as_deref().map(body::paragraphs).filter(|t| !t.is_empty()) {
            page.blocks.push((Some(heading), text));
        }
    }
    if envelope.standing < 2 {
        page.unlink();
    }
    if !cancelled && !matches!(method, Method::Publish | Method::DeclineCounter) {
        page.blocks.push((
            None,
            "To answer, use the buttons with which your mail or calendar program accepts or declines invitations. If it shows none, \
             open the attached file invite.ics with your calendar program, or answer this message in your own words."
                .to_owned(),
        ));
    }
    page
}

fn people(envelope: &Envelope<'_>) -> Vec<String> {
    let event = envelope.event;
    let unverified = envelope.standing < 2;
    let show = |p: &Person| if unverified { format!("{} ({})", p.address, body::answer(p.status)) } else { body::attendee(p) };
    let owner = event.owner.as_ref();
    let mut lines: Vec<String> =
        owner.map(|o| format!("{} (organizer)", if unverified { o.address.to_string() } else { body::person(o) })).into_iter().collect();
    let others = event.attendees.iter().filter(|a| owner.is_none_or(|o| o.address != a.address));
    if event.attendees.len() > body::MAX_LISTED {
        lines.extend(others.filter(|a| a.address == *envelope.recipient).map(show));
        lines.push(format!("and {} more", event.attendees.len() - 1));
    } else {
        lines.extend(others.map(show));
    }
    lines
}
