//! What the log says of its archive: the lines of `archive.jsonl`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use crate::predictions::account::{ArchivedFile, ChangeCause, Entry, SegmentAccount};
use crate::predictions::layout;

#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// One of each segment that was converted, or of several whose files are gone.
    pub(super) segments: Vec<SegmentAccount>,
    /// The files that are to be there, by path below the log's folder.
    pub(super) files: BTreeMap<String, ArchivedFile>,
    /// Rows that were taken out, by why.
    pub(super) removed: BTreeMap<&'static str, u64>,
}

impl Accounts {
    fn remove(&mut self, cause: ChangeCause, rows: u64) {
        let cause = match cause {
            ChangeCause::Age => "age",
            ChangeCause::Size => "size",
            ChangeCause::Deleted => "deleted",
        };
        *self.removed.entry(cause).or_default() += rows;
    }
}

/// Lines that say nothing, such as one that is being written, are passed over.
///
/// # Errors
/// Where the file is there and cannot be read.
pub(super) fn read(root: &Path) -> io::Result<Accounts> {
    let mut accounts = Accounts::default();
    let file = match File::open(layout::archive(root)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(accounts),
        Err(error) => return Err(error),
    };
    // A line that was written again, as after a crash, tells the same.
    let mut segments = BTreeMap::new();
    for line in BufReader::new(file).split(b'\n') {
        match serde_json::from_slice(&line?) {
            Ok(Entry::Segment(segment)) => {
                let files = segment.files.iter().map(|file| (file.path.clone(), file.clone()));
                accounts.files.extend(files);
                segments.insert((segment.shard, segment.epoch, segment.first), segment);
            }
            Ok(Entry::File(change)) => {
                accounts.files.remove(&change.path);
                accounts.remove(change.cause, change.rows_removed());
                accounts.files.extend(change.now.map(|file| (change.path, file)));
            }
            Ok(Entry::Compacted(head)) => {
                for (cause, rows) in head.removed {
                    accounts.remove(cause, rows);
                }
            }
            Err(_) => {}
        }
    }
    accounts.segments = segments.into_values().collect();
    Ok(accounts)
}
