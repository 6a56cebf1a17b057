//! Small disks of a test's own. Needs the right to mount one.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;

/// A file system in memory.
pub struct Mounted(pub PathBuf);

impl Mounted {
    /// `size` as `mount` takes it. `None` where it may not be mounted.
    pub fn new(name: &str, size: &str) -> Option<Mounted> {
        let folder = format!("modelgate-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).expect("a folder");
        let size = format!("size={size}");
        let arguments = ["-t", "tmpfs", "-o", &size, "tmpfs"];
        let mount = Command::new("mount").args(arguments).arg(&folder).status();
        mount.is_ok_and(|status| status.success()).then_some(Mounted(folder))
    }

    /// Takes all space that is left.
    pub fn fill(&self) {
        let file = fs::File::options().create(true).append(true).open(self.filler());
        let mut file = file.expect("a file");
        // A page at a time: what is left may be less than any larger piece.
        let full = loop {
            if let Err(error) = file.write_all(&[1; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
    }

    /// Gives the space back.
    pub fn make_room(&self) {
        fs::remove_file(self.filler()).expect("a file");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}
