//! `ledger list|show`: events known, attendees and their answers.

use std::io::{self, Write};

use clap::Subcommand;

use super::exit::Outcome;
use super::output::{Colour, Output, clean};
use super::session::Session;
use super::{Context, block_on};
use crate::admin::ledger::EventView;
use crate::admin::protocol::Command as Ask;

/// Look at the events that the relay knows, and at people's answers
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cip-relay ledger list\n  cip-relay ledger show 10-28@jumbo.com")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the events, one line each
    #[command(after_help = "Example:\n  cip-relay ledger list --json | jq -r .event_id")]
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show one event with its people and their answers
    #[command(after_help = "Example:\n  cip-relay ledger show 10-28@jumbo.com")]
    Show {
        event_id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(context: &Context, args: Args) -> Outcome {
    block_on(async {
        let config = context.load()?;
        let mut session = Session::open(&config, false).await?;
        let mut out = Output::stdout();
        let (ask, json) = match args.command {
            Command::List { json } => (Ask::LedgerList, json),
            Command::Show { event_id, json } => (Ask::LedgerShow { event_id }, json),
        };
        let mut on_item = |value| {
            let event: EventView = serde_json::from_value(value)?;
            if json { writeln!(out, "{}", serde_json::to_string(&event)?) } else { text(&mut out, &event) }
        };
        session.call(ask, &mut on_item).await?;
        out.flush()?;
        Ok(())
    })
}

fn text(out: &mut Output, event: &EventView) -> io::Result<()> {
    let state = if event.cancelled { ", cancelled" } else { "" };
    let summary = event.summary.as_ref().map_or_else(String::new, |s| format!(": {s}"));
    let start = event.start.as_deref().unwrap_or("no time");
    let line = format!("{} version {}, {start}, of {}{state}{summary}", event.event_id, event.version, event.owner);
    out.fitted(&clean(&line))?;
    for person in &event.people {
        let route = person.route.and_then(|r| serde_json::to_value(r).ok()).and_then(|v| v.as_str().map(|s| format!(", reached by {s}")));
        let name = person.name.as_ref().map_or_else(String::new, |n| format!(" ({n})"));
        writeln!(out, "  {}{}", clean(&format!("{}{name}", person.user)), route.unwrap_or_default())?;
        for answer in &person.answers {
            let what = answer.recurrence_id.as_ref().map_or_else(String::new, |id| format!(" for {id}"));
            let words = answer.comment.as_ref().map_or_else(String::new, |c| format!(": {c}"));
            let past = if answer.counts { "" } else { ", to a time that the event no longer has" };
            let line = format!("    {}{what}{past}, standing {}, {}{words}", answer.status.icalendar(), answer.standing, answer.at);
            let line = out.style.paint(Colour::Bold, &clean(&line));
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}
