//! Which entries the cache holds, and which of them can go first.

use std::collections::{HashMap, HashSet};

use crate::types::Digest;

#[derive(Debug, Default)]
pub(super) struct Index {
    entries: HashMap<Digest, Held>,
    /// Bytes of entries, and of those on their way.
    bytes: u64,
    reserved: u64,
    /// Counts uses, so that no clock is needed.
    uses: u64,
}

#[derive(Debug)]
struct Held {
    bytes: u64,
    used: u64,
}

impl Index {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.entries.contains_key(digest)
    }

    /// Adds an entry as the one used last.
    pub(super) fn add(&mut self, digest: Digest, bytes: u64) {
        self.remove(&digest);
        self.uses += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.entries.insert(digest, Held { bytes, used: self.uses });
    }

    pub(super) fn remove(&mut self, digest: &Digest) {
        if let Some(held) = self.entries.remove(digest) {
            self.bytes = self.bytes.saturating_sub(held.bytes);
        }
    }

    pub(super) fn mark_used(&mut self, digest: &Digest) {
        self.uses += 1;
        if let Some(held) = self.entries.get_mut(digest) {
            held.used = self.uses;
        }
    }

    pub(super) fn reserve(&mut self, bytes: u64) {
        self.reserved = self.reserved.saturating_add(bytes);
    }

    pub(super) fn release(&mut self, bytes: u64) {
        self.reserved = self.reserved.saturating_sub(bytes);
    }

    /// The entries that must go so that `bytes` more fit into `most`, the least
    /// recently used first and none of `keep`; none if that cannot be.
    pub(super) fn leaving(
        &self,
        bytes: u64,
        most: u64,
        keep: &HashSet<Digest>,
    ) -> Option<Vec<Digest>> {
        let held = self.bytes.saturating_add(self.reserved);
        let over = held.saturating_add(bytes).saturating_sub(most);
        self.oldest(over, keep)
    }

    /// The least recently used entries that are `bytes` together, none of
    /// `keep`; none if all of them are less.
    pub(super) fn oldest(&self, bytes: u64, keep: &HashSet<Digest>) -> Option<Vec<Digest>> {
        let mut entries: Vec<_> =
            self.entries.iter().filter(|(digest, _)| !keep.contains(*digest)).collect();
        entries.sort_by_key(|(_, held)| held.used);
        let (mut freed, mut leaving) = (0_u64, Vec::new());
        for (digest, held) in entries {
            if freed >= bytes {
                break;
            }
            freed = freed.saturating_add(held.bytes);
            leaving.push(*digest);
        }
        (freed >= bytes).then_some(leaving)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> Digest {
        Digest::new([n; 32])
    }

    #[test]
    fn the_least_recently_used_leave_and_no_more_than_needed() {
        let mut index = Index::default();
        for n in 1..=4 {
            index.add(digest(n), 10);
        }
        index.mark_used(&digest(1));
        let none = HashSet::new();
        assert_eq!(index.leaving(60, 100, &none), Some(vec![]));
        assert_eq!(index.leaving(61, 100, &none), Some(vec![digest(2)]));
        assert_eq!(index.leaving(75, 100, &none), Some(vec![digest(2), digest(3)]));
        let keep = HashSet::from([digest(2), digest(4)]);
        assert_eq!(index.leaving(75, 100, &keep), Some(vec![digest(3), digest(1)]));
        assert_eq!(index.leaving(81, 100, &keep), None, "what is kept stays");
        index.reserve(60);
        assert_eq!(index.leaving(1, 100, &none), Some(vec![digest(2)]), "room is promised once");
        index.release(60);
        index.remove(&digest(2));
        assert_eq!(index.bytes(), 30);
        index.add(digest(3), 5);
        assert_eq!(index.bytes(), 25, "an entry counts once");
    }
}
