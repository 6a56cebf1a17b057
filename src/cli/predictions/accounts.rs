//! The accounts of segments that are in the archive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use crate::predictions::{SegmentAccount, layout};

/// One of each segment. Lines that are none, such as one that is being
/// written, are passed over.
///
/// # Errors
/// Where the file is there and cannot be read.
pub(super) fn read(root: &Path) -> io::Result<Vec<SegmentAccount>> {
    let file = match File::open(layout::archive(root)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    // A line that was written again, as after a crash, tells the same.
    let mut accounts = BTreeMap::new();
    for line in BufReader::new(file).lines() {
        if let Ok(account) = serde_json::from_str::<SegmentAccount>(&line?) {
            accounts.insert((account.shard, account.epoch, account.first), account);
        }
    }
    Ok(accounts.into_values().collect())
}
