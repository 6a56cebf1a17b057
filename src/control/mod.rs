//! What changes what is served.

mod load;

pub use load::{ModelSettings, load_folder};
