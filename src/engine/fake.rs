//! A scripted engine: adds one to every element of one FP32 input `x` of
//! `[rows, columns]`, after a set time, so that everything above the engine
//! runs in tests and benches without ONNX Runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Engine, EngineError, Input, RunOutputs};
use crate::types::{DType, Dim, Shape, Signature, Tensor, TensorSpec};

pub struct FakeEngine {
    signature: Signature,
    busy: Duration,
    /// Runs so far.
    pub runs: AtomicUsize,
    /// Most rows seen in one run.
    pub widest: AtomicUsize,
}

impl FakeEngine {
    /// An engine whose every run keeps its thread busy for `busy`.
    pub fn new(columns: usize, busy: Duration) -> FakeEngine {
        let spec = |name: &str| TensorSpec {
            name: Arc::from(name),
            dtype: DType::Fp32,
            dims: vec![Dim::Free(None), Dim::Fixed(columns)],
            labels: Arc::from([]),
        };
        FakeEngine {
            signature: Signature { inputs: vec![spec("x")], outputs: vec![spec("y")] },
            busy,
            runs: AtomicUsize::new(0),
            widest: AtomicUsize::new(0),
        }
    }
}

impl Engine for FakeEngine {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn run(
        &self,
        inputs: &[Input<'_>],
        wanted: &[usize],
        deadline: Option<Instant>,
    ) -> Result<RunOutputs, EngineError> {
        let started = Instant::now();
        while started.elapsed() < self.busy {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(EngineError::Stopped);
            }
            std::hint::spin_loop();
        }
        self.runs.fetch_add(1, Ordering::Relaxed);
        let [input] = inputs else {
            return Err(EngineError::Run("expected one input".to_owned()));
        };
        self.widest
            .fetch_max(input.shape.first().map_or(0, |rows| *rows as usize), Ordering::Relaxed);
        let answer: Vec<u8> = input
            .data
            .as_chunks::<4>()
            .0
            .iter()
            .flat_map(|element| (f32::from_le_bytes(*element) + 1.0).to_le_bytes())
            .collect();
        let answer = Bytes::from(answer);
        wanted
            .iter()
            .map(|_| {
                let shape = Shape::new(input.shape.iter().copied()).map_err(|e| e.to_string());
                shape
                    .and_then(|shape| {
                        Tensor::new(DType::Fp32, shape, answer.clone()).map_err(|e| e.to_string())
                    })
                    .map_err(EngineError::Run)
            })
            .collect()
    }
}
