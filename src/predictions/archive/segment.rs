//! Reads a sealed segment to its end, and accounts for each of its numbers.

use std::fs::File;
use std::io::Read;
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
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
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

    /// Calls `each` for every whole record that is this segment's, as they stand.
    ///
    /// # Errors
    /// What `each` says.
    pub fn walk<E>(
        &self,
        among: &Sealed,
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
            if among.cut.is_some_and(|cut| sequence >= cut) {
                ends_damaged = false;
                break;
            }
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
        if let Some(following) = among.following.filter(|_| ends_damaged) {
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

/// A sealed segment, and where it stands among the others of its shard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sealed {
    pub shard: u32,
    pub first: u64,
    /// Where the next segment of the shard begins.
    pub following: Option<u64>,
    /// From this number on, a segment that the same run made later holds the records.
    pub cut: Option<u64>,
    /// Microseconds since 1970; `None` where its header cannot be read.
    pub created: Option<i64>,
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
        let Some(shard) = name.and_then(layout::number_of) else { continue };
        let segments: Vec<(PathBuf, Option<Header>)> = files(&folder)?
            .into_iter()
            .filter(|path| {
                [layout::ACTIVE, layout::SEALED, layout::PREPARED]
                    .iter()
                    .any(|known| is(path, known))
            })
            .map(|path| {
                let header = header(&path);
                (path, header)
            })
            .collect();
        let headers = || segments.iter().filter_map(|(_, header)| *header);
        for (path, header) in &segments {
            if !is(path, layout::SEALED) {
                continue;
            }
            let Some(first) = layout::first_of(path) else { continue };
            let own = header.map_or((first, i64::MIN), |header| (header.first, header.created));
            let after = headers().filter(|other| (other.first, other.created) > own);
            let later = headers().filter(|other| {
                header.is_some_and(|own| other.epoch == own.epoch && other.created > own.created)
            });
            found.push(Sealed {
                shard,
                first,
                following: after.map(|other| other.first).min(),
                cut: later.map(|other| other.first).min(),
                created: header.map(|header| header.created),
                bytes: std::fs::metadata(path).map_or(0, |file| file.len()),
                path: path.clone(),
            });
        }
    }
    found.sort();
    Ok(found)
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|of| of == extension)
}

fn header(path: &Path) -> Option<Header> {
    let mut head = [0; frame::HEADER];
    File::open(path).and_then(|mut file| file.read_exact(&mut head)).ok()?;
    Header::decode(&head)
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
