//! Rules for Prometheus, that say of a whole fleet what [`super::Column::score`]
//! says of one gateway. Pure: options in, YAML out.
//!
//! Every gateway exports counts by bin, which add up; `recording` computes the
//! scores from the sums, `alerts` says which of them are alarms. The window is a
//! label and in no name, so that dashboards need not know it.

mod alerts;
mod recording;

use std::fmt::{self, Write as _};

use thiserror::Error;

use super::alarm::AlarmRule;

/// Labels of the reference, which is the same for every role and window.
const REFERENCE: &str = "model, version, profile, feature";

/// Labels of live counts and of scores, in every window.
const LIVE: &str = "model, version, profile, feature, role, window";

/// Deviations that chance exceeds once in ten thousand times: `p` of [`AlarmRule`].
const Z: f64 = 3.72;

/// A length of time in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

/// What rules are made of. The defaults are those of [`AlarmRule`].
#[derive(Clone, Debug, PartialEq)]
pub struct RuleOptions {
    /// What breaks is seen in it.
    pub window: Span,
    /// What drifts slowly is seen in it; several of the other one.
    pub long_window: Span,
    /// How long drift has to be seen before it is an alarm.
    pub hold: Span,
    /// How long it must not be seen before the alarm ends.
    pub keep: Span,
    pub psi: f64,
    pub warning_psi: f64,
    pub z: f64,
    pub min_rows: u64,
}

impl Default for RuleOptions {
    fn default() -> RuleOptions {
        let AlarmRule { psi, warning_psi, min_rows, hold_us, keep_us, .. } = AlarmRule::default();
        let span = |us: i64| Span(us.unsigned_abs() / 1_000_000);
        RuleOptions {
            window: Span(3600),
            long_window: Span(24 * 3600),
            hold: span(hold_us),
            keep: span(keep_us),
            psi,
            warning_psi,
            z: Z,
            min_rows,
        }
    }
}

/// Why there are no rules.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum RulesError {
    #[error("expected a window of 10s or more, found {0}; scrapes have to fall into it")]
    Window(Span),
    #[error(
        "expected a long window of several windows of {window}, found {long}; try {}",
        Span(window.0 * 24)
    )]
    LongWindow { window: Span, long: Span },
    #[error(
        "expected an index above 0 and for a warning at most that of an alarm, found {psi} and \
         {warning} for a warning"
    )]
    Psi { psi: f64, warning: f64 },
    #[error("expected deviations above 0, found {0}")]
    Deviations(f64),
}

/// One rule of a group.
struct Rule {
    head: Head,
    /// What the reader has to know that the expression does not say.
    about: &'static str,
    expr: String,
    labels: Vec<(&'static str, String)>,
}

enum Head {
    Record(&'static str),
    Alert {
        name: &'static str,
        hold: Span,
        keep: Span,
        /// In the language of Prometheus' templates, like the next.
        summary: &'static str,
        runbook: &'static str,
        /// Whether it is about a model, of which the command line tells more.
        of_model: bool,
    },
}

/// The text of a file of rules.
///
/// # Errors
/// Options that contradict each other.
pub fn render(options: &RuleOptions) -> Result<String, RulesError> {
    options.check()?;
    let mut page = format!(
        "# Drift over all gateways, from the counters that each of them exports.\n\
         # Made by: modelgate profile rules{}\n\
         #\n\
         # Counts of several gateways add up; scores are computed from the sums, for every\n\
         # feature of every model, version, profile and role, over windows of {} and {}.\n\
         groups:\n  \
         - name: modelgate_drift\n    \
           interval: {}\n    \
           rules:\n",
        options.flags(),
        options.window,
        options.long_window,
        options.interval(),
    );
    for rule in recording::rules(options).iter().chain(&alerts::rules(options)) {
        rule.write(&mut page);
    }
    Ok(page)
}

impl RuleOptions {
    fn check(&self) -> Result<(), RulesError> {
        let (window, long) = (self.window, self.long_window);
        if window.0 < 10 {
            return Err(RulesError::Window(window));
        }
        if long <= window || long.0 % window.0 > 0 {
            return Err(RulesError::LongWindow { window, long });
        }
        let is_index = |psi: f64| psi.is_finite() && psi > 0.0;
        if !is_index(self.psi) || !is_index(self.warning_psi) || self.warning_psi > self.psi {
            return Err(RulesError::Psi { psi: self.psi, warning: self.warning_psi });
        }
        if !(self.z.is_finite() && self.z > 0.0) {
            return Err(RulesError::Deviations(self.z));
        }
        Ok(())
    }

    /// From one evaluation to the next: often enough for the window, and no
    /// more often than people look.
    fn interval(&self) -> Span {
        Span((self.window.0 / 20).clamp(1, 60))
    }

    /// What was asked for other than by default, as on the command line.
    fn flags(&self) -> String {
        let usual = RuleOptions::default();
        let flags = [
            ("window", self.window.to_string(), usual.window.to_string()),
            ("long-window", self.long_window.to_string(), usual.long_window.to_string()),
            ("for", self.hold.to_string(), usual.hold.to_string()),
            ("keep-firing-for", self.keep.to_string(), usual.keep.to_string()),
            ("psi", self.psi.to_string(), usual.psi.to_string()),
            ("warning-psi", self.warning_psi.to_string(), usual.warning_psi.to_string()),
            ("z", self.z.to_string(), usual.z.to_string()),
            ("min-rows", self.min_rows.to_string(), usual.min_rows.to_string()),
        ];
        let asked = flags.into_iter().filter(|(_, value, usual)| value != usual);
        asked.map(|(flag, value, _)| format!(" --{flag} {value}")).collect()
    }
}

impl Rule {
    fn write(&self, page: &mut String) {
        match self.head {
            Head::Record(name) => line(page, 6, &format!("- record: {name}")),
            Head::Alert { name, .. } => line(page, 6, &format!("- alert: {name}")),
        }
        line(page, 8, "expr: |");
        let about = self.about.lines().map(|about| format!("# {about}"));
        for part in about.chain(self.expr.trim().lines().map(str::to_owned)) {
            line(page, 10, &part);
        }
        if let Head::Alert { hold, keep, .. } = self.head {
            let spans = [("for", hold), ("keep_firing_for", keep)];
            for (name, span) in spans.into_iter().filter(|(_, span)| *span > Span(0)) {
                line(page, 8, &format!("{name}: {span}"));
            }
        }
        if !self.labels.is_empty() {
            let labels = self.labels.iter().map(|(name, value)| format!("{name}: {value}"));
            let labels = labels.collect::<Vec<_>>().join(", ");
            line(page, 8, &format!("labels: {{{labels}}}"));
        }
        if let Head::Alert { summary, runbook, of_model, .. } = self.head {
            line(page, 8, "annotations:");
            for (name, text) in [("summary", summary), ("runbook", runbook)] {
                line(page, 10, &format!("{name}: >-"));
                line(page, 12, text);
            }
            if of_model {
                line(page, 10, "command: modelgate drift {{ $labels.model }}");
            }
        }
    }
}

fn line(page: &mut String, indent: usize, text: &str) {
    let _ = writeln!(page, "{:indent$}{text}", "");
}

/// As Prometheus reads and [`super::Window::label`] writes it: `24h`, `90m`, `30s`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0s"),
            seconds if seconds % 3600 == 0 => write!(f, "{}h", seconds / 3600),
            seconds if seconds % 60 == 0 => write!(f, "{}m", seconds / 60),
            seconds => write!(f, "{seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let usual = RuleOptions::default;
        assert!(render(&usual()).is_ok());
        for (wrong, said) in [
            (RuleOptions { window: Span(9), ..usual() }, "10s or more, found 9s"),
            (RuleOptions { long_window: Span(3600), ..usual() }, "found 1h; try 24h"),
            (RuleOptions { long_window: Span(5400), ..usual() }, "windows of 1h, found 90m"),
            (RuleOptions { psi: 0.04, ..usual() }, "found 0.04 and 0.05 for a warning"),
            (RuleOptions { psi: f64::NAN, ..usual() }, "found NaN"),
            (RuleOptions { warning_psi: 0.0, ..usual() }, "0 for a warning"),
            (RuleOptions { z: f64::INFINITY, ..usual() }, "deviations above 0, found inf"),
        ] {
            let error = render(&wrong).expect_err(said).to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn the_head_says_how_to_make_the_same_again() {
        let page = |options| render(&options).expect("rules");
        assert!(page(RuleOptions::default()).contains("modelgate profile rules\n"));
        let short = RuleOptions {
            window: Span(120),
            long_window: Span(600),
            hold: Span(0),
            ..RuleOptions::default()
        };
        let page = page(short);
        assert!(page.contains("profile rules --window 2m --long-window 10m --for 0s\n"));
        assert!(page.contains("interval: 6s\n") && page.contains("[10m:2m]"), "{page}");
    }
}
