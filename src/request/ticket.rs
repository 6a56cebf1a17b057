//! A request between its routing and its run.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::begun::{Begun, Spare};
use super::call::Call;
use super::chosen::{Chosen, Variant};
use super::record::Noted;
use super::{Bound, Gateway, bind};
use crate::admission::Passage;
use crate::routing::{Attributes, By, Route};
use crate::serving::{Running, Servable, ServedRoute, Wanted, Work};
use crate::telemetry::{InflightGuard, ModelMetrics, Protocol, RecordOutcome};
use crate::types::{Code, InferError, InferRequest, Parameter, Priority, Reason};

/// A routed request. Whatever comes of it is counted once: when it is
/// answered, when it failed, or when it is dropped because its caller left.
pub struct Ticket<'g> {
    pub(super) gateway: &'g Gateway,
    pub(super) chosen: Chosen,
    pub(super) received: Instant,
    pub(super) protocol: Protocol,
    priority: Priority,
    pub(super) noted: Noted,
    counted: bool,
    /// Whether the log has the record of this request: there is no other.
    pub(super) recorded: bool,
    in_flight: InflightGuard,
}

/// What a started request leaves behind for its answer.
pub(super) struct Started {
    pub(super) running: Running,
    pub(super) wanted: Wanted,
    pub(super) binary: SmallVec<[bool; 4]>,
    pub(super) classification: SmallVec<[u32; 4]>,
    pub(super) spare: Option<Box<Spare>>,
}

impl<'g> Ticket<'g> {
    /// `of` is any version of the model.
    pub(super) fn new(
        gateway: &'g Gateway,
        call: &Call<'_>,
        priority: Priority,
        of: &Servable,
        chosen: Chosen,
    ) -> Ticket<'g> {
        Ticket {
            gateway,
            received: call.received,
            protocol: call.protocol,
            priority,
            noted: Noted::default(),
            counted: false,
            recorded: false,
            in_flight: of.model_metrics.enter(),
            chosen,
        }
    }

    /// Refuses what there would be no room or no time for, before its body is read.
    pub(super) fn check_room(&self, call: &Call<'_>) -> Result<(), InferError> {
        let Some(servable) = self.any_servable() else { return Ok(()) };
        servable.check_limit(self.priority)?;
        if self.priority == Priority::Critical {
            // It goes before those that wait.
            return Ok(());
        }
        let longest = self.gateway.max_request;
        servable.check_wait(call.timeout.map_or(longest, |timeout| timeout.min(longest)))
    }

    /// Lets the route decide where it has not yet, fits a decoded request to
    /// the version that answers, and starts it.
    ///
    /// # Errors
    /// As [`bind`]; `PermissionDenied` and as `ModelEntry::resolve` for a
    /// version that the caller names; `Unavailable` for one that is not ready
    /// or is left alone because it keeps failing.
    pub fn begin(
        mut self,
        call: &Call<'_>,
        request: InferRequest<'_>,
    ) -> Result<Begun<'g>, InferError> {
        self.noted.id = call.id(&request.id);
        match self.start(call, request) {
            Ok(started) => Ok(Begun::new(self, started)),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Ends the request as failed before its body could be used.
    pub fn failed(mut self, call: &Call<'_>, error: InferError) -> InferError {
        // It belongs to a variant all the same. No body, no parameters.
        self.noted.id = call.id("");
        let decided = self.decide(call, &[]);
        self.note(call, &[]);
        self.fail(decided.err().unwrap_or(error))
    }

    fn start(&mut self, call: &Call<'_>, request: InferRequest<'_>) -> Result<Started, InferError> {
        self.decide(call, &request.parameters)?;
        self.note(call, &request.parameters);
        self.let_pass()?;
        let servable = self.chosen.servable().ok_or_else(nobody)?;
        let deadline = call.deadline(&request, self.gateway.max_request);
        let Bound { mut work, binary, classification } =
            bind(servable.signature(), request, deadline)?;
        work.priority = self.priority;
        work.variant = self.chosen.counts_for();
        let spare = Spare::of(self, &work, call.body_bytes);
        if let Chosen::Variant(variant) = &self.chosen
            && !self.chosen.is_last_resort()
        {
            work.deadline = leave_time(&work, call.received, variant);
        }
        let wanted = work.wanted.clone();
        let running = servable.start(work);
        Ok(Started { running, wanted, binary, classification, spare })
    }

    /// Lets an undecided route decide, and counts that before anything can
    /// refuse the request, so that refusals do not bias what variants get.
    fn decide(
        &mut self,
        call: &Call<'_>,
        parameters: &[(Cow<'_, str>, Parameter<'_>)],
    ) -> Result<(), InferError> {
        let Chosen::Undecided(served) = &self.chosen else { return Ok(()) };
        let pinned = call.pinned();
        self.chosen = if pinned.is_empty() {
            let request_id = self.noted.id.as_bytes();
            decide(served, &Attributes { headers: call.headers, parameters, request_id })
        } else {
            Chosen::Pinned(Arc::clone(served), Arc::clone(served.pinned(pinned)?))
        };
        self.make_series();
        Ok(())
    }

    /// Checks that the chosen version is ready and not left alone for its
    /// failures, and puts the champion in its place where it is not.
    fn let_pass(&mut self) -> Result<(), InferError> {
        if self.passes() {
            return Ok(());
        }
        if !self.chosen.is_last_resort()
            && let Chosen::Variant(variant) = &mut self.chosen
        {
            variant.fall_back()?;
            self.make_series();
            if self.passes() {
                return Ok(());
            }
        }
        Err(match (&self.chosen, self.chosen.servable()) {
            (_, Some(servable)) => left_alone(servable),
            (Chosen::Variant(variant), None) => variant.unready(),
            (_, None) => nobody(),
        })
    }

    fn passes(&self) -> bool {
        let servable = self.chosen.servable();
        servable.is_some_and(|one| one.breaker.passage(self.received) != Passage::Shut)
    }

    /// Makes sure that what answers has its series.
    fn make_series(&self) {
        if let Some(target) = self.chosen.target() {
            target.metrics(&self.gateway.telemetry);
        }
    }

    pub(super) fn fail(&mut self, error: InferError) -> InferError {
        self.count(Some(error.code));
        self.record_failure(error.code, error.reason);
        if let (Some(reason), Some(servable)) = (error.reason, self.any_servable()) {
            servable.model_metrics.rejected(reason);
        }
        error
    }

    /// Counts the request; `None` is a prediction.
    pub(super) fn count(&mut self, code: Option<Code>) {
        self.counted = true;
        match (self.chosen.metrics(), code, self.any_servable()) {
            (Some(metrics), ..) => metrics.finished(self.protocol, code, self.received.elapsed()),
            // No version was chosen: there is none of that name, or none that may be named.
            (None, Some(code), Some(any)) => any.model_metrics.finished(self.protocol, code),
            (None, ..) => {}
        }
    }

    /// Of the model that the request is for.
    pub(super) fn model_metrics(&self) -> &ModelMetrics {
        self.in_flight.model()
    }

    /// The one that answers, or any of the same model.
    pub(super) fn any_servable(&self) -> Option<&Arc<Servable>> {
        match &self.chosen {
            Chosen::Undecided(served) => served.any(),
            Chosen::Variant(variant) => self.chosen.servable().or_else(|| variant.served.any()),
            chosen => chosen.servable(),
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.counted {
            return;
        }
        self.count(Some(Code::Cancelled));
        if self.recorded {
            // Nobody waits any more to see it flushed.
            self.count_record(RecordOutcome::Recorded);
        }
        self.record_failure(Code::Cancelled, None);
    }
}

fn decide(served: &Arc<ServedRoute>, attributes: &Attributes<'_>) -> Chosen {
    let decision = served.route.decide(attributes);
    served.metrics.assigned(decision.variant);
    if let (By::Split, Some(unit)) = (decision.by, &decision.unit) {
        served.units.saw(unit, decision.variant);
    }
    let served = Arc::clone(served);
    Chosen::Variant(Variant { served, decision, answering: decision.variant })
}

/// When a variant has to be done, so that the champion can still answer in time.
fn leave_time(work: &Work, received: Instant, variant: &Variant) -> Instant {
    /// The champion is given so many times what it is expected to take.
    const TIMES: u32 = 4;
    const LEAST: Duration = Duration::from_millis(10);
    let Ok(champion) = &variant.served.targets[Route::CHAMPION] else { return work.deadline };
    let expected = Duration::from_nanos(champion.servable.loaded.cost.predict(work.bytes()));
    let reserve = expected.saturating_mul(TIMES).max(LEAST);
    let whole = work.deadline.saturating_duration_since(received);
    work.deadline - reserve.min(whole / 2)
}

fn left_alone(servable: &Servable) -> InferError {
    let (name, version) = (servable.name(), servable.version());
    let message = format!(
        "version {version} of model '{name}' kept failing and is left alone for a while; try again \
         later"
    );
    InferError::rejected(Code::Unavailable, Reason::BreakerOpen, message)
}

pub(super) fn nobody() -> InferError {
    InferError::internal("nobody was chosen to answer this request")
}
