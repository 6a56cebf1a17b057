//! The life of a request, from decoded bytes to tensors of an answer.
//!
//! A face makes a [`Call`] of what it knows and asks [`Gateway::route`], which
//! looks at the catalog once. The [`Ticket`] it gets decides between variants
//! once the body is there (`ticket`, `chosen`), fits the request to the
//! version (`bind`) and starts it. [`Begun`] waits for the answer, or for the
//! champion's where a variant failed.

mod begun;
mod bind;
mod call;
mod chosen;
mod finite;
mod id;
mod observe;
mod readiness;
mod rebind;
mod record;
mod ticket;

use std::sync::Arc;
use std::time::Duration;

pub use begun::{Answer, Begun};
pub use bind::{Bound, bind};
pub use call::{Call, MODEL_VERSION, PRIORITY, REQUEST_ID};
pub use id::RequestId;
pub use readiness::Readiness;
pub use ticket::Ticket;

use crate::admission::ByteBudget;
use crate::drift::live::Drift;
use crate::predictions::Recording;
use crate::quality::Quality;
use crate::serving::{Catalog, Servable};
use crate::shadow::Mirror;
use crate::telemetry::{Protocol, Telemetry};
use crate::types::{InferError, Priority};
use chosen::Chosen;

/// What the whole gateway shares on the way of a request.
pub struct Gateway {
    pub catalog: Arc<Catalog>,
    pub budget: Arc<ByteBudget>,
    pub telemetry: Arc<Telemetry>,
    pub mirror: Arc<Mirror>,
    pub recording: Arc<Recording>,
    pub quality: Arc<Quality>,
    pub drift: Arc<Drift>,
    /// The longest a request may take, whatever the client asked for.
    pub max_request: Duration,
    pub readiness: Readiness,
}

impl Gateway {
    pub fn new(
        telemetry: Arc<Telemetry>,
        budget: Arc<ByteBudget>,
        mirror: Arc<Mirror>,
        recording: Arc<Recording>,
        max_request: Duration,
    ) -> Gateway {
        let (catalog, readiness) = Default::default();
        let (quality, drift) = (Quality::off(), Drift::off());
        Gateway {
            catalog,
            budget,
            telemetry,
            mirror,
            recording,
            quality,
            drift,
            max_request,
            readiness,
        }
    }

    /// Shows answers to `quality`, which takes labels for them.
    #[must_use]
    pub fn with_quality(self, quality: Arc<Quality>) -> Gateway {
        Gateway { quality, ..self }
    }

    /// Compares traffic with the profiles of versions.
    #[must_use]
    pub fn with_drift(self, drift: Arc<Drift>) -> Gateway {
        Gateway { drift, ..self }
    }

    /// Finds what a request's name stands for: the one look at what is served,
    /// and the truth until the answer. A request that there would be no room
    /// for is refused here, before its body is read.
    ///
    /// # Errors
    /// As [`Snapshot::resolve`](crate::serving::Snapshot::resolve); `Unavailable`
    /// where the model has as many requests waiting as it may, or so many that
    /// this one would be late.
    pub fn route(&self, call: &Call<'_>) -> Result<Ticket<'_>, InferError> {
        let ticket = self.find(call).inspect_err(|error| self.refused(call.protocol, error))?;
        match ticket.check_room(call) {
            Ok(()) => Ok(ticket),
            Err(error) => Err(ticket.failed(call, error)),
        }
    }

    fn find(&self, call: &Call<'_>) -> Result<Ticket<'_>, InferError> {
        let snapshot = self.catalog.load();
        let named = snapshot.named(call.model)?;
        if let Some(served) = &named.route {
            let priority = call.priority(served.route.priority)?;
            let any = served.any().ok_or_else(|| served.unready())?;
            let chosen = Chosen::Undecided(Arc::clone(served));
            return Ok(Ticket::new(self, call, priority, any, chosen));
        }
        let priority = call.priority(Priority::Normal)?;
        let servable = named.resolve(call.model, call.pinned())?;
        let chosen = Chosen::Model(Arc::clone(servable));
        Ok(Ticket::new(self, call, priority, servable, chosen))
    }

    /// The version that a question about a model is about, without a request.
    pub fn resolve(&self, model: &str, version: &str) -> Result<Arc<Servable>, InferError> {
        self.catalog.load().resolve(model, version).cloned()
    }

    /// Counts a request that failed before it could be routed.
    pub fn refused(&self, protocol: Protocol, error: &InferError) {
        let unknown = self.telemetry.unknown_model();
        unknown.finished(protocol, error.code);
        if let Some(reason) = error.reason {
            unknown.rejected(reason);
        }
        self.record_refused(protocol, error);
    }
}
