//! Points in time, as people write and read them. Pure, but for [`parse`], which knows now.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::output;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Microseconds since 1970, of a time or of how long ago it was.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    before(text, i64::try_from(now).unwrap_or(i64::MAX)).ok_or_else(|| {
        "expected a time such as 2026-11-21 or 2026-11-21T12:00:00Z, or how long ago: 90s, 15m, \
         2h, 7d"
            .to_owned()
    })
}

/// `2026-11-21T12:38:09.123456Z`. Times before 1970 are shown as its beginning.
pub(super) fn show(at: i64) -> String {
    let at = u64::try_from(at).unwrap_or(0);
    let text = output::utc(at / 1000);
    format!("{}.{:06}Z", text.trim_end_matches('Z').replace(' ', "T"), at % 1_000_000)
}

fn before(text: &str, now: i64) -> Option<i64> {
    let unit = match text.bytes().last()? {
        b's' => SECOND,
        b'm' => MINUTE,
        b'h' => HOUR,
        b'd' => DAY,
        _ => return point(text),
    };
    let count: u32 = text[..text.len() - 1].parse().ok()?;
    Some(now.saturating_sub(unit * i64::from(count)))
}

/// A date, or a date and a time of UTC or of an offset.
pub(super) fn point(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let mut part = || parts.next();
    let [year, month, day] = [number(part()?, 4)?, number(part()?, 2)?, number(part()?, 2)?];
    let fits = (1..=12).contains(&month) && (1..=31).contains(&day);
    let start = days(year, month, day).checked_mul(DAY).filter(|_| fits)?;
    time.map_or(Some(0), of_day).map(|time| start + time)
}

/// `12:38`, `12:38:09` or `12:38:09.123456`, then nothing, `Z` or `+01:00`.
fn of_day(text: &str) -> Option<i64> {
    let zone = text.find(['Z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at(zone);
    let offset = match zone {
        "" | "Z" => 0,
        _ => {
            let (hours, minutes) = zone[1..].split_once(':')?;
            let offset = number(hours, 2)? * HOUR + number(minutes, 2)? * MINUTE;
            if zone.starts_with('-') { -offset } else { offset }
        }
    };
    let mut parts = clock.splitn(3, ':');
    let (hours, minutes) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let rest = parts.next().unwrap_or("00");
    let (seconds, digits) = rest.split_once('.').unwrap_or((rest, "0"));
    let (seconds, fraction) = (number(seconds, 2)?, number(&format!("{digits:0<6}"), 6)?);
    let fits = hours < 24 && minutes < 60 && seconds < 60;
    fits.then(|| hours * HOUR + minutes * MINUTE + seconds * SECOND + fraction - offset)
}

/// A number of exactly so many digits.
fn number(text: &str, digits: usize) -> Option<i64> {
    let right = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    right.then(|| text.parse().ok()).flatten()
}

/// Days from 1970-01-01 to a date. Years begin with March, so that a leap day
/// is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_points_or_how_long_ago() {
        let now = 1_795_264_689_000_000;
        for (text, expected) in [
            ("90s", Some(now - 90 * SECOND)),
            ("7d", Some(now - 7 * DAY)),
            ("1970-01-01", Some(0)),
            ("2000-02-29", Some(951_782_400 * SECOND)),
            ("2026-11-21T12:38:09Z", Some(now)),
            ("2026-11-21 12:38:09", Some(now)),
            ("2026-11-21T12:38", Some(now - 9 * SECOND)),
            ("2026-11-21T13:38:09+01:00", Some(now)),
            ("2026-11-21T06:38:09.25-06:00", Some(now + 250_000)),
            ("2026-11-21T25:00:00Z", None),
            ("2026-13-21", None),
            ("2026-11-21T12:38:09.1234567Z", None),
            ("2026-1-1", None),
            ("-5m", None),
            ("é", None),
            ("", None),
        ] {
            assert_eq!(before(text, now), expected, "{text}");
        }
        assert_eq!(show(now + 42), "2026-11-21T12:38:09.000042Z");
    }

    #[test]
    fn dates_are_the_inverse_of_how_they_are_shown() {
        for day in (0..60_000).step_by(17) {
            let text = show(day * DAY);
            assert_eq!(before(&text[..10], 0), Some(day * DAY), "{text}");
        }
    }
}
