//! Distinct units by variant.

use super::route::Unit;

#[derive(Debug, Default)]
pub struct Units {}

impl Units {
    pub fn new(variants: usize) -> Units {
        let _ = variants;
        Units {}
    }

    /// Remembers that a unit was given a variant.
    pub fn saw(&self, unit: &Unit, variant: usize) {
        let _ = (unit, variant);
    }
}
