//! What happened to the requests of a run.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::client::Failure;

/// Times in nanoseconds from 100 ns to an hour, to three digits; beyond that
/// they count as an hour.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        let bounds = Histogram::new_with_bounds(100, 3_600_000_000_000, 3);
        Self(bounds.expect("the bounds are in order"))
    }
}

impl Times {
    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Milliseconds that `quantile` of all times do not exceed.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e6
    }

    pub fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1e6
    }

    pub fn mean_ms(&self) -> f64 {
        self.0.mean() / 1e6
    }
}

/// One request that is over.
#[derive(Debug)]
pub struct Outcome {
    /// Index of the model it asked.
    pub model: usize,
    /// When it was due, from the start of measuring.
    pub at: Duration,
    /// From then to the sending.
    pub late: Duration,
    /// From the sending to the whole answer.
    pub service: Duration,
    pub result: Result<(), Failure>,
}

/// Times of the requests to one model, or to all.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// OK answers, from when the request was due.
    pub latency: Times,
    /// OK answers, from the sending.
    pub service: Times,
    /// Requests without an OK answer, from when they were due.
    pub failed: Times,
    /// How late requests left, whatever became of them.
    pub late: Times,
    pub errors: BTreeMap<Cow<'static, str>, Errors>,
}

/// Failures with one code.
#[derive(Clone, Debug)]
pub struct Errors {
    pub count: u64,
    /// What the first of them said.
    pub example: String,
}

impl Record {
    fn add(&mut self, outcome: Outcome) {
        self.late.record(outcome.late);
        match outcome.result {
            Ok(()) => {
                self.latency.record(outcome.late + outcome.service);
                self.service.record(outcome.service);
            }
            Err(Failure { code, message }) => {
                self.failed.record(outcome.late + outcome.service);
                let errors =
                    self.errors.entry(code).or_insert(Errors { count: 0, example: message });
                errors.count += 1;
            }
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.latency.merge(&other.latency);
        self.service.merge(&other.service);
        self.failed.merge(&other.failed);
        self.late.merge(&other.late);
        for (code, errors) in &other.errors {
            let own = self
                .errors
                .entry(code.clone())
                .or_insert_with(|| Errors { count: 0, example: errors.example.clone() });
            own.count += errors.count;
        }
    }

    pub fn ok(&self) -> u64 {
        self.latency.count()
    }

    pub fn failures(&self) -> u64 {
        self.failed.count()
    }

    pub fn requests(&self) -> u64 {
        self.ok() + self.failures()
    }

    pub fn error_ratio(&self) -> f64 {
        if self.requests() == 0 { 0.0 } else { self.failures() as f64 / self.requests() as f64 }
    }
}

/// The requests that were due in one second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Second {
    pub ok: u64,
    pub failed: u64,
    /// Longest time of an OK answer.
    pub max: Duration,
}

/// Everything that one thread, or the run, wrote down.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// One per model, in the order of the command line.
    pub models: Vec<Record>,
    /// One per second of measuring that any request was due in: a day's at most.
    pub timeline: Vec<Second>,
    /// From the start of measuring to the last OK answer.
    pub last_answer: Duration,
}

impl Log {
    pub fn new(models: usize) -> Self {
        Self { models: vec![Record::default(); models], ..Self::default() }
    }

    pub fn add(&mut self, outcome: Outcome) {
        let time = outcome.late + outcome.service;
        let second = usize::try_from(outcome.at.as_secs()).unwrap_or(usize::MAX);
        if second >= self.timeline.len() {
            self.timeline.resize(second + 1, Second::default());
        }
        let second = &mut self.timeline[second];
        if outcome.result.is_ok() {
            second.ok += 1;
            second.max = second.max.max(time);
            self.last_answer = self.last_answer.max(outcome.at + time);
        } else {
            second.failed += 1;
        }
        self.models[outcome.model].add(outcome);
    }

    pub fn merge(&mut self, other: &Self) {
        for (own, other) in self.models.iter_mut().zip(&other.models) {
            own.merge(other);
        }
        if other.timeline.len() > self.timeline.len() {
            self.timeline.resize(other.timeline.len(), Second::default());
        }
        for (own, other) in self.timeline.iter_mut().zip(&other.timeline) {
            own.ok += other.ok;
            own.failed += other.failed;
            own.max = own.max.max(other.max);
        }
        self.last_answer = self.last_answer.max(other.last_answer);
    }

    /// All models together.
    pub fn total(&self) -> Record {
        self.models.iter().fold(Record::default(), |mut total, record| {
            total.merge(record);
            total
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(model: usize, second: u64, result: Result<(), Failure>) -> Outcome {
        Outcome {
            model,
            at: Duration::from_secs(second),
            late: Duration::from_millis(30),
            service: Duration::from_millis(10),
            result,
        }
    }

    #[test]
    fn failures_are_timed_apart() {
        let mut log = Log::new(1);
        log.add(outcome(0, 0, Ok(())));
        log.add(outcome(0, 0, Err(Failure::new("timeout", "slow"))));
        let record = &log.models[0];
        assert_eq!((record.ok(), record.failures(), record.service.count()), (1, 1, 1));
        assert!((record.latency.max_ms() - 40.0).abs() < 0.1);
        assert_eq!(record.errors["timeout"].count, 1);
    }

    #[test]
    fn logs_of_threads_add_up() {
        let (mut one, mut other) = (Log::new(2), Log::new(2));
        one.add(outcome(0, 0, Ok(())));
        other.add(outcome(1, 2, Ok(())));
        other.add(outcome(1, 2, Err(Failure::new("http_503", "full"))));
        one.merge(&other);
        assert_eq!(one.total().requests(), 3);
        assert_eq!(one.models[1].errors["http_503"].example, "full");
        assert_eq!(
            one.timeline.iter().map(|s| (s.ok, s.failed)).collect::<Vec<_>>(),
            [(1, 0), (0, 0), (1, 1)]
        );
        assert_eq!(one.last_answer, Duration::from_millis(2040));
    }
}
