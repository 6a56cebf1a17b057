//! Which sequence numbers of a shard were given out, and which of them are
//! missing: on a mapped page, so that it survives `kill -9` on a full disk.
//!
//! Fields are stored one by one, in an order in which any prefix is right:
//! the next number before the write that uses it, a gap's first number and
//! cause before its count. A loss of power may leave an older page or none;
//! recovery then goes by the segments alone.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::page::{CELLS, Page};
use crate::predictions::frame::{Cause, Gap};

const MAGIC: u64 = u64::from_le_bytes(*b"MGLEDG01");

/// Places of the fields. The number of the shard is complemented beside it.
const AT_MAGIC: usize = 0;
const AT_SHARD: usize = 1;
const AT_EPOCH: usize = 2;
const AT_NEXT: usize = 3;
const AT_GAP_FROM: usize = 4;
const AT_GAP_COUNT: usize = 5;
const AT_GAP_CAUSE: usize = 6;
const AT_SETTLED: usize = 7;
/// Unset or 1.
const AT_DOUBT: usize = 8;
const FIELDS: usize = 9;

/// No log ever gives out so many numbers.
pub(super) const MOST: u64 = 1 << 62;

/// What a ledger says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Books {
    pub(super) epoch: u64,
    /// One past the greatest number given out.
    pub(super) next: u64,
    /// Numbers without a record that no gap record tells of yet.
    pub(super) gap: Option<(u64, Gap)>,
    /// All numbers below stand in sealed segments.
    pub(super) settled: u64,
    /// A flush failed: what the kernel shows of segments may not be on the disk.
    pub(super) doubt: bool,
}

impl Books {
    /// Of a file's bytes. `None` where they are no ledger of this shard.
    pub(super) fn decode(bytes: &[u8], shard: u32) -> Option<Books> {
        let field =
            |at: usize| bytes.get(at * 8..)?.first_chunk().map(|eight| u64::from_ne_bytes(*eight));
        let mut fields = [0; FIELDS];
        for (at, value) in fields.iter_mut().enumerate() {
            *value = field(at)?;
        }
        Books::of(fields, shard)
    }

    fn of(fields: [u64; FIELDS], shard: u32) -> Option<Books> {
        let is_whole = fields[AT_MAGIC] == MAGIC
            && fields[AT_SHARD] == u64::from(shard)
            && fields[AT_SETTLED] <= fields[AT_NEXT]
            && fields[AT_NEXT] < MOST;
        if !is_whole {
            return None;
        }
        let cause =
            Cause::ALL.into_iter().find(|cause| u64::from(*cause as u8) == fields[AT_GAP_CAUSE]);
        let next = fields[AT_NEXT];
        // A count that was moved on only by half reaches past the next number.
        let count = fields[AT_GAP_COUNT].min(next.saturating_sub(fields[AT_GAP_FROM]));
        let gap =
            cause.filter(|_| count > 0).map(|cause| (fields[AT_GAP_FROM], Gap { count, cause }));
        Some(Books {
            epoch: fields[AT_EPOCH],
            next,
            gap,
            settled: fields[AT_SETTLED],
            doubt: fields[AT_DOUBT] != 0,
        })
    }
}

/// The ledger of one shard. Written by whoever holds the shard.
#[derive(Debug)]
pub(super) struct Ledger(Page);

impl Ledger {
    pub(super) fn new(page: Page) -> Ledger {
        Ledger(page)
    }

    pub(super) fn books(&self, shard: u32) -> Option<Books> {
        Books::of(std::array::from_fn(|at| self.0[at].load(Acquire)), shard)
    }

    /// Begins a run, or heals a page that was lost.
    pub(super) fn begin(&self, shard: u32, books: &Books) {
        const { assert!(FIELDS <= CELLS) };
        self.0[AT_SHARD].store(u64::from(shard), Release);
        self.0[AT_EPOCH].store(books.epoch, Release);
        self.0[AT_NEXT].store(books.next, Release);
        self.0[AT_SETTLED].store(books.settled, Release);
        self.0[AT_DOUBT].store(u64::from(books.doubt), Release);
        match books.gap {
            Some((from, gap)) => self.open_gap(from, gap),
            None => self.close_gap(),
        }
        self.0[AT_MAGIC].store(MAGIC, Release);
    }

    /// Gives out all numbers below `next`.
    pub(super) fn give_out(&self, next: u64) {
        self.0[AT_NEXT].store(next, Release);
    }

    pub(super) fn gap(&self) -> Option<(u64, Gap)> {
        let count = self.0[AT_GAP_COUNT].load(Relaxed);
        let cause = self.0[AT_GAP_CAUSE].load(Relaxed);
        let cause = Cause::ALL.into_iter().find(|one| u64::from(*one as u8) == cause)?;
        (count > 0).then(|| (self.0[AT_GAP_FROM].load(Relaxed), Gap { count, cause }))
    }

    /// Numbers from `from` on have no record. They follow on those of a gap
    /// that is open already, which keeps its cause.
    pub(super) fn extend_gap(&self, from: u64, gap: Gap) {
        match self.0[AT_GAP_COUNT].load(Relaxed) {
            0 => self.open_gap(from, gap),
            count => self.0[AT_GAP_COUNT].store(count + gap.count, Release),
        }
    }

    /// A record now tells of the first `count` numbers of the open gap.
    pub(super) fn shorten_gap(&self, count: u64) {
        let open = self.0[AT_GAP_COUNT].load(Relaxed);
        if open <= count {
            return self.close_gap();
        }
        let from = self.0[AT_GAP_FROM].load(Relaxed);
        self.0[AT_GAP_FROM].store(from + count, Release);
        self.0[AT_GAP_COUNT].store(open - count, Release);
    }

    /// Notes that a flush failed.
    pub(super) fn doubt(&self) {
        self.0[AT_DOUBT].store(1, Release);
    }

    pub(super) fn settle(&self, below: u64) {
        self.0[AT_SETTLED].store(below, Release);
    }

    pub(super) fn settled(&self) -> u64 {
        self.0[AT_SETTLED].load(Relaxed)
    }

    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.0.sync()
    }

    fn open_gap(&self, from: u64, gap: Gap) {
        self.0[AT_GAP_COUNT].store(0, Release);
        self.0[AT_GAP_FROM].store(from, Release);
        self.0[AT_GAP_CAUSE].store(u64::from(gap.cause as u8), Release);
        self.0[AT_GAP_COUNT].store(gap.count, Release);
    }

    fn close_gap(&self) {
        self.0[AT_GAP_COUNT].store(0, Release);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn ledger() -> (Ledger, Arc<[AtomicU64; CELLS]>) {
        let cells = Arc::new(std::array::from_fn(|_| AtomicU64::new(0)));
        (Ledger::new(Page::Held(Arc::clone(&cells))), cells)
    }

    #[test]
    fn a_page_of_zeros_or_of_another_shard_is_no_ledger() {
        let (ledger, _) = ledger();
        assert_eq!(ledger.books(2), None);
        let books = Books { epoch: 5, next: 70, gap: None, settled: 9, doubt: true };
        ledger.begin(2, &books);
        assert_eq!(ledger.books(2), Some(books));
        assert_eq!(ledger.books(3), None);
    }

    #[test]
    fn a_gap_grows_is_told_of_in_part_and_closes() {
        let (ledger, cells) = ledger();
        ledger.begin(0, &Books { next: 10, ..Books::default() });
        let one = Gap { count: 1, cause: Cause::Refused };
        for number in 10..14 {
            ledger.extend_gap(number, one);
            ledger.give_out(number + 1);
        }
        assert_eq!(ledger.gap(), Some((10, Gap { count: 4, ..one })));
        ledger.shorten_gap(3);
        assert_eq!(ledger.gap(), Some((13, one)));
        // As a process that is killed in between leaves it.
        cells[AT_GAP_COUNT].store(4, Release);
        assert_eq!(ledger.books(0).and_then(|books| books.gap), Some((13, one)));
        ledger.shorten_gap(4);
        assert_eq!(ledger.gap(), None);
    }
}
