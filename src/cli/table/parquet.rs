//! Parquet, a row group at a time. Columns of plain types are read: numbers,
//! booleans, texts, dates and times.

use std::fs::File;
use std::io;
use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float16Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, BooleanArray};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;

use super::{Cells, Form, Header, Holds, MOST_ROWS, Rows, TableError, Wanted, time, wrong};

const DAY: f64 = 86_400e6;

#[derive(Debug)]
pub(super) struct Parquet {
    rows: u64,
}

impl Parquet {
    pub(super) fn open(path: &Path) -> Result<(Vec<Header>, Parquet), TableError> {
        let reader = reader(path)?;
        let header = |field: &std::sync::Arc<arrow_schema::Field>| Header {
            name: field.name().clone(),
            holds: holds(field.data_type()),
        };
        let columns = reader.schema().fields().iter().map(header).collect();
        let rows = reader.metadata().file_metadata().num_rows();
        Ok((columns, Parquet { rows: u64::try_from(rows).unwrap_or(0) }))
    }

    pub(super) fn read<E: From<TableError>>(
        &self,
        path: &Path,
        wanted: &[Wanted],
        see: &mut impl FnMut(&Rows, f64) -> Result<(), E>,
    ) -> Result<(), E> {
        // Columns come in the order of the file, each once.
        let mut read: Vec<usize> = wanted.iter().map(|wanted| wanted.column).collect();
        read.sort_unstable();
        read.dedup();
        let place = |column: usize| read.partition_point(|read| *read < column);
        let reader = reader(path)?;
        let mask = ProjectionMask::roots(reader.parquet_schema(), read.iter().copied());
        let reader = reader.with_projection(mask).with_batch_size(MOST_ROWS);
        let batches = reader.build().map_err(|error| refused(path, &error.to_string()))?;
        let mut rows = 0;
        for batch in batches {
            let batch = batch.map_err(|error: ArrowError| refused(path, &error.to_string()))?;
            let cells = wanted
                .iter()
                .map(|wanted| cells(batch.column(place(wanted.column)), wanted.form))
                .collect();
            rows += batch.num_rows() as u64;
            let some = Rows { count: batch.num_rows(), cells };
            see(&some, rows as f64 / self.rows.max(1) as f64)?;
        }
        Ok(())
    }
}

fn reader(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, TableError> {
    let failed = |error: io::Error| TableError::Io { path: path.display().to_string(), error };
    let file = File::open(path).map_err(failed)?;
    // Types are Parquet's own: texts are texts, however who wrote them kept them.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(
        |error: ParquetError| {
            let fix = "is it cut short? Copy or write it again";
            wrong(path, "a whole Parquet file", error.to_string(), fix)
        },
    )
}

fn refused(path: &Path, error: &str) -> TableError {
    let expected = "Parquet that is not compressed, or by Snappy or Zstandard";
    wrong(path, expected, error, "write it again")
}

fn holds(of: &DataType) -> Holds {
    match of {
        DataType::Boolean => Holds::Booleans,
        DataType::Utf8 => Holds::Texts,
        DataType::Date32 | DataType::Timestamp(..) => Holds::Times,
        DataType::Decimal128(..) => Holds::Numbers,
        other if other.is_integer() || other.is_floating() => Holds::Numbers,
        other => Holds::Other(other.to_string()),
    }
}

/// A column that holds what the form asks for ([`super::Table::can_be`]);
/// all others are no numbers.
fn cells(array: &dyn Array, form: Form) -> Cells {
    if let (Form::Texts, Some(texts)) = (form, array.as_string_opt::<i32>()) {
        return Cells::Texts(texts.clone());
    }
    Cells::Numbers(numbers(array, form))
}

fn numbers(array: &dyn Array, form: Form) -> Vec<f64> {
    match array.data_type() {
        DataType::Boolean => booleans(array.as_boolean()),
        DataType::Int8 => of::<Int8Type>(array, f64::from),
        DataType::Int16 => of::<Int16Type>(array, f64::from),
        DataType::Int32 => of::<Int32Type>(array, f64::from),
        DataType::Int64 => of::<Int64Type>(array, |value| value as f64),
        DataType::UInt8 => of::<UInt8Type>(array, f64::from),
        DataType::UInt16 => of::<UInt16Type>(array, f64::from),
        DataType::UInt32 => of::<UInt32Type>(array, f64::from),
        DataType::UInt64 => of::<UInt64Type>(array, |value| value as f64),
        DataType::Float16 => of::<Float16Type>(array, f64::from),
        DataType::Float32 => of::<Float32Type>(array, f64::from),
        DataType::Float64 => of::<Float64Type>(array, |value| value),
        DataType::Decimal128(_, scale) => {
            let unit = 10f64.powi(i32::from(*scale));
            of::<Decimal128Type>(array, |value| value as f64 / unit)
        }
        DataType::Date32 => of::<Date32Type>(array, |days| f64::from(days) * DAY),
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => of::<TimestampSecondType>(array, |at| at as f64 * 1e6),
            TimeUnit::Millisecond => of::<TimestampMillisecondType>(array, |at| at as f64 * 1e3),
            TimeUnit::Microsecond => of::<TimestampMicrosecondType>(array, |at| at as f64),
            TimeUnit::Nanosecond => of::<TimestampNanosecondType>(array, |at| at as f64 / 1e3),
        },
        DataType::Utf8 if form == Form::Times => {
            let texts = array.as_string::<i32>().iter();
            texts.map(|text| text.map_or(f64::NAN, time)).collect()
        }
        _ => (0..array.len()).map(|row| missing_or_wrong(array.is_null(row))).collect(),
    }
}

fn of<T: ArrowPrimitiveType>(array: &dyn Array, as_number: impl Fn(T::Native) -> f64) -> Vec<f64> {
    array.as_primitive::<T>().iter().map(|value| value.map_or(f64::NAN, &as_number)).collect()
}

fn booleans(array: &BooleanArray) -> Vec<f64> {
    array.iter().map(|is| is.map_or(f64::NAN, |is| f64::from(u8::from(is)))).collect()
}

fn missing_or_wrong(is_missing: bool) -> f64 {
    if is_missing { f64::NAN } else { f64::INFINITY }
}
