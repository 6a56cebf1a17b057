//! Rows of labels.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::builder::{
    Float64Builder, Int32Builder, StringBuilder, TimestampMicrosecondBuilder, UInt32Builder,
    UInt64Builder,
};
use arrow_schema::{ArrowError, DataType, Field, Schema as ArrowSchema, SchemaRef};

use super::columns::Words;
use super::rows::{Key, timestamp};
use crate::predictions::record::{Label, Truth};

#[derive(Default)]
pub struct LabelRows {
    request_id: StringBuilder,
    row: Int32Builder,
    label_time: TimestampMicrosecondBuilder,
    recorded_time: TimestampMicrosecondBuilder,
    kind: Words,
    class: StringBuilder,
    value: Float64Builder,
    weight: Float64Builder,
    model: Words,
    epoch: UInt64Builder,
    shard: UInt32Builder,
    sequence: UInt64Builder,
    rows: usize,
}

impl LabelRows {
    pub fn fields() -> SchemaRef {
        let of = |name: &str, data_type| Field::new(name, data_type, true);
        let key = |name: &str, data_type| Field::new(name, data_type, false);
        Arc::new(ArrowSchema::new(vec![
            key("request_id", DataType::Utf8),
            key("row", DataType::Int32),
            of("label_time", timestamp()),
            key("recorded_time", timestamp()),
            of("kind", Words::data_type()),
            of("class", DataType::Utf8),
            of("value", DataType::Float64),
            of("weight", DataType::Float64),
            of("model", Words::data_type()),
            key("epoch", DataType::UInt64),
            key("shard", DataType::UInt32),
            key("sequence", DataType::UInt64),
        ]))
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn push(&mut self, key: Key, label: &Label) {
        self.request_id.append_value(&label.request_id);
        self.row.append_value(i32::try_from(label.row).unwrap_or(i32::MAX));
        self.label_time.append_value(label.label_time);
        self.recorded_time.append_value(label.recorded_time);
        let (kind, class, value) = match &label.truth {
            Truth::Class(class) => ("class", Some(class), None),
            Truth::Value(value) => ("value", None, Some(*value)),
            Truth::Reward(reward) => ("reward", None, Some(*reward)),
        };
        self.kind.push(kind);
        self.class.append_option(class);
        self.value.append_option(value);
        self.weight.append_value(label.weight);
        self.model.push_or_null(&label.model);
        self.epoch.append_value(key.epoch);
        self.shard.append_value(key.shard);
        self.sequence.append_value(key.sequence);
        self.rows += 1;
    }

    /// # Errors
    /// Never, as every column has its type.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        let arrays = vec![
            Arc::new(self.request_id.finish()) as _,
            Arc::new(self.row.finish()) as _,
            Arc::new(self.label_time.finish().with_timezone("UTC")) as _,
            Arc::new(self.recorded_time.finish().with_timezone("UTC")) as _,
            self.kind.finish()?,
            Arc::new(self.class.finish()) as _,
            Arc::new(self.value.finish()) as _,
            Arc::new(self.weight.finish()) as _,
            self.model.finish()?,
            Arc::new(self.epoch.finish()) as _,
            Arc::new(self.shard.finish()) as _,
            Arc::new(self.sequence.finish()) as _,
        ];
        RecordBatch::try_new(LabelRows::fields(), arrays)
    }
}
