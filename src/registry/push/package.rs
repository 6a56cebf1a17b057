//! The files of a version to be pushed, and its manifest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::PushError;
use crate::onnx::{self, ScanRules};
use crate::registry::{
    FileName, GOLDEN_FILE, ListedFile, MANIFEST_FILE, MODEL_FILE, Manifest, OPTIONS_FILE,
    PROFILE_FILE, content, file_digest,
};
use crate::types::{RejectKind, Rejection};

/// What is to become a version: files where they are now, under the names they
/// will have, and the manifest that states them.
#[derive(Clone, Debug)]
pub struct Package {
    pub manifest: Manifest,
    paths: BTreeMap<FileName, PathBuf>,
}

impl Package {
    /// Collects and checks the files of a version, and computes their digests.
    /// `path` is a model file, whose weights may lie beside it, or a folder whose
    /// plain files are the version; `profile` and `golden` join it under their
    /// own names. Blocks.
    ///
    /// # Errors
    /// Says which file will not do, and why.
    pub fn collect(
        path: &Path,
        profile: Option<&Path>,
        golden: Option<&Path>,
        rules: &ScanRules,
    ) -> Result<Package, PushError> {
        let is_folder = metadata(path)?.is_dir();
        let mut paths = if is_folder { folder(path)? } else { weights(path, rules)? };
        let model = (!is_folder).then_some(path);
        for (name, path) in [(MODEL_FILE, model), (PROFILE_FILE, profile), (GOLDEN_FILE, golden)] {
            if let Some(path) = path {
                paths.insert(file_name(name)?, path.to_owned());
            }
        }
        if paths.len() > Manifest::MAX_FILES {
            let (found, most) = (paths.len(), Manifest::MAX_FILES);
            return Err(PushError::Refused(format!("{found} files; a version has at most {most}")));
        }
        let files = paths.iter().map(|(name, path)| listed(name, path));
        let manifest = Manifest::new(files.collect::<Result<_, _>>()?, None);
        Ok(Package { manifest, paths })
    }

    /// The model file, where it is now.
    pub fn model(&self) -> &Path {
        self.file(MODEL_FILE).unwrap_or(Path::new(MODEL_FILE))
    }

    /// Where the file of this name is now.
    pub fn file(&self, name: &str) -> Option<&Path> {
        self.paths.get(name).map(PathBuf::as_path)
    }

    pub fn bytes(&self) -> u64 {
        self.manifest.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// Copies the files into a folder that is there, under the names they will have.
    ///
    /// # Errors
    /// When one cannot be copied.
    pub fn copy_to(&self, folder: &Path) -> Result<(), PushError> {
        for (name, path) in &self.paths {
            fs::copy(path, folder.join(name.as_str())).map_err(PushError::io(name.to_string()))?;
        }
        Ok(())
    }

    /// Files with the paths where they are now.
    pub(super) fn files(&self) -> impl Iterator<Item = (&ListedFile, &Path)> {
        self.manifest
            .files
            .iter()
            .filter_map(|file| Some((file, self.paths.get(&file.name)?.as_path())))
    }
}

fn metadata(path: &Path) -> Result<fs::Metadata, PushError> {
    fs::metadata(path).map_err(PushError::io(path.display().to_string()))
}

fn file_name(name: &str) -> Result<FileName, PushError> {
    FileName::parse(name).map_err(|error| PushError::Refused(error.to_string()))
}

/// The files beside a model that hold its weights.
fn weights(model: &Path, rules: &ScanRules) -> Result<BTreeMap<FileName, PathBuf>, PushError> {
    let folder = model.parent().unwrap_or(Path::new(""));
    let file = File::open(model).map_err(PushError::io(model.display().to_string()))?;
    let size = |name: &FileName| {
        let found = fs::metadata(folder.join(name.as_str())).map_err(|error| error.to_string())?;
        if found.is_file() { Ok(found.len()) } else { Err("is not a plain file".to_owned()) }
    };
    // Links are no harm here: what they lead to is copied.
    let scan = onnx::scan_reader(file, metadata(model)?.len(), rules, &size)
        .map_err(|error| Rejection::new(RejectKind::BadModel, error.to_string()))?;
    let beside = |name: FileName| (name.clone(), folder.join(name.as_str()));
    Ok(scan.external.into_iter().map(beside).collect())
}

/// The plain files of a folder that a version has. A single `*.onnx` becomes
/// its model file.
fn folder(path: &Path) -> Result<BTreeMap<FileName, PathBuf>, PushError> {
    let unreadable = || PushError::io(path.display().to_string());
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(path).map_err(unreadable())? {
        let path = entry.map_err(unreadable())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The manifest is made anew, and options belong to the model.
        let passed_over = name.starts_with(['.', '_'])
            || [MANIFEST_FILE, OPTIONS_FILE].contains(&name.as_str())
            || metadata(&path)?.is_dir();
        if !passed_over {
            files.insert(file_name(&name)?, path);
        }
    }
    if !files.contains_key(MODEL_FILE) {
        let models: Vec<FileName> =
            files.keys().filter(|name| name.as_str().ends_with(".onnx")).cloned().collect();
        let [model] = &models[..] else {
            return Err(PushError::Refused(format!(
                "'{}' has no {MODEL_FILE}, nor one .onnx file alone",
                path.display()
            )));
        };
        if let Some(path) = files.remove(model) {
            files.insert(file_name(MODEL_FILE)?, path);
        }
    }
    Ok(files)
}

fn listed(name: &FileName, path: &Path) -> Result<ListedFile, PushError> {
    let failed = || PushError::io(path.display().to_string());
    let metadata = metadata(path)?;
    if !metadata.is_file() {
        return Err(PushError::Refused(format!("'{}' is not a plain file", path.display())));
    }
    let refused = content::refused_name(name);
    if let Some(reason) = refused.or(content::refused_content(name, path).map_err(failed())?) {
        return Err(PushError::Refused(reason));
    }
    if name.as_str() == MODEL_FILE {
        let file = File::open(path).map_err(failed())?;
        if let Some(reason) = onnx::why_incomplete(file, metadata.len()).map_err(failed())? {
            return Err(PushError::Refused(format!("'{}': {reason}", path.display())));
        }
    }
    let sha256 = file_digest(path).map_err(failed())?;
    Ok(ListedFile { name: name.clone(), bytes: metadata.len(), sha256 })
}
