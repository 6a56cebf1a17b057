//! What should be loaded of one model, and which version answers. Pure: facts
//! in, plan out; the same facts give the same plan, on every replica and after
//! every restart.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::types::{Digest, Version};

/// A version with a certain content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Content {
    pub version: Version,
    pub digest: Digest,
}

/// One attempt to serve a content, under the settings that bear this number:
/// other settings or a retry make another instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId {
    pub content: Content,
    pub settings: u64,
}

/// Which of the listed versions are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum VersionPolicy {
    All,
    /// The highest so many.
    Latest(usize),
    Specific(BTreeSet<Version>),
}

/// Where an instance stands, as far as deciding goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// On its way to ready, and hardly begun.
    Coming,
    /// On its way, and so far that it may finish although something newer came:
    /// else pushes that follow each other quickly would starve each other.
    Committed,
    /// On its way, and it waits for memory that others hold.
    Blocked,
    Ready,
    Rejected,
}

/// What the routes of one model need to be loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Champions that stay whatever is pushed, by content.
    pub pinned: BTreeSet<Content>,
    /// Versions that variants name.
    pub versions: BTreeSet<Version>,
    /// What versions stood for before: where the registry has dropped one, it
    /// may be loaded from the cache.
    pub known: BTreeSet<Content>,
}

/// What is known of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What the registry states.
    pub listed: BTreeMap<Version, Digest>,
    /// The settings in force.
    pub settings: u64,
    pub policy: VersionPolicy,
    /// How many versions that served before stay loaded; none of a model that is
    /// resource preserving.
    pub keep_previous: usize,
    /// False while the model is in explicit mode and nobody asked for it.
    pub enabled: bool,
    /// Whether the version in place may go before the next one is ready, where
    /// both do not fit.
    pub resource_preserving: bool,
    /// Set by a rollback.
    pub hold: Option<Content>,
    /// What answered, the latest first.
    pub served: Vec<Content>,
    /// Contents that can be loaded without the registry.
    pub cached: BTreeSet<Content>,
    /// What routes need beside what the policy picks.
    pub routes: Needs,
    /// All that live; those that drain are not among them.
    pub instances: BTreeMap<InstanceId, Standing>,
}

/// What to do about one model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What answers requests that name no version.
    pub default: Option<InstanceId>,
    /// What answers requests that name a version.
    pub answers: BTreeMap<Version, InstanceId>,
    /// The version that should be the default once it is ready.
    pub target: Option<InstanceId>,
    /// To be brought up, the most important first.
    pub start: Vec<InstanceId>,
    /// Ready, and not wanted any more.
    pub drain: Vec<InstanceId>,
    /// On their way, and not wanted any more.
    pub cancel: Vec<InstanceId>,
    /// Rejected, and not wanted any more even if they were sound.
    pub forget: Vec<InstanceId>,
    /// Wanted only so that a rollback takes no time.
    pub kept: BTreeSet<InstanceId>,
}

/// Decides about one model.
pub fn decide(facts: &Facts) -> Plan {
    let view = View { facts };
    let picked = view.picked();
    let target = view.target(&picked);
    let default = view.default(target, &picked);
    let bridge = view.bridge(target, default, &picked);
    let pinned = view.pinned();
    let target_blocked = target.is_some_and(|id| view.stands(id) == Some(Standing::Blocked));

    let mut wanted: Vec<InstanceId> = Vec::new();
    let mut want = |id: InstanceId| {
        if !wanted.contains(&id) {
            wanted.push(id);
        }
    };
    if target_blocked && facts.resource_preserving {
        // Everything else makes room for it, but for what answers for a route until somebody
        // says otherwise: it would not come back.
        pinned.into_iter().for_each(&mut want);
        target.into_iter().for_each(&mut want);
    } else {
        bridge.into_iter().for_each(&mut want);
        default.into_iter().for_each(&mut want);
        pinned.into_iter().for_each(&mut want);
        target.into_iter().for_each(&mut want);
        view.named().into_iter().for_each(&mut want);
        picked.iter().copied().for_each(&mut want);
    }
    let mut kept = BTreeSet::new();
    // What is kept for comfort goes first where memory is short.
    let is_short = wanted.iter().any(|id| view.stands(*id) == Some(Standing::Blocked));
    if facts.enabled && !is_short && !facts.resource_preserving {
        for id in view.previous(default.or(target)) {
            if !wanted.contains(&id) {
                kept.insert(id);
                wanted.push(id);
            }
        }
    }

    let mut plan = Plan { target, kept, ..Plan::default() };
    plan.default = default.filter(|id| wanted.contains(id));
    for id in &wanted {
        match view.stands(*id) {
            None => plan.start.push(*id),
            Some(Standing::Ready) => view.answer(&mut plan, *id),
            Some(_) => {}
        }
    }
    for (id, standing) in &facts.instances {
        match standing {
            _ if wanted.contains(id) => {}
            // Until its successor is ready the old attempt answers for its version.
            Standing::Ready if view.is_being_renewed(*id, &wanted) => view.answer(&mut plan, *id),
            Standing::Ready => plan.drain.push(*id),
            Standing::Committed if view.may_overtake(*id) => {}
            Standing::Coming | Standing::Committed | Standing::Blocked => plan.cancel.push(*id),
            Standing::Rejected if view.is_current(*id) => {}
            Standing::Rejected => plan.forget.push(*id),
        }
    }
    plan
}

struct View<'a> {
    facts: &'a Facts,
}

impl View<'_> {
    fn id(&self, content: Content) -> InstanceId {
        InstanceId { content, settings: self.facts.settings }
    }

    fn stands(&self, id: InstanceId) -> Option<Standing> {
        self.facts.instances.get(&id).copied()
    }

    fn is_rejected(&self, id: InstanceId) -> bool {
        self.stands(id) == Some(Standing::Rejected)
    }

    fn ready(&self, content: Content) -> Option<InstanceId> {
        // The newest settings stand last.
        let own = self.facts.instances.iter().filter(|(id, _)| id.content == content);
        let ready = |(id, standing): (&InstanceId, &Standing)| {
            (*standing == Standing::Ready).then_some(*id)
        };
        let current = self.id(content);
        if self.stands(current) == Some(Standing::Ready) {
            return Some(current);
        }
        own.rev().find_map(ready)
    }

    /// Whether an instance is what the registry states, a rollback, or what a
    /// route needs, under the settings in force: then its rejection is remembered.
    fn is_current(&self, id: InstanceId) -> bool {
        let Content { version, digest } = id.content;
        let Facts { listed, hold, routes, .. } = self.facts;
        let stated = listed.get(&version) == Some(&digest);
        let for_a_route = routes.pinned.contains(&id.content)
            || (routes.versions.contains(&version) && routes.known.contains(&id.content));
        id.settings == self.facts.settings && (stated || *hold == Some(id.content) || for_a_route)
    }

    /// The champions that routes pin, but for those that cannot be loaded.
    fn pinned(&self) -> Vec<InstanceId> {
        let pinned = self.facts.routes.pinned.iter().filter(|_| self.facts.enabled);
        let find = |content: &Content| match self.id(*content) {
            // It may still answer under earlier settings.
            id if self.is_rejected(id) => self.ready(*content),
            id => Some(id),
        };
        pinned.filter_map(find).collect()
    }

    /// The versions that routes name: what the registry states, else what was
    /// sound of it before, else what the cache still has.
    fn named(&self) -> Vec<InstanceId> {
        let Facts { routes, listed, cached, .. } = self.facts;
        let versions = routes.versions.iter().filter(|_| self.facts.enabled);
        let find = |version: &Version| {
            let digest = listed.get(version);
            let stated =
                digest.map(|digest| self.id(Content { version: *version, digest: *digest }));
            let known = || {
                let known = routes.known.iter().filter(|content| content.version == *version);
                let mut loadable = known.filter(|content| cached.contains(content));
                loadable.find(|content| !self.is_rejected(self.id(**content)))
            };
            stated
                .filter(|id| !self.is_rejected(*id))
                .or_else(|| self.stand_in(*version))
                .or_else(|| known().map(|content| self.id(*content)))
        };
        versions.filter_map(find).collect()
    }

    /// The listed versions that the policy picks, the highest first. Of a
    /// version that was rejected, what was sound of it before stands in; else it
    /// counts as not there. So a broken push changes nothing.
    fn picked(&self) -> Vec<InstanceId> {
        if !self.facts.enabled {
            return Vec::new();
        }
        let sound = self.facts.listed.iter().rev().filter_map(|(version, digest)| {
            let id = self.id(Content { version: *version, digest: *digest });
            if self.is_rejected(id) { self.stand_in(*version) } else { Some(id) }
        });
        match &self.facts.policy {
            VersionPolicy::All => sound.collect(),
            VersionPolicy::Latest(count) => sound.take(*count).collect(),
            VersionPolicy::Specific(versions) => {
                sound.filter(|id| versions.contains(&id.content.version)).collect()
            }
        }
    }

    /// Another content of a version, or the same under earlier settings, that
    /// can answer or did so before.
    fn stand_in(&self, version: Version) -> Option<InstanceId> {
        let same = |content: &&Content| content.version == version;
        let served = || self.facts.served.iter().filter(same);
        let ready = || {
            let ids = self.facts.instances.keys().rev();
            let mut own = ids.filter(|id| id.content.version == version);
            own.find(|id| self.stands(**id) == Some(Standing::Ready)).copied()
        };
        let loadable = |content: &Content| {
            let id = self.id(*content);
            (self.facts.cached.contains(content) && !self.is_rejected(id)).then_some(id)
        };
        served()
            .find_map(|content| self.ready(*content))
            .or_else(ready)
            .or_else(|| served().find_map(loadable))
    }

    /// What should answer: the hold, else the highest of the policy.
    fn target(&self, picked: &[InstanceId]) -> Option<InstanceId> {
        let hold = self.facts.hold.filter(|_| self.facts.enabled).map(|held| self.id(held));
        hold.filter(|id| !self.is_rejected(*id)).or_else(|| picked.first().copied())
    }

    /// What answers now: the target if it can, else what answered last or
    /// something newer, else the best that can.
    fn default(&self, target: Option<InstanceId>, picked: &[InstanceId]) -> Option<InstanceId> {
        if !self.facts.enabled {
            return None;
        }
        let target_ready = target.and_then(|id| self.ready(id.content));
        let newer = || {
            let mut ids = self.facts.instances.keys().rev();
            ids.find(|id| self.may_overtake(**id) && self.stands(**id) == Some(Standing::Ready))
                .copied()
        };
        let last = || {
            let last = *self.facts.served.first()?;
            // A model that left the registry as a whole is retired.
            let remains = !self.facts.listed.is_empty() || self.facts.hold == Some(last);
            self.ready(last).filter(|_| remains)
        };
        let best = || picked.iter().find_map(|id| self.ready(id.content));
        target_ready.or_else(newer).or_else(last).or_else(best)
    }

    /// Whether an instance that the policy does not pick any more, because
    /// something newer came, is still better than what answers.
    fn may_overtake(&self, id: InstanceId) -> bool {
        let newer = self.facts.served.first().is_some_and(|last| id.content.version > last.version);
        let latest = matches!(self.facts.policy, VersionPolicy::Latest(_));
        self.facts.enabled && latest && newer && self.facts.hold.is_none() && self.is_current(id)
    }

    /// What answered last, while nothing can answer: after a restart it is
    /// loaded before anything newer is tried.
    fn bridge(
        &self,
        target: Option<InstanceId>,
        default: Option<InstanceId>,
        picked: &[InstanceId],
    ) -> Option<InstanceId> {
        let last = *self.facts.served.first()?;
        let id = self.id(last);
        let needed = default.is_none() && self.facts.enabled && Some(id) != target;
        let wanted = picked.contains(&id)
            || (self.facts.listed.contains_key(&last.version) && self.is_loadable(last));
        // Where two do not fit, the detour would cost what it is to save.
        let fits = !self.facts.resource_preserving;
        (needed && wanted && fits && !self.is_rejected(id)).then_some(id)
    }

    fn is_loadable(&self, content: Content) -> bool {
        self.facts.listed.get(&content.version) == Some(&content.digest)
            || self.facts.cached.contains(&content)
            || self.ready(content).is_some()
    }

    /// What served before, the latest first, as far as it may be kept: its
    /// version is still in the registry, perhaps with another content by now.
    fn previous(&self, answering: Option<InstanceId>) -> Vec<InstanceId> {
        let served = self.facts.served.iter().copied();
        served
            .filter(|content| answering.is_some_and(|id| id.content != *content))
            .filter(|content| self.facts.listed.contains_key(&content.version))
            .filter(|content| self.is_loadable(*content))
            .map(|content| self.id(content))
            .filter(|id| !self.is_rejected(*id))
            .take(self.facts.keep_previous)
            .collect()
    }

    /// Whether a wanted instance of the same version is yet to become ready.
    fn is_being_renewed(&self, id: InstanceId, wanted: &[InstanceId]) -> bool {
        wanted.iter().any(|other| {
            other.content.version == id.content.version
                && !matches!(self.stands(*other), Some(Standing::Ready | Standing::Rejected))
        }) && !(self.facts.resource_preserving
            && wanted.iter().any(|other| self.stands(*other) == Some(Standing::Blocked)))
    }

    /// Lets a ready instance answer for its version, unless a better one does.
    fn answer(&self, plan: &mut Plan, id: InstanceId) {
        let rank = |id: InstanceId| {
            let stated = self.facts.listed.get(&id.content.version) == Some(&id.content.digest);
            (plan.default == Some(id), stated, id.settings == self.facts.settings)
        };
        let version = id.content.version;
        if plan.answers.get(&version).is_none_or(|other| rank(id) > rank(*other)) {
            plan.answers.insert(version, id);
        }
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
