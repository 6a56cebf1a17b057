//! Pushes that are broken or mean harm: refused once, with the reason, and the
//! version in place goes on answering.

use modelgate::registry::Manifest;
use modelgate::types::{DType, Digest, RejectKind, Stage};

use crate::support::gateway::Gateway;
use crate::support::hostile_models::{division_trap, endless, memory_bomb};
use crate::support::metrics::Scrape;
use crate::support::onnx_builder::{Graph, constant, external, graph, node, tensor};
use crate::support::zoo::longs;
use crate::world::{Asker, MODEL, World, ask, list_again, telling, until, version};

/// Small enough that a bomb is one, and a hang is known for one soon. What is no hang gets more
/// time, because a busy machine may take a second for any model.
const BRIEF: &str = "models: {probe: {timeout_ms: 1000, memory_bytes: 268435456}}";
const PATIENT: &str = "models: {probe: {timeout_ms: 30000, memory_bytes: 268435456}}";

const F32: i32 = 1;

/// One kind of push; its content differs from number to number.
struct Kind {
    name: &'static str,
    model: fn(u64) -> Vec<u8>,
    manifest: fn(Manifest) -> Manifest,
    expected: &'static [RejectKind],
    /// Whether it gets so far as to be tried.
    probed: bool,
}

fn as_it_is(manifest: Manifest) -> Manifest {
    manifest
}

/// Makes the content of a model another one, and changes nothing else.
fn salted(graph: Graph, number: u64) -> Vec<u8> {
    graph.constant(constant("salt", DType::Int64, &[1], longs(&[number as i64]))).model()
}

const KINDS: [Kind; 8] = [
    Kind {
        name: "corrupt",
        model: |number| {
            let mut model = telling(number).model();
            let at = 4 + number as usize % 8;
            model[at..at + 8].fill(0xff);
            model
        },
        manifest: as_it_is,
        expected: &[RejectKind::BadModel],
        probed: true,
    },
    Kind {
        name: "truncated",
        model: |number| {
            let mut model = salted(telling(number), number);
            model.truncate(model.len() / 2 - number as usize % 16);
            model
        },
        manifest: as_it_is,
        expected: &[RejectKind::BadModel],
        probed: true,
    },
    Kind {
        name: "memory bomb",
        model: |number| memory_bomb((1 << 28) + number as i64).model(),
        manifest: as_it_is,
        expected: &[RejectKind::OutOfMemory],
        probed: true,
    },
    Kind {
        name: "crash at load",
        model: |number| salted(division_trap(), number),
        manifest: as_it_is,
        expected: &[RejectKind::Crashed],
        probed: true,
    },
    Kind {
        name: "hang at load",
        model: |number| salted(endless(), number),
        manifest: as_it_is,
        expected: &[RejectKind::TimedOut],
        probed: true,
    },
    Kind {
        name: "wrong digest",
        model: |number| telling(number).model(),
        manifest: |mut manifest| {
            manifest.files[0].sha256 = Digest::new([7; 32]);
            manifest
        },
        expected: &[RejectKind::DigestMismatch],
        probed: false,
    },
    Kind {
        name: "changed signature",
        model: |number| {
            let other = graph()
                .input("z", tensor(F32, &["1"]))
                .output("y", tensor(F32, &["1"]))
                .node(node("Neg", &["z"], &["y"]));
            salted(other, number)
        },
        manifest: as_it_is,
        expected: &[RejectKind::Incompatible],
        probed: true,
    },
    Kind {
        name: "path escape",
        model: |number| {
            let places = ["../1/model.onnx", "../../../secret", "/etc/passwd", "a/../../b"];
            let place = places[number as usize % places.len()];
            let reads = graph()
                .input("x", tensor(F32, &["1"]))
                .output("y", tensor(F32, &["1"]))
                .constant(external("w", DType::Fp32, &[1], place))
                .node(node("Add", &["x", "w"], &["y"]));
            salted(reads, number)
        },
        manifest: as_it_is,
        expected: &[RejectKind::BadModel],
        probed: true,
    },
];

/// Pushes `count` of each kind, one after the other.
fn refuse_each(count: u64) {
    let (hangs, others): (Vec<&Kind>, Vec<&Kind>) =
        KINDS.iter().partition(|kind| kind.expected.contains(&RejectKind::TimedOut));
    refuse(count, &hangs, BRIEF);
    refuse(count, &others, PATIENT);
}

fn refuse(count: u64, kinds: &[&Kind], limits: &str) {
    let world = World::new();
    // Probed within any limit, as the versions after it are to be.
    drop(world.launch().config(PATIENT).start());
    let gateway = world.launch().config(limits).start();
    let asker = Asker::start(&gateway);
    let (mut number, mut tried) = (1, probes(&gateway));
    for kind in kinds {
        for _ in 0..count {
            number += 1;
            let model = (kind.model)(number);
            world.push_with(number, &[("model.onnx", &model)], |manifest| {
                serde_json::to_string(&(kind.manifest)(manifest)).expect("JSON")
            });
            tried += f64::from(u8::from(kind.probed));
            refused(&world, &gateway, kind, number);
        }
    }
    // What was refused is not tried again, whatever is listed.
    list_again(&gateway);
    list_again(&gateway);
    assert_eq!(probes(&gateway), tried, "each is tried once");
    assert_eq!(ask(gateway.http), Ok(1), "the version in place answers");
    asker.finish();
    gateway.assert_serves();
}

#[track_caller]
fn refused(world: &World, gateway: &Gateway, kind: &Kind, number: u64) {
    let what = format!("{} is refused as version {number}", kind.name);
    let refused = until(&what, || {
        let version = version(gateway, number)?;
        assert!(version.stage != Stage::Ready, "{} is served", kind.name);
        (version.stage == Stage::Rejected).then_some(version)
    });
    let rejected = refused.rejected.expect("a rejected version says of which kind");
    let reason = refused.reason.expect("and why");
    assert!(kind.expected.contains(&rejected), "{}: {rejected:?}: {reason}", kind.name);
    let folder = world.data().display().to_string();
    assert!(!reason.is_empty() && !reason.contains(&folder), "{}: {reason}", kind.name);
}

fn probes(gateway: &Gateway) -> f64 {
    Scrape::of(gateway.ops).sum("modelgate_probe_total", &[("model", MODEL)])
}

#[test]
fn hostile_pushes_are_refused_once_and_serving_goes_on() {
    refuse_each(2);
}

#[test]
#[ignore = "takes a quarter of an hour"]
fn a_hundred_hostile_pushes_of_each_kind_are_refused_once() {
    refuse_each(100);
}

/// What is no version by its names never gets as far as being fetched.
#[test]
fn names_that_lead_out_of_a_version_are_left_alone() {
    let world = World::new();
    let gateway = world.launch().start();
    let asker = Asker::start(&gateway);
    for (number, name) in (2..).zip(["../1/model.onnx", "/etc/passwd", "a/b", ".hidden"]) {
        let model = telling(number).model();
        world.push_with(number, &[("model.onnx", &model)], |manifest| {
            let text = manifest.to_json().expect("a sound manifest");
            text.replace("model.onnx", name)
        });
    }
    let outside = tempfile::tempdir().expect("a folder");
    std::fs::write(outside.path().join("model.onnx"), telling(9).model()).expect("a file");
    let link = world.registry().join(MODEL).join("9");
    std::os::unix::fs::symlink(outside.path(), link).expect("a link");
    list_again(&gateway);
    list_again(&gateway);
    let unfinished = crate::world::status(&gateway).registries[0].unfinished.clone();
    assert_eq!(unfinished.len(), 5, "each is told: {unfinished:#?}");
    assert_eq!(ask(gateway.http), Ok(1));
    asker.finish();
}
