//! What a run must not exceed.

use crate::args::{Allowance, Args};
use crate::record::Record;

#[derive(Clone, Copy, Debug, Default)]
pub struct Thresholds {
    pub max_p50_ms: Option<f64>,
    pub max_p99_ms: Option<f64>,
    pub max_errors: Option<Allowance>,
    /// OK answers per second.
    pub min_rate: Option<f64>,
}

impl From<&Args> for Thresholds {
    fn from(args: &Args) -> Self {
        Self {
            max_p50_ms: args.max_p50_ms,
            max_p99_ms: args.max_p99_ms,
            max_errors: args.max_errors,
            min_rate: args.min_rate,
        }
    }
}

impl Thresholds {
    /// Says what is broken, in words; empty when all is well.
    ///
    /// A run without an OK answer is broken whatever the thresholds: there is
    /// nothing to measure.
    pub fn broken(&self, total: &Record, rate: f64) -> Vec<String> {
        let mut broken = Vec::new();
        if total.ok() == 0 {
            broken.push(format!("no OK answer to {} requests", total.requests()));
        }
        for (name, quantile, limit) in
            [("p50", 0.5, self.max_p50_ms), ("p99", 0.99, self.max_p99_ms)]
        {
            let got = total.latency.quantile_ms(quantile);
            if let Some(limit) = limit.filter(|limit| got > *limit) {
                broken.push(format!("{name} is {got:.3} ms, more than {limit} ms"));
            }
        }
        let failures = total.failures();
        match self.max_errors {
            Some(Allowance::Count(limit)) if failures > limit => {
                broken.push(format!("{failures} requests failed, more than {limit}"));
            }
            Some(Allowance::Ratio(limit)) if total.error_ratio() > limit => {
                let got = total.error_ratio();
                broken.push(format!("{got:.6} of all requests failed, more than {limit}"));
            }
            _ => {}
        }
        if let Some(limit) = self.min_rate.filter(|limit| rate < *limit) {
            broken.push(format!("{rate:.1} OK answers per second, fewer than {limit}"));
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Failure;
    use crate::record::{Log, Outcome};
    use std::time::Duration;

    /// 98 answers after 1 ms, one after 50 ms, and one failure.
    fn total() -> Record {
        let mut log = Log::new(1);
        for index in 0..100 {
            let service = Duration::from_millis(if index == 98 { 50 } else { 1 });
            let result = if index == 99 { Err(Failure::new("timeout", "slow")) } else { Ok(()) };
            let (at, late) = (Duration::ZERO, Duration::ZERO);
            log.add(Outcome { model: 0, at, late, service, result });
        }
        log.total()
    }

    #[test]
    fn each_threshold_breaks_alone() {
        let none = Thresholds::default();
        let cases = [
            (Thresholds { max_p50_ms: Some(0.5), ..none }, "p50 is"),
            (Thresholds { max_p99_ms: Some(40.0), ..none }, "p99 is"),
            (Thresholds { max_errors: Some(Allowance::Count(0)), ..none }, "1 requests failed"),
            (Thresholds { max_errors: Some(Allowance::Ratio(0.009)), ..none }, "0.01"),
            (Thresholds { min_rate: Some(100.0), ..none }, "99.0 OK answers"),
        ];
        for (thresholds, words) in cases {
            let broken = thresholds.broken(&total(), 99.0);
            assert!(broken.len() == 1 && broken[0].starts_with(words), "{broken:?}");
        }
    }

    #[test]
    fn thresholds_at_their_limit_hold() {
        let thresholds = Thresholds {
            max_p50_ms: Some(1.1),
            max_p99_ms: Some(51.0),
            max_errors: Some(Allowance::Ratio(0.01)),
            min_rate: Some(99.0),
        };
        assert_eq!(thresholds.broken(&total(), 99.0), [""; 0]);
    }

    #[test]
    fn run_without_an_answer_is_broken() {
        assert_eq!(Thresholds::default().broken(&Record::default(), 0.0).len(), 1);
    }
}
