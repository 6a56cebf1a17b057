//! What people ask for, and the answers that have to wait for something.

use std::sync::Arc;

use super::decide::Content;
use super::handle::{Asked, Command, ControlError, Reply};
use super::lifecycle::Lifecycle;
use super::model::Model;
use super::report::unix_ms;
use super::routes::Changed;
use super::status::{AuditEntry, Hold};
use crate::types::{ModelName, Stage, Version};

/// An answer that waits.
pub(super) enum Waiting {
    /// Until the hold is written down and in force.
    Rollback(ModelName, Hold, Reply<Hold>),
    /// Until the change is written down.
    Written(Reply<()>),
    /// Until a route's change is in force and written down.
    Route(Changed),
    /// Until the model answers, with the numbers of answers that each registry
    /// had given when it was asked for.
    Load(ModelName, Vec<u64>, Asked, Reply<()>),
    /// Until nothing of the model answers any more.
    Unload(ModelName, Reply<()>),
}

impl Lifecycle {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Poke(registry, reply) => give(reply, self.poke(registry)),
            Command::Audit(model, most, reply) => {
                let of_model = |entry: &&AuditEntry| {
                    model.is_none() || entry.model == model || entry.route == model
                };
                let newest = self.audited.iter().rev().filter(of_model).take(most);
                let mut entries: Vec<AuditEntry> = newest.cloned().collect();
                entries.reverse();
                give(reply, Ok(entries));
            }
            Command::Rollback(name, to, asked, reply) => match self.roll_back(&name, to, &asked) {
                Ok(hold) => self.waiting.push(Waiting::Rollback(name, hold, reply)),
                Err(error) => give(reply, Err(error)),
            },
            Command::Release(name, asked, reply) => match self.release(&name, &asked) {
                Ok(()) => self.waiting.push(Waiting::Written(reply)),
                Err(error) => give(reply, Err(error)),
            },
            Command::Retry(name, version, asked, reply) => {
                match self.retry(&name, version, &asked) {
                    Ok(()) => self.waiting.push(Waiting::Written(reply)),
                    Err(error) => give(reply, Err(error)),
                }
            }
            Command::Load(name, asked, reply) => {
                let answers = self.registries.iter().map(|registry| registry.answers).collect();
                self.registries.iter().for_each(|registry| registry.poll.poke());
                self.waiting.push(Waiting::Load(name, answers, asked, reply));
            }
            Command::Unload(name, asked, reply) => match self.explicit(&name) {
                Ok(_) => {
                    self.request(&name, false, &asked);
                    self.waiting.push(Waiting::Unload(name, reply));
                }
                Err(error) => give(reply, Err(error)),
            },
            Command::ApplyRoutes(documents, dry_run, asked, reply) => {
                match self.apply_routes(documents, dry_run, &asked) {
                    Ok(changes) => self.wait_for(Changed::Applied(changes, reply)),
                    Err(error) => give(reply, Err(error)),
                }
            }
            Command::DeleteRoute(route, asked, reply) => match self.delete_route(&route, &asked) {
                Ok(change) => self.wait_for(Changed::Deleted(Box::new(change), reply)),
                Err(error) => give(reply, Err(error)),
            },
            Command::SetTraffic(route, weights, asked, reply) => {
                match self.set_traffic(&route, weights, &asked) {
                    Ok(()) => self.wait_for(Changed::Shown(route, reply)),
                    Err(error) => give(reply, Err(error)),
                }
            }
            Command::Promote(route, promotion, asked, reply) => {
                match self.promote(&route, promotion, &asked) {
                    Ok(()) => self.wait_for(Changed::Shown(route, reply)),
                    Err(error) => give(reply, Err(error)),
                }
            }
            Command::Apply(setup, reply) => {
                self.set_up(*setup);
                give(reply, Ok(()));
            }
            Command::ReadProfiles(reply) => {
                self.read_profiles();
                give(reply, Ok(()));
            }
        }
    }

    fn wait_for(&mut self, changed: Changed) {
        self.waiting.push(Waiting::Route(changed));
    }

    fn poke(&self, registry: Option<String>) -> Result<Vec<String>, ControlError> {
        let names = || self.registries.iter().map(|one| one.source.name().to_owned());
        let poked: Vec<String> = match registry {
            None => names().collect(),
            Some(name) if names().any(|one| one == name) => vec![name],
            Some(name) => {
                let known = names().collect::<Vec<_>>().join(", ");
                return Err(ControlError::UnknownRegistry { name, known });
            }
        };
        self.registries
            .iter()
            .filter(|one| poked.iter().any(|name| name == one.source.name()))
            .for_each(|one| one.poll.poke());
        Ok(poked)
    }

    fn model(&mut self, name: &ModelName) -> Result<&mut Model, ControlError> {
        self.models.get_mut(name).ok_or_else(|| ControlError::UnknownModel(name.to_string()))
    }

    fn roll_back(
        &mut self,
        name: &ModelName,
        to: Option<Version>,
        asked: &Asked,
    ) -> Result<Hold, ControlError> {
        let workshop = Arc::clone(&self.workshop);
        let model = self.model(name)?;
        let content = earlier(model, to, |content| {
            let stated = model.listed.versions.get(&content.version);
            stated.is_some_and(|listed| listed.digest == content.digest)
                || workshop.cache.contains(&content.digest)
        })?;
        let hold = Hold {
            version: content.version,
            digest: content.digest,
            actor: asked.actor.clone(),
            reason: asked.reason.clone(),
            since: unix_ms(),
        };
        model.remembered.hold = Some(hold.clone());
        // What was rejected before gets another chance, now that it is asked for.
        model.instances.retain(|id, one| id.content != content || one.rejection.is_none());
        model.is_dirty = true;
        self.asked_for(name, "rollback", Some(content), asked);
        Ok(hold)
    }

    fn release(&mut self, name: &ModelName, asked: &Asked) -> Result<(), ControlError> {
        let model = self.model(name)?;
        let Some(hold) = model.remembered.hold.take() else {
            return Err(ControlError::Refused(format!("'{name}' is not held")));
        };
        model.is_dirty = true;
        let content = Content { version: hold.version, digest: hold.digest };
        self.asked_for(name, "release", Some(content), asked);
        Ok(())
    }

    fn retry(
        &mut self,
        name: &ModelName,
        version: Version,
        asked: &Asked,
    ) -> Result<(), ControlError> {
        let model = self.model(name)?;
        let rejected = model.instances.iter().filter(|(_, one)| one.stage == Stage::Rejected);
        let mut of_version = rejected.filter(|(id, _)| id.content.version == version);
        let Some(id) = of_version.next().map(|(id, _)| *id) else {
            let message = format!("version {version} of '{name}' is not rejected");
            return Err(ControlError::Refused(message));
        };
        model.instances.remove(&id);
        model.is_dirty = true;
        self.asked_for(name, "retry", Some(id.content), asked);
        Ok(())
    }

    /// That a model is loaded by request only, or why it is not.
    fn explicit(&mut self, name: &ModelName) -> Result<&mut Model, ControlError> {
        let model = self.model(name)?;
        match &model.settings.good {
            Some(good) if !good.explicit => Err(ControlError::Refused(format!(
                "'{name}' follows its registry; to load and unload it by request, set \
                 `mode: explicit` in its model.yaml"
            ))),
            _ => Ok(model),
        }
    }

    fn request(&mut self, name: &ModelName, loaded: bool, asked: &Asked) {
        if let Some(model) = self.models.get_mut(name) {
            model.remembered.loaded = loaded;
            model.is_dirty = true;
        }
        self.asked_for(name, if loaded { "load" } else { "unload" }, None, asked);
    }

    fn asked_for(&mut self, name: &ModelName, action: &str, content: Option<Content>, by: &Asked) {
        tracing::info!(model = %name, action, actor = by.actor, reason = by.reason, "asked for");
        self.state_changed = true;
        self.unaudited.push(AuditEntry {
            at: unix_ms(),
            actor: by.actor.clone(),
            action: action.to_owned(),
            model: Some(name.clone()),
            route: None,
            version: content.map(|content| content.version),
            digest: content.map(|content| content.digest),
            outcome: "asked".to_owned(),
            reason: Some(by.reason.clone()).filter(|reason| !reason.is_empty()),
        });
    }

    /// Gives the answers that need not wait any more.
    pub(super) fn answer(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            let still = match waiting {
                Waiting::Rollback(name, hold, reply) => self.answer_rollback(name, hold, reply),
                Waiting::Written(reply) => {
                    give(reply, self.written(()));
                    None
                }
                Waiting::Route(changed) => {
                    self.answer_changed(changed);
                    None
                }
                Waiting::Load(name, before, asked, reply) => {
                    self.answer_load(name, before, asked, reply)
                }
                Waiting::Unload(name, reply) => {
                    let answers = self.models.get(&name).is_some_and(|one| {
                        one.plan.default.is_some() || !one.plan.answers.is_empty()
                    });
                    if answers {
                        Some(Waiting::Unload(name, reply))
                    } else {
                        give(reply, self.written(()));
                        None
                    }
                }
            };
            // Who has left needs no answer.
            self.waiting.extend(still.filter(|waiting| !waiting.is_abandoned()));
        }
    }

    pub(super) fn written<T>(&self, value: T) -> Result<T, ControlError> {
        match &self.unwritten {
            None => Ok(value),
            Some(error) => Err(ControlError::Refused(format!(
                "it is in force, but could not be written down, and a restart would undo it: {error}"
            ))),
        }
    }

    fn answer_rollback(&self, name: ModelName, hold: Hold, reply: Reply<Hold>) -> Option<Waiting> {
        let content = Content { version: hold.version, digest: hold.digest };
        let Some(model) = self.models.get(&name) else {
            give(reply, Err(ControlError::UnknownModel(name.to_string())));
            return None;
        };
        if model.plan.default.is_some_and(|id| id.content == content) {
            give(reply, self.written(hold));
            return None;
        }
        if model.remembered.hold.as_ref() != Some(&hold) {
            let message = format!("another rollback or release of '{name}' came meanwhile");
            give(reply, Err(ControlError::Refused(message)));
            return None;
        }
        let own = model.instances.iter().find(|(id, _)| id.content == content);
        if let Some(rejection) = own.and_then(|(_, one)| one.rejection.clone()) {
            let (model, version) = (name, hold.version);
            give(reply, Err(ControlError::Rejected { model, version, rejection }));
            return None;
        }
        Some(Waiting::Rollback(name, hold, reply))
    }

    fn answer_load(
        &mut self,
        name: ModelName,
        before: Vec<u64>,
        asked: Asked,
        reply: Reply<()>,
    ) -> Option<Waiting> {
        let listed = self.registries.iter().zip(&before).all(|(one, before)| one.answers > *before);
        if !listed {
            return Some(Waiting::Load(name, before, asked, reply));
        }
        match self.explicit(&name) {
            Ok(model) if model.remembered.loaded => {}
            Ok(_) => {
                self.request(&name, true, &asked);
                return Some(Waiting::Load(name, before, asked, reply));
            }
            Err(error) => {
                give(reply, Err(error));
                return None;
            }
        }
        let model = self.models.get(&name)?;
        let target = model.plan.target.map(|id| id.content);
        if target.is_some() && model.plan.default.map(|id| id.content) == target {
            give(reply, self.written(()));
            return None;
        }
        let rejected =
            model.instances.iter().find_map(|(id, one)| Some((id, one.rejection.clone()?)));
        match (target, rejected) {
            (None, Some((id, rejection))) => {
                let (model, version) = (name, id.content.version);
                give(reply, Err(ControlError::Rejected { model, version, rejection }));
                None
            }
            (None, None) => {
                let message = format!("the registry has no version of '{name}' that is wanted");
                give(reply, Err(ControlError::Refused(message)));
                None
            }
            (Some(_), _) => Some(Waiting::Load(name, before, asked, reply)),
        }
    }
}

impl Waiting {
    fn is_abandoned(&self) -> bool {
        match self {
            Waiting::Rollback(_, _, reply) => reply.is_closed(),
            Waiting::Route(changed) => changed.is_abandoned(),
            Waiting::Written(reply) | Waiting::Load(_, _, _, reply) | Waiting::Unload(_, reply) => {
                reply.is_closed()
            }
        }
    }
}

/// The content to roll back to: of version `to` what served last or is listed,
/// else what served before what answers now.
fn earlier(
    model: &Model,
    to: Option<Version>,
    is_loadable: impl Fn(&Content) -> bool,
) -> Result<Content, ControlError> {
    let name = &model.name;
    let now = model.plan.default.map(|id| id.content);
    let served = model.remembered.served.iter().copied();
    let listed = model.listed.versions.iter();
    let listed =
        listed.map(|(version, listed)| Content { version: *version, digest: listed.digest });
    let found = match to {
        Some(version) => served.chain(listed).find(|content| {
            content.version == version && (Some(*content) == now || is_loadable(content))
        }),
        None => served.chain(listed.rev()).find(|content| {
            let is_before =
                now.is_none_or(|now| *content != now && (content.version <= now.version));
            is_before && is_loadable(content)
        }),
    };
    found.ok_or_else(|| {
        ControlError::Refused(match to {
            Some(version) => format!(
                "'{name}' has no version {version} to roll back to: neither the registry nor the \
                 cache has it"
            ),
            None => format!("'{name}' has nothing to roll back to: no earlier version is known"),
        })
    })
}

pub(super) fn give<T>(reply: Reply<T>, answer: Result<T, ControlError>) {
    // Who has left needs no answer.
    let _ = reply.send(answer);
}
