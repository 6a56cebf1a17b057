//! Mirrored requests, from the offer to the report, with engines that are scripted.

mod comparisons;
mod engines;
mod offers;
mod runs;
mod world;
