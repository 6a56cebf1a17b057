//! What stands in Parquet, row by row; and a simple version to be recorded.

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, UInt32Type, UInt64Type};
use arrow_array::{RecordBatch, StringArray};
use modelgate::predictions::record::{self, Head};
use modelgate::predictions::schema::{Column, Treated};
use modelgate::predictions::{Schema, SchemaId, TensorSchema};
use modelgate::types::DType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::segments::{SegmentWriter, Side};

/// 2026-01-01, 03:00 UTC.
pub const START: i64 = 1_767_236_400_000_000;
pub const HOUR: i64 = 3_600_000_000;

/// Four features and a score.
pub fn schema(model: &str, version: u64) -> Schema {
    let column = |name: &str| Column { name: name.to_owned(), treated: Treated::Keep };
    Schema {
        model: model.to_owned(),
        version,
        digest: "sha256:0123".to_owned(),
        gateway: "0.1.0".to_owned(),
        provider: "cpu".to_owned(),
        row_wise: true,
        inputs: vec![TensorSchema {
            name: "x".to_owned(),
            datatype: DType::Fp32,
            shape: vec![-1, 4],
            columns: ["a", "b", "c", "d"].map(column).into(),
            whole: Treated::Keep,
        }],
        outputs: vec![TensorSchema {
            name: "score".to_owned(),
            datatype: DType::Fp32,
            shape: vec![-1],
            columns: vec![column("score")],
            whole: Treated::Keep,
        }],
    }
}

/// A request of `rows`, whose features are `seed`, `seed + 1`, and so on.
pub fn push(segment: &mut SegmentWriter, head: Head<'_>, rows: u32, seed: f32) -> u64 {
    let head = Head { rows, ..head };
    segment.prediction(&head, |side, out| {
        let (width, shape): (usize, &[i64]) = match side {
            Side::Inputs => (4, &[i64::from(rows), 4]),
            Side::Outputs => (1, &[i64::from(rows)]),
        };
        let numbers = (0..rows as usize * width).map(|at| seed + at as f32);
        let data: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
        record::put_raw(out, 0, DType::Fp32, shape, &data);
        1
    })
}

pub fn head<'a>(schema: SchemaId, request: &'a str, time: i64) -> Head<'a> {
    Head {
        event_time: time,
        schema,
        model: "fraud",
        version: 1,
        request_id: request.as_bytes(),
        total_us: 250,
        sampling: 1.0,
        ..Head::default()
    }
}

/// All rows of a file.
pub fn read(path: &Path) -> RecordBatch {
    let file = std::fs::File::open(path).expect("a file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let rows = usize::try_from(reader.metadata().file_metadata().num_rows()).expect("a number");
    let mut batches = reader.with_batch_size(rows.max(1)).build().expect("a reader");
    batches.next().expect("rows").expect("whole")
}

/// What the footer says under a name.
pub fn note(path: &Path, name: &str) -> Option<String> {
    let file = std::fs::File::open(path).expect("a file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let notes = reader.metadata().file_metadata().key_value_metadata().expect("notes").clone();
    notes.into_iter().find(|note| note.key == name)?.value
}

/// A column as texts; nulls are `-`.
pub fn column(rows: &RecordBatch, name: &str) -> Vec<String> {
    let column = rows.column_by_name(name).unwrap_or_else(|| panic!("a column {name}"));
    if let Some(words) = column.as_dictionary_opt::<Int32Type>() {
        let words = words.downcast_dict::<StringArray>().expect("texts");
        return words.into_iter().map(|word| word.unwrap_or("-").to_owned()).collect();
    }
    macro_rules! numbers {
        ($of:ty) => {
            if let Some(numbers) = column.as_primitive_opt::<$of>() {
                let shown = |number: Option<_>| number.map_or("-".to_owned(), |n| format!("{n}"));
                return numbers.iter().map(shown).collect();
            }
        };
    }
    numbers!(Float32Type);
    numbers!(Float64Type);
    numbers!(Int32Type);
    numbers!(UInt32Type);
    numbers!(UInt64Type);
    let texts: &StringArray = column.as_string_opt().expect("texts or numbers");
    texts.iter().map(|text| text.unwrap_or("-").to_owned()).collect()
}
