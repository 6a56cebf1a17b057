//! What comparing traffic with a profile costs: the gateway with a profile of every column beside
//! the gateway with drift turned off, on the same core, in interleaved pairs.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use loadtest::plan::Pace;
use serde_json::{Value, json};

use crate::Result;
use crate::bench::{Bench, median};
use crate::client::{self, Sample};
use crate::paced::Load;
use crate::probe::Probe;
use crate::requests::Requests;
use crate::server::Server;
use crate::verdict::{Bar, Limit, Verdict};

#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Models of the gateway.
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
    /// A model so cheap that counting shows.
    #[arg(long, default_value = "breast-cancer", value_name = "NAME")]
    model: String,
    /// Its version.
    #[arg(long, default_value = "1", value_name = "VERSION")]
    version: String,
    /// Load for p99 as a part of what the gateway answers to callers that never pause.
    #[arg(long, default_value_t = 0.6)]
    load: f64,
}

const CONNECTIONS: u32 = 64;
const SATURATION: Duration = Duration::from_secs(4);

/// Of throughput, with drift over without.
const THROUGHPUT: f64 = 0.93;

pub fn measure(bench: &Bench, options: &Options) -> Result<Verdict> {
    let sides = ["off", "on"];
    let without = start(bench, options, sides[0], &json!({"drift": {"enabled": false}}))?;
    let profile = bench.write("profile.json", profile(&without, options)?.as_bytes())?;
    let models = json!({ &options.model: { "profile": profile } });
    let with = start(bench, options, sides[1], &json!({"drift": {"models": models}}))?;

    let requests = Requests::of_model(with.http, &options.model, Some(&options.version))?;
    let body = requests.binary();
    let servers = [&without, &with];
    let load =
        |side: usize, connections| client::wrk(bench, servers[side], &requests, &body, connections);
    let mut verdict = Verdict::new("drift");

    println!("64 at once");
    let before = counted(&with)?;
    let pairs = bench.interleave(sides, |side| load(side, CONNECTIONS))?;
    let counted = counted(&with)? - before;
    let ratio =
        median(pairs.iter().map(|[off, on]| on.requests_per_second / off.requests_per_second));
    let cpu = median(pairs.iter().map(|[off, on]| on.cpu_us - off.cpu_us));
    println!("  median ratio {ratio:.3}, {cpu:.2} us of CPU more; {counted} values counted");
    if counted == 0.0 {
        return Err("nothing was counted: the profile is not in force".into());
    }
    verdict.pairs("64 at once", sides, &pairs);
    verdict.bar(Bar::new("throughput / without", ratio, Limit::AtLeast(THROUGHPUT), ""));

    println!("one at a time");
    let pairs = bench.interleave(sides, |side| load(side, 1))?;
    let p50 = |sample: &Sample| sample.p50_us.unwrap_or(f64::NAN);
    let added = median(pairs.iter().map(|[off, on]| p50(on) - p50(off)));
    println!("  median of p50 over without: {added:.1} us");
    verdict.pairs("one at a time", sides, &pairs);
    verdict.fact("p50 over without, us", json!(added));

    let loads = [Load::new(&without, &options.model)?, Load::new(&with, &options.model)?];
    let most = loads[0].run(Pace::Closed, SATURATION)?.per_second(SATURATION);
    let pace = Pace::Open { rate: most * options.load };
    println!("{:.0} requests/s of {most:.0}", most * options.load);
    let mut ratios = Vec::new();
    for number in 1..=bench.pairs {
        let [off, on] = [loads[0].run(pace, bench.time)?, loads[1].run(pace, bench.time)?]
            .map(|times| times.quantile(0.99) * 1e6);
        println!("  {number}: p99 without {off:.0} us, with {on:.0} us");
        ratios.push(on / off);
    }
    let ratio = median(ratios.iter().copied());
    println!("  median of p99 with / without: {ratio:.3}");
    verdict.fact("p99 with / without", json!({ "median": ratio, "all": ratios }));
    Ok(verdict)
}

fn start(bench: &Bench, options: &Options, name: &str, config: &Value) -> Result<Server> {
    let mut config = config.clone();
    config["predictions"] = json!({"defaults": {"level": "off"}});
    let file = bench.write(&format!("drift-{name}.yaml"), config.to_string().as_bytes())?;
    let arguments = ["--config".as_ref(), file.as_os_str()];
    Server::gateway_with(bench, &format!("drift-{name}"), &options.models, &arguments)
}

/// A profile of every number that the model takes and gives: ten bins each, of made-up rows.
fn profile(gateway: &Server, options: &Options) -> Result<String> {
    let answer = Probe::connect(gateway.http)?.get(&format!("/v2/models/{}", options.model))?;
    let metadata: Value = serde_json::from_slice(&answer.body)?;
    let edges: Vec<i64> = (1..10).map(|edge| edge * 10).collect();
    let columns = |tensors: &Value| -> Vec<Value> {
        let column = |name: &Value, index: &[i64], place: i64| {
            json!({
                "name": format!("{}_{place}", name.as_str().unwrap_or("tensor")), "tensor": name,
                "index": index, "kind": "numeric", "edges": edges, "counts": vec![1000; 10],
                "min": 0, "max": 100, "p001": 0, "p999": 100, "mean": 50, "std": 30,
            })
        };
        let of_tensor = |tensor: &Value| match tensor["shape"].as_array().map(Vec::as_slice) {
            Some([_, width]) => {
                let places = 0..width.as_i64().unwrap_or(0);
                places.map(|place| column(&tensor["name"], &[place], place)).collect()
            }
            _ => vec![column(&tensor["name"], &[], 0)],
        };
        tensors.as_array().into_iter().flatten().flat_map(of_tensor).collect()
    };
    let profile = json!({
        "schema": "modelgate.drift.profile/v1", "model": options.model,
        "inputs": columns(&metadata["inputs"]), "outputs": columns(&metadata["outputs"]),
    });
    Ok(profile.to_string())
}

/// Values that the gateway has counted into bins.
fn counted(gateway: &Server) -> Result<f64> {
    let metrics = gateway.metrics.ok_or("the gateway has no metrics address")?;
    let page = Probe::connect(metrics)?.get("/metrics")?.body;
    let page = String::from_utf8_lossy(&page).into_owned();
    let samples =
        page.lines().filter(|line| line.starts_with("modelgate_drift_observations_total{"));
    Ok(samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}
