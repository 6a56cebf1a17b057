//! Scores of a fleet: sums of counts, and what [`super::super::effect`] and
//! [`super::super::significance`] make of them.

use super::{Head, LIVE, REFERENCE, Rule, RuleOptions};

/// Rows by bin.
pub(super) const COUNTS: &str = "model_feature_bin:modelgate_drift_observations:increase";
/// Rows in bins.
pub(super) const ROWS: &str = "model_feature:modelgate_drift_observations:increase";
/// The reference's rows by bin, its rows and its bins.
const REFERENCE_COUNTS: &str = "model_feature_bin:modelgate_drift_reference_rows:max";
const REFERENCE_ROWS: &str = "model_feature:modelgate_drift_reference_rows:sum";
const BINS: &str = "model_feature:modelgate_drift_bins:count";
/// Smoothed shares by bin.
const SHARE: &str = "model_feature_bin:modelgate_drift_observations:share";
const REFERENCE_SHARE: &str = "model_feature_bin:modelgate_drift_reference_rows:share";
const PSI: &str = "model_feature:modelgate_drift_psi";
pub(super) const PSI_ADJUSTED: &str = "model_feature:modelgate_drift_psi_adjusted";
const JS_DISTANCE: &str = "model_feature:modelgate_drift_js_distance";
const CHI2: &str = "model_feature:modelgate_drift_chi2";
const FREEDOM: &str = "model_feature:modelgate_drift_degrees_of_freedom";
pub(super) const Z: &str = "model_feature:modelgate_drift_z";
pub(super) const EVIDENCE: &str = "model_feature:modelgate_drift_evidence_log10";
/// What is in no bin, or not of the reference, by what is wrong with it.
const FAULTS: &str = "model_feature_fault:modelgate_drift_faults:increase";
/// What it is a share of.
pub(super) const VALUES: &str = "model_feature_fault:modelgate_drift_values:increase";
pub(super) const FAULT_SHARE: &str = "model_feature_fault:modelgate_drift_faults:share";
pub(super) const JUMP: &str = "model_feature_fault:modelgate_drift_faults:jump";
pub(super) const JUMP_Z: &str = "model_feature_fault:modelgate_drift_faults:jump_z";

/// Families of faults, and the share of what each one is.
const FAULT_FAMILIES: [(&str, &str); 5] = [
    ("missing", "modelgate_drift_missing_total"),
    ("invalid", "modelgate_drift_invalid_total"),
    ("below", "modelgate_drift_out_of_range_total{side=\"below\"}"),
    ("above", "modelgate_drift_out_of_range_total{side=\"above\"}"),
    ("unseen", "modelgate_drift_new_category_total"),
];

/// All of them, each after those that it needs.
pub(super) fn rules(options: &RuleOptions) -> Vec<Rule> {
    let mut rules = counts(options);
    rules.extend(effects());
    rules.extend(significance());
    rules.extend(faults(options));
    rules
}

fn record(name: &'static str, expr: String) -> Rule {
    Rule { head: Head::Record(name), about: "", expr, labels: Vec::new() }
}

impl Rule {
    fn about(self, about: &'static str) -> Rule {
        Rule { about, ..self }
    }

    fn with(mut self, name: &'static str, value: String) -> Rule {
        self.labels.push((name, value));
        self
    }
}

fn counts(options: &RuleOptions) -> Vec<Rule> {
    let (window, long) = (options.window, options.long_window);
    vec![
        record(
            COUNTS,
            format!(
                "sum by ({REFERENCE}, role, bin) (\n  \
                 increase(modelgate_drift_observations_total[{window}])\n)"
            ),
        )
        .with("window", window.to_string()),
        record(COUNTS, format!("sum_over_time({COUNTS}{{window=\"{window}\"}}[{long}:{window}])"))
            .with("window", long.to_string()),
        record(ROWS, format!("sum by ({LIVE}) ({COUNTS})")),
        record(
            REFERENCE_COUNTS,
            format!("max by ({REFERENCE}, bin) (modelgate_drift_reference_rows)"),
        )
        .about("All gateways with a profile say the same of it."),
        record(REFERENCE_ROWS, format!("sum by ({REFERENCE}) ({REFERENCE_COUNTS})")),
        record(BINS, format!("count by ({REFERENCE}) ({REFERENCE_COUNTS})")),
        record(
            REFERENCE_SHARE,
            format!(
                "({REFERENCE_COUNTS} + 0.5)\n/ on ({REFERENCE}) group_left ()\n\
                 ({REFERENCE_ROWS} + 0.5 * {BINS})"
            ),
        )
        .about("Jeffreys' prior: an empty bin is neither infinite nor decided by a constant."),
        record(
            SHARE,
            format!(
                "({COUNTS} + 0.5)\n/ on ({LIVE}) group_left ()\n\
                 (({ROWS} > 0) + on ({REFERENCE}) group_left () (0.5 * {BINS}))"
            ),
        )
        .about("None without rows, and so no score."),
    ]
}

fn effects() -> Vec<Rule> {
    // Of a bin: the reference's share beside the live one, of whatever role and window.
    let beside = format!("on ({REFERENCE}, bin) group_left ()");
    vec![
        record(
            PSI,
            format!(
                "sum by ({LIVE}) (\n  \
                 ({SHARE} - {beside} {REFERENCE_SHARE})\n  \
                 * ln({SHARE} / {beside} {REFERENCE_SHARE})\n)"
            ),
        ),
        record(
            PSI_ADJUSTED,
            format!(
                "clamp_min(\n  \
                 {PSI}\n  - (1 / {ROWS} + on ({REFERENCE}) group_left () (1 / {REFERENCE_ROWS}))\n    \
                 * on ({REFERENCE}) group_left () ({BINS} - 1),\n  0\n)"
            ),
        )
        .about("Less what chance adds, which is the more the fewer rows there are."),
        record(
            JS_DISTANCE,
            format!(
                "sqrt(clamp_min(\n  0.5 * sum by ({LIVE}) (\n    \
                 {SHARE} * log2(2 * {SHARE} / ({SHARE} + {beside} {REFERENCE_SHARE}))\n    \
                 + log2(2 / (1 + {SHARE} / {beside} {REFERENCE_SHARE}))\n      \
                 * {beside} {REFERENCE_SHARE}\n  ),\n  0\n))"
            ),
        )
        .about("In bits, so at most 1."),
    ]
}

fn significance() -> Vec<Rule> {
    let beside = format!("on ({REFERENCE}, bin) group_left ()");
    let of_rows = format!("on ({REFERENCE}) group_left ()");
    vec![
        record(
            CHI2,
            format!(
                "sum by ({LIVE}) (\n  \
                 (\n    {COUNTS} / on ({LIVE}) group_left () ({ROWS} > 0)\n    \
                 - {beside} ({REFERENCE_COUNTS} / {of_rows} ({REFERENCE_ROWS} > 0))\n  ) ^ 2\n  \
                 / (({COUNTS} + {beside} {REFERENCE_COUNTS}) > 0)\n)\n\
                 * {ROWS} * {of_rows} {REFERENCE_ROWS}"
            ),
        )
        .about("Two samples. A bin that is empty in both says nothing."),
        record(
            FREEDOM,
            format!("count by ({LIVE}) (({COUNTS} + {beside} {REFERENCE_COUNTS}) > 0) - 1"),
        ),
        record(
            Z,
            format!(
                "(\n  (\n    {CHI2}\n    \
                 / {of_rows} max by ({REFERENCE}) (modelgate_drift_dispersion_ratio)\n    \
                 / ({FREEDOM} > 0)\n  ) ^ (1 / 3)\n  \
                 - (1 - 2 / (9 * {FREEDOM}))\n)\n/ sqrt(2 / (9 * {FREEDOM}))"
            ),
        )
        .about("Wilson and Hilferty's deviations, after Rao and Scott's correction."),
        record(
            EVIDENCE,
            format!(
                "log10(avg by ({REFERENCE}, role) (\n  \
                 10 ^ clamp_max(modelgate_drift_evidence_log10, 300)\n))"
            ),
        )
        .about("The mean of evidence is evidence, however dependent the gateways are."),
    ]
}

fn faults(options: &RuleOptions) -> Vec<Rule> {
    let (window, long) = (options.window, options.long_window);
    let mut rules: Vec<Rule> = FAULT_FAMILIES
        .into_iter()
        .map(|(fault, family)| {
            let series = format!("sum by ({REFERENCE}, role) (increase({family}[{window}]))");
            record(FAULTS, series)
                .with("window", window.to_string())
                .with("fault", fault.to_owned())
        })
        .collect();
    let off = "fault=~\"missing|invalid\"";
    let on = format!("on ({LIVE}) group_left ()");
    rules.extend([
        record(FAULTS, format!("sum_over_time({FAULTS}{{window=\"{window}\"}}[{long}:{window}])"))
            .with("window", long.to_string()),
        record(
            VALUES,
            format!(
                "0 * {FAULTS}{{{off}}} + {on} ({ROWS} + sum by ({LIVE}) ({FAULTS}{{{off}}}))\n\
                 or\n0 * {FAULTS} + {on} {ROWS}"
            ),
        )
        .about("What is missing or invalid is in no bin; all else is."),
        record(FAULT_SHARE, format!("{FAULTS} / ({VALUES} > 0)")),
        record(
            JUMP,
            format!(
                "{FAULT_SHARE}{{window=\"{window}\"}} - ignoring (window) {FAULT_SHARE}{{window=\"{long}\"}}"
            ),
        ),
        record(JUMP_Z, jump_z(&window.to_string(), &long.to_string()))
            .about("Two proportions under one pooled share, each window a sample."),
    ]);
    rules
}

fn jump_z(window: &str, long: &str) -> String {
    let of = |name: &str, window: &str| format!("{name}{{window=\"{window}\"}}");
    let (faults, values) = (of(FAULTS, window), of(VALUES, window));
    let (all_faults, all_values) = (of(FAULTS, long), of(VALUES, long));
    let pooled = format!(
        "(({faults} + ignoring (window) {all_faults}) / ({values} + ignoring (window) {all_values}))"
    );
    format!(
        "{JUMP}\n/ sqrt(\n  \
         {pooled}\n  * (1 - {pooled})\n  \
         * (1 / {values} + ignoring (window) (1 / {all_values}))\n  > 0\n)"
    )
}
