//! Rows of a version beside those of the champion over time. Pure: totals and a
//! time in, a comparison out. Both sides count from the same moment on, so that
//! a day of one is not compared with an hour of the other.

use std::sync::Arc;

use super::DriftOptions;
use super::labels;
use super::monitor::Clock;
use super::report::{Compared, ComparedIn, Comparison};
use super::watch::Role;
use crate::drift::alarm::AlarmRule;
use crate::drift::compare::{Beside, compare};
use crate::drift::profile::{Column, Profile};
use crate::drift::tally::Tally;
use crate::drift::windows::Ring;

#[derive(Debug)]
pub(super) struct Pair {
    rule: AlarmRule,
    windows: Vec<Arc<str>>,
    labels: Vec<Vec<Arc<str>>>,
    since: i64,
    clock: Clock,
    champion: Side,
    /// By role; made when the first of its rows comes.
    candidate: [Option<Side>; Role::ALL.len()],
}

/// The counts of one version, by column.
#[derive(Debug)]
struct Side {
    /// What was last looked at.
    total: Vec<Tally>,
    /// By column and window.
    rings: Vec<Vec<Ring>>,
}

impl Pair {
    /// `champion` is what was counted before: it is not compared.
    pub(super) fn new(
        profile: &Profile,
        champion: Vec<Tally>,
        now: i64,
        options: &DriftOptions,
    ) -> Pair {
        let labels = |column| labels::bins(column).iter().map(|bin| bin.label.clone()).collect();
        Pair {
            rule: profile.alarm,
            windows: options.windows.iter().map(|window| window.label().into()).collect(),
            labels: profile.columns().map(labels).collect(),
            since: now,
            clock: Clock::default(),
            champion: Side::new(profile, champion, options),
            candidate: Default::default(),
        }
    }

    /// Takes what was counted of the champion, by column of the profile that
    /// the pair was made for, and of the candidate by role. Gives a comparison
    /// for each role that rows came of. `now` is in microseconds since 1970.
    pub(super) fn step(
        &mut self,
        profile: &Profile,
        now: i64,
        champion: &[Tally],
        candidate: [Option<Vec<Tally>>; Role::ALL.len()],
        options: &DriftOptions,
    ) -> [Option<Comparison>; Role::ALL.len()] {
        let time = self.clock.at(now);
        self.champion.take(champion, time);
        for (side, total) in self.candidate.iter_mut().zip(candidate) {
            let Some(total) = total else { continue };
            let empty = || profile.columns().map(Column::tally).collect();
            side.get_or_insert_with(|| Side::new(profile, empty(), options)).take(&total, time);
        }
        Role::ALL.map(|role| {
            let side = self.candidate[role as usize].as_mut()?;
            let windows = 0..self.windows.len();
            let windows = windows
                .map(|window| (self.champion.window(window, time), side.window(window, time)));
            let windows: Vec<(Vec<Tally>, Vec<Tally>)> = windows.collect();
            Some(self.comparison(profile, now, windows))
        })
    }

    fn comparison(
        &self,
        profile: &Profile,
        now: i64,
        windows: Vec<(Vec<Tally>, Vec<Tally>)>,
    ) -> Comparison {
        let feature = |(at, column): (usize, &Column)| Compared {
            name: Arc::clone(&column.name),
            face: if at < profile.inputs.len() { "input" } else { "output" },
            kind: column.kind,
            state: Default::default(),
            min_rows: column.min_rows(self.rule.min_rows),
            bins: self.labels[at].clone(),
            windows: Vec::with_capacity(windows.len()),
        };
        let mut features: Vec<Compared> = profile.columns().enumerate().map(feature).collect();
        for (name, (champion, candidate)) in self.windows.iter().zip(windows) {
            let sides = champion.iter().zip(&candidate);
            let beside = |(column, (champion, candidate))| Beside { column, champion, candidate };
            let columns: Vec<Beside<'_>> = profile.columns().zip(sides).map(beside).collect();
            let judged = compare(&columns, &self.rule);
            for ((feature, beside), (state, score)) in features.iter_mut().zip(&columns).zip(judged)
            {
                feature.state = feature.state.max(state);
                feature.windows.push(ComparedIn {
                    window: Arc::clone(name),
                    state,
                    champion: beside.champion.bins().to_vec(),
                    counts: beside.candidate.bins().to_vec(),
                    score,
                });
            }
        }
        let state = features.iter().map(|feature| feature.state).max().unwrap_or_default();
        Comparison { at: now, since: self.since, state, features }
    }
}

impl Side {
    fn new(profile: &Profile, total: Vec<Tally>, options: &DriftOptions) -> Side {
        let rings = |column: &Column| {
            options.windows.iter().map(|window| Ring::new(*window, column.bins.count())).collect()
        };
        Side { total, rings: profile.columns().map(rings).collect() }
    }

    /// Takes what came since the last look.
    fn take(&mut self, total: &[Tally], time: i64) {
        for ((last, total), rings) in self.total.iter_mut().zip(total).zip(&mut self.rings) {
            let new = total.since(last);
            last.clone_from(total);
            if new.seen() > 0 {
                rings.iter_mut().for_each(|ring| _ = ring.add(time, &new));
            }
        }
    }

    fn window(&mut self, window: usize, time: i64) -> Vec<Tally> {
        self.rings.iter_mut().map(|rings| rings[window].total(time)).collect()
    }
}
