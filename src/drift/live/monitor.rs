//! What was counted of one version over time: windows, scores, evidence and
//! alarms. Pure: totals and a time in, a report out.

use std::sync::Arc;

use super::DriftOptions;
use super::labels;
use super::report::{Bin, Feature, InWindow, Report};
use super::room::{MAX_WATCHED, by_importance};
use crate::drift::alarm::{Alarm, AlarmRule, Evaluated, State, overall};
use crate::drift::profile::{Column, Profile};
use crate::drift::score::Score;
use crate::drift::sequential::{Detector, DetectorOptions};
use crate::drift::tally::Tally;
use crate::drift::windows::Ring;

/// Of one version under one role.
#[derive(Debug)]
pub struct Monitor {
    rule: AlarmRule,
    /// Names of the windows.
    windows: Vec<Arc<str>>,
    /// In the profile's order.
    columns: Vec<Watched>,
    left_out: usize,
    clock: Clock,
}

/// One column.
#[derive(Debug)]
struct Watched {
    /// Among those of the profile.
    place: usize,
    min_rows: u64,
    bins: Arc<[Bin]>,
    /// The counts that were last looked at.
    total: Tally,
    evidence: Evidence,
    /// By window.
    rings: Vec<Ring>,
    alarms: Vec<Alarm>,
}

/// What one column has in one window.
struct Seen {
    tally: Tally,
    score: Score,
}

impl Monitor {
    pub fn new(profile: &Profile, options: &DriftOptions) -> Monitor {
        let rule =
            AlarmRule { hold_us: options.hold_us, keep_us: options.keep_us, ..profile.alarm };
        let all: Vec<&Column> = profile.columns().collect();
        let order = by_importance(profile.inputs.len(), profile.outputs.len());
        let mut places: Vec<usize> = order.take(MAX_WATCHED).collect();
        places.sort_unstable();
        let watched = |place: usize| Watched::new(place, all[place], &rule, options);
        Monitor {
            rule,
            windows: options.windows.iter().map(|window| window.label().into()).collect(),
            left_out: all.len() - places.len(),
            columns: places.into_iter().map(watched).collect(),
            clock: Clock::default(),
        }
    }

    /// `total` is what was counted since the start, by column of the profile
    /// that the monitor was made for. `now` is in microseconds since 1970; it
    /// may be set back.
    pub fn step(&mut self, profile: &Profile, now: i64, total: &[Tally]) -> Report {
        let time = self.clock.at(now);
        let all: Vec<&Column> = profile.columns().collect();
        for watched in &mut self.columns {
            watched.take(&total[watched.place], time);
        }
        let seen: Vec<Vec<Seen>> = (0..self.windows.len())
            .map(|window| {
                let mut see = |watched: &mut Watched| watched.see(all[watched.place], window, time);
                self.columns.iter_mut().map(&mut see).collect()
            })
            .collect();
        for (window, seen) in seen.iter().enumerate() {
            self.judge(window, seen, time);
        }
        let mut features: Vec<Feature> = self
            .columns
            .iter_mut()
            .map(|watched| {
                let is_input = watched.place < profile.inputs.len();
                watched.feature(all[watched.place], is_input, time, &self.rule)
            })
            .collect();
        for (window, seen) in seen.into_iter().enumerate() {
            for ((feature, watched), seen) in features.iter_mut().zip(&self.columns).zip(seen) {
                feature.windows.push(InWindow {
                    window: Arc::clone(&self.windows[window]),
                    state: watched.alarms[window].state(),
                    counts: seen.tally.bins().to_vec(),
                    score: seen.score,
                });
            }
        }
        let state = features.iter().map(|feature| feature.state).max().unwrap_or_default();
        Report { at: now, state, features, left_out: self.left_out }
    }

    /// Judges all columns of a window together, and tells their alarms.
    fn judge(&mut self, window: usize, seen: &[Seen], time: i64) {
        let evaluated: Vec<Evaluated<'_>> = seen
            .iter()
            .zip(&self.columns)
            .map(|(seen, watched)| Evaluated { score: &seen.score, min_rows: watched.min_rows })
            .collect();
        let states = self.rule.judge(&evaluated);
        for (watched, state) in self.columns.iter_mut().zip(states) {
            watched.alarms[window].step(state, time, &self.rule);
        }
    }
}

impl Watched {
    fn new(place: usize, column: &Column, rule: &AlarmRule, options: &DriftOptions) -> Watched {
        let ring = |window: &_| Ring::new(*window, column.bins.count());
        Watched {
            place,
            min_rows: column.min_rows(rule.min_rows),
            bins: labels::bins(column),
            total: column.tally(),
            evidence: Evidence::new(column.reference.bins()),
            rings: options.windows.iter().map(ring).collect(),
            alarms: vec![Alarm::default(); options.windows.len()],
        }
    }

    /// Takes what came since the last look.
    fn take(&mut self, total: &Tally, time: i64) {
        let new = total.since(&self.total);
        self.total.clone_from(total);
        if new.seen() > 0 {
            self.rings.iter_mut().for_each(|ring| _ = ring.add(time, &new));
            self.evidence.take(new.bins());
        }
    }

    fn see(&mut self, column: &Column, window: usize, time: i64) -> Seen {
        let tally = self.rings[window].total(time);
        Seen { score: column.score(&tally), tally }
    }

    /// Without its windows.
    fn feature(&mut self, column: &Column, is_input: bool, time: i64, rule: &AlarmRule) -> Feature {
        let shortest = self.alarms.first().map(Alarm::state).unwrap_or_default();
        self.evidence.forget(shortest, time, column.reference.bins(), rule);
        Feature {
            name: Arc::clone(&column.name),
            face: if is_input { "input" } else { "output" },
            kind: column.kind,
            state: overall(self.alarms.iter().map(Alarm::state)),
            min_rows: self.min_rows,
            evidence_log10: self.evidence.log10(),
            bins: Arc::clone(&self.bins),
            windows: Vec::with_capacity(self.alarms.len()),
        }
    }
}

/// The sequential detector of one column, fed by what each look finds.
#[derive(Debug)]
struct Evidence {
    detector: Detector,
    options: DetectorOptions,
    /// What came since the last block.
    block: Vec<u64>,
    /// When the threshold was first seen to be reached.
    reached: Option<i64>,
}

impl Evidence {
    fn new(reference: &[u64]) -> Evidence {
        let options = DetectorOptions::default();
        Evidence {
            detector: Detector::new(reference, options),
            options,
            block: vec![0; reference.len()],
            reached: None,
        }
    }

    /// Blocks end with the first look that finds enough: how large they are is
    /// up to the clock, and not to their values.
    fn take(&mut self, bins: &[u64]) {
        self.block.iter_mut().zip(bins).for_each(|(block, new)| *block += new);
        if self.block.iter().sum::<u64>() >= self.options.block {
            self.detector.observe(&self.block);
            self.block.fill(0);
        }
    }

    /// Begins anew once it has been said for long enough what there was to say,
    /// and the shortest window finds nothing any more. It would not fall by
    /// itself: what came during the drift is a part of what it expects since.
    fn forget(&mut self, shortest: State, time: i64, reference: &[u64], rule: &AlarmRule) {
        if !self.detector.is_alarmed() {
            self.reached = None;
            return;
        }
        let reached = *self.reached.get_or_insert(time);
        if shortest == State::Ok && time - reached >= rule.keep_us {
            self.detector.reset(reference);
            self.reached = None;
        }
    }

    fn log10(&self) -> Option<f64> {
        let evidence = self.detector.evidence_log10();
        evidence.is_finite().then_some(evidence)
    }
}

/// A time that never goes back: by as much as the clock of the machine is set
/// back it stays behind from then on. Windows of a clock that was ahead would
/// stand still otherwise.
#[derive(Debug, Default)]
pub(super) struct Clock {
    last: Option<i64>,
    time: i64,
}

impl Clock {
    pub(super) fn at(&mut self, now: i64) -> i64 {
        let passed = self.last.map_or(now, |last| now.saturating_sub(last).max(0));
        self.last = Some(now);
        self.time = self.time.saturating_add(passed);
        self.time
    }
}
