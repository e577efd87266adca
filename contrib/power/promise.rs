//! What the program was told at a moment: which operations had begun, which had been acknowledged, and what must
//! therefore be found.
//!
//! An operation gives one or more objects (entries, records of the ledger) a new version; 0 is "removed". Versions are
//! numbers of operations and never come twice. What is acknowledged must be there; what has begun may be there, but then
//! all of it.

use std::collections::BTreeMap;

pub type Version = u32;

/// Objects and their versions, as text in a mark and as found.
pub type Objects = BTreeMap<String, Version>;

#[derive(Clone, Default)]
pub struct Promise {
    acknowledged: Objects,
    /// Operations of which nobody knows whether they were carried out.
    open: BTreeMap<Version, Objects>,
    pub operations: usize,
}

/// What differs from the promise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Broken {
    /// Objects whose acknowledged version is not there: gone, older, or back after their removal.
    pub lost: usize,
    /// Operations of which a part is there.
    pub halves: usize,
}

/// `begin OPERATION OBJECT=VERSION …`
pub fn begin(operation: Version, objects: &Objects) -> String {
    let objects: String = objects.iter().map(|(name, version)| format!(" {name}={version}")).collect();
    format!("begin {operation}{objects}\n")
}

/// `done OPERATION`
pub fn done(operation: Version) -> String {
    format!("done {operation}\n")
}

impl Promise {
    /// Learns from a mark, which may hold several lines.
    pub fn learn(&mut self, mark: &str) -> Result<(), String> {
        for line in mark.lines() {
            let unknown = || format!("not a mark: {line}");
            let mut words = line.split(' ');
            let verb = words.next().ok_or_else(unknown)?;
            let operation: Version = words.next().and_then(|n| n.parse().ok()).ok_or_else(unknown)?;
            match verb {
                "begin" => {
                    let object = |word: &str| word.split_once('=').and_then(|(name, v)| Some((name.to_owned(), v.parse().ok()?)));
                    let objects = words.map(object).collect::<Option<_>>().ok_or_else(unknown)?;
                    self.open.insert(operation, objects);
                }
                "done" => {
                    let objects = self.open.remove(&operation).ok_or_else(unknown)?;
                    // What was in doubt about these objects is settled: the operation read them before it wrote.
                    for other in self.open.values_mut() {
                        other.retain(|name, _| !objects.contains_key(name));
                    }
                    self.acknowledged.extend(objects);
                    self.operations += 1;
                }
                _ => return Err(unknown()),
            }
        }
        Ok(())
    }

    pub fn compare(&self, found: &Objects) -> Broken {
        let mut broken = Broken::default();
        let version = |objects: &Objects, name: &String| objects.get(name).copied().unwrap_or(0);
        let open = |name: &String| -> Vec<Version> { self.open.values().filter_map(|objects| objects.get(name).copied()).collect() };
        for name in found.keys().chain(self.acknowledged.keys().filter(|name| !found.contains_key(*name))) {
            let here = version(found, name);
            if here != version(&self.acknowledged, name) && !open(name).contains(&here) {
                broken.lost += 1;
            }
        }
        for objects in self.open.values() {
            let there = objects.iter().filter(|(name, v)| version(found, name) == **v).count();
            // An object that another operation in doubt also touches says nothing.
            let clear = objects.keys().all(|name| open(name).len() == 1);
            if clear && there != 0 && there != objects.len() && !objects.iter().all(|(name, v)| *v == version(&self.acknowledged, name)) {
                broken.halves += 1;
            }
        }
        broken
    }
}
