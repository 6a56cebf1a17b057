//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Load for any server of the Open Inference Protocol.
///
/// With --rate the load is open loop: requests are due on a fixed schedule and
/// latency counts from the moment a request was due, so that a server that
/// stalls is charged with every request it kept waiting. Without it the load is
/// closed loop: each caller sends its next request when it has its answer, and
/// latency counts from the sending.
///
/// Latencies are those of OK answers; requests that failed are counted by code
/// and timed apart. Exit codes: 0 ok, 1 a threshold is broken or nothing was
/// answered, 2 usage, 4 cannot reach the server.
#[derive(Parser, Clone, Debug)]
#[command(version, max_term_width = 100)]
pub struct Args {
    /// Address of the server.
    #[arg(long, default_value = "127.0.0.1:8000", env = "LOADTEST_URL", value_name = "HOST:PORT")]
    pub url: String,
    /// Wire form of the requests.
    #[arg(long, value_enum, default_value_t = Protocol::HttpJson)]
    pub protocol: Protocol,
    /// Model to ask; repeat for several, which share the load by weight.
    #[arg(long = "model", required = true, value_name = "NAME[:VERSION][=WEIGHT]")]
    #[arg(value_parser = parse_model)]
    pub models: Vec<ModelArg>,

    /// Open loop: requests per second, whatever the server does.
    #[arg(long, value_parser = parse_rate, conflicts_with = "concurrency")]
    pub rate: Option<f64>,
    /// Closed loop: callers that each wait for their answer [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub concurrency: Option<u32>,
    /// Connections; over HTTP with --concurrency each caller has its own
    /// [default: 64 over HTTP, 8 over gRPC].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub connections: Option<u32>,
    /// Requests at once on each gRPC connection [default: 8].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    #[arg(conflicts_with = "concurrency")]
    pub streams: Option<u32>,

    /// How long to measure.
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// How long to send before measuring.
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    pub warmup: Duration,
    /// A request without an answer after this long has failed.
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub timeout_ms: u64,
    /// Client threads.
    #[arg(long, default_value_t = 1, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,

    /// Rows in each request (the first dimension, where the model leaves it free).
    #[arg(long, default_value_t = 1, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rows: u32,
    /// Size of a free dimension: of all that an input has beyond the first, or
    /// of one by its index [default: 1].
    #[arg(long = "dim", value_name = "INPUT[@AXIS]=N", value_parser = parse_dim)]
    pub dims: Vec<DimArg>,
    /// Send this file (a JSON infer request; with the ending .jsonl or .ndjson one a line, in
    /// turns) instead of made-up inputs.
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Seed of the made-up inputs and of the order of the models.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Form of the report.
    #[arg(long, value_enum, default_value_t = ReportForm::Text)]
    pub report: ReportForm,
    /// Add what happened in each second to the JSON report.
    #[arg(long)]
    pub timeline: bool,
    /// Write the report to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Broken when the p50 of all OK answers is higher.
    #[arg(long, value_name = "MS", help_heading = "Thresholds")]
    pub max_p50_ms: Option<f64>,
    /// Broken when the p99 of all OK answers is higher.
    #[arg(long, value_name = "MS", help_heading = "Thresholds")]
    pub max_p99_ms: Option<f64>,
    /// Broken when more requests fail: a count (`10`), or a part of all (`0.001`, `0.1%`).
    #[arg(long, value_name = "N|RATIO", help_heading = "Thresholds", value_parser = parse_allowance)]
    pub max_errors: Option<Allowance>,
    /// Broken when fewer OK answers come per second.
    #[arg(long, value_name = "RATE", help_heading = "Thresholds")]
    pub min_rate: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// JSON over HTTP/1.1.
    HttpJson,
    /// The binary tensor extension over HTTP/1.1, answers too.
    HttpBinary,
    /// ModelInfer over HTTP/2 in the clear.
    Grpc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportForm {
    Text,
    Json,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelArg {
    pub name: String,
    /// None: the server chooses.
    pub version: Option<String>,
    pub weight: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DimArg {
    pub input: String,
    /// None: every free dimension but the first.
    pub axis: Option<usize>,
    pub size: u64,
}

/// How many requests may fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowance {
    Count(u64),
    Ratio(f64),
}

fn parse_model(text: &str) -> Result<ModelArg, String> {
    let (model, weight) = match text.rsplit_once('=') {
        Some((model, weight)) => match weight.parse() {
            Ok(weight @ 1..=1_000_000) => (model, weight),
            _ => return Err(format!("weight `{weight}` is not a number from 1 to 1000000")),
        },
        None => (text, 1),
    };
    let (name, version) = match model.split_once(':') {
        Some((_, "")) => return Err("the version after `:` is empty".into()),
        Some((name, version)) => (name, Some(version.to_owned())),
        None => (model, None),
    };
    if name.is_empty() {
        return Err("the name is empty".into());
    }
    Ok(ModelArg { name: name.to_owned(), version, weight })
}

fn parse_dim(text: &str) -> Result<DimArg, String> {
    let (place, size) = text.rsplit_once('=').ok_or("expected INPUT=N or INPUT@AXIS=N")?;
    let size = size.parse().map_err(|_| format!("size `{size}` is not a number"))?;
    let (input, axis) = match place.rsplit_once('@') {
        Some((input, axis)) => {
            (input, Some(axis.parse().map_err(|_| format!("axis `{axis}` is not a number"))?))
        }
        None => (place, None),
    };
    Ok(DimArg { input: input.to_owned(), axis, size })
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("expected a number from 0.001 to 10000000".into()),
    }
}

/// Longest run, so that every run is bounded and its per-second timeline too.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("unit `{unit}` is not one of ms, s, m, h")),
    };
    let count: f64 = digits.parse().map_err(|_| format!("`{digits}` is not a number"))?;
    Duration::try_from_secs_f64(count * unit)
        .ok()
        .filter(|duration| *duration <= MAX_DURATION)
        .ok_or_else(|| "expected a time from 0 to 24h".into())
}

fn parse_allowance(text: &str) -> Result<Allowance, String> {
    let ratio = match text.strip_suffix('%') {
        Some(percent) => percent.parse().map(|percent: f64| percent / 100.0),
        None => match text.parse() {
            Ok(count) => return Ok(Allowance::Count(count)),
            Err(_) => text.parse(),
        },
    };
    match ratio {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(Allowance::Ratio(ratio)),
        _ => Err("expected a count, a part from 0.0 to 1.0, or a percentage".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_carries_version_and_weight() {
        let model = parse_model("digits:3=7").unwrap();
        assert_eq!(model, ModelArg { name: "digits".into(), version: Some("3".into()), weight: 7 });
        assert_eq!(parse_model("digits").unwrap().weight, 1);
        for bad in ["", ":1", "m:", "m=0", "m=x"] {
            assert!(parse_model(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn duration_needs_a_known_unit_and_a_bound() {
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(parse_duration("1.5m").unwrap(), Duration::from_secs(90));
        for bad in ["", "s", "10d", "-1s", "25h", "NaN"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn allowance_tells_counts_from_ratios() {
        assert_eq!(parse_allowance("1"), Ok(Allowance::Count(1)));
        assert_eq!(parse_allowance("1.0"), Ok(Allowance::Ratio(1.0)));
        assert_eq!(parse_allowance("0.5%"), Ok(Allowance::Ratio(0.005)));
        for bad in ["-1", "1.5", "101%", "few"] {
            assert!(parse_allowance(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dim_names_an_input_and_maybe_an_axis() {
        assert_eq!(
            parse_dim("x:0@2=64"),
            Ok(DimArg { input: "x:0".into(), axis: Some(2), size: 64 })
        );
        assert_eq!(parse_dim("x=8"), Ok(DimArg { input: "x".into(), axis: None, size: 8 }));
        assert!(parse_dim("x").is_err());
    }
}
