//! Keeps the archive of one log's folder, step by step. One process at a time:
//! whoever holds `archive.lock`.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::books::Books;
use super::commit::{self, Pass};
use super::compact;
use super::convert::{self, Converted};
use super::deletion::{self, Deleted, Deletions, Note};
use super::erase;
use super::error::ArchiveError;
use super::partition;
use super::reserve;
use super::retention::{self, Keep};
use super::segment::{self, Sealed, Segment};
use super::ship;
use crate::predictions::account::{ChangeCause, Entry, FileChange, SegmentAccount, joined};
use crate::predictions::frame::Cause;
use crate::predictions::layout;
use crate::predictions::schema::Schemas;
use crate::telemetry::LogMetrics;

/// Bytes of segments that are converted together.
const PASS_BYTES: u64 = 512 << 20;
const HOUR: Duration = Duration::from_secs(3600);
/// A segment that could not be read is tried again after this long.
const ASIDE: Duration = Duration::from_secs(60);

pub struct Keeper {
    root: PathBuf,
    schemas: Arc<Schemas>,
    metrics: Arc<LogMetrics>,
    books: Books,
    deletions: Deletions,
    /// Bytes of `deleted.jsonl` when it was read.
    deletions_read: u64,
    /// Segments that the archive cannot take, and when they were tried. As many
    /// as there are segments at most.
    aside: HashMap<PathBuf, Instant>,
    /// Whether a step ended early, so that the disk may be ahead of `books`.
    is_behind: bool,
    lock: File,
}

impl Drop for Keeper {
    /// Gives the folder back now, even where a program that is just being
    /// started has inherited the file and has not closed it yet.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl Keeper {
    /// Takes the folder over, and finishes what an earlier process began.
    ///
    /// # Errors
    /// [`ArchiveError::InUse`] where another process keeps it; or where the disk refuses.
    pub fn open(
        root: &Path,
        schemas: Arc<Schemas>,
        metrics: Arc<LogMetrics>,
    ) -> Result<Keeper, ArchiveError> {
        std::fs::create_dir_all(root).map_err(ArchiveError::io(root))?;
        let path = layout::archive_lock(root);
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        let lock = options.open(&path).map_err(ArchiveError::io(&path))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(ArchiveError::InUse(root.to_owned())),
            Err(TryLockError::Error(error)) => return Err(ArchiveError::io(&path)(error)),
            Ok(()) => {}
        }
        let mut keeper = Keeper {
            root: root.to_owned(),
            schemas,
            metrics,
            books: Books::default(),
            deletions: Deletions::default(),
            deletions_read: 0,
            aside: HashMap::new(),
            is_behind: true,
            lock,
        };
        keeper.catch_up()?;
        // Labels of requests that were left out just before an earlier process
        // ended. A deletion that is not done takes them with it.
        if !keeper.deletions.is_empty() && keeper.deletions.open().is_empty() {
            keeper.is_behind = true;
            keeper.erase(true)?;
            keeper.is_behind = false;
        }
        Ok(keeper)
    }

    pub fn books(&self) -> &Books {
        &self.books
    }

    /// Makes memory agree with the disk again, after a step that ended early.
    fn catch_up(&mut self) -> Result<(), ArchiveError> {
        if self.is_behind {
            commit::recover(&self.root)?;
            self.books = Books::read(&self.root)?;
            self.read_deletions()?;
            self.is_behind = false;
        }
        Ok(())
    }

    fn read_deletions(&mut self) -> Result<(), ArchiveError> {
        let bytes = std::fs::metadata(layout::deleted(&self.root)).map_or(0, |file| file.len());
        self.deletions = Deletions::read(&self.root)?;
        self.deletions_read = bytes;
        Ok(())
    }

    /// Sealed segments that can be converted: those that are kept aside only
    /// now and then, each on its own.
    ///
    /// # Errors
    /// Where a folder cannot be read.
    pub fn waiting(&mut self) -> Result<Vec<Sealed>, ArchiveError> {
        let sealed = segment::sealed(&self.root)?;
        self.aside.retain(|path, _| sealed.iter().any(|segment| segment.path == *path));
        let oldest = sealed.iter().filter_map(|segment| segment.created).min();
        let lag = oldest.map_or(0, |oldest| super::now_us().saturating_sub(oldest));
        let lag = Duration::from_micros(u64::try_from(lag).unwrap_or(0));
        self.metrics.set_lag("archive", lag);
        let (aside, mut waiting): (Vec<_>, Vec<_>) =
            sealed.into_iter().partition(|segment| self.aside.contains_key(&segment.path));
        if waiting.is_empty() {
            let is_due = |segment: &Sealed| {
                self.aside.get(&segment.path).is_some_and(|tried| tried.elapsed() >= ASIDE)
            };
            waiting.extend(aside.into_iter().find(is_due));
        }
        Ok(waiting)
    }

    /// Converts the first of the segments, and removes them: here from the
    /// list, too.
    ///
    /// # Errors
    /// Where the disk refuses; nothing is lost, and the next call goes on.
    pub fn convert(
        &mut self,
        waiting: &mut Vec<Sealed>,
        stop: &AtomicBool,
    ) -> Result<(), ArchiveError> {
        self.catch_up()?;
        self.is_behind = true;
        // A deletion that was asked for after these were written concerns them.
        self.read_deletions()?;
        let mut bytes = 0;
        let within = |segment: &&Sealed| {
            bytes += segment.bytes;
            bytes <= PASS_BYTES
        };
        let count = waiting.iter().take_while(within).count().max(1).min(waiting.len());
        let mut segments: Vec<Sealed> = waiting.drain(..count).collect();
        while !segments.is_empty() {
            let made =
                convert::convert(&self.root, &self.schemas, &self.deletions, &segments, stop);
            match made {
                Err(error @ (ArchiveError::Schema { .. } | ArchiveError::Header { .. })) => {
                    commit::recover(&self.root)?;
                    self.put_aside(&mut segments, &error);
                }
                made => {
                    self.commit_converted(&segments, made?)?;
                    break;
                }
            }
        }
        self.is_behind = false;
        Ok(())
    }

    /// Goes on without a segment that the archive cannot take.
    fn put_aside(&mut self, segments: &mut Vec<Sealed>, error: &ArchiveError) {
        let (ArchiveError::Schema { segment, .. } | ArchiveError::Header { segment }) = error
        else {
            return;
        };
        segments.retain(|sealed| sealed.path != *segment);
        if self.aside.insert(segment.clone(), Instant::now()).is_none() {
            self.metrics.failed("archive", error.reason());
            tracing::warn!(%error, "a segment of the prediction log is kept aside");
        }
    }

    fn commit_converted(
        &mut self,
        segments: &[Sealed],
        mut converted: Converted,
    ) -> Result<(), ArchiveError> {
        let records = converted.accounts.iter().map(|account| account.records).sum();
        let renames = converted.files.iter().map(|file| file.path.clone());
        let forgotten = self.deletions.forget(&converted.forgotten);
        let erases = forgotten.is_some();
        let pass = Pass {
            at: self.books.length,
            lines: converted.accounts.drain(..).map(Entry::Segment).collect(),
            renames: renames.collect(),
            notes: forgotten.into_iter().collect(),
            removals: segments.iter().map(|segment| self.below(&segment.path)).collect(),
        };
        self.commit(&pass)?;
        self.metrics.archived(records);
        if converted.damage > 0 {
            self.metrics.damaged(converted.damage);
        }
        if converted.damaged > 0 {
            self.metrics.gap(Cause::Damaged.label(), converted.damaged);
        }
        if converted.mismatched > 0 {
            self.metrics.failed("archive", "tensor");
        }
        if erases {
            // Their labels may have been archived before.
            self.erase(true)?;
        }
        Ok(())
    }

    fn commit(&mut self, pass: &Pass) -> Result<(), ArchiveError> {
        let end = pass.commit(&self.root)?;
        let told = end + self.books.ahead;
        for entry in &pass.lines {
            self.books.take(entry, told);
        }
        self.books.length = end;
        self.metrics.set_bytes("parquet", self.books.bytes());
        Ok(())
    }

    /// A path below the log's folder, as lines name it.
    fn below(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
    }

    /// Does the deletions that were asked for. Says whether there were any.
    ///
    /// # Errors
    /// Where the disk refuses; the next call goes on.
    pub fn forget(&mut self) -> Result<bool, ArchiveError> {
        let bytes = std::fs::metadata(layout::deleted(&self.root)).map_or(0, |file| file.len());
        if bytes == self.deletions_read && self.deletions.open().is_empty() {
            return Ok(false);
        }
        self.catch_up()?;
        self.read_deletions()?;
        let open = self.deletions.open();
        if open.is_empty() {
            return Ok(false);
        }
        self.is_behind = true;
        let Deleted { rows, labels } = self.erase(false)?;
        // Asked for together, done together: counted once.
        let ids = open.into_iter().enumerate().map(|(at, ask)| match at {
            0 => Note::Done { id: ask.id, rows, labels },
            _ => Note::Done { id: ask.id, rows: 0, labels: 0 },
        });
        deletion::append(&self.root, &ids.collect::<Vec<_>>())?;
        self.read_deletions()?;
        self.is_behind = false;
        Ok(true)
    }

    /// What a deletion took out of the archive, once it is done.
    pub fn done(&self, id: &str) -> Option<Deleted> {
        self.deletions.done(id)
    }

    /// Takes rows that are to be forgotten out of the files, those of
    /// predictions before those of labels.
    fn erase(&mut self, only_labels: bool) -> Result<Deleted, ArchiveError> {
        let mut deleted = Deleted::default();
        let mut paths: Vec<String> = self.books.files.keys().cloned().collect();
        paths.sort_by_key(|path| partition::is_label(path));
        for path in paths {
            let is_label = partition::is_label(&path);
            if only_labels && !is_label {
                continue;
            }
            let Some(erased) = erase::erase(&self.root, &path, &self.deletions)? else { continue };
            let now = erased.left;
            let mut pass = Pass { at: self.books.length, ..Pass::default() };
            pass.notes.extend(self.deletions.forget(&erased.requests));
            match &now {
                Some(_) => pass.renames.push(path.clone()),
                None => pass.removals.push(path.clone()),
            }
            let rows = self.books.files.get(&path).map_or(0, |file| file.rows);
            let cause = ChangeCause::Deleted;
            pass.lines.push(Entry::File(FileChange { path, rows, cause, now }));
            self.commit(&pass)?;
            let count = if is_label { &mut deleted.labels } else { &mut deleted.rows };
            *count += erased.rows;
        }
        Ok(deleted)
    }

    /// Writes `archive.jsonl` and `deleted.jsonl` anew where most of them is
    /// about what is gone, once the object store has all that is told; `shipped`
    /// as in [`Keeper::retain`].
    ///
    /// # Errors
    /// Where the disk refuses; the next call goes on.
    pub fn compact(
        &mut self,
        now: i64,
        keep: &Keep,
        shipped: Option<u64>,
    ) -> Result<(), ArchiveError> {
        self.catch_up()?;
        let before = self.nothing_comes_from_before(now, keep)?;
        let forgets = before.filter(|before| self.deletions.is_due(*before));
        let compacts = compact::is_due(&self.books);
        if forgets.is_none() && !compacts {
            return Ok(());
        }
        // A store that is not shipped to now has a cursor too, and may be again.
        let shipped = match shipped {
            None => ship::cursor(&self.root)?,
            shipped => shipped,
        };
        if shipped.is_some_and(|shipped| shipped < self.books.length + self.books.ahead) {
            return Ok(());
        }
        self.is_behind = true;
        if let Some(before) = forgets {
            deletion::compact(&self.root, before)?;
        }
        if compacts {
            compact::compact(&self.root)?;
        }
        self.catch_up()
    }

    /// The time from before which nothing is archived any more, and nothing
    /// waits to be: what would be, goes for its age.
    fn nothing_comes_from_before(
        &self,
        now: i64,
        keep: &Keep,
    ) -> Result<Option<i64>, ArchiveError> {
        let Some(age) = keep.age else { return Ok(None) };
        // What goes is whole hours.
        let age = i64::try_from((age + HOUR).as_micros()).unwrap_or(i64::MAX);
        let before = now.saturating_sub(age);
        let waits = |segment: &Sealed| segment.created.is_none_or(|created| created <= before);
        let waits = segment::sealed(&self.root)?.iter().any(waits);
        Ok((!waits).then_some(before))
    }

    /// Removes what is too old or too much. Says how many files went.
    ///
    /// # Errors
    /// Where the disk refuses; the next call goes on.
    pub fn retain(
        &mut self,
        now: i64,
        keep: &Keep,
        shipped: Option<u64>,
    ) -> Result<usize, ArchiveError> {
        let count = match self.remove_old(now, keep, shipped) {
            Err(error) if error.is_disk_full() && reserve::release(&self.root)? => {
                self.remove_old(now, keep, shipped)?
            }
            removed => removed?,
        };
        reserve::make(&self.root)?;
        Ok(count)
    }

    fn remove_old(
        &mut self,
        now: i64,
        keep: &Keep,
        shipped: Option<u64>,
    ) -> Result<usize, ArchiveError> {
        self.catch_up()?;
        let sealed = segment::sealed(&self.root)?;
        let bytes = sealed.iter().map(|segment| segment.bytes).sum();
        let going = retention::going(&self.books.files, bytes, now, keep, shipped);
        let mut pass = Pass { at: self.books.length, ..Pass::default() };
        for (path, cause) in going.files {
            let rows = self.books.files.get(&path).map_or(0, |file| file.rows);
            pass.lines.push(Entry::File(FileChange { path: path.clone(), rows, cause, now: None }));
            pass.removals.push(path);
        }
        let mut freed = 0;
        let mut expired = 0;
        let mut oldest_first = sealed;
        oldest_first.sort_by_key(|segment| segment.created);
        for segment in &oldest_first {
            if freed >= going.sealed {
                break;
            }
            freed += segment.bytes;
            let account = give_up(segment);
            let lost = account.gaps.iter().filter(|(_, _, cause)| *cause == Cause::Expired);
            expired += lost.map(|(_, count, _)| count).sum::<u64>();
            pass.lines.push(Entry::Segment(account));
            pass.removals.push(self.below(&segment.path));
        }
        let count = pass.removals.len();
        if count > 0 {
            self.is_behind = true;
            self.commit(&pass)?;
            self.is_behind = false;
        }
        if expired > 0 {
            self.metrics.gap(Cause::Expired.label(), expired);
        }
        self.metrics.set_bytes("parquet", self.books.bytes());
        Ok(count)
    }
}

/// The account of a segment that goes without having been converted. Gaps that
/// it told of keep their causes.
fn give_up(sealed: &Sealed) -> SegmentAccount {
    let walked = Segment::read(&sealed.path).ok().map(|segment| {
        let mut lost = Vec::new();
        let walked = segment.walk(sealed, |key, _, _| {
            lost.push((key.sequence, 1, Cause::Expired));
            Ok::<(), std::convert::Infallible>(())
        });
        let Ok(walked) = walked;
        (walked.account, lost)
    });
    match walked {
        Some((account, mut lost)) => {
            lost.extend_from_slice(&account.gaps);
            let gaps = joined(lost);
            SegmentAccount { records: 0, predictions: 0, labels: 0, gaps, ..account }
        }
        None => {
            let next = sealed.following.unwrap_or(sealed.first);
            let (shard, first) = (sealed.shard, sealed.first);
            let gaps = vec![(first, next - first, Cause::Expired)];
            SegmentAccount { shard, first, next, gaps, ..SegmentAccount::default() }
        }
    }
}
