//! Figures of live quality are those of scikit-learn on the same rows, from
//! the outputs of a model to the gauges: extraction, judgement and sums.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use modelgate::predictions::Truth;
use modelgate::quality::Declared;
use modelgate::quality::book::Tally;
use modelgate::quality::classification::Classification;
use modelgate::quality::extract::Meaning;
use modelgate::quality::judge::{Classes, judge};
use modelgate::quality::window::Merge;
use modelgate::types::{DType, Dim, Shape, Tensor, TensorSpec};
use serde_json::{Value, json};

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

    /// Between 0 and 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() % most as u64) as usize
    }

    /// About normal, of mean 0 and deviation 1: twelve uniform numbers.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.share()).sum::<f64>() - 6.0
    }
}

/// A case as Python is asked, and the figures that the gateway has of it.
struct Case {
    question: Value,
    ours: BTreeMap<String, f64>,
    /// What binning may change the area by.
    auc_error: f64,
}

fn spec(name: &str, dtype: DType, dims: &[i64]) -> TensorSpec {
    let dims = dims.iter().map(|dim| Dim::from(*dim)).collect();
    TensorSpec { name: Arc::from(name), dtype, dims, labels: Arc::from([]) }
}

fn floats(dtype: DType, dims: &[i64], values: &[f64]) -> Tensor {
    let data: Vec<u8> = values
        .iter()
        .flat_map(|value| match dtype {
            DType::Fp32 => (*value as f32).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        })
        .collect();
    let shape = Shape::new(dims.iter().copied()).expect("a shape");
    Tensor::new(dtype, shape, Bytes::from(data)).expect("a tensor")
}

fn weight(random: &mut Random, weighted: bool) -> f64 {
    if weighted { random.below(5) as f64 * 0.75 + 0.25 } else { 1.0 }
}

/// Three parts, as of three gateways, added up.
fn merged(rows: impl Iterator<Item = impl FnOnce(&mut Tally)>) -> Tally {
    let mut parts = [Tally::default(), Tally::default(), Tally::default()];
    for (at, row) in rows.enumerate() {
        row(&mut parts[at % 3]);
    }
    let mut whole = Tally::default();
    parts.iter().for_each(|part| whole.merge(part));
    whole
}

/// A classifier of `names` with scores in `dtype`.
fn classifier(
    random: &mut Random,
    names: &[&str],
    dtype: DType,
    rows: usize,
    weighted: bool,
) -> Case {
    let said = json!({"labels": names});
    let declared: Declared = serde_json::from_value(said).expect("options");
    let outputs = [spec("p", dtype, &[-1, names.len() as i64])];
    let meaning = Meaning::of(&outputs, &declared);
    let mut classes = Classes::new(&meaning);

    // Probabilities that mean something, with ties and certainty now and then.
    let (mut scores, mut actual, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rows {
        let truth = random.below(names.len());
        let certain = random.below(40) == 0;
        let mut row: Vec<f64> = (0..names.len())
            .map(|class| {
                let lift = if class == truth { 1.2 } else { 0.0 };
                if certain {
                    f64::from(u8::from(class == truth))
                } else {
                    (random.normal() + lift).exp()
                }
            })
            .collect();
        if random.below(10) == 0 && !certain {
            row.fill(1.0);
        }
        let sum: f64 = row.iter().sum();
        scores.extend(row.iter().map(|score| match dtype {
            DType::Fp32 => f64::from((score / sum) as f32),
            _ => score / sum,
        }));
        // Certainty is wrong at times: the logarithm is taken of the least probability.
        actual.push(if certain && random.below(2) == 0 {
            (truth + 1) % names.len()
        } else {
            truth
        });
        weights.push(weight(random, weighted));
    }
    let tensor = floats(dtype, &[rows as i64, names.len() as i64], &scores);
    let predicted = meaning.predictions(&[0], &[tensor], rows);
    let counted: Vec<_> = (0..rows)
        .map(|row| {
            // Labels come as numbers and as names.
            let truth = match row % 2 {
                0 => Truth::Value(actual[row] as f64),
                _ => Truth::Class(names[actual[row]].to_owned()),
            };
            (judge(&meaning, &mut classes, &predicted[row], &truth).expect("it fits"), weights[row])
        })
        .collect();
    let tally = merged(
        counted.iter().map(|(row, weight)| move |part: &mut Tally| part.add(row, *weight, 1.0)),
    );
    let sums = tally.classes.expect("classes");
    let positive = meaning.positive.as_deref().and_then(|name| classes.find(name));
    let likeliest: Vec<&str> = scores
        .chunks(names.len())
        .map(|row| {
            let best =
                (1..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best });
            names[best]
        })
        .collect();
    Case {
        question: json!({
            "task": "classes",
            "names": names,
            "weights": weights,
            "predicted": likeliest,
            "actual": actual.iter().map(|class| names[*class]).collect::<Vec<_>>(),
            "probabilities": scores.chunks(names.len()).collect::<Vec<_>>(),
            "least": if dtype == DType::Fp32 { f64::from(f32::EPSILON) } else { f64::EPSILON },
        }),
        auc_error: sums.auc().map_or(0.0, |auc| auc.error),
        ours: figures(&sums, positive),
    }
}

fn figures(sums: &Classification, positive: Option<usize>) -> BTreeMap<String, f64> {
    let mut ours = BTreeMap::new();
    let mut put = |name: &str, value: Option<f64>| {
        ours.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("accuracy", sums.accuracy().map(|figure| figure.value));
    for of in sums.averages(positive) {
        let average = of.average.label();
        put(&format!("precision/{average}"), of.precision.map(|figure| figure.value));
        put(&format!("recall/{average}"), of.recall.map(|figure| figure.value));
        put(&format!("f1/{average}"), of.f1.map(|figure| figure.value));
    }
    put("log_loss", sums.log_loss().map(|figure| figure.value));
    put("brier", sums.brier().map(|figure| figure.value));
    put("calibration", sums.calibration_error());
    put("auc", sums.auc().map(|auc| auc.area.value));
    ours
}

fn regressor(random: &mut Random, rows: usize, weighted: bool) -> Case {
    let meaning = Meaning::of(&[spec("y", DType::Fp64, &[-1, 1])], &Declared::default());
    let predicted: Vec<f64> = (0..rows).map(|_| random.normal() * 100.0 + 250.0).collect();
    let actual: Vec<f64> =
        predicted.iter().map(|value| value + random.normal() * 7.0 - 1.0).collect();
    let weights: Vec<f64> = (0..rows).map(|_| weight(random, weighted)).collect();
    let tensor = floats(DType::Fp64, &[rows as i64, 1], &predicted);
    let found = meaning.predictions(&[0], &[tensor], rows);
    let counted: Vec<_> = found
        .iter()
        .zip(&actual)
        .map(|(found, actual)| {
            judge(&meaning, &mut Classes::default(), found, &Truth::Value(*actual))
                .expect("it fits")
        })
        .collect();
    let rows = counted.iter().zip(&weights);
    let tally =
        merged(rows.map(|(row, weight)| move |part: &mut Tally| part.add(row, *weight, 1.0)));
    let figures = tally.errors.expect("errors").figures();
    let named = [("mae", figures.mae), ("rmse", figures.rmse), ("bias", figures.bias)];
    Case {
        question: json!({"task": "numbers", "predicted": predicted, "actual": actual, "weights": weights}),
        ours: named
            .into_iter()
            .map(|(name, of)| (name.to_owned(), of.expect("a value").value))
            .collect(),
        auc_error: 0.0,
    }
}

fn rewarded(random: &mut Random, rows: usize) -> Case {
    let meaning = Meaning::default();
    let rewards: Vec<f64> = (0..rows).map(|_| random.normal()).collect();
    let weights: Vec<f64> = (0..rows).map(|_| weight(random, true)).collect();
    let nothing = meaning.predictions(&[], &[], rows);
    let counted: Vec<_> = nothing
        .iter()
        .zip(&rewards)
        .map(|(row, reward)| {
            judge(&meaning, &mut Classes::default(), row, &Truth::Reward(*reward))
                .expect("a reward")
        })
        .collect();
    let rows = counted.iter().zip(&weights);
    let tally =
        merged(rows.map(|(row, weight)| move |part: &mut Tally| part.add(row, *weight, 1.0)));
    let mean = tally.rewards.expect("rewards").mean().expect("a mean").value;
    Case {
        question: json!({"task": "rewards", "rewards": rewards, "weights": weights}),
        ours: BTreeMap::from([("reward".to_owned(), mean)]),
        auc_error: 0.0,
    }
}

/// What scikit-learn says of the cases.
fn oracle(cases: &[Case]) -> Vec<BTreeMap<String, f64>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".cache/venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make setup-tests`", python.display());
    let mut child = Command::new(python)
        .arg(root.join("tests/quality/oracle.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let questions: Vec<&Value> = cases.iter().map(|case| &case.question).collect();
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(&serde_json::to_vec(&questions).expect("JSON")).expect("python reads");
    drop(stdin);
    let output = child.wait_with_output().expect("python ends");
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).expect("a list of figures")
}

#[test]
fn figures_are_those_of_scikit_learn() {
    let random = &mut Random(5);
    let mut cases = Vec::new();
    for weighted in [false, true] {
        for rows in [40, 600, 3000] {
            for dtype in [DType::Fp32, DType::Fp64] {
                cases.push(classifier(random, &["ham", "spam"], dtype, rows, weighted));
                let four = ["cat", "cow", "dog", "fox"];
                cases.push(classifier(random, &four, dtype, rows, weighted));
            }
            cases.push(regressor(random, rows, weighted));
            cases.push(rewarded(random, rows));
        }
    }
    let mut compared = 0;
    for (case, theirs) in cases.iter().zip(oracle(&cases)) {
        for (name, theirs) in &theirs {
            let ours = case.ours.get(name).unwrap_or_else(|| panic!("{name} is missing"));
            let apart = (ours - theirs).abs();
            let (task, rows) = (&case.question["task"], &case.question["weights"]);
            let rows = rows.as_array().map_or(0, Vec::len);
            if name == "auc" {
                assert!(apart <= case.auc_error + 1e-12, "{name}: {ours} {theirs}");
                assert!(apart < 5e-3 || rows < 100, "{name} of {rows} rows: {ours} {theirs}");
            } else {
                let most = 1e-9 * theirs.abs().max(1.0);
                assert!(apart <= most, "{task}, {rows} rows, {name}: {ours} instead of {theirs}");
            }
            compared += 1;
        }
        assert_eq!(case.ours.len(), theirs.len(), "{:?} {theirs:?}", case.ours);
    }
    assert!(compared > 150, "{compared}");
}

/// Share of `runs` in which an interval holds the truth.
fn coverage(runs: usize, mut run: impl FnMut() -> Option<((f64, f64), f64)>) -> f64 {
    let (mut held, mut all) = (0, 0);
    for _ in 0..runs {
        if let Some(((lower, upper), truth)) = run() {
            held += usize::from(lower <= truth && truth <= upper);
            all += 1;
        }
    }
    assert!(all > runs * 99 / 100, "intervals that are not there: {all} of {runs}");
    f64::from(held as u32) / f64::from(all as u32)
}

fn assert_covers(what: &str, share: f64) {
    println!("{what}: {:.2} %", share * 100.0);
    assert!((0.93..=0.97).contains(&share), "{what}: {share}");
}

const RUNS: usize = 4000;

#[test]
fn intervals_of_classifiers_hold_the_truth_in_95_of_100_cases() {
    use modelgate::quality::classification::{Judged, Probability};

    /// Scores of positives and negatives: uniform, and triangular towards their end.
    fn sample(random: &mut Random, rows: usize, weighted: bool) -> Classification {
        let mut sums = Classification::default();
        for _ in 0..rows {
            let positive = random.share() < 0.3;
            let (one, other) = (random.share(), random.share());
            let score = if positive { one.max(other) } else { one };
            let predicted = score >= 0.6;
            let probability = Probability {
                log_loss: -(if positive { score } else { 1.0 - score }).max(1e-9).ln(),
                brier: (score - f64::from(u8::from(positive))).powi(2),
                claimed: score,
                came_true: positive,
                is_binary: true,
            };
            let judged = Judged {
                predicted: 1 + usize::from(predicted),
                actual: 1 + usize::from(positive),
                correct: predicted == positive,
                probability: Some(probability),
            };
            sums.add(&judged, weight(random, weighted), 1.0);
        }
        sums
    }

    for (rows, weighted) in [(300, false), (1000, false), (500, true)] {
        let random = &mut Random(rows as u64);
        // Of so many rows, which is as good as the truth.
        let truth = sample(random, 3_000_000, weighted);
        let binary = truth.averages(Some(2))[0];
        type Figure = fn(&Classification) -> Option<modelgate::quality::intervals::Estimate>;
        let figures: [(&str, Figure, Option<f64>); 7] = [
            ("accuracy", |sums| sums.accuracy(), truth.accuracy().map(|of| of.value)),
            (
                "precision",
                |sums| sums.averages(Some(2))[0].precision,
                binary.precision.map(|of| of.value),
            ),
            ("recall", |sums| sums.averages(Some(2))[0].recall, binary.recall.map(|of| of.value)),
            ("f1", |sums| sums.averages(Some(2))[0].f1, binary.f1.map(|of| of.value)),
            ("log loss", |sums| sums.log_loss(), truth.log_loss().map(|of| of.value)),
            ("brier", |sums| sums.brier(), truth.brier().map(|of| of.value)),
            ("auc", |sums| sums.auc().map(|auc| auc.area), truth.auc().map(|of| of.area.value)),
        ];
        let samples: Vec<Classification> =
            (0..RUNS).map(|_| sample(random, rows, weighted)).collect();
        for (name, figure, truth) in figures {
            let mut all = samples.iter();
            let share = coverage(RUNS, || {
                let bounds = figure(all.next()?)?.bounds?;
                Some((bounds, truth?))
            });
            assert_covers(&format!("{name}, {rows} rows, weighted {weighted}"), share);
        }
    }
}

#[test]
fn intervals_over_several_classes_hold_the_truth_in_95_of_100_cases() {
    use modelgate::quality::classification::Judged;

    fn sample(random: &mut Random, rows: usize) -> Classification {
        let mut sums = Classification::default();
        for _ in 0..rows {
            let actual = 1 + [0, 0, 0, 0, 0, 1, 1, 1, 2, 2][random.below(10)];
            let predicted = if random.share() < 0.7 { actual } else { 1 + random.below(3) };
            let correct = predicted == actual;
            sums.add(&Judged { predicted, actual, correct, probability: None }, 1.0, 1.0);
        }
        sums
    }

    let random = &mut Random(77);
    let truth = sample(random, 3_000_000).averages(None);
    let samples: Vec<_> = (0..RUNS).map(|_| sample(random, 500).averages(None)).collect();
    for (at, name) in ["macro", "weighted"].into_iter().enumerate() {
        for (figure, of) in [
            (
                "precision",
                (|of| of.precision) as fn(&modelgate::quality::classification::Averaged) -> _,
            ),
            ("recall", |of| of.recall),
            ("f1", |of| of.f1),
        ] {
            let truth = of(&truth[at]).map(|of: modelgate::quality::intervals::Estimate| of.value);
            let mut all = samples.iter();
            let share = coverage(RUNS, || {
                let bounds = of(&all.next()?[at])?.bounds?;
                Some((bounds, truth?))
            });
            assert_covers(&format!("{name} {figure}"), share);
        }
    }
}

#[test]
fn intervals_of_numbers_hold_the_truth_in_95_of_100_cases() {
    use modelgate::quality::regression::Regression;
    use modelgate::quality::reward::Rewards;

    for (rows, weighted) in [(30, false), (500, false), (500, true)] {
        let random = &mut Random(rows as u64 + 9);
        let samples: Vec<(Regression, Rewards)> = (0..RUNS)
            .map(|_| {
                let (mut errors, mut rewards) = (Regression::default(), Rewards::default());
                for _ in 0..rows {
                    let weight = weight(random, weighted);
                    errors.add(random.normal() * 2.0 + 0.5, weight, 1.0);
                    rewards.add(random.share(), weight, 1.0);
                }
                (errors, rewards)
            })
            .collect();
        let many: f64 = (0..3_000_000).map(|_| (random.normal() * 2.0 + 0.5).abs()).sum();
        let mae = many / 3e6;
        let truths = [("bias", 0.5), ("mae", mae), ("rmse", 4.25f64.sqrt()), ("reward", 0.5)];
        for (at, (name, truth)) in truths.into_iter().enumerate() {
            let mut all = samples.iter();
            let share = coverage(RUNS, || {
                let (errors, rewards) = all.next()?;
                let figures = errors.figures();
                let of = [figures.bias, figures.mae, figures.rmse, rewards.mean()][at]?;
                Some((of.bounds?, truth))
            });
            // Squares of few rows are far from normal: the interval is stated for 100 and more.
            if rows >= 100 || name != "rmse" {
                assert_covers(&format!("{name}, {rows} rows, weighted {weighted}"), share);
            }
        }
    }
}
