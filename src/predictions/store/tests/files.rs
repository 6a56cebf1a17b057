//! Real files, and the log's own threads.

use std::fs;
use std::time::Instant;

use super::super::verify;
use super::*;

fn open(root: &Path, shards: usize) -> Arc<Log> {
    let metrics = Arc::new(LogMetrics::default());
    let options = LogOptions { shards, segment_bytes: 64 << 10, ..options(root) };
    let options = LogOptions { slow_append: Duration::from_secs(60), ..options };
    Log::open(options, metrics).expect("a log")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

fn append(log: &Log, payload: &[u8]) -> Place {
    let kind = Kind::Prediction;
    place(&log.append(kind, OnFailure::BestEffort, |out| out.extend_from_slice(payload)))
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn numbers_go_on_over_starts_and_all_records_are_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    for start in 0..3u64 {
        let log = open(root, 2);
        for count in 0..1000 {
            let place = append(&log, format!("{start} {count}").as_bytes());
            assert_eq!(place, Place { shard: 0, sequence: start * 1000 + count });
        }
        assert_eq!(log.recovered(), Recovered::default());
    }
    let report = verify::verify(root).expect("a report");
    assert!(report.complete && !report.live, "{report:?}");
    assert_eq!((report.shards.len(), report.shards[0].raw_records), (3, 3000));
    assert_eq!(records(&super::super::disk::RealDisk, root).len(), 3000);
    let sealed = fs::read_dir(layout::shard(root, 0)).expect("files").flatten();
    assert!(sealed.into_iter().all(|file| {
        let name = file.file_name().into_string().expect("a name");
        name == "ledger" || name.ends_with(".sealed")
    }));
}

#[test]
fn threads_have_a_shard_each_and_flushes_serve_many() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), 4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut last = None;
                for count in 0..200u32 {
                    let place = append(&log, &count.to_le_bytes());
                    assert!(last.is_none_or(|last| last == place.shard));
                    last = Some(place.shard);
                    block_on(log.flushed(place)).expect("on the disk");
                }
            });
        }
    });
    let report = verify::verify(folder.path()).expect("a report");
    assert!(report.complete && report.live, "{report:?}");
    let records: Vec<u64> = report.shards.iter().map(|shard| shard.raw_records).collect();
    assert_eq!(records, [200, 200, 200, 200, 0]);
    let many: Vec<Place> = (0..100).map(|_| append(&log, b"many")).collect();
    block_on(async {
        for place in
            futures_util::future::join_all(many.iter().map(|place| log.flushed(*place))).await
        {
            place.expect("on the disk");
        }
    });
    log.close();
    let closed = log.append(Kind::Label, OnFailure::BestEffort, |_| {});
    assert!(matches!(closed, Appended::Gap));
}

#[test]
fn what_is_offered_is_written_without_anybody_waking_a_thread() {
    struct Record;
    impl Encode for Record {
        fn kind(&self) -> Kind {
            Kind::Prediction
        }
        fn encode(&self, payload: &mut Vec<u8>) {
            payload.extend_from_slice(b"offered");
        }
        fn bytes(&self) -> usize {
            7
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), 1);
    assert!(log.offer(Box::new(Record)));
    let own = || verify::verify(folder.path()).expect("a report").shards[1].raw_records;
    until("written", || own() == 1);
    assert!(log.offer(Box::new(Record)));
    drop(log);
    assert_eq!(own(), 2, "what was taken is written at the end");
}

#[test]
fn a_second_gateway_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), 1);
    let again = Log::open(options(folder.path()), Arc::new(LogMetrics::default()));
    assert!(matches!(again, Err(LogError::InUse(_))));
    drop(log);
    open(folder.path(), 1);
}

#[test]
fn verification_works_while_a_gateway_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), 1);
    let round = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        // A few segments in each round of the verification, which it reads meanwhile.
        let writer = scope.spawn(|| {
            for of in 0..20 {
                (0..100).for_each(|_| {
                    append(&log, &[5; 3000]);
                });
                until("a round", || round.load(Relaxed) > of);
            }
        });
        while !writer.is_finished() {
            let report = verify::verify(folder.path()).expect("a report");
            round.fetch_add(1, Relaxed);
            assert!(report.complete, "{report:?}");
        }
    });
    let report = verify::verify(folder.path()).expect("a report");
    assert_eq!((report.shards[0].raw_records, report.shards[0].in_flight), (2000, 0));
}

/// Shards of an earlier run that had more threads.
#[test]
fn shards_that_are_not_used_any_more_are_sealed_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), 3);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| append(&log, b"a record"));
        }
    });
    drop(log);
    let sealed = layout::segment(folder.path(), 2, 0, layout::SEALED);
    let active = layout::segment(folder.path(), 2, 0, layout::ACTIVE);
    fs::rename(&sealed, &active).expect("renamed");
    let log = open(folder.path(), 1);
    assert_eq!(log.recovered(), Recovered { segments: 1, records: 1, missing: 0, damaged: 0 });
    assert_eq!(log.status().shards, 4);
    until("sealed", || sealed.exists());
    assert!(verify::verify(folder.path()).expect("a report").complete);
}
