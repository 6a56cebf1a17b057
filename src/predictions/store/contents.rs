//! What stands in one segment: which numbers have records, which are gaps,
//! what is damaged, and where it ends. Pure.

use std::ops::Range;

use super::ranges::Ranges;
use crate::predictions::account::SegmentAccount;
use crate::predictions::frame::{self, Cause, Gap, HEADER, Header, Kind, Piece};

/// The contents of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    pub header: Header,
    /// Numbers of predictions and labels.
    pub records: Ranges,
    pub predictions: u64,
    pub labels: u64,
    /// Records whose number another record of this segment has.
    pub duplicates: u64,
    /// Gap records: the first number, and the gap.
    pub gaps: Vec<(u64, Gap)>,
    /// Places with bytes that are no record, before the last record.
    pub damaged: Vec<Range<usize>>,
    /// Whether such bytes stand behind the last record: a torn tail.
    pub torn: bool,
    /// Where the last record ends.
    pub end: usize,
}

impl Contents {
    /// Reads a segment. `None` where its header cannot be read.
    pub fn read(segment: &[u8]) -> Option<Contents> {
        Contents::read_until(segment, None)
    }

    /// Reads a segment up to the first record that has a number of `cut` or
    /// above: what a later segment holds instead.
    pub(super) fn read_until(segment: &[u8], cut: Option<u64>) -> Option<Contents> {
        let header = Header::decode(segment)?;
        Some(Contents::of_frames(header, segment, cut))
    }

    /// Reads what follows the header, in its name.
    pub(super) fn of_frames(header: Header, segment: &[u8], cut: Option<u64>) -> Contents {
        let mut contents = Contents {
            header,
            records: Ranges::default(),
            predictions: 0,
            labels: 0,
            duplicates: 0,
            gaps: Vec::new(),
            damaged: Vec::new(),
            torn: false,
            end: HEADER,
        };
        let mut run: Range<u64> = 0..0;
        let mut damage = None;
        let mut pieces = frame::scan(segment, header.epoch, HEADER);
        while let Some(piece) = pieces.next() {
            let (kind, sequence, payload) = match piece {
                Piece::Damage(place) => {
                    damage = Some(place);
                    continue;
                }
                Piece::Record { kind, sequence, payload } => (kind, sequence, payload),
            };
            if cut.is_some_and(|cut| sequence >= cut) {
                break;
            }
            contents.damaged.extend(damage.take());
            contents.end = pieces.offset().min(segment.len());
            match (kind, Gap::decode(&segment[payload])) {
                (Kind::Gap, Some(gap)) => contents.gaps.push((sequence, gap)),
                // Of a form that is not known: its number is accounted for by nothing.
                (Kind::Gap, None) => {}
                (Kind::Prediction, _) => contents.predictions += 1,
                (Kind::Label, _) => contents.labels += 1,
            }
            if kind == Kind::Gap {
                continue;
            }
            if run.end == sequence {
                run.end += 1;
            } else {
                contents.duplicates += contents.records.insert(run);
                run = sequence..sequence.saturating_add(1);
            }
        }
        contents.duplicates += contents.records.insert(run);
        contents.torn = damage.is_some();
        contents
    }

    /// How many records it holds.
    pub fn count(&self) -> u64 {
        self.predictions + self.labels
    }

    /// One past the last number that it tells of.
    pub fn next(&self) -> u64 {
        let gaps = self.gaps.iter().map(|(from, gap)| from.saturating_add(gap.count)).max();
        self.header.first.max(gaps.unwrap_or(0)).max(self.records.end().unwrap_or(0))
    }

    /// Numbers that it tells of: records and gaps.
    pub(super) fn told(&self) -> Ranges {
        let mut told = self.records.clone();
        for (from, gap) in &self.gaps {
            told.insert(*from..from.saturating_add(gap.count));
        }
        told
    }

    /// The account of it, as yet without files. What damage took stands among
    /// its gaps, so that its numbers are whole without the segment.
    pub fn account(&self) -> SegmentAccount {
        let (first, next) = (self.header.first, self.next());
        let told = |(from, gap): &(u64, Gap)| (*from, gap.count, gap.cause);
        let mut gaps: Vec<_> = self.gaps.iter().map(told).collect();
        let lost = self.told().missing(first..next);
        gaps.extend(lost.iter().map(|lost| (lost.start, lost.end - lost.start, Cause::Damaged)));
        SegmentAccount {
            shard: self.header.shard,
            epoch: self.header.epoch,
            first,
            next,
            records: self.count(),
            gaps,
            predictions: self.predictions,
            labels: self.labels,
            deleted: 0,
            files: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictions::frame::{begin, finish};

    const EPOCH: u64 = 9;

    fn push(segment: &mut Vec<u8>, kind: Kind, sequence: u64, payload: &[u8]) {
        let start = begin(segment);
        segment.extend_from_slice(payload);
        finish(segment, start, kind, sequence, EPOCH);
    }

    /// Numbers 10 to 16: a prediction, a label, a gap of three, two predictions.
    fn segment() -> Vec<u8> {
        let mut bytes = Header { shard: 1, epoch: EPOCH, first: 10, created: 0 }.encode().to_vec();
        push(&mut bytes, Kind::Prediction, 10, b"ten");
        push(&mut bytes, Kind::Label, 11, b"eleven");
        push(&mut bytes, Kind::Gap, 12, &Gap { count: 3, cause: Cause::Refused }.encode());
        push(&mut bytes, Kind::Prediction, 15, b"fifteen");
        push(&mut bytes, Kind::Prediction, 16, b"sixteen");
        bytes
    }

    #[test]
    fn tells_records_gaps_and_the_end() {
        let mut bytes = segment();
        let end = bytes.len();
        bytes.resize(end + 1000, 0);
        let contents = Contents::read(&bytes).expect("a segment");
        assert_eq!((contents.predictions, contents.labels, contents.end), (3, 1, end));
        assert_eq!(contents.records.iter().collect::<Vec<_>>(), [10..12, 15..17]);
        assert_eq!((contents.duplicates, contents.torn, contents.next()), (0, false, 17));
        let account = contents.account();
        assert_eq!((account.first, account.next, account.records), (10, 17, 4));
        assert_eq!(account.gaps, [(12, 3, Cause::Refused)]);
    }

    #[test]
    fn damage_is_a_gap_of_the_account_and_a_torn_tail_is_none() {
        let mut bytes = segment();
        let whole = bytes.len();
        bytes[HEADER + 25] ^= 1;
        let account = Contents::read(&bytes).expect("a segment").account();
        assert_eq!(account.gaps, [(12, 3, Cause::Refused), (10, 1, Cause::Damaged)]);
        bytes.truncate(whole - 8);
        let contents = Contents::read(&bytes).expect("a segment");
        assert!(contents.torn);
        assert_eq!((contents.damaged.len(), contents.next()), (1, 16));
        bytes[20] ^= 1;
        assert_eq!(Contents::read(&bytes), None);
    }

    #[test]
    fn a_cut_ends_it() {
        let contents = Contents::read_until(&segment(), Some(16)).expect("a segment");
        assert_eq!((contents.next(), contents.count()), (16, 3));
        assert!(contents.end < segment().len());
    }

    #[test]
    fn a_record_that_is_there_twice_is_counted() {
        let mut bytes = segment();
        push(&mut bytes, Kind::Prediction, 10, b"again");
        assert_eq!(Contents::read(&bytes).expect("a segment").duplicates, 1);
    }
}
