//! `floor`: measures a built gateway against empty servers, and against itself
//! with parts switched off, as ratios inside one run.
//!
//! Servers run on one set of cores and clients on another. What is compared is
//! measured in interleaved pairs, so that a machine that drifts drifts for both,
//! and the median of the pairs' ratios is held against the bar.

mod batching;
mod bench;
mod client;
mod drift;
mod isolation;
mod log;
mod models;
mod overload;
mod paced;
mod probe;
mod raw;
mod requests;
mod server;
mod shadow;
mod split;
mod swap;
mod throughput;
mod verdict;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::bench::Bench;
use crate::verdict::Verdict;

pub type Error = Box<dyn std::error::Error>;
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Measures a built gateway against empty servers and against itself.
///
/// Programs are looked for beside this one. Exit codes: 0 every bar is met, 1 a
/// bar is missed or a measurement failed, 2 usage.
#[derive(Parser, Debug)]
#[command(version, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    scenario: Scenario,
    /// Cores of the servers, as taskset takes them.
    #[arg(long, global = true, default_value = "0")]
    server_cores: String,
    /// Core of the clients; the load beside swaps runs where it finds room.
    #[arg(long, global = true, default_value_t = 1)]
    client_core: usize,
    /// Interleaved pairs; odd, so that the median is one of them.
    #[arg(long, global = true, default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=101))]
    pairs: u32,
    /// Seconds of each measurement.
    #[arg(long, global = true, default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// ONNX Runtime library for the gateway; it looks for one itself otherwise.
    #[arg(long, global = true, value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
    /// Further argument of `modelgate serve`; repeat.
    #[arg(long, global = true, value_name = "ARG", allow_hyphen_values = true)]
    serve_arg: Vec<String>,
    /// Folder for generated models.
    #[arg(long, global = true, default_value = ".cache/bench-models", value_name = "DIR")]
    bench_models: PathBuf,
    /// Folder for reports, logs and request bodies.
    #[arg(long, global = true, default_value = "target", value_name = "DIR")]
    out: PathBuf,
}

#[derive(Subcommand, Clone, Debug)]
enum Scenario {
    /// Throughput, CPU and latency beside empty servers, in all three wire forms.
    Throughput(throughput::Options),
    /// A dear model under 64 callers beside a cheap one and a health check.
    Isolation,
    /// Batched beside unbatched serving of the same model.
    Batching,
    /// The prediction log at each level beside none.
    Log(log::Options),
    /// Traffic compared with a profile beside none.
    Drift(drift::Options),
    /// Versions pushed one a second under load.
    Swap(swap::Options),
    /// The primary's latency with a shadow beside it and without.
    Shadow(shadow::Options),
    /// Variants of a million requests while routes and versions change.
    Split(split::Options),
    /// Many times the load that a model of 2 ms can take.
    Overload(overload::Options),
}

impl Scenario {
    fn report_name(&self) -> &'static str {
        match self {
            Self::Throughput(_) => "bench-floor.json",
            Self::Isolation => "bench-isolation.json",
            Self::Batching => "bench-batching.json",
            Self::Log(_) => "bench-log.json",
            Self::Drift(_) => "bench-drift.json",
            Self::Swap(_) => "bench-swap.json",
            Self::Shadow(_) => "bench-shadow.json",
            Self::Split(_) => "bench-split.json",
            Self::Overload(_) => "bench-overload.json",
        }
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all bars are met.
fn run(args: &Args) -> Result<bool> {
    let bench = Bench::new(args)?;
    match args.scenario {
        Scenario::Swap(_) | Scenario::Shadow(_) | Scenario::Split(_) => {}
        Scenario::Overload(_) => bench.keep_to(args.client_core)?,
        _ => {
            bench.needs_clients()?;
            bench.keep_to(args.client_core)?;
        }
    }
    let verdict: Verdict = match &args.scenario {
        Scenario::Throughput(options) => throughput::measure(&bench, options)?,
        Scenario::Isolation => isolation::measure(&bench)?,
        Scenario::Batching => batching::measure(&bench)?,
        Scenario::Log(options) => log::measure(&bench, options)?,
        Scenario::Drift(options) => drift::measure(&bench, options)?,
        Scenario::Swap(options) => swap::measure(&bench, options)?,
        Scenario::Shadow(options) => shadow::measure(&bench, options)?,
        Scenario::Split(options) => split::measure(&bench, options)?,
        Scenario::Overload(options) => overload::measure(&bench, options)?,
    };
    verdict.print();
    let path = args.out.join(args.scenario.report_name());
    fs::write(&path, verdict.to_json())?;
    println!("\nreport: {}", path.display());
    Ok(verdict.passed())
}
