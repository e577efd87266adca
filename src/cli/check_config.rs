//! `check-config`: everything that can be checked without starting.

use std::io::Write;

use super::Context;
use super::exit::{Exit, Failure, Outcome};
use super::output::Output;
use crate::config::{self, Config, Deliver, Problem};

/// Check the configuration, and the files and folders it names, without starting
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cip-relay --config /etc/cip-relay/cip-relay.toml check-config\n\nEach mistake is a line FILE:LINE:COLUMN: KEY: what is wrong; what to write instead. Exit code 78 if there is any."
)]
pub struct Args {
    /// Say nothing when all is well
    #[arg(long, short)]
    quiet: bool,
}

pub fn run(context: &Context, args: &Args) -> Outcome {
    let config = match config::load(context.config.as_deref()) {
        Ok(config) => config,
        Err(errors) => return report(&errors.0),
    };
    report(&config::check(&config))?;
    if !args.quiet {
        let mut out = Output::stdout();
        summary(&config, &mut out)?;
        out.flush()?;
    }
    Ok(())
}

fn report(problems: &[Problem]) -> Outcome {
    let mut err = std::io::stderr().lock();
    for problem in problems {
        writeln!(err, "{problem}")?;
    }
    match problems.iter().filter(|p| !p.warning).count() {
        0 => Ok(()),
        _ => Err(Failure::silent(Exit::Config)),
    }
}

/// What the relay would be, in a few lines: a configuration can be without mistakes and still not what was meant.
fn summary(config: &Config, out: &mut Output) -> std::io::Result<()> {
    let name = config.source.file.as_ref().map_or_else(|| "built-in defaults".to_owned(), |f| f.display().to_string());
    writeln!(out, "{name}: no mistakes found")?;
    writeln!(out, "  this relay is {} on {}, mail domain {}", config.server_id, config.host_name(), config.mail_domain())?;
    for domain in &config.domain {
        let how = match domain.deliver {
            Deliver::Mail => "by mail",
            Deliver::Cip => "to its own CIP server",
        };
        writeln!(out, "  serves {}, delivered {how}", domain.name)?;
    }
    let listen: Vec<String> = config.cip.listen.iter().map(ToString::to_string).collect();
    writeln!(out, "  listens for CIP on {}", if listen.is_empty() { "nothing".to_owned() } else { listen.join(", ") })?;
    match &config.mail.smarthost {
        Some(hop) => writeln!(out, "  hands mail to {}:{}", hop.host, hop.port)?,
        None => writeln!(out, "  hands mail to the MX of each domain")?,
    }
    writeln!(out, "  keeps data in {}", config.data_dir.display())
}
