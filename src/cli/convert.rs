//! `convert`: objects from one format into the other, and what was lost on the way.
//!
//! Invariant: objects are written one after the other as they are done; one that cannot be read is named and passed
//! over.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use super::exit::{Exit, Failure, Outcome};
use super::output::{Output, clean};
use super::source::{MAX_OBJECT, Piece, Pieces, open};
use crate::calendar::convert::{Done, Loss, Options, Target, Translation, translate};
use crate::calendar::stream;
use crate::clock::{Clock, SystemClock};
use crate::imip::read;

/// Translate calendar objects into vCalendar or iCalendar
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cip-relay convert --to icalendar phone.vcs > phone.ics\n  cip-relay convert --to vcalendar < invitation.eml\n\nSeveral objects in one input are translated one after the other; of a mail, its calendar part. What was lost is\nlisted on standard error. Exit codes: 0 done, also with losses; 65 when something could not be translated (the rest\nis still written); 74 when reading or writing failed."
)]
pub struct Args {
    /// The format to write
    #[arg(long, value_name = "FORMAT")]
    to: Format,
    /// Also say in DESCRIPTION what a reader of the other format would miss
    #[arg(long)]
    notes: bool,
    /// Losses as JSON, one object a line
    #[arg(long)]
    json: bool,
    /// Calendar objects of any format, or a mail; `-` for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    #[value(name = "vcalendar")]
    VCalendar,
    #[value(name = "icalendar")]
    ICalendar,
}

pub fn run(args: &Args) -> Outcome {
    let (name, input) = open(&args.file)?;
    let failed = |error: io::Error| Failure::new(Exit::Io, format!("{name}: {error}"));
    let mut pieces = Pieces::new(input, MAX_OBJECT);
    let mut work = Work::new(args);
    if pieces.is_mail().map_err(failed)? {
        work.mail(&pieces.rest().map_err(failed)?)?;
    } else {
        while let Some(piece) = pieces.next().map_err(failed)? {
            work.piece(&piece)?;
        }
    }
    if pieces.nuls() > 0 {
        work.remark(&format!("{} NUL octets were left out", pieces.nuls()))?;
    }
    work.finish()
}

/// What has been done so far.
struct Work {
    target: Target,
    options: Options,
    json: bool,
    out: Output,
    objects: usize,
    /// How many of the objects lost something.
    touched: usize,
    losses: usize,
    unread: usize,
    /// Losses by what was done instead.
    kinds: BTreeMap<&'static str, usize>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Loss(&'a Loss),
    Unread { line: usize, error: &'a str },
    Remark { remark: &'a str },
    Counts { objects: usize, losses: usize, unread: usize },
}

impl Work {
    fn new(args: &Args) -> Self {
        Self {
            target: match args.to {
                Format::VCalendar => Target::VCalendar,
                Format::ICalendar => Target::ICalendar,
            },
            options: Options { now: SystemClock.now(), notes: args.notes },
            json: args.json,
            out: Output::stdout(),
            objects: 0,
            touched: 0,
            losses: 0,
            unread: 0,
            kinds: BTreeMap::new(),
        }
    }

    fn mail(&mut self, mail: &Piece) -> Result<(), Failure> {
        if mail.too_large {
            return self.unread(1, &format!("the mail has more than {MAX_OBJECT} octets"));
        }
        match read::read(&mail.octets) {
            Err(error) => self.unread(1, &error.to_string()),
            Ok(mail) => match mail.calendar {
                None if mail.winmail => self.unread(1, "the mail carries winmail.dat (TNEF), in which no meeting can be read"),
                None => self.unread(1, "the mail has no calendar part"),
                Some(part) => {
                    for range in stream::objects(&part.octets) {
                        let line = 1 + stream::line_ends(&part.octets[..range.start]);
                        self.piece(&Piece { octets: part.octets[range].to_vec(), line, too_large: false })?;
                    }
                    Ok(())
                }
            },
        }
    }

    fn piece(&mut self, piece: &Piece) -> Result<(), Failure> {
        if piece.too_large {
            return self.unread(piece.line, &format!("the object has more than {MAX_OBJECT} octets; split it"));
        }
        let framed = stream::framed(&piece.octets).map(std::borrow::Cow::into_owned);
        let translated = framed.and_then(|octets| translate(octets, self.target, &self.options));
        match translated {
            Err(error) => self.unread(piece.line, &error.to_string()),
            Ok(translation) => self.write(&translation),
        }
    }

    fn write(&mut self, translation: &Translation) -> Result<(), Failure> {
        self.out.write_all(&translation.octets)?;
        if !translation.octets.ends_with(b"\n") {
            self.out.write_all(b"\r\n")?;
        }
        self.out.flush()?;
        self.objects += 1;
        self.touched += usize::from(!translation.losses.is_empty());
        self.losses += translation.losses.len() + translation.more_losses;
        for loss in &translation.losses {
            *self.kinds.entry(kind(&loss.done)).or_default() += 1;
            let of = loss.uid.as_deref().unwrap_or("without UID");
            self.say(&Line::Loss(loss), &format!("{of}: {loss}"))?;
        }
        if translation.more_losses > 0 {
            *self.kinds.entry("not listed").or_default() += translation.more_losses;
        }
        Ok(())
    }

    fn unread(&mut self, line: usize, error: &str) -> Result<(), Failure> {
        self.unread += 1;
        self.say(&Line::Unread { line, error }, &format!("what begins at line {line} is not translated: {error}"))
    }

    fn remark(&self, remark: &str) -> Result<(), Failure> {
        self.say(&Line::Remark { remark }, remark)
    }

    fn say(&self, line: &Line<'_>, words: &str) -> Result<(), Failure> {
        let text = if self.json { serde_json::to_string(line).map_err(io::Error::from)? } else { format!("cip-relay: {}", clean(words)) };
        writeln!(io::stderr(), "{text}")?;
        Ok(())
    }

    fn finish(&self) -> Outcome {
        let (objects, losses, unread) = (self.objects, self.losses, self.unread);
        if objects + unread == 0 {
            return Err(Failure::new(Exit::Data, "no calendar object in the input"));
        }
        if losses + unread > 0 {
            let kinds: Vec<String> = self.kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
            let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
            let lost = format!("{losses} losses{kinds} in {} of {objects} objects", self.touched);
            let words = if unread == 0 { lost } else { format!("{lost}; {unread} not translated") };
            self.say(&Line::Counts { objects, losses, unread }, &words)?;
        }
        if unread > 0 { Err(Failure::silent(Exit::Data)) } else { Ok(()) }
    }
}

const fn kind(done: &Done) -> &'static str {
    match done {
        Done::Carried(_) => "carried",
        Done::Dates(_) => "written as dates",
        Done::Approximated(_) => "approximated",
        Done::Said => "said in DESCRIPTION",
        Done::LeftOut => "left out",
    }
}
