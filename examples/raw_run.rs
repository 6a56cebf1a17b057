//! The floor under every request: bare runs of a model in a loop, without a
//! server. `make bench-floor` prints it beside the gateway.
//!
//!     raw_run MODEL.onnx SECONDS
//!
//! Made-up rows of the model's one FP32 input; prints runs per second.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use modelgate::engine::{Engine, Input, Library, OrtEngine, SessionOptions, disable_telemetry};
use modelgate::types::DType;

fn main() -> Result<(), Box<dyn Error>> {
    disable_telemetry()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, seconds] = arguments.as_slice() else {
        return Err("usage: raw_run MODEL.onnx SECONDS".into());
    };
    let library = Library::open(None)?;
    let engine = OrtEngine::load(&library, Path::new(model), &SessionOptions::default())?;
    let signature = engine.signature();
    let [input] = signature.inputs.as_slice() else { return Err("expected one input".into()) };
    let shape: Vec<i64> = input.wire_dims().into_iter().map(|dim| dim.max(1)).collect();
    let data = vec![0; shape.iter().product::<i64>() as usize * 4];
    let wanted: Vec<usize> = (0..signature.outputs.len()).collect();

    let length = Duration::from_secs_f64(seconds.parse()?);
    let started = Instant::now();
    let mut runs = 0_u64;
    while started.elapsed() < length {
        let input = Input { dtype: DType::Fp32, shape: &shape, data: &data };
        engine.run(&[input], &wanted, None)?;
        runs += 1;
    }
    println!("{:.0}", runs as f64 / started.elapsed().as_secs_f64());
    Ok(())
}
