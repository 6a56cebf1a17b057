//! Which scores are alarms. Drift has to be large and no chance, over enough
//! rows; who watches has to see something.

use super::recording::{EVIDENCE, FAULT_SHARE, JUMP, JUMP_Z, PSI_ADJUSTED, ROWS, VALUES, Z};
use super::{Head, Rule, RuleOptions, Span};
use crate::drift::sequential::DetectorOptions;

/// By how much the share of missing, invalid, unseen or out-of-range values has
/// to rise: less is no break of a feed.
const JUMP_SHARE: f64 = 0.05;

/// Share of answers that may go uncounted.
const DROPPED_SHARE: f64 = 0.05;

const PRIMARY: &str = "role=\"primary\"";

/// `info` is for people who look, `warning` for a ticket, `critical` for a page.
fn alert(name: &'static str, severity: &str, expr: String, hold: Span, keep: Span) -> Rule {
    Rule {
        head: Head::Alert { name, hold, keep, summary: "", runbook: "", of_model: true },
        about: "",
        expr,
        labels: vec![("severity", severity.to_owned())],
    }
}

impl Rule {
    fn says(mut self, says: &'static str, advises: &'static str) -> Rule {
        if let Head::Alert { summary, runbook, .. } = &mut self.head {
            (*summary, *runbook) = (says, advises);
        }
        self
    }

    /// About gateways, and for this reason.
    fn of_gateways(mut self, reason: &str) -> Rule {
        if let Head::Alert { of_model, .. } = &mut self.head {
            *of_model = false;
        }
        self.because(reason)
    }

    fn because(mut self, reason: &str) -> Rule {
        self.labels.push(("reason", reason.to_owned()));
        self
    }
}

pub(super) fn rules(options: &RuleOptions) -> Vec<Rule> {
    let mut rules = drift(options);
    rules.extend([broken_feed(options), sequential(options)]);
    rules.extend(blind(options));
    rules
}

fn drift(options: &RuleOptions) -> Vec<Rule> {
    let RuleOptions { hold, keep, psi, warning_psi, z, min_rows, .. } = options;
    // Beyond which index, under the role that answers or the one that does not.
    let drifted = |role: &str, index: String| {
        format!(
            "{PSI_ADJUSTED}{{{role}}} {index}\nand {Z}{{{role}}} > {z}\nand {ROWS}{{{role}}} >= {min_rows}"
        )
    };
    vec![
        alert("ModelFeatureDrift", "warning", drifted(PRIMARY, format!("> {psi}")), *hold, *keep)
            .says(
                "{{ $labels.model }} {{ $labels.version }}: {{ $labels.feature }} is not \
                 distributed as in its profile {{ $labels.profile }} (adjusted PSI {{ printf \
                 \"%.3f\" $value }} over {{ $labels.window }})",
                "Look at which bins moved and since when. A feed that changed is to be mended; a \
                 world that changed is a reason to retrain.",
            ),
        alert(
            "ModelFeatureDriftWarning",
            "info",
            drifted(PRIMARY, format!("> {warning_psi} <= {psi}")),
            *hold,
            Span(0),
        )
        .says(
            "{{ $labels.model }} {{ $labels.version }}: {{ $labels.feature }} begins to differ \
             from its profile {{ $labels.profile }} (adjusted PSI {{ printf \"%.3f\" $value }} \
             over {{ $labels.window }})",
            "Nothing is wrong yet. Watch whether it grows.",
        ),
        alert(
            "ShadowFeatureDrift",
            "info",
            drifted("role=\"shadow\"", format!("> {psi}")),
            *hold,
            *keep,
        )
        .says(
            "{{ $labels.model }} {{ $labels.version }}, a shadow: {{ $labels.feature }} is not \
             distributed as in its profile {{ $labels.profile }} (adjusted PSI {{ printf \
             \"%.3f\" $value }} over {{ $labels.window }})",
            "Nobody gets its answers. Look into it before it is promoted.",
        ),
    ]
}

/// The reference has no value that is out of its range or unseen. How many it
/// lacks is not exported; what is missing and invalid is compared with the
/// long window, so a rise that lasts becomes the usual after some hours.
fn broken_feed(options: &RuleOptions) -> Rule {
    let RuleOptions { window, hold, keep, z, min_rows, .. } = options;
    let now = format!("{PRIMARY}, window=\"{window}\"");
    let off = "fault=~\"missing|invalid\"";
    let expr = format!(
        "(\n  max without (window) ({FAULT_SHARE}{{{now}, fault=~\"below|above|unseen\"}}) > {JUMP_SHARE}\n  \
         or\n  max without (window) ({FAULT_SHARE}{{{now}, {off}}}) == 1\n  \
         or\n  ({JUMP}{{{PRIMARY}, {off}}} > {JUMP_SHARE} and {JUMP_Z}{{{PRIMARY}, {off}}} > {z})\n)\n\
         and ignoring (window)\n{VALUES}{{{now}}} >= {min_rows}"
    );
    alert("ModelFeedBroken", "critical", expr, *hold, *keep).says(
        "{{ $labels.model }} {{ $labels.version }}: {{ $value | humanizePercentage }} more of the \
         values of {{ $labels.feature }} than usual are faulty ({{ $labels.fault }})",
        "Ask whoever feeds {{ $labels.feature }} what they changed: a unit, a join, a name. Do \
         not retrain on it.",
    )
}

fn sequential(options: &RuleOptions) -> Rule {
    let threshold = DetectorOptions::default().threshold.log10();
    let expr = format!("{EVIDENCE}{{{PRIMARY}}} >= {threshold}");
    alert("SequentialDrift", "warning", expr, Span(0), options.keep).says(
        "{{ $labels.model }} {{ $labels.version }}: evidence of 10^{{ printf \"%.1f\" $value }} \
         that {{ $labels.feature }} has changed",
        "It tells sooner than windows do, of changes of any size. Wait for ModelFeatureDrift to \
         say whether it is large.",
    )
}

/// Who watches and sees nothing must not look as if all were well.
fn blind(options: &RuleOptions) -> Vec<Rule> {
    let RuleOptions { window, hold, .. } = options;
    let answered = format!(
        "sum by (model, version) (increase(modelgate_requests_total{{code=\"ok\"}}[{window}])) > 0"
    );
    let blind = |expr: String| alert("DriftMonitorBlind", "critical", expr, *hold, Span(0));
    let (nothing, dropping, gone) = (
        blind(format!(
            "sum by (model, version) ({ROWS}{{{PRIMARY}, window=\"{window}\"}}) == 0\n\
             and on (model, version)\n{answered}"
        )),
        blind(format!(
            "sum by (instance) (increase(modelgate_drift_dropped_total[{window}]))\n\
             > {DROPPED_SHARE} * sum by (instance) (\n  \
             increase(modelgate_requests_total{{code=\"ok\"}}[{window}])\n)"
        )),
        blind("absent(modelgate_drift_profile_state)".to_owned()),
    );
    let missing = format!(
        "max by (model, version) (modelgate_drift_profile_state{{state=\"none\"}}) == 1\n\
         and on (model, version)\n{answered}"
    );
    vec![
        nothing.because("no_rows").says(
            "{{ $labels.model }} {{ $labels.version }} answers, but none of its rows is compared \
             with its profile",
            "Look at whether every value is missing or invalid, and into the gateways' logs.",
        ),
        dropping.of_gateways("dropping").says(
            "{{ $labels.instance }} does not count {{ $value | humanize }} answers of its last \
             window for drift",
            "modelgate_drift_dropped_total says why; the gateway has too little time or too few \
             cores for its traffic.",
        ),
        gone.of_gateways("no_metrics").says(
            "No gateway tells anything of drift",
            "Look at whether Prometheus scrapes the gateways, and whether drift is on in their \
             configuration.",
        ),
        alert("DriftProfileMissing", "info", missing, *hold, Span(0)).says(
            "{{ $labels.model }} {{ $labels.version }} answers without a profile that its traffic \
             could be compared with",
            "Build one with modelgate profile build and push it with the model; the gateway's log \
             says why one that is there was refused.",
        ),
    ]
}
