//! The families of models and versions. Samples of one family stand together,
//! so each family is a walk over all models.

use std::sync::Arc;

use super::exposition::{Kind, Page, seconds};
use super::histogram::{LATENCY_BOUNDS, LATENCY_BUCKETS, ROW_BOUNDS};
use super::labels::CODES;
use super::model::{Changes, ModelMetrics, ModelTotals, RequestTotals, SWAP_BOUNDS};
use super::version::{Gauges, VersionLabels, VersionMetrics, VersionTotals};
use super::{Protocol, UNKNOWN};
use crate::types::Reason;

pub(super) fn models(page: &mut Page, models: &[Arc<ModelMetrics>]) {
    let totals: Vec<(&str, ModelTotals)> =
        models.iter().map(|model| (model.name(), model.totals())).collect();

    let help = "Requests under way.";
    page.family("modelgate_inflight_requests", Kind::Gauge, help);
    for (model, totals) in &totals {
        page.sample(&[("model", model)], totals.inflight);
    }

    let help = "Requests refused before or instead of running them.";
    page.family("modelgate_rejected_total", Kind::Counter, help);
    for (model, totals) in &totals {
        for (reason, count) in Reason::ALL.iter().zip(totals.rejected) {
            page.sample(&[("model", model), ("reason", reason.label())], count);
        }
    }

    let help = "Requests that may wait for the model's lanes or run there, as learnt.";
    page.family("modelgate_admission_limit", Kind::Gauge, help);
    for model in models {
        if let Some(limit) = model.admission_limit() {
            page.sample(&[("model", model.name())], limit);
        }
    }
}

/// What the lifecycle did to models.
pub(super) fn changes(page: &mut Page, models: &[Arc<ModelMetrics>]) {
    let changes: Vec<(&str, Changes)> =
        models.iter().map(|model| (model.name(), model.changes())).collect();

    let help = "First loads of versions, each in a process of its own, by outcome.";
    page.family("modelgate_probe_total", Kind::Counter, help);
    for (model, changes) in &changes {
        for (outcome, count) in &changes.probes {
            page.sample(&[("model", model), ("outcome", outcome)], count);
        }
    }
    let help = "Changes of the version that answers, and versions that were rejected.";
    page.family("modelgate_swaps_total", Kind::Counter, help);
    for (model, changes) in &changes {
        for (outcome, count) in &changes.swaps {
            page.sample(&[("model", model), ("outcome", outcome)], count);
        }
    }
    let help = "Time from the start of a version's fetch until it answers.";
    page.family("modelgate_swap_duration_seconds", Kind::Histogram, help);
    for (model, changes) in &changes {
        if changes.swap_buckets.iter().any(|count| *count > 0) {
            let bounds = SWAP_BOUNDS.iter().map(|(_, label)| *label);
            let labels = [("model", *model)];
            page.histogram(&labels, bounds, &changes.swap_buckets, changes.swap_seconds);
        }
    }
}

/// `versions` stand in the order of their series keys.
pub(super) fn versions(
    page: &mut Page,
    models: &[Arc<ModelMetrics>],
    versions: &[Arc<VersionMetrics>],
) {
    requests(page, models, versions);
    histograms(page, versions);
    gauges(page, versions);
}

fn requests(page: &mut Page, models: &[Arc<ModelMetrics>], versions: &[Arc<VersionMetrics>]) {
    page.family("modelgate_requests_total", Kind::Counter, "Requests answered, by outcome.");
    for version in versions {
        let VersionLabels { model, version: number, route, variant, .. } = version.labels();
        let place = [model.as_str(), &number.to_string(), route.as_str(), variant];
        request_samples(page, place, &version.totals().requests, true);
    }
    for model in models {
        let place = [model.name(), UNKNOWN, model.name(), UNKNOWN];
        request_samples(page, place, &model.totals().requests, false);
    }
}

/// Outcomes that occurred; of versions also those that should, so that a rate
/// of success can be taken from the start.
fn request_samples(
    page: &mut Page,
    [model, version, route, variant]: [&str; 4],
    requests: &RequestTotals,
    success_from_zero: bool,
) {
    for (protocol, codes) in Protocol::ALL.iter().zip(requests) {
        for (index, (code, count)) in CODES.iter().zip(codes).enumerate() {
            if *count > 0 || (success_from_zero && index == 0) {
                let labels = [
                    ("model", model),
                    ("version", version),
                    ("route", route),
                    ("variant", variant),
                    ("protocol", protocol.label()),
                    ("code", code),
                ];
                page.sample(&labels, count);
            }
        }
    }
}

struct Series<'a> {
    labels: [(&'static str, &'a str); 3],
    totals: &'a VersionTotals,
}

fn histograms(page: &mut Page, versions: &[Arc<VersionMetrics>]) {
    // Routes are not told apart here: two that share a variant are summed.
    let groups: Vec<(&VersionLabels, String, VersionTotals)> = versions
        .chunk_by(|a, b| {
            let (a, b) = (a.labels(), b.labels());
            a.model == b.model && a.version == b.version && a.variant == b.variant
        })
        .filter_map(|group| {
            let labels = group.first()?.labels();
            Some((labels, labels.version.to_string(), sum(group)))
        })
        .collect();
    let series: Vec<Series<'_>> = groups
        .iter()
        .map(|(labels, version, totals)| Series {
            labels: [
                ("model", labels.model.as_str()),
                ("version", version),
                ("variant", &labels.variant),
            ],
            totals,
        })
        .collect();

    let help = "Time from a request's decoding to its answer.";
    latencies(page, "modelgate_request_duration_seconds", help, &series, |totals| {
        (&totals.latency, totals.ok_ns + totals.failed_ns)
    });
    let help = "Time a request waited before its run began.";
    latencies(page, "modelgate_queue_duration_seconds", help, &series, |totals| {
        (&totals.queue, totals.queue_ns)
    });
    let help = "Time of one run of the model, which may answer several requests.";
    latencies(page, "modelgate_inference_duration_seconds", help, &series, |totals| {
        (&totals.infer, totals.batches.runs.infer_ns)
    });

    page.family("modelgate_batch_rows", Kind::Histogram, "Rows of one run of the model.");
    for Series { labels, totals } in &series {
        let batches = &totals.batches;
        page.histogram(labels, ROW_BOUNDS.into_iter(), &batches.row_buckets, batches.rows);
    }
}

fn latencies(
    page: &mut Page,
    name: &'static str,
    help: &'static str,
    series: &[Series<'_>],
    of: fn(&VersionTotals) -> (&[u64; LATENCY_BUCKETS], u64),
) {
    page.family(name, Kind::Histogram, help);
    for Series { labels, totals } in series {
        let (buckets, sum) = of(totals);
        let bounds = LATENCY_BOUNDS.iter().map(|(_, label)| *label);
        page.histogram(labels, bounds, buckets, seconds(sum));
    }
}

fn gauges(page: &mut Page, all: &[Arc<VersionMetrics>]) {
    // These describe the version wherever it is routed: one series for each.
    let versions: Vec<(&VersionLabels, String, Gauges)> = by_version(all)
        .filter_map(|group| {
            // Handles of a route's variants only count: the version's own has been told.
            let told = group.iter().rev().find(|version| version.gauges().state.is_some());
            let version = told.or(group.last())?;
            let labels = version.labels();
            Some((labels, labels.version.to_string(), version.gauges()))
        })
        .collect();

    let help = "Versions that are known, and where they came from.";
    page.family("modelgate_model_info", Kind::Gauge, help);
    for (labels, version, _) in &versions {
        let labels = [
            ("model", labels.model.as_str()),
            ("version", version),
            ("digest", &labels.digest),
            ("source", &labels.source),
        ];
        page.sample(&labels, 1);
    }

    page.family("modelgate_model_state", Kind::Gauge, "State a version is in.");
    for (labels, version, gauges) in &versions {
        if let Some(state) = gauges.state {
            let labels = [("model", labels.model.as_str()), ("version", version), ("state", state)];
            page.sample(&labels, 1);
        }
    }

    let help = "1 while a version that kept failing is left alone.";
    page.family("modelgate_breaker_open", Kind::Gauge, help);
    for group in by_version(all) {
        if let Some((version, open)) =
            group.iter().rev().find_map(|version| Some((version, version.gauges().breaker_open?)))
        {
            let VersionLabels { model, version, .. } = version.labels();
            let labels = [("model", model.as_str()), ("version", &version.to_string())];
            page.sample(&labels, u8::from(open));
        }
    }

    let help = "Memory a loaded version holds.";
    page.family("modelgate_model_memory_bytes", Kind::Gauge, help);
    for (labels, version, gauges) in &versions {
        if let Some(bytes) = gauges.memory_bytes {
            page.sample(&[("model", labels.model.as_str()), ("version", version)], bytes);
        }
    }

    let help = "Time it took to load a version.";
    page.family("modelgate_model_load_duration_seconds", Kind::Gauge, help);
    for (labels, version, gauges) in &versions {
        if let Some(duration) = gauges.load_duration {
            let labels = [("model", labels.model.as_str()), ("version", version.as_str())];
            page.sample(&labels, duration.as_secs_f64());
        }
    }
}

/// Runs of handles that serve the same version of the same model.
pub(super) fn by_version(
    versions: &[Arc<VersionMetrics>],
) -> impl Iterator<Item = &[Arc<VersionMetrics>]> {
    versions.chunk_by(|a, b| {
        let (a, b) = (a.labels(), b.labels());
        a.model == b.model && a.version == b.version
    })
}

pub(super) fn sum(versions: impl IntoIterator<Item = impl AsRef<VersionMetrics>>) -> VersionTotals {
    let mut totals = VersionTotals::default();
    for version in versions {
        let version = version.as_ref();
        version.add_to(&mut totals);
    }
    totals
}
