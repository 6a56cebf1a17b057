//! One version under watch: its profile, or why it has none, and what was
//! counted against it.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

use super::counts::Counts;
use super::learn::{LearningBounds, Progress, Subjects};
use super::reading::Exported;
use super::report::Report;
use super::tensors::{Reader, readers};
use super::warming::Warming;
use crate::drift::profile::Profile;
use crate::drift::tally::Tally;
use crate::types::{Digest, ModelName, Signature, Tensor, Version};

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
    pub profile: Profile,
    /// Names the profile in metrics: the first digits of its digest.
    pub id: Arc<str>,
    pub digest: Digest,
    pub source: ProfileSource,
    inputs: Vec<Reader>,
    outputs: Vec<Reader>,
    pub(super) exported: Exported,
    shards: usize,
    /// By role; made when the first of its rows comes.
    counts: [OnceLock<Counts>; Role::ALL.len()],
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
        Arc::new(Watch { model: model.clone(), version, standing })
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
        match self.learner() {
            Some(warming) => warming.wants(),
            None => self.active().is_some(),
        }
    }

    /// What learns from its rows, as long as it does.
    pub(super) fn learner(&self) -> Option<&Warming> {
        match &self.standing {
            Standing::Warming(warming) if warming.active().is_none() => Some(warming),
            _ => None,
        }
    }
}

/// A request's tensors and its answer's.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// In the signature's order.
    pub inputs: &'a [Tensor],
    /// Places of `outputs` in the signature.
    pub wanted: &'a [usize],
    pub outputs: &'a [Tensor],
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
        Active {
            exported: Exported::new(model, version, &id, &found),
            id,
            digest: found.digest,
            source: found.source,
            inputs: readers(&found.profile.inputs, &signature.inputs),
            outputs: readers(&found.profile.outputs, &signature.outputs),
            profile: found.profile,
            shards: crate::telemetry::shard_count(shards),
            counts: Default::default(),
            reports: Default::default(),
        }
    }

    /// How long it takes to count rows: as many numbers take as long.
    pub fn cost(&self, rows: Rows<'_>) -> usize {
        self.parts(rows).map(|(reader, tensor, _)| reader.cost(tensor)).sum()
    }

    /// Counts rows. Takes no lock that it would have to wait for: `false` where
    /// it could not count.
    pub fn count(&self, role: Role, rows: Rows<'_>) -> bool {
        let counts = self.counts[role as usize]
            .get_or_init(|| Counts::new(self.profile.columns(), self.shards));
        counts.count(|tallies| {
            let (inputs, outputs) = tallies.split_at_mut(self.profile.inputs.len());
            for (reader, tensor, is_output) in self.parts(rows) {
                if is_output {
                    reader.count(&self.profile.outputs, tensor, outputs);
                } else {
                    reader.count(&self.profile.inputs, tensor, inputs);
                }
            }
        })
    }

    /// Whether rows of a role came.
    pub(super) fn has_seen(&self, role: Role) -> bool {
        self.counts[role as usize].get().is_some()
    }

    /// What was counted since the watch began, by column; none where no row of
    /// this role came.
    pub fn total(&self, role: Role) -> Option<Vec<Tally>> {
        self.counts[role as usize].get().map(Counts::total)
    }

    /// What the last look at the counts found; none before the first.
    pub fn report(&self, role: Role) -> Option<Arc<Report>> {
        self.reports[role as usize].load_full()
    }

    /// Each tensor that is read with its reader, and whether it is an output.
    fn parts<'a>(&'a self, rows: Rows<'a>) -> impl Iterator<Item = (&'a Reader, &'a Tensor, bool)> {
        let inputs = self
            .inputs
            .iter()
            .filter_map(move |reader| Some((reader, rows.inputs.get(reader.tensor)?, false)));
        let outputs = self.outputs.iter().filter_map(move |reader| {
            let place = rows.wanted.iter().position(|wanted| *wanted == reader.tensor)?;
            Some((reader, rows.outputs.get(place)?, true))
        });
        inputs.chain(outputs)
    }
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Active").field("id", &self.id).field("source", &self.source).finish()
    }
}
