//! One shard, as its lock guards it: gives out sequence numbers and appends,
//! or counts what it cannot append.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk::{Disk, DiskFile, reason};
use super::ledger::{Books, Ledger};
use super::ring::{Position, Ring};
use super::segment::{Prepared, Segment};
use crate::predictions::frame::{self, Cause, Gap, HEADER, Header, Kind, MAX_PAYLOAD};

/// Capacity that the buffer keeps; a larger record's is given back.
const BUFFER: usize = 1 << 20;
/// An append that takes so many times the limit detaches its shard at once: a
/// disk that hangs is not given a second try by a thread that answers requests.
const HANGS: u32 = 10;

/// Whether a shard appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Attached,
    /// Appends took too long; its segment is whole.
    Slow,
    /// An append or a flush failed, or there is no segment yet; the next record needs a new one.
    Failed,
    /// The log was closed.
    Closed,
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) number: u32,
    pub(super) epoch: u64,
    disk: Arc<dyn Disk>,
    /// A segment that is longer is retired.
    limit: u64,
    /// Appends that take longer are slow. `None` for a thread that may wait.
    slow: Option<Duration>,
    /// Whether the last append was slow. One alone may be a thread that had
    /// lost its core meanwhile; two in a row are the disk.
    was_slow: bool,
    pub(super) ledger: Arc<Ledger>,
    /// The next sequence number.
    pub(super) next: u64,
    pub(super) mode: Mode,
    /// Why it does not append.
    pub(super) problem: Option<Arc<str>>,
    /// The same as a word for metrics.
    pub(super) reason: &'static str,
    pub(super) active: Option<Segment>,
    pub(super) prepared: Option<Prepared>,
    /// Segments that are complete, for the keeper.
    pub(super) retired: Vec<Segment>,
    /// Gap records of what recovery found missing.
    pub(super) owed: Vec<(u64, Gap)>,
    pub(super) ring: Ring,
    /// Missing records by cause, since they were last counted.
    pub(super) missed: [u64; Cause::ALL.len()],
    segments: u64,
    /// When the last segment was made: segments of a run differ in it.
    created: i64,
    /// Room for a header, then frames.
    buffer: Vec<u8>,
    batch: Batch,
}

/// The frames in the buffer.
#[derive(Clone, Copy, Debug, Default)]
struct Batch {
    /// The number of the first frame, and one past that of the last.
    first: u64,
    next: u64,
    /// How much of the open gap they tell of.
    gap: u64,
    too_large: u64,
    dropped: u64,
}

/// What came of an append.
#[derive(Debug)]
pub(super) enum Written {
    Kept(u64),
    TooLarge,
    /// It is a gap. The payload stands in the buffer still, at this place.
    Failed(Range<usize>),
}

/// What a flush is to bring to the disk.
#[derive(Debug)]
pub(super) struct Flush {
    /// Segments by their id, with the bytes that are written.
    pub(super) files: Vec<(u64, Arc<dyn DiskFile>, u64)>,
    pub(super) ring: Ring,
    /// One past the last number that the flush covers.
    pub(super) upto: u64,
}

impl Writer {
    /// A shard that has no segment yet, and so counts as failed.
    pub(super) fn new(
        number: u32,
        disk: Arc<dyn Disk>,
        limit: u64,
        slow: Option<Duration>,
        ledger: Ledger,
        books: &Books,
    ) -> Writer {
        Writer {
            number,
            epoch: books.epoch,
            disk,
            limit,
            slow,
            was_slow: false,
            ledger: Arc::new(ledger),
            next: books.next,
            mode: Mode::Failed,
            problem: None,
            reason: "none",
            active: None,
            prepared: None,
            retired: Vec::new(),
            owed: Vec::new(),
            ring: Ring { from: books.next, ..Ring::default() },
            missed: [0; Cause::ALL.len()],
            segments: 0,
            created: 0,
            buffer: Vec::new(),
            batch: Batch::default(),
        }
    }

    /// Appends one record. `keep` says whether somebody waits for flushes here.
    pub(super) fn append(
        &mut self,
        kind: Kind,
        encode: impl FnOnce(&mut Vec<u8>),
        keep: bool,
    ) -> Written {
        self.begin();
        let sequence = self.batch.next;
        let payload = self.push(kind, encode);
        match (self.commit(keep), payload) {
            (Ok(()), Some(_)) => Written::Kept(sequence),
            (Ok(()), None) | (Err(_), None) => Written::TooLarge,
            (Err(_), Some(payload)) => Written::Failed(payload),
        }
    }

    /// Begins a batch: with gap records of what is missing so far.
    pub(super) fn begin(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER);
        self.buffer.resize(HEADER, 0);
        let open = self.ledger.gap();
        self.batch = Batch {
            first: self.untold(),
            next: self.next,
            gap: open.map_or(0, |(_, gap)| gap.count),
            ..Batch::default()
        };
        for (from, gap) in self.owed.iter().copied().chain(open) {
            push_gap(&mut self.buffer, from, gap, self.epoch);
        }
    }

    /// Adds a record to the batch, or a gap where it is too large. Says where
    /// its payload stands.
    pub(super) fn push(
        &mut self,
        kind: Kind,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Option<Range<usize>> {
        let start = frame::begin(&mut self.buffer);
        encode(&mut self.buffer);
        let payload = start + frame::FRAME_HEAD..self.buffer.len();
        let sequence = self.batch.next;
        self.batch.next += 1;
        if payload.len() > MAX_PAYLOAD {
            self.buffer.truncate(start);
            let gap = Gap { count: 1, cause: Cause::TooLarge };
            push_gap(&mut self.buffer, sequence, gap, self.epoch);
            self.batch.too_large += 1;
            return None;
        }
        frame::finish(&mut self.buffer, start, kind, sequence, self.epoch);
        Some(payload)
    }

    /// Adds a gap for records that a full queue dropped.
    pub(super) fn push_dropped(&mut self, count: u64) {
        let gap = Gap { count, cause: Cause::Dropped };
        push_gap(&mut self.buffer, self.batch.next, gap, self.epoch);
        self.batch.next += count;
        self.batch.dropped += count;
    }

    /// Takes a record back out that was only begun: it panicked.
    pub(super) fn take_back(&mut self, length: usize) {
        self.buffer.truncate(length);
    }

    /// Bytes of the batch.
    pub(super) fn batch_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The number of the next record of the batch.
    pub(super) fn batch_next(&self) -> u64 {
        self.batch.next
    }

    pub(super) fn payload(&self, place: Range<usize>) -> &[u8] {
        &self.buffer[place]
    }

    /// Writes the batch, by one call. If that fails its numbers are a gap, and
    /// the shard is detached.
    pub(super) fn commit(&mut self, keep: bool) -> io::Result<()> {
        let batch = self.batch;
        // Before the write, so that a process that ends in it leaves a gap and no secret.
        self.ledger.give_out(batch.next);
        match self.write() {
            Ok(took) => {
                self.ledger.shorten_gap(batch.gap);
                self.owed.clear();
                self.next = batch.next;
                self.missed[Cause::TooLarge as usize - 1] += batch.too_large;
                self.missed[Cause::Dropped as usize - 1] += batch.dropped;
                let end = self.position();
                if keep {
                    self.ring.keep(&self.buffer[HEADER..], batch.next, end);
                } else {
                    self.ring.begin(batch.next, end);
                }
                self.judge(took);
                Ok(())
            }
            Err(error) => {
                self.refuse(batch.next - self.next);
                self.fail(&error);
                Err(error)
            }
        }
    }

    /// Detaches the shard where the disk is slow.
    fn judge(&mut self, took: Duration) {
        let Some(slow) = self.slow else { return };
        let (is_slow, hangs) = (took > slow, took > slow * HANGS);
        if hangs || is_slow && self.was_slow {
            self.mode = Mode::Slow;
            self.problem = Some(Arc::from("appends took too long"));
            self.reason = "slow";
        }
        self.was_slow = is_slow && self.mode == Mode::Attached;
    }

    /// Counts records that are not written.
    pub(super) fn refuse(&mut self, count: u64) {
        if count == 0 {
            return;
        }
        self.ledger.extend_gap(self.next, Gap { count, cause: Cause::Refused });
        self.next += count;
        self.ledger.give_out(self.next);
        self.missed[Cause::Refused as usize - 1] += count;
    }

    /// Detaches the shard from its segment.
    pub(super) fn fail(&mut self, error: &io::Error) {
        self.retire();
        if self.mode != Mode::Closed {
            self.mode = Mode::Failed;
        }
        self.problem = Some(Arc::from(error.to_string()));
        self.reason = reason(error);
    }

    /// Ends the active segment, if there is one.
    pub(super) fn retire(&mut self) {
        self.retired.extend(self.active.take());
    }

    /// Makes what was prepared the active segment. It has no header yet.
    pub(super) fn activate(&mut self, prepared: Prepared, first: u64) {
        self.retire();
        let Prepared { file, path } = prepared;
        let opened = self.now();
        let id = self.next_segment();
        self.active = Some(Segment {
            id,
            file,
            path,
            named: false,
            first,
            opened,
            end: 0,
            synced: 0,
            next: first,
            doubtful: false,
            rewrite: false,
        });
    }

    pub(super) fn next_segment(&mut self) -> u64 {
        self.segments += 1;
        self.segments - 1
    }

    pub(super) fn now(&self) -> Instant {
        self.disk.now()
    }

    /// The header of a segment that begins now, with `first`.
    pub(super) fn header(&mut self, first: u64) -> [u8; HEADER] {
        self.created = self.disk.time().max(self.created + 1);
        Header { shard: self.number, epoch: self.epoch, first, created: self.created }.encode()
    }

    fn write(&mut self) -> io::Result<Duration> {
        let frames = (self.buffer.len() - HEADER) as u64;
        let fits = self.active.as_ref().is_some_and(|active| active.end + frames <= self.limit);
        // Where none is prepared yet, the segment grows.
        if !fits && let Some(prepared) = self.prepared.take() {
            self.activate(prepared, self.batch.first);
        }
        if self.active.as_ref().is_some_and(|active| active.end == 0) {
            let header = self.header(self.batch.first);
            self.buffer[..HEADER].copy_from_slice(&header);
        }
        let Some(active) = &mut self.active else {
            return Err(io::Error::other("no segment could be prepared"));
        };
        let bytes = if active.end == 0 { &self.buffer[..] } else { &self.buffer[HEADER..] };
        let began = self.disk.now();
        active.file.write_at(bytes, active.end)?;
        active.end += bytes.len() as u64;
        active.next = self.batch.next;
        Ok(self.disk.now().saturating_duration_since(began))
    }

    /// The first number that no frame tells of yet.
    pub(super) fn untold(&self) -> u64 {
        self.ledger.gap().map_or(self.next, |(from, _)| from)
    }

    /// Where the next frame will stand.
    pub(super) fn position(&self) -> Position {
        self.active.as_ref().map_or((self.segments, 0), |active| (active.id, active.end))
    }

    /// What is written and not yet on the disk. `None` while a flush has failed
    /// and its records stand nowhere for sure.
    pub(super) fn begin_flush(&mut self, emptied: Vec<u8>) -> Option<Flush> {
        let mut segments = self.retired.iter().chain(&self.active);
        if segments.any(|segment| segment.doubtful) {
            return None;
        }
        let segments = self.retired.iter().chain(&self.active);
        let files = segments
            .filter(|segment| segment.is_dirty())
            .map(|segment| (segment.id, Arc::clone(&segment.file), segment.end))
            .collect();
        let mut ring = Ring { bytes: emptied, ..Ring::default() };
        ring.begin(self.untold(), self.position());
        let ring = std::mem::replace(&mut self.ring, ring);
        Some(Flush { files, ring, upto: self.untold() })
    }

    /// The disk has what a flush was to bring there. Gives its memory back.
    pub(super) fn end_flush(&mut self, flush: Flush) -> Vec<u8> {
        for segment in self.retired.iter_mut().chain(&mut self.active) {
            if let Some((_, _, end)) = flush.files.iter().find(|(id, ..)| *id == segment.id) {
                segment.synced = segment.synced.max(*end);
            }
        }
        let mut emptied = flush.ring.bytes;
        emptied.clear();
        emptied
    }

    /// A flush failed: what it was to bring to the disk, and what was written
    /// since, has to be written again.
    pub(super) fn lose(&mut self, flush: Flush, error: &io::Error) {
        self.fail(error);
        self.ring.after(flush.ring, flush.upto);
        self.ledger.doubt();
        for segment in &mut self.retired {
            segment.doubtful |= segment.is_dirty();
        }
    }

    pub(super) fn segment_mut(&mut self, id: u64) -> Option<&mut Segment> {
        self.retired.iter_mut().chain(&mut self.active).find(|segment| segment.id == id)
    }
}

pub(super) fn push_gap(buffer: &mut Vec<u8>, from: u64, gap: Gap, epoch: u64) {
    let start = frame::begin(buffer);
    buffer.extend_from_slice(&gap.encode());
    frame::finish(buffer, start, Kind::Gap, from, epoch);
}
