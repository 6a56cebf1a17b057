//! `loadtest`: asks, sends, reports, and exits by the thresholds.

use std::fs;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use loadtest::Error;
use loadtest::args::{Args, ModelArg, Protocol, ReportForm};
use loadtest::client::Target;
use loadtest::inputs::{InputFile, ModelSpec, Sizes};
use loadtest::plan::{Mix, Pace, splitmix64};
use loadtest::report::{Config, Report};
use loadtest::runner::Run;
use loadtest::thresholds::Thresholds;
use loadtest::wire::Prepared;

fn main() -> ExitCode {
    match load(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loadtest: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Returns whether all thresholds hold.
fn load(args: &Args) -> Result<bool, Error> {
    let run = plan(args)?;
    let log = run.execute()?;
    let report = Report::new(config(args, &run), &log, args.timeline);
    let broken = Thresholds::from(args).broken(&log.total(), report.total.rate);
    let report = report.judged(broken);
    let text = match args.report {
        ReportForm::Json => report.to_json(),
        ReportForm::Text => report.to_text(),
    };
    let written = match &args.output {
        Some(path) => fs::write(path, text),
        None => std::io::stdout().write_all(text.as_bytes()),
    };
    written.map_err(|error| Error::Failed(format!("cannot write the report: {error}")))?;
    Ok(report.passed)
}

const DEFAULT_HTTP_CONNECTIONS: usize = 64;
const DEFAULT_GRPC_CONNECTIONS: usize = 8;
const DEFAULT_GRPC_STREAMS: usize = 8;

fn plan(args: &Args) -> Result<Run, Error> {
    if args.duration.is_zero() {
        return Err(Error::Usage("--duration: nothing to measure in no time".into()));
    }
    let target = Target::parse(&args.url, args.protocol)?;
    let (connections, callers) = callers(args)?;
    let requests = requests(args, &target)?;
    Ok(Run {
        target,
        pace: args.rate.map_or(Pace::Closed, |rate| Pace::Open { rate }),
        mix: Mix::new(args.seed, args.models.iter().map(|model| model.weight)),
        requests,
        threads: args.threads as usize,
        connections,
        callers,
        warmup: args.warmup,
        duration: args.duration,
        timeout: Duration::from_millis(args.timeout_ms),
    })
}

/// Returns how many connections and how many callers on them.
fn callers(args: &Args) -> Result<(usize, usize), Error> {
    let count = |given: Option<u32>| given.map(|count| count as usize);
    let (concurrency, connections) = (count(args.concurrency), count(args.connections));
    let closed = args.rate.is_none();
    if args.protocol == Protocol::Grpc {
        let callers = match (concurrency, args.streams, closed) {
            (None, None, true) => Some(1),
            _ => concurrency,
        };
        let default = DEFAULT_GRPC_CONNECTIONS.min(callers.unwrap_or(usize::MAX));
        let connections = connections.unwrap_or(default);
        let streams = count(args.streams).unwrap_or(DEFAULT_GRPC_STREAMS);
        let callers = callers.unwrap_or(connections * streams);
        return Ok((connections.min(callers), callers));
    }
    if args.streams.is_some() {
        return Err(Error::Usage("--streams: HTTP/1.1 has none, see --connections".into()));
    }
    let callers = match (concurrency, connections) {
        (Some(callers), Some(connections)) if callers != connections => {
            return Err(Error::Usage(
                "over HTTP each caller has its own connection: leave out --connections".into(),
            ));
        }
        (Some(callers), _) | (None, Some(callers)) => callers,
        (None, None) => {
            if closed {
                1
            } else {
                DEFAULT_HTTP_CONNECTIONS
            }
        }
    };
    Ok((callers, callers))
}

/// Different bodies per model, so that no cache answers for the server.
const VARIANTS: u64 = 16;
/// Large bodies are fewer, so that together they stay about this size.
const VARIANTS_BYTES: usize = 64 << 20;

fn requests(args: &Args, target: &Target) -> Result<Vec<Vec<Prepared>>, Error> {
    if let Some(path) = &args.input {
        let [model] = args.models.as_slice() else {
            return Err(Error::Usage("--input: give one --model".into()));
        };
        let request = |file: InputFile| match args.protocol {
            Protocol::HttpJson => Prepared::from_json(&target.authority, model, file.into_json()),
            _ => Prepared::new(args.protocol, &target.authority, model, &file.tensors()?),
        };
        let files = InputFile::read(path)?.into_iter();
        return Ok(vec![files.map(request).collect::<Result<_, Error>>()?]);
    }
    let specs = ask(args, target)?;
    args.models.iter().zip(&specs).map(|(model, spec)| make(args, target, model, spec)).collect()
}

fn make(
    args: &Args,
    target: &Target,
    model: &ModelArg,
    spec: &ModelSpec,
) -> Result<Vec<Prepared>, Error> {
    let sizes = Sizes { rows: args.rows, dims: &args.dims };
    let mut requests = Vec::new();
    let mut bytes = 0;
    for variant in 0..VARIANTS {
        let tensors = spec.make_inputs(sizes, splitmix64(args.seed ^ (variant << 32)))?;
        bytes += tensors.iter().map(|tensor| tensor.data.len()).sum::<usize>();
        requests.push(Prepared::new(args.protocol, &target.authority, model, &tensors)?);
        if bytes > VARIANTS_BYTES {
            break;
        }
    }
    Ok(requests)
}

/// Asks the server about all models.
fn ask(args: &Args, target: &Target) -> Result<Vec<ModelSpec>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Failed(format!("client thread: {error}")))?;
    let timeout = Duration::from_millis(args.timeout_ms);
    runtime.block_on(async {
        let mut specs = Vec::new();
        for model in &args.models {
            let answer = tokio::time::timeout(timeout, target.metadata(model)).await;
            let silent = || Error::Unreachable(format!("{}: no answer", target.authority));
            specs.push(answer.map_err(|_| silent())??);
        }
        Ok(specs)
    })
}

fn config(args: &Args, run: &Run) -> Config {
    Config {
        url: run.target.authority.clone(),
        protocol: args.protocol,
        models: args.models.clone(),
        pace: run.pace,
        callers: run.callers,
        connections: run.connections,
        threads: run.threads.min(run.connections),
        rows: args.rows,
        seed: args.seed,
        warmup_seconds: args.warmup.as_secs_f64(),
        duration_seconds: args.duration.as_secs_f64(),
        timeout_ms: args.timeout_ms,
    }
}
