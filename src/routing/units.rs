//! Distinct units by variant, for the test of their ratio: a sample that is
//! bounded, and that no request waits for.
//!
//! Kept are the units whose hash falls under a threshold, so that a unit is in
//! the sample or not whatever its variant is and however often it comes. The
//! threshold and the place in the table look at the lower half of the hash
//! alone; the slot, and so the variant, comes from the upper half.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use super::route::Unit;
use super::split::MAX_VARIANTS;

/// Units that a table has place for: 128 KiB.
const CAPACITY: usize = 1 << 14;
/// Units at which the threshold is halved.
const CROWDED: usize = CAPACITY / 4 * 3;
/// Places that are looked at for one unit.
const PROBES: usize = 32;
/// Bits of an entry that hold the variant; a free entry is 0.
const VARIANT_BITS: u32 = 5;

/// The distinct units of one route under one set of weights.
///
/// Memory is taken when the first unit comes, because most of many routes are
/// idle or not divided. A unit that comes while its places in the table are
/// taken is dropped until [`Units::tidy`] has made room. That favours no
/// variant: which units find their places taken depends on when they come and
/// on the lower half of their hash, neither of which knows the variant.
#[derive(Debug)]
pub struct Units {
    variants: usize,
    table: ArcSwapOption<Table>,
}

/// Open addressing; entries are written once and stay for the table's life.
#[derive(Debug)]
struct Table {
    /// Ranks below it are kept.
    threshold: u64,
    /// The lower 59 bits of the hash above the variant, which counts from 1.
    entries: Box<[AtomicU64]>,
    counts: [AtomicU32; MAX_VARIANTS],
}

impl Units {
    /// For a route of so many variants; those from [`MAX_VARIANTS`] on are not counted.
    pub fn new(variants: usize) -> Units {
        Units { variants: variants.min(MAX_VARIANTS), table: ArcSwapOption::const_empty() }
    }

    /// Notes that the split gave a unit to a variant. A unit keeps the variant
    /// of its first exposure. Takes no lock and waits for nobody.
    pub fn saw(&self, unit: &Unit, variant: usize) {
        if variant >= self.variants {
            return;
        }
        if let Some(table) = &*self.table.load() {
            table.insert(unit.hash, variant);
            return;
        }
        let table = Arc::new(Table::new(1 << 32));
        table.insert(unit.hash, variant);
        let before = self.table.compare_and_swap(&None::<Arc<Table>>, Some(table));
        // Another thread was faster.
        if let Some(table) = &*before {
            table.insert(unit.hash, variant);
        }
    }

    /// Makes room when the table is crowded: halves the threshold, and keeps
    /// the units that are still under it. To be called by one thread, about
    /// twice a second. What requests add meanwhile may be forgotten, until
    /// the unit's next request.
    pub fn tidy(&self) {
        let Some(crowded) = self.table.load_full() else { return };
        if crowded.used() < CROWDED {
            return;
        }
        let table = Table::new(crowded.threshold / 2);
        for entry in &crowded.entries {
            let entry = entry.load(Ordering::Relaxed);
            if let Some(variant) = variant_of(entry) {
                table.insert(entry >> VARIANT_BITS, variant);
            }
        }
        self.table.store(Some(Arc::new(table)));
    }

    /// Distinct units of the sample, by variant.
    pub fn counts(&self) -> Vec<u64> {
        let table = self.table.load();
        let count = |variant: usize| {
            let counts = table.as_ref().map(|table| &table.counts[variant]);
            counts.map_or(0, |count| u64::from(count.load(Ordering::Relaxed)))
        };
        (0..self.variants).map(count).collect()
    }
}

impl Table {
    fn new(threshold: u64) -> Table {
        let entries = (0..CAPACITY).map(|_| AtomicU64::new(0)).collect();
        Table { threshold, entries, counts: Default::default() }
    }

    fn used(&self) -> usize {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed) as usize).sum()
    }

    /// Looks at the lower 59 bits of the hash.
    fn insert(&self, hash: u64, variant: usize) {
        let rank = hash & u64::from(u32::MAX);
        if rank >= self.threshold {
            return;
        }
        let identity = hash << VARIANT_BITS;
        let own = identity | (variant as u64 + 1);
        for probe in 0..PROBES {
            // The lower bits stay even while the threshold sinks.
            let entry = &self.entries[(rank as usize).wrapping_add(probe) % CAPACITY];
            let mut found = entry.load(Ordering::Relaxed);
            if found == 0 {
                // Nothing hangs on the entry but its own bits.
                let written = entry.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed);
                match written {
                    Ok(_) => {
                        self.counts[variant].fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    Err(other) => found = other,
                }
            }
            if found >> VARIANT_BITS == identity >> VARIANT_BITS {
                return;
            }
        }
    }
}

/// `None` for a free entry.
fn variant_of(entry: u64) -> Option<usize> {
    let stored = entry & ((1 << VARIANT_BITS) - 1);
    (stored as usize).checked_sub(1)
}

#[cfg(test)]
#[path = "units_tests.rs"]
mod tests;
