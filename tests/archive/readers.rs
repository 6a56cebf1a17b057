//! What the readers that people use make of the files: PyArrow, pandas, DuckDB
//! and Polars. Types and values are compared with those that were recorded,
//! for versions made up of every datatype in every form.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use half::{bf16, f16};
use modelgate::predictions::record::{self, Head, Statistics, Trace};
use modelgate::predictions::schema::{Column, Treated};
use modelgate::predictions::{
    Assignment, Label, Role, Schema, SchemaId, Schemas, TensorSchema, Truth,
};
use modelgate::telemetry::Protocol;
use modelgate::types::{Code, DType};
use serde_json::{Map, Value, json};

use crate::support::segments::{SegmentWriter, Side};
use crate::table::{HOUR, START};
use crate::{Kept, parquet};

const SCHEMAS: u64 = 8;
const RECORDS: u64 = 25;

/// Steele, Lea and Flood's SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.roll() as u8)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What JSON has no number for, by its name.
fn float(number: f64) -> Value {
    if number.is_finite() { json!(number) } else { json!(number.to_string()) }
}

/// A value of a datatype: how it is recorded, and what a reader is to see.
fn value(dice: &mut Dice, dtype: DType) -> (Vec<u8>, Value) {
    let bits = dice.roll();
    macro_rules! number {
        ($of:ty) => {{
            let number = bits as $of;
            (number.to_le_bytes().to_vec(), json!(number))
        }};
    }
    match dtype {
        DType::Bool => (vec![bits as u8 & 1], json!(bits & 1 == 1)),
        DType::Uint8 => number!(u8),
        DType::Uint16 => number!(u16),
        DType::Uint32 => number!(u32),
        DType::Uint64 => number!(u64),
        DType::Int8 => number!(i8),
        DType::Int16 => number!(i16),
        DType::Int32 => number!(i32),
        DType::Int64 => number!(i64),
        DType::Fp16 => {
            let number = f16::from_bits(bits as u16);
            (number.to_le_bytes().to_vec(), float(number.to_f64()))
        }
        DType::Bf16 => {
            let number = bf16::from_bits(bits as u16);
            (number.to_le_bytes().to_vec(), float(number.to_f64()))
        }
        DType::Fp32 => {
            let number = f32::from_bits(bits as u32);
            (number.to_le_bytes().to_vec(), float(f64::from(number)))
        }
        DType::Fp64 => {
            let number = f64::from_bits(bits);
            (number.to_le_bytes().to_vec(), float(number))
        }
        DType::Bytes => {
            let texts =
                ["", "a", "Ünïcødé ✓", "a longer text, with \"quotes\" and\nlines", "ab\0c"];
            let text = texts[dice.below(5) as usize];
            let mut packed = (text.len() as u32).to_le_bytes().to_vec();
            packed.extend_from_slice(text.as_bytes());
            (packed, json!(text))
        }
    }
}

/// The type of a column, as PyArrow names it.
fn type_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "bool",
        DType::Uint8 => "uint8",
        DType::Uint16 => "uint16",
        DType::Uint32 => "uint32",
        DType::Uint64 => "uint64",
        DType::Int8 => "int8",
        DType::Int16 => "int16",
        DType::Int32 => "int32",
        DType::Int64 => "int64",
        DType::Fp16 | DType::Bf16 | DType::Fp32 => "float",
        DType::Fp64 => "double",
        DType::Bytes => "string",
    }
}

/// A version with a tensor of each datatype on either side.
fn schema(dice: &mut Dice, number: u64) -> Schema {
    let row_wise = number % 4 != 3;
    let tensor = |dice: &mut Dice, dtype: DType, at: usize| {
        let name = format!("t{at}");
        let kind = if row_wise { dice.below(4) } else { 3 };
        let column = |dice: &mut Dice, at: u64| {
            let treated = match dice.below(6) {
                0 => Treated::Drop,
                1 => Treated::Hash,
                2 if dtype != DType::Bytes => Treated::Bin(vec![0.0, 1.0]),
                2 => Treated::Truncate(3),
                _ => Treated::Keep,
            };
            Column { name: format!("{name}_{at}"), treated }
        };
        let columns: Vec<Column> = match kind {
            0 => vec![Column { name: name.clone(), treated: Treated::Keep }],
            1 | 2 => (0..1 + dice.below(3)).map(|at| column(dice, at)).collect(),
            _ => Vec::new(),
        };
        let shape = match kind {
            0 => vec![-1],
            1 | 2 => vec![-1, columns.len() as i64],
            _ if row_wise => [vec![-1, 3], vec![-1, 2, -1]][dice.below(2) as usize].clone(),
            _ => vec![-1, 2],
        };
        let whole = match dice.below(8) {
            0 if columns.is_empty() => Treated::Drop,
            _ => Treated::Keep,
        };
        TensorSchema { name, datatype: dtype, shape, columns, whole }
    };
    let mut side = || {
        let each = DType::ALL.into_iter().enumerate();
        each.map(|(at, dtype)| tensor(dice, dtype, at)).collect::<Vec<_>>()
    };
    Schema {
        model: format!("m{number}"),
        version: 1 + number,
        digest: format!("sha256:{number:064x}"),
        gateway: "0.1.0".to_owned(),
        provider: "cpu".to_owned(),
        row_wise,
        inputs: side(),
        outputs: side(),
    }
}

/// Appends a tensor, and says what readers are to find of it in each row.
fn put(
    dice: &mut Dice,
    out: &mut Vec<u8>,
    (index, prefix, tensor): (u16, &str, &TensorSchema),
    row_wise: bool,
    rows: &mut [Map<String, Value>],
    types: &mut Map<String, Value>,
) -> u16 {
    let dtype = tensor.datatype;
    let batch = if row_wise { rows.len() as i64 } else { 3 };
    let last = dice.below(3) as i64;
    let shape: Vec<i64> = (0..)
        .zip(&tensor.shape)
        .map(|(at, size)| match (at, size) {
            (0, _) => batch,
            (_, -1) => last,
            (_, size) => *size,
        })
        .collect();
    let mut data = Vec::new();
    if tensor.columns.is_empty() {
        if tensor.whole == Treated::Drop {
            return 0;
        }
        let name = format!("{prefix}.{}", tensor.name);
        let items = shape.iter().product::<i64>() as usize / rows.len();
        types.insert(name.clone(), json!(format!("list<{}>", type_name(dtype))));
        let shaped = !row_wise || tensor.shape.len() > 2;
        let of_row = &shape[usize::from(row_wise)..];
        if shaped {
            types.insert(format!("{name}.shape"), json!("list<int64>"));
        }
        for row in rows.iter_mut() {
            let mut list = Vec::new();
            for _ in 0..items {
                let (packed, seen) = value(dice, dtype);
                data.extend_from_slice(&packed);
                list.push(seen);
            }
            row.insert(name.clone(), json!(list));
            if shaped {
                row.insert(format!("{name}.shape"), json!(of_row));
            }
        }
        record::put_raw(out, index, dtype, &shape, &data);
        return 1;
    }
    for row in rows.iter_mut() {
        for column in &tensor.columns {
            let name = format!("{prefix}.{}", column.name);
            let (packed, seen, of) = match &column.treated {
                Treated::Drop | Treated::Digest => continue,
                Treated::Hash => {
                    let hash: [u8; 16] = dice.bytes();
                    (hash.to_vec(), json!(hex(&hash)), "string")
                }
                Treated::Bin(edges) => {
                    let bin = dice.below(edges.len() as u64 + 1) as u16;
                    (bin.to_le_bytes().to_vec(), json!(bin), "int32")
                }
                Treated::Keep | Treated::Truncate(_) => {
                    let (packed, seen) = value(dice, dtype);
                    (packed, seen, type_name(dtype))
                }
            };
            data.extend_from_slice(&packed);
            types.insert(name.clone(), json!(of));
            row.insert(name, seen);
        }
    }
    if tensor.is_rewritten() {
        let at = record::begin_rows(out, index, dtype, &shape);
        out.extend_from_slice(&data);
        record::end_data(out, at);
    } else {
        record::put_raw(out, index, dtype, &shape, &data);
    }
    1
}

/// A record's head with something or nothing in each place, and what that is.
fn head<'a>(
    dice: &mut Dice,
    id: &'a str,
    schema: Option<(SchemaId, &Schema)>,
) -> (Head<'a>, Map<String, Value>) {
    let there = |dice: &mut Dice| dice.below(2) == 0;
    let text = |dice: &mut Dice, text: &'static str| if there(dice) { text } else { "" };
    let or_null = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    let trace = there(dice).then(|| Trace { trace: dice.bytes(), span: dice.bytes() });
    let unit: Option<[u8; 16]> = there(dice).then(|| dice.bytes());
    let bucket = there(dice).then(|| dice.below(100_000) as u32);
    let role = Role::ALL[dice.below(3) as usize];
    let assignment = Assignment::ALL[1 + dice.below(3) as usize];
    let protocol = there(dice).then_some(Protocol::Grpc);
    let (route, variant, salt) = (text(dice, "r"), text(dice, "candidate"), text(dice, "r/split"));
    let (unit_key, principal) = (text(dice, "user-1"), text(dice, "team ✓"));
    let reason = text(dice, "limit");
    let code = schema.is_none().then_some(Code::Unavailable);
    let total_us = dice.below(1 << 32) as u32;
    let event_time = START + dice.below(2 * HOUR as u64) as i64;
    let head = Head {
        event_time,
        schema: schema.map_or(SchemaId::NONE, |(id, _)| id),
        model: "m0",
        version: 1,
        request_id: id.as_bytes(),
        trace,
        route,
        revision: 3,
        variant: variant.as_bytes(),
        role,
        assignment,
        propensity: 0.25,
        salt,
        bucket,
        unit,
        unit_key: unit_key.as_bytes(),
        principal: principal.as_bytes(),
        protocol,
        code,
        reason,
        queue_us: dice.below(1 << 32) as u32,
        infer_us: 7,
        total_us,
        rows: 0,
        batch_rows: 9,
        sampling: 0.5,
    };
    let expected = json!({
        "event_time": event_time,
        "recorded_time": event_time + i64::from(total_us),
        "request_id": id,
        "trace_id": trace.map(|of| hex(&of.trace)),
        "span_id": trace.map(|of| hex(&of.span)),
        "route": or_null(route),
        "route_revision": (!route.is_empty()).then_some(3),
        "variant": or_null(variant),
        "role": role.label(),
        "assignment": assignment.label(),
        "propensity": 0.25,
        "salt": or_null(salt),
        "bucket": bucket,
        "unit_hash": unit.map(|unit| hex(&unit)),
        "unit_key": or_null(unit_key),
        "principal": or_null(principal),
        "model_sha256": schema.map(|(_, schema)| schema.digest["sha256:".len()..].to_owned()),
        "profile": null,
        "gateway_version": schema.map(|(_, schema)| schema.gateway.clone()),
        "provider": schema.map(|(_, schema)| schema.provider.clone()),
        "protocol": protocol.map(Protocol::label),
        "code": code.map_or("ok", Code::label),
        "reason": or_null(reason),
        "batch_rows": 9,
        "queue_us": head.queue_us,
        "infer_us": 7,
        "total_us": total_us,
        "sampling_fraction": 0.5,
        "schema_id": schema.map(|(id, _)| id.to_string()),
    });
    let Value::Object(expected) = expected else { unreachable!("an object") };
    (head, expected)
}

/// Writes segments, and gives what readers are to find: the types of each
/// model's columns, and its rows by their keys.
fn record(root: &Path) -> Value {
    let mut dice = Dice(5);
    let schemas = Schemas::new(root.to_owned());
    let mut segment = SegmentWriter::new(1, 7, 0);
    let mut models = Map::new();
    for number in 0..SCHEMAS {
        let schema = Arc::new(schema(&mut dice, number));
        schemas.keep(&schema).expect("kept");
        let (mut types, mut rows) = (Map::new(), Map::new());
        for at in 0..RECORDS {
            let id = format!("r-{number}-{at}");
            let is_digest = number == 1 && at % 3 == 0;
            let of = Some((schema.id(), &*schema)).filter(|_| number > 0 || at % 5 > 0);
            let (head, expected) = head(&mut dice, &id, of);
            let count = if schema.row_wise && of.is_some() { 1 + dice.below(3) } else { 1 };
            let head = Head { rows: count as u32, ..head };
            let mut seen = vec![expected; count as usize];
            let sequence = segment.prediction(&head, |side, out| {
                let Some((_, schema)) = of else { return 0 };
                let (prefix, tensors) = match side {
                    Side::Inputs => ("f", &schema.inputs),
                    Side::Outputs => ("o", &schema.outputs),
                };
                let mut written = 0;
                for (index, tensor) in (0..).zip(tensors) {
                    let of = (index, prefix, tensor);
                    let is_large = index == 11 && tensor.whole == Treated::Keep;
                    written += match is_digest && side == Side::Inputs && is_large {
                        true => digest(out, of, &mut seen),
                        false => put(&mut dice, out, of, schema.row_wise, &mut seen, &mut types),
                    };
                }
                written
            });
            for (row, mut expected) in seen.into_iter().enumerate() {
                expected.insert("rows".to_owned(), json!(count));
                expected.insert("epoch".to_owned(), json!(7));
                rows.insert(format!("1/{sequence}/{row}"), Value::Object(expected));
            }
        }
        models.insert(schema.model.clone(), json!({"types": types, "rows": rows}));
    }
    let mut labels = Map::new();
    for (truth, kind, class, number) in [
        (Truth::Class("cat ✓".to_owned()), "class", json!("cat ✓"), Value::Null),
        (Truth::Value(-2.5), "value", Value::Null, json!(-2.5)),
        (Truth::Reward(1.0), "reward", Value::Null, json!(1.0)),
    ] {
        let label = Label {
            request_id: kind.to_owned(),
            row: 3,
            label_time: START - 5,
            recorded_time: START,
            truth,
            weight: 0.25,
            model: String::new(),
        };
        let sequence = segment.label(&label);
        let expected = json!({
            "request_id": kind, "label_time": START - 5, "recorded_time": START, "kind": kind,
            "class": class, "value": number, "weight": 0.25, "model": null, "epoch": 7,
        });
        labels.insert(format!("1/{sequence}/3"), expected);
    }
    segment.seal(root);
    json!({"models": models, "labels": labels})
}

/// In place of a tensor, what is kept of one that is too large.
fn digest(
    out: &mut Vec<u8>,
    (index, prefix, tensor): (u16, &str, &TensorSchema),
    rows: &mut [Map<String, Value>],
) -> u16 {
    let of =
        Statistics { digest: 0xabc, min: -1.5, max: 2.5, mean: 0.5, std: f64::NAN, non_finite: 3 };
    record::put_digest(out, index, tensor.datatype, &[3, 224, 224], &of);
    for row in rows {
        for (name, seen) in [
            ("digest", json!("0000000000000abc")),
            ("min", json!(-1.5)),
            ("max", json!(2.5)),
            ("mean", json!(0.5)),
            ("std", Value::Null),
            ("non_finite", json!(3)),
            ("shape", json!([3, 224, 224])),
        ] {
            row.insert(format!("{prefix}.{}.{name}", tensor.name), seen);
        }
    }
    1
}

#[test]
fn readers_see_what_was_recorded() {
    let mut kept = Kept::new();
    let expected = record(kept.root());
    kept.convert();
    assert!(parquet(kept.root()).len() > SCHEMAS as usize);
    let path = kept.root().join("expected.json");
    std::fs::write(&path, expected.to_string()).expect("written");
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = project.join(".cache/venv/bin/python");
    assert!(python.exists(), "{} is missing: make setup-tests", python.display());
    let output = Command::new(python)
        .arg(project.join("tests/prediction_log_readers/check.py"))
        .arg(kept.root())
        .output()
        .expect("Python");
    let told = String::from_utf8_lossy(&output.stdout);
    eprintln!("{told}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
