//! What is refused of a route, and what its owner should know, as far as its
//! model is known. Pure.

use super::plan::{Asked, ModelView, resolve};
use crate::control::settings::LabelTarget;
use crate::control::status::VariantState;
use crate::routing::{Problem, RouteDocument, VersionRef};
use crate::types::{ModelName, VariantName, Version};

/// What is known of the gateway when a route is applied.
pub(super) struct Known<'a> {
    /// Of the route's model; none where the registries have no such model.
    pub model: Option<&'a ModelView<'a>>,
    /// Whether a model has the route's name.
    pub is_a_model: bool,
    /// Whether a version that is neither listed nor loaded could be loaded all the same.
    pub is_cached: &'a dyn Fn(Version) -> bool,
}

/// Checks a route against its model. What cannot work is refused; what does
/// not work yet comes back as warnings.
pub(super) fn check(
    document: &RouteDocument,
    asked: &Asked<'_>,
    known: &Known<'_>,
) -> Result<Vec<String>, Problem> {
    let name = document.name();
    let model = document.model();
    if known.is_a_model && name != model {
        return Err(problem(
            "metadata.name",
            format!(
                "a model is called '{name}' too, and requests for it would go to '{model}': choose \
                 another name, or make it a route of '{name}'"
            ),
        ));
    }
    let Some(view) = known.model else {
        let path = if document.spec.model.is_some() { "spec.model" } else { "metadata.name" };
        let hint = if document.spec.model.is_some() { "" } else { "; spec.model names another" };
        return Err(problem(path, format!("the registries have no model '{model}'{hint}")));
    };
    for (path, says) in references(document) {
        is_there(says, model, view, known).map_err(|message| problem(&path, message))?;
    }
    let plan = resolve(asked, Some(view));
    let mut warnings = Vec::new();
    let shadow = plan.shadow.iter().map(|stand| (VariantName::SHADOW, stand));
    let variants = asked.variants.iter().map(|(name, _)| name.as_str()).zip(&plan.variants);
    for (variant, stand) in variants.chain(shadow) {
        let Some(reason) = &stand.reason else { continue };
        if stand.state == VariantState::Incompatible {
            return Err(problem(&path_of(document, variant), reason.clone()));
        }
        warnings.push(format!("{variant}: {reason}"));
    }
    if view.is_off {
        warnings.push(format!("load it with `modelgate models load {model}`"));
    }
    Ok(warnings)
}

/// Everything that a document points at, and where it does.
fn references(document: &RouteDocument) -> impl Iterator<Item = (String, &VersionRef)> {
    let variants = document.spec.variants.iter().enumerate();
    let shadow = document.spec.shadow.iter();
    variants
        .map(|(place, variant)| (format!("spec.variants.{place}.version"), &variant.version))
        .chain(shadow.map(|shadow| ("spec.shadow.version".to_owned(), &shadow.version)))
}

fn path_of(document: &RouteDocument, variant: &str) -> String {
    let place = document.spec.variants.iter().position(|one| one.name.as_str() == variant);
    match place {
        Some(place) => format!("spec.variants.{place}.version"),
        None if variant == VariantName::SHADOW => "spec.shadow.version".to_owned(),
        None => "spec.variants".to_owned(),
    }
}

/// Whether a model has what a document points at, or could have it.
fn is_there(
    says: &VersionRef,
    model: &ModelName,
    view: &ModelView<'_>,
    known: &Known<'_>,
) -> Result<(), String> {
    let has = |version: &Version| {
        view.listed.contains_key(version)
            || view.answers.contains_key(version)
            || (known.is_cached)(*version)
    };
    match says {
        VersionRef::Number(version) if !has(version) => {
            let mut listed: Vec<String> =
                view.listed.keys().rev().take(20).map(ToString::to_string).collect();
            if listed.is_empty() {
                listed.push("none".to_owned());
            }
            Err(format!(
                "model '{model}' has no version {version}; the registries have {}",
                listed.join(", ")
            ))
        }
        VersionRef::Label(label) => match view.labels.get(label.as_str()) {
            Some(LabelTarget::Version(version)) if !has(version) => Err(format!(
                "label '{label}' of model '{model}' stands for version {version}, which the \
                 registries do not have"
            )),
            Some(_) => Ok(()),
            None => {
                let labels: Vec<&str> = view.labels.keys().copied().take(20).collect();
                let labels = match labels.as_slice() {
                    [] => "none; labels are set in its model.yaml".to_owned(),
                    some => some.join(", "),
                };
                Err(format!("model '{model}' has no label '{label}'; it has {labels}"))
            }
        },
        _ => Ok(()),
    }
}

fn problem(path: &str, message: String) -> Problem {
    Problem { path: path.to_owned(), message }
}
