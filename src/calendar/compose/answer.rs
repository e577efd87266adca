//! Answers: RSVP for CIP as vCalendar 1.0, REPLY for mail as iCalendar.

use super::PRODID;
use super::fresh;
use crate::calendar::convert::vwriter::{self, VWriter};
use crate::calendar::event::{Event, Moment, Person};
use crate::calendar::time;
use crate::calendar::writer::Writer;
use crate::clock::Timestamp;
use crate::ident::EventId;

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
    /// A COUNTER's proposal.
    pub start: Option<&'a Moment>,
    pub end: Option<&'a Moment>,
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
    lines.extend(moment("DTSTART", job.start));
    lines.extend(moment("DTEND", job.end));
    if let Some(owner) = job.owner {
        lines.push(vwriter::person_line("ATTENDEE", ";ROLE=OWNER", owner.name.as_deref(), &owner.address));
    }
    let status = job.attendee.status.map(|s| format!(";STATUS={}", s.vcalendar())).unwrap_or_default();
    lines.push(vwriter::person_line("ATTENDEE", &format!(";ROLE=ATTENDEE{status}"), job.attendee.name.as_deref(), &job.attendee.address));
    if let Some(delegate) = &job.attendee.delegated_to {
        lines.push(vwriter::person_line("ATTENDEE", ";ROLE=DELEGATE", None, delegate));
    }
    lines.extend(job.comment.filter(|c| !c.trim().is_empty()).map(|c| vwriter::text_line("COMMENT", "", c)));
    lines.extend(["END:VEVENT".to_owned(), "END:VCALENDAR".to_owned()]);
    let mut out = VWriter::default();
    for line in lines {
        out.line(&line);
    }
    out.0
}

/// A REPLY to be written (RFC 5546 3.2.3).
#[derive(Clone, Debug)]
pub struct ReplyJob<'a> {
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
    pub comment: Option<&'a str>,
    pub now: Timestamp,
}

/// An iCalendar object with METHOD:REPLY. A time in an unknown zone is left out.
pub fn reply(job: &ReplyJob<'_>) -> Vec<u8> {
    let mut out = Writer::default();
    for line in ["BEGIN:VCALENDAR", &format!("PRODID:{PRODID}"), "VERSION:2.0", "METHOD:REPLY", "BEGIN:VEVENT"] {
        out.line(line);
    }
    out.text("UID", job.uid);
    out.line(&format!("SEQUENCE:{}", job.sequence));
    if let Some(n) = job.response_sequence {
        out.line(&format!("RESPONSE-SEQUENCE:{n}"));
    }
    out.line(&format!("DTSTAMP:{}", time::basic_utc(job.now)));
    if let Some(id) = job.recurrence_id {
        out.line(&recurrence_line(id));
    }
    if let Some(event) = job.event {
        for (name, moment) in [("DTSTART", &event.start), ("DTEND", &event.end)] {
            if let Some(line) = moment.as_ref().and_then(|m| fresh::moment_line(name, m).ok()) {
                out.line(&line);
            }
        }
        if let Some(summary) = &event.summary {
            out.text("SUMMARY", summary);
        }
    }
    out.line(&fresh::organizer_line(job.organizer));
    out.line(&fresh::attendee_line(&Person { rsvp: None, ..job.attendee.clone() }));
    if let Some(comment) = job.comment.filter(|c| !c.trim().is_empty()) {
        out.text("COMMENT", comment);
    }
    out.line("END:VEVENT");
    out.line("END:VCALENDAR");
    out.0
}

/// RECURRENCE-ID from its normalized text.
pub(super) fn recurrence_line(id: &str) -> String {
    let date = id.len() == 8 && id.bytes().all(|b| b.is_ascii_digit());
    format!("RECURRENCE-ID{}:{id}", if date { ";VALUE=DATE" } else { "" })
}
