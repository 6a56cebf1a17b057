-- DuckDB: all models in one table, whatever columns each has.
SELECT model, version, variant, code, count(*) AS rows, avg("o.score") AS score
FROM read_parquet('modelgate-data/predictions/parquet/predictions/**/*.parquet',
                  hive_partitioning = true, union_by_name = true)
WHERE date >= '2026-11-01' AND role <> 'shadow'
GROUP BY ALL
ORDER BY ALL;
