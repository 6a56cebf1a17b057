//! What is known of one registry.

use std::sync::Arc;

use super::poll::Poll;
use super::report::unix_ms;
use super::status::RegistryStatus;
use crate::registry::{Listing, Source, SourceError};
use crate::telemetry::Telemetry;

/// Unfinished versions that the status names; more are cut off.
const UNFINISHED_SHOWN: usize = 100;

pub(super) struct Registry {
    pub(super) source: Arc<dyn Source>,
    pub(super) poll: Poll,
    /// What counts: the last answer, or what it said before the last stop.
    pub(super) listing: Option<Listing>,
    /// Answers so far, good or bad.
    pub(super) answers: u64,
    pub(super) is_settling: bool,
    pub(super) fell_back: bool,
    pub(super) stale: bool,
    pub(super) synced_at: Option<u64>,
    pub(super) error: Option<String>,
    unfinished: Vec<String>,
}

impl Registry {
    pub(super) fn new(source: Arc<dyn Source>, poll: Poll, listing: Option<Listing>) -> Registry {
        Registry {
            source,
            poll,
            listing,
            answers: 0,
            is_settling: false,
            fell_back: false,
            stale: false,
            synced_at: None,
            error: None,
            unfinished: Vec::new(),
        }
    }

    pub(super) fn failed(&mut self, error: &SourceError, telemetry: &Telemetry) {
        let registry = self.source.name();
        if self.error.is_none() {
            tracing::warn!(registry, %error, "the registry cannot be read; serving what there is");
        }
        telemetry.registry(registry).failed(error.label());
        self.error = Some(error.to_string());
        self.set_stale(true, telemetry);
    }

    pub(super) fn synced(&mut self, listing: &Listing, telemetry: &Telemetry) {
        let registry = self.source.name();
        if self.error.take().is_some() {
            tracing::info!(registry, "the registry can be read again");
        }
        telemetry.registry(registry).synced();
        self.synced_at = Some(unix_ms());
        let unfinished: Vec<String> = listing
            .unfinished
            .iter()
            .take(UNFINISHED_SHOWN)
            .map(|one| format!("{} version {}: {}", one.model, one.version, one.reason))
            .collect();
        if unfinished != self.unfinished {
            for one in &unfinished {
                tracing::info!(registry, "not complete yet: {one}");
            }
            self.unfinished = unfinished;
        }
        self.set_stale(false, telemetry);
    }

    pub(super) fn set_stale(&mut self, stale: bool, telemetry: &Telemetry) {
        self.stale = stale;
        telemetry.registry(self.source.name()).stale(stale);
    }

    /// Whether what it states can be taken as a whole: not while something is
    /// being written.
    pub(super) fn is_settled(&self) -> bool {
        self.listing.is_some() && !self.is_settling
    }

    pub(super) fn status(&self) -> RegistryStatus {
        RegistryStatus {
            name: self.source.name().to_owned(),
            location: self.source.location(),
            stale: self.stale,
            synced_at: self.synced_at,
            error: self.error.clone(),
            unfinished: self.unfinished.clone(),
        }
    }
}
