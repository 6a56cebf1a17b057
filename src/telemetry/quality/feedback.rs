//! What became of the labels of one model.

/// What became of a label; the `outcome` label of `modelgate_feedback_total`.
/// A label that waits is counted when it comes and again when its wait ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedbackOutcome {
    /// It met its prediction.
    Joined,
    /// It took the place of an earlier one.
    Corrected,
    /// It says what is known already, or is older than what is known.
    Duplicate,
    /// Its prediction is not known: it waits for it.
    Pending,
    /// The prediction is older than what is remembered.
    Late,
    /// There is no such prediction or row, or none came while it waited.
    Unknown,
    /// It is of another kind than what was predicted.
    Mismatched,
}

impl FeedbackOutcome {
    pub const ALL: [FeedbackOutcome; 7] = [
        FeedbackOutcome::Joined,
        FeedbackOutcome::Corrected,
        FeedbackOutcome::Duplicate,
        FeedbackOutcome::Pending,
        FeedbackOutcome::Late,
        FeedbackOutcome::Unknown,
        FeedbackOutcome::Mismatched,
    ];

    pub fn label(self) -> &'static str {
        match self {
            FeedbackOutcome::Joined => "joined",
            FeedbackOutcome::Corrected => "corrected",
            FeedbackOutcome::Duplicate => "duplicate",
            FeedbackOutcome::Pending => "pending",
            FeedbackOutcome::Late => "late",
            FeedbackOutcome::Unknown => "unknown",
            FeedbackOutcome::Mismatched => "mismatched",
        }
    }
}

/// Upper bounds of the buckets of delays, in seconds, with their `le` labels.
pub(super) const DELAY_BOUNDS: [(f64, &str); 11] = [
    (1.0, "1"),
    (10.0, "10"),
    (60.0, "60"),
    (300.0, "300"),
    (900.0, "900"),
    (3_600.0, "3600"),
    (10_800.0, "10800"),
    (21_600.0, "21600"),
    (43_200.0, "43200"),
    (86_400.0, "86400"),
    (604_800.0, "604800"),
];

/// What labels of one model did.
#[derive(Clone, Debug, Default)]
pub struct FeedbackCounts {
    pub(super) outcomes: [u64; FeedbackOutcome::ALL.len()],
    pub(super) delays: [u64; DELAY_BOUNDS.len() + 1],
    pub(super) delay_sum: f64,
}

impl FeedbackCounts {
    pub fn ended(&mut self, outcome: FeedbackOutcome) {
        self.outcomes[outcome as usize] += 1;
    }

    pub fn of(&self, outcome: FeedbackOutcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Counts the seconds from a prediction to its label.
    pub fn delayed(&mut self, seconds: f64) {
        let bucket = DELAY_BOUNDS.partition_point(|(bound, _)| *bound < seconds);
        self.delays[bucket] += 1;
        self.delay_sum += seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_fall_in_the_bucket_that_their_bound_closes() {
        let mut counts = FeedbackCounts::default();
        [0.0, 1.0, 1.5, 1e9].into_iter().for_each(|seconds| counts.delayed(seconds));
        assert_eq!((counts.delays[0], counts.delays[1], counts.delays[11]), (2, 1, 1));
        for (bound, label) in DELAY_BOUNDS {
            assert_eq!(label.parse::<f64>().expect("a number"), bound);
        }
    }
}
