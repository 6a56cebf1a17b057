//! Reads a sealed segment to its end, and accounts for each of its numbers.

use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::error::ArchiveError;
use super::rows::Key;
use crate::predictions::account::SegmentAccount;
use crate::predictions::frame::{self, Cause, Gap, Header, Kind, Piece};
use crate::predictions::layout;
use crate::predictions::record::{Label, Prediction};

/// A segment, as a whole in memory.
pub struct Segment {
    pub path: PathBuf,
    pub header: Header,
    bytes: Bytes,
}

/// A record that is whole.
pub enum Record {
    Prediction(Prediction),
    Label(Label),
}

/// What stands in a segment beside its account.
pub struct Walked {
    pub account: SegmentAccount,
    /// Numbers that neither a record nor a gap's record has.
    pub damaged: u64,
    /// Places that were no records.
    pub damage: u64,
}

impl Segment {
    /// # Errors
    /// Where the file cannot be read, or its head is no header.
    pub fn read(path: &Path) -> Result<Segment, ArchiveError> {
        let bytes = Bytes::from(std::fs::read(path).map_err(ArchiveError::io(path))?);
        let header = Header::decode(&bytes)
            .ok_or_else(|| ArchiveError::Header { segment: path.to_owned() })?;
        Ok(Segment { path: path.to_owned(), header, bytes })
    }

    /// Calls `each` for every whole record, as they stand. `following` is the
    /// first number of the shard's next segment, where there is one.
    ///
    /// # Errors
    /// What `each` says.
    pub fn walk<E>(
        &self,
        following: Option<u64>,
        mut each: impl FnMut(Key, Record, usize) -> Result<(), E>,
    ) -> Result<Walked, E> {
        let Header { shard, epoch, first, .. } = self.header;
        let mut numbers = Numbers { first, next: first, holes: Vec::new(), gaps: Vec::new() };
        let account = SegmentAccount { shard, epoch, first, ..Default::default() };
        let mut walked = Walked { account, damaged: 0, damage: 0 };
        let mut ends_damaged = false;
        for piece in frame::scan(&self.bytes, epoch, frame::HEADER) {
            ends_damaged = matches!(piece, Piece::Damage(_));
            let Piece::Record { kind, sequence, payload } = piece else {
                walked.damage += 1;
                continue;
            };
            let size = payload.len();
            let payload = self.bytes.slice(payload);
            let record = match kind {
                Kind::Prediction => Prediction::decode(&payload).map(Record::Prediction),
                Kind::Label => Label::decode(&payload).map(Record::Label),
                Kind::Gap => {
                    if let Some(gap) = Gap::decode(&payload) {
                        numbers.gap(sequence, gap);
                    }
                    continue;
                }
            };
            // A number's second record is none of its own. One that cannot be
            // read leaves a hole, which is damage.
            let Some(record) = record.filter(|_| numbers.take(sequence)) else { continue };
            let account = &mut walked.account;
            account.records += 1;
            match &record {
                Record::Prediction(_) => account.predictions += 1,
                Record::Label(_) => account.labels += 1,
            }
            each(Key { epoch, shard, sequence }, record, size)?;
        }
        // Numbers behind the last record that is whole: else they are another segment's to explain.
        if let Some(following) = following.filter(|_| ends_damaged) {
            numbers.skip_to(following);
        }
        walked.damaged = numbers.holes.iter().map(|hole| hole.end - hole.start).sum();
        let holes = numbers.holes.iter().map(|hole| (hole.start, hole.end - hole.start));
        let mut gaps = numbers.gaps;
        gaps.extend(holes.map(|(first, count)| (first, count, Cause::Damaged)));
        gaps.sort_unstable();
        walked.account.next = numbers.next;
        walked.account.gaps = gaps;
        Ok(walked)
    }
}

/// Which numbers of a segment were seen.
struct Numbers {
    first: u64,
    next: u64,
    /// Below `next`, and not seen: disjoint, in order.
    holes: Vec<Range<u64>>,
    gaps: Vec<(u64, u64, Cause)>,
}

impl Numbers {
    fn skip_to(&mut self, number: u64) {
        if number > self.next {
            self.holes.push(self.next..number);
            self.next = number;
        }
    }

    /// Whether a number is seen for the first time.
    fn take(&mut self, number: u64) -> bool {
        let after = number.saturating_add(1);
        if number >= self.next {
            self.skip_to(number);
            self.next = after;
            return true;
        }
        let is_missing = self.holes.iter().rev().any(|hole| hole.contains(&number));
        if is_missing {
            self.fill(number..after);
        }
        is_missing
    }

    /// A gap may be told after records that follow it, or in a later segment.
    fn gap(&mut self, first: u64, gap: Gap) {
        let end = first.saturating_add(gap.count);
        if first >= self.first {
            self.skip_to(first);
            self.next = self.next.max(end);
            self.fill(first..end);
        }
        self.gaps.push((first, gap.count, gap.cause));
    }

    fn fill(&mut self, seen: Range<u64>) {
        let cut = |hole: Range<u64>| {
            let before = hole.start..seen.start.clamp(hole.start, hole.end);
            let after = seen.end.clamp(hole.start, hole.end)..hole.end;
            [before, after].into_iter().filter(|rest| !rest.is_empty())
        };
        self.holes = std::mem::take(&mut self.holes).into_iter().flat_map(cut).collect();
    }
}

/// A sealed segment by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sealed {
    pub shard: u32,
    pub first: u64,
    /// Where the next segment of the shard begins.
    pub following: Option<u64>,
    pub bytes: u64,
    pub path: PathBuf,
}

/// All sealed segments, each shard's in order. Folders that are not there have none.
///
/// # Errors
/// Where a folder cannot be read.
pub fn sealed(root: &Path) -> Result<Vec<Sealed>, ArchiveError> {
    let mut found = Vec::new();
    for folder in files(&layout::raw(root))? {
        let name = folder.file_name().and_then(|name| name.to_str());
        let Some(shard) = name.and_then(|name| name.parse().ok()) else { continue };
        let mut segments: Vec<(u64, PathBuf)> = files(&folder)?
            .into_iter()
            .filter_map(|path| Some((layout::first_of(&path)?, path)))
            .collect();
        segments.sort();
        for (at, (first, path)) in segments.iter().enumerate() {
            if path.extension().is_none_or(|extension| extension != layout::SEALED) {
                continue;
            }
            let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
            let following = segments.get(at + 1).map(|(first, _)| *first);
            let path = path.clone();
            found.push(Sealed { shard, first: *first, following, bytes, path });
        }
    }
    found.sort();
    Ok(found)
}

/// What is in a folder, which may be missing.
fn files(folder: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ArchiveError::io(folder)(error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<Result<_, _>>().map_err(ArchiveError::io(folder))
}
