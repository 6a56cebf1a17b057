//! The runs a loaded model makes before a request meets it: first runs of a
//! batch size take longer, because buffers are sized and weights come to cache.

use std::time::{Duration, Instant};

use super::measure::run;
use super::{Engine, generated};

/// Most time that warming takes, and runs of each batch size.
const LONGEST: Duration = Duration::from_secs(5);
const RUNS: usize = 20;

/// Share of [`LONGEST`] that one batch size may take.
const SIZES_WORTH: u32 = 8;

/// Runs made-up inputs of one row, and of every power of two up to `max_rows`
/// where `batches`; as many times as the time allows, at most twenty each.
/// Returns the runs made: none where the model runs on no made-up input.
pub fn warm(engine: &dyn Engine, batches: bool, max_rows: usize) -> usize {
    let deadline = Instant::now() + LONGEST;
    let signature = engine.signature();
    let variant = generated::variants(signature).into_iter().find(|variant| {
        generated::inputs(signature, 1, *variant, 1)
            .is_some_and(|inputs| run(engine, &inputs, deadline).is_ok())
    });
    let Some(variant) = variant else { return 0 };
    let most = if batches { max_rows.max(1) } else { 1 };
    let sizes = std::iter::successors(Some(1usize), |rows| rows.checked_mul(2));
    let mut runs = 1;
    for rows in sizes.take_while(|rows| *rows < most).chain([most]) {
        let Some(inputs) = generated::inputs(signature, rows, variant, 2) else { break };
        let until = deadline.min(Instant::now() + LONGEST / SIZES_WORTH);
        for _ in 0..RUNS {
            if Instant::now() >= until || run(engine, &inputs, deadline).is_err() {
                break;
            }
            runs += 1;
        }
    }
    runs
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::engine::FakeEngine;

    #[test]
    fn every_batch_size_is_run() {
        let engine = FakeEngine::new(3, Duration::ZERO);
        assert_eq!(warm(&engine, true, 48), 1 + 7 * RUNS, "1, 2, 4, 8, 16, 32, 48");
        assert_eq!(engine.widest.load(Ordering::Relaxed), 48);
        let engine = FakeEngine::new(3, Duration::ZERO);
        assert_eq!(warm(&engine, false, 48), 1 + RUNS);
    }
}
