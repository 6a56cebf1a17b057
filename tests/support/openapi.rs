//! Answers beside the document that describes them.

use serde_json::Value;

/// The schema behind a reference.
pub fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').expect("of this document");
            document.pointer(pointer).unwrap_or_else(|| panic!("{reference} is missing"))
        }
        None => schema,
    }
}

/// Asserts that `value` has the fields that `schema` names, no others, and so on.
pub fn assert_described(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = resolve(document, schema);
    if let Some(variants) = schema["oneOf"].as_array() {
        if !value.is_null() {
            assert_described(document, &variants[0], value, at);
        }
        return;
    }
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{at}: {value} is none of {words:?}");
    }
    match value {
        Value::Object(fields) => {
            let Some(described) = schema["properties"].as_object() else { return };
            for (key, value) in fields {
                let schema = described.get(key).unwrap_or_else(|| panic!("{at}.{key}"));
                assert_described(document, schema, value, &format!("{at}.{key}"));
            }
            for key in schema["required"].as_array().into_iter().flatten() {
                assert!(fields.contains_key(key.as_str().expect("a name")), "{at} lacks {key}");
            }
        }
        Value::Array(items) => {
            for item in items {
                assert_described(document, &schema["items"], item, &format!("{at}[]"));
            }
        }
        _ => {}
    }
}
