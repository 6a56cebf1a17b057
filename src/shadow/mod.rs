//! Requests mirrored to another version after they were answered, and how its
//! answers compare. Never waited for, and the first to go where there is too much to do.
//!
//! A network thread pushes a [`Sample`] to a queue within bounds (`room`) and
//! goes on. The dispatcher (`pool`) finds it there, workers take from the `line`
//! what a route's `allowance` permits, `run` it and [`compare`], and enter
//! the result into the route's book (`books`), out of which a [`ShadowReport`]
//! is made.

mod allowance;
mod books;
pub mod compare;
mod excerpt;
mod line;
mod observe;
mod pool;
mod record;
mod report;
mod room;
mod run;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::background::Handover;
use crate::serving::{Done, Servable, ServedRoute, Work};
use crate::telemetry::{ShadowDrop, Telemetry};
use crate::types::{ModelName, Priority};

use books::Books;
use line::{Limits, Waits};
use pool::Pool;
use room::Room;

pub use observe::Observing;
pub use record::Recording;
pub use report::{
    ComputeTimes, Excerpt, MismatchSample, MismatchedOutput, OutputReport, Quantiles, RunTimes,
    ShadowReport,
};

/// The pool that runs mirrored requests. One for all routes. Its threads end
/// when it is dropped.
pub struct Mirror {
    shared: Arc<Shared>,
}

/// One answered request, to be mirrored. Shares the bytes of its tensors.
pub struct Sample {
    pub route: Arc<ServedRoute>,
    /// The version that answered.
    pub primary: Arc<Servable>,
    pub request_id: SmallVec<[u8; 40]>,
    /// Of the request's body, which its tensors keep alive.
    pub body_bytes: usize,
    /// As the primary got it: inputs and wanted outputs by its signature.
    pub work: Work,
    pub done: Done,
    /// `None` where nothing is recorded.
    pub recording: Option<Recording>,
    /// `None` where nobody compares answers with labels.
    pub observing: Option<Observing>,
}

struct Shared {
    telemetry: Arc<Telemetry>,
    room: Arc<Room>,
    arrived: Handover<Box<Held>>,
    pool: Pool,
    books: Books,
}

/// A sample that waits or runs, and what it takes up.
struct Held {
    sample: Sample,
    since: Instant,
    /// Until its run begins.
    place: Option<room::Place>,
    _bytes: room::Bytes,
}

impl Mirror {
    /// Starts the thread that looks for samples. Workers are started with the
    /// first sample, and up to four while those there are have something to do.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(telemetry: &Arc<Telemetry>) -> std::io::Result<Arc<Mirror>> {
        let shared = Arc::new(Shared {
            telemetry: Arc::clone(telemetry),
            room: Arc::default(),
            arrived: Handover::new(room::MOST_WAITING),
            pool: Pool::new(),
            books: Books::default(),
        });
        pool::start(&shared)?;
        Ok(Arc::new(Mirror { shared }))
    }

    /// Takes a sample, or drops and counts it. Never waits, wakes nobody, takes
    /// no lock. Only answers of the champion are mirrored, because that is what
    /// the shadow is to be compared with; and none where it is the shadow itself.
    pub fn offer(&self, sample: Sample) {
        let served = &sample.route;
        let Some(spec) = &served.route.shadow else { return };
        let Some(Ok(champion)) = served.targets.first() else { return };
        if !Arc::ptr_eq(&champion.servable, &sample.primary) {
            return;
        }
        let counts = &served.metrics.shadow;
        let Some(mirrored) = &served.shadow else { return counts.dropped(ShadowDrop::NotReady) };
        if Arc::ptr_eq(&mirrored.target.servable, &sample.primary) {
            return;
        }
        if sample.primary.limiter.is_full(Priority::Shadow) {
            return counts.dropped(ShadowDrop::Busy);
        }
        match room::enter(&self.shared.room, &mirrored.waiting, spec.queue, sample.bytes()) {
            Ok((place, bytes)) => {
                let since = Instant::now();
                let held = Held { sample, since, place: Some(place), _bytes: bytes };
                if let Err(held) = self.shared.arrived.offer(Box::new(held)) {
                    held.drop_because(ShadowDrop::QueueFull);
                }
            }
            Err(reason) => counts.dropped(reason),
        }
    }

    /// How a route's shadow compares so far; `None` where nothing was mirrored.
    /// May wait for a moment for threads that run on idle cores only: not for
    /// network threads.
    pub fn report(&self, route: &ModelName) -> Option<ShadowReport> {
        self.shared.books.report(route)
    }

    /// Forgets what is known of the routes that are not kept. May wait, as
    /// [`Mirror::report`].
    pub fn forget(&self, keep: &dyn Fn(&ModelName) -> bool) {
        self.shared.books.forget(keep);
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.shared.pool.close();
    }
}

impl Sample {
    /// Bytes that the sample keeps alive: its body, and the outputs of all
    /// requests that shared the run, because they share their memory too.
    fn bytes(&self) -> usize {
        let outputs: usize = self.done.outputs.iter().map(|tensor| tensor.data().len()).sum();
        let shared = self.done.timings.rows.div_ceil(self.work.rows().max(1)).max(1);
        let body = self.body_bytes.max(self.work.bytes());
        body.saturating_add(outputs.saturating_mul(shared))
    }
}

impl Held {
    fn leave_the_queue(&mut self) {
        self.place = None;
    }

    fn drop_because(self: Box<Self>, reason: ShadowDrop) {
        self.sample.route.metrics.shadow.dropped(reason);
    }
}

impl Waits for Box<Held> {
    fn route(&self) -> &ModelName {
        &self.sample.route.route.name
    }

    fn since(&self) -> Instant {
        self.since
    }

    fn limits(&self) -> Limits {
        let spec = self.sample.route.route.shadow.as_ref();
        spec.map_or(Limits::NONE, |spec| Limits {
            concurrency: spec.concurrency,
            share: spec.cpu_percent.fraction(),
            timeout: Duration::from_millis(spec.timeout_ms),
        })
    }
}
