//! `modelgate profile rules`.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Failure;
use crate::cli::USAGE;
use crate::drift::rules::{RuleOptions, Span, render};

/// Longer ones overflow nothing, but nobody means them.
const MOST_SECONDS: u64 = 366 * 24 * 3600;

#[derive(Args, Debug)]
pub(super) struct Rules {
    /// Window in which what breaks is seen
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = span)]
    window: Span,
    /// Window in which what drifts slowly is seen; several of the other
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = span)]
    long_window: Span,
    /// How long drift has to be seen before an alert fires
    #[arg(long = "for", value_name = "DURATION", default_value = "10m", value_parser = span)]
    hold: Span,
    /// How long it must not be seen before the alert ends
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = span)]
    keep_firing_for: Span,
    /// Adjusted stability index above which a feature has drifted
    #[arg(long, value_name = "INDEX", default_value_t = RuleOptions::default().psi)]
    psi: f64,
    /// And above which it is to be watched
    #[arg(long, value_name = "INDEX", default_value_t = RuleOptions::default().warning_psi)]
    warning_psi: f64,
    /// Standard deviations above which a difference is no chance
    #[arg(long, value_name = "Z", default_value_t = RuleOptions::default().z)]
    z: f64,
    /// Live rows of a window below which nothing is said
    #[arg(long, value_name = "N", default_value_t = RuleOptions::default().min_rows)]
    min_rows: u64,
    /// Where the rules go [default: they are printed]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Rules {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let options = RuleOptions {
            window: self.window,
            long_window: self.long_window,
            hold: self.hold,
            keep: self.keep_firing_for,
            psi: self.psi,
            warning_psi: self.warning_psi,
            z: self.z,
            min_rows: self.min_rows,
        };
        let page = render(&options).map_err(|error| Failure(USAGE, error.to_string()))?;
        match &self.out {
            None => io::stdout().write_all(page.as_bytes())?,
            Some(path) => fs::write(path, page)
                .map_err(|error| Failure::of(format!("'{}': {error}", path.display())))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A length of time: `90s`, `15m`, `1h`, `7d`.
fn span(text: &str) -> Result<Span, String> {
    let seconds = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 24 * 3600,
            _ => return None,
        };
        // A sign is no part of a duration.
        let is_number = number.bytes().all(|digit| digit.is_ascii_digit());
        number.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(unit)
    };
    let expected = || "expected a duration such as 30s, 10m, 1h or 7d, at most 366d".to_owned();
    seconds().filter(|seconds| *seconds <= MOST_SECONDS).map(Span).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("10m", 600), ("1h", 3600), ("2d", 172_800)]
        {
            assert_eq!(span(text), Ok(Span(seconds)), "{text}");
        }
        for text in
            ["", "h", "10", "-1m", "+1m", "1.5h", "1w", "ü", "10 m", "99999999999999999999s"]
        {
            assert!(span(text).is_err(), "{text}");
        }
        assert!(span("367d").is_err() && span("18446744073709551615d").is_err());
    }
}
