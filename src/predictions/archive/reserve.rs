//! Space that is kept for retention: what makes room has to be told first, and
//! a disk that is full has no room for that.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

use super::error::ArchiveError;
use crate::predictions::layout;

/// Enough to tell of thousands of files.
const BYTES: u64 = 1 << 20;

/// Reserves the space, where it is not reserved yet and there is room for it.
///
/// # Errors
/// Where the disk refuses for another reason.
pub fn make(root: &Path) -> Result<(), ArchiveError> {
    let path = layout::archive_reserve(root);
    if std::fs::metadata(&path).is_ok_and(|file| file.len() >= BYTES) {
        return Ok(());
    }
    let file = File::create(&path).map_err(ArchiveError::io(&path))?;
    match fallocate(&file, FallocateFlags::empty(), 0, BYTES).map_err(io::Error::from) {
        Ok(()) => Ok(()),
        Err(error) => {
            release(root)?;
            match error.kind() {
                // Some file systems cannot reserve.
                io::ErrorKind::StorageFull | io::ErrorKind::Unsupported => Ok(()),
                _ => Err(ArchiveError::io(&path)(error)),
            }
        }
    }
}

/// Gives the space back. Says whether there was any.
///
/// # Errors
/// Where the disk refuses.
pub fn release(root: &Path) -> Result<bool, ArchiveError> {
    let path = layout::archive_reserve(root);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true).map_err(ArchiveError::io(&path)),
    }
}
