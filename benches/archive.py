"""Asks an archive for the count and the mean score of each hour, with DuckDB and with PyArrow."""

import sys
import time

import duckdb
import pyarrow.dataset

folder = sys.argv[1]

started = time.time()
found = duckdb.sql(
    f"""SELECT version, hour, count(*), avg("o.score")
        FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = true) GROUP BY ALL"""
).fetchall()
rows = sum(hour[2] for hour in found)
print(f"DuckDB                  {len(found)} hours of {rows} rows in {time.time() - started:.2f} s")

started = time.time()
table = pyarrow.dataset.dataset(folder, partitioning="hive").to_table(["hour", "o.score"])
found = table.group_by("hour").aggregate([("o.score", "mean"), ("o.score", "count")])
took = time.time() - started
print(f"PyArrow                 {found.num_rows} hours of {table.num_rows} rows in {took:.2f} s")
