//! Where models come from: registries, and what they state.
//!
//! A [`Source`] states everything that should be served: [`DirSource`] a
//! folder, [`ObjectSource`] an object store. The [`Cache`] keeps verified files
//! of versions by their digest. [`push()`] brings a [`Package`] into a registry.

mod cache;
mod content;
mod digest;
mod dir;
mod manifest;
mod object;
mod push;
mod secret;
mod source;

pub use crate::types::{
    FileName, FileNameError, GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE, OPTIONS_FILE, PROFILE_FILE,
};
pub use cache::{Cache, CacheError, FetchError};
pub use digest::{file_digest, version_digest};
pub use dir::DirSource;
pub use manifest::{Manifest, ManifestError, Provenance};
pub use object::{AzureOptions, Bucket, GcsOptions, ObjectSource, S3Options};
pub use push::{Package, PushError, Pushed, Target, push};
pub use secret::Secret;
pub use source::{
    Listed, ListedFile, ListedModel, Listing, Progress, Source, SourceError, Unfinished,
};
