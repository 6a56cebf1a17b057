//! Versions that have a profile, and those that have none.

use super::*;

fn state(scrape: &Scrape, model: &str, state: &str) -> f64 {
    scrape.sum("modelgate_drift_profile_state", &[("model", model), ("state", state)])
}

#[test]
fn a_version_without_a_profile_that_fits_serves_and_says_so() {
    let models = Registry::new();
    let mut other = profile();
    other["inputs"][0]["tensor"] = json!("z");
    put(models.path(), "misfit", 1, Some(other.to_string().as_bytes()));
    put(models.path(), "broken", 1, Some(b"{\"schema\": 7"));
    put(models.path(), "bare", 1, None);
    profiled(models.path(), 1);
    let gateway = Launch::new().models(models.path()).start();
    for model in ["misfit", "broken", "bare", "person"] {
        let asked = Predict { model: model.to_owned(), ..predict(&[(10.0, 2.0, "a")]) };
        asked.ask(&gateway, Face::Grpc).expect("an answer");
    }
    let counted = |scrape: &Scrape| bins(scrape, &[("feature", "age")], 3) == [1.0, 0.0, 0.0];
    let scrape = page_where(&gateway, "the row of one model", counted);
    let standings =
        [("misfit", "none"), ("broken", "none"), ("bare", "warming"), ("person", "active")];
    for (model, standing) in standings {
        for of in ["none", "warming", "active"] {
            let expected = f64::from(u8::from(of == standing));
            assert_eq!(state(&scrape, model, of), expected, "{model}: {of}");
        }
        let has = f64::from(u8::from(standing == "active"));
        assert_eq!(scrape.sum("modelgate_drift_profile_info", &[("model", model)]), has, "{model}");
    }
}

#[test]
fn series_go_with_their_version() {
    let models = Registry::new();
    profiled(models.path(), 1);
    let config = "models: {defaults: {keep_previous: 0}}";
    let gateway = Launch::new().models(models.path()).config(config).start();
    ask(&gateway, Face::Json, &[(10.0, 2.0, "a")]);
    profiled(models.path(), 2);
    post(&gateway, "registry/events", json!({}));
    let of = |scrape: &Scrape, version: &str| {
        let label = format!("version=\"{version}\"");
        let drift = |name: &&str| name.starts_with("modelgate_drift_") && name.contains(&label);
        scrape.names().filter(drift).count()
    };
    let scrape = page_where(&gateway, "the end of version 1", |scrape| of(scrape, "1") == 0);
    assert!(of(&scrape, "2") > 0);
    assert_eq!(bins(&scrape, &[("feature", "age")], 3), [0.0; 3], "it counts from nothing");
    ask(&gateway, Face::Json, &[(30.0, 2.0, "a")]);
    page_where(&gateway, "its row", |scrape| {
        bins(scrape, &[("feature", "age"), ("version", "2")], 3) == [0.0, 1.0, 0.0]
    });
}

#[test]
fn nothing_is_counted_where_it_is_turned_off() {
    let models = Registry::new();
    profiled(models.path(), 1);
    for config in ["drift: {enabled: false}", "drift: {models: {person: {enabled: false}}}"] {
        let gateway = Launch::new().models(models.path()).config(config).start();
        ask(&gateway, Face::Json, &[(10.0, 2.0, "a")]);
        let scrape = Scrape::of(gateway.ops);
        let series = scrape.names().filter(|name| name.starts_with("modelgate_drift_"));
        assert!(series.into_iter().all(|name| name.contains("dropped_total")), "{config}");
    }
}
