//! Requests mirrored to another version after they were answered, and how its
//! answers compare. Never waited for, and the first to go where there is too much to do.

pub mod compare;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::serving::{Done, Servable, ServedRoute, Work};
use crate::telemetry::Telemetry;
use crate::types::{ModelName, Version};

/// The pool that runs mirrored requests. One for all routes.
pub struct Mirror {}

/// One answered request, to be mirrored. Shares the bytes of its tensors.
pub struct Sample {
    pub route: Arc<ServedRoute>,
    /// The version that answered.
    pub primary: Arc<Servable>,
    pub request_id: SmallVec<[u8; 40]>,
    /// As the primary got it: inputs and wanted outputs by its signature.
    pub work: Work,
    pub done: Done,
}

/// What `modelgate shadow diff` shows of one route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShadowReport {
    pub route: Option<ModelName>,
    pub primary: Option<Version>,
    pub shadow: Option<Version>,
}

impl Mirror {
    pub fn start(telemetry: &Arc<Telemetry>) -> std::io::Result<Arc<Mirror>> {
        let _ = telemetry;
        Ok(Arc::new(Mirror {}))
    }

    /// Takes a sample, or drops and counts it. Never waits, wakes nobody.
    pub fn offer(&self, sample: Sample) {
        drop(sample);
    }

    /// How a route's shadow compares so far; `None` where it has none.
    pub fn report(&self, route: &ModelName) -> Option<ShadowReport> {
        let _ = route;
        None
    }
}
