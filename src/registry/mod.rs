//! Where models come from.

mod folder;

pub use folder::{FolderError, Found, list, sha256};
