//! A prediction beside its truth, as the sums need it. Pure.

use super::classification::{Judged, MOST_CLASSES, OTHER, Probability};
use super::extract::{Class, Meaning, Predicted, Scores, Task, least_probability};
use crate::predictions::Truth;

/// What one labelled row counts for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Counted {
    Class(Judged),
    /// Prediction less truth.
    Error(f64),
    Reward(f64),
}

/// The truth cannot be compared with what was predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit;

/// Errors beyond this would leave no digit of all others in a sum.
const MOST_ERROR: f64 = 1e70;

/// The name of classes without a place of their own.
const OTHERS: &str = "_other";

/// The classes of one version, and their places in its sums.
#[derive(Clone, Debug, Default)]
pub struct Classes {
    /// The first at place 1.
    names: Vec<Box<str>>,
    /// So many are the model's own or declared; the rest came with predictions and labels.
    known: usize,
}

impl Classes {
    /// Those that are declared or the model names; the first 20 have places.
    pub fn new(meaning: &Meaning) -> Classes {
        let named = meaning.labels.iter().take(MOST_CLASSES).cloned();
        let mut names: Vec<Box<str>> = named.collect();
        if names.is_empty() && meaning.is_binary() {
            names = vec!["0".into(), "1".into()];
        }
        if let Some(positive) = &meaning.positive
            && names.len() < MOST_CLASSES
            && !names.contains(positive)
        {
            names.push(positive.clone());
        }
        Classes { known: names.len(), names }
    }

    /// The place of a class, which it is given while there is one to give.
    fn place(&mut self, name: &str) -> usize {
        if let Some(at) = self.find(name) {
            return at;
        }
        if self.names.len() < MOST_CLASSES {
            self.names.push(Box::from(name));
            return self.names.len();
        }
        OTHER
    }

    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| **known == *name).map(|at| at + 1)
    }

    /// The classes that are declared or the model names.
    pub fn known(&self) -> &[Box<str>] {
        &self.names[..self.known]
    }

    /// The class at a place as a label of metrics: its name where that is known
    /// beforehand or a small number, so that no text of a request becomes one.
    pub fn label(&self, place: usize) -> &str {
        let Some(name) = place.checked_sub(1).and_then(|at| self.names.get(at)) else {
            return OTHERS;
        };
        let is_small = name.parse::<u8>().is_ok_and(|number| usize::from(number) < MOST_CLASSES);
        if place <= self.known || is_small { name } else { OTHERS }
    }
}

/// Compares one row with its truth.
///
/// # Errors
/// Where they are of different kinds, such as a text for a number.
pub fn judge(
    meaning: &Meaning,
    classes: &mut Classes,
    predicted: &Predicted,
    truth: &Truth,
) -> Result<Counted, Misfit> {
    if let Truth::Reward(reward) = truth {
        return if reward.abs() < MOST_ERROR { Ok(Counted::Reward(*reward)) } else { Err(Misfit) };
    }
    if meaning.task == Some(Task::Regression) {
        let Predicted::Value(predicted) = predicted else { return Err(Misfit) };
        let truth = match truth {
            Truth::Class(text) => text.trim().parse().map_err(|_| Misfit)?,
            Truth::Value(value) | Truth::Reward(value) => *value,
        };
        let error = predicted - truth;
        return if error.abs() < MOST_ERROR { Ok(Counted::Error(error)) } else { Err(Misfit) };
    }
    let actual = class_of(meaning, truth).ok_or(Misfit)?;
    let (name, probability) = match predicted {
        Predicted::Nothing | Predicted::Value(_) => return Err(Misfit),
        Predicted::Class(class) => (meaning.name(class), None),
        Predicted::Score(score, dtype) => {
            let positive = meaning.positive.as_deref().unwrap_or("1");
            let probabilities = (0.0..=1.0).contains(score).then_some([1.0 - score, *score]);
            let is_positive = *actual == *positive;
            let probability = probabilities.map(|both| {
                probability(&both, usize::from(is_positive), 1, least_probability(*dtype))
            });
            let likelier = if *score >= 0.5 { Box::from(positive) } else { negative(meaning) };
            (likelier, probability)
        }
        Predicted::Scores(scores) => {
            let likeliest = scores.likeliest().ok_or(Misfit)?;
            (meaning.name_of(likeliest), of_scores(meaning, scores, &actual))
        }
        Predicted::Both(both) => {
            let (class, scores) = &**both;
            let name = meaning.name(class);
            // Columns without names may stand for other classes than their numbers.
            let fits = is_likeliest(meaning, class, scores);
            (name, of_scores(meaning, scores, &actual).filter(|_| fits))
        }
    };
    let correct = *name == *actual;
    // Predictions first, so that labels that fit nothing cannot take their places.
    let (predicted, actual) = (classes.place(&name), classes.place(&actual));
    Ok(Counted::Class(Judged { predicted, actual, correct, probability }))
}

/// The name of the class that a label means.
fn class_of(meaning: &Meaning, truth: &Truth) -> Option<Box<str>> {
    match truth {
        Truth::Class(text) => Some(Box::from(text.as_str())),
        Truth::Value(number) if number.fract() == 0.0 && number.abs() < 2f64.powi(53) => {
            let number = *number as i64;
            let text = number.to_string();
            // A number that is a class's own name means that class.
            let is_name = meaning.labels.iter().any(|label| **label == *text);
            Some(if is_name { text.into() } else { meaning.name_of(number) })
        }
        _ => None,
    }
}

/// The class that is not the positive one.
fn negative(meaning: &Meaning) -> Box<str> {
    let positive = meaning.positive.as_deref().unwrap_or("1");
    match &meaning.labels[..] {
        [one, other] if **one == *positive => other.clone(),
        [one, _] => one.clone(),
        _ => Box::from("0"),
    }
}

fn is_likeliest(meaning: &Meaning, class: &Class, scores: &Scores) -> bool {
    let Some(column) = column_of(meaning, scores.len(), &meaning.name(class)) else { return false };
    let of_class = scores.values().nth(column);
    of_class.is_some_and(|of_class| scores.values().all(|score| score <= of_class))
}

/// The column of a class's scores.
fn column_of(meaning: &Meaning, columns: usize, name: &str) -> Option<usize> {
    (0..columns)
        .find(|column| i64::try_from(*column).is_ok_and(|number| *meaning.name_of(number) == *name))
}

fn of_scores(meaning: &Meaning, scores: &Scores, actual: &str) -> Option<Probability> {
    let probabilities = scores.probabilities()?;
    let actual = column_of(meaning, probabilities.len(), actual)?;
    let positive = meaning.positive.as_deref();
    let positive = positive.and_then(|name| column_of(meaning, probabilities.len(), name));
    let least = least_probability(scores.dtype);
    Some(probability(&probabilities, actual, positive.unwrap_or(1), least))
}

/// What probabilities say of a row whose class was `actual`. Log loss and Brier
/// score are scikit-learn's: the Brier score of two classes is half the sum
/// over both.
fn probability(all: &[f64], actual: usize, positive: usize, least: f64) -> Probability {
    let one = |is: bool| f64::from(u8::from(is));
    let log_loss = -all[actual].clamp(least, 1.0 - least).ln();
    let squares = all.iter().enumerate().map(|(at, value)| (value - one(at == actual)).powi(2));
    let squares: f64 = squares.sum();
    let is_binary = all.len() == 2;
    if is_binary {
        return Probability {
            log_loss,
            brier: squares / 2.0,
            claimed: all[positive],
            came_true: actual == positive,
            is_binary,
        };
    }
    let likeliest = (1..all.len()).fold(0, |best, at| if all[at] > all[best] { at } else { best });
    Probability {
        log_loss,
        brier: squares,
        claimed: all[likeliest],
        came_true: likeliest == actual,
        is_binary,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::quality::extract::Declared;
    use crate::types::{DType, Dim, TensorSpec};

    fn meaning(dtype: DType, dims: &[i64], said: &str) -> Meaning {
        let dims = dims.iter().map(|dim| Dim::from(*dim)).collect();
        let spec = TensorSpec { name: Arc::from("y"), dtype, dims, labels: Arc::from([]) };
        let declared: Declared = serde_json::from_str(said).expect("options");
        Meaning::of(&[spec], &declared)
    }

    fn class(text: &str) -> Truth {
        Truth::Class(text.to_owned())
    }

    /// Whether it was right, and the labels of the two classes.
    fn judged(
        meaning: &Meaning,
        classes: &mut Classes,
        predicted: &Predicted,
        truth: &Truth,
    ) -> Option<(bool, String, String)> {
        match judge(meaning, classes, predicted, truth).ok()? {
            Counted::Class(row) => {
                let label = |place| classes.label(place).to_owned();
                Some((row.correct, label(row.predicted), label(row.actual)))
            }
            _ => None,
        }
    }

    #[test]
    fn a_class_has_as_many_names_as_people_use() {
        let meaning = meaning(DType::Int64, &[-1], r#"{"labels": ["ham", "spam"]}"#);
        let mut classes = Classes::new(&meaning);
        let spam = Predicted::Class(Class::Number(1));
        for (truth, correct, actual) in [
            (Truth::Value(1.0), true, "spam"),
            (class("spam"), true, "spam"),
            (Truth::Value(0.0), false, "ham"),
            (class("ham"), false, "ham"),
            (class("eggs"), false, "_other"),
            (Truth::Value(7.0), false, "7"),
        ] {
            let expected = Some((correct, "spam".to_owned(), actual.to_owned()));
            assert_eq!(judged(&meaning, &mut classes, &spam, &truth), expected, "{truth:?}");
        }
        assert_eq!(judged(&meaning, &mut classes, &spam, &Truth::Value(0.5)), None);
        assert_eq!(judged(&meaning, &mut classes, &Predicted::Nothing, &class("ham")), None);
    }

    #[test]
    fn no_text_of_a_request_becomes_a_label_and_right_stays_right() {
        let meaning = meaning(DType::Bytes, &[-1], "{}");
        let mut classes = Classes::new(&meaning);
        for number in 0..3 * MOST_CLASSES {
            let text = format!("secret {number}");
            let predicted = Predicted::Class(Class::Text(text.as_str().into()));
            let row = judged(&meaning, &mut classes, &predicted, &class(&text));
            assert_eq!(row, Some((true, "_other".to_owned(), "_other".to_owned())));
        }
    }

    #[test]
    fn errors_and_rewards_must_be_numbers_that_sums_can_hold() {
        let meaning = meaning(DType::Fp32, &[-1, 1], "{}");
        let judge =
            |truth| judge(&meaning, &mut Classes::default(), &Predicted::Value(2.0), &truth);
        assert_eq!(judge(Truth::Value(-1.0)), Ok(Counted::Error(3.0)));
        assert_eq!(judge(class(" 1.5 ")), Ok(Counted::Error(0.5)));
        assert_eq!(judge(class("cat")), Err(Misfit));
        assert_eq!(judge(Truth::Value(1e300)), Err(Misfit));
        assert_eq!(judge(Truth::Reward(0.5)), Ok(Counted::Reward(0.5)));
        assert_eq!(judge(Truth::Reward(1e300)), Err(Misfit));
    }
}
