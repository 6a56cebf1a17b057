//! Where models come from: registries, and what they state.

mod cache;
mod complete;
mod content;
mod digest;
mod dir;
mod folder;
mod manifest;
mod source;

pub use crate::types::{
    FileName, FileNameError, GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE, OPTIONS_FILE, PROFILE_FILE,
};
pub use cache::{Cache, CacheError, FetchError};
pub use digest::{file_digest, version_digest};
pub use dir::DirSource;
pub use folder::{FolderError, Found, list, sha256};
pub use manifest::{Manifest, ManifestError, Provenance};
pub use source::{
    Listed, ListedFile, ListedModel, Listing, Progress, Source, SourceError, Unfinished,
};
