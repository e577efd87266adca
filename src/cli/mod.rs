//! The command line: a file a subcommand. Each reads its arguments, does one thing through the library, and ends with a
//! sysexits code.
//!
//! Invariant: what is printed on standard output is the answer and nothing else; remarks and errors go to standard
//! error.

pub mod exit;
pub mod output;

mod check_config;
mod completions;
mod convert;
mod freebusy;
mod inspect;
mod ledger;
mod locate;
mod man;
mod passwd;
mod peer;
mod queue;
mod redirect;
mod rsvp;
mod send;
mod serve;
mod session;
mod source;
mod submit;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{self, Config};
use exit::{Exit, Failure, Outcome};

/// A store-and-forward relay for calendaring: CIP, e-mail (iMIP), and the bridge between them.
#[derive(Debug, Parser)]
#[command(
    name = "cip-relay",
    version,
    max_term_width = 100,
    after_help = "Example:\n  cip-relay --config relay.toml check-config && cip-relay --config relay.toml serve\n\nExit codes are those of sysexits(3): 0 done, 64 usage, 65 bad input, 67 no such user, 69 unavailable,\n70 bug, 74 input or output failed, 75 try again, 77 refused, 78 configuration."
)]
struct Cli {
    /// The configuration file [default: /etc/cip-relay/cip-relay.toml, else built-in settings for loopback only]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    CheckConfig(check_config::Args),
    Submit(submit::Args),
    Send(send::Args),
    Rsvp(rsvp::Args),
    Freebusy(freebusy::Args),
    Locate(locate::Args),
    Convert(convert::Args),
    Inspect(inspect::Args),
    Queue(queue::Args),
    Ledger(ledger::Args),
    Redirect(redirect::Args),
    Passwd(passwd::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Runs the program with these arguments (the first is its name) and says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` are errors to clap, and go to standard output.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            // Nobody is left to tell when printing fails.
            let _ = error.print();
            return exit.code().into();
        }
    };
    let context = Context { config: cli.config };
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(&context, &args),
        Command::CheckConfig(args) => check_config::run(&context, &args),
        Command::Submit(args) => block_on(submit::run(&context, args)),
        Command::Send(args) => block_on(send::run(&context, args)),
        Command::Rsvp(args) => block_on(rsvp::run(&context, args)),
        Command::Freebusy(args) => block_on(freebusy::run(&context, args)),
        Command::Locate(args) => block_on(locate::run(&context, args)),
        Command::Convert(args) => convert::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Queue(args) => queue::run(&context, args),
        Command::Ledger(args) => ledger::run(&context, args),
        Command::Redirect(args) => redirect::run(&context, args),
        Command::Passwd(args) => passwd::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                let _ = writeln!(std::io::stderr(), "cip-relay: {failure}");
            }
            failure.exit.code().into()
        }
    }
}

/// What all subcommands share.
struct Context {
    config: Option<PathBuf>,
}

impl Context {
    /// The configuration; on failure every mistake, one a line, and exit code 78.
    fn load(&self) -> Result<Config, Failure> {
        config::load(self.config.as_deref()).map_err(|errors| Failure::new(Exit::Config, format!("configuration:\n{errors}")))
    }
}

/// The whole command tree, for completions and manual pages.
fn command() -> clap::Command {
    Cli::command()
}

/// Runs a future on a runtime of its own: the inspecting commands need no more than one thread.
fn block_on<F: Future<Output = Outcome>>(future: F) -> Outcome {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Io, format!("cannot start: {error}")))?
        .block_on(future)
}
