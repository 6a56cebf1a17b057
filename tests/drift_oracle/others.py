"""Writes what alibi-detect or NannyML says of the counts in `car_loan.json`, one file for each.

    pip install alibi-detect==0.13.0
    python others.py alibi
    pip install nannyml==0.13.1 'pandas<2.3' 'numpy<2' statsmodels scikit-learn==1.6.1 \
        'category-encoders<2.7'
    NML_DISABLE_USAGE_LOGGING=1 python others.py nannyml

Two environments: they want other versions of the same packages.
"""

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
# Chunks of 500 rows that are put together, and so many windows of them from each half.
CHUNKS = 4
WINDOWS = 2


def rows(counts):
    """A sample that has these counts: the number of each row's bin."""
    return np.repeat(np.arange(len(counts)), counts)


def alibi(reference, live):
    from alibi_detect.cd import ChiSquareDrift

    test = ChiSquareDrift(rows(reference).reshape(-1, 1), p_val=0.05)
    found = test.predict(rows(live).reshape(-1, 1))["data"]
    return {"chi2": float(found["distance"][0]), "p": float(found["p_val"][0])}


def nannyml(reference, live):
    import pandas as pd
    from nannyml.chunk import SizeBasedChunker
    from nannyml.drift.univariate.methods import CategoricalJensenShannonDistance
    from nannyml.thresholds import ConstantThreshold

    def texts(counts):
        return pd.Series(rows(counts).astype(str), name="bin")

    chunker = SizeBasedChunker(chunk_size=len(rows(live)))
    distance = CategoricalJensenShannonDistance(
        chunker=chunker, threshold=ConstantThreshold(), computation_params={}
    )
    distance.fit(texts(reference))
    return {"js_distance": float(distance.calculate(texts(live)))}


def main():
    tool = {"alibi": alibi, "nannyml": nannyml}[sys.argv[1]]
    found = []
    for column in json.loads((HERE / "car_loan.json").read_text()):
        document = column["column"]
        reference = document["counts"] + ([document["other"]] if "other" in document else [])
        half = len(column["chunks"]) // 2
        for first in [start + CHUNKS * at for start in (0, half) for at in range(WINDOWS)]:
            chunks = column["chunks"][first : first + CHUNKS]
            live = [sum(counts) for counts in zip(*chunks, strict=True)]
            case = {"reference": reference, "live": live}
            found.append(case | tool(reference, live))
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in found)
    (HERE / f"{sys.argv[1]}.json").write_text(f"[{lines}]\n")


main()
