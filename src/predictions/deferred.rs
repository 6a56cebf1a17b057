//! Records that another thread encodes than the one that made them.

use std::sync::Arc;

use smallvec::SmallVec;

use super::frame::Kind;
use super::recorder::Recorder;
use super::store::Encode;
use crate::types::Tensor;

/// A prediction whose tensors are encoded later; it shares their bytes.
pub struct Deferred {
    /// A whole head.
    pub head: Vec<u8>,
    pub recorder: Arc<Recorder>,
    pub inputs: SmallVec<[Tensor; 2]>,
    /// Places of `outputs` in the signature.
    pub wanted: SmallVec<[usize; 2]>,
    pub outputs: SmallVec<[Tensor; 2]>,
}

/// A prediction that is encoded already.
pub struct Encoded(pub Vec<u8>);

impl Encode for Deferred {
    fn kind(&self) -> Kind {
        Kind::Prediction
    }

    fn encode(&self, payload: &mut Vec<u8>) {
        payload.extend_from_slice(&self.head);
        self.recorder.encode_tensors(&self.inputs, &self.wanted, &self.outputs, payload);
    }

    fn bytes(&self) -> usize {
        let tensors = self.inputs.iter().chain(&self.outputs);
        self.head.len() + tensors.map(|tensor| tensor.data().len()).sum::<usize>()
    }
}

impl Encode for Encoded {
    fn kind(&self) -> Kind {
        Kind::Prediction
    }

    fn encode(&self, payload: &mut Vec<u8>) {
        payload.extend_from_slice(&self.0);
    }

    fn bytes(&self) -> usize {
        self.0.len()
    }
}
