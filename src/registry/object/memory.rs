//! What a listing need not read again, by key and entity tag.

use std::collections::{HashMap, HashSet};

use object_store::ObjectMeta;
use tokio::task::AbortHandle;

use crate::types::Digest;

/// Kept from one listing to the next; never more than the registry holds.
#[derive(Debug, Default)]
pub(super) struct Memory {
    texts: HashMap<String, (Tag, Result<String, String>)>,
    digests: HashMap<String, (Tag, Digest)>,
    /// Objects of versions without a manifest, by place, as the last listing had them.
    seen: HashMap<String, Vec<(String, Tag)>>,
    hashing: Option<AbortHandle>,
}

/// What changes when an object does. Only tells that something need not be read
/// again: what a version is, its digests say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) bytes: u64,
    entity: Option<String>,
    modified: i64,
}

impl Tag {
    pub(super) fn of(meta: &ObjectMeta) -> Tag {
        let modified = meta.last_modified.timestamp_micros();
        Tag { bytes: meta.size, entity: meta.e_tag.clone(), modified }
    }
}

impl Memory {
    /// The text at `key`, or what is wrong with it, where it has not changed.
    pub(super) fn text(&self, key: &str, tag: &Tag) -> Option<&Result<String, String>> {
        self.texts.get(key).filter(|(known, _)| known == tag).map(|(_, text)| text)
    }

    pub(super) fn keep_text(&mut self, key: String, tag: Tag, text: Result<String, String>) {
        self.texts.insert(key, (tag, text));
    }

    pub(super) fn digest(&self, key: &str, tag: &Tag) -> Option<Digest> {
        self.digests.get(key).filter(|(known, _)| known == tag).map(|(_, digest)| *digest)
    }

    pub(super) fn keep_digest(&mut self, key: String, tag: Tag, digest: Digest) {
        self.digests.insert(key, (tag, digest));
    }

    /// Whether the last listing had the same objects at `place`; notes them.
    pub(super) fn is_settled(&mut self, place: &str, objects: Vec<(String, Tag)>) -> bool {
        let settled = self.seen.get(place) == Some(&objects);
        self.seen.insert(place.to_owned(), objects);
        settled
    }

    /// Ends a listing: what it did not meet is forgotten.
    pub(super) fn keep_only(&mut self, keys: &HashSet<&str>, places: &HashSet<&str>) {
        self.texts.retain(|key, _| keys.contains(key.as_str()));
        self.digests.retain(|key, _| keys.contains(key.as_str()));
        self.seen.retain(|place, _| places.contains(place.as_str()));
    }

    pub(super) fn is_hashing(&self) -> bool {
        self.hashing.as_ref().is_some_and(|task| !task.is_finished())
    }

    pub(super) fn set_hashing(&mut self, task: AbortHandle) {
        self.hashing = Some(task);
    }

    pub(super) fn stop_hashing(&mut self) {
        if let Some(task) = self.hashing.take() {
            task.abort();
        }
    }
}
