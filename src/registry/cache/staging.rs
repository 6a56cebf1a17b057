//! Where entries of the cache are made, and go to be deleted.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

const FOLDER: &str = ".staging";

/// This process's own folder for unfinished things. It is locked as long as
/// the process lives, so that another one that shares the cache, as during a
/// restart, leaves it alone.
#[derive(Debug)]
pub(super) struct Staging {
    folder: PathBuf,
    _lock: File,
    next: AtomicU64,
}

/// A folder that is removed with what it holds, unless it was moved away.
#[derive(Debug)]
pub(super) struct Scratch {
    staging: Arc<Staging>,
    pub(super) path: PathBuf,
}

impl Staging {
    /// Removes what processes have left that live no more.
    pub(super) fn open(cache: &Path) -> io::Result<Staging> {
        let all = cache.join(FOLDER);
        fs::create_dir_all(&all)?;
        // Held while folders are made and removed: a new one is not locked yet.
        let guard = File::open(&all)?;
        guard.lock()?;
        for entry in fs::read_dir(&all)?.flatten() {
            let path = entry.path();
            match File::open(&path).map(|folder| folder.try_lock().map(|()| folder)) {
                Ok(Err(TryLockError::WouldBlock)) => {}
                _ => remove(&path)?,
            }
        }
        let folder = all.join(Uuid::now_v7().simple().to_string());
        fs::create_dir(&folder)?;
        let lock = File::open(&folder)?;
        lock.lock()?;
        Ok(Staging { folder, _lock: lock, next: AtomicU64::new(0) })
    }

    /// A path that nothing else has.
    fn path(&self) -> PathBuf {
        self.folder.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// A new, empty folder.
    pub(super) fn scratch(self: &Arc<Staging>) -> io::Result<Scratch> {
        let path = self.path();
        // Its parent too, in case somebody cleaned up.
        fs::create_dir_all(&path)?;
        Ok(Scratch { staging: Arc::clone(self), path })
    }

    /// Takes a folder of the same cache from its place at once, even from who
    /// still writes into it by its path; dropping what is returned deletes it.
    pub(super) fn take(self: &Arc<Staging>, path: &Path) -> io::Result<Option<Scratch>> {
        let away = self.path();
        match fs::rename(path, &away) {
            Ok(()) => Ok(Some(Scratch { staging: Arc::clone(self), path: away })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = remove(&self.folder);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Under another name first: who was told to stop may still be writing.
        let away = self.staging.path();
        let removed = fs::rename(&self.path, &away).and_then(|()| remove(&away));
        if let Err(error) = removed.or_else(ignore_missing) {
            tracing::warn!(%error, "cannot remove an unfinished entry of the registry cache");
        }
    }
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn remove(path: &Path) -> io::Result<()> {
    let is_folder = fs::symlink_metadata(path)?.is_dir();
    if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
