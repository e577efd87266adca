//! `queue retry`, `hold`, `release`, `drop`, `bounce`.

use std::io::{self, BufRead, IsTerminal, Write};

use super::super::exit::{Exit, Failure};
use super::super::output::{Output, clean};
use super::super::session::Session;
use super::super::{Context, Outcome};
use super::{FilterArgs, item, usage};
use crate::admin::protocol::{Action, Change, Command, Touched};
use crate::ident::EntryId;
use crate::queue::Filter;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Entry ids, as `queue list` shows them
    ids: Vec<EntryId>,
    #[command(flatten)]
    filter: FilterArgs,
    /// All entries that the action applies to; asks first
    #[arg(long)]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Why: stays in the history of each entry
    #[arg(long, value_name = "WORDS")]
    reason: Option<String>,
}

/// Ids in one request: what fits into a line of the control socket many times over.
const PORTION: usize = 10_000;

pub async fn run(context: &Context, action: Action, args: Args) -> Outcome {
    let filter = Filter::from(args.filter);
    match (args.ids.is_empty(), filter.is_all(), args.all) {
        (true, true, false) => {
            return Err(usage(format!(
                "which entries? Name ids, give a filter such as --server, or --all; see cip-relay queue {} --help",
                action.name()
            )));
        }
        (false, false, _) | (false, _, true) => return Err(usage("ids, and filters or --all, exclude each other; give one of them")),
        (true, false, true) => return Err(usage("--all and a filter exclude each other; give one of them")),
        _ => {}
    }
    let config = context.load()?;
    let mut session = Session::open(&config, false).await?;
    let mut change = Change { action, ids: Vec::new(), filter, reason: args.reason, dry_run: false };
    if args.all && !args.yes {
        let count = session.call(Command::Change(Change { dry_run: true, ..change.clone() }), &mut |_| Ok(())).await?;
        if count > 0 && !agreed(action, count)? {
            return Err(Failure::new(Exit::NoPerm, "nothing was done"));
        }
    }
    let mut touched = 0;
    let mut problems = 0u64;
    let mut on_item = |value| {
        let entry: Touched = item(value)?;
        if let Some(problem) = entry.problem {
            problems += 1;
            writeln!(io::stderr(), "cip-relay: {}", clean(&problem))?;
        }
        Ok(())
    };
    if args.ids.is_empty() {
        touched = session.call(Command::Change(change), &mut on_item).await?;
    } else {
        for ids in args.ids.chunks(PORTION) {
            change.ids = ids.to_vec();
            touched += session.call(Command::Change(change.clone()), &mut on_item).await?;
        }
    }
    let mut out = Output::stdout();
    writeln!(out, "{touched} {} {}", if touched == 1 { "entry" } else { "entries" }, action.done())?;
    out.flush()?;
    if problems > 0 { Err(Failure::silent(Exit::Data)) } else { Ok(()) }
}

fn agreed(action: Action, count: u64) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(usage(format!("{} --all would touch {count} entries; add --yes to do it without being asked", action.name())));
    }
    write!(io::stderr(), "{} {count} entries? [y/N] ", action.name())?;
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
