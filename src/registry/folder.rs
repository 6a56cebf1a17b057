//! A registry that is a folder: `<name>/<version>/model.onnx`, Triton's layout.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::types::{ModelName, Version};

use super::MODEL_FILE;

#[derive(Debug, Error)]
pub enum FolderError {
    #[error("cannot list the models folder '{folder}': {source}")]
    List { folder: PathBuf, source: io::Error },
}

/// A model of the folder, with the files of its versions.
#[derive(Debug)]
pub struct Found {
    pub name: ModelName,
    /// `<name>/model.yaml`, where there is one.
    pub options: Option<PathBuf>,
    pub versions: BTreeMap<Version, PathBuf>,
}

/// Lists the models of a folder, by name. A flat `<name>/model.onnx` is
/// version 1 of `<name>`, and a `model.onnx` in the folder itself is version 1
/// of a model that bears the folder's name. Entries that begin with `.` or `_`
/// are passed over, and what else is no model with a warning.
pub fn list(folder: &Path) -> Result<Vec<Found>, FolderError> {
    let failed = |source| FolderError::List { folder: folder.to_owned(), source };
    let mut found = Vec::new();
    if folder.join(MODEL_FILE).is_file() {
        let whole = fs::canonicalize(folder).map_err(failed)?;
        found.extend(model(&whole));
    }
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() && !is_hidden(&path) {
            found.extend(model(&path));
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn model(folder: &Path) -> Option<Found> {
    let text = folder.file_name().unwrap_or_default().to_string_lossy();
    let name = match ModelName::parse(&text) {
        Ok(name) => name,
        Err(error) => {
            tracing::warn!(%error, "passing over a folder among the models");
            return None;
        }
    };
    let mut versions = BTreeMap::new();
    let flat = folder.join(MODEL_FILE);
    if flat.is_file() {
        versions.insert(Version::FIRST, flat);
    }
    for path in subfolders(folder) {
        let text = path.file_name().unwrap_or_default().to_string_lossy();
        let file = path.join(MODEL_FILE);
        match Version::parse(&text) {
            Ok(version) if file.is_file() => {
                versions.insert(version, file);
            }
            Ok(version) => {
                tracing::warn!(model = %name, %version, "no {MODEL_FILE} in this version")
            }
            Err(error) => tracing::warn!(model = %name, %error, "passing over a folder"),
        }
    }
    if versions.is_empty() {
        tracing::warn!(model = %name, "no <version>/{MODEL_FILE} in this folder; passing it over");
        return None;
    }
    let options = Some(folder.join("model.yaml")).filter(|path| path.is_file());
    Some(Found { name, options, versions })
}

fn subfolders(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir() && !is_hidden(path))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.as_encoded_bytes();
        name.starts_with(b".") || name.starts_with(b"_")
    })
}

/// Digest of a file's content, as `sha256:<hex>`.
pub fn sha256(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
    }
    let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256:{hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(root: &Path, file: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, b"x").expect("a file");
    }

    #[test]
    fn models_and_versions_are_found_and_the_rest_is_passed_over() {
        let root = tempfile::tempdir().expect("a folder");
        for file in [
            "a/1/model.onnx",
            "a/10/model.onnx",
            "a/2/model.onnx",
            "a/model.yaml",
            "a/x/model.onnx",
            "a/.3/model.onnx",
            "a/0/model.onnx",
            "a/4/other.onnx",
            "flat/model.onnx",
            ".hidden/1/model.onnx",
            "_half/1/model.onnx",
            "bad name/1/model.onnx",
            "train.py",
            "empty/x",
        ] {
            touch(root.path(), file);
        }
        let found = list(root.path()).expect("a listing");
        let seen: Vec<(String, Vec<u64>, bool)> = found
            .iter()
            .map(|model| {
                let versions = model.versions.keys().map(|version| version.get()).collect();
                (model.name.to_string(), versions, model.options.is_some())
            })
            .collect();
        assert_eq!(
            seen,
            [("a".to_owned(), vec![1, 2, 10], true), ("flat".to_owned(), vec![1], false)]
        );
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        assert!(list(Path::new("no-such-folder")).is_err());
    }

    #[test]
    fn digests_are_sha256() {
        let root = tempfile::tempdir().expect("a folder");
        touch(root.path(), "f");
        assert_eq!(
            sha256(&root.path().join("f")).expect("a digest"),
            "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
        );
    }
}
