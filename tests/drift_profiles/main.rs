//! Where the profiles come from that a started gateway compares traffic with.

#[path = "../support/mod.rs"]
mod support;

mod embed;
mod order;
mod refusals;
mod reload;
mod samples;
mod world;
