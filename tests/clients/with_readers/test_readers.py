"""Each example of `examples/predictions`, as it stands there, on a log of two models, one of them
with other columns in its second version."""

import datetime
import runpy
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway import REPOSITORY

EXAMPLES = REPOSITORY / "examples/predictions"
NOON = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.timezone.utc)
TIME = pa.timestamp("us", "UTC")


def words(values: list) -> pa.Array:
    return pa.array(values, pa.string()).dictionary_encode()


def write(folder: Path, columns: dict) -> None:
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "a.parquet", compression="zstd")


def predictions(root: Path, model: str, version: int, hour: int, own: dict) -> None:
    """Three rows, a second apart, of which the last failed."""
    times = [NOON + datetime.timedelta(hours=hour - 12, seconds=at) for at in range(3)]
    base = {
        "event_time": pa.array(times, TIME),
        "request_id": [f"{model}-{version}-{at}" for at in range(3)],
        "row": pa.array([0] * 3, pa.int32()),
        "epoch": pa.array([2**64 - 1] * 3, pa.uint64()),
        "variant": words(["champion", "champion", None]),
        "role": words(["primary"] * 3),
        "code": words(["ok", "ok", "internal"]),
    }
    folder = f"parquet/predictions/model={model}/version={version}/date=2026-11-21/hour={hour:02}"
    write(root / folder, base | own)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "modelgate-data/predictions"
    single = {"f.amount": pa.array([1, 2, None], pa.float32()), "o.score": pa.array([0.25, 0.75, None], pa.float32())}
    predictions(root, "fraud", 1, 12, single)
    double = {"f.amount": pa.array([3, 4, None], pa.float64()), "o.score": pa.array([0.5, 0.5, None], pa.float32())}
    predictions(root, "fraud", 2, 13, double | {"f.country": pa.array(["ch", "de", None])})
    predictions(root, "churn", 1, 12, {"f.age": pa.array([30, 40, None]), "o.p": [[0.1, 0.9], [0.2, 0.8], None]})
    labels = [("fraud-1-0", "good", 0), ("fraud-1-0", "bad", 9), ("fraud-2-1", "good", 0), ("fraud-2-2", "good", 0)]
    columns = {
        "request_id": [label[0] for label in labels],
        "row": pa.array([0] * 4, pa.int32()),
        "class": [label[1] for label in labels],
        "label_time": pa.array([NOON + datetime.timedelta(seconds=label[2]) for label in labels], TIME),
    }
    write(root / "parquet/labels/date=2026-11-21/hour=12", columns)
    monkeypatch.chdir(tmp_path)


def sql(name: str) -> list[tuple]:
    return duckdb.sql((EXAMPLES / name).read_text()).fetchall()


def test_duckdb_reads_all_models(log: None) -> None:
    assert sql("rows.sql") == [
        ("churn", 1, "champion", "ok", 2, None),
        ("churn", 1, None, "internal", 1, None),
        ("fraud", 1, "champion", "ok", 2, 0.5),
        ("fraud", 1, None, "internal", 1, None),
        ("fraud", 2, "champion", "ok", 2, 0.5),
        ("fraud", 2, None, "internal", 1, None),
    ]


def test_duckdb_joins_the_newest_labels(log: None) -> None:
    assert sql("labels.sql") == [("fraud-1-0", 0, 1.0, 0.25, "bad"), ("fraud-2-1", 0, 4.0, 0.5, "good")]


def test_pandas_has_the_columns_of_all_versions(log: None) -> None:
    frame = runpy.run_path(str(EXAMPLES / "with_pandas.py"))["frame"].sort_values("event_time")
    assert list(frame["version"]) == [1, 1, 1, 2, 2, 2]
    assert list(frame["f.amount"].dropna()) == [1, 2, 3, 4]
    assert list(frame["f.country"].dropna()) == ["ch", "de"]
    assert set(frame["epoch"]) == {2**64 - 1}


def test_polars_has_the_columns_of_all_versions(log: None) -> None:
    frame = runpy.run_path(str(EXAMPLES / "with_polars.py"))["frame"].sort("event_time")
    assert frame["version"].to_list() == [1, 1, 2, 2]
    assert frame["f.amount"].to_list() == [1, 2, 3, 4]
    assert frame["f.country"].to_list() == [None, None, "ch", "de"]
