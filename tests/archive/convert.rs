//! What becomes of segments, whole and damaged.

use std::sync::Arc;

use modelgate::predictions::account::{Entry, SegmentAccount};
use modelgate::predictions::frame::Cause;
use modelgate::predictions::record::{self, Head, Statistics};
use modelgate::predictions::{Assignment, Label, Role, SchemaId, Schemas, Truth, layout};
use modelgate::types::{Code, DType};

use crate::support::segments::{SegmentWriter, Side};
use crate::table::{HOUR, START, column, head, note, push, read, schema};
use crate::{Kept, entries, files, parquet};

fn account(kept: &Kept, at: usize) -> SegmentAccount {
    match &entries(kept.root())[at] {
        Entry::Segment(account) => account.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn records_of_several_segments_become_rows_of_one_file() {
    let mut kept = Kept::new();
    let schema = Arc::new(schema("fraud", 1));
    Schemas::new(kept.root().to_owned()).keep(&schema).expect("kept");
    let mut first = SegmentWriter::new(0, 7, 100);
    push(&mut first, head(schema.id(), "r-1", START), 2, 0.0);
    first.gap(5, Cause::Refused);
    let refused = Head {
        code: Some(Code::Unavailable),
        reason: "limit",
        role: Role::Fallback,
        assignment: Assignment::Split,
        propensity: 0.25,
        route: "r",
        revision: 4,
        ..head(SchemaId::NONE, "r-2", START + HOUR)
    };
    push_empty(&mut first, &refused);
    first.seal(kept.root());
    let mut second = SegmentWriter::new(1, 7, 0);
    push(&mut second, head(schema.id(), "r-3", START + 1), 1, 100.0);
    let label = Label {
        request_id: "r-1".to_owned(),
        row: 1,
        label_time: START,
        recorded_time: START + 2 * HOUR,
        truth: Truth::Class("cat".to_owned()),
        weight: 0.5,
        model: "fraud".to_owned(),
    };
    second.label(&label);
    second.seal(kept.root());
    kept.convert();

    let files = parquet(kept.root());
    let name = "0000000000000007-000-00000000000000000100";
    let folder = "parquet/predictions/model=fraud/version=1/date=2026-01-01";
    let expected = [
        format!("parquet/labels/date=2026-01-01/hour=05/{name}-0002.parquet"),
        format!("{folder}/hour=03/{name}-0000.parquet"),
        format!("{folder}/hour=04/{name}-0001.parquet"),
    ];
    assert_eq!(files.keys().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    let rows = read(&files[&expected[1]]);
    for (name, expected) in [
        ("request_id", ["r-1", "r-1", "r-3"]),
        ("row", ["0", "1", "0"]),
        ("shard", ["0", "0", "1"]),
        ("sequence", ["100", "100", "0"]),
        ("f.a", ["0", "4", "100"]),
        ("f.d", ["3", "7", "103"]),
        ("o.score", ["0", "1", "100"]),
        ("code", ["ok", "ok", "ok"]),
        ("model_sha256", ["0123", "0123", "0123"]),
        ("propensity", ["-", "-", "-"]),
        ("profile", ["-", "-", "-"]),
    ] {
        assert_eq!(column(&rows, name), expected, "{name}");
    }
    let text = note(&files[&expected[1]], "modelgate.schema").expect("a schema");
    assert_eq!(
        serde_json::from_str::<modelgate::predictions::Schema>(&text).ok().as_ref(),
        Some(&*schema)
    );
    let ranges = note(&files[&expected[1]], "modelgate.keys").expect("ranges");
    assert!(ranges.contains(r#"{"epoch":7,"shard":1,"first":0,"last":0}"#), "{ranges}");
    let rows = read(&files[&expected[2]]);
    for (name, expected) in [
        ("code", "unavailable"),
        ("reason", "limit"),
        ("role", "fallback"),
        ("assignment", "split"),
        ("propensity", "0.25"),
        ("route_revision", "4"),
        ("schema_id", "-"),
    ] {
        assert_eq!(column(&rows, name), [expected], "{name}");
    }
    let rows = read(&files[&expected[0]]);
    assert_eq!(column(&rows, "class"), ["cat"]);
    assert_eq!(column(&rows, "value"), ["-"]);

    let (first, second) = (account(&kept, 0), account(&kept, 1));
    assert_eq!((first.first, first.next, first.records, first.predictions), (100, 107, 2, 2));
    assert_eq!(first.gaps, [(101, 5, Cause::Refused)]);
    assert_eq!((second.next, second.records, second.labels), (2, 2, 1));
    // Each file once, with what stands in it.
    let all: Vec<_> = [&first, &second].into_iter().flat_map(|account| &account.files).collect();
    assert_eq!(all.iter().map(|file| file.rows).sum::<u64>(), 5);
    for file in all {
        let bytes = std::fs::read(kept.root().join(&file.path)).expect("a file");
        assert_eq!(file.bytes, bytes.len() as u64);
        let digest: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(&bytes).into();
        assert_eq!(file.sha256, digest.map(|byte| format!("{byte:02x}")).concat());
    }
    assert!(files_of_raw(&kept).is_empty());
}

fn push_empty(segment: &mut SegmentWriter, head: &Head<'_>) {
    segment.prediction(head, |_, _| 0);
}

fn files_of_raw(kept: &Kept) -> Vec<String> {
    files(&layout::raw(kept.root())).into_keys().collect()
}

/// Bits flipped here and there: what they hit is a gap, everything else is a
/// row as it was written.
#[test]
fn damage_is_a_gap_and_never_a_row() {
    let schema = Arc::new(schema("fraud", 1));
    let mut whole = SegmentWriter::new(2, 9, 40);
    let mut ends = vec![whole.bytes.len()];
    for at in 0..50u8 {
        push(&mut whole, head(schema.id(), &format!("r-{at}"), START), 1, f32::from(at));
        ends.push(whole.bytes.len());
    }
    for (hits, missing, next) in [
        (&[10][..], &[10][..], 90),
        (&[0, 1, 30], &[0, 1, 30], 90),
        // The last, where the next segment tells where this one ended.
        (&[49], &[49], 90),
    ] {
        let mut kept = Kept::new();
        Schemas::new(kept.root().to_owned()).keep(&schema).expect("kept");
        let mut segment = SegmentWriter::new(2, 9, 40);
        segment.bytes = whole.bytes.clone();
        for hit in hits {
            segment.bytes[ends[*hit] + 30] ^= 4;
        }
        segment.seal(kept.root());
        SegmentWriter::new(2, 9, 90).write(kept.root(), layout::ACTIVE);
        kept.convert();
        let rows = read(parquet(kept.root()).values().next().expect("a file"));
        let left: Vec<usize> = (0..50).filter(|at| !missing.contains(at)).collect();
        let numbers: Vec<String> = left.iter().map(|at| (at + 40).to_string()).collect();
        assert_eq!(column(&rows, "sequence"), numbers);
        let values: Vec<String> = left.iter().map(|at| at.to_string()).collect();
        assert_eq!(column(&rows, "f.a"), values);
        let account = account(&kept, 0);
        let gaps: u64 = account.gaps.iter().map(|(_, count, _)| count).sum();
        assert!(account.gaps.iter().all(|(_, _, cause)| *cause == Cause::Damaged));
        assert_eq!((account.next, account.records + gaps), (next, 50));
    }
}

#[test]
fn a_gap_told_late_and_a_record_written_twice_are_counted_once() {
    let mut kept = Kept::new();
    let mut segment = SegmentWriter::new(0, 3, 10);
    let empty = head(SchemaId::NONE, "r", START);
    for number in [10, 11, 16, 11, 13] {
        segment.next = number;
        push_empty(&mut segment, &empty);
    }
    for (number, count) in [(12, 1), (14, 2), (4, 3)] {
        segment.next = number;
        segment.gap(count, Cause::Torn);
    }
    segment.seal(kept.root());
    kept.convert();
    let account = account(&kept, 0);
    assert_eq!(
        account.gaps,
        [(4, 3), (12, 1), (14, 2)].map(|(at, count)| (at, count, Cause::Torn))
    );
    assert_eq!((account.first, account.next, account.records), (10, 17, 4));
    let rows = read(parquet(kept.root()).values().next().expect("a file"));
    assert_eq!(column(&rows, "sequence"), ["10", "11", "16", "13"]);
}

/// A run that could not tell what the disk has of a segment writes its end
/// again, in a later one: those are the records, even while it is written.
#[test]
fn what_a_later_segment_repeats_is_its_own() {
    for extension in [layout::ACTIVE, layout::SEALED, layout::PREPARED] {
        let mut kept = Kept::new();
        let empty = head(SchemaId::NONE, "r", START);
        let mut segment = SegmentWriter::new(0, 3, 0);
        (0..10).for_each(|_| push_empty(&mut segment, &empty));
        segment.seal(kept.root());
        let mut later = SegmentWriter::new(0, 3, 7).later();
        (0..5).for_each(|_| push_empty(&mut later, &empty));
        later.write(kept.root(), extension);
        kept.convert();
        let last = if extension == layout::SEALED { 12 } else { 7 };
        let mut numbers = Vec::new();
        for path in parquet(kept.root()).values() {
            numbers.extend(column(&read(path), "sequence"));
        }
        assert_eq!(numbers, (0..last).map(|number| number.to_string()).collect::<Vec<_>>());
        let first = account(&kept, 0);
        assert_eq!((first.next, first.records, first.gaps), (7, 7, Vec::new()));
    }
}

/// A segment whose schema is not there waits for it; the others do not.
#[test]
fn a_segment_without_its_schema_is_kept_aside() {
    let mut kept = Kept::new();
    let schema = Arc::new(schema("fraud", 1));
    let mut segment = SegmentWriter::new(0, 7, 0);
    push(&mut segment, head(schema.id(), "r-1", START), 1, 0.0);
    let aside = segment.seal(kept.root());
    let mut other = SegmentWriter::new(1, 7, 0);
    push_empty(&mut other, &head(SchemaId::NONE, "r-2", START));
    other.seal(kept.root());
    let broken = layout::segment(kept.root(), 1, 77, layout::SEALED);
    std::fs::write(&broken, [0; 100]).expect("written");
    kept.convert();
    assert!(aside.exists() && broken.exists());
    assert_eq!(files_of_raw(&kept).len(), 2);
    assert_eq!(parquet(kept.root()).len(), 1);
    assert_eq!(entries(kept.root()).len(), 1);
    assert!(!files(kept.root()).keys().any(|name| name.ends_with("inprogress")));
    // Once it is there, the next keeper takes it.
    Schemas::new(kept.root().to_owned()).keep(&schema).expect("kept");
    let Kept { folder, metrics, keeper } = kept;
    drop(keeper);
    let keeper = crate::open(folder.path(), &metrics).expect("kept");
    let mut kept = Kept { folder, metrics, keeper };
    kept.convert();
    assert!(!aside.exists());
    assert_eq!(parquet(kept.root()).len(), 2);
}

/// A disk that refuses costs time, and nothing else.
#[test]
fn what_fails_is_done_later() {
    let mut kept = Kept::new();
    let mut segment = SegmentWriter::new(0, 7, 0);
    push_empty(&mut segment, &head(SchemaId::NONE, "r", START));
    let path = segment.seal(kept.root());
    // No folder can be made below a file.
    let parquet_folder = layout::parquet(kept.root());
    std::fs::write(&parquet_folder, "in the way").expect("written");
    let mut waiting = kept.keeper.waiting().expect("read");
    let stop = std::sync::atomic::AtomicBool::new(false);
    kept.keeper.convert(&mut waiting, &stop).expect_err("refused");
    assert!(path.exists() && entries(kept.root()).is_empty());
    std::fs::remove_file(&parquet_folder).expect("removed");
    kept.convert();
    assert!(!path.exists());
    assert_eq!(parquet(kept.root()).len(), 1);
}

/// Records of the same hour whose large tensors are digests stand in a file
/// that has columns for them; the others have none.
#[test]
fn digests_have_columns_where_there_are_some() {
    let mut kept = Kept::new();
    let schema = Arc::new(schema("fraud", 1));
    Schemas::new(kept.root().to_owned()).keep(&schema).expect("kept");
    let mut segment = SegmentWriter::new(0, 7, 0);
    push(&mut segment, head(schema.id(), "r-1", START), 1, 0.0);
    let head = Head { rows: 2, ..head(schema.id(), "r-2", START) };
    segment.prediction(&head, |side, out| {
        match side {
            Side::Inputs => {
                let of = Statistics { digest: 255, min: -1.0, max: f64::NAN, ..Default::default() };
                record::put_digest(out, 0, DType::Fp32, &[2, 4], &of);
            }
            Side::Outputs => record::put_raw(out, 0, DType::Fp32, &[2], &[0; 8]),
        }
        1
    });
    // Not what the schema says: one row too few, and another type.
    segment.prediction(&head, |side, out| {
        match side {
            Side::Inputs => record::put_raw(out, 0, DType::Fp32, &[1, 4], &[0; 16]),
            Side::Outputs => record::put_raw(out, 0, DType::Fp64, &[2], &[0; 16]),
        }
        1
    });
    segment.seal(kept.root());
    kept.convert();
    let files: Vec<_> = parquet(kept.root()).into_values().collect();
    let (plain, digested) = (read(&files[0]), read(&files[1]));
    assert!(plain.column_by_name("f.x.digest").is_none());
    assert_eq!(column(&plain, "f.a"), ["0", "-", "-"]);
    assert_eq!(column(&plain, "o.score"), ["0", "-", "-"]);
    assert_eq!(column(&digested, "f.x.digest"), ["00000000000000ff"; 2]);
    assert_eq!(column(&digested, "f.x.min"), ["-1"; 2]);
    assert_eq!(column(&digested, "f.x.max"), ["-"; 2]);
    assert_eq!(column(&digested, "f.a"), ["-"; 2]);
    assert_eq!(column(&digested, "o.score"), ["0"; 2]);
}
