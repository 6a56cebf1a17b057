//! Counting allocates nothing, whatever the value and wherever it stands.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use modelgate::drift::Profile;
use modelgate::drift::live::{Found, ProfileSource, Role, Rows, Watch};
use modelgate::types::{DType, Digest, ModelName, Shape, Signature, Tensor, Version};
use serde_json::json;

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
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn profile() -> Profile {
    let document = json!({
        "schema": "modelgate.drift.profile/v1",
        "model": "churn",
        "inputs": [
            {
                "name": "age", "tensor": "x", "index": [0], "kind": "numeric",
                "edges": [20, 40], "counts": [500, 500, 500], "min": 0, "max": 90,
                "p001": 1, "p999": 89, "mean": 40, "std": 9,
            },
            {
                "name": "doors", "tensor": "x", "index": [1], "kind": "values",
                "values": [2, 4], "counts": [1000, 1000], "other": 9, "dictionary": [3],
            },
            {
                "name": "plan", "tensor": "plan", "kind": "categorical",
                "categories": ["a", "b"], "counts": [1000, 1000], "other": 9, "dictionary": ["c"],
            },
        ],
    });
    Profile::parse(document.to_string().as_bytes()).expect("a profile")
}

#[test]
fn counting_a_value_allocates_nothing() {
    let profile = profile();
    for column in profile.columns() {
        let mut tally = column.tally();
        let before = COUNT.get();
        for value in [-1.0, 2.0, 3.0, 7.0, 100.0, f64::NAN, f64::INFINITY] {
            column.bins.count_number(value, &mut tally);
        }
        for text in ["a", "c", "never seen", ""] {
            column.bins.count_text(text.as_bytes(), &mut tally);
        }
        assert_eq!(COUNT.get(), before, "{}", column.name);
        assert_eq!(tally.seen(), 11, "{}", column.name);
    }
}

#[test]
fn counting_the_rows_of_an_answer_allocates_nothing() {
    let signature: Signature = serde_json::from_value(json!({
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "plan", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
    }))
    .expect("a signature");
    let found =
        Found { profile: profile(), digest: Digest::new([7; 32]), source: ProfileSource::Sidecar };
    let name = ModelName::parse("churn").expect("a name");
    let champion = Watch::by(&name, Version::FIRST, found.clone(), &signature, 2);
    let watch = Watch::by(&name, Version::parse("2").expect("a version"), found, &signature, 2);
    // Counted into the champion's bins as well.
    watch.compare_with(Some(&champion), &signature, 2);
    let active = watch.active().expect("it fits");

    let tensor = |dtype, dims: &[i64], data: Vec<u8>| {
        let shape = Shape::new(dims.iter().copied()).expect("a shape");
        Tensor::new(dtype, shape, Bytes::from(data)).expect("a tensor")
    };
    let x = [30f32, 4.0, f32::NAN, 5.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let plans = [b"\x01\0\0\0a".as_slice(), b"\x03\0\0\0new"].concat();
    let inputs = [tensor(DType::Fp32, &[2, 2], x), tensor(DType::Bytes, &[2], plans)];
    let outputs = [tensor(DType::Fp32, &[2], vec![0; 8])];
    let rows = Rows { inputs: &inputs, wanted: &[0], outputs: &outputs };

    // The first rows of a role make the tallies, and a thread's first its number.
    assert!(watch.count(Role::Primary, rows));
    let before = COUNT.get();
    for _ in 0..10 {
        assert!(watch.cost(rows).is_some() && watch.count(Role::Primary, rows));
    }
    assert_eq!(COUNT.get(), before);
    let total = active.total(Role::Primary).expect("rows came");
    assert!(total.iter().all(|tally| tally.seen() == 22));
}
