//! Brings labels and predictions together. Under a time that is handed in; it
//! belongs to one thread.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use twox_hash::XxHash3_64;

use super::Observed;
use super::book::Book;
use super::extract::{Declared, Meaning};
use super::index::{Bounds, Evicted, Index, Known, Made, Row};
use super::publish::reading;
use crate::predictions::{Label, Truth};
use crate::telemetry::{
    FeedbackCounts, FeedbackOutcome, QualityDrop, QualityKey, QualityMetrics, QualitySeries,
};

/// Versions that have series at one time, each under a variant and a role.
/// Those that are gone for longest give way; a further one is not observed.
const MOST_BOOKS: usize = 64;

/// Label of models that nothing is known of.
const UNKNOWN: &str = "_unknown";

/// Books are read anew so often where no label came, in microseconds: windows move on.
const READ_EVERY: i64 = 10_000_000;

/// And where labels came.
const READ_DIRTY_EVERY: i64 = 500_000;

/// What became of one label, as its sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As metrics count it.
    Ended(FeedbackOutcome),
    /// The prediction has fewer rows.
    NoSuchRow,
    /// Several models predicted under the id; the label has to name one.
    Ambiguous,
    /// It is kept, and will be joined when there is time.
    Accepted,
}

impl Outcome {
    pub fn label(self) -> &'static str {
        match self {
            Outcome::Ended(outcome) => outcome.label(),
            Outcome::NoSuchRow => "no_such_row",
            Outcome::Ambiguous => "ambiguous",
            Outcome::Accepted => "accepted",
        }
    }

    fn counted(self) -> FeedbackOutcome {
        match self {
            Outcome::Ended(outcome) => outcome,
            Outcome::NoSuchRow | Outcome::Ambiguous | Outcome::Accepted => FeedbackOutcome::Unknown,
        }
    }

    /// The better of what the predictions of one id made of a label.
    fn better(self, other: Outcome) -> Outcome {
        use FeedbackOutcome::{Corrected, Duplicate, Joined};
        let first = [Outcome::Ended(Joined), Outcome::Ended(Corrected), Outcome::Ended(Duplicate)];
        let rank = |of| first.iter().position(|known| *known == of).unwrap_or(first.len());
        if rank(other) < rank(self) { other } else { self }
    }
}

/// How a model's outputs are to be read, by its name.
pub type Declare = dyn Fn(&str) -> Declared + Send + Sync;

/// Everything that is known of predictions and their labels.
pub struct Joiner {
    index: Index,
    ttl: i64,
    books: HashMap<u64, Book>,
    by_key: HashMap<QualityKey, u64>,
    next: u64,
    feedback: BTreeMap<Arc<str>, FeedbackCounts>,
    metrics: Arc<QualityMetrics>,
    declare: Arc<Declare>,
    read_at: i64,
    read_dirty_at: i64,
    feedback_is_dirty: bool,
}

impl Joiner {
    pub fn new(bounds: Bounds, metrics: Arc<QualityMetrics>, declare: Arc<Declare>) -> Joiner {
        Joiner {
            index: Index::new(bounds),
            ttl: bounds.ttl,
            books: HashMap::new(),
            by_key: HashMap::new(),
            next: 0,
            feedback: BTreeMap::new(),
            metrics,
            declare,
            read_at: i64::MIN,
            read_dirty_at: i64::MIN,
            feedback_is_dirty: false,
        }
    }

    /// Remembers a prediction, and joins the labels that waited for it.
    pub fn saw(&mut self, observed: &Observed, now: i64) {
        let Some(number) = self.book(observed, now) else {
            return self.metrics.dropped(QualityDrop::Series);
        };
        let Some(book) = self.books.get_mut(&number) else { return };
        let rows = observed.rows.max(1);
        let predicted = book.meaning.predictions(&observed.wanted, &observed.outputs, rows);
        book.predicted(predicted.len() as u64, observed.at);
        let key = self.index.key(&observed.id);
        let mut evicted = Evicted::default();
        self.index.insert(key, Made::new(number, observed.at, predicted), &mut evicted);
        for _ in 0..evicted.predictions {
            self.metrics.dropped(QualityDrop::IndexFull);
        }
        for label in self.index.take_waiting(key) {
            self.label(label, now);
        }
    }

    /// Joins a label with its prediction, or keeps it until that comes.
    pub fn label(&mut self, label: Label, now: i64) -> Outcome {
        let key = self.index.key(label.request_id.as_bytes());
        let books = &mut self.books;
        let mut model: Option<Arc<str>> = None;
        let mut outcome: Option<Outcome> = None;
        let is_named = !label.model.is_empty();
        for made in self.index.get(key) {
            let Some(book) = books.get_mut(&made.book) else { continue };
            let of_model = book.series.key().model.shared();
            if is_named && *of_model != *label.model {
                continue;
            }
            if model.as_ref().is_some_and(|known| *known != of_model) {
                outcome = Some(Outcome::Ambiguous);
                break;
            }
            model = Some(of_model);
        }
        if let (Some(model), None) = (&model, outcome) {
            let counts = self.feedback.entry(Arc::clone(model)).or_default();
            for made in self.index.get(key) {
                let Some(book) = books.get_mut(&made.book) else { continue };
                if *book.series.key().model.shared() != **model {
                    continue;
                }
                let at = made.at;
                let of_row = match made.rows.get_mut(label.row as usize) {
                    Some(row) => enter(book, row, &label, (at, now)),
                    None => Outcome::NoSuchRow,
                };
                if of_row == Outcome::Ended(FeedbackOutcome::Joined) {
                    let delay = now.saturating_sub(at).max(0) as f64 / 1e6;
                    // A shadow's prediction is no other label.
                    if outcome != Some(of_row) {
                        counts.delayed(delay);
                    }
                }
                outcome = Some(outcome.map_or(of_row, |known| known.better(of_row)));
            }
        }
        let outcome = outcome.unwrap_or_else(|| {
            let is_late = made_at(&label.request_id).is_some_and(|made| made < now - self.ttl);
            let outcome = if is_late { FeedbackOutcome::Late } else { FeedbackOutcome::Pending };
            Outcome::Ended(outcome)
        });
        let model = model.or_else(|| self.known_model(&label.model));
        self.count(model, outcome.counted());
        if outcome == Outcome::Ended(FeedbackOutcome::Pending) {
            let mut evicted = Evicted::default();
            self.index.wait(key, label, now, &mut evicted);
            self.give_up(evicted.labels);
        }
        outcome
    }

    /// Forgets what is too old, and publishes what has changed.
    pub fn tick(&mut self, now: i64) {
        let expired = self.index.expire(now);
        self.give_up(expired.labels);
        // Clocks are set back now and then.
        let is_due = |last: i64, every: i64| last > now || now.saturating_sub(last) >= every;
        let everything = is_due(self.read_at, READ_EVERY);
        if everything {
            self.read_at = now;
            self.close_old(now);
        }
        if everything || is_due(self.read_dirty_at, READ_DIRTY_EVERY) {
            self.read_dirty_at = now;
            for book in self.books.values_mut().filter(|book| everything || book.is_dirty) {
                book.is_dirty = false;
                let reading = reading(book, now);
                book.series.publish(reading);
            }
            let (rows, bytes, pending) = self.index.size();
            self.metrics.set_index(rows, bytes, pending);
        }
        if std::mem::take(&mut self.feedback_is_dirty) {
            let counts = self.feedback.iter();
            let counts = counts.map(|(model, counts)| (Arc::clone(model), counts.clone()));
            self.metrics.set_feedback(counts.collect());
        }
    }

    /// The number of the book that a prediction belongs to; opens it. `None`
    /// where there are as many as may be.
    fn book(&mut self, observed: &Observed, now: i64) -> Option<u64> {
        let served = &observed.served;
        let key = QualityKey {
            model: served.model().clone(),
            version: served.version(),
            variant: String::from_utf8_lossy(&observed.variant).into(),
            role: observed.role.label(),
        };
        if let Some(number) = self.by_key.get(&key) {
            self.books.get_mut(number)?.serve_from(served);
            return Some(*number);
        }
        if self.books.len() >= MOST_BOOKS {
            let gone = self.books.iter().filter(|(_, book)| book.is_gone());
            let oldest = gone.min_by_key(|(_, book)| book.last).map(|(number, _)| *number)?;
            self.close(oldest);
        }
        let declared = (self.declare)(key.model.as_str());
        let meaning = Meaning::of(served.outputs(), &declared);
        self.next += 1;
        let mut book = Book::open(key.clone(), meaning, served);
        book.last = now;
        self.books.insert(self.next, book);
        self.by_key.insert(key, self.next);
        self.publish_series();
        Some(self.next)
    }

    /// Closes the books of versions that are gone and whose predictions nobody
    /// can label any more.
    fn close_old(&mut self, now: i64) {
        let before = now.saturating_sub(self.ttl);
        let old = self.books.iter().filter(|(_, book)| book.is_gone() && book.last < before);
        let old: Vec<u64> = old.map(|(number, _)| *number).collect();
        old.into_iter().for_each(|number| self.close(number));
    }

    fn close(&mut self, number: u64) {
        let Some(book) = self.books.remove(&number) else { return };
        self.by_key.remove(book.series.key());
        let model = book.series.key().model.shared();
        if self.known_model(&model).is_none() {
            self.feedback.remove(&model);
            self.feedback_is_dirty = true;
        }
        self.publish_series();
    }

    fn publish_series(&self) {
        let mut books: Vec<&Book> = self.books.values().collect();
        books.sort_by_cached_key(|book| {
            let QualityKey { model, version, variant, role } = book.series.key();
            (model.clone(), *version, Arc::clone(variant), *role)
        });
        let series: Vec<Arc<QualitySeries>> =
            books.iter().map(|book| Arc::clone(&book.series)).collect();
        self.metrics.set_series(series);
    }

    /// The model of that name, where something of it has predicted.
    fn known_model(&self, name: &str) -> Option<Arc<str>> {
        let mut keys = self.books.values().map(|book| &book.series.key().model);
        keys.find(|model| model.as_str() == name).map(|model| model.shared())
    }

    fn give_up(&mut self, labels: Vec<Label>) {
        for label in labels {
            self.count(self.known_model(&label.model), FeedbackOutcome::Unknown);
        }
    }

    fn count(&mut self, model: Option<Arc<str>>, outcome: FeedbackOutcome) {
        let model = model.unwrap_or_else(|| Arc::from(UNKNOWN));
        self.feedback.entry(model).or_default().ended(outcome);
        self.feedback_is_dirty = true;
    }
}

/// Enters a label of one row, unless it is known or older than what is.
fn enter(book: &mut Book, row: &mut Row, label: &Label, (made, now): (i64, i64)) -> Outcome {
    let known = row.labelled.as_deref().copied().unwrap_or_default();
    let earlier = match label.truth {
        Truth::Reward(_) => known.reward,
        _ => known.truth,
    };
    let fingerprint = fingerprint(label);
    if let Some(earlier) = &earlier
        && (earlier.fingerprint == fingerprint || label.label_time <= earlier.label_time)
    {
        return Outcome::Ended(FeedbackOutcome::Duplicate);
    }
    let replaced = earlier.as_ref().map(|earlier| &earlier.entered);
    let told = (&label.truth, label.weight);
    let Ok(entered) = book.enter(&row.predicted, told, (made, now), replaced) else {
        return Outcome::Ended(FeedbackOutcome::Mismatched);
    };
    if row.labelled.is_none() {
        book.labelled(made);
    }
    let labelled = row.labelled.get_or_insert_default();
    let known = Some(Known { label_time: label.label_time, fingerprint, entered });
    match label.truth {
        Truth::Reward(_) => labelled.reward = known,
        _ => labelled.truth = known,
    }
    Outcome::Ended(match earlier {
        None => FeedbackOutcome::Joined,
        Some(_) => FeedbackOutcome::Corrected,
    })
}

/// Tells labels of one row apart: by what they say and weigh.
fn fingerprint(label: &Label) -> u64 {
    let weight = label.weight.to_bits();
    match &label.truth {
        Truth::Class(text) => XxHash3_64::oneshot_with_seed(weight, text.as_bytes()),
        Truth::Value(number) | Truth::Reward(number) => {
            XxHash3_64::oneshot_with_seed(weight, &number.to_le_bytes())
        }
    }
}

/// When an id was made, in microseconds since 1970, where it is a UUIDv7.
fn made_at(id: &str) -> Option<i64> {
    let uuid = uuid::Uuid::try_parse(id).ok().filter(|uuid| uuid.get_version_num() == 7)?;
    let millis = uuid.as_u128() >> 80;
    i64::try_from(millis).ok()?.checked_mul(1000)
}

#[cfg(test)]
mod tests;
