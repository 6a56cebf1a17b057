//! The watchdog after a quiet time. A program of its own, because other tests' runs
//! would keep the watchdog awake.

mod support;

use std::time::{Duration, Instant};

use modelgate::engine::{Engine, EngineError, Input, Library, OrtEngine, SessionOptions};
use modelgate::types::DType;
use support::zoo::halving;

#[test]
fn a_watchdog_that_fell_asleep_still_stops_a_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, halving().model()).expect("a model file");
    let library = Library::open(None).unwrap_or_else(|error| {
        panic!("this test needs ONNX Runtime; run `make setup` first. {error}")
    });
    let engine =
        OrtEngine::load(&library, &path, &SessionOptions::default()).expect("the model loads");
    let forever = (1i64 << 62).to_le_bytes();
    let run = || {
        let inputs = [
            Input { dtype: DType::Int64, shape: &[], data: &forever },
            Input { dtype: DType::Fp32, shape: &[1], data: &[0; 4] },
        ];
        let started = Instant::now();
        let result = engine.run(&inputs, &[0], Some(started + Duration::from_millis(20)));
        assert_eq!(result.map(|_| ()), Err(EngineError::Stopped));
        assert!(started.elapsed() < Duration::from_secs(2), "stopped late");
    };
    run();
    // Longer than it watches in vain.
    std::thread::sleep(Duration::from_millis(2_500));
    run();
}
