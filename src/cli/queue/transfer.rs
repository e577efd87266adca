//! `queue export` and `queue import`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::exit::{Exit, Failure};
use super::super::output::{Output, clean};
use super::super::session::{Session, max_request};
use super::super::{Context, Outcome};
use crate::admin::protocol::Command;
use crate::admin::transfer::{check_end, check_header};

/// Write all entries, the ledger and the tokens out, to move the relay to another machine
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cip-relay queue export relay.export\n\nThe file holds the texts of invitations and the secrets of reply addresses; it is made readable for its owner\nalone. Nothing is removed from the queue."
)]
pub struct ExportArgs {
    /// The file to make; without it, standard output
    file: Option<PathBuf>,
}

/// Take in what `queue export` wrote
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cip-relay queue import relay.export\n  cip-relay queue import --restored last-night.export\n\nEntries and records that are there already are kept as they are."
)]
pub struct ImportArgs {
    file: PathBuf,
    /// The file is a backup: entries arrive held, since they may have been delivered after it was made, and
    /// the versions of the relay's own events jump by 1000, to be newer than what was lost
    #[arg(long)]
    restored: bool,
}

/// Records in one request and commit.
const PORTION: usize = 200;
/// Octets of one line: an entry with its body in base64.
const MAX_LINE: u64 = 1 << 30;

pub async fn export(context: &Context, args: ExportArgs) -> Outcome {
    let config = context.load()?;
    let mut session = Session::open(&config, false).await?;
    let named = |error: io::Error| match (&args.file, error.kind()) {
        (Some(file), kind) if kind != io::ErrorKind::BrokenPipe => Failure::new(Exit::Io, format!("{}: {error}", file.display())),
        _ => error.into(),
    };
    let mut out: Box<dyn Write + Send> = match &args.file {
        None => Box::new(BufWriter::new(io::stdout())),
        Some(file) => {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
            Box::new(BufWriter::new(made.map_err(named)?))
        }
    };
    let entries = session.call(Command::Export, &mut |value| writeln!(out, "{value}")).await?;
    out.flush().map_err(named)?;
    drop(out);
    if let Some(file) = &args.file {
        File::open(file).and_then(|f| f.sync_all()).map_err(named)?;
        writeln!(io::stderr(), "{entries} entries exported")?;
    }
    Ok(())
}

pub async fn import(context: &Context, args: ImportArgs) -> Outcome {
    let config = context.load()?;
    let file = check_file(&args.file)?;
    let mut session = Session::open(&config, true).await?;
    // A portion stays well below what the relay reads as one request; a single entry may fill it.
    let portion_octets = max_request(&config) / 2;
    let mut reader = BufReader::new(file);
    let (mut entries, mut passed_over) = (0, 0u64);
    let mut records: Vec<Value> = Vec::new();
    let mut octets = 0;
    let mut line_number = 0;
    loop {
        let line = read_line(&mut reader, &args.file)?;
        line_number += 1;
        let full = records.len() >= PORTION || octets + line.len() > portion_octets;
        if !records.is_empty() && (line.is_empty() || full) {
            let count_of_lines = records.len();
            let command = Command::Import { records: std::mem::take(&mut records), restored: args.restored };
            octets = 0;
            let mut on_item = |value: Value| {
                passed_over += 1;
                let problem = value.get("problem").and_then(Value::as_str).unwrap_or("passed over");
                writeln!(io::stderr(), "cip-relay: {}", clean(problem))
            };
            let count = session.call(command, &mut on_item).await;
            entries += count.map_err(|f| {
                Failure::new(
                    f.exit,
                    format!(
                        "{}: lines {} to {}: {}; {entries} entries were imported before",
                        args.file.display(),
                        line_number - count_of_lines,
                        line_number - 1,
                        f.message
                    ),
                )
            })?;
        }
        if line.is_empty() {
            break;
        }
        octets += line.len();
        let record = serde_json::from_str(&line);
        records.push(record.map_err(|error| Failure::new(Exit::Data, format!("{}:{line_number}: {error}", args.file.display())))?);
    }
    if args.restored {
        session.call(Command::Import { records: Vec::new(), restored: true }, &mut |_| Ok(())).await?;
    }
    let mut out = Output::stdout();
    let held = if args.restored { ", held" } else { "" };
    writeln!(out, "{entries} entries imported{held}, {passed_over} passed over")?;
    out.flush()?;
    Ok(())
}

/// Opens the file and sees that it is an export, of this format, and whole, before anything of it is taken in.
fn check_file(path: &Path) -> Result<File, Failure> {
    let bad = |why: String| Failure::new(Exit::Data, format!("{}: {why}", path.display()));
    let file = File::open(path).map_err(|error| Failure::new(Exit::Data, format!("{}: {error}", path.display())))?;
    let mut reader = BufReader::new(file);
    check_header(&read_line(&mut reader, path)?).map_err(bad)?;
    let mut last = String::new();
    loop {
        let line = read_line(&mut reader, path)?;
        if line.is_empty() {
            break;
        }
        last = line;
    }
    check_end(&last).map_err(bad)?;
    let mut file = reader.into_inner();
    file.rewind()?;
    Ok(file)
}

/// One line with its LF; empty at the end.
fn read_line(reader: &mut impl BufRead, path: &Path) -> Result<String, Failure> {
    let mut line = String::new();
    let read = reader.take(MAX_LINE).read_line(&mut line);
    read.map_err(|error| Failure::new(Exit::Data, format!("{}: {error}", path.display())))?;
    Ok(line)
}
