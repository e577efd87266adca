//! `queue …`: looking at the queue and changing it.

mod change;
mod check;
mod list;
mod show;
mod summary;
mod transfer;
mod watch;

use clap::Subcommand;

use super::exit::{Exit, Failure, Outcome};
use super::{Context, block_on};
use crate::admin::protocol::Action;
use crate::config::Span;
use crate::queue::Filter;
use crate::queue::entry::State;

/// Look at the queue and change it, while the relay runs or on its data directory when it does not
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cip-relay queue list --state held\n  cip-relay queue release --owner '*@jumbo.com' --reason 'checked with Tom'"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Args),
    Show(show::Args),
    Summary(summary::Args),
    /// Attempt the next delivery now, also to a destination that is taken for down
    #[command(after_help = "Examples:\n  cip-relay queue retry 0c5jq8s8000\n  cip-relay queue retry --server jumbo.com")]
    Retry(change::Args),
    /// Keep entries from being delivered until they are released
    #[command(after_help = "Example:\n  cip-relay queue hold --event 'meeting-7@*' --reason 'asked by the owner'")]
    Hold(change::Args),
    /// Let held entries go, with a first attempt now
    #[command(after_help = "Example:\n  cip-relay queue release 0c5jq8s8000")]
    Release(change::Args),
    /// Remove entries without a report to anybody
    #[command(after_help = "Example:\n  cip-relay queue drop --owner '*@spam.example' --reason 'forged' --yes")]
    Drop(change::Args),
    /// Give entries up: their originators get a failure report
    #[command(after_help = "Example:\n  cip-relay queue bounce --server gone.example --reason 'the company has closed'")]
    Bounce(change::Args),
    Export(transfer::ExportArgs),
    Import(transfer::ImportArgs),
    Check(check::Args),
    Watch(watch::Args),
}

pub fn run(context: &Context, args: Args) -> Outcome {
    match args.command {
        Command::List(args) => block_on(list::run(context, args)),
        Command::Show(args) => block_on(show::run(context, args)),
        Command::Summary(args) => block_on(summary::run(context, args)),
        Command::Retry(args) => block_on(change::run(context, Action::Retry, args)),
        Command::Hold(args) => block_on(change::run(context, Action::Hold, args)),
        Command::Release(args) => block_on(change::run(context, Action::Release, args)),
        Command::Drop(args) => block_on(change::run(context, Action::Drop, args)),
        Command::Bounce(args) => block_on(change::run(context, Action::Bounce, args)),
        Command::Export(args) => block_on(transfer::export(context, args)),
        Command::Import(args) => block_on(transfer::import(context, args)),
        Command::Check(args) => block_on(check::run(context, args)),
        Command::Watch(args) => block_on(watch::run(context, args)),
    }
}

/// Which entries are meant. Patterns ignore case, and `*` in them stands for anything.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct FilterArgs {
    /// Entries in this state
    #[arg(long, value_enum)]
    state: Option<StateArg>,
    /// Entries to this recipient; without `@` and `*`: whose address contains it
    #[arg(long, value_name = "PATTERN")]
    to: Option<String>,
    /// Entries of events of this owner; without `@` and `*`: whose address contains it
    #[arg(long, value_name = "PATTERN")]
    owner: Option<String>,
    /// Entries of this event-id
    #[arg(long, value_name = "PATTERN")]
    event: Option<String>,
    /// Entries for this destination
    #[arg(long, value_name = "PATTERN")]
    server: Option<String>,
    /// Entries that have been in the queue for at least so long, such as 4h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older: Option<Span>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum StateArg {
    Due,
    InFlight,
    Deferred,
    Held,
    Quarantined,
}

fn duration(text: &str) -> Result<Span, String> {
    Span::try_from(text.to_owned())
}

impl From<FilterArgs> for Filter {
    fn from(args: FilterArgs) -> Self {
        let address = |pattern: String| if pattern.contains(['@', '*']) { pattern } else { format!("*{pattern}*") };
        let state = args.state.map(|state| match state {
            StateArg::Due => State::Due,
            StateArg::InFlight => State::InFlight,
            StateArg::Deferred => State::Deferred,
            StateArg::Held => State::Held,
            StateArg::Quarantined => State::Quarantined,
        });
        Self {
            state,
            to: args.to.map(address),
            owner: args.owner.map(address),
            event: args.event,
            server: args.server,
            older: args.older.map(|span| span.0),
        }
    }
}

/// An item that does not have the form it should: two versions of the program met.
fn item<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> std::io::Result<T> {
    serde_json::from_value(value).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}

fn json_line(value: &impl serde::Serialize) -> std::io::Result<String> {
    Ok(serde_json::to_string(value)?)
}

/// The state as it is printed.
const fn state_word(state: State) -> &'static str {
    match state {
        State::Due => "due",
        State::InFlight => "in-flight",
        State::Deferred => "deferred",
        State::Held => "held",
        State::Quarantined => "quarantined",
    }
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}
