//! What changes what is served: the life of every version, from a registry to
//! its end.
//!
//! `decide` and `wanted` are pure. `lifecycle` is the loop around them, with
//! what it hears (`poll`, `bring_up`, `waiting`) and what it does (`carry_out`,
//! `load`, `profiles`, `drain`, `report`, `journal`). `routes` is what names stand for
//! beside models.

mod bootstrap;
mod bring_up;
mod carry_out;
mod champions;
mod decide;
mod drain;
mod files;
mod handle;
mod journal;
mod lifecycle;
mod load;
mod loader;
mod memory;
mod model;
mod poll;
mod profiles;
mod registries;
mod report;
pub mod retrain;
mod retry;
mod routes;
mod settings;
mod status;
mod waiting;
mod wanted;

pub use decide::{Content, VersionPolicy};
pub use handle::{Asked, Control, ControlError, Promotion};
#[cfg(feature = "testing")]
pub use handle::{Command, Reply};
pub use journal::{Journal, JournalError};
pub use lifecycle::{Loads, Parts, start};
pub use profiles::{ProfileFault, check_profile, graph_digest};
pub use settings::{DeclaredRoute, DriftSettings, LabelTarget, ModelSettings, SettingsOf, Setup};
pub use status::{
    AuditEntry, Hold, ModelStatus, ProbeStatus, RegistryStatus, RouteChange, RouteStatus, Status,
    TrafficChange, VariantState, VariantStatus, VersionStatus,
};
