use super::*;
use crate::routing::document::{Key, OutputComparison};
use crate::routing::tests_support::{document, variant};

type Change = fn(&mut RouteDocument);

fn shadow(document: &mut RouteDocument) -> &mut ShadowSpec {
    document.spec.shadow.get_or_insert_default()
}

fn output(document: &mut RouteDocument, of: OutputComparison) {
    shadow(document).compare.outputs.insert("y".to_owned(), of);
}

#[test]
fn problems_say_where_they_are() {
    let cases: [(&str, &str, Change); 27] = [
        ("apiVersion", "expected modelgate.dev/v1, found 'v2'", |d| d.api_version = "v2".into()),
        ("kind", "expected Route, found 'Model'", |d| d.kind = "Model".into()),
        ("metadata.labels", "found 65", |d| {
            d.metadata.labels = (0..65).map(|i| (i.to_string(), String::new())).collect();
        }),
        ("metadata.labels.team", "found 257", |d| {
            d.metadata.labels.insert("team".into(), "x".repeat(257));
        }),
        ("spec.priority", "critical, normal or batch", |d| d.spec.priority = Priority::Shadow),
        ("spec.stickiness.salt", "1 to 200", |d| d.spec.stickiness.salt = Some(String::new())),
        ("spec.stickiness.salt", "found 201", |d| d.spec.stickiness.salt = Some("ä".repeat(201))),
        ("spec.stickiness.salt", "control", |d| d.spec.stickiness.salt = Some("a\0b".into())),
        ("spec.stickiness.key", "at most 8 keys, found 9", |d| {
            d.spec.stickiness.key = vec![Key::Header("x".into()); 9];
        }),
        ("spec.stickiness.key.1.header", "'x y'", |d| {
            d.spec.stickiness.key.push(Key::Header("x y".into()));
        }),
        ("spec.stickiness.key.1.metadata", "':path'", |d| {
            d.spec.stickiness.key.push(Key::Metadata(":path".into()));
        }),
        ("spec.stickiness.key.1.parameter", "found 0", |d| {
            d.spec.stickiness.key.push(Key::Parameter(String::new()));
        }),
        ("spec.stickiness.key.1.parameter", "found 129", |d| {
            d.spec.stickiness.key.push(Key::Parameter("x".repeat(129)));
        }),
        ("spec.shadow.percent", "more than 0", |d| shadow(d).percent = Weight::NONE),
        ("spec.shadow.cpuPercent", "more than 0", |d| shadow(d).cpu_percent = Weight::NONE),
        ("spec.shadow.queue", "1 to 4096, found 0", |d| shadow(d).queue = 0),
        ("spec.shadow.queue", "1 to 4096, found 4097", |d| shadow(d).queue = 4_097),
        ("spec.shadow.concurrency", "found 17", |d| shadow(d).concurrency = 17),
        ("spec.shadow.timeoutMs", "found 60001", |d| shadow(d).timeout_ms = 60_001),
        ("spec.shadow.timeoutMs", "found 0", |d| shadow(d).timeout_ms = 0),
        ("spec.shadow.compare.topK", "found 101", |d| shadow(d).compare.top_k = 101),
        ("spec.shadow.compare.samples", "found 1001", |d| shadow(d).compare.samples = 1_001),
        ("spec.shadow.compare.rtol", "found NaN", |d| shadow(d).compare.rtol = f64::NAN),
        ("spec.shadow.compare.atol", "found -1", |d| shadow(d).compare.atol = -1.0),
        ("spec.shadow.compare.outputs.y.rtol", "found inf", |d| {
            output(d, OutputComparison { rtol: Some(f64::INFINITY), ..Default::default() });
        }),
        ("spec.shadow.compare.outputs", "at most 256 outputs, found 257", |d| {
            let outputs = (0..257).map(|i| (i.to_string(), OutputComparison::default()));
            shadow(d).compare.outputs = outputs.collect();
        }),
        ("spec.variants.0.weight", "maxWeight", |d| {
            d.spec.variants = vec![variant("a", 2.0, Some(1.0))];
        }),
    ];
    for (path, part, change) in cases {
        let mut changed = document(vec![variant("a", 5.0, None)]);
        changed.validate().expect("a valid document");
        change(&mut changed);
        let problem = changed.validate().expect_err(path);
        assert_eq!(problem.path, path, "{problem}");
        assert!(problem.message.contains(part), "{problem}");
    }
}

#[test]
fn the_greatest_of_everything_is_valid() {
    let mut full = document((0..15).map(|i| variant(&format!("v{i}"), 6.666, None)).collect());
    full.metadata.labels = (0..64).map(|i| (i.to_string(), "x".repeat(256))).collect();
    full.spec.stickiness.salt = Some("ä".repeat(200));
    full.spec.stickiness.key = vec![Key::Parameter("ä".repeat(128)); 8];
    let (all, none) = (Weight::ALL, 0.0);
    let compare = Comparison {
        rtol: none,
        atol: none,
        top_k: 100,
        samples: 1_000,
        outputs: (0..256).map(|i| (i.to_string(), OutputComparison::default())).collect(),
    };
    full.spec.shadow = Some(ShadowSpec {
        percent: all,
        queue: 4_096,
        concurrency: 16,
        cpu_percent: all,
        timeout_ms: 60_000,
        compare,
        ..ShadowSpec::default()
    });
    full.validate().expect("a valid document");
}
