//! Which evidence led to which version: one line of JSON for each step.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::types::{ModelName, Version};

/// Bytes after which a new file begins; the one before is kept, older ones go.
const MOST_BYTES: u64 = 4 << 20;

/// Steps that can be asked for.
const MOST_RECENT: usize = 1_000;

/// One step on the way from evidence to a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Microseconds since 1970.
    pub at: i64,
    pub model: ModelName,
    /// Of the request.
    pub id: String,
    /// `requested`, `dry_run`, `ticket`, `page`, `test`, `delivered`, `failed`,
    /// `arrived`, `promoted`, or `rejected`.
    pub step: String,
    /// The version that the evidence is about, or that came of it.
    pub version: Option<Version>,
    /// Of the evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The newest steps, and the file that has more of them.
#[derive(Debug)]
pub struct Lineage {
    path: PathBuf,
    file: File,
    bytes: u64,
    recent: VecDeque<Step>,
}

impl Lineage {
    /// Opens `lineage.jsonl` in a folder that is there.
    ///
    /// # Errors
    /// Where it cannot be read or written.
    pub fn open(folder: &Path) -> io::Result<Lineage> {
        let path = folder.join("lineage.jsonl");
        let mut recent = VecDeque::new();
        for file in [before(&path), path.clone()] {
            let text = match fs::read(&file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                read => read?,
            };
            // A line that a crash cut short is passed over.
            let lines = text.split(|byte| *byte == b'\n');
            recent.extend(lines.filter_map(|line| serde_json::from_slice::<Step>(line).ok()));
        }
        recent.drain(..recent.len().saturating_sub(MOST_RECENT));
        let (file, bytes) = append_to(&path)?;
        Ok(Lineage { path, file, bytes, recent })
    }

    /// Adds a step, on disk first.
    ///
    /// # Errors
    /// Where it cannot be written; it is remembered all the same.
    pub fn add(&mut self, step: Step) -> io::Result<()> {
        let written = self.write(&step);
        if self.recent.len() == MOST_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(step);
        written
    }

    /// The newest steps of a model, the newest last.
    pub fn of(&self, model: &ModelName, most: usize) -> Vec<Step> {
        let steps = self.recent.iter().rev().filter(|step| step.model == *model);
        let mut newest: Vec<Step> = steps.take(most).cloned().collect();
        newest.reverse();
        newest
    }

    fn write(&mut self, step: &Step) -> io::Result<()> {
        let mut line = serde_json::to_vec(step)?;
        line.push(b'\n');
        if self.bytes + line.len() as u64 > MOST_BYTES {
            fs::rename(&self.path, before(&self.path))?;
            (self.file, self.bytes) = append_to(&self.path)?;
        }
        self.file.write_all(&line)?;
        self.bytes += line.len() as u64;
        self.file.sync_data()
    }
}

fn before(path: &Path) -> PathBuf {
    path.with_file_name("lineage.1.jsonl")
}

/// Opens a file at its end. Ends a line that a crash cut short.
fn append_to(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let mut bytes = file.metadata()?.len();
    if bytes > 0 {
        file.write_all(b"\n")?;
        bytes += 1;
    }
    Ok((file, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(at: i64, model: &str) -> Step {
        Step {
            at,
            model: ModelName::parse(model).expect("a name"),
            id: "ab".to_owned(),
            step: "requested".to_owned(),
            version: Some(Version::FIRST),
            profile: None,
            why: Some("x".repeat(100)),
        }
    }

    fn times(lineage: &Lineage, model: &str) -> Vec<i64> {
        let model = ModelName::parse(model).expect("a name");
        lineage.of(&model, 2).iter().map(|step| step.at).collect()
    }

    #[test]
    fn steps_outlive_a_crash() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut lineage = Lineage::open(folder.path()).expect("open");
        for (at, model) in [(1, "a"), (2, "a"), (3, "b"), (4, "a")] {
            lineage.add(step(at, model)).expect("written");
        }
        let path = folder.path().join("lineage.jsonl");
        let mut file = OpenOptions::new().append(true).open(&path).expect("a file");
        file.write_all(b"{\"at\": 5, \"mo").expect("cut short");
        let mut lineage = Lineage::open(folder.path()).expect("open");
        lineage.add(step(6, "a")).expect("written");
        let lineage = Lineage::open(folder.path()).expect("open");
        assert_eq!((times(&lineage, "a"), times(&lineage, "b")), (vec![4, 6], vec![3]));
    }

    #[test]
    fn two_files_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut lineage = Lineage::open(folder.path()).expect("open");
        for at in 0..3 {
            lineage.bytes = MOST_BYTES;
            lineage.add(step(at, "a")).expect("written");
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
        assert_eq!(times(&Lineage::open(folder.path()).expect("open"), "a"), [1, 2]);
    }
}
