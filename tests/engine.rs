//! The engine on real ONNX Runtime, over models that are built here.

mod support;

use std::time::{Duration, Instant};

use modelgate::engine::{
    Engine, EngineError, Input, Library, OrtEngine, RunOutputs, SessionOptions, measure,
};
use modelgate::types::{DType, Tensor};
use support::onnx_builder::{
    Graph, constant, element, external, graph, map, node, optional, sequence, tensor,
    tensor_of_any_rank,
};
use support::zoo::halving;
use tempfile::TempDir;

fn library() -> Library {
    Library::open(None).unwrap_or_else(|error| {
        panic!("these tests need ONNX Runtime; run `make setup` first. {error}")
    })
}

#[test]
fn a_process_runs_one_library() {
    let library = library();
    let again = Library::open(Some(library.path())).expect("the same library");
    assert_eq!(again.version(), library.version());
    let other = Library::open(Some("/nowhere/libonnxruntime.so".as_ref()));
    assert!(matches!(other, Err(EngineError::Library(why)) if why.contains("already runs")));
}

#[test]
fn telemetry_is_off() {
    load(add_one());
    let open = std::fs::read_dir("/proc/self/fd").expect("this process's files");
    for file in open.filter_map(Result::ok) {
        let target = std::fs::read_link(file.path()).unwrap_or_default();
        assert!(!target.to_string_lossy().contains("/.onnxruntime/"), "{}", target.display());
    }
}

struct Model {
    engine: OrtEngine,
    _folder: TempDir,
}

impl std::ops::Deref for Model {
    type Target = OrtEngine;

    fn deref(&self) -> &OrtEngine {
        &self.engine
    }
}

fn try_load(graph: Graph, files: &[(&str, &[u8])]) -> Result<Model, EngineError> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, data) in files {
        std::fs::write(folder.path().join(name), data).expect("a file");
    }
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, graph.model()).expect("a model file");
    let engine = OrtEngine::load(&library(), &path, &SessionOptions::default())?;
    Ok(Model { engine, _folder: folder })
}

fn load(graph: Graph) -> Model {
    try_load(graph, &[]).expect("the model loads")
}

fn refusal(graph: Graph) -> String {
    match try_load(graph, &[]) {
        Err(EngineError::Load(reason)) => reason,
        Err(other) => panic!("expected a load error, got {other}"),
        Ok(_) => panic!("the model loaded"),
    }
}

fn run(model: &OrtEngine, inputs: &[Input<'_>]) -> Result<RunOutputs, EngineError> {
    let wanted: Vec<usize> = (0..model.signature().outputs.len()).collect();
    model.run(inputs, &wanted, None)
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn longs(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn to_floats(tensor: &Tensor) -> Vec<f32> {
    assert_eq!(tensor.dtype(), DType::Fp32);
    tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn packed(strings: &[&[u8]]) -> Vec<u8> {
    let prefixed = |string: &&[u8]| [&(string.len() as u32).to_le_bytes()[..], string].concat();
    strings.iter().flat_map(prefixed).collect()
}

fn input<'a>(dtype: DType, shape: &'a [i64], data: &'a [u8]) -> Input<'a> {
    Input { dtype, shape, data }
}

const F32: i32 = 1;
const I64: i32 = 7;
const STRING: i32 = 8;

/// One node from `x` to `y`, of the same type.
fn unary(op: &str, dtype: DType, dims: &[&str]) -> Graph {
    let kind = tensor(element(dtype), dims);
    graph().input("x", kind.clone()).output("y", kind).node(node(op, &["x"], &["y"]))
}

/// `y = x + 1` over `[rows, 3]`.
fn add_one() -> Graph {
    graph()
        .input("x", tensor(F32, &["rows", "3"]))
        .output("y", tensor(F32, &["rows", "3"]))
        .constant(constant("one", DType::Fp32, &[1], floats(&[1.0])))
        .node(node("Add", &["x", "one"], &["y"]))
}

/// Two classes' scores as skl2onnx gives them by default: labels and a sequence of maps.
fn zip_map(ints: bool) -> Graph {
    let classes = node("ZipMap", &["x"], &["probabilities"]).domain("ai.onnx.ml");
    let (key, classes) = match ints {
        true => (I64, classes.ints("classlabels_int64s", &[7, 3])),
        false => (STRING, classes.strings("classlabels_strings", &["no", "maybe"])),
    };
    graph()
        .input("x", tensor(F32, &["rows", "2"]))
        .output("label", tensor(I64, &["rows"]))
        .output("probabilities", sequence(map(key, tensor(F32, &[]))))
        .node(node("ArgMax", &["x"], &["label"]).int("axis", 1).int("keepdims", 0))
        .node(classes)
}

#[test]
fn every_type_goes_through_at_every_alignment() {
    for dtype in DType::ALL {
        let model = load(unary("Identity", dtype, &["rows", "3"]));
        let data = match dtype.size() {
            Some(1) => vec![1, 0, 1, 0, 0, 1],
            Some(size) => (0..6 * size).map(|byte| byte as u8).collect(),
            None => packed(&[b"a", b"", b"b\0c", b"\0", "\u{e4}".as_bytes(), &[b'z'; 300]]),
        };
        for offset in 0..9 {
            let wire = [vec![0xaa; offset], data.clone()].concat();
            let outputs = run(&model, &[input(dtype, &[2, 3], &wire[offset..])]);
            let output = &outputs.unwrap_or_else(|error| panic!("{dtype}: {error}"))[0];
            assert_eq!((output.dtype(), output.shape().dims()), (dtype, &[2, 3][..]));
            assert_eq!(output.data(), &data, "{dtype} at {offset}");
        }
    }
}

#[test]
fn scalars_and_empty_tensors_are_tensors() {
    for dtype in [DType::Fp32, DType::Int8, DType::Bytes] {
        let one = dtype.size().map_or_else(|| packed(&[b"word"]), |size| vec![1; size]);
        let scalar = load(unary("Identity", dtype, &[]));
        let output = &run(&scalar, &[input(dtype, &[], &one)]).expect("it runs")[0];
        assert_eq!((output.shape().rank(), output.data()), (0, &one.clone().into()));
        let rows = load(unary("Identity", dtype, &["rows", "2"]));
        let output = &run(&rows, &[input(dtype, &[0, 2], &[])]).expect("it runs")[0];
        assert_eq!((output.shape().dims(), output.data().len()), (&[0, 2][..], 0));
    }
}

#[test]
fn an_input_that_is_also_the_output_is_copied() {
    let kind = tensor(F32, &["n"]);
    let model = load(graph().input("x", kind.clone()).output("x", kind));
    let data = floats(&vec![4.0; 4096]);
    let shape = [4096];
    let output = run(&model, &[input(DType::Fp32, &shape, &data)]).expect("it runs").remove(0);
    let theirs = data.as_ptr_range();
    assert!(!theirs.contains(&output.data().as_ptr()), "the answer borrows the request");
    drop(data);
    assert!(to_floats(&output).iter().all(|value| *value == 4.0));
}

#[test]
fn large_outputs_outlive_their_model() {
    let dims = ["n"];
    let model = load(unary("Neg", DType::Fp32, &dims));
    let rows = 1 << 20;
    let data = floats(&vec![2.0; rows]);
    let output =
        run(&model, &[input(DType::Fp32, &[rows as i64], &data)]).expect("it runs").remove(0);
    drop(model);
    assert!(to_floats(&output).iter().all(|value| *value == -2.0));
}

#[test]
fn only_wanted_outputs_come_in_the_order_asked_for() {
    let model = load(zip_map(true));
    let data = floats(&[0.9, 0.1]);
    let outputs = model.run(&[input(DType::Fp32, &[1, 2], &data)], &[1, 0], None).expect("runs");
    assert_eq!(outputs[0].dtype(), DType::Fp32);
    assert_eq!(outputs[1].data(), &longs(&[0]));
    let label = model.run(&[input(DType::Fp32, &[1, 2], &data)], &[0], None).expect("runs");
    assert_eq!((label.len(), label[0].dtype()), (1, DType::Int64));
    for wrong in [&[2][..], &[0, 0]] {
        let error = model.run(&[input(DType::Fp32, &[1, 2], &data)], wrong, None);
        assert!(matches!(error, Err(EngineError::Run(_))), "{wrong:?}");
    }
}

#[test]
fn bad_inputs_are_errors_that_say_why() {
    let model = load(add_one());
    let data = floats(&[0.0; 6]);
    let cases = [
        input(DType::Fp32, &[2, 3], &data[..23]),
        input(DType::Fp32, &[2, 4], &data),
        input(DType::Fp32, &[-2, -3], &data),
        input(DType::Fp32, &[3, 2], &data),
        input(DType::Int32, &[2, 3], &data),
        input(DType::Bytes, &[2, 3], &data),
        input(DType::Fp32, &[i64::MAX, i64::MAX], &data),
    ];
    for case in cases {
        let result = run(&model, &[case]);
        assert!(matches!(&result, Err(EngineError::Run(why)) if !why.is_empty()), "{case:?}");
    }
    assert!(matches!(run(&model, &[]), Err(EngineError::Run(_))));
    let outputs = run(&model, &[input(DType::Fp32, &[2, 3], &data)]).expect("it still runs");
    assert_eq!(to_floats(&outputs[0]), [1.0; 6]);
}

#[test]
fn a_bool_is_zero_or_one() {
    let model = load(unary("Not", DType::Bool, &["n"]));
    let result = run(&model, &[input(DType::Bool, &[2], &[1, 2])]);
    assert!(matches!(result, Err(EngineError::Run(_))));
}

#[test]
fn lying_strings_are_refused() {
    let model = load(unary("Identity", DType::Bytes, &["n"]));
    let two = packed(&[b"a", b"b"]);
    for (shape, data) in [([1], &two[..]), ([3], &two), ([2], &two[..9]), ([i64::MAX], &two)] {
        let result = run(&model, &[input(DType::Bytes, &shape, data)]);
        assert!(matches!(result, Err(EngineError::Run(_))), "{shape:?}");
    }
}

#[test]
fn weights_beside_the_model_are_found_and_counted() {
    let weights = floats(&vec![2.0; 300_000]);
    let kind = tensor(F32, &["300000"]);
    let model = graph()
        .input("x", kind.clone())
        .output("y", kind)
        .constant(external("w", DType::Fp32, &[300_000], "weights.bin"))
        .node(node("Mul", &["x", "w"], &["y"]));
    let loaded = try_load(model.clone(), &[("weights.bin", &weights)]).expect("it loads");
    assert!(loaded.memory_bytes() >= 1_200_000, "{}", loaded.memory_bytes());
    let data = floats(&vec![3.0; 300_000]);
    let outputs = run(&loaded, &[input(DType::Fp32, &[300_000], &data)]).expect("it runs");
    assert!(to_floats(&outputs[0]).iter().all(|value| *value == 6.0));
    assert!(matches!(try_load(model, &[]), Err(EngineError::Load(_))), "no weights, no model");
}

#[test]
fn sequences_of_maps_become_columns_with_labels() {
    for (ints, labels) in [(true, ["3", "7"]), (false, ["maybe", "no"])] {
        let model = load(zip_map(ints));
        let spec = &model.signature().outputs[1];
        assert_eq!((spec.dtype, spec.wire_dims()), (DType::Fp32, vec![-1, 2]));
        assert_eq!(*spec.labels, labels.map(str::to_owned));
        let data = floats(&[0.75, 0.25, 0.125, 0.875]);
        let outputs = run(&model, &[input(DType::Fp32, &[2, 2], &data)]).expect("it runs");
        // The columns follow the keys' order, not the order of the class list.
        assert_eq!(outputs[1].shape().dims(), [2, 2]);
        assert_eq!(to_floats(&outputs[1]), [0.25, 0.75, 0.875, 0.125]);
        let none = run(&model, &[input(DType::Fp32, &[0, 2], &[])]).expect("no rows, no error");
        assert_eq!(none[1].shape().dims(), [0, 2]);
        assert!(measure(&*model, 32).batchable);
    }
}

#[test]
fn sequences_of_equal_tensors_stack() {
    let split = graph()
        .input("x", tensor(F32, &["n"]))
        .input("sizes", tensor(I64, &["k"]))
        .output("y", sequence(tensor(F32, &["?"])))
        .node(node("SplitToSequence", &["x", "sizes"], &["y"]).int("axis", 0));
    let model = load(split);
    let data = floats(&[1.0, 2.0, 3.0, 4.0]);
    let sizes = |sizes: &[i64]| longs(sizes);
    let even = sizes(&[2, 2]);
    let inputs = [input(DType::Fp32, &[4], &data), input(DType::Int64, &[2], &even)];
    let outputs = run(&model, &inputs).expect("it runs");
    assert_eq!(outputs[0].shape().dims(), [2, 2]);
    assert_eq!(to_floats(&outputs[0]), [1.0, 2.0, 3.0, 4.0]);
    let odd = sizes(&[1, 3]);
    let inputs = [input(DType::Fp32, &[4], &data), input(DType::Int64, &[2], &odd)];
    let error = run(&model, &inputs).expect_err("they do not stack");
    assert!(error.to_string().contains("do not stack"), "{error}");
}

#[test]
fn what_the_protocol_cannot_carry_is_refused_at_load() {
    let wide = |kind| graph().input("x", kind).output("y", tensor(F32, &["1"]));
    let shape = node("Shape", &["x"], &["shape"]);
    let cast = node("Cast", &["shape"], &["y"]).int("to", F32.into());
    let float8 = wide(tensor(17, &["n"])).node(shape.clone()).node(cast.clone());
    let reason = refusal(float8);
    assert!(reason.contains("'x'") && reason.contains("float8e4m3fn"), "{reason}");
    let any = wide(tensor_of_any_rank(F32)).node(shape).node(cast);
    let reason = refusal(any);
    assert!(reason.contains("'x'") && reason.contains("dimensions"), "{reason}");
    let sequence = graph()
        .input("x", sequence(tensor(F32, &["n"])))
        .output("y", tensor(I64, &[]))
        .node(node("SequenceLength", &["x"], &["y"]));
    let reason = refusal(sequence);
    assert!(reason.contains("'x'") && reason.contains("sequence"), "{reason}");
}

#[test]
fn an_inferred_size_below_zero_is_no_size() {
    let model = graph()
        .input("x", tensor(F32, &["3"]))
        .output("y", tensor_of_any_rank(F32))
        .constant(constant("pads", DType::Int64, &[2], longs(&[-5, -5])))
        .node(node("Pad", &["x", "pads"], &["y"]));
    let model = load(model);
    assert_eq!(model.signature().outputs[0].wire_dims(), [-1]);
    let data = floats(&[1.0; 3]);
    assert!(matches!(run(&model, &[input(DType::Fp32, &[3], &data)]), Err(EngineError::Run(_))));
}

#[test]
fn an_optional_input_counts_as_its_content() {
    let model = graph()
        .input("x", optional(tensor(F32, &["2"])))
        .output("y", tensor(F32, &["2"]))
        .node(node("OptionalGetElement", &["x"], &["y"]));
    let model = load(model);
    let data = floats(&[1.0, 2.0]);
    let outputs = run(&model, &[input(DType::Fp32, &[2], &data)]).expect("it runs");
    assert_eq!(to_floats(&outputs[0]), [1.0, 2.0]);
}

#[test]
fn a_broken_file_is_a_load_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    let missing = OrtEngine::load(&library(), &path, &SessionOptions::default());
    assert!(matches!(missing, Err(EngineError::Load(_))));
    std::fs::write(&path, b"not a model").expect("a file");
    let garbage = OrtEngine::load(&library(), &path, &SessionOptions::default());
    assert!(matches!(garbage, Err(EngineError::Load(_))));
}

#[test]
fn a_run_is_stopped_at_its_deadline_and_the_thread_goes_on() {
    let started = Instant::now();
    let model = load(halving());
    assert!(started.elapsed() < Duration::from_secs(15), "trying the model must end");
    let (x, forever, once) = (floats(&[8.0]), longs(&[1 << 62]), longs(&[1]));
    let inputs = |trips| [input(DType::Int64, &[], trips), input(DType::Fp32, &[1], &x)];
    for _ in 0..3 {
        let started = Instant::now();
        let deadline = started + Duration::from_millis(50);
        let result = model.run(&inputs(&forever), &[0], Some(deadline));
        assert_eq!(result.map(|_| ()), Err(EngineError::Stopped));
        let taken = started.elapsed();
        assert!(taken >= Duration::from_millis(50), "stopped early: {taken:?}");
        assert!(taken < Duration::from_secs(2), "stopped late: {taken:?}");
        let deadline = Instant::now() + Duration::from_secs(60);
        let outputs = model.run(&inputs(&once), &[0], Some(deadline)).expect("one trip");
        assert_eq!(to_floats(&outputs[0]), [4.0]);
    }
    let past = model.run(&inputs(&forever), &[0], Some(started - Duration::from_secs(1)));
    assert_eq!(past.map(|_| ()), Err(EngineError::Stopped));
}

#[test]
fn stopping_one_thread_leaves_the_others_alone() {
    let model = load(halving());
    let x = floats(&[8.0]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let trips = longs(&[1 << 62]);
                let inputs = [input(DType::Int64, &[], &trips), input(DType::Fp32, &[1], &x)];
                for _ in 0..20 {
                    let deadline = Instant::now() + Duration::from_millis(10);
                    let result = model.run(&inputs, &[0], Some(deadline));
                    assert_eq!(result.map(|_| ()), Err(EngineError::Stopped));
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let trips = longs(&[3]);
                let inputs = [input(DType::Int64, &[], &trips), input(DType::Fp32, &[1], &x)];
                for _ in 0..5_000 {
                    let deadline = Instant::now() + Duration::from_secs(60);
                    let outputs = model.run(&inputs, &[0], Some(deadline)).expect("it runs");
                    assert_eq!(to_floats(&outputs[0]), [1.0]);
                }
            });
        }
    });
}

#[test]
fn threads_share_a_session_and_get_their_own_answers() {
    let model = load(add_one());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let model = &model;
            scope.spawn(move || {
                for turn in 0..2_000 {
                    let rows = 1 + turn % 5;
                    let value = (thread * 10_000 + turn) as f32;
                    let data = floats(&vec![value; rows * 3]);
                    let shape = [rows as i64, 3];
                    let outputs = run(model, &[input(DType::Fp32, &shape, &data)]).expect("runs");
                    assert_eq!(to_floats(&outputs[0]), vec![value + 1.0; rows * 3]);
                }
            });
        }
    });
}

#[test]
fn batches_are_found_by_trying() {
    let measured = measure(&*load(add_one()), 32);
    assert!(measured.runs && measured.batchable);
    let rows: Vec<usize> = measured.costs.iter().map(|cost| cost.rows).collect();
    assert_eq!(rows, [1, 16]);
    assert_eq!(measured.costs[0].input_bytes, 12);
    assert!(measured.costs.iter().all(|cost| cost.nanos > 0));
    assert!(!measure(&*load(add_one()), 1).batchable, "a batch of one is none");
    // The first dimension is free and its size the same, but rows see each other.
    for op in ["Softmax", "CumSum", "Sum"] {
        let rows = tensor(F32, &["n", "3"]);
        let model = graph().input("x", rows.clone()).output("y", rows);
        let model = match op {
            "Softmax" => model.node(node(op, &["x"], &["y"]).int("axis", 0)),
            "CumSum" => model
                .constant(constant("axis", DType::Int64, &[], longs(&[0])))
                .node(node(op, &["x", "axis"], &["y"])),
            _ => model
                .constant(constant("axes", DType::Int64, &[1], longs(&[0])))
                .node(node("ReduceSum", &["x", "axes"], &["sum"]))
                .node(node("Add", &["x", "sum"], &["y"])),
        };
        let measured = measure(&*load(model), 32);
        assert!(measured.runs && !measured.batchable, "{op}");
        assert_eq!(measured.costs.len(), 1);
    }
}

#[test]
fn an_output_that_follows_the_rows_only_sometimes_is_served() {
    // As many rows out as elements that are not zero, which made-up floats never are.
    let model = graph()
        .input("x", tensor(F32, &["n"]))
        .output("y", tensor(F32, &["m"]))
        .constant(constant("zero", DType::Fp32, &[1], floats(&[0.0])))
        .node(node("Equal", &["x", "zero"], &["is_zero"]))
        .node(node("Not", &["is_zero"], &["keep"]))
        .node(node("Compress", &["x", "keep"], &["y"]));
    let model = load(model);
    for values in [&[1.0, 2.0][..], &[0.0, 2.0], &[1.0], &[0.0]] {
        let data = floats(values);
        let shape = [values.len() as i64];
        let outputs = run(&model, &[input(DType::Fp32, &shape, &data)]).expect("it runs");
        let kept: Vec<f32> = values.iter().copied().filter(|value| *value != 0.0).collect();
        assert_eq!(to_floats(&outputs[0]), kept);
    }
}

#[test]
fn symbols_and_sizes_of_the_graph_are_kept() {
    let model = load(zip_map(true));
    let input = &model.signature().inputs[0];
    assert_eq!((&*input.name, input.wire_dims()), ("x", vec![-1, 2]));
    assert_eq!(format!("{:?}", input.dims), r#"[Free(Some("rows")), Fixed(2)]"#);
    assert!(model.signature().may_batch());
}
