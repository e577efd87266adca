//! `completions`: for the user's shell.

use std::io::Write;

use clap_complete::Shell;

use super::exit::Outcome;
use super::output::Output;

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cip-relay completions bash > /etc/bash_completion.d/cip-relay")]
pub struct Args {
    shell: Shell,
}

pub fn run(args: &Args) -> Outcome {
    // Into memory first: the generator panics when its output fails.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "cip-relay", &mut text);
    let mut out = Output::stdout();
    out.write_all(&text)?;
    out.flush()?;
    Ok(())
}
