//! The lines of `archive.jsonl`, and the files that stand by them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::error::ArchiveError;
use super::partition;
use crate::predictions::account::{ArchivedFile, Entry};
use crate::predictions::layout;

/// The first line of a file that was written anew is shorter.
const MAX_HEAD: u64 = 4096;

/// A file of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub rows: u64,
    pub bytes: u64,
    /// Hours since 1970.
    pub hour: i64,
    /// The place where the line that tells of it ends: see [`lines`].
    pub told: u64,
}

/// What the archive holds, by path below the log's folder. As large as the
/// files are many.
#[derive(Debug, Default)]
pub struct Books {
    /// Bytes of `archive.jsonl`.
    pub length: u64,
    /// How far places are ahead of bytes.
    pub ahead: u64,
    /// Lines, and how many of them were there when it was last written anew.
    pub lines: u64,
    pub compacted: u64,
    pub files: BTreeMap<String, Stored>,
}

impl Books {
    /// # Errors
    /// Where the file cannot be read. One that is not there is empty.
    pub fn read(root: &Path) -> Result<Books, ArchiveError> {
        let Lines { ahead, lines } = lines(root, 0)?;
        let mut books = Books { ahead, ..Books::default() };
        for (entry, end) in lines {
            books.length = end - ahead;
            if let Some(entry) = entry {
                books.take(&entry, end);
            }
        }
        Ok(books)
    }

    /// Takes a line that ends at `end`.
    pub fn take(&mut self, entry: &Entry, end: u64) {
        self.lines += 1;
        match entry {
            Entry::Compacted(head) => self.compacted = head.lines,
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

/// Lines of `archive.jsonl`.
#[derive(Debug, Default)]
pub struct Lines {
    /// How far places are ahead of bytes.
    pub ahead: u64,
    /// With the place where each ends. `None` is a line that says nothing.
    pub lines: Vec<(Option<Entry>, u64)>,
}

/// The lines that begin at the place `from` or after, or all where that is
/// before what is left. One without an end is left out.
///
/// Places are bytes, which count what was left out when the file was written
/// anew: whoever has read up to one goes on from it.
///
/// # Errors
/// Where the file cannot be read. One that is not there is empty.
pub fn lines(root: &Path, from: u64) -> Result<Lines, ArchiveError> {
    let path = layout::archive(root);
    let read = || -> io::Result<(u64, u64, Vec<u8>)> {
        let mut file = File::open(&path)?;
        let ahead = ahead(&file)?;
        let start = from.saturating_sub(ahead);
        file.seek(SeekFrom::Start(start))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok((ahead, ahead + start, text))
    };
    let (ahead, mut end, text) = match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lines::default()),
        read => read.map_err(ArchiveError::io(&path))?,
    };
    let whole = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let lines = whole.map(|line| {
        end += line.len() as u64;
        (serde_json::from_slice(line).ok(), end)
    });
    Ok(Lines { ahead, lines: lines.collect() })
}

/// The place where the file ends; 0 where it is not there.
///
/// # Errors
/// Where it cannot be read.
pub fn end(root: &Path) -> Result<u64, ArchiveError> {
    let path = layout::archive(root);
    let read = || -> io::Result<u64> {
        let file = File::open(&path)?;
        Ok(ahead(&file)? + file.metadata()?.len())
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        end => end.map_err(ArchiveError::io(&path)),
    }
}

fn ahead(file: &File) -> io::Result<u64> {
    let mut line = Vec::new();
    BufReader::new(file).take(MAX_HEAD).read_until(b'\n', &mut line)?;
    match serde_json::from_slice(&line) {
        Ok(Entry::Compacted(head)) => Ok(head.begins.saturating_sub(line.len() as u64)),
        _ => Ok(0),
    }
}
