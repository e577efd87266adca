//! `redirect list|add|remove`: known redirects, learned and local.

use std::io::Write;

use clap::Subcommand;

use super::exit::Outcome;
use super::output::{Output, clean};
use super::session::Session;
use super::{Context, block_on};
use crate::admin::ledger::RedirectView;
use crate::admin::protocol::Command as Ask;
use crate::config::Config;

/// Look at the redirects of users and events, add and remove them
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cip-relay redirect list\n  cip-relay redirect add joe@big.com joe@bigger.com")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List those of the configuration, those added here and those learned from other servers
    #[command(after_help = "Example:\n  cip-relay redirect list --json")]
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Add a redirect, until it is removed
    #[command(after_help = "Example:\n  cip-relay redirect add joe@big.com joe@bigger.com")]
    Add {
        old: String,
        new: String,
        /// The ids are event-ids
        #[arg(long)]
        event: bool,
    },
    /// Remove a redirect that was added or learned
    #[command(after_help = "Example:\n  cip-relay redirect remove joe@big.com")]
    Remove {
        old: String,
        /// The id is an event-id
        #[arg(long)]
        event: bool,
    },
}

pub fn run(context: &Context, args: Args) -> Outcome {
    block_on(async {
        let config = context.load()?;
        let mut session = Session::open(&config, matches!(args.command, Command::Add { .. })).await?;
        let mut out = Output::stdout();
        match args.command {
            Command::List { json } => {
                let mut print = |view: &RedirectView| {
                    if json {
                        return writeln!(out, "{}", serde_json::to_string(view)?);
                    }
                    let until = view.expires.as_ref().map_or_else(String::new, |at| format!(", until {at}"));
                    writeln!(out, "{}", clean(&format!("{} is now {} (from {}{until})", view.old, view.new, view.source)))
                };
                of_configuration(&config).iter().try_for_each(&mut print)?;
                session.call(Ask::RedirectList, &mut |value| print(&serde_json::from_value(value)?)).await?;
            }
            Command::Add { old, new, event } => {
                session.call(Ask::RedirectAdd { old: old.clone(), new: new.clone(), event }, &mut |_| Ok(())).await?;
                writeln!(out, "{old} is now {new}")?;
            }
            Command::Remove { old, event } => {
                session.call(Ask::RedirectRemove { old: old.clone(), event }, &mut |_| Ok(())).await?;
                writeln!(out, "{old} is redirected no more")?;
            }
        }
        out.flush()?;
        Ok(())
    })
}

fn of_configuration(config: &Config) -> Vec<RedirectView> {
    let all = config.domain.iter().flat_map(|d| d.redirects.iter().map(move |(old, new)| (format!("{old}@{}", d.name), new.clone())));
    all.map(|(old, new)| RedirectView { old, new, source: "configuration".to_owned(), learned: None, expires: None }).collect()
}
