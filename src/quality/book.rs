//! What is known of one version's quality: sums since its start and of
//! sliding windows. Under a time that is handed in.

use std::sync::{Arc, Weak};

use super::Served;
use super::classification::Classification;
use super::extract::{Meaning, Predicted};
use super::judge::{Classes, Counted, Misfit, judge};
use super::moments::Moments;
use super::regression::Regression;
use super::reward::Rewards;
use super::window::{Merge, Ring, WINDOWS, Window};
use crate::predictions::Truth;
use crate::telemetry::{QualityKey, QualitySeries};

/// Sums over labelled rows, whatever they are labelled with. Mergeable.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub classes: Option<Box<Classification>>,
    pub errors: Option<Box<Regression>>,
    pub rewards: Option<Box<Rewards>>,
    /// Seconds from prediction to label, of rows.
    pub delays: Moments,
}

/// Rows by when they were predicted. Mergeable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cohort {
    pub predicted: u64,
    pub labelled: u64,
}

impl Tally {
    /// Enters a row; with a `sign` of -1 takes it out again.
    pub fn add(&mut self, row: &Counted, weight: f64, sign: f64) {
        match row {
            Counted::Class(judged) => {
                self.classes.get_or_insert_default().add(judged, weight, sign);
            }
            Counted::Error(error) => {
                self.errors.get_or_insert_default().add(*error, weight, sign);
            }
            Counted::Reward(reward) => {
                self.rewards.get_or_insert_default().add(*reward, weight, sign);
            }
        }
    }
}

impl Merge for Tally {
    fn merge(&mut self, other: &Tally) {
        merge_some(&mut self.classes, &other.classes);
        merge_some(&mut self.errors, &other.errors);
        merge_some(&mut self.rewards, &other.rewards);
        self.delays.merge(&other.delays);
    }
}

fn merge_some<T: Merge + Default>(ours: &mut Option<Box<T>>, theirs: &Option<Box<T>>) {
    if let Some(theirs) = theirs {
        ours.get_or_insert_default().merge(theirs);
    }
}

impl Merge for Cohort {
    fn merge(&mut self, other: &Cohort) {
        self.predicted += other.predicted;
        self.labelled += other.labelled;
    }
}

/// One window's sums.
struct Sliding {
    window: Window,
    /// By when the label came.
    tallies: Ring<Tally>,
    /// By when the prediction was made.
    cohorts: Ring<Cohort>,
}

/// One version under one variant and role.
pub struct Book {
    pub series: Arc<QualitySeries>,
    pub meaning: Meaning,
    pub classes: Classes,
    /// Since the book was opened; never taken out of.
    pub total: Tally,
    pub rows: Cohort,
    pub corrections: u64,
    sliding: Vec<Sliding>,
    served: Weak<dyn Served>,
    /// When it last predicted.
    pub last: i64,
    /// Whether labels came since it was last published.
    pub is_dirty: bool,
}

/// A label that was counted, so that it can be taken out again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entered {
    pub counted: Counted,
    pub weight: f64,
    /// When it came.
    pub at: i64,
}

impl Book {
    pub fn open(key: QualityKey, meaning: Meaning, served: &Arc<dyn Served>) -> Book {
        let sliding = WINDOWS.map(|window| Sliding {
            window,
            tallies: Ring::new(window),
            cohorts: Ring::new(window),
        });
        Book {
            series: Arc::new(QualitySeries::new(key)),
            classes: Classes::new(&meaning),
            meaning,
            total: Tally::default(),
            rows: Cohort::default(),
            corrections: 0,
            sliding: sliding.into(),
            served: Arc::downgrade(served),
            last: i64::MIN,
            is_dirty: true,
        }
    }

    /// Counts rows that were predicted.
    pub fn predicted(&mut self, rows: u64, at: i64) {
        self.rows.predicted += rows;
        self.last = self.last.max(at);
        for sliding in &mut self.sliding {
            if let Some(cohort) = sliding.cohorts.at(at) {
                cohort.predicted += rows;
            }
        }
    }

    /// Enters a label that came at `now` for a row that was predicted at
    /// `made`, in place of `earlier`. Windows lose what it replaces; what
    /// counts since the start keeps both.
    ///
    /// # Errors
    /// Where the truth is of another kind than the prediction. Then nothing has changed.
    pub fn enter(
        &mut self,
        predicted: &Predicted,
        (truth, weight): (&Truth, f64),
        (made, now): (i64, i64),
        earlier: Option<&Entered>,
    ) -> Result<Entered, Misfit> {
        let counted = judge(&self.meaning, &mut self.classes, predicted, truth)?;
        self.is_dirty = true;
        self.total.add(&counted, weight, 1.0);
        if earlier.is_some() {
            self.corrections += 1;
        }
        let delay = now.saturating_sub(made).max(0) as f64 / 1e6;
        for sliding in &mut self.sliding {
            if let Some(earlier) = earlier
                && let Some(tally) = sliding.tallies.at(earlier.at)
            {
                tally.add(&earlier.counted, earlier.weight, -1.0);
            }
            if let Some(tally) = sliding.tallies.at(now) {
                tally.add(&counted, weight, 1.0);
                if earlier.is_none() {
                    tally.delays.add(delay, 1.0, 1.0);
                }
            }
        }
        Ok(Entered { counted, weight, at: now })
    }

    /// Counts that a row has its first label.
    pub fn labelled(&mut self, made: i64) {
        self.rows.labelled += 1;
        for sliding in &mut self.sliding {
            if let Some(cohort) = sliding.cohorts.at(made) {
                cohort.labelled += 1;
            }
        }
    }

    /// What each window holds at a moment.
    pub fn windows(&mut self, now: i64) -> impl Iterator<Item = (Window, Tally, Cohort)> {
        self.sliding
            .iter_mut()
            .map(move |of| (of.window, of.tallies.total(now), of.cohorts.total(now)))
    }

    /// Whether the version is no longer served.
    pub fn is_gone(&self) -> bool {
        self.served.strong_count() == 0
    }

    /// The version is served from another place: it was loaded anew.
    pub fn serve_from(&mut self, served: &Arc<dyn Served>) {
        if self.is_gone() {
            self.served = Arc::downgrade(served);
        }
    }
}
