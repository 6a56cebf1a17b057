//! The primary's latency with a shadow beside it and without.
//!
//! One route over two versions of the same model, at a part of the load that saturates the gateway.
//! Blocks with the shadow and without take turns, on the same cores as the load.

use std::fs;
use std::thread;
use std::time::Duration;

use clap::Args;
use loadtest::plan::Pace;
use serde_json::{Value, json};

use crate::Result;
use crate::bench::{Bench, median};
use crate::models::MLP_256;
use crate::paced::{Load, Times, WARM_UP};
use crate::probe::Probe;
use crate::server::Server;
use crate::verdict::{Bar, Limit, Verdict};

#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Load as a part of what the gateway answers to callers that never pause.
    #[arg(long, default_value_t = 0.6)]
    load: f64,
    /// Units that are mirrored, in percent.
    #[arg(long, default_value_t = 25.0)]
    percent: f64,
}

const MODEL: &str = MLP_256.name;
const ROUTE: &str = "shadowed";
const SATURATION: Duration = Duration::from_secs(4);

/// Of p50, with the shadow over without.
const P50_RATIO: f64 = 1.05;

pub fn measure(bench: &Bench, options: &Options) -> Result<Verdict> {
    let models = bench.work.join("shadow-models");
    if models.exists() {
        fs::remove_dir_all(&models)?;
    }
    MLP_256.place(&models, Some("versions: {latest: 2}\n"))?;
    let folder = models.join(MODEL);
    fs::create_dir_all(folder.join("2"))?;
    fs::copy(folder.join("1/model.onnx"), folder.join("2/model.onnx"))?;
    let gateway = Server::gateway(bench, "gateway", &models)?;
    route(&gateway, None)?;

    let load = Load::new(&gateway, ROUTE)?;
    let most = load.run(Pace::Closed, SATURATION)?.per_second(SATURATION);
    let rate = most * options.load;
    println!("saturated at {most:.0} requests/s; the load is {rate:.0} requests/s");
    let mut blocks = Vec::new();
    for number in 1..=bench.pairs {
        let mut pair = Vec::new();
        for shadow in [None, Some(options.percent)] {
            route(&gateway, shadow)?;
            thread::sleep(WARM_UP);
            let before = Books::of(&gateway)?;
            let cpu = gateway.cpu()?;
            let times = load.run(Pace::Open { rate }, bench.time)?;
            let cpu = gateway.cpu()? - cpu;
            let mirrored = Books::of(&gateway)?.since(&before);
            pair.push(Block { times, cpu, mirrored });
        }
        println!("  {number}: without {}   with {}", pair[0].line(), pair[1].line());
        blocks.push(pair);
    }
    let ratio = |of: fn(&Block) -> f64| {
        let ratios: Vec<f64> = blocks.iter().map(|pair| of(&pair[1]) / of(&pair[0])).collect();
        let (least, most) =
            ratios.iter().fold((f64::MAX, 0_f64), |(l, m), r| (l.min(*r), m.max(*r)));
        (median(ratios), least, most)
    };
    let mut verdict = Verdict::new("shadow");
    let (p50, ..) = ratio(|block| block.times.quantile(0.5));
    verdict.bar(Bar::new("p50 with the shadow / without", p50, Limit::AtMost(P50_RATIO), ""));
    let (p99, least, highest) = ratio(|block| block.times.quantile(0.99));
    println!("p99 with the shadow / without: median {p99:.3}, {least:.3} to {highest:.3}");
    verdict.fact("p99 ratio: median, least, highest", json!([p99, least, highest]));
    let failed: u64 = blocks.iter().flatten().map(|block| block.times.failed).sum();
    verdict.bar(Bar::new("failed requests", failed as f64, Limit::AtMost(0.0), ""));

    // At overload: how much of what is sampled is still run.
    route(&gateway, Some(options.percent))?;
    let before = Books::of(&gateway)?;
    let times = load.run(Pace::Closed, SATURATION)?;
    let mirrored = Books::of(&gateway)?.since(&before);
    println!("saturated: {} failed, {}", times.failed, mirrored.line());
    verdict.bar(Bar::new(
        "failed requests at saturation",
        times.failed as f64,
        Limit::AtMost(0.0),
        "",
    ));
    verdict.fact("share of samples run at saturation", json!(mirrored.share()));
    Ok(verdict)
}

struct Block {
    times: Times,
    cpu: Duration,
    mirrored: Books,
}

impl Block {
    fn line(&self) -> String {
        let us = |quantile| self.times.quantile(quantile) * 1e6;
        let answered = self.times.seconds.len().max(1) as f64;
        let cpu = self.cpu.as_secs_f64() * 1e6 / answered;
        format!(
            "p50 {:.0} p99 {:.0} us, {cpu:.1} us CPU, {}",
            us(0.5),
            us(0.99),
            self.mirrored.line()
        )
    }
}

/// What the gateway counted of its shadow.
#[derive(Debug, Default)]
struct Books {
    run: f64,
    dropped: f64,
}

impl Books {
    fn of(gateway: &Server) -> Result<Books> {
        let metrics = gateway.metrics.ok_or("the gateway has no metrics address")?;
        let page = Probe::connect(metrics)?.get("/metrics")?.body;
        let page = String::from_utf8_lossy(&page).into_owned();
        let sum = |family: &str| {
            let samples = page.lines().filter(|line| line.starts_with(family));
            samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        Ok(Books {
            run: sum("modelgate_shadow_requests_total{"),
            dropped: sum("modelgate_shadow_dropped_total{"),
        })
    }

    fn since(self, before: &Books) -> Books {
        Books { run: self.run - before.run, dropped: self.dropped - before.dropped }
    }

    fn share(&self) -> f64 {
        self.run / (self.run + self.dropped).max(1.0)
    }

    fn line(&self) -> String {
        format!("{} mirrored, {} dropped", self.run, self.dropped)
    }
}

fn route(gateway: &Server, shadow: Option<f64>) -> Result<()> {
    let mut spec = json!({"model": MODEL, "variants": [{"name": "champion", "version": 1}]});
    if let Some(percent) = shadow {
        spec["shadow"] = json!({"version": 2, "percent": percent, "cpuPercent": 100});
    }
    let route: Value = json!({
        "apiVersion": "modelgate.dev/v1",
        "kind": "Route",
        "metadata": {"name": ROUTE},
        "spec": spec,
    });
    let admin = gateway.admin.ok_or("the gateway has no admin address")?;
    let header = [("content-type", "application/json".to_owned())];
    let body = json!({ "routes": [route], "actor": "floor" }).to_string();
    let answer = Probe::connect(admin)?.post("/admin/v1/routes", &header, body.as_bytes())?;
    match answer.status {
        200 => Ok(()),
        status => Err(format!("{status} {}", String::from_utf8_lossy(&answer.body)).into()),
    }
}
