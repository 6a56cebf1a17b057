//! What the two processes of a probe say to each other: one JSON object to the child's
//! standard input, and one a line from its standard output.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ProbeReport, ProbeRequest};
use crate::types::{FileName, Rejection};

/// Most bytes of an order, and of all a child says.
pub(super) const MOST_BYTES: u64 = 16 << 20;

/// What the child is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Who gives it; a child whose parent is another has been orphaned.
    pub(super) parent: u32,
    /// ONNX Runtime, as the parent has found it.
    pub(super) library: PathBuf,
    /// The model in the request's folder.
    pub(super) file: FileName,
    pub(super) request: ProbeRequest,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// The model comes next. Before it, the process holds so many bytes of memory.
    Ready { resident: u64 },
    /// The last message: the model is fine.
    Good(ProbeReport),
    /// The last message: it is not.
    Bad(Rejection),
}
