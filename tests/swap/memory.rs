//! The memory that all models share.

use modelgate::types::DType;

use crate::support::gateway::{Gateway, Launch};
use crate::support::onnx_builder::{Graph, constant, element, graph, node, tensor};
use crate::support::registry::Registry;
use crate::support::zoo::floats;
use crate::{ask, stage, version, wait_for};

const ROWS: usize = 8 << 20;

/// Looks its input up in 32 MiB of weights, and so answers `answer`.
fn heavy(answer: f32) -> Graph {
    let weights = floats(&vec![answer; ROWS]);
    graph()
        .input("x", tensor(element(DType::Fp32), &["n"]))
        .output("y", tensor(element(DType::Fp32), &["n"]))
        .constant(constant("w", DType::Fp32, &[ROWS as i64], weights))
        .node(node("Abs", &["x"], &["a"]))
        .node(node("Cast", &["a"], &["i"]).int("to", i64::from(element(DType::Int64))))
        .node(node("Gather", &["w", "i"], &["y"]))
}

fn start(registry: &Registry, budget: u64) -> Gateway {
    let config = format!("models: {{memory_bytes: {budget}}}");
    Launch::new().models(registry.path()).config(&config).listen()
}

fn number(gateway: &Gateway, pointer: &str) -> u64 {
    let version = version(gateway, 1);
    version.pointer(pointer).and_then(serde_json::Value::as_u64).unwrap_or_default()
}

#[test]
fn what_does_not_fit_waits_or_takes_the_place_of_the_one_before() {
    let first = || Registry::new().version("sign", 1, &heavy(1.0).model());
    let registry = first();
    let gateway = start(&registry, 1 << 40);
    wait_for("version 1", &gateway, || stage(&gateway, 1) == "ready");
    let (peak, held) = (number(&gateway, "/probe/peak_bytes"), number(&gateway, "/memory_bytes"));
    assert!(held >= 4 * ROWS as u64 && peak >= held / 2, "{peak} {held}");
    drop(gateway);

    let gateway = start(&registry, peak / 2);
    wait_for("a verdict", &gateway, || stage(&gateway, 1) == "rejected");
    assert_eq!(version(&gateway, 1)["rejected"], "out_of_memory", "it fits nowhere");
    drop(gateway);

    for swap in ["availability_preserving", "resource_preserving"] {
        let registry = first().options("sign", &format!("swap: {swap}"));
        let gateway = start(&registry, peak + held / 2);
        wait_for("version 1", &gateway, || ask(&gateway) == Some(("1".to_owned(), 1.0)));
        let registry = registry.version("sign", 2, &heavy(2.0).model());
        if swap == "resource_preserving" {
            wait_for("version 2", &gateway, || ask(&gateway) == Some(("2".to_owned(), 2.0)));
            assert!(version(&gateway, 1).is_null(), "nothing is kept where two do not fit");
        } else {
            wait_for("a word", &gateway, || {
                let reason = version(&gateway, 2)["reason"].clone();
                reason.as_str().is_some_and(|reason| reason.contains("waits for memory"))
            });
            assert_eq!(ask(&gateway), Some(("1".to_owned(), 1.0)));
        }
        drop(registry);
    }
}
