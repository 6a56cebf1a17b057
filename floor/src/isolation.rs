//! A dear model under many callers beside a cheap one and a health check: whether
//! the one stalls the others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use loadtest::args::Protocol;
use loadtest::record::{Record, Times};
use serde_json::json;

use crate::Result;
use crate::bench::Bench;
use crate::client::closed_loop;
use crate::models::{SLOW_5_MS, TINY};
use crate::probe::Probe;
use crate::requests::Requests;
use crate::server::Server;
use crate::verdict::{Bar, Limit, Verdict};

const CALLERS: usize = 64;
const MAX_P99_MS: f64 = 5.0;
/// The dear model's load is to stand before the others are measured, and to stay until after.
const MARGIN: Duration = Duration::from_millis(500);

pub fn measure(bench: &Bench) -> Result<Verdict> {
    let models = bench.models.join("isolation");
    TINY.place(&models, None)?;
    SLOW_5_MS.place(&models, None)?;
    let gateway = Server::gateway(bench, "gateway", &models)?;
    let slow = Requests::of_model(gateway.http, SLOW_5_MS.name, None)?;
    let tiny = Requests::of_model(gateway.http, TINY.name, None)?;
    let mut verdict = Verdict::new("isolation");

    let [alone, live_alone] = neighbours(bench, &gateway, &tiny)?;
    let time = bench.time + 2 * MARGIN;
    let (busy, [beside, live_beside]) = thread::scope(|scope| -> Result<_> {
        let load = scope.spawn(|| {
            let load = closed_loop(&gateway, &slow, Protocol::HttpBinary, CALLERS, time);
            load.map_err(|error| error.to_string())
        });
        thread::sleep(MARGIN);
        let measured = neighbours(bench, &gateway, &tiny)?;
        let busy = load.join().map_err(|_| "the load's thread panicked")??;
        Ok((busy, measured))
    })?;
    if busy.ok() == 0 || busy.failures() > 0 {
        let first = busy.errors.values().next().map(|errors| errors.example.as_str());
        return Err(format!("the dear model failed: {}", first.unwrap_or("no answer")).into());
    }
    report(&mut verdict, "slow model, 64 callers", &busy.latency);
    report(&mut verdict, "other model, alone", &alone.latency);
    report(&mut verdict, "other model, beside it", &beside.latency);
    report(&mut verdict, "health check, alone", &live_alone.latency);
    report(&mut verdict, "health check, beside it", &live_beside.latency);
    for (name, record) in [("other model", &beside), ("GET /v2/health/live", &live_beside)] {
        let p99 = record.latency.quantile_ms(0.99);
        verdict.bar(Bar::new(
            format!("{name}: p99 beside 64 callers of 5 ms"),
            p99,
            Limit::AtMost(MAX_P99_MS),
            " ms",
        ));
    }
    Ok(verdict)
}

fn report(verdict: &mut Verdict, name: &str, times: &Times) {
    let [p50, p99, max] = [times.quantile_ms(0.5), times.quantile_ms(0.99), times.max_ms()];
    println!(
        "  {name:<26} {:>8} answers  p50 {p50:.3}  p99 {p99:.3}  max {max:.3} ms",
        times.count()
    );
    let facts = json!({ "answers": times.count(), "p50_ms": p50, "p99_ms": p99, "max_ms": max });
    verdict.fact(name, facts);
}

/// One caller of the cheap model, and one of the health check, at the same time.
fn neighbours(bench: &Bench, gateway: &Server, tiny: &Requests) -> Result<[Record; 2]> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| -> Result<_> {
        let live = scope.spawn(|| live(gateway, &over).map_err(|error| error.to_string()));
        let other = closed_loop(gateway, tiny, Protocol::HttpBinary, 1, bench.time);
        over.store(true, Ordering::Relaxed);
        let live = live.join().map_err(|_| "the health check's thread panicked")??;
        let other = other?;
        if other.failures() > 0 {
            return Err(format!("{} requests to the cheap model failed", other.failures()).into());
        }
        Ok([other, live])
    })
}

/// A pause between health checks, so that asking is no load of its own.
const LIVE_PAUSE: Duration = Duration::from_millis(1);

fn live(gateway: &Server, over: &AtomicBool) -> Result<Record> {
    let mut probe = Probe::connect(gateway.http)?;
    let mut record = Record::default();
    while !over.load(Ordering::Relaxed) {
        let sent = Instant::now();
        let answer = probe.get("/v2/health/live")?;
        record.latency.record(sent.elapsed());
        if answer.status != 200 {
            return Err(format!("health check: {}", answer.status).into());
        }
        thread::sleep(LIVE_PAUSE);
    }
    Ok(record)
}
