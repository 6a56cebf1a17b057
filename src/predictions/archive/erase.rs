//! Takes rows out of files that are archived.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, BooleanArray, RecordBatch, StringArray};
use arrow_schema::Schema as ArrowSchema;
use arrow_select::filter::filter_record_batch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;

use super::deletion::{Deletions, request_number};
use super::error::ArchiveError;
use super::part::Part;
use super::partition;
use crate::predictions::account::ArchivedFile;

/// Columns that say whether a row is to go.
const COLUMNS: [&str; 4] = ["event_time", "unit_hash", "unit_key", "request_id"];

/// What is left of a file, or is to be.
pub struct Erased {
    /// `None` where nothing is left.
    pub left: Option<ArchivedFile>,
    pub rows: u64,
    /// Of the rows that are gone: see [`request_number`].
    pub requests: HashSet<u64>,
}

/// Writes a file anew without the rows that were asked to be deleted, beside
/// the one that stands. `None` where it has no such rows.
///
/// # Errors
/// Where the file cannot be read, or the new one not be written.
pub fn erase(
    root: &Path,
    path: &str,
    deletions: &Deletions,
) -> Result<Option<Erased>, ArchiveError> {
    let place = root.join(path);
    let mut requests = HashSet::new();
    let mut left = Vec::new();
    let reader = open(&place)?;
    let mask = ProjectionMask::columns(reader.parquet_schema(), COLUMNS);
    let reader = reader.with_projection(mask).build().map_err(ArchiveError::parquet(&place))?;
    for batch in reader {
        let batch = batch.map_err(ParquetError::from).map_err(ArchiveError::parquet(&place))?;
        let wrong =
            || ArchiveError::Check { path: place.clone(), what: "the types of its columns" };
        let stays = stays(&batch, path, deletions, &mut requests).ok_or_else(wrong)?;
        left.push(stays);
    }
    let gone: usize = left.iter().map(|stays| stays.len() - stays.true_count()).sum();
    if gone == 0 {
        return Ok(None);
    }
    let rows = gone as u64;
    if left.iter().all(|stays| stays.true_count() == 0) {
        return Ok(Some(Erased { left: None, rows, requests }));
    }
    let left = Some(rewrite(root, path, &left)?);
    Ok(Some(Erased { left, rows, requests }))
}

/// Which rows stay. `None` where these are no rows of the archive.
fn stays(
    batch: &RecordBatch,
    path: &str,
    deletions: &Deletions,
    requests: &mut HashSet<u64>,
) -> Option<BooleanArray> {
    let text = |name| -> Option<&StringArray> { batch.column_by_name(name)?.as_string_opt() };
    let ids = text("request_id")?;
    if partition::is_label(path) {
        let stays = ids.iter().map(|id| id.is_none_or(|id| !deletions.covers_label(id)));
        return Some(stays.map(Some).collect());
    }
    let times = batch.column_by_name("event_time")?;
    let times = times.as_primitive_opt::<TimestampMicrosecondType>()?;
    let (units, keys) = (text("unit_hash")?, text("unit_key")?);
    let mut stays = Vec::with_capacity(batch.num_rows());
    for (at, id) in ids.iter().enumerate() {
        let at_row = |texts: &StringArray| texts.is_valid(at).then(|| texts.value(at).to_owned());
        let (unit, key, id) = (at_row(units), at_row(keys), id.unwrap_or_default());
        let goes = deletions.covers_row(times.value(at), unit.as_deref(), key.as_deref(), id);
        if goes {
            requests.insert(request_number(id));
        }
        stays.push(Some(!goes));
    }
    Some(BooleanArray::from(stays))
}

/// Copies the rows that stay, batch by batch as they were looked at.
fn rewrite(root: &Path, path: &str, left: &[BooleanArray]) -> Result<ArchivedFile, ArchiveError> {
    let place = root.join(path);
    let reader = open(&place)?;
    let fields = Arc::new(ArrowSchema::new(reader.schema().fields().clone()));
    let footer = reader.metadata().file_metadata().key_value_metadata();
    let is_ours = |note: &&KeyValue| {
        note.key.starts_with("modelgate.") && note.key != super::part::KEY_RANGES
    };
    let notes = footer.into_iter().flatten().filter(is_ours).cloned().collect();
    let mut part = Part::begin(root, path.to_owned(), &fields, notes)?;
    let reader = reader.build().map_err(ArchiveError::parquet(&place))?;
    for (batch, stays) in reader.zip(left) {
        let rows = batch.and_then(|batch| filter_record_batch(&batch, stays));
        part.copy(rows.map_err(ParquetError::from).map_err(ArchiveError::parquet(&place))?)?;
    }
    part.finish()
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, ArchiveError> {
    let file = File::open(path).map_err(ArchiveError::io(path))?;
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(ArchiveError::parquet(path))?;
    // The same rows in both readings.
    Ok(reader.with_batch_size(super::convert::BATCH_ROWS))
}
