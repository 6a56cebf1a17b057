//! The gateway beside empty servers: what everything it does costs over the wire alone.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::Result;
use crate::bench::{Bench, median};
use crate::client::{self, Sample};
use crate::raw;
use crate::requests::{HttpBody, Requests};
use crate::server::Server;
use crate::verdict::{Bar, Limit, Verdict};

#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Models of the gateway.
    #[arg(long, default_value = "models", value_name = "DIR")]
    models: PathBuf,
    /// A model so cheap that the wire is what costs.
    #[arg(long, default_value = "breast-cancer", value_name = "NAME")]
    model: String,
    /// Its version.
    #[arg(long, default_value = "1", value_name = "VERSION")]
    version: String,
    /// Put a second empty server in the gateway's place: ratios near 1 and
    /// differences near 0 show how far this machine can be trusted.
    #[arg(long)]
    null: bool,
}

const HTTP_JSON_RATIO: f64 = 0.58;
const HTTP_BINARY_RATIO: f64 = 0.62;
const GRPC_RATIO: f64 = 0.78;
/// What one caller's p50 may be above the empty server's.
const ADDED_P50_US: f64 = 15.0;
const CONNECTIONS: u32 = 64;

const SIDES: [&str; 2] = ["floor", "gateway"];

pub fn measure(bench: &Bench, options: &Options) -> Result<Verdict> {
    let mut verdict = Verdict::new("throughput");
    let gateway = match options.null {
        true => None,
        false => Some(without_log(bench, &options.models)?),
    };
    let requests = match &gateway {
        Some(gateway) => Requests::of_model(gateway.http, &options.model, Some(&options.version))?,
        None => Requests::of_nobody()?,
    };
    let scenario = Scenario { bench, gateway, requests };
    let json = scenario.requests.json()?;
    let json = scenario.http("HTTP JSON", &json, HTTP_JSON_RATIO, &mut verdict)?;
    let binary = scenario.requests.binary();
    let binary = scenario.http("HTTP binary", &binary, HTTP_BINARY_RATIO, &mut verdict)?;
    let grpc = scenario.grpc(&mut verdict)?;
    if !options.null {
        let model = options.models.join(&options.model).join(&options.version).join("model.onnx");
        let raw = raw::runs_per_second(bench, &model)?;
        let ratios = json!({
            "runs_per_second": raw, "json": json / raw, "binary": binary / raw, "grpc": grpc / raw,
        });
        println!(
            "bare session.run: {raw:.0} runs/s; requests per bare run: JSON {:.3}, binary {:.3}, gRPC {:.3}",
            json / raw,
            binary / raw,
            grpc / raw
        );
        verdict.fact("session.run", ratios);
    }
    Ok(verdict)
}

/// The gateway without its prediction log, whose cost `floor log` measures.
fn without_log(bench: &Bench, models: &Path) -> Result<Server> {
    let off = bench.write("no-log.yaml", b"predictions: {defaults: {level: \"off\"}}\n")?;
    Server::gateway_with(bench, "gateway", models, &["--config".as_ref(), off.as_os_str()])
}

struct Scenario<'a> {
    bench: &'a Bench,
    /// None: the floor against itself.
    gateway: Option<Server>,
    requests: Requests,
}

impl Scenario<'_> {
    fn http(&self, form: &str, body: &HttpBody, ratio: f64, verdict: &mut Verdict) -> Result<f64> {
        let (answer, content_type) = match &self.gateway {
            Some(gateway) => {
                let answer = self.requests.ask_http(gateway.http, body)?;
                (answer.body, answer.content_type)
            }
            None => (vec![b' '; 200], body.content_type.to_owned()),
        };
        let floor = Server::hyper(self.bench, "floor-hyper", &answer, &content_type)?;
        let null = match self.gateway {
            Some(_) => None,
            None => Some(Server::hyper(self.bench, "null-hyper", &answer, &content_type)?),
        };
        let gateway = self.gateway.as_ref().or(null.as_ref()).unwrap_or(&floor);
        verdict
            .fact(form, json!({ "request_bytes": body.bytes.len(), "answer_bytes": answer.len() }));

        let servers = [&floor, gateway];
        let load = |side: usize, connections| {
            client::wrk(self.bench, servers[side], &self.requests, body, connections)
        };
        let (many, one) = (|side| load(side, CONNECTIONS), |side| load(side, 1));
        self.compare(form, ratio, [&many, &one], verdict)
    }

    fn grpc(&self, verdict: &mut Verdict) -> Result<f64> {
        let answer = match &self.gateway {
            Some(gateway) => self.requests.ask_grpc(gateway.grpc)?,
            None => Vec::new(),
        };
        let floor = Server::tonic(self.bench, "floor-tonic", &answer)?;
        let null = match self.gateway {
            Some(_) => None,
            None => Some(Server::tonic(self.bench, "null-tonic", &answer)?),
        };
        let gateway = self.gateway.as_ref().or(null.as_ref()).unwrap_or(&floor);
        let sizes = json!({
            "request_bytes": self.requests.grpc_frame().len(),
            "answer_bytes": answer.len() + 5,
        });
        verdict.fact("gRPC", sizes);

        let servers = [&floor, gateway];
        for server in servers {
            client::check_grpc(server, &self.requests)?;
        }
        let many = |side: usize| client::h2load(self.bench, servers[side], &self.requests);
        let one = |side: usize| client::one_grpc_caller(self.bench, servers[side], &self.requests);
        self.compare("gRPC", GRPC_RATIO, [&many, &one], verdict)
    }

    /// Measures under load and with one caller; gives the gateway's requests a
    /// second under load.
    fn compare(
        &self,
        form: &str,
        ratio: f64,
        [many, one]: [&dyn Fn(usize) -> Result<Sample>; 2],
        verdict: &mut Verdict,
    ) -> Result<f64> {
        println!("{form}, 64 at once");
        let pairs = self.bench.interleave(SIDES, many)?;
        let got = median(pairs.iter().map(|[f, g]| g.requests_per_second / f.requests_per_second));
        let cpu = median(pairs.iter().map(|[f, g]| f.cpu_us / g.cpu_us));
        println!("  median ratio {got:.3}, by CPU {cpu:.3}");
        verdict.pairs(&format!("{form}, 64 at once"), SIDES, &pairs);
        let reached = median(pairs.iter().map(|[_, g]| g.requests_per_second));
        verdict.bar(Bar::new(
            format!("{form}: throughput / empty server"),
            got,
            Limit::AtLeast(ratio),
            "",
        ));

        println!("{form}, one at a time");
        let pairs = self.bench.interleave(SIDES, one)?;
        let p50 = |sample: &Sample| sample.p50_us.unwrap_or(f64::NAN);
        let added = median(pairs.iter().map(|[f, g]| p50(g) - p50(f)));
        verdict.pairs(&format!("{form}, one at a time"), SIDES, &pairs);
        verdict.bar(Bar::new(
            format!("{form}: p50 over the empty server's"),
            added,
            Limit::AtMost(ADDED_P50_US),
            " us",
        ));
        Ok(reached)
    }
}
