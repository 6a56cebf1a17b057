//! What Parquet files hold, by their footers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, StringArray};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

/// What all files of a folder hold together.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) files: u64,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// Of the column of times, microseconds since 1970.
    pub(super) first: Option<i64>,
    pub(super) last: Option<i64>,
    /// Rows by the values of the columns that are told apart; nulls are empty texts.
    pub(super) counts: BTreeMap<Vec<String>, u64>,
}

/// The folders `<prefix><value>` right below `folder`, by value. None where it is not there.
///
/// # Errors
/// Where it cannot be read.
pub(super) fn levels(folder: &Path, prefix: &str) -> io::Result<Vec<(String, PathBuf)>> {
    let named = |path: PathBuf| {
        let value = path.file_name()?.to_str()?.strip_prefix(prefix)?.to_owned();
        Some((value, path))
    };
    let mut found: Vec<_> = entries(folder)?.into_iter().filter_map(named).collect();
    found.sort();
    Ok(found)
}

/// What the Parquet files below a folder hold: rows by the texts in the columns
/// `apart`, and the range of the column `time`. Files that go meanwhile are none.
///
/// # Errors
/// Where a file cannot be read.
pub(super) fn below(folder: &Path, apart: &[&str], time: &str) -> io::Result<Contents> {
    let mut contents = Contents::default();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                let file = match File::open(&path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                let named = |error| io::Error::other(format!("'{}': {error}", path.display()));
                contents.add(file, apart, time).map_err(named)?;
            }
        }
    }
    Ok(contents)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

impl Contents {
    fn add(&mut self, file: File, apart: &[&str], time: &str) -> io::Result<()> {
        let bytes = file.metadata()?.len();
        // Texts as texts, however they are stored.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
            .map_err(io::Error::other)?;
        let footer = reader.metadata().clone();
        self.files += 1;
        self.bytes += bytes;
        self.rows += u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
        for group in footer.row_groups() {
            if let Some((first, last)) = times(group, time) {
                self.first = Some(self.first.map_or(first, |known| known.min(first)));
                self.last = Some(self.last.map_or(last, |known| known.max(last)));
            }
        }
        if apart.is_empty() {
            return Ok(());
        }
        // Row groups whose footers tell that all rows are alike need not be read.
        let mut mixed = Vec::new();
        for (at, group) in footer.row_groups().iter().enumerate() {
            let alike: Option<Vec<String>> = apart.iter().map(|name| only(group, name)).collect();
            match alike {
                Some(values) => {
                    let rows = u64::try_from(group.num_rows()).unwrap_or(0);
                    *self.counts.entry(values).or_default() += rows;
                }
                None => mixed.push(at),
            }
        }
        self.count(reader.with_row_groups(mixed), &footer, apart)
    }

    /// Reads the columns `apart` and counts their values, run by run.
    fn count(
        &mut self,
        reader: ParquetRecordBatchReaderBuilder<File>,
        footer: &ParquetMetaData,
        apart: &[&str],
    ) -> io::Result<()> {
        let mask =
            ProjectionMask::columns(footer.file_metadata().schema_descr(), apart.iter().copied());
        let batches = reader.with_projection(mask).build().map_err(io::Error::other)?;
        for batch in batches {
            let batch = batch.map_err(io::Error::other)?;
            let column = |name: &&str| batch.column_by_name(name)?.as_string_opt::<i32>();
            let columns: Vec<Option<&StringArray>> = apart.iter().map(column).collect();
            let values = |row: usize| {
                let value = |column: &Option<&StringArray>| match column {
                    Some(column) if column.is_valid(row) => column.value(row).to_owned(),
                    _ => String::new(),
                };
                columns.iter().map(value).collect::<Vec<_>>()
            };
            let differ = |one: usize, other: usize| {
                columns.iter().flatten().any(|column| {
                    column.is_valid(one) != column.is_valid(other)
                        || column.value(one) != column.value(other)
                })
            };
            let mut begin = 0;
            for row in 1..=batch.num_rows() {
                if row == batch.num_rows() || differ(begin, row) {
                    *self.counts.entry(values(begin)).or_default() += (row - begin) as u64;
                    begin = row;
                }
            }
        }
        Ok(())
    }
}

fn statistics<'a>(group: &'a RowGroupMetaData, name: &str) -> Option<&'a Statistics> {
    let columns = group.columns().iter();
    columns
        .filter(|column| column.column_path().string() == name)
        .find_map(|column| column.statistics())
}

fn times(group: &RowGroupMetaData, name: &str) -> Option<(i64, i64)> {
    match statistics(group, name)? {
        Statistics::Int64(times) => Some((*times.min_opt()?, *times.max_opt()?)),
        _ => None,
    }
}

/// The value of all rows of a column, where its statistics tell that it is one; a null's is empty.
fn only(group: &RowGroupMetaData, name: &str) -> Option<String> {
    let statistics = statistics(group, name)?;
    let nulls = statistics.null_count_opt()?;
    if i64::try_from(nulls).ok()? == group.num_rows() {
        return Some(String::new());
    }
    let Statistics::ByteArray(texts) = statistics else { return None };
    let (min, max) = (texts.min_opt()?, texts.max_opt()?);
    let is_one = nulls == 0 && texts.min_is_exact() && texts.max_is_exact() && min == max;
    is_one.then(|| String::from_utf8_lossy(min.data()).into_owned())
}
