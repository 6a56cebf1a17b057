"""Compares pairs of tensors with numpy, as src/shadow/compare does in Rust.

Reads a JSON list of cases from standard input, writes a list of figures to
standard output. Data is the packed little-endian form, in hexadecimal.
"""

import json
import sys

import numpy as np

DTYPES = {
    "BOOL": "?", "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}
FLOATS = {"FP16", "BF16", "FP32", "FP64"}


def read(case, side):
    data = bytes.fromhex(case[side])
    if case["datatype"] == "BF16":
        wide = np.frombuffer(data, "<u2").astype("<u4") << 16
        array = wide.view("<f4")
    else:
        array = np.frombuffer(data, DTYPES[case["datatype"]])
    return array.reshape(case["shape"])


def differences(case, primary, shadow):
    """Absolute and relative differences of all elements, flat."""
    if case["datatype"] in FLOATS:
        p, s = primary.astype("f8").ravel(), shadow.astype("f8").ravel()
        same = (p == s) | (np.isnan(p) & np.isnan(s))
        absolute = np.where(same, 0.0, np.abs(s - p))
    else:
        # Python's integers, which are exact.
        pairs = zip(primary.ravel().tolist(), shadow.ravel().tolist())
        absolute = np.array([float(abs(int(s) - int(p))) for p, s in pairs], "f8")
        p = primary.astype("f8").ravel()
    absolute[np.isnan(absolute)] = np.inf
    relative = np.where(absolute == 0, 0.0, absolute / np.abs(p))
    relative[np.isnan(relative)] = np.inf
    return absolute, relative


def best(scores):
    """Classes of each row, the best first; NaN is worse than any."""
    return np.argsort(-scores, axis=1, kind="stable")


def compare(case):
    primary, shadow = read(case, "primary"), read(case, "shadow")
    absolute, relative = differences(case, primary, shadow)
    figures = {
        "agrees": None,
        "overlap": None,
        "max_absolute": absolute.max(initial=0.0),
        "mean_absolute": absolute.mean() if absolute.size else 0.0,
        "max_relative": relative.max(initial=0.0),
    }
    is_float = case["datatype"] in FLOATS
    if case["kind"] == "classScores":
        classes = primary.shape[-1]
        p = primary.astype("f8").reshape(-1, classes)
        s = shadow.astype("f8").reshape(-1, classes)
        order_p, order_s = best(p), best(s)
        none_p, none_s = np.isnan(p).all(axis=1), np.isnan(s).all(axis=1)
        same = (order_p[:, 0] == order_s[:, 0]) & (none_p == none_s)
        figures["agrees"] = bool(same.all())
        k = min(case["top_k"], classes)
        if k and len(p):
            overlaps = [
                len(np.intersect1d(a[:k], b[:k])) / k for a, b in zip(order_p, order_s)
            ]
            figures["overlap"] = float(np.mean(overlaps))
    elif is_float or case["kind"] == "regression":
        close = np.isclose(
            shadow.astype("f8"), primary.astype("f8"),
            rtol=case["rtol"], atol=case["atol"], equal_nan=True,
        )
        figures["agrees"] = bool(close.all())
    else:
        figures["agrees"] = bool(np.array_equal(primary, shadow))
    # JSON has no infinity.
    return {
        name: str(value) if isinstance(value, float) and np.isinf(value) else value
        for name, value in figures.items()
    }


def plain(value):
    return value.item() if isinstance(value, np.generic) else value


with np.errstate(all="ignore"):
    results = [compare(case) for case in json.load(sys.stdin)]
json.dump([{name: plain(value) for name, value in r.items()} for r in results], sys.stdout)
