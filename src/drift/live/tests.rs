//! What tests of the parts share.

use crate::drift::profile::{Column, Profile};

/// Two columns of three bins each.
pub(super) fn columns() -> Vec<Column> {
    let column = |name: &str| {
        serde_json::json!({
            "name": name, "tensor": "x", "index": [0], "kind": "numeric", "edges": [1.0, 2.0],
            "counts": [1000, 1000, 1000], "min": 0, "max": 3, "p001": 0, "p999": 3, "mean": 1,
            "std": 1,
        })
    };
    let profile = serde_json::json!({
        "schema": "modelgate.drift.profile/v1", "model": "m",
        "inputs": [column("a"), column("b")],
    });
    Profile::parse(profile.to_string().as_bytes()).expect("a profile").inputs
}
