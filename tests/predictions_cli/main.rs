//! `modelgate predictions` as its users run it, on logs that the tests write.

mod delete;
mod engine;
mod stats;
mod tail;
mod verify;
mod world;
