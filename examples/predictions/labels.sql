-- DuckDB: predictions of one model beside the newest label of each.
SELECT p.request_id, p."row", p."f.amount", p."o.score", l.class
FROM read_parquet('modelgate-data/predictions/parquet/predictions/model=fraud/**/*.parquet',
                  hive_partitioning = true, union_by_name = true) AS p
JOIN (
    SELECT request_id, "row", arg_max(class, label_time) AS class
    FROM read_parquet('modelgate-data/predictions/parquet/labels/**/*.parquet')
    GROUP BY ALL
) AS l USING (request_id, "row")
WHERE p.code = 'ok' AND p.role <> 'shadow'
ORDER BY p.event_time;
