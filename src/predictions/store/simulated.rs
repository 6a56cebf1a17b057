//! A disk in memory that fails, stalls, and loses its power.
//!
//! What was written is there for whoever reads it at once. What was not
//! synced may be lost with the power: each write, truncation and name alone,
//! and a write in part. A sync that fails loses what it was to keep, and the
//! next one says nothing of it, as Linux does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::disk::{Disk, DiskFile, Lock};
use super::page::{CELLS, Cells, Page};

pub(super) const SECTOR: usize = 512;

/// A generator of numbers (splitmix64), so that a seed makes a schedule.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

#[derive(Clone)]
pub(super) struct Simulated(Arc<Mutex<State>>);

struct State {
    random: Random,
    now: Instant,
    folders: BTreeSet<PathBuf>,
    files: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    /// Names that survive a loss of power, and what happened to names since.
    kept_names: BTreeMap<PathBuf, usize>,
    renamed: Vec<Naming>,
    pages: BTreeMap<PathBuf, Arc<Cells>>,
    /// Pages as they were when the process ended.
    last_pages: Option<BTreeMap<PathBuf, Vec<u64>>>,
    faults: Faults,
    /// So many changes from now the process ends.
    ends_after: Option<u64>,
    ended: bool,
}

/// What the disk does wrong, as error numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) write: Option<i32>,
    pub(super) sync: Option<i32>,
    /// Of whatever changes names.
    pub(super) names: Option<i32>,
    /// How long a write takes.
    pub(super) slow: Duration,
    /// Syncs say that all is well and do nothing.
    pub(super) no_sync: bool,
}

#[derive(Clone, Default)]
struct Inode {
    current: Vec<u8>,
    kept: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Clone)]
enum Naming {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, written) => {
            let start = *offset as usize;
            let end = start + written.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(written);
        }
        Change::Truncate(length) => bytes.resize(*length as usize, 0),
    }
}

fn rename(names: &mut BTreeMap<PathBuf, usize>, naming: &Naming) {
    match naming {
        Naming::Create(path, file) => {
            names.insert(path.clone(), *file);
        }
        Naming::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Naming::Remove(path) => {
            names.remove(path);
        }
    }
}

fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl State {
    /// Counts a change. The process may end with it.
    fn change(&mut self, fault: Option<i32>) -> io::Result<()> {
        if self.ended {
            return Err(error(5));
        }
        if let Some(left) = &mut self.ends_after {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.end_process();
                return Err(error(5));
            }
        }
        fault.map_or(Ok(()), |fault| Err(error(fault)))
    }

    fn end_process(&mut self) {
        self.ended = true;
        let values = |cells: &Arc<Cells>| cells.iter().map(|cell| cell.load(Relaxed)).collect();
        let pages = self.pages.iter();
        self.last_pages = Some(pages.map(|(path, cells)| (path.clone(), values(cells))).collect());
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| error(2))
    }

    fn name(&mut self, naming: Naming) {
        rename(&mut self.names, &naming);
        self.renamed.push(naming);
    }
}

impl Simulated {
    pub(super) fn new(seed: u64) -> Simulated {
        Simulated(Arc::new(Mutex::new(State {
            random: Random(seed),
            now: Instant::now(),
            folders: BTreeSet::new(),
            files: Vec::new(),
            names: BTreeMap::new(),
            kept_names: BTreeMap::new(),
            renamed: Vec::new(),
            pages: BTreeMap::new(),
            last_pages: None,
            faults: Faults::default(),
            ends_after: None,
            ended: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    pub(super) fn faults(&self) -> Faults {
        self.state().faults
    }

    pub(super) fn advance(&self, by: Duration) {
        self.state().now += by;
    }

    /// Ends the process with the change after so many others: a write is done in part.
    pub(super) fn end_after(&self, changes: u64) {
        self.state().ends_after = Some(changes + 1);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// Begins another process on the same machine, after `kill -9`.
    pub(super) fn restart(&self) {
        let mut state = self.state();
        if !state.ended {
            state.end_process();
        }
        let pages = state.last_pages.take().unwrap_or_default();
        state.pages = pages
            .into_iter()
            .map(|(path, values)| {
                let cells: Arc<Cells> =
                    Arc::new(std::array::from_fn(|at| AtomicU64::new(values[at])));
                (path, cells)
            })
            .collect();
        (state.ended, state.ends_after) = (false, None);
    }

    /// Takes the power away and gives it back.
    pub(super) fn lose_power(&self) {
        self.restart();
        let mut guard = self.state();
        let state = &mut *guard;
        let random = &mut state.random;
        for file in &mut state.files {
            for change in std::mem::take(&mut file.unsynced) {
                tear(&mut file.kept, change, random);
            }
            file.current.clone_from(&file.kept);
        }
        for naming in std::mem::take(&mut state.renamed) {
            if random.below(2) == 0 {
                rename(&mut state.kept_names, &naming);
            }
        }
        state.names.clone_from(&state.kept_names);
        for cells in state.pages.values_mut() {
            if random.below(2) == 0 {
                *cells = Arc::new(std::array::from_fn(|_| AtomicU64::new(0)));
            }
        }
    }

    /// Another disk with the same contents.
    pub(super) fn copy(&self) -> Simulated {
        let state = self.state();
        let copy = Simulated::new(1);
        let mut other = copy.state();
        other.folders.clone_from(&state.folders);
        other.files.clone_from(&state.files);
        other.names.clone_from(&state.names);
        other.kept_names.clone_from(&state.kept_names);
        let cells = |cells: &Arc<Cells>| {
            Arc::new(std::array::from_fn(|at| AtomicU64::new(cells[at].load(Relaxed))))
        };
        other.pages = state.pages.iter().map(|(path, page)| (path.clone(), cells(page))).collect();
        drop(other);
        copy
    }

    /// Changes a file, on the disk.
    pub(super) fn edit(&self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let file = state.file(path).expect("a file");
        edit(&mut state.files[file].current);
        state.files[file].kept = state.files[file].current.clone();
        state.files[file].unsynced.clear();
    }

    pub(super) fn lose_page(&self, path: &Path) {
        self.state().pages.remove(path);
    }
}

/// Keeps a change, loses it, or keeps some of it: its beginning, or some sectors.
fn tear(kept: &mut Vec<u8>, change: Change, random: &mut Random) {
    match (random.below(4), change) {
        (0, _) => {}
        (1, Change::Write(offset, mut bytes)) => {
            bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
            apply(kept, &Change::Write(offset, bytes));
        }
        (2, Change::Write(offset, bytes)) => {
            let (mut at, end) = (offset as usize, offset as usize + bytes.len());
            while at < end {
                let next = (at / SECTOR + 1) * SECTOR;
                if random.below(2) == 0 {
                    let part = at - offset as usize..next.min(end) - offset as usize;
                    apply(kept, &Change::Write(at as u64, bytes[part].to_vec()));
                }
                at = next;
            }
        }
        (_, change) => apply(kept, &change),
    }
}

impl Disk for Simulated {
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        self.state().folders.extend(folder.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<Lock>> {
        Ok(Some(Box::new(())))
    }

    fn create(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let fault = state.faults.names;
        state.change(fault)?;
        if state.names.contains_key(path) {
            return Err(error(17));
        }
        let change = Change::Truncate(bytes);
        let mut inode = Inode::default();
        apply(&mut inode.current, &change);
        inode.unsynced.push(change);
        state.files.push(inode);
        let file = state.files.len() - 1;
        state.name(Naming::Create(path.to_owned(), file));
        Ok(Arc::new(Handle { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.state().file(path)?;
        Ok(Arc::new(Handle { disk: self.clone(), file }))
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let state = self.state();
        if let Some(cells) = state.pages.get(path) {
            return Ok(cells.iter().flat_map(|cell| cell.load(Relaxed).to_ne_bytes()).collect());
        }
        let bytes = &state.files[state.file(path)?].current;
        Ok(bytes[..bytes.len().min(most as usize)].to_vec())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<(String, u64)>> {
        let state = self.state();
        let paths = state.names.iter().map(|(path, file)| (path, state.files[*file].current.len()));
        let paths = paths.chain(state.folders.iter().map(|path| (path, 0)));
        let below = paths.filter(|(path, _)| path.parent() == Some(folder));
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(below.filter_map(|(path, bytes)| Some((name(path)?, bytes as u64))).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let fault = state.faults.names;
        state.change(fault)?;
        state.file(from)?;
        if state.names.contains_key(to) {
            return Err(error(17));
        }
        state.name(Naming::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let fault = state.faults.names;
        state.change(fault)?;
        state.file(path)?;
        state.name(Naming::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut guard = self.state();
        let fault = guard.faults.sync;
        guard.change(fault)?;
        if guard.faults.no_sync {
            return Ok(());
        }
        let state = &mut *guard;
        let is_here = |path: &Path| path.parent() == Some(folder);
        let (here, elsewhere) = std::mem::take(&mut state.renamed).into_iter().partition(
            |naming: &Naming| match naming {
                Naming::Create(path, _) | Naming::Rename(path, _) | Naming::Remove(path) => {
                    is_here(path)
                }
            },
        );
        let here: Vec<Naming> = here;
        here.iter().for_each(|naming| rename(&mut state.kept_names, naming));
        state.renamed = elsewhere;
        Ok(())
    }

    fn page(&self, path: &Path) -> io::Result<Page> {
        let mut state = self.state();
        let zeros = || Arc::new(std::array::from_fn::<_, CELLS, _>(|_| AtomicU64::new(0)));
        let cells = state.pages.entry(path.to_owned()).or_insert_with(zeros);
        Ok(Page::Held(Arc::clone(cells)))
    }

    fn now(&self) -> Instant {
        self.state().now
    }

    fn time(&self) -> i64 {
        1_700_000_000_000_000
    }
}

struct Handle {
    disk: Simulated,
    file: usize,
}

impl DiskFile for Handle {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut guard = self.disk.state();
        let state = &mut *guard;
        let was_alive = !state.ended;
        let slow = state.faults.slow;
        state.now += slow;
        let fault = state.faults.write;
        let result = state.change(fault);
        let written = match &result {
            Ok(()) => bytes.len(),
            // The process ended in it, or there was no room for all of it.
            Err(_) if was_alive => state.random.below(bytes.len() as u64 + 1) as usize,
            Err(_) => return result,
        };
        let change = Change::Write(offset, bytes[..written].to_vec());
        let file = &mut state.files[self.file];
        apply(&mut file.current, &change);
        file.unsynced.push(change);
        result
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let fault = state.faults.names;
        state.change(fault)?;
        let change = Change::Truncate(length);
        let file = &mut state.files[self.file];
        apply(&mut file.current, &change);
        file.unsynced.push(change);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut guard = self.disk.state();
        let state = &mut *guard;
        let fault = state.faults.sync;
        let result = state.change(fault);
        if state.faults.no_sync || state.ended {
            return result;
        }
        let file = &mut state.files[self.file];
        for change in std::mem::take(&mut file.unsynced) {
            if result.is_ok() {
                apply(&mut file.kept, &change);
            }
        }
        result
    }
}
