//! Engines that do as they are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use modelgate::engine::{Engine, EngineError, FakeEngine, Input, RunOutputs};
use modelgate::types::{DType, Dim, Shape, Signature, Tensor, TensorSpec};
use smallvec::smallvec;

pub const COLUMNS: usize = 4;

pub fn tensor(dims: [i64; 2], values: &[f32]) -> Tensor {
    let data = values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    Tensor::new(DType::Fp32, Shape::new(dims).expect("a shape"), data.into()).expect("a tensor")
}

pub fn spec(name: &str, columns: usize) -> TensorSpec {
    TensorSpec {
        name: Arc::from(name),
        dtype: DType::Fp32,
        dims: vec![Dim::Free(None), Dim::Fixed(columns)],
        labels: Arc::from([]),
    }
}

type Run = dyn Fn(&[Input<'_>]) -> Result<RunOutputs, EngineError> + Send + Sync;

/// An engine that does what it is told. It knows no deadline.
pub struct Scripted {
    pub signature: Signature,
    pub run: Box<Run>,
}

impl Scripted {
    /// One input `x` and one output `y`, both `[rows, columns]`.
    pub fn new(
        run: impl Fn(&[Input<'_>]) -> Result<RunOutputs, EngineError> + Send + Sync + 'static,
    ) -> Box<Scripted> {
        let spec = |name| spec(name, COLUMNS);
        let signature = Signature { inputs: vec![spec("x")], outputs: vec![spec("y")] };
        Box::new(Scripted { signature, run: Box::new(run) })
    }

    /// Answers with these, whatever it is asked.
    pub fn answering(values: [f32; COLUMNS]) -> Box<Scripted> {
        Scripted::new(move |_| Ok(smallvec![tensor([1, COLUMNS as i64], &values)]))
    }
}

impl Engine for Scripted {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn run(
        &self,
        inputs: &[Input<'_>],
        _wanted: &[usize],
        _deadline: Option<Instant>,
    ) -> Result<RunOutputs, EngineError> {
        (self.run)(inputs)
    }
}

pub fn plus_one(inputs: &[Input<'_>]) -> Result<RunOutputs, EngineError> {
    FakeEngine::new(COLUMNS, Duration::ZERO).run(inputs, &[0], None)
}

/// Holds runs up until it is opened, which dropping it does.
#[derive(Clone, Default)]
pub struct Gate(Arc<(AtomicBool, AtomicUsize)>);

impl Gate {
    /// An engine that waits for the gate and then answers as the primary does.
    pub fn engine(&self) -> Box<Scripted> {
        let gate = Arc::clone(&self.0);
        Scripted::new(move |inputs| {
            gate.1.fetch_add(1, Ordering::SeqCst);
            while !gate.0.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            plus_one(inputs)
        })
    }

    pub fn runs(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }

    pub fn open(&self) {
        self.0.0.store(true, Ordering::SeqCst);
    }
}
