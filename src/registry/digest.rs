//! Digests of files and of whole versions.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::ListedFile;
use crate::types::Digest;

/// Digest of a file's content.
pub fn file_digest(path: &Path) -> io::Result<Digest> {
    of_reader(&mut fs::File::open(path)?)
}

/// Digest of all that `reader` has left.
pub(super) fn of_reader(reader: &mut impl Read) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = reader.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
    }
    Ok(Digest::new(hasher.finalize().into()))
}

/// Digest of a version: that of one line a file, its digest in hexadecimal, two
/// spaces and its name, in the order of the names' bytes. Where a version has no
/// manifest, `sha256sum -- * | sha256sum` in its folder, under `LC_ALL=C`,
/// computes the same.
pub fn version_digest(files: &[ListedFile]) -> Digest {
    let mut files: Vec<&ListedFile> = files.iter().collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let mut hasher = Sha256::new();
    for file in files {
        hasher.update(format!("{}  {}\n", file.sha256.hex(), file.name));
    }
    Digest::new(hasher.finalize().into())
}
