//! The program on an archive that the gateway's own keeper wrote.

#[path = "../../tests/support/segments.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod segments;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use modelgate::predictions::archive::Keeper;
use modelgate::predictions::frame::Cause;
use modelgate::predictions::record::{self, Head};
use modelgate::predictions::schema::Treated;
use modelgate::predictions::{Column, Label, Schema, SchemaId, Schemas, TensorSchema, Truth};
use modelgate::types::DType;
use segments::{SegmentWriter, Side};
use serde_json::{Value, json};

/// 2026-11-21T12:00:00Z, in microseconds since 1970.
const NOON: i64 = 1_795_262_400_000_000;

/// A table `x` of these columns, and a score.
fn schema(root: &Path, version: u64, columns: &[&str]) -> SchemaId {
    let column = |name: &&str| Column { name: (*name).to_owned(), treated: Treated::Keep };
    let tensor = |name: &str, columns: Vec<Column>, width: i64| TensorSchema {
        name: name.to_owned(),
        datatype: DType::Fp32,
        shape: vec![-1, width],
        columns,
        whole: Treated::Keep,
    };
    let schema = Arc::new(Schema {
        model: "fraud".to_owned(),
        version,
        digest: "sha256:abc".to_owned(),
        gateway: "0.1.0".to_owned(),
        provider: "cpu".to_owned(),
        row_wise: true,
        inputs: vec![tensor("x", columns.iter().map(column).collect(), columns.len() as i64)],
        outputs: vec![tensor("score", Vec::new(), 1)],
    });
    Schemas::new(root.to_owned()).keep(&schema).expect("kept");
    schema.id()
}

/// A request of two rows, so many seconds after noon.
fn predict(segment: &mut SegmentWriter, id: &str, schema: SchemaId, version: u64, x: &[f32]) {
    let head = Head {
        event_time: NOON + segment.next as i64 * 1_000_000,
        schema,
        model: "fraud",
        version,
        request_id: id.as_bytes(),
        variant: b"champion",
        propensity: 1.0,
        sampling: 0.5,
        rows: 2,
        batch_rows: 2,
        ..Head::default()
    };
    let bytes = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
    segment.prediction(&head, |side, out| {
        let (data, width) = match side {
            Side::Inputs => (bytes(x), x.len() as i64 / 2),
            Side::Outputs => (bytes(&[0.25, 0.75]), 1),
        };
        record::put_raw(out, 0, DType::Fp32, &[2, width], &data);
        1
    });
}

fn label(segment: &mut SegmentWriter, id: &str, row: u32, class: &str) {
    segment.label(&Label {
        request_id: id.to_owned(),
        row,
        label_time: NOON + segment.next as i64,
        recorded_time: NOON + segment.next as i64,
        truth: Truth::Class(class.to_owned()),
        weight: 1.0,
        model: "fraud".to_owned(),
    });
}

fn run(root: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate-query"));
    let output = command.args(arguments).arg("--dir").arg(root).output().expect("the program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn what_was_recorded_is_asked_and_exported() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let (one, two) = (schema(root, 1, &["amount"]), schema(root, 2, &["amount", "age"]));
    let mut segment = SegmentWriter::new(0, 7, 0);
    predict(&mut segment, "a", one, 1, &[1.0, 2.0]);
    predict(&mut segment, "b", two, 2, &[3.0, 30.0, 4.0, 40.0]);
    segment.gap(5, Cause::Dropped);
    label(&mut segment, "a", 1, "good");
    label(&mut segment, "b", 0, "good");
    label(&mut segment, "b", 0, "bad");
    label(&mut segment, "nobody", 0, "good");
    segment.seal(root);
    let schemas = Arc::new(Schemas::new(root.to_owned()));
    let mut keeper = Keeper::open(root, schemas, Arc::default()).expect("kept");
    let mut waiting = keeper.waiting().expect("read");
    while !waiting.is_empty() {
        keeper.convert(&mut waiting, &AtomicBool::new(false)).expect("converted");
    }

    let sql = r#"SELECT request_id, "row", version, code, "f.amount", "f.age", "o.score", shard, date
        FROM predictions ORDER BY event_time, "row""#;
    let rows: Value =
        serde_json::from_str(&run(root, &["query", sql, "-o", "json"])).expect("JSON");
    let row = |id: &str, row: u32, version: u64, amount: f32, age: Option<f32>, score: f32| {
        json!({"request_id": id, "row": row, "version": version, "code": "ok",
            "f.amount": amount, "f.age": age, "o.score": score, "shard": 0, "date": "2026-11-21"})
    };
    let expected = json!([
        row("a", 0, 1, 1.0, None, 0.25),
        row("a", 1, 1, 2.0, None, 0.75),
        row("b", 0, 2, 3.0, Some(30.0), 0.25),
        row("b", 1, 2, 4.0, Some(40.0), 0.75),
    ]);
    assert_eq!(rows, expected);

    let path = root.join("training.jsonl");
    let out = path.to_str().expect("a path");
    let told = run(root, &["export", "--for-training", "--format", "jsonl", "--out", out]);
    assert!(told.ends_with("gaps in the log of these days, of any model: dropped 5\n"), "{told}");
    let text = std::fs::read_to_string(path).expect("a file");
    let rows: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let short = |row: &Value| {
        (row["request_id"].clone(), row["row"].clone(), row["label"].clone(), row["weight"].clone())
    };
    assert_eq!(
        rows.iter().map(short).collect::<Vec<_>>(),
        [
            (json!("a"), json!(1), json!("good"), json!(2.0)),
            (json!("b"), json!(0), json!("bad"), json!(2.0)),
        ]
    );
    let unmatched = root.join("unmatched.csv");
    let out = unmatched.to_str().expect("a path");
    let told = run(root, &["join", "--unmatched", "--format", "csv", "--out", out]);
    assert!(told.contains("2 predictions have a label\n1 labels match no prediction\n"), "{told}");
}
