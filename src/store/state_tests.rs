use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn scanned(model: &Model, prefix: &[u8], from: &[u8], limit: usize) -> Vec<Record> {
    let rows = model.range(from.max(prefix).to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
    rows.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Whatever is in the journal, on its way, or in the database: it reads as one map.
#[test]
fn the_layers_and_the_database_read_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("queue");
    let lock = Arc::new(tempfile::tempfile().unwrap());
    let Ok(engine) = Engine::open(&database, dir.path(), 1 << 20, lock) else { panic!("a new database opens") };
    let state = State::new(engine);
    let mut model = Model::new();
    let mut random = StdRng::seed_from_u64(0x5eed);
    let key = |random: &mut StdRng| [*[b'a', b'b', b'c'].choose(random).unwrap(), b'.', random.random_range(0..200)].to_vec();
    let mut layer = None;
    for round in 0..4000u32 {
        let rows: Vec<Row> = (0..random.random_range(1..20))
            .map(|_| {
                // Some of them long runs that go, so that portions of a scan end among these.
                let value = random.random_bool(0.4).then(|| vec![round.to_le_bytes()[0]; random.random_range(0..30)]);
                (key(&mut random), value)
            })
            .collect();
        for (key, value) in rows.clone() {
            match value {
                Some(value) => drop(model.insert(key, value)),
                None => drop(model.remove(&key)),
            }
        }
        state.show(rows);
        match round % 40 {
            11 => layer = state.pending_mut().freeze(),
            25 => {
                let layer = layer.take().unwrap();
                state.engine.write(layer.rows()).unwrap();
            }
            30 => state.pending_mut().settled(),
            _ => {}
        }
        let one = key(&mut random);
        assert_eq!(state.get(&one).unwrap(), model.get(&one).cloned());
        let (from, limit) = (key(&mut random), random.random_range(0..300));
        for prefix in [&b"a"[..], b"b.", b""] {
            assert_eq!(
                state.scan(prefix, &from, limit).unwrap(),
                scanned(&model, prefix, &from, limit),
                "{round} {prefix:?} {from:?} {limit}"
            );
        }
    }
}

/// A scan goes on behind any number of rows that have gone and are still in the database.
#[test]
fn a_scan_goes_on_behind_rows_that_have_gone() {
    let dir = tempfile::tempdir().unwrap();
    let lock = Arc::new(tempfile::tempfile().unwrap());
    let Ok(engine) = Engine::open(&dir.path().join("queue"), dir.path(), 1 << 20, lock) else { panic!("a new database opens") };
    let state = State::new(engine);
    let key = |n: u32| n.to_be_bytes().to_vec();
    let rows: Vec<Row> = (0..5000).map(|n| (key(n), Some(vec![1]))).collect();
    state.engine.write(rows.iter().map(|(k, v)| (k.as_slice(), v.as_deref()))).unwrap();
    state.show((0..4990).map(|n| (key(n), None)));
    let found = state.scan(b"", b"", 4).unwrap();
    assert_eq!(found, (4990..4994).map(|n| (key(n), vec![1])).collect::<Vec<_>>());
    assert_eq!(state.scan(b"", b"", 1000).unwrap().len(), 10);
}
