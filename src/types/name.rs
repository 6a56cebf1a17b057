//! Names and versions, parsed once into types that cannot traverse paths.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    #[error(
        "'{0}' is not a model name: expected 1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or digit"
    )]
    Model(String),
    #[error("'{0}' is not a version: expected a positive integer")]
    Version(String),
}

/// Name of a model: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName(Arc<str>);

impl ModelName {
    pub fn parse(name: &str) -> Result<ModelName, NameError> {
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if first && rest && name.len() <= 128 {
            Ok(ModelName(Arc::from(name)))
        } else {
            Err(NameError::Model(name.chars().take(160).collect()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl std::borrow::Borrow<str> for ModelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Version of a model: a positive integer; higher is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(NonZeroU64);

impl Version {
    pub const FIRST: Version = Version(NonZeroU64::MIN);

    pub fn parse(text: &str) -> Result<Version, NameError> {
        let error = || NameError::Version(text.chars().take(40).collect());
        // `parse` alone would take a leading plus sign.
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        text.parse().map(Version).map_err(|_| error())
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl From<NonZeroU64> for Version {
    fn from(number: NonZeroU64) -> Version {
        Version(number)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for ModelName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ModelName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ModelName, D::Error> {
        ModelName::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_folder() {
        for bad in
            ["", "..", ".hidden", "_x", "a/b", "a\\b", "a\0", "ä", "%2e%2e", &"x".repeat(129)]
        {
            assert!(ModelName::parse(bad).is_err(), "{bad:?} must be refused");
        }
        for good in ["a", "breast-cancer", "v1.2_x", &"x".repeat(128)] {
            assert!(ModelName::parse(good).is_ok(), "{good:?} must be accepted");
        }
    }

    #[test]
    fn versions_are_positive_integers() {
        for bad in ["", "0", "-1", "+1", "v1", "1.0", "18446744073709551616", " 1"] {
            assert!(Version::parse(bad).is_err(), "{bad:?} must be refused");
        }
        assert_eq!(Version::parse("18446744073709551615").map(Version::get), Ok(u64::MAX));
    }
}
