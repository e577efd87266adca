//! Power loss, played: a store is used and killed under a recorder (`shim.c`), and the record is cut at its syncs. For
//! each cut and each model of what a disk may then hold (`disk.rs`) the data directory is built, opened with the real
//! store, and compared with what had been acknowledged (`promise.rs`).
//!
//! `cargo run --release --example power -- [--operations N] [--seed N] [--cuts N] [--without-filter]`: operations of all
//! lives together, and cuts (0: at every sync). `--without-filter` refuses the process its seccomp filter: the store must
//! then not open by itself, and opened with `unsafe_without_sync` it must lose something, or this program sees nothing.
//! Ends with 0 when it came out as it must, 1 when not, 69 without a C compiler.

mod disk;
mod drive;
mod objects;
mod promise;
mod record;
mod replay;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

struct Arguments {
    operations: u32,
    seed: u64,
    cuts: usize,
    without_filter: bool,
}

/// How a life ends.
#[derive(Clone, Copy)]
enum End {
    /// By itself: the store is closed.
    Closed,
    /// Killed after so many records, while the store is being opened.
    Opening(u64),
    /// Killed after so many marks, under load.
    Working(u32),
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = if words.first().is_some_and(|w| w == "live") { live(&words[1..]) } else { play(&words) };
    result.unwrap_or_else(|why| {
        eprintln!("{why}");
        ExitCode::from(70)
    })
}

/// The recorded process: `live FOLDER LIFE OPERATIONS SEED WITHOUT-FILTER`.
fn live(words: &[String]) -> Result<ExitCode, String> {
    let [folder, life, operations, seed, without_filter] = words else { return Err("live: five arguments".to_owned()) };
    let number = |text: &str| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
    let short = |text: &str| text.parse::<u32>().map_err(|e| format!("{text}: {e}"));
    drive::live(Path::new(folder), short(life)?, short(operations)?, number(seed)?, without_filter == "true")?;
    Ok(ExitCode::SUCCESS)
}

fn arguments(words: &[String]) -> Option<Arguments> {
    let mut found = Arguments { operations: 4000, seed: 1, cuts: 0, without_filter: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--operations" => found.operations = words.next()?.parse().ok()?,
            "--seed" => found.seed = words.next()?.parse().ok()?,
            "--cuts" => found.cuts = words.next()?.parse().ok()?,
            "--without-filter" => found.without_filter = true,
            _ => return None,
        }
    }
    Some(found)
}

fn play(words: &[String]) -> Result<ExitCode, String> {
    let Some(arguments) = arguments(words) else {
        eprintln!("usage: power [--operations N] [--seed N] [--cuts N] [--without-filter]");
        return Ok(ExitCode::from(64));
    };
    let folder = tempfile::Builder::new().prefix("power-").tempdir().map_err(|e| e.to_string())?;
    let Some(shim) = compile(folder.path())? else {
        eprintln!("no C compiler (cc) here: the recorder cannot be built");
        return Ok(ExitCode::from(69));
    };
    if arguments.without_filter {
        refused(folder.path(), &shim)?;
    }
    let record = record_lives(&arguments, folder.path(), &shim)?;
    let record = record::Record::read(&record)?;
    let score = replay::replay(&record, &folder.path().join("world"), arguments.seed, arguments.cuts)?;
    print!("{score}");
    let expected = if arguments.without_filter { score.has_losses() } else { score.is_clean() };
    println!("{}", if expected { "as it must be" } else { "NOT as it must be" });
    Ok(if expected { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn compile(folder: &Path) -> Result<Option<PathBuf>, String> {
    let (source, shim) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/power/shim.c"), folder.join("shim.so"));
    let status = Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(&shim).arg(source).args(["-ldl", "-lpthread"]).status();
    match status {
        Ok(status) if status.success() => Ok(Some(shim)),
        Ok(status) => Err(format!("cc: {status}")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("cc: {e}")),
    }
}

/// Without its filter, and without the word of the administrator, a store is not opened.
fn refused(folder: &Path, shim: &Path) -> Result<(), String> {
    let world = folder.join("refused");
    fs::create_dir(&world).map_err(|e| e.to_string())?;
    let mut command = Command::new(std::env::current_exe().map_err(|e| e.to_string())?);
    command.arg("live").arg(&world).args(["1", "0", "1", "false"]).env("LD_PRELOAD", shim).env("POWER_NO_FILTER", "1");
    let output = command.output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() || !said.contains("durable writes cannot be assured") {
        return Err(format!("without its filter the store opened, or said something else: {said}"));
    }
    println!("without its filter the store is not opened");
    Ok(())
}

/// Uses one store in several lives: killed in its first start, under load, in a recovery; closed in order; and again.
fn record_lives(arguments: &Arguments, folder: &Path, shim: &Path) -> Result<PathBuf, String> {
    let mut coin = StdRng::seed_from_u64(arguments.seed);
    let share = arguments.operations / 3;
    let lives = [
        (0, End::Opening(coin.random_range(1..25))),
        (share, End::Working(share * 2 * 3 / 4 + coin.random_range(0..share.max(1) / 4))),
        (0, End::Opening(coin.random_range(1..10))),
        (share, End::Closed),
        (0, End::Opening(coin.random_range(1..10))),
        (share, End::Working(share * 2 * 3 / 4 + coin.random_range(0..share.max(1) / 4))),
        (0, End::Closed),
    ];
    let (world, log) = (folder.join("world"), folder.join("record"));
    fs::create_dir(&world).map_err(|e| e.to_string())?;
    for (life, (operations, end)) in (1u32..).zip(lives) {
        // Killed before the last of them is answered.
        let operations = if matches!(end, End::Working(_)) { operations * 2 } else { operations };
        let mut command = Command::new(std::env::current_exe().map_err(|e| e.to_string())?);
        command.arg("live").arg(&world).args([life.to_string(), operations.to_string(), arguments.seed.to_string()]);
        command.arg(arguments.without_filter.to_string());
        command.env("LD_PRELOAD", shim).env("POWER_ROOT", &world).env("POWER_LOG", &log).stdin(Stdio::null());
        // Marks go to the record; nobody reads the output.
        command.stdout(File::options().write(true).open("/dev/null").map_err(|e| e.to_string())?);
        match end {
            End::Closed => {}
            End::Opening(records) => {
                command.env("POWER_KILL_AT", records.to_string());
            }
            End::Working(marks) => {
                command.env("POWER_KILL_AT_MARK", marks.to_string());
            }
        }
        if arguments.without_filter {
            command.env("POWER_NO_FILTER", "1");
        }
        let status = command.status().map_err(|e| e.to_string())?;
        let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
        let expected = match end {
            End::Closed => status.success(),
            End::Working(_) => killed,
            // It may have been done before.
            End::Opening(_) => killed || status.success(),
        };
        if !expected {
            return Err(format!("life {life} ended with {status}"));
        }
    }
    Ok(log)
}
