//! Names of a version's files, parsed once into a type that cannot leave its folder.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// The file that makes a folder a version.
pub const MODEL_FILE: &str = "model.onnx";
/// Digests, signature and provenance of a version.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Inputs of a version and the outputs expected for them.
pub const GOLDEN_FILE: &str = "golden.json";
/// What the model was trained on, for drift.
pub const PROFILE_FILE: &str = "profile.json";
/// Options of a model, beside its versions.
pub const OPTIONS_FILE: &str = "model.yaml";

#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "'{0}' is not a file name that a version may have: expected 1 to 255 bytes, no folder, no \
     control characters, and no '.' or '_' at the start"
)]
pub struct FileNameError(String);

/// A plain file name: no folder, nothing hidden, nothing that a terminal or
/// ONNX Runtime reads as something else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct FileName(String);

impl FileName {
    pub fn parse(name: &str) -> Result<FileName, FileNameError> {
        let plain = !name.is_empty()
            && name.len() <= 255
            && !name.starts_with(['.', '_'])
            && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | '*'));
        if plain {
            Ok(FileName(name.to_owned()))
        } else {
            Err(FileNameError(name.chars().filter(|c| !c.is_control()).take(80).collect()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for FileName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for FileName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FileName, D::Error> {
        FileName::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_folder() {
        for bad in [
            "",
            ".",
            "..",
            ".hidden",
            "_x",
            "a/b",
            "../a",
            "/etc/passwd",
            "a\\b",
            "a\0",
            "a\nb",
            "*/_ORT_MEM_ADDR_/*",
            &"x".repeat(256),
        ] {
            assert!(FileName::parse(bad).is_err(), "{bad:?} must be refused");
        }
        for good in ["model.onnx", "weights-1.bin", "gewichte ä.data", "a..b", &"x".repeat(255)] {
            assert!(FileName::parse(good).is_ok(), "{good:?} must be accepted");
        }
    }
}
