//! A version beside the champion: its rows counted into the bins of the
//! champion's profile, since versions may have profiles of their own, with bins
//! of their own.

use std::fmt;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;

use super::report::Comparison;
use super::room::{MAX_COMPARED, by_importance};
use super::tap::Tap;
use super::watch::{Role, Watch};
use crate::drift::fits::Misfit;
use crate::drift::profile::{Column, Profile};
use crate::types::{Signature, Version};

/// The champion that a version is compared with.
pub struct Against {
    pub champion: Version,
    pub(super) watch: Weak<Watch>,
    had_profile: bool,
    pub(super) counted: Option<Counted>,
}

/// What can be compared, and what was counted of it.
pub(super) struct Counted {
    /// The champion's profile, of the columns that are compared.
    pub(super) profile: Arc<Profile>,
    /// Their places in the champion's profile.
    pub(super) places: Vec<usize>,
    misfits: Vec<Misfit>,
    left_out: usize,
    pub(super) tap: Tap,
    /// By role: what the last look found.
    pub(super) comparisons: [ArcSwapOption<Comparison>; Role::ALL.len()],
}

impl Against {
    pub(super) fn new(champion: &Arc<Watch>, signature: &Signature, shards: usize) -> Against {
        let profile = champion.active().map(|active| &active.profile);
        Against {
            champion: champion.version,
            watch: Arc::downgrade(champion),
            had_profile: profile.is_some(),
            counted: profile.map(|profile| Counted::new(profile, signature, shards)),
        }
    }

    /// Whether nothing has changed about the champion.
    pub(super) fn is_of(&self, champion: &Arc<Watch>) -> bool {
        let is_same = self.watch.as_ptr() == Arc::as_ptr(champion);
        is_same && self.had_profile == champion.active().is_some()
    }

    pub(super) fn tap(&self) -> Option<&Tap> {
        self.counted.as_ref().map(|counted| &counted.tap)
    }

    /// Whether the champion has a profile, in whose bins to compare.
    pub fn is_counted(&self) -> bool {
        self.counted.is_some()
    }

    /// Names of the champion's columns, compared or not.
    pub fn columns(&self) -> Vec<Arc<str>> {
        let counted = self.counted.iter();
        let compared = counted.flat_map(|counted| counted.profile.columns());
        let compared = compared.map(|column| &column.name);
        compared.chain(self.misfits().iter().map(Misfit::column)).cloned().collect()
    }

    /// Columns of the champion's profile that this version does not have.
    pub fn misfits(&self) -> &[Misfit] {
        self.counted.as_ref().map_or(&[], |counted| &counted.misfits)
    }

    /// How many more columns there is no room for.
    pub fn left_out(&self) -> usize {
        self.counted.as_ref().map_or(0, |counted| counted.left_out)
    }

    /// What the last look found; none before the first row of the role.
    pub fn comparison(&self, role: Role) -> Option<Arc<Comparison>> {
        self.counted.as_ref()?.comparisons[role as usize].load_full()
    }
}

impl Counted {
    fn new(profile: &Arc<Profile>, signature: &Signature, shards: usize) -> Counted {
        let misfits = profile.misfits(signature);
        let columns: Vec<&Column> = profile.columns().collect();
        let fits = |at: &usize| !misfits.iter().any(|own| *own.column() == columns[*at].name);
        let order = by_importance(profile.inputs.len(), profile.outputs.len()).filter(fits);
        let mut places: Vec<usize> = order.take(MAX_COMPARED).collect();
        places.sort_unstable();
        let compared = match places.len() == columns.len() {
            true => Arc::clone(profile),
            false => Arc::new(profile.only(&places)),
        };
        Counted {
            left_out: columns.len() - misfits.len() - places.len(),
            tap: Tap::new(Arc::clone(&compared), signature, shards),
            profile: compared,
            places,
            misfits,
            comparisons: Default::default(),
        }
    }
}

impl fmt::Debug for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Against").field("champion", &self.champion).finish_non_exhaustive()
    }
}
