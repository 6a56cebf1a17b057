//! The gateway's own choice of execution beside inline runs without batching.

use std::fs;
use std::path::PathBuf;

use crate::Result;
use crate::bench::{Bench, median};
use crate::client::{self, Sample};
use crate::models::{MLP_60_US, MLP_256, Mlp};
use crate::requests::Requests;
use crate::server::Server;
use crate::verdict::{Bar, Limit, Verdict};

const HTTP_RATIO: f64 = 1.4;
const GRPC_RATIO: f64 = 1.7;
/// What batching may cost one caller.
const P50_RATIO: f64 = 1.2;
const CONNECTIONS: u32 = 64;

const SIDES: [&str; 2] = ["inline", "batched"];
const INLINE: &str = "execution: inline\nbatching: \"off\"\n";
const BATCHED: &str = "execution: auto\nbatching: auto\n";

pub fn measure(bench: &Bench) -> Result<Verdict> {
    let inline = place(bench, "inline", INLINE)?;
    let batched = place(bench, "batched", BATCHED)?;
    let servers = [
        Server::gateway(bench, "gateway-inline", &inline)?,
        Server::gateway(bench, "gateway-batched", &batched)?,
    ];
    let mut verdict = Verdict::new("batching");

    let requests = Requests::of_model(servers[0].http, MLP_256.name, None)?;
    let body = requests.binary();
    println!("256-wide MLP over HTTP binary, 64 at once");
    let pairs = bench.interleave(SIDES, |side| {
        client::wrk(bench, &servers[side], &requests, &body, CONNECTIONS)
    })?;
    verdict.pairs("256-wide MLP, HTTP binary, 64 at once", SIDES, &pairs);
    verdict.bar(Bar::new(
        "256-wide MLP: batched / inline throughput",
        ratio(&pairs, |sample| sample.requests_per_second),
        Limit::AtLeast(HTTP_RATIO),
        "",
    ));

    let requests = Requests::of_model(servers[0].http, MLP_60_US.name, None)?;
    for server in &servers {
        client::check_grpc(server, &requests)?;
    }
    println!("60 us MLP over gRPC, 64 at once");
    let pairs = bench.interleave(SIDES, |side| client::h2load(bench, &servers[side], &requests))?;
    verdict.pairs("60 us MLP, gRPC, 64 at once", SIDES, &pairs);
    verdict.bar(Bar::new(
        "60 us MLP: batched / inline throughput",
        ratio(&pairs, |sample| sample.requests_per_second),
        Limit::AtLeast(GRPC_RATIO),
        "",
    ));

    println!("60 us MLP over gRPC, one at a time");
    let pairs = bench
        .interleave(SIDES, |side| client::one_grpc_caller(bench, &servers[side], &requests))?;
    verdict.pairs("60 us MLP, gRPC, one at a time", SIDES, &pairs);
    verdict.bar(Bar::new(
        "60 us MLP: batched / inline p50 of one caller",
        ratio(&pairs, |sample| sample.p50_us.unwrap_or(f64::NAN)),
        Limit::AtMost(P50_RATIO),
        "",
    ));
    Ok(verdict)
}

/// Models of one side, with these options each.
fn place(bench: &Bench, side: &str, options: &str) -> Result<PathBuf> {
    let folder = bench.models.join(side);
    let models: [Mlp; 2] = [MLP_256, MLP_60_US];
    for model in models {
        model.place(&folder, Some(options))?;
    }
    Ok(fs::canonicalize(folder)?)
}

/// Median over the pairs of batched / inline.
fn ratio(pairs: &[[Sample; 2]], value: impl Fn(&Sample) -> f64) -> f64 {
    median(pairs.iter().map(|[inline, batched]| value(batched) / value(inline)))
}
