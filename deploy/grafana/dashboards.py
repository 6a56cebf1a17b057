#!/usr/bin/env python3
"""Writes the dashboards of this folder: what stands below is all that is particular about them.

    python3 deploy/grafana/dashboards.py

Import them in Grafana, or let it provision the folder. They need the rules of ../prometheus.
"""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
WIDTH, HEIGHT, ACROSS = 12, 8, 2

M = 'model=~"$model"'
R = 'route=~"$route"'
OF_FEATURE = 'model=~"$model",feature=~"$feature",role="$role",window="$window"'
RATE = "$__rate_interval"
BY_VERSION = "{{model}} {{version}}"
BY_VARIANT = "{{model}} {{version}} {{variant}} {{role}}"
BY_FEATURE = "{{model}} {{version}} {{feature}}"

SERVING = {
    "uid": "modelgate-serving",
    "title": "modelgate: serving",
    "variables": {"model": "label_values(modelgate_requests_total, model)"},
    "panels": [
        ("Requests", "reqps", [(f"sum by (model, version) (rate(modelgate_requests_total{{{M}}}[{RATE}]))", BY_VERSION)]),
        ("Requests that failed", "reqps", [
            (f'sum by (model, code) (rate(modelgate_requests_total{{{M},code!="ok"}}[{RATE}]))', "{{model}} {{code}}"),
        ]),
        ("Latency", "s", [
            (f"histogram_quantile({q}, sum by (le, model, version) (rate(modelgate_request_duration_seconds_bucket{{{M}}}[{RATE}])))", f"p{q * 100:g} {BY_VERSION}")
            for q in (0.5, 0.99)
        ]),
        ("Waiting, p99", "s", [
            (f"histogram_quantile(0.99, sum by (le, model, version) (rate(modelgate_queue_duration_seconds_bucket{{{M}}}[{RATE}])))", BY_VERSION),
        ]),
        ("One run of the model, p99", "s", [
            (f"histogram_quantile(0.99, sum by (le, model, version) (rate(modelgate_inference_duration_seconds_bucket{{{M}}}[{RATE}])))", BY_VERSION),
        ]),
        ("Rows of a run, mean", "short", [
            (f"sum by (model, version) (rate(modelgate_batch_rows_sum{{{M}}}[{RATE}])) / sum by (model, version) (rate(modelgate_batch_rows_count{{{M}}}[{RATE}]))", BY_VERSION),
        ]),
        ("Refused", "reqps", [(f"sum by (model, reason) (rate(modelgate_rejected_total{{{M}}}[{RATE}])) > 0", "{{model}} {{reason}}")]),
        ("Under way", "short", [(f"sum by (model) (modelgate_inflight_requests{{{M}}})", "{{model}}")]),
        ("Gateways by version and state", "short", [
            (f"count by (model, version, state) (modelgate_model_state{{{M}}} == 1)", f"{BY_VERSION} {{{{state}}}}"),
        ]),
        ("Breakers open", "short", [(f"sum by (model, version) (modelgate_breaker_open{{{M}}})", BY_VERSION)]),
        ("Swaps", "short", [(f"sum by (model, outcome) (increase(modelgate_swaps_total{{{M}}}[{RATE}]))", "{{model}} {{outcome}}")]),
        ("Since registries were listed", "s", [("max by (registry) (time() - modelgate_registry_sync_timestamp_seconds)", "{{registry}}")]),
        ("Memory of models", "bytes", [(f"sum by (model, version) (modelgate_model_memory_bytes{{{M}}})", BY_VERSION)]),
        ("Memory of gateways", "bytes", [('process_resident_memory_bytes{job=~".*modelgate.*"}', "{{instance}}")]),
    ],
}  # fmt: skip

ROUTES = {
    "uid": "modelgate-routes",
    "title": "modelgate: routes and shadows",
    "variables": {"route": "label_values(modelgate_route_weight, route)"},
    "panels": [
        ("Weights", "percent", [(f"max by (route, variant) (modelgate_route_weight{{{R}}})", "{{route}} {{variant}}")]),
        ("Requests by variant", "reqps", [(f"sum by (route, variant) (rate(modelgate_assignments_total{{{R}}}[{RATE}]))", "{{route}} {{variant}}")]),
        ("Answered by the champion in its stead", "reqps", [
            (f"sum by (route, variant) (rate(modelgate_fallbacks_total{{{R}}}[{RATE}]))", "{{route}} {{variant}}"),
        ]),
        ("Evidence that units are split otherwise (6.9: p < 0.001)", "short", [
            (f"max by (route) (modelgate_route_srm_log_bayes_factor{{{R}}})", "{{route}}"),
        ]),
        ("Failed by variant", "percentunit", [
            (f'sum by (route, variant) (rate(modelgate_requests_total{{{R},code!="ok"}}[{RATE}])) / sum by (route, variant) (rate(modelgate_requests_total{{{R}}}[{RATE}]))', "{{route}} {{variant}}"),
        ]),
        ("Mirrored requests", "reqps", [(f"sum by (route, outcome) (rate(modelgate_shadow_requests_total{{{R}}}[{RATE}]))", "{{route}} {{outcome}}")]),
        ("Samples dropped", "reqps", [(f"sum by (route, reason) (rate(modelgate_shadow_dropped_total{{{R}}}[{RATE}])) > 0", "{{route}} {{reason}}")]),
        ("Disagreement with the champion, and of the champion with itself", "percentunit", [
            (f"sum by (route, output) (rate(modelgate_shadow_disagreements_total{{{R}}}[{RATE}])) / sum by (route, output) (rate(modelgate_shadow_comparisons_total{{{R}}}[{RATE}]))", "{{route}} {{output}}"),
            (f"sum by (route, output) (rate(modelgate_shadow_noise_disagreements_total{{{R}}}[{RATE}])) / sum by (route, output) (rate(modelgate_shadow_noise_comparisons_total{{{R}}}[{RATE}]))", "{{route}} {{output}}, itself"),
        ]),
        ("Largest difference of a sample, p99", "short", [
            (f"histogram_quantile(0.99, sum by (le, route, output) (rate(modelgate_shadow_output_difference_bucket{{{R}}}[{RATE}])))", "{{route}} {{output}}"),
        ]),
    ],
}  # fmt: skip

QUALITY = {
    "uid": "modelgate-quality",
    "title": "modelgate: prediction log and quality",
    "variables": {"model": "label_values(modelgate_requests_total, model)"},
    "panels": [
        ("Records", "cps", [(f"sum by (model, outcome) (rate(modelgate_prediction_log_records_total{{{M}}}[{RATE}]))", "{{model}} {{outcome}}")]),
        ("Numbers without a record", "short", [(f"sum by (cause) (increase(modelgate_prediction_log_gaps_total[{RATE}]))", "{{cause}}")]),
        ("Cannot be written", "short", [("max by (instance) (modelgate_prediction_log_degraded)", "{{instance}}")]),
        ("Behind", "s", [("max by (sink) (modelgate_prediction_log_lag_seconds)", "{{sink}}")]),
        ("On disk", "bytes", [("sum by (instance, part) (modelgate_prediction_log_bytes)", "{{instance}} {{part}}")]),
        ("Errors of the log", "cps", [(f"sum by (part, reason) (rate(modelgate_prediction_log_errors_total[{RATE}])) > 0", "{{part}} {{reason}}")]),
        ("Labels", "cps", [(f"sum by (model, outcome) (rate(modelgate_feedback_total{{{M}}}[{RATE}])) > 0", "{{model}} {{outcome}}")]),
        ("Share of predictions with a label", "percentunit", [(f"variant:modelgate_quality_coverage:24h{{{M}}}", BY_VARIANT)]),
        ("Accuracy", "percentunit", [(f"variant:modelgate_quality_accuracy:{w}{{{M}}}", f"{w} {BY_VARIANT}") for w in ("1h", "24h")]),
        ("AUC", "short", [(f"variant:modelgate_quality_auc:{w}{{{M}}}", f"{w} {BY_VARIANT}") for w in ("1h", "24h")]),
        ("Log loss", "short", [(f"variant:modelgate_quality_log_loss:{w}{{{M}}}", f"{w} {BY_VARIANT}") for w in ("1h", "24h")]),
        ("Calibration error", "short", [(f"variant:modelgate_quality_calibration_error:{w}{{{M}}}", f"{w} {BY_VARIANT}") for w in ("1h", "24h")]),
        ("Error of numbers (RMSE)", "short", [(f"variant:modelgate_quality_rmse:{w}{{{M}}}", f"{w} {BY_VARIANT}") for w in ("1h", "24h")]),
        ("Reward", "short", [(f"variant:modelgate_quality_reward:{w}{{{M}}}", f"{w} {BY_VARIANT}") for w in ("1h", "24h")]),
    ],
}  # fmt: skip

DRIFT = {
    "uid": "modelgate-drift",
    "title": "modelgate: drift",
    "variables": {
        "model": "label_values(modelgate_drift_profile_state, model)",
        "feature": 'label_values(modelgate_drift_observations_total{model=~"$model"}, feature)',
        "role": "label_values(modelgate_drift_observations_total, role)",
        "window": "label_values(model_feature:modelgate_drift_observations:increase, window)",
    },
    "panels": [
        ("Alarms that fire", "short", [('sum by (alertname, model) (ALERTS{alertname=~".*Drift.*|ModelFeedBroken",alertstate="firing"})', "{{alertname}} {{model}}")]),
        ("Stability index, less what chance adds (0.05 to watch, 0.1 drifted)", "short", [
            (f"model_feature:modelgate_drift_psi_adjusted{{{OF_FEATURE}}}", BY_FEATURE),
        ]),
        ("Jensen-Shannon distance", "short", [(f"model_feature:modelgate_drift_js_distance{{{OF_FEATURE}}}", BY_FEATURE)]),
        ("Deviations (3.72: no chance)", "short", [(f"model_feature:modelgate_drift_z{{{OF_FEATURE}}}", BY_FEATURE)]),
        ("Evidence between windows (5: an alarm)", "short", [
            ('model_feature:modelgate_drift_evidence_log10{model=~"$model",feature=~"$feature",role="$role"}', BY_FEATURE),
        ]),
        ("Rows of the window", "short", [(f"model_feature:modelgate_drift_observations:increase{{{OF_FEATURE}}}", BY_FEATURE)]),
        ("Live share by bin", "percentunit", [(f"model_feature_bin:modelgate_drift_observations:share{{{OF_FEATURE}}}", f"{BY_FEATURE} {{{{bin}}}}")]),
        ("Reference's share by bin", "percentunit", [
            ('model_feature_bin:modelgate_drift_reference_rows:share{model=~"$model",feature=~"$feature"}', f"{BY_FEATURE} {{{{bin}}}}"),
        ]),
        ("Values that are faulty", "percentunit", [(f"model_feature_fault:modelgate_drift_faults:share{{{OF_FEATURE}}} > 0", f"{BY_FEATURE} {{{{fault}}}}")]),
        ("Answers that were not counted", "cps", [(f"sum by (instance, reason) (rate(modelgate_drift_dropped_total[{RATE}]))", "{{instance}} {{reason}}")]),
        ("Gateways by what they know of a profile", "short", [
            (f"count by (model, version, state) (modelgate_drift_profile_state{{{M}}} == 1)", f"{BY_VERSION} {{{{state}}}}"),
        ]),
        ("Profiles, and where they were found", "short", [
            (f"count by (model, version, profile, source) (modelgate_drift_profile_info{{{M}}})", f"{BY_VERSION} {{{{profile}}}} {{{{source}}}}"),
        ]),
    ],
}  # fmt: skip

DASHBOARDS = {"serving": SERVING, "routes": ROUTES, "quality": QUALITY, "drift": DRIFT}
SOURCE = {"type": "prometheus", "uid": "${source}"}
# One choice at a time: their values do not add up.
SINGLE = {"role": "primary", "window": "1h"}


def variable(name: str, query: str) -> dict:
    several = name not in SINGLE
    chosen = {"text": "All", "value": "$__all"} if several else {"text": SINGLE[name], "value": SINGLE[name]}
    return {
        "name": name, "type": "query", "datasource": SOURCE, "query": query, "refresh": 2, "sort": 1,
        "multi": several, "includeAll": several, "allValue": ".*" if several else None, "current": chosen,
    }  # fmt: skip


def panel(at: int, title: str, unit: str, queries: list[tuple[str, str]]) -> dict:
    place = {"x": at % ACROSS * WIDTH, "y": at // ACROSS * HEIGHT, "w": WIDTH, "h": HEIGHT}
    targets = [
        {"refId": chr(ord("A") + number), "expr": expression, "legendFormat": legend}
        for number, (expression, legend) in enumerate(queries)
    ]
    return {
        "id": at + 1, "type": "timeseries", "title": title, "datasource": SOURCE, "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []}, "targets": targets,
    }  # fmt: skip


def dashboard(about: dict) -> dict:
    source = {"name": "source", "type": "datasource", "query": "prometheus"}
    return {
        "uid": about["uid"], "title": about["title"], "tags": ["modelgate"], "schemaVersion": 39,
        "editable": True, "refresh": "30s", "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source, *(variable(*own) for own in about["variables"].items())]},
        "panels": [panel(at, *own) for at, own in enumerate(about["panels"])],
    }  # fmt: skip


def render(about: dict) -> str:
    return json.dumps(dashboard(about), indent=1) + "\n"


if __name__ == "__main__":
    for name, about in DASHBOARDS.items():
        (FOLDER / f"{name}.json").write_text(render(about))
