//! The protocol as clients see it: each rule through every form of the wire it
//! applies to, on one running gateway.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod binary;
mod counting;
mod deadlines;
mod documents;
mod errors;
mod grpc;
mod listeners;
mod tensors;

use std::sync::OnceLock;

use modelgate::types::DType;
use support::gateway::{Gateway, Launch};
use support::predict::{Predicted, Refused};
use support::registry::Registry;
use support::zoo;

type Outcome = Result<Predicted, Refused>;

/// The gateway that these tests share. Tests that count ask models of their own.
fn gateway() -> &'static Gateway {
    static GATEWAY: OnceLock<(Gateway, Registry)> = OnceLock::new();
    let (gateway, _registry) = GATEWAY.get_or_init(|| {
        let mut registry = Registry::new()
            .sample("breast-cancer")
            .sample("digits")
            .model("add-sub", zoo::add_sub())
            .model("scalar", zoo::unary("Neg", DType::Fp32, &[]))
            .model("scalar-text", zoo::identity(DType::Bytes, &[]))
            .model("square", zoo::square_plus_one())
            .model("pairs", zoo::identity(DType::Fp32, &["2", "2"]))
            .model("count-statistics", zoo::square_plus_one())
            .model("count-metrics", zoo::square_plus_one())
            .model("count-text", zoo::identity(DType::Bytes, &["rows", "columns"]))
            .version("two", 3, &zoo::unary("Neg", DType::Fp32, &["n"]).model())
            .version("two", 12, &zoo::unary("Abs", DType::Fp32, &["n"]).model())
            .options("two", "versions: all")
            .version("broken", 1, b"not a model")
            .version("half-broken", 1, &zoo::identity(DType::Fp32, &["n"]).model())
            .version("half-broken", 2, b"not a model");
        for (name, execution) in [
            ("slow-on-lane", "lane"),
            ("slow-surprise", "auto"),
            ("slow-inline", "inline"),
            ("slow-queue", "lane"),
            ("slow-abandoned", "lane"),
            ("slow-stream", "lane"),
        ] {
            let options = format!("execution: {execution}");
            registry = registry.model(name, zoo::halving()).options(name, &options);
        }
        for dtype in DType::ALL {
            let graph = zoo::identity(dtype, &["rows", "columns"]);
            registry = registry.model(&zoo::identity_name(dtype), graph);
        }
        (Launch::new().models(registry.path()).start(), registry)
    });
    gateway
}
