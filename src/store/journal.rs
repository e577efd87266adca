//! The journal: what is committed and not yet in the database.
//!
//! To the database every commit costs three writes and three syncs, and each record a place in a page that is written
//! again and again, also when the record is gone a moment later. The journal takes a group of commits with one write and
//! one sync; what is left of them reaches the database later, many at a time and in the order of their keys
//! (`committer`). Two files in the database's directory take turns: while one is worked into the database, the other
//! grows.
//!
//! Invariants
//! - [`Journal::append`] returns after fdatasync of the file has returned: this is the commit instant.
//! - A file is written over only after all that it holds is in the database and flushed there. So the two files are always
//!   the last two generations, and working them in again, the older one first, changes nothing: what is done twice is done
//!   in the same order.
//! - A group counts when its checksum fits, which covers the generation, a random number of the generation's and its
//!   place in it: neither what an earlier generation has left behind nor what a sender has put into his event is ever taken for a group.
//! - The first group that does not fit is the end, since only the last one can have been cut off. When one follows that
//!   fits, it was no cut but damage: then it is said, the file is kept, and the others count.
//!
//! A file: a page with the head (magic, generation, random number, CRC-32), then groups (length, CRC-32, rows), then zeros.
//! Numbers are little-endian.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::durable;

/// A key, and its new value or `None`: it goes.
pub(super) type Row = (Vec<u8>, Option<Vec<u8>>);

/// The files of a journal in the directory of its database.
const NAMES: [&str; 2] = ["journal.0", "journal.1"];
const MAGIC: [u8; 16] = *b"cip-relay log 1\n";
/// Octets before the first group.
const PAGE: usize = 4096;
/// Octets of a group before its rows.
const FRONT: usize = 8;
/// By this much a file grows, in zeros, so that a sync seldom has a new size to write.
const GROWTH: u64 = 1 << 20;
/// The length that says: the key goes.
const GONE: u32 = u32::MAX;

/// What tells the groups of one turn of a file from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Generation {
    number: u64,
    random: u64,
}

pub(super) struct Journal {
    files: [File; 2],
    /// The one that grows.
    current: usize,
    generation: Generation,
    /// Groups in it.
    groups: u64,
    /// Where the next one goes; 0: the head is not written yet.
    end: u64,
    /// Octets of the current file.
    size: u64,
    /// A file that was made larger than this is cut when its turn comes.
    keep: u64,
}

impl Journal {
    /// Begins a journal in a database's directory, in which none is left to be worked in. Its files keep up to `keep`
    /// octets.
    pub fn begin(database: &Path, keep: u64) -> io::Result<Self> {
        let open = |name| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(database.join(name));
        let files = [open(NAMES[0])?, open(NAMES[1])?];
        for file in &files {
            file.sync_all()?;
        }
        durable::sync(database)?;
        let size = files[0].metadata()?.len();
        Ok(Self { files, current: 0, generation: Generation::new(1), groups: 0, end: 0, size, keep })
    }

    /// Octets in the file that grows.
    pub fn octets(&self) -> u64 {
        self.end
    }

    /// Writes a group. `Ok`: it survives a power cut.
    pub fn append<'a>(&mut self, rows: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> io::Result<()> {
        let mut octets = Vec::new();
        if self.end == 0 {
            octets.extend_from_slice(&self.generation.head());
        }
        let front = octets.len();
        octets.extend_from_slice(&[0; FRONT]);
        for (key, value) in rows {
            write_row(&mut octets, key, value)?;
        }
        let length = length(octets.len() - front - FRONT)?;
        let sum = self.generation.sum(self.groups, &octets[front + FRONT..]);
        octets[front..front + 4].copy_from_slice(&length.to_le_bytes());
        octets[front + 4..front + FRONT].copy_from_slice(&sum.to_le_bytes());
        let file = &self.files[self.current];
        write_at(file, &octets, self.end)?;
        let end = self.end + octets.len() as u64;
        if end > self.size {
            let size = (end + 1).next_multiple_of(GROWTH);
            write_at(file, &vec![0; usize::try_from(size - end).unwrap_or(0)], end)?;
            self.size = size;
        }
        file.sync_data()?;
        self.end = end;
        self.groups += 1;
        Ok(())
    }

    /// The other file grows from now on. All that it held is in the database and flushed there.
    pub fn turn(&mut self) -> io::Result<()> {
        self.current = 1 - self.current;
        self.generation = Generation::new(self.generation.number + 1);
        (self.groups, self.end) = (0, 0);
        let file = &self.files[self.current];
        self.size = file.metadata()?.len();
        if self.size > self.keep {
            file.set_len(self.keep)?;
            self.size = self.keep;
        }
        Ok(())
    }

    /// Empties the journal: all of it is in the database and flushed there.
    pub fn clear(&mut self) -> io::Result<()> {
        // The older one first, since the newer one alone may be worked in once more, and the older one alone may not. A
        // file whose turn has come and that holds no group yet is still what it was.
        let older = if self.end == 0 { self.current } else { 1 - self.current };
        for file in [&self.files[older], &self.files[1 - older]] {
            forget(file)?;
        }
        (self.generation, self.groups, self.end) = (Generation::new(1), 0, 0);
        Ok(())
    }
}

/// Gives every group that a journal in this directory holds to `take`, in their order, and empties the journal when
/// `last` has made sure that the whole database is on disk. Gives how many there were.
pub(super) fn recover(
    database: &Path,
    mut take: impl FnMut(Vec<Row>) -> Result<(), String>,
    last: impl FnOnce() -> Result<(), String>,
) -> Result<u64, String> {
    let words = |path: &Path, e: &io::Error| format!("{}: {e}", path.display());
    let mut found = Vec::new();
    for path in NAMES.map(|name| database.join(name)) {
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(words(&path, &e)),
        };
        if let Some(generation) = Generation::read(&file).map_err(|e| words(&path, &e))? {
            found.push((generation, file, path));
        }
    }
    found.sort_by_key(|(generation, ..)| generation.number);
    if let [(older, ..), (newer, ..)] = found.as_slice()
        && older.number + 1 != newer.number
    {
        // Written over would have been this one: it is older than what is in the database.
        found.remove(0);
    }
    let mut count = 0;
    for (generation, file, path) in &found {
        let mut damaged = 0;
        let mut reader = Reader::new(*generation, file).map_err(|e| words(path, &e))?;
        while let Some(group) = reader.next().map_err(|e| words(path, &e))? {
            match group {
                Group::Whole(rows) => take(rows)?,
                Group::Damaged => damaged += 1,
            }
            count += 1;
        }
        if damaged > 0 {
            let kept = keep(path).map_err(|e| words(path, &e))?;
            tracing::error!(journal = %path.display(), kept = %kept.display(), damaged, "commits in the journal are damaged and left out; the file is kept");
        }
    }
    if !found.is_empty() {
        last()?;
    }
    for (_, file, path) in &found {
        forget(file).map_err(|e| words(path, &e))?;
    }
    Ok(count)
}

impl Generation {
    fn new(number: u64) -> Self {
        Self { number, random: rand::random() }
    }

    fn head(self) -> Vec<u8> {
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&self.number.to_le_bytes());
        head.extend_from_slice(&self.random.to_le_bytes());
        head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
        head.resize(PAGE, 0);
        head
    }

    /// `None`: the file is empty, or its head was being written.
    fn read(file: &File) -> io::Result<Option<Self>> {
        let mut head = [0; 36];
        if file.metadata()?.len() < PAGE as u64 {
            return Ok(None);
        }
        read_at(file, &mut head, 0)?;
        let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
        let sum = u32::from_le_bytes(head[32..].try_into().unwrap_or_default());
        let whole = head[..16] == MAGIC && crc32fast::hash(&head[..32]) == sum;
        Ok(whole.then(|| Self { number: number(16), random: number(24) }))
    }

    fn sum(self, place: u64, rows: &[u8]) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        for number in [self.number, self.random, place, rows.len() as u64] {
            sum.update(&number.to_le_bytes());
        }
        sum.update(rows);
        sum.finalize()
    }
}

enum Group {
    Whole(Vec<Row>),
    Damaged,
}

struct Reader<'a> {
    generation: Generation,
    file: &'a File,
    size: u64,
    at: u64,
    place: u64,
}

impl<'a> Reader<'a> {
    fn new(generation: Generation, file: &'a File) -> io::Result<Self> {
        Ok(Self { generation, file, size: file.metadata()?.len(), at: PAGE as u64, place: 0 })
    }

    fn next(&mut self) -> io::Result<Option<Group>> {
        let Some((rows, whole)) = self.group(self.at, self.place)? else { return Ok(None) };
        let behind = self.at + (FRONT + rows.len()) as u64;
        let group = match read_rows(&rows).filter(|_| whole) {
            Some(rows) => Group::Whole(rows),
            None if self.group(behind, self.place + 1)?.is_some_and(|(_, whole)| whole) => Group::Damaged,
            None => return Ok(None),
        };
        (self.at, self.place) = (behind, self.place + 1);
        Ok(Some(group))
    }

    /// The octets that may be a group's rows, and whether they are.
    fn group(&self, at: u64, place: u64) -> io::Result<Option<(Vec<u8>, bool)>> {
        let Some(room) = self.size.checked_sub(at + FRONT as u64) else { return Ok(None) };
        let mut front = [0; FRONT];
        read_at(self.file, &mut front, at)?;
        let [a, b, c, d, sum @ ..] = front;
        let length = u32::from_le_bytes([a, b, c, d]);
        if length == 0 || u64::from(length) > room {
            return Ok(None);
        }
        let mut rows = vec![0; length as usize];
        read_at(self.file, &mut rows, at + FRONT as u64)?;
        let whole = self.generation.sum(place, &rows) == u32::from_le_bytes(sum);
        Ok(Some((rows, whole)))
    }
}

fn length(octets: usize) -> io::Result<u32> {
    u32::try_from(octets).ok().filter(|n| *n != GONE).ok_or_else(|| io::Error::other("more than 4 GiB in one commit"))
}

fn write_row(octets: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
    octets.extend_from_slice(&length(key.len())?.to_le_bytes());
    octets.extend_from_slice(&value.map_or(Ok(GONE), |value| length(value.len()))?.to_le_bytes());
    octets.extend_from_slice(key);
    octets.extend_from_slice(value.unwrap_or_default());
    Ok(())
}

fn read_rows(mut octets: &[u8]) -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    while !octets.is_empty() {
        let (key, rest) = octets.split_first_chunk()?;
        let (value, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key) as usize)?;
        let value = u32::from_le_bytes(*value);
        let (value, rest) =
            if value == GONE { (None, rest) } else { rest.split_at_checked(value as usize).map(|(v, rest)| (Some(v), rest))? };
        rows.push((key.to_vec(), value.map(<[u8]>::to_vec)));
        octets = rest;
    }
    Some(rows)
}

/// Makes the head of a file one that is none.
fn forget(file: &File) -> io::Result<()> {
    if file.metadata()?.len() > 0 {
        write_at(file, &[0; PAGE], 0)?;
        file.sync_data()?;
    }
    Ok(())
}

/// A copy for whoever wants to look.
fn keep(path: &Path) -> io::Result<PathBuf> {
    let kept = (1..u32::MAX).map(|n| path.with_extension(format!("damaged-{n}"))).find(|kept| !kept.exists());
    let kept = kept.unwrap_or_else(|| path.with_extension("damaged"));
    std::fs::copy(path, &kept)?;
    Ok(kept)
}

#[cfg(unix)]
fn write_at(file: &File, octets: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, octets, at)
}

#[cfg(unix)]
fn read_at(file: &File, octets: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, octets, at)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, octets: &[u8], at: u64) -> io::Result<()> {
    use io::{Seek, Write};
    file.seek(io::SeekFrom::Start(at))?;
    file.write_all(octets)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, octets: &mut [u8], at: u64) -> io::Result<()> {
    use io::{Read, Seek};
    file.seek(io::SeekFrom::Start(at))?;
    file.read_exact(octets)
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
