//! Versions pushed one a second under load: whether any request notices.
//!
//! Blocks of swaps take turns with blocks without any, so that both see the
//! same machine. A swap's window runs from the start of its
//! fetch until the version that it displaced is freed, as the gateway's audit
//! log tells; requests in windows are held against those of the quiet blocks.

mod load;
mod push;
mod times;
mod verdict;
mod windows;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;

use crate::Result;
use crate::bench::Bench;
use crate::models::MLP_256;
use crate::server::Server;
use crate::verdict::Verdict;
use load::{Load, Seen};
use push::Pusher;
use times::Times;

#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Swaps to measure, one a second.
    #[arg(long, default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(20..=100_000))]
    swaps: u64,
    /// Swaps of a block.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=600))]
    block: u64,
    /// Seconds of a quiet block.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=600))]
    quiet: u64,
    /// Load as a part of what the gateway answers to callers that never pause.
    #[arg(long, default_value_t = 0.7)]
    load: f64,
}

/// The model that is swapped, and the other one.
const MODELS: [&str; 2] = ["swapped", MLP_256.name];
/// Swaps before anything is measured: threads, caches and the allocator's pools fill up.
const WARM_UP: u64 = 10;
const SATURATION: Duration = Duration::from_secs(5);
/// From the last swap of a block to the last line of the audit log about it.
const SETTLE: Duration = Duration::from_secs(1);

pub fn measure(bench: &Bench, options: &Options) -> Result<Verdict> {
    let models = bench.work.join("swap-models");
    if models.exists() {
        fs::remove_dir_all(&models)?;
    }
    MLP_256.place(&models, None)?;
    let mut pusher = Pusher::new(models.join(MODELS[0]));
    pusher.push()?;
    let gateway = Server::gateway(bench, "gateway", &models)?;

    let load = Load::new(gateway.http)?;
    let most = load.saturate(SATURATION)?;
    let rate = most * options.load;
    println!("saturated at {most:.0} requests/s; the load is {rate:.0} requests/s");
    let audit = bench.work.join("gateway-data").join("audit.jsonl");
    let mut run = Run { gateway, load, rate, pusher, audit, measured: Measured::default() };
    run.swaps(WARM_UP)?;
    run.measured.times = Times::default();
    let total = WARM_UP + options.swaps;
    while run.measured.swaps() < total {
        run.quiet(Duration::from_secs(options.quiet))?;
        run.swaps(options.block.min(total - run.measured.swaps()))?;
        println!("  {:>5} swaps: {}", run.measured.swaps() - WARM_UP, run.measured.line());
    }
    Ok(verdict::judge(&run.measured, most, rate))
}

/// What has been seen so far.
#[derive(Debug, Default)]
struct Measured {
    times: Times,
    /// Requests without an OK answer, and answers that are not the stated version's.
    failed: u64,
    mixed: u64,
    example: Option<String>,
    /// Bytes that the gateway held after each swap.
    resident: Vec<u64>,
    /// From each push to the first status that says it serves.
    took: Vec<Duration>,
    windows: Vec<Duration>,
}

impl Measured {
    fn swaps(&self) -> u64 {
        self.resident.len() as u64
    }

    fn line(&self) -> String {
        let resident = self.resident.last().copied().unwrap_or(0);
        let p99 = self.times.p99_line();
        format!("failed {} mixed {} {} MiB, {p99}", self.failed, self.mixed, resident >> 20)
    }
}

struct Run {
    gateway: Server,
    load: Load,
    rate: f64,
    pusher: Pusher,
    audit: PathBuf,
    measured: Measured,
}

impl Run {
    /// Load alone.
    fn quiet(&mut self, time: Duration) -> Result<()> {
        let seen = self.under_load(|_| {
            thread::sleep(time);
            Ok(())
        })?;
        self.note(&seen);
        self.measured.times.quiet(&seen.answered);
        Ok(())
    }

    /// Load, and a push a second.
    fn swaps(&mut self, count: u64) -> Result<()> {
        let seen = self.under_load(|run| {
            for _ in 0..count {
                let took = run.pusher.push_and_wait(&run.gateway)?;
                run.measured.took.push(took);
                run.measured.resident.push(run.gateway.resident_bytes()?);
            }
            thread::sleep(SETTLE);
            Ok(())
        })?;
        self.note(&seen);
        let windows = windows::read(&self.audit, MODELS[0], &seen.clock)?;
        self.measured.windows.extend(windows.iter().map(|window| window.end - window.start));
        self.measured.times.swapping(&seen.answered, &windows);
        Ok(())
    }

    fn note(&mut self, seen: &Seen) {
        self.measured.failed += seen.failed;
        self.measured.mixed += seen.mixed;
        self.measured.example = self.measured.example.take().or_else(|| seen.example.clone());
    }

    fn under_load(&mut self, work: impl FnOnce(&mut Run) -> Result<()>) -> Result<Seen> {
        let over = AtomicBool::new(false);
        let (load, rate) = (self.load.clone(), self.rate);
        thread::scope(|scope| {
            let running = scope.spawn(|| load.open(rate, &over).map_err(|error| error.to_string()));
            let worked = work(self);
            over.store(true, Ordering::Relaxed);
            let seen = running.join().map_err(|_| "the load's thread panicked")??;
            worked.map(|()| seen)
        })
    }
}
