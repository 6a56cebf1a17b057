//! The second pass: exact counts, and how much they vary from block to block.

use super::blocks::count_of_blocks;
use super::{BuildError, BuildOptions, ColumnSpec, Value, rounded};
use crate::drift::bins::Bins;
use crate::drift::profile::{Column, Kind, Summary};
use crate::drift::significance::dispersion;
use crate::drift::tally::{Rate, Tally};

/// Counts every value of a column.
pub struct Count {
    spec: ColumnSpec,
    bins: Bins,
    summary: Option<Summary>,
    /// By block of rows; one where rows have no order.
    blocks: Vec<Tally>,
    /// Of the first pass, and so far.
    rows: u64,
    seen: u64,
}

impl Count {
    pub(super) fn new(
        spec: ColumnSpec,
        options: BuildOptions,
        bins: Bins,
        summary: Option<Summary>,
        rows: u64,
    ) -> Count {
        let blocks = if options.is_ordered { count_of_blocks(rows).max(1) } else { 1 };
        let blocks = vec![Tally::new(bins.count()); blocks];
        Count { spec, bins, summary, blocks, rows, seen: 0 }
    }

    /// In the order of the first pass, which is that of time where data is ordered.
    pub fn see(&mut self, value: Value<'_>) {
        self.see_in(self.block(), value);
    }

    /// A value of the block of time that [`super::Blocks`] tells.
    pub fn see_in(&mut self, block: usize, value: Value<'_>) {
        self.seen += 1;
        // Data that changed between the passes may have more; `finish` tells.
        let last = self.blocks.len() - 1;
        see(&self.spec, &self.bins, &mut self.blocks[block.min(last)], value);
    }

    /// The one that the next value belongs to: all are of the same size, but for one row.
    fn block(&self) -> usize {
        let of_all = u128::from(self.seen) * self.blocks.len() as u128;
        (of_all / u128::from(self.rows.max(1))) as usize
    }

    /// The column.
    ///
    /// # Errors
    /// Where the passes did not see the same number of values.
    pub fn finish(self) -> Result<Column, BuildError> {
        if self.seen != self.rows {
            return Err(BuildError::Changed(self.spec.name, self.rows, self.seen));
        }
        Ok(counted(self.spec, self.bins, self.summary, &self.blocks))
    }
}

/// Counts a value as the tensor would hold it.
pub(super) fn see(spec: &ColumnSpec, bins: &Bins, tally: &mut Tally, value: Value<'_>) {
    match value {
        Value::Missing => tally.note(Rate::Missing),
        Value::Number(number) => bins.count_number(rounded(spec, number), tally),
        Value::Text(text) => bins.count_text(text.as_bytes(), tally),
    }
}

/// The column of what was counted in blocks of rows, in the order of their time.
pub(super) fn counted(
    spec: ColumnSpec,
    bins: Bins,
    summary: Option<Summary>,
    blocks: &[Tally],
) -> Column {
    let mut all = Tally::new(bins.count());
    blocks.iter().for_each(|block| all.merge(block));
    let mut reference = Tally::of(all.bins().to_vec());
    reference.set(Rate::Missing, all.rate(Rate::Missing));
    reference.set(Rate::Invalid, all.rate(Rate::Invalid));
    let blocks: Vec<Vec<u64>> = blocks.iter().map(|block| block.bins().to_vec()).collect();
    Column {
        name: spec.name,
        tensor: spec.tensor,
        index: spec.index,
        kind: kind_of(spec.kind, &bins),
        derived: spec.derived,
        bins,
        reference,
        summary,
        dispersion: dispersion(&blocks),
        log: spec.log,
    }
}

fn kind_of(asked: Kind, bins: &Bins) -> Kind {
    match bins {
        Bins::Values(_) if asked == Kind::Numeric => Kind::Values,
        _ => asked,
    }
}
