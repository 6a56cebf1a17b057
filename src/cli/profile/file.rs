//! A profile that stands in a file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::Failure;
use crate::drift::Profile;
use crate::drift::profile::MAX_PROFILE_BYTES;

/// Reads a profile, but no more of a file than a profile may have.
pub(super) fn read(path: &Path) -> Result<Profile, Failure> {
    let named = |reason: String| Failure::invalid(format!("'{}': {reason}", path.display()));
    let mut json = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_PROFILE_BYTES as u64 + 1).read_to_end(&mut json))
        .map_err(|error| named(error.to_string()))?;
    if json.len() > MAX_PROFILE_BYTES {
        let expected = format!("expected a profile of at most {MAX_PROFILE_BYTES} bytes");
        let fix = "is it the data that it was built from?";
        return Err(named(format!("{expected}, found more; {fix}")));
    }
    Profile::parse(&json).map_err(|error| named(error.to_string()))
}
