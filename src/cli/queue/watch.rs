//! `queue watch`: a live view in the terminal.

use std::io::IsTerminal;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Paragraph};

use super::super::exit::{Exit, Failure};
use super::super::session::Session;
use super::super::{Context, Outcome};
use super::item;
use super::list::plain;
use super::summary::table;
use crate::admin::protocol::Command;
use crate::admin::view::{DestinationView, EntryView};
use crate::clock::{Clock, SystemClock};
use crate::queue::Filter;

/// Show the queue live; q quits
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cip-relay queue watch\n\nRefreshed every second: destinations against age above, entries below.")]
pub struct Args {}

/// Entries that are shown at most; the summary has them all.
const SHOWN: usize = 500;

#[derive(Default)]
struct View {
    destinations: Vec<DestinationView>,
    entries: Vec<EntryView>,
    total: usize,
}

pub async fn run(context: &Context, _: Args) -> Outcome {
    if !std::io::stdout().is_terminal() {
        return Err(Failure::new(Exit::Usage, "queue watch needs a terminal; for a script there is queue summary --json"));
    }
    let config = context.load()?;
    let mut session = Session::open(&config, false).await?;
    let mut terminal = ratatui::try_init()?;
    let outcome = watch(&mut session, &mut terminal).await;
    ratatui::restore();
    outcome
}

async fn watch(session: &mut Session, terminal: &mut ratatui::DefaultTerminal) -> Outcome {
    loop {
        let view = look(session).await?;
        terminal.draw(|frame| draw(frame, &view))?;
        if quit(Duration::from_secs(1))? {
            return Ok(());
        }
    }
}

async fn look(session: &mut Session) -> Result<View, Failure> {
    let mut view = View::default();
    let mut on_destination = |value| {
        view.destinations.push(item(value)?);
        Ok(())
    };
    session.call(Command::Summary, &mut on_destination).await?;
    view.total = view.destinations.iter().map(|d| d.total).sum();
    view.destinations.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.destination.cmp(&b.destination)));
    // A long queue is not read through every second for a screenful.
    if view.total <= SHOWN {
        let mut on_entry = |value| {
            view.entries.push(item(value)?);
            Ok(())
        };
        session.call(Command::List { filter: Filter::default() }, &mut on_entry).await?;
    }
    Ok(view)
}

fn draw(frame: &mut ratatui::Frame<'_>, view: &View) {
    let now = SystemClock.now();
    let mut lines: Vec<Line<'_>> = table(&view.destinations, now).into_iter().map(Line::from).collect();
    if let Some(head) = lines.first_mut() {
        *head = head.clone().style(Style::new().add_modifier(Modifier::BOLD));
    }
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(frame.area().height / 2);
    let [above, below] = Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]).areas(frame.area());
    let title = format!(" cip-relay queue, {} entries, {} (q quits) ", view.total, now.rfc3339());
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), above);
    let entries: Text<'_> = if view.total > SHOWN {
        Text::from(format!("more than {SHOWN} entries; cip-relay queue list shows them"))
    } else {
        view.entries.iter().map(|entry| Line::from(plain(entry, now))).collect()
    };
    frame.render_widget(Paragraph::new(entries).block(Block::bordered()), below);
}

/// Waits this long for a key; whether it was one that quits. Another key, or a new size, refreshes at once.
fn quit(wait: Duration) -> Result<bool, Failure> {
    if !event::poll(wait)? {
        return Ok(false);
    }
    Ok(match event::read()? {
        Event::Key(key) => {
            matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
                || (key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL))
        }
        _ => false,
    })
}
