//! How many requests one day may see, of all models together. Pure.

use serde::{Deserialize, Serialize};

const DAY_US: i64 = 86_400_000_000;

/// What was spent of a day, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Days since 1970.
    day: i64,
    requests: u32,
}

impl Spent {
    /// What is left of `daily` at a moment.
    pub fn left(self, daily: u32, now: i64) -> u32 {
        // A clock that was set back gives nothing back.
        if now.div_euclid(DAY_US) > self.day { daily } else { daily.saturating_sub(self.requests) }
    }

    pub fn spend(&mut self, now: i64) {
        let day = now.div_euclid(DAY_US);
        if day > self.day {
            *self = Spent { day, requests: 0 };
        }
        self.requests = self.requests.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_its_own() {
        let mut spent = Spent::default();
        let noon = 20_000 * DAY_US + DAY_US / 2;
        assert_eq!(spent.left(2, noon), 2);
        spent.spend(noon);
        spent.spend(noon + 1);
        assert_eq!(spent.left(2, noon + 2), 0);
        assert_eq!(spent.left(1, noon + 2), 0);
        assert_eq!(spent.left(2, noon - DAY_US), 0, "yesterday again");
        assert_eq!(spent.left(2, noon + DAY_US), 2);
    }
}
