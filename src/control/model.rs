//! One model as the lifecycle sees it: what is wanted of it and what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::bring_up::Workshop;
use super::decide::{Content, Facts, InstanceId, Needs, Plan, Standing};
use super::journal::Remembered;
use super::load::fit_recorder;
use super::memory::Share;
use super::profiles::fit_watch;
use super::routes::{ModelView, Underway};
use super::settings::{LabelTarget, ModelSettings, number_of};
use super::status::{ModelStatus, ProbeStatus, VersionStatus};
use crate::admission::Limiter;
use crate::engine::ProbeReport;
use crate::predictions::{Level, Recording};
use crate::registry::{Listed, ListedModel, Progress, Source};
use crate::serving::{KnownVersion, ModelEntry, Servable};
use crate::telemetry::{ModelMetrics, VersionMetrics};
use crate::types::{Digest, ModelName, RejectKind, Rejection, Stage, Version};

pub(super) struct Model {
    pub(super) name: ModelName,
    pub(super) metrics: Arc<ModelMetrics>,
    /// Of all its versions together.
    pub(super) limiter: Arc<Limiter>,
    /// The registry that provides it.
    pub(super) source: Arc<dyn Source>,
    pub(super) listed: ListedModel,
    pub(super) settings: Settings,
    pub(super) remembered: Remembered,
    pub(super) instances: BTreeMap<InstanceId, Instance>,
    pub(super) draining: Vec<Draining>,
    /// What answered when the catalog was published last.
    pub(super) plan: Plan,
    /// Champions that its routes keep.
    pub(super) pinned: BTreeSet<Content>,
    /// Something happened since the last plan.
    pub(super) is_dirty: bool,
}

/// The settings in force, and what is wrong with the newest.
pub(super) struct Settings {
    pub(super) number: u64,
    pub(super) good: Option<Arc<ModelSettings>>,
    pub(super) error: Option<String>,
}

/// One attempt to serve a version.
pub(super) struct Instance {
    pub(super) attempt: u64,
    pub(super) stage: Stage,
    /// Unix milliseconds.
    pub(super) since: u64,
    pub(super) started: std::time::Instant,
    pub(super) listed: Option<Listed>,
    /// Why it does not go on for now.
    pub(super) trouble: Option<String>,
    pub(super) rejection: Option<Rejection>,
    pub(super) report: Option<ProbeReport>,
    /// Set from when it asks for memory until it is answered.
    pub(super) asking: Option<oneshot::Sender<Result<Share, Rejection>>>,
    /// There was not enough for it so far.
    pub(super) is_blocked: bool,
    pub(super) ready: Option<Ready>,
    pub(super) progress: Arc<Progress>,
    /// How much of the progress the metrics have counted.
    pub(super) counted_bytes: u64,
    pub(super) cancelled: Arc<AtomicBool>,
    pub(super) task: Option<AbortHandle>,
    pub(super) metrics: Arc<VersionMetrics>,
}

pub(super) struct Ready {
    pub(super) servable: Arc<Servable>,
    pub(super) share: Share,
}

/// A version that finishes the requests it has.
pub(super) struct Draining {
    pub(super) attempt: u64,
    pub(super) content: Content,
    pub(super) since: u64,
    pub(super) memory: u64,
    pub(super) metrics: Arc<VersionMetrics>,
}

impl Settings {
    pub(super) fn of(result: Result<ModelSettings, String>, before: Option<&Settings>) -> Settings {
        match result {
            Ok(good) => Settings { number: good.number(), good: Some(Arc::new(good)), error: None },
            Err(error) => match before.and_then(|before| before.good.clone()) {
                Some(good) => {
                    Settings { number: good.number(), good: Some(good), error: Some(error) }
                }
                None => Settings { number: number_of(&error), good: None, error: Some(error) },
            },
        }
    }
}

impl Instance {
    fn standing(&self) -> Standing {
        match self.stage {
            Stage::Fetching | Stage::Verifying => Standing::Coming,
            _ if self.is_blocked => Standing::Blocked,
            Stage::Probing | Stage::Loading | Stage::Warming => Standing::Committed,
            Stage::Ready | Stage::Draining => Standing::Ready,
            Stage::Rejected | Stage::Gone => Standing::Rejected,
        }
    }

    /// Ends the attempt wherever it is.
    pub(super) fn call_off(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Model {
    /// What there is to decide on; `spare_kept` where memory is needed for more
    /// than comfort.
    pub(super) fn facts(
        &self,
        spare_kept: bool,
        routes: Needs,
        is_cached: impl Fn(&Digest) -> bool,
    ) -> Facts {
        let good = self.settings.good.as_deref();
        let versions = self.listed.versions.iter();
        let hold = self.remembered.hold.as_ref();
        let hold = hold.map(|hold| Content { version: hold.version, digest: hold.digest });
        let of_routes = routes.pinned.iter().chain(&routes.known).copied();
        let cached = self.remembered.served.iter().copied().chain(hold).chain(of_routes);
        Facts {
            listed: versions.map(|(version, listed)| (*version, listed.digest)).collect(),
            settings: self.settings.number,
            policy: good
                .map_or(super::decide::VersionPolicy::Latest(1), |good| good.versions.clone()),
            keep_previous: good.filter(|_| !spare_kept).map_or(0, |good| good.keep_previous),
            enabled: good.is_none_or(|good| !good.explicit) || self.remembered.loaded,
            resource_preserving: good.is_some_and(|good| good.resource_preserving),
            hold,
            served: self.remembered.served.clone(),
            cached: cached.filter(|content| is_cached(&content.digest)).collect(),
            instances: self.instances.iter().map(|(id, one)| (*id, one.standing())).collect(),
            routes,
        }
    }

    /// Whether none of it is loaded because nobody asked for it.
    fn is_off(&self) -> bool {
        self.settings.good.as_ref().is_some_and(|good| good.explicit) && !self.remembered.loaded
    }

    /// What is known of it for its routes, after it was planned.
    pub(super) fn view(&self) -> ModelView<'_> {
        let good = self.settings.good.as_deref();
        let mut view = ModelView {
            default: self.plan.default.map(|id| id.content),
            answers: self.plan.answers.iter().map(|(version, id)| (*version, id.content)).collect(),
            ready: BTreeMap::new(),
            underway: BTreeMap::new(),
            listed: self
                .listed
                .versions
                .iter()
                .map(|(one, listed)| (*one, listed.digest))
                .collect(),
            labels: good.iter().flat_map(|good| &good.version_labels).map(label).collect(),
            any_signature: good.is_some_and(|good| good.any_signature),
            is_off: self.is_off(),
        };
        for (id, instance) in &self.instances {
            if let Some(ready) = &instance.ready {
                view.ready.insert(id.content, ready.servable.signature());
            } else if let Some(rejection) = &instance.rejection {
                let rejected = Underway::Rejected(&rejection.reason);
                view.underway.entry(id.content).or_insert(rejected);
            } else {
                view.underway.insert(id.content, Underway::Coming);
            }
        }
        view
    }

    /// What is loaded of a content: what answers for it, or else what was
    /// loaded under the settings in force, or before them.
    pub(super) fn loaded(&self, content: Content) -> Option<&Arc<Servable>> {
        let answers = self.plan.answers.get(&content.version).filter(|id| id.content == content);
        let current = InstanceId { content, settings: self.settings.number };
        let own = self.instances.keys().rev().filter(|id| id.content == content);
        answers.into_iter().chain([&current]).chain(own).find_map(|id| self.servable(id))
    }

    /// Puts settings into force. What was rejected because of the ones before
    /// gets another chance.
    pub(super) fn adopt(&mut self, settings: Settings) {
        if settings.error != self.settings.error
            && let Some(error) = &settings.error
        {
            let kept = settings.good.is_some();
            tracing::error!(model = %self.name, error, kept, "the model's options are wrong");
        }
        let any_signature =
            |settings: &Settings| settings.good.as_ref().map(|good| good.any_signature);
        if any_signature(&settings) != any_signature(&self.settings) {
            self.forgive(&[RejectKind::Incompatible]);
        }
        self.settings = settings;
    }

    /// Gives ready versions what the settings in force say about recording them.
    pub(super) fn renew_recorders(&self, recording: &Arc<Recording>) {
        let Some(policy) = self.settings.good.as_ref().map(|good| &good.recording) else { return };
        for (id, instance) in &self.instances {
            let Some(Ready { servable, .. }) = &instance.ready else { continue };
            let is_due = match &*servable.recorder.load() {
                Some(recorder) => *recorder.policy != **policy,
                None => recording.log().is_some() && policy.level != Level::Off,
            };
            if is_due {
                let (servable, recording) = (Arc::clone(servable), Arc::clone(recording));
                let (digest, policy) = (id.content.digest, Arc::clone(policy));
                // It writes a file.
                tokio::task::spawn_blocking(move || {
                    fit_recorder(&servable, &recording, &digest, &policy);
                });
            }
        }
    }

    /// Looks anew for the profiles of ready versions. One that is the same keeps its counts.
    pub(super) fn renew_watches(&self, workshop: &Workshop) {
        let Some(settings) = self.settings.good.as_ref().map(|good| &good.drift) else { return };
        for (id, instance) in &self.instances {
            let folder = workshop.cache.get(&id.content.digest);
            let (Some(Ready { servable, .. }), Some(folder)) = (&instance.ready, folder) else {
                continue;
            };
            let (servable, settings) = (Arc::clone(servable), settings.clone());
            let drift = Arc::clone(&workshop.drift);
            // It reads files.
            tokio::task::spawn_blocking(move || fit_watch(&servable, &drift, &settings, &folder));
        }
    }

    /// Forgets rejections of some kinds, so that those versions are tried again.
    pub(super) fn forgive(&mut self, kinds: &[RejectKind]) {
        self.instances.retain(|_, instance| {
            instance.rejection.as_ref().is_none_or(|one| !kinds.contains(&one.kind))
        });
    }

    /// Whether nothing of it is left.
    pub(super) fn is_gone(&self) -> bool {
        self.listed.versions.is_empty()
            && self.remembered.hold.is_none()
            && self.instances.is_empty()
            && self.draining.is_empty()
    }

    pub(super) fn servable(&self, id: &InstanceId) -> Option<&Arc<Servable>> {
        Some(&self.instances.get(id)?.ready.as_ref()?.servable)
    }

    /// The version of each label that stands for one that is ready.
    pub(super) fn labels(&self) -> BTreeMap<String, Version> {
        let labels = self.settings.good.iter().flat_map(|good| &good.version_labels);
        let resolve = |target: &LabelTarget| match target {
            LabelTarget::Default => self.plan.default.map(|id| id.content.version),
            LabelTarget::Latest => self.plan.answers.keys().next_back().copied(),
            LabelTarget::Version(version) => Some(*version),
        };
        labels.filter_map(|(label, target)| Some((label.clone(), resolve(target)?))).collect()
    }

    /// What requests find of it.
    pub(super) fn entry(&self) -> ModelEntry {
        let ready = self.plan.answers.iter();
        ModelEntry {
            default: self.plan.default.and_then(|id| self.servable(&id).cloned()),
            ready: ready
                .filter_map(|(version, id)| Some((*version, Arc::clone(self.servable(id)?))))
                .collect(),
            labels: self.labels(),
            known: self.known(),
        }
    }

    /// Every version once, by what is best of it.
    fn known(&self) -> Vec<KnownVersion> {
        let mut known: BTreeMap<Version, (u8, KnownVersion)> = BTreeMap::new();
        let mut add = |version: Version, stage: Stage, reason: String| {
            let rank = match stage {
                Stage::Ready => 4,
                Stage::Fetching
                | Stage::Verifying
                | Stage::Probing
                | Stage::Loading
                | Stage::Warming => 3,
                Stage::Rejected => 2,
                Stage::Draining => 1,
                Stage::Gone => 0,
            };
            let one = KnownVersion { version, stage, reason: Arc::from(reason) };
            let place = known.entry(version).or_insert((rank, one.clone()));
            if rank > place.0 {
                *place = (rank, one);
            }
        };
        for version in self.listed.versions.keys() {
            add(*version, Stage::Gone, "not loaded: the version policy does not ask for it".into());
        }
        for draining in &self.draining {
            add(draining.content.version, Stage::Draining, String::new());
        }
        for (id, instance) in &self.instances {
            let rejection = instance.rejection.as_ref().map(ToString::to_string);
            let reason = rejection.or_else(|| instance.trouble.clone());
            add(id.content.version, instance.stage, reason.unwrap_or_default());
        }
        known.into_values().map(|(_, one)| one).collect()
    }

    pub(super) fn status(&self) -> ModelStatus {
        let instances = self.instances.iter().map(|(id, instance)| {
            let listed = instance.listed.as_ref();
            let bytes = listed.map_or(0, Listed::bytes);
            let is_fetching = matches!(instance.stage, Stage::Fetching);
            VersionStatus {
                version: id.content.version,
                digest: id.content.digest,
                stage: instance.stage,
                since: instance.since,
                reason: instance.reason().map(str::to_owned),
                rejected: instance.rejection.as_ref().map(|rejection| rejection.kind),
                bytes,
                fetched_bytes: if is_fetching { instance.progress.bytes() } else { bytes },
                memory_bytes: instance
                    .ready
                    .as_ref()
                    .map(|ready| ready.servable.loaded.engine.memory_bytes()),
                kept: self.plan.kept.contains(id),
                signature: instance.report.as_ref().map(|report| report.signature.clone()),
                probe: instance.report.as_ref().map(|report| ProbeStatus {
                    peak_bytes: report.peak_bytes,
                    load_ms: report.load_ms,
                    run_us: report.run_us,
                    golden_cases: report.golden_cases,
                }),
            }
        });
        let draining = self.draining.iter().map(|draining| VersionStatus {
            version: draining.content.version,
            digest: draining.content.digest,
            stage: Stage::Draining,
            since: draining.since,
            reason: None,
            rejected: None,
            bytes: 0,
            fetched_bytes: 0,
            memory_bytes: Some(draining.memory),
            kept: false,
            signature: None,
            probe: None,
        });
        let mut versions: Vec<VersionStatus> = instances.chain(draining).collect();
        versions.sort_by_key(|version| std::cmp::Reverse((version.version, version.since)));
        let loaded: BTreeSet<Version> = versions.iter().map(|one| one.version).collect();
        let listed = self.listed.versions.keys().rev();
        ModelStatus {
            name: self.name.clone(),
            registry: self.source.name().to_owned(),
            default: self.plan.default.map(|id| id.content.version),
            hold: self.remembered.hold.clone(),
            labels: self.labels(),
            explicit: self.settings.good.as_ref().is_some_and(|good| good.explicit),
            options_error: self.settings.error.clone(),
            unloaded: listed.filter(|version| !loaded.contains(version)).copied().collect(),
            versions,
        }
    }
}

fn label<'a>((name, target): (&'a String, &LabelTarget)) -> (&'a str, LabelTarget) {
    (name, *target)
}

impl Instance {
    /// Why it is not ready, for people.
    fn reason(&self) -> Option<&str> {
        let rejection = self.rejection.as_ref().map(|rejection| &*rejection.reason);
        rejection.or(self.trouble.as_deref())
    }
}
