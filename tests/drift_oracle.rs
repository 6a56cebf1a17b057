//! Drift's figures are those of numpy, scipy, statsmodels and Evidently on the
//! same counts, of which `drift_oracle/fixtures.py` makes the fixtures, and those
//! of alibi-detect and NannyML, of which `others.py` does; and on data with drift
//! that is known, alarms are where it is.

use modelgate::drift::build::{self, BuildOptions, ColumnSpec};
use modelgate::drift::effect::{js_distance, shares};
use modelgate::drift::gamma::chi_square_tail;
use modelgate::drift::significance::{dispersion, false_discoveries, pearson};
use modelgate::drift::{
    AlarmRule, Bins, Column, Detector, DetectorOptions, Evaluated, Kind, Profile, Rate, Score,
    State, Tally,
};
use serde_json::{Value, json};

fn fixture(text: &str) -> Vec<Value> {
    serde_json::from_str(text).expect("a fixture")
}

/// A column that Python made of the data, read as a profile is.
fn column(document: &Value) -> Column {
    let profile = json!({
        "schema": "modelgate.drift.profile/v1", "model": "m", "inputs": [document],
        "alarm": {"min_reference_rows": 100},
    });
    let profile = Profile::parse(profile.to_string().as_bytes()).expect("a profile");
    profile.inputs.into_iter().next().expect("a column")
}

fn counts(value: &Value) -> Vec<u64> {
    serde_json::from_value(value.clone()).expect("counts")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// Equal to 1e-12, or so much of the number.
fn assert_near(found: f64, expected: &Value, relative: f64, what: &str) {
    let expected = number(expected);
    let error = (found - expected).abs();
    assert!(error <= (relative * expected).max(1e-12), "{what}: {found}, expected {expected}");
}

/// Equal divergences, whose square root is the distance: they are sums of
/// terms of either sign.
fn assert_distance(found: f64, expected: &Value, what: &str) {
    let expected = number(expected);
    let error = (found * found - expected * expected).abs();
    assert!(error <= 1e-15, "{what}: {found}, expected {expected}");
}

fn assert_scores(score: &Score, expected: &Value, what: &str) {
    assert_near(score.psi, &expected["psi"], 0.0, what);
    assert_near(score.psi_adjusted, &expected["psi_adjusted"], 0.0, what);
    assert_distance(score.js_distance, &expected["js_distance"], what);
    assert_eq!(Some(score.significance.df as u64), expected["df"].as_u64(), "{what}");
    assert_near(score.significance.chi2, &expected["chi2"], 1e-10, what);
}

#[test]
fn tails_are_those_of_scipy() {
    let tables: Value =
        serde_json::from_str(include_str!("drift_oracle/tables.json")).expect("JSON");
    for row in tables["chi_square_tails"].as_array().expect("rows") {
        let (chi2, df) = (number(&row[0]), row[1].as_u64().expect("a count") as usize);
        let (found, expected) = (chi_square_tail(chi2, df), number(&row[2]));
        assert!((found - expected).abs() <= 1e-10 * expected, "{row}: {found}");
    }
    let clumped = &tables["dispersion"];
    let blocks: Vec<Vec<u64>> = serde_json::from_value(clumped["blocks"].clone()).expect("blocks");
    assert_near(dispersion(&blocks), &clumped["value"], 1e-12, "dispersion");
}

#[test]
fn discoveries_are_those_of_statsmodels() {
    let tables: Value =
        serde_json::from_str(include_str!("drift_oracle/tables.json")).expect("JSON");
    for case in tables["false_discoveries"].as_array().expect("cases") {
        let p: Vec<f64> = serde_json::from_value(case["p"].clone()).expect("numbers");
        let found = false_discoveries(&p, number(&case["rate"]));
        assert_eq!(json!(found), case["rejected"], "{case}");
    }
}

/// SplitMix64, as the script has it.
struct Random(u64);

impl Random {
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn shaped(shape: &str, u: f64) -> f64 {
    match shape {
        "even" => u * 8.0 - 3.0,
        "squared" => u * u * 100.0,
        "rounded" => (u * u * 60.0).floor() / 4.0,
        "half_zero" => (u - 0.5).max(0.0),
        "single" => f64::from((u * u * 7.1) as f32),
        other => panic!("{other}"),
    }
}

#[test]
fn columns_are_built_as_numpy_would() {
    for case in fixture(include_str!("drift_oracle/samples.json")) {
        let shape = case["shape"].as_str().expect("a name");
        let mut random = Random(case["seed"].as_u64().expect("a seed"));
        let rows = case["rows"].as_u64().expect("a count");
        let x: Vec<f64> = (0..rows).map(|_| shaped(shape, random.share())).collect();
        let y: Vec<f64> = (0..700).map(|_| shaped(shape, random.share().powf(1.2))).collect();
        let built = build::column(
            ColumnSpec::new(shape, shape, Kind::Score),
            BuildOptions::default(),
            || x.iter().map(|value| build::Value::Number(*value)),
        );
        let (built, expected) = (built.expect("a column"), column(&case["column"]));
        let (found, known) = (built.summary.expect("numbers"), expected.summary.expect("numbers"));
        assert_eq!(
            [found.min, found.max, found.p001, found.p999],
            [known.min, known.max, known.p001, known.p999],
            "{shape}"
        );
        assert!((found.mean - known.mean).abs() < 1e-12 * known.std, "{shape}");
        assert!((found.std / known.std - 1.0).abs() < 1e-12, "{shape}");
        assert_eq!(built.bins, expected.bins, "{shape}");
        assert_eq!(built.reference, expected.reference, "{shape}");

        let mut live = built.tally();
        y.iter().for_each(|value| built.bins.count_number(*value, &mut live));
        assert_eq!(live.bins(), counts(&case["live"]), "{shape}");
        let score = built.score(&live);
        let ks = score.ks_statistic.expect("numbers");
        assert!(ks <= number(&case["ks"]) + 1e-12, "{shape}: {ks}");
        assert!(ks > 0.5 * number(&case["ks"]), "{shape}: {ks} of {}", case["ks"]);
        let Bins::Edges(edges) = &built.bins else { panic!("edges") };
        let bounds = edges.bounds();
        let widest = bounds.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        let wasserstein = score.wasserstein_stddevs.expect("numbers");
        let apart = (wasserstein - number(&case["wasserstein"])).abs();
        assert!(
            apart <= widest / known.std,
            "{shape}: {wasserstein}, exactly {}",
            case["wasserstein"]
        );
        assert!(apart < 0.05, "{shape}: {wasserstein}, exactly {}", case["wasserstein"]);
    }
}

#[test]
fn evidence_is_that_of_the_formula() {
    for case in fixture(include_str!("drift_oracle/detector.json")) {
        let mut detector = Detector::new(&counts(&case["reference"]), DetectorOptions::default());
        let course = case["evidence_log10"].as_array().expect("numbers");
        for (block, expected) in case["blocks"].as_array().expect("blocks").iter().zip(course) {
            detector.observe(&counts(block));
            let found = detector.evidence_log10();
            assert!((found - number(expected)).abs() < 1e-9, "{found}, expected {expected}");
        }
        assert!(detector.is_alarmed());
    }
}

/// Census data of three years against the year before them. Half of the
/// columns differ significantly, none by much: no alarm.
#[test]
fn large_data_that_hardly_differs_raises_no_alarm() {
    let cases = fixture(include_str!("drift_oracle/employment.json"));
    let columns: Vec<Column> = cases.iter().map(|case| column(&case["column"])).collect();
    for (year, significant) in [("2016", 5), ("2017", 8), ("2018", 10)] {
        let scores: Vec<Score> = cases
            .iter()
            .zip(&columns)
            .map(|(case, column)| {
                let (expected, what) = (&case["years"][year], format!("{} {year}", column.name));
                let score = column.score(&Tally::of(counts(&expected["live"])));
                assert_scores(&score, expected, &what);
                assert!(
                    (score.significance.p / number(&expected["p"]) - 1.0).abs() < 1e-9,
                    "{what}"
                );
                let plain = &expected["unsmoothed"];
                assert_near(score.unsmoothed.psi, &plain["psi"], 0.0, &what);
                assert_near(score.unsmoothed.kl, &plain["kl"], 0.0, &what);
                assert_near(score.unsmoothed.hellinger, &plain["hellinger"], 0.0, &what);
                let bits = score.unsmoothed.js_distance;
                assert_distance(bits, &plain["js_distance"], &what);
                let nats = bits * std::f64::consts::LN_2.sqrt();
                assert_distance(nats, &plain["js_distance_nats"], &what);
                score
            })
            .collect();
        let found = scores.iter().filter(|score| score.significance.p < 0.01).count();
        assert_eq!(found, significant, "{year}");
        let states = judged(&columns, &scores);
        assert!(states.iter().all(|state| *state == State::Ok), "{year}: {states:?}");
    }
}

fn judged(columns: &[Column], scores: &[Score]) -> Vec<State> {
    let rule = AlarmRule::default();
    let evaluated: Vec<Evaluated<'_>> = columns
        .iter()
        .zip(scores)
        .map(|(column, score)| Evaluated { score, min_rows: column.min_rows(rule.min_rows) })
        .collect();
    rule.judge(&evaluated)
}

/// Five of nine columns change in the middle: at every size of windows they
/// are found in all windows after it, and no other is found in any.
#[test]
fn changed_columns_are_found_and_no_others() {
    let cases = fixture(include_str!("drift_oracle/car_loan.json"));
    let columns: Vec<Column> = cases.iter().map(|case| column(&case["column"])).collect();
    let changed =
        ["car_value", "salary_range", "loan_length", "repaid_loan_on_prev_car", "y_pred_proba"];
    for (chunks, cells) in [(10, (65, 25)), (2, (325, 125)), (1, (650, 250))] {
        let (mut clean, mut drifted) = (0, 0);
        for window in 0..100 / chunks {
            let is_after = window * chunks >= 50;
            let scores: Vec<Score> = cases
                .iter()
                .zip(&columns)
                .map(|(case, column)| {
                    let mut live = column.tally();
                    for chunk in window * chunks..(window + 1) * chunks {
                        live.merge(&Tally::of(counts(&case["chunks"][chunk])));
                    }
                    column.score(&live)
                })
                .collect();
            for (column, state) in columns.iter().zip(judged(&columns, &scores)) {
                let expected = is_after && changed.contains(&&*column.name);
                *(if expected { &mut drifted } else { &mut clean }) += 1;
                let where_ = format!("{} in window {window} of {} rows", column.name, chunks * 500);
                assert_eq!(state == State::Drifted, expected, "{where_}: {state:?}");
            }
        }
        assert_eq!((clean, drifted), cells);
    }
}

/// alibi-detect computes with 32 bits. Where there are two bins it corrects for
/// continuity (Yates), which makes the test say less than its level; we do not.
#[test]
fn the_test_is_that_of_alibi_detect() {
    let cases = fixture(include_str!("drift_oracle/alibi.json"));
    let found = |case: &Value| pearson(&counts(&case["reference"]), &counts(&case["live"]), 1.0);
    let many = cases.iter().filter(|case| found(case).df > 1);
    assert_eq!(many.clone().count(), 28);
    for case in many {
        let found = found(case);
        assert_near(found.chi2, &case["chi2"], 1e-5, &case.to_string());
        assert_near(found.p, &case["p"], 1e-4, &case.to_string());
    }
}

#[test]
fn the_distance_is_that_of_nannyml() {
    for case in fixture(include_str!("drift_oracle/nannyml.json")) {
        let [p, q] = ["reference", "live"].map(|side| shares(&counts(&case[side]), 0.0));
        assert_distance(js_distance(&p, &q), &case["js_distance"], &case.to_string());
    }
}

/// Departures from New York, against those of the winter: a day is the first
/// whose times are told in hours instead of minutes, and alarmed.
#[test]
fn a_change_of_units_is_found_the_same_day() {
    let cases = fixture(include_str!("drift_oracle/flights.json"));
    let columns: Vec<Column> = cases.iter().map(|case| column(&case["column"])).collect();
    for (case, column) in cases.iter().zip(&columns) {
        // The figures of plain Pearson, without the dispersion of winter days.
        let plain = Column { dispersion: 1.0, ..column.clone() };
        let score = plain.score(&Tally::of(counts(&case["september"]["live"])));
        assert_scores(&score, &case["september"], &column.name);
    }
    let days = cases[0]["days"].as_array().expect("days");
    for (at, day) in days.iter().enumerate() {
        let scores: Vec<Score> = cases
            .iter()
            .zip(&columns)
            .map(|(case, column)| column.score(&Tally::of(counts(&case["days"][at]["live"]))))
            .collect();
        let states = judged(&columns, &scores);
        let is_after = day["date"].as_str().expect("a date") >= "2013-06-01";
        assert_eq!(columns[0].name.as_ref(), "air_time");
        assert_eq!(states[0] == State::Drifted, is_after, "{}: {states:?} {scores:?}", day["date"]);
        // The distances did not change with the units.
        assert_eq!(columns[1].name.as_ref(), "distance");
        assert!(states[1] < State::Drifted, "{}: {:?}", day["date"], scores[1]);
    }
    assert_eq!(cases[0]["days"].as_array().map(Vec::len), Some(91));
    assert!(columns[0].reference.rate(Rate::Missing) > 0);
}
