//! `queue list`: one line an entry.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use super::super::output::{Colour, Output, clean, column, fit, octets, span};
use super::super::session::Session;
use super::super::{Context, Outcome};
use super::{FilterArgs, item, json_line, state_word};
use crate::admin::protocol::Command;
use crate::admin::view::EntryView;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::queue::entry::{State, Verb};

/// List entries, one line each
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cip-relay queue list --server jumbo.com --older 1h\n  cip-relay queue list --json | jq -r 'select(.attempts > 3) | .id'\n\nColumns: id, state, age, next attempt in, size, what and where to, recipients, reason."
)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    /// One JSON object a line, with all fields
    #[arg(long)]
    json: bool,
}

pub async fn run(context: &Context, args: Args) -> Outcome {
    let config = context.load()?;
    let mut session = Session::open(&config, false).await?;
    let mut out = Output::stdout();
    let now = SystemClock.now();
    let mut count = 0u64;
    let mut on_item = |value| {
        let entry: EntryView = item(value)?;
        count += 1;
        if args.json { writeln!(out, "{}", json_line(&entry)?) } else { line(&mut out, &entry, now) }
    };
    session.call(Command::List { filter: args.filter.into() }, &mut on_item).await?;
    if !args.json && out.is_terminal() {
        let words = match count {
            0 => "no entries".to_owned(),
            1 => "1 entry".to_owned(),
            _ => format!("{count} entries"),
        };
        let words = out.style.paint(Colour::Dim, &words);
        writeln!(out, "{words}")?;
    }
    out.flush()?;
    Ok(())
}

/// `0c5jq8s8000 deferred 12m 3m 1.2K sendevent cip>jumbo.com mary@… reason`, cut to the terminal.
pub fn line(out: &mut Output, entry: &EntryView, now: Timestamp) -> io::Result<()> {
    let (head, rest) = parts(entry, now);
    let width = out.width.unwrap_or(usize::MAX);
    let state = column(state_word(entry.state), 11);
    let colour = match entry.state {
        State::Due | State::InFlight => Colour::Green,
        State::Deferred => Colour::Yellow,
        State::Held | State::Quarantined => Colour::Red,
    };
    let used = 11 + 1 + 11 + 1 + head.width();
    let painted = out.style.paint(colour, &state);
    writeln!(out, "{} {painted} {head}{}", entry.id, fit(&rest, width.saturating_sub(used)))
}

/// The same line uncut and uncoloured.
pub fn plain(entry: &EntryView, now: Timestamp) -> String {
    let (head, rest) = parts(entry, now);
    format!("{} {} {head}{rest}", entry.id, column(state_word(entry.state), 11))
}

fn parts(entry: &EntryView, now: Timestamp) -> (String, String) {
    let at = |text: &str| Timestamp::parse_rfc3339(text);
    let age = at(&entry.received).map_or_else(String::new, |t| span(now.since(t)));
    let next = match entry.next_attempt.as_deref().and_then(at) {
        None => "-".to_owned(),
        Some(t) if t <= now => "now".to_owned(),
        Some(t) => span(t.since(now)),
    };
    let head = format!("{age:>4} {next:>4} {:>6} ", octets(entry.size));
    let verb = entry.verb.map_or("unreadable", verb_word);
    let mut who: Vec<String> = entry.recipients.iter().take(3).map(|r| r.user.to_string()).collect();
    if entry.recipients.len() > 3 {
        who.push(format!("+{}", entry.recipients.len() - 3));
    }
    let to = if entry.server_id.is_empty() { String::new() } else { format!(" {}>{}", entry.route(), entry.server_id) };
    let reason = if entry.reason.is_empty() { String::new() } else { format!(" ({})", entry.reason) };
    (head, clean(&format!("{verb}{to} {}{reason}", who.join(" "))))
}

pub const fn verb_word(verb: Verb) -> &'static str {
    match verb {
        Verb::SendEvent => "sendevent",
        Verb::Rsvp => "rsvp",
        Verb::Mail => "mail",
        Verb::Report => "report",
    }
}
