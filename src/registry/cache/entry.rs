//! One version in the cache: a folder of plain copies and a descriptor.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::registry::{Listed, ListedFile, Manifest, content, digest, file_digest, version_digest};
use crate::types::{Digest, RejectKind, Rejection};

/// Hidden, so that it cannot be one of the version's files.
pub(super) const DESCRIPTOR: &str = ".entry.json";

/// What an entry holds. Written last into it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Descriptor {
    pub(super) digest: Digest,
    /// The registry it came from first.
    pub(super) source: String,
    pub(super) files: Vec<ListedFile>,
}

impl Descriptor {
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// Reads that of the entry in `folder`; none unless it is whole, by the
    /// names and sizes of its files.
    pub(super) fn read(folder: &Path) -> Option<Descriptor> {
        let mut text = Vec::new();
        let file = File::open(folder.join(DESCRIPTOR)).ok()?;
        file.take(Manifest::MAX_BYTES as u64).read_to_end(&mut text).ok()?;
        let descriptor: Descriptor = serde_json::from_slice(&text).ok()?;
        let is_whole = version_digest(&descriptor.files) == descriptor.digest
            && check_sizes(folder, &descriptor.files).is_ok();
        is_whole.then_some(descriptor)
    }

    fn write(&self, folder: &Path) -> io::Result<()> {
        let mut file = File::create_new(folder.join(DESCRIPTOR))?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()
    }
}

/// Why what a registry states cannot be a version, before anything is fetched.
pub(super) fn check_stated(listed: &Listed) -> Result<(), Rejection> {
    let bad = |reason| Err(Rejection::new(RejectKind::BadFiles, reason));
    if listed.files.len() > Manifest::MAX_FILES {
        return bad(format!("it has more than {} files", Manifest::MAX_FILES));
    }
    let mut names = BTreeSet::new();
    for file in &listed.files {
        if !names.insert(&file.name) {
            return bad(format!("'{}' is there twice", file.name));
        }
        if let Some(reason) = content::refused_name(&file.name) {
            return bad(reason);
        }
    }
    let digest = version_digest(&listed.files);
    if digest != listed.digest {
        let reason = format!("its files make {digest}, the registry states {}", listed.digest);
        return Err(Rejection::new(RejectKind::DigestMismatch, reason));
    }
    Ok(())
}

/// Checks what was fetched into `folder` and makes it an entry, on disk when
/// this returns. Blocks.
///
/// # Errors
/// The outer one where the disk fails, the inner where the files are not what
/// the registry states.
pub(super) fn seal(
    folder: &Path,
    source: &str,
    listed: &Listed,
) -> io::Result<Result<(), Rejection>> {
    if let Err(rejection) = check_sizes(folder, &listed.files) {
        return Ok(Err(rejection));
    }
    for stated in &listed.files {
        let path = folder.join(stated.name.as_str());
        let file = File::open(&path)?;
        file.sync_all()?;
        let found = digest::of_reader(&mut &file)?;
        if found != stated.sha256 {
            return Ok(Err(mismatch(stated, found)));
        }
        if let Some(reason) = content::refused_content(&stated.name, &path)? {
            return Ok(Err(Rejection::new(RejectKind::BadFiles, reason)));
        }
        let mut permissions = file.metadata()?.permissions();
        permissions.set_readonly(true);
        file.set_permissions(permissions)?;
    }
    let (digest, source, files) = (listed.digest, source.to_owned(), listed.files.clone());
    Descriptor { digest, source, files }.write(folder)?;
    sync_folder(folder)?;
    Ok(Ok(()))
}

/// Compares every file of an entry with its digest. Blocks.
pub(super) fn verify(folder: &Path, files: &[ListedFile]) -> Result<(), Rejection> {
    check_sizes(folder, files)?;
    for stated in files {
        let found = file_digest(&folder.join(stated.name.as_str())).map_err(|error| {
            Rejection::new(RejectKind::BadFiles, format!("'{}': {error}", stated.name))
        })?;
        if found != stated.sha256 {
            return Err(mismatch(stated, found));
        }
    }
    Ok(())
}

fn mismatch(stated: &ListedFile, found: Digest) -> Rejection {
    let reason =
        format!("'{}' has digest {found}, the registry states {}", stated.name, stated.sha256);
    Rejection::new(RejectKind::DigestMismatch, reason)
}

/// Whether `folder` holds plain files of these names and sizes, and beside
/// them nothing but what is hidden.
fn check_sizes(folder: &Path, files: &[ListedFile]) -> Result<(), Rejection> {
    let bad = |reason| Rejection::new(RejectKind::BadFiles, reason);
    for file in files {
        let metadata = fs::symlink_metadata(folder.join(file.name.as_str()))
            .map_err(|error| bad(format!("'{}': {error}", file.name)))?;
        if !metadata.is_file() {
            return Err(bad(format!("'{}' is not a plain file", file.name)));
        }
        if metadata.len() != file.bytes {
            let (found, stated) = (metadata.len(), file.bytes);
            let reason = format!("'{}' has {found} bytes, {stated} are stated", file.name);
            return Err(bad(reason));
        }
    }
    let entries = fs::read_dir(folder).map_err(|error| bad(error.to_string()))?;
    let shown = entries.flatten().filter(|e| !e.file_name().as_encoded_bytes().starts_with(b"."));
    if shown.count() != files.len() {
        return Err(bad("it holds files that the registry does not state".to_owned()));
    }
    Ok(())
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
