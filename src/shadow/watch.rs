//! Compares what shadows are asked and answer with their profiles.

use smallvec::SmallVec;

use super::Sample;
use super::run::Answer;
use crate::drift::live::{Role, Rows};
use crate::serving::Target;
use crate::telemetry::{DriftDrop, Telemetry};
use crate::types::Tensor;

/// Counts a shadow's rows, on the thread that ran them.
pub(super) fn watch(sample: &Sample, target: &Target, answer: &Answer, telemetry: &Telemetry) {
    let shadow = &target.servable;
    let watch = shadow.watch.load();
    let Some(watch) = &*watch else { return };
    let primary = sample.primary.signature();
    let input = |name: &str| {
        let place = primary.inputs.iter().position(|input| *input.name == *name)?;
        sample.work.inputs.get(place).cloned()
    };
    // In the shadow's order; it has answered, so none is missing.
    let inputs: SmallVec<[Tensor; 2]> =
        shadow.signature().inputs.iter().filter_map(|spec| input(&spec.name)).collect();
    let (wanted, outputs) = (&answer.wanted, &answer.outputs);
    if !watch.count(Role::Shadow, Rows { inputs: &inputs, wanted, outputs }) {
        telemetry.drift().dropped(DriftDrop::Busy);
    }
}
