//! A request whose run was started, until its answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use smallvec::SmallVec;

use super::chosen::Chosen;
use super::finite::is_nonsense;
use super::id::RequestId;
use super::rebind::rebind;
use super::record::Answered;
use super::ticket::{Started, Ticket, nobody};
use crate::admission::{Failure, Passage};
use crate::drift::live::{Role, Rows};
use crate::routing::Route;
use crate::serving::{Done, Running, Servable, Wanted, Work};
use crate::shadow::Sample;
use crate::types::{Blame, Code, InferError, OutputTensor, Outputs};

/// A prediction.
pub struct Answer {
    pub id: RequestId,
    pub servable: Arc<Servable>,
    /// The variant's name.
    pub variant: Bytes,
    pub outputs: Outputs,
    /// Top N asked for per output by the classification extension; 0 for the
    /// tensor itself. Empty when no output asks.
    pub classification: SmallVec<[u32; 4]>,
}

/// A request whose run was started.
pub struct Begun<'g> {
    pub(super) ticket: Ticket<'g>,
    running: Running,
    pub(super) wanted: Wanted,
    binary: SmallVec<[bool; 4]>,
    classification: SmallVec<[u32; 4]>,
    spare: Option<Box<Spare>>,
}

/// The request once more, for whoever needs it after the run. It shares the tensors' bytes.
pub(super) struct Spare {
    work: Work,
    body_bytes: usize,
    is_mirrored: bool,
}

/// Why a variant's answer is not taken.
enum Failed {
    Error(InferError),
    Nonsense,
}

impl Spare {
    /// `None` where nobody needs it: the champion answers, and nothing is
    /// mirrored, recorded or compared with a profile.
    pub(super) fn of(ticket: &Ticket<'_>, work: &Work, body_bytes: usize) -> Option<Box<Spare>> {
        let is_mirrored = ticket.chosen.mirrored().is_some();
        let is_watched = ticket.chosen.servable().is_some_and(|one| one.is_watched());
        let is_needed =
            is_mirrored || is_watched || ticket.noted.keeps || !ticket.chosen.is_last_resort();
        is_needed.then(|| Box::new(Spare { work: work.clone(), body_bytes, is_mirrored }))
    }
}

impl<'g> Begun<'g> {
    pub(super) fn new(ticket: Ticket<'g>, started: Started) -> Begun<'g> {
        let Started { running, wanted, binary, classification, spare } = started;
        Begun { ticket, running, wanted, binary, classification, spare }
    }

    /// Waits for the model's answer and gives it its wire form. Where a
    /// variant fails and time is left, the champion answers. A request whose
    /// answer cannot be encoded has failed. To be called once.
    pub async fn answer<T>(
        &mut self,
        encode: impl FnOnce(Answer) -> Result<T, InferError>,
    ) -> Result<T, InferError> {
        let done = if self.ticket.chosen.is_last_resort() {
            self.run().await
        } else {
            // Boxed, so that the future of the common way stays small.
            Box::pin(self.run_or_fall_back()).await
        };
        let result = done.and_then(|done| {
            let kept = self.is_of_use().then(|| done.clone());
            Ok((encode(self.assemble(done)?)?, kept))
        });
        let (encoded, kept) = result.map_err(|error| self.ticket.fail(error))?;
        let answered = kept.as_ref().filter(|_| self.ticket.noted.keeps);
        let answered = answered.and_then(|done| self.answered(done));
        if let Some(unsettled) = answered.and_then(|answered| self.ticket.record(&answered)) {
            // Boxed, as above.
            let settled = Box::pin(self.ticket.settle(unsettled)).await;
            settled.map_err(|error| self.ticket.fail(error))?;
        }
        self.ticket.count(None);
        if let Some(done) = kept {
            self.show(done);
        }
        Ok(encoded)
    }

    /// Waits for the version that nobody stands in for.
    async fn run(&mut self) -> Result<Done, InferError> {
        let servable = self.ticket.chosen.servable().ok_or_else(nobody)?;
        let result = self.running.answer(servable).await;
        tell(servable, &result, self.ticket.received);
        result
    }

    async fn run_or_fall_back(&mut self) -> Result<Done, InferError> {
        let variant = Arc::clone(self.ticket.chosen.servable().ok_or_else(nobody)?);
        let failed = match self.running.answer(&variant).await {
            Ok(done) if self.is_nonsense(&done) => Failed::Nonsense,
            Ok(done) => {
                variant.breaker.succeeded(self.ticket.received);
                return Ok(done);
            }
            Err(error) if !may_be_its_own(&error) => return Err(error),
            Err(error) => Failed::Error(error),
        };
        let instead = self.fall_back(&variant).await;
        let failure = match &failed {
            // Input that the champion does no better with is the caller's fault.
            Failed::Nonsense => {
                let better = instead.as_ref().is_ok_and(|done| !self.is_nonsense(done));
                better.then_some(Failure::NotFinite)
            }
            Failed::Error(error) if error.code == Code::DeadlineExceeded => {
                instead.is_ok().then_some(Failure::Hang)
            }
            Failed::Error(error) => blame(error).or(instead.is_ok().then_some(Failure::Error)),
        };
        if let Some(failure) = failure {
            variant.breaker.failed(failure, Instant::now());
        }
        match (instead, failed) {
            (Err(_), Failed::Error(error)) => Err(error),
            (instead, _) => instead,
        }
    }

    /// Asks the champion, inside the deadline.
    async fn fall_back(&mut self, failed: &Servable) -> Result<Done, InferError> {
        let spare = self.spare.take().ok_or_else(nobody)?;
        let Chosen::Variant(variant) = &mut self.ticket.chosen else { return Err(nobody()) };
        let target = variant.served.target(Route::CHAMPION)?;
        let counted = Arc::clone(target.metrics(&self.ticket.gateway.telemetry));
        let champion = Arc::clone(&target.servable);
        if champion.breaker.passage(Instant::now()) == Passage::Shut {
            return Err(nobody());
        }
        let Spare { work, body_bytes, .. } = *spare;
        let work = rebind(work, failed.signature(), champion.signature());
        let work = Work { variant: Some(counted), ..work.ok_or_else(nobody)? };
        if self.ticket.noted.keeps || champion.is_watched() {
            let work = work.clone();
            self.spare = Some(Box::new(Spare { work, body_bytes, is_mirrored: false }));
        }
        let wanted = work.wanted.clone();
        let mut running = champion.start(work);
        let result = running.answer(&champion).await;
        tell(&champion, &result, Instant::now());
        let done = result?;
        self.wanted = wanted;
        variant.fall_back()?;
        Ok(done)
    }

    fn is_nonsense(&self, done: &Done) -> bool {
        let inputs = self.spare.iter().flat_map(|spare| &spare.work.inputs);
        is_nonsense(inputs, done.outputs.iter())
    }

    /// Whether anybody needs the answer when it has left.
    fn is_of_use(&self) -> bool {
        self.spare.is_some() || self.ticket.gateway.quality.is_wanted()
    }

    /// What is recorded of this request once it is answered.
    fn answered<'a>(&'a self, done: &'a Done) -> Option<Answered<'a>> {
        let work = &self.spare.as_ref()?.work;
        let (inputs, wanted, outputs): (&[_], &[_], &[_]) = match self.is_private() {
            true => (&[], &[], &[]),
            false => (&work.inputs, &self.wanted, &done.outputs),
        };
        Some(Answered { inputs, wanted, outputs, timings: done.timings, rows: work.rows() })
    }

    /// Shows the answer to those who compare it, with a profile, with labels
    /// and with a shadow's.
    fn show(&mut self, done: Done) {
        self.watch(&done);
        let sample = self.sample(&done);
        if let Some(observed) = self.observed(done) {
            self.ticket.gateway.quality.saw(observed);
        }
        if let Some(sample) = sample {
            self.ticket.gateway.mirror.offer(sample);
        }
    }

    fn watch(&self, done: &Done) {
        let Some(servable) = self.ticket.chosen.servable() else { return };
        if let (Some(watch), Some(spare)) = (&*servable.watch.load(), &self.spare) {
            // A profile that is learnt keeps numbers that were sent: its edges and its ends.
            if self.is_private() && watch.active().is_none() {
                return;
            }
            let (inputs, wanted, outputs) = (&spare.work.inputs, &self.wanted, &done.outputs);
            self.ticket.gateway.drift.saw(watch, Role::Primary, Rows { inputs, wanted, outputs });
        }
    }

    /// What is mirrored of this request once it is answered.
    fn sample(&mut self, done: &Done) -> Option<Sample> {
        let served = self.ticket.chosen.mirrored().filter(|_| self.is_mirrored())?;
        let answered = self.answered(done);
        let recording = answered.and_then(|answered| self.ticket.recording(&answered));
        let observing = self.observing(done);
        let (route, primary) = (Arc::clone(served), Arc::clone(self.ticket.chosen.servable()?));
        let Spare { work, body_bytes, .. } = *self.spare.take()?;
        Some(Sample {
            route,
            primary,
            request_id: SmallVec::from_slice(self.ticket.noted.id.as_bytes()),
            body_bytes,
            work,
            done: done.clone(),
            recording,
            observing,
        })
    }

    /// Whether nothing of the request's tensors may be kept.
    fn is_private(&self) -> bool {
        self.ticket.chosen.served().is_some_and(|served| served.route.private)
    }

    fn is_mirrored(&self) -> bool {
        self.spare.as_ref().is_some_and(|spare| spare.is_mirrored)
    }

    fn assemble(&mut self, done: Done) -> Result<Answer, InferError> {
        let variant = self.ticket.chosen.name();
        let servable = Arc::clone(self.ticket.chosen.servable().ok_or_else(nobody)?);
        let specs = &servable.signature().outputs;
        let outputs = done
            .outputs
            .into_iter()
            .zip(&self.wanted)
            .zip(&self.binary)
            .map(|((tensor, index), binary)| OutputTensor {
                name: Arc::clone(&specs[*index].name),
                tensor,
                binary: *binary,
            })
            .collect();
        let classification = std::mem::take(&mut self.classification);
        let id = self.ticket.noted.id.clone();
        Ok(Answer { id, servable, variant, outputs, classification })
    }
}

/// Tells a version's breaker how it did, where nobody stands in for it.
fn tell(servable: &Servable, result: &Result<Done, InferError>, at: Instant) {
    match result {
        Ok(_) => servable.breaker.succeeded(at),
        Err(error) => {
            if let Some(failure) = blame(error) {
                servable.breaker.failed(failure, Instant::now());
            }
        }
    }
}

/// What a version is certainly to blame for: no input explains it.
fn blame(error: &InferError) -> Option<Failure> {
    (error.blame == Some(Blame::Broken)).then_some(Failure::Error)
}

/// Whether another version might do better: not where there is too much to do.
fn may_be_its_own(error: &InferError) -> bool {
    error.blame.is_some() || error.code == Code::DeadlineExceeded
}
