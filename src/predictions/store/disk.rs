//! What writing and recovery ask of the file system. One place, so that tests
//! can put a disk there that fails, stalls, or loses its power.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rustix::fs::{
    CWD, FallocateFlags, FlockOperation, RenameFlags, fallocate, flock, renameat_with,
};

use super::page::Page;

/// Keeps a folder for one gateway while it lives.
pub(super) type Lock = Box<dyn Send + Sync>;

pub(super) trait Disk: Send + Sync {
    /// Makes a folder and those above it, for good.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;

    /// `None` where another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Lock>>;

    /// Makes a file of so many zeros whose blocks are reserved. It must not be there yet.
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn DiskFile>>;

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// The first `most` bytes of a file.
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>>;

    /// Names of files, and their bytes.
    fn list(&self, folder: &Path) -> io::Result<Vec<(String, u64)>>;

    /// Fails where `to` is there already.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Waits until the disk has the names of a folder.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Maps the page of a ledger.
    fn page(&self, path: &Path) -> io::Result<Page>;

    /// Of a clock that never goes back: how long a write takes is part of what a disk does.
    fn now(&self) -> Instant;

    /// Microseconds since 1970.
    fn time(&self) -> i64;
}

pub(super) trait DiskFile: Send + Sync {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Waits until the disk has the file's data. An error is told once only:
    /// what was written before it may be lost, whatever a second call says.
    fn sync(&self) -> io::Result<()>;
}

impl fmt::Debug for dyn Disk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Disk")
    }
}

impl fmt::Debug for dyn DiskFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DiskFile")
    }
}

/// The file system of this machine.
pub(super) struct RealDisk;

/// Unlocked when it goes, even where a program that is just being started has
/// inherited the file and has not closed it yet.
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl Disk for RealDisk {
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        // As far up as it may have been made now.
        for parent in folder.ancestors().skip(1).take(4).filter(|parent| parent.is_dir()) {
            let _ = self.sync_folder(parent);
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(Locked(file)))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn create(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        let reserved = match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            // Some file systems cannot reserve; appends then take blocks as they go.
            Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(bytes),
            reserved => reserved.map_err(io::Error::from),
        };
        if let Err(error) = reserved {
            let _ = fs::remove_file(path);
            return Err(error);
        }
        Ok(Arc::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OpenOptions::new().write(true).open(path)?))
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let length = file.metadata()?.len().min(most);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // A file may have gone since it was listed.
            if let (Ok(name), Ok(about)) = (entry.file_name().into_string(), entry.metadata()) {
                found.push((name, about.len()));
            }
        }
        Ok(found)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Not every file system can refuse by itself.
            Err(rustix::io::Errno::INVAL) if !to.exists() => fs::rename(from, to),
            renamed => Ok(renamed?),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn page(&self, path: &Path) -> io::Result<Page> {
        Page::map(path)
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn time(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}

impl DiskFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A word for an error, out of a closed set, for metrics.
pub(super) fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "disk_full",
        io::ErrorKind::ReadOnlyFilesystem => "read_only",
        io::ErrorKind::PermissionDenied => "not_allowed",
        io::ErrorKind::NotFound => "not_found",
        _ => "io",
    }
}
