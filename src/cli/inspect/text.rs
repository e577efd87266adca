//! The same for people: a field a line.

use std::io::{self, Write};

use super::report::{Kind, LossReport, ObjectReport, Report};
use crate::cli::output::{Colour, Output, clean};

pub fn text(out: &mut Output, report: &Report) -> io::Result<()> {
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
    for start in report.instances.iter().flatten() {
        field(out, "instance", start)?;
    }
    for LossReport { to, loss } in &report.losses {
        let of = loss.uid.as_ref().map_or_else(String::new, |uid| format!("{uid}: "));
        let mark = out.style.paint(Colour::Yellow, &format!("lost in {to}:"));
        writeln!(out, "{mark} {}", clean(&format!("{of}{loss}")))?;
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
    writeln!(out, "{} {}", object.component, clean(object.uid.as_deref().unwrap_or("without UID")))?;
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
