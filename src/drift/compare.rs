//! Live rows of two versions beside each other, in the same bins: whether a
//! candidate is asked, or answers, other things than the champion.

use super::alarm::{AlarmRule, Evaluated, State};
use super::profile::Column;
use super::score::Score;
use super::tally::Tally;

/// One column's counts, in the bins of the champion's profile.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    pub column: &'a Column,
    pub champion: &'a Tally,
    pub candidate: &'a Tally,
}

/// Compares columns as live rows are compared with a reference, the champion's
/// rows in its place. Both sides need as many rows as a window does.
pub fn compare(columns: &[Beside<'_>], rule: &AlarmRule) -> Vec<(State, Score)> {
    let score = |beside: &Beside<'_>| beside.column.score_beside(beside.champion, beside.candidate);
    let scores: Vec<Score> = columns.iter().map(score).collect();
    let evaluated: Vec<Evaluated<'_>> = columns
        .iter()
        .zip(&scores)
        .map(|(beside, score)| {
            let min_rows = beside.column.min_rows(rule.min_rows);
            // Too few rows of the champion are as many too few of the candidate.
            let is_sufficient = beside.champion.binned() >= min_rows;
            Evaluated { score, min_rows: if is_sufficient { min_rows } else { u64::MAX } }
        })
        .collect();
    rule.judge(&evaluated).into_iter().zip(scores).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::profile::Profile;

    fn column() -> Column {
        let profile = serde_json::json!({
            "schema": "modelgate.drift.profile/v1", "model": "m",
            "inputs": [{
                "name": "age", "tensor": "x", "index": [0], "kind": "numeric",
                "edges": [20, 40], "counts": [700, 700, 600], "min": 0, "max": 80,
                "p001": 0, "p999": 79, "mean": 32, "std": 16, "dispersion": 2.0,
            }],
        });
        let profile = Profile::parse(profile.to_string().as_bytes()).expect("a profile");
        profile.inputs.into_iter().next().expect("a column")
    }

    fn compared(champion: Vec<u64>, candidate: Vec<u64>) -> (State, Score) {
        let (champion, candidate) = (Tally::of(champion), Tally::of(candidate));
        let column = column();
        let beside = Beside { column: &column, champion: &champion, candidate: &candidate };
        compare(&[beside], &AlarmRule::default()).remove(0)
    }

    #[test]
    fn what_both_have_is_no_difference() {
        // Far from the profile, and yet alike.
        let (state, score) = compared(vec![10, 10, 980], vec![5, 5, 490]);
        assert_eq!((state, score.rows), (State::Ok, 500));
        assert!(score.psi_adjusted < 1e-3 && score.significance.p > 0.9, "{score:?}");
        assert_eq!(score.ks_statistic, Some(0.0));
    }

    #[test]
    fn what_only_the_candidate_has_is_one() {
        let (state, score) = compared(vec![350, 350, 300], vec![100, 100, 800]);
        assert_eq!(state, State::Drifted);
        // As a profile of the champion's counts would say.
        let mut profile = column();
        profile.reference = Tally::of(vec![350, 350, 300]);
        assert_eq!(score, profile.score(&Tally::of(vec![100, 100, 800])));
        assert_eq!(score.dispersion, 2.0);
    }

    #[test]
    fn both_sides_need_rows() {
        for (champion, candidate) in [
            (vec![350, 350, 300], vec![10, 10, 80]),
            (vec![10, 10, 80], vec![350, 350, 300]),
            (vec![0, 0, 0], vec![350, 350, 300]),
            (vec![350, 350, 300], vec![0, 0, 0]),
        ] {
            assert_eq!(compared(champion, candidate).0, State::Insufficient);
        }
    }
}
