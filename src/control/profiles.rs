//! Finds what the traffic of a version is compared with.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::settings::DriftSettings;
use crate::drift::live::{Drift, Found, ProfileSource, Watch};
use crate::drift::profile::{MAX_PROFILE_BYTES, Profile};
use crate::registry::PROFILE_FILE;
use crate::serving::Servable;
use crate::types::Digest;

/// Gives a version what its traffic is compared with. Does I/O. A profile that
/// cannot be used keeps no version from serving: its watch says why.
pub(super) fn fit_watch(
    servable: &Servable,
    drift: &Drift,
    settings: &DriftSettings,
    folder: &Path,
) {
    if !drift.is_on() || !settings.enabled {
        return servable.watch.store(None);
    }
    let (name, version) = (servable.name(), servable.version());
    let watch = match find(settings, folder) {
        Ok(Some(found)) => Watch::by(name, version, found, servable.signature(), drift.shards()),
        Ok(None) => Watch::none(name, version, "the version has no profile".to_owned()),
        Err(reason) => Watch::none(name, version, reason),
    };
    drift.follow(&watch);
    servable.watch.store(Some(Arc::clone(&watch)));
}

fn find(settings: &DriftSettings, folder: &Path) -> Result<Option<Found>, String> {
    if let Some(path) = &settings.profile {
        return read(path, ProfileSource::Config).and_then(|found| {
            let missing =
                || format!("the profile '{}' of the configuration is not there", path.display());
            found.map(Some).ok_or_else(missing)
        });
    }
    read(&folder.join(PROFILE_FILE), ProfileSource::Sidecar)
}

fn read(path: &Path, source: ProfileSource) -> Result<Option<Found>, String> {
    let mut text = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(MAX_PROFILE_BYTES as u64 + 1).read_to_end(&mut text));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(format!("the profile ({}) cannot be read: {error}", source.label()));
        }
        Ok(_) => {}
    }
    let profile = Profile::parse(&text)
        .map_err(|error| format!("the profile ({}) is refused: {error}", source.label()))?;
    Ok(Some(Found { profile, digest: Digest::new(Sha256::digest(&text).into()), source }))
}
