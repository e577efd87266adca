//! `ledger list|show|rename`: the events that the relay knows, their people and answers, and what happened to them.

use std::io::{self, Write};

use clap::Subcommand;
use serde::Serialize;

use super::exit::{Exit, Failure, Outcome};
use super::output::{Colour, Output, clean};
use super::session::Session;
use super::{Context, block_on};
use crate::admin::ledger::{AnswerView, EventDetails, EventView, LedgerFilter, PartView, PersonView};
use crate::admin::protocol::Command as Ask;
use crate::admin::rename::RenamedView;
use crate::config::Span;

/// Look at the events that the relay knows, and at people's answers
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cip-relay ledger list --owner '*@jumbo.com'\n  cip-relay ledger show 10-28@jumbo.com")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    /// Show one event: versions, people and their answers, reply addresses, what waits in the queue, what happened
    #[command(after_help = "Example:\n  cip-relay ledger show 10-28@jumbo.com\n  cip-relay ledger show 040000008200E00074C5B7101A82E008")]
    Show {
        /// Its event-id, or its UID in iCalendar
        event_id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// After a change of the server-id: cancel the live events under the old one, and send them out under the new one
    #[command(
        after_help = "Example:\n  cip-relay ledger rename old.example\n\nThe old server-id must stand in server-id-aliases. Who asks for an event under its old event-id is told the new\none. Events that are over or cancelled stay as they are; done again, it goes on where it was."
    )]
    Rename {
        /// The server-id that the relay had
        old: String,
        /// One JSON object a line, for each event
        #[arg(long)]
        json: bool,
    },
}

/// List the events, one line each. Patterns ignore case, and `*` in them stands for anything
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cip-relay ledger list --older 30d --json | jq -r .event_id")]
struct List {
    /// Events of this owner; without `@` and `*`: whose address contains it
    #[arg(long, value_name = "PATTERN")]
    owner: Option<String>,
    /// Events with this event-id, or this UID in iCalendar
    #[arg(long, value_name = "PATTERN")]
    event: Option<String>,
    /// Events of which nothing new was accepted for at least so long, such as 30d
    #[arg(long, value_name = "DURATION", value_parser = |text: &str| Span::try_from(text.to_owned()))]
    older: Option<Span>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl List {
    fn filter(&self) -> LedgerFilter {
        let address = |pattern: &String| if pattern.contains(['@', '*']) { pattern.clone() } else { format!("*{pattern}*") };
        LedgerFilter { owner: self.owner.as_ref().map(address), event: self.event.clone(), older: self.older.map(|span| span.0) }
    }
}

pub fn run(context: &Context, args: Args) -> Outcome {
    block_on(async {
        let config = context.load()?;
        let mut session = Session::open(&config, false).await?;
        let mut out = Output::stdout();
        let (ask, json) = match args.command {
            Command::List(list) => (Ask::LedgerList { filter: list.filter() }, list.json),
            Command::Show { event_id, json } => (Ask::LedgerShow { event_id }, json),
            Command::Rename { old, json } => return rename(session, old, json).await,
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

async fn rename(mut session: Session, from: String, json: bool) -> Outcome {
    let mut out = Output::stdout();
    let mut problems = 0;
    let mut on_item = |value| {
        let renamed: RenamedView = serde_json::from_value(value)?;
        problems += usize::from(renamed.problem.is_some());
        match (json, &renamed.problem) {
            (true, _) => writeln!(out, "{}", serde_json::to_string(&renamed)?),
            (false, Some(problem)) => writeln!(out, "{}", clean(&format!("{}: not renamed: {problem}", renamed.event_id))),
            (false, None) => writeln!(out, "{}", clean(&format!("{} is now {}", renamed.event_id, renamed.next))),
        }
    };
    let count = session.call(Ask::LedgerRename { from }, &mut on_item).await?;
    if !json {
        writeln!(out, "{count} events renamed")?;
    }
    out.flush()?;
    match problems {
        0 => Ok(()),
        n => Err(Failure::new(Exit::Data, format!("{n} events were not renamed"))),
    }
}

fn text(out: &mut Output, event: &EventView) -> io::Result<()> {
    let state = if event.cancelled { ", cancelled" } else { "" };
    let summary = event.summary.as_ref().map_or_else(String::new, |s| format!(": {s}"));
    let start = event.start.as_deref().unwrap_or("no time");
    let line = format!("{} version {}, {start}, of {}{state}{summary}", event.event_id, event.version, event.owner);
    out.fitted(&clean(&line))?;
    match &event.details {
        Some(details) => details_text(out, event, details),
        None => Ok(()),
    }
}

fn details_text(out: &mut Output, event: &EventView, details: &EventDetails) -> io::Result<()> {
    let style = out.style;
    let mut field = |name: &str, value: &str| -> io::Result<()> {
        if value.is_empty() { Ok(()) } else { writeln!(out, "  {} {}", style.paint(Colour::Dim, &format!("{name:<12}")), clean(value)) }
    };
    field("UID", &event.ical_uid)?;
    field("owner", &details.owner_name.as_ref().map_or_else(|| event.owner.to_string(), |name| format!("{name} <{}>", event.owner)))?;
    field("versions are", if event.own { "the relay's" } else { "the owner's server's" })?;
    field("standing", &event.standing.to_string())?;
    field("known since", &details.created)?;
    field("updated", &event.updated)?;
    field("ends", details.ends.as_deref().unwrap_or("no end is known"))?;
    details.parts.iter().try_for_each(|part| part_text(out, part))?;
    section(out, "people", &details.people)?;
    details.people.iter().try_for_each(|person| person_text(out, person))?;
    section(out, "reply addresses and envelope senders", &details.tokens)?;
    for token in &details.tokens {
        let line = format!("{} ({}) given to {}, for {}, {}", token.token, token.kind, token.holder, token.counterpart, token.created);
        writeln!(out, "    {}", clean(&line))?;
    }
    section(out, "redirects", &details.redirects)?;
    for redirect in &details.redirects {
        let until = redirect.expires.as_ref().map_or_else(String::new, |end| format!(", until {end}"));
        writeln!(out, "    {}", clean(&format!("{} is now {}, by {}{until}", redirect.old, redirect.new, redirect.source)))?;
    }
    section(out, "in the queue", &details.waiting)?;
    for entry in &details.waiting {
        let people = entry.recipients.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let version = entry.version.map_or_else(String::new, |v| format!(" version {v}"));
        let why = if entry.reason.is_empty() { String::new() } else { format!(": {}", entry.reason) };
        let line = format!("{} {} {}{version} to {} for {people}{why}", entry.id, word(&entry.state), word(&entry.verb), entry.destination);
        writeln!(out, "    {}", clean(&line))?;
    }
    section(out, "history", &details.history)?;
    details.history.iter().try_for_each(|h| writeln!(out, "    {} {}", h.at, clean(&h.what)))
}

/// A heading, when something stands below it.
fn section<T>(out: &mut Output, title: &str, list: &[T]) -> io::Result<()> {
    let title = out.style.paint(Colour::Dim, title);
    if list.is_empty() { Ok(()) } else { writeln!(out, "  {title}") }
}

/// How a value is spelled in JSON.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn instance(rid: Option<&String>) -> String {
    rid.map_or_else(String::new, |rid| format!(" of instance {rid}"))
}

fn part_text(out: &mut Output, part: &PartView) -> io::Result<()> {
    let what = part.recurrence_id.as_ref().map_or_else(|| "versions".to_owned(), |rid| format!("versions of instance {rid}"));
    let state = if part.cancelled { ", cancelled" } else { "" };
    section(out, &clean(&format!("{what}{state}")), &part.versions)?;
    for version in &part.versions {
        let stamp = version.dtstamp.as_deref().unwrap_or("none");
        let end = version.end.as_ref().map_or_else(String::new, |end| format!(" to {end}"));
        let start = version.start.as_deref().unwrap_or("no time");
        writeln!(out, "    {} is SEQUENCE {}, DTSTAMP {stamp}: {start}{end}", version.version, version.sequence)?;
    }
    Ok(())
}

fn person_text(out: &mut Output, person: &PersonView) -> io::Result<()> {
    let name = person.name.as_ref().map_or_else(String::new, |n| format!(" ({n})"));
    let route = person.route.map_or_else(String::new, |route| format!(", reached by {}", word(&route)));
    writeln!(out, "    {}", clean(&format!("{}{name}{route}", person.user)))?;
    let further = person.addresses.iter().filter(|a| **a != person.user).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if !further.is_empty() {
        writeln!(out, "      also {}", clean(&further))?;
    }
    if let Some(version) = person.version {
        writeln!(out, "      accepted up to version {version}")?;
    }
    for reached in &person.reached {
        let before = reached.before.map_or_else(String::new, |v| format!(", and {v} before"));
        writeln!(out, "      has version {}{}{before}", reached.version, clean(&instance(reached.recurrence_id.as_ref())))?;
    }
    person.answers.iter().try_for_each(|answer| answer_text(out, answer))
}

fn answer_text(out: &mut Output, answer: &AnswerView) -> io::Result<()> {
    let words = answer.comment.as_ref().map_or_else(String::new, |c| format!(": {c}"));
    let past = if answer.counts { "" } else { ", to a time that the event no longer has" };
    let what = format!("{}{}{past}", answer.status.icalendar(), instance(answer.recurrence_id.as_ref()));
    let order = format!("to version {}, RESPONSE-SEQUENCE {}, DTSTAMP {}", answer.version, answer.response_sequence, answer.dtstamp);
    let line = format!("{what}, {order}, standing {}, {}{words}", answer.standing, answer.at);
    writeln!(out, "      {}", out.style.paint(Colour::Bold, &clean(&line)))
}
