//! Changes of the archive, all or none.
//!
//! What is to be done is written to `archive.pass` first, and is on disk before
//! anything of it is done. A process that ends in between does it again, from
//! the first step, when it starts: every step leads to the same end however
//! often it is taken. Before that file stands, nothing but files of the name
//! `*.inprogress` was made, which are removed.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::deletion::{self, Note};
use super::error::ArchiveError;
use super::part::IN_PROGRESS;
use crate::predictions::account::Entry;
use crate::predictions::layout;

/// Changes that belong together. Paths are below the log's folder.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Pass {
    /// Bytes of `archive.jsonl` before.
    pub at: u64,
    /// Its new lines.
    pub lines: Vec<Entry>,
    /// Whole files, by the names that they get: what has those is replaced.
    pub renames: Vec<String>,
    /// New lines of `deleted.jsonl`; a line that stands twice says nothing new.
    pub notes: Vec<Note>,
    /// Files that are superfluous once the lines stand.
    pub removals: Vec<String>,
}

impl Pass {
    /// Carries the changes out. Returns the bytes of `archive.jsonl` after.
    ///
    /// # Errors
    /// Where the disk refuses. What was begun is finished by [`recover`].
    pub fn commit(&self, root: &Path) -> Result<u64, ArchiveError> {
        // A file is on disk before its name is, and has to be found by it afterwards.
        for folder in self.folders_of_renames(root) {
            sync_folder(&folder)?;
        }
        let place = layout::archive_pass(root);
        let text = serde_json::to_vec(self).map_err(io::Error::from);
        let text = text.map_err(ArchiveError::io(&place))?;
        write_whole(&place, &text)?;
        self.apply(root)
    }

    fn apply(&self, root: &Path) -> Result<u64, ArchiveError> {
        for step in self.steps(root) {
            step.take(self, root)?;
        }
        let path = layout::archive(root);
        Ok(std::fs::metadata(&path).map_err(ArchiveError::io(&path))?.len())
    }

    fn steps(&self, root: &Path) -> Vec<Step> {
        let renames = self.renames.iter().cloned().map(Step::Rename);
        let named = self.folders_of_renames(root).into_iter().map(Step::Sync);
        let removals = self.removals.iter().cloned().map(Step::Remove);
        let left: BTreeSet<PathBuf> = self
            .removals
            .iter()
            .filter_map(|path| Some(root.join(path).parent()?.into()))
            .collect();
        let told = [Step::Lines, Step::Notes];
        let steps = renames.chain(named).chain(told).chain(removals);
        steps.chain(left.into_iter().map(Step::Sync)).chain([Step::End]).collect()
    }

    /// With those above, which may be new as well; the deepest first.
    fn folders_of_renames(&self, root: &Path) -> Vec<PathBuf> {
        let mut folders = BTreeSet::new();
        for path in &self.renames {
            let place = root.join(path);
            let above = place.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
            folders.extend(above.map(Path::to_owned));
        }
        folders.into_iter().rev().collect()
    }

    /// Puts the lines where they belong, whatever of them stands there already.
    fn write_lines(&self, path: &Path) -> Result<(), ArchiveError> {
        let failed = || ArchiveError::io(path);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(failed())?;
        if file.metadata().map_err(failed())?.len() < self.at {
            return Err(ArchiveError::Shortened(path.to_owned()));
        }
        file.set_len(self.at).map_err(failed())?;
        file.seek(SeekFrom::Start(self.at)).map_err(failed())?;
        let mut text = Vec::new();
        for line in &self.lines {
            serde_json::to_writer(&mut text, line).map_err(io::Error::from).map_err(failed())?;
            text.push(b'\n');
        }
        file.write_all(&text).map_err(failed())?;
        file.sync_all().map_err(failed())
    }
}

/// One change on disk. Leads to the same end however often it is taken.
#[derive(Debug)]
enum Step {
    Rename(String),
    Sync(PathBuf),
    Lines,
    Notes,
    Remove(String),
    /// Nothing is left to be done.
    End,
}

impl Step {
    fn take(&self, pass: &Pass, root: &Path) -> Result<(), ArchiveError> {
        match self {
            Step::Rename(path) => {
                let (from, to) = (root.join(format!("{path}.{IN_PROGRESS}")), root.join(path));
                match std::fs::rename(&from, &to) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound && to.exists() => Ok(()),
                    renamed => renamed.map_err(ArchiveError::io(&from)),
                }
            }
            Step::Sync(folder) => sync_folder(folder),
            Step::Lines => pass.write_lines(&layout::archive(root)),
            Step::Notes => deletion::append(root, &pass.notes),
            Step::Remove(path) => remove(&root.join(path)),
            Step::End => remove(&layout::archive_pass(root)),
        }
    }
}

/// Finishes what an earlier process began, and removes what it had not finished.
///
/// # Errors
/// Where the disk refuses.
pub fn recover(root: &Path) -> Result<(), ArchiveError> {
    let place = layout::archive_pass(root);
    match std::fs::read(&place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(ArchiveError::io(&place)(error)),
        Ok(text) => {
            let pass: Pass = serde_json::from_slice(&text)
                .map_err(io::Error::from)
                .map_err(ArchiveError::io(&place))?;
            pass.apply(root)?;
        }
    }
    for file in [layout::archive(root), layout::archive_pass(root), layout::deleted(root)] {
        remove(&unfinished(&file))?;
    }
    remove_unfinished(&layout::parquet(root))
}

fn remove_unfinished(folder: &Path) -> Result<(), ArchiveError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(ArchiveError::io(folder))?,
    };
    for entry in entries {
        let path = entry.map_err(ArchiveError::io(folder))?.path();
        if path.is_dir() {
            remove_unfinished(&path)?;
        } else if path.extension().is_some_and(|extension| extension == IN_PROGRESS) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Replaces a file so that it has the old text or the new one, whatever
/// happens. Of each file by one thread at a time.
///
/// # Errors
/// Where the disk refuses.
pub fn write_whole(path: &Path, text: &[u8]) -> Result<(), ArchiveError> {
    let write = || -> io::Result<()> {
        let unfinished = unfinished(path);
        let mut file = File::create(&unfinished)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(ArchiveError::io(path))
}

/// What a file is called until it is whole.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{IN_PROGRESS}"));
    PathBuf::from(name)
}

/// Removes a file that may be gone already.
fn remove(path: &Path) -> Result<(), ArchiveError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(ArchiveError::io(path)),
    }
}

fn sync_folder(folder: &Path) -> Result<(), ArchiveError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(ArchiveError::io(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictions::account::{ArchivedFile, SegmentAccount};

    fn line(path: &str) -> Entry {
        let file = ArchivedFile { path: path.to_owned(), ..ArchivedFile::default() };
        Entry::Segment(SegmentAccount { files: vec![file], ..SegmentAccount::default() })
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }

    fn begin(root: &Path) -> Pass {
        write(root, "archive.jsonl", "earlier\n");
        write(root, "raw/000/a.sealed", "raw");
        write(root, "parquet/x/a.parquet.inprogress", "new");
        write(root, "parquet/x/b.parquet.inprogress", "newer");
        write(root, "parquet/x/b.parquet", "old");
        Pass {
            at: 8,
            lines: vec![line("parquet/x/a.parquet"), line("parquet/x/b.parquet")],
            renames: ["parquet/x/a.parquet", "parquet/x/b.parquet"].map(str::to_owned).into(),
            notes: vec![Note::Forgotten { requests: Vec::new() }],
            removals: vec!["raw/000/a.sealed".to_owned()],
        }
    }

    fn all(root: &Path) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let text = std::fs::read_to_string(&path).expect("text");
                    found.push((path.strip_prefix(root).expect("inside").to_owned(), text));
                }
            }
        }
        found.retain(|(path, _)| path != Path::new("deleted.jsonl"));
        found.sort();
        found
    }

    #[test]
    fn whoever_ends_at_any_step_is_finished_by_the_next() {
        let whole = tempfile::tempdir().expect("a folder");
        let pass = begin(whole.path());
        pass.commit(whole.path()).expect("done");
        let expected = all(whole.path());
        assert_eq!(expected.len(), 3, "{expected:?}");
        for taken in 0..=pass.steps(whole.path()).len() {
            let folder = tempfile::tempdir().expect("a folder");
            let root = folder.path();
            let pass = begin(root);
            let text = serde_json::to_vec(&pass).expect("JSON");
            write_whole(&layout::archive_pass(root), &text).expect("written");
            for step in pass.steps(root).iter().take(taken) {
                step.take(&pass, root).expect("taken");
            }
            // And lines of which only a part came to the disk.
            let lines = layout::archive(root);
            let length = std::fs::metadata(&lines).expect("lines").len();
            let torn = std::fs::File::options().write(true).open(&lines).expect("lines");
            if root.join("raw/000/a.sealed").exists() {
                torn.set_len(8 + (length - 8) / 2).expect("cut");
            }
            recover(root).expect("finished");
            assert_eq!(all(root), expected, "after {taken} steps");
        }
    }

    #[test]
    fn what_was_not_decided_is_undone() {
        let folder = tempfile::tempdir().expect("a folder");
        begin(folder.path());
        recover(folder.path()).expect("recovered");
        let left: Vec<_> = all(folder.path()).into_iter().map(|(_, text)| text).collect();
        assert_eq!(left, ["earlier\n", "old", "raw"]);
    }
}
