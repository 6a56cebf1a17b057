//! Which variant a unit belongs to, computed as the documentation says it.

use twox_hash::XxHash64;

/// A split between champion and candidate.
#[derive(Clone, Debug)]
pub struct Split {
    salt: String,
    /// Slots of the candidate, of 100,000.
    slots: u64,
}

impl Split {
    pub fn new(route: &str, percent: u32) -> Split {
        Split { salt: format!("{route}/r-01/split"), slots: u64::from(percent) * 1_000 }
    }

    pub fn is_candidate(&self, unit: &str) -> bool {
        let text = [self.salt.as_bytes(), &[0], unit.as_bytes()].concat();
        let slot = ((XxHash64::oneshot(0, &text) >> 32) * 100_000) >> 32;
        slot < self.slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_vectors_hold() {
        // Slots of the route `fraud`: user-1 8,532, user-2 5,880, user-3 68,888.
        for (percent, expected) in
            [(5, [false; 3]), (6, [false, true, false]), (9, [true, true, false])]
        {
            let split = Split::new("fraud", percent);
            let got = ["user-1", "user-2", "user-3"].map(|unit| split.is_candidate(unit));
            assert_eq!(got, expected, "{percent} %");
        }
    }
}
