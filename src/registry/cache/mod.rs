//! The local copies of versions, by their content.
//!
//! An entry is a folder `<hex of the version's digest>/` of plain files and a
//! hidden descriptor. It is made in `.staging/` and renamed into place when it
//! is whole, checked and on disk, so that a crash leaves nothing half. Models
//! that share a version share its entry.

mod entry;
mod index;
mod staging;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use thiserror::Error;
use tokio::task::spawn_blocking;

use super::{Listed, Progress, Source, SourceError};
use crate::background;
use crate::types::{Digest, RejectKind, Rejection};
use entry::{DESCRIPTOR, Descriptor};
use index::Index;
use staging::{Scratch, Staging};

const MAX_NOTE_BYTES: u64 = 64 * 1024;

/// A cheap handle; copies speak of the same cache. Several processes may use one
/// folder, as during a restart: each bounds what it knows of.
#[derive(Clone, Debug)]
pub struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    max_bytes: u64,
    staging: Arc<Staging>,
    /// Held while entries are moved in and away, so that it tells the truth.
    index: Mutex<Index>,
    /// Who fetches a digest has its turn; others wait for the outcome.
    turns: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug, Error)]
#[error("cannot use the registry cache '{}': {error}", folder.display())]
pub struct CacheError {
    folder: PathBuf,
    #[source]
    error: io::Error,
}

/// Why a version could not be had.
#[derive(Debug, Error)]
pub enum FetchError {
    /// Another attempt may succeed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// This content will not do, however often it is fetched.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl Cache {
    /// Opens the cache in `folder`, which is made if need be. Entries that are
    /// not whole, by names and sizes, are removed, as is what crashes have left;
    /// what is no entry by its name is left alone.
    ///
    /// A cache that holds more than `max_bytes` shrinks with the next fetch.
    pub fn open(folder: &Path, max_bytes: u64) -> Result<Cache, CacheError> {
        Inner::open(folder, max_bytes)
            .map(|inner| Cache(Arc::new(inner)))
            .map_err(|error| CacheError { folder: folder.to_owned(), error })
    }

    /// Whether there is an entry, as far as is known without a look at the disk.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.0.index().contains(digest)
    }

    /// The folder of an entry, which counts as used now.
    pub fn get(&self, digest: &Digest) -> Option<PathBuf> {
        let mut index = self.0.index();
        if !index.contains(digest) {
            return None;
        }
        let path = self.0.path(digest);
        // The time is for the next start; the folder may have been deleted by hand.
        let descriptor = File::options().append(true).open(path.join(DESCRIPTOR));
        match descriptor.map(|file| file.set_modified(SystemTime::now())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                index.remove(digest);
                None
            }
            _ => {
                index.mark_used(digest);
                Some(path)
            }
        }
    }

    /// Compares every file of an entry with its digest, and removes the entry
    /// if one differs. Blocks for as long as reading takes.
    pub fn verify(&self, digest: &Digest) -> Result<PathBuf, Rejection> {
        let bad = |reason: &str| Rejection::new(RejectKind::BadFiles, reason);
        let path = self.get(digest).ok_or_else(|| bad("it is not in the cache"))?;
        let verified = Descriptor::read(&path)
            .ok_or_else(|| bad("files are missing from the cache, or have another size"))
            .and_then(|descriptor| entry::verify(&path, &descriptor.files));
        match verified {
            Ok(()) => Ok(path),
            Err(rejection) => {
                self.remove(digest);
                Err(rejection)
            }
        }
    }

    /// Copies a version into the cache, unless it is there, and gives its
    /// folder. Sizes and digests of its files are compared with what the
    /// registry states. Room is made first, by removing what was not used for
    /// longest; `keep` never goes: it should name all that is served, wanted or
    /// kept for a rollback. May be dropped at any time.
    ///
    /// # Errors
    /// [`SourceError::NoSpace`] where it does not fit into the cache beside
    /// `keep`, or onto the disk.
    pub async fn fetch(
        &self,
        source: &dyn Source,
        listed: &Listed,
        progress: &Progress,
        keep: &HashSet<Digest>,
    ) -> Result<PathBuf, FetchError> {
        let turn = self.0.turn(listed.digest);
        let _turn = turn.lock().await;
        if let Some(path) = self.get(&listed.digest) {
            progress.add(listed.bytes());
            return Ok(path);
        }
        entry::check_stated(listed)?;
        let room = {
            let (inner, bytes, keep) = (Arc::clone(&self.0), listed.bytes(), keep.clone());
            blocking(move || inner.make_room(bytes, &keep)).await?
        };
        let scratch = self.0.staging.scratch().map_err(written)?;
        if let Err(error) = source.fetch(listed, &scratch.path, progress).await {
            if matches!(error, SourceError::NoSpace(_)) {
                self.free_disk(listed.bytes(), keep).await;
            }
            return Err(error.into());
        }
        let (inner, source, listed) =
            (Arc::clone(&self.0), source.name().to_owned(), listed.clone());
        blocking(move || {
            let path = inner.seal(scratch, &source, &listed);
            drop(room);
            path
        })
        .await
    }

    /// A note kept beside an entry; none where there is no such note, or it is
    /// no text of at most 64 KiB.
    pub fn read_note(&self, digest: &Digest, name: &str) -> Option<String> {
        let mut text = String::new();
        let file = File::open(self.0.path(digest).join(note(name)?)).ok()?;
        let read = file.take(MAX_NOTE_BYTES + 1).read_to_string(&mut text).ok()?;
        (read as u64 <= MAX_NOTE_BYTES).then_some(text)
    }

    /// Keeps a note beside an entry, in place of the one of that name. `name`
    /// is of letters, digits and dashes.
    pub fn write_note(&self, digest: &Digest, name: &str, text: &str) -> io::Result<()> {
        let name = note(name).filter(|_| text.len() as u64 <= MAX_NOTE_BYTES);
        let name = name.ok_or(io::ErrorKind::InvalidInput)?;
        let scratch = self.0.staging.scratch()?;
        let path = scratch.path.join(&name);
        let mut file = File::create_new(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(path, self.0.path(digest).join(name))
    }

    pub fn remove(&self, digest: &Digest) {
        // Deletes once the lock is released.
        let _taken = self.0.take(&mut self.0.index(), digest);
    }

    /// Bytes of all entries.
    pub fn bytes(&self) -> u64 {
        self.0.index().bytes()
    }

    /// The disk is full, though the cache is not: what can go goes, for the next attempt.
    async fn free_disk(&self, bytes: u64, keep: &HashSet<Digest>) {
        let (inner, keep) = (Arc::clone(&self.0), keep.clone());
        let freeing = spawn_blocking(move || {
            let mut index = inner.index();
            let leaving = index.oldest(bytes, &keep).unwrap_or_default();
            let taken: Vec<_> =
                leaving.iter().map(|digest| inner.take(&mut index, digest)).collect();
            drop(index);
            drop(taken);
        });
        let _ = freeing.await;
    }
}

impl Inner {
    fn open(folder: &Path, max_bytes: u64) -> io::Result<Inner> {
        fs::create_dir_all(folder)?;
        let staging = Arc::new(Staging::open(folder)?);
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Some(digest) = digest_of(&entry.file_name().to_string_lossy()) else { continue };
            let path = entry.path();
            match Descriptor::read(&path).filter(|descriptor| descriptor.digest == digest) {
                Some(descriptor) => {
                    let used = fs::metadata(path.join(DESCRIPTOR))?.modified()?;
                    found.push((used, digest, descriptor.bytes()));
                }
                None => {
                    tracing::warn!(%digest, "removing an entry of the registry cache that is not whole");
                    staging.take(&path)?;
                }
            }
        }
        found.sort();
        let mut index = Index::default();
        for (_, digest, bytes) in found {
            index.add(digest, bytes);
        }
        let (folder, index) = (folder.to_owned(), Mutex::new(index));
        Ok(Inner { folder, max_bytes, staging, index, turns: Mutex::default() })
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    fn turn(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        turns.get(&digest).and_then(Weak::upgrade).unwrap_or_else(|| {
            let turn = Arc::default();
            turns.insert(digest, Arc::downgrade(&turn));
            turn
        })
    }

    /// Takes an entry away; it is deleted when what is returned is dropped.
    fn take(&self, index: &mut Index, digest: &Digest) -> Option<Scratch> {
        index.remove(digest);
        self.staging.take(&self.path(digest)).unwrap_or_else(|error| {
            tracing::warn!(%digest, %error, "cannot remove an entry of the registry cache");
            None
        })
    }

    /// Sees to it that `bytes` more will fit, by removing what is not of `keep`.
    fn make_room(
        self: &Arc<Inner>,
        bytes: u64,
        keep: &HashSet<Digest>,
    ) -> Result<Room, FetchError> {
        let mut index = self.index();
        let Some(leaving) = index.leaving(bytes, self.max_bytes, keep) else {
            let (held, most) = (index.bytes(), self.max_bytes);
            return Err(SourceError::NoSpace(format!(
                "{bytes} bytes do not fit into the cache of {most} bytes, which holds {held}, \
                 beside the versions in use"
            ))
            .into());
        };
        let taken: Vec<_> = leaving.iter().map(|digest| self.take(&mut index, digest)).collect();
        index.reserve(bytes);
        drop(index);
        drop(taken);
        Ok(Room { inner: Arc::clone(self), bytes })
    }

    /// Makes an entry of what was fetched into `scratch`.
    fn seal(&self, scratch: Scratch, source: &str, listed: &Listed) -> Result<PathBuf, FetchError> {
        entry::seal(&scratch.path, source, listed).map_err(written)??;
        let path = self.path(&listed.digest);
        let mut index = self.index();
        // Another process may have put it there; what is there otherwise is not whole.
        if Descriptor::read(&path).is_none_or(|found| found.digest != listed.digest) {
            let _broken = self.staging.take(&path).map_err(written)?;
            fs::rename(&scratch.path, &path).map_err(written)?;
        }
        index.add(listed.digest, listed.bytes());
        drop(index);
        entry::sync_folder(&self.folder).map_err(written)?;
        Ok(path)
    }
}

/// Bytes that a fetch under way may take.
#[derive(Debug)]
struct Room {
    inner: Arc<Inner>,
    bytes: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.inner.index().release(self.bytes);
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    let failed = |error: io::Error| SourceError::Failed(error.to_string());
    background::run(work).await.map_err(failed)?
}

fn written(error: io::Error) -> FetchError {
    SourceError::from_writing(&error).into()
}

/// The digest that a folder's name stands for.
fn digest_of(name: &str) -> Option<Digest> {
    Digest::parse(&format!("sha256:{name}")).ok().filter(|digest| digest.hex() == name)
}

/// The file of a note.
fn note(name: &str) -> Option<String> {
    let plain = !name.is_empty() && name.len() <= 64;
    let plain = plain && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    plain.then(|| format!(".note-{name}"))
}
