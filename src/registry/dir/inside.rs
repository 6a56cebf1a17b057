//! Paths that stay inside a folder, whatever links it holds.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat};
use thiserror::Error;

/// The folder of a registry, its own links followed.
#[derive(Debug)]
pub(super) struct Root(PathBuf);

/// Why an entry of a registry cannot be used. Names no folder of this machine.
#[derive(Debug, Error)]
pub(super) enum Obstacle {
    #[error("it is a link that leads out of the registry")]
    Outside,
    #[error("it is not there any more")]
    Gone,
    #[error("{0}")]
    Io(io::Error),
}

impl From<io::Error> for Obstacle {
    fn from(error: io::Error) -> Obstacle {
        match error.kind() {
            io::ErrorKind::NotFound => Obstacle::Gone,
            _ => Obstacle::Io(error),
        }
    }
}

impl Root {
    pub(super) fn open(folder: &Path) -> io::Result<Root> {
        let path = fs::canonicalize(folder)?;
        if !path.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Root(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The path of an entry of `folder`, which has been resolved itself, with
    /// links followed. Links may lead from one place of the registry to
    /// another, as Kubernetes' volumes have it, and nowhere else.
    pub(super) fn resolve(&self, folder: &Path, entry: &OsStr) -> Result<PathBuf, Obstacle> {
        let path = folder.join(entry);
        if !fs::symlink_metadata(&path)?.is_symlink() {
            return Ok(path);
        }
        let target = fs::canonicalize(&path)?;
        if target.starts_with(&self.0) { Ok(target) } else { Err(Obstacle::Outside) }
    }

    /// Opens a plain file by its resolved path. No link is followed on the way,
    /// so that one put there since it was resolved leads nowhere.
    pub(super) fn open_file(&self, resolved: &Path) -> Result<File, Obstacle> {
        let below = resolved.strip_prefix(&self.0).map_err(|_| Obstacle::Outside)?;
        let folder = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::DIRECTORY;
        // NONBLOCK: a pipe would make us wait for its writer.
        let plain = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut at: OwnedFd = open(&self.0, folder, Mode::empty()).map_err(from_errno)?;
        let mut parts = below.components().peekable();
        while let Some(part) = parts.next() {
            let Component::Normal(name) = part else { return Err(Obstacle::Outside) };
            let flags = if parts.peek().is_some() { folder } else { plain };
            at = openat(&at, name, flags, Mode::empty()).map_err(from_errno)?;
        }
        let file = File::from(at);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(Obstacle::Io(io::Error::other("it is not a plain file")))
        }
    }
}

fn from_errno(errno: rustix::io::Errno) -> Obstacle {
    match errno {
        rustix::io::Errno::LOOP => Obstacle::Outside,
        errno => io::Error::from(errno).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_inside_and_never_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let outside = tempfile::tempdir().expect("another");
        fs::write(outside.path().join("secret"), "x").expect("a file");
        fs::create_dir(folder.path().join("data")).expect("a folder");
        fs::write(folder.path().join("data/file"), "y").expect("a file");
        symlink("data/file", folder.path().join("inside")).expect("a link");
        symlink(folder.path().join("data/file"), folder.path().join("absolute")).expect("a link");
        symlink(outside.path().join("secret"), folder.path().join("out")).expect("a link");
        symlink("data/../../../../etc/passwd", folder.path().join("up")).expect("a link");
        symlink("loop", folder.path().join("loop")).expect("a link");
        let root = Root::open(folder.path()).expect("a root");
        for name in ["inside", "absolute"] {
            let path = root.resolve(root.path(), OsStr::new(name)).expect("it stays inside");
            assert!(root.open_file(&path).is_ok(), "{name}");
            let unresolved = root.open_file(&root.path().join(name));
            assert!(unresolved.is_err(), "{name} must not be followed when it is opened");
        }
        for name in ["out", "up", "loop"] {
            assert!(root.resolve(root.path(), OsStr::new(name)).is_err(), "{name}");
        }
        assert!(root.open_file(&outside.path().join("secret")).is_err());
        assert!(root.open_file(&root.path().join("data/../data/file")).is_err());
        assert!(root.open_file(&root.path().join("data")).is_err(), "a folder is no file");
    }
}
