//! Makes files of segments. Nothing is changed but that files `*.inprogress` come to be.
//!
//! Memory is bounded: one segment at a time, at most [`MAX_PARTS`] open files,
//! of each a batch of [`BATCH_ROWS`] rows or [`BATCH_BYTES`] of payload and one
//! record, and [`MEMORY`] for row groups in all, where the largest is written
//! out early. A file that has not been written to for longest is ended when
//! another one is needed.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parquet::file::metadata::KeyValue;

use super::deletion::{Deletions, request_number};
use super::error::ArchiveError;
use super::labels::LabelRows;
use super::part::Part;
use super::partition;
use super::rows::{self, Key, Rows};
use super::segment::{Record, Sealed, Segment};
use crate::predictions::account::{ArchivedFile, SegmentAccount};
use crate::predictions::record::{Form, Label, Prediction};
use crate::predictions::schema::{Schema, SchemaId, Schemas};

/// Most files that are written at the same time.
pub const MAX_PARTS: usize = 32;
/// Rows of a batch, and bytes of payload at which it ends earlier.
pub const BATCH_ROWS: usize = 8192;
pub const BATCH_BYTES: usize = 4 << 20;
/// Bytes of row groups in memory.
pub const MEMORY: usize = 128 << 20;
/// Bytes at which a file is ended.
const FILE_BYTES: usize = 512 << 20;

/// What came of some segments.
#[derive(Default)]
pub struct Converted {
    /// In the order of the segments, with the files that begin with their records.
    pub accounts: Vec<SegmentAccount>,
    pub files: Vec<ArchivedFile>,
    /// Requests that were left out: see [`request_number`].
    pub forgotten: HashSet<u64>,
    /// Numbers without a record, and places that were no records.
    pub damaged: u64,
    pub damage: u64,
    /// Tensors that were not what their schema says, and became nulls.
    pub mismatched: u64,
}

/// What all rows of a file have in common.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Predictions {
        hour: i64,
        schema: SchemaId,
        digested: bool,
        /// By the schema, where there is one; then empty and 0.
        model: String,
        version: u64,
    },
    Labels {
        hour: i64,
    },
}

enum Batch {
    Predictions(Box<Rows>),
    Labels(Box<LabelRows>),
}

/// A file that is open.
struct Open {
    place: Place,
    part: Part,
    batch: Batch,
    /// Bytes of payload in the batch.
    payload: usize,
    /// Bytes of the row group, and whether they are known to be.
    memory: usize,
    is_measured: bool,
    /// When it was used last, in records.
    used: u64,
    /// The segment that it begins with.
    segment: usize,
}

struct Converter<'a> {
    root: &'a Path,
    schemas: &'a Schemas,
    deletions: &'a Deletions,
    /// What the names of its files begin with.
    name: String,
    schema: HashMap<SchemaId, Arc<Schema>>,
    open: Vec<Open>,
    /// Which of them was used last.
    last: usize,
    records: u64,
    begun: usize,
    files: Vec<(usize, ArchivedFile)>,
    converted: Converted,
}

/// Makes files of segments, all or none.
///
/// # Errors
/// [`ArchiveError::Schema`] and [`ArchiveError::Header`] name a segment without
/// which the others can go on. What was written until an error is to be removed.
pub fn convert(
    root: &Path,
    schemas: &Schemas,
    deletions: &Deletions,
    segments: &[Sealed],
    stop: &AtomicBool,
) -> Result<Converted, ArchiveError> {
    let mut converter = Converter {
        root,
        schemas,
        deletions,
        name: String::new(),
        schema: HashMap::new(),
        open: Vec::new(),
        last: 0,
        records: 0,
        begun: 0,
        files: Vec::new(),
        converted: Converted::default(),
    };
    for (index, sealed) in segments.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Err(ArchiveError::Stopped);
        }
        converter.segment(index, sealed)?;
    }
    converter.finish()
}

impl Converter<'_> {
    fn segment(&mut self, index: usize, sealed: &Sealed) -> Result<(), ArchiveError> {
        let segment = Segment::read(&sealed.path)?;
        if self.name.is_empty() {
            let header = segment.header;
            self.name = format!("{:016x}-{:03}-{:020}", header.epoch, header.shard, header.first);
        }
        let mut deleted = 0;
        let walked = segment.walk(sealed, |key, record, bytes| {
            self.records += 1;
            let taken = match record {
                Record::Prediction(record) => {
                    self.prediction(index, &segment, key, &record, bytes)?
                }
                Record::Label(label) => self.label(index, key, &label, bytes)?,
            };
            deleted += u64::from(!taken);
            Ok::<(), ArchiveError>(())
        })?;
        self.converted.damaged += walked.damaged;
        self.converted.damage += walked.damage;
        self.converted.accounts.push(SegmentAccount { deleted, ..walked.account });
        Ok(())
    }

    /// Whether the record was taken, and not left out on request.
    fn prediction(
        &mut self,
        index: usize,
        segment: &Segment,
        key: Key,
        record: &Prediction,
        bytes: usize,
    ) -> Result<bool, ArchiveError> {
        if self.deletions.covers(record) {
            self.converted.forgotten.insert(request_number(&record.request_id));
            return Ok(false);
        }
        let schema = self.schema_of(record.schema, segment)?;
        let mut tensors = record.inputs.iter().chain(&record.outputs);
        let digested = tensors.any(|tensor| matches!(tensor.form, Form::Digest(_)));
        let hour = partition::hour_of(record.event_time);
        let (model, version) = match &schema {
            Some(_) => (String::new(), 0),
            None => (record.model.clone(), record.version),
        };
        let place = Place::Predictions { hour, schema: record.schema, digested, model, version };
        let rows = rows::count(record, schema.as_deref());
        let share = bytes.div_ceil(rows as usize);
        let open = self.place(index, place)?;
        let Batch::Predictions(batch) = &mut open.batch else { return Ok(true) };
        let mut cursors = batch.begin(record, rows);
        for row in 0..rows {
            batch.push(key, record, row, &mut cursors);
            open.part.note(key, row);
            open.payload += share;
            if batch.len() >= BATCH_ROWS || open.payload >= BATCH_BYTES {
                open.part.write(batch.finish())?;
                (open.payload, open.is_measured) = (0, false);
            }
        }
        self.bound_memory()?;
        Ok(true)
    }

    fn label(
        &mut self,
        index: usize,
        key: Key,
        label: &Label,
        bytes: usize,
    ) -> Result<bool, ArchiveError> {
        if self.deletions.covers_label(&label.request_id) {
            return Ok(false);
        }
        let hour = partition::hour_of(label.recorded_time);
        let open = self.place(index, Place::Labels { hour })?;
        let Batch::Labels(batch) = &mut open.batch else { return Ok(true) };
        batch.push(key, label);
        open.part.note(key, label.row);
        open.payload += bytes;
        if batch.len() >= BATCH_ROWS || open.payload >= BATCH_BYTES {
            open.part.write(batch.finish())?;
            (open.payload, open.is_measured) = (0, false);
        }
        self.bound_memory()?;
        Ok(true)
    }

    fn schema_of(
        &mut self,
        id: SchemaId,
        segment: &Segment,
    ) -> Result<Option<Arc<Schema>>, ArchiveError> {
        if id == SchemaId::NONE {
            return Ok(None);
        }
        if let Some(schema) = self.schema.get(&id) {
            return Ok(Some(schema.clone()));
        }
        let unknown = || ArchiveError::Schema { segment: segment.path.clone(), id };
        let schema = self.schemas.get(id).ok_or_else(unknown)?;
        self.schema.insert(id, schema.clone());
        Ok(Some(schema))
    }

    /// The file in which a record belongs.
    fn place(&mut self, segment: usize, place: Place) -> Result<&mut Open, ArchiveError> {
        self.last = match self.open.get(self.last) {
            Some(open) if open.place == place => self.last,
            _ => match self.open.iter().position(|open| open.place == place) {
                Some(at) => at,
                None => {
                    if self.open.len() >= MAX_PARTS {
                        let oldest = (0..self.open.len()).min_by_key(|at| self.open[*at].used);
                        self.end(oldest.unwrap_or(0))?;
                    }
                    let open = self.begin(segment, place)?;
                    self.open.push(open);
                    self.open.len() - 1
                }
            },
        };
        let open = &mut self.open[self.last];
        open.used = self.records;
        Ok(open)
    }

    fn begin(&mut self, segment: usize, place: Place) -> Result<Open, ArchiveError> {
        let (folder, batch, fields, notes) = match &place {
            Place::Labels { hour } => {
                let batch = Batch::Labels(Box::default());
                (partition::labels(*hour), batch, LabelRows::fields(), notes(None))
            }
            Place::Predictions { hour, schema: id, digested, model, version } => {
                let schema = self.schema.get(id).map(|schema| (*id, Arc::clone(schema)));
                let (model, version) = match &schema {
                    Some((_, schema)) => (schema.model.as_str(), schema.version),
                    None => (model.as_str(), *version),
                };
                let folder = partition::predictions(model, version, *hour);
                let notes = notes(schema.as_ref().map(|(id, schema)| (*id, schema.as_ref())));
                let rows = Rows::new(schema, *digested);
                let fields = Arc::clone(rows.fields());
                (folder, Batch::Predictions(Box::new(rows)), fields, notes)
            }
        };
        let path = format!("{folder}/{}-{:04}.parquet", self.name, self.begun);
        self.begun += 1;
        let part = Part::begin(self.root, path, &fields, notes)?;
        let (used, is_measured) = (self.records, true);
        Ok(Open { place, part, batch, payload: 0, memory: 0, is_measured, used, segment })
    }

    /// Ends a file.
    fn end(&mut self, at: usize) -> Result<(), ArchiveError> {
        let mut open = self.open.swap_remove(at);
        let rows = match &mut open.batch {
            Batch::Predictions(rows) => {
                self.converted.mismatched += rows.mismatched;
                rows.finish()
            }
            Batch::Labels(rows) => rows.finish(),
        };
        open.part.write(rows)?;
        let file = open.part.finish()?;
        self.files.push((open.segment, file));
        Ok(())
    }

    /// After a batch was written: ends the file that is large, and row groups
    /// for as long as they are too much together.
    fn bound_memory(&mut self) -> Result<(), ArchiveError> {
        let open = &mut self.open[self.last];
        if open.is_measured {
            return Ok(());
        }
        let (memory, written) = open.part.sizes();
        (open.memory, open.is_measured) = (memory, true);
        if written >= FILE_BYTES {
            return self.end(self.last);
        }
        while self.open.iter().map(|open| open.memory).sum::<usize>() > MEMORY {
            let Some(largest) = self.open.iter_mut().max_by_key(|open| open.memory) else { break };
            largest.part.flush()?;
            largest.memory = 0;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Converted, ArchiveError> {
        while !self.open.is_empty() {
            self.end(0)?;
        }
        let mut converted = self.converted;
        self.files.sort_by(|(_, a), (_, b)| a.path.cmp(&b.path));
        for (segment, file) in self.files {
            if let Some(account) = converted.accounts.get_mut(segment) {
                account.files.push(file.clone());
            }
            converted.files.push(file);
        }
        Ok(converted)
    }
}

/// What the footer of a file says of its rows.
fn notes(schema: Option<(SchemaId, &Schema)>) -> Vec<KeyValue> {
    let note = |name: &str, text: String| KeyValue::new(format!("modelgate.{name}"), text);
    let mut notes = vec![note("archiver", env!("CARGO_PKG_VERSION").to_owned())];
    if let Some((id, schema)) = schema {
        notes.push(note("schema_id", id.to_string()));
        notes.push(note("schema", serde_json::to_string(schema).unwrap_or_default()));
        notes.push(note("model", schema.model.clone()));
        notes.push(note("version", schema.version.to_string()));
        notes.push(note("model_sha256", schema.digest.clone()));
        notes.push(note("gateway_version", schema.gateway.clone()));
    }
    notes
}
