//! `export`: predictions, once each and in order of time, for other tools.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use datafusion::prelude::SessionContext;

use crate::columns::PREDICTION_FOLDERS;
use crate::filters::Filters;
use crate::output::{Form, to_file};
use crate::training::Training;
use crate::{Common, QueryError, account, engine, matched, tables};

#[derive(Args, Debug)]
pub struct Export {
    /// Form of the file
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// File to write, or a folder that is there already
    #[arg(long, value_name = "FILE|DIR")]
    out: PathBuf,
    #[command(flatten)]
    training: Training,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Parquet,
    Csv,
    Jsonl,
}

impl Export {
    pub async fn run(&self) -> Result<(), QueryError> {
        let context = engine::start(&self.common, engine::Joins::Sorted)?;
        tables::register(&context, &self.common.log()?, &self.filters).await?;
        let sql = if self.training.is_asked_for() {
            self.training.select(&context, &self.filters).await?
        } else {
            let columns = columns(&context).await?;
            format!("{} ORDER BY {}", matched::once(&columns, "true"), matched::BY_TIME)
        };
        let name = if self.training.is_asked_for() { "training" } else { "predictions" };
        let path = self.format.place(&self.out, name);
        let rows = engine::ask(&context, &sql).await?;
        let count = to_file(&path, self.format.form(), rows).await?;
        println!("{count} rows in {}", path.display());
        tell_gaps(&self.common.log()?, &self.filters)
    }
}

impl Format {
    pub fn form(self) -> Form {
        match self {
            Format::Parquet => Form::Parquet,
            Format::Csv => Form::Csv,
            Format::Jsonl => Form::Jsonl,
        }
    }

    /// The file: `out` itself, or one of that name in it.
    pub fn place(self, out: &Path, name: &str) -> PathBuf {
        let extension = match self {
            Format::Parquet => "parquet",
            Format::Csv => "csv",
            Format::Jsonl => "jsonl",
        };
        if out.is_dir() { out.join(format!("{name}.{extension}")) } else { out.to_owned() }
    }
}

/// The columns of `predictions`, without the folders that only say the time again.
pub async fn columns(context: &SessionContext) -> Result<Vec<String>, QueryError> {
    let table = context.table("predictions").await?;
    let says_time = |name: &str| PREDICTION_FOLDERS[2..].iter().any(|(folder, _)| *folder == name);
    let names = table.schema().fields().iter().map(|field| field.name().clone());
    Ok(names.filter(|name| !says_time(name)).collect())
}

/// Says what is known to be missing, whichever model's it was.
pub fn tell_gaps(log: &Path, filters: &Filters) -> Result<(), QueryError> {
    let gaps = account::gaps(log, filters)?;
    let causes: Vec<String> =
        gaps.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
    let causes = if causes.is_empty() { "none".to_owned() } else { causes.join(", ") };
    println!("gaps in the log of these days, of any model: {causes}");
    Ok(())
}
