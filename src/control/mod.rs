//! What changes what is served.

mod load;

pub use load::{Loads, ModelSettings, load_folder};
