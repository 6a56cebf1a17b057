//! The families of drift, written down. Samples of one family stand together,
//! so each family is a walk over all features.

use super::reading::{DriftCounts, DriftOfRole, DriftReading, DriftScores};
use super::series::{DriftFeature, DriftSeries, ProfileState};
use super::{DriftDrop, DriftMetrics};
use crate::telemetry::exposition::{Kind, Page};

/// Labels of bins: never what is in them, which may be personal.
pub(super) const BINS: [&str; 24] = [
    "00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15",
    "16", "17", "18", "19", "20", "21", "22", "23",
];

pub fn render(page: &mut Page, metrics: &DriftMetrics) {
    let help = "Answers that were not compared with profiles, by the reason.";
    page.family("modelgate_drift_dropped_total", Kind::Counter, help);
    for (reason, count) in DriftDrop::ALL.iter().zip(&metrics.dropped) {
        page.sample(&[("reason", reason.label())], count.get());
    }
    let readings = metrics.readings();
    profiles(page, &readings);
    let profiled: Vec<Profiled<'_>> = readings.iter().filter_map(Profiled::of).collect();
    reference(page, &profiled);
    counts(page, &profiled);
    rates(page, &profiled);
    looks(page, &profiled);
    scores(page, &profiled);
}

/// A version that has a profile.
struct Profiled<'a> {
    series: &'a DriftSeries,
    reading: &'a DriftReading,
}

impl<'a> Profiled<'a> {
    fn of(reading: &'a DriftReading) -> Option<Profiled<'a>> {
        reading.series.as_deref().map(|series| Profiled { series, reading })
    }

    /// The features that have series, with the counts of one role.
    fn of_role<'r>(
        &self,
        role: &'r DriftOfRole,
    ) -> impl Iterator<Item = (&'a DriftFeature, &'r DriftCounts)> {
        self.series.features.iter().zip(&role.features)
    }
}

fn profiles(page: &mut Page, readings: &[DriftReading]) {
    let help = "Whether a version's traffic is compared with a profile.";
    page.family("modelgate_drift_profile_state", Kind::Gauge, help);
    for reading in readings {
        let version = reading.version.to_string();
        let profile = reading.series.as_ref().map_or("", |series| &series.profile.id);
        for state in ProfileState::ALL {
            let labels = [
                ("model", reading.model.as_str()),
                ("version", &version),
                ("profile", profile),
                ("state", state.label()),
            ];
            page.sample(&labels, u8::from(state == reading.state));
        }
    }
    let profiled = || readings.iter().filter_map(Profiled::of);
    let help = "The profile of a version, and where it was found.";
    page.family("modelgate_drift_profile_info", Kind::Gauge, help);
    for Profiled { series, .. } in profiled() {
        let profile = &series.profile;
        let labels =
            [("profile", &*profile.id), ("source", profile.source), ("sha256", &profile.sha256)];
        page.sample_of(&series.labels, &labels, 1);
    }
    let help = "Columns of a version's profile that have no series here.";
    page.family("modelgate_drift_features_unexported", Kind::Gauge, help);
    for Profiled { series, reading } in profiled() {
        page.sample_of(&series.labels, &[], reading.unexported);
    }
}

fn reference(page: &mut Page, profiled: &[Profiled<'_>]) {
    // As many of each role.
    let exported = |profiled: &Profiled<'_>| {
        profiled.reading.roles.first().map_or(0, |role| role.features.len())
    };
    let help = "Rows of the reference by bin; the same in all gateways.";
    page.family("modelgate_drift_reference_rows", Kind::Gauge, help);
    for one in profiled {
        for feature in one.series.features.iter().take(exported(one)) {
            for (bin, rows) in BINS.iter().zip(&feature.reference) {
                page.sample_of(&feature.labels, &[("bin", bin)], rows);
            }
        }
    }
    let help = "By how much the reference's counts vary more than those of independent rows.";
    page.family("modelgate_drift_dispersion_ratio", Kind::Gauge, help);
    for one in profiled {
        for feature in one.series.features.iter().take(exported(one)) {
            page.sample_of(&feature.labels, &[], feature.dispersion);
        }
    }
}

fn counts(page: &mut Page, profiled: &[Profiled<'_>]) {
    let help = "Live values by bin; the last bin of categories and values holds all others.";
    page.family("modelgate_drift_observations_total", Kind::Counter, help);
    each(profiled, |feature, role, counts| {
        for (bin, count) in BINS.iter().zip(&counts.bins) {
            page.sample_of(&feature.labels, &[("role", role), ("bin", bin)], count);
        }
    });
    let help = "Live values that are missing: not a number, or an empty text.";
    page.family("modelgate_drift_missing_total", Kind::Counter, help);
    each(profiled, |feature, role, counts| {
        page.sample_of(&feature.labels, &[("role", role)], counts.missing);
    });
    let help = "Sum of the live values, scaled to 0 to 1 between two quantiles of the reference.";
    page.family("modelgate_drift_scaled_sum_total", Kind::Counter, help);
    each(profiled, |feature, role, counts| {
        if feature.is_number {
            page.sample_of(&feature.labels, &[("role", role)], counts.scaled_sum);
        }
    });
    let help = "Sum of the squares of the scaled live values.";
    page.family("modelgate_drift_scaled_squares_total", Kind::Counter, help);
    each(profiled, |feature, role, counts| {
        if feature.is_number {
            page.sample_of(&feature.labels, &[("role", role)], counts.scaled_squares);
        }
    });
}

/// What of the values is out of the ordinary.
fn rates(page: &mut Page, profiled: &[Profiled<'_>]) {
    let help = "Live values that the column cannot hold, in no bin.";
    page.family("modelgate_drift_invalid_total", Kind::Counter, help);
    each(profiled, |feature, role, counts| {
        for (reason, count) in [("infinite", counts.infinite), ("unreadable", counts.unreadable)] {
            page.sample_of(&feature.labels, &[("role", role), ("reason", reason)], count);
        }
    });
    let help = "Live values beyond the least and the greatest of the reference; in a bin as well.";
    page.family("modelgate_drift_out_of_range_total", Kind::Counter, help);
    each(profiled, |feature, role, counts| {
        if feature.has_range {
            for (side, count) in [("below", counts.below), ("above", counts.above)] {
                page.sample_of(&feature.labels, &[("role", role), ("side", side)], count);
            }
        }
    });
    let help = "Live values that the reference does not have; in the bin of others as well.";
    page.family("modelgate_drift_new_category_total", Kind::Counter, help);
    each(profiled, |feature, role, counts| {
        if !feature.has_range {
            page.sample_of(&feature.labels, &[("role", role)], counts.unseen);
        }
    });
    let help = "Live scores that are all but 0 or 1; in a bin as well.";
    page.family("modelgate_drift_saturated_total", Kind::Counter, help);
    each(profiled, |feature, role, counts| {
        if feature.is_score {
            page.sample_of(&feature.labels, &[("role", role)], counts.saturated);
        }
    });
}

/// What one gateway's own look found, apart from scores.
fn looks(page: &mut Page, profiled: &[Profiled<'_>]) {
    let help = "Evidence of drift by the sequential detector, as a power of ten.";
    page.family("modelgate_drift_evidence_log10", Kind::Gauge, help);
    each(profiled, |feature, role, counts| {
        if let Some(evidence) = counts.look.as_ref().and_then(|look| look.evidence_log10) {
            page.sample_of(&feature.labels, &[("role", role)], evidence);
        }
    });
    let help = "Columns of a version by the state that this gateway finds them in.";
    page.family("modelgate_drift_features", Kind::Gauge, help);
    for Profiled { series, reading } in profiled {
        for role in &reading.roles {
            for states in &role.states {
                for (state, columns) in &states.columns {
                    let labels = [
                        ("profile", &*series.profile.id),
                        ("role", role.role),
                        ("window", &states.window),
                        ("state", state),
                    ];
                    page.sample_of(&series.labels, &labels, columns);
                }
            }
        }
    }
    let help = "Whether this gateway's alarm of a feature is on.";
    page.family("modelgate_drift_alarm", Kind::Gauge, help);
    each_window(page, profiled, |window| Some(f64::from(u8::from(window.is_alarmed))));
}

/// Where there are too few rows no score is told: it would be large by chance.
fn scores(page: &mut Page, profiled: &[Profiled<'_>]) {
    type Score = (&'static str, &'static str, fn(&DriftScores) -> Option<f64>);
    const SCORES: [Score; 5] = [
        ("modelgate_drift_psi", "Population stability index of this gateway's rows.", |window| {
            Some(window.psi)
        }),
        (
            "modelgate_drift_psi_adjusted",
            "Population stability index less what chance adds.",
            |window| Some(window.psi_adjusted),
        ),
        ("modelgate_drift_js_distance", "Jensen-Shannon distance to the base of 2.", |window| {
            Some(window.js_distance)
        }),
        (
            "modelgate_drift_ks_statistic",
            "Kolmogorov-Smirnov statistic at the edges of bins.",
            |window| window.ks_statistic,
        ),
        (
            "modelgate_drift_wasserstein_stddevs",
            "Wasserstein distance in standard deviations of the reference.",
            |window| window.wasserstein_stddevs,
        ),
    ];
    for (name, help, of) in SCORES {
        page.family(name, Kind::Gauge, help);
        each_window(page, profiled, |window| of(window).filter(|_| window.is_sufficient));
    }
}

fn each(
    profiled: &[Profiled<'_>],
    mut write: impl FnMut(&DriftFeature, &'static str, &DriftCounts),
) {
    for one in profiled {
        for role in &one.reading.roles {
            one.of_role(role).for_each(|(feature, counts)| write(feature, role.role, counts));
        }
    }
}

fn each_window(
    page: &mut Page,
    profiled: &[Profiled<'_>],
    of: impl Fn(&DriftScores) -> Option<f64>,
) {
    each(profiled, |feature, role, counts| {
        for window in counts.look.iter().flat_map(|look| &look.windows) {
            if let Some(value) = of(window) {
                let labels = [("role", role), ("window", &*window.window)];
                page.sample_of(&feature.labels, &labels, value);
            }
        }
    });
}
