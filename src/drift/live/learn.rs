//! A profile learnt from live traffic, in two phases: rows that tell which bins
//! fit, and then other rows, which are counted into them. So counts are exact,
//! although bins are not. Pure: rows and a time in.

use serde::Serialize;

use super::tap::Rows;
use super::tensors::{of_row, offset, rows, width};
use crate::drift::alarm::AlarmRule;
use crate::drift::build::{BuildOptions, ColumnSpec, Running, Survey, Value};
use crate::drift::profile::{Column, Profile, ProfileError, Source};
use crate::types::{DType, ModelName, Signature, TensorSpec};

/// Values of all columns that are kept to take quantiles of: 8 MiB.
const MOST_VALUES: usize = 1 << 20;

/// Of one column: more make edges no better.
const MOST_OF_ONE: usize = 1 << 13;

/// Different texts of one column that are told apart.
const MOST_TEXTS: usize = 1024;

/// Rows that a column of any profile should have been counted over.
const REFERENCE_ROWS: u64 = 1000;

/// How long each phase goes on: for both, so many rows and so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearningBounds {
    pub survey_rows: u64,
    pub survey_us: i64,
    pub count_rows: u64,
    pub count_us: i64,
}

/// What is to be learnt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subjects {
    pub inputs: Vec<ColumnSpec>,
    pub outputs: Vec<ColumnSpec>,
}

/// How far a profile has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    pub phase: Phase,
    /// Of this phase so far, and that it takes at least.
    pub rows: u64,
    pub of_rows: u64,
    /// When its first row came; microseconds since 1970. None before.
    pub since: Option<i64>,
    /// Microseconds that it takes at least.
    pub of_us: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Rows are looked at to find bins.
    Survey,
    /// Rows are counted.
    Count,
}

/// Learns the profile of one version.
pub(super) struct Learner {
    model: ModelName,
    bounds: LearningBounds,
    subjects: Subjects,
    signature: Signature,
    /// Of this phase.
    rows: u64,
    since: Option<i64>,
    work: Work,
}

enum Work {
    Survey(Vec<Part<Survey>>),
    Count(Vec<Part<Running>>),
}

/// One column, and where its values stand.
struct Part<T> {
    is_output: bool,
    /// Its tensor's place in the signature.
    tensor: usize,
    spec: ColumnSpec,
    column: T,
}

trait See {
    fn see(&mut self, value: Value<'_>);
}

impl See for Survey {
    fn see(&mut self, value: Value<'_>) {
        Survey::see(self, value);
    }
}

impl See for Running {
    fn see(&mut self, value: Value<'_>) {
        Running::see(self, value);
    }
}

impl Learner {
    pub(super) fn new(
        model: &ModelName,
        bounds: LearningBounds,
        subjects: Subjects,
        signature: &Signature,
    ) -> Learner {
        let work = Work::Survey(surveys(&subjects, signature));
        let (model, signature) = (model.clone(), signature.clone());
        Learner { model, bounds, subjects, signature, rows: 0, since: None, work }
    }

    pub(super) fn progress(&self) -> Progress {
        let LearningBounds { survey_rows, survey_us, count_rows, count_us } = self.bounds;
        let (phase, of_rows, of_us) = match self.work {
            Work::Survey(_) => (Phase::Survey, survey_rows, survey_us),
            Work::Count(_) => (Phase::Count, count_rows, count_us),
        };
        Progress { phase, rows: self.rows, of_rows, since: self.since, of_us }
    }

    /// Looks at rows that came at a time, in microseconds since 1970. Gives the
    /// profile once it is whole, and then begins anew.
    ///
    /// # Errors
    /// Where what was seen makes no profile; it begins anew.
    pub(super) fn see(
        &mut self,
        seen: Rows<'_>,
        now: i64,
    ) -> Option<Result<Profile, ProfileError>> {
        match &mut self.work {
            Work::Survey(parts) => parts.iter_mut().for_each(|part| part.see(seen)),
            Work::Count(parts) => parts.iter_mut().for_each(|part| part.see(seen)),
        }
        self.rows += seen.inputs.first().map_or(0, rows) as u64;
        let since = *self.since.get_or_insert(now);
        let Progress { of_rows, of_us, .. } = self.progress();
        if self.rows < of_rows || now.saturating_sub(since) < of_us {
            return None;
        }
        let rows = std::mem::take(&mut self.rows);
        self.since = None;
        let anew = Work::Survey(Vec::new());
        match std::mem::replace(&mut self.work, anew) {
            Work::Survey(parts) => {
                let parts: Vec<_> = parts.into_iter().filter_map(Part::counting).collect();
                if parts.is_empty() {
                    self.work = Work::Survey(surveys(&self.subjects, &self.signature));
                } else {
                    self.work = Work::Count(parts);
                }
                None
            }
            Work::Count(parts) => {
                self.work = Work::Survey(surveys(&self.subjects, &self.signature));
                Some(self.profile(parts, rows))
            }
        }
    }

    fn profile(&self, parts: Vec<Part<Running>>, rows: u64) -> Result<Profile, ProfileError> {
        let least = REFERENCE_ROWS.min(rows);
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for part in parts {
            let into = if part.is_output { &mut outputs } else { &mut inputs };
            let column: Column = part.column.finish();
            // What is nearly always missing tells nothing.
            if column.reference.binned() >= least {
                into.push(column);
            }
        }
        let profile = Profile {
            model: self.model.clone(),
            model_digest: None,
            created: None,
            source: Some(Source { uri: Some("live traffic".to_owned()), ..Source::default() }),
            inputs,
            outputs,
            calibration: None,
            quality: None,
            alarm: AlarmRule::default(),
            min_reference_rows: least,
        };
        // What a start would refuse is refused now.
        Profile::parse(&profile.render())
    }
}

fn surveys(subjects: &Subjects, signature: &Signature) -> Vec<Part<Survey>> {
    let count = subjects.inputs.len() + subjects.outputs.len();
    let options = BuildOptions {
        most_values: (MOST_VALUES / count.max(1)).min(MOST_OF_ONE),
        most_texts: MOST_TEXTS,
        ..BuildOptions::default()
    };
    let of = |specs: &[ColumnSpec], tensors: &[TensorSpec], is_output: bool| {
        let part = |spec: &ColumnSpec| {
            let tensor = tensors.iter().position(|tensor| tensor.name == spec.tensor)?;
            let column = Survey::new(spec.clone(), options);
            Some(Part { is_output, tensor, spec: spec.clone(), column })
        };
        specs.iter().filter_map(part).collect::<Vec<_>>()
    };
    let mut parts = of(&subjects.inputs, &signature.inputs, false);
    parts.extend(of(&subjects.outputs, &signature.outputs, true));
    parts
}

impl Part<Survey> {
    /// None where no bins fit, as of a column that is always the same.
    fn counting(self) -> Option<Part<Running>> {
        let Part { is_output, tensor, spec, column } = self;
        let column = column.finish_for_others().ok()?;
        Some(Part { is_output, tensor, spec, column })
    }
}

impl<T: See> Part<T> {
    fn see(&mut self, seen: Rows<'_>) {
        let tensor = match self.is_output {
            false => seen.inputs.get(self.tensor),
            true => {
                let place = seen.wanted.iter().position(|wanted| *wanted == self.tensor);
                place.and_then(|place| seen.outputs.get(place))
            }
        };
        // An output that nobody asked for is not there.
        let Some(tensor) = tensor else { return };
        let (rows, width) = (rows(tensor), width(tensor));
        let place = offset(tensor, &self.spec.index);
        if tensor.dtype() == DType::Bytes {
            let Some(place) = place else { return };
            let own = tensor.strings().skip(place).step_by(width.max(1));
            own.for_each(|text| self.see_text(text));
            return;
        }
        for row in 0..rows {
            let number = match self.spec.derived {
                Some(derived) => Some(of_row(derived, tensor, row, width)),
                None => place.and_then(|place| tensor.number(row * width + place)),
            };
            self.column.see(number.map_or(Value::Missing, Value::Number));
        }
    }

    fn see_text(&mut self, text: &[u8]) {
        let value = match (std::str::from_utf8(text), self.spec.derived) {
            (Err(_), _) => Value::Missing,
            (Ok(text), Some(derived)) => Value::Number(derived.of_text(text)),
            (Ok(text), None) => Value::Text(text),
        };
        self.column.see(value);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::drift::profile::Kind;
    use crate::drift::tally::Rate;
    use crate::types::{Shape, Tensor};

    const SECOND: i64 = 1_000_000;

    fn signature() -> Signature {
        serde_json::from_value(serde_json::json!({
            "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 2]}],
            "outputs": [{"name": "y", "datatype": "FP64", "shape": [-1]}],
        }))
        .expect("a signature")
    }

    fn learner(survey_us: i64) -> Learner {
        let column = |name: &str, place| ColumnSpec {
            index: vec![place],
            ..ColumnSpec::new(name, "x", Kind::Numeric)
        };
        let subjects = Subjects {
            inputs: vec![column("a", 0), column("same", 1)],
            outputs: vec![ColumnSpec::new("y", "y", Kind::Numeric)],
        };
        let bounds = LearningBounds { survey_rows: 1000, survey_us, count_rows: 2000, count_us: 0 };
        let model = ModelName::parse("m").expect("a name");
        Learner::new(&model, bounds, subjects, &signature())
    }

    fn tensor(dims: &[i64], values: &[f64]) -> Tensor {
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let shape = Shape::new(dims.iter().copied()).expect("a shape");
        Tensor::new(DType::Fp64, shape, Bytes::from(data)).expect("a tensor")
    }

    /// Shows rows of `a`; the other input is always 5.
    fn show(
        learner: &mut Learner,
        values: &[f64],
        now: i64,
    ) -> Option<Result<Profile, ProfileError>> {
        let count = values.len() as i64;
        let x: Vec<f64> = values.iter().flat_map(|value| [*value, 5.0]).collect();
        let (x, y) = (tensor(&[count, 2], &x), tensor(&[count], values));
        learner.see(Rows { inputs: &[x], wanted: &[0], outputs: &[y] }, now)
    }

    #[test]
    fn counts_are_of_other_rows_than_the_bins() {
        let mut learner = learner(0);
        let first: Vec<f64> = (0..1000).map(f64::from).collect();
        assert_eq!(show(&mut learner, &first[..999], 0), None);
        assert_eq!((learner.progress().phase, learner.progress().rows), (Phase::Survey, 999));
        assert_eq!(show(&mut learner, &first[999..], SECOND), None);
        let Progress { phase, rows, of_rows, since, .. } = learner.progress();
        assert_eq!((phase, rows, of_rows, since), (Phase::Count, 0, 2000, None));
        // Twice as many in the lower half, and some that are missing.
        let mut second: Vec<f64> =
            (0..1990).map(|at| f64::from(if at % 3 == 0 { 900 } else { 50 })).collect();
        second.extend([f64::NAN; 10]);
        let profile = show(&mut learner, &second, 2 * SECOND).expect("whole").expect("sound");
        let names =
            |columns: &[Column]| columns.iter().map(|own| own.name.to_string()).collect::<Vec<_>>();
        assert_eq!(
            (names(&profile.inputs), names(&profile.outputs)),
            (vec!["a".to_owned(), "same".to_owned()], vec!["y".to_owned()])
        );
        let a = &profile.inputs[0];
        assert_eq!((a.reference.binned(), a.reference.rate(Rate::Missing)), (1990, 10));
        assert_eq!(a.reference.bins(), [1326, 0, 0, 0, 0, 0, 0, 0, 0, 664]);
        assert_eq!(learner.progress().phase, Phase::Survey, "it begins anew");
    }

    #[test]
    fn a_phase_takes_its_time_however_many_rows_come() {
        let mut learner = learner(60 * SECOND);
        let rows: Vec<f64> = (0..5000).map(f64::from).collect();
        for now in [0, 30, 59] {
            assert_eq!(show(&mut learner, &rows, now * SECOND), None);
            assert_eq!(learner.progress().phase, Phase::Survey);
        }
        show(&mut learner, &rows[..1], 60 * SECOND);
        assert_eq!(learner.progress().phase, Phase::Count);
    }

    #[test]
    fn of_nothing_nothing_is_learnt() {
        let mut learner = learner(0);
        let signature = signature();
        learner.subjects.inputs.truncate(1);
        learner.work = Work::Survey(surveys(&learner.subjects, &signature));
        for now in 0..9 {
            assert_eq!(show(&mut learner, &[f64::NAN; 1000], now), None);
        }
        assert_eq!(learner.progress().phase, Phase::Survey);
    }
}
