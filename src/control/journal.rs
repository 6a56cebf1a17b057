//! What has to outlive the process: what served last, what is held, what the
//! registries said, and the audit log. Files of the data folder:
//!
//! - `state.json`: per model its hold, what served, whether it was loaded by request
//! - `routes.json`: the routes that no file states, and what was changed of any by hand
//! - `listings/<registry>.json`: what a registry stated last
//! - `audit.jsonl`, and before it `audit.1.jsonl`: one line an event
//! - `lock`: held while a gateway uses the folder

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::decide::Content;
use super::files::{read, replace};
use super::routes::RouteState;
use super::status::{AuditEntry, Hold};
use crate::registry::Listing;
use crate::types::ModelName;

/// Bytes after which the audit log begins a new file; the one before is kept,
/// older ones go.
const AUDIT_BYTES: u64 = 16 << 20;

/// Entries of the audit log that can be asked for.
pub(super) const AUDIT_RECENT: usize = 1_000;

#[derive(Debug, Error)]
pub enum JournalError {
    #[error(
        "cannot use the data folder '{folder}': {source}; give another with --data DIR or \
         MODELGATE_DATA"
    )]
    Folder { folder: PathBuf, source: io::Error },
    #[error(
        "another gateway uses the data folder '{0}'; give this one its own with --data DIR or \
         MODELGATE_DATA"
    )]
    InUse(PathBuf),
}

/// What is remembered of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Remembered {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hold: Option<Hold>,
    /// What answered, the latest first.
    #[serde(default)]
    pub(super) served: Vec<Content>,
    /// Loaded by request, in explicit mode.
    #[serde(default)]
    pub(super) loaded: bool,
}

pub(super) type State = BTreeMap<ModelName, Remembered>;

/// Shared, so that handing thousands of them over for writing copies none.
pub(super) type RouteStates = BTreeMap<ModelName, Arc<RouteState>>;

/// The data folder. One gateway at a time holds it.
pub struct Journal {
    folder: PathBuf,
    audit: Option<File>,
    audit_bytes: u64,
    _lock: File,
}

impl Journal {
    /// Opens the folder, which is made if need be, and locks it.
    pub fn open(folder: &Path) -> Result<Journal, JournalError> {
        let failed = |source| JournalError::Folder { folder: folder.to_owned(), source };
        fs::create_dir_all(folder.join("listings")).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))
            .map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(JournalError::InUse(folder.to_owned()));
            }
            Err(error) => return Err(failed(error.into())),
        }
        Ok(Journal { folder: folder.to_owned(), audit: None, audit_bytes: 0, _lock: lock })
    }

    /// What was remembered. A file that cannot be read counts as empty, with a
    /// warning: the registries still say what to serve.
    pub(super) fn state(&self) -> State {
        read(&self.folder.join("state.json")).unwrap_or_default()
    }

    /// What was remembered of routes. Nobody else states those: a file that
    /// cannot be read is put aside and not written over.
    pub(super) fn routes(&self) -> RouteStates {
        let file = self.folder.join("routes.json");
        if let Some(routes) = read(&file) {
            return routes;
        }
        let aside = self.folder.join("routes.json.damaged");
        match fs::rename(&file, &aside) {
            Ok(()) => tracing::error!(
                "the routes that were applied by hand cannot be read, and are not served; the file \
                 is kept as {}",
                aside.display()
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(%error, "routes.json cannot be put aside"),
        }
        RouteStates::default()
    }

    pub(super) fn remember_routes(&self, routes: &RouteStates) -> io::Result<()> {
        replace(&self.folder.join("routes.json"), &serde_json::to_vec(routes)?)
    }

    /// What a registry stated last.
    pub fn listing(&self, registry: &str) -> Option<Listing> {
        read(&self.listing_file(registry))
    }

    pub(super) fn remember(&self, state: &State) -> io::Result<()> {
        replace(&self.folder.join("state.json"), &serde_json::to_vec_pretty(state)?)
    }

    pub(super) fn remember_listing(&self, registry: &str, listing: &Listing) -> io::Result<()> {
        replace(&self.listing_file(registry), &serde_json::to_vec(listing)?)
    }

    fn listing_file(&self, registry: &str) -> PathBuf {
        self.folder.join("listings").join(format!("{registry}.json"))
    }

    /// The newest entries of the audit log, the newest last.
    pub(super) fn audited(&self) -> VecDeque<AuditEntry> {
        let mut recent = VecDeque::new();
        for file in ["audit.1.jsonl", "audit.jsonl"] {
            let text = fs::read(self.folder.join(file)).unwrap_or_default();
            // A line that a crash cut short is passed over.
            let lines = text.split(|byte| *byte == b'\n');
            for entry in lines.filter_map(|line| serde_json::from_slice(line).ok()) {
                if recent.len() == AUDIT_RECENT {
                    recent.pop_front();
                }
                recent.push_back(entry);
            }
        }
        recent
    }

    /// Appends to the audit log.
    pub(super) fn audit(&mut self, entries: &[AuditEntry]) -> io::Result<()> {
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        let file = self.audit_file()?;
        file.write_all(&lines)?;
        self.audit_bytes += lines.len() as u64;
        Ok(())
    }

    fn audit_file(&mut self) -> io::Result<&mut File> {
        let path = self.folder.join("audit.jsonl");
        if self.audit.is_some() && self.audit_bytes > AUDIT_BYTES {
            self.audit = None;
            fs::rename(&path, self.folder.join("audit.1.jsonl"))?;
        }
        if self.audit.is_none() {
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            self.audit_bytes = file.metadata()?.len();
            if self.audit_bytes > 0 {
                // Ends a line that a crash cut short.
                file.write_all(b"\n")?;
            }
            self.audit = Some(file);
        }
        self.audit.as_mut().ok_or_else(|| io::Error::other("no audit log"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Digest, Version};

    fn entry(at: u64) -> AuditEntry {
        AuditEntry {
            at,
            actor: "gateway".to_owned(),
            action: "stage".to_owned(),
            model: None,
            route: None,
            version: None,
            digest: None,
            outcome: "ready".to_owned(),
            reason: None,
        }
    }

    #[test]
    fn one_gateway_at_a_time_uses_a_folder_and_finds_what_was_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::open(folder.path()).expect("it is free");
        assert!(matches!(Journal::open(folder.path()), Err(JournalError::InUse(_))));
        let served = vec![Content { version: Version::FIRST, digest: Digest::new([1; 32]) }];
        let remembered = Remembered { hold: None, served, loaded: true };
        let state = State::from([(ModelName::parse("m").expect("a name"), remembered)]);
        journal.remember(&state).expect("written");
        journal.audit(&[entry(1), entry(2)]).expect("written");
        drop(journal);
        let mut journal = Journal::open(folder.path()).expect("it is free again");
        assert_eq!(journal.state(), state);
        journal.audit(&[entry(3)]).expect("written");
        let times: Vec<u64> = journal.audited().iter().map(|entry| entry.at).collect();
        assert_eq!(times, [1, 2, 3]);
    }

    #[test]
    fn damage_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::open(folder.path()).expect("it is free");
        fs::write(folder.path().join("state.json"), b"{\"m\": ").expect("a file");
        let half = b"{\"at\":1,\"actor\":\"gate";
        fs::write(folder.path().join("audit.jsonl"), half).expect("a file");
        assert!(journal.state().is_empty());
        journal.audit(&[entry(2)]).expect("written");
        assert_eq!(journal.audited().len(), 1, "the line after the damage is whole");
    }

    #[test]
    fn the_audit_log_keeps_two_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::open(folder.path()).expect("it is free");
        journal.audit(&[entry(1)]).expect("written");
        for at in 2..4 {
            journal.audit_bytes = AUDIT_BYTES + 1;
            journal.audit(&[entry(at)]).expect("written");
        }
        let times: Vec<u64> = journal.audited().iter().map(|entry| entry.at).collect();
        assert_eq!(times, [2, 3]);
    }
}
