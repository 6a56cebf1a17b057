//! Files that profiles stand in.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::Path;

use super::Failure;
use crate::drift::Profile;
use crate::drift::profile::MAX_PROFILE_BYTES;

/// Reads a profile, but no more of a file than a profile may have.
pub(super) fn read(path: &Path) -> Result<Profile, Failure> {
    read_text(path).map(|(profile, _)| profile)
}

/// As [`read`], with the text that it was read from.
pub(super) fn read_text(path: &Path) -> Result<(Profile, Vec<u8>), Failure> {
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
    let profile = Profile::parse(&json).map_err(|error| named(error.to_string()))?;
    Ok((profile, json))
}

/// Writes a file aside first, so that nobody reads half of it.
pub(super) fn write(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".tmp");
    let written = File::create(&aside).map(BufWriter::new).and_then(|mut out| {
        content(&mut out)?;
        out.flush()?;
        fs::rename(&aside, path)
    });
    written.map_err(|error| {
        // It may not have been made.
        let _ = fs::remove_file(&aside);
        Failure::of(format!("cannot write '{}': {error}", path.display()))
    })
}
