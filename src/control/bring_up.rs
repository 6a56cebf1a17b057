//! The way of one version from the registry to ready: fetch, verify, probe,
//! load, warm. Says what happens as it goes; whatever it must not decide alone
//! (whether the memory allows it, whether callers could follow) it asks.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::bootstrap;
use super::decide::Content;
use super::load;
use super::loader::Loader;
use super::memory::Share;
use super::retry::Backoff;
use super::settings::{ModelSettings, number_of};
use crate::admission::Limiter;
use crate::background;
use crate::drift::live::Drift;
use crate::engine::{Library, ProbeLimits, ProbeReport, ProbeRequest};
use crate::predictions::Recording;
use crate::registry::{Cache, FetchError, Listed, Progress, Source, SourceError};
use crate::serving::Servable;
use crate::telemetry::{Telemetry, VersionMetrics};
use crate::types::{Digest, ModelName, RejectKind, Rejection, Stage};

/// Versions that are fetched at a time, and probed at a time: a hostile one
/// must not hold up the others for long, nor many take the machine.
const FETCHES: usize = 4;
const PROBES: usize = 1;

/// Fetches that are tried again because a file was not what its digest says.
const MISMATCHES: u32 = 2;

/// The cache's note about a version that has been probed.
const PROBE_NOTE: &str = "probe";

/// What happened to one attempt.
pub(super) enum Happened {
    Stage(Stage),
    /// It could not go on for now, and tries again.
    Trouble(String),
    /// A probe ended.
    Probed(Result<(), RejectKind>),
    /// It may be loaded as far as it goes; asks for the memory.
    Sound(ProbeReport, oneshot::Sender<Result<Share, Rejection>>),
    Ready(Arc<Servable>, Share),
    Rejected(Rejection),
    /// It had drained, and its memory was given back.
    Gone,
}

/// An attempt's number, and what happened to it.
pub(super) struct News {
    pub(super) model: ModelName,
    pub(super) attempt: u64,
    pub(super) what: Happened,
}

/// What all attempts share.
pub(super) struct Workshop {
    pub(super) library: Library,
    pub(super) cache: Cache,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) loader: Loader,
    pub(super) recording: Arc<Recording>,
    pub(super) drift: Arc<Drift>,
    /// The folder of what is learnt from traffic.
    learnt: PathBuf,
    /// What the cache must not lose: it is served, or kept for a rollback.
    pub(super) keep: Mutex<HashSet<Digest>>,
    fetching: Semaphore,
    probing: Semaphore,
}

impl Workshop {
    pub(super) fn new(
        library: Library,
        cache: Cache,
        telemetry: Arc<Telemetry>,
        loader: Loader,
        recording: Arc<Recording>,
        (drift, learnt): (Arc<Drift>, PathBuf),
    ) -> Workshop {
        Workshop {
            library,
            cache,
            telemetry,
            loader,
            recording,
            drift,
            learnt,
            keep: Mutex::default(),
            fetching: Semaphore::new(FETCHES),
            probing: Semaphore::new(PROBES),
        }
    }

    /// Where the profile of a version is kept that is learnt from its traffic.
    pub(super) fn learnt(&self, model: &ModelName, content: Content) -> PathBuf {
        bootstrap::file(&self.learnt, model, content.version, &content.digest)
    }

    fn kept(&self) -> HashSet<Digest> {
        self.keep.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One attempt to bring a version up.
pub(super) struct BringUp {
    pub(super) model: ModelName,
    pub(super) content: Content,
    pub(super) attempt: u64,
    /// As the registry states it; none for what only the cache may have.
    pub(super) listed: Option<Listed>,
    pub(super) source: Arc<dyn Source>,
    pub(super) settings: Arc<ModelSettings>,
    pub(super) limits: ProbeLimits,
    pub(super) limiter: Arc<Limiter>,
    pub(super) allowed_domains: Vec<String>,
    pub(super) progress: Arc<Progress>,
    pub(super) cancelled: Arc<AtomicBool>,
    pub(super) metrics: Arc<VersionMetrics>,
    pub(super) workshop: Arc<Workshop>,
    pub(super) news: mpsc::Sender<News>,
}

#[derive(Serialize, Deserialize)]
struct ProbeNote {
    /// Of what the probe depended on beside the files.
    settings: u64,
    report: ProbeReport,
}

impl BringUp {
    /// Goes the whole way. To be aborted when the version is not wanted any more.
    pub(super) async fn run(self) {
        if let Err(rejection) = self.bring_up().await {
            self.tell(Happened::Rejected(rejection)).await;
        }
    }

    async fn bring_up(&self) -> Result<(), Rejection> {
        let folder = self.fetch().await?;
        let report = self.probe(&folder).await?;
        let (reply, answer) = oneshot::channel();
        self.tell(Happened::Sound(report, reply)).await;
        // The lifecycle never answers while the memory does not allow it.
        let share = answer.await.map_err(|_| called_off())??;
        self.load(folder, share).await
    }

    async fn tell(&self, what: Happened) {
        let news = News { model: self.model.clone(), attempt: self.attempt, what };
        // Nobody listens when the gateway stops.
        let _ = self.news.send(news).await;
    }

    /// Sees to it that the cache has the files, and that they are what their
    /// digests say.
    async fn fetch(&self) -> Result<PathBuf, Rejection> {
        let digest = self.content.digest;
        if self.workshop.cache.get(&digest).is_some() {
            self.tell(Happened::Stage(Stage::Verifying)).await;
            match self.blocking(move |workshop| workshop.cache.verify(&digest)).await {
                Ok(folder) => return Ok(folder),
                // The registry may still have it whole.
                Err(rejection) if self.listed.is_some() => {
                    tracing::warn!(model = %self.model, version = %self.content.version, %rejection, "the cache was damaged; fetching anew");
                }
                Err(rejection) => return Err(rejection),
            }
        }
        let Some(listed) = &self.listed else {
            let reason = "neither the registry nor the cache has it any more";
            return Err(Rejection::new(RejectKind::BadFiles, reason));
        };
        let _permit = self.workshop.fetching.acquire().await.map_err(|_| called_off())?;
        let mut backoff = Backoff::new(Duration::from_secs(60));
        let mut mismatches = 0;
        loop {
            let keep = self.workshop.kept();
            let cache = &self.workshop.cache;
            match cache.fetch(&*self.source, listed, &self.progress, &keep).await {
                Ok(folder) => {
                    self.tell(Happened::Stage(Stage::Verifying)).await;
                    return Ok(folder);
                }
                // A file of the right size may still be being written.
                Err(FetchError::Rejected(rejection))
                    if rejection.kind == RejectKind::DigestMismatch && mismatches < MISMATCHES =>
                {
                    mismatches += 1;
                    self.tell(Happened::Trouble(rejection.reason)).await;
                    backoff.wait(1).await;
                }
                Err(FetchError::Rejected(rejection)) => return Err(rejection),
                Err(FetchError::Source(error)) => {
                    self.workshop.telemetry.registry(self.source.name()).failed(error.label());
                    self.tell(Happened::Trouble(error.to_string())).await;
                    // What changed is told by the next listing, not by trying again.
                    backoff
                        .wait(if matches!(error, SourceError::Changed(_)) { 4 } else { 1 })
                        .await;
                }
            }
        }
    }

    /// Tries the model in a process of its own, unless that was done before.
    async fn probe(&self, folder: &std::path::Path) -> Result<ProbeReport, Rejection> {
        self.tell(Happened::Stage(Stage::Probing)).await;
        let settings = &self.settings;
        let number = number_of(&format!(
            "{:?} {:?} {:?} {}",
            settings.session,
            settings.labels,
            self.allowed_domains,
            settings.execution.max_batch_rows
        ));
        let digest = self.content.digest;
        let note = self.workshop.cache.read_note(&digest, PROBE_NOTE);
        let note = note.and_then(|text| serde_json::from_str::<ProbeNote>(&text).ok());
        if let Some(note) = note
            && note.settings == number
            && note.report.onnxruntime == self.workshop.library.version()
        {
            return Ok(note.report);
        }
        let request = ProbeRequest {
            folder: folder.to_owned(),
            session: settings.session.clone(),
            labels: settings.labels.clone(),
            max_batch_rows: settings.execution.max_batch_rows,
            limits: self.limits,
            yields: background::yields(),
            allowed_domains: self.allowed_domains.clone(),
        };
        let probed = self.try_out(request).await?;
        let outcome = probed.as_ref().map(drop).map_err(|rejection| rejection.kind);
        self.tell(Happened::Probed(outcome)).await;
        let report = probed?;
        let note = serde_json::to_string(&ProbeNote { settings: number, report: report.clone() });
        let written = note
            .map_err(std::io::Error::other)
            .and_then(|note| self.workshop.cache.write_note(&digest, PROBE_NOTE, &note));
        if let Err(error) = written {
            tracing::warn!(model = %self.model, %error, "the probe's report is not kept; a restart probes again");
        }
        Ok(report)
    }

    /// Probes. What kept the probe from even starting says nothing about the
    /// model: then it is tried again.
    async fn try_out(
        &self,
        mut request: ProbeRequest,
    ) -> Result<Result<ProbeReport, Rejection>, Rejection> {
        let _permit = self.workshop.probing.acquire().await.map_err(|_| called_off())?;
        let mut backoff = Backoff::new(Duration::from_secs(60));
        loop {
            let (order, cancelled) = (request.clone(), Arc::clone(&self.cancelled));
            let workshop = Arc::clone(&self.workshop);
            // Not in the background: whoever watches over limits has to be in time, and a
            // process that it starts could not step forward again.
            let probed =
                tokio::task::spawn_blocking(move || workshop.library.probe(&order, &cancelled));
            let probed = probed.await.unwrap_or_else(|error| {
                Err(Rejection::new(RejectKind::Internal, error.to_string()))
            });
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(called_off());
            }
            match probed {
                Err(rejection) if rejection.kind == RejectKind::Internal => {
                    self.tell(Happened::Trouble(rejection.reason)).await;
                    backoff.wait(1).await;
                    // Whoever always yields may never get anywhere.
                    request.yields = false;
                }
                probed => return Ok(probed),
            }
        }
    }

    async fn load(&self, folder: PathBuf, share: Share) -> Result<(), Rejection> {
        self.tell(Happened::Stage(Stage::Loading)).await;
        let (done, loaded) = oneshot::channel();
        let job = load::Job {
            library: self.workshop.library,
            folder,
            learnt: self.workshop.learnt(&self.model, self.content),
            name: self.model.clone(),
            version: self.content.version,
            settings: Arc::clone(&self.settings),
            metrics: Arc::clone(&self.metrics),
            model_metrics: self.workshop.telemetry.model(&self.model),
            limiter: Arc::clone(&self.limiter),
            digest: self.content.digest,
            recording: Arc::clone(&self.workshop.recording),
            drift: Arc::clone(&self.workshop.drift),
        };
        let (news, model, attempt) = (self.news.clone(), self.model.clone(), self.attempt);
        let started = Instant::now();
        let metrics = Arc::clone(&self.metrics);
        let cancelled = Arc::clone(&self.cancelled);
        self.workshop.loader.run(move || {
            if cancelled.load(Ordering::Relaxed) {
                return;
            }
            let warming = || {
                let what = Happened::Stage(Stage::Warming);
                let _ = news.blocking_send(News { model: model.clone(), attempt, what });
            };
            let result = job.run(warming).map(|servable| {
                metrics.set_load_duration(started.elapsed());
                let mut share = share;
                share.settle(servable.loaded.engine.memory_bytes());
                (servable, share)
            });
            // Not wanted any more by now: it is freed here, where it was loaded.
            let _ = done.send(result);
        });
        let (servable, share) = loaded.await.map_err(|_| {
            Rejection::new(RejectKind::Internal, "loading ended without a word; the log has more")
        })??;
        self.tell(Happened::Ready(Arc::new(servable), share)).await;
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Workshop) -> Result<T, Rejection> + Send + 'static,
    ) -> Result<T, Rejection> {
        let workshop = Arc::clone(&self.workshop);
        background::run(move || work(&workshop))
            .await
            .unwrap_or_else(|error| Err(Rejection::new(RejectKind::Internal, error.to_string())))
    }
}

fn called_off() -> Rejection {
    Rejection::new(RejectKind::Internal, "it was called off")
}
