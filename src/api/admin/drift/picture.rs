//! The reference's and the live shares of bins as a picture. Pure: reports in,
//! SVG out. It has the colours of the page's scheme, light or dark, on a ground
//! of its own, and no scripts.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::drift::effect::shares;
use crate::drift::live::{Feature, InWindow};
use crate::drift::significance::readable;

/// Pictures of features in one row.
const COLUMNS: usize = 3;

/// Pixels of a picture of one feature: alone, and among others.
const ALONE: (f64, f64) = (760.0, 400.0);
const AMONG: (f64, f64) = (380.0, 260.0);

/// Pixels of the title, and around the bars of a feature.
const TITLE: f64 = 40.0;
const ABOVE: f64 = 48.0;
const BELOW: f64 = 64.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 16.0;

/// Characters that a heading and the label of a bin have room for.
const HEADING: usize = 48;
const LABEL: usize = 12;

const STYLE: &str = "\
.ground{fill:#ffffff}.text{fill:#1f2328}.faint{fill:#59636e}.line{stroke:#d1d9e0}\
.reference{fill:#9aa4af}.live{fill:#0969da}\
.insufficient,.ok{fill:#59636e}.warning{fill:#9a6700}.drifted{fill:#cf222e}\
@media (prefers-color-scheme:dark){\
.ground{fill:#0d1117}.text{fill:#e6edf3}.faint{fill:#9198a1}.line{stroke:#3d444d}\
.reference{fill:#6e7781}.live{fill:#58a6ff}\
.insufficient,.ok{fill:#9198a1}.warning{fill:#d29922}.drifted{fill:#f85149}}";

/// One feature in one of its windows.
#[derive(Clone, Copy, Debug)]
pub struct Panel<'a> {
    pub feature: &'a Feature,
    pub window: &'a InWindow,
}

/// Where something is drawn: left, top, width and height in pixels.
#[derive(Clone, Copy)]
struct Place {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// Draws features beside each other under one title.
pub fn draw(title: &str, panels: &[Panel<'_>]) -> String {
    let (width, height) = if panels.len() == 1 { ALONE } else { AMONG };
    let columns = panels.len().clamp(1, COLUMNS);
    let rows = panels.len().div_ceil(columns);
    let (whole_width, whole_height) =
        ((width * columns as f64).max(ALONE.0), TITLE + height * rows as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {whole_width} {whole_height}\" \
         width=\"{whole_width}\" height=\"{whole_height}\" font-family=\"sans-serif\" \
         role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n",
        title = escaped(title),
    );
    text(&mut svg, "text", (16.0, 26.0), "font-size=\"16\"", title);
    legend(&mut svg, whole_width - 190.0);
    for (at, panel) in panels.iter().enumerate() {
        let place = Place {
            x: width * (at % columns) as f64,
            y: TITLE + height * (at / columns) as f64,
            width,
            height,
        };
        draw_panel(&mut svg, *panel, place);
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String, x: f64) {
    for (x, class, word) in [(x, "reference", "reference"), (x + 100.0, "live", "live")] {
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{x}\" y=\"16\" width=\"12\" height=\"12\"/>"
        );
        text(svg, "faint", (x + 18.0, 26.0), "font-size=\"12\"", word);
    }
}

fn draw_panel(svg: &mut String, panel: Panel<'_>, place: Place) {
    let Panel { feature, window } = panel;
    let score = &window.score;
    let left = place.x + 16.0;
    let name = shortened(&feature.name, HEADING);
    text(svg, "text", (left, place.y + 16.0), "font-size=\"13\" font-weight=\"bold\"", &name);
    let state = window.state.label();
    let figures = format!(
        "{}: {state}, psi {:.3}, p {}, {} rows",
        window.window,
        score.psi_adjusted,
        readable(score.significance.p),
        score.rows
    );
    text(svg, state, (left, place.y + 34.0), "font-size=\"12\"", &figures);
    let bars = Place {
        x: place.x + LEFT,
        y: place.y + ABOVE,
        width: place.width - LEFT - RIGHT,
        height: place.height - ABOVE - BELOW,
    };
    let reference: Vec<u64> = feature.bins.iter().map(|bin| bin.reference).collect();
    let (reference, live) = (shares(&reference, 0.0), shares(&window.counts, 0.0));
    let top = scale(reference.iter().chain(&live).copied().fold(0.0, f64::max));
    grid(svg, bars, top);
    let step = bars.width / feature.bins.len().max(1) as f64;
    let thick = (step * 0.4).min(28.0);
    for (at, bin) in feature.bins.iter().enumerate() {
        let middle = bars.x + step * (at as f64 + 0.5);
        for (class, x, share) in
            [("reference", middle - thick, reference.get(at)), ("live", middle, live.get(at))]
        {
            let share = share.copied().unwrap_or(0.0);
            let height = bars.height * share / top;
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{thick:.1}\" \
                 height=\"{height:.1}\"><title>{label}: {class} {percent:.1} %</title></rect>",
                y = bars.y + bars.height - height,
                label = escaped(&bin.label),
                percent = share * 100.0,
            );
        }
        let (x, y) = (middle, bars.y + bars.height + 12.0);
        let turned =
            format!("font-size=\"10\" text-anchor=\"end\" transform=\"rotate(-40 {x:.1} {y:.1})\"");
        text(svg, "faint", (x, y), &turned, &shortened(&bin.label, LABEL));
    }
}

/// Lines at nothing, half and the top, which they are labelled with in percent.
fn grid(svg: &mut String, bars: Place, top: f64) {
    for part in [0.0, 0.5, 1.0] {
        let y = bars.y + bars.height * (1.0 - part);
        let (x, right) = (bars.x, bars.x + bars.width);
        let _ = writeln!(
            svg,
            "<line class=\"line\" x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{right:.1}\" y2=\"{y:.1}\"/>"
        );
        let percent = format!("{} %", (top * part * 1000.0).round() / 10.0);
        let style = "font-size=\"10\" text-anchor=\"end\"";
        text(svg, "faint", (x - 4.0, y + 3.0), style, &percent);
    }
}

/// The least of a few round shares that is not below `share`.
fn scale(share: f64) -> f64 {
    const ROUND: [f64; 7] = [0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8];
    ROUND.into_iter().find(|round| share <= *round).unwrap_or(1.0)
}

fn text(svg: &mut String, class: &str, at: (f64, f64), style: &str, words: &str) {
    let ((x, y), words) = (at, escaped(words));
    let _ =
        writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" {style}>{words}</text>");
}

fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => Cow::Borrowed(text),
        Some(_) => Cow::Owned(text.chars().take(most - 1).chain(['…']).collect()),
    }
}

/// As text, and within quotes. What XML cannot hold becomes a replacement character.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use quick_xml::events::Event;

    use super::*;
    use crate::drift::live::Bin;
    use crate::drift::{Kind, Score, State};

    fn feature(name: &str, labels: &[&str], state: State, counts: Vec<u64>) -> Feature {
        let bin = |label: &&str| Bin { label: Arc::from(*label), reference: 100 };
        let score = Score { rows: counts.iter().sum(), psi_adjusted: 0.3125, ..Score::default() };
        Feature {
            name: Arc::from(name),
            face: "input",
            kind: Kind::Categorical,
            state,
            min_rows: 300,
            evidence_log10: None,
            bins: labels.iter().map(bin).collect(),
            windows: vec![InWindow { window: Arc::from("1h"), state, counts, score }],
        }
    }

    fn drawn(features: &[Feature]) -> String {
        let panels: Vec<Panel<'_>> =
            features.iter().map(|feature| Panel { feature, window: &feature.windows[0] }).collect();
        draw("fraud version 3, primary", &panels)
    }

    /// All texts of a picture, as a reader of XML sees them; panics where it is none.
    fn texts(svg: &str) -> Vec<String> {
        let mut reader = quick_xml::Reader::from_str(svg);
        let (mut texts, mut open, mut depth) = (Vec::new(), String::new(), 0);
        loop {
            match reader.read_event().expect("XML") {
                Event::Start(tag) => {
                    assert!(tag.attributes().all(|attribute| attribute.is_ok()));
                    (open, depth) = (String::new(), depth + 1);
                }
                Event::Empty(tag) => assert!(tag.attributes().all(|attribute| attribute.is_ok())),
                Event::Text(text) => open.push_str(&text.decode().expect("UTF-8")),
                Event::GeneralRef(name) => {
                    let name = name.decode().expect("UTF-8");
                    open.push_str(quick_xml::escape::resolve_xml_entity(&name).expect("of XML"));
                }
                Event::End(_) => {
                    texts.push(std::mem::take(&mut open));
                    depth -= 1;
                }
                Event::Eof => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(depth, 0);
        texts
    }

    /// The heights of the bars of one side, in the order of bins.
    fn heights(svg: &str, class: &str) -> Vec<f64> {
        let start = format!("<rect class=\"{class}\"");
        let bars = svg.lines().filter(|line| line.starts_with(&start) && line.contains("<title>"));
        bars.map(|bar| {
            let height = bar.split("height=\"").nth(1).and_then(|rest| rest.split('"').next());
            height.and_then(|height| height.parse().ok()).expect("a height")
        })
        .collect()
    }

    #[test]
    fn bars_are_as_high_as_shares() {
        let svg =
            drawn(&[feature("plan", &["a", "b", "other"], State::Drifted, vec![300, 100, 0])]);
        let (reference, live) = (heights(&svg, "reference"), heights(&svg, "live"));
        assert!((live[0] / live[1] - 3.0).abs() < 0.01 && live[2] == 0.0, "{live:?}");
        assert!((live[1] / reference[1] - 0.75).abs() < 0.01, "{live:?} {reference:?}");
        let texts = texts(&svg);
        for text in [
            "fraud version 3, primary",
            "plan",
            "1h: drifted, psi 0.312, p 1.000, 400 rows",
            "80 %",
        ] {
            assert!(texts.iter().any(|drawn| drawn == text), "{text} is not in {texts:?}");
        }
        assert!(texts.contains(&"a: live 75.0 %".to_owned()), "{texts:?}");
        assert!(svg.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn hostile_names_stay_texts() {
        let name = "</text><script>alert('1')</script>&\"";
        let label = "]]><a>\u{0}\u{1b}[31m&#x41;";
        let svg = drawn(&[feature(name, &[label], State::Ok, vec![1])]);
        let texts = texts(&svg);
        assert!(texts.contains(&name.to_owned()), "{texts:?}");
        let told = format!("{}: live 100.0 %", "]]><a>\u{fffd}\u{fffd}[31m&#x41;");
        assert!(texts.contains(&told), "{texts:?}");
        assert!(!svg.contains("<script") && !svg.contains('\u{0}') && !svg.contains('\u{1b}'));
    }

    #[test]
    fn any_number_of_bins_and_features_fits() {
        let labels: Vec<String> = (0..24).map(|at| format!("category number {at}")).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let wide = feature("wide", &labels, State::Warning, (0..24).collect());
        let one = feature("one", &["all"], State::Ok, vec![7]);
        let empty = feature("empty", &["a", "b"], State::Insufficient, vec![0, 0]);
        let without = feature("without", &[], State::Insufficient, vec![]);
        for features in [
            vec![],
            vec![wide.clone()],
            vec![one.clone()],
            vec![empty.clone()],
            vec![without.clone()],
            vec![wide, one, empty, without],
        ] {
            let svg = drawn(&features);
            texts(&svg);
            let bins: usize = features.iter().map(|feature| feature.bins.len()).sum();
            assert_eq!(
                (heights(&svg, "live").len(), heights(&svg, "reference").len()),
                (bins, bins)
            );
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn the_scale_is_round_and_high_enough() {
        for (share, top) in [(0.0, 0.02), (0.02, 0.02), (0.3, 0.4), (0.81, 1.0), (1.0, 1.0)] {
            assert_eq!(scale(share), top);
        }
    }

    proptest! {
        #[test]
        fn any_texts_make_a_picture(name in ".*", labels in proptest::collection::vec(".*", 1..24)) {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            texts(&drawn(&[feature(&name, &labels, State::Ok, vec![1; labels.len()])]));
        }
    }
}
