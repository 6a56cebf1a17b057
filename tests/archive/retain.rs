//! What goes when it is old or too much.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use modelgate::predictions::account::{ChangeCause, Entry, SegmentAccount};
use modelgate::predictions::archive::{Deletion, Keep, Unit, delete_units, now_us};
use modelgate::predictions::frame::Cause;
use modelgate::predictions::store::verify::verify;
use modelgate::predictions::{SchemaId, Schemas, layout};
use modelgate::telemetry::LogMetrics;

use crate::support::segments::SegmentWriter;
use crate::table::{HOUR, START, head, push, schema};
use crate::{Kept, entries, files, open, parquet};

fn hours(kept: &mut Kept, count: u64) {
    for hour in 0..count {
        let mut segment = SegmentWriter::new(0, 7, hour * 10);
        for _ in 0..10 {
            let time = START + hour as i64 * HOUR;
            segment.prediction(&head(SchemaId::NONE, "r", time), |_, _| 0);
        }
        segment.seal(kept.root());
    }
}

#[test]
fn hours_that_are_too_old_go_and_are_told() {
    let mut kept = Kept::new();
    hours(&mut kept, 4);
    kept.convert();
    assert_eq!(parquet(kept.root()).len(), 4);
    let keep = Keep { age: Some(Duration::from_secs(3600)), bytes: None };
    // Three hours after the first began: what ended an hour ago goes.
    let gone = kept.keeper.retain(START + 3 * HOUR, &keep, None).expect("removed");
    assert_eq!(gone, 2);
    let left: Vec<_> = parquet(kept.root()).into_keys().collect();
    assert_eq!(left.len(), 2);
    assert!(left[0].contains("/hour=05/") && left[1].contains("/hour=06/"), "{left:?}");
    let told: Vec<_> = entries(kept.root())
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::File(change) => Some((change.cause, change.rows, change.now)),
            Entry::Segment(_) | Entry::Compacted(_) => None,
        })
        .collect();
    assert_eq!(told, [(ChangeCause::Age, 10, None), (ChangeCause::Age, 10, None)]);
    assert_eq!(kept.keeper.retain(START + 3 * HOUR, &keep, None).expect("nothing"), 0);
    // A file whose line says that the store does not have it yet stays.
    assert_eq!(kept.keeper.retain(START + 99 * HOUR, &keep, Some(0)).expect("nothing"), 0);
}

/// With nothing else to give up, sealed segments go: the oldest first, and as gaps.
#[test]
fn segments_are_the_last_to_go_and_become_gaps() {
    let mut kept = Kept::new();
    hours(&mut kept, 1);
    kept.convert();
    for shard in 1..3 {
        let mut segment = SegmentWriter::new(shard, 7, 5);
        segment.prediction(&head(SchemaId::NONE, "r", START), |_, _| 0);
        segment.gap(2, Cause::Refused);
        segment.prediction(&head(SchemaId::NONE, "r", START), |_, _| 0);
        segment.seal(kept.root());
    }
    let sealed: u64 = files(&layout::raw(kept.root()))
        .values()
        .map(|path| std::fs::metadata(path).expect("a file").len())
        .sum();
    let keep = Keep { age: None, bytes: Some(sealed - 1) };
    assert_eq!(kept.keeper.retain(START, &keep, None).expect("removed"), 2);
    assert!(parquet(kept.root()).is_empty());
    assert_eq!(files(&layout::raw(kept.root())).len(), 1);
    let told = entries(kept.root());
    let Some(Entry::Segment(account)) = told.last() else { panic!("{told:?}") };
    assert_eq!((account.shard, account.first, account.next, account.records), (1, 5, 9, 0));
    assert_eq!(account.epoch, 7);
    assert_eq!(
        account.gaps,
        [(5, 1, Cause::Expired), (6, 2, Cause::Refused), (8, 1, Cause::Expired)]
    );
}

/// Books of 1,500 segments whose files are gone, and a deletion that was done long ago.
fn old_books(root: &Path) {
    let mut lines = String::new();
    for at in 0..1500 {
        let (first, next) = (at * 10, at * 10 + 10);
        let account =
            SegmentAccount { epoch: 7, first, next, records: 10, ..SegmentAccount::default() };
        lines += &serde_json::to_string(&Entry::Segment(account)).expect("JSON");
        lines.push('\n');
    }
    std::fs::create_dir_all(root).expect("a folder");
    std::fs::write(layout::archive(root), lines).expect("written");
}

#[test]
fn books_of_what_is_gone_are_written_anew_once_the_store_has_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    old_books(root);
    let asked = delete_units(root, &[Unit::Request("r".to_owned())]).expect("deleted");
    assert!(matches!(asked, Deletion::Done(_)));
    let metrics = Arc::<LogMetrics>::default();
    let keeper = open(root, &metrics).expect("kept");
    let mut kept = Kept { folder, metrics, keeper };
    let sizes = |kept: &Kept| {
        [layout::archive(kept.root()), layout::deleted(kept.root())]
            .map(|path| std::fs::metadata(path).expect("a file").len())
    };
    let whole = sizes(&kept);
    let end = kept.keeper.books().length;
    let keep = Keep { age: Some(Duration::from_secs(3600)), bytes: None };
    let later = now_us() + 3 * HOUR;
    let compact = |kept: &mut Kept, keep: &Keep, shipped| {
        kept.keeper.compact(later, keep, shipped).expect("compacted");
        sizes(kept)
    };
    assert_eq!(compact(&mut kept, &keep, Some(end - 1)), whole, "not shipped");
    // Of a store that is not configured any more.
    let cursor = layout::shipped(kept.root());
    std::fs::write(&cursor, r#"{"bytes": 5, "schemas": []}"#).expect("written");
    assert_eq!(compact(&mut kept, &keep, None), whole, "not shipped");
    std::fs::remove_file(cursor).expect("removed");
    let [lines, asks] = compact(&mut kept, &Keep::default(), None);
    assert!(lines < whole[0] / 2, "{lines} of {whole:?}");
    assert_eq!(asks, whole[1], "records are kept for ever, and so is what was deleted of them");
    assert_eq!(compact(&mut kept, &keep, None), [lines, 0]);
    // What is told from now on stands where the cursor expects it.
    let schema = Arc::new(schema("fraud", 1));
    Schemas::new(kept.root().to_owned()).keep(&schema).expect("kept");
    let mut segment = SegmentWriter::new(0, 7, 15_000);
    push(&mut segment, head(schema.id(), "r", START), 1, 0.5);
    segment.seal(kept.root());
    kept.convert();
    assert!(kept.keeper.books().files.values().all(|file| file.told > end));
    let Kept { folder, metrics, keeper } = kept;
    drop(keeper);
    let keeper = open(folder.path(), &metrics).expect("kept");
    assert!(keeper.books().files.values().all(|file| file.told > end));
    assert_eq!(keeper.books().files.len(), 1);
    let report = verify(folder.path()).expect("a report");
    assert!(report.complete, "{report:?}");
    assert_eq!(report.shards[0].archived_records, 15_001);
}
