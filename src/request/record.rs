//! What is recorded of a request: its answer before that leaves, or why there is none.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::HeaderName;
use twox_hash::XxHash64;

use super::Gateway;
use super::call::Call;
use super::chosen::Chosen;
use super::id::RequestId;
use super::ticket::Ticket;
use crate::predictions::{
    Appended, Assignment, Deferred, Encode, Encoded, Head, Kind, Level, Log, NotKept, OnFailure,
    Recorder, Role, SchemaId, Trace, Treatment, encode_bare, hash,
};
use crate::routing::{Attributes, By};
use crate::serving::{Servable, Timings};
use crate::shadow;
use crate::telemetry::{Protocol, RecordOutcome};
use crate::types::{Code, InferError, Parameter, Reason, Tensor};

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Whose record it is where no model is known.
const UNKNOWN: &str = "_unknown";

/// What the record will need and only the call knows.
#[derive(Default)]
pub(super) struct Noted {
    pub(super) id: RequestId,
    /// Whether an answer is to be recorded.
    pub(super) keeps: bool,
    /// `None` where there is nothing of it.
    about: Option<Box<About>>,
}

#[derive(Default, PartialEq)]
struct About {
    trace: Option<Trace>,
    unit: Option<[u8; 16]>,
    unit_key: Vec<u8>,
    principal: Vec<u8>,
}

/// An answer as it will be recorded.
pub(super) struct Answered<'a> {
    /// Nothing of a private route.
    pub(super) inputs: &'a [Tensor],
    /// Places of `outputs` in the signature.
    pub(super) wanted: &'a [usize],
    pub(super) outputs: &'a [Tensor],
    pub(super) timings: Timings,
    pub(super) rows: usize,
}

/// A record whose answer has to wait for it.
pub(super) struct Unsettled {
    log: Arc<Log>,
    appended: Appended,
    level: Level,
    on_failure: OnFailure,
}

impl Ticket<'_> {
    /// Takes down what the record will need, once it is known who answers.
    /// Samples by unit: before any other work is done for the record.
    pub(super) fn note(&mut self, call: &Call<'_>, parameters: &[(Cow<'_, str>, Parameter<'_>)]) {
        let Some(servable) = self.chosen.servable() else { return };
        let recorder = servable.recorder.load();
        let Some(recorder) = &*recorder else { return };
        let id = self.noted.id.as_bytes();
        let mut digits = itoa::Buffer::new();
        let attributes = Attributes { headers: call.headers, parameters, request_id: id };
        // A model without a route has no keys.
        let served = self.chosen.served();
        let key = served.and_then(|served| served.route.key(&attributes, &mut digits));
        self.noted.keeps = recorder.keeps(XxHash64::oneshot(0, key.unwrap_or(id)));
        let mut about = About {
            trace: call.headers.get(TRACEPARENT).and_then(|header| Trace::parse(header.as_bytes())),
            ..About::default()
        };
        if !self.noted.keeps {
            self.model_metrics().recorded(RecordOutcome::Unsampled);
        }
        // Of a mirrored request the record may be wanted later.
        if let Some(key) = key
            && (self.noted.keeps || self.chosen.mirrored().is_some())
        {
            match &recorder.policy.unit {
                Treatment::Keep => {
                    about.unit = Some(recorder.hash(key));
                    about.unit_key = key.to_vec();
                }
                Treatment::Hash => about.unit = Some(recorder.hash(key)),
                _ => {}
            }
        }
        if let Some((header, treatment)) = &recorder.policy.principal
            && let Some(value) = call.headers.get(header)
        {
            match treatment {
                Treatment::Keep => about.principal = value.as_bytes().to_vec(),
                Treatment::Hash => {
                    let hash = recorder.hash(value.as_bytes());
                    about.principal = hash::hex(&hash).into_bytes();
                }
                _ => {}
            }
        }
        self.noted.about = (about != About::default()).then(|| Box::new(about));
    }

    /// Records an answer. What it returns has to be waited for before the answer leaves.
    pub(super) fn record(&self, answered: &Answered<'_>) -> Option<Unsettled> {
        let servable = self.chosen.servable()?;
        let recorder = servable.recorder.load();
        let recorder = recorder.as_ref()?;
        let log = self.gateway.recording.log()?;
        let head = self.head_of_answer(servable, recorder, answered);
        let policy = &recorder.policy;
        match policy.level {
            Level::Off => None,
            Level::Async => {
                self.count_record(match log.offer(deferred(&head, recorder, answered)) {
                    true => RecordOutcome::Recorded,
                    false => RecordOutcome::Dropped,
                });
                None
            }
            level @ (Level::Process | Level::Fsync) => {
                let Answered { inputs, wanted, outputs, .. } = answered;
                let appended = log.append(Kind::Prediction, policy.on_failure, |payload| {
                    recorder.encode(&head, inputs, wanted, outputs, payload);
                });
                match (&appended, level, policy.on_failure) {
                    (Appended::Kept(_), Level::Process, _) => {
                        self.count_record(RecordOutcome::Recorded);
                        None
                    }
                    (Appended::Gap, _, OnFailure::BestEffort) => {
                        self.count_record(RecordOutcome::Gap);
                        None
                    }
                    (.., on_failure) => {
                        Some(Unsettled { log: Arc::clone(log), appended, level, on_failure })
                    }
                }
            }
        }
    }

    /// Waits for a record that its answer has to wait for. Where the caller
    /// leaves meanwhile, or the record cannot be flushed, it stands all the same.
    ///
    /// # Errors
    /// `Unavailable` where it cannot be kept and the policy is strict.
    pub(super) async fn settle(&mut self, record: Unsettled) -> Result<(), InferError> {
        let Unsettled { log, appended, level, on_failure } = record;
        self.recorded = true;
        let kept = match appended {
            Appended::Kept(place) => Ok(place),
            Appended::Pending(pending) => {
                pending.await.unwrap_or_else(|_| Err(NotKept(Arc::from("the log has ended"))))
            }
            Appended::Gap => Err(NotKept(Arc::from("the record is too large"))),
        };
        self.recorded = kept.is_ok();
        let kept = match (kept, level) {
            (Ok(place), Level::Fsync) => log.flushed(place).await,
            (kept, _) => kept.map(drop),
        };
        match (kept, on_failure) {
            (Ok(()), _) => self.count_record(RecordOutcome::Recorded),
            (Err(_), OnFailure::BestEffort) => self.count_record(RecordOutcome::Gap),
            (Err(error), OnFailure::Strict) => {
                self.count_record(RecordOutcome::Gap);
                let message = format!(
                    "this model answers only what can be recorded: {error}; try again later"
                );
                let reason = Reason::LogUnavailable;
                return Err(InferError::rejected(Code::Unavailable, reason, message));
            }
        }
        Ok(())
    }

    /// Records that there is no answer, without payload. It is not waited for.
    /// A request that has a record gets no second one.
    pub(super) fn record_failure(&self, code: Code, reason: Option<Reason>) {
        if self.recorded {
            return;
        }
        let Some(servable) = self.any_servable() else { return };
        let recorder = servable.recorder.load();
        let Some(recorder) = &*recorder else { return };
        let Some(log) = self.gateway.recording.log() else { return };
        let version = self.chosen.servable().map_or(0, |servable| servable.version().get());
        let head = Head {
            version,
            code: Some(code),
            reason: reason.map_or("", Reason::label),
            sampling: 1.0,
            ..self.head(servable)
        };
        self.count_record(put_bare(log, recorder.policy.level, &head));
    }

    /// Counts what became of the record.
    pub(super) fn count_record(&self, outcome: RecordOutcome) {
        self.model_metrics().recorded(outcome);
    }

    /// What a mirrored request carries for its record.
    pub(super) fn recording(&self, answered: &Answered<'_>) -> Option<shadow::Recording> {
        let servable = self.chosen.servable()?;
        let log = Arc::clone(self.gateway.recording.log()?);
        let recorder = servable.recorder.load();
        let mut head = Vec::with_capacity(256);
        self.head_of_answer(servable, recorder.as_ref()?, answered).encode(&mut head);
        Some(shadow::Recording { log, head, is_kept: self.noted.keeps })
    }

    /// The head of an answer's record.
    fn head_of_answer<'a>(
        &'a self,
        servable: &'a Servable,
        recorder: &Recorder,
        answered: &Answered<'_>,
    ) -> Head<'a> {
        let Timings { waited, ran, rows } = answered.timings;
        Head {
            schema: recorder.id,
            queue_us: micros(waited.as_micros()),
            infer_us: micros(ran.as_micros()),
            rows: micros(answered.rows as u128),
            batch_rows: micros(rows as u128),
            sampling: recorder.policy.sample as f32,
            ..self.head(servable)
        }
    }

    fn head<'a>(&'a self, servable: &'a Servable) -> Head<'a> {
        let mut head = Head {
            event_time: unix_micros(self.received),
            schema: SchemaId::NONE,
            model: servable.name().as_str(),
            version: servable.version().get(),
            request_id: self.noted.id.as_bytes(),
            protocol: Some(self.protocol),
            propensity: 1.0,
            total_us: micros(self.received.elapsed().as_micros()),
            ..Head::default()
        };
        if let Some(about) = &self.noted.about {
            head.trace = about.trace;
            head.unit = about.unit;
            head.unit_key = &about.unit_key;
            head.principal = &about.principal;
        }
        if let Some(served) = self.chosen.served() {
            head.route = served.route.name.as_str();
            head.revision = served.revision;
        }
        match &self.chosen {
            Chosen::Model(_) | Chosen::Undecided(_) => {}
            Chosen::Pinned(_, target) => {
                head.assignment = Assignment::Pin;
                head.variant = &target.variant_text;
            }
            Chosen::Variant(variant) => {
                let (route, decision) = (&variant.served.route, &variant.decision);
                head.variant = route.variants[variant.answering].name.as_str().as_bytes();
                head.propensity = route.propensity(decision) as f32;
                if variant.answering != decision.variant {
                    head.role = Role::Fallback;
                }
                head.assignment = match decision.by {
                    By::Rule(_) => Assignment::Rule,
                    By::Split => Assignment::Split,
                };
                if let Some(unit) = &decision.unit {
                    head.salt = &route.split_salt_text;
                    head.bucket = Some(unit.slot);
                }
            }
        }
        head
    }
}

impl Gateway {
    /// Records a request that failed before it could be routed.
    pub(super) fn record_refused(&self, protocol: Protocol, error: &InferError) {
        let Some((log, level)) = self.recording.of_unknown() else { return };
        let head = Head {
            event_time: unix_micros(Instant::now()),
            model: UNKNOWN,
            protocol: Some(protocol),
            code: Some(error.code),
            reason: error.reason.map_or("", Reason::label),
            propensity: 1.0,
            sampling: 1.0,
            ..Head::default()
        };
        self.telemetry.unknown_model().recorded(put_bare(log, level, &head));
    }
}

/// A record that the log's thread writes. A small one is encoded here: that costs less than
/// to share its tensors with another thread.
fn deferred(head: &Head<'_>, recorder: &Arc<Recorder>, answered: &Answered<'_>) -> Box<dyn Encode> {
    const SMALL: usize = 4096;
    let Answered { inputs, wanted, outputs, .. } = answered;
    let bytes: usize = inputs.iter().chain(outputs.iter()).map(|one| one.data().len()).sum();
    if bytes <= SMALL {
        let mut payload = Vec::with_capacity(256 + bytes);
        recorder.encode(head, inputs, wanted, outputs, &mut payload);
        return Box::new(Encoded(payload));
    }
    let mut encoded = Vec::with_capacity(256);
    head.encode(&mut encoded);
    Box::new(Deferred {
        head: encoded,
        recorder: Arc::clone(recorder),
        inputs: inputs.iter().cloned().collect(),
        wanted: wanted.iter().copied().collect(),
        outputs: outputs.iter().cloned().collect(),
    })
}

/// Records what has no tensors; nobody waits for it.
fn put_bare(log: &Log, level: Level, head: &Head<'_>) -> RecordOutcome {
    if level == Level::Async {
        let mut encoded = Vec::with_capacity(256);
        encode_bare(head, &mut encoded);
        return match log.offer(Box::new(Encoded(encoded))) {
            true => RecordOutcome::Recorded,
            false => RecordOutcome::Dropped,
        };
    }
    let appended =
        log.append(Kind::Prediction, OnFailure::BestEffort, |payload| encode_bare(head, payload));
    match appended {
        Appended::Kept(_) | Appended::Pending(_) => RecordOutcome::Recorded,
        Appended::Gap => RecordOutcome::Gap,
    }
}

/// Microseconds since 1970 at `instant`, which has passed.
pub(super) fn unix_micros(instant: Instant) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let then = now.saturating_sub(instant.elapsed());
    i64::try_from(then.as_micros()).unwrap_or(i64::MAX)
}

fn micros(count: u128) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
