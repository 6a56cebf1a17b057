//! Where rows go: to the terminal, or to a file in a form that other tools read.

use std::fs::Permissions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json;
use datafusion::arrow::json::writer::{JsonArray, LineDelimited};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::logical_expr::ident;
use datafusion::prelude::DataFrame;
use futures_util::TryStreamExt as _;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tempfile::NamedTempFile;

use crate::QueryError;

/// Most rows of a table for people, which is laid out as a whole.
const MOST_SHOWN: usize = 1000;

#[derive(Args, Debug)]
pub struct Output {
    /// Form of the answer; parquet needs --out
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
    /// File that takes it [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people: at most 1000 rows
    #[default]
    Table,
    /// One array
    Json,
    /// An object on each line
    Jsonl,
    Csv,
    Parquet,
}

impl Output {
    /// # Errors
    /// Where the query fails on its way, or its rows cannot be written.
    pub async fn write(&self, rows: DataFrame) -> Result<(), QueryError> {
        match (&self.out, self.output) {
            (None, Form::Parquet) => {
                Err(QueryError::Refused("Parquet is for a file: name it with --out".to_owned()))
            }
            (None, form) => to(io::stdout(), "standard output", form, rows).await.map(drop),
            (Some(path), form) => to_file(path, form, rows).await.map(drop),
        }
    }
}

/// Writes rows to a file, which gets its name once it is complete, and says how many they were.
///
/// # Errors
/// Where the query fails on its way, or the file cannot be written.
pub async fn to_file(path: &Path, form: Form, rows: DataFrame) -> Result<u64, QueryError> {
    let failed = |error: io::Error| QueryError::Write {
        place: format!("'{}'", path.display()),
        reason: error.to_string(),
    };
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(failed)?;
    let place = format!("'{}'", path.display());
    let written = file.reopen().map_err(failed)?;
    let count = to(written, &place, form, rows).await?;
    file.as_file().sync_all().map_err(failed)?;
    NamedTempFile::persist(file, path).map_err(|error| failed(error.error))?;
    Ok(count)
}

async fn to(
    place: impl Write + Send + 'static,
    name: &str,
    form: Form,
    rows: DataFrame,
) -> Result<u64, QueryError> {
    let failed = |error: io::Error| match error.kind() {
        // Who reads, such as `head`, has enough.
        io::ErrorKind::BrokenPipe => Ok(0),
        _ => Err(QueryError::Write { place: name.to_owned(), reason: error.to_string() }),
    };
    let rows = if form == Form::Csv { flat(rows)? } else { rows };
    let mut stream = rows.execute_stream().await?;
    let mut sink = match Sink::new(form, Box::new(BufWriter::new(place)), stream.schema()) {
        Ok(sink) => sink,
        Err(error) => return failed(error),
    };
    let mut count = 0;
    while let Some(batch) = stream.try_next().await? {
        count += batch.num_rows() as u64;
        match sink.write(batch) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return failed(error),
        }
    }
    sink.finish().map(|()| count).or_else(failed)
}

/// Without the columns that a line of CSV has no place for; they are told.
fn flat(rows: DataFrame) -> Result<DataFrame, QueryError> {
    let (nested, flat): (Vec<_>, Vec<_>) =
        rows.schema().fields().iter().partition(|field| field.data_type().is_nested());
    if nested.is_empty() {
        return Ok(rows);
    }
    let name = |field: &&FieldRef| field.name().clone();
    let left: Vec<String> = nested.iter().map(name).collect();
    eprintln!("left out, because CSV has no lists: {}", plain(&left.join(", ")));
    let kept: Vec<String> = flat.iter().map(name).collect();
    Ok(rows.select(kept.into_iter().map(ident))?)
}

type Place = Box<dyn Write + Send>;

/// Takes rows batch by batch.
enum Sink {
    Table { place: Place, rows: Vec<RecordBatch>, schema: SchemaRef, cut: bool },
    Json(json::Writer<Place, JsonArray>),
    Lines(json::Writer<Place, LineDelimited>),
    Csv(Box<csv::Writer<Place>>),
    Parquet(Box<ArrowWriter<Place>>),
}

impl Sink {
    fn new(form: Form, place: Place, schema: SchemaRef) -> io::Result<Sink> {
        let json = json::WriterBuilder::new().with_explicit_nulls(true);
        Ok(match form {
            Form::Table => Sink::Table { place, rows: Vec::new(), schema, cut: false },
            Form::Json => Sink::Json(json.build(place)),
            Form::Jsonl => Sink::Lines(json.build(place)),
            Form::Csv => {
                let mut writer = csv::WriterBuilder::new().with_header(true).build(place);
                // So that the header is there where no row is.
                writer.write(&RecordBatch::new_empty(schema)).map_err(io::Error::other)?;
                Sink::Csv(Box::new(writer))
            }
            Form::Parquet => {
                let level = ZstdLevel::try_new(3).map_err(io::Error::other)?;
                let properties =
                    WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
                let writer = ArrowWriter::try_new(place, schema, Some(properties));
                Sink::Parquet(Box::new(writer.map_err(io::Error::other)?))
            }
        })
    }

    /// Says whether more are wanted.
    fn write(&mut self, batch: RecordBatch) -> io::Result<bool> {
        match self {
            Sink::Table { rows, cut, .. } => {
                let room = MOST_SHOWN - rows.iter().map(RecordBatch::num_rows).sum::<usize>();
                *cut = batch.num_rows() > room;
                rows.push(batch.slice(0, batch.num_rows().min(room)));
                return Ok(!*cut);
            }
            Sink::Json(writer) => writer.write(&batch).map_err(told)?,
            Sink::Lines(writer) => writer.write(&batch).map_err(told)?,
            Sink::Csv(writer) => writer.write(&batch).map_err(told)?,
            Sink::Parquet(writer) => writer.write(&batch).map_err(io::Error::other)?,
        }
        Ok(true)
    }

    fn finish(self) -> io::Result<()> {
        let mut place = match self {
            Sink::Table { mut place, mut rows, schema, cut } => {
                rows.push(RecordBatch::new_empty(schema));
                let table = pretty_format_batches(&rows).map_err(told)?.to_string();
                table.lines().try_for_each(|line| writeln!(place, "{}", plain(line)))?;
                if cut {
                    writeln!(
                        place,
                        "these are the first {MOST_SHOWN} rows; csv and json have all"
                    )?;
                }
                place
            }
            Sink::Json(mut writer) => {
                writer.finish().map_err(told)?;
                let mut place = writer.into_inner();
                writeln!(place)?;
                place
            }
            Sink::Lines(mut writer) => {
                writer.finish().map_err(told)?;
                writer.into_inner()
            }
            Sink::Csv(writer) => writer.into_inner(),
            Sink::Parquet(writer) => writer.into_inner().map_err(io::Error::other)?,
        };
        place.flush()
    }
}

/// Keeps the kind of what went wrong where it was the place that failed.
fn told(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        other => io::Error::other(other),
    }
}

/// Without what a terminal would take for an order.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
