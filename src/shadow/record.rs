//! What the prediction log keeps of a mirrored request: the shadow's answer,
//! and the primary's where the two differ and the policy's sampling had left
//! it out.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::{Array, SmallVec};

use super::Sample;
use crate::predictions::{
    Deferred, Encode, Encoded, Head, Log, Prediction, Recorder, Role, SchemaId, encode_bare,
};
use crate::serving::{Servable, Target};
use crate::telemetry::RecordOutcome;
use crate::types::Code;

/// What a sample carries for its record.
pub struct Recording {
    pub log: Arc<Log>,
    /// Of the primary's answer, without its tensors.
    pub head: Vec<u8>,
    /// Whether the primary's answer is recorded.
    pub is_kept: bool,
}

/// How a shadow's run ended, as its record tells it.
pub(super) enum Ended<'a> {
    Answered { answer: &'a super::run::Answer, agrees: bool },
    Failed(Code),
}

/// Records the shadow's answer beside the primary's.
pub(super) fn record(sample: &Sample, target: &Target, ended: &Ended<'_>) {
    let Some(recording) = &sample.recording else { return };
    let differs = !matches!(ended, Ended::Answered { agrees: true, .. });
    if !recording.is_kept && !differs {
        return;
    }
    let Some(primary) = primary(&recording.head) else { return };
    if let Some(recorder) = &*target.servable.recorder.load() {
        put_shadow(recording, sample, target, recorder, ended, &primary);
    }
    if let Some(recorder) = &*sample.primary.recorder.load()
        && !recording.is_kept
    {
        let mut head = Vec::new();
        Head { sampling: 1.0, ..primary.head() }.encode(&mut head);
        let of_primary = Deferred {
            head,
            recorder: Arc::clone(recorder),
            inputs: unless_private(sample, &sample.work.inputs),
            wanted: unless_private(sample, &sample.work.wanted),
            outputs: unless_private(sample, &sample.done.outputs),
        };
        put(recording, &sample.primary, Box::new(of_primary));
    }
}

fn put_shadow(
    recording: &Recording,
    sample: &Sample,
    target: &Target,
    recorder: &Arc<Recorder>,
    ended: &Ended<'_>,
    primary: &Prediction,
) {
    let head = Head {
        role: Role::Shadow,
        version: target.servable.version().get(),
        variant: &target.variant_text,
        ..primary.head()
    };
    let record: Box<dyn Encode> = match ended {
        Ended::Answered { answer, agrees } => {
            let mut encoded = Vec::new();
            let took = u32::try_from(answer.took.as_micros()).unwrap_or(u32::MAX);
            Head {
                schema: recorder.id,
                queue_us: 0,
                infer_us: took,
                total_us: took,
                batch_rows: primary.rows,
                sampling: if *agrees { primary.sampling } else { 1.0 },
                ..head
            }
            .encode(&mut encoded);
            Box::new(Deferred {
                head: encoded,
                recorder: Arc::clone(recorder),
                // They stand in the primary's record, under the same request id.
                inputs: Default::default(),
                wanted: unless_private(sample, &answer.wanted),
                outputs: unless_private(sample, &answer.outputs),
            })
        }
        Ended::Failed(code) => {
            let mut encoded = Vec::new();
            let head = Head { schema: SchemaId::NONE, code: Some(*code), sampling: 1.0, ..head };
            encode_bare(&head, &mut encoded);
            Box::new(Encoded(encoded))
        }
    };
    put(recording, &sample.primary, record);
}

/// Nothing of a private route is kept.
fn unless_private<T: Clone>(sample: &Sample, all: &SmallVec<[T; 2]>) -> SmallVec<[T; 2]>
where
    [T; 2]: Array<Item = T>,
{
    if sample.route.route.private { SmallVec::new() } else { all.clone() }
}

fn put(recording: &Recording, of: &Servable, record: Box<dyn Encode>) {
    let outcome = match recording.log.offer(record) {
        true => RecordOutcome::Recorded,
        false => RecordOutcome::Dropped,
    };
    of.model_metrics.recorded(outcome);
}

/// What a head says, as a record without tensors.
fn primary(head: &[u8]) -> Option<Prediction> {
    // Two empty lists end it.
    Prediction::decode(&Bytes::from([head, &[0; 4]].concat()))
}
