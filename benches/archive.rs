//! The archive at scale: a day of records of three versions, as segments, made
//! into Parquet, asked, and aged out.
//!
//! `cargo bench --bench archive -- --records 20000000 [--python FILE]`; without
//! `--records` it is a million. Rows have four features and one output, and all
//! columns that a request of a split route fills. Segments are written one
//! after the other, not to fill the disk with all of them, so that conversion
//! is timed for itself. `--python` names an interpreter with PyArrow and DuckDB
//! that asks for the count and the mean of each hour.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::Parser;
use modelgate::predictions::archive::{Keep, Keeper};
use modelgate::predictions::frame::{self, Header};
use modelgate::predictions::record::{self, Head};
use modelgate::predictions::schema::Column;
use modelgate::predictions::{Assignment, Kind, Schema, Schemas, TensorSchema, layout};
use modelgate::telemetry::{LogMetrics, Protocol};
use modelgate::types::{DType, next_random};

#[derive(Parser)]
struct Options {
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// An interpreter with pyarrow and duckdb.
    #[arg(long)]
    python: Option<String>,
    /// Bytes of a segment.
    #[arg(long, default_value_t = 64 << 20)]
    segment: usize,
    /// Where the log stands meanwhile.
    #[arg(long)]
    folder: Option<String>,
    /// What `cargo bench` says.
    #[arg(long, hide = true)]
    bench: bool,
}

/// 2026-01-01, 00:00 UTC.
const START: i64 = 1_767_225_600_000_000;
const DAY: i64 = 86_400_000_000;
const VERSIONS: u64 = 3;
const SHARDS: u32 = 2;
/// Segments that are written before they are converted together.
const TOGETHER: usize = 4;

fn schema(version: u64) -> Schema {
    let column = |name: &str| Column { name: name.to_owned(), treated: Default::default() };
    let tensor = |name: &str, shape: Vec<i64>, columns: &[&str]| TensorSchema {
        name: name.to_owned(),
        datatype: DType::Fp32,
        shape,
        columns: columns.iter().map(|name| column(name)).collect(),
        whole: Default::default(),
    };
    Schema {
        model: "fraud".to_owned(),
        version,
        digest: format!("sha256:{version:064x}"),
        gateway: env!("CARGO_PKG_VERSION").to_owned(),
        provider: "cpu".to_owned(),
        row_wise: true,
        inputs: vec![tensor("x", vec![-1, 4], &["amount", "age", "balance", "days"])],
        outputs: vec![tensor("score", vec![-1, 1], &["score"])],
    }
}

fn push(
    segment: &mut Vec<u8>,
    header: &Header,
    number: u64,
    sequence: u64,
    of: &Options,
    schemas: &[Arc<Schema>],
) {
    let random = next_random();
    let schema = &schemas[(random % VERSIONS) as usize];
    let id = uuid::Uuid::now_v7().hyphenated().to_string();
    let mut unit = [0; 16];
    unit[..8].copy_from_slice(&(random % 100_000).to_le_bytes());
    let head = Head {
        event_time: START + (DAY as f64 * (number as f64 / of.records as f64)) as i64,
        schema: schema.id(),
        model: &schema.model,
        version: schema.version,
        request_id: id.as_bytes(),
        route: "fraud",
        revision: 3,
        variant: if schema.version == 1 { b"champion" } else { b"candidate" },
        assignment: Assignment::Split,
        propensity: 0.33,
        salt: "fraud/r-01/split",
        bucket: Some((random % 100_000) as u32),
        unit: Some(unit),
        protocol: Some(Protocol::Grpc),
        queue_us: (random % 100) as u32,
        infer_us: (random % 300) as u32,
        total_us: (random % 1000) as u32,
        rows: 1,
        batch_rows: (random % 8) as u32,
        sampling: 1.0,
        ..Head::default()
    };
    let start = frame::begin(segment);
    head.encode(segment);
    for (width, shape) in [(4, [1, 4]), (1, [1, 1])] {
        let list = record::begin_list(segment);
        let mut data = [0; 16];
        for at in 0..width {
            let number = (next_random() % 1_000_000) as f32 / 1e3;
            data[at * 4..at * 4 + 4].copy_from_slice(&number.to_le_bytes());
        }
        record::put_raw(segment, 0, DType::Fp32, &shape, &data[..width * 4]);
        record::end_list(segment, list, 1);
    }
    frame::finish(segment, start, Kind::Prediction, sequence, header.epoch);
}

/// Time that this process had of the processor, in user and in system mode.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

fn main() {
    let options = Options::parse();
    let folder = match &options.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let folder = folder.expect("a folder");
    let root = folder.path();
    let store = Schemas::new(root.to_owned());
    let schemas: Vec<_> = (1..=VERSIONS).map(|version| Arc::new(schema(version))).collect();
    for schema in &schemas {
        store.keep(schema).expect("written");
    }
    let mut keeper =
        Keeper::open(root, Arc::new(store), Arc::<LogMetrics>::default()).expect("kept");
    let (mut number, mut raw) = (0, 0);
    let mut sequences = [0u64; SHARDS as usize];
    let (mut took, mut used) = (Duration::ZERO, Duration::ZERO);
    let mut index = 0;
    while number < options.records {
        for _ in 0..TOGETHER {
            let shard = index % SHARDS;
            index += 1;
            let sequence = &mut sequences[shard as usize];
            let header = Header { shard, epoch: 7, first: *sequence, created: START };
            let mut segment = header.encode().to_vec();
            while segment.len() < options.segment && number < options.records {
                push(&mut segment, &header, number, *sequence, &options, &schemas);
                number += 1;
                *sequence += 1;
            }
            if *sequence > header.first {
                raw += segment.len() as u64;
                std::fs::create_dir_all(layout::shard(root, shard)).expect("a folder");
                let path = layout::segment(root, shard, header.first, layout::SEALED);
                std::fs::write(path, segment).expect("written");
            }
        }
        let (started, before) = (Instant::now(), processor());
        let mut waiting = keeper.waiting().expect("read");
        while !waiting.is_empty() {
            keeper.convert(&mut waiting, &AtomicBool::new(false)).expect("converted");
        }
        took += started.elapsed();
        used += processor() - before;
    }
    let books = keeper.books();
    let (files, bytes) = (books.files.len(), books.bytes());
    let rows: u64 = books.files.values().map(|file| file.rows).sum();
    assert_eq!(rows, options.records);
    let each = |bytes: u64| bytes as f64 / rows as f64;
    println!("rows                    {rows} in {files} files");
    println!("raw, bytes a record     {:.1}", each(raw));
    println!("Parquet, bytes a record {:.1}", each(bytes));
    println!(
        "conversion              {:.1} s, of the processor {:.1} s",
        took.as_secs_f64(),
        used.as_secs_f64()
    );
    println!("rows/s                  {:.0}", rows as f64 / took.as_secs_f64());
    println!("rows/s of one core      {:.0}", rows as f64 / used.as_secs_f64());
    println!("peak memory             {} MiB", peak_mib());
    if let Some(python) = &options.python {
        ask(python, root);
    }
    let started = Instant::now();
    let keep = Keep { age: Some(Duration::from_secs(12 * 3600)), bytes: None };
    let gone = keeper.retain(START + DAY, &keep, None).expect("aged out");
    println!("aged out                {gone} files in {:.3} s", started.elapsed().as_secs_f64());
}

fn ask(python: &str, root: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/archive.py");
    let status =
        Command::new(python).arg(script).arg(layout::predictions(root)).status().expect("Python");
    assert!(status.success());
}
