//! `queue show`: everything about one entry.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::output::{Colour, Output, clean, octets};
use super::super::session::Session;
use super::super::{Context, Outcome};
use super::list::verb_word;
use super::{item, state_word};
use crate::admin::protocol::Command;
use crate::admin::view::{Details, EntryView};
use crate::ident::EntryId;

/// Show one entry: recipients and their status, the history of attempts, the next one and why
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cip-relay queue show 0c5jq8s8000\n  cip-relay queue show 0c5jq8s8000 --payload\n\nStatus words are those of RFC 6638: 1.0 queued, 1.1 sent by e-mail, 1.2 delivered by CIP, 2.7 redirected,\n3.7 not found, 3.8 refused, 5.1 could not be delivered."
)]
pub struct Args {
    id: EntryId,
    /// The stored object or message as well; without --json the octets alone, as they are
    #[arg(long)]
    payload: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(context: &Context, args: Args) -> Outcome {
    let config = context.load()?;
    let mut session = Session::open(&config, false).await?;
    let mut out = Output::stdout();
    let mut on_item = |value| {
        let entry: EntryView = item(value)?;
        if args.json {
            return writeln!(out, "{}", serde_json::to_string_pretty(&entry)?);
        }
        if args.payload {
            return payload(&mut out, &entry);
        }
        text(&mut out, &entry)
    };
    session.call(Command::Show { id: args.id, payload: args.payload }, &mut on_item).await?;
    out.flush()?;
    Ok(())
}

/// The octets alone, so that they can be piped onwards.
fn payload(out: &mut Output, entry: &EntryView) -> io::Result<()> {
    let Some(details) = &entry.details else { return Ok(()) };
    if let Some(text) = &details.payload {
        // A terminal gets no controls from outside; a pipe gets every octet.
        if !out.is_terminal() {
            return out.write_all(text.as_bytes());
        }
        return text.lines().try_for_each(|line| writeln!(out, "{}", clean(line)));
    }
    let octets = details.payload_base64.as_deref().map(|text| BASE64.decode(text)).transpose();
    let octets = octets.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?.unwrap_or_default();
    if out.is_terminal() { writeln!(out, "{}", octets.escape_ascii()) } else { out.write_all(&octets) }
}

fn text(out: &mut Output, entry: &EntryView) -> io::Result<()> {
    let style = out.style;
    writeln!(out, "{} {}", style.paint(Colour::Bold, &entry.id.to_string()), state_word(entry.state))?;
    let mut field = |name: &str, value: &str| -> io::Result<()> {
        if value.is_empty() { Ok(()) } else { writeln!(out, "  {} {}", style.paint(Colour::Dim, &format!("{name:<12}")), clean(value)) }
    };
    let verb = entry.verb.map_or("unreadable", verb_word);
    field("what", &format!("{verb}, {} to {}", entry.route(), entry.server_id))?;
    field("why", &entry.reason)?;
    field("event", entry.event_id.as_ref().map_or("", |id| id.as_str()))?;
    field("version", &entry.version.map_or_else(String::new, |v| v.to_string()))?;
    field("owner", &entry.owner.as_ref().map_or_else(String::new, ToString::to_string))?;
    field("origin", &origin(entry))?;
    field("received", &entry.received)?;
    field("next attempt", entry.next_attempt.as_deref().unwrap_or("none"))?;
    field("attempts", &entry.attempts.to_string())?;
    field("expires", entry.expires.as_deref().unwrap_or("never"))?;
    field("size", &octets(entry.size))?;
    if let Some(details) = &entry.details {
        details_text(details, &mut field)?;
    }
    if !entry.recipients.is_empty() {
        writeln!(out, "  recipients")?;
    }
    for r in &entry.recipients {
        let named = if r.original == r.user { String::new() } else { format!(", named {} by the sender", r.original) };
        let last = if r.last.is_empty() { String::new() } else { format!(": {}", r.last) };
        writeln!(out, "    {} {}", r.status.code(), clean(&format!("{} by {}{named}{last}", r.user, r.route)))?;
    }
    let history = entry.details.iter().flat_map(|d| &d.history);
    for (i, line) in history.enumerate() {
        if i == 0 {
            writeln!(out, "  history")?;
        }
        writeln!(out, "    {} {}", style.paint(Colour::Dim, &line.at), clean(&line.what))?;
    }
    Ok(())
}

fn details_text(details: &Details, field: &mut impl FnMut(&str, &str) -> io::Result<()>) -> io::Result<()> {
    field("instance", details.recurrence_id.as_deref().unwrap_or(""))?;
    field("event time", details.event_start.as_deref().unwrap_or(""))?;
    field("failing since", details.first_failure.as_deref().unwrap_or(""))?;
    field("split from", &details.parent.map_or_else(String::new, |id| id.to_string()))?;
    let marks = [
        (details.cancel, "a cancellation"),
        (details.warned, "delay warning sent"),
        (details.uncertain, "an attempt ended without an answer"),
    ];
    let marks: Vec<&str> = marks.into_iter().filter(|(on, _)| *on).map(|(_, words)| words).collect();
    field("marks", &marks.join(", "))
}

fn origin(entry: &EntryView) -> String {
    let Some(origin) = &entry.origin else { return String::new() };
    let via = serde_json::to_value(origin.via).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let peer = origin.peer.as_ref().map_or_else(String::new, |p| format!(" from {p}"));
    let identity = origin.identity.as_ref().map_or_else(String::new, |i| format!(" as {i}"));
    let sender = origin.sender.as_ref().map_or_else(String::new, |s| format!(", sender <{s}>"));
    format!("{via}{peer}{identity}, standing {}{sender}", origin.standing)
}
