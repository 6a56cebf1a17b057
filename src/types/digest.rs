//! SHA-256 digests: what a version is, whatever its place or number.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

const PREFIX: &str = "sha256:";

#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("'{0}' is not a digest: expected sha256: and 64 hexadecimal digits")]
pub struct DigestError(String);

/// A SHA-256 digest, written `sha256:<hex>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn new(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// Reads `sha256:<hex>`, in either case.
    pub fn parse(text: &str) -> Result<Digest, DigestError> {
        let error = || DigestError(text.chars().take(80).collect());
        let hex = text.strip_prefix(PREFIX).ok_or_else(error)?.as_bytes();
        if hex.len() != 64 {
            return Err(error());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_chunks::<2>().0) {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            let value = high.ok_or_else(error)? * 16 + low.ok_or_else(error)?;
            *byte = u8::try_from(value).map_err(|_| error())?;
        }
        Ok(Digest(bytes))
    }

    /// The 64 hexadecimal digits alone: safe as a file name.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        Digest::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_read_what_they_write_and_nothing_else() {
        let digest = Digest::new([0xa5; 32]);
        assert_eq!(Digest::parse(&digest.to_string()), Ok(digest));
        assert_eq!(Digest::parse(&format!("sha256:{}", "A5".repeat(32))), Ok(digest));
        for bad in ["", "sha256:", "a5", &"a5".repeat(32), &format!("sha256:{}", "g5".repeat(32))] {
            assert!(Digest::parse(bad).is_err(), "{bad:?} must be refused");
        }
    }
}
