"""Reads an archive of the prediction log with PyArrow, pandas, DuckDB and Polars, and compares
types and values with `expected.json` beside it, which says what was recorded."""

import datetime
import json
import math
import sys
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow.dataset
import pyarrow.parquet

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)

# Columns that all predictions have; `model` and `version` are in the path.
BASE = {
    "event_time": "timestamp[us, tz=UTC]",
    "recorded_time": "timestamp[us, tz=UTC]",
    "request_id": "string",
    "row": "int32",
    "epoch": "uint64",
    "shard": "uint32",
    "sequence": "uint64",
    "trace_id": "string",
    "span_id": "string",
    "route": "words",
    "route_revision": "uint64",
    "variant": "words",
    "role": "words",
    "assignment": "words",
    "propensity": "float",
    "salt": "words",
    "bucket": "int32",
    "unit_hash": "string",
    "unit_key": "string",
    "principal": "words",
    "model_sha256": "words",
    "profile": "words",
    "gateway_version": "words",
    "provider": "words",
    "protocol": "words",
    "code": "words",
    "reason": "words",
    "batch_rows": "uint32",
    "rows": "uint32",
    "queue_us": "uint32",
    "infer_us": "uint32",
    "total_us": "uint32",
    "sampling_fraction": "float",
    "schema_id": "words",
}
LABELS = {
    "request_id": "string",
    "row": "int32",
    "label_time": "timestamp[us, tz=UTC]",
    "recorded_time": "timestamp[us, tz=UTC]",
    "kind": "words",
    "class": "string",
    "value": "double",
    "weight": "double",
    "model": "words",
    "epoch": "uint64",
    "shard": "uint32",
    "sequence": "uint64",
}


def plain(value):
    """What a reader gave, as JSON has it."""
    if value is None or value is pandas.NA or value is pandas.NaT:
        return None
    if isinstance(value, bool | str):
        return value
    if isinstance(value, datetime.datetime):
        value = value.astimezone(datetime.timezone.utc) - EPOCH
        return value // datetime.timedelta(microseconds=1)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def type_name(data_type):
    if pyarrow.types.is_dictionary(data_type):
        return "words"
    if pyarrow.types.is_list(data_type):
        return f"list<{data_type.value_type}>"
    return str(data_type)


def with_pyarrow(path):
    return pyarrow.parquet.ParquetFile(path).read().to_pylist()


def with_pandas(path):
    frame = pandas.read_parquet(path, dtype_backend="pyarrow", partitioning=None)
    columns = {name: list(frame[name]) for name in frame.columns}
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def with_duckdb(path):
    duckdb.sql("SET TimeZone = 'UTC'")
    found = duckdb.sql(f"SELECT * FROM read_parquet('{path}', hive_partitioning = false)")
    return [dict(zip(found.columns, row)) for row in found.fetchall()]


def with_polars(path):
    return polars.read_parquet(path, hive_partitioning=False).to_dicts()


READERS = [with_pyarrow, with_pandas, with_duckdb, with_polars]


def check_file(path, base, types, expected):
    """Types by PyArrow, values by every reader; gives the keys of its rows."""
    fields = pyarrow.parquet.ParquetFile(path).schema_arrow
    digests = ("digest", "min", "max", "mean", "std", "non_finite", "shape")
    for field in fields:
        wanted = {**base, **types}.get(field.name)
        if wanted is None:
            assert field.name.rsplit(".", 1)[-1] in digests, f"{path}: {field.name}"
        else:
            assert type_name(field.type) == wanted, f"{path}: {field.name}: {field.type}"
    names = set(fields.names)
    keys = []
    for reader in READERS:
        rows = reader(path)
        keys = []
        for row in rows:
            key = f"{row['shard']}/{row['sequence']}/{row['row']}"
            keys.append(key)
            wanted = expected[key]
            assert not set(wanted) - names, f"{path}: no column {set(wanted) - names}"
            for name in names - {"shard", "sequence", "row"}:
                # What no record of this row tells is null.
                found, right = plain(row[name]), wanted.get(name)
                assert found == right, f"{reader.__name__}: {key} {name}: {found!r}, not {right!r}"
    return keys


def main(root):
    expected = json.loads((root / "expected.json").read_text())
    values = 0
    for model, of in expected["models"].items():
        keys = []
        for path in sorted((root / f"parquet/predictions/model={model}").rglob("*.parquet")):
            types = of["types"] if "modelgate.schema" in notes(path) else {}
            keys += check_file(path, BASE, types, of["rows"])
            values += pyarrow.parquet.ParquetFile(path).metadata.num_columns * len(keys)
        assert sorted(keys) == sorted(of["rows"]), model
    keys = []
    for path in (root / "parquet/labels").rglob("*.parquet"):
        keys += check_file(path, LABELS, {}, expected["labels"])
    assert sorted(keys) == sorted(expected["labels"])
    check_folder(root, expected)
    print(f"{values} values as recorded, by each of {len(READERS)} readers")


def notes(path):
    return {key.decode() for key in pyarrow.parquet.ParquetFile(path).metadata.metadata or {}}


def check_folder(root, expected):
    """All files at once, as people read them: the path tells model, version, date and hour."""
    folder = root / "parquet/predictions"
    rows = sum(len(of["rows"]) for of in expected["models"].values())
    by_model = {model: len(of["rows"]) for model, of in expected["models"].items()}
    frame = pandas.read_parquet(folder, columns=["request_id", "model", "version", "date", "hour"])
    assert len(frame) == rows
    assert {str(key): count for key, count in frame["model"].value_counts().items()} == by_model
    table = pyarrow.dataset.dataset(folder, partitioning="hive").to_table(["code", "version"])
    assert table.num_rows == rows
    found = duckdb.sql(
        f"SELECT model, count(*) FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = true,"
        " union_by_name = true) WHERE date = DATE '2026-01-01' AND hour >= '03' GROUP BY model"
    )
    assert dict(found.fetchall()) == by_model
    lazy = polars.scan_parquet(
        folder / "**/*.parquet", hive_partitioning=True, missing_columns="insert",
        extra_columns="ignore",
    )
    assert lazy.select(polars.len()).collect().item() == rows


main(Path(sys.argv[1]))
