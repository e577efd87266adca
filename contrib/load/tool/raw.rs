//! What the disk allows: writers that each wait for their record, and one committer that appends what waits and syncs it
//! (`fdatasync`), nothing else. The relay's acceptance is to be seen against this figure.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::{LoadError, duration, rate};

#[derive(Debug, Args)]
pub struct Options {
    /// A file to be made on that disk; it is removed at the end.
    file: PathBuf,
    /// Threads that write.
    #[arg(long, default_value_t = 64)]
    writers: usize,
    /// Octets of a record.
    #[arg(long, default_value_t = 4096)]
    size: usize,
    /// How long.
    #[arg(long, value_parser = duration, default_value = "3s")]
    time: Duration,
}

/// Durable records a second, and how long one took, in microseconds.
#[derive(Debug, Serialize)]
pub struct Limit {
    pub records: u64,
    pub syncs: u64,
    pub rate: f64,
    pub p50: u64,
    pub p99: u64,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, syncs, rate, p50, p99 } = self;
        write!(f, "{records} records, {syncs} syncs, {rate:.0}/s; latency in microseconds: p50 {p50}, p99 {p99}")
    }
}

/// A writer's word that its record waits.
type Waiting = SyncSender<()>;

pub fn run(options: &Options) -> Result<Limit, LoadError> {
    let failed = || LoadError::io(options.file.display());
    let file = File::options().write(true).create_new(true).open(&options.file).map_err(failed())?;
    let (hand_over, waiting) = sync_channel::<Waiting>(options.writers.max(1));
    let record = vec![b'a'; options.size];
    let began = Instant::now();
    let (latency, syncs) = thread::scope(|scope| {
        let writers: Vec<_> = (0..options.writers.max(1))
            .map(|_| {
                let hand_over = hand_over.clone();
                scope.spawn(move || write(&hand_over, began + options.time))
            })
            .collect();
        // The committer ends with the last writer.
        drop(hand_over);
        let syncs = commit(file, &record, &waiting);
        // Writers still waiting are told by the end of their channel.
        drop(waiting);
        let latency = writers.into_iter().map(|writer| writer.join().expect("a writer does not panic")).reduce(|mut all, one| {
            all.add(one).expect("the same bounds");
            all
        });
        (latency, syncs)
    });
    let seconds = began.elapsed().as_secs_f64();
    std::fs::remove_file(&options.file).map_err(failed())?;
    let syncs = syncs.map_err(failed())?;
    let latency = latency.unwrap_or_else(histogram);
    let records = latency.len();
    let at = |quantile| latency.value_at_quantile(quantile);
    Ok(Limit { records, syncs, rate: rate(records, seconds), p50: at(0.5), p99: at(0.99) })
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000, 3).expect("bounds that are valid")
}

fn write(hand_over: &SyncSender<Waiting>, end: Instant) -> Histogram<u64> {
    let mut latency = histogram();
    let (done, durable) = sync_channel(1);
    while Instant::now() < end {
        let start = Instant::now();
        if hand_over.send(done.clone()).is_err() || durable.recv_timeout(Duration::from_secs(60)).is_err() {
            break;
        }
        latency.saturating_record(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    latency
}

/// Takes what waits, appends a record for each in one write, syncs, and tells the writers.
fn commit(mut file: File, record: &[u8], waiting: &Receiver<Waiting>) -> std::io::Result<u64> {
    let mut syncs = 0;
    let mut batch = Vec::new();
    let mut octets = Vec::new();
    while let Ok(first) = waiting.recv() {
        batch.push(first);
        batch.extend(waiting.try_iter());
        octets.clear();
        octets.extend(std::iter::repeat_n(record, batch.len()).flatten());
        file.write_all(&octets)?;
        file.sync_data()?;
        syncs += 1;
        for writer in batch.drain(..) {
            let _ = writer.send(());
        }
    }
    Ok(syncs)
}
