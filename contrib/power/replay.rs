//! Cuts a record at its syncs and opens what is left with the real store.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng, SeedableRng};

use cip_relay::store::Batch;

use super::disk::{Disk, Image, Model};
use super::objects::{look, open, record};
use super::promise::Promise;
use super::record::{Deed, Record};

const WORKERS: usize = 2;
/// Failures that are shown.
const SHOWN: usize = 5;

/// What became of the cuts of one model.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    cases: usize,
    /// The store did not open, or did not take another commit.
    failed: usize,
    with_loss: usize,
    lost: usize,
    halves: usize,
    corrupt: usize,
}

pub struct Score {
    operations: usize,
    syncs: usize,
    cuts: usize,
    ranges: usize,
    octets: usize,
    took: Duration,
    lines: BTreeMap<Model, Line>,
    shown: Vec<String>,
}

struct Case {
    cut: usize,
    model: Model,
    image: Image,
    promise: Arc<Promise>,
}

/// Cuts before the end of every sync, after the end of every fourth, and as often at random; `cuts` of these, 0 for all.
fn choose(record: &Record, cuts: usize, coin: &mut StdRng) -> Vec<usize> {
    let mut chosen = Vec::new();
    for (n, deed) in record.deeds.iter().enumerate() {
        if matches!(deed, Deed::SyncEnds { .. } | Deed::Range { done: true }) {
            chosen.push(n);
            if coin.random_range(0..4) == 0 {
                chosen.push(n + 1);
                chosen.push(coin.random_range(0..record.deeds.len()));
            }
        }
    }
    if cuts != 0 {
        chosen.shuffle(coin);
        chosen.truncate(cuts);
    }
    chosen.push(record.deeds.len());
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

pub fn replay(record: &Record, root: &Path, seed: u64, cuts: usize) -> Result<Score, String> {
    let began = Instant::now();
    let mut coin = StdRng::seed_from_u64(seed);
    let chosen = choose(record, cuts, &mut coin);
    let folder = memory()?;
    let (cases, waiting) = sync_channel::<Case>(WORKERS);
    let waiting = Arc::new(Mutex::new(waiting));
    let score = Arc::new(Mutex::new((BTreeMap::<Model, Line>::new(), Vec::new())));
    let workers: Vec<_> = (0..WORKERS)
        .map(|n| {
            let (waiting, score, place) = (waiting.clone(), score.clone(), folder.path().join(n.to_string()));
            std::thread::spawn(move || work(&waiting, &score, &place))
        })
        .collect();
    let (mut disk, mut promise) = (Disk::new(record, root), Promise::default());
    let mut next = chosen.iter().peekable();
    for n in 0..=record.deeds.len() {
        if next.next_if(|cut| **cut == n).is_some() {
            let promise = Arc::new(promise.clone());
            for model in Model::ALL {
                let case = Case { cut: n, model, image: disk.image(model, &mut coin), promise: promise.clone() };
                cases.send(case).map_err(|_| "the workers have ended")?;
            }
        }
        if let Some(deed) = record.deeds.get(n) {
            disk.apply(deed);
            if let Deed::Mark(mark) = deed {
                promise.learn(mark)?;
            }
        }
    }
    drop(cases);
    for worker in workers {
        worker.join().map_err(|_| "a worker panicked")?;
    }
    let (lines, shown) = std::mem::take(&mut *score.lock().map_err(|e| e.to_string())?);
    let count = |fits: fn(&Deed) -> bool| record.deeds.iter().filter(|d| fits(d)).count();
    Ok(Score {
        operations: promise.operations,
        syncs: count(|d| matches!(d, Deed::SyncEnds { good: true, .. })),
        ranges: count(|d| matches!(d, Deed::Range { done: true })),
        cuts: chosen.len(),
        octets: record.octets.len(),
        took: began.elapsed(),
        lines,
        shown,
    })
}

/// A folder in memory, where syncs cost nothing; the usual place for temporary files when there is none.
fn memory() -> Result<tempfile::TempDir, String> {
    let shared = Path::new("/dev/shm");
    let builder = || tempfile::Builder::new().prefix("power-").to_owned();
    let folder = if shared.is_dir() { builder().tempdir_in(shared) } else { builder().tempdir() };
    folder.map_err(|e| e.to_string())
}

type Shared = Mutex<(BTreeMap<Model, Line>, Vec<String>)>;

fn work(waiting: &Mutex<Receiver<Case>>, score: &Shared, place: &Path) {
    loop {
        let case = waiting.lock().map(|cases| cases.recv());
        let Ok(Ok(case)) = case else { return };
        let outcome = case.image.write(place).map_err(|e| e.to_string()).and_then(|()| verify(&case.promise, place));
        let Ok(mut score) = score.lock() else { return };
        let line = score.0.entry(case.model).or_default();
        line.cases += 1;
        let mut words = None;
        match outcome {
            Err(why) => {
                line.failed += 1;
                words = Some(why);
            }
            Ok((broken, corrupt)) => {
                line.with_loss += usize::from(broken.lost > 0);
                line.lost += broken.lost;
                line.halves += broken.halves;
                line.corrupt += corrupt.len();
                if broken.lost + broken.halves + corrupt.len() > 0 {
                    words = Some(format!("{broken:?} {:?}", corrupt.iter().take(3).collect::<Vec<_>>()));
                }
            }
        }
        if let Some(words) = words.filter(|_| score.1.len() < SHOWN) {
            score.1.push(format!("cut at record {}, {}: {words}", case.cut, case.model.name()));
        }
    }
}

/// Opens, compares, commits once more, opens again and compares again: what was recovered must also last.
fn verify(promise: &Promise, place: &Path) -> Result<(super::promise::Broken, Vec<String>), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let data = place.join("data");
    let queue = open(&data, false)?;
    let found = look(&queue)?;
    let broken = promise.compare(&found.objects);
    let mut batch = Batch::new();
    batch.put("lafter", record(1));
    runtime.block_on(queue.store().commit(batch)).map_err(|e| e.to_string())?;
    drop(queue);
    let queue = open(&data, false).map_err(|e| format!("the second time: {e}"))?;
    let mut again = look(&queue)?;
    if again.objects.remove("lafter") != Some(1) || again.objects != found.objects {
        return Err("the second time other things are there".to_owned());
    }
    Ok((broken, found.corrupt))
}

impl Score {
    pub fn is_clean(&self) -> bool {
        self.lines.values().all(|l| l.failed + l.lost + l.halves + l.corrupt == 0)
    }

    /// Something that was acknowledged is not there.
    pub fn has_losses(&self) -> bool {
        self.lines.values().any(|l| l.lost > 0)
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operations, syncs, cuts, ranges) = (self.operations, self.syncs, self.cuts, self.ranges);
        let (mebibytes, seconds) = (self.octets >> 20, self.took.as_secs());
        writeln!(f, "{operations} operations acknowledged, {syncs} syncs, {ranges} sync_file_range done, {mebibytes} MiB recorded")?;
        writeln!(f, "{cuts} cuts, each in {} models, {seconds} s", self.lines.len())?;
        writeln!(f, "model    cases  failed opens  cases with loss  acknowledged lost  halves  corrupt")?;
        for (model, l) in &self.lines {
            let Line { cases, failed, with_loss, lost, halves, corrupt } = l;
            writeln!(f, "{:<8} {cases:>5}  {failed:>12}  {with_loss:>15}  {lost:>17}  {halves:>6}  {corrupt:>7}", model.name())?;
        }
        self.shown.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}
