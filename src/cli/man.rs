//! `man`: the manual pages, made from the same words as `--help`.

use std::io::Write;
use std::path::PathBuf;

use super::exit::{Exit, Failure, Outcome};
use super::output::Output;

/// Print the manual page, or write the pages of all subcommands into a folder
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cip-relay man | man -l -\n  cip-relay man --all /usr/local/share/man/man1")]
pub struct Args {
    /// Write cip-relay.1, cip-relay-queue.1, … into this folder
    #[arg(long, value_name = "FOLDER")]
    all: Option<PathBuf>,
}

pub fn run(args: &Args) -> Outcome {
    let command = super::command();
    if let Some(folder) = &args.all {
        return clap_mangen::generate_to(command, folder).map_err(|error| {
            Failure::new(Exit::Io, format!("{}: {error}; name a folder that exists and can be written to", folder.display()))
        });
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    let mut out = Output::stdout();
    out.write_all(&page)?;
    out.flush()?;
    Ok(())
}
