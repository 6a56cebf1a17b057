//! `manifest.json`: what a version consists of and where it comes from.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{ListedFile, MANIFEST_FILE, MODEL_FILE, version_digest};
use crate::types::{Digest, Signature};

/// The only schema there is.
const SCHEMA: u64 = 1;

/// What a version consists of. Written last when a version is pushed, so that
/// a version with a manifest is whole once all the files it names are there.
/// Fields that are not known are passed over: later gateways may write more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub schema: u64,
    /// All files but the manifest itself, in the order of their names.
    pub files: Vec<ListedFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    #[serde(default)]
    pub provenance: Provenance,
}

/// Where a version comes from, as its author states it; nothing relies on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_revision: Option<String>,
    /// A reference to the training data, such as a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training_data: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

#[derive(Debug, Error)]
pub enum ManifestError {
    #[error("{MANIFEST_FILE} holds more than {} KiB", Manifest::MAX_BYTES / 1024)]
    TooLarge,
    #[error("{MANIFEST_FILE} cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{MANIFEST_FILE} has schema {0}; this gateway reads schema {SCHEMA}")]
    Schema(u64),
    #[error("{MANIFEST_FILE} names '{0}' twice")]
    Twice(String),
    #[error("{MANIFEST_FILE} names itself")]
    Itself,
    #[error("{MANIFEST_FILE} names no {MODEL_FILE}")]
    NoModel,
    #[error("{MANIFEST_FILE} names {files} files; a version has at most {}", Manifest::MAX_FILES)]
    TooMany { files: usize },
}

impl Manifest {
    pub const MAX_BYTES: usize = 1 << 20;
    pub const MAX_FILES: usize = 256;

    pub fn new(mut files: Vec<ListedFile>, signature: Option<Signature>) -> Manifest {
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Manifest { schema: SCHEMA, files, signature, provenance: Provenance::default() }
    }

    /// # Errors
    /// Says what is wrong, in words for the version's author.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        #[derive(Deserialize)]
        struct Versioned {
            schema: u64,
        }
        if bytes.len() > Manifest::MAX_BYTES {
            return Err(ManifestError::TooLarge);
        }
        // First, because the rest of another schema may look like anything.
        let Versioned { schema } = serde_json::from_slice(bytes)?;
        if schema != SCHEMA {
            return Err(ManifestError::Schema(schema));
        }
        let mut manifest: Manifest = serde_json::from_slice(bytes)?;
        manifest.files.sort_by(|a, b| a.name.cmp(&b.name));
        check(&manifest.files)?;
        Ok(manifest)
    }

    /// The text to write, with a line end.
    pub fn to_json(&self) -> Result<String, ManifestError> {
        check(&self.files)?;
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        if text.len() > Manifest::MAX_BYTES { Err(ManifestError::TooLarge) } else { Ok(text) }
    }

    /// Digest of the version.
    pub fn digest(&self) -> Digest {
        version_digest(&self.files)
    }
}

fn check(files: &[ListedFile]) -> Result<(), ManifestError> {
    if files.len() > Manifest::MAX_FILES {
        return Err(ManifestError::TooMany { files: files.len() });
    }
    let mut names = BTreeSet::new();
    for file in files {
        if file.name.as_str() == MANIFEST_FILE {
            return Err(ManifestError::Itself);
        }
        if !names.insert(file.name.as_str()) {
            return Err(ManifestError::Twice(file.name.to_string()));
        }
    }
    if names.contains(MODEL_FILE) { Ok(()) } else { Err(ManifestError::NoModel) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::FileName;

    fn file(name: &str) -> ListedFile {
        let name = FileName::parse(name).expect("a name");
        ListedFile { name, bytes: 3, sha256: Digest::new([7; 32]) }
    }

    #[test]
    fn manifests_read_what_they_write_and_later_fields_too() {
        let mut manifest = Manifest::new(vec![file("w.bin"), file("model.onnx")], None);
        manifest.provenance.metrics.insert("accuracy".to_owned(), 0.97);
        manifest.provenance.git_revision = Some("abc".to_owned());
        let text = manifest.to_json().expect("JSON");
        assert_eq!(Manifest::parse(text.as_bytes()).expect("valid"), manifest);
        let later = text.replacen("\"schema\": 1,", "\"schema\": 1, \"later\": {\"x\": []},", 1);
        assert_ne!(later, text);
        assert_eq!(Manifest::parse(later.as_bytes()).expect("valid"), manifest);
    }

    #[test]
    fn the_order_of_files_does_not_matter() {
        let one = Manifest::new(vec![file("w.bin"), file("model.onnx")], None);
        let other = Manifest::new(vec![file("model.onnx"), file("w.bin")], None);
        assert_eq!(one.digest(), other.digest());
    }

    #[test]
    fn mistakes_are_named() {
        let digest = Digest::new([7; 32]);
        let entry = |name: &str| format!(r#"{{"name":"{name}","bytes":1,"sha256":"{digest}"}}"#);
        let files =
            |entries: &[String]| format!(r#"{{"schema":1,"files":[{}]}}"#, entries.join(","));
        for (text, part) in [
            (String::new(), "cannot be read"),
            ("{\"schema\":1,\"files\":[".to_owned(), "cannot be read"),
            ("[]".to_owned(), "cannot be read"),
            ("{}".to_owned(), "missing field `schema`"),
            (r#"{"schema":2,"files":"other"}"#.to_owned(), "schema 2"),
            (files(&[]), "names no model.onnx"),
            (files(&[entry("w.bin")]), "names no model.onnx"),
            (files(&[entry("model.onnx"), entry("model.onnx")]), "'model.onnx' twice"),
            (files(&[entry("model.onnx"), entry("manifest.json")]), "names itself"),
            (files(&[entry("model.onnx"), entry("../x")]), "'../x' is not a file name"),
            (files(&[entry("model.onnx"), entry("/etc/passwd")]), "is not a file name"),
            (files(&[entry("model.onnx"), entry(".hidden")]), "is not a file name"),
            (files(&[entry("model.onnx").replace("sha256:", "md5:")]), "is not a digest"),
            (files(&[entry("model.onnx").replace(":1,", ":-1,")]), "invalid value"),
            (files(&(0..300).map(|at| entry(&format!("f{at}"))).collect::<Vec<_>>()), "300 files"),
            (" ".repeat(Manifest::MAX_BYTES + 1), "more than 1024 KiB"),
        ] {
            let error = Manifest::parse(text.as_bytes()).expect_err(part).to_string();
            assert!(error.contains(part), "{error:?} should contain {part:?}");
        }
    }
}
