//! A disk that is cut off from its power: what of the recorded deeds it has kept.
//!
//! Certain is only what an ended fsync covers: of a file, the writes and the size that were recorded before the fsync
//! began; of a directory, its entries as they were then. `sync_file_range` makes nothing certain. Everything else may be
//! there or not, in any combination that a disk is known to show; [`Model`] names those that are played.
//!
//! Invariants: a deed is certain or waiting, never both; certain deeds are applied in the order in which they were done.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rand::Rng;
use rand::rngs::StdRng;

use super::record::{Deed, File, Record, Sync};

/// What becomes of the deeds that no sync covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Model {
    /// Nothing of them is there.
    None,
    /// Some of them are there, in order; the last one is torn within a sector of 512 octets.
    Torn,
    /// Each write is there or not, by coin, and so is each change of a directory.
    Writes,
    /// Each page of 4 KiB of each write is there or not, by coin, and so is each change of a directory.
    Pages,
    /// The octets are there, within the file sizes of the last sync.
    Sizes,
    /// The file sizes are there, and zeros where the octets should be.
    Zeros,
}

impl Model {
    pub const ALL: [Self; 6] = [Self::None, Self::Torn, Self::Writes, Self::Pages, Self::Sizes, Self::Zeros];

    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Torn => "torn",
            Self::Writes => "writes",
            Self::Pages => "pages",
            Self::Sizes => "sizes",
            Self::Zeros => "zeros",
        }
    }
}

const PAGE: u64 = 4096;
const SECTOR: u64 = 512;
const O_CREAT: i32 = 0o100;
const O_TRUNC: i32 = 0o1000;
/// The inode of the root, which was there before.
const ROOT: usize = 0;

#[derive(Clone)]
enum Change {
    Write { at: u64, octets: Range<usize> },
    Truncate(u64),
}

/// A change of directories.
#[derive(Clone)]
enum Move {
    Add { directory: usize, name: String, inode: usize },
    Remove { directory: usize, name: String },
    Rename { from: (usize, String), to: (usize, String), inode: usize },
}

impl Move {
    fn touches(&self, inode: usize) -> bool {
        match self {
            Self::Add { directory, .. } | Self::Remove { directory, .. } => *directory == inode,
            Self::Rename { from, to, .. } => from.0 == inode || to.0 == inode,
        }
    }
}

/// Which names lead where, for each directory.
type Names = HashMap<usize, BTreeMap<String, usize>>;

enum Inode {
    Directory,
    File { certain: Vec<u8>, waiting: Vec<(usize, Change)>, size: u64 },
}

pub struct Disk<'a> {
    octets: &'a [u8],
    root: PathBuf,
    inodes: Vec<Inode>,
    /// As the running program sees them.
    names: Names,
    certain: Names,
    waiting: Vec<(usize, Move)>,
    open: HashMap<File, usize>,
    syncs: HashMap<Sync, (usize, usize)>,
    now: usize,
}

/// The files of a disk after a cut.
#[derive(Default)]
pub struct Image {
    pub directories: Vec<PathBuf>,
    pub files: Vec<(PathBuf, Vec<u8>)>,
}

impl<'a> Disk<'a> {
    pub fn new(record: &'a Record, root: &Path) -> Self {
        let names = Names::from([(ROOT, BTreeMap::new())]);
        Self {
            octets: &record.octets,
            root: root.to_owned(),
            inodes: vec![Inode::Directory],
            certain: names.clone(),
            names,
            waiting: Vec::new(),
            open: HashMap::new(),
            syncs: HashMap::new(),
            now: 0,
        }
    }

    /// The next deed happens.
    pub fn apply(&mut self, deed: &Deed) {
        self.now += 1;
        match deed {
            Deed::Open { file, flags, path } => self.opened(*file, *flags, path),
            Deed::Write { file, at, octets } => {
                self.change(*file, Change::Write { at: *at, octets: octets.clone() }, |size| size.max(at + octets.len() as u64));
            }
            Deed::Truncate { file, length } => self.change(*file, Change::Truncate(*length), |_| *length),
            Deed::SyncBegins { file, sync } => {
                if let Some(inode) = self.open.get(file) {
                    self.syncs.insert(*sync, (*inode, self.now));
                }
            }
            Deed::SyncEnds { sync, good } => {
                if let Some((inode, began)) = self.syncs.remove(sync).filter(|_| *good) {
                    self.synced(inode, began);
                }
            }
            Deed::Rename { from, to } => {
                if let (Some(from), Some(to)) = (self.place(from), self.place(to))
                    && let Some(inode) = self.inode(&from)
                {
                    self.moved(Move::Rename { from, to, inode });
                }
            }
            Deed::Remove { path } => {
                if let Some((directory, name)) = self.place(path) {
                    self.moved(Move::Remove { directory, name });
                }
            }
            Deed::MakeDirectory { path } => {
                if let Some((directory, name)) = self.place(path) {
                    let inode = self.add(Inode::Directory);
                    self.names.insert(inode, BTreeMap::new());
                    self.certain.insert(inode, BTreeMap::new());
                    self.moved(Move::Add { directory, name, inode });
                }
            }
            Deed::Range { .. } | Deed::Mark(_) => {}
        }
    }

    fn opened(&mut self, file: File, flags: i32, path: &Path) {
        if path == self.root {
            self.open.insert(file, ROOT);
            return;
        }
        let Some(place) = self.place(path) else { return };
        let inode = match self.inode(&place) {
            Some(inode) => inode,
            None if flags & O_CREAT != 0 => {
                let inode = self.add(Inode::File { certain: Vec::new(), waiting: Vec::new(), size: 0 });
                self.moved(Move::Add { directory: place.0, name: place.1, inode });
                inode
            }
            None => return,
        };
        self.open.insert(file, inode);
        if flags & O_TRUNC != 0 && matches!(self.inodes[inode], Inode::File { size, .. } if size > 0) {
            self.change(file, Change::Truncate(0), |_| 0);
        }
    }

    fn add(&mut self, inode: Inode) -> usize {
        self.inodes.push(inode);
        self.inodes.len() - 1
    }

    fn change(&mut self, file: File, change: Change, new_size: impl Fn(u64) -> u64) {
        let Some(inode) = self.open.get(&file) else { return };
        if let Inode::File { waiting, size, .. } = &mut self.inodes[*inode] {
            waiting.push((self.now, change));
            *size = new_size(*size);
        }
    }

    fn moved(&mut self, step: Move) {
        follow(&mut self.names, &step);
        self.waiting.push((self.now, step));
    }

    fn synced(&mut self, inode: usize, began: usize) {
        if let Inode::File { certain, waiting, .. } = &mut self.inodes[inode] {
            let (covered, rest) = std::mem::take(waiting).into_iter().partition(|(when, _)| *when < began);
            *waiting = rest;
            for (_, change) in covered as Vec<(usize, Change)> {
                apply(certain, &change, self.octets);
            }
            return;
        }
        let (covered, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(when, step)| *when < began && step.touches(inode));
        self.waiting = rest;
        for (when, step) in covered {
            if let Move::Rename { from, .. } = &step {
                // The entry under the old name went with it.
                self.waiting.retain(|(earlier, add)| {
                    !(*earlier < when && matches!(add, Move::Add { directory, name, .. } if (*directory, name) == (from.0, &from.1)))
                });
            }
            follow(&mut self.certain, &step);
        }
    }

    /// Directory and name of a path below the root.
    fn place(&self, path: &Path) -> Option<(usize, String)> {
        let relative = path.strip_prefix(&self.root).ok()?;
        let mut parts: Vec<_> = relative.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
        let name = parts.pop()?;
        let mut directory = ROOT;
        for part in parts {
            directory = *self.names.get(&directory)?.get(&part)?;
        }
        Some((directory, name))
    }

    fn inode(&self, place: &(usize, String)) -> Option<usize> {
        self.names.get(&place.0)?.get(&place.1).copied()
    }

    /// What is on the disk if the power goes now.
    pub fn image(&self, model: Model, coin: &mut StdRng) -> Image {
        let mut names = self.certain.clone();
        let until = match model {
            Model::None => 0,
            Model::Torn => coin.random_range(0..=self.waiting.len()),
            _ => self.waiting.len(),
        };
        for (_, step) in &self.waiting[..until] {
            if !matches!(model, Model::Writes | Model::Pages) || coin.random() {
                follow(&mut names, step);
            }
        }
        let mut image = Image::default();
        self.collect(&names, ROOT, &PathBuf::new(), model, coin, &mut image);
        image
    }

    fn collect(&self, names: &Names, directory: usize, path: &Path, model: Model, coin: &mut StdRng, image: &mut Image) {
        for (name, inode) in names.get(&directory).into_iter().flatten() {
            let path = path.join(name);
            match &self.inodes[*inode] {
                Inode::Directory => {
                    image.directories.push(path.clone());
                    self.collect(names, *inode, &path, model, coin, image);
                }
                Inode::File { certain, waiting, size } => {
                    image.files.push((path, kept(certain, waiting, *size, self.octets, model, coin)));
                }
            }
        }
    }
}

fn follow(names: &mut Names, step: &Move) {
    match step {
        Move::Add { directory, name, inode } => {
            names.entry(*directory).or_default().insert(name.clone(), *inode);
        }
        Move::Remove { directory, name } => {
            names.entry(*directory).or_default().remove(name);
        }
        Move::Rename { from, to, inode } => {
            let old = names.entry(from.0).or_default();
            if old.get(&from.1) == Some(inode) {
                old.remove(&from.1);
            }
            names.entry(to.0).or_default().insert(to.1.clone(), *inode);
        }
    }
}

fn apply(file: &mut Vec<u8>, change: &Change, record: &[u8]) {
    match change {
        Change::Write { at, octets } => put(file, *at, &record[octets.clone()]),
        Change::Truncate(length) => file.resize(index(*length), 0),
    }
}

fn put(file: &mut Vec<u8>, at: u64, octets: &[u8]) {
    let (from, to) = (index(at), index(at) + octets.len());
    if file.len() < to {
        file.resize(to, 0);
    }
    file[from..to].copy_from_slice(octets);
}

fn index(octets: u64) -> usize {
    usize::try_from(octets).expect("files that fit in memory")
}

fn kept(certain: &[u8], waiting: &[(usize, Change)], size: u64, record: &[u8], model: Model, coin: &mut StdRng) -> Vec<u8> {
    let mut file = certain.to_vec();
    let torn = if model == Model::Torn { coin.random_range(0..=waiting.len()) } else { 0 };
    for (n, (_, change)) in waiting.iter().enumerate() {
        match (model, change) {
            (Model::None | Model::Zeros, _) => {}
            (Model::Torn, _) if n > torn => {}
            (Model::Torn, Change::Write { at, octets }) if n == torn => {
                let sectors = coin.random_range(0..=octets.len() as u64 / SECTOR);
                put(&mut file, *at, &record[octets.start..octets.start + index(sectors * SECTOR)]);
            }
            (Model::Torn | Model::Sizes, _) => apply(&mut file, change, record),
            (Model::Pages, Change::Write { at, octets }) => pages(&mut file, *at, &record[octets.clone()], coin),
            (Model::Writes | Model::Pages, _) => {
                if coin.random() {
                    apply(&mut file, change, record);
                }
            }
        }
    }
    match model {
        Model::Sizes => file.resize(certain.len(), 0),
        Model::Zeros => file.resize(index(size), 0),
        _ => {}
    }
    file
}

fn pages(file: &mut Vec<u8>, at: u64, octets: &[u8], coin: &mut StdRng) {
    let mut from = 0;
    while from < octets.len() {
        let to = octets.len().min(from + index(PAGE - (at + from as u64) % PAGE));
        if coin.random() {
            put(file, at + from as u64, &octets[from..to]);
        }
        from = to;
    }
}

impl Image {
    /// Writes it below `folder`, which is made anew.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder)?;
        for directory in &self.directories {
            std::fs::create_dir_all(folder.join(directory))?;
        }
        for (path, octets) in &self.files {
            std::fs::write(folder.join(path), octets)?;
        }
        Ok(())
    }
}
