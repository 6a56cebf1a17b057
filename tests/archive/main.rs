//! The archive of the prediction log: segments in, Parquet out, as any reader
//! of Parquet sees it.

mod convert;
mod erase;
mod kills;
mod readers;
mod retain;
mod ship;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use modelgate::predictions::account::Entry;
use modelgate::predictions::archive::{ArchiveError, Keeper};
use modelgate::predictions::{Schemas, layout};
use modelgate::telemetry::LogMetrics;

/// A log's folder with a keeper of its archive.
struct Kept {
    folder: tempfile::TempDir,
    metrics: Arc<LogMetrics>,
    keeper: Keeper,
}

impl Kept {
    fn new() -> Kept {
        let folder = tempfile::tempdir().expect("a folder");
        let metrics = Arc::<LogMetrics>::default();
        let keeper = open(folder.path(), &metrics).expect("kept");
        Kept { folder, metrics, keeper }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Converts all that can be.
    fn convert(&mut self) {
        let mut waiting = self.keeper.waiting().expect("read");
        while !waiting.is_empty() {
            self.keeper.convert(&mut waiting, &AtomicBool::new(false)).expect("converted");
        }
    }
}

fn open(root: &Path, metrics: &Arc<LogMetrics>) -> Result<Keeper, ArchiveError> {
    Keeper::open(root, Arc::new(Schemas::new(root.to_owned())), Arc::clone(metrics))
}

/// What `archive.jsonl` says by now.
fn entries(root: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(layout::archive(root)).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).expect("an entry")).collect()
}

/// Files below a folder, by their paths below `root`.
fn files(root: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).expect("inside").to_string_lossy().into_owned();
                found.insert(name, path);
            }
        }
    }
    found
}

fn parquet(root: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = files(root);
    found.retain(|name, _| name.ends_with(".parquet"));
    found
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what} did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}
