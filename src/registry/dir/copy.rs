//! Copies the files of a listed version out of a registry's folder.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::inside::{Obstacle, Root};
use crate::registry::{Listed, ListedFile, SourceError};

const CHUNK: usize = 1 << 20;

/// Copies every file of `version` into `into`, and never links: what is
/// written into the registry later must not reach the copy. Ends early, with
/// an error, once `stop` is set. `arrived` is told of the bytes as they come.
pub(super) fn copy(
    root: &Path,
    version: &Listed,
    into: &Path,
    stop: &AtomicBool,
    mut arrived: impl FnMut(u64),
) -> Result<(), SourceError> {
    let root = Root::open(root).map_err(|error| SourceError::Unreachable(error.to_string()))?;
    let folder = folder(&root, &version.place).map_err(changed)?;
    let mut buffer = vec![0; CHUNK];
    for file in &version.files {
        let name = |obstacle: Obstacle| {
            SourceError::Changed(format!("{}/{}: {obstacle}", version.place, file.name))
        };
        let path = root.resolve(&folder, file.name.as_str().as_ref()).map_err(name)?;
        let mut from = root.open_file(&path).map_err(name)?;
        let to = into.join(file.name.as_str());
        let mut to = OpenOptions::new().write(true).create_new(true).open(to).map_err(write)?;
        let mut left = file.bytes;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(SourceError::Failed("the fetch was called off".to_owned()));
            }
            let read = from.read(&mut buffer).map_err(|error| read_failed(file, &error))?;
            if read == 0 {
                break;
            }
            left = left.checked_sub(read as u64).ok_or_else(|| resized(file))?;
            to.write_all(&buffer[..read]).map_err(write)?;
            arrived(read as u64);
        }
        if left > 0 {
            return Err(resized(file));
        }
    }
    Ok(())
}

/// The folder at `place`, which may come from a file and is not trusted.
fn folder(root: &Root, place: &str) -> Result<PathBuf, Obstacle> {
    let parts = place.split('/').filter(|part| !part.is_empty());
    parts.into_iter().try_fold(root.path().to_owned(), |path, part| match part {
        "." | ".." => Err(Obstacle::Outside),
        part => root.resolve(&path, part.as_ref()),
    })
}

fn changed(obstacle: Obstacle) -> SourceError {
    SourceError::Changed(obstacle.to_string())
}

fn resized(file: &ListedFile) -> SourceError {
    SourceError::Changed(format!("'{}' has no longer {} bytes", file.name, file.bytes))
}

fn read_failed(file: &ListedFile, error: &io::Error) -> SourceError {
    SourceError::Failed(format!("'{}': {error}", file.name))
}

fn write(error: io::Error) -> SourceError {
    SourceError::from_writing(&error)
}
