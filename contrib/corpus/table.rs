//! Counts per producer, and how they are printed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::check::{Finding, Outcome};

#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub files: usize,
    /// Files that break no rule of their format.
    pub valid: usize,
    /// Valid files without an unexplained loss.
    pub whole: usize,
    pub objects: usize,
    pub read: usize,
    pub translated: usize,
    pub properties: usize,
    pub kept: usize,
    pub carried: usize,
    pub approximated: usize,
    pub said: usize,
    pub left_out: usize,
    pub unexplained: usize,
    pub slowest: Duration,
}

impl Counts {
    pub fn finding(&mut self, finding: &Finding) {
        self.properties += 1;
        *match finding.outcome {
            Outcome::Kept => &mut self.kept,
            Outcome::Carried => &mut self.carried,
            Outcome::Approximated => &mut self.approximated,
            Outcome::Said => &mut self.said,
            Outcome::LeftOut => &mut self.left_out,
            Outcome::Unexplained(_) => &mut self.unexplained,
        } += 1;
    }

    pub fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.valid += other.valid;
        self.whole += other.whole;
        self.objects += other.objects;
        self.read += other.read;
        self.translated += other.translated;
        self.properties += other.properties;
        self.kept += other.kept;
        self.carried += other.carried;
        self.approximated += other.approximated;
        self.said += other.said;
        self.left_out += other.left_out;
        self.unexplained += other.unexplained;
        self.slowest = self.slowest.max(other.slowest);
    }

    fn row(&self, name: &str) -> String {
        let slowest = format!("{:.1}", self.slowest.as_secs_f64() * 1000.0);
        format!(
            "| {name:<22} | {:>5} | {:>5} | {:>7} | {:>5} | {:>10} | {:>10} | {:>6} | {:>7} | {:>12} | {:>4} | {:>8} | {:>11} | {slowest:>10} |",
            self.files,
            self.valid,
            self.objects,
            self.read,
            self.translated,
            self.properties,
            self.kept,
            self.carried,
            self.approximated,
            self.said,
            self.left_out,
            self.unexplained,
        )
    }
}

/// The table, a line each, the sum last.
pub fn print(producers: &BTreeMap<String, Counts>) -> Counts {
    let head = [
        "producer",
        "files",
        "valid",
        "objects",
        "read",
        "translated",
        "properties",
        "kept",
        "carried",
        "approximated",
        "said",
        "left out",
        "unexplained",
        "slowest ms",
    ];
    let widths = [22, 5, 5, 7, 5, 10, 10, 6, 7, 12, 4, 8, 11, 10];
    let cells: Vec<String> = head.iter().zip(widths).map(|(h, w)| format!("{h:<w$}")).collect();
    println!("| {} |", cells.join(" | "));
    let rules: Vec<String> =
        widths.iter().enumerate().map(|(i, w)| if i == 0 { "-".repeat(*w) } else { format!("{}:", "-".repeat(w - 1)) }).collect();
    println!("| {} |", rules.join(" | "));
    let mut sum = Counts::default();
    for (name, counts) in producers {
        println!("{}", counts.row(name));
        sum.add(counts);
    }
    println!("{}", sum.row("all"));
    sum
}
