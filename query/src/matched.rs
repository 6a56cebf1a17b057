//! Predictions, each once, beside the newest label of each. SQL as text; pure.
//!
//! A label belongs to a row of a request, and where it names a model to that
//! model's predictions alone. A prediction whose segment was converted twice,
//! as after a crash, stands in two files under one key.

use crate::columns::quoted;

/// What a record and its row are known by, for ever.
pub const KEY: &str = r#"epoch, shard, sequence, "row""#;

/// Oldest first; requests of one moment in the order in which they were recorded.
pub const BY_TIME: &str = r#"event_time, epoch, shard, sequence, "row""#;

const IS_OF: &str = r#"l.request_id = p.request_id AND l."row" = p."row"
    AND (l.model IS NULL OR l.model = '' OR l.model = p.model)"#;

/// The columns `columns` of all predictions that `wanted` holds for, once each.
pub fn once(columns: &[String], wanted: &str) -> String {
    let columns = list("", columns);
    format!(
        r#"SELECT {columns} FROM (
            SELECT *, row_number() OVER (PARTITION BY {KEY} ORDER BY recorded_time) AS "__nth"
            FROM predictions WHERE {wanted}
        ) WHERE "__nth" = 1"#
    )
}

/// As [`once`], with `label_kind`, `label_class`, `label_value`, `label_weight`
/// and `label_time` of the label of the latest time, among those that `labels`
/// holds for; null where there is none.
pub fn with_labels(columns: &[String], wanted: &str, labels: &str) -> String {
    let (columns, all) = (list("", columns), list("p.", columns));
    format!(
        r#"SELECT {columns}, label_kind, label_class, label_value, label_weight, label_time FROM (
            SELECT {all}, l.kind AS label_kind, l.class AS label_class,
                l.value AS label_value, l.weight AS label_weight, l.label_time,
                row_number() OVER (
                    PARTITION BY p.epoch, p.shard, p.sequence, p."row"
                    ORDER BY l.label_time DESC NULLS LAST, l.recorded_time DESC NULLS LAST,
                        l.sequence DESC NULLS LAST
                ) AS "__nth"
            FROM (SELECT * FROM predictions WHERE {wanted}) p
            LEFT JOIN (SELECT * FROM labels WHERE {labels}) l ON {IS_OF}
        ) WHERE "__nth" = 1"#
    )
}

/// Labels of rows that `predictions` does not have.
pub fn unmatched(predictions: &str) -> String {
    format!("SELECT l.* FROM labels l LEFT ANTI JOIN {predictions} p ON {IS_OF}")
}

fn list(table: &str, columns: &[String]) -> String {
    let names = columns.iter().map(|name| format!("{table}{}", quoted(name)));
    names.collect::<Vec<_>>().join(", ")
}
