//! Damage: flipped bits, lost files, arbitrary bytes.

use proptest::prelude::*;

use super::super::ledger::Books;
use super::super::simulated::Random;
use super::*;
use crate::predictions::frame::{Cause, Gap};

/// A sealed segment of at least 64 KiB.
fn written() -> (Simulated, PathBuf) {
    let disk = Simulated::new(1);
    let mut options = options(Path::new(ROOT));
    options.segment_bytes = 1 << 20;
    let driven = Driven::open_with(&disk, options);
    let mut random = Random(5);
    let mut bytes = 0;
    while bytes < 64 << 10 {
        let length = 20 + random.below(400) as usize;
        let payload: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        place(&driven.append(&payload));
        bytes += length;
    }
    driven.close();
    (disk, layout::segment(Path::new(ROOT), 0, 0, layout::SEALED))
}

/// Every bit of the records. What a scan finds at a place depends on the
/// bytes from there on alone, so it is read from the hit record to the next
/// record that stands where one stood.
#[test]
fn a_flipped_bit_costs_the_record_it_hits_and_makes_none() {
    let (disk, path) = written();
    let mut bytes = disk.read(&path, u64::MAX).expect("a segment");
    let epoch = Header::decode(&bytes).expect("a header").epoch;
    let scan = |bytes: &[u8], from| frame::scan(bytes, epoch, from).collect::<Vec<Piece>>();
    let whole = scan(&bytes, HEADER);
    let starts: Vec<usize> = whole
        .iter()
        .map(|piece| match piece {
            Piece::Record { payload, .. } => payload.start - frame::FRAME_HEAD,
            Piece::Damage(place) => panic!("damaged at {place:?}"),
        })
        .collect();
    for at in HEADER..bytes.len() {
        let hit = starts.partition_point(|start| *start <= at) - 1;
        let behind = starts.get(hit + 1).copied().unwrap_or(bytes.len());
        let Piece::Record { payload, .. } = &whole[hit] else { continue };
        let is_padding = at >= payload.end;
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            let mut pieces = frame::scan(&bytes, epoch, starts[hit]);
            let first = pieces.next();
            if is_padding {
                assert_eq!(first.as_ref(), Some(&whole[hit]), "padding at {at}");
            } else {
                assert_eq!(first, Some(Piece::Damage(starts[hit]..behind)), "at {at}, bit {bit}");
            }
            assert_eq!(pieces.next().as_ref(), whole.get(hit + 1), "at {at}, bit {bit}");
            bytes[at] ^= 1 << bit;
        }
    }
    assert!(bytes.len() > 64 << 10 && starts.len() > 250);
}

/// An unfinished segment, as a killed process leaves it, with one bit flipped.
#[test]
fn recovery_loses_the_hit_record_and_tells_of_it() {
    let disk = Simulated::new(3);
    let driven = Driven::open(&disk);
    let given: Vec<Vec<u8>> = (0..12u8).map(|one| vec![one; 30 + usize::from(one)]).collect();
    given.iter().for_each(|payload| {
        place(&driven.append(payload));
    });
    drop(driven);
    disk.restart();
    let (path, _, bytes) = segments(&disk, Path::new(ROOT)).remove(0);
    let end = Contents::read(&bytes).expect("a segment").end;
    for at in (0..end).step_by(3) {
        disk.edit(&path, |file| {
            file.clone_from(&bytes);
            file[at] ^= 1 << (at % 8);
        });
        let copy = disk.copy();
        let mut driven = Driven::open(&copy);
        driven.settle();
        let report = driven.verify();
        assert!(report.complete, "at {at}: {report:?}");
        let found: Vec<Vec<u8>> = records(&copy, Path::new(ROOT)).into_values().collect();
        // The segment was not named yet, so a header that cannot be read costs all of it.
        let lost = given.len() - found.len();
        assert!(if at < HEADER { lost == given.len() } else { lost <= 1 }, "at {at}: {lost}");
        let gaps = report.shards[0].gaps.values().sum::<u64>();
        assert_eq!(gaps, lost as u64, "at {at}");
        assert!(found.iter().all(|payload| given.contains(payload)), "at {at}");
    }
}

#[test]
fn a_named_segment_is_read_without_its_header() {
    let disk = Simulated::new(3);
    let mut driven = Driven::open(&disk);
    for payload in [b"one", b"two"] {
        place(&driven.append(payload));
    }
    driven.keep();
    drop(driven);
    disk.restart();
    let path = layout::segment(Path::new(ROOT), 0, 0, layout::ACTIVE);
    disk.edit(&path, |file| file[20] ^= 1);
    let mut driven = Driven::open(&disk);
    assert_eq!(driven.log.recovered().damaged, 1);
    driven.settle();
    assert!(driven.verify().complete);
    assert_eq!(records(&disk, Path::new(ROOT)).len(), 2);
    drop(driven);
    // Without a ledger nobody knows its epoch.
    let driven = Driven::open(&disk);
    place(&driven.append(b"three"));
    drop(driven);
    disk.restart();
    let last = segments(&disk, Path::new(ROOT)).pop().expect("a segment").0;
    disk.edit(&last, |file| file[20] ^= 1);
    disk.lose_page(&layout::ledger(Path::new(ROOT), 0));
    let mut driven = Driven::open(&disk);
    driven.settle();
    assert!(driven.verify().complete);
    let files = disk.list(&layout::shard(Path::new(ROOT), 0)).expect("files");
    assert!(files.iter().any(|(name, _)| name.ends_with(layout::DAMAGED)), "{files:?}");
}

/// What is done to a disk.
type Harm = fn(&Simulated);

#[test]
fn verification_finds_what_is_gone() {
    let cases: [(&str, Harm); 4] = [
        ("a segment", |disk| {
            disk.remove(&layout::segment(Path::new(ROOT), 0, 3, layout::SEALED)).expect("removed");
        }),
        ("the last segment", |disk| {
            disk.remove(&layout::segment(Path::new(ROOT), 0, 6, layout::SEALED)).expect("removed");
        }),
        ("a record", |disk| {
            disk.edit(&layout::segment(Path::new(ROOT), 0, 3, layout::SEALED), |file| {
                file.drain(HEADER..HEADER + frame::FRAME_HEAD + 1000);
            });
        }),
        ("a bit", |disk| {
            disk.edit(&layout::segment(Path::new(ROOT), 0, 3, layout::SEALED), |file| {
                file[HEADER + 100] ^= 4;
            });
        }),
    ];
    let expected =
        [(3, vec![(3, 6)], 0), (2, vec![(6, 8)], 0), (1, vec![(3, 4)], 0), (1, vec![(3, 4)], 1)];
    for ((what, damage), (unexplained, ranges, damaged)) in cases.into_iter().zip(expected) {
        let disk = Simulated::new(1);
        let mut driven = Driven::open(&disk);
        for _ in 0..8 {
            place(&driven.append(&[9; 1000]));
            driven.keep();
        }
        driven.close();
        assert!(verify(&disk).complete);
        damage(&disk);
        let report = verify(&disk);
        assert!(!report.complete, "{what}");
        let shard = &report.shards[0];
        assert_eq!(shard.unexplained, unexplained, "{what}: {shard:?}");
        assert_eq!((&shard.unexplained_ranges, shard.damaged), (&ranges, damaged), "{what}");
    }
}

#[test]
fn accounts_stand_for_segments_that_are_gone() {
    let disk = Simulated::new(1);
    let mut driven = Driven::open(&disk);
    for _ in 0..8 {
        place(&driven.append(&[9; 1000]));
        driven.keep();
    }
    driven.close();
    let path = layout::segment(Path::new(ROOT), 0, 3, layout::SEALED);
    let account = Contents::read(&disk.read(&path, u64::MAX).expect("bytes")).expect("a segment");
    let line = serde_json::to_vec(&account.account()).expect("a line");
    let archive = disk.create(&layout::archive(Path::new(ROOT)), 0).expect("a file");
    archive.write_at(&line, 0).expect("written");
    assert!(verify(&disk).complete, "archived and not removed yet");
    disk.remove(&path).expect("removed");
    let report = verify(&disk);
    assert!(report.complete, "{report:?}");
    assert_eq!((report.shards[0].raw_records, report.shards[0].archived_records), (5, 3));
    // Without a ledger the archive says how far the numbers went.
    for first in [0, 6] {
        disk.remove(&layout::segment(Path::new(ROOT), 0, first, layout::SEALED)).expect("removed");
    }
    disk.restart();
    disk.lose_page(&layout::ledger(Path::new(ROOT), 0));
    assert_eq!(place(&Driven::open(&disk).append(b"next")).sequence, 6);
}

proptest! {
    /// Whatever stands in the folder, the log starts, appends, and is complete from there on.
    #[test]
    fn arbitrary_files_are_no_reason_not_to_start(
        files in prop::collection::vec(
            (0usize..5, prop::collection::vec(any::<u8>(), 0..300), any::<bool>()), 0..5),
        page in prop::collection::vec(any::<u64>(), 9),
        honest in any::<bool>(),
    ) {
        let disk = Simulated::new(1);
        let root = Path::new(ROOT);
        let ledger = disk.page(&layout::ledger(root, 0)).expect("a page");
        for (cell, value) in ledger.iter().zip(&page) {
            cell.store(*value, Relaxed);
        }
        if honest {
            ledger[0].store(u64::from_le_bytes(*b"MGLEDG01"), Relaxed);
            ledger[1].store(0, Relaxed);
        }
        for (at, (name, bytes, header)) in files.into_iter().enumerate() {
            let first = at as u64 * 10;
            let path = match name {
                0 => layout::segment(root, 0, first, layout::ACTIVE),
                1 => layout::segment(root, 0, first, layout::SEALED),
                2 => layout::prepared(root, 0, 7, first),
                3 => layout::shard(root, 0).join(format!("{at}.seg")),
                _ => layout::archive(root),
            };
            let Ok(file) = disk.create(&path, 0) else { continue };
            let mut all = Header { shard: 0, epoch: 7, first, created: 1 }.encode().to_vec();
            all.truncate(if header { HEADER } else { 0 });
            all.extend(bytes);
            file.write_at(&all, 0).expect("written");
        }
        let mut driven = Driven::open(&disk);
        place(&driven.append(b"a record"));
        driven.settle();
        let _ = driven.verify();
        driven.close();
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let header = Header { shard: 0, epoch: 0, first: 0, created: 0 };
        let contents = Contents::of_frames(header, &bytes, None);
        prop_assert!(contents.end <= bytes.len().max(HEADER));
        let _ = contents.account();
        let _ = Books::decode(&bytes, 0);
        let _ = Gap::decode(&bytes).map(|gap| Cause::label(gap.cause));
    }
}
