//! Keyed hashes of what must not be read back: HMAC-SHA256, the first 16 bytes.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::layout;

/// Bytes of a key.
const KEY: usize = 32;

/// Hashes with one key. Debug output does not show it.
#[derive(Clone)]
pub struct Hasher(Hmac<Sha256>);

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

impl Hasher {
    /// Any key will do; short ones are easier to guess.
    pub fn new(key: &[u8]) -> Hasher {
        // HMAC takes keys of every length.
        let empty = || Hmac::<Sha256>::new(&Default::default());
        Hasher(<Hmac<Sha256> as Mac>::new_from_slice(key).unwrap_or_else(|_| empty()))
    }

    /// The key of the log's folder, which is made when there is none: random,
    /// readable for its owner alone.
    ///
    /// # Errors
    /// Where it can be neither read nor made.
    pub fn of_folder(root: &Path) -> io::Result<Hasher> {
        let file = layout::hash_key(root);
        match std::fs::read(&file) {
            Ok(key) if key.len() >= KEY => return Ok(Hasher::new(&key)),
            Ok(_) => {
                return Err(io::Error::other(format!(
                    "{} is cut short: restore it, or remove it to begin with another key",
                    layout::hash_key(Path::new("predictions")).display()
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        std::fs::create_dir_all(root)?;
        let mut key = [0; KEY];
        let filled =
            rustix::rand::getrandom(key.as_mut_slice(), rustix::rand::GetRandomFlags::empty())?;
        if filled != KEY {
            return Err(io::Error::other("the system gave too few random bytes"));
        }
        // Its mode is 0600 from the start.
        let mut written = tempfile::NamedTempFile::new_in(root)?;
        written.write_all(&key)?;
        written.as_file().sync_all()?;
        written.persist(&file)?;
        Ok(Hasher::new(&key))
    }

    pub fn hash(&self, bytes: &[u8]) -> [u8; 16] {
        let mut mac = self.0.clone();
        mac.update(bytes);
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        let mut first = [0; 16];
        first.copy_from_slice(&whole[..16]);
        first
    }
}

/// Hexadecimal digits, as files tell hashes.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn it_is_hmac_sha256() {
        let hash = Hasher::new(b"Jefe").hash(b"what do ya want for nothing?");
        assert_eq!(hex(&hash), "5bdcc146bf60754e6a042426089575c7");
    }

    #[test]
    fn a_folder_keeps_its_key_and_a_damaged_one_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let hash = || Hasher::of_folder(folder.path()).map(|hasher| hasher.hash(b"user-1"));
        let first = hash().expect("a new key");
        assert_eq!(hash().expect("the same key"), first);
        let mode = std::os::unix::fs::MetadataExt::mode(
            &std::fs::metadata(layout::hash_key(folder.path())).expect("a file"),
        );
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(layout::hash_key(folder.path()), b"short").expect("written");
        assert!(hash().is_err());
    }
}
