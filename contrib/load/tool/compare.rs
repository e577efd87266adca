//! What became of every acknowledged message, told from the two ledgers.
//!
//! One delivery is a message and one of its recipients. Only what the source saw acknowledged can be lost; what arrives
//! beyond that was accepted by the relay without the source seeing the answer.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{LoadError, ledger};

/// Deliveries of each kind that are named in the report.
const NAMED: usize = 10;

#[derive(Debug, Args)]
pub struct Options {
    /// The source's ledger.
    acknowledged: PathBuf,
    /// The sink's ledger.
    received: PathBuf,
}

/// Deliveries by what became of them.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    pub acknowledged: u64,
    pub received: u64,
    /// Acknowledged and never received.
    pub lost: u64,
    /// Received beyond the first time.
    pub doubled: u64,
    /// Received with another text than was sent.
    pub corrupt: u64,
    /// Received without having been acknowledged to the source.
    pub unacknowledged: u64,
    /// Some of the lost, doubled and corrupt ones.
    pub named: Vec<String>,
}

impl Comparison {
    pub fn good(&self) -> bool {
        self.lost == 0 && self.corrupt == 0
    }

    fn name(&mut self, what: &str, count: u64, delivery: &(String, String)) {
        if count <= NAMED as u64 {
            self.named.push(format!("{what} {} for {}", delivery.0, delivery.1));
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, received, lost, doubled, corrupt, unacknowledged, named } = self;
        write!(
            f,
            "deliveries: {acknowledged} acknowledged, {received} received; lost {lost}, doubled {doubled}, corrupt {corrupt}, \
             unacknowledged {unacknowledged}"
        )?;
        named.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

pub fn run(options: &Options) -> Result<Comparison, LoadError> {
    let mut report = Comparison::default();
    // What was sent, and how often it came.
    let mut sent: HashMap<(String, String), (String, u64)> = HashMap::new();
    ledger::read(&options.acknowledged, |line| {
        for recipient in line.recipients {
            sent.insert((line.id.clone(), recipient), (line.digest.clone(), 0));
        }
    })?;
    report.acknowledged = sent.len() as u64;
    // Those that the source knows nothing of can be doubled too.
    let mut strangers: HashMap<(String, String), u64> = HashMap::new();
    ledger::read(&options.received, |line| {
        for recipient in line.recipients {
            report.received += 1;
            let delivery = (line.id.clone(), recipient);
            let times = match sent.get_mut(&delivery) {
                Some((digest, times)) => {
                    if *digest != line.digest {
                        report.corrupt += 1;
                        report.name("corrupt", report.corrupt, &delivery);
                    }
                    times
                }
                None => strangers.entry(delivery.clone()).or_default(),
            };
            *times += 1;
            if *times > 1 {
                report.doubled += 1;
                report.name("doubled", report.doubled, &delivery);
            }
        }
    })?;
    report.unacknowledged = strangers.len() as u64;
    let mut missing: Vec<_> = sent.into_iter().filter(|(_, (_, times))| *times == 0).map(|(delivery, _)| delivery).collect();
    missing.sort();
    for delivery in &missing {
        report.lost += 1;
        report.name("lost", report.lost, delivery);
    }
    Ok(report)
}
