//! Prometheus text exposition format 0.0.4.

use std::fmt::{self, Display, Write};

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// Without quantiles: a sum and a count.
    Summary,
}

/// A page under construction. Samples belong to the family begun last.
pub(super) struct Page {
    text: String,
    family: &'static str,
}

pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Page {
    pub(super) fn new() -> Page {
        Page { text: String::with_capacity(16 * 1024), family: "" }
    }

    /// Takes over text that is already in the format.
    pub(super) fn append(&mut self, rendered: &str) {
        self.text.push_str(rendered);
    }

    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        };
        self.family = name;
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", "", labels, None, value);
    }

    /// A sample whose first labels were written before ([`written`]).
    pub(super) fn sample_of(&mut self, written: &str, labels: Labels<'_>, value: impl Display) {
        self.line("", written, labels, None, value);
    }

    /// One histogram: `buckets` hold what fell between the bounds, with one
    /// more than there are `bounds`.
    pub(super) fn histogram<'b>(
        &mut self,
        labels: Labels<'_>,
        bounds: impl Iterator<Item = &'b str>,
        buckets: &[u64],
        sum: impl Display,
    ) {
        let mut count = 0;
        for (bound, bucket) in bounds.chain(std::iter::once("+Inf")).zip(buckets) {
            count += bucket;
            self.line("_bucket", "", labels, Some(bound), count);
        }
        self.line("_sum", "", labels, None, sum);
        self.line("_count", "", labels, None, count);
    }

    pub(super) fn summary(&mut self, labels: Labels<'_>, sum: impl Display, count: impl Display) {
        self.line("_sum", "", labels, None, sum);
        self.line("_count", "", labels, None, count);
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn line(
        &mut self,
        suffix: &str,
        written: &str,
        labels: Labels<'_>,
        le: Option<&str>,
        value: impl Display,
    ) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        let labels = labels.iter().copied().chain(le.map(|le| ("le", le)));
        let begin = self.text.len();
        self.text.push('{');
        self.text.push_str(written);
        write_labels(&mut self.text, labels, written.is_empty());
        // No labels, no braces.
        match self.text.len() == begin + 1 {
            true => self.text.truncate(begin),
            false => self.text.push('}'),
        }
        self.write(format_args!(" {value}\n"));
    }

    fn write(&mut self, arguments: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(arguments);
    }
}

/// Nanoseconds as seconds.
pub(super) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// Labels as they stand in a sample, for [`Page::sample_of`].
pub(super) fn written(labels: Labels<'_>) -> String {
    let mut text = String::new();
    write_labels(&mut text, labels.iter().copied(), true);
    text
}

fn write_labels<'a>(
    text: &mut String,
    labels: impl Iterator<Item = (&'static str, &'a str)>,
    mut is_first: bool,
) {
    for (name, value) in labels {
        if !std::mem::take(&mut is_first) {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        escape(text, value);
        text.push('"');
    }
}

fn escape(text: &mut String, value: &str) {
    if !value.contains(['\\', '"', '\n']) {
        return text.push_str(value);
    }
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let mut page = Page::new();
        page.family("m", Kind::Gauge, "Help.");
        page.sample(&[("a", "x\\y\"z\n"), ("b", "ü")], 1);
        page.sample(&[], 2);
        page.sample_of(&written(&[("a", "x\"")]), &[("b", "y")], 3);
        page.sample_of(&written(&[("a", "x")]), &[], 4);
        assert_eq!(
            page.finish(),
            "# HELP m Help.\n# TYPE m gauge\nm{a=\"x\\\\y\\\"z\\n\",b=\"ü\"} 1\nm 2\n\
             m{a=\"x\\\"\",b=\"y\"} 3\nm{a=\"x\"} 4\n"
        );
    }

    #[test]
    fn buckets_are_cumulative() {
        let mut page = Page::new();
        page.family("h", Kind::Histogram, "Help.");
        page.histogram(&[("a", "x")], ["1", "2"].into_iter(), &[3, 0, 4], 1.5);
        let text = page.finish();
        let samples: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            samples,
            [
                "h_bucket{a=\"x\",le=\"1\"} 3",
                "h_bucket{a=\"x\",le=\"2\"} 3",
                "h_bucket{a=\"x\",le=\"+Inf\"} 7",
                "h_sum{a=\"x\"} 1.5",
                "h_count{a=\"x\"} 7",
            ]
        );
    }
}
