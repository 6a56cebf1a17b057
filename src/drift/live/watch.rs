//! One version under watch: its profile, or why it has none, and what was
//! counted against it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::against::Against;
use super::learn::{LearningBounds, Progress, Subjects};
use super::reading::Exported;
use super::report::Report;
use super::tap::{Rows, Tap};
use super::warming::Warming;
use crate::drift::profile::Profile;
use crate::drift::tally::Tally;
use crate::types::{Digest, ModelName, Signature, Version};

/// Hexadecimal digits of a profile's digest that name it in metrics.
const SHORT: usize = 12;

/// Whether an answer was sent, or is a shadow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Of any variant, also one that stood in for another.
    Primary,
    /// Of a mirrored request; nobody got it.
    Shadow,
}

impl Role {
    pub const ALL: [Role; 2] = [Role::Primary, Role::Shadow];

    pub fn label(self) -> &'static str {
        match self {
            Role::Primary => "primary",
            Role::Shadow => "shadow",
        }
    }
}

/// Where a profile was found. The first that has one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProfileSource {
    /// A path in the configuration.
    Config,
    /// `profile.json` beside the model.
    Sidecar,
    /// `drift_profile.json`, as MLflow logs artifacts.
    Mlflow,
    /// The metadata of the ONNX file.
    Onnx,
    /// Live traffic: what changed before it was learnt is not seen.
    Bootstrap,
}

impl ProfileSource {
    pub fn label(self) -> &'static str {
        match self {
            ProfileSource::Config => "config",
            ProfileSource::Sidecar => "sidecar",
            ProfileSource::Mlflow => "mlflow",
            ProfileSource::Onnx => "onnx",
            ProfileSource::Bootstrap => "bootstrap",
        }
    }
}

/// A profile as it was found.
#[derive(Clone, Debug)]
pub struct Found {
    pub profile: Profile,
    /// Of the text that it was read from.
    pub digest: Digest,
    pub source: ProfileSource,
}

/// One version, from the moment at which it has this profile until it has
/// another or is gone.
#[derive(Debug)]
pub struct Watch {
    pub model: ModelName,
    pub version: Version,
    pub standing: Standing,
    /// The champion's profile, into whose bins rows of this version are counted
    /// as well; none of the champion's own.
    against: ArcSwapOption<Against>,
}

/// Whether a version's traffic is compared with anything.
#[derive(Debug)]
pub enum Standing {
    /// With nothing, for this reason.
    None {
        reason: String,
    },
    /// With nothing yet: its profile is being learnt from it. Once that is
    /// done, with what was learnt ([`Watch::active`]).
    Warming(Box<Warming>),
    Active(Box<Active>),
}

/// A profile, and what was counted against it.
pub struct Active {
    pub profile: Arc<Profile>,
    /// Names the profile in metrics: the first digits of its digest.
    pub id: Arc<str>,
    pub digest: Digest,
    pub source: ProfileSource,
    pub(super) exported: Exported,
    tap: Tap,
    /// By role: what the last look at the counts found.
    pub(super) reports: [ArcSwapOption<Report>; Role::ALL.len()],
}

impl Watch {
    pub fn none(model: &ModelName, version: Version, reason: String) -> Arc<Watch> {
        Watch::new(model, version, Standing::None { reason })
    }

    /// Watches a version by a profile, if that is about its tensors. `shards`
    /// as in [`crate::telemetry::TelemetryOptions`].
    pub fn by(
        model: &ModelName,
        version: Version,
        found: Found,
        signature: &Signature,
        shards: usize,
    ) -> Arc<Watch> {
        let misfits = found.profile.misfits(signature);
        if !misfits.is_empty() {
            let reason = misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let source = found.source.label();
            let reason = format!("the profile ({source}) is not about this model: {reason}");
            return Watch::none(model, version, reason);
        }
        let active = Active::new(model, version, found, signature, shards);
        Watch::new(model, version, Standing::Active(Box::new(active)))
    }

    /// Learns the profile of a version from its traffic; `file` keeps it for
    /// the next start.
    pub fn learning(
        (model, version): (&ModelName, Version),
        bounds: LearningBounds,
        subjects: Subjects,
        signature: &Signature,
        (file, shards): (PathBuf, usize),
    ) -> Arc<Watch> {
        let warming = Warming::new(model, (bounds, subjects), signature, file, shards);
        Watch::new(model, version, Standing::Warming(Box::new(warming)))
    }

    fn new(model: &ModelName, version: Version, standing: Standing) -> Arc<Watch> {
        Arc::new(Watch { model: model.clone(), version, standing, against: ArcSwapOption::empty() })
    }

    pub fn active(&self) -> Option<&Active> {
        match &self.standing {
            Standing::None { .. } => None,
            Standing::Warming(warming) => warming.active(),
            Standing::Active(active) => Some(active),
        }
    }

    /// How far its profile has come; none where it has one, or will have none.
    pub fn warming(&self) -> Option<Progress> {
        self.learner().map(Warming::progress)
    }

    /// Whether anyone wants to see its next rows.
    pub fn wants_rows(&self) -> bool {
        let is_counted = self.active().is_some() || self.against.load().is_some();
        is_counted || self.learner().is_some_and(Warming::wants)
    }

    /// What learns from its rows, as long as it does.
    pub(super) fn learner(&self) -> Option<&Warming> {
        match &self.standing {
            Standing::Warming(warming) if warming.active().is_none() => Some(warming),
            _ => None,
        }
    }

    /// The champion that this version is compared with.
    pub fn against(&self) -> Option<Arc<Against>> {
        self.against.load_full()
    }

    /// Says which version is the champion, or that this one is. What was
    /// counted goes on as long as that, and the champion's profile, stay as they are.
    pub fn compare_with(
        &self,
        champion: Option<&Arc<Watch>>,
        signature: &Signature,
        shards: usize,
    ) {
        let against = self.against.load();
        match (champion, &*against) {
            (None, None) => {}
            (None, Some(_)) => self.against.store(None),
            (Some(champion), Some(against)) if against.is_of(champion) => {}
            (Some(champion), _) => {
                let against = Against::new(champion, signature, shards);
                self.against.store(Some(Arc::new(against)));
            }
        }
    }

    /// How long it takes to count rows: as many numbers take as long. None
    /// where they are not counted at all.
    pub fn cost(&self, rows: Rows<'_>) -> Option<usize> {
        let against = self.against.load();
        let against = against.as_ref().and_then(|against| against.tap());
        let own = self.active().map(|active| &active.tap);
        own.into_iter().chain(against).map(|tap| tap.cost(rows)).reduce(|own, more| own + more)
    }

    /// Counts rows. Takes no lock that it would have to wait for: `false` where
    /// it could not count all of them.
    pub fn count(&self, role: Role, rows: Rows<'_>) -> bool {
        let against = self.against.load();
        let against = against.as_ref().and_then(|against| against.tap());
        let own = self.active().map(|active| &active.tap);
        let taps = own.into_iter().chain(against);
        // One that cannot count keeps no other from counting.
        taps.filter(|tap| !tap.count(role, rows)).count() == 0
    }
}

impl Active {
    /// The profile is about the signature's tensors ([`Profile::misfits`]).
    pub(super) fn new(
        model: &ModelName,
        version: Version,
        found: Found,
        signature: &Signature,
        shards: usize,
    ) -> Active {
        let id: Arc<str> = Arc::from(&found.digest.hex()[..SHORT]);
        let exported = Exported::new(model, version, &id, &found);
        let profile = Arc::new(found.profile);
        Active {
            exported,
            id,
            digest: found.digest,
            source: found.source,
            tap: Tap::new(Arc::clone(&profile), signature, shards),
            profile,
            reports: Default::default(),
        }
    }

    /// Whether rows of a role came.
    pub(super) fn has_seen(&self, role: Role) -> bool {
        self.tap.has_seen(role)
    }

    /// What was counted since the watch began, by column; none where no row of
    /// this role came.
    pub fn total(&self, role: Role) -> Option<Vec<Tally>> {
        self.tap.total(role)
    }

    /// What the last look at the counts found; none before the first.
    pub fn report(&self, role: Role) -> Option<Arc<Report>> {
        self.reports[role as usize].load_full()
    }
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Active").field("id", &self.id).field("source", &self.source).finish()
    }
}
