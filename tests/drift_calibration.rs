//! How often drift is seen where there is none, and how soon where there is
//! some: simulations with fixed seeds. The long ones are run by
//! `cargo test --release --test drift_calibration -- --ignored --nocapture`,
//! which prints the figures; short ones of the same with every other test.

use modelgate::drift::bins::{EdgeBins, Scale};
use modelgate::drift::build::{self, BuildOptions, ColumnSpec, Value};
use modelgate::drift::{
    AlarmRule, Bins, Column, Detector, DetectorOptions, Evaluated, Kind, State, Tally,
};

/// SplitMix64, seeded.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Between 0 and 1, neither of them.
    fn share(&mut self) -> f64 {
        ((self.next() >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }

    /// Standard normal, by Box and Muller's transform.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.share().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.share()).cos()
    }

    /// Counts of rows that are equally likely to be in any bin.
    fn even(&mut self, rows: u64, bins: usize) -> Vec<u64> {
        let mut counts = vec![0; bins];
        for _ in 0..rows {
            let bin = ((self.next() >> 32) * bins as u64) >> 32;
            counts[bin as usize] += 1;
        }
        counts
    }

    fn drawn(&mut self, shares: &[f64]) -> usize {
        let mut left = self.share();
        let found = shares.iter().position(|share| {
            left -= share;
            left < 0.0
        });
        found.unwrap_or(shares.len() - 1)
    }
}

fn column(reference: Vec<u64>) -> Column {
    let edges = (1..reference.len()).map(|edge| edge as f64).collect();
    let bins = EdgeBins::new(edges, 0.0, reference.len() as f64, Scale::new(0.0, 1.0), false);
    Column {
        name: "x".into(),
        tensor: "x".into(),
        index: Vec::new(),
        kind: Kind::Numeric,
        derived: None,
        bins: Bins::Edges(bins),
        reference: Tally::of(reference),
        summary: None,
        dispersion: 1.0,
        log: None,
    }
}

/// Of windows without drift: share with p below 1 % of each number of bins, and alarms.
fn null_windows(windows: usize) -> ([f64; 4], usize) {
    const SIZES: [u64; 5] = [300, 500, 1000, 2000, 5000];
    let rule = AlarmRule::default();
    let mut random = Random(1);
    let mut alarms = 0;
    let shares = [2, 10, 20, 51].map(|bins| {
        let mut significant = 0;
        for _ in 0..windows / 4 / SIZES.len() {
            let column = column(random.even(10_000, bins));
            for rows in SIZES {
                let score = column.score(&Tally::of(random.even(rows, bins)));
                significant += usize::from(score.significance.p < 0.01);
                let min_rows = column.min_rows(rule.min_rows);
                let state = rule.judge(&[Evaluated { score: &score, min_rows }])[0];
                alarms += usize::from(state == State::Drifted);
            }
        }
        significant as f64 / (windows / 4) as f64
    });
    println!(
        "{windows} null windows: p < 1 % in {shares:.4?} (2, 10, 20, 51 bins), {alarms} alarms"
    );
    (shares, alarms)
}

#[test]
fn chance_is_seldom_significant_and_hardly_ever_an_alarm() {
    let (shares, alarms) = null_windows(20_000);
    assert!(shares.iter().all(|share| (0.007..=0.013).contains(share)), "{shares:?}");
    assert!(alarms <= 2, "{alarms}");
}

#[test]
#[ignore = "takes seconds in a release build, a minute in another"]
fn a_hundred_thousand_windows_without_drift() {
    let (shares, alarms) = null_windows(100_000);
    assert!(shares.iter().all(|share| (0.008..=0.012).contains(share)), "{shares:?}");
    assert!(alarms <= 10, "{alarms}");
}

/// Shares of the deciles of a standard normal variable that another normal
/// variable has.
fn normal_shares(mean: f64, deviation: f64) -> Vec<f64> {
    // Deciles of the standard normal distribution.
    let upper =
        [0.253_347_103_135_8, 0.524_400_512_708_041, 0.841_621_233_572_914, 1.281_551_565_544_6];
    let edges = upper.iter().rev().map(|edge| -edge).chain([0.0]).chain(upper);
    let below = edges.map(|edge| {
        let z: f64 = (edge - mean) / deviation;
        0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
    });
    let mut last = 0.0;
    below
        .chain([1.0])
        .map(|below| {
            let share = below - last;
            last = below;
            share
        })
        .collect()
}

/// False alarms of so many streams of 100,000 values without drift.
fn false_alarms(streams: u64, reference_rows: u64, options: DetectorOptions) -> u64 {
    let mut alarms = 0;
    for stream in 0..streams {
        let mut random = Random(1000 + stream);
        let reference = random.even(reference_rows, 10);
        let mut detector = Detector::new(&reference, options);
        for _ in 0..100_000 / options.block {
            detector.observe(&random.even(options.block, 10));
            if detector.is_alarmed() {
                alarms += 1;
                detector.reset(&reference);
            }
        }
    }
    println!(
        "{alarms} false alarms in {streams} streams, reference of {reference_rows}, {options:?}"
    );
    alarms
}

/// Median number of values from a change to its alarm, of streams that had
/// 10,000 values before it. Streams that raise none within 100,000 count so many.
fn delay(streams: u64, before: &[f64], after: &[f64], options: DetectorOptions) -> u64 {
    let block = |random: &mut Random, shares: &[f64]| {
        let mut counts = vec![0; shares.len()];
        (0..options.block).for_each(|_| counts[random.drawn(shares)] += 1);
        counts
    };
    let mut delays: Vec<u64> = (0..streams)
        .map(|stream| {
            let mut random = Random(5000 + stream);
            let mut reference = vec![0; before.len()];
            (0..10_000).for_each(|_| reference[random.drawn(before)] += 1);
            let mut detector = Detector::new(&reference, options);
            for _ in 0..10_000 / options.block {
                detector.observe(&block(&mut random, before));
            }
            let blocks = (1..=100_000 / options.block).find(|_| {
                detector.observe(&block(&mut random, after));
                detector.is_alarmed()
            });
            blocks.map_or(100_000, |blocks| blocks * options.block)
        })
        .collect();
    delays.sort_unstable();
    delays[delays.len() / 2]
}

#[test]
fn drift_is_found_soon() {
    let even = vec![0.1; 10];
    let options = DetectorOptions::default();
    for (mean, deviation, most) in [(0.25, 1.0, 900), (0.5, 1.0, 400), (0.0, 1.5, 400)] {
        let found = delay(15, &even, &normal_shares(mean, deviation), options);
        println!("mean {mean}, deviation {deviation}: {found} values");
        assert!(found <= most, "mean {mean}, deviation {deviation}: {found}");
    }
    // Errors of a fifth that become three tenths.
    let quick = DetectorOptions { block: 20, threshold: 5e3 };
    let found = delay(15, &[0.8, 0.2], &[0.7, 0.3], quick);
    println!("errors from 0.2 to 0.3: {found} values");
    assert!(found <= 600, "{found}");
}

#[test]
#[ignore = "takes seconds in a release build, a minute in another"]
fn streams_without_drift_raise_no_alarm() {
    // The bound is one in 100,000 blocks: 4 of 400 streams; the bar is 20.
    for reference_rows in [1_000, 10_000, 100_000] {
        let alarms = false_alarms(400, reference_rows, DetectorOptions::default());
        assert!(alarms <= 4, "{alarms}");
    }
    // One in 5,000 blocks of 20: one in a stream.
    let quick = DetectorOptions { block: 20, threshold: 5e3 };
    let alarms = false_alarms(100, 10_000, quick);
    assert!(alarms <= 100, "{alarms}");
    let even = vec![0.1; 10];
    for (mean, deviation, most) in [(0.25, 1.0, 600), (0.5, 1.0, 300), (0.0, 1.5, 300)] {
        let found = delay(200, &even, &normal_shares(mean, deviation), quick);
        println!("quick, mean {mean}, deviation {deviation}: {found} values");
        assert!(found <= most, "{found}");
    }
    for (mean, deviation, most) in [(0.25, 1.0, 900), (0.5, 1.0, 400), (0.0, 1.5, 400)] {
        let found = delay(200, &even, &normal_shares(mean, deviation), DetectorOptions::default());
        println!("mean {mean}, deviation {deviation}: {found} values");
        assert!(found <= most, "{found}");
    }
}

/// Share of windows of 1,000 rows with p below 1 %, of a series whose values
/// hang together (a first-order autoregression), with the dispersion of its reference.
fn dependent_windows(phi: f64, references: u64, windows: u64) -> f64 {
    let mut significant = 0;
    for reference in 0..references {
        let mut random = Random(9000 + reference);
        let mut value = random.normal();
        let mut series = |rows: usize| -> Vec<f64> {
            let step = (1.0 - phi * phi).sqrt();
            let next = || {
                value = phi * value + step * random.normal();
                value
            };
            std::iter::repeat_with(next).take(rows).collect()
        };
        let trained = series(10_000);
        let options = BuildOptions { is_ordered: true, ..BuildOptions::default() };
        let column = build::column(ColumnSpec::new("x", "x", Kind::Numeric), options, || {
            trained.iter().map(|value| Value::Number(*value))
        });
        let column = column.expect("a column");
        for _ in 0..windows {
            // Not right after one another.
            series(500);
            let mut live = column.tally();
            series(1000).iter().for_each(|value| column.bins.count_number(*value, &mut live));
            significant += u64::from(column.score(&live).significance.p < 0.01);
        }
    }
    significant as f64 / (references * windows) as f64
}

#[test]
fn rows_that_hang_together_are_allowed_for() {
    let share = dependent_windows(0.5, 10, 20);
    println!("autoregression of 0.5: p < 1 % in {share:.4}");
    assert!(share < 0.06, "{share}");
}

#[test]
#[ignore = "takes seconds in a release build, a minute in another"]
fn many_rows_that_hang_together() {
    let share = dependent_windows(0.5, 200, 50);
    println!("autoregression of 0.5: p < 1 % in {share:.4}");
    assert!(share < 0.025, "{share}");
}
