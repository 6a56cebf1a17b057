//! Load for any server of the Open Inference Protocol, over HTTP with JSON, HTTP
//! with binary tensors, or gRPC.
//!
//! [`args`] reads the command line, [`inputs`] asks the server what its models
//! take and makes requests of it ([`tensor`], [`wire`]), [`plan`] says when
//! each request is due, [`runner`] sends them by [`client`] and writes down what
//! happened in [`record`], and [`report`] and [`thresholds`] say what it means.

pub mod args;
pub mod client;
pub mod inputs;
pub mod plan;
pub mod record;
pub mod report;
pub mod runner;
pub mod tensor;
pub mod thresholds;
pub mod timer;
pub mod wire;

/// Messages and client of the gRPC face, generated from `proto/`.
pub mod pb {
    #![allow(clippy::all, missing_docs)]
    tonic::include_proto!("inference");
}

use std::fmt;

/// Why a run gave no result.
#[derive(Debug)]
pub enum Error {
    /// The command line, or what it names, makes no sense: exit code 2.
    Usage(String),
    /// No connection, or no answer to the questions before the run: exit code 4.
    Unreachable(String),
    /// The run itself broke: exit code 1.
    Failed(String),
}

impl Error {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 4,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Unreachable(message) | Self::Failed(message) => {
                f.write_str(message)
            }
        }
    }
}

impl std::error::Error for Error {}
