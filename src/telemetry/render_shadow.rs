//! The families of shadows, of the routes that have mirrored anything.

use std::sync::Arc;

use super::exposition::{Kind, Page};
use super::route::RouteMetrics;
use super::shadow::{DIFFERENCE_BOUNDS, ShadowDrop, ShadowOutcome, ShadowOutputMetrics};
use super::shard::Counter;

/// A route's name and its outputs.
type Outputs<'a> = (&'a str, Arc<Vec<Arc<ShadowOutputMetrics>>>);

pub(super) fn shadows(page: &mut Page, routes: &[Arc<RouteMetrics>]) {
    let routes: Vec<&RouteMetrics> = routes
        .iter()
        .map(AsRef::as_ref)
        .filter(|route| {
            let (drops, outcomes) = (route.shadow.drops(), route.shadow.outcomes());
            drops.iter().chain(&outcomes).any(|count| *count > 0)
        })
        .collect();

    let help = "Mirrored requests that were run, by what came of it.";
    page.family("modelgate_shadow_requests_total", Kind::Counter, help);
    for route in &routes {
        for (outcome, count) in ShadowOutcome::ALL.iter().zip(route.shadow.outcomes()) {
            page.sample(&[("route", route.name().as_str()), ("outcome", outcome.label())], count);
        }
    }
    let help = "Mirrored requests that were not run.";
    page.family("modelgate_shadow_dropped_total", Kind::Counter, help);
    for route in &routes {
        for (reason, count) in ShadowDrop::ALL.iter().zip(route.shadow.drops()) {
            page.sample(&[("route", route.name().as_str()), ("reason", reason.label())], count);
        }
    }

    let outputs: Vec<Outputs<'_>> =
        routes.iter().map(|route| (route.name().as_str(), route.shadow.outputs())).collect();
    let help = "Answers of the shadow that were compared with the primary's.";
    counts(page, "modelgate_shadow_comparisons_total", help, &outputs, |o| &o.comparisons);
    let help = "Answers of the shadow that were not the primary's.";
    counts(page, "modelgate_shadow_disagreements_total", help, &outputs, |o| &o.disagreements);
    let help = "Answers of the primary that were compared with a second run of its own.";
    let name = "modelgate_shadow_noise_comparisons_total";
    counts(page, name, help, &outputs, |o| &o.noise_comparisons);
    let help = "Answers of the primary that were not those of a second run of its own.";
    let name = "modelgate_shadow_noise_disagreements_total";
    counts(page, name, help, &outputs, |o| &o.noise_disagreements);

    let help = "Largest absolute difference of a sample; the sum leaves out what is not finite.";
    page.family("modelgate_shadow_output_difference", Kind::Histogram, help);
    for (labels, output) in series(&outputs) {
        let buckets = output.differences.each_ref().map(Counter::get);
        let bounds = DIFFERENCE_BOUNDS.iter().map(|(_, label)| *label);
        page.histogram(&labels, bounds, &buckets, output.difference_sum.get());
    }
    let help = "Share of the best classes that the shadow has in common with the primary.";
    page.family("modelgate_shadow_topk_overlap_ratio", Kind::Summary, help);
    for (labels, output) in series(&outputs).filter(|(_, output)| output.overlaps.get() > 0) {
        page.summary(&labels, output.overlap_sum.get(), output.overlaps.get());
    }
}

fn counts(
    page: &mut Page,
    name: &'static str,
    help: &'static str,
    outputs: &[Outputs<'_>],
    of: fn(&ShadowOutputMetrics) -> &Counter,
) {
    page.family(name, Kind::Counter, help);
    for (labels, output) in series(outputs) {
        page.sample(&labels, of(output).get());
    }
}

fn series<'a>(
    outputs: &'a [Outputs<'_>],
) -> impl Iterator<Item = ([(&'static str, &'a str); 2], &'a ShadowOutputMetrics)> {
    outputs.iter().flat_map(|(route, outputs)| {
        outputs
            .iter()
            .map(move |output| ([("route", *route), ("output", &*output.name)], &**output))
    })
}
