//! Shows answers to those who will compare them with labels.

use std::sync::Arc;

use smallvec::SmallVec;

use super::begun::Begun;
use super::chosen::Chosen;
use super::record::unix_micros;
use crate::predictions::Role;
use crate::quality::Observed;
use crate::serving::{Done, Servable};
use crate::shadow::Observing;

impl Begun<'_> {
    /// The answer as quality sees it; `None` where nobody wants to.
    pub(super) fn observed(&self, done: Done) -> Option<Observed> {
        let chosen = &self.ticket.chosen;
        let servable = chosen.servable().filter(|_| self.ticket.gateway.quality.has_room())?;
        let role = match chosen {
            Chosen::Variant(variant) if variant.answering != variant.decision.variant => {
                Role::Fallback
            }
            _ => Role::Primary,
        };
        let served: Arc<Servable> = Arc::clone(servable);
        Some(Observed {
            id: SmallVec::from_slice(self.ticket.noted.id.as_bytes()),
            variant: chosen.name(),
            role,
            at: unix_micros(self.ticket.received),
            rows: rows(&served, &done),
            served,
            wanted: self.wanted.clone(),
            outputs: done.outputs,
        })
    }

    /// Who is shown what a shadow answers to the same request.
    pub(super) fn observing(&self, done: &Done) -> Option<Observing> {
        let quality = &self.ticket.gateway.quality;
        let servable = self.ticket.chosen.servable().filter(|_| quality.is_wanted())?;
        let (at, rows) = (unix_micros(self.ticket.received), rows(servable, done));
        Some(Observing { quality: Arc::clone(quality), at, rows })
    }
}

/// Where the first dimension counts rows, the outputs' does too. Else a request is one row.
fn rows(servable: &Servable, done: &Done) -> usize {
    let first = done.outputs.first().filter(|_| servable.signature().may_batch());
    first.and_then(|tensor| tensor.shape().rows()).unwrap_or(1)
}
