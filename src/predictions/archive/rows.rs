//! Rows of predictions: the columns that all have, then those of the tensors.
//!
//! `model` and `version` are no columns but parts of the path, as in any
//! Hive-style data set: readers take them from there, and some refuse files
//! that have them as well.

use std::sync::Arc;

use arrow_array::builder::{
    Float32Builder, Int32Builder, StringBuilder, TimestampMicrosecondBuilder, UInt32Builder,
    UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};

use super::columns::{Words, hex};
use super::tensors::{Cursors, Tensors};
use crate::predictions::record::{Assignment, Prediction};
use crate::predictions::schema::{Schema, SchemaId};

/// Where a record stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub epoch: u64,
    pub shard: u32,
    pub sequence: u64,
}

/// Most rows of one request. Each has at least a byte of a tensor, or they are not told apart.
const MAX_ROWS: u32 = super::super::frame::MAX_PAYLOAD as u32;

/// Rows of one schema, or of none.
pub struct Rows {
    fields: SchemaRef,
    schema: Option<(String, Arc<Schema>)>,
    /// The digest of the version's files, without its algorithm.
    sha256: String,
    tensors: Tensors,
    base: Base,
    rows: usize,
    /// Tensors that were not what the schema says, since this was last asked.
    pub mismatched: u64,
}

/// The columns that all have, in the order of [`base_fields`].
#[derive(Default)]
struct Base {
    event_time: TimestampMicrosecondBuilder,
    recorded_time: TimestampMicrosecondBuilder,
    request_id: StringBuilder,
    row: Int32Builder,
    epoch: UInt64Builder,
    shard: UInt32Builder,
    sequence: UInt64Builder,
    trace_id: StringBuilder,
    span_id: StringBuilder,
    route: Words,
    route_revision: UInt64Builder,
    variant: Words,
    role: Words,
    assignment: Words,
    propensity: Float32Builder,
    salt: Words,
    bucket: Int32Builder,
    unit_hash: StringBuilder,
    unit_key: StringBuilder,
    principal: Words,
    model_sha256: Words,
    profile: Words,
    gateway_version: Words,
    provider: Words,
    protocol: Words,
    code: Words,
    reason: Words,
    batch_rows: UInt32Builder,
    rows: UInt32Builder,
    queue_us: UInt32Builder,
    infer_us: UInt32Builder,
    total_us: UInt32Builder,
    sampling_fraction: Float32Builder,
    schema_id: Words,
}

pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

fn base_fields() -> Vec<Field> {
    let of = |name: &str, data_type| Field::new(name, data_type, true);
    let key = |name: &str, data_type| Field::new(name, data_type, false);
    vec![
        key("event_time", timestamp()),
        key("recorded_time", timestamp()),
        key("request_id", DataType::Utf8),
        key("row", DataType::Int32),
        key("epoch", DataType::UInt64),
        key("shard", DataType::UInt32),
        key("sequence", DataType::UInt64),
        of("trace_id", DataType::Utf8),
        of("span_id", DataType::Utf8),
        of("route", Words::data_type()),
        of("route_revision", DataType::UInt64),
        of("variant", Words::data_type()),
        of("role", Words::data_type()),
        of("assignment", Words::data_type()),
        of("propensity", DataType::Float32),
        of("salt", Words::data_type()),
        of("bucket", DataType::Int32),
        of("unit_hash", DataType::Utf8),
        of("unit_key", DataType::Utf8),
        of("principal", Words::data_type()),
        of("model_sha256", Words::data_type()),
        of("profile", Words::data_type()),
        of("gateway_version", Words::data_type()),
        of("provider", Words::data_type()),
        of("protocol", Words::data_type()),
        of("code", Words::data_type()),
        of("reason", Words::data_type()),
        of("batch_rows", DataType::UInt32),
        of("rows", DataType::UInt32),
        of("queue_us", DataType::UInt32),
        of("infer_us", DataType::UInt32),
        of("total_us", DataType::UInt32),
        of("sampling_fraction", DataType::Float32),
        of("schema_id", Words::data_type()),
    ]
}

/// How many rows a record becomes: one for each instance. One alone where the
/// version does not work row by row, or where nothing of a failed request is kept.
pub fn count(record: &Prediction, schema: Option<&Schema>) -> u32 {
    let has_tensors = !record.inputs.is_empty() || !record.outputs.is_empty();
    let expands = schema.is_some_and(|schema| schema.row_wise)
        && (record.code.is_none() || has_tensors)
        && record.rows <= MAX_ROWS;
    if expands { record.rows.max(1) } else { 1 }
}

impl Rows {
    /// `digested` says whether some tensors are kept as their digests alone.
    pub fn new(schema: Option<(SchemaId, Arc<Schema>)>, digested: bool) -> Rows {
        let tensors =
            schema.as_ref().map(|(_, schema)| Tensors::new(schema, digested)).unwrap_or_default();
        let mut fields = base_fields();
        fields.extend(tensors.fields());
        let sha256 = schema.as_ref().map_or("", |(_, schema)| &schema.digest);
        let sha256 = sha256.strip_prefix("sha256:").unwrap_or(sha256).to_owned();
        Rows {
            fields: Arc::new(ArrowSchema::new(fields)),
            schema: schema.map(|(id, schema)| (id.to_string(), schema)),
            sha256,
            tensors,
            base: Base::default(),
            rows: 0,
            mismatched: 0,
        }
    }

    pub fn fields(&self) -> &SchemaRef {
        &self.fields
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    /// Begins a record; its rows are appended by [`Rows::push`].
    pub fn begin<'a>(&mut self, record: &'a Prediction, rows: u32) -> Cursors<'a> {
        let cursors = self.tensors.begin(record, rows as usize);
        // A request of no rows has nothing in its tensors.
        if record.rows > 0 {
            self.mismatched += cursors.mismatched as u64;
        }
        cursors
    }

    pub fn push(&mut self, key: Key, record: &Prediction, row: u32, cursors: &mut Cursors<'_>) {
        self.base.push_who(key, record, row);
        self.base.push_how(record);
        let (id, schema) = match &self.schema {
            Some((id, schema)) => (id.as_str(), Some(schema)),
            None => ("", None),
        };
        self.base.schema_id.push_or_null(id);
        self.base.model_sha256.push_or_null(&self.sha256);
        self.base.profile.push_or_null("");
        self.base.gateway_version.push_or_null(schema.map_or("", |schema| &schema.gateway));
        self.base.provider.push_or_null(schema.map_or("", |schema| &schema.provider));
        self.tensors.push(cursors);
        self.rows += 1;
    }

    /// # Errors
    /// Where the lists of a batch hold more than can be numbered.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let mut arrays = self.base.finish()?;
        arrays.extend(self.tensors.finish()?);
        self.rows = 0;
        RecordBatch::try_new(Arc::clone(&self.fields), arrays)
    }
}

impl Base {
    fn push_who(&mut self, key: Key, record: &Prediction, row: u32) {
        self.event_time.append_value(record.event_time);
        let recorded = record.event_time.saturating_add(i64::from(record.total_us));
        self.recorded_time.append_value(recorded);
        self.request_id.append_value(&record.request_id);
        self.row.append_value(i32::try_from(row).unwrap_or(i32::MAX));
        self.epoch.append_value(key.epoch);
        self.shard.append_value(key.shard);
        self.sequence.append_value(key.sequence);
        self.trace_id.append_option(record.trace.map(|of| hex(&of.trace)));
        self.span_id.append_option(record.trace.map(|of| hex(&of.span)));
        self.bucket.append_option(record.bucket.and_then(|bucket| i32::try_from(bucket).ok()));
        self.unit_hash.append_option(record.unit.map(|unit| hex(&unit)));
        self.unit_key.append_option(text(&record.unit_key));
        self.principal.push_or_null(&record.principal);
    }

    fn push_how(&mut self, record: &Prediction) {
        self.route.push_or_null(&record.route);
        let routed = !record.route.is_empty();
        self.route_revision.append_option(routed.then_some(record.revision));
        self.variant.push_or_null(&record.variant);
        self.role.push(record.role.label());
        self.assignment.push(record.assignment.label());
        let assigned = record.assignment != Assignment::None || record.propensity != 0.0;
        self.propensity.append_option(assigned.then_some(record.propensity));
        self.salt.push_or_null(&record.salt);
        self.protocol.push_or_null(record.protocol.map_or("", |protocol| protocol.label()));
        self.code.push(record.code.map_or("ok", |code| code.label()));
        self.reason.push_or_null(&record.reason);
        self.batch_rows.append_value(record.batch_rows);
        self.rows.append_value(record.rows);
        self.queue_us.append_value(record.queue_us);
        self.infer_us.append_value(record.infer_us);
        self.total_us.append_value(record.total_us);
        self.sampling_fraction.append_value(record.sampling);
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        Ok(vec![
            Arc::new(self.event_time.finish().with_timezone("UTC")),
            Arc::new(self.recorded_time.finish().with_timezone("UTC")),
            Arc::new(self.request_id.finish()),
            Arc::new(self.row.finish()),
            Arc::new(self.epoch.finish()),
            Arc::new(self.shard.finish()),
            Arc::new(self.sequence.finish()),
            Arc::new(self.trace_id.finish()),
            Arc::new(self.span_id.finish()),
            self.route.finish()?,
            Arc::new(self.route_revision.finish()),
            self.variant.finish()?,
            self.role.finish()?,
            self.assignment.finish()?,
            Arc::new(self.propensity.finish()),
            self.salt.finish()?,
            Arc::new(self.bucket.finish()),
            Arc::new(self.unit_hash.finish()),
            Arc::new(self.unit_key.finish()),
            self.principal.finish()?,
            self.model_sha256.finish()?,
            self.profile.finish()?,
            self.gateway_version.finish()?,
            self.provider.finish()?,
            self.protocol.finish()?,
            self.code.finish()?,
            self.reason.finish()?,
            Arc::new(self.batch_rows.finish()),
            Arc::new(self.rows.finish()),
            Arc::new(self.queue_us.finish()),
            Arc::new(self.infer_us.finish()),
            Arc::new(self.total_us.finish()),
            Arc::new(self.sampling_fraction.finish()),
            self.schema_id.finish()?,
        ])
    }
}

fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
