//! Where everything stands below the log's folder, `<data>/predictions`.
//!
//! ```text
//! raw/<shard>/<first sequence>.seg       being written
//! raw/<shard>/<first sequence>.sealed    complete, waits for the archive
//! raw/<shard>/<epoch>-<count>.next       reserved for the next segment; one as soon as it has a header
//! raw/<shard>/<name>.damaged             a segment whose header could not be read
//! raw/<shard>/ledger                     sequence numbers given out, and an open gap
//! lock                                   held by the gateway that writes here
//! schemas/<id>.json                      what the tensors of records mean
//! parquet/predictions/model=M/version=V/date=YYYY-MM-DD/hour=HH/<file>.parquet
//! parquet/labels/date=YYYY-MM-DD/hour=HH/<file>.parquet
//! archive.jsonl                          what became of each segment; proves completeness
//! deleted.jsonl                          units whose records were deleted
//! hash.key                               the key of hashes, made once; for the owner alone
//! archive.lock                           held by whoever keeps the archive
//! archive.pass                           changes of the archive that are being carried out
//! ship.json                              how far the archive was copied to its object store
//! ```

use std::path::{Path, PathBuf};

pub const ACTIVE: &str = "seg";
pub const SEALED: &str = "sealed";
pub const PREPARED: &str = "next";
pub const DAMAGED: &str = "damaged";
/// Characters of a sequence number in a file's name.
const DIGITS: usize = 20;

pub fn raw(root: &Path) -> PathBuf {
    root.join("raw")
}

/// The folder of one shard.
pub fn shard(root: &Path, shard: u32) -> PathBuf {
    raw(root).join(format!("{shard:03}"))
}

/// A segment of a shard, by the extension [`ACTIVE`] or [`SEALED`].
pub fn segment(root: &Path, number: u32, first: u64, extension: &str) -> PathBuf {
    shard(root, number).join(format!("{first:0DIGITS$}.{extension}"))
}

/// A file that is reserved for a segment whose numbers are not known yet.
pub fn prepared(root: &Path, number: u32, epoch: u64, count: u64) -> PathBuf {
    shard(root, number).join(format!("{epoch:016x}-{count}.{PREPARED}"))
}

/// The number of a shard, by the name of its folder.
pub fn number_of(folder: &str) -> Option<u32> {
    let number = folder.parse().ok()?;
    (folder == format!("{number:03}")).then_some(number)
}

pub fn lock(root: &Path) -> PathBuf {
    root.join("lock")
}

/// The first sequence number of a segment, by its name.
pub fn first_of(path: &Path) -> Option<u64> {
    let stem = path.file_stem()?.to_str()?;
    let is_number = stem.len() == DIGITS && stem.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| stem.parse().ok()).flatten()
}

pub fn ledger(root: &Path, number: u32) -> PathBuf {
    shard(root, number).join("ledger")
}

pub fn schemas(root: &Path) -> PathBuf {
    root.join("schemas")
}

pub fn predictions(root: &Path) -> PathBuf {
    parquet(root).join("predictions")
}

pub fn labels(root: &Path) -> PathBuf {
    parquet(root).join("labels")
}

pub fn archive(root: &Path) -> PathBuf {
    root.join("archive.jsonl")
}

pub fn archive_lock(root: &Path) -> PathBuf {
    root.join("archive.lock")
}

pub fn archive_pass(root: &Path) -> PathBuf {
    root.join("archive.pass")
}

pub fn archive_reserve(root: &Path) -> PathBuf {
    root.join("archive.reserve")
}

pub fn parquet(root: &Path) -> PathBuf {
    root.join("parquet")
}

pub fn deleted(root: &Path) -> PathBuf {
    root.join("deleted.jsonl")
}

pub fn hash_key(root: &Path) -> PathBuf {
    root.join("hash.key")
}

pub fn shipped(root: &Path) -> PathBuf {
    root.join("ship.json")
}
