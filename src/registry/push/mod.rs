//! Brings a new version into a registry, so that a reader never sees half of it.

mod dir;
mod object;
mod package;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::{Bucket, ManifestError, Progress, SourceError};
use crate::types::{Digest, ModelName, Rejection, Version};
pub use package::Package;

/// Marks a version in an object store that `push` makes or has made.
pub(super) const CLAIM_FILE: &str = ".claim";

/// Versions that are tried before a push gives up because others take them first.
const ATTEMPTS: usize = 100;

/// Where versions can be pushed to.
#[derive(Clone, Debug)]
pub enum Target {
    /// The folder of a registry.
    Dir(PathBuf),
    Bucket(Bucket),
}

/// A version that a reader finds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    pub version: Version,
    pub digest: Digest,
    pub bytes: u64,
    /// For people.
    pub place: String,
}

#[derive(Debug, Error)]
pub enum PushError {
    /// What is to be pushed is no version.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("{what}: {error}")]
    Io { what: String, error: io::Error },
    #[error(transparent)]
    Registry(#[from] SourceError),
    /// Versions are never overwritten.
    #[error(
        "{model} version {version} is there already; choose another, or give none for the next"
    )]
    Exists { model: ModelName, version: Version },
    #[error("others took {ATTEMPTS} versions of {0} meanwhile; try again")]
    Overtaken(ModelName),
}

impl PushError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> PushError {
        let what = what.into();
        |error| PushError::Io { what, error }
    }
}

/// Pushes a version, the highest and one more where `version` is none.
/// Two pushes at once never make one version.
pub async fn push(
    target: &Target,
    model: &ModelName,
    version: Option<Version>,
    package: &Package,
    progress: &Progress,
) -> Result<Pushed, PushError> {
    let (version, place) = match target {
        Target::Dir(root) => dir::push(root, model, version, package, progress).await?,
        Target::Bucket(bucket) => object::push(bucket, model, version, package, progress).await?,
    };
    let (digest, bytes) = (package.manifest.digest(), package.bytes());
    Ok(Pushed { version, digest, bytes, place })
}

/// The version after the highest.
fn next(versions: impl Iterator<Item = Version>) -> Result<Version, PushError> {
    let highest = versions.max().map_or(0, Version::get);
    highest
        .checked_add(1)
        .and_then(|next| Version::parse(&next.to_string()).ok())
        .ok_or_else(|| PushError::Refused("there is no version after the highest".to_owned()))
}
