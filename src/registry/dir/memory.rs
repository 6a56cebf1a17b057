//! What a listing need not look at again: digests of files that have not
//! changed since, and since when a version is as it is.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::walk::Stamp;
use crate::registry::FileName;
use crate::types::{Digest, ModelName, Version};

/// Kept from one listing to the next; never more than the registry holds.
#[derive(Debug, Default)]
pub(super) struct Memory {
    files: HashMap<PathBuf, Known<Checked>>,
    texts: HashMap<PathBuf, Known<Result<String, String>>>,
    seen: HashMap<String, Seen>,
    /// What the last listing spoke of, finished or not.
    pub(super) versions: HashMap<ModelName, BTreeSet<Version>>,
    /// What has been warned of.
    pub(super) warned: HashSet<String>,
}

#[derive(Debug)]
struct Known<T> {
    stamp: Stamp,
    value: T,
    used: bool,
}

/// A file's content.
#[derive(Clone, Debug)]
pub(super) enum Checked {
    Whole(Digest),
    /// A model file that is no whole model, and why.
    Incomplete(String),
}

/// Files of a version with their stamps.
pub(super) type Print = Vec<(FileName, Stamp)>;

#[derive(Debug)]
struct Seen {
    print: Print,
    since: Instant,
    used: bool,
}

impl Memory {
    /// For how long the version at `place` has been as it is, as far as we saw.
    pub(super) fn unchanged_for(&mut self, place: &str, print: Print) -> Duration {
        match self.seen.get_mut(place) {
            Some(seen) if seen.print == print => {
                seen.used = true;
                seen.since.elapsed()
            }
            _ => {
                let seen = Seen { print, since: Instant::now(), used: true };
                self.seen.insert(place.to_owned(), seen);
                Duration::ZERO
            }
        }
    }

    pub(super) fn file(&mut self, path: &PathBuf, stamp: Stamp) -> Option<Checked> {
        recall(&mut self.files, path, stamp)
    }

    pub(super) fn keep_file(&mut self, path: PathBuf, stamp: Stamp, value: Checked) {
        self.files.insert(path, Known { stamp, value, used: true });
    }

    pub(super) fn text(&mut self, path: &PathBuf, stamp: Stamp) -> Option<Result<String, String>> {
        recall(&mut self.texts, path, stamp)
    }

    pub(super) fn keep_text(&mut self, path: PathBuf, stamp: Stamp, value: Result<String, String>) {
        self.texts.insert(path, Known { stamp, value, used: true });
    }

    /// Ends a listing: what it did not meet is forgotten.
    pub(super) fn forget_unused(&mut self) {
        self.files.retain(|_, known| std::mem::take(&mut known.used));
        self.texts.retain(|_, known| std::mem::take(&mut known.used));
        self.seen.retain(|_, seen| std::mem::take(&mut seen.used));
    }
}

fn recall<T: Clone>(
    map: &mut HashMap<PathBuf, Known<T>>,
    path: &PathBuf,
    stamp: Stamp,
) -> Option<T> {
    let known = map.get_mut(path).filter(|known| known.stamp == stamp)?;
    known.used = true;
    Some(known.value.clone())
}
