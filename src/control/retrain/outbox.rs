//! Events on their way, on disk: one file an event, which a crash leaves whole.
//!
//! An event is kept until it was delivered, at least once, or given up; some
//! that were are kept to be shown.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::event::Event;
use super::facts::Delivery;
use crate::control::files::{read, replace};
use crate::types::jittered;

/// Events that may wait; more are refused.
const MOST_PENDING: usize = 256;

/// Events that are kept to be shown, of those delivered and of those given up.
const MOST_DONE: usize = 64;

/// The first wait between two attempts, and the longest.
const RETRY_US: i64 = 5_000_000;
const LONGEST_RETRY_US: i64 = 3_600_000_000;

/// Attempts after which an event is given up: about three days of them.
const MOST_ATTEMPTS: u32 = 80;

#[derive(Debug, Error)]
pub enum OutboxError {
    #[error("{MOST_PENDING} events wait to be delivered; where they go to has to be looked after")]
    Full,
    #[error("cannot write to the outbox: {0}")]
    Io(#[from] io::Error),
}

/// An event and how its delivery stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub event: Event,
    pub state: Delivery,
    pub attempts: u32,
    /// When it is to be tried next, or when it was delivered or given up.
    pub at: i64,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    Delivered,
    /// It may succeed later.
    Later(String),
    /// It never will.
    Refused(String),
}

#[derive(Debug)]
pub struct Outbox {
    folder: PathBuf,
    /// By the event's id.
    entries: BTreeMap<String, Entry>,
}

impl Outbox {
    /// Opens the folder, which is made if need be, with what is in it. A file
    /// that cannot be read is passed over with a warning, and kept.
    ///
    /// # Errors
    /// Where the folder cannot be used.
    pub fn open(folder: &Path) -> io::Result<Outbox> {
        fs::create_dir_all(folder)?;
        let mut entries = BTreeMap::new();
        for file in fs::read_dir(folder)? {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            if let Some(entry) = read::<Entry>(&path) {
                entries.insert(entry.event.id.clone(), entry);
            }
        }
        Ok(Outbox { folder: folder.to_owned(), entries })
    }

    /// Takes an event, to be delivered at once. One that was taken before is
    /// not taken again.
    ///
    /// # Errors
    /// Where too many wait, or it cannot be written: then it was not taken.
    pub fn put(&mut self, event: Event, now: i64) -> Result<(), OutboxError> {
        if self.entries.contains_key(&event.id) {
            return Ok(());
        }
        if self.count(Delivery::Pending) >= MOST_PENDING {
            return Err(OutboxError::Full);
        }
        let entry = Entry { event, state: Delivery::Pending, attempts: 0, at: now, error: None };
        self.write(&entry)?;
        self.entries.insert(entry.event.id.clone(), entry);
        Ok(())
    }

    /// The event that has waited longest for an attempt that is due.
    pub fn due(&self, now: i64) -> Option<&Entry> {
        let pending = self.entries.values().filter(|entry| entry.state == Delivery::Pending);
        pending.filter(|entry| entry.at <= now).min_by_key(|entry| entry.at)
    }

    /// Notes how an attempt ended. `random` is any number.
    ///
    /// # Errors
    /// Where that cannot be written: after a restart it is tried once more.
    pub fn settle(&mut self, id: &str, attempt: Attempt, now: i64, random: u64) -> io::Result<()> {
        let Some(entry) = self.entries.get_mut(id) else { return Ok(()) };
        entry.attempts = entry.attempts.saturating_add(1);
        (entry.state, entry.at, entry.error) = match attempt {
            Attempt::Delivered => (Delivery::Delivered, now, None),
            Attempt::Refused(why) => (Delivery::Failed, now, Some(why)),
            Attempt::Later(why) if entry.attempts >= MOST_ATTEMPTS => {
                (Delivery::Failed, now, Some(why))
            }
            Attempt::Later(why) => {
                let wait = wait(entry.attempts, random);
                (Delivery::Pending, now.saturating_add(wait), Some(why))
            }
        };
        let entry = entry.clone();
        self.write(&entry)?;
        self.forget(entry.state)
    }

    /// How an event stands.
    pub fn state(&self, id: &str) -> Option<Delivery> {
        self.entries.get(id).map(|entry| entry.state)
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub fn count(&self, state: Delivery) -> usize {
        self.entries.values().filter(|entry| entry.state == state).count()
    }

    /// Drops the oldest of those that are done, beyond what is kept.
    fn forget(&mut self, state: Delivery) -> io::Result<()> {
        while state != Delivery::Pending && self.count(state) > MOST_DONE {
            let of_state = self.entries.iter().filter(|(_, entry)| entry.state == state);
            let Some(oldest) = of_state.min_by_key(|(_, entry)| entry.at) else { break };
            let id = oldest.0.clone();
            self.entries.remove(&id);
            fs::remove_file(self.file(&id))?;
        }
        Ok(())
    }

    fn write(&self, entry: &Entry) -> io::Result<()> {
        replace(&self.file(&entry.event.id), &serde_json::to_vec(entry)?)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

/// Doubles with every attempt, more or less by up to a half.
fn wait(attempts: u32, random: u64) -> i64 {
    let doubled = RETRY_US.saturating_mul(1_i64 << attempts.saturating_sub(1).min(32));
    let base = Duration::from_micros(doubled.min(LONGEST_RETRY_US).unsigned_abs());
    i64::try_from(jittered(base, random).as_micros()).unwrap_or(LONGEST_RETRY_US)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::retrain::event::Event;
    use crate::types::{ModelName, Version};

    fn event(at: u64) -> Event {
        let model = ModelName::parse("m").expect("a name");
        Event::completed(&model, (&format!("{at:032x}"), 0), Version::FIRST, "promoted", 0)
    }

    #[test]
    fn what_was_taken_is_there_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut outbox = Outbox::open(folder.path()).expect("open");
        let (first, second) = (event(1), event(2));
        outbox.put(first.clone(), 10).expect("taken");
        outbox.put(second.clone(), 11).expect("taken");
        assert_eq!(outbox.due(9), None);
        assert_eq!(outbox.due(11).expect("one").event, first);
        outbox.settle(&first.id, Attempt::Later("status 503".to_owned()), 20, 0).expect("noted");
        // A crash while a third was being written.
        fs::write(folder.path().join("half.half"), b"{").expect("a file");
        fs::write(folder.path().join("bad.json"), b"{").expect("a file");
        let mut outbox = Outbox::open(folder.path()).expect("open");
        assert_eq!(outbox.entries().count(), 2);
        assert_eq!(outbox.due(i64::MAX).expect("one").event, second);
        outbox.settle(&second.id, Attempt::Delivered, 30, 0).expect("noted");
        let again = outbox.due(20 + RETRY_US / 2).expect("due");
        assert_eq!((again.attempts, again.error.as_deref()), (1, Some("status 503")));
        assert_eq!(outbox.due(20 + RETRY_US / 2 - 1), None);
    }

    #[test]
    fn the_same_event_is_taken_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut outbox = Outbox::open(folder.path()).expect("open");
        outbox.put(event(1), 10).expect("taken");
        outbox.settle(&event(1).id, Attempt::Delivered, 11, 0).expect("noted");
        outbox.put(event(1), 12).expect("known");
        assert_eq!((outbox.entries().count(), outbox.due(i64::MAX)), (1, None));
    }

    #[test]
    fn what_is_refused_is_kept_and_not_tried_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut outbox = Outbox::open(folder.path()).expect("open");
        outbox.put(event(1), 0).expect("taken");
        outbox
            .settle(&event(1).id, Attempt::Refused("status 400".to_owned()), 1, 0)
            .expect("noted");
        let outbox = Outbox::open(folder.path()).expect("open");
        assert_eq!(outbox.state(&event(1).id), Some(Delivery::Failed));
        assert_eq!(outbox.due(i64::MAX), None);
    }

    #[test]
    fn attempts_get_rare_and_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut outbox = Outbox::open(folder.path()).expect("open");
        outbox.put(event(1), 0).expect("taken");
        let (mut now, mut waits) = (0, Vec::new());
        while let Some(due) = outbox.due(i64::MAX) {
            waits.push(due.at - now);
            now = due.at;
            let failed = Attempt::Later("no answer".to_owned());
            outbox.settle(&event(1).id, failed, now, u64::MAX / 2).expect("noted");
        }
        assert_eq!(waits.len(), MOST_ATTEMPTS as usize);
        assert!(waits.is_sorted(), "{waits:?}");
        assert!(now > 60 * LONGEST_RETRY_US && now < 80 * LONGEST_RETRY_US);
        assert_eq!(outbox.state(&event(1).id), Some(Delivery::Failed));
    }

    #[test]
    fn an_outbox_is_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut outbox = Outbox::open(folder.path()).expect("open");
        for at in 0..MOST_PENDING as u64 {
            outbox.put(event(at), 0).expect("taken");
        }
        assert!(matches!(outbox.put(event(9999), 0), Err(OutboxError::Full)));
        for at in 0..MOST_PENDING as u64 {
            outbox.settle(&event(at).id, Attempt::Delivered, at as i64, 0).expect("noted");
        }
        assert_eq!(outbox.entries().count(), MOST_DONE);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), MOST_DONE);
        assert_eq!(outbox.state(&event(255).id), Some(Delivery::Delivered), "the newest stay");
    }
}
