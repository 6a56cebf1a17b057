//! The life of a request, from decoded bytes to tensors of an answer.

mod bind;
mod id;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

pub use bind::{Bound, bind};
pub use id::RequestId;

use crate::admission::ByteBudget;
use crate::serving::{Catalog, Running, Servable, Wanted};
use crate::telemetry::{InflightGuard, Protocol, Telemetry};
use crate::types::{InferError, InferRequest, OutputTensor, Outputs, Parameter};

/// What the whole gateway shares on the way of a request.
pub struct Gateway {
    pub catalog: Catalog,
    pub budget: Arc<ByteBudget>,
    pub telemetry: Arc<Telemetry>,
    /// The longest a request may take, whatever the client asked for.
    pub max_request: Duration,
    lifecycle: Lifecycle,
}

/// Whether the gateway should get traffic.
#[derive(Default)]
struct Lifecycle {
    loaded: AtomicBool,
    draining: AtomicBool,
}

/// What a face knows about a request beside its body.
pub struct Call<'a> {
    pub protocol: Protocol,
    /// Name and version asked for; an empty version means the newest.
    pub model: &'a str,
    pub version: &'a str,
    /// `x-request-id` as it came.
    pub header_id: Option<&'a [u8]>,
    /// Time the client allows from `received` on.
    pub timeout: Option<Duration>,
    pub received: Instant,
}

/// A prediction.
pub struct Answer {
    pub id: RequestId,
    pub servable: Arc<Servable>,
    pub outputs: Outputs,
    /// Top N asked for per output by the classification extension; 0 for the
    /// tensor itself. Empty when no output asks.
    pub classification: SmallVec<[u32; 4]>,
}

/// A request under way.
pub struct Begun {
    ticket: Ticket,
    id: RequestId,
    running: Running,
    wanted: Wanted,
    binary: SmallVec<[bool; 4]>,
    classification: SmallVec<[u32; 4]>,
}

/// What it takes to count a request when it ends.
struct Ticket {
    servable: Arc<Servable>,
    protocol: Protocol,
    received: Instant,
    _in_flight: InflightGuard,
}

impl Begun {
    /// Waits for the model's answer.
    pub async fn answer(self) -> Result<Answer, InferError> {
        let Begun { ticket, id, running, wanted, binary, classification } = self;
        let done = match running.answer().await {
            Ok(done) => done,
            Err(error) => return Err(ticket.failed(error)),
        };
        let signature = ticket.servable.signature();
        let outputs = done
            .outputs
            .into_iter()
            .zip(wanted)
            .zip(binary)
            .map(|((tensor, index), binary)| OutputTensor {
                name: Arc::clone(&signature.outputs[index].name),
                tensor,
                binary,
            })
            .collect();
        Ok(Answer { id, servable: ticket.answered(), outputs, classification })
    }
}

impl Ticket {
    fn answered(self) -> Arc<Servable> {
        self.servable.metrics().finished(self.protocol, None, self.received.elapsed());
        self.servable
    }

    fn failed(self, error: InferError) -> InferError {
        let total = self.received.elapsed();
        self.servable.metrics().finished(self.protocol, Some(error.code), total);
        if let Some(reason) = error.reason {
            self.servable.model_metrics.rejected(reason);
        }
        error
    }
}

impl Gateway {
    pub fn new(
        telemetry: Arc<Telemetry>,
        budget: Arc<ByteBudget>,
        max_request: Duration,
    ) -> Gateway {
        Gateway {
            catalog: Catalog::default(),
            budget,
            telemetry,
            max_request,
            lifecycle: Lifecycle::default(),
        }
    }

    /// Whether the models of the start have been loaded and no stop has begun.
    pub fn is_ready(&self) -> bool {
        self.lifecycle.loaded.load(Ordering::Relaxed) && !self.is_draining()
    }

    /// Why the gateway should not get traffic; `None` when it should.
    pub fn unready_because(&self) -> Option<&'static str> {
        if self.is_draining() {
            Some("stopping")
        } else if !self.is_ready() {
            Some("loading models")
        } else {
            None
        }
    }

    pub fn is_draining(&self) -> bool {
        self.lifecycle.draining.load(Ordering::Relaxed)
    }

    pub fn set_loaded(&self) {
        self.lifecycle.loaded.store(true, Ordering::Relaxed);
    }

    pub fn set_draining(&self) {
        self.lifecycle.draining.store(true, Ordering::Relaxed);
    }

    /// Routes, fits and starts one decoded request. It is counted whatever
    /// comes of it.
    ///
    /// # Errors
    /// As [`Snapshot::resolve`](crate::serving::Snapshot::resolve) and [`bind`].
    pub fn begin(&self, call: &Call<'_>, request: InferRequest<'_>) -> Result<Begun, InferError> {
        // The one look at what is served: this version is the truth until the answer.
        let servable = match self.catalog.load().resolve(call.model, call.version) {
            Ok(servable) => Arc::clone(servable),
            Err(error) => {
                self.telemetry.unknown_model().finished(call.protocol, error.code);
                return Err(error);
            }
        };
        let in_flight = servable.model_metrics.enter();
        let id = RequestId::choose(call.header_id, &request.id);
        let deadline = call.received + self.allowed(call, &request);
        let ticket = Ticket {
            servable,
            protocol: call.protocol,
            received: call.received,
            _in_flight: in_flight,
        };
        let Bound { work, binary, classification } =
            match bind(ticket.servable.signature(), request, deadline) {
                Ok(bound) => bound,
                Err(error) => return Err(ticket.failed(error)),
            };
        let wanted = work.wanted.clone();
        let running = ticket.servable.start(work);
        Ok(Begun { ticket, id, running, wanted, binary, classification })
    }

    /// The least of what the server, the header and the body's `timeout` parameter (µs) allow.
    fn allowed(&self, call: &Call<'_>, request: &InferRequest<'_>) -> Duration {
        let parameter = request.parameters.iter().find_map(|(name, value)| match value {
            Parameter::Int(us) if name == "timeout" => u64::try_from(*us).ok(),
            Parameter::Uint(us) if name == "timeout" => Some(*us),
            _ => None,
        });
        // Triton's clients send 0 for "no timeout".
        let parameter = parameter.filter(|us| *us > 0).map(Duration::from_micros);
        [call.timeout, parameter].into_iter().flatten().fold(self.max_request, Duration::min)
    }

    /// The version that a question about a model is about, without a request.
    pub fn resolve(&self, model: &str, version: &str) -> Result<Arc<Servable>, InferError> {
        self.catalog.load().resolve(model, version).cloned()
    }

    /// Counts a request that failed before it could be routed, as one that
    /// could not be decoded.
    pub fn refused(&self, call: &Call<'_>, error: &InferError) {
        match self.catalog.load().resolve(call.model, call.version) {
            Ok(servable) => {
                let total = call.received.elapsed();
                servable.metrics().finished(call.protocol, Some(error.code), total);
                if let Some(reason) = error.reason {
                    servable.model_metrics.rejected(reason);
                }
            }
            Err(_) => {
                let unknown = self.telemetry.unknown_model();
                unknown.finished(call.protocol, error.code);
                if let Some(reason) = error.reason {
                    unknown.rejected(reason);
                }
            }
        }
    }
}
