//! Rewards: how good answers turned out to be, on a scale of the callers'.

use super::intervals::Estimate;
use super::moments::Moments;
use super::window::Merge;

/// Sums of rewards. Mergeable.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rewards {
    pub rows: f64,
    pub rewards: Moments,
    /// Weighted sums of the rewards above 0, and of those below without their sign.
    pub gained: f64,
    pub lost: f64,
}

impl Rewards {
    /// Enters a reward; with a `sign` of -1 takes it out again.
    pub fn add(&mut self, reward: f64, weight: f64, sign: f64) {
        self.rows += sign;
        self.rewards.add(reward, weight, sign);
        self.gained += sign * weight * reward.max(0.0);
        self.lost += sign * weight * (-reward).max(0.0);
    }

    /// The weighted mean.
    pub fn mean(&self) -> Option<Estimate> {
        self.rewards.estimate()
    }
}

impl Merge for Rewards {
    fn merge(&mut self, other: &Rewards) {
        self.rows += other.rows;
        self.rewards.merge(&other.rewards);
        self.gained += other.gained;
        self.lost += other.lost;
    }
}
