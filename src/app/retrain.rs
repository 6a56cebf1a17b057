//! Deciding about retraining, as the configuration wants it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use thiserror::Error;

use super::config::{Config, DeliverConfig, DeliverTo, OnInputDrift};
use crate::control::retrain::{
    Body, ClearRule, CommandTarget, Courier, EvidenceRule, GuardRule, HttpTarget, KeyError, Policy,
    Retrain, RetrainOptions, Signer, Sources, Target, TargetError,
};
use crate::registry::Secret;
use crate::types::ModelName;

#[derive(Debug, Error)]
pub enum RetrainStartError {
    #[error("cannot use the folder of retraining '{folder}': {source}")]
    Folder { folder: PathBuf, source: io::Error },
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("retrain.deliver.secret: {0}")]
    Key(#[from] KeyError),
}

/// Opens what was remembered of retraining.
///
/// # Errors
/// Where its folder, or who is asked, cannot be used.
pub(super) fn open(config: &Config, sources: Sources) -> Result<Arc<Retrain>, RetrainStartError> {
    let section = &config.retrain;
    if !section.enabled {
        return Ok(Retrain::off());
    }
    let folder = config.server.data.join("retrain");
    let of_models = config.clone();
    let options = RetrainOptions {
        folder: folder.clone(),
        every: Duration::from_millis(section.evaluate_ms),
        daily_budget: section.daily_budget,
        policy: Arc::new(move |name| policy(&of_models, name)),
        courier: section.deliver.as_ref().map(courier).transpose()?,
        dashboards: section.dashboards.clone(),
    };
    Retrain::open(options, sources).map_err(|source| RetrainStartError::Folder { folder, source })
}

/// What is decided of a model by; none where nothing is.
fn policy(config: &Config, name: &ModelName) -> Option<Policy> {
    let (section, model) = (&config.retrain, config.retrain.model(name));
    let us = |ms: u64| i64::try_from(ms.saturating_mul(1000)).unwrap_or(i64::MAX);
    let window = |ms: Option<&u64>| us(ms.copied().unwrap_or(3_600_000)).max(1);
    let on_input_drift = model.on_input_drift.unwrap_or(section.on_input_drift);
    model.enabled.unwrap_or(true).then(|| Policy {
        dry_run: model.dry_run.unwrap_or(section.dry_run),
        trains_on_input_drift: on_input_drift == OnInputDrift::Request,
        evaluations: section.evaluations,
        evidence: EvidenceRule {
            features: section.features,
            importance: section.importance,
            importances: model.importances,
            min_coverage: section.min_coverage,
            min_labels: section.min_labels,
        },
        guard: GuardRule {
            jump: section.jump,
            at_once: section.at_once,
            window_us: window(config.drift.windows_ms.first()),
        },
        longest_window_us: window(config.drift.windows_ms.last()),
        cooldown_us: us(section.cooldown_ms),
        longest_cooldown_us: us(section.longest_cooldown_ms),
        // As drift.md has them.
        clear: ClearRule { psi: 0.05, z: 2.0, for_us: us(section.clear_ms) },
        blackouts: section.blackouts.iter().filter_map(|of| of.blackout()).collect(),
    })
}

fn courier(deliver: &DeliverConfig) -> Result<Courier, RetrainStartError> {
    let timeout = Duration::from_millis(deliver.timeout_ms);
    let body = match deliver.to {
        DeliverTo::Cloudevent => Body::CloudEvent,
        DeliverTo::CloudeventBinary => Body::CloudEventBinary,
        DeliverTo::Airflow => Body::Airflow,
        DeliverTo::Argo => Body::Argo,
        DeliverTo::Github => Body::GitHub,
        DeliverTo::Command => {
            let mut command = deliver.command.iter().cloned();
            let program = command.next().unwrap_or_default();
            let arguments = command.collect();
            let target = CommandTarget { program, arguments, timeout };
            return Ok(Courier::new(Target::Command(target))?);
        }
    };
    let header = |(name, value): (&String, &Secret)| {
        HeaderName::from_bytes(name.as_bytes()).ok().map(|name| (name, value.clone()))
    };
    let signer = deliver.secret.as_ref().map(|key| Signer::new(key.reveal())).transpose()?;
    Ok(Courier::new(Target::Http(HttpTarget {
        url: Secret::new(deliver.url.clone().unwrap_or_default()),
        body,
        headers: deliver.headers.iter().filter_map(header).collect(),
        signer,
        timeout,
    }))?)
}
