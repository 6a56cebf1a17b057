//! Metrics of one version of a model: the hot path's counters and the gauges
//! that its loading sets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::batches::{BatchTotals, Batches};
use super::histogram::{LATENCY_BUCKETS, LatencyBuckets};
use super::labels::code_index;
use super::model::{RequestCounters, RequestTotals, add_requests};
use super::shard::{Counter, Level, Sharded};
use super::{Protocol, locked};
use crate::types::{Code, ModelName, Version};

/// What names a version's series.
#[derive(Clone, Debug)]
pub struct VersionLabels {
    pub model: ModelName,
    pub version: Version,
    pub route: ModelName,
    pub variant: Arc<str>,
    /// Digest of the version's files; empty where unknown.
    pub digest: Arc<str>,
    /// Where the version came from, such as the registry's name.
    pub source: Arc<str>,
}

impl VersionLabels {
    /// Labels of a model without routes: it is its own route with one variant.
    pub fn champion(model: ModelName, version: Version) -> VersionLabels {
        VersionLabels {
            route: model.clone(),
            model,
            version,
            variant: Arc::from("champion"),
            digest: Arc::from(""),
            source: Arc::from(""),
        }
    }

    pub(super) fn key(&self) -> SeriesKey {
        SeriesKey {
            model: self.model.clone(),
            version: self.version,
            variant: Arc::clone(&self.variant),
            route: self.route.clone(),
        }
    }
}

/// Handles with equal keys count into the same series. The route stands last,
/// so that series which do not name it lie together.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SeriesKey {
    model: ModelName,
    version: Version,
    variant: Arc<str>,
    route: ModelName,
}

impl SeriesKey {
    /// Stands before every key of the version.
    pub(super) fn first(model: &ModelName, version: Version) -> SeriesKey {
        let (variant, route) = (Arc::from(""), model.clone());
        SeriesKey { model: model.clone(), version, variant, route }
    }

    pub(super) fn is_of(&self, model: &ModelName, version: Version) -> bool {
        self.model == *model && self.version == version
    }
}

/// How long the parts of one run took.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunTimings {
    /// Making the model's inputs, gathering a batch included.
    pub input: Duration,
    /// The run itself.
    pub infer: Duration,
    /// Taking the outputs apart.
    pub output: Duration,
}

/// Counts what a version's requests do. The methods a request calls are a few
/// relaxed atomic adds on the calling thread's own cache lines.
#[derive(Debug)]
pub struct VersionMetrics {
    labels: VersionLabels,
    shards: Sharded<Shard>,
    gauges: Mutex<Gauges>,
}

#[derive(Debug, Default)]
struct Shard {
    requests: RequestCounters,
    latency: LatencyBuckets,
    /// Time of the requests that succeeded and of those that did not.
    ok_ns: Counter,
    failed_ns: Counter,
    queue: LatencyBuckets,
    queue_ns: Counter,
    infer: LatencyBuckets,
    batches: Batches,
    /// Requests that shared a run with another, the first of each run left
    /// out, and that run's times once for each of them: Triton's statistics
    /// count a run's time for every request in it.
    shared_requests: Counter,
    shared_input_ns: Counter,
    shared_infer_ns: Counter,
    shared_output_ns: Counter,
    pending: Level,
    /// Unix time of this thread's last run in milliseconds.
    last_inference_ms: Counter,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gauges {
    pub(super) state: Option<&'static str>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) load_duration: Option<Duration>,
    pub(super) breaker_open: Option<bool>,
}

impl VersionMetrics {
    pub(super) fn new(labels: VersionLabels, shards: usize) -> VersionMetrics {
        VersionMetrics { labels, shards: Sharded::new(shards), gauges: Mutex::default() }
    }

    /// A handle with `labels` that counts into the same series.
    pub(super) fn renewed(&self, labels: VersionLabels) -> VersionMetrics {
        VersionMetrics { labels, shards: self.shards.shared(), gauges: Mutex::default() }
    }

    /// Counts a request that this version was chosen for, when it ends: `code`
    /// is `None` for a prediction, `total` the time since the request's first
    /// byte was decoded. Refused requests count too.
    pub fn finished(&self, protocol: Protocol, code: Option<Code>, total: Duration) {
        let shard = self.shards.mine();
        let total = nanos(total);
        shard.requests[protocol as usize][code_index(code)].add(1);
        shard.latency.count(total);
        match code {
            None => shard.ok_ns.add(total),
            Some(_) => shard.failed_ns.add(total),
        }
    }

    /// Counts one run that succeeded, of `rows` rows for `requests` requests.
    pub fn executed(&self, rows: usize, requests: usize, timings: &RunTimings) {
        let shard = self.shards.mine();
        shard.infer.count(nanos(timings.infer));
        shard.batches.count(rows, timings);
        if requests > 1 {
            let others = requests as u64 - 1;
            shard.shared_requests.add(others);
            shard.shared_input_ns.add(nanos(timings.input).saturating_mul(others));
            shard.shared_infer_ns.add(nanos(timings.infer).saturating_mul(others));
            shard.shared_output_ns.add(nanos(timings.output).saturating_mul(others));
        }
        shard.last_inference_ms.set(unix_ms());
    }

    /// Counts how long one request waited before its run began; once for each
    /// request that ran, however short the wait.
    pub fn queued(&self, wait: Duration) {
        let shard = self.shards.mine();
        let wait = nanos(wait);
        shard.queue.count(wait);
        shard.queue_ns.add(wait);
    }

    /// Adds to (or takes from) the number of requests that wait for a run.
    pub fn pending(&self, change: i64) {
        self.shards.mine().pending.add(change);
    }

    /// Sets the state, such as `ready`: one of a closed set of the caller's.
    pub fn set_state(&self, state: &'static str) {
        locked(&self.gauges).state = Some(state);
    }

    /// Sets the bytes of memory that the loaded version holds.
    pub fn set_memory(&self, bytes: u64) {
        locked(&self.gauges).memory_bytes = Some(bytes);
    }

    pub fn set_load_duration(&self, duration: Duration) {
        locked(&self.gauges).load_duration = Some(duration);
    }

    /// Says whether the version, which kept failing, is left alone.
    pub fn set_breaker_open(&self, open: bool) {
        locked(&self.gauges).breaker_open = Some(open);
    }

    pub fn labels(&self) -> &VersionLabels {
        &self.labels
    }

    pub(super) fn gauges(&self) -> Gauges {
        *locked(&self.gauges)
    }

    pub(super) fn totals(&self) -> VersionTotals {
        let mut totals = VersionTotals::default();
        self.add_to(&mut totals);
        totals
    }

    pub(super) fn add_to(&self, totals: &mut VersionTotals) {
        for shard in self.shards.iter() {
            add_requests(&mut totals.requests, &shard.requests);
            shard.latency.add_to(&mut totals.latency);
            totals.ok_ns += shard.ok_ns.get();
            totals.failed_ns += shard.failed_ns.get();
            shard.queue.add_to(&mut totals.queue);
            totals.queue_ns += shard.queue_ns.get();
            shard.infer.add_to(&mut totals.infer);
            totals.batches.add(&shard.batches);
            totals.shared_requests += shard.shared_requests.get();
            totals.shared_input_ns += shard.shared_input_ns.get();
            totals.shared_infer_ns += shard.shared_infer_ns.get();
            totals.shared_output_ns += shard.shared_output_ns.get();
            totals.pending += shard.pending.get();
            totals.last_inference_ms = totals.last_inference_ms.max(shard.last_inference_ms.get());
        }
    }
}

/// A reading of the counters of one or several versions.
#[derive(Debug, Default)]
pub(super) struct VersionTotals {
    pub(super) requests: RequestTotals,
    pub(super) latency: [u64; LATENCY_BUCKETS],
    pub(super) ok_ns: u64,
    pub(super) failed_ns: u64,
    pub(super) queue: [u64; LATENCY_BUCKETS],
    pub(super) queue_ns: u64,
    pub(super) infer: [u64; LATENCY_BUCKETS],
    pub(super) batches: BatchTotals,
    pub(super) shared_requests: u64,
    pub(super) shared_input_ns: u64,
    pub(super) shared_infer_ns: u64,
    pub(super) shared_output_ns: u64,
    pub(super) pending: i64,
    pub(super) last_inference_ms: u64,
}

impl VersionTotals {
    /// Requests that ended with the code at `index` of `CODES`, on any protocol.
    pub(super) fn ended_with(&self, index: usize) -> u64 {
        self.requests.iter().filter_map(|codes| codes.get(index)).sum()
    }

    pub(super) fn all_requests(&self) -> u64 {
        self.requests.iter().flatten().sum()
    }
}

/// Nanoseconds of `duration`, which for longer than 584 years are as many as fit.
pub(super) fn nanos(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(duration.subsec_nanos()))
}

/// Unix time in milliseconds, a few of them late: the kernel's coarse clock
/// costs a fifth of the exact one, which would be half of what a run counts.
#[cfg(target_os = "linux")]
fn unix_ms() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::RealtimeCoarse);
    u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap_or(0)
}

#[cfg(not(target_os = "linux"))]
fn unix_ms() -> u64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()) / 1_000_000
}
