//! Proves a model as the gateway would, before it is pushed.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use clap::Args;

use crate::engine::{Library, ProbeLimits, ProbeRequest, SessionOptions};
use crate::registry::{Package, PushError};
use crate::types::{RejectKind, Signature};

#[derive(Args, Debug)]
pub(super) struct ProveFlags {
    /// Push the model without trying it here; the gateway tries it all the same
    #[arg(long)]
    no_probe: bool,
    /// ONNX Runtime's shared library, 1.28 or later [default: searched for]
    #[arg(long, env = "MODELGATE_ONNXRUNTIME", value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
}

impl ProveFlags {
    /// Tries the package in a sandbox and tells the model's signature; none
    /// where it was not to be tried, or cannot be here.
    ///
    /// # Errors
    /// Why no gateway would serve it.
    pub(super) fn prove(
        &self,
        package: &Package,
        limits: ProbeLimits,
        allowed_domains: &[String],
    ) -> Result<Option<Signature>, PushError> {
        if self.no_probe {
            return Ok(None);
        }
        let library = match Library::open(self.onnxruntime.as_deref()) {
            Ok(library) => library,
            Err(error) => {
                eprintln!("not tried before the push, the gateway will: {error}");
                return Ok(None);
            }
        };
        let folder = tempfile::tempdir().map_err(staging)?;
        package.copy_to(folder.path())?;
        let request = ProbeRequest {
            folder: folder.path().to_owned(),
            session: SessionOptions::default(),
            labels: Default::default(),
            max_batch_rows: 64,
            limits,
            yields: false,
            allowed_domains: allowed_domains.to_vec(),
        };
        match library.probe(&request, &AtomicBool::new(false)) {
            Ok(report) => Ok(Some(report.signature)),
            Err(rejection) if rejection.kind == RejectKind::Internal => {
                eprintln!("not tried before the push, the gateway will: {}", rejection.reason);
                Ok(None)
            }
            Err(rejection) => Err(rejection.into()),
        }
    }
}

fn staging(error: io::Error) -> PushError {
    PushError::Io { what: "a folder to try the model in".to_owned(), error }
}
