//! Blocks of time, from whose differences the dispersion is taken.

use super::sample::Sample;

/// Blocks of rows, at most.
pub(super) const MAX_BLOCKS: u64 = 50;

/// Rows of a block, at least: about those of a window.
pub(super) const BLOCK_ROWS: u64 = 300;

/// Times of which edges are made: all of them up to so many, else a sample.
const MOST_TIMES: usize = 1 << 20;

/// How many blocks so many rows make.
pub(super) fn count_of_blocks(rows: u64) -> usize {
    (rows / BLOCK_ROWS).min(MAX_BLOCKS) as usize
}

/// The first pass: the time of every row, in any unit.
pub struct Times {
    sample: Sample,
    rows: u64,
}

impl Default for Times {
    fn default() -> Times {
        Times { sample: Sample::new(MOST_TIMES), rows: 0 }
    }
}

impl Times {
    pub fn see(&mut self, time: f64) {
        self.rows += 1;
        self.sample.add(time);
    }

    pub fn finish(self) -> Blocks {
        let (blocks, sorted) = (count_of_blocks(self.rows), self.sample.sorted());
        // The last time of each block but the last; there are far more times than blocks.
        let mut edges: Vec<f64> =
            (1..blocks).map(|at| sorted[at * sorted.len() / blocks - 1]).collect();
        edges.dedup();
        Blocks { edges }
    }
}

/// Which block of about equally many rows a time belongs to. Rows of one time
/// are in one block, so there may be fewer blocks, of different sizes.
pub struct Blocks {
    edges: Vec<f64>,
}

impl Blocks {
    pub fn place(&self, time: f64) -> usize {
        self.edges.partition_point(|edge| *edge < time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(times: impl Iterator<Item = f64> + Clone) -> Vec<usize> {
        let mut first = Times::default();
        times.clone().for_each(|time| first.see(time));
        let blocks = first.finish();
        let mut sizes = vec![0; blocks.edges.len() + 1];
        times.for_each(|time| sizes[blocks.place(time)] += 1);
        sizes
    }

    #[test]
    fn blocks_are_alike_whatever_the_order() {
        let scattered = (0..3000u32).map(|at| f64::from((at * 7919) % 3000));
        assert_eq!(sizes(scattered), [300; 10]);
        assert_eq!(sizes((0..299).map(f64::from)), [299], "too few for two");
        assert_eq!(sizes((0..100_000).map(f64::from)), [2000; 50]);
    }

    #[test]
    fn one_time_is_one_block() {
        let three = sizes((0..9000u32).map(|at| f64::from(at % 3)));
        assert_eq!(three, [3000, 3000, 3000, 0], "nothing is later than the last");
    }
}
