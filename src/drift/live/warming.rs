//! A version whose profile is being learnt from its own traffic.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use std::{fs, io};

use sha2::{Digest as _, Sha256};

use super::learn::{Learner, LearningBounds, Progress, Subjects};
use super::tap::Rows;
use super::watch::{Active, Found, ProfileSource};
use crate::drift::profile::Profile;
use crate::types::{Digest, ModelName, Signature, Version};

/// Rows that are taken of one version every [`ASK_EVERY`]: 2,000 a second tell
/// as much as all would, and cost little.
const ROWS_AT_A_TIME: i64 = 200;
pub(super) const ASK_EVERY: Duration = Duration::from_millis(100);

/// What is being learnt, until it is a profile.
pub struct Warming {
    learner: Mutex<Learner>,
    /// Rows that are still wanted before it asks for more.
    wanted: AtomicI64,
    active: OnceLock<Box<Active>>,
    signature: Signature,
    /// Where the profile is kept for the next start.
    file: PathBuf,
    shards: usize,
}

impl Warming {
    pub(super) fn new(
        model: &ModelName,
        (bounds, subjects): (LearningBounds, Subjects),
        signature: &Signature,
        file: PathBuf,
        shards: usize,
    ) -> Warming {
        Warming {
            learner: Mutex::new(Learner::new(model, bounds, subjects, signature)),
            wanted: AtomicI64::new(ROWS_AT_A_TIME),
            active: OnceLock::new(),
            signature: signature.clone(),
            file,
            shards,
        }
    }

    /// What was learnt, once it is whole.
    pub(super) fn active(&self) -> Option<&Active> {
        self.active.get().map(Box::as_ref)
    }

    pub fn progress(&self) -> Progress {
        self.locked().progress()
    }

    /// Whether more rows are wanted at this moment.
    pub(super) fn wants(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) > 0
    }

    /// Notes that rows are on their way.
    pub(super) fn took(&self, rows: usize) {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        self.wanted.fetch_sub(rows, Ordering::Relaxed);
    }

    /// Lets more rows come. Of a large request, as many are left out afterwards.
    pub(super) fn ask(&self) {
        let grown = |wanted: i64| Some((wanted + ROWS_AT_A_TIME).min(ROWS_AT_A_TIME));
        let _ = self.wanted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown);
    }

    /// Learns from rows. Does I/O when the profile is whole.
    pub(super) fn learn(&self, (model, version): (&ModelName, Version), rows: Rows<'_>, now: i64) {
        if self.active.get().is_some() {
            return;
        }
        let learnt = self.locked().see(rows, now);
        let profile = match learnt {
            None => return,
            Some(Ok(profile)) => profile,
            Some(Err(error)) => {
                tracing::warn!(%model, %version, %error, "no profile could be learnt; beginning anew");
                return;
            }
        };
        let text = profile.render();
        if let Err(error) = keep(&self.file, &text) {
            tracing::warn!(%model, %version, %error, "the learnt profile is lost at the next start");
        }
        let digest = Digest::new(Sha256::digest(&text).into());
        let found = Found { profile, digest, source: ProfileSource::Bootstrap };
        let active = Active::new(model, version, found, &self.signature, self.shards);
        tracing::info!(%model, %version, profile = &*active.id, source = "bootstrap", "drift is watched");
        // Nobody else learns.
        let _ = self.active.set(Box::new(active));
    }

    fn locked(&self) -> MutexGuard<'_, Learner> {
        self.learner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a profile that was learnt before; none where there is none that can be
/// used any more.
pub fn learnt(file: &Path, model: &ModelName) -> Option<Found> {
    let text = fs::read(file).ok()?;
    let profile = Profile::parse(&text).ok().filter(|profile| profile.model == *model)?;
    let digest = Digest::new(Sha256::digest(&text).into());
    Some(Found { profile, digest, source: ProfileSource::Bootstrap })
}

/// Written aside first, so that no start reads half of it.
fn keep(file: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let aside = file.with_extension("tmp");
    fs::write(&aside, text)?;
    fs::File::open(&aside)?.sync_all()?;
    fs::rename(&aside, file)
}

impl fmt::Debug for Warming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warming").field("active", &self.active()).finish_non_exhaustive()
    }
}
