//! The log's Parquet as tables. Files of different columns stand in one table:
//! what a file does not have is null there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::TableReference;
use datafusion::datasource::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::logical_expr::{Expr, ident, lit};
use datafusion::prelude::{DataFrame, SessionContext};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use url::Url;

use crate::filters::Filters;
use crate::{QueryError, columns, schema};

/// All predictions, whatever the filters; for what asks whether there is any at all.
pub const UNFILTERED: &str = "__predictions";

/// Registers `predictions`, `labels`, and `predictions_<model>` of each model.
/// The columns come from the footers of all files that the filters' model and
/// version leave.
///
/// # Errors
/// Where a file cannot be read.
pub async fn register(
    context: &SessionContext,
    log: &Path,
    filters: &Filters,
) -> Result<(), QueryError> {
    let named = |name: &str, rows: DataFrame| -> Result<(), QueryError> {
        context.register_table(TableReference::bare(name), rows.into_view())?;
        Ok(())
    };
    let folder = log.join("parquet").join("predictions");
    let base = columns::predictions();
    let levels = columns::PREDICTION_FOLDERS;
    let models = models(&folder, filters)?;
    let all = table(context, &folder, &schema::merge(models.values()), &levels, &base)?;
    named(UNFILTERED, all.clone())?;
    named("predictions", narrowed(all, filters.of_predictions())?)?;
    for (model, own) in &models {
        let rows = table(context, &folder, own, &levels, &base)?;
        let rows = rows.filter(ident("model").eq(lit(model.as_str())))?;
        let rows = narrowed(rows, filters.of_predictions())?;
        named(&format!("predictions_{model}"), rows)?;
    }
    let folder = log.join("parquet").join("labels");
    let own = schema::merge(&footers(&folder)?);
    let labels = table(context, &folder, &own, &columns::LABEL_FOLDERS, &columns::labels())?;
    named("labels", narrowed(labels, filters.of_labels())?)
}

/// The columns of each model's files.
fn models(folder: &Path, filters: &Filters) -> Result<BTreeMap<String, Schema>, QueryError> {
    let is_wanted = |wanted: Option<&str>, found: &str| wanted.is_none_or(|one| one == found);
    let version = filters.version.map(|version| version.to_string());
    let mut models = BTreeMap::new();
    for (model, folder) in levels(folder, "model=")? {
        if !is_wanted(filters.model.as_deref(), &model) {
            continue;
        }
        let mut found = Vec::new();
        for (number, folder) in levels(&folder, "version=")? {
            if is_wanted(version.as_deref(), &number) {
                found.extend(footers(&folder)?);
            }
        }
        models.insert(model, schema::merge(&found));
    }
    Ok(models)
}

/// The folders `<prefix><value>` right below `folder`, by value.
fn levels(folder: &Path, prefix: &str) -> Result<Vec<(String, PathBuf)>, QueryError> {
    let named = |path: PathBuf| {
        let value = path.file_name()?.to_str()?.strip_prefix(prefix)?.to_owned();
        Some((value, path))
    };
    Ok(entries(folder)?.into_iter().filter_map(named).collect())
}

/// The schemas of all Parquet files below a folder. Files that go meanwhile are none.
fn footers(folder: &Path) -> Result<Vec<Schema>, QueryError> {
    let mut schemas = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                schemas.extend(footer(&path)?);
            }
        }
    }
    Ok(schemas)
}

fn footer(path: &Path) -> Result<Option<Schema>, QueryError> {
    let failed = |reason: String| QueryError::Read { path: path.to_owned(), reason };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    let options = ArrowReaderOptions::new();
    let footer =
        ArrowReaderMetadata::load(&file, options).map_err(|error| failed(error.to_string()))?;
    Ok(Some(footer.schema().as_ref().clone()))
}

/// What is in a folder, in the order of names; nothing where there is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, QueryError> {
    let failed =
        |error: io::Error| QueryError::Read { path: folder.to_owned(), reason: error.to_string() };
    let mut paths = match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(error)),
    };
    paths.sort();
    Ok(paths)
}

/// The files below a folder as one table: the columns of `base` first, then
/// those of `own` that `base` lacks, last the folders' that it lacks.
fn table(
    context: &SessionContext,
    folder: &Path,
    own: &Schema,
    levels: &[(&str, DataType)],
    base: &Schema,
) -> Result<DataFrame, QueryError> {
    let by_folder: Vec<&str> = levels.iter().map(|(name, _)| *name).collect();
    let of_folders = levels.iter().map(|(name, of)| Field::new(*name, of.clone(), true));
    let of_folders = Schema::new(of_folders.collect::<Vec<_>>());
    let in_files = schema::without(&schema::merge([own, base]), &by_folder);
    let order = schema::merge([base, &in_files, &of_folders]);
    let provider: Arc<dyn TableProvider> = if folder.is_dir() {
        let levels = levels.iter().map(|(name, of)| ((*name).to_owned(), of.clone()));
        let options = ListingOptions::new(Arc::new(ParquetFormat::default()))
            .with_table_partition_cols(levels.collect());
        let config = ListingTableConfig::new(url(folder)?)
            .with_listing_options(options)
            .with_schema(Arc::new(in_files));
        Arc::new(ListingTable::try_new(config)?)
    } else {
        Arc::new(EmptyTable::new(Arc::new(order.clone())))
    };
    let order = order.fields().iter().map(|field| ident(field.name()));
    Ok(context.read_table(provider)?.select(order)?)
}

/// A folder as DataFusion takes it; as a plain path, characters of its name would be patterns.
fn url(folder: &Path) -> Result<ListingTableUrl, QueryError> {
    let failed =
        |reason: &str| QueryError::Read { path: folder.to_owned(), reason: reason.to_owned() };
    let absolute = std::path::absolute(folder).map_err(|error| failed(&error.to_string()))?;
    let url = Url::from_directory_path(absolute).map_err(|()| failed("its path is no URL"))?;
    Ok(ListingTableUrl::try_new(url, None)?)
}

fn narrowed(rows: DataFrame, filters: Vec<Expr>) -> Result<DataFrame, QueryError> {
    Ok(filters.into_iter().try_fold(rows, DataFrame::filter)?)
}
