//! One look at the folder of a registry: what is whole, and what is not yet.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::inside::{Obstacle, Root};
use super::memory::{Checked, Memory};
use super::walk::{self, FoundFile, ModelFolder, Stamp, VersionFolder};
use crate::onnx;
use crate::registry::{
    Listed, ListedFile, ListedModel, Listing, MANIFEST_FILE, MODEL_FILE, Manifest, OPTIONS_FILE,
    SourceError, Unfinished, digest, version_digest,
};

const MAX_OPTIONS_BYTES: usize = 64 * 1024;

/// Text that changed so short a time ago may change again without a new stamp,
/// because file systems keep time in ticks.
const TICK: Duration = Duration::from_millis(100);

/// After so many times the settling time, a model file that breaks off is taken
/// as it is: nobody writes any more, and the probe tells what is wrong with it.
const GIVE_UP: u32 = 4;

/// How often a version that does not become whole is looked at again soon.
const LOOKS: u32 = 20;

/// Lists the whole registry, and tells whether a version that is not whole
/// changed of late. `settle` is for how long a version without a manifest must
/// have been the same.
pub(super) fn list(
    root: &Path,
    memory: &mut Memory,
    settle: Duration,
) -> Result<(Listing, bool), SourceError> {
    let root = Root::open(root).map_err(unreadable)?;
    let mut warnings = Vec::new();
    let models = walk::models(&root, &mut warnings).map_err(unreadable)?;
    let mut look = Look { root: &root, settle, lively: false, memory, warnings };
    let mut listing = Listing::default();
    for model in &models {
        look.model(model, &mut listing);
    }
    let (lively, warnings) = (look.lively, look.warnings);
    for warning in warnings.iter().filter(|warning| !memory.warned.contains(*warning)) {
        tracing::warn!("passing over what is no model in the registry: {warning}");
    }
    memory.warned = warnings.into_iter().collect();
    memory.versions.clear();
    for (name, model) in &listing.models {
        memory.versions.entry(name.clone()).or_default().extend(model.versions.keys());
    }
    for unfinished in &listing.unfinished {
        memory.versions.entry(unfinished.model.clone()).or_default().insert(unfinished.version);
    }
    memory.forget_unused();
    Ok((listing, lively))
}

fn unreadable(error: std::io::Error) -> SourceError {
    match error.kind() {
        std::io::ErrorKind::NotFound => SourceError::Unreachable("there is no such folder".into()),
        std::io::ErrorKind::PermissionDenied => SourceError::Denied(error.to_string()),
        _ => SourceError::Failed(error.to_string()),
    }
}

struct Look<'a> {
    root: &'a Root,
    settle: Duration,
    memory: &'a mut Memory,
    lively: bool,
    warnings: Vec<String>,
}

impl Look<'_> {
    fn model(&mut self, model: &ModelFolder, listing: &mut Listing) {
        let mut unfinished = |version, reason: String| {
            listing.unfinished.push(Unfinished { model: model.name.clone(), version, reason });
        };
        let versions = match &model.path {
            Ok(path) => walk::versions(self.root, model, path, &mut self.warnings)
                .map(|folders| (path, folders))
                .map_err(|obstacle| obstacle.to_string()),
            Err(obstacle) => Err(obstacle.to_string()),
        };
        let (path, folders) = match versions {
            Ok(versions) => versions,
            Err(obstacle) => {
                // What was there stays wanted; nothing is known of the rest.
                let known = self.memory.versions.get(&model.name).cloned().unwrap_or_default();
                if known.is_empty() {
                    self.warnings.push(format!("{}: {obstacle}", model.name));
                }
                for version in known {
                    unfinished(version, format!("the model's folder: {obstacle}"));
                }
                return;
            }
        };
        let options = self.options(path);
        let mut versions = BTreeMap::new();
        for folder in folders {
            let version = folder.version;
            if let Err(reason) = &options {
                unfinished(version, reason.clone());
                continue;
            }
            match self.version(&folder) {
                Ok(listed) => {
                    versions.insert(version, listed);
                }
                Err(reason) => unfinished(version, reason),
            }
        }
        if !versions.is_empty() {
            let options = options.unwrap_or_default();
            listing.models.insert(model.name.clone(), ListedModel { options, versions });
        }
    }

    /// The text of the options in the model's folder.
    fn options(&mut self, folder: &Path) -> Result<Option<String>, String> {
        let wrong = |error: String| format!("{OPTIONS_FILE}: {error}");
        let path = match self.root.resolve(folder, OPTIONS_FILE.as_ref()) {
            Ok(path) => path,
            Err(Obstacle::Gone) => return Ok(None),
            Err(obstacle) => return Err(wrong(obstacle.to_string())),
        };
        self.text(&path, MAX_OPTIONS_BYTES).map(Some).map_err(wrong)
    }

    fn version(&mut self, folder: &VersionFolder) -> Result<Listed, String> {
        let path = folder.path.as_ref().map_err(|obstacle| format!("its folder: {obstacle}"))?;
        let files = walk::files(self.root, path)?;
        let print = files.iter().map(|file| (file.name.clone(), file.stamp)).collect();
        let unchanged = self.memory.unchanged_for(&folder.place, print);
        let manifest = files.iter().find(|file| file.name.as_str() == MANIFEST_FILE);
        let listed = match manifest {
            Some(manifest) => self.stated(&files, manifest),
            None if is_settled(&files, unchanged, self.settle) => {
                self.hashed(&files, is_settled(&files, unchanged, self.settle * GIVE_UP))
            }
            None => Err("it is being written".to_owned()),
        };
        match listed {
            Ok(files) => {
                Ok(Listed { digest: version_digest(&files), place: folder.place.clone(), files })
            }
            Err(reason) => {
                self.lively |= unchanged < self.settle.saturating_mul(LOOKS);
                Err(reason)
            }
        }
    }

    /// A version as its manifest states it, where all of that is there.
    fn stated(
        &mut self,
        found: &[FoundFile],
        manifest: &FoundFile,
    ) -> Result<Vec<ListedFile>, String> {
        let text = self
            .text(&manifest.path, Manifest::MAX_BYTES)
            .map_err(|error| format!("{MANIFEST_FILE}: {error}"))?;
        let manifest = Manifest::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        for wanted in &manifest.files {
            let file = found.iter().find(|file| file.name == wanted.name);
            let arrived = file.map_or(0, |file| file.stamp.bytes);
            if file.is_none() || arrived != wanted.bytes {
                return Err(format!(
                    "'{}' has {arrived} of the {} bytes that {MANIFEST_FILE} states",
                    wanted.name, wanted.bytes
                ));
            }
        }
        Ok(manifest.files)
    }

    /// A version without a manifest, with the digests of its files; `as_it_is`
    /// even if its model breaks off.
    fn hashed(&mut self, found: &[FoundFile], as_it_is: bool) -> Result<Vec<ListedFile>, String> {
        let model = found.iter().position(|file| file.name.as_str() == MODEL_FILE);
        let model = model.ok_or_else(|| format!("it has no {MODEL_FILE}"))?;
        if found.len() > Manifest::MAX_FILES {
            return Err(format!("it has more than {} files", Manifest::MAX_FILES));
        }
        // The model first: what is not whole is not hashed.
        let others = (0..found.len()).filter(|at| *at != model);
        let mut listed = Vec::with_capacity(found.len());
        for at in std::iter::once(model).chain(others) {
            let file = &found[at];
            let checked = self
                .checked(file, as_it_is)
                .map_err(|error| format!("'{}': {error}", file.name))?;
            let sha256 = match checked {
                Checked::Whole(digest) => digest,
                Checked::Incomplete(reason) => return Err(format!("'{}': {reason}", file.name)),
            };
            listed.push(ListedFile { name: file.name.clone(), bytes: file.stamp.bytes, sha256 });
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    fn checked(&mut self, file: &FoundFile, as_it_is: bool) -> Result<Checked, String> {
        match self.memory.file(&file.path, file.stamp) {
            Some(Checked::Incomplete(_)) if as_it_is => {}
            Some(known) => return Ok(known),
            None => {}
        }
        let open = || self.root.open_file(&file.path).map_err(|obstacle| obstacle.to_string());
        let mut incomplete = None;
        if file.name.as_str() == MODEL_FILE && !as_it_is {
            incomplete = onnx::why_incomplete(open()?, file.stamp.bytes)
                .map_err(|error| error.to_string())?;
        }
        let checked = match incomplete {
            Some(reason) => Checked::Incomplete(reason),
            None => Checked::Whole(hash(open()?, file.stamp)?),
        };
        self.memory.keep_file(file.path.clone(), file.stamp, checked.clone());
        Ok(checked)
    }

    /// Text of a small file.
    fn text(&mut self, path: &PathBuf, most: usize) -> Result<String, String> {
        let file = self.root.open_file(path).map_err(|obstacle| obstacle.to_string())?;
        let stamp = Stamp::of(&file.metadata().map_err(|error| error.to_string())?);
        if let Some(known) = self.memory.text(path, stamp) {
            return known;
        }
        let mut bytes = Vec::new();
        file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        let text = match String::from_utf8(bytes) {
            Ok(text) if text.len() <= most => Ok(text),
            Ok(_) => Err(format!("it holds more than {} KiB", most / 1024)),
            Err(_) => Err("it is not UTF-8".to_owned()),
        };
        if stamp.age().is_some_and(|age| age > TICK) {
            self.memory.keep_text(path.clone(), stamp, text.clone());
        }
        text
    }
}

/// Whether nobody is writing any more: we saw no change for so long, or the
/// clock says so, as when the gateway starts.
fn is_settled(files: &[FoundFile], unchanged: Duration, settle: Duration) -> bool {
    unchanged >= settle
        || files.iter().all(|file| file.stamp.age().is_some_and(|age| age >= settle))
}

fn hash(mut file: std::fs::File, stamp: Stamp) -> Result<crate::types::Digest, String> {
    let digest = digest::of_reader(&mut file).map_err(|error| error.to_string())?;
    let after = file.metadata().map_err(|error| error.to_string())?;
    if Stamp::of(&after) == stamp { Ok(digest) } else { Err("it is being written".to_owned()) }
}
