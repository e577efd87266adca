//! Rules as real software wrote them, and the proof of the translation over rules that are made up.

mod found;
mod made_up;
mod oracle;
mod real;

use chrono::{NaiveDate, NaiveDateTime};

use super::Frame;
use super::expand::{Either, Series, expand};

fn at(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S").unwrap()
}

fn same(at: NaiveDateTime) -> NaiveDateTime {
    at
}

/// Two hours east of Greenwich.
fn east(at: NaiveDateTime) -> NaiveDateTime {
    at + chrono::Duration::hours(2)
}

fn west(at: NaiveDateTime) -> NaiveDateTime {
    at - chrono::Duration::hours(2)
}

fn floating(start: NaiveDateTime) -> Frame<'static> {
    Frame { start, all_day: false, floating: true, to_local: &same, to_utc: &same }
}

fn zoned(start: NaiveDateTime) -> Frame<'static> {
    Frame { start, all_day: false, floating: false, to_local: &east, to_utc: &west }
}

fn all_day(start: NaiveDateTime) -> Frame<'static> {
    Frame { start: start.date().into(), all_day: true, floating: true, to_local: &same, to_utc: &same }
}

/// The instances of ten years, as many as are wanted at most.
fn instances(rules: Vec<Either>, frame: &Frame<'_>, limit: usize) -> super::expand::Instances {
    let until = frame.start + chrono::Duration::days(3653);
    expand(&Series { rules, ..Series::default() }, frame, until, limit)
}

fn days(starts: &[NaiveDateTime]) -> String {
    let day = |d: &NaiveDateTime| if d.date() == NaiveDate::MIN { String::new() } else { d.format("%y%m%d").to_string() };
    starts.iter().map(day).collect::<Vec<_>>().join(" ")
}
