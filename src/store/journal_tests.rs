use std::path::Path;

use super::*;

fn row(key: &str, value: &str) -> Row {
    (key.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))
}

fn append(journal: &mut Journal, rows: &[Row]) {
    journal.append(rows.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))).unwrap();
}

fn worked_in(dir: &Path) -> (u64, Vec<Vec<Row>>) {
    let mut groups = Vec::new();
    let take = |rows| {
        groups.push(rows);
        Ok(())
    };
    let count = recover(dir, take, || Ok(())).unwrap();
    (count, groups)
}

/// What a start would find.
fn recovered(dir: &Path) -> Vec<Vec<Row>> {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let (count, groups) = worked_in(copy.path());
    assert_eq!(count, groups.len() as u64);
    assert_eq!(recover(copy.path(), |_| Err("nothing is left".into()), || Ok(())), Ok(0));
    groups
}

fn group(n: usize) -> Vec<Row> {
    (0..=n % 3).map(|k| row(&format!("key {n} {k}"), &"v".repeat(n * 7 + k))).chain([(n.to_le_bytes().to_vec(), None)]).collect()
}

#[test]
fn groups_come_back_in_their_order_from_both_files() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(recover(dir.path(), |_| Err("there is none".into()), || Ok(())), Ok(0));
    let mut journal = Journal::begin(dir.path(), 1 << 20).unwrap();
    assert!(recovered(dir.path()).is_empty());
    let all: Vec<_> = (0..9).map(group).collect();
    for (n, group) in all.iter().enumerate() {
        // The first three are in the database by then.
        if n == 3 || n == 6 {
            journal.turn().unwrap();
        }
        append(&mut journal, group);
    }
    assert_eq!(recovered(dir.path()), all[3..]);
    journal.clear().unwrap();
    assert!(recovered(dir.path()).is_empty());
    append(&mut journal, &all[0]);
    assert_eq!(recovered(dir.path()), all[..1]);
}

#[test]
fn a_cut_anywhere_leaves_the_groups_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAMES[0]);
    let mut journal = Journal::begin(dir.path(), 1 << 20).unwrap();
    let all: Vec<_> = (0..6).map(group).collect();
    let mut ends = Vec::new();
    for group in &all {
        append(&mut journal, group);
        ends.push(usize::try_from(journal.octets()).unwrap());
    }
    let whole = std::fs::read(&path).unwrap()[..ends[5] + 100].to_vec();
    for cut in [1, 20, 35, 512].into_iter().chain(PAGE..ends[5] + 2) {
        // What was there before the write: zeros, or what an earlier turn has left; or the file ended.
        for rest in [Some(0), Some(0xa5), None] {
            let mut octets = whole[..cut].to_vec();
            octets.resize(rest.map_or(cut, |_| whole.len()), rest.unwrap_or(0));
            std::fs::write(&path, &octets).unwrap();
            let before = ends.iter().filter(|end| octets.starts_with(&whole[..**end])).count();
            assert_eq!(recovered(dir.path()), all[..before], "{cut} {rest:?}");
        }
    }
}

#[test]
fn what_an_earlier_turn_has_left_is_never_taken() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::begin(dir.path(), 1 << 20).unwrap();
    // All groups have the same length, so that each lies where an earlier one lay.
    let all: Vec<Vec<Row>> = (10..25).map(|n| vec![row(&format!("key {n}"), "value")]).collect();
    for (n, group) in all.iter().enumerate() {
        if n == 5 || n == 8 {
            journal.turn().unwrap();
        }
        if n == 10 {
            break;
        }
        append(&mut journal, group);
    }
    assert_eq!(recovered(dir.path()), all[5..10]);
    // The head of a turn that was never acknowledged is not on disk, and its group is.
    journal.turn().unwrap();
    append(&mut journal, &all[10]);
    let path = dir.path().join(NAMES[1]);
    let mut octets = std::fs::read(&path).unwrap();
    octets[..512].fill(0);
    std::fs::write(&path, octets).unwrap();
    assert_eq!(recovered(dir.path()), all[8..10]);
}

/// What is emptied last is the last generation: the one before it, worked in alone, would undo it.
#[test]
fn an_emptying_that_is_cut_off_leaves_the_newer_file() {
    for empty_turn in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::begin(dir.path(), 1 << 20).unwrap();
        append(&mut journal, &[row("key", "old")]);
        journal.turn().unwrap();
        append(&mut journal, &[row("key", "new")]);
        if empty_turn {
            journal.turn().unwrap();
        }
        let head = |name| std::fs::read(dir.path().join(name)).unwrap()[..36].to_vec();
        let before = NAMES.map(head);
        journal.clear().unwrap();
        // As it was when only the first of the two had been emptied.
        let second = dir.path().join(NAMES[1]);
        let mut octets = std::fs::read(&second).unwrap();
        assert_eq!(octets[..36], [0; 36]);
        let emptied: Vec<_> = NAMES.iter().map(|name| std::fs::metadata(dir.path().join(name)).unwrap().modified().unwrap()).collect();
        assert!(emptied[0] <= emptied[1], "{empty_turn}");
        octets[..36].copy_from_slice(&before[1]);
        std::fs::write(&second, octets).unwrap();
        assert_eq!(recovered(dir.path()), [[row("key", "new")]]);
    }
}

#[test]
fn a_group_counts_only_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAMES[0]);
    let mut journal = Journal::begin(dir.path(), 1 << 20).unwrap();
    append(&mut journal, &[row("key", "one")]);
    let end = usize::try_from(journal.octets()).unwrap();
    let mut octets = std::fs::read(&path).unwrap();
    let first = octets[4096..end].to_vec();
    octets[end..end + first.len()].copy_from_slice(&first);
    std::fs::write(&path, octets).unwrap();
    assert_eq!(recovered(dir.path()), [[row("key", "one")]]);
}

#[test]
fn damage_before_the_end_is_kept_and_the_other_groups_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAMES[0]);
    let mut journal = Journal::begin(dir.path(), 1 << 20).unwrap();
    let all: Vec<_> = (0..4).map(group).collect();
    let mut second = 0;
    for (n, group) in all.iter().enumerate() {
        append(&mut journal, group);
        if n == 0 {
            second = usize::try_from(journal.octets()).unwrap();
        }
    }
    let mut octets = std::fs::read(&path).unwrap();
    octets[second + FRONT + 9] ^= 1;
    std::fs::write(&path, &octets).unwrap();
    // The damaged one is counted.
    let (count, groups) = worked_in(dir.path());
    assert_eq!(count, 4);
    assert_eq!(groups, [all[0].clone(), all[2].clone(), all[3].clone()]);
    assert_eq!(std::fs::read(dir.path().join("journal.damaged-1")).unwrap(), octets);
}

#[test]
fn a_file_keeps_its_size_and_a_swollen_one_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let size = |name| std::fs::metadata(dir.path().join(name)).unwrap().len();
    let mut journal = Journal::begin(dir.path(), 1 << 20).unwrap();
    append(&mut journal, &[row("key", "value")]);
    assert_eq!(size(NAMES[0]), GROWTH);
    append(&mut journal, &[row("key", &"v".repeat(5 << 20))]);
    assert!(size(NAMES[0]) > 5 << 20);
    journal.turn().unwrap();
    append(&mut journal, &[row("key", "value")]);
    journal.turn().unwrap();
    assert_eq!(size(NAMES[0]), 1 << 20);
    append(&mut journal, &[row("key", "last")]);
    assert_eq!(recovered(dir.path()), [[row("key", "value")], [row("key", "last")]]);
}
