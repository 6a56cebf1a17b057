//! What changes what is served.

mod handle;
mod load;
mod status;

pub use handle::{Asked, Control, ControlError};
#[cfg(feature = "testing")]
pub use handle::{Command, Reply};
pub use load::{Loads, ModelSettings, load_folder};
pub use status::{
    AuditEntry, Hold, ModelStatus, ProbeStatus, RegistryStatus, Status, VersionStatus,
};
