//! Answers: RSVP for CIP as vCalendar 1.0; REPLY, COUNTER and REFRESH for mail as iCalendar.

use super::PRODID;
use super::fresh;
use crate::calendar::convert::vwriter::{self, VWriter};
use crate::calendar::convert::{Options, Target};
use crate::calendar::event::{Component, Event, Method, Moment, Person};
use crate::calendar::object::{Object, RECIPIENT, TRACE};
use crate::calendar::patch::Edits;
use crate::calendar::writer::Writer;
use crate::calendar::{Proposal, text, time};
use crate::clock::Timestamp;
use crate::ident::{EventId, UserId};

/// An RSVP to be written (draft 2.3).
#[derive(Clone, Debug)]
pub struct RsvpJob<'a> {
    pub event_id: &'a EventId,
    /// The version that is answered.
    pub version: Option<u32>,
    /// Grows with each change of this attendee's answer (profile 6).
    pub response_sequence: u32,
    /// Who answers, with his status.
    pub attendee: &'a Person,
    pub owner: Option<&'a Person>,
    pub comment: Option<&'a str>,
    pub now: Timestamp,
    /// The instance that is answered, as [`Event::recurrence_id`] has it.
    pub recurrence_id: Option<&'a str>,
    /// What is proposed instead of what is in force (draft 2.3: "only the information to be updated").
    pub proposal: Option<&'a Proposal>,
}

/// A vCalendar 1.0 object for RSVP. A proposed time in an unknown zone is left out.
pub fn rsvp(job: &RsvpJob<'_>) -> Vec<u8> {
    let mut lines = vec!["BEGIN:VCALENDAR".to_owned(), "VERSION:1.0".to_owned(), format!("PRODID:{PRODID}"), "BEGIN:VEVENT".to_owned()];
    lines.push(vwriter::text_line("UID", "", job.event_id.as_str()));
    lines.extend(job.version.map(|v| format!("SEQUENCE:{v}")));
    lines.push(format!("RESPONSE-SEQUENCE:{}", job.response_sequence));
    lines.push(format!("DTSTAMP:{}", time::basic_utc(job.now)));
    lines.extend(job.recurrence_id.map(|id| vwriter::text_line("RECURRENCE-ID", "", id)));
    // vCalendar 1.0 has no VALUE=DATE: the date alone says it.
    let moment = |name: &str, m: Option<&Moment>| m.and_then(|m| fresh::moment_line(name, m).ok()).map(|l| l.replace(";VALUE=DATE", ""));
    if let Some(proposal) = job.proposal {
        lines.extend(moment("DTSTART", proposal.start.as_ref()));
        lines.extend(moment("DTEND", proposal.end.as_ref()));
        let texts = [("SUMMARY", &proposal.summary), ("LOCATION", &proposal.location), ("DESCRIPTION", &proposal.description)];
        lines.extend(texts.into_iter().filter_map(|(name, text)| Some(vwriter::text_line(name, "", text.as_deref()?))));
    }
    if let Some(owner) = job.owner {
        lines.push(vwriter::person_line("ATTENDEE", ";ROLE=OWNER", owner.name.as_deref(), &owner.address));
    }
    let status = job.attendee.status.map(|s| format!(";STATUS={}", s.vcalendar())).unwrap_or_default();
    let of = |name: &str, user: &Option<UserId>| user.as_ref().map(|u| format!(";X-CIP-{name}={}", text::param_value(&u.to_string())));
    let (from, to) = (of("DELEGATED-FROM", &job.attendee.delegated_from), of("DELEGATED-TO", &job.attendee.delegated_to));
    let params = format!(";ROLE=ATTENDEE{status}{}{}", from.unwrap_or_default(), to.unwrap_or_default());
    lines.push(vwriter::person_line("ATTENDEE", &params, job.attendee.name.as_deref(), &job.attendee.address));
    if let Some(delegate) = &job.attendee.delegated_to {
        lines.push(vwriter::person_line("ATTENDEE", ";ROLE=DELEGATE", None, delegate));
    }
    lines.extend(job.comment.filter(|c| !c.trim().is_empty()).map(|c| vwriter::text_line("COMMENT", "", c)));
    lines.extend(["END:VEVENT".to_owned(), "END:VCALENDAR".to_owned()]);
    let mut out = VWriter::default();
    for line in lines {
        out.line(&line);
    }
    out.octets
}

/// A REPLY, COUNTER or REFRESH to be written (RFC 5546 3.2.3, 3.2.6, 3.2.7).
#[derive(Clone, Debug)]
pub struct ReplyJob<'a> {
    pub method: Method,
    /// The organizer's own UID and SEQUENCE.
    pub uid: &'a str,
    pub sequence: u32,
    /// For CIP: grows with each change of this attendee's answer (profile 6).
    pub response_sequence: Option<u32>,
    /// As [`Event::recurrence_id`] has it.
    pub recurrence_id: Option<&'a str>,
    pub organizer: &'a Person,
    /// Who answers, with his status.
    pub attendee: &'a Person,
    /// Gives DTSTART, DTEND and SUMMARY.
    pub event: Option<&'a Event>,
    /// Of a COUNTER.
    pub proposal: Option<&'a Proposal>,
    pub comment: Option<&'a str>,
    pub now: Timestamp,
}

/// An iCalendar object of that method. A time in an unknown zone is left out.
pub fn reply(job: &ReplyJob<'_>) -> Vec<u8> {
    let mut out = Writer::default();
    for line in ["BEGIN:VCALENDAR", &format!("PRODID:{PRODID}"), "VERSION:2.0"] {
        out.line(line);
    }
    out.line_of(format_args!("METHOD:{}", job.method.as_str()));
    let todo = job.event.is_some_and(|e| e.component == Component::Todo);
    let (component, end) = if todo { ("VTODO", "DUE") } else { ("VEVENT", "DTEND") };
    out.line_of(format_args!("BEGIN:{component}"));
    out.text("UID", job.uid);
    // RFC 5546 3.2.6: whoever asks for the current version does not say which one he has.
    if job.method != Method::Refresh {
        out.line_of(format_args!("SEQUENCE:{}", job.sequence));
    }
    if let Some(n) = job.response_sequence {
        out.line_of(format_args!("RESPONSE-SEQUENCE:{n}"));
    }
    out.line_of(format_args!("DTSTAMP:{}", time::basic_utc(job.now)));
    if let Some(id) = job.recurrence_id {
        out.line(&recurrence_line(id));
    }
    let proposed = job.event.zip(job.proposal).map(|(event, proposal)| proposal.applied_to(event));
    if let Some(event) = proposed.as_ref().or(job.event) {
        for (name, moment) in [("DTSTART", &event.start), (end, &event.end)] {
            if let Some(line) = moment.as_ref().and_then(|m| fresh::moment_line(name, m).ok()) {
                out.line(&line);
            }
        }
        if let Some(summary) = &event.summary {
            out.text("SUMMARY", summary);
        }
    }
    if let Some(proposal) = job.proposal {
        for (name, text) in [("LOCATION", &proposal.location), ("DESCRIPTION", &proposal.description)] {
            if let Some(text) = text {
                out.text(name, text);
            }
        }
    }
    out.line(&fresh::organizer_line(job.organizer));
    out.line(&fresh::attendee_line(&Person { rsvp: None, ..job.attendee.clone() }));
    if let Some(comment) = job.comment.filter(|c| !c.trim().is_empty()) {
        out.text("COMMENT", comment);
    }
    out.line_of(format_args!("END:{component}"));
    out.line("END:VCALENDAR");
    out.octets
}

/// A COUNTER in the organizer's own words (RFC 5546 3.2.7): the object that is in force, with what is proposed in its
/// place and the proposer as its one attendee. Without an object that can be said in iCalendar: as [`reply`] writes it.
pub fn counter(job: &ReplyJob<'_>, in_force: Option<&Object>) -> Vec<u8> {
    let options = Options { now: job.now, notes: false };
    let said = in_force.and_then(|o| o.translated(Target::ICalendar, &options).ok()).and_then(|t| Object::parse(t.octets).ok());
    let (Some(object), Some(proposal)) = (said, job.proposal) else { return reply(job) };
    let mut edits = Edits::new(&object.document);
    edits.set_method(job.method);
    let document = &object.document;
    let place = object.places[0];
    for &other in &object.places[1..] {
        document.components[other].lines.clone().for_each(|line| edits.drop_line(line));
    }
    edits.set(place, "UID", &text::escape(job.uid));
    edits.set(place, "SEQUENCE", &job.sequence.to_string());
    edits.set(place, "DTSTAMP", &time::basic_utc(job.now));
    let times = proposal.start.is_some();
    for (index, line) in document.lines_of(place) {
        let replaced = match &*line.name {
            "ATTENDEE" | "ORGANIZER" | "COMMENT" | RECIPIENT | TRACE => true,
            "DTSTART" | "DTEND" | "DUE" | "DURATION" => times,
            "SUMMARY" => proposal.summary.is_some(),
            "LOCATION" => proposal.location.is_some(),
            "DESCRIPTION" | "X-ALT-DESC" => proposal.description.is_some(),
            _ => false,
        };
        if replaced {
            edits.drop_line(index);
        }
    }
    let end = if object.event().component == Component::Todo { "DUE" } else { "DTEND" };
    let zone = object.event().start.as_ref();
    for (name, moment) in [("DTSTART", &proposal.start), (end, &proposal.end)] {
        if let Some(line) = moment.as_ref().and_then(|m| fresh::moment_line_like(name, m, zone, &object.zones).ok()) {
            edits.insert(place, &line);
        }
    }
    for (name, text) in [("SUMMARY", &proposal.summary), ("LOCATION", &proposal.location), ("DESCRIPTION", &proposal.description)] {
        if let Some(text) = text {
            edits.insert(place, &format!("{name}:{}", text::escape(text)));
        }
    }
    edits.insert(place, &fresh::organizer_line(job.organizer));
    edits.insert(place, &fresh::attendee_line(&Person { rsvp: None, ..job.attendee.clone() }));
    if let Some(comment) = job.comment.filter(|c| !c.trim().is_empty()) {
        edits.insert(place, &format!("COMMENT:{}", text::escape(comment)));
    }
    crate::calendar::crlf(edits.apply())
}

/// RECURRENCE-ID from its normalized text.
pub(super) fn recurrence_line(id: &str) -> String {
    let date = id.len() == 8 && id.bytes().all(|b| b.is_ascii_digit());
    format!("RECURRENCE-ID{}:{id}", if date { ";VALUE=DATE" } else { "" })
}
