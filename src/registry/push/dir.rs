//! Into a folder: staged beside its place under a hidden name, then renamed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{ATTEMPTS, Package, PushError, next};
use crate::registry::{ListedFile, MANIFEST_FILE, MODEL_FILE, Progress, SourceError};
use crate::types::{Digest, ModelName, Version};

pub(super) async fn push(
    root: &Path,
    model: &ModelName,
    version: Option<Version>,
    package: &Package,
    progress: &Progress,
) -> Result<(Version, String), PushError> {
    let (root, model) = (root.to_owned(), model.clone());
    let (package, progress) = (package.clone(), progress.clone());
    spawn_blocking(move || {
        let mut push = Push::begin(&root, model)?;
        if let Some(version) =
            version.filter(|version| push.folder.join(version.to_string()).exists())
        {
            return Err(push.exists(version));
        }
        push.copy(&package, &progress)?;
        let version = push.publish(version)?;
        Ok((version, push.folder.join(version.to_string()).display().to_string()))
    })
    .await
    .map_err(|error| SourceError::Failed(error.to_string()))?
}

/// A push under way; what it has staged goes with it.
struct Push {
    model: ModelName,
    /// Of the model.
    folder: PathBuf,
    staged: PathBuf,
}

impl Push {
    fn begin(root: &Path, model: ModelName) -> Result<Push, PushError> {
        // Not made here: a slip in its name would make another registry.
        if !root.is_dir() {
            let error = io::Error::from(io::ErrorKind::NotADirectory);
            return Err(PushError::Io { what: root.display().to_string(), error });
        }
        let folder = root.join(model.as_str());
        let staged = folder.join(format!(".push-{}", Uuid::now_v7().simple()));
        fs::create_dir_all(&staged).map_err(PushError::io(staged.display().to_string()))?;
        Ok(Push { model, folder, staged })
    }

    /// Copies everything, on disk when this returns, the manifest last.
    fn copy(&self, package: &Package, progress: &Progress) -> Result<(), PushError> {
        for (file, path) in package.files() {
            self.copy_file(file, path, progress)?;
        }
        let path = self.staged.join(MANIFEST_FILE);
        let manifest = package.manifest.to_json()?;
        let write = || {
            let mut file = File::create_new(&path)?;
            file.write_all(manifest.as_bytes())?;
            file.sync_all()?;
            File::open(&self.staged)?.sync_all()
        };
        write().map_err(PushError::io(path.display().to_string()))
    }

    fn copy_file(
        &self,
        file: &ListedFile,
        path: &Path,
        progress: &Progress,
    ) -> Result<(), PushError> {
        let to = self.staged.join(file.name.as_str());
        let copy = || -> io::Result<Digest> {
            let (mut from, mut to) = (File::open(path)?, File::create_new(&to)?);
            let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
            loop {
                let read = from.read(&mut buffer)?;
                if read == 0 {
                    to.sync_all()?;
                    return Ok(Digest::new(hasher.finalize().into()));
                }
                hasher.update(&buffer[..read]);
                to.write_all(&buffer[..read])?;
                progress.add(read as u64);
            }
        };
        let copied =
            copy().map_err(PushError::io(format!("{} to {}", path.display(), to.display())))?;
        if copied == file.sha256 {
            Ok(())
        } else {
            Err(PushError::Refused(format!("'{}' changed while it was pushed", path.display())))
        }
    }

    /// Gives the version its number.
    fn publish(&mut self, version: Option<Version>) -> Result<Version, PushError> {
        for _ in 0..ATTEMPTS {
            let number = version.map_or_else(|| next(self.versions()?.into_iter()), Ok)?;
            let place = self.folder.join(number.to_string());
            match rename_new(&self.staged, &place) {
                Ok(()) => {
                    let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
                    synced.map_err(PushError::io(self.folder.display().to_string()))?;
                    return Ok(number);
                }
                Err(error) if is_taken(&error) && version.is_some() => {
                    return Err(self.exists(number));
                }
                Err(error) if is_taken(&error) => {}
                Err(error) => {
                    return Err(PushError::Io { what: place.display().to_string(), error });
                }
            }
        }
        Err(PushError::Overtaken(self.model.clone()))
    }

    fn versions(&self) -> Result<Vec<Version>, PushError> {
        let unreadable = || PushError::io(self.folder.display().to_string());
        let mut versions = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(unreadable())? {
            let name = entry.map_err(unreadable())?.file_name();
            // A flat model file is version 1.
            let name = name.to_string_lossy();
            let number = if name == MODEL_FILE { "1" } else { &name };
            versions.extend(Version::parse(number));
        }
        Ok(versions)
    }

    fn exists(&self, version: Version) -> PushError {
        PushError::Exists { model: self.model.clone(), version }
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        // It is not there any more where the push went well.
        let _ = fs::remove_dir_all(&self.staged);
        // The model's folder too, where it holds nothing.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Renames a folder to a name that nothing has.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can. A plain rename replaces nothing but an empty folder.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => fs::rename(from, to),
        renamed => Ok(renamed?),
    }
}

fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | NotADirectory)
}
