"""Polars: one model, all columns that any of its versions has."""

from pathlib import Path

import polars

folder = Path("modelgate-data/predictions/parquet/predictions/model=fraud")
files = [polars.scan_parquet(file, hive_partitioning=True) for file in sorted(folder.rglob("*.parquet"))]
frame = polars.concat(files, how="diagonal_relaxed").filter(polars.col("code") == "ok").collect()
