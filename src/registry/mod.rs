//! Where models come from: registries, and what they state.

mod digest;
mod folder;
mod source;

pub use crate::types::{
    FileName, FileNameError, GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE, OPTIONS_FILE, PROFILE_FILE,
};
pub use digest::{file_digest, version_digest};
pub use folder::{FolderError, Found, list, sha256};
pub use source::{
    Listed, ListedFile, ListedModel, Listing, Progress, Source, SourceError, Unfinished,
};
