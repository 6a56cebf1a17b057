//! The first pass: which bins fit the values.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use super::count::Count;
use super::running::Running;
use super::sample::{Sample, quantile};
use super::{BuildError, BuildOptions, ColumnSpec, Value, rounded};
use crate::drift::bins::{Bins, CategoryBins, EdgeBins, MAX_BINS, Scale, ValueBins};
use crate::drift::profile::{Kind, Summary};
use crate::drift::validate::{MAX_DICTIONARY, MAX_TEXT};

/// Looks at every value of a column once.
pub struct Survey {
    spec: ColumnSpec,
    options: BuildOptions,
    /// Missing and invalid ones too.
    rows: u64,
    numbers: Numbers,
    texts: Distinct<String>,
}

/// Values, and how often each came, up to a number of different ones.
struct Distinct<T> {
    counts: HashMap<T, u64>,
    most: usize,
    /// There were more.
    has_more: bool,
}

struct Numbers {
    sample: Sample,
    /// By their bits.
    distinct: Distinct<u64>,
    count: u64,
    min: f64,
    max: f64,
    mean: f64,
    /// Sum of the squared differences from the mean.
    squares: f64,
}

impl Survey {
    pub fn new(spec: ColumnSpec, options: BuildOptions) -> Survey {
        // Classes are told apart as texts are; of other numbers, few are of interest.
        let most = if spec.kind == Kind::Class { MAX_DICTIONARY } else { MAX_BINS };
        let numbers = Numbers {
            sample: Sample::new(options.most_values.max(1)),
            distinct: Distinct { counts: HashMap::new(), most, has_more: false },
            count: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            mean: 0.0,
            squares: 0.0,
        };
        let texts = Distinct { counts: HashMap::new(), most: options.most_texts, has_more: false };
        Survey { spec, options, rows: 0, numbers, texts }
    }

    pub fn see(&mut self, value: Value<'_>) {
        self.rows += 1;
        match value {
            Value::Missing | Value::Text("") => {}
            Value::Number(number) => {
                let number = rounded(&self.spec, number);
                if number.is_finite() {
                    self.numbers.see(number);
                }
            }
            // Too long for a profile: one of the others.
            Value::Text(text) if text.len() > MAX_TEXT => self.texts.has_more = true,
            Value::Text(text) => self.texts.see(text, str::to_owned),
        }
    }

    /// The bins, ready to be counted into.
    ///
    /// # Errors
    /// Where no bins fit.
    pub fn finish(mut self) -> Result<Count, BuildError> {
        let (bins, summary) = self.bins()?;
        Ok(Count::new(self.spec, self.options, bins, summary, self.rows))
    }

    /// The bins, ready for other rows than these to be counted into.
    ///
    /// # Errors
    /// As [`Survey::finish`].
    pub fn finish_for_others(mut self) -> Result<Running, BuildError> {
        let (bins, summary) = self.bins()?;
        Ok(Running::new(self.spec, bins, summary))
    }

    fn bins(&mut self) -> Result<(Bins, Option<Summary>), BuildError> {
        let is_of_texts = self.spec.kind == Kind::Categorical
            || self.spec.kind == Kind::Class && self.numbers.count == 0;
        if is_of_texts { Ok((self.categories()?, None)) } else { self.bins_of_numbers() }
    }

    fn bins_of_numbers(&mut self) -> Result<(Bins, Option<Summary>), BuildError> {
        let name = || self.spec.name.clone();
        let sample = std::mem::replace(&mut self.numbers.sample, Sample::new(1));
        let sorted = sample.sorted();
        if sorted.is_empty() {
            return Err(BuildError::Empty(name()));
        }
        let summary = self.numbers.summary(&sorted);
        let bins = match self.spec.kind {
            Kind::Score => self.edges(&sorted, summary)?,
            Kind::Numeric => match self.few_values(summary) {
                Some(values) => values,
                None => self.edges(&sorted, summary)?,
            },
            Kind::Values | Kind::Categorical | Kind::Class => self.values(summary)?,
        };
        Ok((bins, Some(summary)))
    }

    /// Quantiles of equal share. Those that are equal are one edge; one at the
    /// least value would have nothing below it.
    fn edges(&self, sorted: &[f64], summary: Summary) -> Result<Bins, BuildError> {
        let bins = self.options.bins.clamp(2, MAX_BINS);
        let mut edges: Vec<f64> =
            (1..bins).map(|at| quantile(sorted, at as f64 / bins as f64)).collect();
        edges.dedup();
        edges.retain(|edge| *edge > summary.min);
        if edges.is_empty() {
            // Nearly all are the least value: the bin above it holds the others.
            let above = sorted.iter().copied().find(|value| *value > summary.min);
            edges.push(above.ok_or_else(|| BuildError::Constant(self.spec.name.clone()))?);
        }
        let scale = Scale::new(summary.p001, summary.p999);
        let is_score = self.spec.kind == Kind::Score;
        Ok(Bins::Edges(EdgeBins::new(edges, summary.min, summary.max, scale, is_score)))
    }

    /// A bin for each value, where there are few.
    fn few_values(&self, summary: Summary) -> Option<Bins> {
        let distinct = &self.numbers.distinct;
        let is_few = !distinct.has_more && distinct.counts.len() < MAX_BINS;
        if is_few { self.values(summary).ok() } else { None }
    }

    fn values(&self, summary: Summary) -> Result<Bins, BuildError> {
        let distinct = &self.numbers.distinct;
        if distinct.has_more && self.spec.kind != Kind::Class {
            let (most, found) = (MAX_BINS - 1, distinct.counts.len() + 1);
            return Err(BuildError::NotFew(self.spec.name.clone(), most, found));
        }
        let (own, rest) = distinct.divided(self.least(self.numbers.count));
        let ascending = |bits: Vec<u64>| {
            let mut values: Vec<f64> = bits.into_iter().map(f64::from_bits).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        if own.is_empty() {
            return Err(BuildError::Scattered(self.spec.name.clone()));
        }
        let scale = Scale::new(summary.p001, summary.p999);
        Ok(Bins::Values(ValueBins::new(ascending(own), rest.map(ascending), scale)))
    }

    fn categories(&self) -> Result<Bins, BuildError> {
        let count = self.texts.counts.values().sum();
        if count == 0 {
            return Err(BuildError::Empty(self.spec.name.clone()));
        }
        let (own, rest) = self.texts.divided(self.least(count));
        if own.is_empty() {
            return Err(BuildError::Scattered(self.spec.name.clone()));
        }
        let rest = rest.map(|mut rest| {
            rest.sort();
            rest
        });
        Ok(Bins::Categories(CategoryBins::new(own, rest)))
    }

    /// Rows of a bin, at least.
    fn least(&self, count: u64) -> u64 {
        let share = (count as f64 * self.options.least_share).ceil() as u64;
        self.options.least_rows.max(share).max(1)
    }
}

impl<T: Hash + Eq + Ord + Clone> Distinct<T> {
    fn see<Q>(&mut self, value: &Q, own: impl Fn(&Q) -> T)
    where
        T: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(count) = self.counts.get_mut(value) {
            *count += 1;
        } else if self.counts.len() < self.most {
            self.counts.insert(own(value), 1);
        } else {
            self.has_more = true;
        }
    }

    /// The most frequent, most of all first, which have a bin; and all others,
    /// where they are all known and not too many to be listed.
    fn divided(&self, least: u64) -> (Vec<T>, Option<Vec<T>>) {
        let mut all: Vec<(&T, u64)> =
            self.counts.iter().map(|(value, count)| (value, *count)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let named = all.iter().take(MAX_BINS - 1).take_while(|(_, count)| *count >= least).count();
        let values = |part: &[(&T, u64)]| part.iter().map(|(value, _)| (*value).clone()).collect();
        let rest = &all[named..];
        let is_listed = !self.has_more && rest.len() <= MAX_DICTIONARY;
        (values(&all[..named]), is_listed.then(|| values(rest)))
    }
}

impl Numbers {
    fn see(&mut self, value: f64) {
        self.sample.add(value);
        self.distinct.see(&value.to_bits(), |bits| *bits);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        // Welford's update.
        self.count += 1;
        let difference = value - self.mean;
        self.mean += difference / self.count as f64;
        self.squares += difference * (value - self.mean);
    }

    fn summary(&self, sorted: &[f64]) -> Summary {
        Summary {
            min: self.min,
            max: self.max,
            p001: quantile(sorted, 0.001),
            p999: quantile(sorted, 0.999),
            mean: self.mean,
            std: (self.squares / self.count as f64).sqrt(),
        }
    }
}
