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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::profile;
    use super::super::watch::{Found, ProfileSource};
    use super::*;
    use crate::types::{Digest, ModelName};

    fn column(name: &str, tensor: &str) -> Value {
        json!({
            "name": name, "tensor": tensor, "index": [0], "kind": "numeric", "edges": [1],
            "counts": [1000, 1000], "min": 0, "max": 3, "p001": 0, "p999": 3, "mean": 1, "std": 1,
        })
    }

    fn signature(inputs: &[&str]) -> Signature {
        let spec = |name: &&str| json!({"name": name, "datatype": "FP32", "shape": [-1, 1]});
        let inputs: Vec<Value> = inputs.iter().map(spec).collect();
        serde_json::from_value(json!({"inputs": inputs, "outputs": []})).expect("a signature")
    }

    fn name() -> ModelName {
        ModelName::parse("m").expect("a name")
    }

    fn version(number: u64) -> Version {
        Version::parse(&number.to_string()).expect("a version")
    }

    /// A version whose profile has these columns, each of a tensor of its name.
    fn watched(number: u64, columns: &[&str]) -> Arc<Watch> {
        let inputs: Vec<Value> = columns.iter().map(|name| column(name, name)).collect();
        let (digest, source) = (Digest::new([number as u8; 32]), ProfileSource::Sidecar);
        let found = Found { profile: profile(&inputs, &[]), digest, source };
        Watch::by(&name(), version(number), found, &signature(columns), 1)
    }

    #[test]
    fn what_was_counted_goes_on_until_the_champion_changes() {
        let (first, second) = (watched(1, &["a"]), watched(2, &["a"]));
        let (candidate, of) = (watched(3, &["a"]), signature(&["a"]));
        let beside = |champion: Option<&Arc<Watch>>| {
            candidate.compare_with(champion, &of, 1);
            candidate.against()
        };
        assert!(beside(None).is_none());
        let before = beside(Some(&first)).expect("a champion");
        let again = beside(Some(&first)).expect("a champion");
        assert!(Arc::ptr_eq(&before, &again) && before.champion == version(1));
        let after = beside(Some(&second)).expect("a champion");
        assert_eq!((after.champion, after.is_counted()), (version(2), true));
        assert!(beside(None).is_none());
    }

    #[test]
    fn columns_are_compared_that_both_have() {
        let champion = watched(1, &["a", "b", "c"]);
        let candidate = Watch::none(&name(), version(2), "none was found".to_owned());
        candidate.compare_with(Some(&champion), &signature(&["c", "a"]), 1);
        let against = candidate.against().expect("a champion");
        let counted = against.counted.as_ref().expect("a profile");
        assert_eq!(counted.places, [0, 2]);
        let compared: Vec<&str> = counted.profile.columns().map(|column| &*column.name).collect();
        assert_eq!(compared, ["a", "c"]);
        let misfits: Vec<&str> = against.misfits().iter().map(|own| &**own.column()).collect();
        assert_eq!((misfits, against.left_out()), (vec!["b"], 0));
        let mut names = against.columns();
        names.sort();
        assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn many_columns_are_left_out() {
        let names: Vec<String> = (0..MAX_COMPARED + 6).map(|at| format!("c{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (champion, candidate) = (watched(1, &names), watched(2, &names));
        candidate.compare_with(Some(&champion), &signature(&names), 1);
        let against = candidate.against().expect("a champion");
        let counted = against.counted.as_ref().expect("a profile");
        assert_eq!((counted.places.len(), against.left_out()), (MAX_COMPARED, 6));
    }

    #[test]
    fn a_champion_without_a_profile_compares_nothing() {
        let champion = Watch::none(&name(), version(1), "none was found".to_owned());
        let candidate = watched(2, &["a"]);
        candidate.compare_with(Some(&champion), &signature(&["a"]), 1);
        let against = candidate.against().expect("a champion");
        assert!(!against.is_counted() && against.comparison(Role::Primary).is_none());
    }
}
