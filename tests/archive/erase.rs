//! Units that are deleted: from what is archived and from what comes to be.

use std::sync::Arc;

use modelgate::predictions::account::{ChangeCause, Entry};
use modelgate::predictions::archive::{
    Archive, ArchiveOptions, Deleted, Deletion, Keep, Unit, delete_units, deleted,
};
use modelgate::predictions::record::Head;
use modelgate::predictions::{Label, Schemas, Truth};

use crate::support::segments::SegmentWriter;
use crate::table::{HOUR, START, column, head, push, read, schema};
use crate::{Kept, entries, open, parquet, wait_for};

fn label(request: &str, recorded_time: i64) -> Label {
    Label {
        request_id: request.to_owned(),
        row: 0,
        label_time: recorded_time,
        recorded_time,
        truth: Truth::Value(1.0),
        weight: 1.0,
        model: String::new(),
    }
}

/// A log of three units: one by its hash, one by its key, one of a request
/// alone. Each has a request in either hour, and a label for it.
fn log(kept: &mut Kept) {
    let schema = Arc::new(schema("fraud", 1));
    Schemas::new(kept.root().to_owned()).keep(&schema).expect("kept");
    let mut segment = SegmentWriter::new(0, 7, 0);
    for hour in 0..2 {
        for (at, name) in ["hash", "key", "other"].into_iter().enumerate() {
            let id = format!("{name}-{hour}");
            let time = START + hour * HOUR;
            let head = Head {
                unit: (name == "hash").then_some([0xab; 16]),
                unit_key: if name == "key" { b"user-1" } else { b"" },
                ..head(schema.id(), &id, time)
            };
            push(&mut segment, head, 2, at as f32);
            segment.label(&label(&id, START));
        }
    }
    segment.seal(kept.root());
}

fn requests(kept: &Kept, part: &str) -> Vec<String> {
    let files = parquet(kept.root());
    let ours = files.iter().filter(|(name, _)| name.starts_with(&format!("parquet/{part}")));
    let mut ids: Vec<String> =
        ours.flat_map(|(_, path)| column(&read(path), "request_id")).collect();
    ids.sort();
    ids
}

#[test]
fn rows_and_labels_of_a_unit_go_from_what_is_archived() {
    let mut kept = Kept::new();
    log(&mut kept);
    kept.convert();
    let Kept { folder, metrics, keeper } = kept;
    drop(keeper);
    let units = [
        Unit::Hash("AB".repeat(16)),
        Unit::Key("user-1".to_owned()),
        Unit::Request("other-1".to_owned()),
    ];
    let done = delete_units(folder.path(), &units).expect("deleted");
    assert_eq!(done, Deletion::Done(Deleted { rows: 10, labels: 5 }));
    let keeper = open(folder.path(), &metrics).expect("kept");
    let kept = Kept { folder, metrics, keeper };
    assert_eq!(requests(&kept, "predictions"), ["other-0", "other-0"]);
    assert_eq!(requests(&kept, "labels"), ["other-0"]);
    let files = parquet(kept.root());
    assert_eq!(files.len(), 2, "{files:?}");
    for (path, file) in &kept.keeper.books().files {
        assert_eq!(file.bytes, std::fs::metadata(&files[path]).expect("a file").len());
    }
    let told: Vec<_> = entries(kept.root())
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::File(change) => {
                assert_eq!(change.cause, ChangeCause::Deleted);
                Some((change.rows, change.now.map_or(0, |file| file.rows)))
            }
            Entry::Segment(_) | Entry::Compacted(_) => None,
        })
        .collect();
    assert_eq!(told, [(6, 2), (6, 0), (6, 1)]);
    // The footer says the same of what is left as it said of all.
    let rows = files.values().find(|path| path.to_string_lossy().contains("predictions"));
    let rows = rows.expect("a file");
    assert!(crate::table::note(rows, "modelgate.schema").is_some());
    let ranges = crate::table::note(rows, "modelgate.keys").expect("ranges");
    assert_eq!(ranges, r#"[{"epoch":7,"shard":0,"first":4,"last":4}]"#);
}

/// Asked for while the records are in segments, and labels come later still.
#[test]
fn what_is_converted_later_is_left_out() {
    let mut kept = Kept::new();
    log(&mut kept);
    let units = [Unit::Key("user-1".to_owned())];
    let asked = delete_units(kept.root(), &units).expect("asked");
    let Deletion::Asked(asked) = asked else { panic!("{asked:?}") };
    assert_eq!(deleted(kept.root(), &asked).expect("read"), None);
    assert!(kept.keeper.forget().expect("done"));
    assert_eq!(deleted(kept.root(), &asked).expect("read"), Some(Deleted::default()));
    kept.convert();
    let left = ["hash-0", "hash-1", "other-0", "other-1"];
    assert_eq!(requests(&kept, "predictions"), left.map(|id| [id, id]).concat());
    assert_eq!(requests(&kept, "labels"), left);
    let told = entries(kept.root());
    let Entry::Segment(account) = &told[0] else { panic!("{told:?}") };
    assert_eq!((account.records, account.next, account.deleted), (12, 12, 2));
    // And a label after that, which only the requests' numbers tell.
    let mut segment = SegmentWriter::new(0, 7, 12);
    segment.label(&label("key-0", START));
    segment.label(&label("late", START));
    segment.seal(kept.root());
    kept.convert();
    assert_eq!(requests(&kept, "labels"), ["hash-0", "hash-1", "late", "other-0", "other-1"]);
}

#[test]
fn a_running_archive_does_what_another_process_asks_for() {
    let mut kept = Kept::new();
    log(&mut kept);
    let Kept { folder, metrics, keeper } = kept;
    drop(keeper);
    let root = folder.path().to_owned();
    let options = ArchiveOptions { root: root.clone(), keep: Keep::default(), ship: None };
    let schemas = Arc::new(Schemas::new(root.clone()));
    let mut archive = Archive::start(options, schemas, metrics).expect("started");
    wait_for("an archive", || parquet(&root).len() == 3);
    let asked = delete_units(&root, &[Unit::Hash("ab".repeat(16))]).expect("asked");
    let Deletion::Asked(asked) = asked else { panic!("{asked:?}") };
    wait_for("a deletion", || deleted(&root, &asked).expect("read").is_some());
    let expected = Some(Deleted { rows: 4, labels: 2 });
    assert_eq!(deleted(&root, &asked).expect("read"), expected);
    archive.stop();
}
