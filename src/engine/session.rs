//! A loaded ONNX model as an [`Engine`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use smallvec::SmallVec;

use super::ffi::{Environment, Session, SessionOptions, Value};
use super::library::Library;
use super::outputs::{Output, OutputPlan, OwnBuffers, collect};
use super::staging::Staged;
use super::{Engine, EngineError, Input, RunOutputs, learn, memory, signature, stop};
use crate::types::{Signature, TensorSpec};

/// One model in ONNX Runtime: a single session, which all threads share.
pub struct OrtEngine {
    environment: &'static Environment,
    session: Arc<Session>,
    pub(super) signature: Signature,
    /// In the order of the signature's outputs.
    pub(super) outputs: Vec<OutputPlan>,
    /// Whether shapes that were known before a run have proved right so far.
    shapes_hold: AtomicBool,
    memory: u64,
}

impl OrtEngine {
    /// Loads the model at `path`, with weights that it keeps in files beside it, and
    /// tries it on made-up inputs to learn what its graph does not say. A model that
    /// cannot run on those is served all the same. Takes as long as the model's first
    /// runs do, at most about ten seconds more than loading.
    ///
    /// The memory is measured by what the process gains meanwhile, so one model
    /// should be loaded at a time.
    pub fn load(
        library: &Library,
        path: &Path,
        options: &SessionOptions,
    ) -> Result<OrtEngine, EngineError> {
        let environment = library.environment();
        let before = memory::resident();
        let (session, inputs, outputs) =
            Session::load(environment, path, options).map_err(EngineError::Load)?;
        let (signature, forms) =
            signature::from_ports(&inputs, &outputs).map_err(EngineError::Load)?;
        let plans = signature.outputs.iter().zip(forms);
        let outputs = plans.map(|(spec, form)| OutputPlan::new(spec.dtype, form)).collect();
        let mut engine = OrtEngine {
            environment,
            session: Arc::new(session),
            signature,
            outputs,
            shapes_hold: AtomicBool::new(true),
            memory: 0,
        };
        learn::learn(&mut engine);
        let gained = memory::resident().saturating_sub(before);
        engine.memory = gained.max(memory::file_bytes(path));
        Ok(engine)
    }

    /// Names the columns of outputs, over what the graph says.
    ///
    /// # Errors
    /// For a name that is no output of the model.
    pub fn with_labels(
        mut self,
        labels: &BTreeMap<String, Vec<String>>,
    ) -> Result<OrtEngine, EngineError> {
        for (name, labels) in labels {
            let outputs = &mut self.signature.outputs;
            let Some(spec) = outputs.iter_mut().find(|spec| *spec.name == **name) else {
                let names: Vec<&str> = outputs.iter().map(|spec| &*spec.name).collect();
                return Err(EngineError::Load(format!(
                    "model.yaml names labels of '{name}', but the outputs are {}",
                    names.join(", ")
                )));
            };
            spec.labels = labels.as_slice().into();
        }
        Ok(self)
    }

    /// Runs once and gives each wanted output to `take`, in order. Where `buffers` has
    /// a buffer for an output, the run writes it there.
    pub(super) fn run_into(
        &self,
        inputs: &[Input<'_>],
        wanted: &[usize],
        buffers: &mut OwnBuffers,
        deadline: Option<Instant>,
        mut take: impl FnMut(Output),
    ) -> Result<(), EngineError> {
        let staged = Staged::new(inputs);
        let values = staged.values(self.environment, inputs).map_err(EngineError::Run)?;
        let mut slots: SmallVec<[Option<Value<'_>>; 4]> = SmallVec::new();
        for buffer in buffers.iter_mut() {
            let slot = buffer.as_mut().map(|buffer| buffer.value(self.environment));
            slots.push(slot.transpose().map_err(EngineError::Run)?);
        }
        stop::with_deadline(self.environment, deadline, |options| {
            self.session.run(options, &values, wanted, &mut slots)
        })?;
        let mut made: SmallVec<[Option<Output>; 2]> = SmallVec::new();
        for (slot, index) in slots.into_iter().zip(wanted) {
            made.push(match slot {
                Some(value) if !value.is_writable() => Some(self.collect(*index, value)?),
                _ => None,
            });
        }
        for (made, buffer) in made.into_iter().zip(buffers) {
            match (made, buffer.take()) {
                (Some(output), _) => take(output),
                (None, Some(buffer)) => take(buffer.into_output().map_err(EngineError::Run)?),
                (None, None) => return Err(EngineError::Run("an output is missing".to_owned())),
            }
        }
        Ok(())
    }

    fn collect(&self, index: usize, value: Value<'_>) -> Result<Output, EngineError> {
        let plan = self.outputs.get(index).zip(self.signature.outputs.get(index));
        let collected = plan
            .ok_or_else(|| format!("there is no output {index}"))
            .and_then(|(plan, spec)| collect(self.environment, &self.session, spec, plan, value));
        collected.map_err(EngineError::Run)
    }

    /// Buffers, filled with `fill`, for the outputs whose size is known before a run
    /// over `inputs`.
    pub(super) fn own_buffers(
        &self,
        inputs: &[Input<'_>],
        wanted: &[usize],
        fill: u8,
    ) -> OwnBuffers {
        let rows = self.rows(inputs);
        let mut buffers = OwnBuffers::new();
        for index in wanted {
            buffers.push(self.outputs.get(*index).and_then(|plan| plan.own_buffer(rows, fill)));
        }
        buffers
    }

    /// The first dimension that all inputs which leave theirs free agree on.
    fn rows(&self, inputs: &[Input<'_>]) -> Option<usize> {
        let free = |(spec, _): &(&TensorSpec, &Input<'_>)| spec.has_free_first_dim();
        let mut sizes = self
            .signature
            .inputs
            .iter()
            .zip(inputs)
            .filter(free)
            .map(|(_, input)| input.shape.first());
        let rows = *sizes.next()??;
        sizes.all(|size| size == Some(&rows)).then(|| usize::try_from(rows).ok())?
    }
}

impl Engine for OrtEngine {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn memory_bytes(&self) -> u64 {
        self.memory
    }

    fn run(
        &self,
        inputs: &[Input<'_>],
        wanted: &[usize],
        deadline: Option<Instant>,
    ) -> Result<RunOutputs, EngineError> {
        let mut outputs = RunOutputs::new();
        if self.shapes_hold.load(Ordering::Relaxed) {
            let mut buffers = self.own_buffers(inputs, wanted, 0);
            let owns = buffers.iter().any(Option::is_some);
            let take = |output: Output| outputs.push(output.tensor);
            match self.run_into(inputs, wanted, &mut buffers, deadline, take) {
                Ok(()) => return Ok(outputs),
                // Either the input is bad, or an output has another shape than it had
                // whenever the model was tried. Another attempt tells which.
                Err(EngineError::Run(_)) if owns => outputs.clear(),
                Err(error) => return Err(error),
            }
        }
        let mut buffers = wanted.iter().map(|_| None).collect();
        let take = |output: Output| outputs.push(output.tensor);
        self.run_into(inputs, wanted, &mut buffers, deadline, take)?;
        if self.shapes_hold.load(Ordering::Relaxed) {
            self.shapes_hold.store(false, Ordering::Relaxed);
            tracing::warn!(
                "an output's shape is not what the model declares; the model's outputs are no \
                 longer written in place"
            );
        }
        Ok(outputs)
    }
}
