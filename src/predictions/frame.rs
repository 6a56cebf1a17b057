//! How records stand in a segment: a header, then frames padded to 8 bytes.
//!
//! ```text
//! header  64 bytes: magic 8, shard u32, zero u32, epoch u64, first sequence u64,
//!                   created (µs since 1970) i64, zeros, CRC-32 of the first 60 u32
//! frame   length u32, its complement u32, CRC-32 u32, kind u8, mark 3,
//!         sequence u64, payload, zeros to a multiple of 8
//! ```
//! All little-endian. The CRC is of kind, mark, sequence and payload, behind
//! the epoch, so that what an earlier use of the same blocks left is not
//! taken for a record. The complement tells a torn length from a torn record:
//! behind a damaged record whose length holds the next one is found at once,
//! else at the next 8 bytes that begin a whole one. The mark is the epoch's
//! first three bytes: a payload cannot know it, so no payload can be made of
//! heads that each cost a long CRC while the next record is looked for.

use std::ops::Range;

use serde::{Deserialize, Serialize};

pub const MAGIC: [u8; 8] = *b"MGPLOG01";
pub const HEADER: usize = 64;
pub const FRAME_HEAD: usize = 24;
/// Longest payload; larger ones are not written.
pub const MAX_PAYLOAD: usize = 16 << 20;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Prediction = 1,
    Label = 2,
    /// Sequence numbers that no record has: see [`Gap`].
    Gap = 3,
}

/// Sequence numbers without a record, from the record's own on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub count: u64,
    pub cause: Cause,
}

/// Why records are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Cause {
    /// The disk was too slow or refused, and answers went on.
    Refused = 1,
    /// A queue was full, at level `async`.
    Dropped = 2,
    /// Written when the process ended, or lost with the machine's power.
    Torn = 3,
    /// The file was damaged afterwards.
    Damaged = 4,
    /// Larger than a record may be.
    TooLarge = 5,
    /// Given up for want of space, before the archive could take it.
    Expired = 6,
}

impl Cause {
    pub const ALL: [Cause; 6] = [
        Cause::Refused,
        Cause::Dropped,
        Cause::Torn,
        Cause::Damaged,
        Cause::TooLarge,
        Cause::Expired,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Cause::Refused => "refused",
            Cause::Dropped => "dropped",
            Cause::Torn => "torn",
            Cause::Damaged => "damaged",
            Cause::TooLarge => "too_large",
            Cause::Expired => "expired",
        }
    }
}

impl Gap {
    /// Bytes of its payload.
    pub const PAYLOAD: usize = 16;

    pub fn encode(&self) -> [u8; Gap::PAYLOAD] {
        let mut payload = [0; Gap::PAYLOAD];
        payload[..8].copy_from_slice(&self.count.to_le_bytes());
        payload[8] = self.cause as u8;
        payload
    }

    /// `None` for what is no gap of at least one number.
    pub fn decode(payload: &[u8]) -> Option<Gap> {
        let (count, rest) = payload.split_first_chunk::<8>()?;
        let cause = Cause::ALL.into_iter().find(|cause| Some(&(*cause as u8)) == rest.first())?;
        let count = u64::from_le_bytes(*count);
        (count > 0).then_some(Gap { count, cause })
    }
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        [Kind::Prediction, Kind::Label, Kind::Gap].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub shard: u32,
    /// Random, of one run of one gateway.
    pub epoch: u64,
    pub first: u64,
    /// Microseconds since 1970.
    pub created: i64,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.shard.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.created.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` where these are no header, or a damaged one.
    pub fn decode(segment: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER] = segment.first_chunk()?;
        let whole = bytes[..8] == MAGIC && crc32fast::hash(&bytes[..60]) == u32_at(bytes, 60);
        whole.then(|| Header {
            shard: u32_at(bytes, 8),
            epoch: u64_at(bytes, 16),
            first: u64_at(bytes, 24),
            created: u64_at(bytes, 32).cast_signed(),
        })
    }
}

/// Begins a frame in `buffer`: room for its head. Its payload is appended,
/// then [`finish`] is called with what this returns.
pub fn begin(buffer: &mut Vec<u8>) -> usize {
    let start = buffer.len();
    buffer.resize(start + FRAME_HEAD, 0);
    start
}

/// Completes the frame that begins at `start` of `buffer`.
pub fn finish(buffer: &mut Vec<u8>, start: usize, kind: Kind, sequence: u64, epoch: u64) {
    let length = buffer.len() - start - FRAME_HEAD;
    // Payloads are at most `MAX_PAYLOAD`.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
    buffer[start + 4..start + 8].copy_from_slice(&(!length).to_le_bytes());
    buffer[start + 12] = kind as u8;
    buffer[start + 13..start + 16].copy_from_slice(&mark(epoch));
    buffer[start + 16..start + 24].copy_from_slice(&sequence.to_le_bytes());
    let crc = crc(epoch, &buffer[start + 12..]);
    buffer[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
    buffer.resize(start + padded(buffer.len() - start), 0);
}

/// What stands in a segment, front to back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Record {
        kind: Kind,
        sequence: u64,
        /// Place of the payload in the segment.
        payload: Range<usize>,
    },
    /// Bytes that are no whole record.
    Damage(Range<usize>),
}

/// Reads a segment of `epoch` from `offset` on. Ends at zeros that nothing
/// follows, which is how an unfinished segment ends.
pub fn scan(segment: &[u8], epoch: u64, offset: usize) -> Scan<'_> {
    Scan { segment, epoch, offset }
}

pub struct Scan<'a> {
    segment: &'a [u8],
    epoch: u64,
    offset: usize,
}

impl Scan<'_> {
    /// Where the next piece begins, or the end of what was written.
    pub fn offset(&self) -> usize {
        self.offset
    }

    fn record_at(&self, at: usize) -> Option<(Kind, u64, Range<usize>)> {
        let (length, head) = length_at(self.segment, at)?;
        let payload = at + FRAME_HEAD..at + FRAME_HEAD + length;
        let kind = Kind::of(head[12])?;
        if head[13..16] != mark(self.epoch) {
            return None;
        }
        let whole = crc(self.epoch, &self.segment[at + 12..payload.end]) == u32_at(head, 8);
        whole.then(|| (kind, u64_at(head, 16), payload))
    }
}

impl Iterator for Scan<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let at = self.offset;
        if let Some((kind, sequence, payload)) = self.record_at(at) {
            self.offset = at + padded(payload.end - at);
            return Some(Piece::Record { kind, sequence, payload });
        }
        let rest = self.segment.get(at..)?;
        if rest.iter().all(|byte| *byte == 0) {
            return None;
        }
        // Where its length holds, the record behind a damaged one is found at once.
        let by_length =
            length_at(self.segment, at).map(|(length, _)| at + padded(FRAME_HEAD + length));
        let next = by_length.filter(|next| self.record_at(*next).is_some()).or_else(|| {
            (at + 8..self.segment.len()).step_by(8).find(|place| self.record_at(*place).is_some())
        });
        self.offset = next.unwrap_or(self.segment.len());
        Some(Piece::Damage(at..self.offset))
    }
}

/// The length of a frame's payload, where it holds, and the frame's head.
fn length_at(segment: &[u8], at: usize) -> Option<(usize, &[u8])> {
    let head = segment.get(at..at + FRAME_HEAD)?;
    let length = u32_at(head, 0);
    let fits = length == !u32_at(head, 4)
        && length as usize <= MAX_PAYLOAD
        && at + FRAME_HEAD + length as usize <= segment.len();
    fits.then_some((length as usize, head))
}

fn mark(epoch: u64) -> [u8; 3] {
    let [one, two, three, ..] = epoch.to_le_bytes();
    [one, two, three]
}

fn crc(epoch: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&epoch.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// The next multiple of 8.
fn padded(length: usize) -> usize {
    length.div_ceil(8) * 8
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |four| u32::from_le_bytes(*four))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: u64 = 77;

    fn segment(payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (sequence, payload) in payloads.iter().enumerate() {
            let start = begin(&mut bytes);
            bytes.extend_from_slice(payload);
            finish(&mut bytes, start, Kind::Prediction, sequence as u64, EPOCH);
        }
        bytes.resize(bytes.len() + 256, 0);
        bytes
    }

    fn sequences(bytes: &[u8]) -> Vec<u64> {
        scan(bytes, EPOCH, 0)
            .filter_map(|piece| match piece {
                Piece::Record { sequence, .. } => Some(sequence),
                Piece::Damage(_) => None,
            })
            .collect()
    }

    #[test]
    fn records_come_back_in_order_and_zeros_end_them() {
        let bytes = segment(&[b"one", b"", b"a longer record"]);
        assert_eq!(sequences(&bytes), [0, 1, 2]);
        assert!(scan(&bytes, EPOCH + 1, 0).all(|piece| matches!(piece, Piece::Damage(_))));
    }

    /// Each bit of each record in turn: that record alone is lost, and nothing
    /// wrong is taken for one.
    #[test]
    fn a_flipped_bit_costs_the_record_it_hits() {
        let whole = segment(&[b"first record", b"the second one", b"third", b"fourth of them"]);
        let ends: Vec<usize> = scan(&whole, EPOCH, 0)
            .filter_map(|piece| match piece {
                Piece::Record { payload, .. } => Some(payload.end),
                Piece::Damage(_) => None,
            })
            .collect();
        let starts: Vec<usize> =
            std::iter::once(0).chain(ends.iter().map(|end| padded(*end))).collect();
        for at in 0..starts[4] {
            let hit = starts.iter().rposition(|start| *start <= at).expect("in a record");
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                let found = sequences(&bytes);
                let others = (0..4u64).filter(|one| *one != hit as u64).collect::<Vec<_>>();
                let padding = at >= ends[hit];
                assert!(found == others || (padding && found == [0, 1, 2, 3]), "{at}: {found:?}");
            }
        }
    }

    #[test]
    fn headers_and_gaps_come_back() {
        let header = Header { shard: 3, epoch: 9, first: 12, created: -5 };
        let mut bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        bytes[30] ^= 1;
        assert_eq!(Header::decode(&bytes), None);
        let gap = Gap { count: 4, cause: Cause::Damaged };
        assert_eq!(Gap::decode(&gap.encode()), Some(gap));
        assert_eq!(Gap::decode(&[0; 16]), None);
    }
}
