//! Files of rows, as people keep them: Parquet and CSV. Read from the first row
//! to the last as often as is asked for, a few thousand rows at a time, so
//! that memory does not grow with the file.

mod csv;
mod parquet;
mod progress;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use arrow_array::{Array as _, StringArray};
use thiserror::Error;

use crate::drift::build::Value;
use progress::Progress;

/// Rows that are read at a time.
const MOST_ROWS: usize = 8192;

/// What Parquet files begin with.
const PARQUET: &[u8] = b"PAR1";

/// How unlike a name may be to be suggested.
const LEAST_LIKENESS: f64 = 0.7;

#[derive(Debug, Error)]
pub(super) enum TableError {
    #[error("cannot read '{path}': {error}")]
    Io { path: String, error: io::Error },
    #[error("'{path}': expected {expected}, found {found}; {fix}")]
    Wrong { path: String, expected: String, found: String, fix: String },
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Numbers,
    Booleans,
    Texts,
    /// Microseconds since 1970.
    Times,
    /// What nothing here reads, by its type.
    Other(String),
}

impl Holds {
    pub(super) fn describe(&self) -> &str {
        match self {
            Holds::Numbers => "numbers",
            Holds::Booleans => "booleans",
            Holds::Texts => "texts",
            Holds::Times => "times",
            Holds::Other(name) => name,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) holds: Holds,
}

/// How the values of a column are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Missing ones are NaN, booleans are 0 and 1. What is no number counts as
    /// an infinity does.
    Numbers,
    /// Missing ones are null or empty.
    Texts,
    /// As numbers: times and texts of them are microseconds since 1970,
    /// numbers are what they are, and what is no time is NaN.
    Times,
}

/// A column that is read, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) column: usize,
    pub(super) form: Form,
}

/// The values of one column in some rows.
#[derive(Debug)]
pub(super) enum Cells {
    Numbers(Vec<f64>),
    Texts(StringArray),
}

impl Cells {
    pub(super) fn at(&self, row: usize) -> Value<'_> {
        match self {
            Cells::Numbers(numbers) => Value::Number(numbers[row]),
            Cells::Texts(texts) if texts.is_null(row) => Value::Missing,
            Cells::Texts(texts) => Value::Text(texts.value(row)),
        }
    }
}

/// Some rows: the wanted columns, in their order.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) count: usize,
    pub(super) cells: Vec<Cells>,
}

#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    columns: Vec<Header>,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Csv(csv::Csv),
    Parquet(parquet::Parquet),
}

impl Table {
    /// Finds out what the columns hold; reads all of a CSV for it.
    ///
    /// # Errors
    /// Where the file is not one of these, not whole, or has no columns.
    pub(super) fn open(path: &Path) -> Result<Table, TableError> {
        let failed = |error| TableError::Io { path: path.display().to_string(), error };
        let mut file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            let fix = "a pipe cannot be read twice: write it to a file first";
            return Err(wrong(path, "a file", "none", fix));
        }
        if about.len() == 0 {
            return Err(wrong(
                path,
                "Parquet, or CSV with a header",
                "an empty file",
                "see --data",
            ));
        }
        let mut magic = Vec::new();
        file.by_ref().take(PARQUET.len() as u64).read_to_end(&mut magic).map_err(failed)?;
        let is_named = path.extension().is_some_and(|extension| extension == "parquet");
        let (columns, format) = if is_named || magic == PARQUET {
            let (columns, parquet) = parquet::Parquet::open(path)?;
            (columns, Format::Parquet(parquet))
        } else {
            let (columns, csv) = csv::Csv::open(path)?;
            (columns, Format::Csv(csv))
        };
        let mut names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let found = format!("two of the name '{}'", pair[0]);
            return Err(wrong(path, "columns with a name each", found, "rename one"));
        }
        Ok(Table { path: path.to_owned(), columns, format })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn columns(&self) -> &[Header] {
        &self.columns
    }

    /// The place of a column.
    ///
    /// # Errors
    /// Where there is none of the name; says what there is.
    pub(super) fn find(&self, name: &str) -> Result<usize, TableError> {
        self.columns.iter().position(|column| column.name == name).ok_or_else(|| {
            let names = || self.columns.iter().map(|column| column.name.as_str());
            wrong(&self.path, format!("a column '{name}'"), "none", suggestion(name, names()))
        })
    }

    /// Whether a column can be read in a form. Any cell of a CSV can be a text.
    pub(super) fn can_be(&self, column: usize, form: Form) -> bool {
        match (&self.columns[column].holds, form) {
            (Holds::Numbers | Holds::Booleans, Form::Numbers) | (Holds::Texts, Form::Texts) => true,
            (Holds::Numbers | Holds::Times | Holds::Texts, Form::Times) => true,
            (Holds::Numbers | Holds::Booleans, Form::Texts) => {
                matches!(self.format, Format::Csv(_))
            }
            _ => false,
        }
    }

    /// Hands all rows, some at a time, to `see`, in their order. `doing` is told on a terminal.
    /// Returns how many there were.
    ///
    /// # Errors
    /// What is wrong with the file, or what `see` says.
    pub(super) fn read<E: From<TableError>>(
        &self,
        doing: &str,
        wanted: &[Wanted],
        mut see: impl FnMut(&Rows) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut progress = Progress::new(format!("{doing} {}", self.path.display()));
        let mut all = 0;
        let mut see = |rows: &Rows, done: f64| {
            all += rows.count as u64;
            progress.tell(done);
            see(rows)
        };
        match &self.format {
            Format::Csv(csv) => csv.read(&self.path, wanted, &mut see)?,
            Format::Parquet(parquet) => parquet.read(&self.path, wanted, &mut see)?,
        }
        Ok(all)
    }
}

/// What to do about a name that is not there: the nearest one, or all of them.
pub(super) fn suggestion<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let likeness = |other: &str| strsim::jaro_winkler(name, other);
    let nearest = names.clone().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest {
        Some(nearest) if likeness(nearest) >= LEAST_LIKENESS => {
            format!("did you mean '{nearest}'?")
        }
        _ => {
            let listed: Vec<&str> = names.clone().take(20).collect();
            let more = names.count().saturating_sub(listed.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("there are: {}{more}", listed.join(", "))
        }
    }
}

/// Microseconds since 1970 of a text, or the number that it is.
fn time(text: &str) -> f64 {
    let point = crate::cli::when::point(text).map(|at| at as f64);
    point.or_else(|| text.parse().ok()).unwrap_or(f64::NAN)
}

fn wrong(
    path: &Path,
    expected: impl Into<String>,
    found: impl Into<String>,
    fix: impl Into<String>,
) -> TableError {
    let path = path.display().to_string();
    TableError::Wrong { path, expected: expected.into(), found: found.into(), fix: fix.into() }
}

#[cfg(test)]
mod tests {
    use super::suggestion;

    #[test]
    fn the_nearest_name_is_suggested() {
        let names = ["age", "income", "plan"];
        assert_eq!(suggestion("incme", names.into_iter()), "did you mean 'income'?");
        assert_eq!(suggestion("zzz", names.into_iter()), "there are: age, income, plan");
        let many: Vec<String> = (0..30).map(|at| format!("x{at}")).collect();
        let said = suggestion("q", many.iter().map(String::as_str));
        assert!(said.ends_with("x19 and 10 more"), "{said}");
    }
}
