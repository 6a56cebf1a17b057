//! What the measurements are held against.

use serde_json::json;

use super::times::{Phase, median_ms};
use super::{MODELS, Measured, WARM_UP};
use crate::bench::median;
use crate::verdict::{Bar, Limit, Verdict};

/// p99 in windows, against the quiet blocks': at most so many times as long, or
/// so much longer. And what is hoped for, of the swapped model and the other.
const RATIO: f64 = 1.5;
const LONGER_MS: f64 = 2.0;
const GOALS: [f64; 2] = [1.10, 1.05];
/// How much the gateway may grow from a fifth of the swaps to the last, in
/// percent, where there are enough of them to tell.
const GROWTH: f64 = 2.0;
const ENOUGH: usize = 500;
/// Marks of the gateway's memory are the median of so many swaps: what one
/// moment sees depends on what is being loaded.
const AROUND: usize = 10;

pub fn judge(measured: &Measured, most: f64, rate: f64) -> Verdict {
    let mut verdict = Verdict::new("swap");
    let swaps = measured.resident.len() - WARM_UP as usize;
    verdict.fact("load", json!({ "saturated_per_second": most, "rate_per_second": rate }));
    let windows = &measured.windows;
    let longest = windows.iter().max().map_or(0.0, |window| window.as_secs_f64() * 1e3);
    println!(
        "\n{swaps} swaps: {:.0} ms from push to served, windows of {:.0} ms (median; longest {longest:.0})",
        median_ms(&measured.took),
        median_ms(windows),
    );
    verdict.fact(
        "swaps",
        json!({
            "swaps": swaps, "push_to_served_ms": median_ms(&measured.took),
            "window_ms": median_ms(windows), "longest_window_ms": longest,
        }),
    );
    if let Some(example) = &measured.example {
        println!("first failure: {example}");
        verdict.fact("first failure", json!(example));
    }
    let zero = |name: &str, count: u64| Bar::new(name, count as f64, Limit::AtMost(0.0), "");
    verdict.bar(zero("failed requests", measured.failed));
    verdict.bar(zero("answers of mixed versions", measured.mixed));
    latencies(measured, &mut verdict);
    memory(&measured.resident, swaps, &mut verdict);
    verdict
}

fn latencies(measured: &Measured, verdict: &mut Verdict) {
    for (model, name) in MODELS.into_iter().enumerate() {
        for phase in Phase::ALL {
            let times = measured.times.of(model, phase);
            println!(
                "{name:<8} {:<15} {:>9} answers  p50 {:.3}  p99 {:.3}  p99.9 {:.3}  max {:.1} ms",
                phase.name(),
                times.count(),
                times.quantile_ms(0.5),
                times.quantile_ms(0.99),
                times.quantile_ms(0.999),
                times.max_ms()
            );
            let fact = measured.times.facts(model, phase);
            verdict.fact(&format!("{name}, {}", phase.name()), fact);
        }
        let p99 = |phase| measured.times.of(model, phase).quantile_ms(0.99);
        let (quiet, window) = (p99(Phase::Quiet), p99(Phase::Window));
        let ratio = window / quiet;
        let word = if ratio <= GOALS[model] { "met" } else { "missed" };
        println!("{name:<8} p99 in windows is {ratio:.3} of quiet; goal {} {word}", GOALS[model]);
        verdict
            .fact(&format!("{name}, p99 ratio"), json!({ "ratio": ratio, "goal": GOALS[model] }));
        let limit = (quiet * RATIO).max(quiet + LONGER_MS);
        // No answer in any window is no proof.
        let value =
            if measured.times.of(model, Phase::Window).count() > 0 { window } else { f64::NAN };
        verdict.bar(Bar::new(
            format!("{name}: p99 in windows"),
            value,
            Limit::AtMost(limit),
            " ms",
        ));
    }
}

fn memory(resident: &[u64], swaps: usize, verdict: &mut Verdict) {
    let at = |swap: usize| {
        let last = (WARM_UP as usize + swap).min(resident.len());
        let around = &resident[last.saturating_sub(AROUND)..last];
        median(around.iter().map(|bytes| *bytes as f64)) / f64::from(1 << 20)
    };
    let fifths: Vec<usize> = (0..=5).map(|fifth| swaps * fifth / 5).collect();
    let marks: Vec<f64> = fifths.iter().map(|swap| at(*swap)).collect();
    for (swap, mebibytes) in fifths.iter().zip(&marks) {
        println!("resident after {swap:>5} swaps: {mebibytes:.1} MiB");
    }
    verdict.fact("resident_mib", json!({ "swaps": fifths, "mib": marks }));
    let growth = (marks[5] / marks[1] - 1.0) * 100.0;
    if swaps >= ENOUGH {
        let name = "growth from a fifth of the swaps on";
        verdict.bar(Bar::new(name, growth, Limit::AtMost(GROWTH), " %"));
    } else {
        println!(
            "growth from a fifth of the swaps on: {growth:.1} % (no bar below {ENOUGH} swaps)"
        );
    }
}
