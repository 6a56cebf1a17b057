//! Metrics of one route's shadow.

/// Counts what became of mirrored requests, and how their answers compare.
#[derive(Debug, Default)]
pub struct ShadowMetrics {}
