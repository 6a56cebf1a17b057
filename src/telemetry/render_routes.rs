//! The families of routes.

use std::sync::Arc;

use super::exposition::{Kind, Page};
use super::route::RouteMetrics;

pub(super) fn routes(page: &mut Page, routes: &[Arc<RouteMetrics>]) {
    page.family("modelgate_route_weight", Kind::Gauge, "Share of the split, in percent.");
    for route in routes {
        for (variant, weight) in route.variants().iter().zip(route.weights()) {
            let labels = [("route", route.name().as_str()), ("variant", variant.as_str())];
            page.sample(&labels, weight.percent());
        }
    }
    let help =
        "Requests that a split or a rule gave to a variant, before anything could refuse them.";
    page.family("modelgate_assignments_total", Kind::Counter, help);
    for route in routes {
        for (variant, assigned, _) in route.totals() {
            let labels = [("route", route.name().as_str()), ("variant", variant.as_str())];
            page.sample(&labels, assigned);
        }
    }
    let help = "Requests of a variant that the champion answered, because the variant could not.";
    page.family("modelgate_fallbacks_total", Kind::Counter, help);
    for route in routes {
        for (variant, _, fell_back) in route.totals() {
            let labels = [("route", route.name().as_str()), ("variant", variant.as_str())];
            page.sample(&labels, fell_back);
        }
    }
    let help = "Evidence that distinct units are not split as configured: ln of the Bayes factor.";
    page.family("modelgate_route_srm_log_bayes_factor", Kind::Gauge, help);
    for route in routes.iter().filter(|route| route.variants().len() > 1) {
        page.sample(&[("route", route.name().as_str())], route.srm());
    }
}
