//! Shows answers to those who will compare them with labels.

use std::sync::Arc;

use smallvec::SmallVec;

use super::begun::Begun;
use super::chosen::Chosen;
use crate::predictions::Role;
use crate::quality::{Observed, now_us};
use crate::serving::{Done, Servable};
use crate::shadow::Observing;

impl Begun<'_> {
    /// The answer as quality sees it; `None` where nobody wants to.
    pub(super) fn observed(&self, done: &Done) -> Option<Observed> {
        let chosen = &self.ticket.chosen;
        let servable = chosen.servable().filter(|_| self.ticket.gateway.quality.is_wanted())?;
        let role = match chosen {
            Chosen::Variant(variant) if variant.answering != variant.decision.variant => {
                Role::Fallback
            }
            _ => Role::Primary,
        };
        let served: Arc<Servable> = Arc::clone(servable);
        // Where the first dimension counts rows, the outputs' does too. Else a request is one row.
        let first = done.outputs.first().filter(|_| served.signature().may_batch());
        let rows = first.and_then(|tensor| tensor.shape().rows()).unwrap_or(1);
        let age = self.ticket.received.elapsed().as_micros();
        Some(Observed {
            id: SmallVec::from_slice(self.ticket.noted.id.as_bytes()),
            served,
            variant: chosen.name(),
            role,
            at: now_us().saturating_sub(i64::try_from(age).unwrap_or(0)),
            rows,
            wanted: self.wanted.clone(),
            outputs: done.outputs.clone(),
        })
    }

    /// Who is shown what a shadow answers to the same request.
    pub(super) fn observing(&self, observed: &Observed) -> Observing {
        let quality = Arc::clone(&self.ticket.gateway.quality);
        Observing { quality, at: observed.at, rows: observed.rows }
    }
}
