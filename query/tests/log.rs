//! The program on logs that the tests write: two models, one of them in two
//! versions with other columns, and labels.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Float32Array, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, TimestampMicrosecondArray, UInt32Array, UInt64Array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float32Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

/// 2026-11-21T12:00:00Z, in microseconds since 1970.
const NOON: i64 = 1_795_262_400_000_000;
const HOUR: i64 = 3_600_000_000;

/// Request, kind, class, value, and seconds after noon.
type LabelRow<'a> = (&'a str, &'a str, Option<&'a str>, Option<f64>, i64);

struct Log {
    data: tempfile::TempDir,
}

impl Log {
    fn new() -> Log {
        let log = Log { data: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir(log.root()).expect("the log's folder");
        log
    }

    /// `fraud` 1 at noon and 2 an hour later, `churn.v2` at noon.
    fn with_models() -> Log {
        let log = Log::new();
        let one = Arc::new(Float32Array::from(vec![1.0, 2.0, 3.0, 4.0])) as ArrayRef;
        log.predictions("fraud", 1, 12, "a", 0..4, vec![("f.amount", one)]);
        let two = Arc::new(Float64Array::from(vec![5.0, 6.0, 7.0, 8.0])) as ArrayRef;
        let country = Arc::new(StringArray::from(vec![Some("ch"), None, None, None])) as ArrayRef;
        log.predictions("fraud", 2, 13, "b", 4..8, vec![("f.amount", two), ("f.country", country)]);
        let text = Arc::new(StringArray::from(vec!["low", "high"])) as ArrayRef;
        let lists = [Some(vec![Some(0.5)]), Some(vec![])];
        let lists = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists));
        log.predictions("churn.v2", 1, 12, "c", 8..10, vec![("f.amount", text), ("o.p", lists)]);
        log
    }

    fn root(&self) -> PathBuf {
        self.data.path().join("predictions")
    }

    /// Rows `r-<sequence>`, a second apart; the last of each file failed.
    fn predictions(
        &self,
        model: &str,
        version: u64,
        hour: i64,
        file: &str,
        numbers: std::ops::Range<u64>,
        own: Vec<(&str, ArrayRef)>,
    ) {
        let count = numbers.clone().count();
        let times: Vec<i64> =
            (0..count as i64).map(|at| NOON + (hour - 12) * HOUR + at * 1_000_000).collect();
        let ids: Vec<String> = numbers.clone().map(|number| format!("r-{number}")).collect();
        let mut codes = vec!["ok"; count];
        codes[count - 1] = "internal";
        let mut columns = vec![
            ("event_time", timestamps(times.clone())),
            ("recorded_time", timestamps(times)),
            ("request_id", Arc::new(StringArray::from(ids)) as ArrayRef),
            ("row", Arc::new(Int32Array::from(vec![0; count]))),
            ("epoch", Arc::new(UInt64Array::from(vec![u64::MAX; count]))),
            ("shard", Arc::new(UInt32Array::from(vec![0; count]))),
            ("sequence", Arc::new(UInt64Array::from_iter_values(numbers))),
            ("variant", words(vec!["champion"; count])),
            ("role", words(vec!["primary"; count])),
            ("code", words(codes)),
            ("sampling_fraction", Arc::new(Float32Array::from(vec![0.5; count]))),
            ("propensity", Arc::new(Float32Array::from(vec![0.25; count]))),
        ];
        columns.extend(own);
        let folder = format!(
            "parquet/predictions/model={model}/version={version}/date=2026-11-21/hour={hour:02}"
        );
        write(&self.root().join(folder), file, columns);
    }

    fn labels(&self, labels: &[LabelRow<'_>]) {
        let count = labels.len();
        let times: Vec<i64> = labels.iter().map(|label| NOON + label.4 * 1_000_000).collect();
        let columns = vec![
            (
                "request_id",
                Arc::new(StringArray::from_iter_values(labels.iter().map(|l| l.0))) as ArrayRef,
            ),
            ("row", Arc::new(Int32Array::from(vec![0; count]))),
            ("label_time", timestamps(times.clone())),
            ("recorded_time", timestamps(times)),
            ("kind", words(labels.iter().map(|label| label.1).collect())),
            ("class", Arc::new(labels.iter().map(|label| label.2).collect::<StringArray>())),
            ("value", Arc::new(labels.iter().map(|label| label.3).collect::<Float64Array>())),
            ("weight", Arc::new(Float64Array::from(vec![3.0; count]))),
            ("model", Arc::new(StringArray::from(vec![None::<&str>; count]))),
            ("epoch", Arc::new(UInt64Array::from(vec![1; count]))),
            ("shard", Arc::new(UInt32Array::from(vec![0; count]))),
            ("sequence", Arc::new(UInt64Array::from_iter_values(0..count as u64))),
        ];
        write(&self.root().join("parquet/labels/date=2026-11-22/hour=00"), "l", columns);
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate-query"));
        command.args(arguments).env("MODELGATE_DATA", self.data.path());
        command.output().expect("the program")
    }

    /// Rows as JSON.
    fn query(&self, sql: &str, flags: &[&str]) -> Value {
        let output = self.run(&[&["query", sql, "--output", "json"], flags].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Writes a file of JSON lines; gives its rows and what was told.
    fn written(&self, arguments: &[&str]) -> (Vec<Value>, String) {
        let path = self.data.path().join("out.jsonl");
        let to = ["--format", "jsonl", "--out", path.to_str().expect("a path")];
        let output = self.run(&[arguments, &to].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = std::fs::read_to_string(path).expect("a file");
        let rows = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (rows, String::from_utf8(output.stdout).expect("text"))
    }

    fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).expect("text")
    }
}

fn timestamps(times: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))
}

fn words(texts: Vec<&str>) -> ArrayRef {
    let texts = StringArray::from(texts);
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    cast(&texts, &dictionary).expect("a dictionary")
}

fn write(folder: &Path, name: &str, columns: Vec<(&str, ArrayRef)>) {
    std::fs::create_dir_all(folder).expect("a folder");
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let file = File::create(folder.join(format!("{name}.parquet"))).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

fn column<'a>(rows: &'a [Value], name: &str) -> Vec<&'a Value> {
    rows.iter().map(|row| &row[name]).collect()
}

#[test]
fn files_of_different_columns_are_one_table() {
    let log = Log::with_models();
    let rows = log.query(
        r#"SELECT request_id, model, version, hour, "f.amount", "f.country", "o.p", code
           FROM predictions WHERE sequence IN (0, 4, 9) ORDER BY sequence"#,
        &[],
    );
    // Numbers beside texts are read as texts: a model's own table has them as they are.
    assert_eq!(
        rows,
        json!([
            {"request_id": "r-0", "model": "fraud", "version": 1, "hour": 12, "f.amount": "1.0",
             "f.country": null, "o.p": null, "code": "ok"},
            {"request_id": "r-4", "model": "fraud", "version": 2, "hour": 13, "f.amount": "5.0",
             "f.country": "ch", "o.p": null, "code": "ok"},
            {"request_id": "r-9", "model": "churn.v2", "version": 1, "hour": 12,
             "f.amount": "high", "f.country": null, "o.p": [], "code": "internal"},
        ])
    );
    let sum = r#"SELECT sum("f.amount") AS sum, count(*) AS count FROM predictions_fraud"#;
    assert_eq!(log.query(sum, &[]), json!([{"sum": 36.0, "count": 8}]));
    let mean = r#"SELECT count("o.p") AS lists FROM "predictions_churn.v2""#;
    assert_eq!(log.query(mean, &[]), json!([{"lists": 2}]));
}

#[test]
fn flags_narrow_the_tables() {
    let log = Log::with_models();
    let count =
        |flags: &[&str]| log.query("SELECT count(*) AS n FROM predictions", flags)[0]["n"].as_u64();
    for (flags, expected) in [
        (&[][..], 10),
        (&["--model", "fraud"], 8),
        (&["--model", "fraud", "--version", "2"], 4),
        (&["--version", "9"], 0),
        (&["--variant", "champion"], 10),
        (&["--variant", "other"], 0),
        (&["--code", "internal"], 3),
        (&["--role", "shadow"], 0),
        (&["--id", "r-5"], 1),
        (&["--since", "2026-11-21T13:00:01Z"], 3),
        (&["--until", "2026-11-21T12:00:01Z"], 2),
        (&["--since", "2026-11-22"], 0),
    ] {
        assert_eq!(count(flags), Some(expected), "{flags:?}");
    }
    // Of the files that folders rule out, not even the end is read.
    let broken =
        log.root().join("parquet/predictions/model=other/version=1/date=2026-11-21/hour=12");
    std::fs::create_dir_all(&broken).expect("a folder");
    std::fs::write(broken.join("x.parquet"), "no Parquet").expect("a file");
    assert_eq!(count(&["--model", "fraud"]), Some(8));
    let refusal = log.refusal(&["query", "SELECT 1"]);
    assert!(refusal.contains("x.parquet"), "{refusal}");
}

#[test]
fn answers_have_the_form_asked_for() {
    let log = Log::with_models();
    let sql = r#"SELECT request_id, "o.p" FROM predictions WHERE sequence = 8"#;
    let shown = |form: &str| {
        let output = log.run(&["query", sql, "-o", form]);
        (
            String::from_utf8(output.stdout).expect("text"),
            String::from_utf8(output.stderr).expect("text"),
        )
    };
    assert!(shown("table").0.contains("| r-8        | [0.5] |"), "{}", shown("table").0);
    assert_eq!(shown("jsonl").0, "{\"request_id\":\"r-8\",\"o.p\":[0.5]}\n");
    let (csv, told) = shown("csv");
    assert_eq!(csv, "request_id\nr-8\n");
    assert!(told.contains("o.p"), "{told}");
    assert!(shown("parquet").1.contains("--out"));
    let path = log.data.path().join("answer.parquet");
    let to = ["query", sql, "-o", "parquet", "--out", path.to_str().expect("a path")];
    assert!(log.run(&to).status.success());
    let file = File::open(path).expect("a file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    assert_eq!(reader.metadata().file_metadata().num_rows(), 1);
}

#[test]
fn queries_only_read() {
    let log = Log::with_models();
    let target = log.data.path().join("copied.csv");
    let copy = format!("COPY predictions TO '{}'", target.display());
    for sql in [
        copy.as_str(),
        "DROP VIEW predictions",
        "INSERT INTO labels SELECT * FROM labels",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/hostname'",
        "SET datafusion.execution.batch_size = 1",
        "SELECT * FROM '/etc/hostname'",
    ] {
        log.refusal(&["query", sql]);
    }
    assert!(!target.exists());
    let empty = Log::new();
    let rows = empty.query("SELECT count(*) AS n FROM predictions, labels", &[]);
    assert_eq!(rows, json!([{"n": 0}]));
    let nowhere = empty.data.path().join("nowhere");
    let refusal =
        empty.refusal(&["query", "SELECT 1", "--data", nowhere.to_str().expect("a path")]);
    assert!(refusal.contains("no prediction log"), "{refusal}");
}

/// A segment that was converted twice, as after a crash, stands in two files.
#[test]
fn an_export_has_each_prediction_once_and_in_order() {
    let log = Log::with_models();
    let again = Arc::new(Int64Array::from(vec![1, 2, 3, 4])) as ArrayRef;
    log.predictions("fraud", 1, 12, "again", 0..4, vec![("f.amount", again)]);
    let (rows, told) = log.written(&["export"]);
    let times: Vec<&str> =
        column(&rows, "event_time").iter().filter_map(|at| at.as_str()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let mut numbers: Vec<u64> =
        column(&rows, "sequence").iter().filter_map(|number| number.as_u64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    assert!(told.starts_with("10 rows in "), "{told}");
    let (rows, _) = log.written(&["export", "--model", "churn.v2"]);
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.get("f.country").is_none()), "{rows:?}");
}

#[test]
fn a_training_set_has_the_newest_label_and_the_weight() {
    let log = Log::with_models();
    log.labels(&[
        ("r-0", "class", Some("good"), None, 10),
        ("r-0", "class", Some("bad"), None, 20),
        ("r-0", "class", Some("good"), None, 15),
        ("r-5", "class", Some("good"), None, 10),
        // Of a prediction that failed, and of none.
        ("r-3", "class", Some("good"), None, 10),
        ("r-99", "class", Some("good"), None, 10),
    ]);
    let line = r#"{"shard":0,"epoch":1,"first":0,"next":9,"gaps":[[2,3,"torn"]],"files":[]}"#;
    std::fs::write(log.root().join("archive.jsonl"), line).expect("written");
    let (rows, told) = log.written(&["export", "--for-training", "--model", "fraud"]);
    assert_eq!(column(&rows, "request_id"), ["r-0", "r-5"]);
    assert_eq!(column(&rows, "label"), ["bad", "good"]);
    assert_eq!(column(&rows, "f.amount"), [1.0, 6.0]);
    // A label's weight, of a request of which every second is recorded.
    assert_eq!(column(&rows, "weight"), [6.0, 6.0]);
    for line in [
        "8 predictions in the log; left out:",
        "  2 that failed",
        "  4 without a label",
        "  about 6 that sampling did not record",
        "gaps in the log of these days, of any model: torn 3",
    ] {
        assert!(told.lines().any(|shown| shown == line), "{line:?} is not in\n{told}");
    }
    let (rows, _) = log.written(&["export", "--for-training", "--inverse-propensity"]);
    assert_eq!(column(&rows, "weight"), [24.0, 24.0]);
}

#[test]
fn labels_of_several_kinds_have_to_be_chosen_from() {
    let log = Log::with_models();
    log.labels(&[("r-0", "class", Some("good"), None, 10), ("r-1", "reward", None, Some(0.5), 10)]);
    let out = log.data.path().join("x.csv");
    let out = ["--out", out.to_str().expect("a path")];
    let told = log.run(&[&["export", "--for-training"], &out[..]].concat());
    let error = String::from_utf8(told.stderr).expect("text");
    assert!(!told.status.success() && error.contains("class, reward"), "{error}");
    let (rows, _) = log.written(&["export", "--for-training", "--label", "reward"]);
    assert_eq!(column(&rows, "label"), [0.5]);
    assert_eq!(column(&rows, "request_id"), ["r-1"]);
}

#[test]
fn a_join_keeps_what_has_no_label_and_tells_labels_that_match_nothing() {
    let log = Log::with_models();
    log.labels(&[("r-1", "value", None, Some(7.0), 10), ("r-99", "value", None, Some(8.0), 10)]);
    let (rows, told) = log.written(&["join", "--model", "fraud"]);
    assert_eq!(rows.len(), 8);
    let labelled: Vec<&Value> = rows.iter().filter(|row| row["label_value"] == 7.0).collect();
    assert_eq!(labelled.len(), 1);
    assert_eq!(labelled[0]["request_id"], "r-1");
    assert!(told.contains("1 predictions have a label\n1 labels match no prediction"), "{told}");
    // Also where the filters leave out the prediction that a label belongs to.
    let (rows, _) = log.written(&["join", "--unmatched", "--model", "churn.v2"]);
    assert_eq!(column(&rows, "request_id"), ["r-99"]);
}
