//! What the prediction log costs the thread that answers: a record of 300
//! bytes at level `process` (one write) and at level `async` (one push).

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use modelgate::predictions::store::Encode;
use modelgate::predictions::{Appended, Kind, Log, LogOptions, OnFailure};
use modelgate::telemetry::LogMetrics;
use rustix::fs::{FallocateFlags, fallocate};

const PAYLOAD: [u8; 300] = [7; 300];

struct Record;

impl Encode for Record {
    fn kind(&self) -> Kind {
        Kind::Prediction
    }

    fn encode(&self, payload: &mut Vec<u8>) {
        payload.extend_from_slice(&PAYLOAD);
    }

    fn bytes(&self) -> usize {
        PAYLOAD.len()
    }
}

fn open(root: &std::path::Path) -> Arc<Log> {
    let options = LogOptions {
        root: root.to_owned(),
        shards: 1,
        segment_bytes: 64 << 20,
        segment_age: Duration::from_secs(300),
        flush_every: Duration::from_millis(200),
        slow_append: Duration::from_secs(1),
        queue_records: 1 << 20,
        queue_bytes: 1 << 30,
    };
    Log::open(options, Arc::new(LogMetrics::default())).expect("a log")
}

/// Removes what is sealed, as the archive does.
fn clear(root: &std::path::Path) {
    for shard in ["000", "001"] {
        let files = std::fs::read_dir(root.join("raw").join(shard)).expect("files").flatten();
        for file in files.filter(|file| file.path().extension().is_some_and(|one| one == "sealed"))
        {
            std::fs::remove_file(file.path()).expect("removed");
        }
    }
}

fn log(bench: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path());
    let append = || {
        let appended = log.append(Kind::Prediction, OnFailure::BestEffort, |payload| {
            payload.extend_from_slice(black_box(&PAYLOAD));
        });
        assert!(matches!(appended, Appended::Kept(_)));
    };
    // What the kernel takes for the same bytes.
    let file = File::create(folder.path().join("floor")).expect("a file");
    fallocate(&file, FallocateFlags::empty(), 0, 64 << 20).expect("room");
    let (bytes, mut at) = ([7; 328], 0);
    bench.bench_function("floor: write of 328 bytes", |bench| {
        bench.iter(|| {
            file.write_all_at(black_box(&bytes), at).expect("written");
            at = (at + 328) % (64 << 20);
        });
    });
    bench.bench_function("prediction log: append 300 bytes", |bench| {
        bench.iter(append);
        clear(folder.path());
    });
    bench.bench_function("prediction log: offer", |bench| {
        bench.iter_custom(|count| {
            let mut took = Duration::ZERO;
            for _ in 0..count {
                let record = Box::new(Record);
                let began = Instant::now();
                black_box(log.offer(record));
                took += began.elapsed();
            }
            took
        });
        clear(folder.path());
    });
}

criterion_group!(benches, log);
criterion_main!(benches);
