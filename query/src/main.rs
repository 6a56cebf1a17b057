//! SQL over the Parquet of modelgate's prediction log. `modelgate predictions`
//! calls it for `query`, `export` and `join`; it stands alone so that the
//! gateway need not carry a query engine.

mod account;
mod columns;
mod engine;
mod export;
mod filters;
mod join;
mod matched;
mod output;
mod schema;
mod tables;
mod training;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use datafusion::error::DataFusionError;
use thiserror::Error;

use filters::Filters;

/// Queries, exports and joins the prediction log of modelgate.
#[derive(Debug, Parser)]
#[command(name = "modelgate predictions", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run SQL over the tables `predictions`, `labels` and `"predictions_<model>"`
    Query(Query),
    /// Write predictions, or a training set of those that have labels, to files
    Export(export::Export),
    /// Write predictions beside their labels, and count labels that match none
    Join(join::Join),
}

#[derive(Args, Debug)]
struct Query {
    /// SQL of DataFusion; columns such as "f.amount" stand in double quotes
    sql: String,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    output: output::Output,
}

/// Where the log is, and what may be used to read it.
#[derive(Args, Debug)]
struct Common {
    /// Folder of data that the gateway was started with
    #[arg(long, env = "MODELGATE_DATA", value_name = "DIR", default_value = "modelgate-data")]
    data: PathBuf,
    /// The log's folder, where the configuration has `predictions.dir`
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Memory for sorts, joins and groups; larger ones go through temporary files where they can
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: usize,
}

impl Common {
    /// The log's folder.
    ///
    /// # Errors
    /// Where there is none.
    fn log(&self) -> Result<PathBuf, QueryError> {
        let log = self.dir.clone().unwrap_or_else(|| self.data.join("predictions"));
        if log.is_dir() { Ok(log) } else { Err(QueryError::NoLog(log)) }
    }
}

#[derive(Debug, Error)]
enum QueryError {
    #[error("{0}")]
    Engine(#[from] DataFusionError),
    #[error("there is no prediction log: no folder '{0}'")]
    NoLog(PathBuf),
    #[error("cannot read '{path}': {reason}")]
    Read { path: PathBuf, reason: String },
    #[error("cannot write {place}: {reason}")]
    Write { place: String, reason: String },
    #[error("{0}")]
    Refused(String),
}

fn main() -> ExitCode {
    let verb = Arguments::parse().verb;
    let runtime = match tokio::runtime::Builder::new_multi_thread().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match verb {
            Verb::Query(query) => query.run().await,
            Verb::Export(export) => export.run().await,
            Verb::Join(join) => join.run().await,
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", output::plain(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

impl Query {
    async fn run(&self) -> Result<(), QueryError> {
        let context = engine::start(&self.common, engine::Joins::InMemory)?;
        tables::register(&context, &self.common.log()?, &self.filters).await?;
        let answer = engine::ask(&context, &self.sql).await?;
        self.output.write(answer).await
    }
}
