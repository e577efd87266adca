//! The record of what was acknowledged: one line a message, `ID DIGEST RECIPIENT[,RECIPIENT…]`.
//!
//! Invariants: only whole lines are written, with one call each time, so that a program that is killed leaves whole
//! lines behind; at most [`FULL`] octets and [`EVERY`] of time are kept back.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::LoadError;

const FULL: usize = 64 << 10;
const EVERY: Duration = Duration::from_millis(100);

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub id: String,
    pub digest: String,
    pub recipients: Vec<String>,
}

/// A ledger being written; without a file, nothing is.
pub struct Writer {
    buffer: Arc<Mutex<Buffer>>,
    flusher: Option<JoinHandle<()>>,
}

struct Buffer {
    file: Option<File>,
    lines: Vec<u8>,
    /// The first failure to write, for whoever asks next.
    failed: Option<io::Error>,
}

impl Writer {
    /// Appends to `path`. To be called within a tokio runtime.
    pub fn open(path: Option<&Path>) -> Result<Self, LoadError> {
        let open = |path: &Path| File::options().create(true).append(true).open(path).map_err(LoadError::io(path.display()));
        let file = path.map(open).transpose()?;
        let wanted = file.is_some();
        let buffer = Arc::new(Mutex::new(Buffer { file, lines: Vec::new(), failed: None }));
        let flusher = wanted.then(|| {
            let buffer = buffer.clone();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(EVERY).await;
                    locked(&buffer).flush();
                }
            })
        });
        Ok(Self { buffer, flusher })
    }

    pub fn add(&self, line: &Line) -> Result<(), LoadError> {
        let mut buffer = locked(&self.buffer);
        if buffer.file.is_some() {
            writeln!(buffer.lines, "{} {} {}", line.id, line.digest, line.recipients.join(",")).expect("memory takes what is written");
        }
        if buffer.lines.len() >= FULL {
            buffer.flush();
        }
        buffer.outcome()
    }

    /// Writes what is left.
    pub fn finish(self) -> Result<(), LoadError> {
        let mut buffer = locked(&self.buffer);
        buffer.flush();
        buffer.outcome()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(flusher) = &self.flusher {
            flusher.abort();
        }
    }
}

fn locked(buffer: &Mutex<Buffer>) -> std::sync::MutexGuard<'_, Buffer> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Buffer {
    fn flush(&mut self) {
        if let (Some(file), false) = (&mut self.file, self.lines.is_empty()) {
            if let Err(error) = file.write_all(&self.lines) {
                self.failed.get_or_insert(error);
            }
            self.lines.clear();
        }
    }

    fn outcome(&mut self) -> Result<(), LoadError> {
        self.failed.take().map_or(Ok(()), |error| Err(LoadError::io("the ledger")(error)))
    }
}

/// Calls `each` for every line; a last line without its end is that of a write that was cut off, and is left out.
pub fn read(path: &Path, mut each: impl FnMut(Line)) -> Result<(), LoadError> {
    let failed = || LoadError::io(path.display());
    let mut file = BufReader::new(File::open(path).map_err(failed())?);
    let mut text = String::new();
    for number in 1.. {
        text.clear();
        file.read_line(&mut text).map_err(failed())?;
        let Some(whole) = text.strip_suffix('\n') else { break };
        let line = parse(whole).ok_or_else(|| LoadError::Ledger {
            file: path.display().to_string(),
            line: number,
            text: whole.chars().take(80).collect(),
        })?;
        each(line);
    }
    Ok(())
}

fn parse(text: &str) -> Option<Line> {
    let mut words = text.split(' ');
    let (id, digest, recipients) = (words.next()?, words.next()?, words.next()?);
    let complete = !id.is_empty() && !digest.is_empty() && !recipients.is_empty() && words.next().is_none();
    complete.then(|| Line { id: id.to_owned(), digest: digest.to_owned(), recipients: recipients.split(',').map(str::to_owned).collect() })
}
