//! `routes`: routes that stand in the configuration, and the folder of more.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::expand;
use super::range::{Problem, Validate};
use crate::routing::{Route, RouteDocument};

/// A list of routes, or a mapping that may name a folder too.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RoutesConfig {
    List(Vec<RouteDocument>),
    Places(RoutePlaces),
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutePlaces {
    /// Its *.yaml and *.yml files hold routes; watched. Null means none.
    #[serde(deserialize_with = "expand::optional")]
    pub folder: Option<PathBuf>,
    pub inline: Vec<RouteDocument>,
}

impl Default for RoutesConfig {
    fn default() -> RoutesConfig {
        RoutesConfig::Places(RoutePlaces::default())
    }
}

impl RoutesConfig {
    pub fn folder(&self) -> Option<&Path> {
        match self {
            RoutesConfig::List(_) => None,
            RoutesConfig::Places(places) => places.folder.as_deref(),
        }
    }

    /// The routes that stand in the configuration itself.
    pub fn inline(&self) -> &[RouteDocument] {
        match self {
            RoutesConfig::List(routes) => routes,
            RoutesConfig::Places(places) => &places.inline,
        }
    }
}

impl Validate for RoutesConfig {
    fn validate(&self) -> Result<(), Problem> {
        let around = match self {
            RoutesConfig::List(_) => "",
            RoutesConfig::Places(_) => "inline.",
        };
        let mut names = BTreeSet::new();
        for (place, document) in self.inline().iter().enumerate() {
            let within = |problem: Problem| problem.within(&format!("{around}{place}"));
            Route::compile(document, None).map_err(|problem| within(problem.into()))?;
            if !names.insert(document.name()) {
                return Err(within(twice(document.name())));
            }
        }
        Ok(())
    }
}

/// A name that stands in one file a second time.
pub(super) fn twice(name: &crate::types::ModelName) -> Problem {
    let message = format!("route '{name}' stands here a second time; keep one");
    Problem::new("metadata.name", message)
}

impl<'de> Deserialize<'de> for RoutesConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RoutesConfig, D::Error> {
        struct Routes;
        impl<'de> Visitor<'de> for Routes {
            type Value = RoutesConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of routes, or a mapping of folder and inline")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<RoutesConfig, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(RoutesConfig::List)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RoutesConfig, A::Error> {
                RoutePlaces::deserialize(MapAccessDeserializer::new(map)).map(RoutesConfig::Places)
            }

            fn visit_unit<E>(self) -> Result<RoutesConfig, E> {
                Ok(RoutesConfig::default())
            }
        }
        deserializer.deserialize_any(Routes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    const ROUTE: &str = "{apiVersion: modelgate.dev/v1, kind: Route, metadata: {name: NAME}}";

    fn parse(yaml: &str) -> Result<Config, super::super::ConfigError> {
        Config::parse(yaml, "test.yaml")
    }

    #[test]
    fn routes_are_a_list_or_have_places() {
        let (a, b) = (ROUTE.replace("NAME", "a"), ROUTE.replace("NAME", "b"));
        let names = |config: &Config| -> Vec<String> {
            config.routes.inline().iter().map(|route| route.name().to_string()).collect()
        };
        let list = parse(&format!("routes:\n- {a}\n- {b}\n")).expect("valid");
        assert_eq!((names(&list), list.routes.folder()), (vec!["a".into(), "b".into()], None));
        let places = parse(&format!("routes:\n  folder: /srv/routes\n  inline: [{a}]\n"));
        let places = places.expect("valid");
        assert_eq!(names(&places), ["a"]);
        assert_eq!(places.routes.folder(), Some(std::path::Path::new("/srv/routes")));
        assert_eq!(parse("routes:\n").expect("valid"), Config::default());
        assert_eq!(parse("routes: []\n").expect("valid").routes.inline(), []);
    }

    #[test]
    fn mistakes_in_them_are_shown_where_they_are() {
        let a = ROUTE.replace("NAME", "a");
        for (yaml, place, key, part) in [
            ("routes: 5\n".to_owned(), (1, 1), "routes", "a list of routes, or a mapping"),
            ("routes: {foldr: x}\n".to_owned(), (1, 10), "routes.foldr", "did you mean 'folder'"),
            (
                format!("routes:\n- {a}\n- kind: Route\n  sepc: {{}}\n"),
                (4, 3),
                "routes.1.sepc",
                "did you mean 'spec'",
            ),
            (
                format!("routes:\n- {a}\n- {a}\n"),
                (3, 64),
                "routes.1.metadata.name",
                "route 'a' stands here a second time",
            ),
            (
                format!("routes:\n  inline:\n  - {a}\n  - {a}\n"),
                (4, 66),
                "routes.inline.1.metadata.name",
                "route 'a' stands here a second time",
            ),
        ] {
            let error = parse(&yaml).expect_err(&yaml);
            let invalid = error.invalid().expect("read, but invalid");
            assert_eq!((invalid.line, invalid.column), place, "{error}");
            assert_eq!(invalid.key, key, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
