//! The families of quality, written down.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::feedback::{DELAY_BOUNDS, FeedbackOutcome};
use super::series::{QualityKey, QualityReading, QualitySeries};
use super::{QualityDrop, QualityMetrics};
use crate::telemetry::exposition::{Kind, Page};

pub fn render(page: &mut Page, metrics: &QualityMetrics) {
    let help = "Labels, scores and rewards of predictions, by what became of them.";
    let feedback = metrics.feedback.load();
    page.family("modelgate_feedback_total", Kind::Counter, help);
    for (model, counts) in feedback.iter() {
        for (outcome, count) in FeedbackOutcome::ALL.iter().zip(counts.outcomes) {
            page.sample(&[("model", model), ("outcome", outcome.label())], count);
        }
    }
    let help = "Time from a prediction to the label that it was joined with.";
    page.family("modelgate_feedback_delay_seconds", Kind::Histogram, help);
    for (model, counts) in feedback.iter() {
        let bounds = DELAY_BOUNDS.iter().map(|(_, label)| *label);
        page.histogram(&[("model", model)], bounds, &counts.delays, counts.delay_sum);
    }
    let help = "Predictions that labels cannot be joined with, by the reason.";
    page.family("modelgate_quality_dropped_total", Kind::Counter, help);
    for (reason, count) in QualityDrop::ALL.iter().zip(&metrics.dropped) {
        page.sample(&[("reason", reason.label())], count.get());
    }
    let help = "Rows of predictions that wait for labels.";
    page.family("modelgate_quality_index_rows", Kind::Gauge, help);
    page.sample(&[], metrics.rows.load(Ordering::Relaxed));
    let help = "Bytes of the predictions that wait for labels.";
    page.family("modelgate_quality_index_bytes", Kind::Gauge, help);
    page.sample(&[], metrics.bytes.load(Ordering::Relaxed));
    let help = "Labels that wait for their predictions.";
    page.family("modelgate_quality_pending_labels", Kind::Gauge, help);
    page.sample(&[], metrics.pending.load(Ordering::Relaxed));
    series(page, &metrics.series.load());
}

/// Readings hold their families in order, so that each is passed through once.
fn series(page: &mut Page, all: &[Arc<QualitySeries>]) {
    let readings: Vec<(&QualityKey, String, Arc<QualityReading>)> = all
        .iter()
        .map(|series| (series.key(), series.key().version.to_string(), series.reading()))
        .collect();
    let mut places = vec![0; readings.len()];
    loop {
        let next = readings.iter().zip(&places).filter_map(|((.., reading), at)| reading.get(*at));
        let Some(family) = next.map(|(family, _)| *family).min() else { return };
        let (name, kind, help) = family.described();
        page.family(name, kind, help);
        for ((key, version, reading), at) in readings.iter().zip(&mut places) {
            let Some((_, samples)) = reading.get(*at).filter(|(of, _)| *of == family) else {
                continue;
            };
            *at += 1;
            let mut labels = vec![
                ("model", key.model.as_str()),
                ("version", version),
                ("variant", &key.variant),
                ("role", key.role),
            ];
            let own = labels.len();
            for sample in samples {
                labels.truncate(own);
                labels.extend(sample.labels.iter().map(|(name, value)| (*name, &**value)));
                match sample.count {
                    Some(count) => page.summary(&labels, sample.value, count),
                    None => page.sample(&labels, sample.value),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bound, QualityFamily, QualityGauge, QualitySample};
    use super::*;
    use crate::types::{ModelName, Version};

    fn key(model: &str, role: &'static str) -> QualityKey {
        let model = ModelName::parse(model).expect("a name");
        QualityKey { model, version: Version::FIRST, variant: Arc::from("champion"), role }
    }

    fn sample(value: f64) -> Vec<QualitySample> {
        vec![QualitySample { labels: vec![("window", "1h".into())], value, count: None }]
    }

    #[test]
    fn families_stand_once_and_series_go_when_they_are_taken_away() {
        let metrics = QualityMetrics::default();
        let (one, other) = (key("a", "primary"), key("b", "shadow"));
        let series = [one, other].map(|key| Arc::new(QualitySeries::new(key)));
        let accuracy = QualityFamily::Gauge(QualityGauge::Accuracy, Bound::Lower);
        series[0].publish(vec![(QualityFamily::Correct, sample(3.0)), (accuracy, sample(0.5))]);
        series[1].publish(vec![(accuracy, sample(0.25))]);
        metrics.set_series(series.to_vec());
        let rendered = |metrics: &QualityMetrics| {
            let mut page = Page::new();
            render(&mut page, metrics);
            page.finish()
        };
        let text = rendered(&metrics);
        let lower = "modelgate_quality_accuracy_lower";
        assert_eq!(text.matches(&format!("# TYPE {lower} gauge")).count(), 1, "{text}");
        let labels = "model=\"b\",version=\"1\",variant=\"champion\",role=\"shadow\",window=\"1h\"";
        assert!(text.contains(&format!("{lower}{{{labels}}} 0.25\n")), "{text}");
        metrics.set_series(series[..1].to_vec());
        assert!(!rendered(&metrics).contains("shadow"));
    }
}
