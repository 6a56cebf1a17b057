//! Why the archive could not be kept.

use std::io;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use thiserror::Error;

use crate::predictions::schema::SchemaId;

#[derive(Debug, Error)]
pub enum ArchiveError {
    #[error("'{}': {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("'{}': {source}", path.display())]
    Parquet { path: PathBuf, source: ParquetError },
    #[error("'{}' does not hold what was written to it: {what}", path.display())]
    Check { path: PathBuf, what: &'static str },
    /// The segment is left as it is.
    #[error("'{}' is no segment, or its head is damaged", segment.display())]
    Header { segment: PathBuf },
    /// The segment is left as it is.
    #[error("'{}' holds records of the schema {id}, of which there is no file", segment.display())]
    Schema { segment: PathBuf, id: SchemaId },
    #[error("the archive in '{}' is kept by another process", .0.display())]
    InUse(PathBuf),
    #[error("'{}' is shorter than it was", .0.display())]
    Shortened(PathBuf),
    #[error("stopped")]
    Stopped,
}

impl ArchiveError {
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> ArchiveError + use<'_> {
        move |source| ArchiveError::Io { path: path.to_owned(), source }
    }

    pub fn parquet(path: &Path) -> impl FnOnce(ParquetError) -> ArchiveError + use<'_> {
        move |source| match source {
            // What the disk said, where it is the disk.
            ParquetError::External(cause) => match cause.downcast::<io::Error>() {
                Ok(source) => ArchiveError::Io { path: path.to_owned(), source: *source },
                Err(cause) => ArchiveError::Parquet {
                    path: path.to_owned(),
                    source: ParquetError::External(cause),
                },
            },
            source => ArchiveError::Parquet { path: path.to_owned(), source },
        }
    }

    pub fn is_disk_full(&self) -> bool {
        matches!(self, ArchiveError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }

    /// One of a closed set, for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            error if error.is_disk_full() => "disk_full",
            ArchiveError::Io { .. } | ArchiveError::Shortened(_) => "io",
            ArchiveError::Parquet { .. } => "parquet",
            ArchiveError::Check { .. } => "check",
            ArchiveError::Header { .. } => "header",
            ArchiveError::Schema { .. } => "schema",
            ArchiveError::InUse(_) => "in_use",
            ArchiveError::Stopped => "stopped",
        }
    }
}
