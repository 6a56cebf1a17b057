//! The contract of a registry: it states the whole wanted set of versions each
//! time it is asked, so nobody has to remember what it said before.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::Notify;

use super::FileName;
use crate::types::{Digest, ModelName, Version};

/// Where models come from.
///
/// What is no longer stated is retired. A listing that fails, or is empty where
/// there were models before, retires nothing; the caller sees to that.
pub trait Source: Send + Sync {
    /// The registry's name in the configuration.
    fn name(&self) -> &str;

    /// Where it is, for people and without secrets.
    fn location(&self) -> String;

    /// How long to wait from one listing to the next; the caller adds jitter.
    fn poll_every(&self) -> Duration;

    /// How long to wait instead when the last listing had unfinished versions.
    fn look_again(&self) -> Duration {
        self.poll_every()
    }

    /// Notifies `changed` soon after something changed, where the registry can
    /// tell; until what is returned is dropped. Polling remains the truth.
    fn watch(&self, changed: Arc<Notify>) -> Option<Box<dyn Send + Sync>> {
        drop(changed);
        None
    }

    /// Everything that should be served, now. Digests are computed by us, here
    /// or when the version was pushed; never an entity tag or a time.
    fn list(&self) -> BoxFuture<'_, Result<Listing, SourceError>>;

    /// Copies the files of a listed version into the folder `into`, which is
    /// empty, under their own names. The caller compares the digests. May be
    /// dropped at any time; what it leaves in `into` is then removed.
    fn fetch<'a>(
        &'a self,
        version: &'a Listed,
        into: &'a Path,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<(), SourceError>>;
}

/// Why a registry could not be read. Another attempt may succeed.
#[derive(Debug, Error)]
pub enum SourceError {
    /// It cannot be reached, or answers too slowly.
    #[error("cannot reach the registry: {0}")]
    Unreachable(String),
    /// It refuses us.
    #[error("the registry refuses access: {0}")]
    Denied(String),
    /// It changed between the listing and the fetch: the next listing tells.
    #[error("the registry changed meanwhile: {0}")]
    Changed(String),
    /// No room for the files on this side.
    #[error("no space left for the files of a model: {0}")]
    NoSpace(String),
    /// Anything else that went wrong while reading.
    #[error("cannot read the registry: {0}")]
    Failed(String),
}

impl SourceError {
    /// What went wrong while files were written on this side.
    pub(super) fn from_writing(error: &io::Error) -> SourceError {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded => SourceError::NoSpace(error.to_string()),
            _ => SourceError::Failed(format!("cannot write: {error}")),
        }
    }

    /// The `reason` label of `modelgate_registry_errors_total`.
    pub fn label(&self) -> &'static str {
        match self {
            SourceError::Unreachable(_) => "unreachable",
            SourceError::Denied(_) => "denied",
            SourceError::Changed(_) => "changed",
            SourceError::NoSpace(_) => "no_space",
            SourceError::Failed(_) => "failed",
        }
    }
}

/// The whole wanted set of one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    pub models: BTreeMap<ModelName, ListedModel>,
    /// Versions that are being written, or cannot be read yet, and why. What
    /// was listed under the same number before stays wanted.
    #[serde(default)]
    pub unfinished: Vec<Unfinished>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedModel {
    /// The text of `model.yaml`, where there is one.
    pub options: Option<String>,
    pub versions: BTreeMap<Version, Listed>,
}

/// One version as a registry states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Of all files: see [`version_digest`](super::version_digest).
    pub digest: Digest,
    /// The folder of the files, in the source's own terms; not for display.
    pub place: String,
    /// In the order of their names. `manifest.json` is not among them.
    pub files: Vec<ListedFile>,
}

impl Listed {
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    pub name: FileName,
    pub bytes: u64,
    pub sha256: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    pub model: ModelName,
    pub version: Version,
    pub reason: String,
}

/// Bytes of a version that have arrived; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    bytes: Arc<AtomicU64>,
}

impl Progress {
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}
