//! The invariants of reading and translating over seeded mutations of the fixtures: the short deterministic form of what
//! the fuzz targets of `tests/fuzz` try for longer.

#[path = "fuzz/invariants.rs"]
mod hold;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const FIXTURES: [&[u8]; 6] = [
    include_bytes!("fixtures/calendar/invitation.ics"),
    include_bytes!("fixtures/calendar/invitation.vcs"),
    include_bytes!("fixtures/calendar/series.ics"),
    include_bytes!("fixtures/calendar/todo.vcs"),
    include_bytes!("fixtures/calendar/draft.txt"),
    include_bytes!("fixtures/calendar/freebusy.ics"),
];

/// What mutations put in: the places where formats differ and writers err.
const WORDS: [&[u8]; 34] = [
    b"\r\n",
    b"\n",
    b"\r\n ",
    b"=\r\n",
    b"=",
    b"=0D=0A",
    b"\\n",
    b"\\;",
    b"\\",
    b";",
    b":",
    b",",
    b"\"",
    b"\t",
    b"\xff",
    b"\xc3\xa4",
    b"\x01",
    b"Z",
    b"T000000",
    b"235959",
    b"19700101T000000Z",
    b"-0500",
    b"RRULE:D1 #0\r\n",
    b"RRULE:FREQ=DAILY\r\n",
    b"TZ:+14\r\n",
    b"X-CIP-ICAL:COMMENT:a\r\n",
    b"X-CIP-VCAL:RNUM:3\r\n",
    b"X-CIP-SERIES:a;b\r\n",
    b"X-CIP-TZID:Europe/Berlin\r\n",
    b"BEGIN:VALARM\r\n",
    b"END:VEVENT\r\n",
    b"ENCODING=QUOTED-PRINTABLE",
    b"ENCODING=BASE64",
    b"CHARSET=SHIFT_JIS",
];

fn mutated(random: &mut StdRng) -> Vec<u8> {
    let mut octets = FIXTURES.choose(random).expect("there are fixtures").to_vec();
    for _ in 0..random.random_range(0..8) {
        let at = random.random_range(0..=octets.len());
        match random.random_range(0..6) {
            0 if at < octets.len() => octets[at] = random.random(),
            1 => drop(octets.drain(at..(at + random.random_range(0..40)).min(octets.len()))),
            2 => octets.truncate(at.max(40)),
            3 => line_moved(&mut octets, random),
            4 => {
                let other = FIXTURES.choose(random).expect("there are fixtures");
                let lines: Vec<&[u8]> = other.split_inclusive(|b| *b == b'\n').collect();
                let line = lines.choose(random).copied().unwrap_or_default();
                let start = octets[..at].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
                octets.splice(start..start, line.iter().copied());
            }
            _ => drop(octets.splice(at..at, WORDS.choose(random).copied().unwrap_or_default().iter().copied())),
        }
    }
    octets
}

fn line_moved(octets: &mut Vec<u8>, random: &mut StdRng) {
    let mut lines: Vec<Vec<u8>> = octets.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let (from, to) = (random.random_range(0..lines.len().max(1)), random.random_range(0..lines.len().max(1)));
    if from < lines.len() && to < lines.len() {
        lines.swap(from, to);
    }
    *octets = lines.concat();
}

/// Failures that one run lists.
const MOST_TOLD: usize = 40;

/// Tries an invariant on the fixtures as they are, and on mutations of them; `INVARIANT_ROUNDS` says how many, where the
/// few of an ordinary run are not enough. Lists what does not hold, with the seed and the round that show it.
fn over_mutations(seed: u64, rounds: u64, invariant: fn(&[u8])) {
    for fixture in FIXTURES {
        invariant(fixture);
    }
    let rounds = std::env::var("INVARIANT_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(rounds);
    let mut failures = Vec::new();
    for round in 0..rounds {
        let octets = mutated(&mut StdRng::seed_from_u64(seed * 1_000_000 + round));
        if let Err(panic) = std::panic::catch_unwind(|| invariant(&octets)) {
            let said = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
            let source = String::from_utf8_lossy(&octets);
            failures.push(format!("round {round} of seed {seed}: {}\n--- source\n{source}", said.unwrap_or_default()));
        }
        if failures.len() == MOST_TOLD {
            break;
        }
    }
    assert!(failures.is_empty(), "{} rounds failed:\n{}", failures.len(), failures.join("\n=====\n"));
}

#[test]
fn a_property_of_any_octets_is_read() {
    over_mutations(1, 300, hold::property);
}

#[test]
fn vcalendar_of_any_octets_is_translated() {
    over_mutations(2, 200, hold::vcalendar);
}

#[test]
fn the_bare_dialect_of_any_octets_is_translated() {
    over_mutations(3, 200, hold::bare);
}

#[test]
fn a_translation_reads_back_and_is_a_fixed_point() {
    over_mutations(4, 600, hold::translate);
}

#[test]
fn the_fixtures_are_translated_and_are_a_fixed_point() {
    for fixture in FIXTURES {
        hold::vcalendar(fixture);
        hold::bare(fixture);
        hold::translate(fixture);
    }
}

#[test]
fn no_octets_end_a_translation_in_a_panic() {
    over_mutations(5, 1_000, hold::survives);
}

/// What the fuzz targets found once, made small: each file under its target's name. `INVARIANT_FILES` is a further folder,
/// such as `tests/fuzz/artifacts`.
#[test]
fn what_fuzzing_found_holds() {
    let mut folders = vec![std::path::PathBuf::from("tests/fixtures/found")];
    folders.extend(std::env::var_os("INVARIANT_FILES").map(Into::into));
    let mut failures = Vec::new();
    let mut tried = 0;
    for folder in folders {
        for (name, invariant) in [
            ("property", hold::property as fn(&[u8])),
            ("vcalendar", hold::vcalendar),
            ("bare", hold::bare),
            ("translate", hold::translate),
        ] {
            let Ok(files) = std::fs::read_dir(folder.join(name)) else { continue };
            for file in files {
                let path = file.expect("a folder that can be read").path();
                let octets = std::fs::read(&path).expect("a file that can be read");
                tried += 1;
                if let Err(panic) = std::panic::catch_unwind(|| invariant(&octets)) {
                    let said = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
                    failures.push(format!("{}: {}", path.display(), said.unwrap_or_default()));
                }
            }
        }
    }
    assert!(tried > 0, "no file was found");
    assert!(failures.is_empty(), "{} files failed:\n{}", failures.len(), failures.join("\n=====\n"));
}
