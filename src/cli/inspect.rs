//! `inspect`: what the relay reads in a mail or an object, and what it would do with it.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::exit::{Exit, Failure, Outcome};
use super::output::{Colour, Output, clean};
use super::peer::read_file;
use crate::calendar::Object;
use crate::calendar::event::{Component, Event, EventStatus, Format, Method, Moment, Person};
use crate::clock::Timestamp;
use crate::imip::read::{self, Incoming};

/// Show what the relay reads in a mail or a calendar object, and what it would do with it
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cip-relay inspect invitation.eml\n  cip-relay inspect --json event.vcs | jq .objects[0].attendees\n\nExit code 65 when nothing can be read in it."
)]
pub struct Args {
    /// A mail message, or a bare, vCalendar or iCalendar object; `-` for standard input
    file: PathBuf,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// Octets read of a file.
const MAX_FILE: u64 = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Mail,
    ICalendar,
    VCalendar,
    Bare,
}

#[derive(Debug, Serialize)]
struct Report {
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    mail: Option<MailReport>,
    method: Option<&'static str>,
    objects: Vec<ObjectReport>,
    losses: Vec<String>,
    problems: Vec<String>,
    /// What the relay would do with it, in a sentence.
    action: String,
}

#[derive(Debug, Serialize)]
struct MailReport {
    from: Vec<String>,
    subject: Option<String>,
    message_id: Option<String>,
    /// Auto-Submitted, or a delivery report.
    automatic: bool,
}

#[derive(Debug, Serialize)]
struct ObjectReport {
    component: &'static str,
    uid: String,
    sequence: Option<u32>,
    /// The CIP version.
    version: Option<u32>,
    recurrence_id: Option<String>,
    organizer: Option<OrganizerReport>,
    attendees: Vec<AttendeeReport>,
    start: Option<String>,
    end: Option<String>,
    /// The TZID that `start` was given in.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_zone: Option<String>,
    summary: Option<String>,
    location: Option<String>,
    status: Option<&'static str>,
    rules: Vec<String>,
}

#[derive(Debug, Serialize)]
struct OrganizerReport {
    address: String,
    name: Option<String>,
}

#[derive(Debug, Serialize)]
struct AttendeeReport {
    address: String,
    name: Option<String>,
    status: Option<&'static str>,
    role: Option<&'static str>,
}

pub fn run(args: &Args) -> Outcome {
    let octets = read_file(&args.file, MAX_FILE)?;
    let report = inspect(octets);
    let mut out = Output::stdout();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report).map_err(io::Error::from)?)?;
    } else {
        text(&mut out, &report)?;
    }
    out.flush()?;
    if report.objects.is_empty() && report.kind != Kind::Mail {
        return Err(Failure::silent(Exit::Data));
    }
    Ok(())
}

fn inspect(octets: Vec<u8>) -> Report {
    if looks_like_mail(&octets) {
        return match read::read(&octets) {
            Ok(mail) => mail_report(mail),
            Err(error) => Report {
                kind: Kind::Mail,
                mail: None,
                method: None,
                objects: Vec::new(),
                losses: Vec::new(),
                problems: vec![error.to_string()],
                action: "refuse it".to_owned(),
            },
        };
    }
    let guess = guess(&octets);
    match Object::parse(octets) {
        Ok(object) => {
            let kind = match object.format() {
                Format::Bare => Kind::Bare,
                Format::VCalendar => Kind::VCalendar,
                Format::ICalendar => Kind::ICalendar,
            };
            let method = object.event().method;
            Report {
                kind,
                mail: None,
                method: method.map(Method::as_str),
                objects: object.events().iter().map(object_report).collect(),
                losses: Vec::new(),
                problems: object.problems().to_vec(),
                action: object_action(&object),
            }
        }
        Err(error) => Report {
            kind: guess,
            mail: None,
            method: None,
            objects: Vec::new(),
            losses: Vec::new(),
            problems: vec![error.to_string()],
            action: "answer NO 001".to_owned(),
        },
    }
}

fn mail_report(mail: Incoming) -> Report {
    let parsed = mail.calendar.as_ref().map(|part| Object::parse(part.octets.clone()));
    let mut problems = Vec::new();
    if mail.winmail {
        problems.push("it carries winmail.dat (TNEF), in which the relay cannot read a meeting".to_owned());
    }
    let objects = match &parsed {
        Some(Ok(object)) => {
            problems.extend(object.problems().iter().cloned());
            object.events().iter().map(object_report).collect()
        }
        Some(Err(error)) => {
            problems.push(error.to_string());
            Vec::new()
        }
        None => Vec::new(),
    };
    let method = mail.calendar.as_ref().and_then(|part| part.method);
    let action = match (&parsed, method) {
        (None, _) if mail.report.is_some() => "take it as a delivery report, when it answers a mail of its own",
        (None, _) => "pass it on as a mail without a calendar part",
        (Some(Err(_)), _) => "pass it on as a mail, since its calendar part cannot be read",
        (Some(Ok(_)), None) => "pass it on as a mail: a calendar file without METHOD is no scheduling message",
        (Some(Ok(_)), Some(method)) => method_action(method),
    };
    Report {
        kind: Kind::Mail,
        method: method.map(Method::as_str),
        objects,
        losses: Vec::new(),
        problems,
        action: action.to_owned(),
        mail: Some(MailReport {
            from: mail.from.iter().map(ToString::to_string).collect(),
            subject: mail.subject,
            message_id: mail.message_id,
            automatic: mail.automatic,
        }),
    }
}

const fn method_action(method: Method) -> &'static str {
    match method {
        Method::Request => "send it on as SENDEVENT to recipients with CIP, and as it is to the others",
        Method::Cancel => "send it on as SENDEVENT with STATUS:CANCELLED to recipients with CIP, and as it is to the others",
        Method::Reply => "send it on as RSVP to the owner's server, when the owner has CIP",
        _ => "pass it on as it is",
    }
}

fn object_action(object: &Object) -> String {
    let (send, answer) = (object.require_sendevent(), object.require_rsvp());
    match (send, answer) {
        (Ok(()), _) => {
            let event = object.event();
            let people = if event.recipients.is_empty() { event.attendees.len() } else { event.recipients.len() };
            format!("take it by SENDEVENT for {people} recipients")
        }
        (Err(_), Ok(())) => "take it by RSVP".to_owned(),
        (Err(send), Err(answer)) => format!("answer NO 001 to SENDEVENT ({send}) and to RSVP ({answer})"),
    }
}

/// The header of a mail has at least one of these fields; the lines of a bare object have none of their names.
fn looks_like_mail(octets: &[u8]) -> bool {
    let known = ["from", "received", "mime-version", "message-id", "date", "subject", "to", "return-path", "content-type"];
    let head = &octets[..octets.len().min(64 << 10)];
    for line in head.split(|&b| b == b'\n').map(<[u8]>::trim_ascii_end) {
        if line.is_empty() || line.first().is_some_and(u8::is_ascii_whitespace) {
            if line.is_empty() {
                return false;
            }
            continue;
        }
        let name = line.split(|&b| b == b':').next().unwrap_or(line).trim_ascii().to_ascii_lowercase();
        if name == b"begin" {
            return false;
        }
        if name.len() < line.len() && known.iter().any(|k| k.as_bytes() == name) {
            return true;
        }
    }
    false
}

/// What an object that cannot be read was meant to be.
fn guess(octets: &[u8]) -> Kind {
    let head = String::from_utf8_lossy(&octets[..octets.len().min(64 << 10)]).to_ascii_uppercase();
    match (head.contains("BEGIN:VCALENDAR"), head.contains("VERSION:1.0")) {
        (false, _) => Kind::Bare,
        (true, true) => Kind::VCalendar,
        (true, false) => Kind::ICalendar,
    }
}

fn object_report(event: &Event) -> ObjectReport {
    ObjectReport {
        component: match event.component {
            Component::Event => "VEVENT",
            Component::Todo => "VTODO",
            Component::FreeBusy => "VFREEBUSY",
        },
        uid: event.uid.to_string(),
        sequence: event.sequence,
        version: event.version,
        recurrence_id: event.recurrence_id.clone(),
        organizer: event.owner.as_ref().map(|p| OrganizerReport { address: p.address.to_string(), name: p.name.clone() }),
        attendees: event.attendees.iter().map(attendee_report).collect(),
        start: event.start.as_ref().map(moment),
        end: event.end.as_ref().map(moment),
        start_zone: match &event.start {
            Some(Moment::Zoned { zone, .. }) => Some(zone.clone()),
            _ => None,
        },
        summary: event.summary.clone(),
        location: event.location.clone(),
        status: event.status.map(status),
        rules: event.rules.clone(),
    }
}

fn attendee_report(person: &Person) -> AttendeeReport {
    AttendeeReport {
        address: person.address.to_string(),
        name: person.name.clone(),
        status: person.status.map(crate::calendar::event::PartStat::icalendar),
        role: person.role.map(crate::calendar::event::Role::icalendar),
    }
}

/// RFC 3339 in UTC where the instant is known; else the local time, or the date, as it stands.
fn moment(moment: &Moment) -> String {
    let utc = |at: Timestamp| at.datetime().map(|t| t.format("%Y-%m-%dT%H:%M:%SZ").to_string());
    match moment {
        Moment::Utc { at, .. } | Moment::Zoned { at: Some(at), .. } => utc(*at).unwrap_or_default(),
        Moment::Zoned { local, at: None, .. } | Moment::Floating(local) => local.format("%Y-%m-%dT%H:%M:%S").to_string(),
        Moment::Date(date) => date.to_string(),
    }
}

const fn status(status: EventStatus) -> &'static str {
    match status {
        EventStatus::Tentative => "TENTATIVE",
        EventStatus::Confirmed => "CONFIRMED",
        EventStatus::Cancelled => "CANCELLED",
        EventStatus::NeedsAction => "NEEDS-ACTION",
        EventStatus::Completed => "COMPLETED",
        EventStatus::InProcess => "IN-PROCESS",
    }
}

fn text(out: &mut Output, report: &Report) -> io::Result<()> {
    let kind = match report.kind {
        Kind::Mail => "a mail",
        Kind::ICalendar => "an iCalendar object",
        Kind::VCalendar => "a vCalendar 1.0 object",
        Kind::Bare => "a bare object",
    };
    let method = report.method.map_or_else(String::new, |m| format!(", METHOD {m}"));
    let title = out.style.paint(Colour::Bold, &format!("{kind}{method}"));
    writeln!(out, "{title}")?;
    if let Some(mail) = &report.mail {
        field(out, "from", &mail.from.join(", "))?;
        field(out, "subject", mail.subject.as_deref().unwrap_or(""))?;
        field(out, "automatic", if mail.automatic { "yes" } else { "" })?;
    }
    for object in &report.objects {
        object_text(out, object)?;
    }
    for problem in &report.problems {
        let mark = out.style.paint(Colour::Yellow, "problem:");
        writeln!(out, "{mark} {}", clean(problem))?;
    }
    writeln!(out, "The relay would {}.", clean(&report.action))
}

fn field(out: &mut Output, name: &str, value: &str) -> io::Result<()> {
    if value.is_empty() { Ok(()) } else { writeln!(out, "  {name:<11} {}", clean(value)) }
}

fn object_text(out: &mut Output, object: &ObjectReport) -> io::Result<()> {
    let number = |n: Option<u32>| n.map_or_else(|| "none".to_owned(), |n| n.to_string());
    writeln!(out, "{} {}", object.component, clean(&object.uid))?;
    field(out, "sequence", &format!("{}, CIP version {}", number(object.sequence), number(object.version)))?;
    field(out, "instance", object.recurrence_id.as_deref().unwrap_or(""))?;
    field(out, "status", object.status.unwrap_or(""))?;
    let zone = object.start_zone.as_ref().map_or_else(String::new, |zone| format!(" (given in {zone})"));
    field(out, "start", &object.start.as_ref().map_or_else(String::new, |start| format!("{start}{zone}")))?;
    field(out, "end", object.end.as_deref().unwrap_or(""))?;
    field(out, "repeats", &object.rules.join("; "))?;
    field(out, "summary", object.summary.as_deref().unwrap_or(""))?;
    field(out, "location", object.location.as_deref().unwrap_or(""))?;
    let named = |name: &Option<String>, address: &str| name.as_ref().map_or_else(|| address.to_owned(), |n| format!("{n} <{address}>"));
    if let Some(owner) = &object.organizer {
        field(out, "owner", &named(&owner.name, &owner.address))?;
    }
    for person in &object.attendees {
        let what: Vec<&str> = [person.status, person.role].into_iter().flatten().collect();
        field(out, "attendee", &format!("{} {}", named(&person.name, &person.address), what.join(" ")))?;
    }
    Ok(())
}
