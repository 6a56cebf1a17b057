//! Splits under churn: whether every unit gets its variant, on both protocols, while routes and
//! versions change ten times a second.
//!
//! The client computes the variant of each unit itself, from the published bucketing function, and
//! holds every answer against it: the variant, the version, and the output, which tells the
//! version that made it.

mod churn;
mod client;
mod expect;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use clap::Args;
use serde_json::json;

use crate::Result;
use crate::bench::Bench;
use crate::server::Server;
use crate::verdict::{Bar, Limit, Verdict};
use churn::Churn;
use client::Seen;
use expect::Split;

#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Requests of all runs together.
    #[arg(long, default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
    requests: u64,
    /// Distinct units of each run.
    #[arg(long, default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    units: u64,
}

/// The model, and the route over it.
const MODEL: &str = "swapped";
const ROUTE: &str = "split";

/// Weights of the candidate, in percent, one run each.
const WEIGHTS: [u32; 4] = [1, 5, 25, 50];

/// Standard deviations of the binomial that an observed share may be off.
const SIGMAS: f64 = 4.5;

pub fn measure(bench: &Bench, options: &Options) -> Result<Verdict> {
    let models = bench.work.join("split-models");
    if models.exists() {
        fs::remove_dir_all(&models)?;
    }
    let mut churn = Churn::new(models.join(MODEL))?;
    let gateway = Server::gateway(bench, "gateway", &models)?;
    let mut verdict = Verdict::new("split");
    let (mut failed, mut wrong, mut answered, mut changes) = (0, 0, 0, 0);
    for percent in WEIGHTS {
        churn.begin(&gateway, percent)?;
        let split = Split::new(ROUTE, percent);
        let over = AtomicBool::new(false);
        let changed = AtomicU64::new(0);
        let count = options.requests / WEIGHTS.len() as u64;
        let seen = thread::scope(|scope| {
            let churning = scope.spawn(|| {
                let done = churn.run(&gateway, percent, &over, &changed);
                done.map_err(|error| error.to_string())
            });
            let seen = client::ask_all(&gateway, &split, count, options.units);
            over.store(true, Ordering::Relaxed);
            churning.join().map_err(|_| "the churn's thread panicked")??;
            seen
        })?;
        let Seen { units, candidates, .. } = seen;
        let share = candidates as f64 / units as f64;
        let expected = f64::from(percent) / 100.0;
        let off = (share - expected).abs() / (expected * (1.0 - expected) / units as f64).sqrt();
        println!(
            "{percent:>3} %: {} answers, {units} units, {:.3} % candidates ({off:.2} sigmas), {} \
             changes, {} failed, {} wrong",
            seen.answered,
            share * 100.0,
            changed.load(Ordering::Relaxed),
            seen.failed,
            seen.wrong,
        );
        if let Some(example) = &seen.example {
            println!("      first: {example}");
        }
        let name = format!("{percent} %: share of units, off by sigmas");
        verdict.bar(Bar::new(name, off, Limit::AtMost(SIGMAS), ""));
        failed += seen.failed;
        wrong += seen.wrong;
        answered += seen.answered;
        changes += changed.load(Ordering::Relaxed);
    }
    verdict.bar(Bar::new("failed requests", failed as f64, Limit::AtMost(0.0), ""));
    verdict.bar(Bar::new(
        "answers of the wrong variant or version",
        wrong as f64,
        Limit::AtMost(0.0),
        "",
    ));
    verdict.bar(Bar::new("answers", answered as f64, Limit::AtLeast(options.requests as f64), ""));
    verdict.fact("changes of routes and versions", json!(changes));
    Ok(verdict)
}
