//! `queue check`: verify every record.

use std::io::Write;

use super::super::exit::{Exit, Failure};
use super::super::output::{Output, clean};
use super::super::session::Session;
use super::super::{Context, Outcome};
use super::{item, json_line};
use crate::admin::protocol::Command;
use crate::admin::view::CheckView;

/// Verify every record and every body, and list what is in quarantine
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cip-relay queue check && echo sound\n\nExit code 65 when something is wrong or in quarantine.")]
pub struct Args {
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub async fn run(context: &Context, args: Args) -> Outcome {
    let config = context.load()?;
    let mut session = Session::open(&config, false).await?;
    let mut out = Output::stdout();
    let mut sound = true;
    let mut on_item = |value| {
        let check: CheckView = item(value)?;
        sound = check.problem_count == 0 && check.quarantine.is_empty();
        if args.json {
            return writeln!(out, "{}", json_line(&check)?);
        }
        for problem in &check.problems {
            writeln!(out, "{}", clean(problem))?;
        }
        if check.problem_count > check.problems.len() {
            writeln!(out, "… and {} problems more", check.problem_count - check.problems.len())?;
        }
        for record in &check.quarantine {
            writeln!(out, "quarantine: {} since {}, {} octets: {}", record.id, record.at, record.size, clean(&record.reason))?;
        }
        let busy = if check.busy { "; references were not counted, since the queue was at work" } else { "" };
        let CheckView { entries, bodies, ledger, problem_count, .. } = check;
        writeln!(
            out,
            "{entries} entries, {bodies} bodies and {ledger} ledger records read, {problem_count} problems, {} in quarantine{busy}",
            check.quarantine.len()
        )
    };
    session.call(Command::Check, &mut on_item).await?;
    out.flush()?;
    if sound { Ok(()) } else { Err(Failure::silent(Exit::Data)) }
}
