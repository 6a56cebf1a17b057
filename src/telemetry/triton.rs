//! The `nv_inference_*` families: Triton's names for what is counted here, for
//! dashboards and autoscalers made for it.

use std::sync::Arc;

use super::Statistics;
use super::exposition::{Kind, Page};
use super::labels::code_index;
use super::render::{by_version, sum};
use super::version::VersionMetrics;
use crate::types::Code;

struct Series<'a> {
    model: &'a str,
    version: String,
    statistics: Statistics,
    /// Failures by reason, in the order of [`REASONS`].
    failures: [u64; REASONS.len()],
    pending: i64,
}

const REASONS: [&str; 4] = ["REJECTED", "CANCELED", "BACKEND", "OTHER"];

/// Families of one counter for each version.
type Family = (&'static str, &'static str, fn(&Statistics) -> u64);

const FAMILIES: [Family; 8] = [
    ("nv_inference_request_success", "Requests that succeeded.", |s| s.success.count),
    ("nv_inference_count", "Rows that were run.", |s| s.inference_count),
    ("nv_inference_exec_count", "Runs of the model.", |s| s.execution_count),
    (
        "nv_inference_request_duration_us",
        "Time of requests that succeeded, in microseconds.",
        |s| s.success.ns / 1000,
    ),
    ("nv_inference_queue_duration_us", "Time requests waited, in microseconds.", |s| {
        s.queue.ns / 1000
    }),
    (
        "nv_inference_compute_input_duration_us",
        "Time requests spent on making inputs, in microseconds.",
        |s| s.compute_input.ns / 1000,
    ),
    (
        "nv_inference_compute_infer_duration_us",
        "Time requests spent in runs, in microseconds.",
        |s| s.compute_infer.ns / 1000,
    ),
    (
        "nv_inference_compute_output_duration_us",
        "Time requests spent on taking outputs, in microseconds.",
        |s| s.compute_output.ns / 1000,
    ),
];

/// `versions` stand in the order of their series keys.
pub(super) fn render(page: &mut Page, versions: &[Arc<VersionMetrics>]) {
    let series: Vec<Series<'_>> = by_version(versions).filter_map(read).collect();

    for (name, help, value) in FAMILIES {
        page.family(name, Kind::Counter, help);
        for Series { model, version, statistics, .. } in &series {
            page.sample(&[("model", model), ("version", version)], value(statistics));
        }
    }

    let help = "Requests that failed, by Triton's reasons.";
    page.family("nv_inference_request_failure", Kind::Counter, help);
    for Series { model, version, failures, .. } in &series {
        for (reason, count) in REASONS.iter().zip(failures) {
            let labels = [("model", *model), ("version", version), ("reason", reason)];
            page.sample(&labels, count);
        }
    }

    let help = "Requests that wait for a run.";
    page.family("nv_inference_pending_request_count", Kind::Gauge, help);
    for Series { model, version, pending, .. } in &series {
        page.sample(&[("model", model), ("version", version)], (*pending).max(0));
    }
}

fn read(group: &[Arc<VersionMetrics>]) -> Option<Series<'_>> {
    let labels = group.first()?.labels();
    let totals = sum(group);
    let count = |codes: &[Code]| {
        codes.iter().map(|code| totals.ended_with(code_index(Some(*code)))).sum::<u64>()
    };
    let rejected = count(&[Code::ResourceExhausted, Code::Unavailable, Code::DeadlineExceeded]);
    let cancelled = count(&[Code::Cancelled]);
    let backend = count(&[Code::Internal]);
    let statistics = Statistics::of(&totals);
    let other = statistics.fail.count - rejected - cancelled - backend;
    Some(Series {
        model: labels.model.as_str(),
        version: labels.version.to_string(),
        statistics,
        failures: [rejected, cancelled, backend, other],
        pending: totals.pending,
    })
}
