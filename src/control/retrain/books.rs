//! What is remembered, and what one evaluation makes of it. Under a time that is
//! handed in.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::budget::Spent;
use super::decision::{Decision, Verdict};
use super::event::{Context, Event, EventKind};
use super::evidence::Evidence;
use super::facts::{Delivery, Facts};
use super::follow::Outcome;
use super::lineage::{Lineage, Step};
use super::outbox::{Outbox, OutboxError};
use super::policy::{Policy, State};
use super::status::{ModelRetrain, RequestStatus, ms};
use crate::control::files::{read, replace};
use crate::types::{ModelName, rfc3339};

/// Steps of a model that are shown.
const SHOWN_STEPS: usize = 50;

/// How long a model is remembered that is there no more.
const FORGET_US: i64 = 31 * 86_400_000_000;

/// Everything that outlives an evaluation. All of it is on disk.
#[derive(Debug)]
pub(super) struct Books {
    path: PathBuf,
    remembered: Remembered,
    pub(super) outbox: Outbox,
    pub(super) lineage: Lineage,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Remembered {
    models: BTreeMap<ModelName, Model>,
    spent: Spent,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Model {
    #[serde(flatten)]
    state: State,
    /// What was decided last, as its label, and since when that is so.
    decided: String,
    since: i64,
    /// When the last version that came of a request was promoted.
    last_retrain: Option<i64>,
    /// When it was last evaluated.
    seen_at: i64,
}

/// Where the event of a request is to go, and what stands around it.
pub(super) struct Sending<'a> {
    /// Whether anybody takes events of a kind.
    pub(super) takes: &'a dyn Fn(EventKind) -> bool,
    pub(super) context: &'a dyn Fn(&Evidence) -> Context,
}

impl Books {
    /// # Errors
    /// Where the folder cannot be used.
    pub(super) fn open(folder: &Path) -> io::Result<Books> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join("state.json");
        Ok(Books {
            remembered: read(&path).unwrap_or_default(),
            path,
            outbox: Outbox::open(&folder.join("outbox"))?,
            lineage: Lineage::open(folder)?,
        })
    }

    pub(super) fn budget_left(&self, daily: u32, now: i64) -> u32 {
        self.remembered.spent.left(daily, now)
    }

    /// What became of the event of a model's last request.
    pub(super) fn delivery(&self, model: &ModelName) -> Option<Delivery> {
        let asked = self.remembered.models.get(model)?.state.asked.as_ref()?;
        self.outbox.state(&asked.id)
    }

    /// Decides, and acts on it. What cannot be kept was not decided: the next
    /// evaluation comes to it again.
    pub(super) fn evaluate(
        &mut self,
        policy: &Policy,
        facts: &Facts,
        sending: &Sending<'_>,
    ) -> (Decision, bool) {
        let mut model = self.remembered.models.get(&facts.model).cloned().unwrap_or_default();
        let (decision, steps) = policy.decide(&mut model.state, facts);
        if let Some(why) = self.keep(policy, &mut model, &decision, facts, sending) {
            tracing::error!(model = %facts.model, why, "training cannot be asked for");
            return (Decision { verdict: Verdict::Watching, why }, false);
        }
        let is_new = model.decided != decision.verdict.label();
        if is_new {
            (model.decided, model.since) = (decision.verdict.label().to_owned(), facts.now);
            self.tell(&facts.model, &decision, facts.now);
        }
        for step in &steps {
            self.followed(&mut model, step, facts, sending);
        }
        model.seen_at = facts.now;
        self.remembered.models.insert(facts.model.clone(), model);
        (decision, is_new)
    }

    /// Puts the event of a request into the outbox. Says why it could not.
    fn keep(
        &mut self,
        policy: &Policy,
        model: &mut Model,
        decision: &Decision,
        facts: &Facts,
        sending: &Sending<'_>,
    ) -> Option<String> {
        let Verdict::Request(evidence) = &decision.verdict else { return None };
        let until = policy.cooldown_until(&model.state, facts.now);
        let context = Context {
            last_retrain: model.last_retrain.map(rfc3339),
            cooldown_until: until.map(rfc3339),
            ..(sending.context)(evidence)
        };
        let event = Event::requested(&facts.model, evidence, &context, facts.now, false);
        if let Err(error) = self.outbox.put(event, facts.now) {
            return Some(error.to_string());
        }
        self.remembered.spent.spend(facts.now);
        None
    }

    /// Logs a decision that is another than the last one, and adds it to the lineage.
    fn tell(&mut self, model: &ModelName, decision: &Decision, now: i64) {
        let (state, why) = (decision.verdict.label(), &decision.why);
        match &decision.verdict {
            Verdict::Page(_) => tracing::error!(%model, why, "data is broken: nothing is trained"),
            Verdict::Nothing | Verdict::Watching => {
                tracing::info!(%model, state, why, "retraining")
            }
            _ => tracing::warn!(%model, state, why, "retraining"),
        }
        let Some(evidence) = decision.verdict.evidence() else { return };
        let step = if state == "request" { "requested" } else { state };
        self.step(Step {
            at: now,
            model: model.clone(),
            id: evidence.id.clone(),
            step: step.to_owned(),
            version: Some(evidence.version),
            profile: Some(evidence.profile.clone()),
            why: Some(why.clone()),
        });
    }

    /// Notes what became of the last request, and tells of its end.
    fn followed(
        &mut self,
        model: &mut Model,
        outcome: &Outcome,
        facts: &Facts,
        sending: &Sending<'_>,
    ) {
        let Some(asked) = &model.state.asked else { return };
        let version = match outcome {
            Outcome::Pending | Outcome::Delivered | Outcome::Failed => asked.version,
            Outcome::Arrived { version, .. }
            | Outcome::Promoted { version, .. }
            | Outcome::Rejected { version, .. } => *version,
        };
        let why = match outcome {
            Outcome::Rejected { why, .. } => Some(why.clone()),
            _ => None,
        };
        if matches!(outcome, Outcome::Promoted { .. }) {
            model.last_retrain = Some(facts.now);
        }
        let is_end = matches!(outcome, Outcome::Promoted { .. } | Outcome::Rejected { .. });
        if is_end && !asked.dry_run && (sending.takes)(EventKind::Completed) {
            let request = (asked.id.as_str(), asked.at);
            let label = outcome.label();
            let event = Event::completed(&facts.model, request, version, label, facts.now);
            if let Err(error) = self.outbox.put(event, facts.now) {
                tracing::error!(model = %facts.model, %error, "the end of a request is not told");
            }
        }
        tracing::info!(model = %facts.model, id = asked.id, outcome = outcome.label(), "retraining");
        let step = Step {
            at: facts.now,
            model: facts.model.clone(),
            id: asked.id.clone(),
            step: outcome.label().to_owned(),
            version: Some(version),
            profile: None,
            why,
        };
        self.step(step);
    }

    pub(super) fn step(&mut self, step: Step) {
        if let Err(error) = self.lineage.add(step) {
            tracing::error!(%error, "the lineage cannot be written");
        }
    }

    /// Forgets models that are long gone, and writes down what is remembered.
    pub(super) fn save(&mut self, now: i64) -> io::Result<()> {
        let oldest = now.saturating_sub(FORGET_US);
        self.remembered.models.retain(|_, model| model.seen_at >= oldest);
        replace(&self.path, &serde_json::to_vec(&self.remembered)?)
    }

    /// A model as it is shown.
    pub(super) fn show(
        &self,
        name: &ModelName,
        policy: &Policy,
        decision: &Decision,
        now: i64,
    ) -> ModelRetrain {
        let model = self.remembered.models.get(name).cloned().unwrap_or_default();
        let until = policy.cooldown_until(&model.state, now).filter(|until| *until > now);
        let asked = model.state.asked.as_ref();
        ModelRetrain {
            model: name.clone(),
            state: decision.verdict.label().to_owned(),
            why: decision.why.clone(),
            since: ms(model.since),
            dry_run: policy.dry_run,
            cooldown_until: until.map(ms),
            request: asked.map(|asked| RequestStatus {
                id: asked.id.clone(),
                at: ms(asked.at),
                version: asked.version,
                profile: asked.profile.clone(),
                rule: asked.rule.label().to_owned(),
                dry_run: asked.dry_run,
                outcome: asked.outcome.label().to_owned(),
                outcome_at: ms(asked.outcome_at),
            }),
            lineage: self.lineage.of(name, SHOWN_STEPS).into_iter().map(Into::into).collect(),
        }
    }

    /// Sends an event that only tries the way.
    ///
    /// # Errors
    /// As of [`Outbox::put`].
    pub(super) fn test(
        &mut self,
        model: &ModelName,
        evidence: &Evidence,
        now: i64,
    ) -> Result<(), OutboxError> {
        let event = Event::requested(model, evidence, &Context::default(), now, true);
        self.outbox.put(event, now)?;
        self.step(Step {
            at: now,
            model: model.clone(),
            id: evidence.id.clone(),
            step: "test".to_owned(),
            version: Some(evidence.version),
            profile: None,
            why: None,
        });
        Ok(())
    }
}
