//! Which records are to be forgotten: the lines of `deleted.jsonl`.
//!
//! Whoever wants a unit deleted appends a line that asks for it. The archive's
//! keeper takes its rows out of the Parquet files, leaves out what is converted
//! later of the time before, and appends a line that says how much it was. Keys
//! and request ids stand there as digests alone, as the list would else keep
//! what it is to make forgotten.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use twox_hash::XxHash3_64;

use super::columns::hex;
use super::commit::write_whole;
use super::error::ArchiveError;
use crate::predictions::layout;
use crate::predictions::record::Prediction;
use crate::types::next_random;

/// What records are told by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Hexadecimal digits, as the column `unit_hash` has them.
    Hash(String),
    /// A key as it came, where the policy keeps it.
    Key(String),
    Request(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    UnitHash,
    UnitKey,
    RequestId,
}

/// One line of `deleted.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    Asked(Ask),
    /// Requests whose records were taken out: their labels are to go as well.
    Forgotten {
        requests: Vec<String>,
    },
    /// Nothing of it is left in the archive.
    Done {
        id: String,
        rows: u64,
        labels: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Of the request to delete.
    pub id: String,
    /// Microseconds since 1970: of records before.
    pub time: i64,
    by: By,
    value: String,
}

/// How much a deletion took out of the archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    pub rows: u64,
    pub labels: u64,
}

impl Note {
    fn asked(&self) -> Option<String> {
        let Note::Asked(ask) = self else { return None };
        Some(ask.id.clone())
    }

    fn done(&self) -> Option<&str> {
        let Note::Done { id, .. } = self else { return None };
        Some(id)
    }
}

impl Unit {
    fn ask(&self, time: i64) -> Ask {
        let (by, value) = match self {
            Unit::Hash(digits) => (By::UnitHash, digits.to_ascii_lowercase()),
            Unit::Key(key) => (By::UnitKey, digest(key)),
            Unit::Request(id) => (By::RequestId, digest(id)),
        };
        Ask { id: format!("{:016x}", next_random()), time, by, value }
    }
}

/// Asks for units to be deleted, of which there are records up to `now`.
///
/// # Errors
/// Where the line cannot be written.
pub fn ask(root: &Path, units: &[Unit], now: i64) -> Result<Vec<Ask>, ArchiveError> {
    let asked: Vec<Ask> = units.iter().map(|unit| unit.ask(now)).collect();
    append(root, &asked.iter().cloned().map(Note::Asked).collect::<Vec<_>>())?;
    Ok(asked)
}

/// Appends lines, which are on disk when this returns. Several processes may.
///
/// # Errors
/// Where they cannot be written.
pub fn append(root: &Path, notes: &[Note]) -> Result<(), ArchiveError> {
    if notes.is_empty() {
        return Ok(());
    }
    let path = layout::deleted(root);
    let write = || -> io::Result<()> {
        let mut file = open_locked(&path)?;
        let mut text = Vec::new();
        // What a process could not finish is a line of its own, and says nothing.
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                text.push(b'\n');
            }
        }
        for note in notes {
            serde_json::to_writer(&mut text, note)?;
            text.push(b'\n');
        }
        file.write_all(&text)?;
        file.sync_all()
    };
    write().map_err(ArchiveError::io(&path))
}

/// Nobody else changes the file while this one is open.
fn open_locked(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        file.lock()?;
        // It may have been replaced before it was locked.
        match std::fs::metadata(path) {
            Ok(named) if named.ino() == file.metadata()?.ino() => return Ok(file),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
}

/// Writes the lines anew without those that no record can come for any more:
/// all from before `before` are gone. See [`Deletions::is_due`].
///
/// # Errors
/// Where the disk refuses; the file is the old one or the new one.
pub fn compact(root: &Path, before: i64) -> Result<(), ArchiveError> {
    let path = layout::deleted(root);
    let _lock = open_locked(&path).map_err(ArchiveError::io(&path))?;
    let mut text = Vec::new();
    for note in left(notes(root)?, before) {
        serde_json::to_writer(&mut text, &note)
            .map_err(io::Error::from)
            .map_err(ArchiveError::io(&path))?;
        text.push(b'\n');
    }
    write_whole(&path, &text)
}

/// What is left of the lines. Requests that were forgotten stay for as long as
/// anything that was asked for before them.
fn left(notes: Vec<Note>, before: i64) -> Vec<Note> {
    let done: HashSet<String> = notes.iter().filter_map(Note::done).map(str::to_owned).collect();
    let stays = |note: &Note| matches!(note, Note::Asked(ask) if ask.time >= before || !done.contains(&ask.id));
    let first = notes.iter().position(stays).unwrap_or(notes.len());
    let asked: HashSet<String> = notes[..first].iter().filter_map(Note::asked).collect();
    let left = notes.into_iter().skip(first);
    left.filter(|note| note.done().is_none_or(|id| !asked.contains(id))).collect()
}

fn notes(root: &Path) -> Result<Vec<Note>, ArchiveError> {
    let path = layout::deleted(root);
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        text => text.map_err(ArchiveError::io(&path))?,
    };
    let lines = text.split(|byte| *byte == b'\n');
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// All that `deleted.jsonl` says. Grows by each deletion that is asked for, and
/// shrinks as retention by age makes what was asked for impossible to come.
#[derive(Debug, Default)]
pub struct Deletions {
    asked: Vec<Ask>,
    done: BTreeMap<String, Deleted>,
    /// Times of what was asked for.
    units: HashMap<(By, String), i64>,
    latest: i64,
    forgotten: HashSet<u64>,
}

impl Deletions {
    /// # Errors
    /// Where the file cannot be read. One that is not there says nothing.
    pub fn read(root: &Path) -> Result<Deletions, ArchiveError> {
        let mut deletions = Deletions { latest: i64::MIN, ..Deletions::default() };
        for note in notes(root)? {
            deletions.take(note);
        }
        Ok(deletions)
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Asked(ask) => {
                self.latest = self.latest.max(ask.time);
                let time = self.units.entry((ask.by, ask.value.clone())).or_insert(ask.time);
                *time = (*time).max(ask.time);
                self.asked.push(ask);
            }
            Note::Forgotten { requests } => {
                let ids = requests.iter().filter_map(|id| u64::from_str_radix(id, 16).ok());
                self.forgotten.extend(ids);
            }
            Note::Done { id, rows, labels } => {
                self.done.insert(id, Deleted { rows, labels });
            }
        }
    }

    /// What was asked for and is not done.
    pub fn open(&self) -> Vec<Ask> {
        let open = self.asked.iter().filter(|ask| !self.done.contains_key(&ask.id));
        open.cloned().collect()
    }

    /// Whether most of what was asked for is done, and of records from before
    /// `before`.
    pub fn is_due(&self, before: i64) -> bool {
        let is_over = |ask: &&Ask| ask.time < before && self.done.contains_key(&ask.id);
        self.asked.iter().take_while(is_over).count() * 2 > self.asked.len()
    }

    /// How much was taken out, once it is.
    pub fn done(&self, id: &str) -> Option<Deleted> {
        self.done.get(id).copied()
    }

    /// Whether a record is one that is to be forgotten.
    pub fn covers(&self, record: &Prediction) -> bool {
        let unit = record.unit.map(|unit| hex(&unit));
        let key = (!record.unit_key.is_empty()).then_some(record.unit_key.as_str());
        self.covers_row(record.event_time, unit.as_deref(), key, &record.request_id)
    }

    /// The same of a row of the archive.
    pub fn covers_row(
        &self,
        event_time: i64,
        unit: Option<&str>,
        key: Option<&str>,
        request: &str,
    ) -> bool {
        if event_time > self.latest {
            return false;
        }
        let is_named = |by, value: String| {
            self.units.get(&(by, value)).is_some_and(|time| event_time <= *time)
        };
        unit.is_some_and(|unit| is_named(By::UnitHash, unit.to_owned()))
            || key.is_some_and(|key| is_named(By::UnitKey, digest(key)))
            || is_named(By::RequestId, digest(request))
    }

    /// Whether a label is one of a request that is to be forgotten, or was.
    pub fn covers_label(&self, request: &str) -> bool {
        if self.asked.is_empty() {
            return false;
        }
        self.forgotten.contains(&request_number(request))
            || self.units.contains_key(&(By::RequestId, digest(request)))
    }

    /// Remembers requests that were taken out, and says it as a line would.
    pub fn forget(&mut self, requests: &HashSet<u64>) -> Option<Note> {
        let mut fresh: Vec<u64> = requests.difference(&self.forgotten).copied().collect();
        fresh.sort_unstable();
        self.forgotten.extend(&fresh);
        let requests: Vec<String> = fresh.iter().map(|id| format!("{id:016x}")).collect();
        (!requests.is_empty()).then_some(Note::Forgotten { requests })
    }

    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }
}

/// What a request that was forgotten is remembered by.
pub fn request_number(request: &str) -> u64 {
    XxHash3_64::oneshot(request.as_bytes())
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_covers_the_time_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let units = [
            Unit::Hash("AB".repeat(16)),
            Unit::Key("user-1".to_owned()),
            Unit::Request("r-9".to_owned()),
        ];
        let asked = ask(folder.path(), &units, 1000).expect("asked");
        let text = std::fs::read_to_string(layout::deleted(folder.path())).expect("lines");
        assert!(!text.contains("user-1") && !text.contains("r-9"), "{text}");
        let read = Deletions::read(folder.path()).expect("lines");
        assert_eq!(read.open(), asked);
        let hash = "ab".repeat(16);
        for (time, unit, key, request, expected) in [
            (1000, Some(hash.as_str()), None, "r-1", true),
            (1001, Some(hash.as_str()), None, "r-1", false),
            (5, None, Some("user-1"), "r-1", true),
            (5, None, Some("user-2"), "r-1", false),
            (5, None, None, "r-9", true),
        ] {
            let covered = read.covers_row(time, unit, key, request);
            assert_eq!(covered, expected, "{time} {unit:?} {key:?} {request}");
        }
    }

    #[test]
    fn a_torn_line_says_nothing_and_spoils_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let asked = ask(folder.path(), &[Unit::Request("a".to_owned())], 1).expect("asked");
        let path = layout::deleted(folder.path());
        let mut text = std::fs::read(&path).expect("a line");
        text.extend_from_slice(b"{\"asked\":{\"id\":");
        std::fs::write(&path, text).expect("written");
        let mut read = Deletions::read(folder.path()).expect("lines");
        let requests = HashSet::from([request_number("a")]);
        let forgotten = read.forget(&requests).expect("news");
        assert_eq!(read.forget(&requests), None);
        let done = Note::Done { id: asked[0].id.clone(), rows: 2, labels: 1 };
        append(folder.path(), &[forgotten, done]).expect("written");
        let read = Deletions::read(folder.path()).expect("lines");
        assert!(read.open().is_empty() && read.covers_label("a") && !read.covers_label("b"));
        assert_eq!(read.done(&asked[0].id), Some(Deleted { rows: 2, labels: 1 }));
    }

    #[test]
    fn what_cannot_come_any_more_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let request = |id: &str| [Unit::Request(id.to_owned())];
        let asked: Vec<Ask> = [(1, "a"), (2, "b"), (3, "c"), (9, "d")]
            .into_iter()
            .flat_map(|(time, id)| ask(root, &request(id), time).expect("asked"))
            .collect();
        let forgotten = |id: &str| Note::Forgotten { requests: vec![format!("{id:0>16}")] };
        let done = |at: usize| Note::Done { id: asked[at].id.clone(), rows: 1, labels: 0 };
        append(root, &[forgotten("1"), done(0), done(1), done(3)]).expect("written");
        let read = || Deletions::read(root).expect("lines");
        assert!(!read().is_due(5), "the third is not done");
        append(root, &[done(2)]).expect("written");
        assert!(read().is_due(5) && !read().is_due(3), "three of four, two of four");
        compact(root, 5).expect("compacted");
        assert_eq!(
            notes(root).expect("lines"),
            [Note::Asked(asked[3].clone()), forgotten("1"), done(3),]
        );
        assert!(read().covers_row(9, None, None, "d") && !read().covers_row(1, None, None, "a"));
        compact(root, 10).expect("compacted");
        assert_eq!(notes(root).expect("lines"), []);
        assert!(!read().is_due(10));
    }

    #[test]
    fn what_is_asked_for_meanwhile_is_not_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let asking = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let unit = [Unit::Request("a".to_owned())];
                let asked = (0..200).flat_map(|_| ask(root, &unit, 1).expect("asked"));
                asked.collect::<Vec<_>>()
            });
            while !asking.is_finished() {
                compact(root, 5).expect("compacted");
            }
            asking.join().expect("asked")
        });
        assert_eq!(Deletions::read(root).expect("lines").open(), asking);
    }
}
