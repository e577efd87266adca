//! `passwd`: a line for the credentials file.

use std::io::{BufRead, IsTerminal, Read, Write};

use super::exit::{Exit, Failure, Outcome};
use super::output::Output;
use crate::policy::credentials::{self, CredentialsError};

/// Print a line for the credentials file; the password comes from the terminal or from standard input
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cip-relay passwd jumbo.com --relay >> /etc/cip-relay/credentials\n\nThe line is IDENTITY:ARGON2ID:SCRAM-VERIFIER, with the word `relay` behind it for --relay. The hash serves\nAUTHENTICATE LOGIN, the verifier (RFC 5803) SCRAM-SHA-256."
)]
pub struct Args {
    /// Who logs in: a server-id or a user name, one word without `:`
    identity: String,
    /// The identity may send to remote users
    #[arg(long)]
    relay: bool,
}

/// Octets read of a password line.
const MAX_LINE: u64 = 4096;

pub fn run(args: &Args) -> Outcome {
    let password = if std::io::stdin().is_terminal() { ask()? } else { read()? };
    let line = credentials::line(&args.identity, &password, args.relay).map_err(|error| {
        let exit = if matches!(error, CredentialsError::Identity(_)) { Exit::Usage } else { Exit::Data };
        Failure::new(exit, error.to_string())
    })?;
    let mut out = Output::stdout();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

fn ask() -> Result<Vec<u8>, Failure> {
    let ask = |prompt| rpassword::prompt_password(prompt).map_err(|error| Failure::new(Exit::Io, format!("the terminal: {error}")));
    let password = ask("Password: ")?;
    if password != ask("Again: ")? {
        return Err(Failure::new(Exit::Data, "the two passwords differ; nothing was made"));
    }
    Ok(password.into_bytes())
}

/// The first line of standard input.
fn read() -> Result<Vec<u8>, Failure> {
    let mut line = Vec::new();
    std::io::stdin().lock().take(MAX_LINE).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(line)
}
