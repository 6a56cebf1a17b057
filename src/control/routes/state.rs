//! What is remembered of one route: its document where no file states it, what
//! people changed by hand, and what its policy keeps. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::control::decide::{Content, Needs};
use crate::control::settings::number_of;
use crate::control::status::{Hold, TrafficChange};
use crate::routing::{RouteDocument, VersionRef};
use crate::types::{Digest, VariantName, Version, Weight};

/// One route as `routes.json` has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::control) struct RouteState {
    /// None for a route that only a file states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<RouteDocument>,
    /// Counts the changes of the route.
    pub revision: u64,
    /// Weights that were set by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficChange>,
    /// What the champion stays at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub champion: Option<Pin>,
    /// The document that all this belongs to.
    #[serde(default)]
    pub belongs_to: Belonging,
    /// What the versions that it names stood for last, so that they can be
    /// loaded from the cache once the registry has dropped them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stood_for: BTreeMap<Version, Digest>,
}

/// A champion that stays, by content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::control) struct Pin {
    #[serde(flatten)]
    pub hold: Hold,
    /// Where the champion follows its model, a default above this version ends
    /// the pin: it is newer than all that was known when somebody decided.
    pub until_above: Version,
}

/// Numbers of the parts of a document that changes by hand depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::control) struct Belonging {
    /// Of the whole.
    document: u64,
    /// Of the variants' names and weights.
    split: u64,
    /// Of what decides who the champion is.
    champion: u64,
}

/// What a changed document took with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::control) struct Dropped {
    pub traffic: Option<TrafficChange>,
    pub champion: Option<Pin>,
}

impl Pin {
    pub(in crate::control) fn content(&self) -> Content {
        Content { version: self.hold.version, digest: self.hold.digest }
    }
}

impl Belonging {
    fn of(document: &RouteDocument) -> Belonging {
        let spec = &document.spec;
        let split: Vec<_> =
            spec.variants.iter().map(|one| (&one.name, one.weight, one.max_weight)).collect();
        let champion = reference(document, &VariantName::champion());
        let champion = (document.model(), champion, spec.on_new_version);
        Belonging { document: number(document), split: number(&split), champion: number(&champion) }
    }
}

/// The same number for the same content, in every release: that of its form in files.
fn number(value: &impl Serialize) -> u64 {
    number_of(&serde_json::to_string(value).unwrap_or_default())
}

impl RouteState {
    /// Takes in what the route's document says now. Weights by hand go when the
    /// split changed, the champion's pin when it says otherwise who the champion is.
    pub(in crate::control) fn take_in(&mut self, document: &RouteDocument) -> Dropped {
        let belongs_to = Belonging::of(document);
        let before = std::mem::replace(&mut self.belongs_to, belongs_to);
        if before.document == belongs_to.document {
            return Dropped::default();
        }
        self.revision += 1;
        Dropped {
            traffic: self.traffic.take_if(|_| before.split != belongs_to.split),
            champion: self.champion.take_if(|_| before.champion != belongs_to.champion),
        }
    }

    /// Remembers what the versions that the route names stand for; `answers`
    /// says it of those that are ready. Whether that changed anything.
    pub(in crate::control) fn remember(
        &mut self,
        named: &BTreeSet<Version>,
        answers: &BTreeMap<Version, Content>,
    ) -> bool {
        let before = self.stood_for.len();
        self.stood_for.retain(|version, _| named.contains(version));
        let mut changed = self.stood_for.len() != before;
        for version in named {
            if let Some(content) = answers.get(version) {
                changed |= self.stood_for.insert(*version, content.digest) != Some(content.digest);
            }
        }
        changed
    }

    pub(in crate::control) fn weights(&self) -> Option<&BTreeMap<VariantName, Weight>> {
        self.traffic.as_ref().map(|traffic| &traffic.weights)
    }

    /// Adds what the route needs of its model; `label` says which version a
    /// label always stands for.
    pub(in crate::control) fn add_needs(
        &self,
        document: &RouteDocument,
        label: impl Fn(&str) -> Option<Version>,
        needs: &mut Needs,
    ) {
        needs.pinned.extend(self.champion.as_ref().map(Pin::content));
        needs.versions.extend(versions(document).filter_map(|version| match version {
            VersionRef::Number(number) => Some(*number),
            VersionRef::Label(name) => label(name),
            VersionRef::Default | VersionRef::Latest => None,
        }));
        let known = self.stood_for.iter();
        needs
            .known
            .extend(known.map(|(version, digest)| Content { version: *version, digest: *digest }));
    }
}

/// What the document says of a variant; of a champion that it does not name
/// as well.
pub(in crate::control) fn reference(document: &RouteDocument, variant: &VariantName) -> VersionRef {
    let spec = document.spec.variants.iter().find(|one| one.name == *variant);
    spec.map_or(VersionRef::Default, |one| one.version.clone())
}

/// Everything that the document points at.
pub(in crate::control) fn versions(document: &RouteDocument) -> impl Iterator<Item = &VersionRef> {
    let shadow = document.spec.shadow.iter().map(|shadow| &shadow.version);
    document.spec.variants.iter().map(|variant| &variant.version).chain(shadow)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(yaml: &str) -> RouteDocument {
        let head = "apiVersion: modelgate.dev/v1\nkind: Route\nmetadata: {name: r}\n";
        serde_saphyr::from_str(&format!("{head}spec: {yaml}")).expect("a route")
    }

    fn version(number: u64) -> Version {
        Version::parse(&number.to_string()).expect("a version")
    }

    /// A route with everything that can be changed by hand.
    fn changed(document: &RouteDocument) -> RouteState {
        let hold = Hold {
            version: version(2),
            digest: Digest::new([2; 32]),
            actor: "ada".to_owned(),
            reason: "better".to_owned(),
            since: 1,
        };
        let traffic = TrafficChange {
            weights: BTreeMap::from([(VariantName::parse("b").expect("a name"), Weight::NONE)]),
            actor: "ada".to_owned(),
            reason: String::new(),
            since: 2,
        };
        let mut state = RouteState::default();
        state.take_in(document);
        state.champion = Some(Pin { hold, until_above: version(3) });
        state.traffic = Some(traffic);
        state.stood_for.insert(version(3), Digest::new([3; 32]));
        state
    }

    const BEFORE: &str = "{variants: [{name: b, version: 3, weight: 10}]}";

    #[test]
    fn changes_by_hand_go_with_the_part_of_the_document_that_they_change() {
        for (after, traffic, champion) in [
            (BEFORE, true, true),
            ("{private: true, variants: [{name: b, version: 3, weight: 10}]}", true, true),
            ("{variants: [{name: b, version: 4, weight: 10}]}", true, true),
            ("{variants: [{name: b, version: 3, weight: 20}]}", false, true),
            ("{variants: [{name: c, version: 3, weight: 10}]}", false, true),
            ("{variants: [{name: b, version: 3, weight: 10, maxWeight: 20}]}", false, true),
            ("{onNewVersion: hold, variants: [{name: b, version: 3, weight: 10}]}", true, false),
            ("{model: m, variants: [{name: b, version: 3, weight: 10}]}", true, false),
            (
                "{variants: [{name: b, version: 3, weight: 10}, {name: champion, version: 1}]}",
                false,
                false,
            ),
        ] {
            let mut state = changed(&document(BEFORE));
            let revision = state.revision;
            let dropped = state.take_in(&document(after));
            assert_eq!(state.traffic.is_some(), traffic, "{after}");
            assert_eq!(state.champion.is_some(), champion, "{after}");
            assert_eq!(dropped.traffic.is_none(), traffic, "{after}");
            assert_eq!(dropped.champion.is_none(), champion, "{after}");
            assert_eq!(state.revision - revision, u64::from(after != BEFORE), "{after}");
        }
    }

    #[test]
    fn what_is_remembered_survives_a_restart() {
        let mut state = changed(&document(BEFORE));
        state.document = Some(document(BEFORE));
        let text = serde_json::to_string(&state).expect("JSON");
        let mut again: RouteState = serde_json::from_str(&text).expect("the same");
        assert_eq!(again, state);
        assert_eq!(again.take_in(&document(BEFORE)), Dropped::default());
        assert_eq!(again, state, "the same document changes nothing");
    }

    #[test]
    fn a_route_needs_what_it_names_and_what_it_pins() {
        let document = document(
            "{variants: [{name: b, version: 3, weight: 10}, {name: c, version: stable},
              {name: d, version: latest}], shadow: {version: 7}}",
        );
        let mut needs = Needs::default();
        let label = |name: &str| (name == "stable").then(|| version(5));
        changed(&document).add_needs(&document, label, &mut needs);
        assert_eq!(needs.versions, BTreeSet::from([3, 5, 7].map(version)));
        let content = |n| Content { version: version(n), digest: Digest::new([n as u8; 32]) };
        assert_eq!(needs.pinned, BTreeSet::from([content(2)]));
        assert_eq!(needs.known, BTreeSet::from([content(3)]));
    }
}
