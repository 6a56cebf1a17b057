"""Trains a model of loans on a table, and writes it with what its profile is built from.

    python demo/train.py --data rows.parquet --into FOLDER

Writes `model.onnx`, and `holdout.parquet`: rows that the model never saw, with its scores of them
and the truth. Scores of rows that a model was trained on are too sure of themselves.
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from loans import NUMBERS, PURPOSE, TRUTH

OPSET = {"": 18, "ai.onnx.ml": 3}
HOLDOUT = 0.4


def train(data: pd.DataFrame, into: Path, weights: np.ndarray | None = None) -> float:
    """Returns the accuracy on the rows that were held out, which are every few of all: the order
    of `data` is that of time, and the profile is to see all of it."""
    held = np.arange(len(data)) % 10 < 10 * HOLDOUT
    seen, holdout = data[~held], data[held].reset_index(drop=True)
    inputs = [*NUMBERS, PURPOSE]
    columns = ColumnTransformer(
        [("purpose", OneHotEncoder(handle_unknown="ignore"), [PURPOSE])], remainder="passthrough"
    )
    trees = GradientBoostingClassifier(n_estimators=60, max_depth=3, random_state=1)
    model = make_pipeline(columns, trees)
    fit = {} if weights is None else {"gradientboostingclassifier__sample_weight": weights[~held]}
    model.fit(seen[inputs], seen[TRUTH], **fit)

    types = [(name, FloatTensorType([None, 1])) for name in NUMBERS]
    types.append((PURPOSE, StringTensorType([None, 1])))
    options = {id(model): {"zipmap": False}}
    exported = to_onnx(model, initial_types=types, target_opset=OPSET, options=options)
    into.mkdir(parents=True, exist_ok=True)
    (into / "model.onnx").write_bytes(exported.SerializeToString())

    session = onnxruntime.InferenceSession(into / "model.onnx", providers=["CPUExecutionProvider"])
    feed = {name: holdout[[name]].to_numpy(np.float32) for name in NUMBERS}
    feed[PURPOSE] = holdout[[PURPOSE]].to_numpy(object)
    classes, scores = session.run(None, feed)
    holdout["score"] = scores[:, 1]
    holdout["predicted"] = classes
    holdout.to_parquet(into / "holdout.parquet")
    return float((classes == holdout[TRUTH]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--into", type=Path, required=True)
    arguments = parser.parse_args()
    accuracy = train(pd.read_parquet(arguments.data), arguments.into)
    print(f"accuracy on rows that were held out: {accuracy:.3f}")


if __name__ == "__main__":
    main()
