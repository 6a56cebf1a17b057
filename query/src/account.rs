//! What the log knows to be missing: gaps in the accounts of segments.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde::Deserialize;

use crate::QueryError;
use crate::filters::{Filters, MICROS_PER_DAY};

/// A line of `archive.jsonl`, as far as it matters here.
#[derive(Deserialize)]
struct Segment {
    shard: u32,
    epoch: u64,
    first: u64,
    /// First number, how many, and why.
    gaps: Vec<(u64, u64, String)>,
    files: Vec<ArchivedFile>,
}

#[derive(Deserialize)]
struct ArchivedFile {
    path: String,
}

/// Sequence numbers without a record, by cause, of segments that have records
/// of the days asked for, or of no day at all. Each may have been of any model.
///
/// # Errors
/// Where the accounts cannot be read. Lines that are none are passed over.
pub fn gaps(log: &Path, filters: &Filters) -> Result<BTreeMap<String, u64>, QueryError> {
    let path = log.join("archive.jsonl");
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let failed =
        |error: std::io::Error| QueryError::Read { path: path.clone(), reason: error.to_string() };
    // A line that was written again, as after a crash, tells the same.
    let mut segments = BTreeMap::new();
    for line in BufReader::new(File::open(&path).map_err(failed)?).lines() {
        if let Ok(segment) = serde_json::from_str::<Segment>(&line.map_err(failed)?) {
            segments.insert((segment.shard, segment.epoch, segment.first), segment);
        }
    }
    let mut causes = BTreeMap::new();
    for segment in segments.into_values().filter(|segment| is_asked_for(segment, filters)) {
        for (_, count, cause) in segment.gaps {
            *causes.entry(cause).or_default() += count;
        }
    }
    Ok(causes)
}

fn is_asked_for(segment: &Segment, filters: &Filters) -> bool {
    let mut days = segment.files.iter().filter_map(|file| day(&file.path)).peekable();
    let fits = |day: i64| {
        filters.since.is_none_or(|since| day >= since.div_euclid(MICROS_PER_DAY))
            && filters.until.is_none_or(|until| day <= until.div_euclid(MICROS_PER_DAY))
    };
    days.peek().is_none() || days.any(fits)
}

/// The day of a file's predictions, counted from 1970, by its folder.
fn day(path: &str) -> Option<i64> {
    let date = path.split('/').find_map(|part| part.strip_prefix("date="))?;
    Some(crate::filters::time_from(date, 0)? / MICROS_PER_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_those_of_the_days_asked_for() {
        let log = tempfile::tempdir().expect("a folder");
        let line = |first: u64, file: &str| {
            format!(
                r#"{{"shard":0,"epoch":1,"first":{first},"next":9,"gaps":[[2,3,"refused"]],
                "files":[{{"path":"parquet/predictions/model=m/version=1/{file}/x.parquet"}}]}}"#
            )
            .replace('\n', " ")
        };
        let (one, other) = (line(0, "date=2026-11-20"), line(9, "date=2026-11-21"));
        let lines = format!("{one}\n{one}\nnoise\n{other}\n");
        std::fs::write(log.path().join("archive.jsonl"), lines).expect("written");
        let count = |since: Option<&str>| {
            let since = since.map(|text| crate::filters::time_from(text, 0).expect("a time"));
            let filters = Filters { since, ..Filters::default() };
            gaps(log.path(), &filters).expect("read").get("refused").copied()
        };
        assert_eq!(count(None), Some(6));
        assert_eq!(count(Some("2026-11-21T12:00:00Z")), Some(3));
        assert_eq!(count(Some("2026-11-22")), None);
    }
}
