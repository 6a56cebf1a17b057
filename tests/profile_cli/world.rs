//! A folder, the program in it, and rows of which the tests know all.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::Value;

pub struct World {
    folder: tempfile::TempDir,
}

pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// One row.
#[derive(Clone)]
pub struct Row {
    pub age: Option<f64>,
    pub doors: i64,
    pub plan: String,
    pub note: String,
    pub active: bool,
    /// Minutes since 2026-01-01.
    pub at: i64,
    pub label: i64,
    pub score: f64,
}

impl Row {
    pub fn prediction(&self) -> i64 {
        i64::from(self.score > 0.5)
    }
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// So many rows; `ages` is by how much they are older than usual.
pub fn rows(count: usize, seed: u64, ages: f64) -> Vec<Row> {
    let mut random = Random(seed);
    (0..count)
        .map(|at| {
            let age = (random.share().powi(2) * 8000.0).round() / 100.0 + ages;
            let plan = match random.share() {
                u if u < 0.5 => "basic".to_owned(),
                u if u < 0.8 => "plus, \"gold\"".to_owned(),
                u if u < 0.99 => "größer".to_owned(),
                _ => format!("rare-{}", at % 7),
            };
            let score = (random.share() * 1000.0).round() / 1000.0;
            Row {
                age: (at % 97 != 3).then_some(age),
                doors: 2 + (random.share() * 4.0) as i64,
                plan,
                note: "word ".repeat(1 + at % 40) + &at.to_string(),
                active: random.share() < 0.25,
                at: at as i64 * 10,
                label: i64::from(random.share() < score),
                score,
            }
        })
        .collect()
}

impl World {
    pub fn new() -> World {
        World { folder: tempfile::tempdir().expect("a folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }

    /// Runs in the folder.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("MODELGATE_") && text != "MODELGATE_ONNXRUNTIME" {
                command.env_remove(name);
            }
        }
        command.arg("profile").args(arguments).current_dir(self.folder.path());
        let output = command.stdin(Stdio::null()).output().expect("the built program runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let code = output.status.code().expect("a code");
        Ended { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {}{}", ended.stdout, ended.stderr);
        ended
    }

    #[track_caller]
    pub fn refused(&self, arguments: &[&str], code: i32, parts: &[&str]) {
        let ended = self.run(arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {}{}", ended.stdout, ended.stderr);
        for part in parts {
            assert!(ended.stderr.contains(part), "{part:?} in {:?}", ended.stderr);
        }
    }

    /// Builds a profile and reads it.
    #[track_caller]
    pub fn built(&self, arguments: &[&str]) -> Value {
        self.done(&[&["build", "--out", "built.json"], arguments].concat());
        self.json("built.json")
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).expect("a file")).expect("JSON")
    }

    pub fn csv(&self, name: &str, rows: &[Row]) {
        let mut text = "age,doors,plan,note,active,at,label,score,prediction\n".to_owned();
        for row in rows {
            let age = row.age.map_or(String::new(), |age| age.to_string());
            let plan = row.plan.replace('"', "\"\"");
            let (day, minute) = (row.at / 1440, row.at % 1440);
            let at = format!(
                "2026-{:02}-{:02}T{:02}:{:02}:00Z",
                1 + day / 28,
                1 + day % 28,
                minute / 60,
                minute % 60
            );
            let (doors, note, active, label, score) =
                (row.doors, &row.note, row.active, row.label, row.score);
            let prediction = row.prediction();
            writeln!(
                text,
                "{age},{doors},\"{plan}\",{note},{active},{at},{label},{score},{prediction}"
            )
            .expect("a text");
        }
        self.write(name, text);
    }

    /// The same in row groups of 1,000, as most tools compress them.
    pub fn parquet(&self, name: &str, rows: &[Row]) {
        let of = |value: fn(&Row) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(value)))
        };
        let texts = |value: fn(&Row) -> &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(value)))
        };
        let ages: Float64Array = rows.iter().map(|row| row.age).collect();
        let active: BooleanArray = rows.iter().map(|row| Some(row.active)).collect();
        const NEW_YEAR: i64 = 1_767_225_600_000_000;
        let at = rows.iter().map(|row| NEW_YEAR + row.at * 60_000_000);
        let scores = Float64Array::from_iter_values(rows.iter().map(|row| row.score));
        let batch = RecordBatch::try_from_iter([
            ("age", Arc::new(ages) as ArrayRef),
            ("doors", of(|row| row.doors)),
            ("plan", texts(|row| &row.plan)),
            ("note", texts(|row| &row.note)),
            ("active", Arc::new(active)),
            ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(at))),
            ("label", of(|row| row.label)),
            ("score", Arc::new(scores)),
            ("prediction", of(Row::prediction)),
        ])
        .expect("columns");
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(1000))
            .build();
        let file = File::create(self.path(name)).expect("a file");
        let mut writer =
            ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
        writer.write(&batch).expect("rows");
        writer.close().expect("a file");
    }
}
