//! What changes what is served.

mod decide;
mod handle;
mod load;
mod status;

pub use handle::{Asked, Control, ControlError};
pub use load::{Loads, ModelSettings, load_folder};
pub use status::{
    AuditEntry, Hold, ModelStatus, ProbeStatus, RegistryStatus, Status, VersionStatus,
};
