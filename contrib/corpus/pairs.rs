//! What other programs made of the same object: ours is compared with theirs as calendar objects, line by line in both
//! directions, and every difference needs a reason in words.

use std::path::Path;

use cip_relay::calendar::convert::{Target, translate};

use super::check::{self, Outcome};
use super::explained;
use super::moments::Side;
use super::reader;
use super::sources::Row;
use super::work::options;

/// One expected result.
struct Case<'a> {
    pair: &'a str,
    input: &'a Row,
    expected: &'a Row,
    /// Translated to the other format and back again: the expected result is in the input's own format.
    back: bool,
}

/// On which side a line stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alone {
    Theirs,
    Ours,
}

/// A line of the one that the other does not have.
pub struct Difference {
    pub pair: String,
    pub property: String,
    pub alone: Alone,
    pub text: String,
}

#[derive(Default)]
struct Tally {
    cases: usize,
    equal: usize,
    lines: usize,
    explained: usize,
    unexplained: usize,
}

/// Compares all pairs; whether every difference has its reason.
pub fn compare(corpus: &Path, rows: &[Row], verbose: bool) -> bool {
    let (cases, alone) = cases(rows);
    let mut tally = Tally::default();
    for case in &cases {
        tally.cases += 1;
        match differences(corpus, case, &mut tally) {
            Ok(differences) => {
                tally.equal += usize::from(differences.is_empty());
                for difference in &differences {
                    judge(case, difference, verbose, &mut tally);
                }
            }
            Err(error) => {
                tally.unexplained += 1;
                println!("UNEXPLAINED {} -> {}: {error}", case.input.file, case.expected.file);
            }
        }
    }
    println!("\nPairs whose other side is no calendar object or not in the corpus:");
    for row in alone {
        let reason = explained::without_case(&row.file);
        tally.unexplained += usize::from(reason.is_none());
        println!("  {}: {}", row.file, reason.unwrap_or("UNEXPLAINED"));
    }
    println!(
        "\n{} expected results, {} equal in every line; {} lines compared, {} differ for a reason, {} unexplained",
        tally.cases, tally.equal, tally.lines, tally.explained, tally.unexplained
    );
    for entry in &explained::unused() {
        println!("an explanation that nothing needs any more: {entry}");
    }
    tally.unexplained == 0
}

fn judge(case: &Case, difference: &Difference, verbose: bool, tally: &mut Tally) {
    let what = format!("{} {} ({:?} alone): {}", case.expected.file, difference.property, difference.alone, difference.text);
    match explained::reason(difference) {
        Some(reason) => {
            tally.explained += 1;
            if verbose {
                println!("{what}: {reason}");
            }
        }
        None => {
            tally.unexplained += 1;
            println!("UNEXPLAINED {what}");
        }
    }
}

/// `PAIR name: role; …` of a note.
fn role(row: &Row) -> Option<(&str, &str)> {
    let (name, role) = row.note.split_once("PAIR ")?.1.split_once(": ")?;
    Some((name, role.split(';').next().unwrap_or(role)))
}

/// The results that have an input, and the rows that have none.
fn cases(rows: &[Row]) -> (Vec<Case<'_>>, Vec<&Row>) {
    let (mut cases, mut alone) = (Vec::new(), Vec::new());
    for expected in rows {
        let Some((pair, role_here)) = role(expected) else { continue };
        let input = |ending: &str| {
            let fits = |r: &&Row| role(r).is_some_and(|(p, role)| p == pair && role.starts_with("input")) && r.file.ends_with(ending);
            rows.iter().find(fits)
        };
        let twin = || rows.iter().find(|r| r.file != expected.file && role(r).is_some_and(|(p, _)| p == pair));
        let (input, back) = if role_here.starts_with("input") {
            continue;
        } else if role_here.starts_with("expected iCalendar 2.0") {
            (input(".vcs"), false)
        } else if role_here.starts_with("expected vCalendar 1.0") || role_here.starts_with("output ics->vcs") {
            (input(".ics"), false)
        } else if role_here.starts_with("expected vCalendar re-save") {
            (input(".vcs"), true)
        } else if role_here.starts_with("output model round trip") {
            (input(""), true)
        } else if role_here.starts_with("same item expected") {
            (twin(), false)
        } else {
            (None, false)
        };
        match input {
            Some(input) => cases.push(Case { pair, input, expected, back }),
            None => alone.push(expected),
        }
    }
    (cases, alone)
}

/// A file as one object; a component that stands alone is put into a calendar of the format that its name says.
fn object(corpus: &Path, row: &Row) -> std::io::Result<Vec<u8>> {
    let mut octets = std::fs::read(corpus.join(&row.folder).join(&row.file))?;
    if reader::calendars(&octets).is_empty() {
        let version = if row.file.ends_with("ical.ics") { "2.0" } else { "1.0" };
        octets =
            [format!("BEGIN:VCALENDAR\r\nVERSION:{version}\r\n").as_bytes(), octets.trim_ascii_end(), b"\r\nEND:VCALENDAR\r\n"].concat();
    }
    Ok(octets)
}

fn differences(corpus: &Path, case: &Case, tally: &mut Tally) -> Result<Vec<Difference>, String> {
    let input = object(corpus, case.input).map_err(|e| e.to_string())?;
    let expected = object(corpus, case.expected).map_err(|e| e.to_string())?;
    let modern = reader::tree(&input).map_err(|e| format!("the input: {e}"))?.is_icalendar();
    let (there, back) = if modern { (Target::VCalendar, Target::ICalendar) } else { (Target::ICalendar, Target::VCalendar) };
    let mut ours = translate(input, there, &options()).map_err(|e| e.to_string())?.octets;
    if case.back {
        ours = translate(ours, back, &options()).map_err(|e| e.to_string())?.octets;
    }
    let theirs_root = reader::tree(&expected).map_err(|e| format!("the expected result: {e}"))?;
    let ours_root = reader::tree(&ours).map_err(|e| format!("the translation: {e}"))?;
    let (theirs, ours) = (Side::new(&theirs_root, &expected), Side::new(&ours_root, &ours));
    let mut found = Vec::new();
    for (source, target, alone) in [(&theirs, &ours, Alone::Theirs), (&ours, &theirs, Alone::Ours)] {
        for finding in check::compare(source, target, &[]) {
            tally.lines += 1;
            if let Outcome::Unexplained(text) = finding.outcome {
                found.push(Difference { pair: case.pair.to_owned(), property: finding.property, alone, text });
            }
        }
    }
    Ok(found)
}
