//! Where the log is.

use std::path::PathBuf;

use clap::Args;

use crate::cli::asking::Failure;

#[derive(Args, Debug)]
pub(super) struct Place {
    /// Folder of data that the gateway was started with
    #[arg(long, env = "MODELGATE_DATA", value_name = "DIR", default_value = "modelgate-data")]
    data: PathBuf,
    /// The log's folder, where the configuration has `predictions.dir`
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Place {
    /// The log's folder.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) fn root(&self) -> Result<PathBuf, Failure> {
        let root = self.dir.clone().unwrap_or_else(|| self.data.join("predictions"));
        if root.is_dir() {
            return Ok(root);
        }
        Err(Failure::Invalid(format!("there is no prediction log: no folder '{}'", root.display())))
    }
}
