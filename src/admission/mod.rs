//! What the gateway takes on. Outlives snapshots.

mod budget;

pub use budget::{ByteBudget, Reserved};
