//! What a version's outputs predict, row by row. Pure.
//!
//! Said by [`Declared`] options, or read off the signature: whole numbers or
//! texts, one a row, are classes; floats of `[rows, classes]` are scores of
//! classes; one float a row is a number. No softmax is applied: scores are
//! probabilities where they lie between 0 and 1 and add up to 1.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::types::{DType, Dim, Tensor, TensorSpec, number};

/// What a model predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    Classification,
    Regression,
}

/// What people say about a model's outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Declared {
    /// Read off the outputs where it is not said.
    pub task: Option<Task>,
    /// The output that holds the class or the number.
    pub output: Option<String>,
    /// The output that holds scores: of each class, or one a row of the positive class.
    pub scores: Option<String>,
    /// The class that precision, recall and F1 are about. Of two classes the second, else none.
    pub positive: Option<String>,
    /// Classes in the order of the scores; else those that the model's metadata names.
    pub labels: Vec<String>,
}

/// Scores of more classes than this are not kept: the likeliest alone is.
const MOST_SCORES: usize = 256;

/// Longest text of a class that is kept.
const MOST_TEXT: usize = 256;

/// Which outputs of a version say what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meaning {
    pub task: Option<Task>,
    /// Places of outputs in the signature.
    class: Option<usize>,
    scores: Option<Scored>,
    value: Option<usize>,
    /// Names of the classes by number; empty where numbers are their names.
    pub labels: Vec<Box<str>>,
    /// The class that is looked for; `None` where there is none.
    pub positive: Option<Box<str>>,
    /// Whether scores are of two classes.
    two_scores: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scored {
    output: usize,
    /// One a row, of the positive class.
    is_single: bool,
}

/// What was predicted of one row, as it is kept until the truth comes.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicted {
    /// Nothing that a label could be compared with.
    Nothing,
    Class(Class),
    /// The likeliest class is the one predicted.
    Scores(Scores),
    Both(Box<(Class, Scores)>),
    /// The score of the positive class, and the type it came in.
    Score(f64, DType),
    Value(f64),
}

/// A class as the model names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    Number(i64),
    Text(Box<str>),
}

/// Scores of one row in their own type, so that little is kept of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    pub dtype: DType,
    packed: SmallVec<[u8; 16]>,
}

impl Meaning {
    /// `outputs` are the signature's.
    pub fn of(outputs: &[TensorSpec], declared: &Declared) -> Meaning {
        let named = |name: &Option<String>| {
            let name = name.as_ref()?;
            outputs.iter().position(|output| *output.name == **name)
        };
        let first = |fits: fn(&TensorSpec) -> bool| outputs.iter().position(fits);
        let scores = match named(&declared.scores) {
            Some(output) => Some(Scored { output, is_single: is_one_a_row(&outputs[output]) }),
            None if declared.scores.is_some() => None,
            None => first(is_scores).map(|output| Scored { output, is_single: false }),
        };
        let class = match named(&declared.output) {
            Some(output) => Some(output),
            None if declared.output.is_some() => None,
            None => first(is_class),
        };
        let value = named(&declared.output).or_else(|| match declared.output {
            Some(_) => None,
            None => first(is_number),
        });
        let task = declared.task.or_else(|| match (class, scores, value) {
            (Some(named), ..) if declared.output.is_some() && !is_class(&outputs[named]) => {
                Some(Task::Regression)
            }
            (Some(_), ..) | (_, Some(_), _) => Some(Task::Classification),
            (_, _, Some(_)) => Some(Task::Regression),
            _ => None,
        });
        match task {
            Some(Task::Classification) => {
                // A number that has been declared to be a class is one.
                let class =
                    class.filter(|class| scores.is_none_or(|scores| scores.output != *class));
                Meaning { task, class, scores, ..Meaning::default() }.named(outputs, declared)
            }
            Some(Task::Regression) => {
                let value = value
                    .or_else(|| first(|spec| spec.dtype != DType::Bytes && is_one_a_row(spec)));
                Meaning { task, value, ..Meaning::default() }
            }
            None => Meaning::default(),
        }
    }

    /// Finds the names of the classes, and which one is looked for.
    fn named(mut self, outputs: &[TensorSpec], declared: &Declared) -> Meaning {
        let boxed =
            |labels: &[String]| labels.iter().map(|label| Box::from(label.as_str())).collect();
        let of_output = |at: Option<usize>| at.map_or(&[][..], |at| &outputs[at].labels);
        let of_scores = of_output(self.scores.map(|scores| scores.output));
        self.labels = match &declared.labels[..] {
            [] if of_scores.is_empty() => boxed(of_output(self.class)),
            [] => boxed(of_scores),
            labels => boxed(labels),
        };
        let columns = self.scores.and_then(|scores| match outputs[scores.output].dims.last() {
            _ if scores.is_single => Some(2),
            Some(Dim::Fixed(columns)) => Some(*columns),
            _ => None,
        });
        self.two_scores = columns == Some(2);
        let is_binary = self.two_scores || self.labels.len() == 2;
        self.positive = match &declared.positive {
            Some(positive) => Some(Box::from(positive.as_str())),
            None => is_binary.then(|| self.name_of(1)),
        };
        self
    }

    /// Whether there are scores, of any number of classes.
    pub fn has_scores(&self) -> bool {
        self.scores.is_some()
    }

    /// Whether there are scores of two classes.
    pub fn is_binary(&self) -> bool {
        self.two_scores
    }

    /// The name of the class of a number.
    pub fn name_of(&self, number: i64) -> Box<str> {
        let label = usize::try_from(number).ok().and_then(|number| self.labels.get(number));
        label.cloned().unwrap_or_else(|| number.to_string().into())
    }

    /// The name of a class, as metrics and labels use it.
    pub fn name(&self, class: &Class) -> Box<str> {
        match class {
            Class::Number(number) => self.name_of(*number),
            Class::Text(text) => text.clone(),
        }
    }

    /// What is predicted of each row. `outputs` are those at the places
    /// `wanted` of the signature; a request may have asked for some alone.
    pub fn predictions(
        &self,
        wanted: &[usize],
        outputs: &[Tensor],
        rows: usize,
    ) -> SmallVec<[Predicted; 1]> {
        let find = |at: usize| {
            let place = wanted.iter().position(|wanted| *wanted == at)?;
            outputs.get(place)
        };
        let class = self.class.and_then(find).filter(|tensor| has_one_a_row(tensor, rows));
        let classes = class.and_then(|tensor| classes(tensor, rows));
        let scores = self.scores.and_then(|scores| Some((find(scores.output)?, scores.is_single)));
        let value = self.value.and_then(find).filter(|tensor| has_one_a_row(tensor, rows));
        let of_row = |row: usize| {
            if let Some(number) = value.and_then(|tensor| tensor.number(row)) {
                return if number.is_finite() {
                    Predicted::Value(number)
                } else {
                    Predicted::Nothing
                };
            }
            let class = classes.as_ref().and_then(|classes| classes.get(row).cloned());
            let scores = match scores {
                Some((tensor, true)) if has_one_a_row(tensor, rows) => {
                    return match tensor.number(row).filter(|score| score.is_finite()) {
                        Some(score) => Predicted::Score(score, tensor.dtype()),
                        None => class.map_or(Predicted::Nothing, Predicted::Class),
                    };
                }
                Some((tensor, false)) => Scores::of_row(tensor, row, rows),
                _ => None,
            };
            match (class, scores) {
                (None, None) => Predicted::Nothing,
                (Some(class), None) => Predicted::Class(class),
                (None, Some(scores)) if scores.len() > MOST_SCORES => scores
                    .likeliest()
                    .map_or(Predicted::Nothing, |class| Predicted::Class(Class::Number(class))),
                (Some(class), Some(scores)) if scores.len() > MOST_SCORES => {
                    Predicted::Class(class)
                }
                (None, Some(scores)) => Predicted::Scores(scores),
                (Some(class), Some(scores)) => Predicted::Both(Box::new((class, scores))),
            }
        };
        (0..rows).map(of_row).collect()
    }
}

impl Predicted {
    /// Bytes that it holds beside itself.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Predicted::Nothing | Predicted::Score(..) | Predicted::Value(_) => 0,
            Predicted::Class(class) => class.heap_bytes(),
            Predicted::Scores(scores) => scores.heap_bytes(),
            Predicted::Both(both) => {
                size_of::<(Class, Scores)>() + both.0.heap_bytes() + both.1.heap_bytes()
            }
        }
    }
}

impl Class {
    fn heap_bytes(&self) -> usize {
        match self {
            Class::Number(_) => 0,
            Class::Text(text) => text.len(),
        }
    }
}

impl Scores {
    /// One row of `[rows, classes]`, or the only row of `[classes]`.
    fn of_row(tensor: &Tensor, row: usize, rows: usize) -> Option<Scores> {
        let size = tensor.dtype().size().filter(|_| is_float(tensor.dtype()))?;
        let columns = match tensor.shape().dims() {
            [first, columns] if usize::try_from(*first) == Ok(rows) => *columns,
            [columns] if rows == 1 => *columns,
            _ => return None,
        };
        let length = usize::try_from(columns).ok().filter(|columns| *columns >= 2)? * size;
        let packed = tensor.data().get(row * length..(row + 1) * length)?;
        Some(Scores { dtype: tensor.dtype(), packed: SmallVec::from_slice(packed) })
    }

    pub fn len(&self) -> usize {
        self.dtype.size().map_or(0, |size| self.packed.len() / size)
    }

    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    pub fn values(&self) -> impl Iterator<Item = f64> {
        (0..self.len()).filter_map(|at| number(self.dtype, &self.packed, at))
    }

    /// Place of the greatest score, the first where there are several. `None`
    /// where a score is NaN.
    pub fn likeliest(&self) -> Option<i64> {
        let mut best: Option<(usize, f64)> = None;
        for (at, score) in self.values().enumerate() {
            if score.is_nan() {
                return None;
            }
            if best.is_none_or(|(_, most)| score > most) {
                best = Some((at, score));
            }
        }
        best.and_then(|(at, _)| i64::try_from(at).ok())
    }

    /// The scores, where they are probabilities: between 0 and 1, and 1 together
    /// but for a thousandth.
    pub fn probabilities(&self) -> Option<SmallVec<[f64; 8]>> {
        let values: SmallVec<[f64; 8]> = self.values().collect();
        let inside = values.iter().all(|value| (0.0..=1.0).contains(value));
        let sum: f64 = values.iter().sum();
        (inside && (sum - 1.0).abs() <= 1e-3).then_some(values)
    }

    fn heap_bytes(&self) -> usize {
        if self.packed.spilled() { self.packed.capacity() } else { 0 }
    }
}

/// The least probability that a logarithm is taken of: the distance from 1 to
/// the next number of the type, as scikit-learn has it.
pub fn least_probability(dtype: DType) -> f64 {
    match dtype {
        DType::Fp16 => 2f64.powi(-10),
        DType::Bf16 => 2f64.powi(-7),
        DType::Fp32 => f64::from(f32::EPSILON),
        _ => f64::EPSILON,
    }
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::Fp16 | DType::Bf16 | DType::Fp32 | DType::Fp64)
}

/// `[]`, `[rows]` or `[rows, 1]`.
fn is_one_a_row(spec: &TensorSpec) -> bool {
    matches!(&spec.dims[..], [] | [_] | [_, Dim::Fixed(1)])
}

fn is_class(spec: &TensorSpec) -> bool {
    !is_float(spec.dtype) && is_one_a_row(spec)
}

fn is_number(spec: &TensorSpec) -> bool {
    is_float(spec.dtype) && is_one_a_row(spec)
}

/// `[rows, classes]` of at least two classes, or of a number that is not known.
fn is_scores(spec: &TensorSpec) -> bool {
    let may_be_several = |dim: &Dim| !matches!(dim, Dim::Fixed(0 | 1));
    is_float(spec.dtype) && matches!(&spec.dims[..], [_, classes] if may_be_several(classes))
}

fn has_one_a_row(tensor: &Tensor, rows: usize) -> bool {
    tensor.shape().elements() == rows
}

fn classes(tensor: &Tensor, rows: usize) -> Option<Vec<Class>> {
    if tensor.dtype() == DType::Bytes {
        let text = |text: &[u8]| {
            let text = String::from_utf8_lossy(&text[..text.len().min(MOST_TEXT)]);
            Class::Text(Box::from(&*text))
        };
        return Some(tensor.strings().take(rows).map(text).collect());
    }
    (0..rows)
        .map(|row| {
            let number = tensor.number(row)?;
            // A class is a whole number.
            (number.fract() == 0.0).then_some(Class::Number(number as i64))
        })
        .collect()
}

#[cfg(test)]
mod tests;
