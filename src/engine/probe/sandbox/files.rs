//! Landlock: which files a process may open.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};

/// What the C library reads when a model asks for a locale.
const LOCALES: [&str; 3] = ["/usr/lib/locale", "/usr/share/locale", "/usr/lib/gconv"];

/// The newest rules this knows; an older kernel keeps those it has.
const NEWEST: ABI = ABI::V6;

/// Leaves `folder` and the system's locales readable, and nothing else.
pub(super) fn confine(folder: &Path) -> Result<(), String> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let restrict = || -> Result<RulesetStatus, Box<dyn std::error::Error>> {
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?
            .add_rule(PathBeneath::new(PathFd::new(folder)?, read))?;
        for locale in LOCALES {
            // A system without locales has none to read.
            if let Ok(place) = PathFd::new(locale) {
                rules = rules.add_rule(PathBeneath::new(place, read))?;
            }
        }
        Ok(rules.restrict_self()?.ruleset)
    };
    match restrict() {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => Ok(()),
        Ok(RulesetStatus::NotEnforced) => Err("this kernel does not have it".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
