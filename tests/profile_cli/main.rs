//! `modelgate profile` as its users run it, on files that the tests write. What
//! it counts is compared with the same counted plainly.

#[path = "../support/mod.rs"]
mod support;

mod bad;
mod build;
mod compare;
mod model;
mod rules;
mod world;
