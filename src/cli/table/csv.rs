//! CSV in UTF-8 with a header. Commas, semicolons or tabs part the fields,
//! whichever the header has most of.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use arrow_array::builder::StringBuilder;

use super::progress::Progress;
use super::{Cells, Form, Header, Holds, MOST_ROWS, Rows, TableError, Wanted, time, wrong};

/// Most bytes of one row: what is longer is a quote that was left open.
const MAX_ROW_BYTES: u64 = 16 << 20;

/// Bytes of texts that are gathered before they are handed on.
const MOST_BYTES: usize = 16 << 20;

/// What stands for a missing number, beside nothing.
const MISSING: [&str; 7] = ["NA", "N/A", "na", "null", "NULL", "None", "<NA>"];

/// Bytes of the header's first line that are looked at for the delimiter.
const HEADER_BYTES: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Csv {
    delimiter: u8,
    bytes: u64,
}

/// A file that gives up on rows without an end, which would be held in memory.
struct Bounded {
    file: File,
    since_row: Rc<Cell<u64>>,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.since_row.set(self.since_row.get() + read as u64);
        if self.since_row.get() > MAX_ROW_BYTES {
            let message =
                format!("a row of more than {MAX_ROW_BYTES} bytes; is a quote left open?");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(read)
    }
}

/// What the cells of a column were so far.
#[derive(Clone, Copy)]
struct Seen {
    any: bool,
    numbers: bool,
    booleans: bool,
}

impl Csv {
    pub(super) fn open(path: &Path) -> Result<(Vec<Header>, Csv), TableError> {
        let failed = |error| TableError::Io { path: path.display().to_string(), error };
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let mut line = Vec::new();
        BufReader::new(file.take(HEADER_BYTES)).read_until(b'\n', &mut line).map_err(failed)?;
        let times = |delimiter: &u8| line.iter().filter(|byte| *byte == delimiter).count();
        // Of several the last is taken: the comma where there is none of any.
        let delimiter = *b"\t;,".iter().max_by_key(|delimiter| times(delimiter)).unwrap_or(&b',');
        let csv = Csv { delimiter, bytes: bytes.max(1) };
        let names = csv.names(path)?;
        let seen = csv.look(path, names.len())?;
        let header = |(name, seen): (String, Seen)| {
            let holds = match seen {
                Seen { booleans: true, any: true, .. } => Holds::Booleans,
                Seen { numbers: true, .. } => Holds::Numbers,
                _ => Holds::Texts,
            };
            Header { name, holds }
        };
        Ok((names.into_iter().zip(seen).map(header).collect(), csv))
    }

    fn names(&self, path: &Path) -> Result<Vec<String>, TableError> {
        let (mut reader, _) = self.reader(path)?;
        let header = reader.headers().map_err(|error| refused(path, error))?;
        Ok(header.iter().map(|name| name.trim().to_owned()).collect())
    }

    /// Looks at every cell, so that what is read later holds no surprise.
    fn look(&self, path: &Path, columns: usize) -> Result<Vec<Seen>, TableError> {
        let mut seen = vec![Seen { any: false, numbers: true, booleans: true }; columns];
        let mut progress = Progress::new(format!("looking at {}", path.display()));
        self.rows(path, |row, done| {
            progress.tell(done);
            for (cell, seen) in row.iter().zip(&mut seen) {
                let cell = cell.trim();
                if !is_missing(cell) {
                    seen.any = true;
                    seen.numbers &= cell.parse::<f64>().is_ok();
                    seen.booleans &= boolean(cell).is_some();
                }
            }
            Ok::<(), TableError>(())
        })?;
        Ok(seen)
    }

    pub(super) fn read<E: From<TableError>>(
        &self,
        path: &Path,
        wanted: &[Wanted],
        see: &mut impl FnMut(&Rows, f64) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut gathered = Gathered::new(wanted);
        self.rows(path, |row, done| {
            gathered.add(row, wanted);
            if gathered.rows == MOST_ROWS || gathered.bytes > MOST_BYTES {
                see(&std::mem::replace(&mut gathered, Gathered::new(wanted)).finish(), done)?;
            }
            Ok::<(), E>(())
        })?;
        if gathered.rows > 0 { see(&gathered.finish(), 1.0) } else { Ok(()) }
    }

    /// Every row, and the share of the file that was read with it.
    fn rows<E: From<TableError>>(
        &self,
        path: &Path,
        mut see: impl FnMut(&csv::StringRecord, f64) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut reader, since_row) = self.reader(path)?;
        // Or the first row would be said to be where the header is.
        reader.headers().map_err(|error| refused(path, error))?;
        let mut row = csv::StringRecord::new();
        while reader.read_record(&mut row).map_err(|error| refused(path, error))? {
            since_row.set(0);
            see(&row, reader.position().byte() as f64 / self.bytes as f64)?;
        }
        Ok(())
    }

    fn reader(&self, path: &Path) -> Result<(csv::Reader<Bounded>, Rc<Cell<u64>>), TableError> {
        let failed = |error| TableError::Io { path: path.display().to_string(), error };
        let since_row = Rc::new(Cell::new(0));
        let file =
            Bounded { file: File::open(path).map_err(failed)?, since_row: Rc::clone(&since_row) };
        let mut builder = csv::ReaderBuilder::new();
        builder.delimiter(self.delimiter).buffer_capacity(1 << 16);
        Ok((builder.from_reader(file), since_row))
    }
}

/// Cells that are gathered until there are enough.
struct Gathered {
    columns: Vec<Gathering>,
    rows: usize,
    bytes: usize,
}

enum Gathering {
    Numbers(Vec<f64>),
    Texts(StringBuilder),
}

impl Gathered {
    fn new(wanted: &[Wanted]) -> Gathered {
        let column = |wanted: &Wanted| match wanted.form {
            Form::Numbers | Form::Times => Gathering::Numbers(Vec::new()),
            Form::Texts => Gathering::Texts(StringBuilder::new()),
        };
        Gathered { columns: wanted.iter().map(column).collect(), rows: 0, bytes: 0 }
    }

    fn add(&mut self, row: &csv::StringRecord, wanted: &[Wanted]) {
        self.rows += 1;
        self.bytes += row.as_slice().len();
        for (gathering, wanted) in self.columns.iter_mut().zip(wanted) {
            // Rows are as wide as the header.
            let cell = row.get(wanted.column).unwrap_or_default();
            match gathering {
                Gathering::Numbers(numbers) if wanted.form == Form::Times => {
                    numbers.push(time(cell.trim()));
                }
                Gathering::Numbers(numbers) => numbers.push(number(cell.trim())),
                Gathering::Texts(texts) => texts.append_value(cell),
            }
        }
    }

    fn finish(self) -> Rows {
        let cells = self.columns.into_iter().map(|column| match column {
            Gathering::Numbers(numbers) => Cells::Numbers(numbers),
            Gathering::Texts(mut texts) => Cells::Texts(texts.finish()),
        });
        Rows { count: self.rows, cells: cells.collect() }
    }
}

fn is_missing(cell: &str) -> bool {
    cell.is_empty() || MISSING.contains(&cell)
}

fn boolean(cell: &str) -> Option<bool> {
    match cell {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn number(cell: &str) -> f64 {
    match boolean(cell) {
        Some(is) => f64::from(u8::from(is)),
        None if is_missing(cell) => f64::NAN,
        None => cell.parse().unwrap_or(f64::INFINITY),
    }
}

/// What is wrong with a row, with its line.
fn refused(path: &Path, error: csv::Error) -> TableError {
    let line = |position: &Option<csv::Position>| position.as_ref().map_or(0, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::Utf8 { pos, err } => wrong(
            path,
            "Parquet, or CSV in UTF-8",
            format!("other bytes in line {}, field {}", line(pos), err.field() + 1),
            "convert it to UTF-8, such as by iconv",
        ),
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => wrong(
            path,
            format!("{expected_len} fields in every line, as in the header"),
            format!("{len} in line {}", line(pos)),
            "quote fields that hold the delimiter",
        ),
        _ => {
            let path = path.display().to_string();
            TableError::Io { path, error: io::Error::other(error) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_numbers_booleans_or_missing() {
        assert_eq!(["1.5", "-2e3", "True", "false"].map(number), [1.5, -2000.0, 1.0, 0.0]);
        assert!(["", "NA", "nan", "null"].iter().all(|cell| number(cell).is_nan()));
        assert!(["abc", "inf", "1,5"].iter().all(|cell| number(cell).is_infinite()));
    }
}
