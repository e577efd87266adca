//! `inspect`: what the relay reads in a mail or an object, and what it would do with it.

mod reader;
mod report;
mod text;

use std::io::{self, Write};
use std::path::PathBuf;

use self::reader::Reader;
use self::report::Kind;
use super::exit::{Exit, Failure, Outcome};
use super::freebusy::time;
use super::output::Output;
use super::source::{MAX_OBJECT, Pieces, open};
use crate::clock::Timestamp;

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
    /// Also list when its events start before this time, by their rules: a date, or a time such as 2026-12-01T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
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
    let reader = Reader::new(args.until);
    let mut report = if is_mail { reader.mail(&whole.octets) } else { reader.objects(whole.octets) };
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
