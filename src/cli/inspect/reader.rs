//! From octets to the report.
//!
//! Invariants: the time is in proportion to the octets and to the instances listed, of which there is a bound; lines are
//! numbered as they stand in what was given, for a mail in its calendar part.

use std::collections::HashSet;

use super::report::{Kind, LossReport, MailReport, Report, moment, object_report};
use crate::calendar::convert::{Options, Target, translate};
use crate::calendar::event::{Format, Method};
use crate::calendar::{Object, ObjectError, singles, stream};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::imip::read::{self, Incoming};

/// Instances listed of one input.
const MAX_INSTANCES: usize = 10_000;

/// Fills a report.
pub struct Reader {
    report: Report,
    until: Option<Timestamp>,
    /// Of instances: for their order, and as it is shown.
    starts: Vec<(Option<Timestamp>, String)>,
    complete: bool,
}

/// What an object is, as far as it could be read.
type Known = Option<(Format, Option<Method>)>;

impl Reader {
    pub fn new(until: Option<Timestamp>) -> Self {
        Self { report: Report::default(), until, starts: Vec::new(), complete: true }
    }

    pub fn mail(mut self, octets: &[u8]) -> Report {
        let mail = match read::read(octets) {
            Ok(mail) => mail,
            Err(error) => {
                self.report.problems.push(error.to_string());
                self.report.action = "refuse it".to_owned();
                return self.finish();
            }
        };
        let method = mail.calendar.as_ref().and_then(|part| part.method);
        self.report.action = mail_action(&mail, method).to_owned();
        self.report.method = method.map(Method::as_str);
        if mail.winmail {
            self.report.problems.push("it carries winmail.dat (TNEF), in which the relay cannot read a meeting".to_owned());
        }
        if let Some(part) = &mail.calendar {
            for (piece, line) in pieces(&part.octets) {
                self.piece(piece, line, Some(Target::VCalendar));
            }
        }
        self.report.mail = Some(MailReport {
            from: mail.from.iter().map(ToString::to_string).collect(),
            subject: mail.subject,
            message_id: mail.message_id,
            automatic: mail.automatic,
        });
        self.finish()
    }

    pub fn objects(mut self, octets: Vec<u8>) -> Report {
        self.report.kind = guess(&octets);
        for (n, (piece, line)) in pieces(&octets).enumerate() {
            let known = self.piece(piece, line, None);
            if let (0, Some((format, method))) = (n, known) {
                self.report.kind = match format {
                    Format::Bare => Kind::Bare,
                    Format::VCalendar => Kind::VCalendar,
                    Format::ICalendar => Kind::ICalendar,
                };
                self.report.method = method.map(Method::as_str);
            }
        }
        self.report.action = match Object::parse(octets) {
            Ok(object) => object_action(&object),
            Err(error) => {
                if error == ObjectError::Empty {
                    self.report.problems.push(error.to_string());
                }
                format!("answer NO 001 ({error})")
            }
        };
        self.finish()
    }

    fn finish(mut self) -> Report {
        if self.until.is_some() {
            self.starts.sort();
            if !self.complete {
                let remark = format!("not all instances are listed: there are more than {MAX_INSTANCES}, or rules that cannot be followed");
                self.report.problems.push(remark);
            }
            self.report.instances = Some(self.starts.into_iter().map(|(_, start)| start).collect());
            self.report.instances_complete = Some(self.complete);
        }
        self.report
    }

    /// Adds what one object holds. `line` is where it begins.
    fn piece(&mut self, octets: Vec<u8>, line: usize, to: Option<Target>) -> Known {
        let whole = |n: usize| Some(n + line - 1);
        let known = match Object::parse(octets.clone()) {
            Ok(object) => {
                self.report.problems.extend(object.problems().iter().map(|p| placed(p, whole)));
                Some(self.object(&object, true, whole))
            }
            Err(error) => {
                self.report.problems.push(placed(&error.to_string(), whole));
                self.singles(octets.clone(), line)
            }
        };
        let (format, _) = known?;
        let to = to.unwrap_or(if format == Format::ICalendar { Target::VCalendar } else { Target::ICalendar });
        let name = if to == Target::VCalendar { "vcalendar" } else { "icalendar" };
        match translate(octets, to, &Options { now: SystemClock.now(), notes: true }) {
            Ok(translation) => {
                self.report.losses.extend(translation.losses.into_iter().map(|loss| LossReport { to: name, loss }));
                if translation.more_losses > 0 {
                    self.report.problems.push(format!("{} more losses in {name} are not listed", translation.more_losses));
                }
            }
            Err(error) => self.report.problems.push(format!("not said in {name}: {}", placed(&error.to_string(), whole))),
        }
        known
    }

    /// Adds the events of an object that the relay does not take as it is.
    fn singles(&mut self, octets: Vec<u8>, line: usize) -> Known {
        let found = singles(octets).ok()?;
        let (mut known, mut seen) = (None, HashSet::new());
        for single in found.list {
            let number = |n: usize| single.number(n).map(|n| n + line - 1);
            match Object::parse(single.octets.clone()) {
                Ok(object) => {
                    let problems = object.problems().iter().map(|p| placed(p, number));
                    self.report.problems.extend(problems.filter(|p| seen.insert(p.clone())));
                    let shown = self.object(&object, single.named, number);
                    known = known.or(Some(shown));
                }
                Err(error) => self.report.problems.push(placed(&error.to_string(), number)),
            }
        }
        if found.more > 0 {
            self.report.problems.push(format!("{} more events are not shown", found.more));
            self.complete = false;
        }
        known
    }

    fn object(&mut self, object: &Object, named: bool, number: impl Fn(usize) -> Option<usize>) -> (Format, Option<Method>) {
        self.report.objects.extend(object.events().iter().map(|e| object_report(e, named)));
        if let Some(until) = self.until {
            let found = object.instances(until, MAX_INSTANCES - self.starts.len());
            self.starts.extend(found.starts.iter().map(|start| (start.instant(), moment(start))));
            self.complete &= found.complete;
            self.report.problems.extend(found.problems.iter().map(|p| placed(p, &number)));
        }
        (object.format(), object.event().method)
    }
}

/// The objects in order, each with the number of its first line.
fn pieces(octets: &[u8]) -> impl Iterator<Item = (Vec<u8>, usize)> {
    let (mut at, mut line) = (0, 1);
    stream::objects(octets).map(move |range| {
        line += stream::line_ends(&octets[at..range.start]);
        at = range.start;
        (octets[range].to_vec(), line)
    })
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
