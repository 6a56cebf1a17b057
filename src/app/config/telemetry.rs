//! `telemetry`: logs and metrics.

use serde::{Deserialize, Serialize};

use super::expand;
use super::range::{Problem, Validate};
use crate::telemetry::logs::{self, LogFormat};

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    pub log_format: LogFormat,
    /// A level (error, warn, info, debug, trace), or directives such as
    /// `info,modelgate::api=debug`.
    #[serde(deserialize_with = "expand::value")]
    pub log_level: String,
    /// Whether metrics are rendered under Triton's names too.
    pub nv_aliases: bool,
}

impl Default for TelemetryConfig {
    fn default() -> TelemetryConfig {
        TelemetryConfig {
            log_format: LogFormat::Auto,
            log_level: "info".to_owned(),
            nv_aliases: false,
        }
    }
}

impl Validate for TelemetryConfig {
    fn validate(&self) -> Result<(), Problem> {
        logs::check(&self.log_level).map_err(|error| Problem::new("log_level", error.to_string()))
    }
}
