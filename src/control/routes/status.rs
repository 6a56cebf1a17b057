//! How a route is told.

use super::Record;
use super::plan::Stand;
use super::state::reference;
use crate::control::status::{RouteStatus, VariantState, VariantStatus};
use crate::routing::Route;
use crate::serving::ServedRoute;
use crate::types::{VariantName, Weight};

/// A route without what its requests count; none where nobody states it.
pub(super) fn of(record: &Record, hides_a_model: bool) -> Option<RouteStatus> {
    let document = record.document()?;
    let mut problems = record.plan.problems.clone();
    if let Err(problem) = &record.compiled {
        problems.push(format!("it is not served: {problem}"));
    }
    if let (Some(declared), Some(_)) = (&record.declared, &record.state.document) {
        problems.push(format!(
            "{} states it, and not in force is the one of the same name that was applied through \
             the admin API: delete either",
            declared.origin
        ));
    }
    if hides_a_model {
        problems.push("it hides the model of the same name".to_owned());
    }
    let mut status = RouteStatus {
        name: document.name().clone(),
        model: document.model().clone(),
        revision: record.state.revision,
        origin: record.origin().to_owned(),
        document: document.clone(),
        variants: Vec::new(),
        shadow: None,
        traffic: record.state.traffic.clone(),
        champion: record.state.champion.as_ref().map(|pin| pin.hold.clone()),
        held_back: record.plan.held_back,
        problems,
        srm_log_bayes_factor: 0.0,
    };
    let Ok(route) = &record.compiled else { return Some(status) };
    // Without weights by hand what is in force is what is declared.
    let declared = record.state.traffic.as_ref().and_then(|_| Route::compile(document, None).ok());
    let declared_weight = |place: usize, weight: Weight| {
        let variant = declared.as_ref().and_then(|declared| declared.variants.get(place));
        variant.map_or(weight, |variant| variant.weight)
    };
    let stands = route.variants.iter().zip(&record.plan.variants).enumerate();
    status.variants = stands
        .map(|(place, (variant, stand))| VariantStatus {
            declared: reference(document, &variant.name),
            weight: variant.weight,
            declared_weight: declared_weight(place, variant.weight),
            slots: route.slots(place),
            ..of_stand(variant.name.as_str(), stand)
        })
        .collect();
    let shadow = route.shadow.as_ref().zip(record.plan.shadow.as_ref());
    status.shadow = shadow.map(|(spec, stand)| VariantStatus {
        declared: spec.version.clone(),
        weight: spec.percent,
        declared_weight: spec.percent,
        ..of_stand(VariantName::SHADOW, stand)
    });
    Some(status)
}

fn of_stand(name: &str, stand: &Stand) -> VariantStatus {
    VariantStatus {
        name: name.to_owned(),
        declared: Default::default(),
        version: stand.content.map(|content| content.version),
        digest: stand.content.map(|content| content.digest),
        weight: Weight::NONE,
        declared_weight: Weight::NONE,
        slots: None,
        state: stand.state,
        reason: stand.reason.clone().filter(|_| stand.state != VariantState::Ready),
        assigned: 0,
        fell_back: 0,
        breaker_open: false,
    }
}

/// The same with what its requests count at this moment.
pub(in crate::control) fn counted(mut status: RouteStatus, served: &ServedRoute) -> RouteStatus {
    status.srm_log_bayes_factor = served.metrics.srm();
    for (name, assigned, fell_back) in served.metrics.totals() {
        let own = status.variants.iter_mut().find(|variant| variant.name == name.as_str());
        if let Some(variant) = own {
            (variant.assigned, variant.fell_back) = (assigned, fell_back);
        }
    }
    for (variant, target) in status.variants.iter_mut().zip(&served.targets) {
        variant.breaker_open = target.as_ref().is_ok_and(|one| one.servable.breaker.is_open());
    }
    if let (Some(variant), Some(shadow)) = (&mut status.shadow, &served.shadow) {
        variant.breaker_open = shadow.target.servable.breaker.is_open();
    }
    status
}
