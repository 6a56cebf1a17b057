//! A loaded ONNX model as an [`Engine`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use smallvec::SmallVec;

use super::ffi::{Environment, Session, SessionOptions, Value};
use super::library::Library;
use super::outputs::{KnownShape, Output, OutputPlan, OwnBuffer, collect};
use super::staging::Staged;
use super::{Engine, EngineError, Input, RunOutputs, learn, memory, signature, stop};
use crate::types::{Signature, Tensor, TensorSpec};

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
        let plan = |form| OutputPlan { form, shape: KnownShape::Unknown, keys: None };
        let mut engine = OrtEngine {
            environment,
            session: Arc::new(session),
            signature,
            outputs: forms.into_iter().map(plan).collect(),
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

    /// Runs once, with `buffers` for the outputs that get one, in the order of `wanted`.
    pub(super) fn run_into(
        &self,
        inputs: &[Input<'_>],
        wanted: &[usize],
        buffers: &mut [Option<OwnBuffer>],
        deadline: Option<Instant>,
    ) -> Result<SmallVec<[Option<Output>; 4]>, EngineError> {
        let staged = Staged::new(inputs);
        let values = staged.values(self.environment, inputs).map_err(EngineError::Run)?;
        let specs = wanted.iter().map(|index| self.signature.outputs.get(*index));
        let slots = specs.zip(buffers).map(|(spec, buffer)| match (spec, buffer) {
            (Some(spec), Some(buffer)) => {
                let shape = buffer.shape.dims();
                Value::over_mut(self.environment, spec.dtype, shape, &mut buffer.data).map(Some)
            }
            _ => Ok(None),
        });
        let mut slots: SmallVec<[Option<Value<'_>>; 4]> =
            slots.collect::<Result<_, String>>().map_err(EngineError::Run)?;
        let mut given: SmallVec<[bool; 4]> = slots.iter().map(Option::is_some).collect();
        stop::with_deadline(self.environment, deadline, |options| {
            self.session.run(options, &values, wanted, &mut slots)
        })?;
        let outputs = slots.into_iter().zip(wanted).zip(given.drain(..));
        outputs
            .map(|((slot, index), given)| match slot {
                Some(value) if !given => self.collect(*index, value).map(Some),
                _ => Ok(None),
            })
            .collect::<Result<_, String>>()
            .map_err(EngineError::Run)
    }

    fn collect(&self, index: usize, value: Value<'_>) -> Result<Output, String> {
        let plan = self.outputs.get(index).zip(self.signature.outputs.get(index));
        let (plan, spec) = plan.ok_or_else(|| format!("there is no output {index}"))?;
        collect(self.environment, &self.session, spec, plan, value)
    }

    fn attempt(
        &self,
        inputs: &[Input<'_>],
        wanted: &[usize],
        mut buffers: SmallVec<[Option<OwnBuffer>; 4]>,
        deadline: Option<Instant>,
    ) -> Result<RunOutputs, EngineError> {
        let outputs = self.run_into(inputs, wanted, &mut buffers, deadline)?;
        let tensor = |((output, buffer), index): ((Option<Output>, Option<OwnBuffer>), &usize)| {
            if let Some(output) = output {
                return Ok(output.tensor);
            }
            let parts = buffer.zip(self.signature.outputs.get(*index));
            let (buffer, spec) = parts.ok_or_else(|| format!("there is no output {index}"))?;
            Tensor::new(spec.dtype, buffer.shape, buffer.data.into())
                .map_err(|error| error.to_string())
        };
        outputs
            .into_iter()
            .zip(buffers)
            .zip(wanted)
            .map(tensor)
            .collect::<Result<_, String>>()
            .map_err(EngineError::Run)
    }

    /// Buffers for the outputs whose size is known before a run over `inputs`.
    pub(super) fn own_buffers(
        &self,
        inputs: &[Input<'_>],
        wanted: &[usize],
    ) -> SmallVec<[Option<OwnBuffer>; 4]> {
        let rows = self.rows(inputs);
        let buffer = |index: &usize| {
            let spec = self.signature.outputs.get(*index)?;
            self.outputs.get(*index)?.own_buffer(spec.dtype, rows)
        };
        wanted.iter().map(buffer).collect()
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
        let none = || wanted.iter().map(|_| None).collect();
        if !self.shapes_hold.load(Ordering::Relaxed) {
            return self.attempt(inputs, wanted, none(), deadline);
        }
        let buffers = self.own_buffers(inputs, wanted);
        let some = buffers.iter().any(Option::is_some);
        let result = self.attempt(inputs, wanted, buffers, deadline);
        if !some || !matches!(result, Err(EngineError::Run(_))) {
            return result;
        }
        // Either the input is bad, or an output has another shape than it had whenever the
        // model was tried. The second attempt tells which.
        let result = self.attempt(inputs, wanted, none(), deadline);
        if result.is_ok() {
            self.shapes_hold.store(false, Ordering::Relaxed);
            tracing::warn!(
                "an output's shape is not what the model declares; its outputs are no longer \
                 written in place"
            );
        }
        result
    }
}
