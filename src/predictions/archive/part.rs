//! One Parquet file, from its first row until it is shown to hold them all.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::Hasher;
use std::io::Read;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt32Type, UInt64Type};
use arrow_schema::{ArrowError, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use twox_hash::XxHash64;

use super::columns::hex;
use super::error::ArchiveError;
use super::rows::Key;
use crate::predictions::account::ArchivedFile;

/// What a file is called until it is whole.
pub const IN_PROGRESS: &str = "inprogress";

/// What the footer calls the ranges of records that a file holds.
pub const KEY_RANGES: &str = "modelgate.keys";

/// Rows of a row group, and the bytes at which it ends earlier.
const GROUP_ROWS: usize = 128 << 10;
const GROUP_BYTES: usize = 32 << 20;
const ZSTD_LEVEL: i32 = 3;

/// Columns that grow by little from row to row.
const STEADY: [&str; 3] = ["event_time", "recorded_time", "sequence"];
/// Columns whose values do not come again: a dictionary would only cost.
const UNIQUE: [&str; 6] =
    ["event_time", "recorded_time", "sequence", "request_id", "trace_id", "span_id"];
/// Which row of which record: what a file is checked by.
const KEYS: [&str; 4] = ["epoch", "shard", "sequence", "row"];

/// A file that is being written.
pub struct Part {
    /// Below the log's folder.
    path: String,
    in_progress: PathBuf,
    writer: ArrowWriter<File>,
    keys: Keys,
    rows: u64,
}

/// A digest of the keys of rows, and the ranges that they are of.
#[derive(Default)]
struct Keys {
    digest: XxHash64,
    ranges: BTreeMap<(u64, u32), Range>,
}

/// Records of a shard that a file holds: some or all from `first` to `last`.
#[derive(Clone, Copy, Debug, Serialize)]
struct Range {
    epoch: u64,
    shard: u32,
    first: u64,
    last: u64,
}

impl Part {
    /// Begins `path`, which is below `root`, with what its footer says beside its rows.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn begin(
        root: &Path,
        path: String,
        fields: &SchemaRef,
        notes: Vec<KeyValue>,
    ) -> Result<Part, ArchiveError> {
        let in_progress = root.join(format!("{path}.{IN_PROGRESS}"));
        let folder = in_progress.parent().unwrap_or(root);
        std::fs::create_dir_all(folder).map_err(ArchiveError::io(folder))?;
        let file = File::create(&in_progress).map_err(ArchiveError::io(&in_progress))?;
        let writer = ArrowWriter::try_new(file, fields.clone(), Some(properties(notes)))
            .map_err(ArchiveError::parquet(&in_progress))?;
        Ok(Part { path, in_progress, writer, keys: Keys::default(), rows: 0 })
    }

    /// Notes a row of the batch that is written next.
    pub fn note(&mut self, key: Key, row: u32) {
        self.keys.note(key, row);
    }

    /// Writes rows that were noted.
    ///
    /// # Errors
    /// Where they could not be made, or the disk refuses.
    pub fn write(&mut self, batch: Result<RecordBatch, ArrowError>) -> Result<(), ArchiveError> {
        let written = batch.map_err(ParquetError::from).and_then(|batch| {
            self.rows += batch.num_rows() as u64;
            self.writer.write(&batch)
        });
        written.map_err(ArchiveError::parquet(&self.in_progress))
    }

    /// Notes rows by their own columns, and writes them.
    ///
    /// # Errors
    /// Where the disk refuses, or these are no rows of the archive.
    pub fn copy(&mut self, batch: RecordBatch) -> Result<(), ArchiveError> {
        let path = self.in_progress.clone();
        let wrong = || ArchiveError::Check { path, what: "the types of its keys" };
        self.keys.note_batch(&batch).ok_or_else(wrong)?;
        self.write(Ok(batch))
    }

    /// Bytes of memory that it holds, and bytes that it has written.
    pub fn sizes(&self) -> (usize, usize) {
        (self.writer.memory_size(), self.writer.bytes_written())
    }

    /// Ends the row group, which frees its memory.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn flush(&mut self) -> Result<(), ArchiveError> {
        self.writer.flush().map_err(ArchiveError::parquet(&self.in_progress))
    }

    /// Ends the file, brings it to the disk, and reads from it which rows it has.
    /// It keeps the name that it was written under.
    ///
    /// # Errors
    /// Where the disk refuses, or the file does not hold what was written.
    pub fn finish(mut self) -> Result<ArchivedFile, ArchiveError> {
        let path = self.in_progress;
        let ranges: Vec<Range> = self.keys.ranges.values().copied().collect();
        let ranges = serde_json::to_string(&ranges).unwrap_or_default();
        self.writer.append_key_value_metadata(KeyValue::new(KEY_RANGES.to_owned(), ranges));
        let file = self.writer.into_inner().map_err(ArchiveError::parquet(&path))?;
        file.sync_all().map_err(ArchiveError::io(&path))?;
        let wrong = |what| ArchiveError::Check { path: path.clone(), what };
        let (rows, keys) = read_keys(&path)?;
        if rows != self.rows {
            return Err(wrong("the number of rows"));
        }
        if keys.digest.finish() != self.keys.digest.finish() {
            return Err(wrong("the keys of its rows"));
        }
        let (bytes, sha256) = digest(&path)?;
        Ok(ArchivedFile { path: self.path, rows, bytes, sha256 })
    }
}

impl Keys {
    fn note(&mut self, key: Key, row: u32) {
        let Key { epoch, shard, sequence } = key;
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&epoch.to_le_bytes());
        bytes[8..12].copy_from_slice(&shard.to_le_bytes());
        bytes[12..20].copy_from_slice(&sequence.to_le_bytes());
        bytes[20..].copy_from_slice(&row.to_le_bytes());
        self.digest.write(&bytes);
        let fresh = Range { epoch, shard, first: sequence, last: sequence };
        let range = self.ranges.entry((epoch, shard)).or_insert(fresh);
        range.first = range.first.min(sequence);
        range.last = range.last.max(sequence);
    }

    fn note_batch(&mut self, batch: &RecordBatch) -> Option<()> {
        let column = |name| batch.column_by_name(name);
        let epochs = column("epoch")?.as_primitive_opt::<UInt64Type>()?;
        let shards = column("shard")?.as_primitive_opt::<UInt32Type>()?;
        let sequences = column("sequence")?.as_primitive_opt::<UInt64Type>()?;
        let rows = column("row")?.as_primitive_opt::<Int32Type>()?;
        for at in 0..batch.num_rows() {
            let (epoch, shard) = (epochs.value(at), shards.value(at));
            let key = Key { epoch, shard, sequence: sequences.value(at) };
            self.note(key, rows.value(at).cast_unsigned());
        }
        Some(())
    }
}

/// The rows of a file on disk: how many its footer says, and the keys that are read.
fn read_keys(path: &Path) -> Result<(u64, Keys), ArchiveError> {
    let file = File::open(path).map_err(ArchiveError::io(path))?;
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(ArchiveError::parquet(path))?;
    let rows = builder.metadata().file_metadata().num_rows().cast_unsigned();
    let mask = ProjectionMask::columns(builder.parquet_schema(), KEYS);
    let reader = builder.with_projection(mask).build().map_err(ArchiveError::parquet(path))?;
    let mut keys = Keys::default();
    for batch in reader {
        let batch = batch.map_err(ParquetError::from).map_err(ArchiveError::parquet(path))?;
        let wrong = || ArchiveError::Check { path: path.to_owned(), what: "the types of its keys" };
        keys.note_batch(&batch).ok_or_else(wrong)?;
    }
    Ok((rows, keys))
}

/// Bytes of a file, and the hexadecimal digits of their SHA-256.
///
/// # Errors
/// Where it cannot be read.
pub fn digest(path: &Path) -> Result<(u64, String), ArchiveError> {
    let mut file = File::open(path).map_err(ArchiveError::io(path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer).map_err(ArchiveError::io(path))?;
        if read == 0 {
            return Ok((bytes, hex(&hasher.finalize())));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}

fn properties(notes: Vec<KeyValue>) -> WriterProperties {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default();
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_max_row_group_bytes(Some(GROUP_BYTES))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_key_value_metadata(Some(notes));
    for name in UNIQUE {
        builder = builder.set_column_dictionary_enabled(ColumnPath::from(name), false);
    }
    for name in STEADY {
        let encoding = Encoding::DELTA_BINARY_PACKED;
        builder = builder.set_column_encoding(ColumnPath::from(name), encoding);
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictions::archive::labels::LabelRows;
    use crate::predictions::record::{Label, Truth};

    /// A file of labels with the numbers `written`, which is said to have `noted`.
    fn file(written: &[u64], noted: &[u64]) -> Result<ArchivedFile, ArchiveError> {
        let folder = tempfile::tempdir().expect("a folder");
        let key = |sequence: &u64| Key { epoch: 1, shard: 2, sequence: *sequence };
        let path = "parquet/a.parquet".to_owned();
        let mut part = Part::begin(folder.path(), path, &LabelRows::fields(), Vec::new())?;
        let mut rows = LabelRows::default();
        for sequence in written {
            let label = Label {
                request_id: "r".to_owned(),
                row: 0,
                label_time: 0,
                recorded_time: 0,
                truth: Truth::Value(1.0),
                weight: 1.0,
                model: String::new(),
            };
            rows.push(key(sequence), &label);
        }
        noted.iter().for_each(|sequence| part.note(key(sequence), 0));
        part.write(rows.finish())?;
        part.finish()
    }

    #[test]
    fn a_file_is_whole_only_with_the_rows_that_it_should_have() {
        assert_eq!(file(&[1, 2], &[1, 2]).expect("whole").rows, 2);
        for noted in [&[1][..], &[1, 3], &[2, 1], &[1, 2, 3]] {
            let checked = file(&[1, 2], noted);
            assert!(matches!(checked, Err(ArchiveError::Check { .. })), "{noted:?}: {checked:?}");
        }
    }
}
