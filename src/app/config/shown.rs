//! The running configuration as others may see it.

use serde_json::Value;

use super::Config;

/// Stands where a secret was.
const REDACTED: &str = "[redacted]";

/// Keys whose values are secret, whatever section they stand in.
const SECRET: [&str; 6] =
    ["secret", "password", "token", "credential", "access_key", "account_key"];

/// The configuration as JSON with the keys of the file, without secrets.
pub fn shown(config: &Config) -> Value {
    let mut shown = serde_json::to_value(config).unwrap_or_default();
    redact(&mut shown);
    shown
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let secret = SECRET.iter().any(|word| key.to_ascii_lowercase().contains(word));
                if secret && !value.is_null() {
                    *value = Value::from(REDACTED);
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::String(text) => {
            if let Some(plain) = without_userinfo(text) {
                *text = plain;
            }
        }
        _ => {}
    }
}

/// `scheme://user:password@host` and the query of an address without what may
/// be secret in them; `None` where there is nothing of the kind.
fn without_userinfo(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (address, query) = match rest.split_once('?') {
        Some((address, _)) => (address, "?[redacted]"),
        None => (rest, ""),
    };
    let (authority, path) = match address.find('/') {
        Some(at) => address.split_at(at),
        None => (address, ""),
    };
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{REDACTED}@{host}"),
        None => authority.to_owned(),
    };
    Some(format!("{scheme}://{host}{path}{query}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut value = json!({
            "registries": [{
                "name": "a",
                "secret_access_key": "hunter2",
                "session_token": null,
                "Password": {"x": "hunter2"},
                "url": "https://ada:hunter2@example.org/models?sig=hunter2",
                "endpoint": "http://127.0.0.1:9000/x",
            }],
            "limits": {"max_headers": 100},
        });
        redact(&mut value);
        assert!(!value.to_string().contains("hunter2"), "{value}");
        let registry = &value["registries"][0];
        assert_eq!(registry["secret_access_key"], REDACTED);
        assert_eq!(registry["session_token"], Value::Null, "that nothing is set may be seen");
        assert_eq!(registry["url"], "https://[redacted]@example.org/models?[redacted]");
        assert_eq!(registry["endpoint"], "http://127.0.0.1:9000/x");
        assert_eq!(value["limits"]["max_headers"], 100);
    }

    #[test]
    fn the_rest_is_the_configuration_itself() {
        let config = Config::default();
        let expected = serde_json::to_value(&config).expect("JSON");
        assert_eq!(shown(&config), expected);
    }
}
