//! One file: its objects are read, translated there and back, and compared.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use cip_relay::calendar::convert::{Loss, Options, Target, Translation, translate};
use cip_relay::calendar::{Object, ObjectError};
use cip_relay::clock::Timestamp;

use super::check::{self, Outcome};
use super::moments::Side;
use super::reader::{self, Node};
use super::sources::Source;
use super::table::Counts;
use super::valid;

/// What became of one file.
#[derive(Default)]
pub struct Report {
    pub counts: Counts,
    /// Why the file is not valid.
    pub fault: Option<String>,
    pub panics: Vec<String>,
    pub losses: Vec<String>,
    pub unexplained: Vec<String>,
    /// What each translation wrote.
    pub written: Vec<(&'static str, Vec<u8>)>,
}

/// DTSTAMP of what gives none: any time does, as long as it is always the same.
pub fn options() -> Options {
    Options { now: Timestamp::from_millis(946_684_800_000), notes: true }
}

pub fn report(source: &Source) -> Report {
    let mut report = Report { counts: Counts { files: 1, ..Counts::default() }, ..Report::default() };
    let ranges = reader::calendars(&source.octets);
    // A file without any VCALENDAR is tried as it is: the draft's bare dialect has none.
    let ranges = if ranges.is_empty() { std::iter::once(0..source.octets.len()).collect() } else { ranges };
    for range in ranges {
        object(&source.octets[range], &mut report);
    }
    if report.fault.is_none() {
        report.counts.valid = 1;
        report.counts.whole = usize::from(report.unexplained.is_empty());
    }
    report
}

fn object(octets: &[u8], report: &mut Report) {
    report.counts.objects += 1;
    let fault = valid::fault(octets);
    let began = Instant::now();
    let done = catch_unwind(AssertUnwindSafe(|| there_and_back(octets)));
    report.counts.slowest = report.counts.slowest.max(began.elapsed());
    let judged = fault.is_none();
    report.fault = report.fault.take().or(fault);
    let result = match done {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
            report.panics.push(text.unwrap_or_default());
            return;
        }
    };
    report.counts.read += usize::from(result.read);
    report.counts.translated += usize::from(result.back.is_ok());
    report.written.extend(result.there.iter().map(|t| ("there", t.octets.clone())));
    report.written.extend(result.back.iter().map(|t| ("back", t.octets.clone())));
    if judged {
        judge(octets, result, report);
    }
}

struct Result3 {
    read: bool,
    there: Result<Translation, ObjectError>,
    back: Result<Translation, ObjectError>,
    again: Option<Translation>,
}

fn there_and_back(octets: &[u8]) -> Result3 {
    let parsed = Object::parse(octets.to_vec());
    let modern = reader::tree(octets)
        .map_or_else(|_| parsed.as_ref().is_ok_and(|o| o.format() == cip_relay::calendar::event::Format::ICalendar), |n| n.is_icalendar());
    let (there, back) = if modern { (Target::VCalendar, Target::ICalendar) } else { (Target::ICalendar, Target::VCalendar) };
    let first = translate(octets.to_vec(), there, &options());
    let second = first.clone().and_then(|t| translate(t.octets, back, &options()));
    let third = second.clone().and_then(|t| translate(t.octets, there, &options()));
    let again = third.and_then(|t| translate(t.octets, back, &options())).ok();
    Result3 { read: parsed.is_ok(), there: first, back: second, again }
}

/// Lines of an object that both translations must explain.
fn judge(octets: &[u8], result: Result3, report: &mut Report) {
    // Decided by valid::fault before.
    let Ok(root) = reader::tree(octets) else { return };
    let there = match result.there {
        Ok(there) => there,
        Err(error) => {
            if root.events().any(|e| matches!(e.name.as_str(), "VEVENT" | "VTODO")) {
                report.unexplained.push(format!("refused: {error}"));
            } else {
                report.losses.push(format!("refused: {error}"));
            }
            return;
        }
    };
    let source = Side::new(&root, octets);
    compare("there", &source, &there.octets, &there.losses, report);
    match result.back {
        Err(error) => report.unexplained.push(format!("the translation is refused: {error}")),
        Ok(back) => {
            let losses: Vec<Loss> = there.losses.into_iter().chain(back.losses).collect();
            compare("back", &source, &back.octets, &losses, report);
            settled(&back.octets, &result.again.map_or_else(Vec::new, |again| again.octets), report);
        }
    }
}

/// There and back a second time changes nothing any more.
fn settled(once: &[u8], twice: &[u8], report: &mut Report) {
    if once != twice {
        let (once, twice) = (String::from_utf8_lossy(once), String::from_utf8_lossy(twice));
        let differs = once.lines().map(Some).zip(twice.lines().map(Some).chain(std::iter::repeat(None))).find(|(a, b)| a != b);
        report.unexplained.push(format!("there and back twice is not the same as once: {differs:?}"));
    }
}

fn compare(way: &str, source: &Side, octets: &[u8], losses: &[Loss], report: &mut Report) {
    let root: Node = match reader::tree(octets) {
        Ok(root) => root,
        Err(fault) => {
            report.unexplained.push(format!("{way}: what was written is no object: {fault}"));
            return;
        }
    };
    let target = Side::new(&root, octets);
    if let Some(fault) = valid::fault(octets) {
        report.unexplained.push(format!("{way}: what was written is not valid: {fault}"));
    }
    for finding in check::compare(source, &target, losses) {
        // The way back is judged, but each line is counted once.
        if way == "there" {
            report.counts.finding(&finding);
        }
        if let Outcome::Unexplained(reason) = &finding.outcome {
            report.unexplained.push(format!("{way}: line {}: {}: {reason}", finding.line, finding.property));
        }
    }
    report.losses.extend(losses.iter().map(|loss| format!("{way}: {loss}")));
}
