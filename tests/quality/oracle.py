"""What scikit-learn and numpy say of labelled rows: a list of cases on stdin, of figures on stdout.

A case has `task`, `weights`, and for classes `names` (in the order of the columns), `predicted`,
`actual`, `probabilities` (or null), `least` (the least probability that a logarithm is taken of);
for numbers `predicted` and `actual`; for rewards `rewards`.
"""

import json
import sys
import warnings

import numpy as np
from sklearn import metrics

warnings.simplefilter("ignore")


def calibration(claimed, came_true, weights):
    bins = np.minimum((claimed * 10).astype(int), 9)
    apart = sum(
        abs(np.sum(weights[bins == b] * (claimed[bins == b] - came_true[bins == b])))
        for b in range(10)
    )
    return apart / np.sum(weights)


def classes(case):
    names, weights = case["names"], np.array(case["weights"])
    predicted, actual = np.array(case["predicted"]), np.array(case["actual"])
    binary = len(names) == 2
    out = {"accuracy": metrics.accuracy_score(actual, predicted, sample_weight=weights)}
    averages = [("binary", names[1])] if binary else [("macro", None), ("weighted", None)]
    for average, positive in averages:
        scores = metrics.precision_recall_fscore_support(
            actual, predicted, average=average, sample_weight=weights, zero_division=0,
            **({"pos_label": positive} if binary else {}),
        )
        for name, value in zip(("precision", "recall", "f1"), scores):
            out[f"{name}/{average}"] = value
    if case["probabilities"] is None:
        return out
    p = np.array(case["probabilities"], dtype=np.float64)
    clipped = np.clip(p, case["least"], 1 - case["least"])
    out["log_loss"] = metrics.log_loss(actual, clipped, sample_weight=weights, labels=names)
    out["brier"] = metrics.brier_score_loss(
        actual, p, sample_weight=weights, labels=names, **({"pos_label": names[1]} if binary else {})
    )
    if binary:
        positive = (actual == names[1]).astype(float)
        out["calibration"] = calibration(p[:, 1], positive, weights)
        if 0 < positive.sum() < len(positive):
            out["auc"] = metrics.roc_auc_score(positive, p[:, 1], sample_weight=weights)
    else:
        column = {name: at for at, name in enumerate(names)}
        likeliest = p.argmax(axis=1)
        right = (likeliest == [column[name] for name in actual]).astype(float)
        out["calibration"] = calibration(p.max(axis=1), right, weights)
    return out


def numbers(case):
    predicted, actual = np.array(case["predicted"]), np.array(case["actual"])
    weights = np.array(case["weights"])
    return {
        "mae": metrics.mean_absolute_error(actual, predicted, sample_weight=weights),
        "rmse": metrics.root_mean_squared_error(actual, predicted, sample_weight=weights),
        "bias": np.average(predicted - actual, weights=weights),
    }


def rewards(case):
    return {"reward": np.average(np.array(case["rewards"]), weights=np.array(case["weights"]))}


TASKS = {"classes": classes, "numbers": numbers, "rewards": rewards}
cases = json.load(sys.stdin)
json.dump([{k: float(v) for k, v in TASKS[case["task"]](case).items()} for case in cases], sys.stdout)
