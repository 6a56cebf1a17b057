//! Clients that measure: wrk, h2load, and loadtest where neither has the percentile.

use std::fmt;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use loadtest::args::Protocol;
use loadtest::client::Target;
use loadtest::plan::{Mix, Pace};
use loadtest::record::Record;
use loadtest::runner::Run;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::bench::Bench;
use crate::requests::{HttpBody, Requests};
use crate::server::Server;

/// One measurement of one server.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    pub requests_per_second: f64,
    /// The server's user and system time per request.
    pub cpu_us: f64,
    /// The same as a part of the time that passed. Well under 1 with many
    /// requests at once, the client or another program held the server up.
    pub busy: f64,
    /// None where the client does not tell.
    pub p50_us: Option<f64>,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.0} req/s {:>6.2} us CPU", self.requests_per_second, self.cpu_us)?;
        write!(f, " {:>3.0}% busy", self.busy * 100.0)?;
        self.p50_us.map_or(Ok(()), |p50| write!(f, " p50 {p50:>6.1} us"))
    }
}

/// Requests over a time, before the server's CPU is known.
struct Load {
    requests: u64,
    seconds: f64,
    p50_us: Option<f64>,
}

/// Measures `load` together with the CPU that `server` spends on it.
fn sample(server: &Server, load: impl FnOnce() -> Result<Load>) -> Result<Sample> {
    let before = server.cpu()?;
    let load = load()?;
    let cpu = server.cpu()? - before;
    if load.requests == 0 {
        return Err("no request was answered".into());
    }
    Ok(Sample {
        requests_per_second: load.requests as f64 / load.seconds,
        cpu_us: cpu.as_secs_f64() * 1e6 / load.requests as f64,
        busy: cpu.as_secs_f64() / load.seconds,
        p50_us: load.p50_us,
    })
}

/// Posts what it is given and prints its counts as JSON.
const WRK_SCRIPT: &str = r#"
function init(args)
   local body = assert(io.open(args[1], "rb"))
   wrk.method, wrk.body = "POST", body:read("*a")
   body:close()
   wrk.headers["content-type"] = args[2]
   if args[3] then wrk.headers["inference-header-content-length"] = args[3] end
end
function done(summary, latency)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   print(string.format('RESULT {"requests":%d,"micros":%d,"failed":%d,"p50_us":%d}',
      summary.requests, summary.duration, failed, latency:percentile(50)))
end
"#;

#[derive(Deserialize)]
struct WrkResult {
    requests: u64,
    micros: u64,
    failed: u64,
    p50_us: u64,
}

/// Loads a server over HTTP/1.1; fails if any answer is not OK.
pub fn wrk(
    bench: &Bench,
    server: &Server,
    requests: &Requests,
    body: &HttpBody,
    connections: u32,
) -> Result<Sample> {
    let script = bench.write("post.lua", WRK_SCRIPT.as_bytes())?;
    let file = bench.write("request.body", &body.bytes)?;
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{}s", bench.time.as_secs())]);
    command.args(["--latency", "-s"]).arg(script);
    command.arg(format!("http://{}{}", server.http, requests.path()));
    command.arg("--").arg(file).arg(body.content_type);
    command.args(body.header_length.map(|length| length.to_string()));
    sample(server, || {
        let output = run(&mut command)?;
        let result = output.lines().find_map(|line| line.strip_prefix("RESULT "));
        let result: WrkResult = serde_json::from_str(result.ok_or("wrk printed no result")?)?;
        if result.failed > 0 {
            return Err(format!("{} of wrk's requests failed", result.failed).into());
        }
        Ok(Load {
            requests: result.requests,
            seconds: result.micros as f64 / 1e6,
            p50_us: (connections == 1).then_some(result.p50_us as f64),
        })
    })
}

/// Loads a server over gRPC on 8 connections with 8 streams each.
///
/// h2load sees HTTP status only; [`check_grpc`] has looked at the gRPC status before.
pub fn h2load(bench: &Bench, server: &Server, requests: &Requests) -> Result<Sample> {
    let frame = bench.write("request.grpc", &requests.grpc_frame())?;
    let mut command = Command::new("h2load");
    command.args(["-t1", "-c8", "-m8", "-D", &bench.time.as_secs().to_string(), "-d"]).arg(frame);
    command.args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
    command.arg(format!("http://{}/inference.GRPCInferenceService/ModelInfer", server.grpc));
    sample(server, || {
        let output = run(&mut command)?;
        let (requests, failed) =
            h2load_counts(&output).ok_or_else(|| format!("h2load printed:\n{output}"))?;
        if failed > 0 {
            return Err(format!("{failed} of h2load's requests failed").into());
        }
        Ok(Load { requests, seconds: bench.time.as_secs_f64(), p50_us: None })
    })
}

/// Requests that succeeded, and those that did not.
fn h2load_counts(output: &str) -> Option<(u64, u64)> {
    let line = |name: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(name))?;
        let count = |part: &str| {
            let (count, what) = part.trim().split_once(' ')?;
            Some((count.parse::<u64>().ok()?, what.to_owned()))
        };
        line.split(',').map(count).collect::<Option<Vec<_>>>()
    };
    let of = |counts: &[(u64, String)], what: &str| {
        counts.iter().find(|(_, name)| name == what).map(|(count, _)| *count)
    };
    let requests = line("requests:")?;
    let codes = line("status codes:")?;
    let failed = of(&requests, "failed")? + of(&requests, "errored")? + of(&requests, "timeout")?;
    let not_ok = of(&codes, "3xx")? + of(&codes, "4xx")? + of(&codes, "5xx")?;
    Some((of(&requests, "succeeded")?, failed + not_ok))
}

/// Warms a server up over gRPC and fails unless every answer's status is 0.
pub fn check_grpc(server: &Server, requests: &Requests) -> Result<()> {
    let record = closed_loop(server, requests, Protocol::Grpc, 64, Duration::from_millis(500))?;
    match record.errors.iter().next() {
        None if record.ok() > 0 => Ok(()),
        Some((code, errors)) => Err(format!("gRPC {code}: {}", errors.example).into()),
        None => Err("no gRPC answer".into()),
    }
}

/// One gRPC caller; the sample has the p50.
pub fn one_grpc_caller(bench: &Bench, server: &Server, requests: &Requests) -> Result<Sample> {
    sample(server, || {
        let record = closed_loop(server, requests, Protocol::Grpc, 1, bench.time)?;
        if record.failures() > 0 {
            return Err(format!("{} gRPC requests failed", record.failures()).into());
        }
        let p50_us = Some(record.latency.quantile_ms(0.5) * 1e3);
        Ok(Load { requests: record.ok(), seconds: bench.time.as_secs_f64(), p50_us })
    })
}

/// Callers that each wait for their answer, in this process.
pub fn closed_loop(
    server: &Server,
    requests: &Requests,
    protocol: Protocol,
    callers: usize,
    time: Duration,
) -> Result<Record> {
    let address: SocketAddr = if protocol == Protocol::Grpc { server.grpc } else { server.http };
    let authority = address.to_string();
    let run = Run {
        requests: vec![vec![requests.prepared(protocol, &authority)?]],
        target: Target { authority, protocol },
        pace: Pace::Closed,
        mix: Mix::new(1, [1]),
        threads: 1,
        connections: if protocol == Protocol::Grpc { callers.min(8) } else { callers },
        callers,
        warmup: Duration::from_millis(200),
        duration: time,
        timeout: Duration::from_secs(10),
    };
    Ok(run.execute()?.total())
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{:?}: {}: {stderr}", command.get_program(), output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h2load_counts_tell_failures_apart() {
        let output = |failed, not_ok| {
            format!(
                "finished in 3.00s, 10.00 req/s, 1.00KB/s\n\
                 requests: 90 total, 99 started, 90 done, 88 succeeded, {failed} failed, \
                 {failed} errored, 0 timeout\n\
                 status codes: 88 2xx, 0 3xx, {not_ok} 4xx, 0 5xx\n"
            )
        };
        assert_eq!(h2load_counts(&output(0, 0)), Some((88, 0)));
        assert_eq!(h2load_counts(&output(1, 3)), Some((88, 5)));
        assert_eq!(h2load_counts("nothing"), None);
    }
}
