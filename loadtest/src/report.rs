//! What a run tells its reader, as JSON or as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::args::{ModelArg, Protocol};
use crate::plan::Pace;
use crate::record::{Log, Record, Second, Times};

#[derive(Debug, Serialize)]
pub struct Report {
    pub config: Config,
    /// Where latencies count from.
    pub latency_from: LatencyFrom,
    /// From the start of measuring to the end of the run or the last OK answer.
    pub measured_seconds: f64,
    pub total: Summary,
    /// One per model, in the order of the command line.
    pub models: Vec<ModelSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Vec<SecondSummary>>,
    pub passed: bool,
    /// Broken thresholds, in words.
    pub broken: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Config {
    pub url: String,
    pub protocol: Protocol,
    pub models: Vec<ModelArg>,
    pub pace: Pace,
    pub callers: usize,
    pub connections: usize,
    pub threads: usize,
    pub rows: u32,
    /// Of made-up inputs and of the order of the models.
    pub seed: u64,
    pub warmup_seconds: f64,
    pub duration_seconds: f64,
    pub timeout_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyFrom {
    /// The moment a request was due on the schedule: free of coordinated omission.
    Schedule,
    /// The sending. A closed loop sends less while the server is slow, so its
    /// percentiles leave out what callers with a schedule would have waited.
    Sending,
}

#[derive(Debug, Serialize)]
pub struct ModelSummary {
    pub name: String,
    pub version: Option<String>,
    #[serde(flatten)]
    pub summary: Summary,
}

#[derive(Debug, Serialize)]
pub struct Summary {
    pub requests: u64,
    pub ok: u64,
    pub failed: u64,
    pub error_ratio: f64,
    /// OK answers per second.
    pub rate: f64,
    /// OK answers, from where `latency_from` says.
    pub latency_ms: Percentiles,
    /// OK answers, from the sending.
    pub service_ms: Percentiles,
    /// Requests without an OK answer.
    pub failed_ms: Percentiles,
    /// How much later than due requests left; all zero in a closed loop.
    pub late_ms: Percentiles,
    pub errors: BTreeMap<String, ErrorSummary>,
}

#[derive(Debug, Serialize)]
pub struct ErrorSummary {
    pub count: u64,
    pub example: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    pub mean: f64,
}

/// What became of the requests that were due in one second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SecondSummary {
    pub ok: u64,
    pub failed: u64,
    pub max_ms: f64,
}

impl Report {
    pub fn new(config: Config, log: &Log, timeline: bool) -> Self {
        let measured =
            log.last_answer.max(Duration::from_secs_f64(config.duration_seconds)).as_secs_f64();
        let of_model = |(model, record): (&ModelArg, &Record)| ModelSummary {
            name: model.name.clone(),
            version: model.version.clone(),
            summary: Summary::new(record, measured),
        };
        Self {
            latency_from: match config.pace {
                Pace::Open { .. } => LatencyFrom::Schedule,
                Pace::Closed => LatencyFrom::Sending,
            },
            measured_seconds: measured,
            total: Summary::new(&log.total(), measured),
            models: config.models.iter().zip(&log.models).map(of_model).collect(),
            timeline: timeline.then(|| log.timeline.iter().map(SecondSummary::from).collect()),
            passed: true,
            broken: Vec::new(),
            config,
        }
    }

    pub fn judged(mut self, broken: Vec<String>) -> Self {
        self.passed = broken.is_empty();
        self.broken = broken;
        self
    }

    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("string keys and finite numbers") + "\n"
    }

    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let Config { url, pace, callers, connections, threads, seed, .. } = &self.config;
        match pace {
            Pace::Open { rate } => write!(out, "open loop, {rate} requests/s to {url}")?,
            Pace::Closed => write!(out, "closed loop, {callers} callers of {url}")?,
        }
        writeln!(out, " over {connections} connections, {threads} threads, seed {seed}")?;
        match self.latency_from {
            LatencyFrom::Schedule => writeln!(out, "latency counts from when a request was due")?,
            LatencyFrom::Sending => writeln!(
                out,
                "latency counts from the sending: what a stall kept from being sent is left out"
            )?,
        }
        write!(out, "\n{:<28}{:>10}{:>9}{:>12}", "", "requests", "failed", "OK/s")?;
        writeln!(out, "{:>10}{:>10}{:>10}{:>10}{:>10}", "p50 ms", "p90", "p99", "p99.9", "max")?;
        for model in self.models.iter().filter(|_| self.models.len() > 1) {
            let version = model.version.as_ref().map_or(String::new(), |v| format!(":{v}"));
            model.summary.write_row(&format!("{}{version}", model.name), out)?;
        }
        self.total.write_row("all", out)?;
        if self.latency_from == LatencyFrom::Schedule {
            self.total.service_ms.write_row("  from the sending", out)?;
            self.total.late_ms.write_row("  sent late by", out)?;
        }
        if self.total.failed > 0 {
            self.total.failed_ms.write_row("  failed after", out)?;
            writeln!(out)?;
        }
        for (code, ErrorSummary { count, example }) in &self.total.errors {
            writeln!(out, "{count} x {code}: {example}")?;
        }
        for broken in &self.broken {
            writeln!(out, "BROKEN: {broken}")?;
        }
        Ok(())
    }
}

impl Summary {
    fn new(record: &Record, measured: f64) -> Self {
        let error = |(code, errors): (&std::borrow::Cow<'static, str>, &crate::record::Errors)| {
            let summary = ErrorSummary { count: errors.count, example: errors.example.clone() };
            (code.to_string(), summary)
        };
        Self {
            requests: record.requests(),
            ok: record.ok(),
            failed: record.failures(),
            error_ratio: record.error_ratio(),
            rate: if measured > 0.0 { record.ok() as f64 / measured } else { 0.0 },
            latency_ms: Percentiles::from(&record.latency),
            service_ms: Percentiles::from(&record.service),
            failed_ms: Percentiles::from(&record.failed),
            late_ms: Percentiles::from(&record.late),
            errors: record.errors.iter().map(error).collect(),
        }
    }

    fn write_row(&self, name: &str, out: &mut String) -> std::fmt::Result {
        write!(out, "{name:<28}{:>10}{:>9}{:>12.1}", self.requests, self.failed, self.rate)?;
        self.latency_ms.write_cells(out)
    }
}

impl Percentiles {
    fn write_row(&self, name: &str, out: &mut String) -> std::fmt::Result {
        write!(out, "{name:<59}")?;
        self.write_cells(out)
    }

    fn write_cells(&self, out: &mut String) -> std::fmt::Result {
        for time in [self.p50, self.p90, self.p99, self.p999, self.max] {
            write!(out, "{time:>10.3}")?;
        }
        writeln!(out)
    }
}

impl From<&Times> for Percentiles {
    fn from(times: &Times) -> Self {
        Self {
            p50: times.quantile_ms(0.5),
            p90: times.quantile_ms(0.9),
            p99: times.quantile_ms(0.99),
            p999: times.quantile_ms(0.999),
            max: times.max_ms(),
            mean: times.mean_ms(),
        }
    }
}

impl From<&Second> for SecondSummary {
    fn from(second: &Second) -> Self {
        Self { ok: second.ok, failed: second.failed, max_ms: second.max.as_secs_f64() * 1e3 }
    }
}
