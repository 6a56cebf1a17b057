//! What may begin, and what is refused: budgets, limits, classes, breakers.
//! They outlive snapshots of the catalog.

mod breaker;
mod budget;
mod law;
mod limiter;
#[cfg(test)]
mod simulation;

pub use breaker::{Breaker, Failure, Passage};
pub use budget::{ByteBudget, Reserved};
pub use limiter::{Limiter, LimiterOptions, Permit};
