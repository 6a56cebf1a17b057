//! `join`: every prediction beside its label, and labels that match none.

use std::path::PathBuf;

use clap::Args;
use datafusion::arrow::array::AsArray as _;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;

use crate::export::{self, Format};
use crate::filters::Filters;
use crate::output::to_file;
use crate::{Common, QueryError, engine, matched, tables};

#[derive(Args, Debug)]
pub struct Join {
    /// Form of the file
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// File to write, or a folder that is there already
    #[arg(long, value_name = "FILE|DIR")]
    out: PathBuf,
    /// Write the labels that match no prediction instead
    #[arg(long)]
    unmatched: bool,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    filters: Filters,
}

impl Join {
    pub async fn run(&self) -> Result<(), QueryError> {
        let context = engine::start(&self.common, engine::Joins::Sorted)?;
        tables::register(&context, &self.common.log()?, &self.filters).await?;
        let columns = export::columns(&context).await?;
        let unmatched = matched::unmatched(tables::UNFILTERED);
        let (name, sql) = if self.unmatched {
            ("unmatched", format!("{unmatched} ORDER BY label_time"))
        } else {
            let joined = matched::with_labels(&columns, "true", "true");
            ("joined", format!("SELECT * FROM ({joined}) ORDER BY {}", matched::BY_TIME))
        };
        let path = self.format.place(&self.out, name);
        let rows = engine::ask(&context, &sql).await?;
        let count = to_file(&path, self.format.form(), rows).await?;
        println!("{count} rows in {}", path.display());
        let key: Vec<String> = ["epoch", "shard", "sequence", "row"].map(str::to_owned).into();
        let joined = matched::with_labels(&key, "true", "true");
        let labelled = format!("SELECT count(*) FROM ({joined}) WHERE label_kind IS NOT NULL");
        println!("{} predictions have a label", number(&context, &labelled).await?);
        let unmatched = format!("SELECT count(*) FROM ({unmatched})");
        println!("{} labels match no prediction", number(&context, &unmatched).await?);
        Ok(())
    }
}

async fn number(context: &SessionContext, sql: &str) -> Result<i64, QueryError> {
    let row = engine::one_row(context, sql).await?;
    Ok(row.column(0).as_primitive::<Int64Type>().value(0))
}
