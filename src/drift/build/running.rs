//! The second pass over rows that come as they come: as many as there are, and
//! others than the first pass saw.

use super::blocks::{BLOCK_ROWS, MAX_BLOCKS};
use super::count::{counted, see};
use super::{ColumnSpec, Value};
use crate::drift::bins::Bins;
use crate::drift::profile::{Column, Summary};
use crate::drift::tally::Tally;

/// Counts values of a column in the order of time, until it is told to stop.
pub struct Running {
    spec: ColumnSpec,
    bins: Bins,
    summary: Option<Summary>,
    blocks: Vec<Tally>,
    /// Rows of a block, and of the last one so far. Where there are too many
    /// blocks, each two become one.
    size: u64,
    last: u64,
}

impl Running {
    pub(super) fn new(spec: ColumnSpec, bins: Bins, summary: Option<Summary>) -> Running {
        let blocks = vec![Tally::new(bins.count())];
        Running { spec, bins, summary, blocks, size: BLOCK_ROWS, last: 0 }
    }

    pub fn see(&mut self, value: Value<'_>) {
        if self.last == self.size {
            self.next_block();
        }
        self.last += 1;
        if let Some(tally) = self.blocks.last_mut() {
            see(&self.spec, &self.bins, tally, value);
        }
    }

    fn next_block(&mut self) {
        if self.blocks.len() as u64 >= MAX_BLOCKS {
            self.blocks = self
                .blocks
                .chunks(2)
                .map(|pair| {
                    let mut both = Tally::new(self.bins.count());
                    pair.iter().for_each(|block| both.merge(block));
                    both
                })
                .collect();
            self.size *= 2;
        }
        self.blocks.push(Tally::new(self.bins.count()));
        self.last = 0;
    }

    /// The column. A last block that is not full is part of the one before.
    pub fn finish(mut self) -> Column {
        if self.last < self.size
            && let Some(short) = self.blocks.pop()
        {
            match self.blocks.last_mut() {
                Some(before) => before.merge(&short),
                None => self.blocks.push(short),
            }
        }
        counted(self.spec, self.bins, self.summary, &self.blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::build::{BuildOptions, Survey};
    use crate::drift::profile::Kind;

    fn running(values: impl Iterator<Item = f64>) -> Running {
        let spec = ColumnSpec::new("a", "x", Kind::Values);
        let mut survey = Survey::new(spec, BuildOptions::default());
        values.for_each(|value| survey.see(Value::Number(value)));
        survey.finish_for_others().expect("bins")
    }

    fn column(values: impl Iterator<Item = f64>) -> Column {
        let mut running = running((0..100).map(|at| f64::from(at % 2)));
        values.for_each(|value| running.see(Value::Number(value)));
        running.finish()
    }

    #[test]
    fn every_value_is_counted_once_however_many_there_are() {
        for rows in [0u64, 1, 299, 300, 301, 15_000, 15_001, 100_000] {
            let column = column((0..rows).map(|at| if at % 4 == 0 { 1.0 } else { 0.0 }));
            let ones = rows.div_ceil(4);
            assert_eq!(column.reference.bins()[..2], [rows - ones, ones], "{rows}");
        }
    }

    #[test]
    fn blocks_that_differ_tell_of_it_also_after_they_grew() {
        let steady = column((0..60_000).map(|at| f64::from(at % 2)));
        assert_eq!(steady.dispersion, 1.0);
        // Half of the time nearly all are ones.
        let wave = column((0..60_000).map(|at| f64::from(u8::from(at % 30_000 < 15_000))));
        assert!(wave.dispersion > 100.0, "{}", wave.dispersion);
    }
}
