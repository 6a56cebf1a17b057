//! Times as RFC 3339 writes them. Pure.

/// Microseconds since 1970; `None` for what is no time. Digits beyond
/// microseconds are left out, and a leap second is the second before it.
pub fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let digits = |from: usize, count: usize| -> Option<i64> {
        let part = bytes.get(from..from + count)?;
        let is_number = part.iter().all(u8::is_ascii_digit);
        is_number.then(|| part.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
    };
    let is = |at: usize, expected: &[u8]| bytes.get(at).is_some_and(|byte| expected.contains(byte));
    let marks = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let (year, month, day) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
    let (hour, minute, second) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    let fits = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !(marks && fits && hour < 24 && minute < 60 && second <= 60) {
        return None;
    }
    let mut at = 19;
    let mut micros = 0;
    if is(at, b".") {
        let fraction = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let kept = fraction.min(6);
        micros = digits(at + 1, kept)? * 10_i64.pow(6 - kept as u32);
        at += 1 + fraction;
        if fraction == 0 {
            return None;
        }
    }
    let offset = match bytes.get(at..)? {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (digits(at + 1, 2)?, digits(at + 4, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let of_day = hour * 3600 + minute * 60 + second.min(59);
    let seconds = days_since_1970(year, month, day) * 86_400 + of_day - offset;
    Some(seconds * 1_000_000 + micros)
}

fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the Gregorian calendar: whole years, then whole months.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let leaps =
        |before: i64| before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    years + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1_000_000),
            ("2000-02-29T12:00:00Z", 951_825_600_000_000),
            ("2026-11-21T13:30:05.25+01:30", 1_795_262_405_250_000),
            ("2026-11-21t12:00:05.1234567z", 1_795_262_405_123_456),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
            ("9999-12-31T23:59:60-23:59", 253_402_387_139_000_000),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-11-21",
            "2026-11-21T12:00:00",
            "2026-11-21T12:00:00.Z",
            "2026-11-21T24:00:00Z",
            "2026-02-29T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-11-21T12:00:00+1:00",
            "2026-11-21T12:00:00+24:00",
            "2026-11-21T12:00:00Zx",
            "+026-11-21T12:00:00Z",
            "2026-11-21T12:00:0ßZ",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
