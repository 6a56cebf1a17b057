//! What a scrape sees.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;
use crate::types::{Code, Reason, Version};

fn name(name: &str) -> ModelName {
    ModelName::parse(name).expect("a model name")
}

fn telemetry() -> Telemetry {
    Telemetry::new(TelemetryOptions { nv_aliases: false, shards: 4 })
}

fn labels(model: &str, version: &str) -> VersionLabels {
    let version = Version::parse(version).expect("a version");
    VersionLabels {
        digest: Arc::from("sha256:ab"),
        source: Arc::from("folder \"models\"\\\n"),
        ..VersionLabels::champion(name(model), version)
    }
}

/// Everything counted once.
fn busy(telemetry: &Telemetry) -> (Arc<ModelMetrics>, Arc<VersionMetrics>) {
    let model = telemetry.model(&name("m"));
    let version = telemetry.version(labels("m", "3"));
    telemetry.connections().opened();
    telemetry.connections().refused(RefusedConnection::Limit);
    telemetry.unknown_model().finished(Protocol::Grpc, Code::NotFound);
    model.rejected(Reason::QueueFull);
    model.finished(Protocol::HttpJson, Code::NotFound);
    version.set_state("ready");
    version.set_memory(1234);
    version.set_load_duration(Duration::from_millis(1500));
    version.queued(Duration::from_micros(1));
    let timings = RunTimings { infer: Duration::from_micros(30), ..RunTimings::default() };
    version.executed(3, 2, &timings);
    version.finished(Protocol::HttpBinary, None, Duration::from_micros(40));
    version.finished(Protocol::Grpc, Some(Code::Unavailable), Duration::from_secs(20));
    (model, version)
}

/// A version whose traffic is compared with a profile, in every family of drift.
fn drifting(telemetry: &Telemetry) {
    let profile = DriftProfile { id: "ab".into(), sha256: "abcd".into(), source: "sidecar" };
    let column = |name: &'static str, is_number: bool| DriftColumn {
        name,
        reference: &[7, 8],
        dispersion: 1.5,
        is_number,
        has_range: is_number,
        is_score: is_number,
    };
    let columns = [column("odd \"name\"\n", true), column("text", false)];
    let version = Version::parse("3").expect("a version");
    let series = DriftSeries::new(&name("m"), version, profile, columns.into_iter());
    let window = DriftScores {
        window: Arc::from("1h"),
        is_alarmed: true,
        is_sufficient: true,
        psi: 0.5,
        psi_adjusted: 0.25,
        js_distance: 1e-9,
        ks_statistic: Some(0.5),
        wasserstein_stddevs: Some(2.0),
    };
    let look = DriftLook { evidence_log10: Some(300.0), windows: vec![window] };
    let counts = DriftCounts { bins: vec![1, 2], look: Some(look), ..DriftCounts::default() };
    let states = DriftStates { window: Arc::from("1h"), columns: vec![("drifted", 2)] };
    let roles = ["primary", "shadow"].map(|role| DriftOfRole {
        role,
        features: vec![counts.clone(); 2],
        states: vec![states.clone()],
    });
    let reading = DriftReading {
        model: name("m"),
        version,
        state: ProfileState::Active,
        series: Some(Arc::new(series)),
        unexported: 1,
        roles: roles.into(),
    };
    telemetry.drift().set_source(Box::new(move || vec![reading.clone()]));
}

fn assert_sample(page: &str, sample: &str) {
    assert!(page.lines().any(|line| line == sample), "{sample} is missing in:\n{page}");
}

#[test]
fn a_page_tells_what_was_counted() {
    let telemetry = telemetry();
    let (model, _version) = busy(&telemetry);
    let _guard = model.enter();
    let page = telemetry.render();
    for sample in [
        r#"modelgate_requests_total{model="m",version="3",route="m",variant="champion",protocol="http_binary",code="ok"} 1"#,
        r#"modelgate_requests_total{model="m",version="3",route="m",variant="champion",protocol="http_json",code="ok"} 0"#,
        r#"modelgate_requests_total{model="m",version="3",route="m",variant="champion",protocol="grpc",code="unavailable"} 1"#,
        r#"modelgate_requests_total{model="m",version="_unknown",route="m",variant="_unknown",protocol="http_json",code="not_found"} 1"#,
        r#"modelgate_requests_total{model="_unknown",version="_unknown",route="_unknown",variant="_unknown",protocol="grpc",code="not_found"} 1"#,
        r#"modelgate_request_duration_seconds_bucket{model="m",version="3",variant="champion",le="0.00005"} 1"#,
        r#"modelgate_request_duration_seconds_bucket{model="m",version="3",variant="champion",le="10"} 1"#,
        r#"modelgate_request_duration_seconds_bucket{model="m",version="3",variant="champion",le="+Inf"} 2"#,
        r#"modelgate_request_duration_seconds_sum{model="m",version="3",variant="champion"} 20.00004"#,
        r#"modelgate_queue_duration_seconds_count{model="m",version="3",variant="champion"} 1"#,
        r#"modelgate_inference_duration_seconds_sum{model="m",version="3",variant="champion"} 0.00003"#,
        r#"modelgate_batch_rows_bucket{model="m",version="3",variant="champion",le="2"} 0"#,
        r#"modelgate_batch_rows_bucket{model="m",version="3",variant="champion",le="4"} 1"#,
        r#"modelgate_batch_rows_sum{model="m",version="3",variant="champion"} 3"#,
        r#"modelgate_inflight_requests{model="m"} 1"#,
        r#"modelgate_rejected_total{model="m",reason="queue_full"} 1"#,
        r#"modelgate_rejected_total{model="_unknown",reason="queue_full"} 0"#,
        r#"modelgate_model_info{model="m",version="3",digest="sha256:ab",source="folder \"models\"\\\n"} 1"#,
        r#"modelgate_model_state{model="m",version="3",state="ready"} 1"#,
        r#"modelgate_model_memory_bytes{model="m",version="3"} 1234"#,
        r#"modelgate_model_load_duration_seconds{model="m",version="3"} 1.5"#,
        r#"modelgate_connections 1"#,
        r#"modelgate_connections_refused_total{reason="limit"} 1"#,
        concat!(r#"modelgate_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
    ] {
        assert_sample(&page, sample);
    }
    assert!(page.contains("\nprocess_cpu_seconds_total "), "{page}");
}

#[test]
fn a_shadow_is_counted_by_route_and_output() {
    let telemetry = telemetry();
    let _idle = telemetry.route(&name("idle"), &[]);
    let route = telemetry.route(&name("r"), &[]);
    route.shadow.dropped(ShadowDrop::QueueFull);
    route.shadow.ended(ShadowOutcome::Compared);
    let output = route.shadow.output("y");
    output.compared(false, Some(0.25), Some(0.6));
    output.compared(true, Some(0.0), None);
    output.compared_noise(false);
    let page = telemetry.render();
    for sample in [
        r#"modelgate_shadow_requests_total{route="r",outcome="compared"} 1"#,
        r#"modelgate_shadow_requests_total{route="r",outcome="timeout"} 0"#,
        r#"modelgate_shadow_dropped_total{route="r",reason="queue_full"} 1"#,
        r#"modelgate_shadow_dropped_total{route="r",reason="not_ready"} 0"#,
        r#"modelgate_shadow_comparisons_total{route="r",output="y"} 2"#,
        r#"modelgate_shadow_disagreements_total{route="r",output="y"} 1"#,
        r#"modelgate_shadow_noise_comparisons_total{route="r",output="y"} 1"#,
        r#"modelgate_shadow_noise_disagreements_total{route="r",output="y"} 1"#,
        r#"modelgate_shadow_output_difference_bucket{route="r",output="y",le="0"} 1"#,
        r#"modelgate_shadow_output_difference_bucket{route="r",output="y",le="1"} 2"#,
        r#"modelgate_shadow_output_difference_sum{route="r",output="y"} 0.25"#,
        r#"modelgate_shadow_topk_overlap_ratio_sum{route="r",output="y"} 0.6"#,
        r#"modelgate_shadow_topk_overlap_ratio_count{route="r",output="y"} 1"#,
    ] {
        assert_sample(&page, sample);
    }
    assert!(!page.contains(r#"route="idle",outcome"#), "{page}");
}

#[test]
fn each_family_stands_once_with_help_and_type() {
    let telemetry = Telemetry::new(TelemetryOptions { nv_aliases: true, shards: 2 });
    let _handles = busy(&telemetry);
    let route = telemetry.route(&name("r"), &[]);
    route.shadow.ended(ShadowOutcome::Compared);
    route.shadow.output("y").compared(true, Some(0.0), Some(1.0));
    drifting(&telemetry);
    let page = telemetry.render();
    let mut families = BTreeSet::new();
    let mut family = "";
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().expect("a name");
            assert!(families.insert(family), "{family} stands twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            assert!(kind.starts_with(&format!("{family} ")), "{kind} after HELP of {family}");
        } else {
            assert!(line.starts_with(family), "{line} under {family}");
        }
    }
    let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
    let series: BTreeSet<&str> = samples
        .iter()
        .filter(|line| !line.is_empty())
        .filter_map(|line| line.rsplit_once(' ').map(|(series, _)| series))
        .collect();
    let rows = samples.iter().filter(|line| !line.is_empty()).count();
    assert_eq!(series.len(), rows, "a series stands twice");
}

/// Runs `promtool check metrics`, where it is installed: exit code 3 means
/// that names are unusual, which Triton's are.
fn promtool(page: &str) -> Option<(Option<i32>, String)> {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(page.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    Some((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn promtool_accepts_the_page() {
    for nv_aliases in [false, true] {
        let telemetry = Telemetry::new(TelemetryOptions { nv_aliases, shards: 2 });
        let _handles = busy(&telemetry);
        let route = telemetry.route(&name("r"), &[]);
        route.shadow.ended(ShadowOutcome::Compared);
        route.shadow.output("y").compared(true, Some(0.0), Some(1.0));
        drifting(&telemetry);
        let Some((code, errors)) = promtool(&telemetry.render()) else {
            eprintln!("skipped: promtool is not installed");
            return;
        };
        if nv_aliases {
            assert!(matches!(code, Some(0 | 3)), "{code:?}: {errors}");
        } else {
            assert_eq!(code, Some(0), "{errors}");
        }
    }
}

/// What is promised to be the most that a page has is just that.
#[test]
fn series_of_drift_are_counted_before_they_are_written() {
    let telemetry = telemetry();
    drifting(&telemetry);
    let page = telemetry.render();
    let of_features = page.lines().filter(|line| line.contains(",feature=\"")).count();
    let reading = &telemetry.drift().readings()[0];
    let series = reading.series.as_ref().expect("a profile");
    // The feature of texts has scores of numbers in this reading, which none has.
    let extra = 2 * 2;
    assert_eq!(series.costs(2, 1).sum::<usize>() + extra, of_features);
}

#[test]
fn series_go_with_the_last_handle() {
    let telemetry = Telemetry::new(TelemetryOptions { nv_aliases: true, shards: 1 });
    let (model, version) = busy(&telemetry);
    let also = Arc::clone(&version);
    drop((model, version));
    assert!(telemetry.render().contains(r#"version="3""#));
    drop(also);
    let page = telemetry.render();
    assert!(!page.contains(r#"model="m""#), "{page}");
}

#[test]
fn a_model_has_one_handle_while_it_lives() {
    let telemetry = telemetry();
    let first = telemetry.model(&name("m"));
    first.rejected(Reason::Deadline);
    assert!(Arc::ptr_eq(&first, &telemetry.model(&name("m"))));
    drop(first);
    drop(telemetry.model(&name("m")));
    assert_sample(&telemetry.render(), "# TYPE modelgate_rejected_total counter");
    assert!(!telemetry.render().contains(r#"model="m""#));
}

#[test]
fn a_version_loaded_anew_counts_on_and_is_described_by_the_newest() {
    let telemetry = telemetry();
    let (_model, old) = busy(&telemetry);
    let new = telemetry.version(VersionLabels { digest: Arc::from("new"), ..labels("m", "3") });
    new.set_state("loading");
    new.finished(Protocol::HttpBinary, None, Duration::ZERO);
    let ok = |count: u64| {
        format!(
            r#"modelgate_requests_total{{model="m",version="3",route="m",variant="champion",protocol="http_binary",code="ok"}} {count}"#
        )
    };
    let page = telemetry.render();
    assert_sample(&page, &ok(2));
    assert_sample(&page, r#"modelgate_model_state{model="m",version="3",state="loading"} 1"#);
    assert!(!page.contains("sha256:ab") && page.contains(r#"digest="new""#), "{page}");
    drop(new);
    let page = telemetry.render();
    assert_sample(&page, &ok(2));
    assert!(page.contains("sha256:ab"), "the older handle still serves: {page}");
    drop(old);
    assert!(!telemetry.render().contains(r#"version="3""#));
}

#[test]
fn a_version_on_two_routes_is_summed_where_the_route_is_no_label() {
    let telemetry = Telemetry::new(TelemetryOptions { nv_aliases: true, shards: 1 });
    let direct = telemetry.version(labels("m", "1"));
    let routed = telemetry.version(VersionLabels { route: name("r"), ..labels("m", "1") });
    for version in [&direct, &routed] {
        version.set_memory(5);
        version.finished(Protocol::Grpc, None, Duration::from_micros(1));
    }
    let page = telemetry.render();
    assert_sample(
        &page,
        r#"modelgate_request_duration_seconds_count{model="m",version="1",variant="champion"} 2"#,
    );
    assert_sample(&page, r#"nv_inference_request_success{model="m",version="1"} 2"#);
    assert_eq!(page.matches("modelgate_model_memory_bytes{").count(), 1);
    assert!(page.contains(r#"route="r",variant="champion",protocol="grpc",code="ok"} 1"#));
}

#[test]
fn triton_names_tell_failures_by_its_reasons() {
    let telemetry = Telemetry::new(TelemetryOptions { nv_aliases: true, shards: 1 });
    let version = telemetry.version(labels("m", "1"));
    for code in [Code::Unavailable, Code::Cancelled, Code::Internal, Code::InvalidArgument] {
        version.finished(Protocol::Grpc, Some(code), Duration::ZERO);
    }
    version.pending(3);
    version.pending(-1);
    let page = telemetry.render();
    for reason in ["REJECTED", "CANCELED", "BACKEND", "OTHER"] {
        let sample =
            format!(r#"nv_inference_request_failure{{model="m",version="1",reason="{reason}"}} 1"#);
        assert_sample(&page, &sample);
    }
    assert_sample(&page, r#"nv_inference_pending_request_count{model="m",version="1"} 2"#);
}

#[test]
fn threads_lose_no_count() {
    let telemetry = telemetry();
    let version = telemetry.version(labels("m", "1"));
    std::thread::scope(|scope| {
        for _ in 0..7 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    version.finished(Protocol::HttpJson, None, Duration::from_micros(7));
                }
            });
        }
    });
    let page = telemetry.render();
    assert_sample(
        &page,
        r#"modelgate_request_duration_seconds_bucket{model="m",version="1",variant="champion",le="0.00001"} 7000"#,
    );
    assert_eq!(Statistics::of(&version.totals()).success.ns, 7 * 1000 * 7000);
}

#[test]
fn a_million_odd_names_add_no_series() {
    let telemetry = telemetry();
    telemetry.unknown_model().finished(Protocol::HttpJson, Code::NotFound);
    let series = |telemetry: &Telemetry| {
        telemetry.render().lines().filter(|line| line.starts_with("modelgate_")).count()
    };
    let before = series(&telemetry);
    for _ in 0..1_000_000 {
        telemetry.unknown_model().finished(Protocol::HttpJson, Code::NotFound);
    }
    // Even a handle for each name leaves nothing behind once it is dropped.
    for odd in 0..10_000 {
        telemetry.model(&name(&format!("odd-{odd}"))).rejected(Reason::Deadline);
    }
    assert_eq!(series(&telemetry), before);
    assert!(locked(&telemetry.models).len() <= 1, "dead handles are forgotten");
}

#[test]
fn instances_do_not_see_each_other() {
    let (one, other) = (telemetry(), telemetry());
    one.connections().opened();
    one.connections().opened();
    one.connections().closed();
    assert_sample(&one.render(), "modelgate_connections 1");
    assert_sample(&other.render(), "modelgate_connections 0");
}

#[test]
fn a_variants_series_do_not_hide_what_is_told_of_its_version() {
    let telemetry = telemetry();
    let (_model, _version) = busy(&telemetry);
    let of_variant = |variant: &str| VersionLabels {
        route: name("r"),
        variant: Arc::from(variant),
        ..labels("m", "3")
    };
    let candidate = telemetry.version(of_variant("candidate"));
    let shadow = telemetry.version(of_variant("shadow"));
    candidate.finished(Protocol::Grpc, None, Duration::from_micros(10));
    shadow.executed(1, 1, &RunTimings::default());
    let page = telemetry.render();
    for sample in [
        r#"modelgate_model_state{model="m",version="3",state="ready"} 1"#,
        r#"modelgate_model_memory_bytes{model="m",version="3"} 1234"#,
        r#"modelgate_requests_total{model="m",version="3",route="r",variant="candidate",protocol="grpc",code="ok"} 1"#,
    ] {
        assert_sample(&page, sample);
    }
    let version = Version::parse("3").expect("a version");
    let statistics = telemetry.statistics(&name("m"), version);
    assert_eq!(statistics.success.count, 2, "both variants answered");
    assert_eq!(statistics.execution_count, 1, "nobody asked for the shadow's run");
}
