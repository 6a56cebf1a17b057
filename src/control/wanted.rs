//! What the registries want to exist, out of what they said and say now. Pure.

use std::collections::BTreeMap;

use crate::registry::{ListedModel, Listing};
use crate::types::ModelName;

/// The listing that counts from now on, after `now` came and `before` had
/// counted. A registry that suddenly states nothing at all is more likely
/// broken than empty: then `before` remains. A version that is being written
/// remains what it was.
pub(super) fn accept(before: Option<&Listing>, now: Listing) -> Accepted {
    let Some(before) = before else { return Accepted { listing: now, was_emptied: false } };
    let versions = |listing: &Listing| {
        listing.models.values().map(|model| model.versions.len()).sum::<usize>()
    };
    if versions(&now) == 0 && versions(before) > 0 {
        let listing = Listing { models: before.models.clone(), unfinished: now.unfinished };
        return Accepted { listing, was_emptied: true };
    }
    let mut listing = now;
    for unfinished in &listing.unfinished {
        let was = before
            .models
            .get(&unfinished.model)
            .and_then(|model| Some((model, model.versions.get(&unfinished.version)?)));
        if let Some((model, version)) = was {
            let options = || ListedModel { options: model.options.clone(), ..Default::default() };
            let entry = listing.models.entry(unfinished.model.clone()).or_insert_with(options);
            entry.versions.entry(unfinished.version).or_insert_with(|| version.clone());
        }
    }
    Accepted { listing, was_emptied: false }
}

pub(super) struct Accepted {
    pub(super) listing: Listing,
    /// The registry stated nothing, and what it stated before remains.
    pub(super) was_emptied: bool,
}

/// All models with the place of the registry that provides them: of several
/// that have a model the first does.
pub(super) fn combine<'a>(
    listings: impl IntoIterator<Item = &'a Listing>,
) -> BTreeMap<ModelName, (usize, &'a ListedModel)> {
    let mut models = BTreeMap::new();
    for (place, listing) in listings.into_iter().enumerate() {
        for (name, model) in &listing.models {
            models.entry(name.clone()).or_insert((place, model));
        }
    }
    models
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Listed, Unfinished};
    use crate::types::{Digest, Version};

    fn name(name: &str) -> ModelName {
        ModelName::parse(name).expect("a name")
    }

    fn version(number: u64) -> Version {
        Version::parse(&number.to_string()).expect("a version")
    }

    fn listing(models: &[(&str, &[u64])]) -> Listing {
        let listed = |digest| Listed {
            digest: Digest::new([digest; 32]),
            place: String::new(),
            files: Vec::new(),
        };
        let models = models.iter().map(|(model, versions)| {
            let versions = versions.iter().map(|n| (version(*n), listed(*n as u8))).collect();
            (name(model), ListedModel { options: None, versions })
        });
        Listing { models: models.collect(), unfinished: Vec::new() }
    }

    #[test]
    fn what_disappears_goes_unless_everything_does() {
        let before = listing(&[("a", &[1, 2]), ("b", &[1])]);
        let accepted = accept(Some(&before), listing(&[("a", &[2])]));
        assert_eq!(accepted.listing, listing(&[("a", &[2])]));
        let accepted = accept(Some(&before), listing(&[]));
        assert!(accepted.was_emptied);
        assert_eq!(accepted.listing, before);
        assert!(accept(Some(&before), listing(&[("a", &[])])).was_emptied);
        assert!(!accept(None, listing(&[])).was_emptied, "it may start empty");
    }

    #[test]
    fn a_version_that_is_being_written_remains_what_it_was() {
        let before = listing(&[("a", &[1, 2]), ("b", &[1])]);
        let mut now = listing(&[("b", &[1])]);
        for number in [2, 3] {
            let reason = "half".to_owned();
            now.unfinished.push(Unfinished { model: name("a"), version: version(number), reason });
        }
        let accepted = accept(Some(&before), now).listing;
        assert_eq!(accepted.models, listing(&[("a", &[2]), ("b", &[1])]).models);
    }

    #[test]
    fn the_first_registry_provides_a_model() {
        let (first, second) = (listing(&[("a", &[1])]), listing(&[("a", &[9]), ("b", &[1])]));
        let combined = combine([&first, &second]);
        let places: Vec<(&str, usize)> =
            combined.iter().map(|(name, (place, _))| (name.as_str(), *place)).collect();
        assert_eq!(places, [("a", 0), ("b", 1)]);
        assert!(combined[&name("a")].1.versions.contains_key(&version(1)));
    }
}
