//! Writes labels to the prediction log before they are answered.

use std::sync::Arc;

use crate::predictions::store::Encode;
use crate::predictions::{Appended, Kind, Label, Level, Log, OnFailure};
use crate::types::{Code, InferError};

/// Where labels are kept, and how surely.
#[derive(Clone)]
pub struct LabelLog {
    pub log: Arc<Log>,
    pub level: Level,
    pub on_failure: OnFailure,
}

/// Labels that are appended before others of the thread get their turn.
const AT_A_TIME: usize = 64;

impl LabelLog {
    /// Appends labels as the level says. Does not block.
    ///
    /// # Errors
    /// `Unavailable` where a label has to be kept and cannot be.
    pub(super) async fn keep(&self, labels: &[Label]) -> Result<(), InferError> {
        match self.level {
            Level::Off => Ok(()),
            Level::Async => self.offer(labels),
            Level::Process => self.append(labels, false).await,
            Level::Fsync => self.append(labels, true).await,
        }
    }

    fn offer(&self, labels: &[Label]) -> Result<(), InferError> {
        let mut all_taken = true;
        for label in labels {
            all_taken &= self.log.offer(Box::new(Queued(label.clone())));
        }
        // What is not taken is a gap that the log counts.
        if all_taken || self.on_failure == OnFailure::BestEffort { Ok(()) } else { Err(not_kept()) }
    }

    async fn append(&self, labels: &[Label], flushed: bool) -> Result<(), InferError> {
        let mut last = None;
        let mut pending = Vec::new();
        for (at, label) in labels.iter().enumerate() {
            if at > 0 && at % AT_A_TIME == 0 {
                tokio::task::yield_now().await;
            }
            let encode = |payload: &mut Vec<u8>| label.encode(payload);
            match self.log.append(Kind::Label, self.on_failure, encode) {
                // Of this thread's shard, whose last flush covers those before.
                Appended::Kept(place) => last = Some(place),
                Appended::Pending(later) => pending.push(later),
                Appended::Gap if self.on_failure == OnFailure::Strict => return Err(not_kept()),
                Appended::Gap => {}
            }
        }
        let mut places: Vec<_> = last.into_iter().collect();
        for later in pending {
            match later.await {
                Ok(Ok(place)) => places.push(place),
                _ => return Err(not_kept()),
            }
        }
        if flushed {
            for place in places {
                let kept = self.log.flushed(place).await;
                if kept.is_err() && self.on_failure == OnFailure::Strict {
                    return Err(not_kept());
                }
            }
        }
        Ok(())
    }
}

/// A label that waits at level `async`.
struct Queued(Label);

impl Encode for Queued {
    fn kind(&self) -> Kind {
        Kind::Label
    }

    fn encode(&self, payload: &mut Vec<u8>) {
        self.0.encode(payload);
    }

    fn bytes(&self) -> usize {
        size_of::<Label>() + self.0.request_id.len() + self.0.model.len()
    }
}

fn not_kept() -> InferError {
    let message = "the label cannot be kept: the prediction log cannot be written; try again later";
    InferError::new(Code::Unavailable, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::predictions::{LogOptions, Truth};

    fn label() -> Label {
        Label {
            request_id: "a".to_owned(),
            row: 0,
            label_time: 0,
            recorded_time: 0,
            truth: Truth::Value(1.0),
            weight: 1.0,
            model: String::new(),
        }
    }

    /// More labels than are appended in one go.
    const MANY: usize = 3 * AT_A_TIME + 1;

    #[tokio::test]
    async fn labels_are_kept_or_refused_as_the_policy_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = LogOptions {
            root: folder.path().to_owned(),
            shards: 1,
            segment_bytes: 1 << 20,
            segment_age: Duration::from_secs(3600),
            flush_every: Duration::from_millis(1),
            slow_append: Duration::from_secs(60),
            queue_records: 2 * MANY,
            queue_bytes: 1 << 20,
        };
        let log = Log::open(options, Arc::default()).expect("a log");
        let keep = |level, on_failure| {
            let log = LabelLog { log: Arc::clone(&log), level, on_failure };
            async move { log.keep(&vec![label(); MANY]).await.map_err(|error| error.code) }
        };
        for level in [Level::Off, Level::Async, Level::Process, Level::Fsync] {
            assert_eq!(keep(level, OnFailure::Strict).await, Ok(()), "{level:?}");
        }
        log.close();
        for level in [Level::Process, Level::Fsync] {
            assert_eq!(keep(level, OnFailure::Strict).await, Err(Code::Unavailable), "{level:?}");
            assert_eq!(keep(level, OnFailure::BestEffort).await, Ok(()), "{level:?}");
        }
        assert_eq!(keep(Level::Off, OnFailure::Strict).await, Ok(()));
    }
}
