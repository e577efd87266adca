//! `serve`: the relay in the foreground, as systemd and the demo of a shell run it.
//!
//! Invariants: READY goes out after every listener is bound and the store is open; the watchdog is fed only by a runtime
//! that still runs; SIGTERM and SIGINT end with 0 when the shutdown was orderly; a reload that fails changes nothing.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use super::Context;
use super::exit::{Exit, Failure, Outcome};
use crate::clock::SystemClock;
use crate::config::{self, Config, ConfigErrors, LogFormat};
use crate::listen::activation::Activation;
use crate::relay::{Relay, RelayError};

/// Run the relay in the foreground
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cip-relay serve\n  cip-relay --config relay.toml serve\n\nSIGTERM and SIGINT stop accepting, let what is in hand finish, and end with 0; SIGHUP reads the users' files, the\ncredentials and the log level anew. The log goes to standard error, or to the journal (log.format)."
)]
pub struct Args {}

pub fn run(context: &Context, _: &Args) -> Outcome {
    let config = checked(context)?;
    let level = start_log(&config)?;
    allow_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Io, format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(serve(context, config, &level));
    // A blocking task that hangs must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(5));
    outcome
}

/// A thousand sessions and as many silent peers need more files than the usual limit of this process, which it may raise up
/// to the administrator's.
fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, ?current, ?maximum, "the limit of open files stays as it is");
    }
}

/// The configuration, with all that can be checked without starting; warnings are printed.
fn checked(context: &Context) -> Result<Config, Failure> {
    let config = context.load()?;
    let (warnings, errors): (Vec<_>, Vec<_>) = config::check(&config).into_iter().partition(|p| p.warning);
    for warning in warnings {
        eprintln!("{warning}");
    }
    if errors.is_empty() { Ok(config) } else { Err(Failure::new(Exit::Config, format!("configuration:\n{}", ConfigErrors(errors)))) }
}

type Level = Handle<EnvFilter, Registry>;

fn filter(config: &Config) -> Result<EnvFilter, Failure> {
    let bad = |error| Failure::new(Exit::Config, format!("log.level: {error}"));
    EnvFilter::builder().parse(&config.log.level).map_err(bad)
}

/// Logging, with a level that SIGHUP can change.
fn start_log(config: &Config) -> Result<Level, Failure> {
    let (filter, handle) = reload::Layer::new(filter(config)?);
    let stderr = std::io::stderr;
    let output: Box<dyn Layer<_> + Send + Sync> = match config.log.format {
        LogFormat::Text => fmt::layer().with_writer(stderr).with_target(false).with_ansi(colour()).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(stderr).boxed(),
        LogFormat::Journald => {
            let journal = tracing_journald::layer();
            journal
                .map_err(|error| {
                    Failure::new(Exit::Unavailable, format!("log.format = \"journald\": the journal is not there: {error}; write \"text\""))
                })?
                .boxed()
        }
    };
    let started = tracing_subscriber::registry().with(filter).with(output).try_init();
    started.map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
    Ok(handle)
}

fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

async fn serve(context: &Context, config: Config, level: &Level) -> Outcome {
    // Before anything is opened: a signal during start must not kill what it opens.
    let catch = |kind| signal(kind).map_err(|error| Failure::new(Exit::Io, format!("signals: {error}")));
    let mut signals = Signals {
        terminate: catch(SignalKind::terminate())?,
        interrupt: catch(SignalKind::interrupt())?,
        hang_up: catch(SignalKind::hangup())?,
    };
    let passed = Activation::take().map_err(|error| Failure::new(Exit::Config, format!("sockets passed by systemd: {error}")))?;
    let relay = Relay::start_on(config, Arc::new(SystemClock), passed).await.map_err(failed)?;
    tracing::info!(server_id = %relay.config().server_id, version = env!("CARGO_PKG_VERSION"), "ready");
    notify(&[sd_notify::NotifyState::Ready]);
    let mut watchdog = watchdog();
    let store = relay.queue().store().clone();
    let broken = store.broken();
    tokio::pin!(broken);
    let mut fate = Ok(());
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            // Nothing can be accepted or recorded any more; a new start opens the store anew and finds out what it holds.
            why = &mut broken => {
                fate = Err(Failure::new(Exit::Io, format!("the store cannot be written to any more: {why}")));
                break;
            }
            _ = signals.hang_up.recv() => again(context, &relay, level),
            () = watchdog.tick() => notify(&[sd_notify::NotifyState::Watchdog]),
        }
    }
    tracing::info!("stopping: nothing new is accepted, what is in hand is finished");
    notify(&[sd_notify::NotifyState::Stopping]);
    tokio::select! {
        () = relay.shutdown() => {
            tracing::info!("stopped");
            fate
        }
        // Whoever asks twice does not want to wait; what was accepted is on disk.
        _ = signals.interrupt.recv() => Err(Failure::new(Exit::TempFail, "stopped at once; what was in hand stays in the queue")),
    }
}

/// SIGHUP: what can change without a restart changes; the rest of the file is compared with nothing and waits for one.
fn again(context: &Context, relay: &Relay, level: &Level) {
    let mut states = vec![sd_notify::NotifyState::Reloading];
    states.extend(sd_notify::NotifyState::monotonic_usec_now().ok());
    notify(&states);
    let outcome = checked(context).and_then(|config| {
        relay.reload(&config).map_err(failed)?;
        let filter = filter(&config)?;
        level.reload(filter).map_err(|error| Failure::new(Exit::Software, error.to_string()))
    });
    match outcome {
        Ok(()) => tracing::info!("users, credentials and log level were read anew; other settings wait for a restart"),
        Err(error) => tracing::error!(%error, "the reload failed; the old settings stay in force"),
    }
    notify(&[sd_notify::NotifyState::Ready]);
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: RelayError) -> Failure {
    let exit = match error {
        RelayError::Directory(_) | RelayError::Credentials(_) => Exit::Config,
        RelayError::Listen { .. } | RelayError::Control(_) | RelayError::Resolver(_) | RelayError::Web(_) => Exit::Unavailable,
        RelayError::Open(_) | RelayError::Queue(_) | RelayError::Ledger(_) | RelayError::Commit(_) => Exit::Io,
    };
    Failure::new(exit, error.to_string())
}

/// Without systemd nobody listens, and that is no error.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

/// Ticks when systemd wants to hear; never without it.
struct Watchdog(Option<tokio::time::Interval>);

impl Watchdog {
    async fn tick(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
            }
            None => std::future::pending().await,
        }
    }
}

/// Three times within the time that systemd allows, so that one late tick is no reason to be killed.
fn watchdog() -> Watchdog {
    Watchdog(sd_notify::watchdog_enabled().map(|allowed| {
        let mut interval = tokio::time::interval((allowed / 3).max(Duration::from_millis(100)));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval
    }))
}
