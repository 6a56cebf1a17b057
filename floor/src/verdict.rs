//! Bars, what was measured against them, and the report.

use serde::Serialize;
use serde_json::{Value, json};

use crate::client::Sample;

/// A value and the side of its limit that it must stay on.
#[derive(Clone, Debug, Serialize)]
pub struct Bar {
    pub name: String,
    pub value: f64,
    pub limit: Limit,
    pub passed: bool,
    pub unit: &'static str,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Bar {
    pub fn new(name: impl Into<String>, value: f64, limit: Limit, unit: &'static str) -> Self {
        // A value that is not a number meets no bar.
        let passed = match limit {
            Limit::AtLeast(limit) => value >= limit,
            Limit::AtMost(limit) => value <= limit,
        };
        Self { name: name.into(), value, limit, passed, unit }
    }
}

#[derive(Debug)]
pub struct Verdict {
    scenario: &'static str,
    bars: Vec<Bar>,
    /// Measurements behind the bars.
    series: Vec<Value>,
}

impl Verdict {
    pub fn new(scenario: &'static str) -> Self {
        Self { scenario, bars: Vec::new(), series: Vec::new() }
    }

    pub fn bar(&mut self, bar: Bar) {
        self.bars.push(bar);
    }

    pub fn pairs(&mut self, name: &str, sides: [&str; 2], pairs: &[[Sample; 2]]) {
        self.series.push(json!({ "name": name, "sides": sides, "pairs": pairs }));
    }

    pub fn fact(&mut self, name: &str, fact: Value) {
        self.series.push(json!({ "name": name, "value": fact }));
    }

    pub fn passed(&self) -> bool {
        self.bars.iter().all(|bar| bar.passed)
    }

    pub fn print(&self) {
        println!();
        for Bar { name, value, limit, passed, unit } in &self.bars {
            let word = if *passed { "ok    " } else { "MISSED" };
            let (side, limit) = match limit {
                Limit::AtLeast(limit) => ("at least", limit),
                Limit::AtMost(limit) => ("at most", limit),
            };
            println!("{word} {name:<44} {value:>8.3}{unit} ({side} {limit}{unit})");
        }
    }

    pub fn to_json(&self) -> String {
        let report = json!({
            "scenario": self.scenario,
            "passed": self.passed(),
            "bars": self.bars,
            "series": self.series,
        });
        format!("{report:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_hold_at_their_limit_and_never_for_nan() {
        let passed = |value, limit| Bar::new("x", value, limit, "").passed;
        assert!(passed(0.58, Limit::AtLeast(0.58)) && passed(15.0, Limit::AtMost(15.0)));
        assert!(!passed(0.57, Limit::AtLeast(0.58)) && !passed(15.1, Limit::AtMost(15.0)));
        assert!(!passed(f64::NAN, Limit::AtLeast(0.0)) && !passed(f64::NAN, Limit::AtMost(1.0)));
    }
}
