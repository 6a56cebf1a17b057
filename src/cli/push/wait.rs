//! Waits until a running gateway serves what was pushed, or refuses it.

use std::fmt;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde::de::IgnoredAny;

use crate::cli::client::{Address, Client, ClientError};
use crate::cli::{CANNOT_REACH, REJECTED, WAIT_TIMED_OUT};
use crate::control::{Status, VersionStatus};
use crate::registry::Pushed;
use crate::types::{ModelName, Rejection, Stage};

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(200);
/// Seconds for one answer.
const ANSWER: u64 = 10;

#[derive(Args, Debug)]
pub(super) struct WaitFlags {
    /// Wait until the version is served or rejected, for at most so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "300")]
    wait: Option<u64>,
    #[command(flatten)]
    gateway: Address,
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
            Outcome::CannotReach { reason } => f.write_str(reason),
        }
    }
}

/// Pokes the gateway, and asks it until it says ready or rejected. Blocks.
pub(super) fn wait(
    flags: &WaitFlags,
    patience: Duration,
    model: &ModelName,
    pushed: &Pushed,
) -> Outcome {
    let ended = || {
        let client = flags.gateway.client(ANSWER)?;
        client.post::<IgnoredAny>("/admin/v1/registry/events", &serde_json::json!({}))?;
        watch(&client, patience, model, pushed)
    };
    ended().unwrap_or_else(|error: ClientError| Outcome::CannotReach { reason: error.to_string() })
}

fn watch(
    client: &Client,
    patience: Duration,
    model: &ModelName,
    pushed: &Pushed,
) -> Result<Outcome, ClientError> {
    let until = Instant::now() + patience;
    loop {
        let status: Status = client.get("/admin/v1/models")?;
        match judge(&status, model, pushed) {
            Ok(outcome) => return Ok(outcome),
            Err(seen) if Instant::now() >= until => return Ok(Outcome::TimedOut { seen }),
            Err(_) => std::thread::sleep(LOOK),
        }
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
