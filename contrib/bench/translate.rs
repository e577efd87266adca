//! Reading and translating a typical invitation of 2 KiB each way, beside calcard's parse of the same octets.
//!
//! `cargo bench --bench translate`. The last lines say the ratios; at most 3 is asked for. Measured are the translation of
//! octets, as `convert` does it, and the reading of an object with its translation, as the relay does it, which knows
//! the event, its people and its times before. calcard only parses: it neither resolves zones and people nor writes
//! anything.

use std::hint::black_box;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use calcard::icalendar::ICalendar;
use cip_relay::calendar::Object;
use cip_relay::calendar::convert::{Options, Target, translate};
use cip_relay::clock::Timestamp;
use criterion::{Bencher, Criterion};

const ICALENDAR: &str = include_str!("../../tests/fixtures/calendar/invitation.ics");
const VCALENDAR: &str = include_str!("../../tests/fixtures/calendar/invitation.vcs");

/// Time of one iteration in each sample.
type Samples = Mutex<Vec<Duration>>;

fn sampled<T>(bencher: &mut Bencher, samples: &Samples, mut work: impl FnMut() -> T) {
    bencher.iter_custom(|rounds| {
        let began = Instant::now();
        for _ in 0..rounds {
            black_box(work());
        }
        let took = began.elapsed();
        let rounds = u32::try_from(rounds).unwrap_or(u32::MAX).max(1);
        samples.lock().expect("nothing panics while it is held").push(took / rounds);
        took
    });
}

fn median(samples: &Samples) -> Duration {
    let mut all = samples.lock().expect("nothing panics while it is held").clone();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let options = Options { now: Timestamp::from_millis(946_684_800_000), notes: true };
    let mut report = Vec::new();
    for (name, text, target) in
        [("icalendar to vcalendar", ICALENDAR, Target::VCalendar), ("vcalendar to icalendar", VCALENDAR, Target::ICalendar)]
    {
        let [parse, read, octets, object] = [const { Samples::new(Vec::new()) }; 4];
        let mut group = criterion.benchmark_group(name);
        group.bench_function("calcard parse", |b| sampled(b, &parse, || ICalendar::parse(black_box(text))));
        group.bench_function("read", |b| sampled(b, &read, || Object::parse(black_box(text).as_bytes().to_vec())));
        group.bench_function("translate octets", |b| {
            sampled(b, &octets, || translate(black_box(text).as_bytes().to_vec(), target, &options));
        });
        group.bench_function("read and translate", |b| {
            sampled(b, &object, || Object::parse(black_box(text).as_bytes().to_vec()).map(|o| o.translated(target, &options)));
        });
        group.finish();
        report.push((name, text.len(), median(&parse), median(&read), median(&octets), median(&object)));
    }
    criterion.final_summary();
    for (name, length, parse, read, octets, object) in report {
        let times = |took: Duration| took.as_secs_f64() / parse.as_secs_f64().max(1e-9);
        let (translated, both) = (times(octets), times(object));
        println!("{name}, {length} octets: calcard parses in {parse:.1?}; translated in {octets:.1?}: {translated:.2} times;");
        println!("    read in {read:.1?}, read and translated in {object:.1?}: {both:.2} times");
    }
}
