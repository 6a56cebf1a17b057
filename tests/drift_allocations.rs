//! Counting a value allocates nothing, whatever the value.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use modelgate::drift::Profile;
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

#[test]
fn counting_allocates_nothing() {
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
    let profile = Profile::parse(document.to_string().as_bytes()).expect("a profile");
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
