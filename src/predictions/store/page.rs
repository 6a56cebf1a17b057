//! A page of a file, mapped into memory: what is stored there survives the
//! process at once, without a call and without space on the disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr::{self, NonNull};
#[cfg(test)]
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Bytes of a page.
pub(super) const PAGE: usize = 4096;
/// Numbers of a page.
pub(super) const CELLS: usize = PAGE / size_of::<u64>();

pub(super) type Cells = [AtomicU64; CELLS];

/// The numbers of one page.
#[derive(Debug)]
pub(super) enum Page {
    Mapped(Mapping),
    /// Without a file, of a simulated disk.
    #[cfg(test)]
    Held(Arc<Cells>),
}

impl Deref for Page {
    type Target = Cells;

    fn deref(&self) -> &Cells {
        match self {
            Page::Mapped(mapping) => mapping.cells(),
            #[cfg(test)]
            Page::Held(cells) => cells,
        }
    }
}

impl Page {
    /// Maps the first page of a file, which is made, or made longer, if need
    /// be. The whole page is written and synced, so that its space is reserved
    /// from now on.
    pub(super) fn map(path: &Path) -> io::Result<Page> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = [0; PAGE];
        let mut filled = 0;
        while filled < PAGE {
            match file.read_at(&mut bytes[filled..], filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        Mapping::new(file).map(Page::Mapped)
    }

    /// Waits until the disk has the page.
    pub(super) fn sync(&self) -> io::Result<()> {
        match self {
            Page::Mapped(mapping) => mapping.file.sync_data(),
            #[cfg(test)]
            Page::Held(_) => Ok(()),
        }
    }
}

/// A shared mapping of the first page of a file.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<Cells>,
    file: File,
}

#[expect(unsafe_code, reason = "mappings of files have no safe interface")]
mod mapped {
    use super::{Cells, File, MapFlags, Mapping, NonNull, PAGE, ProtFlags, io, mmap, munmap, ptr};

    impl Mapping {
        pub(super) fn new(file: File) -> io::Result<Mapping> {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: a new mapping at a place that the kernel picks touches no memory in use.
            let start = unsafe { mmap(ptr::null_mut(), PAGE, access, MapFlags::SHARED, &file, 0) }?;
            match NonNull::new(start.cast()) {
                Some(start) => Ok(Mapping { start, file }),
                None => Err(io::Error::other("mapped at address 0")),
            }
        }

        pub(super) fn cells(&self) -> &Cells {
            // SAFETY: the mapping is `PAGE` bytes, aligned to a page, readable and writable until
            // `drop`, which cannot happen while this borrow of `self` lives. Any bytes are valid
            // numbers, and atomics allow that others, even other processes, store to them. The
            // file is never shorter than a page: it belongs to this gateway alone (its folder is
            // locked), which only ever writes the whole page.
            unsafe { self.start.as_ref() }
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: this is the mapping that `new` made, and nobody can borrow from it any more.
            let _ = unsafe { munmap(self.start.as_ptr().cast(), PAGE) };
        }
    }

    // SAFETY: a mapping belongs to the process, not to a thread, and its cells are atomic.
    unsafe impl Send for Mapping {}
    // SAFETY: as above.
    unsafe impl Sync for Mapping {}
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    #[test]
    fn what_is_stored_is_in_the_file_at_once_and_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("page");
        let page = Page::map(&path).expect("a page");
        page[3].store(77, Relaxed);
        let bytes = std::fs::read(&path).expect("the file");
        assert_eq!(bytes.len(), PAGE);
        assert_eq!(bytes[24..32], 77u64.to_ne_bytes());
        drop(page);
        let again = Page::map(&path).expect("a page");
        assert_eq!((again[3].load(Relaxed), again[4].load(Relaxed)), (77, 0));
    }
}
