//! The life of one version: its stages, and why one was rejected.

use serde::{Deserialize, Serialize};

/// Where a version stands on its way from a registry to its end. A version
/// only moves forward, in this order; `Rejected` and `Gone` are ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Its files are being copied into the cache.
    Fetching,
    /// Its files are compared with their digests.
    Verifying,
    /// It is loaded and run in a process of its own.
    Probing,
    /// It is being loaded into the gateway.
    Loading,
    /// It runs every batch size and its golden inputs.
    Warming,
    /// It may answer requests.
    Ready,
    /// It gets no new requests and finishes those it has.
    Draining,
    /// Its memory has been given back.
    Gone,
    /// It will not be served; a [`Rejection`] says why.
    Rejected,
}

impl Stage {
    pub const ALL: [Stage; 9] = [
        Stage::Fetching,
        Stage::Verifying,
        Stage::Probing,
        Stage::Loading,
        Stage::Warming,
        Stage::Ready,
        Stage::Draining,
        Stage::Gone,
        Stage::Rejected,
    ];

    /// The `state` label of `modelgate_model_state`, and the admin API's word.
    pub fn label(self) -> &'static str {
        match self {
            Stage::Fetching => "fetching",
            Stage::Verifying => "verifying",
            Stage::Probing => "probing",
            Stage::Loading => "loading",
            Stage::Warming => "warming",
            Stage::Ready => "ready",
            Stage::Draining => "draining",
            Stage::Gone => "gone",
            Stage::Rejected => "rejected",
        }
    }

    /// The protocol's word, as the repository index shows it.
    pub fn protocol(self) -> &'static str {
        match self {
            Stage::Fetching
            | Stage::Verifying
            | Stage::Probing
            | Stage::Loading
            | Stage::Warming => "LOADING",
            Stage::Ready => "READY",
            Stage::Draining => "UNLOADING",
            Stage::Gone | Stage::Rejected => "UNAVAILABLE",
        }
    }

    /// Whether a version may go from here to `next`.
    pub fn may_become(self, next: Stage) -> bool {
        match (self, next) {
            (Stage::Gone | Stage::Rejected, _) => false,
            (Stage::Ready | Stage::Draining, Stage::Rejected) => false,
            _ => next > self,
        }
    }
}

/// Why a version was rejected. A closed set: it is a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectKind {
    /// Files are missing, unexpected, or too large.
    BadFiles,
    /// A file is not what its digest says.
    DigestMismatch,
    /// The model file is no sound ONNX, or asks for what is not allowed.
    BadModel,
    /// ONNX Runtime refused it.
    LoadFailed,
    /// The probe process died.
    Crashed,
    /// The probe took longer than it may.
    TimedOut,
    /// The probe took more memory than it may.
    OutOfMemory,
    /// Its answers are not the golden ones.
    GoldenMismatch,
    /// Its signature breaks the callers of the version it would replace.
    Incompatible,
    /// Its `model.yaml` is wrong.
    BadOptions,
    /// The gateway itself could not go on.
    Internal,
}

impl RejectKind {
    pub const ALL: [RejectKind; 11] = [
        RejectKind::BadFiles,
        RejectKind::DigestMismatch,
        RejectKind::BadModel,
        RejectKind::LoadFailed,
        RejectKind::Crashed,
        RejectKind::TimedOut,
        RejectKind::OutOfMemory,
        RejectKind::GoldenMismatch,
        RejectKind::Incompatible,
        RejectKind::BadOptions,
        RejectKind::Internal,
    ];

    pub fn label(self) -> &'static str {
        match self {
            RejectKind::BadFiles => "bad_files",
            RejectKind::DigestMismatch => "digest_mismatch",
            RejectKind::BadModel => "bad_model",
            RejectKind::LoadFailed => "load_failed",
            RejectKind::Crashed => "crashed",
            RejectKind::TimedOut => "timed_out",
            RejectKind::OutOfMemory => "out_of_memory",
            RejectKind::GoldenMismatch => "golden_mismatch",
            RejectKind::Incompatible => "incompatible",
            RejectKind::BadOptions => "bad_options",
            RejectKind::Internal => "internal",
        }
    }
}

/// A version that will not be served, and why. The reason is for people, names
/// no folder of this machine, and is at most [`Rejection::MOST`] bytes long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    pub kind: RejectKind,
    pub reason: String,
}

impl Rejection {
    pub const MOST: usize = 1024;

    pub fn new(kind: RejectKind, reason: impl Into<String>) -> Rejection {
        let mut reason = reason.into();
        if reason.len() > Rejection::MOST {
            let end = (0..=Rejection::MOST).rev().find(|at| reason.is_char_boundary(*at));
            reason.truncate(end.unwrap_or(0));
        }
        Rejection { kind, reason }
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind.label(), self.reason)
    }
}

impl std::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_only_move_forward() {
        for from in Stage::ALL {
            for to in Stage::ALL {
                let back = Stage::ALL.iter().position(|stage| *stage == from)
                    >= Stage::ALL.iter().position(|stage| *stage == to);
                if back {
                    assert!(!from.may_become(to), "{from:?} to {to:?}");
                }
            }
            assert!(!Stage::Rejected.may_become(from) && !Stage::Gone.may_become(from));
        }
        assert!(Stage::Fetching.may_become(Stage::Rejected));
        assert!(!Stage::Ready.may_become(Stage::Rejected), "a ready version drains");
        assert!(Stage::Loading.may_become(Stage::Gone), "a load may be called off");
    }

    #[test]
    fn reasons_are_cut_between_characters() {
        let long = Rejection::new(RejectKind::BadModel, "ä".repeat(Rejection::MOST));
        assert_eq!(long.reason.len(), Rejection::MOST);
    }
}
