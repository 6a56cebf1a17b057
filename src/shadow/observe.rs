//! Shows answers of shadows to those who will compare them with labels, beside
//! the primary's. Here, because nothing below knows both versions and quality.

use std::sync::Arc;

use super::Sample;
use super::run::Answer;
use crate::predictions::Role;
use crate::quality::{Observed, Quality, Served};
use crate::serving::{Servable, Target};
use crate::types::{ModelName, TensorSpec, Version};

/// Who is shown the shadow's answer.
pub struct Observing {
    pub quality: Arc<Quality>,
    /// When the request came; microseconds since 1970.
    pub at: i64,
    /// Rows of the primary's answer.
    pub rows: usize,
}

pub(super) fn observe(sample: &Sample, target: &Target, answer: &Answer) {
    let Some(observing) = &sample.observing else { return };
    let served: Arc<Servable> = Arc::clone(&target.servable);
    observing.quality.saw(Observed {
        id: sample.request_id.clone(),
        served,
        variant: target.variant_text.clone(),
        role: Role::Shadow,
        at: observing.at,
        rows: observing.rows,
        wanted: answer.wanted.clone(),
        outputs: answer.outputs.clone(),
    });
}

impl Served for Servable {
    fn model(&self) -> &ModelName {
        self.name()
    }

    fn version(&self) -> Version {
        Servable::version(self)
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.signature().outputs
    }
}
