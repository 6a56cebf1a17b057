//! Which bin a value falls into. The bins are fixed with the reference, so
//! that counts of several gateways add up, and so do those of several hours.
//!
//! Nothing here allocates, locks or fails: what does not belong is counted.

use std::collections::HashMap;

use super::tally::{Rate, Tally};

/// Bins of one column, the one of others included.
pub const MAX_BINS: usize = 24;

/// How near to 0 or 1 a score is called saturated.
const SATURATION: f64 = 1e-6;

/// The bins of one column.
#[derive(Clone, Debug, PartialEq)]
pub enum Bins {
    Edges(EdgeBins),
    Values(ValueBins),
    Categories(CategoryBins),
}

impl Bins {
    /// How many there are.
    pub fn count(&self) -> usize {
        match self {
            Bins::Edges(bins) => bins.edges.len() + 1,
            Bins::Values(bins) => bins.values.len() + 1,
            Bins::Categories(bins) => bins.categories.len() + 1,
        }
    }

    /// The bin of what has none of its own; bins between edges need none.
    pub fn other(&self) -> Option<usize> {
        (!matches!(self, Bins::Edges(_))).then(|| self.count() - 1)
    }

    /// Whether it counts texts; else it counts numbers.
    pub fn counts_texts(&self) -> bool {
        matches!(self, Bins::Categories(_))
    }

    /// Counts a number into a tally of these bins.
    pub fn count_number(&self, value: f64, tally: &mut Tally) {
        match self {
            Bins::Edges(bins) => bins.count(value, tally),
            Bins::Values(bins) => bins.count(value, tally),
            Bins::Categories(_) => tally.note(Rate::Invalid),
        }
    }

    /// Counts a text into a tally of these bins.
    pub fn count_text(&self, text: &[u8], tally: &mut Tally) {
        match self {
            Bins::Categories(bins) => bins.count(text, tally),
            Bins::Edges(_) | Bins::Values(_) => tally.note(Rate::Invalid),
        }
    }
}

/// Maps values to 0 to 1, so that sums of them can be counters even where
/// values are negative: `(x - low) / (high - low)`, cut off at both ends.
/// Everything is 0 where the two are equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    low: f64,
    factor: f64,
}

impl Scale {
    /// Of the reference's quantiles at 0.1 % and 99.9 %.
    pub fn new(low: f64, high: f64) -> Scale {
        let width = high - low;
        Scale { low, factor: if width > 0.0 { 1.0 / width } else { 0.0 } }
    }

    fn of(&self, value: f64) -> f64 {
        ((value - self.low) * self.factor).clamp(0.0, 1.0)
    }
}

/// Bins of ordered numbers: everything below the first edge, from each edge to
/// the next, and from the last edge on. An edge belongs to the bin above it.
#[derive(Clone, Debug, PartialEq)]
pub struct EdgeBins {
    edges: Box<[f64]>,
    least: f64,
    greatest: f64,
    scale: Scale,
    is_score: bool,
}

impl EdgeBins {
    /// `edges` are finite and strictly increasing. `least` and `greatest` are
    /// the ends of the reference's values.
    pub fn new(
        edges: Vec<f64>,
        least: f64,
        greatest: f64,
        scale: Scale,
        is_score: bool,
    ) -> EdgeBins {
        EdgeBins { edges: edges.into(), least, greatest, scale, is_score }
    }

    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// The ends of the bins, where the outer two end with the reference.
    pub fn bounds(&self) -> Vec<f64> {
        let first = self.edges.first().map_or(self.least, |edge| edge.min(self.least));
        let last = self.edges.last().map_or(self.greatest, |edge| edge.max(self.greatest));
        std::iter::once(first).chain(self.edges.iter().copied()).chain([last]).collect()
    }

    /// How many edges are not above the value.
    pub fn place(&self, value: f64) -> usize {
        count(&self.edges, |edge| edge <= value)
    }

    fn count(&self, value: f64, tally: &mut Tally) {
        // One comparison finds all that is out of the ordinary, NaN included.
        if !(self.least..=self.greatest).contains(&value) && !self.note_outside(value, tally) {
            return;
        }
        tally.hit(self.place(value));
        tally.add_scaled(self.scale.of(value));
        if self.is_score && !(SATURATION..=1.0 - SATURATION).contains(&value) {
            tally.note(Rate::Saturated);
        }
    }

    /// Says whether the value has a bin all the same.
    #[cold]
    fn note_outside(&self, value: f64, tally: &mut Tally) -> bool {
        if !value.is_finite() {
            note_no_number(value, tally);
            return false;
        }
        tally.note(if value < self.least { Rate::Below } else { Rate::Above });
        true
    }
}

/// A bin for each of a few numbers, and one for all others.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueBins {
    values: Box<[f64]>,
    /// Values of the reference that have no bin of their own, in ascending
    /// order. `None` where they are not known.
    rest: Option<Box<[f64]>>,
    scale: Scale,
}

impl ValueBins {
    /// `values` and `rest` are finite and strictly increasing.
    pub fn new(values: Vec<f64>, rest: Option<Vec<f64>>, scale: Scale) -> ValueBins {
        ValueBins { values: values.into(), rest: rest.map(Into::into), scale }
    }

    pub fn values(&self) -> &[f64] {
        &self.values
    }

    pub fn rest(&self) -> Option<&[f64]> {
        self.rest.as_deref()
    }

    /// The bin of a value; that of others for one that has none.
    pub fn place(&self, value: f64) -> usize {
        let below = count(&self.values, |own| own < value);
        if self.values.get(below) == Some(&value) { below } else { self.values.len() }
    }

    fn count(&self, value: f64, tally: &mut Tally) {
        if !value.is_finite() {
            return note_no_number(value, tally);
        }
        let bin = self.place(value);
        tally.hit(bin);
        tally.add_scaled(self.scale.of(value));
        if bin == self.values.len() {
            let known = |rest: &[f64]| rest.binary_search_by(|own| own.total_cmp(&value)).is_ok();
            tally.note_if(Rate::Unseen, self.rest.as_deref().is_some_and(|rest| !known(rest)));
        }
    }
}

/// A bin for each of the most frequent texts, and one for all others.
#[derive(Clone, Debug, PartialEq)]
pub struct CategoryBins {
    categories: Vec<String>,
    /// As [`ValueBins::rest`].
    rest: Option<Vec<String>>,
    /// The bin of every known text.
    places: HashMap<Box<[u8]>, usize>,
}

impl CategoryBins {
    /// No text is given twice.
    pub fn new(categories: Vec<String>, rest: Option<Vec<String>>) -> CategoryBins {
        let other = categories.len();
        let own = categories.iter().enumerate().map(|(bin, text)| (text, bin));
        let others = rest.iter().flatten().map(|text| (text, other));
        let places =
            own.chain(others).map(|(text, bin)| (Box::from(text.as_bytes()), bin)).collect();
        CategoryBins { categories, rest, places }
    }

    pub fn categories(&self) -> &[String] {
        &self.categories
    }

    pub fn rest(&self) -> Option<&[String]> {
        self.rest.as_deref()
    }

    /// The bin of a text that is known; `None` of any other.
    pub fn place(&self, text: &[u8]) -> Option<usize> {
        self.places.get(text).copied()
    }

    fn count(&self, text: &[u8], tally: &mut Tally) {
        match self.place(text) {
            Some(bin) => tally.hit(bin),
            None if text.is_empty() => tally.note(Rate::Missing),
            None => {
                tally.hit(self.categories.len());
                tally.note_if(Rate::Unseen, self.rest.is_some());
            }
        }
    }
}

/// What is not finite is in no bin.
#[cold]
fn note_no_number(value: f64, tally: &mut Tally) {
    if value.is_nan() {
        return tally.note(Rate::Missing);
    }
    tally.note(Rate::Invalid);
    tally.note(Rate::Infinite);
}

/// Of how many numbers something is true. Without a branch, as there are few
/// numbers and a branch on live values is mispredicted half of the time; and
/// without a check for overflow, which would keep it from being vectorized.
fn count(numbers: &[f64], is: impl Fn(f64) -> bool) -> usize {
    numbers.iter().fold(0, |count: usize, number| count.wrapping_add(usize::from(is(*number))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edges(edges: Vec<f64>) -> EdgeBins {
        EdgeBins::new(edges, 0.0, 10.0, Scale::new(0.0, 10.0), false)
    }

    fn counted(bins: &Bins, values: &[f64]) -> Tally {
        let mut tally = Tally::new(bins.count());
        values.iter().for_each(|value| bins.count_number(*value, &mut tally));
        tally
    }

    #[test]
    fn numbers_fall_between_edges() {
        let bins = Bins::Edges(edges(vec![1.0, 5.0]));
        let values = [0.0, 0.999, 1.0, 4.999, 5.0, 10.0, -0.1, 10.1, f64::NAN, f64::INFINITY];
        let tally = counted(&bins, &values);
        assert_eq!(tally.bins(), [3, 2, 3]);
        let rates = Rate::ALL.map(|rate| tally.rate(rate));
        assert_eq!(rates, [1, 1, 1, 1, 1, 0, 0]);
        assert_eq!(tally.seen(), 10);
        let expected = (0.0 + 0.999 + 1.0 + 4.999 + 5.0 + 10.0 + 0.0 + 10.0) / 10.0;
        assert!((tally.scaled_sum() - expected).abs() < 1e-12);
        assert!(tally.scaled_squares() > 0.0 && tally.scaled_squares() < tally.scaled_sum());
    }

    #[test]
    fn scores_saturate_at_both_ends() {
        let bins = EdgeBins::new(vec![0.5], 0.1, 0.9, Scale::new(0.0, 1.0), true);
        let tally = counted(&Bins::Edges(bins), &[0.0, 1e-7, 0.5, 1.0, 0.999_999_9, 0.9999]);
        assert_eq!(tally.rate(Rate::Saturated), 4);
        assert_eq!(tally.bins(), [2, 4]);
    }

    #[test]
    fn few_values_have_a_bin_each() {
        let rest = Some(vec![-3.0, 7.0]);
        let bins = Bins::Values(ValueBins::new(vec![0.0, 1.0, 2.5], rest, Scale::new(0.0, 2.5)));
        assert_eq!((bins.count(), bins.other()), (4, Some(3)));
        let values = [0.0, -0.0, 1.0, 2.5, 2.4999, -3.0, 7.0, 9.0, f64::NAN, f64::NEG_INFINITY];
        let tally = counted(&bins, &values);
        assert_eq!(tally.bins(), [2, 1, 1, 4]);
        let [missing, invalid, .., unseen, _] = Rate::ALL.map(|rate| tally.rate(rate));
        assert_eq!((missing, invalid, unseen), (1, 1, 2), "2.4999 and 9 are new");
        let unknown = Bins::Values(ValueBins::new(vec![1.0], None, Scale::new(0.0, 1.0)));
        assert_eq!(counted(&unknown, &[9.0]).rate(Rate::Unseen), 0, "nobody knows");
    }

    #[test]
    fn texts_are_looked_up() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let bins = CategoryBins::new(texts(&["a", "b"]), Some(texts(&["rare"])));
        let bins = Bins::Categories(bins);
        let mut tally = Tally::new(bins.count());
        for text in ["a", "b", "a", "rare", "never", ""] {
            bins.count_text(text.as_bytes(), &mut tally);
        }
        assert_eq!(tally.bins(), [2, 1, 2]);
        assert_eq!((tally.rate(Rate::Unseen), tally.rate(Rate::Missing)), (1, 1));
        bins.count_number(1.0, &mut tally);
        assert_eq!((tally.rate(Rate::Invalid), tally.binned()), (1, 5));
        Bins::Edges(edges(vec![1.0])).count_text(b"a", &mut tally);
        assert_eq!(tally.rate(Rate::Invalid), 2);
    }

    /// An empty text that the reference names is a category like any other.
    #[test]
    fn an_empty_text_may_be_a_category() {
        let bins = Bins::Categories(CategoryBins::new(vec![String::new()], None));
        let mut tally = Tally::new(bins.count());
        bins.count_text(b"", &mut tally);
        assert_eq!((tally.bins(), tally.rate(Rate::Missing)), (&[1, 0][..], 0));
    }

    #[test]
    fn a_column_of_one_value_has_no_scale() {
        assert_eq!(Scale::new(3.0, 3.0).of(9.0), 0.0);
        assert_eq!(Scale::new(-1.0, 1.0).of(-5.0), 0.0);
        assert_eq!(Scale::new(-1.0, 1.0).of(0.0), 0.5);
    }

    fn increasing(mut edges: Vec<f64>) -> Vec<f64> {
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        edges
    }

    proptest! {
        /// Every number has one bin, greater numbers have no lesser bin, and
        /// a bin changes at its edge.
        #[test]
        fn bins_partition_the_line(
            raw in proptest::collection::vec(-100.0..100.0f64, 1..23),
            mut values in proptest::collection::vec(-200.0..200.0f64, 0..200),
        ) {
            let edges = increasing(raw);
            let bins = EdgeBins::new(edges.clone(), -100.0, 100.0, Scale::new(0.0, 1.0), false);
            values.sort_by(f64::total_cmp);
            prop_assert!(values.iter().map(|value| bins.place(*value)).is_sorted());
            for (at, edge) in edges.iter().enumerate() {
                prop_assert_eq!(bins.place(*edge), at + 1);
                prop_assert_eq!(bins.place(edge.next_down()), at);
            }
            let tally = counted(&Bins::Edges(bins), &values);
            prop_assert_eq!(tally.binned(), values.len() as u64);
        }
    }
}
