"""What a real gateway recorded, read with each reader and compared with what was sent and answered."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars
import pyarrow.dataset as ds
import pytest
import tritonclient.http as client
import yaml

from gateway import Gateway
from models import folder, golden_inputs

MODEL, VERSION = "breast-cancer", "2"
REQUESTS = {"one": slice(0, 1), "two": slice(1, 3), "rest": slice(3, None)}
FEATURES = [f"f.{name}" for name in yaml.safe_load((folder(MODEL) / "model.yaml").read_text())["features"]["input"]]
# Far above what sealing and converting one segment takes.
ARCHIVE_SECONDS = 60


@dataclass(frozen=True)
class Recorded:
    """A folder of Parquet, and what it should hold: request ids, features and outputs by row."""

    folder: Path
    keys: list[tuple[str, int]]
    features: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray

    def assert_holds(self, rows: list[dict]) -> None:
        rows = sorted(rows, key=lambda row: self.keys.index((row["request_id"], row["row"])))
        assert [(row["request_id"], row["row"]) for row in rows] == self.keys
        for row in rows:
            assert (row["model"], int(row["version"]), row["code"]) == (MODEL, int(VERSION), "ok")
        # Not close but the same: what is recorded are the bytes that came and went.
        np.testing.assert_array_equal(np.array([[row[name] for name in FEATURES] for row in rows], np.float32), self.features)
        np.testing.assert_array_equal([row["o.label"] for row in rows], self.labels)
        probabilities = np.array([list(row["o.probabilities"]) for row in rows], np.float32)
        np.testing.assert_array_equal(probabilities, self.probabilities)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    root = tmp_path_factory.mktemp("recorded")
    shutil.copytree(folder(MODEL), root / "registry" / MODEL)
    config = root / "modelgate.yaml"
    config.write_text("predictions: {segment_age_ms: 200}\n")
    gateway = Gateway(root / "registry", root / "log", config)
    sent = golden_inputs(MODEL, VERSION)["input"]
    assert len(sent) > 3
    keys, answers = [], []
    try:
        asked = client.InferenceServerClient(gateway.http)
        for request, rows in REQUESTS.items():
            part = np.ascontiguousarray(sent[rows])
            tensor = client.InferInput("input", list(part.shape), "FP32").set_data_from_numpy(part)
            answers.append(asked.infer(MODEL, [tensor], model_version=VERSION, request_id=request))
            keys += [(request, at) for at in range(len(part))]
        asked.close()
        parquet = root / "log.data/predictions/parquet/predictions"
        wait_for(parquet, len(sent))
    finally:
        gateway.stop()
    labels, probabilities = (np.concatenate([answer.as_numpy(name) for answer in answers]) for name in ("label", "probabilities"))
    return Recorded(parquet, keys, sent, labels, probabilities)


def wait_for(parquet: Path, rows: int) -> None:
    deadline = time.monotonic() + ARCHIVE_SECONDS
    while time.monotonic() < deadline:
        files = list(parquet.rglob("*.parquet"))
        if files and ds.dataset(files).count_rows() == rows:
            return
        time.sleep(0.05)
    raise AssertionError(f"{rows} rows were not in Parquet after {ARCHIVE_SECONDS} s: {files}")


def test_duckdb(recorded: Recorded) -> None:
    files = f"{recorded.folder}/**/*.parquet"
    rows = duckdb.sql(f"SELECT * FROM read_parquet('{files}', hive_partitioning = true, union_by_name = true)")
    recorded.assert_holds([dict(zip(rows.columns, row)) for row in rows.fetchall()])


def test_pyarrow(recorded: Recorded) -> None:
    recorded.assert_holds(ds.dataset(recorded.folder, partitioning="hive").to_table().to_pylist())


def test_pandas(recorded: Recorded) -> None:
    recorded.assert_holds(pd.read_parquet(recorded.folder).to_dict("records"))


def test_polars(recorded: Recorded) -> None:
    files = sorted(recorded.folder.rglob("*.parquet"))
    frame = polars.concat([polars.scan_parquet(file, hive_partitioning=True) for file in files]).collect()
    recorded.assert_holds(frame.to_dicts())
