//! What the prediction log costs: the gateway at one level of it beside the
//! gateway without, on the same core, in interleaved pairs. Parquet is made of
//! what was recorded meanwhile, on that core too.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::Result;
use crate::bench::{Bench, median};
use crate::client::{self, Sample};
use crate::probe::Probe;
use crate::requests::Requests;
use crate::server::Server;
use crate::verdict::{Bar, Limit, Verdict};

#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Models of the gateway.
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
    /// A model so cheap that the log shows.
    #[arg(long, default_value = "breast-cancer", value_name = "NAME")]
    model: String,
    /// Its version.
    #[arg(long, default_value = "1", value_name = "VERSION")]
    version: String,
    /// Measured beside no log at all.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "async,process,fsync")]
    levels: Vec<Level>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    Async,
    Process,
    Fsync,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Async => "async",
            Level::Process => "process",
            Level::Fsync => "fsync",
        }
    }

    /// Of the throughput without a log; none where it is only told.
    fn throughput(self) -> Option<f64> {
        match self {
            Level::Async => Some(0.90),
            Level::Process => Some(0.80),
            Level::Fsync => None,
        }
    }
}

const CONNECTIONS: u32 = 64;
/// What one caller's p50 may grow by at level `process`.
const ADDED_P50_US: f64 = 10.0;

pub fn measure(bench: &Bench, options: &Options) -> Result<Verdict> {
    let mut verdict = Verdict::new("log");
    for level in &options.levels {
        compare(bench, options, *level, &mut verdict)?;
    }
    Ok(verdict)
}

fn compare(bench: &Bench, options: &Options, level: Level, verdict: &mut Verdict) -> Result<()> {
    let name = level.name();
    let without = start(bench, &options.models, "off")?;
    let with = start(bench, &options.models, name)?;
    let requests = Requests::of_model(with.http, &options.model, Some(&options.version))?;
    let body = requests.binary();
    let servers = [&without, &with];
    let sides = ["off", name];
    let load =
        |side: usize, connections| client::wrk(bench, servers[side], &requests, &body, connections);

    println!("{name}, 64 at once");
    let before = Counts::of(&with)?;
    let pairs = bench.interleave(sides, |side| load(side, CONNECTIONS))?;
    let counts = Counts::of(&with)?.since(&before);
    let ratio =
        median(pairs.iter().map(|[off, on]| on.requests_per_second / off.requests_per_second));
    let cpu = median(pairs.iter().map(|[off, on]| on.cpu_us - off.cpu_us));
    println!("  median ratio {ratio:.3}, {cpu:.2} us of CPU more; {}", counts.line());
    verdict.pairs(&format!("{name}, 64 at once"), sides, &pairs);
    verdict.fact(&format!("{name}, what was recorded"), counts.to_json());
    if let Some(bar) = level.throughput() {
        let what = format!("{name}: throughput / without a log");
        verdict.bar(Bar::new(what, ratio, Limit::AtLeast(bar), ""));
    }

    println!("{name}, one at a time");
    let pairs = bench.interleave(sides, |side| load(side, 1))?;
    let p50 = |sample: &Sample| sample.p50_us.unwrap_or(f64::NAN);
    let added = median(pairs.iter().map(|[off, on]| p50(on) - p50(off)));
    println!("  median of p50 over without: {added:.1} us");
    verdict.pairs(&format!("{name}, one at a time"), sides, &pairs);
    if level == Level::Process {
        let what = format!("{name}: p50 over without a log");
        verdict.bar(Bar::new(what, added, Limit::AtMost(ADDED_P50_US), " us"));
    }
    Ok(())
}

fn start(bench: &Bench, models: &Path, level: &str) -> Result<Server> {
    // Segments are closed often, so that Parquet is made while it is measured.
    let yaml = format!("predictions:\n  segment_age_ms: 2000\n  defaults: {{level: {level}}}\n");
    let file = bench.write(&format!("log-{level}.yaml"), yaml.as_bytes())?;
    Server::gateway_with(
        bench,
        &format!("log-{level}"),
        models,
        &["--config".as_ref(), file.as_os_str()],
    )
}

/// What the gateway counted of its log.
struct Counts {
    recorded: f64,
    missing: f64,
    archived: f64,
    flushes: f64,
    flushed: f64,
}

impl Counts {
    fn of(gateway: &Server) -> Result<Counts> {
        let metrics = gateway.metrics.ok_or("the gateway has no metrics address")?;
        let page = Probe::connect(metrics)?.get("/metrics")?.body;
        let page = String::from_utf8_lossy(&page).into_owned();
        let sum = |wanted: &dyn Fn(&str) -> bool| {
            let samples = page.lines().filter(|line| wanted(line));
            samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let family = |name: &str| sum(&|line: &str| line.starts_with(&format!("{name} ")));
        let records = "modelgate_prediction_log_records_total{";
        Ok(Counts {
            recorded: sum(&|line| line.starts_with(records) && line.contains("\"recorded\"")),
            missing: sum(&|line| line.starts_with(records) && !line.contains("\"recorded\"")),
            archived: family("modelgate_prediction_log_archived_total"),
            flushes: family("modelgate_prediction_log_flushes_total"),
            flushed: family("modelgate_prediction_log_flushed_records_total"),
        })
    }

    fn since(self, before: &Counts) -> Counts {
        Counts {
            recorded: self.recorded - before.recorded,
            missing: self.missing - before.missing,
            archived: self.archived - before.archived,
            flushes: self.flushes - before.flushes,
            flushed: self.flushed - before.flushed,
        }
    }

    fn line(&self) -> String {
        let Counts { recorded, missing, archived, flushes, .. } = self;
        let together = self.flushed / flushes.max(1.0);
        format!(
            "{recorded} recorded, {missing} not, {archived} in Parquet by now, {flushes} flushes \
             of {together:.1}"
        )
    }

    fn to_json(&self) -> serde_json::Value {
        let Counts { recorded, missing, archived, flushes, flushed } = self;
        json!({
            "recorded": recorded, "missing": missing, "archived": archived, "flushes": flushes,
            "flushed": flushed,
        })
    }
}
