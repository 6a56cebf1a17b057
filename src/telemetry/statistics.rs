//! The protocol's statistics of one version, with the meanings Triton gives them.

use super::batches::RunTotals;
use super::version::VersionTotals;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurationStatistics {
    pub count: u64,
    /// Nanoseconds, summed.
    pub ns: u64,
}

/// Runs of one batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchStatistics {
    /// Rows of each of these runs.
    pub batch_size: u64,
    pub compute_input: DurationStatistics,
    pub compute_infer: DurationStatistics,
    pub compute_output: DurationStatistics,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Unix time in milliseconds; 0 before the first run.
    pub last_inference_ms: u64,
    /// Rows that were run.
    pub inference_count: u64,
    /// Runs, each of one batch.
    pub execution_count: u64,
    pub success: DurationStatistics,
    /// Requests that did not end with a prediction, refused ones included.
    pub fail: DurationStatistics,
    pub queue: DurationStatistics,
    /// The compute times count a run once for every request in it.
    pub compute_input: DurationStatistics,
    pub compute_infer: DurationStatistics,
    pub compute_output: DurationStatistics,
    /// By growing batch size, at most 64 sizes for each thread that counts;
    /// sizes beyond are missing here but counted above.
    pub batches: Vec<BatchStatistics>,
}

impl Statistics {
    pub(super) fn of(totals: &VersionTotals) -> Statistics {
        let runs = totals.batches.runs;
        let succeeded = totals.ended_with(0);
        let computed = runs.count + totals.shared_requests;
        let duration = |count, ns| DurationStatistics { count, ns };
        Statistics {
            last_inference_ms: totals.last_inference_ms,
            inference_count: totals.batches.rows,
            execution_count: runs.count,
            success: duration(succeeded, totals.ok_ns),
            fail: duration(totals.all_requests() - succeeded, totals.failed_ns),
            queue: duration(totals.queue.iter().sum(), totals.queue_ns),
            compute_input: duration(computed, runs.input_ns + totals.shared_input_ns),
            compute_infer: duration(computed, runs.infer_ns + totals.shared_infer_ns),
            compute_output: duration(computed, runs.output_ns + totals.shared_output_ns),
            batches: totals
                .batches
                .by_size
                .iter()
                .map(|(rows, runs)| batch_statistics(*rows, runs))
                .collect(),
        }
    }
}

fn batch_statistics(rows: usize, runs: &RunTotals) -> BatchStatistics {
    let duration = |ns| DurationStatistics { count: runs.count, ns };
    BatchStatistics {
        batch_size: rows as u64,
        compute_input: duration(runs.input_ns),
        compute_infer: duration(runs.infer_ns),
        compute_output: duration(runs.output_ns),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::{
        Protocol, RunTimings, Telemetry, TelemetryOptions, VersionLabels, VersionMetrics,
    };
    use crate::types::{Code, ModelName, Version};

    fn version() -> std::sync::Arc<VersionMetrics> {
        let name = ModelName::parse("m").expect("a name");
        Telemetry::new(TelemetryOptions::default())
            .version(VersionLabels::champion(name, Version::FIRST))
    }

    #[test]
    fn nothing_ran_yet() {
        assert_eq!(Statistics::of(&version().totals()), Statistics::default());
    }

    #[test]
    fn a_batch_counts_once_as_execution_and_for_each_request_as_compute() {
        let version = version();
        let timings = RunTimings {
            input: Duration::from_nanos(3),
            infer: Duration::from_micros(5),
            output: Duration::from_nanos(7),
        };
        version.executed(8, 4, &timings);
        version.executed(1, 1, &timings);
        for _ in 0..5 {
            version.queued(Duration::from_micros(2));
            version.finished(Protocol::Grpc, None, Duration::from_micros(10));
        }
        let statistics = Statistics::of(&version.totals());
        assert_eq!((statistics.inference_count, statistics.execution_count), (9, 2));
        assert_eq!(statistics.success, DurationStatistics { count: 5, ns: 50_000 });
        assert_eq!(statistics.queue, DurationStatistics { count: 5, ns: 10_000 });
        assert_eq!(statistics.compute_input, DurationStatistics { count: 5, ns: 15 });
        assert_eq!(statistics.compute_infer, DurationStatistics { count: 5, ns: 25_000 });
        assert_eq!(statistics.compute_output, DurationStatistics { count: 5, ns: 35 });
        let sizes: Vec<u64> = statistics.batches.iter().map(|batch| batch.batch_size).collect();
        assert_eq!(sizes, [1, 8]);
        assert_eq!(statistics.batches[1].compute_infer, DurationStatistics { count: 1, ns: 5_000 });
        assert!(statistics.last_inference_ms > 1_700_000_000_000, "milliseconds since 1970");
    }

    #[test]
    fn refused_requests_are_failures() {
        let version = version();
        version.finished(Protocol::HttpJson, Some(Code::Unavailable), Duration::from_nanos(5));
        version.finished(Protocol::HttpJson, Some(Code::Internal), Duration::from_nanos(6));
        let statistics = Statistics::of(&version.totals());
        assert_eq!(statistics.fail, DurationStatistics { count: 2, ns: 11 });
        assert_eq!(statistics.success, DurationStatistics::default());
        assert_eq!(statistics.execution_count, 0);
    }
}
