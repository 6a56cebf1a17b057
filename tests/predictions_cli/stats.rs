use std::fs::{self, File};
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, RecordBatch, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use crate::world::{NOON, World};

/// A file of these variants and codes, a second apart, in row groups of three rows.
pub fn predictions(world: &World, version: u64, hour: i64, rows: &[(Option<&str>, &str)]) {
    let times =
        (0..rows.len() as i64).map(|at| NOON + (hour - 12) * 3_600_000_000 + at * 1_000_000);
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
    let variants: DictionaryArray<Int32Type> = rows.iter().map(|row| row.0).collect();
    let codes: DictionaryArray<Int32Type> = rows.iter().map(|row| row.1).collect();
    let columns: [(&str, ArrayRef); 3] = [
        ("event_time", Arc::new(times)),
        ("variant", Arc::new(variants)),
        ("code", Arc::new(codes)),
    ];
    let folder =
        format!("parquet/predictions/model=fraud/version={version}/date=2026-11-21/hour={hour}");
    write(world, &folder, columns);
}

fn write<const COUNT: usize>(world: &World, folder: &str, columns: [(&str, ArrayRef); COUNT]) {
    let folder = world.root().join(folder);
    fs::create_dir_all(&folder).expect("a folder");
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let file = File::create(folder.join("a.parquet")).expect("a file");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(3)).build();
    let mut writer =
        ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

#[test]
fn rows_are_counted_by_variant_and_code() {
    let world = World::new();
    // A row group of one kind alone, and one of several.
    let champion = [(Some("champion"), "ok"); 3];
    let mixed = [(Some("champion"), "ok"), (None, "internal"), (Some("candidate"), "ok")];
    predictions(&world, 3, 12, &[champion, mixed].concat());
    predictions(&world, 3, 13, &[(Some("candidate"), "ok")]);
    predictions(&world, 4, 13, &[(Some("champion"), "ok")]);
    let times = TimestampMicrosecondArray::from_iter_values([NOON, NOON + 1]).with_timezone("UTC");
    write(&world, "parquet/labels/date=2026-11-21/hour=12", [("label_time", Arc::new(times))]);
    let account = json!({
        "shard": 0, "epoch": 1, "first": 0, "next": 12, "records": 8, "gaps": [[4, 3, "torn"], [9, 1, "damaged"]],
        "predictions": 8, "labels": 0, "files": [],
    });
    // Written twice, as after a crash, and then cut short.
    fs::write(world.root().join("archive.jsonl"), format!("{account}\n{account}\n{{\"shard\":"))
        .expect("written");

    let ended = world.run(&["stats", "-o", "json"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let three = &report["models"][0];
    assert_eq!((&three["model"], &three["version"]), (&json!("fraud"), &json!("3")));
    assert_eq!((&three["files"], &three["rows"]), (&json!(2), &json!(7)));
    assert_eq!(three["first"], "2026-11-21T12:00:00.000000Z");
    assert_eq!(three["last"], "2026-11-21T13:00:00.000000Z");
    assert!(three["bytes"].as_u64() > Some(100));
    assert_eq!(
        three["answers"],
        json!([
            {"variant": "", "code": "internal", "rows": 1},
            {"variant": "candidate", "code": "ok", "rows": 2},
            {"variant": "champion", "code": "ok", "rows": 4},
        ])
    );
    assert_eq!(report["models"][1]["version"], "4");
    assert_eq!(report["labels"]["rows"], 2);
    assert_eq!(report["gaps"], json!({"damaged": 1, "torn": 3}));

    let text = world.run(&["stats"]).stdout;
    let words: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[1][..6], ["fraud", "3", "-", "internal", "1", "2"]);
    assert_eq!(words[2], ["candidate", "ok", "2"]);
    assert!(text.ends_with("gaps: damaged 1, torn 3\n"), "{text}");
    let none = world.run(&["stats", "--model", "churn", "-o", "json"]).stdout;
    let none: Value = serde_json::from_str(&none).expect("JSON");
    assert_eq!(none["models"], json!([]));
}
