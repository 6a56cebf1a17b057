//! The first load of a model: in a process of its own, which a hostile model may
//! kill without harm.

mod report;

pub use report::{ProbeLimits, ProbeReport, ProbeRequest};
