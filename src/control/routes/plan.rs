//! Which content each variant of a route stands for. Pure: facts in, decision
//! out; the same facts give the same plan, on every replica and after every restart.

use std::collections::BTreeMap;

use super::state::Pin;
use crate::control::decide::Content;
use crate::control::settings::LabelTarget;
use crate::control::status::VariantState;
use crate::routing::{OnNewVersion, VersionRef};
use crate::types::{Digest, Signature, VariantName, Version};

/// What a route asks for.
#[derive(Clone, Debug)]
pub(in crate::control) struct Asked<'a> {
    /// Its variants, the champion first, with what the document says of each.
    pub variants: Vec<(&'a VariantName, VersionRef)>,
    pub shadow: Option<&'a VersionRef>,
    pub on_new_version: OnNewVersion,
    pub pin: Option<&'a Pin>,
}

/// What is known of the route's model.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct ModelView<'a> {
    /// What answers requests that name no version.
    pub default: Option<Content>,
    /// What answers requests that name a version.
    pub answers: BTreeMap<Version, Content>,
    /// Everything that is loaded; more than what answers where a route keeps a
    /// content whose version was overwritten.
    pub ready: BTreeMap<Content, &'a Signature>,
    /// What is on its way, and what was rejected with the reason.
    pub underway: BTreeMap<Content, Underway<'a>>,
    pub listed: BTreeMap<Version, Digest>,
    pub labels: BTreeMap<&'a str, LabelTarget>,
    /// Signatures need not fit.
    pub any_signature: bool,
    /// Set while nothing of the model is loaded because nobody asked for it.
    pub is_off: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) enum Underway<'a> {
    Coming,
    Rejected(&'a str),
}

/// What a variant stands for, and whether that can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) struct Stand {
    pub content: Option<Content>,
    pub state: VariantState,
    /// Why it is not ready.
    pub reason: Option<String>,
}

/// What to do about the champion's pin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) enum PinChange {
    #[default]
    Keep,
    /// New versions are held back from now on.
    Set(Content),
    /// A newer version became the model's default.
    Lift,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct RoutePlan {
    /// By the route's variants.
    pub variants: Vec<Stand>,
    /// None as well where it would be what the champion is.
    pub shadow: Option<Stand>,
    pub pin: PinChange,
    /// The newest version that the route's policy keeps from being the champion.
    pub held_back: Option<Version>,
    /// What cannot be satisfied for now.
    pub problems: Vec<String>,
}

/// Decides about one route; `model` is none where the registries have no such model.
pub(in crate::control) fn resolve(asked: &Asked<'_>, model: Option<&ModelView<'_>>) -> RoutePlan {
    let mut plan = RoutePlan::default();
    let Some(view) = model else {
        let missing = || Stand::missing("the registries have no such model".to_owned());
        plan.variants = asked.variants.iter().map(|_| missing()).collect();
        plan.problems.push("the registries have no such model".to_owned());
        return plan;
    };
    let mut references = asked.variants.iter();
    let Some((_, says)) = references.next() else { return plan };
    let champion = view.champion(says, asked, &mut plan);
    let held = asked.on_new_version != OnNewVersion::Swap;
    if held && asked.pin.is_none() && champion.is_ready() {
        plan.pin = champion.content.map_or(PinChange::Keep, PinChange::Set);
    }
    if held && champion.is_ready() {
        plan.held_back = view.newer_than(champion.content);
    }
    plan.note(VariantName::CHAMPION, &champion);
    let mut variants = vec![champion];
    for (name, says) in references {
        let stand = view.fitting(view.find(says), &variants[0]);
        plan.note(name.as_str(), &stand);
        variants.push(stand);
    }
    if let Some(says) = asked.shadow {
        let stand = view.fitting(view.find(says), &variants[0]);
        let is_champion = stand.content.is_some() && stand.content == variants[0].content;
        if !is_champion {
            plan.note(VariantName::SHADOW, &stand);
            plan.shadow = Some(stand);
        }
    }
    plan.variants = variants;
    plan
}

impl RoutePlan {
    /// Notes what will not come right by itself.
    fn note(&mut self, name: &str, stand: &Stand) {
        if let (Some(reason), false) = (&stand.reason, stand.state == VariantState::Loading) {
            self.problems.push(format!("{name}: {reason}"));
        }
    }
}

impl Stand {
    fn ready(content: Content) -> Stand {
        Stand { content: Some(content), state: VariantState::Ready, reason: None }
    }

    fn missing(reason: String) -> Stand {
        Stand { content: None, state: VariantState::Missing, reason: Some(reason) }
    }

    pub(in crate::control) fn is_ready(&self) -> bool {
        self.state == VariantState::Ready
    }
}

impl ModelView<'_> {
    /// What the champion is: what it is pinned to, else what the document says.
    fn champion(&self, says: &VersionRef, asked: &Asked<'_>, plan: &mut RoutePlan) -> Stand {
        let Some(pin) = asked.pin else { return self.find(says) };
        let follows = asked.on_new_version == OnNewVersion::Swap
            && matches!(says, VersionRef::Default | VersionRef::Latest);
        let is_overtaken = self.default.is_some_and(|default| default.version > pin.until_above);
        if follows && is_overtaken {
            plan.pin = PinChange::Lift;
            return self.find(says);
        }
        let pinned = self.stand_of(pin.content());
        let instead = self.find(says);
        if pinned.state == VariantState::Rejected && instead.is_ready() {
            // Whoever is held back answers rather than nobody.
            let reason = pinned.reason.unwrap_or_default();
            plan.problems.push(format!(
                "{}: version {}, at which it is kept, cannot be loaded ({reason}); what the \
                 document says answers in its stead",
                VariantName::CHAMPION,
                pin.hold.version
            ));
            return instead;
        }
        pinned
    }

    /// What a reference of a document stands for.
    pub(in crate::control) fn find(&self, says: &VersionRef) -> Stand {
        match says {
            VersionRef::Default => self.any_of(self.default),
            VersionRef::Latest => self.any_of(self.answers.values().next_back().copied()),
            VersionRef::Number(number) => self.numbered(*number),
            VersionRef::Label(label) => match self.labels.get(label.as_str()) {
                Some(LabelTarget::Default) => self.find(&VersionRef::Default),
                Some(LabelTarget::Latest) => self.find(&VersionRef::Latest),
                Some(LabelTarget::Version(number)) => self.numbered(*number),
                None => Stand::missing(format!("the model has no label '{label}'")),
            },
        }
    }

    fn any_of(&self, found: Option<Content>) -> Stand {
        if let Some(content) = found {
            return Stand::ready(content);
        }
        let coming = self.underway.iter().rev().find(|(_, one)| **one == Underway::Coming);
        match coming {
            Some((content, _)) => Stand::loading(*content),
            None if self.is_off => Stand::missing(OFF.to_owned()),
            None => Stand::missing("the model has no version that is ready".to_owned()),
        }
    }

    fn numbered(&self, number: Version) -> Stand {
        if let Some(content) = self.answers.get(&number) {
            return Stand::ready(*content);
        }
        // What is on its way says more than what was rejected before.
        let own = || self.underway.iter().filter(|(content, _)| content.version == number);
        let coming = own().find(|(_, one)| **one == Underway::Coming);
        match coming.or_else(|| own().next()) {
            Some((content, _)) => self.stand_of(*content),
            None if self.is_off => Stand::missing(OFF.to_owned()),
            None if self.listed.contains_key(&number) => {
                Stand::missing(format!("version {number} is not loaded"))
            }
            None => Stand::missing(format!("the model has no version {number}")),
        }
    }

    /// How a content stands.
    fn stand_of(&self, content: Content) -> Stand {
        if self.ready.contains_key(&content) {
            return Stand::ready(content);
        }
        match self.underway.get(&content) {
            Some(Underway::Coming) => Stand::loading(content),
            Some(Underway::Rejected(reason)) => Stand {
                content: Some(content),
                state: VariantState::Rejected,
                reason: Some((*reason).to_owned()),
            },
            None if self.is_off => Stand::missing(OFF.to_owned()),
            None => Stand::loading(content),
        }
    }

    /// Whether callers of the champion could be answered as well.
    fn fitting(&self, stand: Stand, champion: &Stand) -> Stand {
        let misfit = match (stand.content, champion.content) {
            (Some(one), Some(champion)) if stand.is_ready() => self.misfit(one, champion),
            _ => None,
        };
        match misfit {
            Some(reason) => {
                Stand { state: VariantState::Incompatible, reason: Some(reason), ..stand }
            }
            None => stand,
        }
    }

    /// Why `one` cannot take the place of `champion`, where both are loaded.
    pub(in crate::control) fn misfit(&self, one: Content, champion: Content) -> Option<String> {
        let (new, old) = (self.ready.get(&one)?, self.ready.get(&champion)?);
        let error = new.may_replace(old).err().filter(|_| !self.any_signature)?;
        Some(format!(
            "it cannot answer the callers of version {}: {error}; set `signature: any` in \
             model.yaml to use it all the same",
            champion.version
        ))
    }

    /// The newest version that is ready, where it is newer than the champion or
    /// other content of the same version.
    fn newer_than(&self, champion: Option<Content>) -> Option<Version> {
        let champion = champion?;
        let newest = *self.answers.values().next_back()?;
        let is_newer = newest.version >= champion.version && newest != champion;
        is_newer.then_some(newest.version)
    }
}

const OFF: &str = "the model is loaded by request only, and nobody asked for it";

impl Stand {
    fn loading(content: Content) -> Stand {
        Stand {
            content: Some(content),
            state: VariantState::Loading,
            reason: Some(format!("version {} is being loaded", content.version)),
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
