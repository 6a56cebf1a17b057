//! What is known of each route's shadow: one book a route.
//!
//! Only the shadow's own threads and those that ask for a report come here,
//! never a request. The lock is held for as long as it takes to add figures up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use smallvec::SmallVec;

use super::Sample;
use super::compare::{self, Difference, Sketch};
use super::report::{
    ComputeTimes, MismatchSample, OutputReport, Quantiles, RunTimes, ShadowReport,
};
use crate::routing::{Comparison, OutputKind, ShadowSpec};
use crate::serving::Servable;
use crate::telemetry::{DropCounts, RouteMetrics, ShadowDrop, ShadowOutcome};
use crate::types::{ModelName, Version};

/// One mirrored request in so many also runs the primary again.
const AGAIN_EVERY: u64 = 50;

/// Outputs of a route that are reported.
const MOST_OUTPUTS: usize = 64;

/// Bytes of mismatches that are kept of all routes together; what does not fit
/// takes the place of older ones of its route, or is not kept.
const MOST_SAMPLE_BYTES: usize = 32 << 20;

/// How long a route's former revision may still come in.
const LATECOMERS: Duration = Duration::from_secs(60);

/// As many as there are routes with a shadow.
#[derive(Default)]
pub(super) struct Books {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    routes: HashMap<ModelName, Book>,
    /// Counts comparisons that were begun, so that what belongs to a former one is told apart.
    begun: u64,
    sample_bytes: usize,
}

/// The leave to run one sample, and how to compare it.
pub(super) struct Turn {
    comparison: u64,
    /// Of the wanted outputs, in their order.
    pub(super) kinds: SmallVec<[OutputKind; 2]>,
    /// Whether to run the primary again.
    pub(super) again: bool,
}

/// How one output of a sample compared.
pub(super) struct Compared {
    pub(super) name: Arc<str>,
    pub(super) kind: OutputKind,
    pub(super) difference: Difference,
}

/// Whose run took how long.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ran {
    Primary,
    PrimaryAgain,
    Shadow,
}

/// What is compared with what, by which rules.
#[derive(PartialEq)]
struct Pairing {
    primary: (Version, Arc<str>),
    shadow: (Version, Arc<str>),
    rules: Comparison,
}

struct Book {
    comparison: u64,
    pairing: Pairing,
    revision: u64,
    /// When the newest sample began.
    seen: Instant,
    since: u64,
    drops: Drops,
    mirrored: u64,
    outcomes: [u64; ShadowOutcome::ALL.len()],
    outputs: Vec<Output>,
    times: [Sketch; 3],
    /// With the bytes of each.
    samples: VecDeque<(MismatchSample, usize)>,
}

struct Output {
    name: Arc<str>,
    kind: OutputKind,
    comparisons: u64,
    disagreements: u64,
    mismatched: u64,
    overlaps: u64,
    overlap_sum: f64,
    absolute: Sketch,
    relative: Sketch,
    noise_comparisons: u64,
    noise_disagreements: u64,
}

/// Drops since a comparison began, out of counters that outlive it and that a
/// change of the route's variants replaces.
struct Drops {
    metrics: Weak<RouteMetrics>,
    before: DropCounts,
    /// Of counters that were replaced.
    carried: DropCounts,
    latest: DropCounts,
}

impl Books {
    /// Takes a sample in; none when its route has changed since it was answered.
    pub(super) fn begin(
        &self,
        sample: &Sample,
        spec: &ShadowSpec,
        shadow: &Servable,
    ) -> Option<Turn> {
        let now = Instant::now();
        let route = &sample.route;
        let pairing = Pairing {
            primary: side(&sample.primary),
            shadow: side(shadow),
            rules: spec.compare.clone(),
        };
        let mut inner = self.lock();
        let Inner { routes, begun, sample_bytes } = &mut *inner;
        let name = &route.route.name;
        if let Some(book) = routes.get_mut(name) {
            let is_recent = now.saturating_duration_since(book.seen) < LATECOMERS;
            if route.revision < book.revision && is_recent {
                return None;
            }
            if book.pairing == pairing {
                return Some(book.turn(sample, spec, now));
            }
        }
        let drops = match routes.remove(name) {
            Some(former) => {
                *sample_bytes -= former.sample_bytes();
                former.drops.restarted(&route.metrics)
            }
            None => {
                forget(routes, sample_bytes, |_, book| book.drops.metrics.strong_count() > 0);
                Drops::of(&route.metrics)
            }
        };
        *begun += 1;
        let book = Book::new(*begun, pairing, drops, now);
        let book = routes.entry(name.clone()).or_insert(book);
        Some(book.turn(sample, spec, now))
    }

    pub(super) fn ended(&self, route: &ModelName, turn: &Turn, outcome: ShadowOutcome) {
        self.with(route, turn, |book| book.outcomes[outcome as usize] += 1);
    }

    pub(super) fn ran(&self, route: &ModelName, turn: &Turn, who: Ran, took: Duration) {
        self.with(route, turn, |book| book.times[who as usize].add(took.as_secs_f64() * 1e6));
    }

    pub(super) fn compared(&self, route: &ModelName, turn: &Turn, outputs: &[Compared]) {
        self.with(route, turn, |book| outputs.iter().for_each(|output| book.add(output)));
    }

    pub(super) fn compared_noise(&self, route: &ModelName, turn: &Turn, outputs: &[Compared]) {
        self.with(route, turn, |book| {
            for Compared { name, kind, difference } in outputs {
                if let Some(output) = book.output(name, *kind) {
                    output.noise_comparisons += 1;
                    output.noise_disagreements += u64::from(!difference.agrees);
                }
            }
        });
    }

    /// Keeps a mismatch of so many bytes, instead of the oldest where there are `most`.
    pub(super) fn keep(
        &self,
        route: &ModelName,
        turn: &Turn,
        most: usize,
        sample: MismatchSample,
        bytes: usize,
    ) {
        let mut inner = self.lock();
        let Inner { routes, sample_bytes, .. } = &mut *inner;
        let Some(book) = routes.get_mut(route).filter(|b| b.comparison == turn.comparison) else {
            return;
        };
        while book.samples.len() >= most || *sample_bytes + bytes > MOST_SAMPLE_BYTES {
            let Some((_, freed)) = book.samples.pop_front() else { return };
            *sample_bytes -= freed;
        }
        *sample_bytes += bytes;
        book.samples.push_back((sample, bytes));
    }

    pub(super) fn report(&self, route: &ModelName) -> Option<ShadowReport> {
        self.lock().routes.get_mut(route).map(|book| book.report(route))
    }

    pub(super) fn forget(&self, keep: &dyn Fn(&ModelName) -> bool) {
        let mut inner = self.lock();
        let Inner { routes, sample_bytes, .. } = &mut *inner;
        forget(routes, sample_bytes, |name, _| keep(name));
    }

    /// Changes the book that the turn belongs to, unless a new comparison has begun.
    fn with(&self, route: &ModelName, turn: &Turn, change: impl FnOnce(&mut Book)) {
        let mut inner = self.lock();
        let book = inner.routes.get_mut(route);
        if let Some(book) = book.filter(|book| book.comparison == turn.comparison) {
            change(book);
        }
    }

    /// A panic while it is locked leaves figures of one sample out, no more.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget(
    routes: &mut HashMap<ModelName, Book>,
    sample_bytes: &mut usize,
    keep: impl Fn(&ModelName, &Book) -> bool,
) {
    routes.retain(|name, book| {
        let keeps = keep(name, book);
        if !keeps {
            *sample_bytes -= book.sample_bytes();
        }
        keeps
    });
}

fn side(servable: &Servable) -> (Version, Arc<str>) {
    (servable.version(), Arc::clone(&servable.metrics().labels().digest))
}

impl Book {
    fn new(comparison: u64, pairing: Pairing, drops: Drops, now: Instant) -> Book {
        Book {
            comparison,
            pairing,
            revision: 0,
            seen: now,
            since: unix_ms(),
            drops,
            mirrored: 0,
            outcomes: Default::default(),
            outputs: Vec::new(),
            times: Default::default(),
            samples: VecDeque::new(),
        }
    }

    fn turn(&mut self, sample: &Sample, spec: &ShadowSpec, now: Instant) -> Turn {
        self.revision = sample.route.revision;
        self.seen = now;
        self.drops.read(&sample.route.metrics);
        self.mirrored += 1;
        let signature = &sample.primary.signature().outputs;
        let outputs = sample.work.wanted.iter().zip(&sample.done.outputs);
        let kinds = outputs.filter_map(|(wanted, answer)| {
            let output = signature.get(*wanted)?;
            let declared = spec.compare.outputs.get(&*output.name).and_then(|rules| rules.kind);
            // What was inferred from the first answer stays, so that figures of one output
            // do not mix.
            let known = self.outputs.iter().find(|known| known.name == output.name);
            Some(match (declared, known) {
                (Some(declared), _) => compare::fitting(declared, answer),
                (None, Some(known)) => compare::fitting(known.kind, answer),
                (None, None) => {
                    let kind = compare::infer(answer, output.labels.len());
                    self.output(&output.name, kind);
                    kind
                }
            })
        });
        let kinds = kinds.collect();
        Turn {
            comparison: self.comparison,
            kinds,
            again: self.mirrored.is_multiple_of(AGAIN_EVERY),
        }
    }

    fn output(&mut self, name: &Arc<str>, kind: OutputKind) -> Option<&mut Output> {
        let place = self.outputs.iter().position(|output| output.name == *name);
        let place = match place {
            Some(place) => place,
            None if self.outputs.len() < MOST_OUTPUTS => {
                self.outputs.push(Output::new(name, kind));
                self.outputs.len() - 1
            }
            None => return None,
        };
        self.outputs.get_mut(place)
    }

    fn add(&mut self, compared: &Compared) {
        let Compared { name, kind, difference } = compared;
        let Some(output) = self.output(name, *kind) else { return };
        output.comparisons += 1;
        output.disagreements += u64::from(!difference.agrees);
        output.mismatched += u64::from(difference.mismatch.is_some());
        if let Some(overlap) = difference.top_k_overlap {
            output.overlaps += 1;
            output.overlap_sum += overlap;
        }
        output.absolute.merge(&difference.absolute);
        output.relative.merge(&difference.relative);
    }

    fn sample_bytes(&self) -> usize {
        self.samples.iter().map(|(_, bytes)| bytes).sum()
    }

    fn report(&mut self, route: &ModelName) -> ShadowReport {
        let drops = self.drops.total();
        let labels = |label: &str, count: u64| (label.to_owned(), count);
        let outcomes = ShadowOutcome::ALL.iter().zip(self.outcomes);
        let reasons = ShadowDrop::ALL.iter().zip(drops);
        let mirrored: u64 = self.outcomes.iter().chain(&drops).sum();
        let compared = self.outcomes[ShadowOutcome::Compared as usize];
        let [primary, primary_again, shadow] = self.times.each_ref().map(RunTimes::of);
        ShadowReport {
            route: Some(route.clone()),
            primary: Some(self.pairing.primary.0),
            shadow: Some(self.pairing.shadow.0),
            since: self.since,
            requests: outcomes.map(|(outcome, count)| labels(outcome.label(), count)).collect(),
            dropped: reasons.map(|(reason, count)| labels(reason.label(), count)).collect(),
            compared_share: share(compared, mirrored),
            outputs: self.outputs.iter().map(Output::report).collect(),
            compute: ComputeTimes { primary, primary_again, shadow },
            samples: self.samples.iter().map(|(sample, _)| sample.clone()).collect(),
        }
    }
}

impl Output {
    fn new(name: &Arc<str>, kind: OutputKind) -> Output {
        Output {
            name: Arc::clone(name),
            kind,
            comparisons: 0,
            disagreements: 0,
            mismatched: 0,
            overlaps: 0,
            overlap_sum: 0.0,
            absolute: Sketch::default(),
            relative: Sketch::default(),
            noise_comparisons: 0,
            noise_disagreements: 0,
        }
    }

    fn report(&self) -> OutputReport {
        OutputReport {
            name: self.name.to_string(),
            kind: self.kind,
            comparisons: self.comparisons,
            disagreements: self.disagreements,
            disagreement_rate: share(self.disagreements, self.comparisons).unwrap_or(0.0),
            mismatched: self.mismatched,
            top_k_overlap: (self.overlaps > 0).then(|| self.overlap_sum / self.overlaps as f64),
            absolute: Quantiles::of(&self.absolute),
            relative: Quantiles::of(&self.relative),
            noise_comparisons: self.noise_comparisons,
            noise_disagreements: self.noise_disagreements,
            noise_rate: share(self.noise_disagreements, self.noise_comparisons),
        }
    }
}

impl Drops {
    /// Everything that these counters have counted.
    fn of(metrics: &Arc<RouteMetrics>) -> Drops {
        Drops {
            metrics: Arc::downgrade(metrics),
            before: DropCounts::default(),
            carried: DropCounts::default(),
            latest: metrics.shadow.drops(),
        }
    }

    /// What is counted from now on; counters that were not there before began
    /// with the comparison.
    fn restarted(&self, metrics: &Arc<RouteMetrics>) -> Drops {
        let drops = Drops::of(metrics);
        let same = self.metrics.ptr_eq(&drops.metrics);
        Drops { before: if same { drops.latest } else { drops.before }, ..drops }
    }

    fn read(&mut self, metrics: &Arc<RouteMetrics>) {
        let now = Drops::of(metrics);
        if self.metrics.ptr_eq(&now.metrics) {
            self.latest = now.latest;
        } else {
            *self = Drops { carried: self.sum(), ..now };
        }
    }

    fn total(&mut self) -> DropCounts {
        if let Some(metrics) = self.metrics.upgrade() {
            self.latest = metrics.shadow.drops();
        }
        self.sum()
    }

    fn sum(&self) -> DropCounts {
        std::array::from_fn(|at| self.carried[at] + self.latest[at] - self.before[at])
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

pub(super) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
