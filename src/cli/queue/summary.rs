//! `queue summary`: destinations against age, like qshape, and how each destination is.

use std::io::Write;

use super::super::output::{Output, clean, column, span};
use super::super::session::Session;
use super::super::{Context, Outcome};
use super::{item, json_line};
use crate::admin::protocol::Command;
use crate::admin::view::DestinationView;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::queue::AGES;

/// Show how many entries wait for each destination, by age in minutes, and the state of the destination
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cip-relay queue summary\n\nThe columns count entries younger than 5, 10, 20 … 1280 minutes; the last, older ones."
)]
pub struct Args {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub async fn run(context: &Context, args: Args) -> Outcome {
    let config = context.load()?;
    let mut session = Session::open(&config, false).await?;
    let mut out = Output::stdout();
    let mut lines: Vec<DestinationView> = Vec::new();
    session
        .call(Command::Summary, &mut |value| {
            lines.push(item(value)?);
            Ok(())
        })
        .await?;
    lines.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.destination.cmp(&b.destination)));
    if args.json {
        lines.iter().try_for_each(|line| writeln!(out, "{}", json_line(line)?))?;
    } else {
        for line in table(&lines, SystemClock.now()) {
            out.fitted(&line)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// The table, uncoloured: what `queue watch` shows too.
pub fn table(lines: &[DestinationView], now: Timestamp) -> Vec<String> {
    let width = lines.iter().map(|l| l.destination.len()).max().unwrap_or(0).clamp(11, 40);
    let numbers = |total: &str, ages: &[String]| {
        let ages: Vec<String> = ages.iter().map(|n| format!("{n:>6}")).collect();
        format!("{total:>7}{}", ages.concat())
    };
    let mut heads: Vec<String> = AGES.iter().map(ToString::to_string).collect();
    heads.push(format!("{}+", AGES[AGES.len() - 1]));
    let mut out = vec![format!("{} {}  state", column("destination", width), numbers("total", &heads))];
    let mut all = vec![0; heads.len()];
    for line in lines {
        for (sum, n) in all.iter_mut().zip(&line.ages) {
            *sum += n;
        }
        let ages: Vec<String> = line.ages.iter().map(ToString::to_string).collect();
        let name = column(&clean(&line.destination), width);
        out.push(format!("{name} {}  {}", numbers(&line.total.to_string(), &ages), state(line, now)));
    }
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    let total: usize = lines.iter().map(|l| l.total).sum();
    out.push(format!("{} {}", column("all", width), numbers(&total.to_string(), &all)));
    out
}

/// `up`, or `down for 12m, tried again in 40s`.
fn state(line: &DestinationView, now: Timestamp) -> String {
    let at = |text: &Option<String>| text.as_deref().and_then(Timestamp::parse_rfc3339);
    let mut words = vec![line.health.clone()];
    if let Some(since) = at(&line.failing_since) {
        words[0] = format!("{} for {}", line.health, span(now.since(since)));
    }
    match at(&line.next_try) {
        Some(next) if next > now => words.push(format!("next try in {}", span(next.since(now)))),
        Some(_) if line.total > line.states.held => words.push("next try now".to_owned()),
        _ => {}
    }
    if line.states.held > 0 {
        words.push(format!("{} held", line.states.held));
    }
    words.join(", ")
}
