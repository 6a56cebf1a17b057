//! Keeps the allocations of a request on the inline path from growing
//! unnoticed: from the body's bytes to the encoded answer, with a fake engine
//! (whose own allocations are taken off), without the HTTP library's. The
//! decision of a route has none.

#[path = "support/fake_gateway.rs"]
mod fake_gateway;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use fake_gateway::{answer_grpc, answer_http, binary_body, gateway, grpc_message, json_body};
use http::{HeaderMap, HeaderName, HeaderValue};
use modelgate::engine::{Engine, FakeEngine, Input};
use modelgate::routing::{Attributes, Route, RouteDocument};
use modelgate::types::{DType, Parameter};

/// Allocations per request. A change that lowers one lowers it here; one that
/// raises it says why in its commit.
const JSON: usize = 2;
const BINARY: usize = 1;
const GRPC: usize = 14;

const COLUMNS: usize = 30;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands every call on to the system's allocator unchanged; counting
// touches only a thread-local integer without a destructor.
#[expect(unsafe_code, reason = "the only way to count allocations")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the second of two runs: the first fills what is kept per thread.
fn count<T>(mut work: impl FnMut() -> T) -> usize {
    drop(work());
    let before = COUNT.get();
    let done = work();
    let count = COUNT.get() - before;
    drop(done);
    count
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => panic!("the inline path waits for nothing"),
    }
}

fn of_the_engine() -> usize {
    let engine = FakeEngine::new(COLUMNS, Duration::ZERO);
    let data = [0; COLUMNS * 4];
    let shape = [1, COLUMNS as i64];
    count(|| {
        let input = Input { dtype: DType::Fp32, shape: &shape, data: &data };
        engine.run(&[input], &[0], None).expect("a run")
    })
}

#[test]
fn a_request_allocates_as_often_as_it_is_said_to() {
    let gateway = gateway(1, COLUMNS);
    let engine = of_the_engine();
    let body = json_body(COLUMNS);
    let json = count(|| ready(answer_http(&gateway, &body, None))) - engine;
    let (body, length) = binary_body(COLUMNS);
    let binary = count(|| ready(answer_http(&gateway, &body, Some(length)))) - engine;
    let message = grpc_message(COLUMNS);
    let grpc = count(|| ready(answer_grpc(&gateway, message.clone()))) - engine;
    assert_eq!((json, binary, grpc), (JSON, BINARY, GRPC), "JSON, binary, gRPC");
}

#[test]
fn a_decision_allocates_nothing() {
    let document = serde_json::json!({
        "apiVersion": "modelgate.dev/v1",
        "kind": "Route",
        "metadata": {"name": "fraud"},
        "spec": {
            "variants": [
                {"name": "a", "version": 2, "weight": 5},
                {"name": "b", "version": 3, "weight": 50},
            ],
            "match": [
                {"variant": "a", "headers": [{"name": "x-region", "regex": "(eu|us)-[a-z]{3,20}"}]},
                {"variant": "b", "headers": [
                    {"name": "x-tenant", "prefix": "acme-"},
                    {"name": "x-beta", "exact": "1"},
                ]},
            ],
            "stickiness": {"key": [{"header": "x-user-id"}, {"parameter": "user"}]},
            "shadow": {},
        },
    });
    let document: RouteDocument = serde_json::from_value(document).expect("a document");
    let route = Route::compile(&document, None).expect("a route");
    let long = "x".repeat(2_000);
    let headers: [&[(&'static str, &str)]; 5] = [
        &[],
        &[("x-user-id", "user-1")],
        &[("x-user-id", &long)],
        &[("x-region", "eu-north")],
        &[("x-tenant", "acme-1"), ("x-beta", "0"), ("x-region", "mars")],
    ];
    let parameters = [("user".into(), Parameter::Int(i64::MIN))];
    for pairs in headers {
        let pair = |&(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        };
        let headers: HeaderMap = pairs.iter().map(pair).collect();
        let attributes =
            Attributes { headers: &headers, parameters: &parameters, request_id: b"request" };
        assert_eq!(count(|| route.decide(&attributes)), 0, "{pairs:?}");
    }
}
