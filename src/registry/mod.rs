//! Where models come from.

mod folder;

pub use folder::{Found, FolderError, list, sha256};
