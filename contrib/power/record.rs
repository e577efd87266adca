//! The record that `shim.c` writes: what a program did to its files, in order.

use std::path::{Path, PathBuf};

/// One thing that was done. Files are named by the number of their opening, which one process gives out once.
pub enum Deed {
    Open {
        file: File,
        flags: i32,
        path: PathBuf,
    },
    /// Where in the record the octets lie.
    Write {
        file: File,
        at: u64,
        octets: std::ops::Range<usize>,
    },
    Truncate {
        file: File,
        length: u64,
    },
    SyncBegins {
        file: File,
        sync: Sync,
    },
    SyncEnds {
        sync: Sync,
        good: bool,
    },
    /// `sync_file_range`: whether it was carried out. Makes nothing durable.
    Range {
        done: bool,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    MakeDirectory {
        path: PathBuf,
    },
    /// What the program wrote to standard output.
    Mark(String),
}

/// Process and number.
pub type File = (u32, u64);
pub type Sync = (u32, u64);

pub struct Record {
    pub octets: Vec<u8>,
    pub deeds: Vec<Deed>,
}

const HEAD: usize = 40;

impl Record {
    /// Reads the record; fails with words when the program did something that cannot be replayed.
    pub fn read(path: &Path) -> Result<Self, String> {
        let octets = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut deeds = Vec::new();
        let mut at = 0;
        while at < octets.len() {
            let head = octets.get(at..at + HEAD).ok_or("the record is cut off")?;
            let short = |i: usize| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
            let long = |i: usize| u64::from(short(i)) | u64::from(short(i + 4)) << 32;
            let (pid, first, second) = (short(4), short(8) as usize, short(12) as usize);
            let (file, a) = ((pid, long(16)), long(24));
            let part = |from: usize, n: usize| octets.get(from..from + n).ok_or("the record is cut off");
            let text = |from: usize, n: usize| part(from, n).map(|o| String::from_utf8_lossy(o).into_owned());
            let data = at + HEAD;
            deeds.push(match head[0] {
                b'O' => Deed::Open { file, flags: i32::try_from(a).map_err(|e| e.to_string())?, path: text(data, first)?.into() },
                b'W' => part(data, first).map(|_| Deed::Write { file, at: a, octets: data..data + first })?,
                b'T' => Deed::Truncate { file, length: a },
                b'S' => Deed::SyncBegins { file, sync: (pid, a) },
                kind @ (b's' | b'f') => Deed::SyncEnds { sync: (pid, a), good: kind == b's' },
                b'r' => Deed::Range { done: a == 0 },
                b'N' => Deed::Rename { from: text(data, first)?.into(), to: text(data + first, second)?.into() },
                b'U' => Deed::Remove { path: text(data, first)?.into() },
                b'D' => Deed::MakeDirectory { path: text(data, first)?.into() },
                b'M' => Deed::Mark(text(data, first)?),
                b'X' => return Err(format!("the program uses {}, which shim.c does not record", text(data, first)?)),
                other => return Err(format!("an unknown record {other}")),
            });
            at = data + first + second;
        }
        Ok(Self { octets, deeds })
    }
}
