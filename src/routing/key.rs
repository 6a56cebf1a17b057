//! Whom a request belongs to: the first key of the route that it carries.

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};

use super::document::{Key, Problem, Stickiness};
use super::route::{Attributes, UnitKind};
use crate::types::Parameter;

/// Keys that a route may have.
pub const MAX_KEYS: usize = 8;
/// Characters of a parameter's name.
const MAX_PARAMETER: usize = 128;

/// A route's keys in their order.
#[derive(Debug)]
pub(super) struct Keys(Box<[Place]>);

#[derive(Debug)]
enum Place {
    /// Of HTTP or of gRPC's metadata.
    Header(HeaderName),
    Parameter(Box<str>),
}

impl Keys {
    pub(super) fn new(stickiness: &Stickiness) -> Result<Keys, Problem> {
        let keys = &stickiness.key;
        if keys.len() > MAX_KEYS {
            return Err(Problem::at(
                "spec.stickiness.key",
                format!("expected at most {MAX_KEYS} keys, found {}", keys.len()),
            ));
        }
        let places = keys.iter().enumerate().map(|(place, key)| {
            let at = format!("spec.stickiness.key.{place}");
            match key {
                Key::Header(name) => header(name, format!("{at}.header")).map(Place::Header),
                Key::Metadata(name) => header(name, format!("{at}.metadata")).map(Place::Header),
                Key::Parameter(name) => {
                    let length = name.chars().count();
                    if !(1..=MAX_PARAMETER).contains(&length) {
                        return Err(Problem::at(
                            format!("{at}.parameter"),
                            format!(
                                "expected a parameter's name of 1 to {MAX_PARAMETER} characters, \
                                 found {length}"
                            ),
                        ));
                    }
                    Ok(Place::Parameter(name.as_str().into()))
                }
            }
        });
        places.collect::<Result<_, _>>().map(Keys)
    }

    /// The kind and the bytes of a request's unit: those of the first key that
    /// is there and not empty, else the request id. A number is written to
    /// `digits`.
    pub(super) fn find<'a>(
        &self,
        attributes: &Attributes<'a>,
        digits: &'a mut itoa::Buffer,
    ) -> (UnitKind, &'a [u8]) {
        for (place, key) in self.0.iter().enumerate() {
            let found = match key {
                Place::Header(name) => attributes.headers.get(name).map(|value| value.as_bytes()),
                Place::Parameter(name) => {
                    let parameters = attributes.parameters;
                    let found = parameters.iter().find(|(other, _)| **other == **name);
                    // Only numbers need the buffer, and they are never empty.
                    match found.map(|(_, value)| value) {
                        Some(&Parameter::Int(number)) => {
                            return (UnitKind::Key(place), digits.format(number).as_bytes());
                        }
                        Some(&Parameter::Uint(number)) => {
                            return (UnitKind::Key(place), digits.format(number).as_bytes());
                        }
                        Some(Parameter::Text(text)) => Some(text.as_bytes()),
                        Some(Parameter::Bool(true)) => Some(b"true".as_slice()),
                        Some(Parameter::Bool(false)) => Some(b"false".as_slice()),
                        // Languages write them differently.
                        Some(Parameter::Double(_)) | None => None,
                    }
                }
            };
            if let Some(bytes) = found.filter(|bytes| !bytes.is_empty()) {
                return (UnitKind::Key(place), bytes);
            }
        }
        (UnitKind::RequestId, attributes.request_id)
    }

    /// The first key, where there is one.
    pub(super) fn first(&self) -> UnitKind {
        if self.0.is_empty() { UnitKind::RequestId } else { UnitKind::Key(0) }
    }

    /// For people: such as `header x-user-id`.
    pub(super) fn describe(&self, kind: UnitKind) -> String {
        match kind {
            UnitKind::Key(place) => match &self.0[place] {
                Place::Header(name) => format!("header {name}"),
                Place::Parameter(name) => format!("parameter {name}"),
            },
            UnitKind::RequestId => "request id".to_owned(),
        }
    }

    /// Whether values of that kind let their reader in somewhere.
    pub(super) fn is_secret(&self, kind: UnitKind) -> bool {
        match kind {
            UnitKind::Key(place) => match &self.0[place] {
                Place::Header(name) => [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name),
                Place::Parameter(_) => false,
            },
            UnitKind::RequestId => false,
        }
    }
}

/// The name of a header as requests carry it: in lower case.
pub(super) fn header(name: &str, path: String) -> Result<HeaderName, Problem> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        Problem::at(
            path,
            format!(
                "'{}' is no header's name: expected letters, digits and signs such as - or _, \
                 without spaces and colons",
                name.chars().take(80).collect::<String>()
            ),
        )
    })
}
