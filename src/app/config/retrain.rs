//! `retrain`: when models are to be trained anew, and who is asked to.

use std::collections::BTreeMap;

use http::HeaderName;
use serde::{Deserialize, Serialize};

use super::expand;
use super::range::{Problem, Validate, within};
use crate::control::retrain::{Blackout, Day, Signer};
use crate::registry::Secret;
use crate::types::ModelName;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrainConfig {
    /// Whether anything is decided.
    pub enabled: bool,
    /// Decide all the same, and send nothing.
    pub dry_run: bool,
    /// From one look at all models to the next.
    pub evaluate_ms: u64,
    /// Looks in a row that have to find the evidence.
    pub evaluations: u32,
    /// Inputs that have to drift, or the importance of one that does.
    pub features: usize,
    pub importance: f64,
    /// What comes of inputs that drift where nothing else is known.
    pub on_input_drift: OnInputDrift,
    /// Labels without which quality is not compared: their share, and their number.
    pub min_coverage: f64,
    pub min_labels: u64,
    /// From one request of a model to the next, and the most that this doubles to.
    pub cooldown_ms: u64,
    pub longest_cooldown_ms: u64,
    /// How long next to nothing is seen of evidence before it has gone.
    pub clear_ms: u64,
    /// Requests a day, of all models.
    pub daily_budget: u32,
    /// By how much a share of missing or strange values jumps when a feed breaks.
    pub jump: f64,
    /// Share of the inputs that begin to drift at once when a feed breaks.
    pub at_once: f64,
    /// Hours of UTC in which nothing is requested.
    pub blackouts: Vec<BlackoutConfig>,
    /// Addresses that events name.
    pub dashboards: Vec<String>,
    /// Who is asked; needed where runs are not dry.
    pub deliver: Option<DeliverConfig>,
    /// By name of the model, where not all of this is right for it.
    pub models: BTreeMap<String, ModelRetrain>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnInputDrift {
    /// It is shown, for people.
    Ticket,
    /// Training is requested.
    Request,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BlackoutConfig {
    /// On which it begins; all where there are none.
    #[serde(default)]
    pub days: Vec<Day>,
    /// `HH:MM`.
    pub from: String,
    pub until: String,
}

/// What an entry of `retrain.models` says. What it leaves out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelRetrain {
    pub enabled: Option<bool>,
    pub dry_run: Option<bool>,
    pub on_input_drift: Option<OnInputDrift>,
    /// By name of the feature: shares of 1.
    pub importances: BTreeMap<String, f64>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeliverConfig {
    pub to: DeliverTo,
    /// Of all but a command.
    #[serde(default, deserialize_with = "expand::optional")]
    pub url: Option<String>,
    /// Sent along, such as a token as `${file:/path}`.
    #[serde(default, deserialize_with = "expand::values")]
    pub headers: BTreeMap<String, Secret>,
    /// Signs what is sent: `whsec_` and base64, as `${file:/path}`.
    #[serde(default, deserialize_with = "expand::optional")]
    pub secret: Option<Secret>,
    /// The program and its arguments.
    #[serde(default)]
    pub command: Vec<String>,
    #[serde(default = "half_a_minute")]
    pub timeout_ms: u64,
}

/// Who is asked, and so how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliverTo {
    Cloudevent,
    CloudeventBinary,
    Airflow,
    Argo,
    Github,
    Command,
}

fn half_a_minute() -> u64 {
    MINUTE_MS / 2
}

impl Default for RetrainConfig {
    fn default() -> RetrainConfig {
        RetrainConfig {
            enabled: true,
            dry_run: true,
            evaluate_ms: MINUTE_MS,
            evaluations: 3,
            features: 2,
            importance: 0.1,
            on_input_drift: OnInputDrift::Ticket,
            min_coverage: 0.8,
            min_labels: 300,
            cooldown_ms: DAY_MS,
            longest_cooldown_ms: 7 * DAY_MS,
            clear_ms: DAY_MS / 12,
            daily_budget: 3,
            jump: 0.1,
            at_once: 0.5,
            blackouts: Vec::new(),
            dashboards: Vec::new(),
            deliver: None,
            models: BTreeMap::new(),
        }
    }
}

impl RetrainConfig {
    pub fn model(&self, name: &ModelName) -> ModelRetrain {
        self.models.get(name.as_str()).cloned().unwrap_or_default()
    }
}

impl BlackoutConfig {
    /// Its hours; none where they are no times of day.
    pub fn blackout(&self) -> Option<Blackout> {
        let (from, until) = (minute(&self.from)?, minute(&self.until)?);
        Some(Blackout { days: self.days.clone(), from, until })
    }
}

/// Minutes since midnight, of `HH:MM`.
fn minute(text: &str) -> Option<i64> {
    let (hour, minute) = text.split_once(':').filter(|(h, m)| h.len() == 2 && m.len() == 2)?;
    let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then(|| i64::from(hour * 60 + minute))
}

impl Validate for RetrainConfig {
    fn validate(&self) -> Result<(), Problem> {
        within("evaluate_ms", self.evaluate_ms, 100..=60 * MINUTE_MS)?;
        within("evaluations", self.evaluations, 1..=1000)?;
        within("features", self.features, 1..=10_000)?;
        let shares = [
            ("importance", self.importance),
            ("min_coverage", self.min_coverage),
            ("jump", self.jump),
            ("at_once", self.at_once),
        ];
        shares.into_iter().try_for_each(|(key, share)| within(key, share, 0.0..=1.0))?;
        within("cooldown_ms", self.cooldown_ms, 1_000..=31 * DAY_MS)?;
        within("longest_cooldown_ms", self.longest_cooldown_ms, self.cooldown_ms..=366 * DAY_MS)?;
        within("clear_ms", self.clear_ms, 0..=31 * DAY_MS)?;
        for (at, blackout) in self.blackouts.iter().enumerate() {
            if blackout.blackout().is_none() {
                let message = format!(
                    "expected times of day such as 22:00, got {} and {}",
                    blackout.from, blackout.until
                );
                return Err(Problem::new(format!("blackouts[{at}].from"), message));
            }
        }
        for (name, model) in &self.models {
            ModelName::parse(name).map_err(|error| Problem::new("models", error.to_string()))?;
            for share in model.importances.values() {
                within(&format!("models.{name}.importances"), *share, 0.0..=1.0)?;
            }
        }
        let is_dry = |model: &ModelRetrain| model.dry_run.unwrap_or(self.dry_run);
        let sends = self.enabled && (!self.dry_run || !self.models.values().all(is_dry));
        match &self.deliver {
            Some(deliver) => deliver.validate().map_err(|problem| problem.within("deliver")),
            None if sends => {
                let message = "nothing can be sent: set retrain.deliver, or dry_run: true";
                Err(Problem::new("dry_run", message))
            }
            None => Ok(()),
        }
    }
}

impl Validate for DeliverConfig {
    fn validate(&self) -> Result<(), Problem> {
        within("timeout_ms", self.timeout_ms, 100..=60 * MINUTE_MS)?;
        if self.to == DeliverTo::Command {
            return match self.command.first() {
                Some(program) if !program.is_empty() => Ok(()),
                _ => Err(Problem::new("command", "expected a program and its arguments")),
            };
        }
        let url = self.url.as_deref().and_then(|url| url.parse::<reqwest::Url>().ok());
        if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            return Err(Problem::new("url", "expected an address such as https://host/path"));
        }
        for name in self.headers.keys() {
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                return Err(Problem::new("headers", format!("'{name}' is no name of a header")));
            }
        }
        if let Some(secret) = &self.secret {
            let signer = Signer::new(secret.reveal());
            signer.map_err(|error| Problem::new("secret", error.to_string()))?;
        }
        Ok(())
    }
}
