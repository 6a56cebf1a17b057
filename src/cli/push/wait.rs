//! Waits until a running gateway serves what was pushed, or refuses it.

use std::fmt;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::super::{CANNOT_REACH, REJECTED, WAIT_TIMED_OUT};
use crate::control::{Status, VersionStatus};
use crate::registry::Pushed;
use crate::types::{ModelName, Rejection, Stage};

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(200);
/// For one answer.
const ANSWER: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub(super) struct WaitFlags {
    /// Wait until the version is served or rejected, for at most so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "300")]
    wait: Option<u64>,
    /// Admin address of the gateway to wait for
    #[arg(
        long,
        env = "MODELGATE_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8003"
    )]
    url: String,
}

impl WaitFlags {
    pub(super) fn patience(&self) -> Option<Duration> {
        self.wait.map(Duration::from_secs)
    }
}

/// What came of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum Outcome {
    Ready,
    Rejected(Rejection),
    /// With what was seen last.
    TimedOut {
        seen: String,
    },
    CannotReach {
        reason: String,
    },
}

impl Outcome {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Outcome::Ready => 0,
            Outcome::Rejected(_) => REJECTED,
            Outcome::TimedOut { .. } => WAIT_TIMED_OUT,
            Outcome::CannotReach { .. } => CANNOT_REACH,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Ready => f.write_str("ready"),
            Outcome::Rejected(rejection) => write!(f, "rejected: {rejection}"),
            Outcome::TimedOut { seen } => write!(f, "not ready in time: {seen}"),
            Outcome::CannotReach { reason } => write!(f, "cannot reach the gateway: {reason}"),
        }
    }
}

/// Pokes the gateway, and asks it until it says ready or rejected.
pub(super) async fn wait(
    flags: &WaitFlags,
    patience: Duration,
    model: &ModelName,
    pushed: &Pushed,
) -> Outcome {
    let until = Instant::now() + patience;
    let gateway = match Gateway::new(&flags.url) {
        Ok(gateway) => gateway,
        Err(error) => return cannot_reach(&error),
    };
    if let Err(error) = gateway.poke().await {
        return cannot_reach(&error);
    }
    loop {
        let seen = match gateway.status().await {
            Ok(status) => match judge(&status, model, pushed) {
                Ok(outcome) => return outcome,
                Err(seen) => seen,
            },
            Err(error) => return cannot_reach(&error),
        };
        if Instant::now() >= until {
            return Outcome::TimedOut { seen };
        }
        tokio::time::sleep(LOOK).await;
    }
}

struct Gateway {
    client: reqwest::Client,
    url: String,
}

impl Gateway {
    fn new(url: &str) -> reqwest::Result<Gateway> {
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER).build()?;
        Ok(Gateway { client, url: url.trim_end_matches('/').to_owned() })
    }

    /// Asks the gateway to list its registries now.
    async fn poke(&self) -> reqwest::Result<()> {
        let url = format!("{}/admin/v1/registry/events", self.url);
        self.client.post(url).json(&serde_json::json!({})).send().await?.error_for_status()?;
        Ok(())
    }

    async fn status(&self) -> reqwest::Result<Status> {
        let url = format!("{}/admin/v1/models", self.url);
        self.client.get(url).send().await?.error_for_status()?.json().await
    }
}

/// The outcome, or what is seen while there is none.
fn judge(status: &Status, model: &ModelName, pushed: &Pushed) -> Result<Outcome, String> {
    let models = status.models.iter().filter(|status| status.name == *model);
    let versions = models.flat_map(|status| &status.versions);
    let mut versions = versions.filter(|status| status.version == pushed.version);
    let Some(version) = versions.find(|status| status.digest == pushed.digest) else {
        return Err("the gateway does not know this version yet".to_owned());
    };
    let VersionStatus { stage, reason, rejected, .. } = version;
    match (stage, rejected) {
        (Stage::Ready, _) => Ok(Outcome::Ready),
        (Stage::Rejected, Some(kind)) => {
            let reason = reason.clone().unwrap_or_default();
            Ok(Outcome::Rejected(Rejection::new(*kind, reason)))
        }
        (stage, _) => {
            let reason = reason.as_deref().map(|reason| format!(": {reason}"));
            Err(format!("it is {}{}", stage.label(), reason.unwrap_or_default()))
        }
    }
}

fn cannot_reach(error: &reqwest::Error) -> Outcome {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let reason = if error.is_status() { error.to_string() } else { cause.to_string() };
    Outcome::CannotReach { reason }
}
