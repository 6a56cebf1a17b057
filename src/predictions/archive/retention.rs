//! Which files are to go.

use std::collections::BTreeMap;
use std::time::Duration;

use super::books::Stored;
use crate::predictions::account::ChangeCause;

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Hours of rows that ended before this long ago go. `None` is for ever.
    pub age: Option<Duration>,
    /// Bytes of Parquet and of sealed segments together. `None` is any.
    pub bytes: Option<u64>,
}

/// What is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Going {
    /// Oldest first.
    pub files: Vec<(String, ChangeCause)>,
    /// Bytes of sealed segments that have to go as well.
    pub sealed: u64,
}

/// Decides by the files, the bytes of sealed segments, and the microseconds
/// since 1970. `shipped` says up to which place in `archive.jsonl` an object
/// store has what is told there; `None` where there is no store.
///
/// For its age nothing goes that the store does not have yet. For the bytes
/// everything may, what the store has first, and segments last.
pub fn going(
    files: &BTreeMap<String, Stored>,
    sealed: u64,
    now: i64,
    keep: &Keep,
    shipped: Option<u64>,
) -> Going {
    let is_shipped = |file: &Stored| shipped.is_none_or(|shipped| file.told <= shipped);
    let mut by_age: Vec<(&String, &Stored)> = files.iter().collect();
    by_age.sort_by_key(|(path, file)| (file.hour, *path));
    let mut going = Going::default();
    if let Some(age) = keep.age {
        let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let oldest = super::partition::hour_of(now.saturating_sub(age));
        by_age.retain(|(path, file)| {
            let goes = file.hour < oldest && is_shipped(file);
            if goes {
                going.files.push(((*path).clone(), ChangeCause::Age));
            }
            !goes
        });
    }
    if let Some(most) = keep.bytes {
        let mut total = by_age.iter().map(|(_, file)| file.bytes).sum::<u64>() + sealed;
        by_age.sort_by_key(|(_, file)| !is_shipped(file));
        for (path, file) in by_age {
            if total <= most {
                break;
            }
            total -= file.bytes;
            going.files.push((path.clone(), ChangeCause::Size));
        }
        going.sealed = total.saturating_sub(most);
    }
    going
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn files() -> BTreeMap<String, Stored> {
        let file =
            |path: &str, hour, told| (path.to_owned(), Stored { rows: 1, bytes: 100, hour, told });
        BTreeMap::from([file("c", 5, 10), file("a", 6, 20), file("b", 9, 30)])
    }

    #[test]
    fn the_oldest_go_first_and_nothing_unshipped_for_its_age() {
        let age = Some(Duration::from_secs(2 * 3600));
        let hours = |hours: i64| hours * HOUR;
        for (now, keep, sealed, shipped, expected, expected_sealed) in [
            (hours(8), Keep { age, bytes: None }, 0, None, "c:Age", 0),
            (hours(9) - 1, Keep { age, bytes: None }, 0, None, "c:Age", 0),
            (hours(9), Keep { age, bytes: None }, 0, None, "c:Age a:Age", 0),
            (hours(99), Keep { age, bytes: None }, 0, Some(10), "c:Age", 0),
            (hours(99), Keep { age, bytes: None }, 0, Some(0), "", 0),
            (hours(0), Keep { age: None, bytes: Some(250) }, 0, None, "c:Size", 0),
            (hours(0), Keep { age: None, bytes: Some(300) }, 0, None, "", 0),
            (hours(0), Keep { age: None, bytes: Some(300) }, 1, Some(0), "c:Size", 0),
            (hours(8), Keep { age, bytes: Some(100) }, 0, None, "c:Age a:Size", 0),
            (hours(0), Keep { age: None, bytes: Some(50) }, 70, None, "c:Size a:Size b:Size", 20),
        ] {
            let going = going(&files(), sealed, now, &keep, shipped);
            let names: Vec<_> =
                going.files.iter().map(|(path, cause)| format!("{path}:{cause:?}")).collect();
            assert_eq!(names.join(" "), expected, "{now} {keep:?} {sealed} {shipped:?}");
            assert_eq!(going.sealed, expected_sealed);
        }
    }

    /// What the store has goes before what it does not have.
    #[test]
    fn space_is_made_of_what_is_shipped() {
        let mut files = files();
        if let Some(file) = files.get_mut("c") {
            file.told = 40;
        }
        let keep = Keep { age: None, bytes: Some(250) };
        let going = going(&files, 0, 0, &keep, Some(30));
        assert_eq!(going.files, [("a".to_owned(), ChangeCause::Size)]);
    }
}
