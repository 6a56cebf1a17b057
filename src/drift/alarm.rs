//! When a column's drift is an alarm: it is both large and no chance, among
//! all columns that were looked at, and lasts.

use serde::{Deserialize, Serialize};

use super::score::Score;
use super::significance::false_discoveries;

/// What raises an alarm and what ends it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlarmRule {
    /// Adjusted stability index above which a column has drifted.
    pub psi: f64,
    /// And above which it is to be watched.
    pub warning_psi: f64,
    /// Probability below which a difference is no chance.
    pub p: f64,
    /// Share of false ones among the differences found in one evaluation.
    pub false_discovery_rate: f64,
    /// Live rows below which nothing is said ([`super::Column::min_rows`]).
    pub min_rows: u64,
    /// Microseconds for which drift has to be seen before it is an alarm.
    pub hold_us: i64,
    /// Microseconds for which not even a warning is seen before it ends.
    pub keep_us: i64,
}

const MINUTE: i64 = 60_000_000;

impl Default for AlarmRule {
    fn default() -> AlarmRule {
        AlarmRule {
            psi: 0.1,
            warning_psi: 0.05,
            p: 1e-4,
            false_discovery_rate: 0.01,
            min_rows: 300,
            hold_us: 10 * MINUTE,
            keep_us: 30 * MINUTE,
        }
    }
}

/// From what nobody can tell to what is worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Too few rows.
    #[default]
    Insufficient,
    Ok,
    Warning,
    Drifted,
}

impl State {
    pub const ALL: [State; 4] = [State::Insufficient, State::Ok, State::Warning, State::Drifted];

    /// As it is written, and the `state` label of metrics.
    pub fn label(self) -> &'static str {
        match self {
            State::Insufficient => "insufficient",
            State::Ok => "ok",
            State::Warning => "warning",
            State::Drifted => "drifted",
        }
    }
}

/// One column's part of an evaluation.
#[derive(Clone, Debug)]
pub struct Evaluated<'a> {
    pub score: &'a Score,
    /// Of the column.
    pub min_rows: u64,
}

impl AlarmRule {
    /// What one look at all columns of a version says of each, in their order.
    pub fn judge(&self, columns: &[Evaluated<'_>]) -> Vec<State> {
        let sufficient = |column: &Evaluated<'_>| column.score.rows >= column.min_rows;
        let p: Vec<f64> = columns
            .iter()
            .filter(|column| sufficient(column))
            .map(|column| column.score.significance.p)
            .collect();
        let mut found = false_discoveries(&p, self.false_discovery_rate).into_iter();
        let state = |column: &Evaluated<'_>| {
            if !sufficient(column) {
                return State::Insufficient;
            }
            let is_found = found.next().unwrap_or(false) && column.score.significance.p < self.p;
            match column.score.psi_adjusted {
                psi if is_found && psi > self.psi => State::Drifted,
                psi if is_found && psi > self.warning_psi => State::Warning,
                _ => State::Ok,
            }
        };
        columns.iter().map(state).collect()
    }
}

/// The alarm of one column and one window over time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Alarm {
    state: State,
    /// When drift was first seen without a break; before the alarm.
    since: Option<i64>,
    /// When at least a warning was last seen; during the alarm.
    last: i64,
}

impl Alarm {
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes what was just seen, and gives the state from then on. `now` is in
    /// microseconds since 1970.
    ///
    /// Drift that has not lasted yet is a warning. An alarm stays through
    /// warnings, so that it does not flap about its threshold, and through
    /// times of too few rows for as long as through times of none.
    pub fn step(&mut self, seen: State, now: i64, rule: &AlarmRule) -> State {
        if self.state == State::Drifted {
            if seen >= State::Warning {
                self.last = now;
            }
            if now.saturating_sub(self.last) < rule.keep_us {
                return self.state;
            }
        }
        self.since = (seen == State::Drifted).then(|| self.since.unwrap_or(now));
        self.state = match self.since {
            Some(since) if now.saturating_sub(since) >= rule.hold_us => {
                (self.since, self.last) = (None, now);
                State::Drifted
            }
            Some(_) => State::Warning,
            None => seen,
        };
        self.state
    }
}

/// The state of a column of which several windows tell: the worst that any of
/// them says. A window of too few rows leaves it to the others.
pub fn overall(windows: impl IntoIterator<Item = State>) -> State {
    windows.into_iter().max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use State::{Drifted, Insufficient, Ok, Warning};

    use super::*;
    use crate::drift::significance::Significance;

    fn score(rows: u64, psi_adjusted: f64, p: f64) -> Score {
        let significance = Significance { chi2: 0.0, df: 9, p, z: 0.0 };
        Score { rows, psi_adjusted, significance, ..Score::default() }
    }

    fn judged(scores: &[Score]) -> Vec<State> {
        let columns: Vec<_> =
            scores.iter().map(|score| Evaluated { score, min_rows: 300 }).collect();
        AlarmRule::default().judge(&columns)
    }

    #[test]
    fn drift_is_large_and_no_chance() {
        let scores = [
            score(300, 0.11, 9e-5),
            score(299, 9.0, 0.0),
            score(300, 0.10, 9e-5),
            score(300, 0.06, 9e-5),
            score(300, 0.05, 9e-5),
            score(300, 9.0, 1.1e-4),
            score(300, 0.01, 0.0),
        ];
        assert_eq!(judged(&scores), [Drifted, Insufficient, Warning, Warning, Ok, Ok, Ok]);
        assert!(judged(&[]).is_empty());
    }

    /// One among a thousand is no discovery at a p that is one alone.
    #[test]
    fn many_columns_ask_for_more() {
        let mut scores = vec![score(300, 0.2, 9e-5)];
        assert_eq!(judged(&scores)[0], Drifted);
        scores.resize(1000, score(300, 0.0, 0.5));
        assert_eq!(judged(&scores)[0], Ok);
        // Columns without rows are no hypotheses.
        let few = vec![score(0, 0.0, 1.0); 999];
        assert_eq!(judged(&[&scores[..1], &few[..]].concat())[0], Drifted);
    }

    /// Minutes of what is seen, and the state that each leads to.
    fn walk(steps: &[(i64, State, State)]) {
        let (mut alarm, rule) = (Alarm::default(), AlarmRule::default());
        for (minute, seen, expected) in steps {
            let state = alarm.step(*seen, minute * MINUTE, &rule);
            assert_eq!(state, *expected, "minute {minute}");
            assert_eq!(alarm.state(), state);
        }
    }

    #[test]
    fn drift_has_to_last() {
        walk(&[
            (0, Insufficient, Insufficient),
            (1, Drifted, Warning),
            (10, Drifted, Warning),
            (11, Drifted, Drifted),
        ]);
        walk(&[(0, Drifted, Warning), (5, Warning, Warning), (11, Drifted, Warning), (12, Ok, Ok)]);
    }

    #[test]
    fn an_alarm_does_not_flap() {
        walk(&[
            (0, Drifted, Warning),
            (10, Drifted, Drifted),
            (60, Warning, Drifted),
            (70, Ok, Drifted),
            (80, Insufficient, Drifted),
            (89, Warning, Drifted),
            (118, Ok, Drifted),
            (119, Ok, Ok),
            (120, Drifted, Warning),
        ]);
        walk(&[(0, Drifted, Warning), (10, Drifted, Drifted), (40, Insufficient, Insufficient)]);
    }

    #[test]
    fn the_worst_window_decides() {
        assert_eq!(overall([Insufficient, Ok]), Ok);
        assert_eq!(overall([Ok, Drifted]), Drifted);
        assert_eq!(overall([Insufficient, Insufficient]), Insufficient);
        assert_eq!(overall([]), Insufficient);
    }
}
