//! The end of a version: it finishes its requests and is freed away from them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::bring_up::{Happened, News};
use super::decide::InstanceId;
use super::lifecycle::Lifecycle;
use super::memory::Share;
use super::model::{Draining, Instance, Ready};
use super::report::unix_ms;
use crate::serving::Loaded;
use crate::types::{ModelName, Stage};

/// How often a draining version is looked at, and after which time a warning
/// says that it still has requests. It is never cut off.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
const DRAIN_WARNING: Duration = Duration::from_secs(60);

impl Lifecycle {
    /// Lets a version finish its requests and frees it on the loading thread.
    pub(super) fn drain(&mut self, name: &ModelName, id: InstanceId, mut instance: Instance) {
        let Some(Ready { servable, share }) = instance.ready.take() else { return };
        instance.metrics.set_state(Stage::Draining.label());
        let draining = Draining {
            attempt: instance.attempt,
            content: id.content,
            since: unix_ms(),
            memory: servable.loaded.engine.memory_bytes(),
            metrics: instance.metrics,
        };
        let attempt = draining.attempt;
        if let Some(model) = self.models.get_mut(name) {
            model.draining.push(draining);
            // So that the index shows it.
            model.is_dirty = true;
        }
        self.audit_stage(name, id.content, Stage::Draining, None);
        let loader = self.workshop.loader.clone();
        let (news, name) = (self.news.clone(), name.clone());
        tokio::spawn(async move {
            until_alone(&name, &servable).await;
            // Ends its lane, whose threads finish what waits there.
            let loaded = Arc::clone(&servable.loaded);
            drop(servable);
            until_alone(&name, &loaded).await;
            loader.run(move || free(loaded, share, news, name, attempt));
        });
    }
}

/// Waits until nobody else holds it.
async fn until_alone<T: Send + Sync>(name: &ModelName, held: &Arc<T>) {
    let mut warned = Instant::now();
    while Arc::strong_count(held) > 1 {
        if warned.elapsed() > DRAIN_WARNING {
            warned = Instant::now();
            tracing::warn!(model = %name, "a version still has requests, or runs that go on");
        }
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}

fn free(
    loaded: Arc<Loaded>,
    share: Share,
    news: mpsc::Sender<News>,
    model: ModelName,
    attempt: u64,
) {
    drop(loaded);
    drop(share);
    let _ = news.blocking_send(News { model, attempt, what: Happened::Gone });
}
