//! Whether live traffic still looks like what a model was trained on.
//! Pure but for `live`: counts in, scores and states out; no clock and no I/O.
//!
//! - `profile`, `document`, `validate`: the reference, `profile.json`
//! - `fits`: whether a profile is about the inputs and outputs that a model has
//! - `build`: a column of a profile from data, in two passes
//! - `bins`, `derive`, `tally`: which bin a value falls into, and its counts
//! - `windows`: counts over the last hour and day
//! - `effect`, `significance`, `gamma`, `score`: how far live counts are from
//!   the reference's, and whether that can be chance
//! - `alarm`: what of it is an alarm
//! - `compare`: two samples of live rows beside each other
//! - `sequential`: evidence between windows
//! - `live`: the traffic of versions that are served
//!
//! # The choices
//!
//! - **Fixed edges, exact counts.** Bins come with the reference, so counts
//!   add up over gateways and hours, and their p-values mean something.
//! - **Missing values are no bin.** They, and what is out of range or unseen,
//!   are rates of their own: a feed that breaks is not drift.
//! - **Effect and significance.** With many rows every difference is
//!   significant; with few, chance alone has a large effect. An alarm needs both.
//! - **The reference is a sample.** All tests compare two samples.
//! - **Rows are not independent.** The reference's own dispersion over time
//!   divides the test's statistic.

pub mod alarm;
pub mod bins;
pub mod build;
pub mod compare;
pub mod derive;
mod document;
pub mod effect;
mod fits;
pub mod gamma;
pub mod live;
pub mod profile;
#[cfg(test)]
mod profile_tests;
pub mod score;
pub mod sequential;
pub mod significance;
pub mod tally;
mod validate;
pub mod windows;

pub use alarm::{Alarm, AlarmRule, Evaluated, State};
pub use bins::{Bins, MAX_BINS};
pub use derive::Derived;
pub use fits::Misfit;
pub use profile::{Column, Kind, Profile, ProfileError};
pub use score::Score;
pub use sequential::{Detector, DetectorOptions};
pub use tally::{Rate, Tally};
pub use windows::{DAY, HOUR, Ring, Window};
