//! The protocol as clients see it: each rule through every form of the wire it
//! applies to, on one running gateway.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod binary;
mod documents;
mod errors;
mod grpc;
mod tensors;

use std::sync::OnceLock;

use modelgate::types::DType;
use support::gateway::{Gateway, Launch};
use support::registry::Registry;
use support::zoo;

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
            .version("two", 3, &zoo::unary("Neg", DType::Fp32, &["n"]).model())
            .version("two", 12, &zoo::unary("Abs", DType::Fp32, &["n"]).model())
            .version("broken", 1, b"not a model")
            .version("half-broken", 1, &zoo::identity(DType::Fp32, &["n"]).model())
            .version("half-broken", 2, b"not a model");
        for dtype in DType::ALL {
            let graph = zoo::identity(dtype, &["rows", "columns"]);
            registry = registry.model(&zoo::identity_name(dtype), graph);
        }
        (Launch::new().models(registry.path()).start(), registry)
    });
    gateway
}
