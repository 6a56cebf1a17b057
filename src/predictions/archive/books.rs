//! The lines of `archive.jsonl`, and the files that stand by them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::error::ArchiveError;
use super::partition;
use crate::predictions::account::{ArchivedFile, Entry};
use crate::predictions::layout;

/// A file of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub rows: u64,
    pub bytes: u64,
    /// Hours since 1970.
    pub hour: i64,
    /// Where the line that tells of it ends, in `archive.jsonl`.
    pub told: u64,
}

/// What the archive holds, by path below the log's folder. As large as the
/// files are many.
#[derive(Debug, Default)]
pub struct Books {
    /// Bytes of `archive.jsonl`.
    pub length: u64,
    pub files: BTreeMap<String, Stored>,
}

impl Books {
    /// # Errors
    /// Where the file cannot be read. One that is not there is empty.
    pub fn read(root: &Path) -> Result<Books, ArchiveError> {
        let mut books = Books::default();
        for (entry, end) in lines(root, 0)? {
            books.length = end;
            if let Some(entry) = entry {
                books.take(&entry, end);
            }
        }
        Ok(books)
    }

    /// Takes a line that ends at `end`.
    pub fn take(&mut self, entry: &Entry, end: u64) {
        match entry {
            Entry::Segment(account) => {
                for file in &account.files {
                    self.put(file, end);
                }
            }
            Entry::File(change) => match &change.now {
                Some(file) => self.put(file, end),
                None => {
                    self.files.remove(&change.path);
                }
            },
        }
    }

    fn put(&mut self, file: &ArchivedFile, told: u64) {
        // Every path has been made of an hour.
        let hour = partition::hour_in(&file.path).unwrap_or_default();
        let stored = Stored { rows: file.rows, bytes: file.bytes, hour, told };
        self.files.insert(file.path.clone(), stored);
    }

    pub fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }
}

/// The lines that begin at `from` or after, each with the place where it ends.
/// `None` is a line that says nothing; one without an end is left out.
///
/// # Errors
/// Where the file cannot be read.
pub fn lines(root: &Path, from: u64) -> Result<Vec<(Option<Entry>, u64)>, ArchiveError> {
    let path = layout::archive(root);
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(&path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(text)
    };
    let text = match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(ArchiveError::io(&path))?,
    };
    let mut end = from;
    let whole = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let lines = whole.map(|line| {
        end += line.len() as u64;
        (serde_json::from_slice(line).ok(), end)
    });
    Ok(lines.collect())
}
