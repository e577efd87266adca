//! What the program `load` does, apart from the process around it, so that tests run the same code.
//!
//! [`source`] sends messages and keeps a ledger of what was acknowledged; [`sink`] takes messages and keeps a ledger of
//! what it acknowledged; [`compare`] counts what was lost, doubled or changed between the two; [`raw`] measures what the
//! disk allows. A message ([`message`]) is a valid calendar object whose text is derived from its event-id, so that both
//! ends work out the same digest although the relay adds lines, folds anew and translates.

mod compare;
mod ledger;
mod message;
mod raw;
mod sink;
mod source;

use std::fmt;
use std::time::Duration;

use cip_relay::config::Span;
use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;
use tokio::sync::watch;

/// Sources and sinks of calendar messages, for tests under load and for benchmarks.
#[derive(Debug, Parser)]
#[command(name = "load")]
pub struct Arguments {
    /// Print the report as one line of JSON.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Send messages over many sessions at once.
    Source(source::Options),
    /// Take messages, until a signal comes or enough were taken.
    Sink(sink::Options),
    /// Compare the source's ledger with the sink's; fails when something was lost or changed.
    Compare(compare::Options),
    /// Measure how many records a second this disk makes durable, one committer syncing for many writers.
    Raw(raw::Options),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    Cip,
    Smtp,
}

/// Why a task could not be done at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{what}: {error}")]
    Io { what: String, error: std::io::Error },
    #[error("{file}, line {line}: {text:?} is no line of a ledger (ID DIGEST RECIPIENT[,RECIPIENT…])")]
    Ledger { file: String, line: usize, text: String },
    #[error("{0}")]
    Options(String),
}

impl LoadError {
    fn io(what: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.to_string();
        move |error| Self::Io { what, error }
    }
}

/// What a task found.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Report {
    Source(source::Sent),
    Sink(sink::Taken),
    Compare(compare::Comparison),
    Raw(raw::Limit),
}

impl Report {
    /// Whether the exit status is 0.
    pub fn good(&self) -> bool {
        match self {
            Self::Compare(comparison) => comparison.good(),
            _ => true,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(report) => report.fmt(f),
            Self::Sink(report) => report.fmt(f),
            Self::Compare(report) => report.fmt(f),
            Self::Raw(report) => report.fmt(f),
        }
    }
}

/// Does what was asked for; source and sink end early, and in order, when `stop` turns true.
pub async fn run(arguments: Arguments, stop: watch::Receiver<bool>) -> Result<Report, LoadError> {
    match arguments.task {
        Task::Source(options) => source::run(options, stop).await.map(Report::Source),
        Task::Sink(options) => sink::run(options, stop).await.map(Report::Sink),
        Task::Compare(options) => compare::run(&options).map(Report::Compare),
        Task::Raw(options) => raw::run(&options).map(Report::Raw),
    }
}

/// `30s`, `5ms`: as in the relay's configuration.
fn duration(text: &str) -> Result<Duration, String> {
    Span::try_from(text.to_owned()).map(|span| span.0)
}

/// Seconds since 1970, for figures that two programs are to compare.
fn seconds_now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Events in a second, 0 when no time has passed.
#[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// Resolves when `stop` turns true; never when its other end is gone.
async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
