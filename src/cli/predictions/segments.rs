//! Reads segments while they are written: active and sealed ones, over their roll-over.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::predictions::frame::{self, FRAME_HEAD, HEADER, Header, Kind, MAX_PAYLOAD, Piece};
use crate::predictions::layout;

/// What is read of a segment at once, where its records are no larger.
const WINDOW: u64 = 1 << 20;
/// What holds any record.
const LONGEST: u64 = (FRAME_HEAD + MAX_PAYLOAD) as u64;

/// What stands in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Record {
        kind: Kind,
        sequence: u64,
        payload: Bytes,
    },
    /// So many bytes that are no record.
    Damage(u64),
}

/// Where a segment belongs, and its first sequence number by its name.
pub(super) type Name = (u32, u64);

/// The segments of all shards, by shard and then in their order. Folders that
/// are not there, or go meanwhile, are empty.
///
/// # Errors
/// Where a folder cannot be read.
pub(super) fn list(root: &Path) -> io::Result<BTreeMap<Name, PathBuf>> {
    let mut found = BTreeMap::new();
    for folder in entries(&layout::raw(root))? {
        let shard = folder.file_name().and_then(|name| layout::number_of(name.to_str()?));
        let Some(shard) = shard else { continue };
        for path in entries(&folder)? {
            let is_segment = path.extension().is_some_and(|extension| {
                extension == layout::ACTIVE || extension == layout::SEALED
            });
            if let Some(first) = layout::first_of(&path).filter(|_| is_segment) {
                found.insert((shard, first), path);
            }
        }
    }
    Ok(found)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    entries.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// One segment, as far as it was read. Its file stays open, so that neither
/// its sealing nor its removal takes anything away.
pub(super) struct Reader {
    file: File,
    pub(super) epoch: u64,
    at: u64,
}

impl Reader {
    /// `None` where there is no such segment, or its header is not there yet or damaged.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) fn open(path: &Path) -> io::Result<Option<Reader>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let header = Header::decode(&read_at(&file, 0, HEADER as u64)?);
        Ok(header.map(|header| Reader { file, epoch: header.epoch, at: HEADER as u64 }))
    }

    /// Hands over what was written since the last call, up to about `most`
    /// bytes, and says whether more may be there already. Of a segment that
    /// is not sealed, what looks damaged at its end may be half written, and is
    /// looked at again in the next call.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) fn read(
        &mut self,
        is_sealed: bool,
        most: u64,
        mut each: impl FnMut(Found),
    ) -> io::Result<bool> {
        let begin = self.at;
        let mut size = WINDOW;
        while self.at - begin < most {
            let window = Bytes::from(read_at(&self.file, self.at, size)?);
            let is_whole = (window.len() as u64) < size;
            let (read, is_damaged) = take(&window, self.epoch, &mut each);
            if read > 0 {
                self.at += read as u64;
                size = WINDOW;
                continue;
            }
            size = match (is_sealed, is_whole) {
                (true, true) if is_damaged => {
                    self.at += window.len() as u64;
                    each(Found::Damage(window.len() as u64));
                    return Ok(false);
                }
                // A sealed segment is read to its last byte.
                (true, false) => u64::MAX,
                (false, false) if size < LONGEST && is_damaged && is_cut(&window) => LONGEST,
                _ => return Ok(false),
            };
        }
        Ok(true)
    }
}

/// Hands over the records of a window and what is damaged between them. Gives
/// where the last of them ends, and whether damage reaches the window's end.
fn take(window: &Bytes, epoch: u64, mut each: impl FnMut(Found)) -> (usize, bool) {
    let mut read = 0;
    let mut scan = frame::scan(window, epoch, 0);
    while let Some(piece) = scan.next() {
        match piece {
            Piece::Damage(range) if range.end == window.len() => return (read, true),
            Piece::Damage(range) => each(Found::Damage(range.len() as u64)),
            Piece::Record { kind, sequence, payload } => {
                each(Found::Record { kind, sequence, payload: window.slice(payload) });
            }
        }
        read = scan.offset();
    }
    (read, false)
}

/// Whether a frame begins here that goes on behind these bytes.
fn is_cut(bytes: &[u8]) -> bool {
    let number = |at: usize| bytes[at..].first_chunk().map(|four| u32::from_le_bytes(*four));
    let lengths = (bytes.len() >= 8).then(|| Some((number(0)?, number(4)?))).flatten();
    lengths.is_none_or(|(length, complement)| {
        length == !complement
            && length as usize <= MAX_PAYLOAD
            && FRAME_HEAD + length as usize > bytes.len()
    })
}

/// At most so many bytes; fewer where the file ends.
fn read_at(file: &File, at: u64, most: u64) -> io::Result<Vec<u8>> {
    let rest = file.metadata()?.len().saturating_sub(at);
    let mut bytes = vec![0; usize::try_from(rest.min(most)).unwrap_or(usize::MAX)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], at + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const EPOCH: u64 = 5;

    fn record(sequence: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let start = frame::begin(&mut bytes);
        bytes.extend_from_slice(payload);
        frame::finish(&mut bytes, start, Kind::Prediction, sequence, EPOCH);
        bytes
    }

    /// A segment that grows within the room it was given.
    struct Active {
        folder: tempfile::TempDir,
        file: File,
    }

    impl Active {
        fn new(room: u64) -> Active {
            let folder = tempfile::tempdir().expect("a folder");
            let mut file = File::create(folder.path().join("s.seg")).expect("a file");
            let header = Header { shard: 0, epoch: EPOCH, first: 0, created: 0 };
            file.set_len(room).expect("room");
            file.write_all(&header.encode()).expect("a header");
            Active { folder, file }
        }

        fn append(&mut self, bytes: &[u8]) {
            self.file.write_all(bytes).expect("written");
        }

        fn reader(&self) -> Reader {
            Reader::open(&self.folder.path().join("s.seg")).expect("open").expect("a header")
        }
    }

    /// Sequence numbers, and damage as its bytes.
    fn read(reader: &mut Reader, is_sealed: bool) -> Vec<Result<u64, u64>> {
        let mut found = Vec::new();
        let more = reader.read(is_sealed, u64::MAX, |piece| {
            found.push(match piece {
                Found::Record { sequence, .. } => Ok(sequence),
                Found::Damage(bytes) => Err(bytes),
            });
        });
        assert!(!more.expect("read"));
        found
    }

    #[test]
    fn what_is_half_written_is_read_when_it_is_whole() {
        let mut active = Active::new(4 << 20);
        let mut reader = active.reader();
        assert_eq!(read(&mut reader, false), []);
        active.append(&record(0, b"first"));
        let second = record(1, &[7; 100]);
        for byte in &second[..second.len() - 8] {
            active.append(&[*byte]);
            assert!(read(&mut reader, false).iter().all(|found| *found == Ok(0)));
        }
        active.append(&second[second.len() - 8..]);
        assert_eq!(read(&mut reader, false), [Ok(1)]);
        assert_eq!(read(&mut reader, false), []);
    }

    #[test]
    fn records_may_be_longer_than_what_is_read_at_once() {
        let mut active = Active::new(64 << 20);
        let mut reader = active.reader();
        let payloads = [10, WINDOW as usize, 3, 5 * WINDOW as usize, 200_000, 900_000, 8];
        for (sequence, length) in (0..).zip(payloads) {
            active.append(&record(sequence, &vec![9; length]));
        }
        assert_eq!(read(&mut reader, false), (0..7).map(Ok).collect::<Vec<_>>());
    }

    #[test]
    fn damage_costs_what_it_hits_and_ends_nothing() {
        let mut active = Active::new(8 << 20);
        let (one, two) = (record(0, b"one"), record(1, &[1; 64]));
        active.append(&one);
        active.append(&two);
        active.append(&record(2, b"three"));
        // In the second record; and garbage behind the third, as a torn write leaves it.
        active.append(&[0xAB; 40]);
        active.file.write_all_at(&[0xFF], (HEADER + one.len() + 30) as u64).expect("written");
        let mut reader = active.reader();
        assert_eq!(read(&mut reader, false), [Ok(0), Err(two.len() as u64), Ok(2)]);
        assert_eq!(read(&mut reader, false), []);
        // Sealed, nothing will become of it.
        let sealed = read(&mut reader, true);
        assert!(matches!(sealed[..], [Err(_)]), "{sealed:?}");
        assert_eq!(read(&mut reader, true), []);
    }

    #[test]
    fn a_sealed_segment_is_read_behind_a_hole_of_any_length() {
        let mut active = Active::new(4 << 20);
        active.append(&record(0, b"one"));
        active.append(&vec![0; 3 << 20]);
        active.append(&record(1, b"two"));
        let mut reader = active.reader();
        assert_eq!(read(&mut reader, false), [Ok(0)]);
        let sealed = read(&mut reader, true);
        assert!(matches!(sealed[..], [Err(_), Ok(1)]), "{sealed:?}");
    }

    #[test]
    fn segments_are_listed_by_shard_and_number() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(list(root.path()).expect("listed").is_empty());
        for (shard, first, extension) in
            [(1, 0, "seg"), (0, 20, "seg"), (0, 3, "sealed"), (0, 9, "other")]
        {
            let path = layout::segment(root.path(), shard, first, extension);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, "").expect("a file");
        }
        std::fs::write(layout::raw(root.path()).join("noise"), "").expect("a file");
        std::fs::write(layout::ledger(root.path(), 0), "").expect("a file");
        let names: Vec<Name> = list(root.path()).expect("listed").into_keys().collect();
        assert_eq!(names, [(0, 3), (0, 20), (1, 0)]);
    }
}
