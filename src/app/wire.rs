//! The configuration's words as the parts' own parameters.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use super::config::{self, Config, ModelOptions};
use crate::api::WireLimits;
use crate::api::codec::DecodeLimits;
use crate::api::net::TimeLimits;
use crate::control::{
    DeclaredRoute, DriftSettings, LabelTarget, ModelSettings, Setup, VersionPolicy,
};
use crate::drift::Window;
use crate::drift::live::{DriftOptions, LearningBounds};
use crate::engine;
use crate::predictions::{Level, Recording};
use crate::quality::index::Bounds;
use crate::quality::{LabelLog, QualityOptions};
use crate::registry::Source;
use crate::serving::{Execution, ExecutionOptions};
use crate::types::{ModelName, Version};

pub(super) fn network_threads(config: &Config) -> usize {
    match config.server.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        set => set,
    }
}

pub(super) fn limits(config: &Config) -> WireLimits {
    let limits = &config.limits;
    WireLimits {
        max_body_bytes: limits.max_body_bytes,
        max_head_bytes: u32::try_from(limits.max_head_bytes).unwrap_or(u32::MAX),
        max_headers: limits.max_headers,
        max_connections: limits.max_connections,
        max_streams: limits.max_streams_per_connection,
        body_timeout: Duration::from_millis(limits.body_timeout_ms),
        spin: Duration::from_micros(config.server.spin_us),
        ping_every: Duration::from_millis(limits.idle_timeout_ms / 2),
        time: TimeLimits {
            head_ms: limits.head_timeout_ms,
            idle_ms: limits.idle_timeout_ms,
            write_ms: limits.write_timeout_ms,
            stalled_ms: limits.max_request_ms.saturating_add(limits.write_timeout_ms),
        },
        decode: DecodeLimits {
            max_inputs: limits.max_inputs,
            max_outputs: limits.max_outputs,
            max_elements: limits.max_elements,
            ..DecodeLimits::default()
        },
    }
}

/// How a model is loaded and chosen, by the configuration and by the text of
/// its `model.yaml`.
///
/// # Errors
/// Says what is wrong with its `model.yaml`.
pub(super) fn model_settings(
    config: &Config,
    name: &ModelName,
    options: Option<&str>,
) -> Result<ModelSettings, String> {
    let own = options.map(ModelOptions::parse).transpose().map_err(|error| error.to_string())?;
    let settings = config.model_settings(name, own.as_ref());
    let serving = &settings.serving;
    let label = |target: config::LabelTarget| match target {
        config::LabelTarget::Version(number) => LabelTarget::Version(Version::from(number)),
        config::LabelTarget::Word(config::LabelWord::Latest) => LabelTarget::Latest,
        config::LabelTarget::Word(config::LabelWord::Default) => LabelTarget::Default,
    };
    let version_labels = settings.version_labels.into_iter();
    let drift = config.drift.model(name);
    Ok(ModelSettings {
        execution: execution(serving),
        force_batching: serving.batching == config::Batching::On,
        session: session(&settings.session),
        labels: settings.labels,
        recording: Arc::new(config.predictions.policy(name, &settings.features)),
        drift: DriftSettings {
            enabled: drift.enabled,
            profile: drift.profile,
            bootstrap: drift.bootstrap.then(|| bootstrap(config)).flatten(),
            features: settings.features,
        },
        versions: versions(&serving.versions),
        keep_previous: serving.keep_previous,
        explicit: serving.mode == config::Mode::Explicit,
        resource_preserving: serving.swap == config::Swap::ResourcePreserving,
        any_signature: serving.signature == config::SignaturePolicy::Any,
        version_labels: version_labels.map(|(name, target)| (name, label(target))).collect(),
    })
}

/// How predictions and labels wait for each other, and where labels are kept.
pub(super) fn quality(config: &Config, recording: &Recording) -> QualityOptions {
    let quality = &config.quality;
    let log = recording.log().map(|log| LabelLog {
        log: Arc::clone(log),
        level: match config.predictions.default_level() {
            // Models that are recorded all the same get their labels.
            Level::Off => Level::Process,
            level => level,
        },
        on_failure: config.predictions.default_on_failure(),
    });
    let models = quality.models.clone();
    QualityOptions {
        bounds: Bounds {
            rows: quality.index_rows,
            bytes: quality.index_bytes,
            pending: quality.pending_labels,
            ttl: i64::try_from(quality.wait_ms.saturating_mul(1000)).unwrap_or(i64::MAX),
        },
        declare: Arc::new(move |name| models.get(name).cloned().unwrap_or_default()),
        log,
    }
}

/// How profiles are learnt from traffic; none where they are not.
fn bootstrap(config: &Config) -> Option<LearningBounds> {
    let bootstrap = &config.drift.bootstrap;
    let us = |ms: u64| i64::try_from(ms.saturating_mul(1000)).unwrap_or(i64::MAX);
    bootstrap.enabled.then_some(LearningBounds {
        survey_rows: bootstrap.survey_rows,
        survey_us: us(bootstrap.survey_ms),
        count_rows: bootstrap.count_rows,
        count_us: us(bootstrap.count_ms),
    })
}

/// How traffic is compared with profiles, by `threads` threads.
pub(super) fn drift(config: &Config, threads: usize) -> DriftOptions {
    let drift = &config.drift;
    let us = |ms: u64| i64::try_from(ms.saturating_mul(1000)).unwrap_or(i64::MAX);
    // As the hour and the day that are the default.
    let window = |ms: &u64| {
        let buckets = if *ms <= 6 * 3_600_000 { 60 } else { 96 };
        Window { bucket_us: us(*ms) / buckets as i64, buckets }
    };
    DriftOptions {
        windows: drift.windows_ms.iter().map(window).collect(),
        every: Duration::from_millis(drift.every_ms),
        hold_us: us(drift.hold_ms),
        keep_us: us(drift.keep_ms),
        // Threads that run shadows, and the one that counts what takes long.
        shards: threads + 2,
    }
}

/// What the lifecycle works by.
pub(super) fn setup(
    config: &Config,
    sources: Vec<Arc<dyn Source>>,
    routes: Vec<DeclaredRoute>,
) -> Setup {
    let of_models = config.clone();
    Setup {
        sources,
        settings: Arc::new(move |name, options| model_settings(&of_models, name, options)),
        probe: config.models.probe.limits(),
        allowed_domains: config.models.allowed_domains.clone(),
        memory_bytes: match config.models.memory_bytes {
            0 => machine_memory() / 5 * 4,
            set => set,
        },
        routes,
    }
}

/// Bytes of memory that this process may take: the machine's, or the container's.
fn machine_memory() -> u64 {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let machine = read("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map_or(u64::MAX, |kib| kib * 1024);
    let container = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .into_iter()
        .find_map(|file| read(file).trim().parse::<u64>().ok());
    container.map_or(machine, |limit| limit.min(machine))
}

fn execution(options: &config::ServingOptions) -> ExecutionOptions {
    ExecutionOptions {
        execution: match options.execution {
            config::Execution::Auto => Execution::Auto,
            config::Execution::Inline => Execution::Inline,
            config::Execution::Turn => Execution::Turn,
            config::Execution::Lane => Execution::Lane,
        },
        batching: options.batching != config::Batching::Off,
        max_batch_rows: options.max_batch_rows,
        max_batch_delay: Duration::from_micros(options.max_batch_delay_us),
        lanes: options.lanes,
        queue_requests: options.queue_requests,
        queue_wait: Duration::from_millis(options.queue_wait_ms),
        queue_timeout: match options.queue_timeout_ms {
            0 => None,
            ms => Some(Duration::from_millis(ms)),
        },
        inline_budget: Duration::from_micros(options.inline_budget_us),
    }
}

fn session(options: &config::SessionOptions) -> engine::SessionOptions {
    engine::SessionOptions {
        intra_op_threads: options.intra_op_threads,
        spinning: options.spinning,
        arena: options.arena,
        optimization: match options.optimization {
            config::Optimization::None => engine::Optimization::Disable,
            config::Optimization::Basic => engine::Optimization::Basic,
            config::Optimization::Extended => engine::Optimization::Extended,
            config::Optimization::All => engine::Optimization::All,
        },
        ..engine::SessionOptions::default()
    }
}

fn versions(wanted: &config::Versions) -> VersionPolicy {
    match wanted {
        config::Versions::All => VersionPolicy::All,
        config::Versions::Latest(count) => VersionPolicy::Latest(*count),
        config::Versions::Specific(numbers) => VersionPolicy::Specific(
            numbers
                .iter()
                .filter_map(|number| NonZeroU64::new(*number))
                .map(Version::from)
                .collect(),
        ),
    }
}
