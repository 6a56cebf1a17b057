//! Which variant and version would answer a request, and why.

use std::borrow::Cow;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::input;
use crate::routing::{Attributes, Explanation};
use crate::serving::{ServedRoute, Snapshot};
use crate::types::{InferError, ModelName, Parameter, Version};

/// The answer, of this moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    #[serde(flatten)]
    pub explanation: Explanation,
    /// What would answer; none where nothing can.
    pub version: Option<Version>,
    /// Whether the champion would answer in the variant's stead.
    pub falls_back: bool,
    /// Why the variant, or the version that was named, cannot answer.
    pub problem: Option<String>,
}

/// What a question says about the request.
#[derive(Debug, Default)]
struct Asked<'a> {
    /// The unit itself, wherever the route looks for it.
    key: Option<Cow<'a, str>>,
    headers: HeaderMap,
    parameters: Vec<(Cow<'a, str>, Parameter<'a>)>,
    id: Cow<'a, str>,
    /// Number or label that the request names.
    version: Option<Cow<'a, str>>,
}

pub(super) fn why(snapshot: &Snapshot, name: &ModelName, query: &str) -> Result<Why, InferError> {
    let asked = parse(query)?;
    let route =
        snapshot.route(name.as_str()).ok_or_else(|| match snapshot.model(name.as_str()) {
            Some(_) => InferError::not_found(format!(
                "'{name}' has no route: the model itself answers, always with its default version"
            )),
            None => InferError::not_found(format!("unknown route '{name}'")),
        })?;
    let explanation = match &asked.key {
        Some(key) => route.route.explain_unit(key.as_bytes()),
        None => route.route.explain(&Attributes {
            headers: &asked.headers,
            parameters: &asked.parameters,
            request_id: asked.id.as_bytes(),
        }),
    };
    match &asked.version {
        Some(version) => pinned(route, explanation, version),
        None => Ok(chosen(route, explanation)),
    }
}

/// A request that names its version.
fn pinned(route: &ServedRoute, explanation: Explanation, version: &str) -> Result<Why, InferError> {
    if !route.route.pins
        && let Err(refused) = route.pinned(version)
    {
        return Err(refused);
    }
    let answering = route.resolve(version);
    Ok(Why {
        explanation: Explanation {
            by: "pin".to_owned(),
            range: None,
            propensity: 1.0,
            mirrored: false,
            ..explanation
        },
        version: answering.as_ref().ok().map(|servable| servable.version()),
        falls_back: false,
        problem: answering.err().map(|error| error.message.into_owned()),
    })
}

fn chosen(route: &ServedRoute, explanation: Explanation) -> Why {
    let variants = &route.route.variants;
    let place = variants.iter().position(|variant| variant.name == explanation.variant);
    let place = place.unwrap_or_default();
    let version = |place: usize| route.target(place).map(|target| target.servable.version());
    let own = version(place);
    let champion = version(0).ok();
    let falls_back = own.is_err() && place != 0 && route.route.falls_back && champion.is_some();
    let stand_in = if falls_back { champion } else { None };
    let version = own.as_ref().ok().copied().or(stand_in);
    // A version is not mirrored to itself, nor to one that is not ready.
    let shadow = route.shadow.as_ref().map(|mirrored| mirrored.target.servable.version());
    let mirrored = explanation.mirrored && shadow.is_some() && shadow != version;
    Why {
        explanation: Explanation { mirrored, ..explanation },
        version,
        falls_back,
        problem: own.err().map(|error| error.message.into_owned()),
    }
}

fn parse(query: &str) -> Result<Asked<'_>, InferError> {
    let mut asked = Asked::default();
    for pair in input::pairs(query) {
        let (key, value) = pair?;
        match key.split_once('.') {
            Some(("header", name)) => {
                let name = HeaderName::from_bytes(name.as_bytes());
                let value = HeaderValue::from_bytes(value.as_bytes());
                let (Ok(name), Ok(value)) = (name, value) else {
                    return Err(InferError::invalid(format!(
                        "{key}: no header is called, or has, this"
                    )));
                };
                asked.headers.append(name, value);
            }
            Some(("parameter", name)) => {
                asked.parameters.push((Cow::Borrowed(name), Parameter::Text(value)));
            }
            _ => match key {
                "key" => asked.key = Some(value),
                "id" => asked.id = value,
                "version" => asked.version = Some(value),
                _ => {
                    return Err(InferError::invalid(
                        "the query takes key, header.NAME, parameter.NAME, id and version",
                    ));
                }
            },
        }
    }
    let more = !asked.headers.is_empty() || !asked.parameters.is_empty() || !asked.id.is_empty();
    if asked.key.is_some() && more {
        return Err(InferError::invalid(
            "key stands for the unit itself: expected it alone, or with version",
        ));
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_whole_or_refused() {
        let asked = parse("header.X-User=a%20b&parameter.c=1&id=r-1&version=2").expect("valid");
        assert_eq!(asked.headers["x-user"], "a b");
        assert_eq!(asked.parameters, [(Cow::from("c"), Parameter::Text("1".into()))]);
        assert_eq!((&*asked.id, asked.version.as_deref()), ("r-1", Some("2")));
        assert_eq!(parse("key=K&version=2").expect("valid").key.as_deref(), Some("K"));
        assert!(parse("").expect("valid").key.is_none());
        for bad in ["user=1", "header.=1", "header.a b=1", "header.a=%0a", "key=%zz", "key=K&id=1"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
