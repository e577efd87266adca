//! A source and a sink of calendar messages over CIP and SMTP, the comparison of their ledgers, and the disk's own limit.
//! README.md beside this file shows their use.

mod tool;

use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The tool beside a relay on the same machine is to take as little of it as it can: one thread.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = tool::Arguments::parse();
    let json = arguments.json;
    let (stop, stopped) = watch::channel(false);
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        eprintln!("load: signals cannot be caught");
        return ExitCode::FAILURE;
    };
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        let _ = stop.send(true);
        // Held, or its end would be taken for a stop; a second signal ends the program at once.
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(130);
    });
    match tool::run(arguments, stopped).await {
        Ok(report) => {
            if json {
                println!("{}", serde_json::to_string(&report).expect("a report is plain data"));
            } else {
                println!("{report}");
            }
            if report.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::from(2)
        }
    }
}
