//! What was predicted under which id, until its labels come: bounded in time,
//! rows and bytes. Under a time that is handed in.
//!
//! Ids stand as two hashes of 64 bits with secret seeds: of a million ids, two
//! are taken for one with a chance of 10^-27, and nobody can choose them so.

use std::collections::{HashMap, VecDeque};

use smallvec::SmallVec;
use twox_hash::XxHash3_64;

use super::book::Entered;
use super::extract::Predicted;
use crate::predictions::Label;
use crate::types::next_random;

/// Bounds of what is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Rows of predictions; beyond them the oldest predictions go.
    pub rows: usize,
    /// Their bytes, as far as they are known.
    pub bytes: usize,
    /// Labels that wait for their predictions; beyond them the oldest go.
    pub pending: usize,
    /// How long both wait, in microseconds.
    pub ttl: i64,
}

/// Predictions under one id that are remembered, such as a shadow's beside the
/// primary's; the oldest goes.
const MOST_PER_ID: usize = 8;

/// Labels that may wait under one id.
const MOST_PENDING_PER_ID: usize = 1024;

/// An id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u64; 2]);

/// One prediction.
#[derive(Debug)]
pub struct Made {
    /// The book that it belongs to.
    pub book: u64,
    /// When; microseconds since 1970.
    pub at: i64,
    pub rows: SmallVec<[Row; 1]>,
    number: u64,
}

/// One row, and the labels that it has.
#[derive(Debug)]
pub struct Row {
    pub predicted: Predicted,
    pub labelled: Option<Box<Labelled>>,
}

/// The labels of one row: a truth, and a reward.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Labelled {
    pub truth: Option<Known>,
    pub reward: Option<Known>,
}

/// A label that is in force.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    pub label_time: i64,
    /// Tells it from others of the row.
    pub fingerprint: u64,
    pub entered: Entered,
}

/// The predictions and labels that wait for each other.
pub struct Index {
    bounds: Bounds,
    seeds: [u64; 2],
    made: HashMap<Key, SmallVec<[Made; 1]>>,
    /// In the order in which they came.
    order: VecDeque<(Key, u64)>,
    rows: usize,
    bytes: usize,
    pending: HashMap<Key, Vec<Waiting>>,
    pending_order: VecDeque<(Key, u64)>,
    waiting: usize,
    next: u64,
}

struct Waiting {
    label: Label,
    since: i64,
    number: u64,
}

/// What had to go so that something else could come.
#[derive(Debug, Default, PartialEq)]
pub struct Evicted {
    /// Predictions that went before their time.
    pub predictions: usize,
    /// Labels that nobody waits for any more.
    pub labels: Vec<Label>,
}

impl Made {
    pub fn new(book: u64, at: i64, rows: impl IntoIterator<Item = Predicted>) -> Made {
        let rows = rows.into_iter().map(|predicted| Row { predicted, labelled: None });
        Made { book, at, rows: rows.collect(), number: 0 }
    }

    /// Bytes that it takes up, those of the tables included. A label's are
    /// counted beforehand, so that the bound holds when all have come.
    fn bytes(&self) -> usize {
        const FIXED: usize = size_of::<Made>() + 2 * size_of::<Key>() + 2 * size_of::<u64>();
        let row = size_of::<Row>() + size_of::<Labelled>();
        let beside: usize = self.rows.iter().map(|row| row.predicted.heap_bytes()).sum();
        FIXED + self.rows.len() * row + beside
    }
}

impl Index {
    pub fn new(bounds: Bounds) -> Index {
        Index {
            bounds,
            seeds: [next_random(), next_random()],
            made: HashMap::new(),
            order: VecDeque::new(),
            rows: 0,
            bytes: 0,
            pending: HashMap::new(),
            pending_order: VecDeque::new(),
            waiting: 0,
            next: 0,
        }
    }

    pub fn key(&self, id: &[u8]) -> Key {
        Key(self.seeds.map(|seed| XxHash3_64::oneshot_with_seed(seed, id)))
    }

    /// Remembers a prediction. One of the same book under the same id gives
    /// way to it: a caller that asks again means the last answer.
    pub fn insert(&mut self, key: Key, mut made: Made, evicted: &mut Evicted) {
        self.next += 1;
        made.number = self.next;
        let (rows, bytes) = (made.rows.len(), made.bytes());
        let of_id = self.made.entry(key).or_default();
        let same = of_id.iter().position(|known| known.book == made.book);
        let gone = same.or_else(|| (of_id.len() >= MOST_PER_ID).then_some(0));
        let gone = gone.map(|at| of_id.remove(at));
        of_id.push(made);
        self.rows += rows;
        self.bytes += bytes;
        if let Some(gone) = gone {
            self.forget(&gone);
        }
        self.order.push_back((key, self.next));
        while self.rows > self.bounds.rows || self.bytes > self.bounds.bytes {
            if !self.remove_oldest() {
                return;
            }
            evicted.predictions += 1;
        }
        // Ids that come again leave places behind that stand for nothing.
        if self.order.len() > 2 * self.made.len() * MOST_PER_ID + 1024 {
            let made = &self.made;
            self.order.retain(|(key, number)| is_there(made, *key, *number));
        }
    }

    /// The predictions under an id; empty where there are none.
    pub fn get(&mut self, key: Key) -> &mut [Made] {
        self.made.get_mut(&key).map_or(&mut [], |of_id| &mut of_id[..])
    }

    /// Keeps a label until its prediction comes.
    pub fn wait(&mut self, key: Key, label: Label, now: i64, evicted: &mut Evicted) {
        self.next += 1;
        let of_id = self.pending.entry(key).or_default();
        if of_id.len() >= MOST_PENDING_PER_ID {
            evicted.labels.push(label);
            return;
        }
        of_id.push(Waiting { label, since: now, number: self.next });
        self.pending_order.push_back((key, self.next));
        self.waiting += 1;
        while self.waiting > self.bounds.pending {
            evicted.labels.extend(self.drop_oldest_label());
        }
    }

    /// The labels that waited for a prediction.
    pub fn take_waiting(&mut self, key: Key) -> Vec<Label> {
        if self.waiting == 0 {
            return Vec::new();
        }
        let waiting = self.pending.remove(&key).unwrap_or_default();
        self.waiting -= waiting.len();
        waiting.into_iter().map(|waiting| waiting.label).collect()
    }

    /// Forgets what has waited for long enough.
    pub fn expire(&mut self, now: i64) -> Evicted {
        let before = now.saturating_sub(self.bounds.ttl);
        while let Some((key, number)) = self.order.front() {
            let oldest = self.made.get(key).and_then(|of_id| {
                of_id.iter().find(|made| made.number == *number).map(|made| made.at)
            });
            if oldest.is_some_and(|at| at > before) {
                break;
            }
            self.remove_oldest();
        }
        let mut evicted = Evicted::default();
        while let Some((key, number)) = self.pending_order.front() {
            let since = self.pending.get(key).and_then(|of_id| {
                of_id.iter().find(|waiting| waiting.number == *number).map(|label| label.since)
            });
            if since.is_some_and(|since| since > before) {
                break;
            }
            evicted.labels.extend(self.drop_oldest_label());
        }
        evicted
    }

    /// Rows, bytes, and labels that wait.
    pub fn size(&self) -> (usize, usize, usize) {
        (self.rows, self.bytes, self.waiting)
    }

    /// Removes the prediction that came first; false where there is none.
    fn remove_oldest(&mut self) -> bool {
        while let Some((key, number)) = self.order.pop_front() {
            let Some(of_id) = self.made.get_mut(&key) else { continue };
            let Some(at) = of_id.iter().position(|made| made.number == number) else { continue };
            let gone = of_id.remove(at);
            if of_id.is_empty() {
                self.made.remove(&key);
            }
            self.forget(&gone);
            return true;
        }
        false
    }

    fn forget(&mut self, gone: &Made) {
        self.rows -= gone.rows.len();
        self.bytes -= gone.bytes();
    }

    fn drop_oldest_label(&mut self) -> Option<Label> {
        while let Some((key, number)) = self.pending_order.pop_front() {
            let Some(of_id) = self.pending.get_mut(&key) else { continue };
            let Some(at) = of_id.iter().position(|one| one.number == number) else { continue };
            let gone = of_id.remove(at);
            if of_id.is_empty() {
                self.pending.remove(&key);
            }
            self.waiting -= 1;
            return Some(gone.label);
        }
        None
    }
}

fn is_there(made: &HashMap<Key, SmallVec<[Made; 1]>>, key: Key, number: u64) -> bool {
    made.get(&key).is_some_and(|of_id| of_id.iter().any(|made| made.number == number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictions::Truth;

    const BOUNDS: Bounds = Bounds { rows: 10, bytes: usize::MAX, pending: 3, ttl: 100 };

    fn made(book: u64, at: i64, rows: usize) -> Made {
        Made::new(book, at, (0..rows).map(|row| Predicted::Value(row as f64)))
    }

    fn label(id: &str) -> Label {
        Label {
            request_id: id.to_owned(),
            row: 0,
            label_time: 0,
            recorded_time: 0,
            truth: Truth::Value(1.0),
            weight: 1.0,
            model: String::new(),
        }
    }

    fn insert(index: &mut Index, id: &str, made: Made) -> usize {
        let mut evicted = Evicted::default();
        let key = index.key(id.as_bytes());
        index.insert(key, made, &mut evicted);
        evicted.predictions
    }

    fn books(index: &mut Index, id: &str) -> Vec<u64> {
        let key = index.key(id.as_bytes());
        index.get(key).iter().map(|made| made.book).collect()
    }

    #[test]
    fn the_oldest_give_way_to_what_does_not_fit() {
        let mut index = Index::new(BOUNDS);
        assert_eq!(insert(&mut index, "a", made(1, 0, 6)), 0);
        assert_eq!(insert(&mut index, "b", made(1, 1, 4)), 0);
        assert_eq!(insert(&mut index, "c", made(1, 2, 5)), 1);
        assert_eq!(books(&mut index, "a"), Vec::<u64>::new());
        assert_eq!(index.size().0, 9);
        assert_eq!(insert(&mut index, "d", made(1, 3, 11)), 3, "it does not even fit alone");
        assert_eq!((index.size(), index.made.len(), index.order.len()), ((0, 0, 0), 0, 0));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let one = made(1, 0, 1).bytes();
        let mut index = Index::new(Bounds { bytes: 3 * one, ..BOUNDS });
        for number in 0..9 {
            insert(&mut index, &number.to_string(), made(1, number, 1));
        }
        assert_eq!((index.size().0, index.size().1), (3, 3 * one));
    }

    #[test]
    fn an_id_has_a_prediction_of_each_book() {
        let mut index = Index::new(Bounds { rows: 1000, ..BOUNDS });
        insert(&mut index, "a", made(1, 0, 1));
        insert(&mut index, "a", made(2, 0, 1));
        insert(&mut index, "a", made(1, 50, 2));
        assert_eq!(books(&mut index, "a"), [2, 1]);
        assert_eq!(index.size().0, 3);
        // What was replaced does not take its successor with it when its time comes.
        index.expire(120);
        assert_eq!(books(&mut index, "a"), [1]);
        for book in 0..50 {
            insert(&mut index, "a", made(book, 130, 1));
        }
        assert_eq!(books(&mut index, "a").len(), MOST_PER_ID);
        for _ in 0..100_000 {
            insert(&mut index, "a", made(49, 140, 1));
        }
        assert!(index.order.len() < 2000, "{}", index.order.len());
    }

    #[test]
    fn labels_wait_within_bounds_and_until_their_time() {
        let mut index = Index::new(BOUNDS);
        let mut evicted = Evicted::default();
        for (id, now) in [("a", 0), ("b", 10), ("a", 20), ("c", 30)] {
            let key = index.key(id.as_bytes());
            index.wait(key, label(id), now, &mut evicted);
        }
        assert_eq!(evicted.labels, [label("a")], "the oldest of four");
        assert_eq!(index.expire(110).labels, [label("b")]);
        let key = index.key(b"a");
        assert_eq!(index.take_waiting(key), [label("a")]);
        assert_eq!(index.size().2, 1);
        assert_eq!(index.expire(1000).labels, [label("c")]);
        assert_eq!((index.size().2, index.pending.len()), (0, 0));
    }
}
