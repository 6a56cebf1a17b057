//! A folder as a registry: what is whole, what is not yet, and what must never
//! be read.

mod changes;
mod content;
mod hostile;
#[path = "../support/mod.rs"]
mod support;
mod whole;

use std::path::Path;
use std::time::Duration;

use modelgate::registry::{DirSource, Listing, Source};
use tempfile::TempDir;

use support::versions::block_on;

const SECOND: Duration = Duration::from_secs(1);

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Takes versions without a manifest as soon as it has seen them twice.
fn eager(root: &Path) -> DirSource {
    DirSource::new("test", root, SECOND, Duration::ZERO)
}

fn list(source: &dyn Source) -> Listing {
    block_on(source.list()).expect("a listing")
}
