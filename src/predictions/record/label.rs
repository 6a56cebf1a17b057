//! A label, and its bytes.

use bytes::Bytes;

use super::field::{Reader, put_text};

/// What is known of a prediction once it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    pub request_id: String,
    /// Row of the request.
    pub row: u32,
    /// When the truth became known; µs since 1970.
    pub label_time: i64,
    /// When it came here.
    pub recorded_time: i64,
    pub truth: Truth,
    pub weight: f64,
    /// Empty where the caller did not say and the prediction is not known here.
    pub model: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// A class, as its label reads.
    Class(String),
    /// A number: of a regression, or a class that is numbered.
    Value(f64),
    /// How good the answer was, of a bandit or of a person.
    Reward(f64),
}

const CLASS: u8 = 1;
const VALUE: u8 = 2;
const REWARD: u8 = 3;

impl Label {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.label_time.to_le_bytes());
        out.extend_from_slice(&self.recorded_time.to_le_bytes());
        out.extend_from_slice(&self.weight.to_le_bytes());
        out.extend_from_slice(&self.row.to_le_bytes());
        let (kind, number, class) = match &self.truth {
            Truth::Class(class) => (CLASS, 0.0, class.as_str()),
            Truth::Value(value) => (VALUE, *value, ""),
            Truth::Reward(reward) => (REWARD, *reward, ""),
        };
        out.push(kind);
        out.extend_from_slice(&f64::to_le_bytes(number));
        for text in [class, &self.request_id, &self.model] {
            put_text(out, text.as_bytes());
        }
    }

    /// `None` where the payload is none, or cut short.
    pub fn decode(payload: &Bytes) -> Option<Label> {
        let mut read = Reader::new(payload);
        let (label_time, recorded_time) = (read.i64()?, read.i64()?);
        let weight = f64::from_bits(read.u64()?);
        let row = read.u32()?;
        let kind = read.take(1)?[0];
        let number = f64::from_bits(read.u64()?);
        let class = read.text()?;
        let truth = match kind {
            CLASS => Truth::Class(class),
            VALUE => Truth::Value(number),
            REWARD => Truth::Reward(number),
            _ => return None,
        };
        let (request_id, model) = (read.text()?, read.text()?);
        Some(Label { request_id, row, label_time, recorded_time, truth, weight, model })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_back() {
        for truth in [Truth::Class("cat".to_owned()), Truth::Value(-2.5), Truth::Reward(1.0)] {
            let label = Label {
                request_id: "r-1".to_owned(),
                row: 2,
                label_time: 5,
                recorded_time: 6,
                truth,
                weight: 0.25,
                model: String::new(),
            };
            let mut out = Vec::new();
            label.encode(&mut out);
            assert_eq!(Label::decode(&Bytes::from(out.clone())).as_ref(), Some(&label));
            assert_eq!(Label::decode(&Bytes::from(out[..out.len() - 1].to_vec())), None);
        }
    }
}
