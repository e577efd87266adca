//! The corpus table: every object of a folder of real files is read, translated to the other format and back, and each
//! of its lines is looked for on the other side.
//!
//! `cargo run --example corpus -- CORPUS [--verbose] [--show] [--pairs] [--only WORD]`: CORPUS holds `vcalendar/`, `icalendar/`,
//! `imip/` and `SOURCES.tsv`. Ends with 1 when a file makes the library panic, takes too long, or when fewer than 99 of
//! 100 valid files are free of unexplained losses; with `--pairs` when an expected result differs without explanation.

mod alarms;
mod canon;
mod check;
mod explained;
mod moments;
mod pairs;
mod people;
mod reader;
mod sources;
mod table;
mod valid;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use table::Counts;
use work::Report;

/// Longest time that one file may take, in a debug build on a busy machine.
const LIMIT: Duration = Duration::from_secs(2);

struct Arguments {
    corpus: PathBuf,
    verbose: bool,
    show: bool,
    pairs: bool,
    only: Option<String>,
}

fn arguments() -> Option<Arguments> {
    let (mut corpus, mut verbose, mut show, mut pairs, mut only) = (None, false, false, false, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--verbose" => verbose = true,
            "--show" => show = true,
            "--pairs" => pairs = true,
            "--only" => only = Some(words.next()?),
            _ if word.starts_with('-') || corpus.is_some() => return None,
            _ => corpus = Some(PathBuf::from(word)),
        }
    }
    Some(Arguments { corpus: corpus?, verbose, show, pairs, only })
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("usage: corpus CORPUS [--pairs] [--verbose] [--show] [--only WORD]");
        return ExitCode::from(64);
    };
    if arguments.pairs {
        let rows = sources::rows(&arguments.corpus);
        return if pairs::compare(&arguments.corpus, &rows, arguments.verbose) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match table(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}: {error}", arguments.corpus.display());
            ExitCode::from(66)
        }
    }
}

fn table(arguments: &Arguments) -> std::io::Result<bool> {
    let rows = sources::rows(&arguments.corpus);
    let mut sources = sources::sources(&arguments.corpus, &rows)?;
    if let Some(only) = &arguments.only {
        sources.retain(|s| s.name.contains(only.as_str()));
    }
    // What panics is caught and listed; its own report would only stand in the way.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut producers, mut invalid, mut slowest, mut sound) =
        (BTreeMap::<String, Counts>::new(), Vec::new(), (Duration::ZERO, String::new()), true);
    for source in &sources {
        let report = work::report(source);
        let counts = producers.entry(source.producer.clone()).or_default();
        counts.add(&report.counts);
        if report.counts.slowest > slowest.0 {
            slowest = (report.counts.slowest, source.name.clone());
        }
        sound &= report.panics.is_empty() && report.counts.slowest <= LIMIT;
        tell(source, &report, arguments);
        if let Some(fault) = report.fault {
            invalid.push(format!("{}: {fault}", source.name));
        }
    }
    if !invalid.is_empty() {
        println!("\nNot valid by the rules of their own format, and not judged ({}):", invalid.len());
        for line in &invalid {
            println!("  {line}");
        }
    }
    println!();
    let sum = table::print(&producers);
    let per_mille = (sum.whole * 1000).checked_div(sum.valid).unwrap_or(1000);
    let (whole, tenth) = (per_mille / 10, per_mille % 10);
    println!("\n{} of {} valid files have no unexplained loss ({whole}.{tenth} %; 99 % are asked for)", sum.whole, sum.valid);
    println!("the slowest file is {} with {:.1} ms", slowest.1, slowest.0.as_secs_f64() * 1000.0);
    Ok(sound && per_mille >= 990)
}

fn tell(source: &sources::Source, report: &Report, arguments: &Arguments) {
    for panic in &report.panics {
        println!("PANIC {}: {panic}", source.name);
    }
    if report.counts.slowest > LIMIT {
        println!("SLOW {}: {:?}", source.name, report.counts.slowest);
    }
    for line in &report.unexplained {
        println!("UNEXPLAINED {}: {line}", source.name);
    }
    if arguments.show {
        report.written.iter().for_each(|(way, text)| println!("--- {} {way}\n{}", source.name, String::from_utf8_lossy(text)));
    }
    if arguments.verbose {
        report.losses.iter().for_each(|line| println!("{}: {line}", source.name));
    }
}
