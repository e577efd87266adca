//! `inspect`: what the relay reads in a mail or an object, and what it would do with it.

mod report;
mod text;

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::PathBuf;

use self::report::{Kind, LossReport, MailReport, Report, object_report};
use super::exit::{Exit, Failure, Outcome};
use super::freebusy::time;
use super::output::Output;
use super::source::{MAX_OBJECT, Pieces, open};
use crate::calendar::convert::{Options, Target, translate};
use crate::calendar::event::{Format, Method};
use crate::calendar::{Object, ObjectError, singles, stream};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::imip::read::{self, Incoming};

/// Listed of one event with `--until`.
const MAX_INSTANCES: usize = 10_000;

/// Show what the relay reads in a mail or a calendar object, and what it would do with it
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cip-relay inspect invitation.eml\n  cip-relay inspect --json event.vcs | jq .objects[0].attendees\n  cip-relay inspect --until 2027-01-01 series.ics\n\nObjects of which the relay takes only one at a time are all shown. Exit code 65 when nothing can be read in it."
)]
pub struct Args {
    /// A mail message, or bare, vCalendar or iCalendar objects; `-` for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// As one JSON object
    #[arg(long)]
    json: bool,
    /// List the instances that start before this date or time (2026-12-01, RFC 3339 or UTC basic form)
    #[arg(long, value_name = "T", value_parser = time)]
    until: Option<Timestamp>,
}

pub fn run(args: &Args) -> Outcome {
    let (name, input) = open(&args.file)?;
    let failed = |error: io::Error| Failure::new(Exit::Io, format!("{name}: {error}"));
    let mut input = Pieces::new(input, MAX_OBJECT);
    let is_mail = input.is_mail().map_err(failed)?;
    let whole = input.rest().map_err(failed)?;
    if whole.too_large {
        return Err(Failure::new(Exit::Data, format!("{name} has more than {MAX_OBJECT} octets")));
    }
    let mut report = if is_mail { inspect_mail(&whole.octets, args.until) } else { inspect_objects(whole.octets, args.until) };
    if input.nuls() > 0 {
        report.problems.push(format!("{} NUL octets were left out", input.nuls()));
    }
    let mut out = Output::stdout();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report).map_err(io::Error::from)?)?;
    } else {
        text::text(&mut out, &report)?;
    }
    out.flush()?;
    if report.objects.is_empty() && report.kind != Kind::Mail {
        return Err(Failure::silent(Exit::Data));
    }
    Ok(())
}

impl Report {
    fn new(kind: Kind, action: String) -> Self {
        let (objects, losses, problems) = (Vec::new(), Vec::new(), Vec::new());
        Self { kind, mail: None, method: None, objects, instances: None, losses, problems, action }
    }
}

fn inspect_mail(octets: &[u8], until: Option<Timestamp>) -> Report {
    let mail = match read::read(octets) {
        Ok(mail) => mail,
        Err(error) => {
            let mut report = Report::new(Kind::Mail, "refuse it".to_owned());
            report.problems.push(error.to_string());
            return report;
        }
    };
    let method = mail.calendar.as_ref().and_then(|part| part.method);
    let mut report = Report::new(Kind::Mail, mail_action(&mail, method).to_owned());
    report.method = method.map(Method::as_str);
    if mail.winmail {
        report.problems.push("it carries winmail.dat (TNEF), in which the relay cannot read a meeting".to_owned());
    }
    if let Some(part) = &mail.calendar {
        for (piece, line) in pieces(&part.octets) {
            add_instances(&mut report, &piece, line, until);
            add_piece(&mut report, piece, line, Some(Target::VCalendar));
        }
    }
    report.mail = Some(MailReport {
        from: mail.from.iter().map(ToString::to_string).collect(),
        subject: mail.subject,
        message_id: mail.message_id,
        automatic: mail.automatic,
    });
    report
}

fn inspect_objects(octets: Vec<u8>, until: Option<Timestamp>) -> Report {
    let mut report = Report::new(guess(&octets), String::new());
    for (n, (piece, line)) in pieces(&octets).enumerate() {
        add_instances(&mut report, &piece, line, until);
        let first = add_piece(&mut report, piece, line, None);
        if let (0, Some((format, method))) = (n, first) {
            report.kind = match format {
                Format::Bare => Kind::Bare,
                Format::VCalendar => Kind::VCalendar,
                Format::ICalendar => Kind::ICalendar,
            };
            report.method = method.map(Method::as_str);
        }
    }
    report.action = match Object::parse(octets) {
        Ok(object) => object_action(&object),
        Err(error) => {
            if error == ObjectError::Empty {
                report.problems.push(error.to_string());
            }
            format!("answer NO 001 ({error})")
        }
    };
    report
}

/// The objects in order, each with the number of its first line.
fn pieces(octets: &[u8]) -> impl Iterator<Item = (Vec<u8>, usize)> {
    let (mut at, mut line) = (0, 1);
    stream::objects(octets).map(move |range| {
        line += octets[at..range.start].iter().filter(|&&b| b == b'\n').count();
        at = range.start;
        (octets[range].to_vec(), line)
    })
}

/// Adds what one object holds; the format and method of what could be read. `line` is where it begins.
fn add_piece(report: &mut Report, octets: Vec<u8>, line: usize, to: Option<Target>) -> Option<(Format, Option<Method>)> {
    let whole = |n: usize| Some(n + line - 1);
    let read = match Object::parse(octets.clone()) {
        Ok(object) => {
            report.problems.extend(object.problems().iter().map(|p| placed(p, whole)));
            report.objects.extend(object.events().iter().map(|e| object_report(e, true)));
            Some((object.format(), object.event().method))
        }
        Err(error) => {
            report.problems.push(placed(&error.to_string(), whole));
            add_singles(report, octets.clone(), line)
        }
    };
    let (format, _) = read?;
    let to = to.unwrap_or(if format == Format::ICalendar { Target::VCalendar } else { Target::ICalendar });
    let name = if to == Target::VCalendar { "vcalendar" } else { "icalendar" };
    match translate(octets, to, &Options { now: SystemClock.now(), notes: true }) {
        Ok(translation) => {
            report.losses.extend(translation.losses.into_iter().map(|loss| LossReport { to: name, loss }));
            if translation.more_losses > 0 {
                report.problems.push(format!("{} more losses in {name} are not listed", translation.more_losses));
            }
        }
        Err(error) => report.problems.push(format!("not said in {name}: {}", placed(&error.to_string(), whole))),
    }
    read
}

/// Adds the instances of one object, or of each of its events where the relay takes only one; `line` is where it begins.
fn add_instances(report: &mut Report, octets: &[u8], line: usize, until: Option<Timestamp>) {
    let Some(until) = until else { return };
    let mut add = |object: &Object, number: &dyn Fn(usize) -> Option<usize>| {
        let found = object.instances(until, MAX_INSTANCES);
        report.instances.get_or_insert_default().extend(found.starts.iter().map(report::moment));
        report.problems.extend(found.problems.iter().map(|p| placed(p, number)));
    };
    if let Ok(object) = Object::parse(octets.to_vec()) {
        add(&object, &|n| Some(n + line - 1));
    } else if let Ok(found) = singles(octets.to_vec()) {
        for single in found.list {
            let number = |n: usize| single.number(n).map(|n| n + line - 1);
            if let Ok(object) = Object::parse(single.octets.clone()) {
                add(&object, &number);
            }
        }
    }
}

/// Adds the events of an object that the relay does not take as it is.
fn add_singles(report: &mut Report, octets: Vec<u8>, line: usize) -> Option<(Format, Option<Method>)> {
    let found = singles(octets).ok()?;
    let (mut read, mut seen) = (None, HashSet::new());
    for single in found.list {
        let number = |n: usize| single.number(n).map(|n| n + line - 1);
        match Object::parse(single.octets.clone()) {
            Ok(object) => {
                let problems = object.problems().iter().map(|p| placed(p, number));
                report.problems.extend(problems.filter(|p| seen.insert(p.clone())));
                report.objects.extend(object.events().iter().map(|e| object_report(e, single.named)));
                read = read.or(Some((object.format(), object.event().method)));
            }
            Err(error) => report.problems.push(placed(&error.to_string(), number)),
        }
    }
    if found.more > 0 {
        report.problems.push(format!("{} more events are not shown", found.more));
    }
    read
}

/// A report that begins with `line N:`, with the number that the line has in the whole.
fn placed(text: &str, number: impl Fn(usize) -> Option<usize>) -> String {
    let moved = || {
        let (digits, rest) = text.strip_prefix("line ")?.split_once(':')?;
        Some(format!("line {}:{rest}", number(digits.parse().ok()?)?))
    };
    moved().unwrap_or_else(|| text.to_owned())
}

fn mail_action(mail: &Incoming, method: Option<Method>) -> &'static str {
    let readable = mail.calendar.as_ref().map(|part| Object::parse(part.octets.clone()).is_ok());
    match (readable, method) {
        (None, _) if mail.report.is_some() => "take it as a delivery report, when it answers a mail of its own",
        (None, _) => "pass it on as a mail without a calendar part",
        (Some(false), _) => "pass it on as a mail, since its calendar part cannot be read",
        (Some(true), None) => "pass it on as a mail: a calendar file without METHOD is no scheduling message",
        (Some(true), Some(Method::Request)) => "send it on as SENDEVENT to recipients with CIP, and as it is to the others",
        (Some(true), Some(Method::Cancel)) => {
            "send it on as SENDEVENT with STATUS:CANCELLED to recipients with CIP, and as it is to the others"
        }
        (Some(true), Some(Method::Reply)) => "send it on as RSVP to the owner's server, when the owner has CIP",
        (Some(true), Some(_)) => "pass it on as it is",
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

/// What an object that cannot be read was meant to be.
fn guess(octets: &[u8]) -> Kind {
    let head = String::from_utf8_lossy(&octets[..octets.len().min(64 << 10)]).to_ascii_uppercase();
    match (head.contains("BEGIN:VCALENDAR"), head.contains("VERSION:1.0")) {
        (false, _) => Kind::Bare,
        (true, true) => Kind::VCalendar,
        (true, false) => Kind::ICalendar,
    }
}
