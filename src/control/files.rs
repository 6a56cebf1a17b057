//! Files of the data folder: read as they are, written as a whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::de::DeserializeOwned;

/// What a file of JSON holds; none where there is no such file, or where it is
/// damaged, with a warning.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(file = ?path.file_name(), %error, "a file of the data folder cannot be read");
            return None;
        }
    };
    match serde_json::from_slice(&text) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(file = ?path.file_name(), %error, "a file of the data folder is damaged; passing it over");
            None
        }
    }
}

/// Writes a file so that a crash leaves the old content or the new.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let half = path.with_extension("half");
    let mut file = File::create(&half)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&half, path)?;
    let folder = path.parent().ok_or_else(|| io::Error::other("no folder"))?;
    File::open(folder)?.sync_all()
}
