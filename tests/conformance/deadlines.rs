//! Deadlines bound waiting and running, and what is over stops.

use std::time::{Duration, Instant};

use modelgate::types::{Code, DType};

use crate::gateway;
use crate::support::grpc::Client;
use crate::support::predict::{Face, Predict, tensor};
use crate::support::zoo::{floats, longs};

/// Longer than anyone waits.
const ENDLESS: i64 = 1 << 62;

/// An answer that is due at a deadline may be this much later on a busy machine.
const LATENESS: Duration = Duration::from_secs(3);

fn halve(model: &str, trips: i64) -> Predict {
    let inputs = [
        tensor("trips", DType::Int64, &[], longs(&[trips])),
        tensor("x", DType::Fp32, &[1], floats(&[8.0])),
    ];
    Predict::of(model, inputs)
}

#[track_caller]
fn assert_times_out_after(allowed: Duration, ask: impl FnOnce() -> crate::Outcome) {
    let started = Instant::now();
    ask().expect_err("it cannot end").assert_is(Code::DeadlineExceeded);
    let taken = started.elapsed();
    assert!(taken >= allowed, "given up after {taken:?} of {allowed:?}");
    assert!(taken < allowed + LATENESS, "answered after {taken:?} of {allowed:?}");
}

#[test]
fn a_run_stops_at_its_deadline_wherever_it_takes_place() {
    let allowed = Duration::from_millis(120);
    for model in ["slow-on-lane", "slow-inline"] {
        for face in Face::ALL {
            for (name, value) in [("x-request-timeout-ms", "120"), ("grpc-timeout", "120m")] {
                let endless = halve(model, ENDLESS).header(name, value);
                assert_times_out_after(allowed, || endless.ask(gateway(), face));
                // The lane has one thread: only a run that stopped lets this one by.
                let started = Instant::now();
                let next = halve(model, 1).ask(gateway(), face).expect("an answer");
                assert_eq!(next.outputs[0].data, floats(&[4.0]));
                assert!(started.elapsed() < LATENESS, "the run went on");
            }
        }
    }
}

#[test]
fn the_shortest_of_all_deadlines_counts() {
    let endless = halve("slow-on-lane", ENDLESS);
    let both = endless.clone().header("x-request-timeout-ms", "150").header("grpc-timeout", "1H");
    for face in Face::ALL {
        assert_times_out_after(Duration::from_millis(150), || both.ask(gateway(), face));
    }
    // Triton's parameter, in microseconds.
    let mut request = endless.json_request();
    let text = String::from_utf8(request.body).expect("text");
    request.body = text.replacen('{', r#"{"parameters":{"timeout":150000},"#, 1).into_bytes();
    assert_times_out_after(Duration::from_millis(150), || {
        crate::support::predict::read_reply(Face::Json, request.send(gateway().http))
    });
}

#[test]
fn time_spent_in_the_queue_counts() {
    std::thread::scope(|scope| {
        let busy = halve("slow-queue", ENDLESS).header("x-request-timeout-ms", "2500");
        let busy = scope.spawn(move || busy.ask(gateway(), Face::Json));
        std::thread::sleep(Duration::from_millis(200));
        let waiting = halve("slow-queue", 1).header("x-request-timeout-ms", "150");
        for face in Face::ALL {
            assert_times_out_after(Duration::from_millis(150), || waiting.ask(gateway(), face));
        }
        let other = halve("slow-on-lane", 1).ask(gateway(), Face::Json);
        other.expect("another model's queue is not held up");
        let busy = busy.join().expect("no panic");
        busy.expect_err("endless").assert_is(Code::DeadlineExceeded);
    });
}

/// Cheap until now, it runs on the network thread; it must not keep it.
#[test]
fn a_run_that_turns_out_endless_leaves_the_network_thread() {
    std::thread::scope(|scope| {
        for face in Face::ALL {
            halve("slow-surprise", 1).ask(gateway(), face).expect("cheap");
        }
        let surprises: Vec<_> = (0..4)
            .map(|_| {
                let endless =
                    halve("slow-surprise", ENDLESS).header("x-request-timeout-ms", "2000");
                scope.spawn(move || endless.ask(gateway(), Face::Json))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(1200));
        let started = Instant::now();
        let live = crate::support::http::Request::get("/v2/health/live").send(gateway().http);
        assert_eq!(live.status, 200);
        // Half of the time that the runs still have.
        assert!(started.elapsed() < Duration::from_millis(400), "{:?}", started.elapsed());
        for surprise in surprises {
            let error = surprise.join().expect("no panic").expect_err("endless");
            error.assert_is(Code::DeadlineExceeded);
        }
    });
}

#[test]
fn deadlines_that_are_no_time_are_refused() {
    for (name, value) in
        [("x-request-timeout-ms", "1.5"), ("x-request-timeout-ms", "-1"), ("grpc-timeout", "1s")]
    {
        for face in [Face::Json, Face::Binary, Face::Grpc] {
            let request = halve("slow-on-lane", 1).header(name, value);
            let error = request.ask(gateway(), face).expect_err(value);
            error.assert_is(Code::InvalidArgument);
            assert!(error.message.contains(name), "{}", error.message);
        }
    }
}

#[test]
fn a_caller_who_left_holds_up_nobody() {
    for _ in 0..3 {
        let mut connection = gateway().connect();
        let endless = halve("slow-abandoned", ENDLESS).header("x-request-timeout-ms", "400");
        connection.write(&endless.json_request().bytes()).expect("a request");
        drop(connection);
    }
    // Those who wait are skipped; only what runs already runs to its deadline.
    std::thread::sleep(Duration::from_millis(100));
    let started = Instant::now();
    halve("slow-abandoned", 1).ask(gateway(), Face::Grpc).expect("an answer");
    let taken = started.elapsed();
    assert!(taken < Duration::from_millis(400) + LATENESS / 3, "{taken:?}: abandoned work was run");
}

#[test]
fn a_stream_bounds_its_requests_one_by_one() {
    use modelgate::api::codec::pb;
    use prost::Message;
    let path = "/inference.GRPCInferenceService/ModelStreamInfer";
    let metadata = [("x-request-timeout-ms", "150")];
    let requests = [halve("slow-stream", ENDLESS).message(), halve("slow-stream", 2).message()];
    let called = Client::connect(gateway().grpc).call(path, &metadata, &requests);
    assert_eq!(called.code, 0);
    let answers: Vec<pb::ModelStreamInferResponse> = called
        .messages
        .iter()
        .map(|message| pb::ModelStreamInferResponse::decode(message.clone()).expect("an answer"))
        .collect();
    assert!(answers[0].error_message.contains("deadline"), "{:?}", answers[0]);
    assert_eq!(answers.len(), 2);
}
