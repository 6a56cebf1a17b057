//! DataFusion as it is set up here: bounded in memory, and only for reading.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{DataFrame, SQLOptions, SessionConfig, SessionContext};

use crate::{Common, QueryError};

/// How tables are joined.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Joins {
    /// By a hash table of one side: the faster way for what people ask.
    InMemory,
    /// By sorting both sides, which may go through files: for whole logs.
    Sorted,
}

/// # Errors
/// Where DataFusion refuses its own settings.
pub fn start(common: &Common, joins: Joins) -> Result<SessionContext, QueryError> {
    let pool = FairSpillPool::new(common.memory.saturating_mul(1 << 20));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).build_arc()?;
    let mut config = SessionConfig::new();
    let options = config.options_mut();
    options.optimizer.prefer_hash_join = joins == Joins::InMemory;
    // What selects few rows, such as one id, decodes the other columns of those alone.
    options.execution.parquet.pushdown_filters = true;
    Ok(SessionContext::new_with_config_rt(config, runtime))
}

/// Plans what reads; whatever would change something is refused.
///
/// # Errors
/// Where the text is no SQL, names what is not there, or does not only read.
pub async fn ask(context: &SessionContext, sql: &str) -> Result<DataFrame, QueryError> {
    let reading =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    Ok(context.sql_with_options(sql, reading).await?)
}

/// The one row of an aggregate over everything.
///
/// # Errors
/// As [`ask`], and where the query fails on its way.
pub async fn one_row(context: &SessionContext, sql: &str) -> Result<RecordBatch, QueryError> {
    let answer = ask(context, sql).await?.collect().await?;
    let row = answer.into_iter().find(|batch| batch.num_rows() > 0);
    Ok(row.ok_or_else(|| DataFusionError::Internal("an aggregate without a row".to_owned()))?)
}
