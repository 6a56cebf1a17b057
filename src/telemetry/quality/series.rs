//! The series of one version, and the samples that they were last found to have.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::family::QualityFamily;
use crate::types::{ModelName, Version};

/// Labels of a sample beside those of its series.
pub type QualityLabels = Vec<(&'static str, Cow<'static, str>)>;

/// One sample of a version's series.
#[derive(Clone, Debug, PartialEq)]
pub struct QualitySample {
    pub labels: QualityLabels,
    /// The sum, where it is one.
    pub value: f64,
    /// Weight of what was added up, for families that are sums.
    pub count: Option<f64>,
}

/// All samples of one version, by family.
pub type QualityReading = Vec<(QualityFamily, Vec<QualitySample>)>;

/// What names a version's series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QualityKey {
    pub model: ModelName,
    pub version: Version,
    pub variant: Arc<str>,
    /// `primary`, `fallback` or `shadow`.
    pub role: &'static str,
}

/// The series of one version under one variant and role.
#[derive(Debug)]
pub struct QualitySeries {
    key: QualityKey,
    reading: ArcSwap<QualityReading>,
}

impl QualitySeries {
    pub fn new(key: QualityKey) -> QualitySeries {
        QualitySeries { key, reading: ArcSwap::default() }
    }

    pub fn key(&self) -> &QualityKey {
        &self.key
    }

    pub(super) fn reading(&self) -> Arc<QualityReading> {
        self.reading.load_full()
    }

    pub fn publish(&self, reading: QualityReading) {
        self.reading.store(Arc::new(reading));
    }
}
