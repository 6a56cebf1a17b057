"""What the rules of deploy/prometheus/drift.rules.yaml should give, computed with numpy and scipy.

Run in an environment with requirements.txt, from anywhere:

    python tests/drift_oracle/rules.py

It writes deploy/prometheus/tests/drift_figures_test.yaml: the counters of three gateways over
three hours, one of which restarts in every hour, and each score of the last hour and of the hours
before.
"""

from pathlib import Path

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency

OUT = Path(__file__).resolve().parents[2] / "deploy/prometheus/tests/drift_figures_test.yaml"
GATEWAYS, HOURS = 3, 3
AT = "155m"
RANDOM = np.random.default_rng(6)
BASE = {"model": "m", "version": "2", "profile": "0123456789ab"}
FAULTS = {
    "missing": ("modelgate_drift_missing_total", {}),
    "invalid": ("modelgate_drift_invalid_total", {"reason": "infinite"}),
    "below": ("modelgate_drift_out_of_range_total", {"side": "below"}),
    "above": ("modelgate_drift_out_of_range_total", {"side": "above"}),
    "unseen": ("modelgate_drift_new_category_total", {}),
}


def live(rows, shares):
    """Counts by gateway, hour and bin."""
    return RANDOM.multinomial(rows, shares, size=(GATEWAYS, HOURS))


def shares(counts):
    counts = np.asarray(counts, dtype=float)
    return counts / counts.sum()


TENTHS = np.full(10, 0.1)
FEATURES = {
    # By role: live counts.
    "age": (
        RANDOM.multinomial(10_000, TENTHS), 1.27,
        {"primary": live(700, shares(np.linspace(8, 12, 10))), "shadow": live(300, shares(np.linspace(5, 15, 10)))},
    ),
    # The third bin is empty on both sides, the fourth in the reference, the fifth in live traffic.
    "plan": (np.array([900, 700, 0, 0, 40, 360]), 1.0, {"primary": live(90, shares([5, 3, 0, 0.5, 0, 2]))}),
    "two": (np.array([600, 1400]), 3.5, {"primary": live(50, [0.3, 0.7])}),
    # Too few rows for anything, but no fault in the arithmetic.
    "few": (np.array([600, 1400]), 1.0, {"primary": np.eye(2, dtype=int)[np.zeros((GATEWAYS, HOURS), int)]}),
    "silent": (np.array([600, 1400]), 1.0, {"primary": np.zeros((GATEWAYS, HOURS, 2), int)}),
}  # fmt: skip
EVIDENCE = {"age": [3.0, 1.0, -2.0], "plan": [300.0, 300.0, 300.0]}
FAULT_COUNTS = {fault: RANDOM.poisson(mean, (GATEWAYS, HOURS)) for fault, mean in zip(FAULTS, [40, 3, 5, 0, 9])}


def name(family, **labels):
    inside = ",".join(f'{key}="{value}"' for key, value in (BASE | labels).items())
    return f"{family}{{{inside}}}"


def counter(hours, restart):
    """A counter that rises once in the first half of each hour and once in the second; where it
    restarts, it does so in between."""
    values, count = ["0"], 0
    for hour in hours:
        first = int(hour) // 2
        if restart:
            values += [f"{count + first}x28", "0", f"{int(hour) - first}x29"]
            count = int(hour) - first
        else:
            values += [f"{count + first}x28", f"{count + int(hour)}x30"]
            count += int(hour)
    return " ".join(values)


def scores(reference, counts, dispersion):
    m, n, bins = reference.sum(), counts.sum(), len(reference)
    p, q = (reference + 0.5) / (m + bins / 2), (counts + 0.5) / (n + bins / 2)
    psi = ((q - p) * np.log(q / p)).sum()
    table = np.array([reference, counts])[:, reference + counts > 0]
    chi2, _, df, _ = chi2_contingency(table, correction=False)
    variance = 2 / (9 * df)
    return {
        "psi": psi,
        "psi_adjusted": max(0, psi - (bins - 1) * (1 / n + 1 / m)),
        "js_distance": jensenshannon(p, q, base=2),
        "chi2": chi2,
        "degrees_of_freedom": df,
        "z": (np.cbrt(chi2 / dispersion / df) - (1 - variance)) / np.sqrt(variance),
    }


def series():
    for feature, (reference, dispersion, roles) in FEATURES.items():
        for gateway in range(GATEWAYS):
            at = {"instance": gateway, "feature": feature}
            for place, count in enumerate(reference):
                yield name("modelgate_drift_reference_rows", **at, bin=f"{place:02}"), f"{count}x180"
            yield name("modelgate_drift_dispersion_ratio", **at), f"{dispersion}x180"
            for role, counts in roles.items():
                for place in range(len(reference)):
                    labels = at | {"role": role, "bin": f"{place:02}"}
                    values = counter(counts[gateway, :, place], restart=gateway == 2)
                    yield name("modelgate_drift_observations_total", **labels), values
    for feature, values in EVIDENCE.items():
        for gateway, value in enumerate(values):
            labels = {"instance": gateway, "feature": feature, "role": "primary"}
            yield name("modelgate_drift_evidence_log10", **labels), f"{value:g}x180"
    for fault, (family, own) in FAULTS.items():
        for gateway in range(GATEWAYS):
            labels = {"instance": gateway, "feature": "age", "role": "primary"} | own
            yield name(family, **labels), counter(FAULT_COUNTS[fault][gateway], restart=gateway == 2)


def expected():
    """Expressions that have one sample, and its value."""
    windows = {"1h": slice(2, 3), "24h": slice(0, 2)}
    for feature, (reference, dispersion, roles) in FEATURES.items():
        for role, counts in roles.items():
            for window, hours in windows.items():
                of = {"feature": feature, "role": role, "window": window}
                counts_of_window = counts[:, hours].sum(axis=(0, 1))
                rows = counts_of_window.sum()
                yield name("model_feature:modelgate_drift_observations:increase", **of), rows
                if rows == 0:
                    continue
                for score, value in scores(reference, counts_of_window, dispersion).items():
                    yield name(f"model_feature:modelgate_drift_{score}", **of), value
    for feature, values in EVIDENCE.items():
        of = {"feature": feature, "role": "primary"}
        mean = np.log10(np.mean(np.power(10.0, values)))
        yield name("model_feature:modelgate_drift_evidence_log10", **of), mean
    binned = FEATURES["age"][2]["primary"].sum(axis=2)
    seen = binned + FAULT_COUNTS["missing"] + FAULT_COUNTS["invalid"]
    for fault, counts in FAULT_COUNTS.items():
        of = {"feature": "age", "role": "primary", "fault": fault}
        whole = seen if fault in ("missing", "invalid") else binned
        hits = {window: counts[:, hours].sum() for window, hours in windows.items()}
        values = {window: whole[:, hours].sum() for window, hours in windows.items()}
        share = {window: hits[window] / values[window] for window in windows}
        for window in windows:
            yield name("model_feature_fault:modelgate_drift_faults:share", **of, window=window), share[window]
        jump = share["1h"] - share["24h"]
        yield name("model_feature_fault:modelgate_drift_faults:jump", **of), jump
        pooled = sum(hits.values()) / sum(values.values())
        if 0 < pooled < 1:
            error = np.sqrt(pooled * (1 - pooled) * sum(1 / value for value in values.values()))
            yield name("model_feature_fault:modelgate_drift_faults:jump_z", **of), jump / error


def write():
    lines = [
        "# promtool test rules: made by tests/drift_oracle/rules.py with numpy and scipy.",
        "rule_files: [../drift.rules.yaml]",
        "evaluation_interval: 1m",
        "",
        "tests:",
        "  - name: three gateways, of which one restarts, together have the scores of their sums",
        "    interval: 1m",
        "    input_series:",
    ]
    for own, values in series():
        lines += [f"      - series: '{own}'", f"        values: '{values}'"]
    lines += ["    promql_expr_test:"]

    def holds(expression):
        lines.append(f"      - expr: '{expression}'")
        lines.append(f"        eval_time: {AT}")
        lines.append("        exp_samples: [{labels: '{}', value: 1}]")

    # Prometheus of this age compares to the last bit, and sums in another order.
    for own, value in expected():
        holds(f"sum(abs({own} - ({float(value)!r}))) < bool 1e-8")
    silent = 'feature="silent"'
    for score in ("psi", "psi_adjusted", "js_distance", "chi2", "z"):
        holds(f"absent(sum(model_feature:modelgate_drift_{score}{{{silent}}}))")
    OUT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    write()
