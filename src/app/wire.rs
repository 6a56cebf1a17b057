//! The configuration's words as the parts' own parameters.

use std::collections::BTreeSet;
use std::time::Duration;

use super::config::{self, Config, ModelOptions};
use crate::api::WireLimits;
use crate::api::codec::DecodeLimits;
use crate::api::net::TimeLimits;
use crate::control::ModelSettings;
use crate::engine;
use crate::registry::Found;
use crate::serving::{Execution, ExecutionOptions};
use crate::types::Version;

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

/// How one model of the folder is to be loaded.
///
/// # Errors
/// Says what is wrong with its `model.yaml`.
pub(super) fn model_settings(config: &Config, found: &Found) -> Result<ModelSettings, String> {
    let own = match &found.options {
        Some(file) => Some(ModelOptions::load(file).map_err(|error| error.to_string())?),
        None => None,
    };
    let settings = config.model_settings(&found.name, own.as_ref());
    Ok(ModelSettings {
        execution: execution(&settings.serving),
        force_batching: settings.serving.batching == config::Batching::On,
        session: session(&settings.session),
        versions: versions(&settings.serving.versions, found),
        labels: settings.labels,
    })
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

fn versions(wanted: &config::Versions, found: &Found) -> BTreeSet<Version> {
    let all = found.versions.keys().copied();
    match wanted {
        config::Versions::All => all.collect(),
        config::Versions::Latest(count) => all.rev().take(*count).collect(),
        config::Versions::Specific(numbers) => {
            all.filter(|version| numbers.contains(&version.get())).collect()
        }
    }
}
