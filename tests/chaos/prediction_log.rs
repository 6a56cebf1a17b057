//! The prediction log on a disk that is really full, in a process that is
//! really killed. Needs a small tmpfs, and so the right to mount one.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use modelgate::predictions::store::verify::verify;
use modelgate::predictions::{Appended, Kind, Log, LogOptions, OnFailure};
use modelgate::telemetry::LogMetrics;

use crate::mounted::Mounted;

/// Tells the test's own process, started again, where to fill the disk.
const FOLDER: &str = "MODELGATE_TEST_FULL_DISK";

fn open(root: &Path) -> Arc<Log> {
    let options = LogOptions {
        root: root.to_owned(),
        shards: 1,
        segment_bytes: 64 << 10,
        segment_age: Duration::from_secs(60),
        flush_every: Duration::from_millis(50),
        slow_append: Duration::from_secs(10),
        queue_records: 100,
        queue_bytes: 1 << 20,
    };
    Log::open(options, Arc::new(LogMetrics::default())).expect("a log")
}

/// Appends until so many records in a row were gaps, and waits to be killed.
fn fill(root: &Path) {
    let log = open(root);
    let (mut kept, mut gaps, mut in_a_row) = (0, 0, 0);
    while in_a_row < 1000 {
        let payload = |out: &mut Vec<u8>| out.extend_from_slice(&[1; 500]);
        match log.append(Kind::Prediction, OnFailure::BestEffort, payload) {
            Appended::Kept(_) => (kept, in_a_row) = (kept + 1, 0),
            _ => (gaps, in_a_row) = (gaps + 1, in_a_row + 1),
        }
    }
    println!("\nfilled {kept} {gaps}");
    std::io::stdout().flush().expect("told");
    loop {
        std::thread::park();
    }
}

#[test]
#[ignore = "mounts a file system"]
fn gaps_survive_a_kill_on_a_full_disk() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        fill(Path::new(&folder));
    }
    let mounted = Mounted::new("killed", "1m").expect("the right to mount a tmpfs");
    let root = mounted.0.join("log");
    let test = "prediction_log::gaps_survive_a_kill_on_a_full_disk";
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(FOLDER, &root)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let filled = lines.map_while(Result::ok).find(|line| line.starts_with("filled "));
    child.kill().expect("killed");
    child.wait().expect("ended");
    let counts: Vec<u64> = filled
        .expect("a full disk")
        .split(' ')
        .skip(1)
        .map(|count| count.parse().expect("a count"))
        .collect();
    let (kept, gaps) = (counts[0], counts[1]);
    // The open gap stands on the ledger's page alone, and completes the range at once.
    let report = verify(&root).expect("a report");
    assert!(report.complete && !report.live, "{report:?}");
    let shard = &report.shards[0];
    assert_eq!((shard.raw_records, shard.gaps.values().sum::<u64>()), (kept, gaps), "{shard:?}");

    // The disk is full still, and the log starts. With room again it goes on by itself.
    drop(open(&root));
    let mount = Command::new("mount").args(["-o", "remount,size=8m"]).arg(&mounted.0).status();
    assert!(mount.expect("mount").success());
    let log = open(&root);
    let append = || log.append(Kind::Prediction, OnFailure::BestEffort, |_| {});
    assert!(matches!(append(), Appended::Kept(place) if place.sequence >= kept + gaps));
    drop(log);
    let report = verify(&root).expect("a report");
    assert!(report.complete, "{report:?}");
    let shard = &report.shards[0];
    assert_eq!((shard.raw_records, shard.gaps.values().sum::<u64>()), (kept + 1, gaps));
    println!("{kept} records kept and {gaps} gaps counted on a disk of 1 MiB");
}
