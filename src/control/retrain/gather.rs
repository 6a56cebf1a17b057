//! Collects what is known of a model from those who know it.

use std::path::Path;
use std::sync::Arc;

use super::event::{Arm, Context, LogContext, Range, Traffic};
use super::facts::{Offered, Quality, QualitySource, Served, Standing};
use crate::control::{Control, ModelStatus, RouteStatus, Status};
use crate::drift::live::{Drift, Role, Watch};
use crate::drift::profile::ReferenceQuality;
use crate::predictions::{Recording, layout};
use crate::telemetry::{Bound, QualityFamily, QualityGauge, QualityReading, Telemetry};
use crate::types::{ModelName, Stage, Version, rfc3339};

/// Days of partitions that an event names.
const MOST_DAYS: i64 = 31;

const DAY_US: i64 = 86_400_000_000;

/// Who knows.
#[derive(Clone)]
pub struct Sources {
    pub control: Control,
    pub drift: Arc<Drift>,
    pub telemetry: Arc<Telemetry>,
    pub recording: Arc<Recording>,
}

/// The versions of one model, as a moment knows them.
pub(super) struct Versions {
    pub(super) offered: Vec<Offered>,
    pub(super) served: Vec<Served>,
    pub(super) arms: Vec<Arm>,
}

impl Sources {
    pub(super) fn status(&self) -> Arc<Status> {
        self.control.status()
    }

    pub(super) fn versions(&self, model: &ModelStatus, status: &Status) -> Versions {
        let arms = arms(model, &status.routes);
        let champions: Vec<Version> = champions(model, &status.routes);
        let versions = model.versions.iter().filter(|of| of.stage != Stage::Gone);
        let offered = versions.map(|of| Offered {
            version: of.version,
            digest: of.digest,
            standing: match of.stage {
                Stage::Rejected => Standing::Rejected(of.reason.clone().unwrap_or_default()),
                Stage::Ready if champions.contains(&of.version) => Standing::Serving,
                _ => Standing::Tried,
            },
        });
        let offered: Vec<Offered> = offered.collect();
        let answering: Vec<Version> =
            arms.iter().filter(|arm| arm.weight > 0.0).filter_map(|arm| arm.version).collect();
        let watches = self.drift.watches();
        let served = watches
            .iter()
            .filter(|watch| watch.model == model.name && answering.contains(&watch.version));
        let served = served.filter_map(|watch| self.served(watch, &offered)).collect();
        Versions { offered, served, arms }
    }

    fn served(&self, watch: &Watch, offered: &[Offered]) -> Option<Served> {
        let active = watch.active()?;
        let offered = offered.iter().find(|offered| offered.version == watch.version)?;
        let reference = active.profile.quality.as_ref();
        Some(Served {
            version: watch.version,
            digest: offered.digest,
            profile: Arc::clone(&active.id),
            report: active.report(Role::Primary)?,
            quality: reference
                .map(|of| self.quality(&watch.model, watch.version, of))
                .unwrap_or_default(),
        })
    }

    /// The reference's figure in every window, of the variant with most labels.
    fn quality(&self, model: &ModelName, version: Version, of: &ReferenceQuality) -> Vec<Quality> {
        let (gauge, less_is_better) = match of.metric.as_str() {
            "roc_auc" => (QualityGauge::Auc, false),
            "accuracy" => (QualityGauge::Accuracy, false),
            "mae" => (QualityGauge::Mae, true),
            _ => return Vec::new(),
        };
        let readings = self.telemetry.quality().readings();
        let ours = readings.iter().filter(|(key, _)| {
            key.model == *model && key.version == version && key.role == "primary"
        });
        let Some((_, reading)) = ours.max_by_key(|(_, reading)| labelled(reading)) else {
            return Vec::new();
        };
        let figure = |gauge, bound, window: &str| sample(reading, gauge, bound, window);
        ["1h", "24h"]
            .into_iter()
            .filter_map(|window| {
                let current = figure(gauge, Bound::Value, window)?;
                let ends =
                    (figure(gauge, Bound::Lower, window), figure(gauge, Bound::Upper, window));
                Some(Quality {
                    metric: of.metric.clone(),
                    window: window.to_owned(),
                    reference: of.value,
                    bound: if less_is_better { of.upper } else { of.lower },
                    less_is_better,
                    current,
                    interval: match ends {
                        (Some(lower), Some(upper)) => Some((lower, upper)),
                        _ => None,
                    },
                    labels: figure(QualityGauge::Rows, Bound::Value, window)? as u64,
                    coverage: figure(QualityGauge::Coverage, Bound::Value, window).unwrap_or(0.0),
                    source: QualitySource::Labels,
                })
            })
            .collect()
    }

    /// What an event says of the time around it.
    pub(super) fn context(
        &self,
        model: &ModelName,
        versions: &Versions,
        of: Version,
        (from, to): (i64, i64),
        window_us: i64,
    ) -> Context {
        let served = versions.served.iter().find(|served| served.version == of);
        let rows = served
            .and_then(|served| served.report.features.first()?.windows.first())
            .map_or(0, |window| window.score.rows);
        Context {
            traffic: Traffic {
                rps: rows as f64 / (window_us as f64 / 1e6),
                arms: versions.arms.clone(),
            },
            log: self.recording.log().map(|log| self.log(log.root(), model, of, (from, to))),
            suggested_training_range: Some(Range { from: rfc3339(from), to: rfc3339(to) }),
            ..Context::default()
        }
    }

    fn log(&self, root: &Path, model: &ModelName, of: Version, range: (i64, i64)) -> LogContext {
        let readings = self.telemetry.quality().readings();
        let ours = readings.iter().filter(|(key, _)| key.model == *model && key.version == of);
        let (mut available, mut with_label) = (0.0, 0.0);
        for (_, reading) in ours {
            available += total(reading, QualityFamily::Predictions);
            with_label += total(reading, QualityFamily::Labelled);
        }
        LogContext {
            uri: std::path::absolute(root)
                .unwrap_or_else(|_| root.to_owned())
                .display()
                .to_string(),
            partitions: partitions(root, model, range),
            rows_available: available as u64,
            rows_labelled: with_label as u64,
        }
    }
}

/// Who answers requests: the variants of its routes, or the version that the
/// model's own name stands for.
fn arms(model: &ModelStatus, routes: &[Arc<RouteStatus>]) -> Vec<Arm> {
    let of_routes = routes.iter().filter(|route| route.model == model.name).flat_map(|route| {
        route.variants.iter().map(|variant| Arm {
            route: route.name.to_string(),
            variant: variant.name.clone(),
            version: variant.version,
            weight: variant.weight.percent(),
        })
    });
    let arms: Vec<Arm> = of_routes.collect();
    if !arms.is_empty() {
        return arms;
    }
    let champion = |version| Arm {
        route: model.name.to_string(),
        variant: "champion".to_owned(),
        version: Some(version),
        weight: 100.0,
    };
    model.default.into_iter().map(champion).collect()
}

/// The versions that answer those who were given to no other variant.
fn champions(model: &ModelStatus, routes: &[Arc<RouteStatus>]) -> Vec<Version> {
    let mut routes = routes.iter().filter(|route| route.model == model.name).peekable();
    if routes.peek().is_none() {
        return model.default.into_iter().collect();
    }
    routes.filter_map(|route| route.variants.first()?.version).collect()
}

/// The days of a range that the archive has folders of, for all versions: a new
/// one is trained on whatever was asked of any.
fn partitions(root: &Path, model: &ModelName, (from, to): (i64, i64)) -> Vec<String> {
    let folder = layout::predictions(root);
    let last = to.div_euclid(DAY_US);
    let first = from.div_euclid(DAY_US).max(last - MOST_DAYS + 1);
    let versions = std::fs::read_dir(folder.join(format!("model={model}")));
    let versions: Vec<_> = versions.into_iter().flatten().flatten().map(|of| of.path()).collect();
    let mut found = Vec::new();
    for day in first..=last {
        let date = format!("date={}", &rfc3339(day * DAY_US)[..10]);
        let days = versions.iter().map(|version| version.join(&date)).filter(|day| day.is_dir());
        found.extend(
            days.filter_map(|day| {
                Some(format!("{}/hour=*", day.strip_prefix(root).ok()?.display()))
            }),
        );
    }
    found
}

fn labelled(reading: &QualityReading) -> u64 {
    total(reading, QualityFamily::Labelled) as u64
}

fn total(reading: &QualityReading, family: QualityFamily) -> f64 {
    let samples = reading.iter().find(|(known, _)| *known == family);
    samples.map_or(0.0, |(_, samples)| samples.iter().map(|sample| sample.value).sum())
}

fn sample(
    reading: &QualityReading,
    gauge: QualityGauge,
    bound: Bound,
    window: &str,
) -> Option<f64> {
    let family = QualityFamily::Gauge(gauge, bound);
    let (_, samples) = reading.iter().find(|(known, _)| *known == family)?;
    let is_of = |label: &(&'static str, std::borrow::Cow<'static, str>)| {
        label.0 == "window" && label.1 == window
    };
    samples.iter().find(|sample| sample.labels.iter().any(is_of)).map(|sample| sample.value)
}
