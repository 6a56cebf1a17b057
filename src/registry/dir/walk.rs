//! What stands where in the folder of a registry.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::inside::{Obstacle, Root};
use crate::registry::{FileName, MODEL_FILE, Manifest, OPTIONS_FILE};
use crate::types::{ModelName, Version};

/// Most models of one registry, and most versions of one model.
const MAX_MODELS: usize = 10_000;
const MAX_VERSIONS: usize = 10_000;

/// The folder of a model.
#[derive(Debug)]
pub(super) struct ModelFolder {
    pub(super) name: ModelName,
    /// Below the root; empty for the root itself.
    pub(super) place: String,
    /// Resolved, or why it cannot be.
    pub(super) path: Result<PathBuf, Obstacle>,
}

/// The folder of a version.
#[derive(Debug)]
pub(super) struct VersionFolder {
    pub(super) version: Version,
    /// Below the root; empty for the root itself.
    pub(super) place: String,
    /// Resolved, or why it cannot be.
    pub(super) path: Result<PathBuf, Obstacle>,
}

/// A plain file of a version.
#[derive(Debug)]
pub(super) struct FoundFile {
    pub(super) name: FileName,
    /// Resolved.
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    device: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            bytes: metadata.len(),
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// For how long the file has not changed, by the wall clock; none where it
    /// says that the change is still to come. Unlike the time of modification,
    /// which tools for copying set, the time of change cannot be made up.
    pub(super) fn age(&self) -> Option<Duration> {
        let (seconds, nanos) = self.changed;
        let seconds = Duration::from_secs(u64::try_from(seconds).ok()?);
        let changed = SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(nanos as u64);
        SystemTime::now().duration_since(changed).ok()
    }
}

/// The models of a registry. What is none by its name is added to `passed_over`.
///
/// A `model.onnx` in the root is a model that bears the root's name.
pub(super) fn models(root: &Root, passed_over: &mut Vec<String>) -> io::Result<Vec<ModelFolder>> {
    let mut models = Vec::new();
    let mut add = |entry: &OsStr, place: String, path| {
        match ModelName::parse(&entry.to_string_lossy()) {
            Ok(name) => models.push(ModelFolder { name, place, path }),
            Err(error) => passed_over.push(error.to_string()),
        }
        models.len() <= MAX_MODELS
    };
    if root.path().join(MODEL_FILE).is_file() {
        let name = root.path().file_name().unwrap_or_default();
        add(name, String::new(), Ok(root.path().to_owned()));
    }
    for entry in fs::read_dir(root.path())? {
        let entry = entry?.file_name();
        if is_hidden(&entry) {
            continue;
        }
        let path = match root.resolve(root.path(), &entry) {
            // Files beside the models, and what went away meanwhile.
            Ok(path) if !path.is_dir() => continue,
            Err(Obstacle::Gone) => continue,
            path => path,
        };
        if !add(&entry, entry.to_string_lossy().into_owned(), path) {
            return Err(io::Error::other(format!("it holds more than {MAX_MODELS} models")));
        }
    }
    models.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(models)
}

/// The versions of a model whose folder has been resolved to `path`, in no
/// order. A `model.onnx` in that folder itself is version 1, unless there is a
/// folder of that number. Folders that are no versions are added to `passed_over`.
pub(super) fn versions(
    root: &Root,
    model: &ModelFolder,
    path: &Path,
    passed_over: &mut Vec<String>,
) -> Result<Vec<VersionFolder>, Obstacle> {
    let mut versions = Vec::new();
    // The root of a flat registry holds models, not versions.
    let entries = (!model.place.is_empty()).then(|| fs::read_dir(path)).transpose()?;
    for entry in entries.into_iter().flatten() {
        let entry = entry?.file_name();
        if is_hidden(&entry) {
            continue;
        }
        let folder = root.resolve(path, &entry);
        if matches!(folder, Err(Obstacle::Gone))
            || folder.as_ref().is_ok_and(|folder| !folder.is_dir())
        {
            continue;
        }
        let text = entry.to_string_lossy();
        match Version::parse(&text) {
            // `01` would be another folder of the same number.
            Ok(version) if version.to_string() == text => {
                let place = format!("{}/{text}", model.place);
                versions.push(VersionFolder { version, place, path: folder });
            }
            Ok(_) => passed_over.push(format!("{}: '{text}' has leading zeros", model.name)),
            Err(error) => passed_over.push(format!("{}: {error}", model.name)),
        }
        if versions.len() > MAX_VERSIONS {
            let error = format!("it has more than {MAX_VERSIONS} versions");
            return Err(Obstacle::Io(io::Error::other(error)));
        }
    }
    let has_first = versions.iter().any(|folder| folder.version == Version::FIRST);
    if !has_first && fs::symlink_metadata(path.join(MODEL_FILE)).is_ok() {
        let (place, path) = (model.place.clone(), Ok(path.to_owned()));
        versions.push(VersionFolder { version: Version::FIRST, place, path });
    }
    if versions.is_empty() {
        passed_over.push(format!("{}: there is no <version>/{MODEL_FILE} in it", model.name));
    }
    Ok(versions)
}

/// The files of a version's folder by name, or why they cannot be taken.
/// Hidden entries and folders are passed over.
pub(super) fn files(root: &Root, folder: &Path) -> Result<Vec<FoundFile>, String> {
    let mut found = Vec::new();
    let unreadable = |error| format!("its folder cannot be read: {}", Obstacle::from(error));
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?.file_name();
        // Where the version is the model's folder itself, the options are there too.
        if is_hidden(&entry) || entry == OPTIONS_FILE {
            continue;
        }
        let shown: String = entry.to_string_lossy().chars().filter(|c| !c.is_control()).collect();
        let wrong = |obstacle: Obstacle| format!("'{shown}': {obstacle}");
        let path = root.resolve(folder, &entry).map_err(wrong)?;
        let metadata = fs::symlink_metadata(&path).map_err(|error| wrong(error.into()))?;
        if metadata.is_dir() {
            continue;
        }
        if !metadata.is_file() {
            return Err(format!("'{shown}' is not a plain file"));
        }
        let name = entry.to_str().ok_or_else(|| format!("'{shown}' is not UTF-8"))?;
        let name = FileName::parse(name).map_err(|error| error.to_string())?;
        found.push(FoundFile { name, path, stamp: Stamp::of(&metadata) });
        // One more for the manifest.
        if found.len() > Manifest::MAX_FILES + 1 {
            return Err(format!("it has more than {} files", Manifest::MAX_FILES));
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn is_hidden(name: &OsStr) -> bool {
    matches!(name.as_encoded_bytes().first(), Some(b'.' | b'_'))
}
