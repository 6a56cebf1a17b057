//! Hours of the week in which nothing is requested. Pure.

use serde::{Deserialize, Serialize};

const MINUTE_US: i64 = 60_000_000;
const DAY_MINUTES: i64 = 24 * 60;

/// Minutes of the day between which nothing is requested, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blackout {
    /// Days on which it begins; all where there are none.
    pub days: Vec<Day>,
    /// Minutes since midnight: the first of it, and the first after it. Where
    /// the end is not after the beginning, it ends on the next day.
    pub from: i64,
    pub until: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    Sun,
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
}

impl Blackout {
    /// Whether it covers a moment, in microseconds since 1970.
    pub fn covers(&self, now: i64) -> bool {
        let minutes = now.div_euclid(MINUTE_US);
        let (day, minute) = (minutes.div_euclid(DAY_MINUTES), minutes.rem_euclid(DAY_MINUTES));
        if self.from < self.until {
            return self.begins_on(day) && (self.from..self.until).contains(&minute);
        }
        self.begins_on(day) && minute >= self.from || self.begins_on(day - 1) && minute < self.until
    }

    /// `day` counts from 1970-01-01, which was a Thursday.
    fn begins_on(&self, day: i64) -> bool {
        let of_week = (day + Day::Thu as i64).rem_euclid(7);
        self.days.is_empty() || self.days.iter().any(|day| *day as i64 == of_week)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sunday 2026-11-22, and a time of that day or of one after it.
    fn at(day: i64, hour: i64, minute: i64) -> i64 {
        (20_779 + day) * DAY_MINUTES * MINUTE_US + (hour * 60 + minute) * MINUTE_US
    }

    #[test]
    fn hours_are_covered_from_their_first_minute_to_their_last() {
        let nine_to_five = Blackout { days: vec![], from: 9 * 60, until: 17 * 60 };
        for (hour, minute, expected) in
            [(8, 59, false), (9, 0, true), (16, 59, true), (17, 0, false), (0, 0, false)]
        {
            assert_eq!(nine_to_five.covers(at(3, hour, minute)), expected, "{hour}:{minute}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_it_begins_on() {
        let sunday = Blackout { days: vec![Day::Sun], from: 22 * 60, until: 6 * 60 };
        for (day, hour, expected) in [
            (0, 5, false),
            (0, 21, false),
            (0, 22, true),
            (1, 5, true),
            (1, 6, false),
            (1, 22, false),
            (7, 23, true),
        ] {
            assert_eq!(sunday.covers(at(day, hour, 0)), expected, "day {day}, {hour}:00");
        }
    }

    #[test]
    fn the_same_time_twice_is_a_whole_day() {
        let monday = Blackout { days: vec![Day::Mon], from: 0, until: 0 };
        assert!(!monday.covers(at(0, 23, 59)) && monday.covers(at(1, 0, 0)));
        assert!(monday.covers(at(1, 23, 59)) && !monday.covers(at(2, 0, 0)));
    }
}
