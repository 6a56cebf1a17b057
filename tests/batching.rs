//! Requests that share runs get exactly their own rows back.

mod support;

use std::sync::Barrier;

use modelgate::types::{Code, DType};
use support::gateway::{Gateway, Launch};
use support::grpc::Client;
use support::http::Connection;
use support::predict::{Face, Predict, read_reply, tensor};
use support::registry::Registry;
use support::zoo::{self, floats, longs};

const CALLERS: usize = 64;
const ROUNDS: usize = 10;

/// Where runs take place, and so where batches form.
const EXECUTIONS: [&str; 4] = ["auto", "turn", "lane", "inline"];

/// A gateway whose models are named after where they run.
fn gateway(graph: fn() -> support::onnx_builder::Graph, more: &str) -> (Gateway, Registry) {
    let mut registry = Registry::new();
    for execution in EXECUTIONS {
        let options = format!("execution: {execution}\n{more}");
        registry = registry.model(execution, graph()).options(execution, &options);
    }
    let launch = Launch::new().models(registry.path());
    (launch.config("server: {threads: 2}").start(), registry)
}

/// One caller's connection, kept over its requests.
enum Caller {
    Http(Face, Connection),
    Grpc(Client),
}

impl Caller {
    fn new(gateway: &Gateway, number: usize) -> Caller {
        match Face::ALL[number % 3] {
            Face::Grpc => Caller::Grpc(Client::connect(gateway.grpc)),
            face => Caller::Http(face, gateway.connect()),
        }
    }

    fn ask(&mut self, predict: &Predict) -> Result<Vec<support::predict::Tensor>, String> {
        let answer = match self {
            Caller::Grpc(client) => predict.ask_grpc(client),
            Caller::Http(face, connection) => {
                let request = match face {
                    Face::Binary => predict.binary_request(),
                    _ => predict.json_request(),
                };
                read_reply(*face, connection.exchange(&request))
            }
        };
        answer.map(|answer| answer.outputs).map_err(|refused| {
            refused.assert_is(Code::InvalidArgument);
            refused.message
        })
    }
}

/// Runs `caller` on as many threads as there are callers, all at once.
fn all_at_once(caller: impl Fn(usize, &Barrier) + Sync) {
    let start = Barrier::new(CALLERS);
    std::thread::scope(|scope| {
        for number in 0..CALLERS {
            let (caller, start) = (&caller, &start);
            scope.spawn(move || caller(number, start));
        }
    });
}

/// What a model has counted: requests that succeeded, rows and runs.
fn counted(gateway: &Gateway, model: &str) -> [u64; 3] {
    let stats = gateway.get(&format!("/v2/models/{model}/stats")).json();
    let stats = &stats["model_stats"][0];
    [
        &stats["inference_stats"]["success"]["count"],
        &stats["inference_count"],
        &stats["execution_count"],
    ]
    .map(|count| count.as_u64().expect("a count"))
}

/// Rows, columns and values that no other request has.
fn own_input(caller: usize, round: usize) -> (usize, usize, Vec<f32>) {
    let (rows, columns) = (1 + (caller + round) % 3, 2 + caller % 2);
    let first = (caller * 1000 + round * 10) as f32 + 0.1;
    (rows, columns, (0..rows * columns).map(|i| first + i as f32 / 3.0).collect())
}

#[test]
fn every_caller_gets_its_own_rows() {
    let (gateway, _registry) = gateway(zoo::square_plus_one, "");
    for execution in EXECUTIONS {
        all_at_once(|number, start| {
            let mut caller = Caller::new(&gateway, number);
            start.wait();
            for round in 0..ROUNDS {
                let (rows, columns, values) = own_input(number, round);
                let shape = [rows as i64, columns as i64];
                let input = tensor("x", DType::Fp32, &shape, floats(&values));
                let outputs = caller.ask(&Predict::of(execution, [input])).expect("an answer");
                let expected: Vec<f32> = values.iter().map(|value| value * value + 1.0).collect();
                assert_eq!(
                    outputs,
                    [tensor("y", DType::Fp32, &shape, floats(&expected))],
                    "caller {number}, round {round}, {execution}"
                );
            }
        });
        let rows = (0..CALLERS * ROUNDS).map(|i| own_input(i / ROUNDS, i % ROUNDS).0 as u64).sum();
        let requests = (CALLERS * ROUNDS) as u64;
        let [succeeded, counted_rows, runs] = counted(&gateway, execution);
        assert_eq!((succeeded, counted_rows), (requests, rows), "{execution}");
        match execution {
            "inline" => assert_eq!(runs, requests, "inline runs are not shared"),
            "lane" => assert!(runs < requests, "no run was shared"),
            // Whether anything waits together is up to the machine.
            _ => assert!(runs <= requests, "{execution}"),
        }
    }
}

#[test]
fn a_lane_that_waits_for_company_shares_runs() {
    let (gateway, _registry) = gateway(zoo::square_plus_one, "max_batch_delay_us: 200000");
    all_at_once(|number, start| {
        let mut caller = Caller::new(&gateway, number);
        let values = [number as f32, -1.0];
        let input = tensor("x", DType::Fp32, &[1, 2], floats(&values));
        start.wait();
        let outputs = caller.ask(&Predict::of("lane", [input])).expect("an answer");
        assert_eq!(outputs[0].data, floats(&[values[0] * values[0] + 1.0, 2.0]));
    });
    let [succeeded, rows, runs] = counted(&gateway, "lane");
    assert_eq!((succeeded, rows), (CALLERS as u64, CALLERS as u64));
    assert!(runs <= CALLERS as u64 / 4, "{runs} runs for {CALLERS} requests");
}

#[test]
fn a_bad_member_fails_alone() {
    let (gateway, _registry) = gateway(zoo::lookup, "max_batch_delay_us: 2000\nbatching: on");
    for execution in EXECUTIONS {
        all_at_once(|number, start| {
            let mut caller = Caller::new(&gateway, number);
            start.wait();
            for round in 0..ROUNDS {
                let bad = (number + round) % 4 == 0;
                let index = if bad { 77 } else { (number + round) as i64 % 4 };
                let input = tensor("x", DType::Int64, &[1, 1], longs(&[index]));
                match caller.ask(&Predict::of(execution, [input])) {
                    Ok(outputs) => {
                        assert!(!bad, "{execution}: index {index} was looked up");
                        assert_eq!(outputs[0].data, floats(&[10.0 + index as f32]), "{execution}");
                    }
                    Err(message) => assert!(bad, "{execution}: index {index}: {message}"),
                }
            }
        });
        let [succeeded, rows, _] = counted(&gateway, execution);
        assert_eq!((succeeded, rows), (480, 480), "{execution}: three of four succeed");
    }
}

#[test]
fn requests_that_want_different_outputs_share_a_run() {
    let (gateway, _registry) = gateway(zoo::add_sub, "max_batch_delay_us: 50000");
    all_at_once(|number, start| {
        let mut caller = Caller::new(&gateway, number);
        let wanted: &[&str] =
            [&[][..], &["sum"], &["difference"], &["difference", "sum"]][number % 4];
        let value = number as f32;
        let pair = |name, values: [f32; 2]| tensor(name, DType::Fp32, &[1, 2], floats(&values));
        let inputs = [pair("a", [value, 1.0]), pair("b", [0.5, 2.0])];
        start.wait();
        let outputs = caller.ask(&Predict::of("lane", inputs).wanting(wanted)).expect("an answer");
        let names: Vec<&str> = outputs.iter().map(|output| &*output.name).collect();
        let expected = if wanted.is_empty() { &["sum", "difference"] } else { wanted };
        assert_eq!(names, expected);
        for output in &outputs {
            let values =
                if output.name == "sum" { [value + 0.5, 3.0] } else { [value - 0.5, -1.0] };
            assert_eq!(output.data, floats(&values), "caller {number}: {}", output.name);
        }
    });
    let [_, _, runs] = counted(&gateway, "lane");
    assert!(runs < CALLERS as u64, "no run was shared");
}

#[test]
fn a_full_queue_refuses_and_recovers() {
    let registry = Registry::new()
        .model("slow", zoo::halving())
        .options("slow", "execution: lane\nqueue_requests: 2")
        .model("square", zoo::square_plus_one());
    let gateway = Launch::new().models(registry.path()).start();
    let halve = |trips: i64| {
        let inputs = [
            tensor("trips", DType::Int64, &[], longs(&[trips])),
            tensor("x", DType::Fp32, &[1], floats(&[8.0])),
        ];
        Predict::of("slow", inputs)
    };
    // One runs, two wait, five are refused at once.
    let outcomes: Vec<u16> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|number| {
                let request = halve(1 << 62).header("x-request-timeout-ms", "1500").json_request();
                let gateway = &gateway;
                scope.spawn(move || {
                    std::thread::sleep(std::time::Duration::from_millis(50 * number));
                    let reply = request.send(gateway.http);
                    if reply.status == 503 {
                        assert!(reply.header("retry-after").is_some());
                        assert!(reply.error().contains("2 requests waiting"), "{}", reply.text());
                    }
                    reply.status
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().expect("no panic")).collect()
    });
    let of = |status: u16| outcomes.iter().filter(|outcome| **outcome == status).count();
    assert_eq!((of(504), of(503)), (3, 5), "{outcomes:?}");
    halve(1).ask(&gateway, Face::Grpc).expect("there is room again");
    let scrape = support::metrics::Scrape::of(gateway.ops);
    let full = [("model", "slow"), ("reason", "queue_full")];
    assert_eq!(scrape.sum("modelgate_rejected_total", &full), 5.0);
}
