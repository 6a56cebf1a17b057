//! Many times the load that a model can take: what is served of it, how fast,
//! and what refusing the rest costs.
//!
//! Peak throughput is that of a few callers who always have a request waiting.
//! Then half of it is offered, many times of it, and half of it again.

mod judge;
mod load;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use loadtest::plan::Pace;
use serde_json::json;

use crate::Result;
use crate::bench::Bench;
use crate::models::SLOW_2_MS;
use crate::probe::Probe;
use crate::server::Server;
use crate::verdict::{Bar, Limit, Verdict};
use judge::{Summary, recovered_after, summary};
use load::Load;

#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Seconds of overload.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    secs: u64,
    /// Load as a multiple of what the gateway serves at its peak.
    #[arg(long, default_value_t = 10.0)]
    times: f64,
    /// Within what a request has to be answered, in milliseconds.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(10..=10_000))]
    deadline_ms: u64,
    /// Let requests share runs.
    #[arg(long)]
    batching: bool,
}

const MIN_GOODPUT: f64 = 0.9;
const MAX_RECOVERY_S: f64 = 5.0;
/// Before and after the overload.
const NORMAL: f64 = 0.5;
const NORMAL_TIME: Duration = Duration::from_secs(8);
const WARM_UP: Duration = Duration::from_secs(2);
const PEAK_TIME: Duration = Duration::from_secs(5);
/// Connections of the offered load: more than can be under way at once.
const CALLERS: usize = 256;

pub fn measure(bench: &Bench, options: &Options) -> Result<Verdict> {
    let models = bench.models.join("overload");
    let batching = if options.batching { "batching: on\n" } else { "batching: off\n" };
    SLOW_2_MS.place(&models, Some(&format!("execution: lane\n{batching}")))?;
    let gateway = Server::gateway(bench, "gateway", &models)?;
    let deadline = Duration::from_millis(options.deadline_ms);
    let load = Load::new(gateway.http, SLOW_2_MS.name, deadline)?;

    // Enough to keep a lane busy, and too few to be refused.
    let callers = if options.batching { 128 } else { 3 };
    load.run(Pace::Closed, callers, WARM_UP)?;
    let (peak, cpu) = timed(&gateway, || load.run(Pace::Closed, callers, PEAK_TIME))?;
    let peak = summary(&peak, PEAK_TIME, deadline);
    let cpu_per_answer = cpu.as_secs_f64() / peak.answered.max(1) as f64;
    println!("peak    {peak}, {:.1} us of network threads an answer", cpu_per_answer * 1e6);

    let open = |times: f64| Pace::Open { rate: peak.goodput * times };
    let before = load.run(open(NORMAL), CALLERS, NORMAL_TIME)?;
    let before = summary(&before, NORMAL_TIME, deadline);
    println!("before  {before}");

    let time = Duration::from_secs(options.secs);
    let reasons = rejected(&gateway)?;
    let (seen, cpu) = timed(&gateway, || load.run(open(options.times), CALLERS, time))?;
    let over = summary(&seen, time, deadline);
    let reasons = difference(rejected(&gateway)?, &reasons);
    let for_refusals = cpu.as_secs_f64() - cpu_per_answer * over.answered as f64;
    let cpu_per_refusal = for_refusals / over.refusals().max(1) as f64;
    println!("over    {over}");
    println!("        refused {:?}, by reason {reasons:?}", over.refused);
    println!("        {:.1} us CPU a refusal", cpu_per_refusal * 1e6);

    let after = load.run(open(NORMAL), CALLERS, NORMAL_TIME)?;
    let recovered = recovered_after(&after, &before, NORMAL_TIME);
    println!("after   {}", summary(&after, NORMAL_TIME, deadline));

    let mut verdict = Verdict::new("overload");
    for (name, summary) in [("peak", &peak), ("before", &before), ("over", &over)] {
        verdict.fact(name, json!(summary));
    }
    verdict.fact("refused by reason", json!(reasons));
    verdict.fact("cpu_us_per_refusal", json!(cpu_per_refusal * 1e6));
    judged(&mut verdict, &peak, &over, options, recovered);
    Ok(verdict)
}

fn judged(
    verdict: &mut Verdict,
    peak: &Summary,
    over: &Summary,
    options: &Options,
    recovered: Duration,
) {
    let times = options.times;
    verdict.bar(Bar::new(
        format!("goodput at {times} times the load, of peak"),
        over.goodput / peak.goodput,
        Limit::AtLeast(MIN_GOODPUT),
        "",
    ));
    let deadline = Limit::AtMost(options.deadline_ms as f64);
    verdict.bar(Bar::new("p99 of what was answered", over.p99_ms, deadline, " ms"));
    let limit = Limit::AtMost(MAX_RECOVERY_S);
    verdict.bar(Bar::new("recovery", recovered.as_secs_f64(), limit, " s"));
}

/// CPU that the gateway's network threads spent meanwhile. All of a refusal
/// happens there, and none of a run, whose cost would drown it.
fn timed<T>(gateway: &Server, work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let before = gateway.cpu_of_threads("net-")?;
    let done = work()?;
    Ok((done, gateway.cpu_of_threads("net-")? - before))
}

/// `modelgate_rejected_total` of the model, by reason.
fn rejected(gateway: &Server) -> Result<BTreeMap<String, u64>> {
    let metrics = gateway.metrics.ok_or("not a gateway")?;
    let page = Probe::connect(metrics)?.get("/metrics")?;
    let page = String::from_utf8_lossy(&page.body).into_owned();
    let prefix = format!(r#"modelgate_rejected_total{{model="{}",reason=""#, SLOW_2_MS.name);
    let samples = page.lines().filter_map(|line| line.strip_prefix(&prefix)?.split_once("\"} "));
    Ok(samples
        .filter_map(|(reason, count)| Some((reason.to_owned(), count.parse().ok()?)))
        .collect())
}

fn difference(
    after: BTreeMap<String, u64>,
    before: &BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    let since = |(reason, count): (String, u64)| {
        let count = count - before.get(&reason).copied().unwrap_or(0);
        (count > 0).then_some((reason, count))
    };
    after.into_iter().filter_map(since).collect()
}
