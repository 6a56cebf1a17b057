//! Files of weights beside a model: plain files of the same folder, each with one name.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::types::FileName;

/// Most files of one model.
const MOST_FILES: usize = 65_536;

/// Opens a regular file that is no link, and tells its size.
pub(super) fn open_plain(path: &Path) -> Result<(File, u64), String> {
    let data = fs::symlink_metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    require_regular(&data)?;
    // Not to be led elsewhere by a link put there meanwhile, nor held up by a pipe.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| format!("cannot be read: {error}"))?;
    let data = file.metadata().map_err(|error| format!("cannot be read: {error}"))?;
    require_regular(&data)?;
    Ok((file, data.len()))
}

/// The size of the file `name` in `folder`, which must be a regular file, no link, and
/// have no second name: that could be a file from elsewhere.
pub(super) fn plain_size(folder: &Path, name: &FileName) -> Result<u64, String> {
    let data = fs::symlink_metadata(folder.join(name.as_str()))
        .map_err(|error| format!("cannot be read: {error}"))?;
    require_regular(&data)?;
    if data.nlink() != 1 {
        return Err(format!("is a hard link ({} names); copy it instead", data.nlink()));
    }
    Ok(data.len())
}

fn require_regular(data: &fs::Metadata) -> Result<(), String> {
    let kind = data.file_type();
    if kind.is_file() {
        Ok(())
    } else if kind.is_symlink() {
        Err("is a symbolic link; copy the file instead".to_owned())
    } else {
        Err("is not a regular file".to_owned())
    }
}

/// The files that a model names, and how much it takes from each.
pub(super) struct External<'a> {
    beside: &'a dyn Fn(&FileName) -> Result<u64, String>,
    files: BTreeMap<FileName, Taken>,
}

struct Taken {
    size: u64,
    /// By all tensors together.
    taken: u64,
}

impl<'a> External<'a> {
    pub(super) fn new(beside: &'a dyn Fn(&FileName) -> Result<u64, String>) -> External<'a> {
        External { beside, files: BTreeMap::new() }
    }

    /// Notes that a tensor of `needed` bytes lies where `entries` say, and checks it.
    pub(super) fn take(&mut self, entries: &[(String, String)], needed: u64) -> Result<(), String> {
        let place = Place::parse(entries)?;
        let name = &place.name;
        if !self.files.contains_key(name) {
            if self.files.len() >= MOST_FILES {
                return Err(format!("the model names more than {MOST_FILES} files"));
            }
            let size = (self.beside)(name).map_err(|why| format!("its file '{name}' {why}"))?;
            self.files.insert(name.clone(), Taken { size, taken: 0 });
        }
        let Some(file) = self.files.get_mut(name) else { return Ok(()) };
        if place.length.is_some_and(|length| length != needed) {
            return Err(format!(
                "its length in '{name}' is {} bytes, but its type and shape need {needed}",
                place.length.unwrap_or(0)
            ));
        }
        let end = place.offset.checked_add(needed);
        if end.is_none_or(|end| end > file.size) {
            return Err(format!(
                "its {needed} bytes from offset {} reach past the end of '{name}', which has {} \
                 bytes",
                place.offset, file.size
            ));
        }
        file.taken = file.taken.saturating_add(needed);
        // Two tensors may share weights; a thousand that do are a bomb.
        if file.taken > file.size.saturating_mul(4) {
            return Err(format!("the model takes more than four times what '{name}' holds"));
        }
        Ok(())
    }

    pub(super) fn names(self) -> impl Iterator<Item = FileName> {
        self.files.into_keys()
    }
}

/// Where an external tensor lies.
struct Place {
    name: FileName,
    offset: u64,
    length: Option<u64>,
}

impl Place {
    fn parse(entries: &[(String, String)]) -> Result<Place, String> {
        let (mut name, mut offset, mut length, mut checksum) = (None, None, None, None);
        for (key, value) in entries {
            let twice = match key.as_str() {
                "location" => {
                    let parsed = FileName::parse(value)
                        .map_err(|error| format!("the place of its data: {error}"))?;
                    name.replace(parsed).is_some()
                }
                "offset" => offset.replace(number(key, value)?).is_some(),
                "length" => length.replace(number(key, value)?).is_some(),
                "checksum" => checksum.replace(()).is_some(),
                other => {
                    return Err(format!("its external data has an unknown entry '{other}'"));
                }
            };
            if twice {
                return Err(format!("its external data has '{key}' twice"));
            }
        }
        let name = name.ok_or("its external data names no file")?;
        Ok(Place { name, offset: offset.unwrap_or(0), length })
    }
}

/// A count of bytes: digits only, and small enough for a file.
fn number(key: &str, text: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok());
    number.filter(|_| digits).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        format!("the {key} of its external data is '{shown}', expected a count of bytes")
    })
}
