//! Labels and predictions in every order, under a time that the tests make.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

use super::*;
use crate::predictions::Role;
use crate::quality::Served;
use crate::telemetry::{Bound, QualityFamily, QualityGauge, QualityReading};
use crate::types::{DType, Dim, ModelName, Shape, Tensor, TensorSpec, Version};

const HOUR: i64 = 3_600_000_000;
const START: i64 = 500_000 * HOUR;
const BOUNDS: Bounds = Bounds { rows: 100_000, bytes: 64 << 20, pending: 1000, ttl: 24 * HOUR };

struct Model {
    name: ModelName,
    version: Version,
    outputs: Vec<TensorSpec>,
}

impl Served for Model {
    fn model(&self) -> &ModelName {
        &self.name
    }

    fn version(&self) -> Version {
        self.version
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }
}

/// A binary classifier that answers with the probabilities of both classes.
fn model(name: &str, version: u64) -> Arc<dyn Served> {
    Arc::new(Model {
        name: ModelName::parse(name).expect("a name"),
        version: Version::parse(&version.to_string()).expect("a version"),
        outputs: vec![TensorSpec {
            name: Arc::from("p"),
            dtype: DType::Fp64,
            dims: vec![Dim::Free(None), Dim::Fixed(2)],
            labels: Arc::from([]),
        }],
    })
}

fn answer(served: &Arc<dyn Served>, id: &str, at: i64, scores: &[f64]) -> Observed {
    let data: Vec<u8> =
        scores.iter().flat_map(|p| [1.0 - p, *p]).flat_map(f64::to_le_bytes).collect();
    let shape = Shape::new([scores.len() as i64, 2]).expect("a shape");
    Observed {
        id: SmallVec::from_slice(id.as_bytes()),
        served: Arc::clone(served),
        variant: Bytes::from_static(b"champion"),
        role: Role::Primary,
        at,
        rows: scores.len(),
        wanted: smallvec![0],
        outputs: smallvec![Tensor::new(DType::Fp64, shape, data.into()).expect("a tensor")],
    }
}

fn label(id: &str, row: u32, class: f64) -> Label {
    Label {
        request_id: id.to_owned(),
        row,
        label_time: START,
        recorded_time: START,
        truth: Truth::Value(class),
        weight: 1.0,
        model: String::new(),
    }
}

fn joiner(bounds: Bounds) -> (Joiner, Arc<QualityMetrics>) {
    let metrics = Arc::new(QualityMetrics::default());
    let declare: Arc<Declare> = Arc::new(|_: &str| Declared::default());
    (Joiner::new(bounds, Arc::clone(&metrics), declare), metrics)
}

const JOINED: Outcome = Outcome::Ended(FeedbackOutcome::Joined);
const CORRECTED: Outcome = Outcome::Ended(FeedbackOutcome::Corrected);
const DUPLICATE: Outcome = Outcome::Ended(FeedbackOutcome::Duplicate);
const PENDING: Outcome = Outcome::Ended(FeedbackOutcome::Pending);
const LATE: Outcome = Outcome::Ended(FeedbackOutcome::Late);
const MISMATCHED: Outcome = Outcome::Ended(FeedbackOutcome::Mismatched);

impl Joiner {
    fn readings(&mut self, now: i64) -> Vec<QualityReading> {
        let mut books: Vec<&mut Book> = self.books.values_mut().collect();
        books.sort_by_key(|book| (book.series.key().version, book.series.key().role));
        books.into_iter().map(|book| reading(book, now)).collect()
    }

    fn counted(&self, model: &str, outcome: FeedbackOutcome) -> u64 {
        self.feedback.get(model).map_or(0, |counts| counts.of(outcome))
    }
}

fn value(reading: &QualityReading, family: QualityFamily, window: &str) -> Option<f64> {
    let (_, samples) = reading.iter().find(|(of, _)| *of == family)?;
    let is_of = |labels: &[(&str, std::borrow::Cow<'_, str>)]| {
        labels.iter().all(|(name, value)| *name != "window" || value == window)
    };
    samples.iter().find(|sample| is_of(&sample.labels)).map(|sample| sample.value)
}

fn gauge(reading: &QualityReading, gauge: QualityGauge, window: &str) -> Option<f64> {
    value(reading, QualityFamily::Gauge(gauge, Bound::Value), window)
}

#[test]
fn a_label_joins_once_and_a_later_one_corrects_it() {
    let (mut joiner, _) = joiner(BOUNDS);
    let served = model("m", 1);
    joiner.saw(&answer(&served, "a", START, &[0.9, 0.2]), START);
    let mut later = label("a", 0, 0.0);
    later.label_time += 1;
    for (label, expected) in [
        (label("a", 0, 1.0), JOINED),
        (label("a", 0, 1.0), DUPLICATE),
        (later.clone(), CORRECTED),
        (later, DUPLICATE),
        // Of before the correction: it changes nothing, however often it comes.
        (label("a", 0, 1.0), DUPLICATE),
        (label("a", 1, 0.0), JOINED),
        (label("a", 2, 0.0), Outcome::NoSuchRow),
        (Label { truth: Truth::Class("cat".to_owned()), ..label("a", 1, 0.0) }, DUPLICATE),
        (
            Label { truth: Truth::Value(0.5), label_time: START + 1, ..label("a", 1, 0.0) },
            MISMATCHED,
        ),
        (Label { truth: Truth::Reward(2.0), ..label("a", 1, 0.0) }, JOINED),
    ] {
        assert_eq!(joiner.label(label.clone(), START + 5_000_000), expected, "{label:?}");
    }
    let reading = &joiner.readings(START + 5_000_000)[0];
    // The window knows the correction alone: row 0 was wrong, row 1 right.
    assert_eq!(gauge(reading, QualityGauge::Accuracy, "1h"), Some(0.5));
    assert_eq!(gauge(reading, QualityGauge::Rows, "1h"), Some(3.0), "two labels and a reward");
    assert_eq!(gauge(reading, QualityGauge::Reward, "24h"), Some(2.0));
    assert_eq!(gauge(reading, QualityGauge::Coverage, "1h"), Some(1.0));
    assert_eq!(gauge(reading, QualityGauge::LabelDelay, "1h"), Some(5.0));
    // Counters only grow: they keep what was corrected.
    assert_eq!(value(reading, QualityFamily::Correct, ""), Some(2.0));
    assert_eq!(value(reading, QualityFamily::Corrections, ""), Some(1.0));
    assert_eq!(value(reading, QualityFamily::Labelled, ""), Some(2.0));
}

#[test]
fn a_correction_leaves_windows_as_if_it_had_come_first() {
    let scores: Vec<f64> = (0..200).map(|n| f64::from(n * 7 % 101) / 100.0).collect();
    let truth = |n: usize| f64::from(u8::from(n * 13 % 10 < 4));
    let (mut joiner, _) = joiner(BOUNDS);
    let (changed, plain) = (model("m", 1), model("m", 2));
    for (served, id) in [(&changed, "a"), (&plain, "b")] {
        joiner.saw(&answer(served, id, START, &scores), START);
    }
    for row in 0..scores.len() {
        let wrong = Label { weight: 3.0, ..label("a", row as u32, 1.0 - truth(row)) };
        assert_eq!(joiner.label(wrong, START), JOINED);
    }
    for row in 0..scores.len() {
        let right = Label { label_time: START + 1, ..label("a", row as u32, truth(row)) };
        assert_eq!(joiner.label(right, START + HOUR / 2), CORRECTED);
        assert_eq!(joiner.label(label("b", row as u32, truth(row)), START + HOUR / 2), JOINED);
    }
    let readings = joiner.readings(START + HOUR / 2);
    for figure in [
        QualityGauge::Rows,
        QualityGauge::Accuracy,
        QualityGauge::Recall,
        QualityGauge::F1,
        QualityGauge::LogLoss,
        QualityGauge::Auc,
        QualityGauge::Brier,
        QualityGauge::CalibrationError,
    ] {
        for bound in [Bound::Value, Bound::Lower, Bound::Upper] {
            let of = |reading| value(reading, QualityFamily::Gauge(figure, bound), "1h");
            let [Some(one), Some(other)] = [0, 1].map(|at| of(&readings[at])) else {
                assert_eq!(of(&readings[0]), of(&readings[1]), "{figure:?} {bound:?}");
                continue;
            };
            assert!((one - other).abs() < 1e-12, "{figure:?} {bound:?}: {one} {other}");
        }
    }
}

#[test]
fn labels_that_come_first_wait_and_those_that_wait_too_long_are_given_up() {
    let (mut joiner, _) = joiner(BOUNDS);
    let served = model("m", 1);
    assert_eq!(joiner.label(label("a", 0, 1.0), START), PENDING);
    assert_eq!(joiner.label(label("b", 0, 1.0), START), PENDING);
    joiner.saw(&answer(&served, "a", START + 1, &[0.9]), START + 1);
    assert_eq!(joiner.counted("m", FeedbackOutcome::Joined), 1);
    joiner.tick(START + 24 * HOUR);
    assert_eq!(joiner.counted("_unknown", FeedbackOutcome::Unknown), 1, "b never came");
    assert_eq!(joiner.counted("_unknown", FeedbackOutcome::Pending), 2);
    // Too old for the index, as its id says: made in 2020.
    let old = label("0174a2b6-7c00-7000-8000-000000000000", 0, 1.0);
    assert_eq!(joiner.label(old, START), LATE);
}

#[test]
fn predictions_are_forgotten_and_windows_move_on() {
    let (mut joiner, metrics) = joiner(BOUNDS);
    let served = model("m", 1);
    joiner.saw(&answer(&served, "a", START, &[0.9, 0.1]), START);
    assert_eq!(joiner.label(label("a", 0, 1.0), START), JOINED);
    let reading = &joiner.readings(START + 2 * HOUR)[0];
    assert_eq!(gauge(reading, QualityGauge::Accuracy, "1h"), None);
    assert_eq!(gauge(reading, QualityGauge::Accuracy, "24h"), None.or(Some(1.0)));
    joiner.tick(START + 24 * HOUR);
    assert_eq!(joiner.label(label("a", 1, 0.0), START + 24 * HOUR), PENDING);
    // The version has gone, and nothing of it can be labelled any more.
    joiner.tick(START + 48 * HOUR);
    assert_eq!(joiner.books.len(), 1, "it is served still");
    drop(served);
    joiner.tick(START + 48 * HOUR + READ_EVERY);
    assert_eq!(joiner.books.len(), 0);
    assert_eq!(metrics.series_count(), 0);
}

#[test]
fn an_id_of_two_models_needs_a_name_and_shadows_are_judged_beside() {
    let (mut joiner, _) = joiner(BOUNDS);
    let (one, other) = (model("m", 1), model("n", 1));
    joiner.saw(&answer(&one, "a", START, &[0.9]), START);
    let mut shadow = answer(&model("m", 2), "a", START, &[0.1]);
    (shadow.role, shadow.variant) = (Role::Shadow, Bytes::from_static(b"shadow"));
    joiner.saw(&shadow, START);
    assert_eq!(joiner.label(label("a", 0, 1.0), START), JOINED);
    let readings = joiner.readings(START);
    assert_eq!(gauge(&readings[0], QualityGauge::Accuracy, "1h"), Some(1.0));
    assert_eq!(gauge(&readings[1], QualityGauge::Accuracy, "1h"), Some(0.0));
    assert_eq!(joiner.counted("m", FeedbackOutcome::Joined), 1, "one label");

    joiner.saw(&answer(&other, "a", START, &[0.9]), START);
    assert_eq!(joiner.label(label("a", 0, 0.0), START), Outcome::Ambiguous);
    let named = Label { model: "n".to_owned(), ..label("a", 0, 0.0) };
    assert_eq!(joiner.label(named, START), JOINED);
    let strange = Label { model: "x".to_owned(), ..label("a", 0, 0.0) };
    assert_eq!(joiner.label(strange, START), PENDING);
    assert_eq!(joiner.counted("x", FeedbackOutcome::Pending), 0, "no label of a client's choice");
}

#[test]
fn series_are_bounded_and_those_of_the_living_stay() {
    let (mut joiner, metrics) = joiner(BOUNDS);
    let served: Vec<_> = (1..=MOST_BOOKS as u64).map(|number| model("m", number)).collect();
    for (at, served) in served.iter().enumerate() {
        joiner.saw(&answer(served, "a", START + at as i64, &[0.5]), START);
    }
    let further = model("m", 1000);
    joiner.saw(&answer(&further, "b", START, &[0.5]), START);
    assert_eq!(joiner.label(label("b", 0, 1.0), START), PENDING, "it was not observed");
    assert_eq!(metrics.series_count(), MOST_BOOKS);
    // The first one goes: its place is free.
    drop(served.into_iter().next());
    joiner.saw(&answer(&further, "b", START, &[0.5]), START);
    assert_eq!(joiner.counted("m", FeedbackOutcome::Joined), 1);
    assert_eq!(metrics.series_count(), MOST_BOOKS);
}
