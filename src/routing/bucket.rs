//! Buckets: where a unit stands among 100,000 slots of a thousandth of a
//! percent each. The function is stated in full in the module's own text.

use std::hash::Hasher;

use twox_hash::XxHash64;

/// Slots of a split; as many as there are thousandths of a percent.
pub const SLOTS: u32 = 100_000;

/// A salt that is hashed already, with the NUL that ends it.
#[derive(Clone, Debug)]
pub(super) struct Salt(XxHash64);

impl Salt {
    pub(super) fn new(salt: &str) -> Salt {
        let mut state = XxHash64::with_seed(0);
        state.write(salt.as_bytes());
        // No header value and no salt holds a NUL, so that no two pairs of
        // salt and unit are the same bytes.
        state.write(&[0]);
        Salt(state)
    }

    /// `XXH64(salt ‖ 0x00 ‖ unit)` with seed 0.
    pub(super) fn hash(&self, unit: &[u8]) -> u64 {
        let mut state = self.0.clone();
        state.write(unit);
        state.finish()
    }
}

/// The slot of a hash: its upper half, scaled. Integers only, so that every
/// language comes to the same.
pub(super) fn slot(hash: u64) -> u32 {
    let slot = ((hash >> 32) * u64::from(SLOTS)) >> 32;
    // Below 100,000, because the upper half is below 2^32.
    slot as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USERS: u32 = 200_000;

    fn slots(salt: &str) -> Vec<u32> {
        let salt = Salt::new(salt);
        (0..USERS).map(|i| slot(salt.hash(format!("user-{i}").as_bytes()))).collect()
    }

    /// Of Pearson's statistic for cells that are equally likely.
    fn chi_squared(cells: &[u64]) -> f64 {
        let expected = cells.iter().sum::<u64>() as f64 / cells.len() as f64;
        cells.iter().map(|&seen| (seen as f64 - expected).powi(2) / expected).sum()
    }

    /// How likely a chi-squared of `degrees` is at least so great, by Wilson
    /// and Hilferty's approximation, which is good to a few percent here.
    fn p_value(statistic: f64, degrees: f64) -> f64 {
        let spread = 2.0 / (9.0 * degrees);
        let z = ((statistic / degrees).cbrt() - (1.0 - spread)) / spread.sqrt();
        0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
    }

    #[test]
    fn published_vectors_hold() {
        for (salt, unit, hash, expected) in [
            ("fraud/r-01/split", "user-1", 0x15d7_c8ea_cd5c_8e56, 8_532),
            ("fraud/r-01/split", "user-2", 0x0f0d_f442_d550_3816, 5_880),
            ("fraud/r-01/split", "user-3", 0xb05a_79bc_80c5_9742, 68_888),
            ("fraud/r-01/split", "", 0xdbd4_ad27_81ff_5c58, 85_871),
            ("fraud/r-01/split", "42", 0x52bf_716a_2ca4_435b, 32_323),
            ("fraud/r-01/split", "Ünïcødé-✓", 0x1c0f_9517_f34b_a989, 10_961),
            ("fraud/r-02/split", "user-1", 0x2e49_1e3f_dbb6_4027, 18_080),
            ("fraud/r-01/shadow", "user-1", 0xc518_b606_3a1f_8f20, 76_990),
            ("", "", 0xe934_a84a_db05_2768, 91_095),
        ] {
            let found = Salt::new(salt).hash(unit.as_bytes());
            assert_eq!((found, slot(found)), (hash, expected), "{salt} {unit}");
        }
    }

    #[test]
    fn shares_of_200_000_users_are_the_published_ones() {
        let slots = slots("fraud/r-01/split");
        let below = |limit: u32| slots.iter().filter(|&&slot| slot < limit).count();
        assert_eq!([below(1_000), below(5_000), below(25_000)], [1_956, 9_898, 49_881]);
    }

    #[test]
    fn slots_are_uniform() {
        let mut cells = [0; 100];
        for slot in slots("fraud/r-01/split") {
            cells[slot as usize / 1_000] += 1;
        }
        let p = p_value(chi_squared(&cells), 99.0);
        assert!(p > 1e-4, "p = {p}");
    }

    /// In a table of two salts' slots each cell is as likely as any other only
    /// if neither says anything about the other.
    #[test]
    fn salts_are_independent() {
        for other in ["fraud/r-02/split", "fraud/r-01/shadow"] {
            let mut cells = [0; 100];
            for (one, two) in slots("fraud/r-01/split").into_iter().zip(slots(other)) {
                cells[(one / 10_000 * 10 + two / 10_000) as usize] += 1;
            }
            let p = p_value(chi_squared(&cells), 99.0);
            assert!(p > 1e-4, "{other}: p = {p}");
        }
        let dependent: Vec<u64> = (0..100).map(|i| if i % 11 == 0 { 20_000 } else { 0 }).collect();
        assert!(p_value(chi_squared(&dependent), 99.0) < 1e-4, "the test can fail");
    }

    proptest! {
        #[test]
        fn a_slot_is_one_of_them(hash: u64) {
            prop_assert!(slot(hash) < SLOTS);
        }

        /// A salt hashed beforehand is the same as hashing all at once.
        #[test]
        fn the_prefix_changes_nothing(salt in ".{0,80}", unit: Vec<u8>) {
            let whole = [salt.as_bytes(), &[0], &unit].concat();
            prop_assert_eq!(Salt::new(&salt).hash(&unit), XxHash64::oneshot(0, &whole));
        }
    }
}
