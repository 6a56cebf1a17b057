//! How far traffic is from what models were trained on: all versions at a
//! glance, one of them whole, and as a picture.

mod picture;
mod query;
mod shown;

use std::sync::Arc;

use ::http::{HeaderValue, Response, StatusCode, header};

use crate::api::body::ResponseBody;
use crate::api::http::json_answer;
use crate::drift::live::{Active, Feature, Watch};
use crate::request::Gateway;
use crate::types::{InferError, ModelName, Version};
use picture::Panel;
use shown::{AgainstShown, Overview, Profiled, ReportShown, VersionGlance, VersionShown};

type Answer = Result<Response<ResponseBody>, InferError>;

/// Features of a picture that names none.
const MOST_PANELS: usize = 12;

/// Names that a refusal lists.
const MOST_NAMES: usize = 20;

const SVG: HeaderValue = HeaderValue::from_static("image/svg+xml");

/// A picture has colours, and nothing that loads or runs.
const PICTURE_ONLY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");

pub(super) fn overview(gateway: &Gateway) -> Answer {
    let is_default = |watch: &Watch| default_of(gateway, &watch.model) == Some(watch.version);
    let versions = watches(gateway);
    let versions = versions.iter().map(|watch| VersionGlance::of(watch, is_default(watch)));
    let overview = Overview { enabled: gateway.drift.is_on(), versions: versions.collect() };
    Ok(json_answer(StatusCode::OK, &overview))
}

pub(super) fn version(gateway: &Gateway, model: &ModelName, query: &str) -> Answer {
    let query = query::read(query, false)?;
    let watch = find(gateway, model, query.version)?;
    let against = watch.against();
    check_features(&watch, &query.features)?;
    let report = watch.active().and_then(|active| active.report(query.role));
    let shown = VersionShown {
        model,
        version: watch.version,
        default: default_of(gateway, model) == Some(watch.version),
        role: query.role.label(),
        profiled: Profiled::of(&watch),
        report: report.as_deref().map(|report| ReportShown::of(report, &query.features)),
        against: against.map(|against| AgainstShown::of(&against, query.role, &query.features)),
    };
    Ok(json_answer(StatusCode::OK, &shown))
}

pub(super) fn plot(gateway: &Gateway, model: &ModelName, query: &str) -> Answer {
    let query = query::read(query, true)?;
    let watch = find(gateway, model, query.version)?;
    let active = active(&watch)?;
    check_features(&watch, &query.features)?;
    let (version, role) = (watch.version, query.role.label());
    let report = active.report(query.role).ok_or_else(|| {
        let what = format!("{role} rows of version {version} of '{model}'");
        InferError::not_found(format!("no {what} were looked at so far"))
    })?;
    let mut features = ReportShown::of(&report, &query.features).features;
    if query.features.is_empty() {
        features.truncate(MOST_PANELS);
    }
    let panels = features
        .into_iter()
        .filter_map(|feature| panel(feature, query.window.as_deref()).transpose())
        .collect::<Result<Vec<_>, InferError>>()?;
    let picture = picture::draw(&format!("{model} version {version}, {role}"), &panels);
    let mut response = Response::new(ResponseBody::full(picture));
    response.headers_mut().insert(header::CONTENT_TYPE, SVG);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, PICTURE_ONLY);
    Ok(response)
}

/// A feature in the window of this label, or in its worst; `None` for one
/// that has no window.
fn panel<'a>(feature: &'a Feature, label: Option<&str>) -> Result<Option<Panel<'a>>, InferError> {
    let Some(label) = label else {
        return Ok(feature.worst().map(|window| Panel { feature, window }));
    };
    match feature.windows.iter().find(|window| *window.window == *label) {
        Some(window) => Ok(Some(Panel { feature, window })),
        None => {
            let there = feature.windows.iter().map(|window| &*window.window);
            Err(absent("window", label, there))
        }
    }
}

/// What is watched. A version that is being loaded anew is told as it serves still.
fn watches(gateway: &Gateway) -> Vec<Arc<Watch>> {
    let mut watches = gateway.drift.watches();
    watches.dedup_by(|next, first| (&next.model, next.version) == (&first.model, first.version));
    watches
}

/// The version that answers requests for a model that name none.
fn default_of(gateway: &Gateway, model: &ModelName) -> Option<Version> {
    let snapshot = gateway.catalog.load();
    let default = snapshot.model(model.as_str())?.default.as_ref();
    // A route of this name decides, where it is about this model.
    let answering = snapshot.resolve(model.as_str(), "").ok();
    let own = answering.filter(|servable| servable.name() == model);
    own.or(default).map(|servable| servable.version())
}

/// # Errors
/// `NotFound`, with what there is.
fn find(
    gateway: &Gateway,
    model: &ModelName,
    version: Option<Version>,
) -> Result<Arc<Watch>, InferError> {
    if !gateway.drift.is_on() {
        let message = "drift is not watched here: drift.enabled is false";
        return Err(InferError::not_found(message));
    }
    let watches = watches(gateway);
    let of_model: Vec<&Arc<Watch>> = watches.iter().filter(|watch| watch.model == *model).collect();
    if of_model.is_empty() {
        let mut models: Vec<&str> = watches.iter().map(|watch| watch.model.as_str()).collect();
        models.dedup();
        return Err(absent("watched model", model.as_str(), models.into_iter()));
    }
    let wanted = version.or_else(|| default_of(gateway, model));
    let found = of_model.iter().find(|watch| Some(watch.version) == wanted);
    found.map(|watch| Arc::clone(watch)).ok_or_else(|| {
        let versions: Vec<String> = of_model.iter().map(|w| w.version.to_string()).collect();
        let wanted = wanted.map_or("that answers by default".to_owned(), |w| w.to_string());
        absent(&format!("watched version of '{model}'"), &wanted, versions.iter().map(|v| &**v))
    })
}

/// # Errors
/// `NotFound`, with the reason why there is no profile.
fn active(watch: &Watch) -> Result<&Active, InferError> {
    watch.active().ok_or_else(|| {
        let (version, model) = (watch.version, &watch.model);
        let reason = Profiled::of(watch).reason.unwrap_or_default();
        InferError::not_found(format!("version {version} of '{model}' has no profile: {reason}"))
    })
}

/// # Errors
/// `NotFound` for the first that is in neither the version's profile nor that
/// of its champion, with what is.
fn check_features(watch: &Watch, names: &[String]) -> Result<(), InferError> {
    let champions = watch.against().map_or_else(Vec::new, |against| against.columns());
    let own = watch.active().map(|active| active.profile.columns());
    let own: Vec<&str> = own.into_iter().flatten().map(|column| &*column.name).collect();
    let others = champions.iter().map(|name| &**name).filter(|name| !own.contains(name));
    let there: Vec<&str> = own.iter().copied().chain(others).collect();
    match names.iter().find(|name| !there.contains(&name.as_str())) {
        None => Ok(()),
        Some(_) if there.is_empty() => active(watch).map(|_| ()),
        Some(name) => Err(absent("feature", name, there.into_iter())),
    }
}

fn absent<'a>(what: &str, wanted: &str, there: impl Iterator<Item = &'a str>) -> InferError {
    let wanted: String = wanted.chars().take(128).collect();
    let mut names: Vec<&str> = there.take(MOST_NAMES + 1).collect();
    if names.len() > MOST_NAMES {
        names[MOST_NAMES] = "and others";
    }
    let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    InferError::not_found(format!("no {what} '{wanted}'; there is {there}"))
}
