//! A log's folder, and the program on it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use modelgate::predictions::frame::{self, Gap, Header, Kind};
use modelgate::predictions::layout::{self, ACTIVE, SEALED};
use modelgate::predictions::record::{self, Head};
use modelgate::predictions::{
    Column, Label, Schema, SchemaId, Schemas, TensorSchema, Truth, schema::Treated,
};
use modelgate::types::DType;

pub const EPOCH: u64 = 77;
/// 2026-11-21T12:00:00Z, in microseconds since 1970.
pub const NOON: i64 = 1_795_262_400_000_000;

pub struct World {
    pub data: tempfile::TempDir,
}

pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    pub fn new() -> World {
        let world = World { data: tempfile::tempdir().expect("a folder") };
        fs::create_dir_all(world.root().join("raw")).expect("the log's folder");
        world
    }

    pub fn root(&self) -> PathBuf {
        self.data.path().join("predictions")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
        command.arg("predictions").args(arguments).env("MODELGATE_DATA", self.data.path());
        command.env_remove("MODELGATE_OUTPUT").stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().expect("the built program runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let code = output.status.code().expect("a code");
        Ended { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// A table of two columns, the second of them hashed.
    pub fn schema(&self) -> SchemaId {
        let column = |name: &str, treated| Column { name: name.to_owned(), treated };
        let schema = Schema {
            model: "fraud".to_owned(),
            version: 3,
            digest: String::new(),
            gateway: "0.1.0".to_owned(),
            provider: "cpu".to_owned(),
            row_wise: true,
            inputs: vec![TensorSchema {
                name: "x".to_owned(),
                datatype: DType::Fp32,
                shape: vec![-1, 2],
                columns: vec![column("amount", Treated::Keep), column("user", Treated::Hash)],
                whole: Treated::Keep,
            }],
            outputs: vec![TensorSchema {
                name: "score".to_owned(),
                datatype: DType::Fp32,
                shape: vec![-1, 1],
                columns: Vec::new(),
                whole: Treated::Keep,
            }],
        };
        let schema = std::sync::Arc::new(schema);
        Schemas::new(self.root()).keep(&schema).expect("kept");
        schema.id()
    }

    pub fn segment(&self, shard: u32, first: u64) -> Segment {
        let path = layout::segment(&self.root(), shard, first, ACTIVE);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let mut file = File::create(&path).expect("a segment");
        file.set_len(1 << 20).expect("room");
        let header = Header { shard, epoch: EPOCH, first, created: NOON };
        file.write_all(&header.encode()).expect("a header");
        Segment { path, file, next: first }
    }
}

/// A segment that is being written.
pub struct Segment {
    path: PathBuf,
    file: File,
    pub next: u64,
}

impl Segment {
    pub fn append(&mut self, kind: Kind, count: u64, payload: &[u8]) {
        let mut bytes = Vec::new();
        let start = frame::begin(&mut bytes);
        bytes.extend_from_slice(payload);
        frame::finish(&mut bytes, start, kind, self.next, EPOCH);
        self.write(&bytes);
        self.next += count;
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).expect("written");
    }

    /// A prediction so many seconds after noon, changed by `change`.
    pub fn predict(&mut self, seconds: i64, id: &str, change: impl FnOnce(&mut Head<'_>)) {
        let mut head = Head {
            event_time: NOON + seconds * 1_000_000,
            model: "fraud",
            version: 3,
            request_id: id.as_bytes(),
            variant: b"champion",
            propensity: 0.05,
            sampling: 1.0,
            rows: 1,
            total_us: 250,
            ..Head::default()
        };
        change(&mut head);
        let mut payload = Vec::new();
        head.encode(&mut payload);
        let list = record::begin_list(&mut payload);
        let has_tensors = head.schema != SchemaId::NONE;
        if has_tensors {
            let at = record::begin_rows(&mut payload, 0, DType::Fp32, &[1, 2]);
            payload.extend_from_slice(&0.1f32.to_le_bytes());
            payload.extend_from_slice(&[0xAB; 16]);
            record::end_data(&mut payload, at);
        }
        record::end_list(&mut payload, list, u16::from(has_tensors));
        let list = record::begin_list(&mut payload);
        if has_tensors {
            record::put_raw(&mut payload, 0, DType::Fp32, &[1, 1], &0.75f32.to_le_bytes());
        }
        record::end_list(&mut payload, list, u16::from(has_tensors));
        self.append(Kind::Prediction, 1, &payload);
    }

    pub fn label(&mut self, seconds: i64, id: &str) {
        let label = Label {
            request_id: id.to_owned(),
            row: 0,
            label_time: NOON,
            recorded_time: NOON + seconds * 1_000_000,
            truth: Truth::Class("good".to_owned()),
            weight: 1.0,
            model: "fraud".to_owned(),
        };
        let mut payload = Vec::new();
        label.encode(&mut payload);
        self.append(Kind::Label, 1, &payload);
    }

    pub fn gap(&mut self, gap: Gap) {
        self.append(Kind::Gap, gap.count, &gap.encode());
    }

    /// Seals it as the log does: by its name alone.
    pub fn seal(self) -> PathBuf {
        let sealed = self.path.with_extension(SEALED);
        fs::rename(&self.path, &sealed).expect("sealed");
        sealed
    }
}

/// The program while it goes on, and its lines.
pub struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the built program runs");
        let lines = BufReader::new(child.stdout.take().expect("its output"));
        Running { child, lines }
    }

    /// Waits for a line.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended by itself, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
