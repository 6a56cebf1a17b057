//! Scores of classes: which are the best, and whether both agree.

use smallvec::SmallVec;

use super::elements::Elements;
use crate::types::Shape;

pub(super) struct Classes {
    /// The best class is the same in every row.
    pub(super) same_best: bool,
    /// Mean share of the best classes that both have; none without rows or `k`.
    pub(super) overlap: Option<f64>,
}

/// Compares rows of scores, a class in each column of the last dimension. The
/// greatest score is the best; of equal scores the one of the lower index, as
/// `numpy.argsort(-scores, kind="stable")` has it; NaN is worse than any. A row
/// whose every score is NaN agrees only with another of that kind.
pub(super) fn compare(p: &Elements<'_>, s: &Elements<'_>, shape: &Shape, top_k: usize) -> Classes {
    let classes = shape.dims().last().and_then(|last| usize::try_from(*last).ok()).unwrap_or(1);
    let rows = shape.elements().checked_div(classes).unwrap_or(0);
    let k = top_k.min(classes);
    let mut same_best = true;
    let mut shared = 0;
    for row in 0..rows {
        let first = row * classes;
        let best_of = |scores: &Elements<'_>| best(scores, first, classes, k.max(1));
        let (best_p, best_s) = (best_of(p), best_of(s));
        let is_nan = |scores: &Elements<'_>, best: &[usize]| {
            best.first().is_some_and(|at| scores.number(first + at).is_nan())
        };
        same_best &= best_p.first() == best_s.first() && is_nan(p, &best_p) == is_nan(s, &best_s);
        shared += best_p.iter().take(k).filter(|class| best_s[..k].contains(class)).count();
    }
    let overlap = (rows > 0 && k > 0).then(|| shared as f64 / (rows * k) as f64);
    Classes { same_best, overlap }
}

/// The `k` best classes of a row, the best first.
fn best(scores: &Elements<'_>, first: usize, classes: usize, k: usize) -> SmallVec<[usize; 8]> {
    let mut best: SmallVec<[usize; 8]> = SmallVec::new();
    for class in 0..classes {
        let score = scores.number(first + class);
        // Behind all that are at least as good.
        let place = best.partition_point(|other| !is_better(score, scores.number(first + other)));
        if place < k {
            best.truncate(k - 1);
            best.insert(place, class);
        }
    }
    best
}

fn is_better(score: f64, than: f64) -> bool {
    score > than || (than.is_nan() && !score.is_nan())
}
