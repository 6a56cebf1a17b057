//! What happens when processes die, registries vanish, disks fill up and
//! pushes mean harm. Each test here has a longer form, which `make test-chaos`
//! runs: it is marked as ignored.

mod crash;
mod full_disk;
mod hostile;
mod log;
mod mounted;
mod outage;
mod prediction_log;
#[path = "../support/mod.rs"]
mod support;
mod world;
