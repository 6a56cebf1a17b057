//! What is decided of a model in one evaluation.

use super::evidence::Evidence;

#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub verdict: Verdict,
    /// In words.
    pub why: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Nothing,
    /// There is evidence, which is not enough yet, or may not be acted on yet.
    Watching,
    /// For people to look at.
    Ticket(Box<Evidence>),
    /// For people to look at now: data broke.
    Page(Box<Evidence>),
    Request(Box<Evidence>),
    /// A request, but for its being sent.
    DryRun(Box<Evidence>),
}

impl Verdict {
    pub fn label(&self) -> &'static str {
        match self {
            Verdict::Nothing => "nothing",
            Verdict::Watching => "watching",
            Verdict::Ticket(_) => "ticket",
            Verdict::Page(_) => "page",
            Verdict::Request(_) => "request",
            Verdict::DryRun(_) => "dry_run",
        }
    }

    pub fn evidence(&self) -> Option<&Evidence> {
        match self {
            Verdict::Nothing | Verdict::Watching => None,
            Verdict::Ticket(evidence)
            | Verdict::Page(evidence)
            | Verdict::Request(evidence)
            | Verdict::DryRun(evidence) => Some(evidence),
        }
    }
}

/// A decision for which there is no evidence, or that changes nothing.
pub(super) fn nothing(why: impl Into<String>) -> Decision {
    Decision { verdict: Verdict::Nothing, why: why.into() }
}

pub(super) fn watching(why: impl Into<String>) -> Decision {
    Decision { verdict: Verdict::Watching, why: why.into() }
}
