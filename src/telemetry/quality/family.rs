//! The families of one version's series: their names, and what they mean.

use crate::telemetry::exposition::Kind;

/// Families of one version's series. Those that count only grow, so that
/// Prometheus adds up several gateways; the others are this gateway's own view
/// of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QualityFamily {
    Predictions,
    Labelled,
    Corrections,
    Outcomes,
    Correct,
    Scores,
    ScoresBelow,
    LogLoss,
    Brier,
    CalibrationRows,
    CalibrationClaimed,
    CalibrationPositives,
    AbsError,
    SquaredError,
    OverError,
    RewardWeight,
    RewardGained,
    RewardLost,
    Gauge(QualityGauge, Bound),
}

/// Figures of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QualityGauge {
    Rows,
    Coverage,
    LabelDelay,
    Accuracy,
    Precision,
    Recall,
    F1,
    LogLoss,
    Auc,
    AucError,
    Brier,
    CalibrationError,
    Mae,
    Rmse,
    Bias,
    Reward,
}

/// The figure itself, or an end of its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    Value,
    Lower,
    Upper,
}

impl QualityFamily {
    pub fn name(self) -> &'static str {
        self.described().0
    }

    /// Name, kind and help.
    pub(super) fn described(self) -> (&'static str, Kind, &'static str) {
        use QualityFamily as F;
        match self {
            F::Predictions => (
                "modelgate_quality_predictions_total",
                Kind::Counter,
                "Rows of predictions that may be labelled.",
            ),
            F::Labelled => (
                "modelgate_quality_labelled_total",
                Kind::Counter,
                "Rows of predictions that a label was joined with.",
            ),
            F::Corrections => (
                "modelgate_quality_corrections_total",
                Kind::Counter,
                "Labels that took the place of earlier ones; counters keep both.",
            ),
            F::Outcomes => (
                "modelgate_quality_outcomes_total",
                Kind::Counter,
                "Weight of labelled rows by predicted and actual class.",
            ),
            F::Correct => (
                "modelgate_quality_correct_total",
                Kind::Counter,
                "Weight of labelled rows whose class was predicted.",
            ),
            F::Scores => (
                "modelgate_quality_scores_total",
                Kind::Counter,
                "Weight of labelled rows by bin of the positive class's score.",
            ),
            F::ScoresBelow => (
                "modelgate_quality_scores_below_total",
                Kind::Counter,
                "Weight of labelled rows in the bins below.",
            ),
            F::CalibrationRows => (
                "modelgate_quality_calibration_rows_total",
                Kind::Counter,
                "Weight of labelled rows by bin of what was claimed.",
            ),
            F::CalibrationClaimed => (
                "modelgate_quality_calibration_claimed_total",
                Kind::Counter,
                "Weighted probability that was claimed, by its bin.",
            ),
            F::CalibrationPositives => (
                "modelgate_quality_calibration_positives_total",
                Kind::Counter,
                "Weight of the rows for which the claim came true, by its bin.",
            ),
            F::LogLoss => ("modelgate_quality_logloss", Kind::Summary, "Weighted log loss."),
            F::Brier => ("modelgate_quality_brier", Kind::Summary, "Weighted Brier score."),
            F::AbsError => {
                ("modelgate_quality_abs_error", Kind::Summary, "Weighted absolute error.")
            }
            F::SquaredError => {
                ("modelgate_quality_squared_error", Kind::Summary, "Weighted squared error.")
            }
            F::OverError => (
                "modelgate_quality_over_error",
                Kind::Summary,
                "Weighted error of the predictions above the truth.",
            ),
            F::RewardWeight => (
                "modelgate_quality_reward_weight_total",
                Kind::Counter,
                "Weight of the rows with a reward.",
            ),
            F::RewardGained => (
                "modelgate_quality_reward_gained_total",
                Kind::Counter,
                "Weighted rewards above 0.",
            ),
            F::RewardLost => (
                "modelgate_quality_reward_lost_total",
                Kind::Counter,
                "Weighted rewards below 0, without their sign.",
            ),
            F::Gauge(gauge, bound) => {
                let (names, help) = gauge.described();
                (names[bound as usize], Kind::Gauge, help)
            }
        }
    }
}

/// A family of gauges and those of its interval.
macro_rules! names {
    ($name:literal) => {
        [
            concat!("modelgate_quality_", $name),
            concat!("modelgate_quality_", $name, "_lower"),
            concat!("modelgate_quality_", $name, "_upper"),
        ]
    };
}

impl QualityGauge {
    fn described(self) -> ([&'static str; 3], &'static str) {
        match self {
            QualityGauge::Rows => (names!("rows"), "Labelled rows of the window."),
            QualityGauge::Coverage => {
                (names!("coverage"), "Share of the window's predicted rows that are labelled.")
            }
            QualityGauge::LabelDelay => {
                (names!("label_delay_seconds"), "Mean time from prediction to label.")
            }
            QualityGauge::Accuracy => {
                (names!("accuracy"), "Share of the labelled rows that were predicted right.")
            }
            QualityGauge::Precision => {
                (names!("precision"), "Share of the predicted that came true.")
            }
            QualityGauge::Recall => {
                (names!("recall"), "Share of what came true that was predicted.")
            }
            QualityGauge::F1 => (names!("f1"), "Harmonic mean of precision and recall."),
            QualityGauge::LogLoss => (names!("log_loss"), "Mean log loss."),
            QualityGauge::Auc => (names!("auc"), "Area under the ROC curve of the binned scores."),
            QualityGauge::AucError => {
                (names!("auc_error"), "Most that binning the scores may change the area by.")
            }
            QualityGauge::Brier => (names!("brier_score"), "Mean Brier score."),
            QualityGauge::CalibrationError => {
                (names!("calibration_error"), "Expected calibration error over ten bins.")
            }
            QualityGauge::Mae => (names!("mae"), "Mean absolute error."),
            QualityGauge::Rmse => (names!("rmse"), "Root of the mean squared error."),
            QualityGauge::Bias => (names!("bias"), "Mean of prediction less truth."),
            QualityGauge::Reward => (names!("reward"), "Mean reward."),
        }
    }
}
