//! What a scrape is told: counts as they are at that moment, and what the last
//! look at them found.

use std::sync::Arc;

use super::report::{Feature, InWindow, Report};
use super::room::{MAX_EXPORTED, Wish, by_importance, grant};
use super::watch::{Active, Found, Role, Standing, Watch};
use super::{DriftOptions, Shared};
use crate::drift::alarm::State;
use crate::drift::bins::Bins;
use crate::drift::profile::{Column, Kind, Profile};
use crate::drift::tally::{Rate, Tally};
use crate::telemetry::{
    DriftColumn, DriftCounts, DriftLook, DriftOfRole, DriftProfile, DriftReading, DriftScores,
    DriftSeries, DriftStates, ProfileState,
};
use crate::types::{ModelName, Version};

/// The columns of a version that series are kept ready for.
#[derive(Debug)]
pub(super) struct Exported {
    series: Arc<DriftSeries>,
    /// Their places in the profile, from what is kept first.
    places: Vec<usize>,
}

impl Exported {
    /// `id` names the profile.
    pub(super) fn new(model: &ModelName, version: Version, id: &str, found: &Found) -> Exported {
        let Found { profile, digest, source } = found;
        let all: Vec<&Column> = profile.columns().collect();
        let order = by_importance(profile.inputs.len(), profile.outputs.len());
        let places: Vec<usize> = order.take(MAX_EXPORTED).collect();
        let columns = places.iter().map(|place| described(all[*place]));
        let named =
            DriftProfile { id: id.to_owned(), sha256: digest.hex(), source: source.label() };
        Exported { series: Arc::new(DriftSeries::new(model, version, named, columns)), places }
    }
}

fn described(column: &Column) -> DriftColumn<'_> {
    DriftColumn {
        name: &column.name,
        reference: column.reference.bins(),
        dispersion: column.dispersion,
        is_number: !column.bins.counts_texts(),
        has_range: matches!(column.bins, Bins::Edges(_)),
        is_score: column.kind == Kind::Score,
    }
}

/// Lets the metrics read what is watched, for as long as `shared` lives.
pub(super) fn publish(shared: &Arc<Shared>, options: &DriftOptions) {
    let (from, windows) = (Arc::downgrade(shared), options.windows.len());
    shared.metrics.set_source(Box::new(move || match from.upgrade() {
        Some(shared) => readings(&shared.watches(), windows),
        None => Vec::new(),
    }));
}

/// In the order of models and versions. A version that is being loaded anew is
/// read where it serves still: counters that fall and rise again would be
/// taken for traffic.
pub(super) fn readings(watches: &[Arc<Watch>], windows: usize) -> Vec<DriftReading> {
    let mut watches: Vec<&Watch> = watches.iter().map(Arc::as_ref).collect();
    watches.dedup_by(|next, first| (&next.model, next.version) == (&first.model, first.version));
    let wishes: Vec<Wish<'_>> = watches.iter().map(|watch| wish(watch, windows)).collect();
    let granted = grant(&wishes);
    watches.into_iter().zip(granted).map(|(watch, columns)| reading(watch, columns)).collect()
}

fn wish(watch: &Watch, windows: usize) -> Wish<'_> {
    let columns = watch.active().map(|active| {
        let roles = roles(active).count();
        active.exported.series.costs(roles, windows).collect()
    });
    Wish {
        model: watch.model.as_str(),
        version: watch.version.get(),
        has_answered: watch.active().is_some_and(|active| active.has_seen(Role::Primary)),
        columns: columns.unwrap_or_default(),
    }
}

/// Series of shadows begin with their first row; those of answers are there
/// before, so that a rate can be taken from the start.
fn roles(active: &Active) -> impl Iterator<Item = Role> {
    Role::ALL.into_iter().filter(|role| *role == Role::Primary || active.has_seen(*role))
}

/// `columns` is the number of those that have series.
fn reading(watch: &Watch, columns: usize) -> DriftReading {
    let (state, active) = match &watch.standing {
        Standing::None { .. } => (ProfileState::None, None),
        Standing::Active(active) => (ProfileState::Active, Some(active)),
    };
    DriftReading {
        model: watch.model.clone(),
        version: watch.version,
        state,
        series: active.map(|active| Arc::clone(&active.exported.series)),
        unexported: active.map_or(0, |active| active.profile.columns().count() - columns),
        roles: active.map_or_else(Vec::new, |active| {
            roles(active).map(|role| of_role(active, role, columns)).collect()
        }),
    }
}

fn of_role(active: &Active, role: Role, columns: usize) -> DriftOfRole {
    let places = &active.exported.places[..columns];
    let report = active.report(role);
    let looks = looks(&active.profile, report.as_deref());
    let features = match active.total(role) {
        Some(total) => places.iter().map(|place| counts(&total[*place], looks[*place])).collect(),
        None => {
            let all: Vec<&Column> = active.profile.columns().collect();
            places.iter().map(|place| counts(&all[*place].tally(), looks[*place])).collect()
        }
    };
    DriftOfRole { role: role.label(), features, states: states(report.as_deref()) }
}

/// What was reported of each column; both stand in the profile's order.
fn looks<'a>(profile: &Profile, report: Option<&'a Report>) -> Vec<Option<&'a Feature>> {
    let mut features = report.into_iter().flat_map(|report| &report.features).peekable();
    profile.columns().map(|column| features.next_if(|own| own.name == column.name)).collect()
}

fn counts(tally: &Tally, look: Option<&Feature>) -> DriftCounts {
    DriftCounts {
        bins: tally.bins().to_vec(),
        missing: tally.rate(Rate::Missing),
        infinite: tally.rate(Rate::Infinite),
        unreadable: tally.rate(Rate::Invalid).saturating_sub(tally.rate(Rate::Infinite)),
        below: tally.rate(Rate::Below),
        above: tally.rate(Rate::Above),
        unseen: tally.rate(Rate::Unseen),
        saturated: tally.rate(Rate::Saturated),
        scaled_sum: tally.scaled_sum(),
        scaled_squares: tally.scaled_squares(),
        look: look.map(|feature| DriftLook {
            evidence_log10: feature.evidence_log10,
            windows: feature.windows.iter().map(|window| scores(feature, window)).collect(),
        }),
    }
}

fn scores(feature: &Feature, window: &InWindow) -> DriftScores {
    let score = &window.score;
    DriftScores {
        window: Arc::clone(&window.window),
        is_alarmed: window.state == State::Drifted,
        is_sufficient: score.rows >= feature.min_rows,
        psi: score.psi,
        psi_adjusted: score.psi_adjusted,
        js_distance: score.js_distance,
        ks_statistic: score.ks_statistic,
        wasserstein_stddevs: score.wasserstein_stddevs,
    }
}

/// How many columns are in each state, by window.
fn states(report: Option<&Report>) -> Vec<DriftStates> {
    let Some(report) = report else { return Vec::new() };
    let Some(first) = report.features.first() else { return Vec::new() };
    let of_window = |(at, window): (usize, &InWindow)| {
        let in_state = |state| {
            let is = |feature: &&Feature| feature.windows[at].state == state;
            report.features.iter().filter(is).count() as u64
        };
        let columns = State::ALL.map(|state| (state.label(), in_state(state)));
        DriftStates { window: Arc::clone(&window.window), columns: columns.into() }
    };
    first.windows.iter().enumerate().map(of_window).collect()
}
