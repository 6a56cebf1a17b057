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
    #[error(
        "'{0}' is not a variant's name: expected 1 to 63 of a-z 0-9 -, the first a letter, and \
         neither 'pinned' nor 'shadow'"
    )]
    Variant(String),
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

/// Name of a variant of a route: `[a-z][a-z0-9-]{0,62}`. What answers to a
/// pinned version, and shadows, go by names that no variant can have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariantName(Arc<str>);

impl VariantName {
    /// Answers unless something else is chosen.
    pub const CHAMPION: &str = "champion";
    /// Stands in answers and metrics for a version that the caller named.
    pub const PINNED: &str = "pinned";
    /// Stands in metrics for the version that a route's requests are mirrored to.
    pub const SHADOW: &str = "shadow";

    pub fn parse(name: &str) -> Result<VariantName, NameError> {
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let is_taken = [VariantName::PINNED, VariantName::SHADOW].contains(&name);
        if first && name.len() <= 63 && name.bytes().all(legal) && !is_taken {
            Ok(VariantName(Arc::from(name)))
        } else {
            Err(NameError::Variant(name.chars().take(80).collect()))
        }
    }

    pub fn champion() -> VariantName {
        VariantName(Arc::from(VariantName::CHAMPION))
    }

    pub fn is_champion(&self) -> bool {
        &*self.0 == VariantName::CHAMPION
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for VariantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for VariantName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for VariantName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<VariantName, D::Error> {
        VariantName::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
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
    fn variants_have_short_plain_names() {
        for bad in ["", "A", "1a", "-a", "a_b", "pinned", "shadow", &"x".repeat(64)] {
            assert!(VariantName::parse(bad).is_err(), "{bad:?} must be refused");
        }
        for good in ["champion", "candidate-2", &"x".repeat(63)] {
            assert!(VariantName::parse(good).is_ok(), "{good:?} must be accepted");
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
