//! In which folder a row belongs: Hive-style, by model, version, date and hour of UTC.

use std::fmt::Write as _;

use crate::types::{ModelName, civil};

/// The model of records that have none, or none that can be a folder's name.
pub const UNKNOWN: &str = "_unknown";

const HOUR_US: i64 = 3_600_000_000;

/// Whole hours since 1970, of microseconds since then.
pub fn hour_of(time: i64) -> i64 {
    time.div_euclid(HOUR_US)
}

/// The folder of predictions, below the log's.
pub fn predictions(model: &str, version: u64, hour: i64) -> String {
    let is_name = ModelName::parse(model).is_ok();
    let model = if is_name { model } else { UNKNOWN };
    let mut path = format!("parquet/predictions/model={model}/version={version}");
    push_hour(&mut path, hour);
    path
}

/// The folder of labels, below the log's.
pub fn labels(hour: i64) -> String {
    let mut path = "parquet/labels".to_owned();
    push_hour(&mut path, hour);
    path
}

pub fn is_label(path: &str) -> bool {
    path.starts_with("parquet/labels/")
}

fn push_hour(path: &mut String, hour: i64) {
    let (year, month, day) = civil(hour.div_euclid(24));
    let hour = hour.rem_euclid(24);
    // Writing to a text cannot fail.
    let _ = write!(path, "/date={year:04}-{month:02}-{day:02}/hour={hour:02}");
}

/// The hour that a path below the log's folder is of.
pub fn hour_in(path: &str) -> Option<i64> {
    let part = |name: &str| path.split('/').find_map(|part| part.strip_prefix(name));
    let mut date = part("date=")?.rsplitn(3, '-');
    let day: i64 = date.next()?.parse().ok()?;
    let month: i64 = date.next()?.parse().ok()?;
    let year: i64 = date.next()?.parse().ok()?;
    let hour: i64 = part("hour=")?.parse().ok()?;
    Some(days(year, month, day) * 24 + hour)
}

/// The inverse of [`civil`] (Hinnant's `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_say_the_hour_and_give_it_back() {
        for (time, expected) in [
            (0, "date=1970-01-01/hour=00"),
            (-1, "date=1969-12-31/hour=23"),
            (951_782_400_000_000, "date=2000-02-29/hour=00"),
            (1_793_285_999_999_999, "date=2026-10-29/hour=14"),
        ] {
            assert_eq!(labels(hour_of(time)), format!("parquet/labels/{expected}"));
        }
        for hour in (-500_000..2_000_000).step_by(977) {
            assert_eq!(hour_in(&labels(hour)), Some(hour));
            assert_eq!(hour_in(&format!("{}/a.parquet", predictions("m", 1, hour))), Some(hour));
        }
    }

    #[test]
    fn a_name_cannot_leave_its_folder() {
        for name in ["", "..", "../x", "a/b", "a=b"] {
            assert!(predictions(name, 0, 0).starts_with("parquet/predictions/model=_unknown/"));
        }
        assert_eq!(hour_in("parquet/labels/hour=01"), None);
    }
}
