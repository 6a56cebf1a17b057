//! The columns that every prediction and every label has.

use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};

/// Of the folders that files stand in, outermost first.
pub const PREDICTION_FOLDERS: [(&str, DataType); 4] = [
    ("model", DataType::Utf8),
    ("version", DataType::UInt64),
    ("date", DataType::Date32),
    ("hour", DataType::Int32),
];

pub const LABEL_FOLDERS: [(&str, DataType); 2] =
    [("date", DataType::Date32), ("hour", DataType::Int32)];

/// What a row of `predictions` has beside its features (`f.*`) and outputs (`o.*`).
pub fn predictions() -> Schema {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    fields(&[
        ("event_time", time()),
        ("recorded_time", time()),
        ("request_id", DataType::Utf8),
        ("row", DataType::Int32),
        ("model", DataType::Utf8),
        ("version", DataType::UInt64),
        ("route", DataType::Utf8),
        ("route_revision", DataType::UInt64),
        ("variant", DataType::Utf8),
        ("role", DataType::Utf8),
        ("assignment", DataType::Utf8),
        ("propensity", DataType::Float32),
        ("salt", DataType::Utf8),
        ("bucket", DataType::Int32),
        ("unit_hash", DataType::Utf8),
        ("unit_key", DataType::Utf8),
        ("principal", DataType::Utf8),
        ("trace_id", DataType::Utf8),
        ("span_id", DataType::Utf8),
        ("model_sha256", DataType::Utf8),
        ("profile", DataType::Utf8),
        ("gateway_version", DataType::Utf8),
        ("provider", DataType::Utf8),
        ("protocol", DataType::Utf8),
        ("code", DataType::Utf8),
        ("reason", DataType::Utf8),
        ("batch_rows", DataType::UInt32),
        ("rows", DataType::UInt32),
        ("queue_us", DataType::UInt32),
        ("infer_us", DataType::UInt32),
        ("total_us", DataType::UInt32),
        ("sampling_fraction", DataType::Float32),
        ("schema_id", DataType::Utf8),
        ("epoch", DataType::UInt64),
        ("shard", DataType::UInt32),
        ("sequence", DataType::UInt64),
    ])
}

pub fn labels() -> Schema {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    fields(&[
        ("request_id", DataType::Utf8),
        ("row", DataType::Int32),
        ("label_time", time()),
        ("recorded_time", time()),
        ("kind", DataType::Utf8),
        ("class", DataType::Utf8),
        ("value", DataType::Float64),
        ("weight", DataType::Float64),
        ("model", DataType::Utf8),
        ("epoch", DataType::UInt64),
        ("shard", DataType::UInt32),
        ("sequence", DataType::UInt64),
    ])
}

fn fields(columns: &[(&str, DataType)]) -> Schema {
    let field = |(name, of): &(&str, DataType)| Field::new(*name, of.clone(), true);
    Schema::new(columns.iter().map(field).collect::<Vec<_>>())
}

/// A column's name as SQL takes it, whatever is in it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
