//! Paths of the HTTP face. Pure.

use std::borrow::Cow;

use http::Method;

use crate::api::percent;
use crate::api::repository::Change;

const FEEDBACK: &str = "/v1/feedback";

/// What a path is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Route<'a> {
    Infer(Target<'a>),
    /// Labels of predictions; no part of the protocol.
    Feedback,
    Ask(Question<'a>),
}

/// Everything but inference.
#[derive(Debug, PartialEq, Eq)]
pub enum Question<'a> {
    Live,
    Ready,
    ServerMetadata,
    ModelReady(Target<'a>),
    ModelMetadata(Target<'a>),
    ModelConfig(Target<'a>),
    /// An empty model means all of them.
    Statistics(Target<'a>),
    RepositoryIndex,
    /// Load or unload the named model.
    Repository(Change, Cow<'a, str>),
    /// Known to the protocol's clients, and not offered.
    Unsupported(&'static str),
}

/// The model and version of a path; an empty version means the newest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Target<'a> {
    pub model: Cow<'a, str>,
    pub version: Cow<'a, str>,
}

impl Route<'_> {
    pub fn method(&self) -> Method {
        match self {
            Route::Infer(_) | Route::Feedback => Method::POST,
            Route::Ask(Question::RepositoryIndex | Question::Repository(..)) => Method::POST,
            Route::Ask(_) => Method::GET,
        }
    }
}

/// Reads a path; `None` where there is nothing.
pub fn parse(path: &str) -> Option<Route<'_>> {
    if path == FEEDBACK {
        return Some(Route::Feedback);
    }
    let rest = path.strip_prefix("/v2")?;
    let rest = match rest.strip_prefix('/') {
        Some(rest) => rest,
        None if rest.is_empty() => "",
        None => return None,
    };
    let mut parts = [""; 6];
    let mut count = 0;
    for part in rest.split('/') {
        *parts.get_mut(count)? = part;
        count += 1;
    }
    let question = match &parts[..count] {
        [""] => Question::ServerMetadata,
        ["health", "live"] => Question::Live,
        ["health", "ready"] => Question::Ready,
        ["models", "stats"] => Question::Statistics(Target::default()),
        ["models", model] => Question::ModelMetadata(target(model, "")?),
        ["models", model, "versions", version] => Question::ModelMetadata(target(model, version)?),
        ["models", model, verb] => return of_model(verb, target(model, "")?),
        ["models", model, "versions", version, verb] => {
            return of_model(verb, target(model, version)?);
        }
        ["repository", "index"] => Question::RepositoryIndex,
        ["repository", "models", model, "load"] if !model.is_empty() => {
            Question::Repository(Change::Load, percent::decode(model)?)
        }
        ["repository", "models", model, "unload"] if !model.is_empty() => {
            Question::Repository(Change::Unload, percent::decode(model)?)
        }
        ["trace", "setting"] => Question::Unsupported("the trace extension"),
        ["logging"] => Question::Unsupported("the logging extension"),
        ["systemsharedmemory" | "cudasharedmemory", ..] => Question::Unsupported("shared memory"),
        _ => return None,
    };
    Some(Route::Ask(question))
}

fn of_model<'a>(verb: &str, target: Target<'a>) -> Option<Route<'a>> {
    Some(Route::Ask(match verb {
        "infer" => return Some(Route::Infer(target)),
        "ready" => Question::ModelReady(target),
        "config" => Question::ModelConfig(target),
        "stats" => Question::Statistics(target),
        _ => return None,
    }))
}

fn target<'a>(model: &'a str, version: &'a str) -> Option<Target<'a>> {
    if model.is_empty() {
        return None;
    }
    Some(Target { model: percent::decode(model)?, version: percent::decode(version)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to<'a>(model: &'a str, version: &'a str) -> Target<'a> {
        Target { model: Cow::Borrowed(model), version: Cow::Borrowed(version) }
    }

    #[test]
    fn every_path_of_the_protocol_is_known() {
        for (path, route) in [
            ("/v1/feedback", Route::Feedback),
            ("/v2", Route::Ask(Question::ServerMetadata)),
            ("/v2/", Route::Ask(Question::ServerMetadata)),
            ("/v2/health/live", Route::Ask(Question::Live)),
            ("/v2/health/ready", Route::Ask(Question::Ready)),
            ("/v2/models/m", Route::Ask(Question::ModelMetadata(to("m", "")))),
            ("/v2/models/m/versions/2", Route::Ask(Question::ModelMetadata(to("m", "2")))),
            ("/v2/models/m/ready", Route::Ask(Question::ModelReady(to("m", "")))),
            ("/v2/models/m/versions/2/ready", Route::Ask(Question::ModelReady(to("m", "2")))),
            ("/v2/models/m/config", Route::Ask(Question::ModelConfig(to("m", "")))),
            ("/v2/models/m/versions/2/config", Route::Ask(Question::ModelConfig(to("m", "2")))),
            ("/v2/models/stats", Route::Ask(Question::Statistics(to("", "")))),
            ("/v2/models/m/stats", Route::Ask(Question::Statistics(to("m", "")))),
            ("/v2/models/m/infer", Route::Infer(to("m", ""))),
            ("/v2/models/m%2Dx/versions/2/infer", Route::Infer(to("m-x", "2"))),
            ("/v2/models/m/versions/st%C3%A4ble/infer", Route::Infer(to("m", "stäble"))),
            (
                "/v2/models/m/versions/stable",
                Route::Ask(Question::ModelMetadata(to("m", "stable"))),
            ),
            ("/v2/repository/index", Route::Ask(Question::RepositoryIndex)),
            (
                "/v2/repository/models/a%2Db/load",
                Route::Ask(Question::Repository(Change::Load, Cow::Borrowed("a-b"))),
            ),
            (
                "/v2/repository/models/m/unload",
                Route::Ask(Question::Repository(Change::Unload, Cow::Borrowed("m"))),
            ),
        ] {
            assert_eq!(parse(path), Some(route), "{path}");
        }
    }

    #[test]
    fn other_paths_are_not() {
        for path in [
            "/",
            "",
            "/v1/models/m",
            "/v1/feedback/",
            "/v22",
            "/v2x/health/live",
            "/v2/models",
            "/v2/models/",
            "/v2/models//infer",
            "/v2/models/m/",
            "/v2/models/m/predict",
            "/v2/models/m/versions",
            "/v2/models/m/versions/1/infer/x",
            "/v2/models/%zz/infer",
            "/v2/models/%f",
            "/v2/models/%ff",
            "/v2/repository/models/m",
            "/v2/repository/models//load",
            "/v2/repository/models/m/reload",
            "/v2/health",
            "/v2/health/live/",
            "/a/b/c/d/e/f/g/h/i/j",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }
}
