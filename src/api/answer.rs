//! What both faces do to an answer before they encode it.

use super::codec::classification::{Classification, classify};
use crate::request::Answer;
use crate::types::InferError;

/// Turns the outputs that were asked for as classes into their best classes.
pub fn classify_outputs(answer: &mut Answer) -> Result<(), InferError> {
    if answer.classification.is_empty() {
        return Ok(());
    }
    let loaded = &answer.servable.loaded;
    let signature = loaded.engine.signature();
    for (output, top) in answer.outputs.iter_mut().zip(&answer.classification) {
        if *top == 0 {
            continue;
        }
        let spec = signature.outputs.iter().find(|spec| spec.name == output.name);
        let how = Classification {
            top: *top,
            labels: spec.map_or(&[], |spec| &spec.labels),
            batched: signature.may_batch() && output.tensor.shape().rank() > 1,
        };
        output.tensor = classify(&output.tensor, how)?;
    }
    Ok(())
}
