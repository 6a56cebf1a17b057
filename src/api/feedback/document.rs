//! Items of HTTP: a JSON object, or a list of them. Pure.

use std::fmt;

use serde::Deserializer;
use serde::de::{Deserialize, DeserializeSeed, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Item, Wrong, invalid, time, whole};
use crate::predictions::{Label, Truth};
use crate::quality::MOST_IN_BATCH;
use crate::types::InferError;

type Fields = Map<String, Value>;

/// The names that an id goes by.
const IDS: [&str; 3] = ["id", "request_id", "inference_id"];

/// What the truth may be said by.
const TRUTHS: [&str; 3] = ["label", "score", "reward"];

/// Reads the body of a call that came at `now`.
///
/// # Errors
/// `InvalidArgument` that names the item and the field.
pub fn read(body: &[u8], now: i64) -> Result<Vec<Label>, InferError> {
    let items = match body.trim_ascii_start().first() {
        Some(b'[') => {
            let mut read = serde_json::Deserializer::from_slice(body);
            let items = Batch.deserialize(&mut read);
            items.and_then(|items| read.end().map(|()| items))
        }
        Some(b'{') => serde_json::from_slice(body).map(|item| vec![item]),
        _ => return Err(InferError::invalid("expected a JSON object, or a list of them")),
    };
    let items: Vec<Fields> =
        items.map_err(|error| InferError::invalid(format!("the body: {error}")))?;
    let labels = items.iter().enumerate();
    labels
        .map(|(at, fields)| {
            let item = read_item(fields).and_then(|item| item.label(now));
            item.map_err(|wrong| invalid(at, wrong))
        })
        .collect()
}

/// A list that ends early where it is too long.
struct Batch;

impl<'de> DeserializeSeed<'de> for Batch {
    type Value = Vec<Fields>;

    fn deserialize<D: Deserializer<'de>>(self, read: D) -> Result<Vec<Fields>, D::Error> {
        read.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Batch {
    type Value = Vec<Fields>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Fields>, A::Error> {
        let mut items = Vec::new();
        while let Some(OneItem(fields)) = list.next_element()? {
            if items.len() == MOST_IN_BATCH {
                let message = format!("more than {MOST_IN_BATCH} items in one call");
                return Err(serde::de::Error::custom(message));
            }
            items.push(fields);
        }
        Ok(items)
    }
}

/// An object, and nothing that serde would take for one.
struct OneItem(Fields);

impl<'de> Deserialize<'de> for OneItem {
    fn deserialize<D: Deserializer<'de>>(read: D) -> Result<OneItem, D::Error> {
        Fields::deserialize(read).map(OneItem)
    }
}

fn read_item(fields: &Fields) -> Result<Item<'_>, Wrong> {
    check_names(fields)?;
    let id = one_of(fields, IDS, "id", "the id of the prediction")?;
    let truth = one_of(fields, TRUTHS, "label", "a label, a score or a reward")?;
    Ok(Item {
        id: id.1.as_str().ok_or_else(|| wrong(id.0, "a text"))?,
        row: match fields.get("row") {
            None => 0,
            Some(row) => {
                let number = row.as_u64().and_then(|row| u32::try_from(row).ok());
                number.ok_or_else(|| wrong("row", "the row's number, from 0 on"))?
            }
        },
        truth: read_truth(truth)?,
        label_time: fields.get("label_time").map(read_time).transpose()?,
        weight: match fields.get("weight") {
            None => 1.0,
            Some(weight) => weight.as_f64().ok_or_else(|| wrong("weight", "a number"))?,
        },
        model: match fields.get("model") {
            None => "",
            Some(model) => model.as_str().ok_or_else(|| wrong("model", "a model's name"))?,
        },
    })
}

fn check_names(fields: &Fields) -> Result<(), Wrong> {
    let known = |name: &str| {
        IDS.contains(&name)
            || TRUTHS.contains(&name)
            || ["row", "label_time", "weight", "model"].contains(&name)
    };
    match fields.keys().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
            let message = format!(
                "'{shown}' is not known here: expected id, row, label, score or reward, \
                 label_time, weight, model"
            );
            Err(("field", message))
        }
    }
}

/// The one of these fields that is there.
fn one_of<'a>(
    fields: &'a Fields,
    names: [&'static str; 3],
    called: &'static str,
    what: &str,
) -> Result<(&'static str, &'a Value), Wrong> {
    let mut there = names.into_iter().filter_map(|name| Some((name, fields.get(name)?)));
    match (there.next(), there.next()) {
        (Some(found), None) => Ok(found),
        (None, _) => Err(wrong(called, what)),
        (Some(_), Some((name, _))) => {
            Err((name, format!("expected one of {}, got several", names.join(", "))))
        }
    }
}

fn read_truth((field, value): (&'static str, &Value)) -> Result<Truth, Wrong> {
    Ok(match (field, value) {
        ("label", Value::String(text)) => Truth::Class(text.clone()),
        ("label", Value::Bool(is)) => Truth::Value(f64::from(u8::from(*is))),
        ("label", Value::Number(number)) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => whole(number),
            (None, Some(number)) => Truth::Class(number.to_string()),
            (None, None) => {
                Truth::Value(number.as_f64().ok_or_else(|| wrong("label", "a number"))?)
            }
        },
        ("label", _) => return Err(wrong("label", "a text, a number, or true or false")),
        (field, value) => {
            let number = value.as_f64().ok_or_else(|| wrong(field, "a number"))?;
            if field == "reward" { Truth::Reward(number) } else { Truth::Value(number) }
        }
    })
}

/// RFC 3339, or seconds since 1970.
fn read_time(value: &Value) -> Result<i64, Wrong> {
    let seconds = |seconds: f64| {
        let micros = seconds * 1e6;
        (micros.abs() < i64::MAX as f64).then_some(micros as i64)
    };
    let read = match value {
        Value::String(text) => time::parse(text),
        number => number.as_f64().and_then(seconds),
    };
    let expected = "a time such as 2026-11-21T12:00:00Z, or seconds since 1970";
    read.ok_or_else(|| wrong("label_time", expected))
}

fn wrong(field: &'static str, expected: &str) -> Wrong {
    (field, format!("expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;

    fn one(body: &str) -> Label {
        let mut labels = read(body.as_bytes(), NOW).unwrap_or_else(|e| panic!("{body}: {e}"));
        assert_eq!(labels.len(), 1, "{body}");
        labels.remove(0)
    }

    #[test]
    fn every_form_of_a_truth_is_read() {
        for (body, truth) in [
            (r#"{"id":"a","label":"cat"}"#, Truth::Class("cat".to_owned())),
            (r#"{"id":"a","label":3}"#, Truth::Value(3.0)),
            (r#"{"id":"a","label":-3}"#, Truth::Value(-3.0)),
            (r#"{"id":"a","label":2.5}"#, Truth::Value(2.5)),
            (r#"{"id":"a","label":true}"#, Truth::Value(1.0)),
            (
                r#"{"id":"a","label":9223372036854775807}"#,
                Truth::Class("9223372036854775807".to_owned()),
            ),
            (
                r#"{"id":"a","label":18446744073709551615}"#,
                Truth::Class("18446744073709551615".to_owned()),
            ),
            (r#"{"id":"a","score":0.5}"#, Truth::Value(0.5)),
            (r#"{"id":"a","reward":-1}"#, Truth::Reward(-1.0)),
        ] {
            assert_eq!(one(body).truth, truth, "{body}");
        }
    }

    #[test]
    fn the_rest_has_defaults_and_other_names() {
        let label = one(r#" {"inference_id":"a:1","label":1}"#);
        assert_eq!((label.request_id.as_str(), label.row, label.weight), ("a:1", 0, 1.0));
        assert_eq!((label.label_time, label.recorded_time), (NOW, NOW));
        let body = r#"{"request_id":"b","row":7,"label":1,"weight":0.25,"model":"m",
            "label_time":"2027-01-15T08:00:00.5+00:00"}"#;
        let label = one(body);
        assert_eq!((label.row, label.weight, label.model.as_str()), (7, 0.25, "m"));
        assert_eq!(label.label_time, NOW + 500_000);
        assert_eq!(one(r#"{"id":"b","label":1,"label_time":1.5}"#).label_time, 1_500_000);
        let list = read(br#"[{"id":"a","label":1},{"id":"b","label":2}]"#, NOW).expect("two");
        assert_eq!(list.len(), 2);
        assert_eq!(read(b"[]", NOW).expect("none").len(), 0);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, expected) in [
            ("", "expected a JSON object"),
            ("3", "expected a JSON object"),
            ("[3]", "the body: invalid type"),
            ("[[]]", "the body: invalid type"),
            (r#"[{"id":"a","label":1}"#, "the body: EOF"),
            (r#"[{"id":"a","label":1}] x"#, "the body: trailing"),
            ("{}", "item 0: id: expected the id"),
            (r#"[{"id":"a","label":1},{"id":"a"}]"#, "item 1: label: expected a label"),
            (r#"{"id":"a","label":1,"reward":1}"#, "item 0: reward: expected one of"),
            (r#"{"id":"a","request_id":"a","label":1}"#, "item 0: request_id: expected one of"),
            (r#"{"id":"a b","label":1}"#, "item 0: id: expected a prediction's id"),
            (r#"{"id":3,"label":1}"#, "item 0: id: expected a text"),
            (r#"{"id":"a","label":null}"#, "item 0: label: expected a text"),
            (r#"{"id":"a","label":""}"#, "item 0: label: expected a text of 1"),
            (r#"{"id":"a","reward":"x"}"#, "item 0: reward: expected a number"),
            (r#"{"id":"a","label":1e999}"#, "the body: number out of range"),
            (r#"{"id":"a","label":1,"row":-1}"#, "item 0: row: expected"),
            (r#"{"id":"a","label":1,"row":4294967296}"#, "item 0: row: expected"),
            (r#"{"id":"a","label":1,"weight":-1}"#, "item 0: weight: expected"),
            (r#"{"id":"a","label":1,"model":"a/b"}"#, "item 0: model: "),
            (r#"{"id":"a","label":1,"label_time":"now"}"#, "item 0: label_time: expected"),
            (
                r#"{"id":"a","label":1,"label_time":9e9}"#,
                "item 0: label_time: expected a time that",
            ),
            (r#"{"id":"a","lable":1}"#, "item 0: field: 'lable' is not known"),
        ] {
            let error = read(body.as_bytes(), NOW).expect_err(body);
            assert!(error.message.starts_with(expected), "{body}: {}", error.message);
        }
        let many = format!("[{}]", vec![r#"{"id":"a","label":1}"#; MOST_IN_BATCH + 1].join(","));
        assert!(read(many.as_bytes(), NOW).expect_err("many").message.contains("more than 1000"));
    }
}
