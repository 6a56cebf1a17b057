//! The life of a request, from decoded bytes to tensors of an answer.

mod bind;
mod id;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use smallvec::SmallVec;

pub use bind::{Bound, bind};
pub use id::RequestId;

use crate::admission::ByteBudget;
use crate::serving::{Catalog, Done, Running, Servable, Wanted};
use crate::telemetry::{InflightGuard, Protocol, Telemetry};
use crate::types::{Code, InferError, InferRequest, OutputTensor, Outputs, Parameter};

/// What the whole gateway shares on the way of a request.
pub struct Gateway {
    pub catalog: Arc<Catalog>,
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
    /// Registries whose last listing is an old one.
    stale: ArcSwap<Vec<String>>,
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

/// A routed request. Whatever comes of it is counted once: when it is
/// answered, when it failed, or when it is dropped because its caller left.
pub struct Ticket {
    servable: Arc<Servable>,
    protocol: Protocol,
    received: Instant,
    max_request: Duration,
    counted: bool,
    _in_flight: InflightGuard,
}

/// A request whose run was started.
pub struct Begun {
    ticket: Ticket,
    id: RequestId,
    running: Running,
    wanted: Wanted,
    binary: SmallVec<[bool; 4]>,
    classification: SmallVec<[u32; 4]>,
}

impl Ticket {
    /// Fits a decoded request to its model and starts it.
    ///
    /// # Errors
    /// As [`bind`].
    pub fn begin(self, call: &Call<'_>, request: InferRequest<'_>) -> Result<Begun, InferError> {
        let id = RequestId::choose(call.header_id, &request.id);
        let deadline = call.received + self.allowed(call, &request);
        match bind(self.servable.signature(), request, deadline) {
            Ok(Bound { work, binary, classification }) => {
                let wanted = work.wanted.clone();
                let running = self.servable.start(work);
                Ok(Begun { ticket: self, id, running, wanted, binary, classification })
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Ends the request as failed.
    pub fn failed(mut self, error: InferError) -> InferError {
        self.fail(error)
    }

    fn fail(&mut self, error: InferError) -> InferError {
        self.count(Some(error.code));
        if let Some(reason) = error.reason {
            self.servable.model_metrics.rejected(reason);
        }
        error
    }

    fn count(&mut self, code: Option<Code>) {
        self.counted = true;
        self.servable.metrics().finished(self.protocol, code, self.received.elapsed());
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
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.counted {
            self.count(Some(Code::Cancelled));
        }
    }
}

impl Begun {
    /// Waits for the model's answer and gives it its wire form. A request whose
    /// answer cannot be encoded has failed. To be called once.
    pub async fn answer<T>(
        &mut self,
        encode: impl FnOnce(Answer) -> Result<T, InferError>,
    ) -> Result<T, InferError> {
        let result = self.running.answer(&self.ticket.servable).await;
        match result.and_then(|done| encode(self.assemble(done))) {
            Ok(encoded) => {
                self.ticket.count(None);
                Ok(encoded)
            }
            Err(error) => Err(self.ticket.fail(error)),
        }
    }

    fn assemble(&mut self, done: Done) -> Answer {
        let servable = Arc::clone(&self.ticket.servable);
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
        Answer { id: std::mem::take(&mut self.id), servable, outputs, classification }
    }
}

impl Gateway {
    pub fn new(
        telemetry: Arc<Telemetry>,
        budget: Arc<ByteBudget>,
        max_request: Duration,
    ) -> Gateway {
        Gateway {
            catalog: Arc::default(),
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

    /// Registries that do not answer, so that what is served rests on what they
    /// stated before. No reason not to get traffic.
    pub fn stale_registries(&self) -> Arc<Vec<String>> {
        self.lifecycle.stale.load_full()
    }

    pub fn set_stale(&self, registries: Vec<String>) {
        self.lifecycle.stale.store(Arc::new(registries));
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

    /// Chooses the version that answers a request: the one look at what is
    /// served, and the truth until the answer.
    ///
    /// # Errors
    /// As [`Snapshot::resolve`](crate::serving::Snapshot::resolve).
    pub fn route(&self, call: &Call<'_>) -> Result<Ticket, InferError> {
        match self.catalog.load().resolve(call.model, call.version) {
            Ok(servable) => Ok(Ticket {
                servable: Arc::clone(servable),
                protocol: call.protocol,
                received: call.received,
                max_request: self.max_request,
                counted: false,
                _in_flight: servable.model_metrics.enter(),
            }),
            Err(error) => {
                self.refused(call.protocol, &error);
                Err(error)
            }
        }
    }

    /// The version that a question about a model is about, without a request.
    pub fn resolve(&self, model: &str, version: &str) -> Result<Arc<Servable>, InferError> {
        self.catalog.load().resolve(model, version).cloned()
    }

    /// Counts a request that failed before it could be routed.
    pub fn refused(&self, protocol: Protocol, error: &InferError) {
        let unknown = self.telemetry.unknown_model();
        unknown.finished(protocol, error.code);
        if let Some(reason) = error.reason {
            unknown.rejected(reason);
        }
    }
}
