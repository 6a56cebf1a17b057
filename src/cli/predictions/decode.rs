//! The tensors of a record as JSON, by its schema. Pure.

use half::{bf16, f16};
use serde_json::{Map, Value, json};

use crate::predictions::hash::hex;
use crate::predictions::schema::Treated;
use crate::predictions::{Form, Schema, TensorRecord, TensorSchema};
use crate::types::DType;

/// By name: a table as an object for each row, any other tensor with its data
/// on one level, a digest as what it tells. Without its schema a tensor has
/// its place as its name. Data that does not hold what it should is null.
pub(super) fn tensors(records: &[TensorRecord], schemas: &[TensorSchema]) -> Value {
    let named = records.iter().map(|record| {
        let schema = schemas.get(usize::from(record.index));
        let name = schema.map_or_else(|| record.index.to_string(), |schema| schema.name.clone());
        (name, tensor(record, schema))
    });
    Value::Object(named.collect::<Map<_, _>>())
}

/// The schemas of inputs and of outputs; empty where the schema is not known.
pub(super) fn sides(schema: Option<&Schema>) -> (&[TensorSchema], &[TensorSchema]) {
    schema.map_or((&[], &[]), |schema| (&schema.inputs, &schema.outputs))
}

fn tensor(record: &TensorRecord, schema: Option<&TensorSchema>) -> Value {
    let shape = record.shape.as_slice();
    let datatype = record.dtype;
    let columns = schema.map_or(&[][..], |schema| &schema.columns);
    let element = Element::Of(datatype);
    match &record.form {
        Form::Digest(of) => json!({
            "shape": shape, "datatype": datatype, "digest": format!("{:016x}", of.digest),
            "min": float(of.min), "max": float(of.max), "mean": float(of.mean),
            "std": float(of.std), "non_finite": of.non_finite,
        }),
        Form::Raw(data) if columns.is_empty() => {
            json!({"shape": shape, "datatype": datatype, "data": all(data, element)})
        }
        Form::Raw(data) => {
            let names = columns.iter().map(|column| (column.name.as_str(), element));
            rows(data, &names.collect::<Vec<_>>())
        }
        Form::Rows(data) => {
            let kept = columns.iter().filter_map(|column| {
                let element = match column.treated {
                    Treated::Drop | Treated::Digest => return None,
                    Treated::Hash => Element::Hash,
                    Treated::Bin(_) => Element::Bin,
                    Treated::Keep | Treated::Truncate(_) => element,
                };
                Some((column.name.as_str(), element))
            });
            rows(data, &kept.collect::<Vec<_>>())
        }
    }
}

#[derive(Clone, Copy)]
enum Element {
    Of(DType),
    Hash,
    Bin,
}

/// All elements; null where the last is cut short.
fn all(mut data: &[u8], element: Element) -> Value {
    let mut values = Vec::new();
    while !data.is_empty() {
        let Some((value, rest)) = element.take(data) else { return Value::Null };
        values.push(value);
        data = rest;
    }
    Value::Array(values)
}

fn rows(mut data: &[u8], columns: &[(&str, Element)]) -> Value {
    let mut rows = Vec::new();
    while !data.is_empty() && !columns.is_empty() {
        let mut row = Map::new();
        for (name, element) in columns {
            let Some((value, rest)) = element.take(data) else { return Value::Null };
            row.insert((*name).to_owned(), value);
            data = rest;
        }
        rows.push(Value::Object(row));
    }
    Value::Array(rows)
}

impl Element {
    /// The first element of packed ones, and what follows it.
    fn take(self, data: &[u8]) -> Option<(Value, &[u8])> {
        let size = match self {
            Element::Hash => Some(16),
            Element::Bin => Some(2),
            Element::Of(dtype) => dtype.size(),
        };
        let (element, rest) = match size {
            Some(size) => data.split_at_checked(size)?,
            None => {
                let (length, rest) = data.split_first_chunk::<4>()?;
                rest.split_at_checked(u32::from_le_bytes(*length) as usize)?
            }
        };
        let value = match self {
            Element::Hash => Value::from(hex(element)),
            Element::Bin => Value::from(u16::from_le_bytes(*element.first_chunk()?)),
            Element::Of(dtype) => value(dtype, element)?,
        };
        Some((value, rest))
    }
}

fn value(dtype: DType, bytes: &[u8]) -> Option<Value> {
    Some(match dtype {
        DType::Bool => Value::from(*bytes.first()? != 0),
        DType::Uint8 => Value::from(*bytes.first()?),
        DType::Uint16 => Value::from(u16::from_le_bytes(*bytes.first_chunk()?)),
        DType::Uint32 => Value::from(u32::from_le_bytes(*bytes.first_chunk()?)),
        DType::Uint64 => Value::from(u64::from_le_bytes(*bytes.first_chunk()?)),
        DType::Int8 => Value::from(i8::from_le_bytes(*bytes.first_chunk()?)),
        DType::Int16 => Value::from(i16::from_le_bytes(*bytes.first_chunk()?)),
        DType::Int32 => Value::from(i32::from_le_bytes(*bytes.first_chunk()?)),
        DType::Int64 => Value::from(i64::from_le_bytes(*bytes.first_chunk()?)),
        DType::Fp16 => single(f16::from_le_bytes(*bytes.first_chunk()?).to_f32()),
        DType::Bf16 => single(bf16::from_le_bytes(*bytes.first_chunk()?).to_f32()),
        DType::Fp32 => single(f32::from_le_bytes(*bytes.first_chunk()?)),
        DType::Fp64 => float(f64::from_le_bytes(*bytes.first_chunk()?)),
        DType::Bytes => Value::from(String::from_utf8_lossy(bytes)),
    })
}

/// With the digits that it takes to tell it from other singles, not those of a double.
pub(super) fn single(number: f32) -> Value {
    float(number.to_string().parse().unwrap_or(f64::NAN))
}

/// JSON has no numbers that are none: they are texts.
fn float(number: f64) -> Value {
    serde_json::Number::from_f64(number)
        .map_or_else(|| Value::from(number.to_string()), Value::Number)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::predictions::Column;
    use crate::predictions::record::Statistics;

    fn schema(columns: &[(&str, Treated)]) -> TensorSchema {
        let column = |(name, treated): &(&str, Treated)| Column {
            name: (*name).to_owned(),
            treated: treated.clone(),
        };
        TensorSchema {
            name: "x".to_owned(),
            datatype: DType::Fp32,
            shape: vec![-1, 2],
            columns: columns.iter().map(column).collect(),
            whole: Treated::Keep,
        }
    }

    fn record(dtype: DType, form: Form) -> TensorRecord {
        TensorRecord { index: 0, dtype, shape: [2, 2].as_slice().into(), form }
    }

    fn bytes(parts: &[&[u8]]) -> Bytes {
        Bytes::from(parts.concat())
    }

    #[test]
    fn tables_become_rows_and_other_tensors_lists() {
        let data: Vec<u8> = [0.1f32, 2.0, f32::NAN, 4.0].map(f32::to_le_bytes).concat();
        let raw = record(DType::Fp32, Form::Raw(Bytes::from(data)));
        let named = schema(&[("a", Treated::Keep), ("b", Treated::Keep)]);
        let rows = json!({"x": [{"a": 0.1, "b": 2.0}, {"a": "NaN", "b": 4.0}]});
        assert_eq!(tensors(std::slice::from_ref(&raw), &[named]), rows);
        let list = json!({"0": {"shape": [2, 2], "datatype": "FP32",
            "data": [0.1, 2.0, "NaN", 4.0]}});
        assert_eq!(tensors(&[raw], &[]), list);
    }

    #[test]
    fn rewritten_rows_hold_what_the_schema_keeps() {
        let treated = [
            ("a", Treated::Keep),
            ("b", Treated::Drop),
            ("c", Treated::Hash),
            ("d", Treated::Bin(vec![1.0])),
            ("e", Treated::Truncate(2)),
        ];
        let data = bytes(&[b"\x01\0\0\0z", &[0xAB; 16], &[3, 0], b"\x02\0\0\0hi"]);
        let record = record(DType::Bytes, Form::Rows(data.clone()));
        let expected = json!({"x": [{"a": "z", "c": "ab".repeat(16), "d": 3, "e": "hi"}]});
        assert_eq!(tensors(std::slice::from_ref(&record), &[schema(&treated)]), expected);
        let cut = TensorRecord { form: Form::Rows(data.slice(..data.len() - 1)), ..record };
        assert_eq!(tensors(&[cut], &[schema(&treated)]), json!({"x": null}));
    }

    #[test]
    fn digests_tell_what_they_are_of() {
        let statistics = Statistics { digest: 0xF, min: f64::NAN, ..Statistics::default() };
        let told = tensors(&[record(DType::Fp64, Form::Digest(statistics))], &[]);
        assert_eq!(told["0"]["digest"], "000000000000000f");
        assert_eq!((&told["0"]["min"], &told["0"]["max"]), (&json!("NaN"), &json!(0.0)));
    }
}
