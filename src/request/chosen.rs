//! Who answers a request, and what it counts for.

use std::sync::Arc;

use bytes::Bytes;

use crate::routing::{Decision, Route};
use crate::serving::{Servable, ServedRoute, Target};
use crate::telemetry::VersionMetrics;
use crate::types::{InferError, VariantName};

/// What a name turned out to stand for: the truth of one request until its end.
pub(super) enum Chosen {
    /// A model without a route.
    Model(Arc<Servable>),
    /// A route that has not decided yet: its key may stand in the body.
    Undecided(Arc<ServedRoute>),
    /// The version of a route that the caller named.
    Pinned(Arc<ServedRoute>, Arc<Target>),
    Variant(Variant),
}

/// A route's decision, and what came of it.
pub(super) struct Variant {
    pub(super) served: Arc<ServedRoute>,
    pub(super) decision: Decision,
    /// The variant that answers: the decision's, or the champion in its stead.
    pub(super) answering: usize,
}

impl Chosen {
    /// The route that the request came by, as it was at that moment.
    pub(super) fn served(&self) -> Option<&Arc<ServedRoute>> {
        match self {
            Chosen::Model(_) => None,
            Chosen::Undecided(served) | Chosen::Pinned(served, _) => Some(served),
            Chosen::Variant(variant) => Some(&variant.served),
        }
    }

    /// What answers of a route.
    pub(super) fn target(&self) -> Option<&Arc<Target>> {
        match self {
            Chosen::Model(_) | Chosen::Undecided(_) => None,
            Chosen::Pinned(_, target) => Some(target),
            Chosen::Variant(variant) => variant.target(),
        }
    }

    /// Who answers. An undecided route has nobody yet.
    pub(super) fn servable(&self) -> Option<&Arc<Servable>> {
        match self {
            Chosen::Model(servable) => Some(servable),
            chosen => Some(&chosen.target()?.servable),
        }
    }

    /// Where the request is counted when it ends.
    pub(super) fn metrics(&self) -> Option<&Arc<VersionMetrics>> {
        match self {
            Chosen::Model(servable) => Some(servable.metrics()),
            chosen => chosen.target()?.counted(),
        }
    }

    /// Where its wait and its run count, if not for the version itself.
    pub(super) fn counts_for(&self) -> Option<Arc<VersionMetrics>> {
        self.target()?.counted().cloned()
    }

    /// The variant as the answer names it.
    pub(super) fn name(&self) -> Bytes {
        match self.target() {
            Some(target) => target.variant_text.clone(),
            None => Bytes::from_static(VariantName::CHAMPION.as_bytes()),
        }
    }

    /// Whether the one that answers stands alone: nobody answers in its stead.
    pub(super) fn is_last_resort(&self) -> bool {
        match self {
            Chosen::Variant(variant) => {
                variant.answering == Route::CHAMPION || !variant.served.route.falls_back
            }
            _ => true,
        }
    }

    /// The route whose shadow gets a copy of the request, if it does. Only the
    /// champion's answers are compared.
    pub(super) fn mirrored(&self) -> Option<&Arc<ServedRoute>> {
        let Chosen::Variant(variant) = self else { return None };
        let mirrored = variant.served.shadow.as_ref()?;
        let unit = variant.decision.unit.as_ref()?;
        let champion = variant.target().filter(|_| variant.answering == Route::CHAMPION)?;
        // A version is not compared with itself.
        let differs = !Arc::ptr_eq(&champion.servable, &mirrored.target.servable);
        (differs && variant.served.route.mirrors(unit)).then_some(&variant.served)
    }
}

impl Variant {
    pub(super) fn target(&self) -> Option<&Arc<Target>> {
        self.served.targets[self.answering].as_ref().ok()
    }

    /// Why nobody answers.
    pub(super) fn unready(&self) -> InferError {
        let unready = self.served.target(self.answering).err();
        unready.unwrap_or_else(super::ticket::nobody)
    }

    /// Puts the champion in the variant's place and counts it.
    ///
    /// # Errors
    /// `Unavailable` where the champion is not ready either.
    pub(super) fn fall_back(&mut self) -> Result<(), InferError> {
        self.served.target(Route::CHAMPION)?;
        self.served.metrics.fell_back(self.decision.variant);
        self.answering = Route::CHAMPION;
        Ok(())
    }
}
