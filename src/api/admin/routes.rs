//! The calls there are, as data, and which one a request means. Pure.

use std::borrow::Cow;

use http::Method;

use crate::api::percent;
use crate::control::retrain::MAX_ALERT_BYTES;
use crate::types::{InferError, ModelName, Version};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Models,
    Model,
    Rollback,
    Release,
    Load,
    Unload,
    Retry,
    Routes,
    Route,
    ApplyRoutes,
    DeleteRoute,
    Traffic,
    SetTraffic,
    Promote,
    Why,
    ShadowDiff,
    Drifts,
    Drift,
    DriftPlot,
    Predictions,
    Retrain,
    TestRetrain,
    Alerts,
    Events,
    Audit,
    Config,
    OpenApi,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
    Delete,
}

impl Operation {
    /// Most bytes of its body.
    pub fn body_limit(self) -> usize {
        match self {
            Operation::ApplyRoutes => 1 << 20,
            Operation::Alerts => MAX_ALERT_BYTES,
            _ => 64 << 10,
        }
    }

    /// Whether it reads what follows the question mark.
    pub fn takes_query(self) -> bool {
        matches!(self, Operation::Audit | Operation::Why | Operation::Drift | Operation::DriftPlot)
    }
}

impl Verb {
    pub fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Delete => "DELETE",
        }
    }
}

pub struct Route {
    pub method: Verb,
    pub path: &'static str,
    pub operation: Operation,
}

const fn get(path: &'static str, operation: Operation) -> Route {
    Route { method: Verb::Get, path, operation }
}

const fn post(path: &'static str, operation: Operation) -> Route {
    Route { method: Verb::Post, path, operation }
}

const fn delete(path: &'static str, operation: Operation) -> Route {
    Route { method: Verb::Delete, path, operation }
}

pub const ROUTES: [Route; 28] = [
    get("/admin/v1/models", Operation::Models),
    get("/admin/v1/models/{name}", Operation::Model),
    post("/admin/v1/models/{name}/rollback", Operation::Rollback),
    post("/admin/v1/models/{name}/release", Operation::Release),
    post("/admin/v1/models/{name}/load", Operation::Load),
    post("/admin/v1/models/{name}/unload", Operation::Unload),
    post("/admin/v1/models/{name}/versions/{version}/retry", Operation::Retry),
    get("/admin/v1/routes", Operation::Routes),
    post("/admin/v1/routes", Operation::ApplyRoutes),
    get("/admin/v1/routes/{name}", Operation::Route),
    delete("/admin/v1/routes/{name}", Operation::DeleteRoute),
    post("/admin/v1/routes/{name}/delete", Operation::DeleteRoute),
    get("/admin/v1/routes/{name}/traffic", Operation::Traffic),
    post("/admin/v1/routes/{name}/traffic", Operation::SetTraffic),
    post("/admin/v1/routes/{name}/promote", Operation::Promote),
    get("/admin/v1/routes/{name}/why", Operation::Why),
    get("/admin/v1/shadow/{name}/diff", Operation::ShadowDiff),
    get("/admin/v1/drift", Operation::Drifts),
    get("/admin/v1/drift/{name}", Operation::Drift),
    get("/admin/v1/drift/{name}/plot.svg", Operation::DriftPlot),
    get("/admin/v1/predictions", Operation::Predictions),
    get("/admin/v1/retrain", Operation::Retrain),
    post("/admin/v1/retrain/{name}/test", Operation::TestRetrain),
    post("/admin/v1/hooks/alertmanager", Operation::Alerts),
    post("/admin/v1/registry/events", Operation::Events),
    get("/admin/v1/audit", Operation::Audit),
    get("/admin/v1/config", Operation::Config),
    get("/admin/v1/openapi.json", Operation::OpenApi),
];

/// What a path names; empty where it names nothing of the kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Named<'a> {
    name: Cow<'a, str>,
    version: Cow<'a, str>,
}

impl Named<'_> {
    /// The model or the route; their names have the same form.
    pub fn name(&self) -> Result<ModelName, InferError> {
        ModelName::parse(&self.name).map_err(|error| InferError::invalid(error.to_string()))
    }

    pub fn version(&self) -> Result<Version, InferError> {
        Version::parse(&self.version).map_err(|error| InferError::invalid(error.to_string()))
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    Here(Operation, Named<'a>),
    /// The path is there, for these methods.
    OtherMethods(String),
    Nothing,
}

pub fn find<'a>(method: &Method, path: &'a str) -> Found<'a> {
    let mut allowed: Vec<&str> = Vec::new();
    for route in &ROUTES {
        let Some(named) = fit(route.path, path) else { continue };
        if method.as_str() == route.method.name() {
            return Found::Here(route.operation, named);
        }
        allowed.push(route.method.name());
    }
    if allowed.is_empty() { Found::Nothing } else { Found::OtherMethods(allowed.join(", ")) }
}

fn fit<'a>(pattern: &str, path: &'a str) -> Option<Named<'a>> {
    let mut named = Named::default();
    let mut parts = path.split('/');
    for expected in pattern.split('/') {
        let part = parts.next()?;
        let place = match expected {
            "{name}" => &mut named.name,
            "{version}" => &mut named.version,
            _ if expected == part => continue,
            _ => return None,
        };
        *place = percent::decode(part).filter(|text| !text.is_empty())?;
    }
    parts.next().is_none().then_some(named)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn every_route_is_found_by_its_method() {
        let mut by_path: BTreeMap<&str, BTreeMap<&str, Operation>> = BTreeMap::new();
        for route in &ROUTES {
            let methods = by_path.entry(route.path).or_default();
            assert!(methods.insert(route.method.name(), route.operation).is_none());
        }
        for (pattern, methods) in by_path {
            let path = pattern.replace("{name}", "a%2Db").replace("{version}", "7");
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD] {
                match (find(&method, &path), methods.get(method.as_str())) {
                    (Found::Here(operation, named), Some(expected)) => {
                        assert_eq!(operation, *expected);
                        assert!(!pattern.contains("{name}") || named.name == "a-b");
                        assert!(!pattern.contains("{version}") || named.version == "7");
                    }
                    (Found::OtherMethods(allowed), None) => {
                        assert_eq!(allowed.split(", ").count(), methods.len(), "{path}: {allowed}");
                        assert!(methods.keys().all(|method| allowed.contains(method)), "{allowed}");
                    }
                    (found, _) => panic!("{method} {path}: {found:?}"),
                }
            }
        }
    }

    #[test]
    fn the_document_describes_what_is_there() {
        let document: serde_json::Value =
            serde_json::from_str(crate::api::admin::OPENAPI).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let described: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, calls)| {
                let methods = calls.as_object().expect("calls").keys();
                methods.map(move |method| (method.to_uppercase(), path.clone()))
            })
            .collect();
        let there =
            ROUTES.iter().map(|route| (route.method.name().to_owned(), route.path.to_owned()));
        assert_eq!(described, there.collect());
    }

    #[test]
    fn other_paths_are_not() {
        for path in [
            "/",
            "/admin",
            "/admin/v1",
            "/admin/v1/",
            "/admin/v2/models",
            "/admin/v1/models/",
            "/admin/v1/models/a/",
            "/admin/v1/models/%zz",
            "/admin/v1/models/a/rollback/b",
            "/admin/v1/models/a/versions/1",
            "//admin/v1/models",
            "/v2/models/a",
        ] {
            assert_eq!(find(&Method::GET, path), Found::Nothing, "{path}");
        }
    }

    #[test]
    fn what_is_named_is_checked() {
        for (path, model, version) in [
            ("/admin/v1/models/m/versions/7/retry", true, true),
            ("/admin/v1/models/..%2f/versions/0/retry", false, false),
            ("/admin/v1/models/_m/versions/+1/retry", false, false),
        ] {
            let Found::Here(_, named) = find(&Method::POST, path) else { panic!("{path}") };
            assert_eq!((named.name().is_ok(), named.version().is_ok()), (model, version), "{path}");
        }
    }
}
