//! What of drift is shown, in its form.

use std::sync::Arc;

use serde::Serialize;

use crate::drift::State;
use crate::drift::live::{
    Active, Against, Comparison, Feature, Phase, Progress, Report, Role, Standing, Watch,
};
use crate::types::{Digest, ModelName, Version};

/// Features of a version and role that are shown at a glance.
const MOST_AT_A_GLANCE: usize = 5;

#[derive(Debug, Serialize)]
pub struct Overview {
    /// Whether versions are watched at all.
    pub enabled: bool,
    pub versions: Vec<VersionGlance>,
}

/// A version at a glance.
#[derive(Debug, Serialize)]
pub struct VersionGlance {
    model: ModelName,
    version: Version,
    /// Whether it answers requests that name no version.
    default: bool,
    #[serde(flatten)]
    profiled: Profiled,
    /// Those that were looked at; none before the first rows.
    roles: Vec<RoleGlance>,
}

#[derive(Debug, Serialize)]
struct RoleGlance {
    role: &'static str,
    state: State,
    /// When it was looked; microseconds since 1970.
    at: i64,
    /// How many features there are, and the worst of them.
    features: usize,
    worst: Vec<FeatureGlance>,
}

/// A feature in its worst window.
#[derive(Debug, Serialize)]
struct FeatureGlance {
    name: Arc<str>,
    state: State,
    window: Arc<str>,
    psi_adjusted: f64,
    p: f64,
}

/// What a version's traffic is compared with.
#[derive(Debug, Serialize)]
pub struct Profiled {
    profile: Option<ProfileShown>,
    profile_state: &'static str,
    /// Why it is compared with nothing.
    pub reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct ProfileShown {
    /// The `profile` label of its metrics.
    id: Arc<str>,
    digest: Digest,
    source: &'static str,
    /// As its builder wrote it.
    created: Option<String>,
    /// Of the data that it was built from.
    rows: Option<u64>,
}

/// One version under one role.
#[derive(Debug, Serialize)]
pub struct VersionShown<'a> {
    pub model: &'a ModelName,
    pub version: Version,
    pub default: bool,
    pub role: &'static str,
    #[serde(flatten)]
    pub profiled: Profiled,
    /// None before the first look at rows of this role.
    pub report: Option<ReportShown<'a>>,
    /// None of a version that is compared with no other.
    pub against: Option<AgainstShown>,
}

/// A version beside the champion.
#[derive(Debug, Serialize)]
pub struct AgainstShown {
    champion: Version,
    /// Why nothing can be compared.
    reason: Option<String>,
    /// Columns of the champion's profile that this version does not have.
    incomparable: Vec<Incomparable>,
    /// Columns that there is no room for.
    left_out: usize,
    /// None before the first look at rows of this role.
    comparison: Option<Comparison>,
}

#[derive(Debug, Serialize)]
struct Incomparable {
    name: Arc<str>,
    reason: String,
}

#[derive(Debug, Serialize)]
pub struct ReportShown<'a> {
    pub at: i64,
    /// The worst of the features that are shown.
    pub state: State,
    /// The worst first.
    pub features: Vec<&'a Feature>,
    /// Columns of the profile that there is no room for.
    pub left_out: usize,
}

impl AgainstShown {
    /// Of columns of these names; of all where there are none.
    pub fn of(against: &Against, role: Role, names: &[String]) -> AgainstShown {
        let comparison = against.comparison(role).map(|found| {
            let mut found = Comparison::clone(&found);
            found.features.retain(|feature| is_named(names, &feature.name));
            found.worst_first();
            found
        });
        let misfits = against.misfits().iter().filter(|misfit| is_named(names, misfit.column()));
        AgainstShown {
            champion: against.champion,
            reason: (!against.is_counted()).then(|| {
                let champion = against.champion;
                format!("version {champion}, the champion, has no profile in whose bins to compare")
            }),
            incomparable: misfits
                .map(|misfit| Incomparable {
                    name: Arc::clone(misfit.column()),
                    reason: misfit.to_string(),
                })
                .collect(),
            left_out: against.left_out(),
            comparison,
        }
    }
}

/// Whether a name is among those that were asked for.
fn is_named(names: &[String], name: &str) -> bool {
    names.is_empty() || names.iter().any(|own| own == name)
}

impl VersionGlance {
    pub fn of(watch: &Watch, is_default: bool) -> VersionGlance {
        let reports = Role::ALL
            .into_iter()
            .filter_map(|role| Some(RoleGlance::of(role, &*watch.active()?.report(role)?)));
        VersionGlance {
            model: watch.model.clone(),
            version: watch.version,
            default: is_default,
            profiled: Profiled::of(watch),
            roles: reports.collect(),
        }
    }
}

impl RoleGlance {
    fn of(role: Role, report: &Report) -> RoleGlance {
        let glance = |feature: &Feature| {
            let worst = feature.worst()?;
            Some(FeatureGlance {
                name: Arc::clone(&feature.name),
                state: feature.state,
                window: Arc::clone(&worst.window),
                psi_adjusted: worst.score.psi_adjusted,
                p: worst.score.significance.p,
            })
        };
        let worst = report.worst_first().into_iter().take(MOST_AT_A_GLANCE);
        RoleGlance {
            role: role.label(),
            state: report.state,
            at: report.at,
            features: report.features.len(),
            worst: worst.filter_map(glance).collect(),
        }
    }
}

impl Profiled {
    pub fn of(watch: &Watch) -> Profiled {
        let (active, state, reason) = match &watch.standing {
            Standing::None { reason } => (None, "none", Some(reason.clone())),
            Standing::Warming(_) => match watch.warming() {
                Some(progress) => (None, "warming", Some(learning(progress))),
                None => (watch.active(), "active", None),
            },
            Standing::Active(active) => (Some(&**active), "active", None),
        };
        let profile = active.map(ProfileShown::of);
        Profiled { profile, profile_state: state, reason }
    }
}

/// How far the profile of a version has come that brought none.
fn learning(progress: Progress) -> String {
    let Progress { phase, rows, of_rows, of_us, .. } = progress;
    let phase = match phase {
        Phase::Survey => "looking for bins",
        Phase::Count => "counting",
    };
    let minutes = of_us / 60_000_000;
    format!(
        "it is being learnt from traffic: {phase}, {rows} rows of at least {of_rows}, for at least \
         {minutes} minutes"
    )
}

impl ProfileShown {
    fn of(active: &Active) -> ProfileShown {
        ProfileShown {
            id: Arc::clone(&active.id),
            digest: active.digest,
            source: active.source.label(),
            created: active.profile.created.clone(),
            rows: active.profile.source.as_ref().and_then(|source| source.rows),
        }
    }
}

impl<'a> ReportShown<'a> {
    /// Features of these names; all where there are none.
    pub fn of(report: &'a Report, names: &[String]) -> ReportShown<'a> {
        let mut features = report.worst_first();
        features.retain(|feature| is_named(names, &feature.name));
        let state = features.iter().map(|feature| feature.state).max().unwrap_or_default();
        ReportShown { at: report.at, state, features, left_out: report.left_out }
    }
}
